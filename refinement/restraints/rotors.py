"""Turning OH, SH and NH3 to their best contacts (hydrogen bonds for, overlaps against).

Every rotor in turn takes the torsion angle with the best dot score of its hydrogens and their parent, first in
coarse then in fine steps; two sweeps let neighbours adapt to each other. Methyl groups on sp3 atoms stay
staggered, those on planar groups take the better of two positions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from refinement.cells import neighbours_around
from refinement.restraints.dots import (
    BOND_WEIGHT,
    BUMP_WEIGHT,
    DOT_DENSITY,
    GAP_SCALE,
    HYDROGEN_BOND_OVERLAP,
    MAX_NEIGHBOURS,
    PROBE_RADIUS,
    buried,
    close_by_bonds,
    contacts_of,
    dot_spheres,
)
from refinement.restraints.hydrogen_frames import AMMONIUM, HYDROXYL, METHYL
from refinement.restraints.riding import place_hydrogens

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.restraints.contact_types import ContactTypes
    from refinement.restraints.graph import Neighbours
    from refinement.restraints.riding import Riding

SWEEPS = 2
COARSE = {HYDROXYL: np.arange(0.0, 360.0, 10.0), AMMONIUM: np.arange(-60.0, 60.0, 15.0), METHYL: np.array([90.0, -90.0])}
"""First angles tried by each kind of rotor, degrees from where it starts."""
FINE = {HYDROXYL: np.arange(-5.0, 6.0), AMMONIUM: np.arange(-7.0, 8.0), METHYL: np.zeros(1)}
"""Then these, from the best of them."""
STAGGER_PREFERENCE = 0.1
"""Score of a staggered NH3 over an eclipsed one, half the difference."""
LONGEST_BOND = 1.35
"""Å from a parent to its hydrogens."""


def optimise_rotors(
    positions: NDArray[np.float64],
    riding: Riding,
    types: ContactTypes,
    bonded: Neighbours,
    altloc: NDArray[np.int32],
    occupancy: NDArray[np.float64],
) -> tuple[NDArray[np.float64], Riding]:
    """Return positions with turned hydrogens, and the turned frames.

    Parameters
    ----------
    positions : NDArray[float64], shape (n, 3)
        Å.
    riding : Riding
        Hydrogens of one rotor must follow each other.
    types : ContactTypes
    bonded : Neighbours
        Covalent graph with hydrogens.
    altloc : NDArray[int32], shape (n,)
        Code of the conformer, 0 for none.
    occupancy : NDArray[float64], shape (n,)
        Atoms with none are ignored.
    """
    free = np.flatnonzero(np.isin(riding.rotor_kind, list(COARSE)))
    if not len(free):
        return positions, riding
    first, stop = _ranges(riding)
    parents = riding.frame[first[free], 0]
    reach = types.radius[parents] + LONGEST_BOND + float(types.radius.max()) + 2.0 * PROBE_RADIUS
    present = np.flatnonzero(occupancy > 0.0).astype(np.int32)
    moved = positions.copy()
    offsets, rows = neighbours_around(moved[parents], moved[present], reach)
    dots, dot_first, sphere = dot_spheres(types.radius)
    angles = np.zeros(len(riding.rotor_kind))
    kinds = riding.rotor_kind[free]
    coarse, coarse_first = _angle_table(COARSE)
    fine, fine_first = _angle_table(FINE)
    coefficients = riding.coefficients.copy()
    _sweep(
        moved, riding.hydrogen, riding.frame, riding.shape, coefficients, riding.length, free, kinds, first, stop,
        types.radius, types.donor, types.acceptor, altloc, bonded.first, bonded.partner, offsets, present[rows],
        dots, dot_first, sphere, coarse, coarse_first, fine, fine_first, angles,
    )  # fmt: skip
    return moved, replace(riding, coefficients=coefficients)


def _ranges(riding: Riding) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the hydrogens of each rotor begin and end in `riding`."""
    rows = np.flatnonzero(riding.rotor >= 0)
    numbers = np.arange(len(riding.rotor_kind))
    owners = riding.rotor[rows]
    return rows[np.searchsorted(owners, numbers)], rows[np.searchsorted(owners, numbers, side="right") - 1] + 1


