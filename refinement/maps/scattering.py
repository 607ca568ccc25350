"""The map that a model would give: sum of atoms seen by electrons, cut at the resolution.

Each atom is a sum of five Gaussians (neutral atoms; International Tables C, table 4.3.2.2, Peng et al. 1996,
coefficients from gemmi), spread by its own isotropic B and weighted by its occupancy. Atoms are summed on a grid
with an additional blur that keeps aliases away, and the blur is divided out among the Fourier terms.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import gemmi
import numpy as np
from numba import njit
from scipy import fft

from refinement.maps.chords import chord
from refinement.maps.fourier import cut, on_grid
from refinement.maps.separable import TAIL, is_orthogonal, meets, squared_radius, sum_separable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.structure import Structure

ALIAS_LOG = 7.0
"""Aliases are kept below exp(−7) = 0.1 % of the term that they fall on."""
MIN_RATE = 1.25
"""Coarsest grid for summing atoms, as Nyquist frequency over 1/d_min; beyond it the blur costs too many digits."""
FINE_RATE = 1.5
"""The same for a grid that is made for the purpose."""
B_RANGE = (-100.0, 2000.0)
"""B factors beyond these (Å²) are taken as these: such an atom is invisible anyway, but would be summed over the whole box."""
TABLE = 320
"""Steps in r² of an atom's table, where the axes of the grid aren't orthogonal."""


@cache
def _coefficients() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a and b, shape (119, 5), by atomic number; the heaviest elements have no row and borrow the last one."""
    found = [gemmi.Element(z).c4322 for z in range(119)]
    last = max(z for z, row in enumerate(found) if row is not None and any(row.a))
    rows = found[: last + 1] + [found[last]] * (118 - last)
    return np.array([row.a for row in rows]), np.array([row.b for row in rows])


