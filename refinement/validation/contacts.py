"""All-atom contacts: which pairs of atoms overlap too much (metrics: clashscore).

A pair counts by the chance that contact dots in a random orientation find its overlap, see
`refinement.validation.contact_surface`: how a model lies in space, the names and the order of its atoms don't matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from refinement.cells import neighbour_pairs, neighbours_around
from refinement.restraints.contact_types import altloc_codes
from refinement.restraints.dots import (
    HYDROGEN_BOND_OVERLAP,
    MAX_NEIGHBOURS,
    PROBE_RADIUS,
    close_by_bonds,
    contacts_of,
)
from refinement.restraints.graph import Neighbours, neighbours
from refinement.validation.contact_surface import covers, depth_of_contact

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from refinement.restraints.contact_types import ContactTypes
    from refinement.structure import Structure

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]
    Flags = NDArray[np.bool_]

CLASH_OVERLAP = 0.4
"""Å"""
SMALLEST_OCCUPANCY = 0.01
ION_SHORTER, ION_LONGER = 0.6, 0.2
"""A metal is bonded to atoms whose distance differs from the sum of radii by no more than these (Å)."""
MAX_CLASHES = 16
"""More pairs per atom than can overlap too much."""


@dataclass(frozen=True, slots=True, eq=False)
class Clashes:
    """Pairs of atoms that dots find to overlap by `CLASH_OVERLAP` in at least half of all orientations, worst first.

    Attributes
    ----------
    pairs : NDArray[int32], shape (m, 2)
    overlap : NDArray[float64], shape (m,)
        Å, beyond the allowance where the pair is a hydrogen bond: what dots find with even odds.
    expected : float
        Number of such pairs on average over all orientations, those that dots find more rarely included.
    """

    pairs: NDArray[np.int32]
    overlap: NDArray[np.float64]
    expected: float


def find_clashes(
    structure: Structure,
    types: ContactTypes,
    bonded: Neighbours,
    *,
    smallest_occupancy: float = SMALLEST_OCCUPANCY,
    share: Callable[[Ints], Floats] | None = None,
) -> Clashes:
    """Find the clashes of a model with hydrogens.

    The surfaces of all atoms but waters are looked at, waters are touched only; atoms with too little occupancy and pairs of
    different conformers are left out. A pair counts once, with what is found from either side. A pair with a
    part that is an allowed hydrogen bond is no clash.

    Parameters
    ----------
    structure : Structure
    types : ContactTypes
    bonded : Neighbours
        Covalent graph.
    smallest_occupancy : float
        Atoms must have more than this.
    share : callable, optional
        How much pairs, rows of two atoms, count in the expected number; 1 each by default.
    """
    present = structure.occupancy > smallest_occupancy
    pairs, overlap, chance = _contacts(structure, types, bonded, ~types.water, present, excused=True)
    listed = chance >= 0.5
    order = np.lexsort((pairs[listed, 1], pairs[listed, 0], -overlap[listed]))
    expected = chance if share is None else chance * share(pairs)
    return Clashes(pairs[listed][order], overlap[listed][order], float(np.sort(expected).sum()))


def find_water_contacts(structure: Structure, types: ContactTypes, bonded: Neighbours) -> Clashes:
    """Find what clashes with waters, looking at the surface of waters only (Prisant et al. 2020, Protein Sci. 29, 315).

    An acceptor that overlaps the oxygen is a clash here, as nothing turns a hydrogen of the water to it. Two waters
    do that for each other. Hydrogen bonds with donors are allowed; they don't excuse deeper overlaps.

    Returns
    -------
    Clashes
        Pairs (water atom, other atom), worst first; a pair of waters is listed both ways.
    """
    everywhere = np.ones(len(structure), dtype=bool)
    found, overlap, chance = _contacts(structure, types, bonded, types.water, everywhere, excused=False)
    listed = chance >= 0.5
    both = np.concatenate([found[listed], found[listed][:, ::-1]])
    twice = np.concatenate([overlap[listed], overlap[listed]])
    kept = types.water[both[:, 0]]
    both, twice = both[kept], twice[kept]
    order = np.lexsort((both[:, 1], both[:, 0], -twice))
    return Clashes(both[order], twice[order], float(np.sort(chance).sum()))


def _contacts(
    structure: Structure,
    types: ContactTypes,
    bonded: Neighbours,
    wanted: NDArray[np.bool_],
    present: NDArray[np.bool_],
    *,
    excused: bool,
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
    """Return pairs that overlap, how much (Å) and the chance of dots to find it; the surface is that of the `wanted` atoms.

    With `excused`, a pair with a part that is an allowed hydrogen bond doesn't count.
    """
    bonded = _with_ions(structure, types, bonded)
    letters = altloc_codes(structure)
    positions, radius = structure.positions, types.radius
    sources = _sources(structure, types, letters, present, wanted)
    reach = radius[sources] + float(radius.max(initial=0.0)) + 2.0 * PROBE_RADIUS
    seen = np.flatnonzero(present).astype(np.int32)
    offsets, rows = neighbours_around(positions[sources], positions[seen], reach)
    place = np.full(len(structure), -1, dtype=np.int64)
    place[sources] = np.arange(len(sources))
    return _overlaps(
        positions, radius, types.donor, types.acceptor, types.water, structure.is_hydrogen, structure.occupancy,
        letters, bonded.first, bonded.partner, offsets, seen[rows], sources, place, excused,
    )  # fmt: skip


def _with_ions(structure: Structure, types: ContactTypes, bonded: Neighbours) -> Neighbours:
    """Add bonds between metals and the atoms they touch, so that two atoms at one metal don't clash."""
    metals = np.flatnonzero(types.metal)
    if not len(metals):
        return bonded
    reach = np.where(types.metal, types.radius + ION_LONGER, types.radius)
    pairs = neighbour_pairs(structure.positions, reach)
    pairs = pairs[types.metal[pairs[:, 0]] | types.metal[pairs[:, 1]]]
    length = np.linalg.norm(structure.positions[pairs[:, 0]] - structure.positions[pairs[:, 1]], axis=1)
    expected = types.radius[pairs].sum(axis=1)
    near = pairs[(length >= expected - ION_SHORTER) & (length <= expected + ION_LONGER)]
    owner = np.repeat(np.arange(len(structure)), np.diff(bonded.first))
    old = np.stack([owner, bonded.partner], axis=1).astype(np.int32)
    return neighbours(len(structure), np.concatenate([old, near]))


