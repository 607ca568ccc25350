"""EMRinger: how often side chains sit where the density around χ1 says that they should (metrics §14).

Barad et al. 2015, Nature Methods 12, 943-946, with the conventions of its published program, so that scores can be
compared: the γ atom is turned about the CA-CB bond and the raw map is read every 5°. Above a series of levels, the
peaks at rotameric angles are counted and compared with chance. The score is ten times the best z over the square
root of the number of side chains.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from refinement import tables
from refinement.conformers import NamedAtoms
from refinement.geometry import dihedrals
from refinement.maps.interpolation import trilinear_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.structure import Structure

SAMPLES = 72
STEP = 360.0 / SAMPLES
"""Degrees between samples. The first is at χ1 = 5°, yet sample k is called 5k° here as in the published program."""
LEVELS = 20
SCORED = ("ARG", "ASN", "ASP", "CYS", "GLU", "GLN", "HIS", "LEU", "LYS", "MET", "PHE", "SER", "TRP", "TYR")
"""Residues that count; branched ones and proline are only looked at."""
ROTAMERIC = ((np.arange(SAMPLES) - 6) // 12) % 2 == 0
"""Samples within about 30° of 60, 180 and 300°: bins of 12 samples, of which every other one is rotameric."""
BY_CHANCE = 39.0 / SAMPLES
"""Fraction of peaks that are taken to be rotameric by chance; half the samples would be 36, the published score has 39."""


@dataclass(frozen=True, slots=True, eq=False)
class EMRinger:
    """Result.

    Attributes
    ----------
    summary : dict[str, float | None]
        ``emringer``.
    reasons : dict[str, str]
        ``not_applicable`` where no side chain can be scanned, or the density around them has no features.
    columns : dict[str, NDArray[float32]]
        ``emringer_peak``: angle (°) of the highest sample round χ1 per residue, NaN where there is no χ1.
    curves : dict[str, dict[str, list[float]]]
        ``emringer``: ``threshold`` (map units), ``z``, ``score`` and ``rotamer_ratio`` of each level.
    details : dict[str, dict[str, Any]]
        ``emringer``: ``residues`` (side chains that count), ``z``, ``threshold`` and ``rotamer_ratio`` at the best level,
        and ``chains``, the score of each chain on its own where it has one.
    """

    summary: dict[str, float | None]
    reasons: dict[str, str] = field(default_factory=dict)
    columns: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    curves: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    details: dict[str, dict[str, Any]] = field(default_factory=dict)


def emringer(structure: Structure, density: Density) -> EMRinger:
    """Return the EMRinger score of a model in a map, whatever the resolution (it is meant for 4.5 Å and better).

    Parameters
    ----------
    structure : Structure
        The model. Of residues with alternate conformers the first one is taken.
    density : Density
        The primary map as deposited. Side chains that leave the box on their way round aren't scanned.
    """
    rows, atoms = chi1_atoms(structure)
    scans = scan(structure, density, atoms)
    peak = np.full(len(structure.residues), np.nan, dtype=np.float32)
    finite = np.isfinite(scans).all(axis=1)
    rows, scans = rows[finite], scans[finite]
    peak[rows] = STEP * np.argmax(scans, axis=1)
    columns = {"emringer_peak": peak}
    counted = np.isin(structure.residues.compound[rows], SCORED)
    curve = score_curve(scans[counted])
    if not len(curve["score"]):
        return EMRinger({"emringer": None}, {"emringer": "not_applicable"}, columns)
    best = int(np.argmax(curve["z"]))
    details = {
        "residues": int(counted.sum()),
        **{key: float(curve[key][best]) for key in ("z", "threshold", "rotamer_ratio")},
        "chains": _by_chain(structure.residues.chain[rows[counted]], scans[counted]),
    }
    listed = {key: values.tolist() for key, values in curve.items()}
    return EMRinger({"emringer": float(curve["score"][best])}, {}, columns, {"emringer": listed}, {"emringer": details})


def chi1_atoms(structure: Structure) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the residues with a complete χ1, shape (m,), and their N, CA, CB and γ atoms, shape (m, 4).

    Each residue is taken in the first of its own conformers; of several residues at one place the first is taken.
    """
    residues = structure.residues
    gamma_of = {compound: quads[0][3] for compound, quads in tables.chi_atoms().items()}
    gammas = sorted(set(gamma_of.values()))
    table = NamedAtoms(structure, ("N", "CA", "CB", *gammas)).table(_first_letters(structure))
    compounds, of_residue = np.unique(residues.compound, return_inverse=True)
    column = np.array([3 + gammas.index(gamma_of[name]) if name in gamma_of else -1 for name in compounds.tolist()])[of_residue]
    same_place = np.zeros(len(residues), dtype=bool)
    same_place[1:] = residues.chain_index[1:] == residues.chain_index[:-1]
    same_place[1:] &= (residues.number[1:] == residues.number[:-1]) & (residues.insertion[1:] == residues.insertion[:-1])
    rows = np.flatnonzero((column >= 0) & ~same_place)
    atoms = np.concatenate([table[rows, :3], table[rows, column[rows]][:, None]], axis=1)
    complete = (atoms >= 0).all(axis=1)
    return rows[complete], atoms[complete]


