"""Atoms held where they were at the start, for maps whose noise would carry them away.

The energy of an atom is w L² (1 - exp(-r²/L²)), where r is how far it is from the start: w r² near it, level far from it, so
that what moved by more than the limit L, such as a side chain that found its place, is free.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIMIT = 1.0
"""Å."""


@dataclass(frozen=True, slots=True, eq=False)
class StartRestraints:
    """Restraints of atoms to where they were.

    Attributes
    ----------
    positions : NDArray[float64], shape (n, 3)
        Where they were, Å.
    weight : NDArray[float64], shape (n,)
        1/Å².
    limit : float
        Å.
    """

    positions: NDArray[np.float64]
    weight: NDArray[np.float64]
    limit: float = LIMIT

    @classmethod
    def at(cls, positions: NDArray[np.float64]) -> StartRestraints:
        """Return restraints of unit weight to positions, shape (n, 3)."""
        return cls(positions, np.ones(len(positions)))

    def weighted(self, factor: float | NDArray[np.float64]) -> StartRestraints:
        """Return the same restraints, `factor` times as strong, one for all or one for each atom (n,)."""
        return replace(self, weight=self.weight * factor)

    def energy_and_gradient(self, positions: NDArray[np.float64], gradient: NDArray[np.float64]) -> float:
        """Return the energy at positions (n, 3), and add its derivatives to `gradient`."""
        apart = positions - self.positions
        near = np.exp(-np.einsum("ij,ij->i", apart, apart) / self.limit**2)
        gradient += (2.0 * self.weight * near)[:, None] * apart
        return self.limit**2 * float((self.weight * (1.0 - near)).sum())