def _sources(
    structure: Structure, types: ContactTypes, altloc: NDArray[np.int32], present: NDArray[np.bool_], wanted: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Return the wanted atoms with a neighbour so deep in their sphere that a dot could be a clash."""
    reach = np.where(present, types.radius - CLASH_OVERLAP / 2.0, -1e3)
    pairs = neighbour_pairs(structure.positions, reach)
    i, j = pairs[:, 0], pairs[:, 1]
    together = (altloc[i] == altloc[j]) | (altloc[i] == 0) | (altloc[j] == 0)
    atoms = np.unique(pairs[together])
    return atoms[wanted[atoms]].astype(np.int32)


@njit(cache=True, nogil=True, error_model="numpy")
def _overlaps(
    positions: Floats, radius: Floats, donor: Flags, acceptor: Flags, water: Flags, hydrogen: Flags, occupancy: Floats,
    altloc: Ints, bond_first: Ints, bond_partner: Ints, offsets: Longs, rows: Ints, sources: Ints, place: Longs, excused: bool,
) -> tuple[Ints, Floats, Floats]:  # fmt: skip
    """Return pairs, their overlap with even odds and their chance; `place` is where an atom is in `sources`, or -1."""
    capacity = MAX_CLASHES * len(sources) + 64
    found = np.empty((capacity, 2), dtype=np.int32)
    overlap, chance = np.empty(capacity), np.empty(capacity)
    near, close = np.empty((2, MAX_NEIGHBOURS), dtype=np.int32), np.empty((2, MAX_NEIGHBOURS), dtype=np.int32)
    n_near, n_close = np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64)
    cover, count = np.empty((2, 2 * MAX_NEIGHBOURS, 6)), np.zeros(2, dtype=np.int32)
    radii, seen, pair, total = np.empty(2), np.zeros(2, dtype=np.int32), np.empty(2, dtype=np.int32), 0
    for s in range(len(sources)):
        pair[0], seen[0], radii[0] = sources[s], 1, radius[sources[s]]
        here = sources[s]
        n_close[0] = close_by_bonds(here, bond_first, bond_partner, hydrogen, altloc, close[0])
        n_near[0] = contacts_of(here, rows[offsets[s] : offsets[s + 1]], close[0], n_close[0], altloc, near[0])
        for k in range(n_near[0]):
            other = near[0, k]
            if place[other] >= 0 and other < here:
                continue
            least, allowance = _role(here, other, donor, acceptor, water, occupancy, altloc)
            square = 0.0
            for a in range(3):
                square += (positions[other, a] - positions[here, a]) ** 2
            distance = np.sqrt(square)
            pair[1], seen[1], radii[1] = other, place[other] >= 0, radius[other]
            if distance > radii[0] + radii[1] - least or total == capacity:
                continue
            if seen[1]:
                around = rows[offsets[place[other]] : offsets[place[other] + 1]]
                n_close[1] = close_by_bonds(other, bond_first, bond_partner, hydrogen, altloc, close[1])
                if here in close[1, : n_close[1]]:
                    continue
                n_near[1] = contacts_of(other, around, close[1], n_close[1], altloc, near[1])
            for side in range(2):
                if seen[side]:
                    count[side] = covers(
                        pair[side], pair[1 - side], near[side], n_near[side], close[side], n_close[side],
                        positions, radius, cover[side],
                    )  # fmt: skip
            odds, depth = depth_of_contact(distance, radii, seen, cover, count, least, np.inf)
            if excused and allowance > 0.0 and odds > 0.0:
                odds *= 1.0 - depth_of_contact(distance, radii, seen, cover, count, 0.0, allowance)[0]
            if odds > 0.0:
                found[total, 0], found[total, 1] = min(here, other), max(here, other)
                overlap[total], chance[total] = depth - allowance, odds
                total += 1
    return found[:total], overlap[:total], chance[:total]


@njit(cache=True, nogil=True, error_model="numpy")
def _role(
    source: int, target: int, donor: Flags, acceptor: Flags, water: Flags, occupancy: Floats, altloc: Ints
) -> tuple[float, float]:
    """Return from which overlap (Å) two atoms clash, and what is allowed to a hydrogen bond."""
    if (donor[source] and acceptor[target]) or (acceptor[source] and donor[target]):
        return HYDROGEN_BOND_OVERLAP + CLASH_OVERLAP, HYDROGEN_BOND_OVERLAP
    if water[target] and acceptor[source]:
        # a water turns a hydrogen to the acceptor
        return HYDROGEN_BOND_OVERLAP, 0.0
    if (altloc[source] != 0 and altloc[target] != 0) or occupancy[source] + occupancy[target] > 1.0:
        return CLASH_OVERLAP, 0.0
    return np.inf, 0.0
