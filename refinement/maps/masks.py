"""The molecular mask of the map–model correlations, and spheres round atoms.

The mask is the flat-solvent mask of crystallography made on the grid of the map (Jiang & Brünger 1994,
J. Mol. Biol. 243, 100-115), not an analytic surface: shrinking acts on grid points, so the result depends
slightly on the grid. The box repeats periodically.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import gemmi
import numpy as np
from numba import njit

from refinement import tables
from refinement.maps.chords import chord

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.structure import Structure

SOLVENT_RADIUS = 1.1
"""Atoms grow by this much (Å) before the shell is shrunk again."""
SHRINK_RADIUS = 0.9
"""Shell points nearer than this (Å) to solvent become solvent."""

_SOLVENT, _SHELL, _CORE = 0, 1, 2


@cache
def _radius_table() -> NDArray[np.float64]:
    known = tables.mask_radii()
    radii = np.array([known.get(e.name, e.vdw_r) for e in map(gemmi.Element, range(119))])
    radii[0] = known["C"]  # an atom of unknown element is most likely a light one
    radii.flags.writeable = False
    return radii


def mask_radii(elements: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the mask radius (Å) of each atomic number; elements without a row in the table take gemmi's radius."""
    return _radius_table()[np.minimum(elements, 118)]


def molecular_mask(structure: Structure, density: Density) -> NDArray[np.bool_]:
    """Return which grid points of the map belong to the molecule.

    All atoms count: hydrogens, waters, and atoms of zero occupancy.

    Returns
    -------
    NDArray[bool], shape (nx, ny, nz)
    """
    return mask_around(structure.positions, mask_radii(structure.elements), density)


def mask_around(positions: NDArray[np.float64], radii: NDArray[np.float64], density: Density) -> NDArray[np.bool_]:
    """Return the mask of atoms at positions (n, 3) with radii (n,), both in Å."""
    state = np.zeros(density.values.shape, dtype=np.uint8)
    step = density.step_matrix
    _grow(state, density.grid_coordinates(positions), radii, SOLVENT_RADIUS, step, _reach(density))
    near = _offsets_within(SHRINK_RADIUS, step, density)
    return _shrunk(state, near)


def _reach(density: Density) -> NDArray[np.float64]:
    """Return how many grid steps along each axis cover one Å in any direction."""
    return np.linalg.norm(density.grid_matrix, axis=1)


def _offsets_within(radius: float, step: NDArray[np.float64], density: Density) -> NDArray[np.int64]:
    """Return the grid offsets (m, 3), without (0, 0, 0), that are at most `radius` Å long."""
    reach = np.floor(radius * _reach(density) + 1e-9).astype(int)
    axes = [np.arange(-r, r + 1) for r in reach]
    offsets = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    length2 = ((offsets @ step.T) ** 2).sum(axis=1)
    return offsets[(length2 <= radius * radius) & (length2 > 0)]


@njit(cache=True, nogil=True, error_model="numpy")
def _grow(
    state: NDArray[np.uint8],
    grid: NDArray[np.float64],
    radii: NDArray[np.float64],
    probe: float,
    step: NDArray[np.float64],
    reach: NDArray[np.float64],
) -> None:
    """Mark the points nearer than the radius as core, those up to radius + probe as shell."""
    nx, ny, nz = state.shape
    for n in range(len(grid)):
        u, v, w = grid[n, 0], grid[n, 1], grid[n, 2]
        far = radii[n] + probe
        far2, core2 = far * far, radii[n] * radii[n]
        for i in range(math.ceil(u - far * reach[0]), math.floor(u + far * reach[0]) + 1):
            for j in range(math.ceil(v - far * reach[1]), math.floor(v + far * reach[1]) + 1):
                row = state[i % nx, j % ny]
                x = step[0, 0] * (i - u) + step[0, 1] * (j - v)
                y = step[1, 1] * (j - v)
                low, high = chord(x, y, step, far2)
                at = math.ceil(w + low) - 1
                place = at % nz
                while at < math.floor(w + high):
                    at += 1
                    place = place + 1 if place + 1 < nz else 0
                    if row[place] == _CORE:
                        continue
                    dx = x + step[0, 2] * (at - w)
                    dy = y + step[1, 2] * (at - w)
                    dz = step[2, 2] * (at - w)
                    distance2 = dx * dx + dy * dy + dz * dz
                    if distance2 < core2:
                        row[place] = _CORE
                    elif distance2 <= far2:
                        row[place] = _SHELL


@njit(cache=True, nogil=True, error_model="numpy")
def _shrunk(state: NDArray[np.uint8], near: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return core and those shell points that have no solvent point among their near neighbours."""
    nx, ny, nz = state.shape
    inside = np.zeros(state.shape, dtype=np.bool_)
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                kept = state[i, j, k] != _SOLVENT
                if state[i, j, k] == _SHELL:
                    for m in range(len(near)):
                        other = state[(i + near[m, 0]) % nx, (j + near[m, 1]) % ny, (k + near[m, 2]) % nz]
                        if other == _SOLVENT:
                            kept = False
                            break
                inside[i, j, k] = kept
    return inside
