"""All-atom contacts: which pairs of atoms overlap too much (metrics: clashscore)."""

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
    buried,
    close_by_bonds,
    contacts_of,
    deepest,
    dot_spheres,
)
from refinement.restraints.graph import Neighbours, neighbours

if TYPE_CHECKING:
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


@dataclass(frozen=True, slots=True, eq=False)
class Clashes:
    """Pairs of atoms that overlap by at least `CLASH_OVERLAP`, worst first.

    Attributes
    ----------
    pairs : NDArray[int32], shape (m, 2)
    overlap : NDArray[float64], shape (m,)
        Å, beyond the allowance where the pair is a hydrogen bond.
    """

    pairs: NDArray[np.int32]
    overlap: NDArray[np.float64]


def find_clashes(
    structure: Structure, types: ContactTypes, bonded: Neighbours, *, smallest_occupancy: float = SMALLEST_OCCUPANCY
) -> Clashes:
    """Find the clashes of a model with hydrogens.

    Sources of dots are all atoms except waters, targets all atoms; atoms with too little occupancy and pairs of
    different conformers are left out. A pair counts once, with its worst dot from either side. A pair with a dot
    that is an allowed hydrogen bond is no clash.

    Parameters
    ----------
    structure : Structure
    types : ContactTypes
    bonded : Neighbours
        Covalent graph.
    smallest_occupancy : float
        Atoms must have more than this.
    """
    present = structure.occupancy > smallest_occupancy
    return _merged(*_directed(structure, types, bonded, ~types.water, present))


def find_water_contacts(structure: Structure, types: ContactTypes, bonded: Neighbours) -> Clashes:
    """Find what clashes with waters, dots being on the waters only (Prisant et al. 2020, Protein Sci. 29, 315).

    An acceptor that overlaps the oxygen is a clash here, as nothing turns a hydrogen of the water to it. Two waters
    do that for each other. Hydrogen bonds with donors are allowed; they don't excuse other dots.

    Returns
    -------
    Clashes
        Pairs (water atom, other atom), worst first; a pair of waters is listed both ways.
    """
    found, overlap = _directed(structure, types, bonded, types.water, np.ones(len(structure), dtype=bool))
    found, overlap = found[overlap >= CLASH_OVERLAP], overlap[overlap >= CLASH_OVERLAP]
    both = np.concatenate([found, found[:, ::-1]])
    twice = np.concatenate([overlap, overlap])
    kept = types.water[both[:, 0]]
    both, twice = both[kept], twice[kept]
    order = np.lexsort((both[:, 1], both[:, 0], -twice))
    # a pair of waters was found from either side
    _, first = np.unique(both[order], axis=0, return_index=True)
    chosen = order[np.sort(first)]
    return Clashes(both[chosen], twice[chosen])


