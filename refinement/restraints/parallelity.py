"""Two groups of atoms in parallel planes: paired and stacked bases.

The energy is w (1 - |cos θ|), θ the angle between the normals of the two least-squares planes; with w = 1/σ² it is half
of (θ/σ)² in radians for small angles. Beyond a limit l it levels off: w l² (1 - exp(-(1 - |cos θ|)/l²)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from refinement.restraints.kernels import add, smallest_eigenvector

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SINGULAR = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Parallelities:
    """Pairs of planes.

    Attributes
    ----------
    first : NDArray[int32], shape (n_planes + 1,)
        Plane p is made of ``atoms[first[p]:first[p + 1]]``.
    atoms : NDArray[int32]
        Atoms of the planes, at least three each.
    planes : NDArray[int32], shape (m, 2)
        Planes of each pair.
    weight : NDArray[float64]
        1/σ².
    limit : NDArray[float64]
        Square root of 1 - |cos θ| where the energy levels off, inf for never.
    """

    first: NDArray[np.int32]
    atoms: NDArray[np.int32]
    planes: NDArray[np.int32]
    weight: NDArray[np.float64]
    limit: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.weight)

    def weighted(self, factor: float) -> Parallelities:
        """Return the restraints with all weights times a factor."""
        return replace(self, weight=self.weight * factor)

    def energy_and_gradient(self, positions: NDArray[np.float64], gradient: NDArray[np.float64]) -> float:
        """Add the gradient (shape (n, 3)) into `gradient` and return the energy."""
        return float(parallelities(positions, self.first, self.atoms, self.planes, self.weight, self.limit, gradient))


@njit(cache=True, nogil=True, error_model="numpy")
def parallelities(
    positions: NDArray[np.float64],
    first: NDArray[np.int32],
    atoms: NDArray[np.int32],
    planes: NDArray[np.int32],
    weight: NDArray[np.float64],
    limit: NDArray[np.float64],
    gradient: NDArray[np.float64],
) -> float:
    """Energy of `Parallelities`; arguments as there.

    The pulls on the normal of a plane are summed over its pairs before they go down to the atoms.
    """
    n_planes = len(first) - 1
    centre, normal, pull = np.zeros((n_planes, 3)), np.zeros((n_planes, 3)), np.zeros((n_planes, 3))
    scatter = np.zeros((n_planes, 6))
    for p in range(n_planes):
        _fit(positions, atoms[first[p] : first[p + 1]], centre[p], scatter[p], normal[p])
    energy = 0.0
    for k in range(len(planes)):
        p, q = planes[k, 0], planes[k, 1]
        cosine = normal[p, 0] * normal[q, 0] + normal[p, 1] * normal[q, 1] + normal[p, 2] * normal[q, 2]
        sign = 1.0 if cosine >= 0.0 else -1.0
        opening = max(0.0, 1.0 - sign * cosine)
        slope = -sign * weight[k]
        if limit[k] < math.inf:
            square = limit[k] * limit[k]
            fade = math.exp(-opening / square)
            energy += weight[k] * square * (1.0 - fade)
            slope *= fade
        else:
            energy += weight[k] * opening
        for axis in range(3):
            pull[p, axis] += slope * normal[q, axis]
            pull[q, axis] += slope * normal[p, axis]
    for p in range(n_planes):
        _hand_down(positions, atoms[first[p] : first[p + 1]], centre[p], scatter[p], normal[p], pull[p], gradient)
    return energy


@njit(cache=True, nogil=True, error_model="numpy")
def _fit(
    positions: NDArray[np.float64],
    atoms: NDArray[np.int32],
    centre: NDArray[np.float64],
    scatter: NDArray[np.float64],
    normal: NDArray[np.float64],
) -> None:
    """Fill in the centre of atoms, their scatter matrix (xx, xy, xz, yy, yz, zz) and the normal of their plane."""
    for i in atoms:
        for axis in range(3):
            centre[axis] += positions[i, axis] / len(atoms)
    for i in atoms:
        x, y, z = positions[i, 0] - centre[0], positions[i, 1] - centre[1], positions[i, 2] - centre[2]
        scatter[0] += x * x
        scatter[1] += x * y
        scatter[2] += x * z
        scatter[3] += y * y
        scatter[4] += y * z
        scatter[5] += z * z
    normal[0], normal[1], normal[2] = smallest_eigenvector(scatter[0], scatter[1], scatter[2], scatter[3], scatter[4], scatter[5])


@njit(cache=True, nogil=True, error_model="numpy")
def _hand_down(
    positions: NDArray[np.float64],
    atoms: NDArray[np.int32],
    centre: NDArray[np.float64],
    scatter: NDArray[np.float64],
    normal: NDArray[np.float64],
    pull: NDArray[np.float64],
    gradient: NDArray[np.float64],
) -> None:
    """Add what a derivative by the normal means for the atoms of the plane.

    The normal n is an eigenvector of the scatter matrix A with the smallest value λ: it changes by
    dn = -(A - λ)⁺ dA n, so that a pull g on it is p = -(A - λ)⁺ g in the products with dA n.
    """
    nx, ny, nz = normal[0], normal[1], normal[2]
    along = pull[0] * nx + pull[1] * ny + pull[2] * nz
    gx, gy, gz = pull[0] - along * nx, pull[1] - along * ny, pull[2] - along * nz
    ax = scatter[0] * nx + scatter[1] * ny + scatter[2] * nz
    ay = scatter[1] * nx + scatter[3] * ny + scatter[4] * nz
    az = scatter[2] * nx + scatter[4] * ny + scatter[5] * nz
    value = nx * ax + ny * ay + nz * az
    # A - λ + t n nᵀ has an inverse, the same as (A - λ)⁺ across n; t is of the size of A
    size = scatter[0] + scatter[3] + scatter[5]
    xx, yy, zz = scatter[0] - value + size * nx * nx, scatter[3] - value + size * ny * ny, scatter[5] - value + size * nz * nz
    xy, xz, yz = scatter[1] + size * nx * ny, scatter[2] + size * nx * nz, scatter[4] + size * ny * nz
    cxx, cxy, cxz = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    cyy, cyz, czz = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
    determinant = xx * cxx + xy * cxy + xz * cxz
    if not determinant > _SINGULAR * size * size * size:  # atoms on a line have no plane
        return
    px = -(cxx * gx + cxy * gy + cxz * gz) / determinant
    py = -(cxy * gx + cyy * gy + cyz * gz) / determinant
    pz = -(cxz * gx + cyz * gy + czz * gz) / determinant
    for i in atoms:
        x, y, z = positions[i, 0] - centre[0], positions[i, 1] - centre[1], positions[i, 2] - centre[2]
        above = x * nx + y * ny + z * nz
        beside = x * px + y * py + z * pz
        add(gradient, i, above * px + beside * nx, above * py + beside * ny, above * pz + beside * nz)
