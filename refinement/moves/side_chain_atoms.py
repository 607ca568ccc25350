"""Atoms of a side chain under trial: turning them about their bonds, and their contacts. Compiled."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from refinement.restraints.nonbonded import ACCEPTOR, DONOR, contact_distance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]

MAX_OWN = 48
"""Atoms of a side chain and of the backbone that may hinge with it, hydrogens included."""
MAX_NEAR = 768
"""Neighbours of one atom within reach of all conformations."""
MAX_PAIRS = MAX_OWN * MAX_OWN // 2
BOND_REACH = 0.65
"""Å beyond the closest distance of a hydrogen and its acceptor over which the bonus of the bond fades."""
HINGE_REACH = 1.2
"""Å that the atoms of a side chain may get nearer to others when the backbone hinges."""
RADIAN = math.pi / 180.0


class Atoms(NamedTuple):
    """All atoms of the model, hydrogens included.

    Attributes
    ----------
    positions : NDArray[float64], shape (n, 3)
        Å; changed in place.
    weight : NDArray[float64], shape (n,)
        Weight of the density, 0 for hydrogens.
    silent : NDArray[bool], shape (n,)
        Atoms without contacts: hydrogens that turn out of the way.
    radius, role, excluded_first, excluded
        As in `refinement.restraints.nonbonded.Nonbonded`.
    """

    positions: NDArray[np.float64]
    weight: NDArray[np.float64]
    silent: NDArray[np.bool_]
    radius: NDArray[np.float64]
    role: NDArray[np.uint8]
    excluded_first: NDArray[np.int64]
    excluded: NDArray[np.int32]


class SideChains(NamedTuple):
    """The side chains that are fitted.

    Attributes
    ----------
    compound : NDArray[int64], shape (m,)
        Row in the rotamer tables.
    first : NDArray[int64], shape (m + 1,)
        Side chain s owns ``atoms[first[s]:first[s + 1]]``.
    atoms : NDArray[int32]
        Rows of the model: the side chain, and the backbone that hinges with it.
    level : NDArray[int64]
        How many χ move the atom, 0 for the backbone and Cβ.
    reach : NDArray[float64]
        Å from Cβ that the atom can get.
    quads : NDArray[int64], shape (m, 4, 4)
        Atoms of each χ, counted in the side chain's own atoms.
    hinge : NDArray[int64], shape (m, 2)
        Rows of Cα of the residues before and after, -1 where the backbone stays.
    beta : NDArray[int64], shape (m,)
        Row of Cβ.
    start : NDArray[float64], shape (m, 4)
        Present χ angles (degrees), or the nearest favoured ones of a side chain that is an outlier.
    score : NDArray[float64], shape (m,)
        Present rotamer score.
    """

    compound: NDArray[np.int64]
    first: NDArray[np.int64]
    atoms: NDArray[np.int32]
    level: NDArray[np.int64]
    reach: NDArray[np.float64]
    quads: NDArray[np.int64]
    hinge: NDArray[np.int64]
    beta: NDArray[np.int64]
    start: NDArray[np.float64]
    score: NDArray[np.float64]


class Rules(NamedTuple):
    """What the energy weighs and when a change is accepted.

    Attributes
    ----------
    contact_weight, reduction, cap, bond : float
        Weight of contacts (1/Å²), overlap without cost (Å), highest energy of one contact, bonus of a hydrogen bond.
    favored, outlier, gain : float
        Score that a new rotamer must have, score below which the present one can't stay, and by how much
        the energy must fall.
    doubt : float
        By this much more for the density of a single carbon atom, in standard deviations of the map: what is within noise.
    poor, angle_penalty : float
        Other backbone angles are tried where the side chain has less than this fraction of its backbone's
        density; energy per square degree of angle.
    """

    contact_weight: float
    reduction: float
    cap: float
    bond: float
    favored: float
    outlier: float
    gain: float
    doubt: float
    poor: float
    angle_penalty: float


class Contacts(NamedTuple):
    """Contacts that the present side chain may make; room for any of them.

    Attributes
    ----------
    listed : NDArray[int64], shape (MAX_OWN,)
        Neighbours of each own atom.
    at : NDArray[float64], shape (MAX_OWN, MAX_NEAR, 3)
        Their positions, Å: they stay while one side chain is searched.
    limit : NDArray[float64], shape (MAX_OWN, MAX_NEAR)
        Å below which they repel; negative for a hydrogen and an acceptor.
    outer : NDArray[float64], shape (MAX_OWN, MAX_NEAR)
        Å²; squared distance from which there is no energy.
    n_pairs : NDArray[int64], shape (1,)
        Pairs inside the side chain.
    pair : NDArray[int64], shape (MAX_PAIRS, 2)
        Own atoms.
    pair_limit : NDArray[float64], shape (MAX_PAIRS,)
    """

    listed: NDArray[np.int64]
    at: NDArray[np.float64]
    outer: NDArray[np.float64]
    limit: NDArray[np.float64]
    n_pairs: NDArray[np.int64]
    pair: NDArray[np.int64]
    pair_limit: NDArray[np.float64]


def room() -> Contacts:
    """Return empty lists of contacts."""
    return Contacts(
        listed=np.zeros(MAX_OWN, dtype=np.int64),
        at=np.zeros((MAX_OWN, MAX_NEAR, 3)),
        outer=np.zeros((MAX_OWN, MAX_NEAR)),
        limit=np.zeros((MAX_OWN, MAX_NEAR)),
        n_pairs=np.zeros(1, dtype=np.int64),
        pair=np.zeros((MAX_PAIRS, 2), dtype=np.int64),
        pair_limit=np.zeros(MAX_PAIRS),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def list_contacts(
    atoms: Atoms, chains: SideChains, rules: Rules, contacts: Contacts, s: int, fixed: Ints, near_chains: Ints
) -> None:
    """List what side chain s may touch: `fixed` atoms, and the side chains `near_chains`, where they are now."""
    first, stop = chains.first[s], chains.first[s + 1]
    for a in range(stop - first):
        contacts.listed[a] = 0
    for atom in fixed:
        _list_atom(atoms, chains, rules, contacts, s, atom)
    for t in near_chains:
        if t != s:
            for a in range(chains.first[t], chains.first[t + 1]):
                if chains.level[a] > 0:
                    _list_atom(atoms, chains, rules, contacts, s, chains.atoms[a])
    count = 0
    for a in range(first, stop):
        for b in range(first, a):
            if chains.level[a] != chains.level[b]:
                limit = _limit(atoms, rules, chains.atoms[a], chains.atoms[b])
                if limit != 0.0:
                    contacts.pair[count, 0], contacts.pair[count, 1] = a - first, b - first
                    contacts.pair_limit[count] = limit
                    count += 1
    contacts.n_pairs[0] = count


@njit(cache=True, nogil=True, error_model="numpy")
def _list_atom(atoms: Atoms, chains: SideChains, rules: Rules, contacts: Contacts, s: int, atom: int) -> None:
    """List one atom with the own atoms that can touch it."""
    first, stop = chains.first[s], chains.first[s + 1]
    if atoms.silent[atom]:
        return
    for a in range(first, stop):
        if chains.atoms[a] == atom:
            return
    distance = 0.0
    for k in range(3):
        distance += (atoms.positions[atom, k] - atoms.positions[chains.beta[s], k]) ** 2
    gap = math.sqrt(distance) - BOND_REACH - HINGE_REACH - atoms.radius[atom]
    for a in range(first, stop):
        own, place = chains.atoms[a], contacts.listed[a - first]
        if gap < chains.reach[a] + atoms.radius[own] and place < MAX_NEAR:
            limit = _limit(atoms, rules, own, atom)
            if limit != 0.0:
                for k in range(3):
                    contacts.at[a - first, place, k] = atoms.positions[atom, k]
                contacts.limit[a - first, place] = limit
                contacts.outer[a - first, place] = (limit if limit > 0.0 else rules.reduction + BOND_REACH - limit) ** 2
                contacts.listed[a - first] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _limit(atoms: Atoms, rules: Rules, i: int, j: int) -> float:
    """Return the distance (Å) below which two atoms repel, negative where they make a hydrogen bond, 0 if they don't."""
    if atoms.silent[i] or atoms.silent[j]:
        return 0.0
    for k in range(atoms.excluded_first[i], atoms.excluded_first[i + 1]):
        if atoms.excluded[k] == j:
            return 0.0
    a, b = atoms.role[i], atoms.role[j]
    limit = contact_distance(a, b, atoms.radius[i] + atoms.radius[j]) - rules.reduction
    bond = (a & DONOR and b & ACCEPTOR) or (a & ACCEPTOR and b & DONOR)
    return -limit if bond else limit


