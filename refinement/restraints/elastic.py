"""Distances between near atoms held as they were at the start: what moves together is free to.

Noise pulls each atom its own way, while what is wrong with a model is often that a whole stretch lies beside its density.
An elastic network, as in Schröder et al. 2007 (Structure 15, 1630-1641), resists the former only. The energy of a pair is
w L² (1 - exp(-Δ²/L²)), where Δ is how much the distance has changed: w Δ² for little, level for much, so that a side chain
that found another place is free.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from refinement.cells import neighbour_pairs
from refinement.restraints.start import LIMIT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Rows = NDArray[np.int32]

BONDED, REACH = 2.6, 5.0
"""Å; nearer atoms are bonded or at an angle, and held by these; further ones hardly share what moves them."""


@dataclass(frozen=True, slots=True, eq=False)
class ElasticRestraints:
    """Restraints of distances to what they were.

    Attributes
    ----------
    atoms : NDArray[int32], shape (m, 2)
        Pairs.
    distance : NDArray[float64], shape (m,)
        Å.
    weight : NDArray[float64], shape (m,)
        1/Å².
    """

    atoms: Rows
    distance: Floats
    weight: Floats

    @classmethod
    def at(cls, positions: Floats) -> ElasticRestraints:
        """Return restraints of unit weight between atoms at positions, shape (n, 3), that are near each other."""
        pairs = neighbour_pairs(positions, 0.5 * REACH)
        distance = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
        kept = distance > BONDED
        return cls(pairs[kept].astype(np.int32), distance[kept], np.ones(np.count_nonzero(kept)))

    def weighted(self, factor: float | Floats) -> ElasticRestraints:
        """Return the same restraints, `factor` times as strong, one for all or one for each pair (m,)."""
        return replace(self, weight=self.weight * factor)

    def energy_and_gradient(self, positions: Floats, gradient: Floats) -> float:
        """Return the energy at positions (n, 3), and add its derivatives to `gradient`."""
        return float(_energy_and_gradient(positions, self.atoms, self.distance, self.weight, LIMIT, gradient))


@njit(cache=True, nogil=True, error_model="numpy")
def _energy_and_gradient(
    positions: Floats, atoms: Rows, distance: Floats, weight: Floats, limit: float, gradient: Floats
) -> float:
    energy, apart = 0.0, np.empty(3)
    for k in range(len(atoms)):
        i, j = atoms[k]
        square = 0.0
        for axis in range(3):
            apart[axis] = positions[i, axis] - positions[j, axis]
            square += apart[axis] ** 2
        length = max(math.sqrt(square), 1e-6)
        change = length - distance[k]
        near = math.exp(-((change / limit) ** 2))
        energy += weight[k] * limit**2 * (1.0 - near)
        slope = 2.0 * weight[k] * near * change / length
        for axis in range(3):
            gradient[i, axis] += slope * apart[axis]
            gradient[j, axis] -= slope * apart[axis]
    return energy
