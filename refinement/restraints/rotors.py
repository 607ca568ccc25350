"""Turning OH, SH and NH3 to their best contacts (hydrogen bonds for, overlaps against).

Every rotor in turn takes the torsion angle with the best dot score of its hydrogens and their parent among a
few coarse directions; a second sweep lets neighbours adapt to each other, then each is adjusted in fine steps.
The dots turn with the group and the most crowded rotor is the first to choose, so that neither the orientation of the
model nor the order of its atoms matters.
Methyl groups on sp3 atoms stay staggered, those on planar groups take the better of two positions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from refinement.cells import neighbours_around
from refinement.restraints.dot_scores import dot_values, turned_dots, visible_value
from refinement.restraints.dots import (
    DOT_DENSITY,
    MAX_NEIGHBOURS,
    PROBE_RADIUS,
    close_by_bonds,
    contacts_of,
    dot_spheres,
    local_axes,
)
from refinement.restraints.hydrogen_frames import AMMONIUM, HYDROXYL, METHYL
from refinement.restraints.riding import place_hydrogens, unit_vector

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
STEP = 10.0
"""A free hydrogen is tried on a grid of this step (degrees); only to find where it touches, see `_directions`."""
APART = 45.0
"""Directions of the grid are tried if no other is nearer than this (degrees)."""
SIGHT = 4.0
"""Å from the parent within which atoms may be touched."""
AIM_LENGTH, AIM_LENGTH_SULFUR = 1.0, 1.3
"""X-H distances (Å) by which a free hydrogen is judged to reach an acceptor."""
MAX_DIRECTIONS = 48
MARGIN = 1e-9
"""Of two directions that differ by rounding only, the first is kept."""
CROWD = 2.0
"""Å; how near an atom must be to count as crowding a rotor."""
DEGREE = np.pi / 180.0
TURNS = {
    AMMONIUM: np.array([0.0, -15.0, 15.0, -30.0, 30.0, -45.0, 45.0, -60.0]),
    METHYL: np.array([0.0, 180.0]),
}
"""Angles tried by groups of hydrogens, degrees from where they start."""
FINE = {HYDROXYL: 5, AMMONIUM: 7, METHYL: 0}
"""Then the best direction is searched this far to both sides in steps of 1°."""
STAGGER_PREFERENCE = 0.1
"""Score of a staggered NH3 over an eclipsed one, half the difference."""
SULFUR = 16
LONGEST_BOND = 1.35
"""Å from a parent to its hydrogens."""


def optimise_rotors(
    positions: NDArray[np.float64],
    riding: Riding,
    types: ContactTypes,
    bonded: Neighbours,
    altloc: NDArray[np.int32],
    occupancy: NDArray[np.float64],
    elements: NDArray[np.uint8],
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
    elements : NDArray[uint8], shape (n,)
        Atomic numbers.
    """
    free = np.flatnonzero(np.isin(riding.rotor_kind, list(FINE)))
    if not len(free):
        return positions, riding
    first, stop = _ranges(riding)
    parents = riding.frame[first[free], 0]
    reach = types.radius[parents] + LONGEST_BOND + float(types.radius.max()) + 2.0 * PROBE_RADIUS
    present = np.flatnonzero(occupancy > 0.0).astype(np.int32)
    moved = positions.copy()
    offsets, rows = neighbours_around(moved[parents], moved[present], reach)
    order = np.argsort(-_crowding(moved, parents, types.donor, offsets, present[rows]), kind="stable")
    dots, dot_first, sphere = dot_spheres(types.radius)
    kinds = riding.rotor_kind[free]
    tables, counts, fine = _tables()
    coefficients = riding.coefficients.copy()
    base, angles, n_angles = coefficients[:, 2].copy(), tables[kinds], counts[kinds]
    aim = np.where(elements[parents] == SULFUR, AIM_LENGTH_SULFUR, AIM_LENGTH)
    is_h, owner = np.zeros(len(moved), dtype=bool), np.full(len(moved), -1, dtype=np.int64)
    is_h[riding.hydrogen], owner[riding.hydrogen] = True, riding.rotor
    frames = (riding.hydrogen, riding.frame, riding.shape, coefficients, riding.length, base)
    graph = (is_h, types.radius, types.donor, types.acceptor, altloc, bonded.first, bonded.partner)
    near = (offsets, present[rows])
    _start(moved, *frames, free, kinds, first, stop, *graph, *near, aim, angles, n_angles)
    spheres = (dots, dot_first, sphere)
    _optimise(moved, *frames, owner, order, free, kinds, first, stop, *graph, *near, *spheres, angles, n_angles, fine)
    return moved, replace(riding, coefficients=coefficients)


