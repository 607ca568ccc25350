"""Restraints at covalent bonds between residues that no library describes, from the chemistry of both compounds."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from refinement.compounds.joined import joint
from refinement.restraints.arrays import Angles, BondKind, Planes
from refinement.restraints.bonding import compatible

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.compounds.joined import Joint, Site
    from refinement.restraints.topology import Topology
    from refinement.structure import Structure

LOGGER = logging.getLogger(__name__)
PLANE_SIGMA = 0.02
"""Å"""


def undescribed_links(topology: Topology) -> list[tuple[int, int]]:
    """Return the covalent links at whose ends the dictionaries give no angle: their length is a guess by radii."""
    links = topology.bonds.atoms[topology.bonds.kind == BondKind.LINK]
    near = topology.angles.atoms[np.isin(topology.angles.atoms[:, 1], links)].tolist()
    described = {(apex, end) for one, apex, two in near for end in (one, two)}
    return [(i, j) for i, j in links.tolist() if (i, j) not in described and (j, i) not in described]


def with_link_chemistry(topology: Topology, structure: Structure) -> Topology:
    """Return the restraints with those of links that no library describes replaced by what chemistry asks for.

    Lengths of the bonds, angles at their ends and planes across them; where a double bond was opened, its planes and
    torsions go. Links of compounds that the Chemical Component Dictionary lacks stay as they are.

    Parameters
    ----------
    topology : Topology
        From the dictionaries.
    structure : Structure
        Its model.
    """
    made: Counter[str] = Counter()
    for i, j in undescribed_links(topology):
        found = _joint(structure, i, j)
        if found is not None:
            topology = _applied(topology, structure, (i, j), found)
            made[_name(structure, i, j, found)] += 1
    if not made:
        return topology
    listed = ", ".join(f"{name} ({count}×)" if count > 1 else name for name, count in sorted(made.items()))
    sentence = f"Links that no library describes are restrained by their chemistry: {listed}."
    return replace(topology, warnings=(*topology.warnings, sentence))


def _name(structure: Structure, i: int, j: int, found: Joint) -> str:
    """Return what a link is called: compounds and atoms with the bond between."""
    one, two = (f"{structure.residues.compound[structure.residue[atom]]} {structure.names[atom]}" for atom in (i, j))
    return f"{one}{'=' if found.order == 2 else '-'}{two}"


def _joint(structure: Structure, i: int, j: int) -> Joint | None:
    rows = [int(structure.residue[atom]) for atom in (i, j)]
    one, two = (str(structure.residues.compound[row]) for row in rows)
    present = [frozenset(structure.names[_span(structure, row)].tolist()) for row in rows]
    try:
        return joint((0, str(structure.names[i])), (1, str(structure.names[j])), (one, two), (present[0], present[1]))
    except OSError as fault:
        LOGGER.warning("The link of %s to %s keeps a guessed length: %s.", one, two, fault.strerror)
        return None


def _span(structure: Structure, row: int) -> slice:
    return slice(int(structure.residues.first[row]), int(structure.residues.first[row + 1]))


def _applied(topology: Topology, structure: Structure, ends: tuple[int, int], found: Joint) -> Topology:
    """Return the restraints with those of one link."""
    at = _Places(structure, ends)
    bonds, target, sigma = topology.bonds, topology.bonds.target.copy(), topology.bonds.sigma.copy()
    if np.isfinite(found.length):
        here = (bonds.atoms == sorted(ends)).all(axis=1)
        target[here], sigma[here] = found.length, found.sigma
    opened = [{at.of(a), at.of(b)} for a, b in found.opened]
    turning = [set(pair) in opened for pair in topology.torsions.atoms[:, 1:3].tolist()] if opened else []
    torsions = topology.torsions.select(~np.array(turning, dtype=np.bool_)) if opened else topology.torsions
    return replace(
        topology,
        bonds=replace(bonds, target=target, sigma=sigma),
        angles=_with_angles(topology.angles, at, found),
        torsions=torsions,
        planes=_with_planes(topology, at, found),
    )


class _Places:
    """Rows of atoms by compound and name, of the conformer that the link belongs to."""

    def __init__(self, structure: Structure, ends: tuple[int, int]) -> None:
        self._rows: dict[Site, int] = {}
        letter = next((str(structure.altloc[end]) for end in ends if structure.altloc[end]), "")
        for side, end in enumerate(ends):
            span = _span(structure, int(structure.residue[end]))
            own = np.arange(span.start, span.stop)
            fits = compatible(structure.altloc[span], np.full(len(own), letter)) if letter else np.ones(len(own), dtype=np.bool_)
            for row in own[fits].tolist():
                self._rows.setdefault((side, str(structure.names[row])), row)

    def of(self, site: Site) -> int | None:
        return self._rows.get(site)

    def all_of(self, sites: tuple[Site, ...]) -> list[int]:
        return [row for row in map(self.of, sites) if row is not None]


def _with_angles(angles: Angles, at: _Places, found: Joint) -> Angles:
    """Return the angles, those around the atoms that a link changes replaced."""
    rows: dict[tuple[int, int, int], tuple[float, float]] = {}
    for sites, value in found.angles.items():
        atoms = at.all_of(sites)
        if len(atoms) == 3:
            rows[min(atoms[0], atoms[2]), atoms[1], max(atoms[0], atoms[2])] = value
    if not rows:
        return angles
    kept = angles.select(np.array([tuple(row) not in rows for row in angles.atoms.tolist()], dtype=np.bool_))
    values = np.array(list(rows.values()))
    return Angles(
        np.concatenate([kept.atoms, np.array(list(rows), dtype=np.int32)]),
        np.concatenate([kept.target, values[:, 0]]),
        np.concatenate([kept.sigma, values[:, 1]]),
    )


def _with_planes(topology: Topology, at: _Places, found: Joint) -> Planes:
    """Return the planes with those across a link, without those of atoms that it has bent."""
    planes = topology.planes
    bent: list[tuple[int, NDArray[np.int32]]] = [(row, topology.neighbours.of(row)) for row in at.all_of(found.bent)]
    if bent:
        groups = np.split(planes.atoms, planes.first[1:-1]) if len(planes) else []
        stays = [not any(row in group and np.isin(around, group).sum() > 1 for row, around in bent) for group in groups]
        planes = planes.select(np.array(stays, dtype=np.bool_))
    new = [sorted(rows) for rows in map(at.all_of, found.planes) if len(rows) > 3]
    if not new:
        return planes
    ends = planes.first[-1] + np.cumsum([len(rows) for rows in new], dtype=np.int32)
    return Planes(
        np.concatenate([planes.first, ends]).astype(np.int32),
        np.concatenate([planes.atoms, *[np.array(rows, dtype=np.int32) for rows in new]]),
        np.concatenate([planes.sigma, np.full(len(new), PLANE_SIGMA)]),
    )
