"""A model map that is computed again and again on the same grid, with the derivative of any function of it by B.

`refinement.maps.scattering.model_map` is the one-off form. Here the grid and the anti-alias blur are fixed, so
that the map is one smooth function of the B factors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from scipy import fft

from refinement.maps.chords import chord
from refinement.maps.fourier import cut, on_grid
from refinement.maps.scattering import TABLE, blur_for, grid_for, scattering_factors, sum_atoms, tabulate
from refinement.maps.separable import gather_separable, is_orthogonal
from refinement.threads import in_parts

if TYPE_CHECKING:
    import gemmi
    from numpy.typing import NDArray

    from refinement.maps.density import Density


@dataclass(frozen=True, slots=True)
class SummationGrid:
    """Grid, cut and blur for model maps.

    Attributes
    ----------
    dims : tuple[int, int, int]
        Grid of the map.
    fine : tuple[int, int, int]
        Grid on which atoms are summed; the same where that is fine enough.
    cell : gemmi.UnitCell
        Cell of the box.
    corner : NDArray[float64], shape (3,)
        Position of grid point (0, 0, 0) in Å.
    d_min : float
        Resolution in Å.
    blur : float
        Added to every B (Å²) while summing, divided out among the Fourier terms.
    threads : int
        Threads; the values don't depend on it.
    levels : NDArray[float32], shape (nx, ny, nz // 2 + 1), or None
        What each term is multiplied by.
    """

    dims: tuple[int, int, int]
    fine: tuple[int, int, int]
    cell: gemmi.UnitCell
    corner: NDArray[np.float64]
    d_min: float
    blur: float
    threads: int = 1
    levels: NDArray[np.float32] | None = field(default=None, compare=False)

    @classmethod
    def of(cls, density: Density, d_min: float, *, b_floor: float, threads: int = 1) -> SummationGrid:
        """Make the grid for maps like `density`, of atoms whose B is never below `b_floor` (Å²).

        A limit finer than the grid's own steps is taken as these: the grid holds no finer terms.
        """
        d_min = max(d_min, float(density.voxel.min()))
        fine = grid_for(density.dims, density, d_min)
        cell = density.cell
        return cls(density.dims, fine, cell, density.corner, d_min, blur_for(fine, cell, d_min, b_floor), threads)

    def coefficients(
        self,
        positions: NDArray[np.float64],
        elements: NDArray[np.uint8],
        b_iso: NDArray[np.float64],
        occupancy: NDArray[np.float64],
    ) -> NDArray[np.complex64]:
        """Return the Fourier coefficients (rfftn, of a box of `dims`) of atoms at positions (n, 3)."""
        height, fall = self._gaussians(elements, b_iso, occupancy)
        total = np.zeros(self.fine, dtype=np.float32)
        grid, step, reach = self._geometry(positions)
        planes = self.fine[0]
        in_parts(self.threads, planes, lambda first, end: sum_atoms(total, grid, height, fall, step, reach, first, end))
        terms = fft.rfftn(total, overwrite_x=True, workers=self.threads)
        if self.fine != self.dims:
            terms = on_grid(terms, self.fine, self.dims)
        self._cut(terms)
        return terms

    def to_map(self, coefficients: NDArray[np.complex64]) -> NDArray[np.float32]:
        """Return the map, shape `dims`, of coefficients."""
        return np.asarray(fft.irfftn(coefficients, s=self.dims, overwrite_x=False, workers=self.threads), dtype=np.float32)

    def b_gradient(
        self,
        by_voxel: NDArray[np.float32],
        positions: NDArray[np.float64],
        elements: NDArray[np.uint8],
        b_iso: NDArray[np.float64],
        occupancy: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return the derivative of a function by each atom's B (n,) from its derivative by each voxel of the map.

        The transform and the cut are symmetric operators, so they carry the derivative back unchanged.
        """
        return self._gathered(by_voxel, positions, self._gaussians(elements, b_iso, occupancy), by_b=True)

    def occupancy_gradient(
        self,
        by_voxel: NDArray[np.float32],
        positions: NDArray[np.float64],
        elements: NDArray[np.uint8],
        b_iso: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return the derivative of a function by each atom's occupancy (n,); see `b_gradient`."""
        whole = np.ones(len(positions))
        return self._gathered(by_voxel, positions, self._gaussians(elements, b_iso, whole), by_b=False)

    def _gathered(
        self,
        by_voxel: NDArray[np.float32],
        positions: NDArray[np.float64],
        gaussians: tuple[NDArray[np.float64], NDArray[np.float64]],
        *,
        by_b: bool,
    ) -> NDArray[np.float64]:
        terms = fft.rfftn(by_voxel, workers=self.threads)
        self._cut(terms)
        if self.fine != self.dims:
            terms = on_grid(terms, self.dims, self.fine) * np.float32(np.prod(self.dims) / np.prod(self.fine))
        back = np.asarray(fft.irfftn(terms, s=self.fine, workers=self.threads), dtype=np.float32)
        grid, step, reach = self._geometry(positions)
        out = np.zeros(len(positions))

        def part(first: int, end: int) -> None:
            height, fall = (each[first:end] for each in gaussians)
            if is_orthogonal(step):
                gather_separable(back, grid[first:end], height, fall, step, by_b, out[first:end])
            else:
                _gather_oblique(back, grid[first:end], height, fall, step, reach, by_b, out[first:end])

        in_parts(self.threads, len(positions), part)
        return out

    def _cut(self, terms: NDArray[np.complex64]) -> None:
        """Drop terms beyond the resolution, take the blur away, and multiply by the levels, in place."""
        cut(terms, self.dims, self.cell, self.d_min, b=-self.blur)
        if self.levels is not None:
            terms *= self.levels

    def _gaussians(
        self, elements: NDArray[np.uint8], b_iso: NDArray[np.float64], occupancy: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        a, b = scattering_factors(elements)
        spread = b + b_iso[:, None] + self.blur
        return occupancy[:, None] * a * (4.0 * math.pi / spread) ** 1.5, 4.0 * math.pi**2 / spread

    def _geometry(self, positions: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        matrix = np.array(self.fine)[:, None] * np.array(self.cell.frac.mat.tolist())
        step = np.array(self.cell.orth.mat.tolist()) / np.array(self.fine)
        return (positions - self.corner) @ matrix.T, step, np.linalg.norm(matrix, axis=1)


@njit(cache=True, nogil=True, error_model="numpy")
def _gather_oblique(field, grid, height, fall, step, reach, by_b, out):  # type: ignore[no-untyped-def]
    """Set out[n] to the sum over grid points of field · dρ_n/dB, or of field · ρ_n where `by_b` is false.

    With h ∝ β^-1.5 and f = 4π²/β, the derivative by β of h exp(-f r²) is (f r² - 1.5)/β times it.
    """
    nx, ny, nz = field.shape
    table = np.empty(TABLE + 2)
    slope = np.empty(TABLE + 2)
    for n in range(len(grid)):
        u, v, w = grid[n, 0], grid[n, 1], grid[n, 2]
        if not (abs(u) < 1e8 and abs(v) < 1e8 and abs(w) < 1e8):
            continue
        spacing = tabulate(height[n], fall[n], table)
        slope[:] = table
        if by_b:
            slope[:] = 0.0
        for k in range(height.shape[1] if by_b else 0):
            per_beta = fall[n, k] / (4.0 * math.pi**2)
            value = height[n, k] * per_beta
            ratio = math.exp(-fall[n, k] * spacing)
            for m in range(TABLE + 2):
                slope[m] += (fall[n, k] * spacing * m - 1.5) * value
                value *= ratio
        far2 = spacing * TABLE
        far = math.sqrt(far2)
        scale = 1.0 / spacing
        total = 0.0
        for i in range(math.ceil(u - far * reach[0]), math.floor(u + far * reach[0]) + 1):
            for j in range(math.ceil(v - far * reach[1]), math.floor(v + far * reach[1]) + 1):
                row = field[i % nx, j % ny]
                x = step[0, 0] * (i - u) + step[0, 1] * (j - v)
                y = step[1, 1] * (j - v)
                low, high = chord(x, y, step, far2)
                at = math.ceil(w + low) - 1
                place = at % nz
                while at < math.floor(w + high):
                    at += 1
                    place = place + 1 if place + 1 < nz else 0
                    dx = x + step[0, 2] * (at - w)
                    dy = y + step[1, 2] * (at - w)
                    dz = step[2, 2] * (at - w)
                    r2 = dx * dx + dy * dy + dz * dz
                    if r2 < far2:
                        t = r2 * scale
                        m = int(t)
                        total += row[place] * (slope[m] + (t - m) * (slope[m + 1] - slope[m]))
        out[n] = total