def _tables() -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the angles (radians) tried by each kind of rotor, how many, and the range of the fine search."""
    tables = np.zeros((METHYL + 1, MAX_DIRECTIONS))
    counts, fine = np.zeros(METHYL + 1, dtype=np.int64), np.zeros(METHYL + 1, dtype=np.int64)
    for kind, angles in TURNS.items():
        tables[kind, : len(angles)], counts[kind] = np.radians(angles), len(angles)
    for kind, degrees in FINE.items():
        fine[kind] = degrees
    return tables, counts, fine


def _ranges(riding: Riding) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the hydrogens of each rotor begin and end in `riding`."""
    rows = np.flatnonzero(riding.rotor >= 0)
    numbers = np.arange(len(riding.rotor_kind))
    owners = riding.rotor[rows]
    return rows[np.searchsorted(owners, numbers)], rows[np.searchsorted(owners, numbers, side="right") - 1] + 1


@njit(cache=True, nogil=True, error_model="numpy")
def _crowding(positions: Floats, parents: Ints, donor: Flags, offsets: Longs, rows: Ints) -> Floats:
    """Return how crowded each rotor is: atoms around its parent, hydrogens that may turn left out, near ones counting more."""
    crowding = np.zeros(len(parents))
    for r in range(len(parents)):
        for atom in rows[offsets[r] : offsets[r + 1]]:
            if not donor[atom]:
                crowding[r] += np.exp(-((_distance(positions, parents[r], atom) / CROWD) ** 2))
    return crowding


@njit(cache=True, nogil=True, error_model="numpy")
def _start(
    positions: Floats, hydrogen: Ints, frame: Ints, shape: Bytes, coefficients: Floats, length: Floats, base: Floats,
    rotors: Longs, kinds: Bytes, first: Longs, stop: Longs, is_h: Flags, radius: Floats, donor: Flags, acceptor: Flags,
    altloc: Ints, bond_first: Ints, bond_partner: Ints, offsets: Longs, rows: Ints, aim: Floats, angles: Floats,
    n_angles: Longs,
) -> None:  # fmt: skip
    """Find the directions of the free hydrogens, then put every rotor to its first angle."""
    for r in range(len(rotors)):
        a = first[rotors[r]]
        if kinds[r] == HYDROXYL:
            n_angles[r] = _directions(
                positions, hydrogen[a], frame[a : a + 1], shape[a : a + 1], coefficients[a : a + 1], length[a : a + 1],
                rows[offsets[r] : offsets[r + 1]], is_h, radius, acceptor, altloc, bond_first, bond_partner, aim[r], angles[r],
            )  # fmt: skip
    for r in range(len(rotors)):
        a, b = first[rotors[r]], stop[rotors[r]]
        for h in range(a, b):
            coefficients[h, 2] = base[h] + angles[r, 0]
        place_hydrogens(positions, hydrogen[a:b], frame[a:b], shape[a:b], coefficients[a:b], length[a:b])