@njit(cache=True, nogil=True, error_model="numpy")
def _contact(square: float, limit: float, rules: Rules) -> float:
    """Return the energy of two atoms at a squared distance (Å²)."""
    closest = abs(limit)
    if limit < 0.0:
        closest += rules.reduction
        outer = closest + BOND_REACH
        if square >= outer * outer:
            return 0.0
        distance = math.sqrt(square)
        energy = -rules.bond * min(1.0, (outer - distance) / BOND_REACH)
        closest -= rules.reduction
    else:
        if square >= closest * closest:
            return 0.0
        distance, energy = math.sqrt(square), 0.0
    if distance < closest:
        energy += min(rules.contact_weight * (closest - distance) ** 2, rules.cap)
    return energy


@njit(cache=True, nogil=True, error_model="numpy")
def surroundings_energy(chains: SideChains, rules: Rules, contacts: Contacts, s: int, points: Floats, side: bool) -> float:
    """Return the contacts of the side chain (or of its backbone) at `points` with everything else."""
    energy = 0.0
    for a in range(chains.first[s + 1] - chains.first[s]):
        if (chains.level[chains.first[s] + a] > 0) != side:
            continue
        x, y, z = points[a, 0], points[a, 1], points[a, 2]
        at, outer = contacts.at[a], contacts.outer[a]
        for k in range(contacts.listed[a]):
            dx, dy, dz = at[k, 0] - x, at[k, 1] - y, at[k, 2] - z
            square = dx * dx + dy * dy + dz * dz
            if square < outer[k]:
                energy += _contact(square, contacts.limit[a, k], rules)
    return energy