def scattering_factors(elements: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a (Å) and b (Å²), each (n, 5), with f(s) = Σ a exp(−b s²/4), s = 1/d.

    Unknown atoms (atomic number 0) scatter like oxygen, as in gemmi, and elements beyond californium like californium.
    """
    a, b = _coefficients()
    rows = np.minimum(elements, 118)
    return a[rows], b[rows]


def model_map(structure: Structure, density: Density, d_min: float) -> NDArray[np.float32]:
    """Return the map of a model on the grid of a density.

    All atoms count, hydrogens too. The box is a P1 cell; terms with d ≥ d_min are taken, F(000) is left out.

    Parameters
    ----------
    structure : Structure
        The model; anisotropic displacements are ignored.
    density : Density
        Gives the grid; its values aren't used.
    d_min : float
        Resolution in Å.

    Returns
    -------
    NDArray[float32], shape (nx, ny, nz)
    """
    return model_map_of(
        structure.positions, structure.elements, structure.b_iso, structure.occupancy, density=density, d_min=d_min
    )


def model_map_of(
    positions: NDArray[np.float64],
    elements: NDArray[np.uint8],
    b_iso: NDArray[np.float64],
    occupancy: NDArray[np.float64],
    *,
    density: Density,
    d_min: float,
) -> NDArray[np.float32]:
    """Return the map of atoms given as arrays: positions (n, 3) in Å, B factors (n,) in Å²; see `model_map`."""
    cell, dims = density.cell, density.dims
    # the grid holds no finer terms, so a finer limit would only make the sum larger
    d_min = max(d_min, float(density.voxel.min()))
    summed_on = grid_for(dims, density, d_min)
    a, b = scattering_factors(elements)
    b_iso = np.clip(b_iso, *B_RANGE)
    blur = blur_for(summed_on, cell, d_min, float(b_iso.min(initial=B_RANGE[1])))
    spread = b + b_iso[:, None] + blur
    height = occupancy[:, None] * a * (4.0 * math.pi / spread) ** 1.5
    fall = 4.0 * math.pi**2 / spread
    grid_matrix = np.array(summed_on)[:, None] * np.array(cell.frac.mat.tolist())
    grid = (positions - density.corner) @ grid_matrix.T
    total = np.zeros(summed_on, dtype=np.float32)
    step_matrix = np.array(cell.orth.mat.tolist()) / np.array(summed_on)
    sum_atoms(total, grid, height, fall, step_matrix, np.linalg.norm(grid_matrix, axis=1), 0, summed_on[0])
    coefficients = fft.rfftn(total, overwrite_x=True)
    del total
    if summed_on != dims:
        coefficients = on_grid(coefficients, summed_on, dims)
    cut(coefficients, dims, cell, d_min, b=-blur)
    return np.ascontiguousarray(fft.irfftn(coefficients, s=dims, overwrite_x=True), dtype=np.float32)


def blur_for(dims: tuple[int, int, int], cell: gemmi.UnitCell, d_min: float, b_min: float) -> float:
    """Return what must be added to every B (Å²) so that sums on a grid have no aliases.

    A term at 1/d_min meets the alias of the one at 1/step − 1/d_min, which the blur has to damp.
    """
    step = float((np.array([cell.a, cell.b, cell.c]) / dims).max())
    return max(0.0, 4.0 * ALIAS_LOG * step**2 / (1.0 - 2.0 * step / d_min) - b_min)


def grid_for(dims: tuple[int, int, int], density: Density, d_min: float) -> tuple[int, int, int]:
    """Return the grid to sum atoms on: the map's own where it is fine enough, else a finer one over the same cell."""
    if float(density.voxel.max()) <= d_min / (2.0 * MIN_RATE):
        return dims
    lengths = density.voxel * np.array(dims)
    nx, ny, nz = (
        max(n, int(fft.next_fast_len(math.ceil(2.0 * FINE_RATE * length / d_min), real=True)))
        for n, length in zip(dims, lengths, strict=True)
    )
    return nx, ny, nz


@njit(cache=True, nogil=True, error_model="numpy")
def sum_atoms(
    total: NDArray[np.float32],
    grid: NDArray[np.float64],
    height: NDArray[np.float64],
    fall: NDArray[np.float64],
    step: NDArray[np.float64],
    reach: NDArray[np.float64],
    first: int,
    end: int,
) -> None:
    """Add Σ_k height[n, k] exp(−fall[n, k] r²) of every atom n to a periodic box.

    Only the planes first ≤ x < end of the box are filled, so that threads can share the work: every voxel adds its
    atoms in their order, whoever fills it.
    """
    if is_orthogonal(step):
        sum_separable(total, grid, height, fall, step, first, end)
    else:
        _sum_oblique(total, grid, height, fall, step, reach, first, end)


@njit(cache=True, nogil=True, error_model="numpy")
def _sum_oblique(
    total: NDArray[np.float32],
    grid: NDArray[np.float64],
    height: NDArray[np.float64],
    fall: NDArray[np.float64],
    step: NDArray[np.float64],
    reach: NDArray[np.float64],
    first: int,
    end: int,
) -> None:
    """Do the same on axes that aren't orthogonal.

    The sum of Gaussians is tabulated in r² for each atom (by recurrence) and read with linear interpolation.
    """
    nx, ny, nz = total.shape
    table = np.empty(TABLE + 2)
    for n in range(len(grid)):
        u, v, w = grid[n, 0], grid[n, 1], grid[n, 2]
        if not (abs(u) < 1e8 and abs(v) < 1e8 and abs(w) < 1e8):
            continue
        widest = math.sqrt(-math.log(TAIL) / fall[n].min()) * reach[0]
        if not meets(math.ceil(u - widest), math.floor(u + widest), first, end, nx):
            continue
        spacing = tabulate(height[n], fall[n], table)
        far2 = spacing * TABLE
        far = math.sqrt(far2)
        scale = 1.0 / spacing
        for i in range(math.ceil(u - far * reach[0]), math.floor(u + far * reach[0]) + 1):
            if not first <= i % nx < end:
                continue
            for j in range(math.ceil(v - far * reach[1]), math.floor(v + far * reach[1]) + 1):
                row = total[i % nx, j % ny]
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
                        row[place] += table[m] + (t - m) * (table[m + 1] - table[m])


@njit(cache=True, nogil=True, error_model="numpy")
def tabulate(height: NDArray[np.float64], fall: NDArray[np.float64], table: NDArray[np.float64]) -> float:
    """Fill `table` with the atom's profile out to where it ends; return the step in r² (Å²)."""
    spacing = squared_radius(height, fall) / TABLE
    table[:] = 0.0
    for k in range(len(height)):
        value = height[k]
        ratio = math.exp(-fall[k] * spacing)
        for m in range(TABLE + 2):
            table[m] += value
            value *= ratio
    return spacing
