"""SMOC: overlap of map and model along the chain (metrics §15c).

Segment-based Manders' overlap coefficient of Joseph et al. 2016, Methods 100, 42-49: in a window of residues, the
cosine between the map values and those of a blurred model at the grid points around the window's atoms. No mean is
subtracted. As in the program TEMPy, atoms are Gaussians of σ = 0.225 d weighted by their mass, and grid points
within 2.5 times the larger of σ and 1 Å count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
from numba import njit

from refinement.maps.scattering import sum_atoms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.structure import Structure

WINDOW = 9
"""Residues; shorter at the ends of a chain."""
SIGMA_PER_RESOLUTION = 0.225
REACH_SIGMAS, SMALLEST_SIGMA = 2.5, 1.0
"""Grid points within 2.5 max(σ, 1 Å) of an atom belong to it."""
MASSES = np.array([gemmi.Element(z).weight for z in range(119)])


@dataclass(frozen=True, slots=True, eq=False)
class Smoc:
    """Result.

    Attributes
    ----------
    columns : dict[str, NDArray[float32]]
        ``smoc`` per residue of a polymer, NaN for others and where no grid point with density is near.
    details : dict[str, dict[str, Any]]
        ``smoc``: ``mean`` over the residues (None without any) and ``chains``, the mean of each chain.
    """

    columns: dict[str, NDArray[np.float32]]
    details: dict[str, dict[str, Any]]
    summary: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def smoc(structure: Structure, density: Density, resolution: float, *, window: int = WINDOW) -> Smoc:
    """Return the overlap of a map and a model in a sliding window of residues.

    All atoms but hydrogens make the blurred model; windows are of consecutive residues of a polymer chain, in the
    order of the file, gaps or not.

    Parameters
    ----------
    structure : Structure
    density : Density
        The primary map as deposited.
    resolution : float
        Å.
    window : int
        Odd number of residues.
    """
    residues = structure.residues
    heavy = ~structure.is_hydrogen
    column = np.full(len(residues), np.nan, dtype=np.float32)
    rows = np.flatnonzero(residues.polymer & (np.bincount(structure.residue[heavy], minlength=len(residues)) > 0))
    if len(rows):
        atoms = np.flatnonzero(heavy & np.isin(structure.residue, rows))
        first = np.searchsorted(structure.residue[atoms], np.append(rows, len(residues)))
        begin, end = _windows(residues.chain_index[rows], window // 2)
        reach = REACH_SIGMAS * max(SIGMA_PER_RESOLUTION * resolution, SMALLEST_SIGMA)
        column[rows] = _overlaps(
            density.values,
            blurred_model(structure, density, SIGMA_PER_RESOLUTION * resolution),
            np.full(density.dims, -1, dtype=np.int32),
            density.grid_coordinates(structure.positions[atoms]),
            first[begin],
            first[end],
            reach,
            reach * np.linalg.norm(density.grid_matrix, axis=1),
            density.step_matrix,
        )
    known = np.isfinite(column)
    chains = {}
    for name in structure.chain_names:
        values = column[known & (residues.chain == name)]
        if len(values):
            chains[name] = float(values.mean(dtype=np.float64))
    mean = float(column[known].mean(dtype=np.float64)) if known.any() else None
    return Smoc({"smoc": column}, {"smoc": {"mean": mean, "chains": chains}})


def blurred_model(structure: Structure, density: Density, sigma: float) -> NDArray[np.float32]:
    """Return Gaussians of one width (Å), weighted by atomic mass, on the grid of a map; hydrogens are left out."""
    heavy = ~structure.is_hydrogen
    height = MASSES[structure.elements[heavy]][:, None]
    fall = np.full_like(height, 0.5 / sigma**2)
    total = np.zeros(density.dims, dtype=np.float32)
    grid = density.grid_coordinates(structure.positions[heavy])
    sum_atoms(total, grid, height, fall, density.step_matrix, np.linalg.norm(density.grid_matrix, axis=1), 0, len(total))
    return total


def _windows(chain: NDArray[np.int32], half: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the window round each residue begins and ends, given the chain of each."""
    place = np.arange(len(chain))
    start = np.searchsorted(chain, chain, side="left")
    stop = np.searchsorted(chain, chain, side="right")
    return np.maximum(place - half, start), np.minimum(place + half + 1, stop)


@njit(cache=True, nogil=True, error_model="numpy")
def _overlaps(
    observed: NDArray[np.float32],
    calculated: NDArray[np.float32],
    owner: NDArray[np.int32],
    grid: NDArray[np.float64],
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
    radius: float,
    reach: NDArray[np.float64],
    step: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return Σ o c / √(Σ o² Σ c²) at the points of the box near the atoms begin[w]:end[w] of each window w.

    `owner` remembers which window took a grid point last, so that no point counts twice.
    """
    nx, ny, nz = observed.shape
    out = np.empty(len(begin))
    far2 = radius * radius
    for w in range(len(begin)):
        oo, cc, oc = 0.0, 0.0, 0.0
        for n in range(begin[w], end[w]):
            x0, y0, z0 = grid[n, 0], grid[n, 1], grid[n, 2]
            if not (abs(x0) < 1e8 and abs(y0) < 1e8 and abs(z0) < 1e8):
                continue
            for i in range(max(0, math.ceil(x0 - reach[0])), min(nx, math.floor(x0 + reach[0]) + 1)):
                for j in range(max(0, math.ceil(y0 - reach[1])), min(ny, math.floor(y0 + reach[1]) + 1)):
                    x = step[0, 0] * (i - x0) + step[0, 1] * (j - y0)
                    y = step[1, 1] * (j - y0)
                    for k in range(max(0, math.ceil(z0 - reach[2])), min(nz, math.floor(z0 + reach[2]) + 1)):
                        if owner[i, j, k] == w:
                            continue
                        dx = x + step[0, 2] * (k - z0)
                        dy = y + step[1, 2] * (k - z0)
                        dz = step[2, 2] * (k - z0)
                        if dx * dx + dy * dy + dz * dz <= far2:
                            owner[i, j, k] = w
                            o, c = np.float64(observed[i, j, k]), np.float64(calculated[i, j, k])
                            oo += o * o
                            cc += c * c
                            oc += o * c
        out[w] = oc / math.sqrt(oo * cc) if oo > 0.0 and cc > 0.0 else math.nan
    return out