@njit(cache=True, nogil=True, error_model="numpy")
def inner_energy(rules: Rules, contacts: Contacts, points: Floats) -> float:
    """Return the contacts inside the side chain at `points`."""
    energy = 0.0
    for k in range(contacts.n_pairs[0]):
        a, b = contacts.pair[k, 0], contacts.pair[k, 1]
        square = 0.0
        for axis in range(3):
            square += (points[a, axis] - points[b, axis]) ** 2
        energy += _contact(square, contacts.pair_limit[k], rules)
    return energy


@njit(cache=True, nogil=True, error_model="numpy")
def turn(chains: SideChains, s: int, n_chi: int, base: Floats, chi: Floats, points: Floats) -> None:
    """Write the side chain at χ angles (degrees) to `points`, its backbone as in `base`."""
    copy_points(base, points)
    for k in range(n_chi):
        quad = chains.quads[s, k]
        by = chi[k] * RADIAN - dihedral(points, quad)
        # the axis is moved by fewer χ than the atoms beyond it
        _rotate(points, chains, s, k + 1, points, quad[1], quad[2], by)


@njit(cache=True, nogil=True, error_model="numpy")
def hinge(atoms: Atoms, chains: SideChains, s: int, base: Floats, degrees: float, points: Floats) -> None:
    """Write `base`, turned about the axis through the Cα before and after, to `points`."""
    copy_points(base, points)
    if degrees != 0.0:
        _rotate(points, chains, s, 0, atoms.positions, chains.hinge[s, 0], chains.hinge[s, 1], degrees * RADIAN)


@njit(cache=True, nogil=True, error_model="numpy")
def copy_points(source: Floats, target: Floats) -> None:
    """Copy positions; an assignment of whole arrays takes numba seconds to compile."""
    for p in range(len(source)):
        for k in range(3):
            target[p, k] = source[p, k]


@njit(cache=True, nogil=True, error_model="numpy")
def dihedral(points: Floats, quad: Longs) -> float:
    """Return the dihedral angle of four points in radians."""
    a, b, c, d = quad[0], quad[1], quad[2], quad[3]
    ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
    vx, vy, vz = points[c, 0] - points[b, 0], points[c, 1] - points[b, 1], points[c, 2] - points[b, 2]
    wx, wy, wz = points[d, 0] - points[c, 0], points[d, 1] - points[c, 1], points[d, 2] - points[c, 2]
    mx, my, mz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    nx, ny, nz = vy * wz - vz * wy, vz * wx - vx * wz, vx * wy - vy * wx
    length = math.sqrt(vx * vx + vy * vy + vz * vz)
    return math.atan2(length * (ux * nx + uy * ny + uz * nz), mx * nx + my * ny + mz * nz)


@njit(cache=True, nogil=True, error_model="numpy")
def _rotate(points: Floats, chains: SideChains, s: int, lowest: int, axis: Floats, start: int, end: int, angle: float) -> None:
    """Turn the points of at least the level `lowest` about an axis between two rows of `axis` (Rodrigues' formula)."""
    ox, oy, oz = axis[end, 0], axis[end, 1], axis[end, 2]
    ax, ay, az = ox - axis[start, 0], oy - axis[start, 1], oz - axis[start, 2]
    scale = 1.0 / max(math.sqrt(ax * ax + ay * ay + az * az), 1e-9)
    ax, ay, az = ax * scale, ay * scale, az * scale
    cosine, sine = math.cos(angle), math.sin(angle)
    first = chains.first[s]
    for p in range(chains.first[s + 1] - first):
        if chains.level[first + p] >= lowest:
            x, y, z = points[p, 0] - ox, points[p, 1] - oy, points[p, 2] - oz
            along = (ax * x + ay * y + az * z) * (1.0 - cosine)
            points[p, 0] = ox + cosine * x + sine * (ay * z - az * y) + along * ax
            points[p, 1] = oy + cosine * y + sine * (az * x - ax * z) + along * ay
            points[p, 2] = oz + cosine * z + sine * (ax * y - ay * x) + along * az
