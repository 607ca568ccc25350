"""Q-score: how much the map round each atom looks like the Gaussian of a well-resolved atom.

Pintilie et al. 2020, Nature Methods 17, 328-334, by the procedure of its program MapQ: shells of 0 to 2 Å round
each atom, at least eight points a shell that aren't nearer to another atom, and the Pearson coefficient of the
map values with a reference Gaussian. EMDB reports σ = 0.4, the paper 0.6; both come from one pass over the points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from refinement.maps.interpolation import trilinear_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.structure import Structure

SIGMAS = (0.4, 0.6)
"""Widths (Å) of the reference Gaussian: that of EMDB's reports and that of the paper."""
KEYS = ("q_score", "q_score_06")
BACKBONE = ("N", "CA", "C", "O", "OXT", "P", "OP1", "OP2", "OP3", "O3'", "O5'", "C3'", "C4'", "C5'")
POINTS = 8
SHELLS = 20
SHELL_STEP = 0.1
ATTEMPTS = 50
TOLERANCE = 0.9
"""A point at distance r from its atom is dropped if another atom is nearer than 0.9 r."""
MAX_NEIGHBOURS = 2000
_REACH = SHELLS * SHELL_STEP * (1.0 + TOLERANCE)
_STRIDE = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class QScores:
    """Q-scores.

    Attributes
    ----------
    summary : dict[str, float | None]
        ``q_score`` (σ 0.4) and ``q_score_06``: means over the atoms that aren't hydrogen.
    reasons : dict[str, str]
        Why a value is missing.
    columns : dict[str, NDArray[float32]]
        ``q_score`` and ``q_score_06`` per residue: means of its atoms, NaN where not evaluated.
    atoms : NDArray[float32], shape (n_atoms, 2)
        Q of each atom with σ 0.4 and 0.6; NaN for hydrogens and where the map is flat.
    details : dict[str, dict[str, Any]]
        ``q_score``: means over the atoms of each chain (``chains``) and of backbones and side chains of polymers
        (``parts``), both by key.
    """

    summary: dict[str, float | None]
    reasons: dict[str, str] = field(default_factory=dict)
    columns: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    atoms: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), dtype=np.float32))
    details: dict[str, dict[str, Any]] = field(default_factory=dict)


def q_scores(structure: Structure, density: Density) -> QScores:
    """Return the Q-scores of a model in a map; hydrogens are ignored.

    Parameters
    ----------
    structure : Structure
        The model.
    density : Density
        The primary map as deposited; the box repeats periodically.
    """
    heavy = np.nonzero(~structure.is_hydrogen)[0]
    atoms = np.full((len(structure), len(SIGMAS)), np.nan, dtype=np.float32)
    if len(heavy):
        atoms[heavy] = atom_q_scores(structure.positions[heavy], density)
    summary: dict[str, float | None] = {}
    residues: dict[str, NDArray[np.float32]] = {}
    for column, key in enumerate(KEYS):
        known = np.isfinite(atoms[:, column])
        values = atoms[known, column].astype(np.float64)
        summary[key] = float(values.mean()) if len(values) else None
        counts = np.bincount(structure.residue[known], minlength=len(structure.residues))
        sums = np.bincount(structure.residue[known], values, minlength=len(structure.residues))
        mean = np.full(len(counts), np.nan, dtype=np.float32)
        np.divide(sums, counts, out=mean, where=counts > 0, casting="same_kind")
        residues[key] = mean
    reasons = {key: "not_applicable" for key, value in summary.items() if value is None}
    return QScores(
        summary,
        reasons,
        residues,
        atoms,
        {"q_score": {"chains": _by_chain(structure, atoms), "parts": _by_part(structure, atoms)}},
    )


def _by_chain(structure: Structure, atoms: NDArray[np.float32]) -> dict[str, dict[str, float]]:
    names, chain = np.unique(structure.residues.chain, return_inverse=True)
    found = _means(atoms, chain[structure.residue], names.tolist())
    return {name: found[name] for name in structure.chain_names if name in found}


def _by_part(structure: Structure, atoms: NDArray[np.float32]) -> dict[str, dict[str, float]]:
    """Return the means over backbone and side chains (bases and sugars) of polymers; Cβ is side chain here."""
    part = np.where(np.isin(structure.names, BACKBONE), 0, 1)
    part[~structure.residues.polymer[structure.residue]] = 2
    found = _means(atoms, part, ["backbone", "side_chain", "other"])
    return {name: found[name] for name in ("backbone", "side_chain") if name in found}


