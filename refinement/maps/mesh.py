"""The map of a model as a smooth function of its atoms' positions, at the cost of a few Fourier transforms.

Atoms are spread over a coarse mesh with the weights of a cubic B-spline, one mesh for each of their common shapes
(`refinement.maps.shapes`). Among the Fourier terms the meshes are multiplied by the shapes and summed, which gives
the terms of the model's map; what is to be compared with them goes back the same way, and the atoms read value and
gradient from the meshes with the same weights. Spreading and reading are transposes of each other, so that
the gradient belongs to the value to the last digit. The scheme is that of particle-mesh sums in molecular dynamics
(Essmann et al. 1995, J. Chem. Phys. 103, 8577-8593).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from scipy import fft

from refinement.maps.fourier import cut, on_grid, squared_frequencies
from refinement.maps.interpolation import BSPLINE, PAD, spline_at, spline_weights
from refinement.threads import in_order, in_parts

if TYPE_CHECKING:
    import gemmi
    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.maps.shapes import CommonShapes

SMALLEST = 8
"""Least number of mesh points along an axis, so that the four nodes of a spline are different ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Mesh over the box of a map.

    Attributes
    ----------
    dims : tuple[int, int, int]
        Points along the axes.
    cell : gemmi.UnitCell
        Cell of the box.
    corner : NDArray[float64], shape (3,)
        Position of point (0, 0, 0) in Å.
    d_min : float
        Resolution in Å; finer terms are left out, and F(000) too.
    threads : int
        Threads of the transforms; the values don't depend on it.
    """

    dims: tuple[int, int, int]
    cell: gemmi.UnitCell
    corner: NDArray[np.float64]
    d_min: float
    threads: int = 1
    _grid_matrix: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_grid_matrix", np.array(self.dims)[:, None] * np.array(self.cell.frac.mat.tolist()))

    @classmethod
    def of(cls, density: Density, d_min: float, *, points: float, threads: int = 1) -> Mesh:
        """Make the mesh for a map, with at least `points` points within d_min (Å) along each axis.

        The map's own grid may hold coarser terms only; then these are taken.
        """
        cell = density.cell
        d_min = max(d_min, 2.0 * float(density.voxel.max()))
        counts = [max(SMALLEST, math.ceil(points * length / d_min)) for length in (cell.a, cell.b, cell.c)]
        nx, ny, nz = (int(fft.next_fast_len(count, real=True)) for count in counts)
        return cls((nx, ny, nz), cell, np.asarray(density.corner, dtype=np.float64), d_min, threads)

    @property
    def size(self) -> int:
        """Number of mesh points."""
        return int(np.prod(self.dims))

    def squared_frequencies(self) -> NDArray[np.float64]:
        """Return 1/d² (1/Å²) of the terms, shape (nx, ny, nz // 2 + 1)."""
        return squared_frequencies(self.dims, self.cell)

    def multiplicity(self) -> NDArray[np.float64]:
        """Return how many terms of the full transform each plane of equal l stands for, shape (nz // 2 + 1,)."""
        found = np.full(self.dims[2] // 2 + 1, 2.0)
        found[0] = 1.0
        if self.dims[2] % 2 == 0:
            found[-1] = 1.0
        return found

    def terms_of(self, density: Density) -> NDArray[np.complex64]:
        """Return the terms of a map over the same box, scaled as those of a map on the mesh."""
        terms = fft.rfftn(density.values, workers=self.threads)
        cut(terms, density.dims, self.cell, self.d_min)
        if self.dims != density.dims:
            terms = on_grid(terms, density.dims, self.dims)
        cut(terms, self.dims, self.cell, self.d_min)  # the mesh's own Nyquist terms
        return terms

    def filters(self, shapes: CommonShapes) -> NDArray[np.float32]:
        """Return what the terms of each shape's mesh are multiplied by, shape (n_shapes, nx, ny, nz // 2 + 1).

        It is the shape, divided by the transform of the spline at the mesh points, 0 where there is no term.
        """
        found = shapes.at(self.squared_frequencies())
        x, y, z = (3.0 / (2.0 + np.cos(2.0 * np.pi * np.arange(n) / n)) for n in self.dims)
        found *= (x[:, None, None] * y[:, None] * z[: self.dims[2] // 2 + 1]).astype(np.float32)
        kept = np.ones(found.shape[1:], dtype=np.complex64)
        cut(kept, self.dims, self.cell, self.d_min)
        found *= kept.real
        return found

    def room(self, count: int) -> NDArray[np.float32]:
        """Return empty meshes with the margins that splines reach into."""
        nx, ny, nz = self.dims
        return np.zeros((count, nx + 2 * PAD, ny + 2 * PAD, nz + 2 * PAD), dtype=np.float32)

    def spread(
        self,
        positions: NDArray[np.float64],
        share: NDArray[np.float64],
        filters: NDArray[np.float32],
        meshes: NDArray[np.float32],
    ) -> NDArray[np.complex64]:
        """Return the terms of the map of atoms at positions (n, 3), which take `share` (n, n_shapes) of each shape.

        `filters` are those of the shapes, `meshes` is `room` for them. Atoms outside the box are left out.
        """
        meshes[:] = 0.0

        def planes(first: int, end: int) -> None:
            _spread(positions, share, meshes, self._grid_matrix, self.corner, first, end)

        in_parts(self.threads, meshes.shape[1], planes)

        def terms(number: int) -> NDArray[np.complex64]:
            _fold(meshes[number])
            part: NDArray[np.complex64] = fft.rfftn(
                np.ascontiguousarray(meshes[number, PAD:-PAD, PAD:-PAD, PAD:-PAD]), overwrite_x=True
            )
            part *= filters[number]
            return part

        total = np.zeros(filters.shape[1:], dtype=np.complex64)
        for part in in_order(self.threads, [partial(terms, number) for number in range(len(meshes))]):
            total += part
        return total

    def blur(self, terms: NDArray[np.complex64], filters: NDArray[np.float32], meshes: NDArray[np.float32]) -> None:
        """Fill `meshes` with the map of `terms` blurred by each shape, ready for reading."""

        def fill(number: int) -> None:
            values = fft.irfftn(terms * filters[number], s=self.dims, overwrite_x=True)
            meshes[number, PAD:-PAD, PAD:-PAD, PAD:-PAD] = values
            _wrap(meshes[number])

        for _ in in_order(self.threads, [partial(fill, number) for number in range(len(meshes))]):
            pass

    def read(
        self,
        positions: NDArray[np.float64],
        share: NDArray[np.float64],
        meshes: NDArray[np.float32],
        factor: float,
        gradient: NDArray[np.float64],
    ) -> float:
        """Return `factor` times the sum over atoms and shapes of share · mesh, and add its derivatives (per Å) to `gradient`."""
        energy = np.empty(len(positions))

        def atoms(first: int, end: int) -> None:
            part = slice(first, end)
            _read(positions[part], share[part], meshes, self._grid_matrix, self.corner, factor, gradient[part], energy[part])

        in_parts(self.threads, len(positions), atoms)
        return float(energy.sum())


@njit(cache=True, nogil=True, error_model="numpy")
def _spread(
    positions: NDArray[np.float64],
    share: NDArray[np.float64],
    meshes: NDArray[np.float32],
    grid_matrix: NDArray[np.float64],
    corner: NDArray[np.float64],
    first: int,
    end: int,
) -> None:
    """Add the planes from `first` to before `end` of atoms to the meshes; each point takes its atoms in the same order."""
    g = grid_matrix
    for n in range(len(positions)):
        x, y, z = positions[n, 0] - corner[0], positions[n, 1] - corner[1], positions[n, 2] - corner[2]
        u = g[0, 0] * x + g[0, 1] * y + g[0, 2] * z + PAD
        v = g[1, 0] * x + g[1, 1] * y + g[1, 2] * z + PAD
        w = g[2, 0] * x + g[2, 1] * y + g[2, 2] * z + PAD
        _, nx, ny, nz = meshes.shape
        if not (1.0 <= u < nx - 2 and 1.0 <= v < ny - 2 and 1.0 <= w < nz - 2):  # as in `spline_at`; false for NaN
            continue
        i, j, k = int(u), int(v), int(w)
        if i + 2 < first or i - 1 >= end:
            continue
        x0, x1, x2, x3, _, _, _, _ = spline_weights(u - i, BSPLINE)
        y0, y1, y2, y3, _, _, _, _ = spline_weights(v - j, BSPLINE)
        z0, z1, z2, z3, _, _, _, _ = spline_weights(w - k, BSPLINE)
        for m in range(len(meshes)):
            amount = share[n, m]
            for a, wx in ((-1, x0), (0, x1), (1, x2), (2, x3)):
                if not first <= i + a < end:
                    continue
                for b, wy in ((-1, y0), (0, y1), (1, y2), (2, y3)):
                    line = meshes[m, i + a, j + b]
                    here = amount * wx * wy
                    line[k - 1] += here * z0
                    line[k] += here * z1
                    line[k + 1] += here * z2
                    line[k + 2] += here * z3


@njit(cache=True, nogil=True, error_model="numpy")
def _read(
    positions: NDArray[np.float64],
    share: NDArray[np.float64],
    meshes: NDArray[np.float32],
    grid_matrix: NDArray[np.float64],
    corner: NDArray[np.float64],
    factor: float,
    gradient: NDArray[np.float64],
    energy: NDArray[np.float64],
) -> None:
    g = grid_matrix
    for n in range(len(positions)):
        x, y, z = positions[n, 0] - corner[0], positions[n, 1] - corner[1], positions[n, 2] - corner[2]
        u = g[0, 0] * x + g[0, 1] * y + g[0, 2] * z
        v = g[1, 0] * x + g[1, 1] * y + g[1, 2] * z
        w = g[2, 0] * x + g[2, 1] * y + g[2, 2] * z
        total, sum_u, sum_v, sum_w = 0.0, 0.0, 0.0, 0.0
        for m in range(len(meshes)):
            value, by_u, by_v, by_w = spline_at(meshes[m], u, v, w, BSPLINE)
            amount = factor * share[n, m]
            total += amount * value
            sum_u += amount * by_u
            sum_v += amount * by_v
            sum_w += amount * by_w
        for axis in range(3):
            gradient[n, axis] += sum_u * g[0, axis] + sum_v * g[1, axis] + sum_w * g[2, axis]
        energy[n] = total


@njit(cache=True, nogil=True, error_model="numpy")
def _fold(mesh: NDArray[np.float32]) -> None:
    """Add the margins of a mesh to the points that they repeat."""
    nx, ny, nz = mesh.shape[0] - 2 * PAD, mesh.shape[1] - 2 * PAD, mesh.shape[2] - 2 * PAD
    for i in range(mesh.shape[0]):
        a = (i - PAD) % nx + PAD
        for j in range(mesh.shape[1]):
            b = (j - PAD) % ny + PAD
            if a == i and b == j:
                for k in range(PAD):
                    mesh[i, j, k + nz] += mesh[i, j, k]
                    mesh[i, j, k + PAD] += mesh[i, j, k + nz + PAD]
            else:
                for k in range(mesh.shape[2]):
                    mesh[a, b, (k - PAD) % nz + PAD] += mesh[i, j, k]


@njit(cache=True, nogil=True, error_model="numpy")
def _wrap(mesh: NDArray[np.float32]) -> None:
    """Fill the margins of a mesh with the points that they repeat."""
    nx, ny, nz = mesh.shape[0] - 2 * PAD, mesh.shape[1] - 2 * PAD, mesh.shape[2] - 2 * PAD
    for i in range(PAD, nx + PAD):
        for j in range(PAD, ny + PAD):
            for k in range(PAD):
                mesh[i, j, k] = mesh[i, j, (k - PAD) % nz + PAD]
                mesh[i, j, k + nz + PAD] = mesh[i, j, k % nz + PAD]
    for i in range(mesh.shape[0]):
        a = (i - PAD) % nx + PAD
        for j in range(mesh.shape[1]):
            b = (j - PAD) % ny + PAD
            if a != i or b != j:
                for k in range(mesh.shape[2]):
                    mesh[i, j, k] = mesh[a, b, k]