def _directed(
    structure: Structure, types: ContactTypes, bonded: Neighbours, wanted: NDArray[np.bool_], present: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return pairs and overlaps found with dots on the `wanted` atoms; of the `present` ones only."""
    bonded = _with_ions(structure, types, bonded)
    letters = altloc_codes(structure)
    positions, radius = structure.positions, types.radius
    sources = _sources(structure, types, letters, present, wanted)
    reach = radius[sources] + float(radius.max()) + 2.0 * PROBE_RADIUS
    seen = np.flatnonzero(present).astype(np.int32)
    offsets, rows = neighbours_around(positions[sources], positions[seen], reach)
    dots, first, sphere = dot_spheres(radius)
    found, overlap = _dot_clashes(
        positions, radius, types.donor, types.acceptor, types.water, structure.is_hydrogen, structure.occupancy,
        letters, bonded.first, bonded.partner, offsets, seen[rows], dots, first, sphere, sources,
    )  # fmt: skip
    return found, overlap


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
def _dot_clashes(
    positions: Floats, radius: Floats, donor: Flags, acceptor: Flags, water: Flags, hydrogen: Flags, occupancy: Floats,
    altloc: Ints, bond_first: Ints, bond_partner: Ints, offsets: Longs, rows: Ints, dots: Floats, first: Longs, sphere: Longs,
    sources: Ints,
) -> tuple[Ints, Floats]:  # fmt: skip
    """Return pairs (source, target) and their worst overlap; infinite negative for a hydrogen bond."""
    capacity = 16 * len(sources) + 64
    found = np.empty((capacity, 2), dtype=np.int32)
    overlap = np.empty(capacity)
    total = 0
    near = np.empty(MAX_NEIGHBOURS, dtype=np.int32)
    close = np.empty(MAX_NEIGHBOURS, dtype=np.int32)
    worst = np.empty(MAX_NEIGHBOURS)
    for s in range(len(sources)):
        source = sources[s]
        n_close = close_by_bonds(source, bond_first, bond_partner, hydrogen, altloc, close)
        n_near = contacts_of(source, rows[offsets[s] : offsets[s + 1]], close, n_close, altloc, near)
        if not _any_deep(source, near, n_near, positions, radius):
            continue
        for k in range(n_near):
            worst[k] = 0.0
        for d in range(first[sphere[source]], first[sphere[source] + 1]):
            x = positions[source, 0] + dots[d, 0]
            y = positions[source, 1] + dots[d, 1]
            z = positions[source, 2] + dots[d, 2]
            k, gap = deepest(x, y, z, near, n_near, positions, radius)
            if k < 0 or gap > 0.0 or buried(x, y, z, close, n_close, positions, radius):
                continue
            target = near[k]
            if (donor[source] and acceptor[target]) or (acceptor[source] and donor[target]):
                if gap >= -HYDROGEN_BOND_OVERLAP:
                    worst[k] = -np.inf
                else:
                    worst[k] = max(worst[k], -gap - HYDROGEN_BOND_OVERLAP)
            elif water[target] and acceptor[source]:
                # a water turns a hydrogen to the acceptor
                if gap < -HYDROGEN_BOND_OVERLAP:
                    worst[k] = max(worst[k], -gap)
            elif (altloc[source] != 0 and altloc[target] != 0) or occupancy[source] + occupancy[target] > 1.0:
                worst[k] = max(worst[k], -gap)
        for k in range(n_near):
            if worst[k] >= CLASH_OVERLAP or worst[k] == -np.inf:
                if total == capacity:
                    break
                found[total, 0], found[total, 1] = min(source, near[k]), max(source, near[k])
                overlap[total] = worst[k]
                total += 1
    return found[:total], overlap[:total]


@njit(cache=True, nogil=True, error_model="numpy")
def _any_deep(source: int, near: Ints, n_near: int, positions: Floats, radius: Floats) -> bool:
    """Return whether any sphere of `near` overlaps that of `source` enough for a clash."""
    for k in range(n_near):
        j = near[k]
        limit = radius[source] + radius[j] - CLASH_OVERLAP
        square = 0.0
        for a in range(3):
            square += (positions[j, a] - positions[source, a]) ** 2
        if limit > 0.0 and square <= limit * limit:
            return True
    return False


def _merged(found: NDArray[np.int32], overlap: NDArray[np.float64]) -> Clashes:
    """Merge both directions of a pair; hydrogen bonds cancel clashes."""
    if not len(found):
        return Clashes(np.empty((0, 2), dtype=np.int32), np.empty(0))
    pairs, inverse = np.unique(found, axis=0, return_inverse=True)
    inverse = inverse.ravel()
    worst = np.full(len(pairs), -np.inf)
    np.maximum.at(worst, inverse, overlap)
    saved = np.zeros(len(pairs), dtype=bool)
    saved[inverse[np.isneginf(overlap)]] = True
    keep = ~saved & (worst >= CLASH_OVERLAP)
    pairs, worst = pairs[keep], worst[keep]
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -worst))
    return Clashes(pairs[order].astype(np.int32), worst[order])