def _means(atoms: NDArray[np.float32], group: NDArray[np.integer[Any]], names: list[str]) -> dict[str, dict[str, float]]:
    """Return the mean of both scores over the evaluated atoms of each group; groups without any are left out."""
    found: dict[str, dict[str, float]] = {}
    for column, key in enumerate(KEYS):
        known = np.isfinite(atoms[:, column])
        count = np.bincount(group[known], minlength=len(names))
        total = np.bincount(group[known], atoms[known, column].astype(np.float64), minlength=len(names))
        for place in np.flatnonzero(count).tolist():
            found.setdefault(names[place], {})[key] = float(total[place] / count[place])
    return found


def atom_q_scores(positions: NDArray[np.float64], density: Density) -> NDArray[np.float64]:
    """Return Q with each of `SIGMAS`, shape (n, 2), of atoms at positions (n, 3) in Å; NaN where the map is flat."""
    mean = float(density.values.mean(dtype=np.float64))
    deviation = float(density.values.std(dtype=np.float64))
    high = min(mean + 10.0 * deviation, float(density.values.max()))
    low = max(mean - deviation, float(density.values.min()))
    directions, first = _all_directions()
    order, keys, cube = _sorted_cells(positions)
    return _q(
        positions,
        density.grid_coordinates(positions),
        density.grid_matrix,
        density.values,
        np.array([low, high]),
        directions,
        first,
        order,
        keys,
        cube,
    )


def sphere_points(count: int) -> NDArray[np.float64]:
    """Return unit vectors, shape (count, 3), along a spiral from pole to pole."""
    height = -1.0 + 2.0 * np.arange(count) / (count - 1.0)
    polar = np.arccos(np.clip(height, -1.0, 1.0))
    azimuth = np.zeros(count)
    azimuth[1:-1] = np.cumsum(3.6 / np.sqrt(count * (1.0 - height[1:-1] ** 2)))
    return np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=1)


def _all_directions() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the spirals of all attempts one after the other, and where each begins."""
    spirals = [sphere_points(POINTS + 2 * attempt) for attempt in range(ATTEMPTS)]
    first = np.concatenate([[0], np.cumsum([len(spiral) for spiral in spirals])])
    return np.concatenate(spirals), first


def _sorted_cells(positions: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Sort atoms into cubes as wide as the reach of a search.

    Returns
    -------
    order : NDArray[int64], shape (n,)
        Atoms sorted by cube.
    keys : NDArray[int64], shape (n,)
        Number of the cube of each, ascending; cubes that follow each other along z have numbers in sequence.
    cube : NDArray[int64], shape (n, 3)
        Index of the cube of each atom in its own order, counted from 1.
    """
    cube = np.floor((positions - positions.min(axis=0)) / _REACH).astype(np.int64) + 1
    keys = (cube[:, 0] * _STRIDE + cube[:, 1]) * _STRIDE + cube[:, 2]
    order = np.argsort(keys, kind="stable")
    return order, keys[order], cube


