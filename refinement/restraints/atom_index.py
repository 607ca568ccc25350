"""Which restraints an atom takes part in: a part of a large model is picked without looking at the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class AtomIndex:
    """Rows of restraints by atom: atom i takes part in ``rows[first[i]:first[i + 1]]``, ascending."""

    first: NDArray[np.int64]
    rows: NDArray[np.int32]

    @classmethod
    def of(cls, atoms: NDArray[np.int32], size: int) -> AtomIndex:
        """Return the index of restraints with the atoms of each in a row, shape (m, k), of a model of `size` atoms.

        Negative atoms stand for none.
        """
        return cls.of_flat(atoms.ravel(), np.repeat(np.arange(len(atoms), dtype=np.int32), atoms.shape[1]), size)

    @classmethod
    def of_flat(cls, atoms: NDArray[np.int32], owner: NDArray[np.int32], size: int) -> AtomIndex:
        """Return the same from a list of atoms and the restraint of each; owners ascend."""
        order = np.argsort(atoms, kind="stable")
        order = order[np.searchsorted(atoms[order], 0) :]
        first = np.zeros(size + 1, dtype=np.int64)
        np.cumsum(np.bincount(atoms[order], minlength=size), out=first[1:])
        return cls(first, owner[order].astype(np.int32))

    def touching(self, atoms: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the restraints that any of some atoms takes part in, ascending."""
        return np.unique(_gathered(self.first, self.rows, atoms))


@njit(cache=True, nogil=True, error_model="numpy")
def _gathered(first: NDArray[np.int64], rows: NDArray[np.int32], atoms: NDArray[np.int32]) -> NDArray[np.int32]:
    total = 0
    for atom in atoms:
        total += first[atom + 1] - first[atom]
    out = np.empty(total, dtype=np.int32)
    place = 0
    for atom in atoms:
        for k in range(first[atom], first[atom + 1]):
            out[place] = rows[k]
            place += 1
    return out