@njit(cache=True, nogil=True, error_model="numpy")
def _optimise(
    positions: Floats, hydrogen: Ints, frame: Ints, shape: Bytes, coefficients: Floats, length: Floats, base: Floats,
    owner: Longs, order: Longs, rotors: Longs, kinds: Bytes, first: Longs, stop: Longs, is_h: Flags, radius: Floats,
    donor: Flags, acceptor: Flags, altloc: Ints, bond_first: Ints, bond_partner: Ints, offsets: Longs, rows: Ints,
    dots: Floats, dot_first: Longs, sphere: Longs, angles: Floats, n_angles: Longs, fine: Longs,
) -> None:  # fmt: skip
    """Turn every rotor to its best angle, in this order; changes positions and coefficients."""
    turned_at = np.zeros(len(first), dtype=np.int64)
    seen_at = np.full(len(first), -1, dtype=np.int64)
    around_here = np.empty(MAX_DIRECTIONS)
    clock = 0
    for sweep in range(SWEEPS + 1):
        for r in order:
            clock += 1
            me, around = rotors[r], rows[offsets[r] : offsets[r + 1]]
            a, b = first[me], stop[me]
            here = coefficients[a, 2] - base[a]
            table = angles[r, : n_angles[r]]
            if sweep == SWEEPS:
                table = around_here[: 2 * fine[kinds[r]] + 1]
                for k in range(len(table)):
                    table[k] = here + DEGREE * (k - fine[kinds[r]])
            else:
                fresh = seen_at[me] < 0
                for atom in around:
                    fresh |= owner[atom] >= 0 and turned_at[owner[atom]] > seen_at[me]
                if not fresh:
                    continue
            best = _turn(
                positions, hydrogen[a:b], frame[a:b], shape[a:b], coefficients[a:b], length[a:b], base[a:b], kinds[r], around,
                is_h, radius, donor, acceptor, altloc, bond_first, bond_partner, dots, dot_first, sphere, table,
            )  # fmt: skip
            seen_at[me] = clock
            if best != here:
                turned_at[me] = clock


