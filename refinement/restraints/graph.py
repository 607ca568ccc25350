"""The bond graph as sorted neighbour lists, and the atom pairs that it excludes from contacts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Bonded neighbours: those of atom i are ``partner[first[i]:first[i + 1]]``, ascending.

    Attributes
    ----------
    first : NDArray[int32], shape (n + 1,)
    partner : NDArray[int32], shape (2 * number of bonds,)
    """

    first: NDArray[np.int32]
    partner: NDArray[np.int32]

    def of(self, atom: int) -> NDArray[np.int32]:
        """Return the atoms bonded to `atom`."""
        return self.partner[self.first[atom] : self.first[atom + 1]]


@dataclass(frozen=True, slots=True, eq=False)
class Exclusions:
    """Atoms at most three bonds away: those of atom i are ``partner[first[i]:first[i + 1]]``, ascending.

    Every pair is listed from both ends.

    Attributes
    ----------
    first : NDArray[int32], shape (n + 1,)
    partner : NDArray[int32], shape (m,)
    order : NDArray[uint8], shape (m,)
        2, 3 or 4 for 1-2, 1-3 and 1-4 pairs: the shortest path, counted in atoms.
    """

    first: NDArray[np.int32]
    partner: NDArray[np.int32]
    order: NDArray[np.uint8]

    def of(self, atom: int, order: int | None = None) -> NDArray[np.int32]:
        """Return the excluded partners of `atom`, all or those of one order (2, 3 or 4)."""
        row = slice(self.first[atom], self.first[atom + 1])
        return self.partner[row] if order is None else self.partner[row][self.order[row] == order]


def neighbours(n_atoms: int, pairs: NDArray[np.int32]) -> Neighbours:
    """Return the neighbour lists of `n_atoms` atoms joined by `pairs` (shape (m, 2)); repeats count once."""
    both = np.concatenate([pairs, pairs[:, ::-1]]).astype(np.int64)
    keys = np.sort(both[:, 0] * n_atoms + both[:, 1])  # sorting is ten times as fast here as the hashing of np.unique
    keys = keys[np.diff(keys, prepend=-1) != 0]
    first = np.zeros(n_atoms + 1, dtype=np.int32)
    np.cumsum(np.bincount(keys // max(n_atoms, 1), minlength=n_atoms), out=first[1:])
    return Neighbours(first, (keys % max(n_atoms, 1)).astype(np.int32))


def exclusions(bonded: Neighbours) -> Exclusions:
    """Return all pairs at most three bonds apart (breadth-first from every atom)."""
    n_atoms = len(bonded.first) - 1
    first = np.zeros(n_atoms + 1, dtype=np.int32)
    nothing = np.empty(0, dtype=np.int32)
    _walk(bonded.first, bonded.partner, first, nothing, np.empty(0, dtype=np.uint8))
    partner = np.empty(first[-1], dtype=np.int32)
    order = np.empty(first[-1], dtype=np.uint8)
    _walk(bonded.first, bonded.partner, first, partner, order)
    return Exclusions(first, partner, order)


@njit(cache=True, nogil=True, error_model="numpy")
def _walk(
    bond_first: NDArray[np.int32],
    bond_partner: NDArray[np.int32],
    first: NDArray[np.int32],
    partner: NDArray[np.int32],
    order: NDArray[np.uint8],
) -> None:
    """Count the pairs of each atom into `first` while `partner` is empty, else list them, sorted."""
    n_atoms = len(first) - 1
    counting = len(partner) == 0
    found = np.empty(n_atoms, dtype=np.int32)
    depth = np.zeros(n_atoms, dtype=np.uint8)
    for atom in range(n_atoms):
        found[0] = atom
        depth[atom] = 1
        n_found, start = 1, 0
        for level in range(2, 5):
            stop = n_found
            for k in range(start, stop):
                for b in range(bond_first[found[k]], bond_first[found[k] + 1]):
                    other = bond_partner[b]
                    if depth[other] == 0:
                        depth[other] = level
                        found[n_found] = other
                        n_found += 1
            start = stop
        if counting:
            first[atom + 1] = first[atom] + n_found - 1
        else:
            row = first[atom]
            for k, other in enumerate(np.sort(found[1:n_found])):
                partner[row + k] = other
                order[row + k] = depth[other]
        for k in range(n_found):
            depth[found[k]] = 0