def _angle_table(angles: dict[int, NDArray[np.float64]]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the angles (radians) of all kinds in one array, and where those of each kind begin."""
    parts = [angles.get(kind, np.zeros(0)) for kind in range(max(angles) + 1)]
    return np.radians(np.concatenate(parts)), np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64)


@njit(cache=True, nogil=True, error_model="numpy")
def _sweep(  # type: ignore[no-untyped-def]
    positions, hydrogen, frame, shape, coefficients, length, rotors, kinds, first, stop,
    radius, donor, acceptor, altloc, bond_first, bond_partner, offsets, rows,
    dots, dot_first, sphere, coarse, coarse_first, fine, fine_first, angles,
):  # fmt: skip
    """Turn every rotor to its best angle, `SWEEPS` times; changes positions, coefficients and angles."""
    is_h = np.zeros(len(radius), dtype=np.bool_)
    for h in hydrogen:
        is_h[h] = True
    near = np.empty((4, MAX_NEIGHBOURS), dtype=np.int32)
    close = np.empty((4, MAX_NEIGHBOURS), dtype=np.int32)
    n_near, n_close = np.zeros(4, dtype=np.int64), np.zeros(4, dtype=np.int64)
    atoms = np.empty(4, dtype=np.int64)
    start = coefficients[:, 2].copy()
    for sweep in range(SWEEPS):
        for r in range(len(rotors)):
            a, b, kind = first[rotors[r]], stop[rotors[r]], kinds[r]
            n_atoms = b - a + 1
            atoms[0] = frame[a, 0]
            for h in range(a, b):
                atoms[h - a + 1] = hydrogen[h]
            for m in range(n_atoms):
                n_close[m] = close_by_bonds(atoms[m], bond_first, bond_partner, is_h, altloc, close[m])
                n_near[m] = contacts_of(atoms[m], rows[offsets[r] : offsets[r + 1]], close[m], n_close[m], altloc, near[m])
            best, best_angle = -np.inf, angles[rotors[r]]
            for step in range(2):
                table, table_first = (coarse, coarse_first) if step == 0 else (fine, fine_first)
                base = 0.0 if step == 0 else best_angle
                for t in range(table_first[kind], table_first[kind + 1]):
                    angle = base + table[t]
                    for h in range(a, b):
                        coefficients[h, 2] = start[h] + angle
                    place_hydrogens(positions, hydrogen[a:b], frame[a:b], shape[a:b], coefficients[a:b], length[a:b])
                    score = STAGGER_PREFERENCE * np.cos(3.0 * angle) if kind == AMMONIUM else 0.0
                    for m in range(n_atoms):
                        score += _score(
                            atoms[m], positions, radius, donor, acceptor, dots, dot_first, sphere,
                            near[m], n_near[m], close[m], n_close[m],
                        )  # fmt: skip
                    if score > best + 1e-9:
                        best, best_angle = score, angle
            angles[rotors[r]] = best_angle
            for h in range(a, b):
                coefficients[h, 2] = start[h] + best_angle
            place_hydrogens(positions, hydrogen[a:b], frame[a:b], shape[a:b], coefficients[a:b], length[a:b])


@njit(cache=True, nogil=True, error_model="numpy")
def _score(  # type: ignore[no-untyped-def]
    atom, positions, radius, donor, acceptor, dots, dot_first, sphere, near, n_near, close, n_close
):
    """Return the contact score of the dots of one atom, divided by the dot density."""
    own = radius[atom]
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
    total = 0.0
    if count == 0:
        return total
    stretch = 1.0 + PROBE_RADIUS / own
    for d in range(dot_first[sphere[atom]], dot_first[sphere[atom] + 1]):
        x, y, z = positions[atom, 0] + dots[d, 0], positions[atom, 1] + dots[d, 1], positions[atom, 2] + dots[d, 2]
        px, py, pz = positions[atom, 0] + stretch * dots[d, 0], positions[atom, 1] + stretch * dots[d, 1], positions[atom, 2] + stretch * dots[d, 2]
        target, gap = -1, 1e9
        for k in range(count):
            j = nearby[k]
            dx, dy, dz = positions[j, 0] - px, positions[j, 1] - py, positions[j, 2] - pz
            limit = radius[j] + PROBE_RADIUS
            if dx * dx + dy * dy + dz * dz <= limit * limit:
                dx, dy, dz = positions[j, 0] - x, positions[j, 1] - y, positions[j, 2] - z
                this = np.sqrt(dx * dx + dy * dy + dz * dz) - radius[j]
                if this < gap:
                    target, gap = j, this
        if target < 0 or buried(x, y, z, close, n_close, positions, radius):
            continue
        if gap > 0.0:
            if _in_contact_disc(x, y, z, positions, atom, target, radius):
                total += np.exp(-((gap / GAP_SCALE) ** 2))
        elif (donor[atom] and acceptor[target]) or (acceptor[atom] and donor[target]):
            beyond = -gap - HYDROGEN_BOND_OVERLAP
            total += -BUMP_WEIGHT * 0.5 * beyond if beyond > 0.0 else -BOND_WEIGHT * 0.5 * gap
        else:
            total += BUMP_WEIGHT * 0.5 * gap
    return total / DOT_DENSITY


@njit(cache=True, nogil=True, error_model="numpy")
def _in_contact_disc(x, y, z, positions, atom, target, radius):  # type: ignore[no-untyped-def]
    """Return whether a dot is as near to the line of centres as dots of spheres that just touch would be."""
    dx = positions[target, 0] - positions[atom, 0]
    dy = positions[target, 1] - positions[atom, 1]
    dz = positions[target, 2] - positions[atom, 2]
    own, other = radius[atom], radius[target]
    scale = own / max(np.sqrt(dx * dx + dy * dy + dz * dz), 1e-6)
    ex, ey, ez = positions[atom, 0] + scale * dx - x, positions[atom, 1] + scale * dy - y, positions[atom, 2] + scale * dz - z
    limit = 4.0 * own * own * other * PROBE_RADIUS / ((own + other) * (own + PROBE_RADIUS))
    return ex * ex + ey * ey + ez * ez <= limit