@njit(cache=True, nogil=True, error_model="numpy")
def _directions(
    positions: Floats, hydrogen: int, frame: Ints, shape: Bytes, coefficients: Floats, length: Floats, around: Ints,
    is_h: Flags, radius: Floats, acceptor: Flags, altloc: Ints, bond_first: Ints, bond_partner: Ints, aim: float,
    angles: Floats,
) -> int:  # fmt: skip
    """Write the angles (radians from the start) that a free hydrogen is tried at, and return how many.

    The one of a grid where it just touches its surroundings, those towards acceptors within reach, and those of
    the grid that are far from all of these.
    """
    close, near = np.empty(MAX_NEIGHBOURS, dtype=np.int32), np.empty(MAX_NEIGHBOURS, dtype=np.int32)
    n_close = close_by_bonds(hydrogen, bond_first, bond_partner, is_h, altloc, close)
    n_near = contacts_of(hydrogen, around, close, n_close, altloc, near)
    parent = frame[0, 0]
    own, start = np.empty(1, dtype=np.int32), coefficients[0, 2]
    own[0] = hydrogen
    steps = int(180.0 / STEP)
    count, best = 1, np.inf
    angles[0] = 0.0
    for t in range(2 * steps + 1):
        angle = DEGREE * STEP * ((t + 1) // 2) * (-1.0 if t % 2 else 1.0)
        coefficients[0, 2] = start + angle
        place_hydrogens(positions, own, frame, shape, coefficients, length)
        gap = np.inf
        for k in range(n_near):
            from_parent = _distance(positions, parent, near[k])
            if radius[parent] < from_parent <= SIGHT:
                gap = min(gap, _distance(positions, hydrogen, near[k]) - radius[hydrogen] - radius[near[k]])
        if abs(gap) < best - MARGIN:
            best, angles[0] = abs(gap), angle
    coefficients[0, 2] = start
    place_hydrogens(positions, own, frame, shape, coefficients, length)
    for k in range(n_near):
        reach = aim + radius[near[k]] + radius[hydrogen]
        far = _distance(positions, parent, near[k])
        if acceptor[near[k]] and radius[parent] < far <= min(reach, SIGHT) and count < MAX_DIRECTIONS // 2:
            angles[count] = _bearing(positions, near[k], frame[0]) - start
            angles[count] -= 2.0 * np.pi * np.floor(0.5 + angles[count] / (2.0 * np.pi))
            count += 1
    for t in range(2 * steps + 1):
        angle = DEGREE * STEP * ((t + 1) // 2) * (-1.0 if t % 2 else 1.0)
        nearest = np.inf
        for k in range(count):
            nearest = min(nearest, abs(angles[k] - angle))
        if count < MAX_DIRECTIONS and nearest >= DEGREE * APART - MARGIN:
            angles[count] = angle
            count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _distance(positions: Floats, i: int, j: int) -> float:
    square = 0.0
    for k in range(3):
        square += (positions[i, k] - positions[j, k]) ** 2
    return np.sqrt(square)


@njit(cache=True, nogil=True, error_model="numpy")
def _bearing(positions: Floats, target: int, frame: Ints) -> float:
    """Return the torsion angle (radians) at which a terminal hydrogen of this frame points towards an atom."""
    parent, first, second = frame[0], frame[1], frame[2]
    ux, uy, uz, _ = unit_vector(positions, first, parent)
    vx, vy, vz, _ = unit_vector(positions, first, second)
    tx, ty, tz, _ = unit_vector(positions, parent, target)
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    along = (ux * vx + uy * vy + uz * vz) * (ux * tx + uy * ty + uz * tz)
    return np.arctan2(nx * tx + ny * ty + nz * tz, vx * tx + vy * ty + vz * tz - along)


@njit(cache=True, nogil=True, error_model="numpy")
def _turn(
    positions: Floats, hydrogen: Ints, frame: Ints, shape: Bytes, coefficients: Floats, length: Floats, base: Floats, kind: int,
    around: Ints, is_h: Flags, radius: Floats, donor: Flags, acceptor: Flags, altloc: Ints, bond_first: Ints,
    bond_partner: Ints, dots: Floats, dot_first: Longs, sphere: Longs, table: Floats,
) -> float:  # fmt: skip
    """Turn one rotor to the best angle of `table` (radians from its base) and return that angle."""
    parent, n_atoms = frame[0, 0], len(hydrogen) + 1
    near = np.empty((n_atoms, MAX_NEIGHBOURS), dtype=np.int32)
    close = np.empty((n_atoms, MAX_NEIGHBOURS), dtype=np.int32)
    n_near, n_close = np.zeros(n_atoms, dtype=np.int64), np.zeros(n_atoms, dtype=np.int64)
    for m in range(n_atoms):
        atom = hydrogen[m - 1] if m else parent
        n_close[m] = close_by_bonds(atom, bond_first, bond_partner, is_h, altloc, close[m])
        n_near[m] = contacts_of(atom, around, close[m], n_close[m], altloc, near[m])
    # dots of the parent have the same value at every angle unless a hydrogen of its own covers them
    fixed, n_fixed = np.empty(MAX_NEIGHBOURS, dtype=np.int32), 0
    for k in range(n_close[0]):
        own = False
        for h in hydrogen:
            own |= h == close[0, k]
        if not own:
            fixed[n_fixed] = close[0, k]
            n_fixed += 1
    axes = local_axes(positions, parent, frame[0, 1], frame[0, 2])
    own, theirs = sphere[parent], sphere[hydrogen[0]]
    on_parent = turned_dots(dots[dot_first[own] : dot_first[own + 1]], axes)
    on_hydrogen = turned_dots(dots[dot_first[theirs] : dot_first[theirs + 1]], axes)
    values, scratch = np.zeros(len(on_parent)), np.zeros(len(on_hydrogen))
    dot_values(parent, positions, radius, donor, acceptor, on_parent, near[0], n_near[0], fixed, n_fixed, values)
    best, best_angle = -np.inf, 0.0
    for angle in table:
        for h in range(len(hydrogen)):
            coefficients[h, 2] = base[h] + angle
        place_hydrogens(positions, hydrogen, frame, shape, coefficients, length)
        score = visible_value(parent, positions, radius, on_parent, hydrogen, values)
        for m in range(1, n_atoms):
            score += dot_values(
                hydrogen[m - 1], positions, radius, donor, acceptor, on_hydrogen, near[m], n_near[m], close[m], n_close[m],
                scratch,
            )  # fmt: skip
        score /= DOT_DENSITY
        if kind == AMMONIUM:
            score += STAGGER_PREFERENCE * np.cos(3.0 * (base[0] + angle - np.pi))
        if score > best + MARGIN:
            best, best_angle = score, angle
    for h in range(len(hydrogen)):
        coefficients[h, 2] = base[h] + best_angle
    place_hydrogens(positions, hydrogen, frame, shape, coefficients, length)
    return best_angle