def _first_letters(structure: Structure) -> NDArray[np.str_]:
    """Return the letter of the first conformer of each residue, "" where it has none."""
    letters = np.zeros(len(structure.residues), dtype="<U1")
    lettered = np.flatnonzero(structure.altloc != "")[::-1]
    letters[structure.residue[lettered]] = structure.altloc[lettered]
    return letters


def scan(structure: Structure, density: Density, atoms: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the map at the γ atom for χ1 = 5, 10, ... 360°, shape (m, 72); `atoms` (m, 4) are N, CA, CB and γ.

    Points outside the box are NaN.
    """
    if not len(atoms):
        return np.empty((0, SAMPLES))
    chi = dihedrals(structure.positions, *atoms.T)
    corners = [density.grid_coordinates(structure.positions[column]) for column in atoms[:, 1:].T]
    axis = structure.positions[atoms[:, 2]] - structure.positions[atoms[:, 1]]
    length = np.linalg.norm(axis, axis=1)
    arm = structure.positions[atoms[:, 3]] - structure.positions[atoms[:, 2]]
    unit = axis / np.where(length > 0.0, length, np.nan)[:, None]
    along = np.einsum("ij,ij->i", arm, unit)[:, None] * unit
    across = arm - along
    up = np.cross(unit, across)
    matrix = density.grid_matrix.T
    return _scan(density.values, corners[1] + along @ matrix, across @ matrix, up @ matrix, np.radians(chi))


@njit(cache=True, nogil=True, error_model="numpy")
def _scan(
    values: NDArray[np.float32],
    centre: NDArray[np.float64],
    across: NDArray[np.float64],
    up: NDArray[np.float64],
    chi: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Read the map on circles, all in grid coordinates: centre + across cos t + up sin t with t = χ1 − chi."""
    nx, ny, nz = values.shape
    out = np.empty((len(centre), SAMPLES))
    for n in range(len(centre)):
        for k in range(SAMPLES):
            turn = math.radians(STEP * (k + 1)) - chi[n]
            c, s = math.cos(turn), math.sin(turn)
            u = centre[n, 0] + c * across[n, 0] + s * up[n, 0]
            v = centre[n, 1] + c * across[n, 1] + s * up[n, 1]
            w = centre[n, 2] + c * across[n, 2] + s * up[n, 2]
            inside = 0.0 <= u <= nx - 1 and 0.0 <= v <= ny - 1 and 0.0 <= w <= nz - 1
            out[n, k] = trilinear_at(values, u, v, w) if inside else math.nan
    return out


def score_curve(scans: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return what is found at each level that still has a rotameric peak.

    Parameters
    ----------
    scans : NDArray[float64], shape (m, 72)
        Density round χ1 of the side chains that count.

    Returns
    -------
    dict[str, NDArray[float64]]
        ``threshold``, ``z``, ``score`` and ``rotamer_ratio``, one entry per level; empty where nothing can be scored.
    """
    empty: NDArray[np.float64] = np.empty(0)
    found: dict[str, list[float]] = {"threshold": [], "z": [], "score": [], "rotamer_ratio": []}
    if len(scans):
        top = scans.max(axis=1)
        low, high = float(scans.mean(axis=1).mean()), float(top.max())
        peaks = scans == top[:, None]
        all_peaks, rotameric = peaks.sum(axis=1), peaks[:, ROTAMERIC].sum(axis=1)
        levels = [low + number * (high - low) / LEVELS for number in range(LEVELS)] if high > low else []
        for level in levels:
            above = top > level
            count, good = int(all_peaks[above].sum()), int(rotameric[above].sum())
            if not good:
                break
            z = (good - BY_CHANCE * count) / math.sqrt(BY_CHANCE * (1.0 - BY_CHANCE) * count)
            values = (level, z, 10.0 * z / math.sqrt(len(scans)), good / count)
            for key, value in zip(found, values, strict=True):
                found[key].append(value)
    return {key: np.array(values) if values else empty for key, values in found.items()}


def _by_chain(chain: NDArray[np.str_], scans: NDArray[np.float64]) -> dict[str, float]:
    """Return the score of every chain on its own."""
    scores = {}
    for name in dict.fromkeys(chain.tolist()):
        curve = score_curve(scans[chain == name])
        if len(curve["score"]):
            scores[name] = float(curve["score"].max())
    return scores
