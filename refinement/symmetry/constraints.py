"""Copies refined as one: the first copy's positions vary, the others follow by their operators.

Let x be the positions that vary: those of the first copies, and of all atoms that have no counterpart. Every other atom
lies at R x + t, and a gradient g on it counts as Rᵀ g for its source, so that the gradient is exactly that of the energy
of the whole model, contacts between copies included.

How much each restraint counts is in `refinement.symmetry.counting`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from refinement.operators import Operators
from refinement.symmetry.counting import FREE, Counting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.symmetry.copies import Copies

    Floats = NDArray[np.float64]
    Rows = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Symmetry:
    """Which atoms of a model follow which.

    Attributes
    ----------
    source : NDArray[int32], shape (n,)
        Row of the atom that each atom is an image of; its own where it varies.
    operator : NDArray[int32], shape (n,)
        The operator that makes the image; 0, the identity, where it varies.
    copy : NDArray[int32], shape (n,)
        Number of the copy that the atom belongs to, `FREE` for none.
    multiplicity : NDArray[int32], shape (n,)
        How many atoms of the model have the same source.
    operators : Operators
    closed : bool
        The operators form a group and every copy has the same surroundings.
    """

    source: Rows
    operator: Rows
    copy: Rows
    multiplicity: Rows
    operators: Operators
    closed: bool

    def __len__(self) -> int:
        return len(self.source)

    @property
    def varies(self) -> NDArray[np.bool_]:
        """Mask of the atoms whose positions vary."""
        return self.source == np.arange(len(self.source))

    @property
    def varying(self) -> NDArray[np.int64]:
        """Rows of the atoms whose positions vary."""
        return np.flatnonzero(self.varies)

    @property
    def place(self) -> Rows:
        """Place of each atom among those that vary, -1 for images."""
        return np.where(self.varies, np.cumsum(self.varies) - 1, -1).astype(np.int32)

    @property
    def copies(self) -> int:
        """Number of copies N."""
        return int(self.multiplicity.max(initial=1))

    def spread(self, x: Floats) -> Floats:
        """Return the positions (n, 3) of all atoms from those that vary, in their order."""
        positions = np.empty((len(self.source), 3))
        positions[self.varying] = x
        _spread(positions, self.source, self.operator, self.operators.rotation, self.operators.shift)
        return positions

    def imposed(self, positions: Floats) -> Floats:
        """Return positions (n, 3) with every image where its source wants it."""
        return self.spread(positions[self.varying])

    def folded(self, gradient: Floats) -> Floats:
        """Return the gradient on the atoms that vary from that on all atoms, shape (n, 3)."""
        total = gradient.copy()
        _fold(total, self.source, self.operator, self.operators.rotation)
        return total[self.varying]

    def counting(self, owner: Rows | None = None) -> Counting:
        """Return how restraints on these atoms count, or on the atoms of a model with hydrogens, each with its `owner` here."""
        rows = np.arange(len(self)) if owner is None else owner
        return Counting(self.copy[rows], self.varies[rows], self.multiplicity[rows], self.copies, self.closed)

    def select(self, rows: Rows) -> Symmetry:
        """Return the symmetry of some atoms (ascending rows), among them the sources of all."""
        place = np.full(len(self.source), -1, dtype=np.int32)
        place[rows] = np.arange(len(rows), dtype=np.int32)
        return replace(
            self, source=place[self.source[rows]], operator=self.operator[rows], copy=self.copy[rows],
            multiplicity=self.multiplicity[rows],
        )  # fmt: skip

    def with_operators(self, operators: Operators) -> Symmetry:
        """Return the same with other operators."""
        return replace(self, operators=operators)


def symmetry_of(n_atoms: int, found: list[Copies]) -> Symmetry:
    """Return the symmetry of a model from its groups of copies; no atom may be in two of them."""
    source = np.arange(n_atoms, dtype=np.int32)
    operator, multiplicity = np.zeros(n_atoms, dtype=np.int32), np.ones(n_atoms, dtype=np.int32)
    copy = np.full(n_atoms, FREE, dtype=np.int32)
    operators, number = Operators.identity(), 0
    for copies in found:
        size = (copies.atoms >= 0).sum(axis=1)
        for k in range(len(copies)):
            has = copies.atoms[:, k] >= 0
            rows = copies.atoms[has, k]
            source[rows], copy[rows] = copies.atoms[has, 0], number + k
            operator[rows] = 0 if k == 0 else len(operators) + k - 1
            multiplicity[rows] = size[has]
        operators = operators.joined(copies.operators.select(np.arange(1, len(copies))))
        number += len(copies)
    return Symmetry(source, operator, copy, multiplicity, operators, closed=len(found) == 1 and bool(found[0].group))


@njit(cache=True, nogil=True, error_model="numpy")
def _spread(positions: Floats, source: Rows, operator: Rows, rotation: Floats, shift: Floats) -> None:
    """Set every image from its source."""
    for n in range(len(source)):
        atom, k = source[n], operator[n]
        if atom != n:
            for i in range(3):
                positions[n, i] = shift[k, i]
                for j in range(3):
                    positions[n, i] += rotation[k, i, j] * positions[atom, j]


@njit(cache=True, nogil=True, error_model="numpy")
def _fold(gradient: Floats, source: Rows, operator: Rows, rotation: Floats) -> None:
    """Add Rᵀ g of every image to its source, in the order of the atoms."""
    for n in range(len(source)):
        atom, k = source[n], operator[n]
        if atom != n:
            for i in range(3):
                for j in range(3):
                    gradient[atom, i] += rotation[k, j, i] * gradient[n, j]
