"""Planes, chiral centres and torsions of a compound, from its chemistry and its ideal coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refinement.geometry import dihedrals

if TYPE_CHECKING:
    from refinement.compounds.component import Component
    from refinement.compounds.environment import Environment

FLAT = 0.1
"""Å rms; a group that is further from flat than this in the ideal coordinates gets no plane."""
STAGGERED = 40.0
"""Degrees from 60 or 180 within which a bond is staggered."""
LEAST_VOLUME = 0.7
"""Å³; a centre with a smaller chiral volume has no handedness that a dictionary could ask for."""


@dataclass(frozen=True, slots=True)
class Torsion:
    """One torsion: atoms, what kind, target and spread in degrees, and how often the target repeats in a turn."""

    atoms: tuple[int, int, int, int]
    label: str
    value: float
    sigma: float
    period: int


def planes(compound: Component, found: Environment) -> list[tuple[int, ...]]:
    """Return groups of four and more atoms that lie in a plane.

    Rings of flat atoms with what is bound to them, one plane each; double bonds and amides outside of rings with
    the atoms at both ends; other flat centres with their three neighbours.
    """
    groups: list[set[int]] = [
        ring | {there for atom in ring for there, _, _ in found.neighbours[atom]} for ring in _flat_rings(compound, found)
    ]
    for i, j in compound.bonds.tolist():
        if found.is_flat(i) and found.is_flat(j) and not found.ring[i, j] and _is_stiff(compound, found, i, j):
            groups.append({i, j} | {there for atom in (i, j) for there, _, _ in found.neighbours[atom]})
    for atom in range(len(compound)):
        if found.is_flat(atom) and len(found.neighbours[atom]) == 3:
            groups.append({atom} | {there for there, _, _ in found.neighbours[atom]})
    groups = [group for group in groups if len(group) > 3 and not any(group < other for other in groups)]
    distinct = sorted({tuple(sorted(group)) for group in groups})
    return [group for group in distinct if _is_flat_group(compound, group)]


def chiral_centres(compound: Component, found: Environment) -> list[tuple[int, int, int, int, str]]:
    """Return centre, three neighbours and sign of the chiral atoms.

    A centre counts if the dictionary gives it a configuration; its sign is that of the ideal coordinates.
    """
    centres = []
    for atom in range(len(compound)):
        heavy = [there for there, _, _ in found.neighbours[atom] if compound.elements[there] not in ("H", "D")]
        if compound.stereo[atom] not in ("R", "S") or len(heavy) < 3 or found.is_flat(atom):
            continue
        three = sorted(heavy, key=lambda there: (-len(found.neighbours[there]), compound.names[there]))[:3]
        volume = _volume(compound, atom, three)
        if np.isfinite(volume) and abs(volume) > LEAST_VOLUME:
            first, second, third = three
            centres.append((atom, first, second, third, "positive" if volume > 0 else "negative"))
    return centres


def torsions(compound: Component, found: Environment) -> list[Torsion]:
    """Return one torsion for every bond between atoms that are bound further on.

    Bonds that turn have that of the ideal conformer or one a symmetric turn away; where that is eclipsed, none.
    """
    made = []
    for j, k in compound.bonds.tolist():
        before = _outer(compound, found, j, k)
        after = _outer(compound, found, k, j)
        if before is None or after is None or "1" in (found.hybridisation[j], found.hybridisation[k]):
            continue
        atoms = (before, j, k, after)
        ideal = float(dihedrals(compound.positions, *np.array(atoms)[:, None])[0])
        made.append(_torsion(compound, found, atoms, ideal))
    return [torsion for torsion in made if torsion is not None]


def _torsion(compound: Component, found: Environment, atoms: tuple[int, int, int, int], ideal: float) -> Torsion | None:
    _, j, k, _ = atoms
    flat = found.is_flat(j), found.is_flat(k)
    if all(flat) and (found.ring[j, k] or _is_stiff(compound, found, j, k)):
        return Torsion(atoms, "const", 0.0 if abs(ideal) < 90.0 else 180.0, 5.0 if not found.ring[j, k] else 0.0, 1)
    if found.ring[j, k] and np.isfinite(ideal):
        return Torsion(atoms, "ring", round(ideal, 1), 10.0, 1)
    label, value, sigma, period = ("sp2_sp2", 180.0, 20.0, 2) if all(flat) else ("sp3_sp3", 180.0, 15.0, 3)
    if any(flat) and not all(flat):
        label, value, sigma, period = "sp2_sp3", 90.0, 20.0, 6
    carbons = compound.elements[j] == compound.elements[k] == "C"
    if carbons and label == "sp3_sp3" and abs((ideal + 360.0) % 120.0 - 60.0) > STAGGERED:
        return None
    return Torsion(atoms, label, round(ideal, 1) if np.isfinite(ideal) else value, sigma, period)


def _outer(compound: Component, found: Environment, atom: int, other: int) -> int | None:
    """Return the neighbour of `atom` that a torsion about the bond to `other` ends at: a heavy one before hydrogens."""
    around = [there for there, _, _ in found.neighbours[atom] if there != other]
    if not around:
        return None
    return min(around, key=lambda there: (compound.elements[there] in ("H", "D"), not found.ring[atom, there], there))


def _is_stiff(compound: Component, found: Environment, i: int, j: int) -> bool:
    """Return whether a bond between flat atoms doesn't turn: a double bond, or the C-N bond of amides and guanidines."""
    order, aromatic = found.bond(i, j)
    if order == 2 or (aromatic and found.ring[i, j]):
        return True
    carbon, nitrogen = (i, j) if compound.elements[i] == "C" else (j, i)
    if compound.elements[carbon] != "C" or found.hybridisation[nitrogen] != "2c" or compound.aromatic[carbon]:
        return False
    return any(order == 2 and compound.elements[there] in ("O", "S", "N") for there, order, _ in found.neighbours[carbon])


