"""How closely a model is packed around each of its atoms, which tells much of their B factors without any map.

In crystal structures B factors of residues are inversely proportional to their weighted contact numbers, the sums of 1/r²
over everything else in the molecule (Lin et al. 2008, Proteins 72, 929-935). Atoms near the middle of a molecule move
less than those at its surface, and less is known about the ends of side chains than about the backbone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NEAREST = 3.0
"""Å; groups nearer than this count as this far away: within a group of atoms all distances are about as long."""


def packing(positions: Floats, group: NDArray[np.int64]) -> Floats:
    """Return the weighted contact number of each group of atoms, 1/Å².

    Parameters
    ----------
    positions : NDArray[float64], shape (n, 3)
        Å.
    group : NDArray[int64], shape (n,)
        Group of each atom, from 0, none empty.

    Returns
    -------
    NDArray[float64], shape (n_groups,)
        Sum over all groups, itself included, of their atoms divided by the square of the distance of their centres.
    """
    count = np.bincount(group).astype(np.float64)
    centres = np.stack([np.bincount(group, weights=positions[:, axis]) for axis in range(3)], axis=1) / count[:, None]
    return np.asarray(_contact_numbers(centres, count, NEAREST**2))


@njit(cache=True, nogil=True, error_model="numpy")
def _contact_numbers(centres: Floats, count: Floats, nearest: float) -> Floats:
    found = count / nearest
    for i in range(len(centres)):
        for j in range(i):
            square = 0.0
            for axis in range(3):
                square += (centres[i, axis] - centres[j, axis]) ** 2
            square = max(square, nearest)
            found[i] += count[j] / square
            found[j] += count[i] / square
    return found
