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

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]
    Flags = NDArray[np.bool_]
    Bytes = NDArray[np.uint8]

SWEEPS = 2
COARSE = {HYDROXYL: np.arange(0.0, 360.0, 10.0), AMMONIUM: np.arange(-60.0, 60.0, 15.0), METHYL: np.array([0.0, 180.0])}
"""First angles tried by each kind of rotor, degrees from where it is."""
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
    kinds = riding.rotor_kind[free]
    coarse, coarse_first = _angle_table(COARSE)
    fine, fine_first = _angle_table(FINE)
    coefficients = riding.coefficients.copy()
    _sweep(
        moved, riding.hydrogen, riding.frame, riding.shape, coefficients, riding.length, riding.rotor,
        free, kinds, first, stop, types.radius, types.donor, types.acceptor, altloc, bonded.first, bonded.partner, offsets,
        present[rows], dots, dot_first, sphere, coarse, coarse_first, fine, fine_first,
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
def _sweep(
    positions: Floats, hydrogen: Ints, frame: Ints, shape: Bytes, coefficients: Floats, length: Floats, rotor: Ints,
    rotors: Longs, kinds: Bytes, first: Longs, stop: Longs, radius: Floats, donor: Flags, acceptor: Flags, altloc: Ints,
    bond_first: Ints, bond_partner: Ints, offsets: Longs, rows: Ints, dots: Floats, dot_first: Longs, sphere: Longs,
    coarse: Floats, coarse_first: Longs, fine: Floats, fine_first: Longs,
) -> None:  # fmt: skip
    """Turn every rotor to its best angle, `SWEEPS` times; changes positions and coefficients."""
    is_h = np.zeros(len(radius), dtype=np.bool_)
    owner = np.full(len(radius), -1, dtype=np.int64)
    for h in range(len(hydrogen)):
        is_h[hydrogen[h]] = True
        owner[hydrogen[h]] = rotor[h]
    turned_at = np.zeros(len(first), dtype=np.int64)
    seen_at = np.full(len(first), -1, dtype=np.int64)
    clock = 0
    for _ in range(SWEEPS):
        for r in range(len(rotors)):
            clock += 1
            me = rotors[r]
            around = rows[offsets[r] : offsets[r + 1]]
            fresh = seen_at[me] < 0
            for atom in around:
                fresh |= owner[atom] >= 0 and turned_at[owner[atom]] > seen_at[me]
            if not fresh:
                continue
            a, b = first[me], stop[me]
            before = coefficients[a, 2]
            _turn(
                positions, hydrogen[a:b], frame[a:b], shape[a:b], coefficients[a:b], length[a:b], kinds[r], around, is_h,
                radius, donor, acceptor, altloc, bond_first, bond_partner, dots, dot_first, sphere,
                coarse[coarse_first[kinds[r]] : coarse_first[kinds[r] + 1]],
                fine[fine_first[kinds[r]] : fine_first[kinds[r] + 1]],
            )  # fmt: skip
            seen_at[me] = clock
            if coefficients[a, 2] != before:
                turned_at[me] = clock


@njit(cache=True, nogil=True, error_model="numpy")
def _turn(
    positions: Floats, hydrogen: Ints, frame: Ints, shape: Bytes, coefficients: Floats, length: Floats, kind: int, around: Ints,
    is_h: Flags, radius: Floats, donor: Flags, acceptor: Flags, altloc: Ints, bond_first: Ints, bond_partner: Ints,
    dots: Floats, dot_first: Longs, sphere: Longs, coarse: Floats, fine: Floats,
) -> None:  # fmt: skip
    """Turn one rotor to its best angle, relative to that of its frames when first seen."""
    n_atoms = len(hydrogen) + 1
    near = np.empty((n_atoms, MAX_NEIGHBOURS), dtype=np.int32)
    close = np.empty((n_atoms, MAX_NEIGHBOURS), dtype=np.int32)
    n_near, n_close = np.zeros(n_atoms, dtype=np.int64), np.zeros(n_atoms, dtype=np.int64)
    for m in range(n_atoms):
        atom = hydrogen[m - 1] if m else frame[0, 0]
        n_close[m] = close_by_bonds(atom, bond_first, bond_partner, is_h, altloc, close[m])
        n_near[m] = contacts_of(atom, around, close[m], n_close[m], altloc, near[m])
    parent = frame[0, 0]
    fixed_close = np.empty(MAX_NEIGHBOURS, dtype=np.int32)
    n_fixed = 0
    for k in range(n_close[0]):
        if not (hydrogen == close[0, k]).any():
            fixed_close[n_fixed] = close[0, k]
            n_fixed += 1
    values = np.zeros(dot_first[sphere[parent] + 1] - dot_first[sphere[parent]])
    _dot_values(
        parent, positions, radius, donor, acceptor, dots, dot_first, sphere, near[0], n_near[0], fixed_close, n_fixed, values
    )
    start = coefficients[:, 2].copy()
    best, best_angle = -np.inf, 0.0
    scratch = np.zeros(np.max(dot_first[sphere[hydrogen] + 1] - dot_first[sphere[hydrogen]]))
    for step in range(2):
        table = coarse if step == 0 else fine
        base = 0.0 if step == 0 else best_angle
        for t in range(len(table)):
            angle = base + table[t]
            for h in range(len(hydrogen)):
                coefficients[h, 2] = start[h] + angle
            place_hydrogens(positions, hydrogen, frame, shape, coefficients, length)
            score = _visible(parent, positions, radius, dots, dot_first, sphere, hydrogen, values)
            for m in range(1, n_atoms):
                score += _dot_values(
                    hydrogen[m - 1], positions, radius, donor, acceptor, dots, dot_first, sphere,
                    near[m], n_near[m], close[m], n_close[m], scratch,
                )  # fmt: skip
            score /= DOT_DENSITY
            if kind == AMMONIUM:
                score += STAGGER_PREFERENCE * np.cos(3.0 * (start[0] + angle - np.pi))
            if score > best + 1e-9:
                best, best_angle = score, angle
    for h in range(len(hydrogen)):
        coefficients[h, 2] = start[h] + best_angle
    place_hydrogens(positions, hydrogen, frame, shape, coefficients, length)


@njit(cache=True, nogil=True, error_model="numpy")
def _visible(
    parent: int, positions: Floats, radius: Floats, dots: Floats, dot_first: Longs, sphere: Longs, hydrogen: Ints,
    values: Floats,
) -> float:  # fmt: skip
    """Return the sum of the values of the dots of the parent that its hydrogens leave free."""
    total = 0.0
    begin = dot_first[sphere[parent]]
    for d in range(len(values)):
        if values[d] != 0.0:
            x = positions[parent, 0] + dots[begin + d, 0]
            y = positions[parent, 1] + dots[begin + d, 1]
            z = positions[parent, 2] + dots[begin + d, 2]
            if not buried(x, y, z, hydrogen, len(hydrogen), positions, radius):
                total += values[d]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _dot_values(
    atom: int, positions: Floats, radius: Floats, donor: Flags, acceptor: Flags, dots: Floats, dot_first: Longs, sphere: Longs,
    near: Ints, n_near: int, close: Ints, n_close: int, values: Floats,
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
    begin = dot_first[sphere[atom]]
    stretch = PROBE_RADIUS / own
    for d in range(dot_first[sphere[atom] + 1] - begin):
        values[d] = 0.0
        ox, oy, oz = dots[begin + d, 0], dots[begin + d, 1], dots[begin + d, 2]
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
