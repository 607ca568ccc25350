"""Occupancies of alternate conformers, fitted to the map.

Neighbouring residues with the same conformer letters form a group; in each group every letter has one occupancy, and
those of a group add up to 1. They are exponentials divided by their sum, so that the constraint holds by construction.
The objective is CC_mask, as for B factors, with its exact gradient.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from refinement.maps.boxing import box_around
from refinement.maps.scattering import B_RANGE
from refinement.minimise import minimise
from refinement.moves.adp import B_MIN, MapFit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.structure import Structure

LOWEST = 0.02
"""Lowest occupancy to start from, so that a conformer of occupancy 0 can come back."""


@dataclass(frozen=True, slots=True)
class OccupancyFit:
    """Outcome: `structure` with its occupancies, CC_mask in the fitting box before and after, and the number of groups."""

    structure: Structure
    cc_before: float
    cc_after: float
    groups: int


def fit_occupancies(
    structure: Structure, density: Density, d_min: float, *, evaluations: int, cushion: float = 8.0, threads: int = 1
) -> OccupancyFit:
    """Fit the occupancies of alternate conformers; a model without any comes back as it is.

    Parameters
    ----------
    structure : Structure
        The model with its B factors.
    density : Density
        The map, any scale.
    d_min : float
        Resolution in Å.
    evaluations : int
        About how many model maps may be computed.
    cushion : float
        Å; the fit works in a box around the model with this margin.
    threads : int
        Threads; the result doesn't depend on it.

    Returns
    -------
    OccupancyFit
        The input's occupancies are kept if no others correlate better.
    """
    group, conformer = conformer_groups(structure)
    atoms = np.flatnonzero(conformer >= 0)
    if not len(atoms):
        return OccupancyFit(structure, np.nan, np.nan, 0)
    box = box_around(density, structure.positions, cushion)
    fit = MapFit.prepare(structure, box, d_min, np.zeros(len(structure), dtype=np.int64), 0.0, threads)
    members = conformer[atoms]
    group_of = np.zeros(int(members.max()) + 1, dtype=np.int64)
    group_of[members] = group[atoms]
    b_iso = np.clip(structure.b_iso, B_MIN, B_RANGE[1])

    def occupancies(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        share = _shares(x, group_of)
        values = structure.occupancy.copy()
        values[atoms] = share[members]
        return values, share

    def objective(x: NDArray[np.float64], gradient: NDArray[np.float64]) -> float:
        values, share = occupancies(x)
        cc, by_atom = fit.occupancy_slope(b_iso, values)
        by_share = np.bincount(members, weights=by_atom[atoms], minlength=len(share))
        mean = np.bincount(group_of, weights=share * by_share)
        gradient[:] = -share * (by_share - mean[group_of])
        return -cc

    before = fit.occupancy_slope(b_iso, structure.occupancy)[0]
    mean_occupancy = np.bincount(members, weights=structure.occupancy[atoms]) / np.bincount(members)
    start = np.log(np.maximum(mean_occupancy, LOWEST))
    found = minimise(objective, start, max_iterations=evaluations, max_shift=0.7, tolerance=1e-6)
    values = structure.occupancy.copy()
    values[atoms] = _rounded(_shares(found.x, group_of), group_of)[members]
    after = fit.occupancy_slope(b_iso, values)[0]
    if after <= before:
        return OccupancyFit(structure, before, before, int(group.max()) + 1)
    return OccupancyFit(replace(structure, occupancy=values), before, after, int(group.max()) + 1)


def conformer_groups(structure: Structure) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the group and the conformer of every atom, -1 for atoms that every conformer shares; conformers count on."""
    group = np.full(len(structure), -1, dtype=np.int64)
    conformer = group.copy()
    residues = structure.residues
    lettered = structure.altloc != ""
    previous: tuple[int, tuple[str, ...]] | None = None
    groups = conformers = 0
    for row in np.unique(structure.residue[lettered]).tolist():
        mine = np.arange(residues.first[row], residues.first[row + 1])
        mine = mine[lettered[mine]]
        letters = tuple(np.unique(structure.altloc[mine]).tolist())
        if len(letters) < 2:
            continue
        continues = previous == (row - 1, letters) and residues.chain_index[row] == residues.chain_index[row - 1]
        if not continues:
            groups += 1
            conformers += len(letters)
        group[mine] = groups - 1
        conformer[mine] = conformers - len(letters) + np.searchsorted(letters, structure.altloc[mine])
        previous = (row, letters)
    return group, conformer


def _shares(x: NDArray[np.float64], group_of: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return exponentials of x divided by their sum over each group."""
    top = np.full(int(group_of.max()) + 1, -np.inf)
    np.maximum.at(top, group_of, x)
    powers = np.exp(x - top[group_of])
    return powers / np.bincount(group_of, weights=powers)[group_of]


def _rounded(share: NDArray[np.float64], group_of: NDArray[np.int64]) -> NDArray[np.float64]:
    """Round to what a file holds, so that groups still add up to 1: the largest of each takes the difference."""
    rounded = np.round(share, 2)
    missing = 1.0 - np.bincount(group_of, weights=rounded)
    for number in range(len(missing)):
        rows = np.flatnonzero(group_of == number)
        largest = rows[np.argmax(share[rows])]
        rounded[largest] = np.round(rounded[largest] + missing[number], 2)
    return rounded
