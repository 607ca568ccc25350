"""Repulsion of atoms that are not bonded: E = w Σ (d0 - r - d)² where the distance d is less than d0 - r.

d0 is the sum of the contact radii of the clashscore, so that the engine and its judge mean the same contacts;
r is a small reduction. Without exception:

* atoms up to three bonds apart never repel, up to four where either is a hydrogen: their distances are set by
  bonds, angles and torsions;
* atoms of different conformers never repel;
* a donor hydrogen may come 0.6 Å closer to an acceptor. The heavy ends of a hydrogen bond keep their distance
  (2.9 Å at most): letting them closer makes side-chain oxygens collapse on backbone nitrogens;
* water has no hydrogens in the model and may bind through either end: 0.3 Å closer to N, O and S;
* metals come as close to N, O, S and halides as coordination does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from refinement.cells import neighbour_pairs
from refinement.restraints.contact_types import altloc_codes
from refinement.restraints.dots import HYDROGEN_BOND_OVERLAP, MAX_NEIGHBOURS, close_by_bonds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.restraints.contact_types import ContactTypes
    from refinement.restraints.graph import Neighbours
    from refinement.structure import Structure

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]
    Flags = NDArray[np.bool_]
    Bytes = NDArray[np.uint8]

MARGIN = 1.0
"""Pairs are listed up to this much (Å) beyond contact and stay valid until an atom has moved half of it."""
REDUCTION = 0.2
"""Å by which contacts may be closer than the sum of radii without cost; half of what the clashscore allows."""
HEAVY_BOND = 2.9
"""Longest contact distance (Å) of an N or O with a hydrogen and an N or O that accepts one."""
WATER_ALLOWANCE = 0.3
"""Å"""
COORDINATION = 1.9
"""Contact distance (Å) of a metal and N, O, S or a halide."""

DONOR, ACCEPTOR, POLAR, METAL, WATER, LIGAND, SMALL = 1, 2, 4, 8, 16, 32, 64
"""Bits of the role of an atom; `LIGAND` are the elements that bind metals, `SMALL` N and O, `POLAR` these with a hydrogen."""


@dataclass(frozen=True, slots=True, eq=False)
class PairList:
    """Pairs of atoms that may repel.

    Attributes
    ----------
    pairs : NDArray[int32], shape (m, 2)
    contact : NDArray[float64], shape (m,)
        Contact distance d0 in Å.
    built_at : NDArray[float64], shape (n, 3)
        Positions for which the list was made.
    margin : float
        Å.
    """

    pairs: NDArray[np.int32]
    contact: NDArray[np.float64]
    built_at: NDArray[np.float64]
    margin: float

    @property
    def parts(self) -> tuple[tuple[float, PairList], ...]:
        """Pairs that count alike, and how much: here all of them, fully."""
        return ((1.0, self),)

    def outdated(self, positions: NDArray[np.float64]) -> bool:
        """Return whether an atom moved so far (half the margin) that a pair could be missing."""
        return bool(moved_beyond(positions, self.built_at, 0.5 * self.margin))

    def energy_and_gradient(
        self, positions: NDArray[np.float64], gradient: NDArray[np.float64], *, weight: float, reduction: float = REDUCTION
    ) -> float:
        """Add the gradient (shape (n, 3), per Å) into `gradient` and return the energy."""
        return float(repulsion(positions, self.pairs, self.contact, weight, reduction, gradient))


@dataclass(frozen=True, slots=True, eq=False)
class Nonbonded:
    """What the pair list needs to know about the atoms; it doesn't change while they move.

    Attributes
    ----------
    radius : NDArray[float64], shape (n,)
        Å.
    role : NDArray[uint8], shape (n,)
        Bits `DONOR` … `SMALL`.
    altloc : NDArray[int32], shape (n,)
        Conformer, 0 for none.
    excluded_first, excluded : NDArray[int64], NDArray[int32]
        Atom i never repels ``excluded[excluded_first[i]:excluded_first[i + 1]]``, ascending.
    """

    radius: NDArray[np.float64]
    role: NDArray[np.uint8]
    altloc: NDArray[np.int32]
    excluded_first: NDArray[np.int64]
    excluded: NDArray[np.int32]

    def pair_list(
        self, positions: NDArray[np.float64], *, margin: float = MARGIN, among: NDArray[np.int32] | None = None
    ) -> PairList:
        """Return the pairs that may repel while no atom moves by more than half the margin (Å).

        With `among` (ascending rows) only pairs of these atoms.
        """
        if among is None:
            pairs = neighbour_pairs(positions, self.radius + 0.5 * margin)
        else:
            pairs = among[neighbour_pairs(positions[among], self.radius[among] + 0.5 * margin)]
        kept = np.empty_like(pairs)
        contact = np.empty(len(pairs))
        count = _filter(
            positions, pairs, self.radius, self.role, self.altloc, self.excluded_first, self.excluded, margin, kept, contact
        )
        return PairList(kept[:count].copy(), contact[:count].copy(), positions.copy(), margin)


def make_nonbonded(structure: Structure, types: ContactTypes, bonded: Neighbours) -> Nonbonded:
    """Prepare the repulsion of a model.

    Parameters
    ----------
    structure : Structure
        With hydrogens, usually.
    types : ContactTypes
        From `refinement.restraints.contact_types.contact_types`.
    bonded : Neighbours
        The covalent graph; metals may be part of it.
    """
    elements = structure.elements
    role = types.donor * DONOR + types.acceptor * ACCEPTOR + types.metal * METAL + types.water * WATER
    small = np.isin(elements, (7, 8))
    role = role + (types.polar & small) * POLAR + small * SMALL + np.isin(elements, (7, 8, 9, 16, 17, 34, 35, 53)) * LIGAND
    altloc = altloc_codes(structure)
    first, excluded = _exclusions(bonded.first, bonded.partner, structure.is_hydrogen, altloc)
    return Nonbonded(types.radius, role.astype(np.uint8), altloc, first, excluded)


@njit(cache=True, nogil=True, error_model="numpy")
def _exclusions(first: Ints, partner: Ints, hydrogen: Flags, altloc: Ints) -> tuple[Longs, Ints]:
    """Return the atoms too few bonds away from each atom, ascending."""
    n = len(hydrogen)
    found = np.empty(MAX_NEIGHBOURS, dtype=np.int32)
    offsets = np.zeros(n + 1, dtype=np.int64)
    for i in range(n):
        offsets[i + 1] = offsets[i] + close_by_bonds(i, first, partner, hydrogen, altloc, found)
    rows = np.empty(offsets[n], dtype=np.int32)
    for i in range(n):
        count = close_by_bonds(i, first, partner, hydrogen, altloc, found)
        # insertion: the rows are short
        for k in range(count):
            place = offsets[i] + k
            while place > offsets[i] and rows[place - 1] > found[k]:
                rows[place] = rows[place - 1]
                place -= 1
            rows[place] = found[k]
    return offsets, rows


@njit(cache=True, nogil=True, error_model="numpy")
def contact_distance(a: int, b: int, sum_of_radii: float) -> float:
    """Return d0 (Å) of two atoms with the roles a and b."""
    if (a & DONOR and b & ACCEPTOR) or (a & ACCEPTOR and b & DONOR):
        return sum_of_radii - HYDROGEN_BOND_OVERLAP
    if (a & METAL and b & LIGAND) or (b & METAL and a & LIGAND):
        return min(sum_of_radii, COORDINATION)
    if (a & WATER and b & LIGAND) or (b & WATER and a & LIGAND):
        return sum_of_radii - WATER_ALLOWANCE
    if (a & POLAR and b & (ACCEPTOR | POLAR)) or (b & POLAR and a & ACCEPTOR):
        return min(sum_of_radii, HEAVY_BOND) if a & SMALL and b & SMALL else sum_of_radii
    return sum_of_radii


@njit(cache=True, nogil=True, error_model="numpy")
def _filter(
    positions: Floats, pairs: Ints, radius: Floats, role: Bytes, altloc: Ints, excluded_first: Longs, excluded: Ints,
    margin: float, kept: Ints, contact: Floats,
) -> int:  # fmt: skip
    """Copy the pairs that may repel to `kept`, their d0 to `contact`, and return how many."""
    count = 0
    for k in range(len(pairs)):
        i, j = pairs[k, 0], pairs[k, 1]
        if altloc[i] != altloc[j] and altloc[i] != 0 and altloc[j] != 0:
            continue
        d0 = contact_distance(role[i], role[j], radius[i] + radius[j])
        square = 0.0
        for a in range(3):
            square += (positions[i, a] - positions[j, a]) ** 2
        if square > (d0 + margin) ** 2:
            continue
        low, high = excluded_first[i], excluded_first[i + 1]
        while low < high:
            middle = (low + high) // 2
            if excluded[middle] < j:
                low = middle + 1
            else:
                high = middle
        if low == excluded_first[i + 1] or excluded[low] != j:
            kept[count, 0], kept[count, 1] = i, j
            contact[count] = d0
            count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def repulsion(positions: Floats, pairs: Ints, contact: Floats, weight: float, reduction: float, gradient: Floats) -> float:
    """Return w Σ (contact - reduction - d)² over the pairs closer than that; the gradient is added to `gradient`."""
    energy = 0.0
    for k in range(len(pairs)):
        i, j = pairs[k, 0], pairs[k, 1]
        x = positions[i, 0] - positions[j, 0]
        y = positions[i, 1] - positions[j, 1]
        z = positions[i, 2] - positions[j, 2]
        square = x * x + y * y + z * z
        limit = contact[k] - reduction
        if square < limit * limit:
            length = np.sqrt(square)
            delta = limit - length
            energy += delta * delta
            push = -2.0 * weight * delta / max(length, 1e-6)
            gradient[i, 0] += push * x
            gradient[i, 1] += push * y
            gradient[i, 2] += push * z
            gradient[j, 0] -= push * x
            gradient[j, 1] -= push * y
            gradient[j, 2] -= push * z
    return weight * energy


@njit(cache=True, nogil=True, error_model="numpy")
def moved_beyond(positions: Floats, reference: Floats, limit: float) -> bool:
    """Return whether any point is further than `limit` (Å) from its reference, or not a number."""
    for i in range(len(positions)):
        square = 0.0
        for k in range(3):
            square += (positions[i, k] - reference[i, k]) ** 2
        if not square <= limit * limit:
            return True
    return False
