"""Scores of contact dots: what a rotating group of hydrogens gains or loses at an angle.

The score of a dot is that of Word et al. 1999 (J. Mol. Biol. 285, 1711): a little for a gap that the probe
fills, more for a hydrogen bond, and much against an overlap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from refinement.restraints.dots import (
    BOND_WEIGHT,
    BUMP_WEIGHT,
    GAP_SCALE,
    HYDROGEN_BOND_OVERLAP,
    PROBE_RADIUS,
    buried,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int32]
    Flags = NDArray[np.bool_]


@njit(cache=True, nogil=True, error_model="numpy")
def turned_dots(dots: Floats, axes: Floats) -> Floats:
    """Return dots whose coordinates are along these axes, shape (k, 3), in space."""
    turned = np.empty_like(dots)
    for d in range(len(dots)):
        for k in range(3):
            turned[d, k] = dots[d, 0] * axes[0, k] + dots[d, 1] * axes[1, k] + dots[d, 2] * axes[2, k]
    return turned


@njit(cache=True, nogil=True, error_model="numpy")
def visible_value(parent: int, positions: Floats, radius: Floats, dots: Floats, hydrogen: Ints, values: Floats) -> float:
    """Return the sum of the values of the dots of the parent that its hydrogens leave free."""
    total = 0.0
    for d in range(len(values)):
        if values[d] != 0.0:
            x, y, z = positions[parent, 0] + dots[d, 0], positions[parent, 1] + dots[d, 1], positions[parent, 2] + dots[d, 2]
            if not buried(x, y, z, hydrogen, len(hydrogen), positions, radius):
                total += values[d]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def dot_values(
    atom: int, positions: Floats, radius: Floats, donor: Flags, acceptor: Flags, dots: Floats, near: Ints, n_near: int,
    close: Ints, n_close: int, values: Floats,
) -> float:  # fmt: skip
    """Write the contact score of each dot of an atom to `values` and return their sum."""
    own, total = radius[atom], 0.0
    nearby = np.empty(n_near, dtype=np.int32)
    count = 0
    for k in range(n_near):
        j = near[k]
        square = 0.0
        for a in range(3):
            square += (positions[j, a] - positions[atom, a]) ** 2
        if square < (own + radius[j] + 2.0 * PROBE_RADIUS) ** 2:
            nearby[count] = j
            count += 1
    stretch = PROBE_RADIUS / own
    for d in range(len(dots)):
        values[d] = 0.0
        ox, oy, oz = dots[d, 0], dots[d, 1], dots[d, 2]
        x, y, z = positions[atom, 0] + ox, positions[atom, 1] + oy, positions[atom, 2] + oz
        target, gap = -1, 1e9
        for k in range(count):
            j = nearby[k]
            dx, dy, dz = positions[j, 0] - x, positions[j, 1] - y, positions[j, 2] - z
            px, py, pz = dx - stretch * ox, dy - stretch * oy, dz - stretch * oz
            limit = radius[j] + PROBE_RADIUS
            if px * px + py * py + pz * pz <= limit * limit:
                this = np.sqrt(dx * dx + dy * dy + dz * dz) - radius[j]
                if this < gap:
                    target, gap = j, this
        if target < 0 or buried(x, y, z, close, n_close, positions, radius):
            continue
        if gap > 0.0:
            if _in_contact_disc(x, y, z, positions, atom, target, radius):
                values[d] = np.exp(-((gap / GAP_SCALE) ** 2))
        elif (donor[atom] and acceptor[target]) or (acceptor[atom] and donor[target]):
            beyond = -gap - HYDROGEN_BOND_OVERLAP
            values[d] = -0.5 * BUMP_WEIGHT * beyond if beyond > 0.0 else -0.5 * BOND_WEIGHT * gap
        else:
            values[d] = 0.5 * BUMP_WEIGHT * gap
        total += values[d]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _in_contact_disc(x: float, y: float, z: float, positions: Floats, atom: int, target: int, radius: Floats) -> bool:
    """Return whether a dot is as near to the line of centres as dots of spheres that just touch would be."""
    dx = positions[target, 0] - positions[atom, 0]
    dy = positions[target, 1] - positions[atom, 1]
    dz = positions[target, 2] - positions[atom, 2]
    own, other = radius[atom], radius[target]
    scale = own / max(np.sqrt(dx * dx + dy * dy + dz * dz), 1e-6)
    ex, ey, ez = positions[atom, 0] + scale * dx - x, positions[atom, 1] + scale * dy - y, positions[atom, 2] + scale * dz - z
    limit = 4.0 * own * own * other * PROBE_RADIUS / ((own + other) * (own + PROBE_RADIUS))
    return ex * ex + ey * ey + ez * ez <= limit