def _flat_rings(compound: Component, found: Environment) -> list[set[int]]:
    """Return the rings of up to six atoms that are flat throughout."""
    flat = {atom for atom in range(len(compound)) if found.is_flat(atom) or _joins_flat(compound, found, atom)}
    rings: set[frozenset[int]] = set()
    for i, j in compound.bonds.tolist():
        size = found.ring[i, j]
        if 0 < size <= 6 and i in flat and j in flat:
            rings |= _rings_through(found, i, j, size, flat)
    return [set(ring) for ring in sorted(rings, key=sorted)]


def _joins_flat(compound: Component, found: Environment, atom: int) -> bool:
    """Return whether an atom without a double bond belongs to an aromatic ring (O and S of furan and thiazole)."""
    return bool(compound.aromatic[atom]) or (found.hybridisation[atom] == "3c" and len(found.neighbours[atom]) == 2)


def _rings_through(found: Environment, i: int, j: int, size: int, allowed: set[int]) -> set[frozenset[int]]:
    """Return the rings of a size through a bond whose atoms are all allowed."""
    rings: set[frozenset[int]] = set()
    paths = [[i]]
    for _ in range(size - 2):
        paths = [
            [*path, there]
            for path in paths
            for there, _, _ in found.neighbours[path[-1]]
            if there in allowed and there not in path and there != j and found.ring[path[-1], there]
        ]
    for path in paths:
        if any(there == j for there, _, _ in found.neighbours[path[-1]]) and len(path) == size - 1:
            rings.add(frozenset([*path, j]))
    return rings


def _is_flat_group(compound: Component, group: tuple[int, ...]) -> bool:
    points = compound.positions[list(group)]
    if not np.isfinite(points).all():
        return True
    singular = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return float(singular[-1]) / np.sqrt(len(group)) < FLAT


def _volume(compound: Component, centre: int, three: list[int]) -> float:
    a, b, c = compound.positions[three] - compound.positions[centre]
    return float(a @ np.cross(b, c))