@njit(cache=True, nogil=True, error_model="numpy")
def _neighbours(
    atom: int,
    positions: NDArray[np.float64],
    order: NDArray[np.int64],
    keys: NDArray[np.int64],
    cube: NDArray[np.int64],
    found: NDArray[np.float64],
) -> int:
    """Write the vectors to the other atoms within reach and their lengths into `found`; return their number."""
    x, y, z = positions[atom]
    count = 0
    for p in range(cube[atom, 0] - 1, cube[atom, 0] + 2):
        for q in range(cube[atom, 1] - 1, cube[atom, 1] + 2):
            key = (p * _STRIDE + q) * _STRIDE + cube[atom, 2]
            for m in range(np.searchsorted(keys, key - 1), np.searchsorted(keys, key + 1, side="right")):
                other = order[m]
                dx, dy, dz = positions[other, 0] - x, positions[other, 1] - y, positions[other, 2] - z
                distance = math.sqrt(dx * dx + dy * dy + dz * dz)
                if other != atom and distance < _REACH and count < len(found):
                    found[count, 0], found[count, 1], found[count, 2], found[count, 3] = dx, dy, dz, distance
                    count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _q(
    positions: NDArray[np.float64],
    grid: NDArray[np.float64],
    grid_matrix: NDArray[np.float64],
    values: NDArray[np.float32],
    limits: NDArray[np.float64],
    directions: NDArray[np.float64],
    first: NDArray[np.int64],
    order: NDArray[np.int64],
    keys: NDArray[np.int64],
    cube: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return Q of all atoms; map values are scaled by the limits first, which changes no correlation."""
    low, scale = limits[0], 1.0 / (limits[1] - limits[0])
    out = np.empty((len(positions), len(SIGMAS)))
    found = np.empty((min(len(positions), MAX_NEIGHBOURS), 4))
    kept = np.empty(directions.shape[0], dtype=np.int64)
    sums = np.empty((len(SIGMAS), 3))
    for n in range(len(positions)):
        around = found[: _neighbours(n, positions, order, keys, cube, found)]
        centre = (trilinear_at(values, grid[n, 0], grid[n, 1], grid[n, 2]) - low) * scale
        count, d, dd = float(POINTS), POINTS * centre, POINTS * centre * centre
        # sums of g, g², g·d for each width; at the centre the Gaussian is 1
        sums[:, 0], sums[:, 1], sums[:, 2] = POINTS, POINTS, d
        for shell in range(1, SHELLS + 1):
            radius = SHELL_STEP * shell
            survivors = _survivors(radius, around, directions, first, kept)
            total, squares = _sampled(values, grid[n], grid_matrix, radius, directions, kept[:survivors], low, scale)
            count += survivors
            d += total
            dd += squares
            for width in range(len(SIGMAS)):
                gauss = math.exp(-0.5 * (radius / SIGMAS[width]) ** 2)
                sums[width, 0] += gauss * survivors
                sums[width, 1] += gauss * gauss * survivors
                sums[width, 2] += gauss * total
        spread = dd - d * d / count
        for width in range(len(SIGMAS)):
            covariance = sums[width, 2] - sums[width, 0] * d / count
            variance = (sums[width, 1] - sums[width, 0] ** 2 / count) * spread
            # a flat map leaves only the rounding of the sums
            out[n, width] = covariance / math.sqrt(variance) if spread > 1e-13 * dd and variance > 0.0 else math.nan
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _sampled(
    values: NDArray[np.float32],
    centre: NDArray[np.float64],
    grid_matrix: NDArray[np.float64],
    radius: float,
    directions: NDArray[np.float64],
    chosen: NDArray[np.int64],
    low: float,
    scale: float,
) -> tuple[float, float]:
    """Return the sums of the scaled map values, and of their squares, at the chosen points of a shell."""
    g = grid_matrix
    total, squares = 0.0, 0.0
    for p in chosen:
        x, y, z = directions[p, 0] * radius, directions[p, 1] * radius, directions[p, 2] * radius
        u = centre[0] + g[0, 0] * x + g[0, 1] * y + g[0, 2] * z
        v = centre[1] + g[1, 0] * x + g[1, 1] * y + g[1, 2] * z
        w = centre[2] + g[2, 0] * x + g[2, 1] * y + g[2, 2] * z
        value = (trilinear_at(values, u, v, w) - low) * scale
        total += value
        squares += value * value
    return total, squares


@njit(cache=True, nogil=True, error_model="numpy")
def _survivors(
    radius: float,
    around: NDArray[np.float64],
    directions: NDArray[np.float64],
    first: NDArray[np.int64],
    kept: NDArray[np.int64],
) -> int:
    """Write those points of the first spiral that has enough of them free into `kept`; return their number, or 0."""
    near2 = (TOLERANCE * radius) ** 2
    reach = radius * (1.0 + TOLERANCE)
    for attempt in range(len(first) - 1):
        count = 0
        for p in range(first[attempt], first[attempt + 1]):
            x, y, z = directions[p, 0] * radius, directions[p, 1] * radius, directions[p, 2] * radius
            free = True
            for m in range(len(around)):
                if around[m, 3] < reach:
                    dx, dy, dz = around[m, 0] - x, around[m, 1] - y, around[m, 2] - z
                    if dx * dx + dy * dy + dz * dz < near2:
                        free = False
                        break
            if free:
                kept[count] = p
                count += 1
        if count >= POINTS:
            return count
    return 0
