"""Bond and angle targets of nucleotides as Phenix and MolProbity have them.

Bases and phosphates of RNA in the values of the older CCP4 library (Parkinson 1996), riboses for the pucker that the
following phosphate asks for (Gelbin 1996), and the link from O3' to P. Modified nucleotides and DNA keep the
targets of their dictionary except for that link.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from refinement import tables
from refinement.nucleotides import is_nucleotide, riboses, with_present_names
from refinement.restraints.arrays import BondKind, TorsionKind
from refinement.restraints.target_tables import TargetTable, both_ways, places, within_residue

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.restraints.arrays import Angles, Bonds, Torsions
    from refinement.structure import Structure

_RINGS = {"A": "pur", "G": "pur", "C": "pyr", "U": "pyr"}
_PUCKERS = ("rna3p", "rna2p")
"""C3'-endo and C2'-endo."""


C3_ENDO, C2_ENDO = 82.0, 147.0
"""Degrees; δ of the two puckers."""
CLEARLY_C2, CLEARLY_C3 = 2.4, 3.8
"""Å between P and the line of the glycosidic bond. Between them, where few riboses are (C2'-endo ends at 2.1, C3'-endo begins
at 4.1), the pucker stays what it is."""


def nucleic_targets(structure: Structure, bonds: Bonds, angles: Angles) -> tuple[Bonds, Angles]:
    """Return restraints of a model with the targets of nucleotides described above."""
    nucleic = is_nucleotide(structure)
    if not nucleic.any():
        return bonds, angles
    table = _table()
    codes = table.name_codes(structure)
    found = riboses(structure)
    c2_endo = np.zeros(len(nucleic), dtype=np.bool_)
    c2_endo[found.residue[::-1]] = found.c2_endo[::-1]
    groups = _compound_groups(structure, found.residue, c2_endo, table)
    bonds = table.apply(bonds, within_residue(structure, bonds.atoms, groups), codes)
    angles = table.apply(angles, within_residue(structure, angles.atoms, groups), codes)
    linked = (bonds.kind == BondKind.POLYMER) & nucleic[structure.residue[bonds.atoms]].all(axis=1)
    links = np.array([table.code(name) for name in _PUCKERS])
    return (
        table.apply(bonds, np.where(linked, _link_groups(structure, bonds.atoms, c2_endo, links), -1), codes),
        table.apply(angles, _angle_links(structure, angles.atoms, nucleic, c2_endo, links), codes),
    )


def pucker_torsions(structure: Structure, torsions: Torsions) -> Torsions:
    """Return torsions in which the ring of each whole ribose of RNA has the pucker that its phosphates ask for.

    The dictionary's targets are for the pucker that the model had when they were made, right or wrong; the phosphate after
    a ribose lies near the line of its glycosidic bond only if it is C2'-endo (Jain 2015), and is seen better than the ring.
    Other sugars keep the targets that they have.
    """
    found = riboses(structure)
    rna = found.sound & np.isin(structure.residues.compound[found.residue], list(_RINGS))
    c2_endo = np.abs((found.delta - C2_ENDO + 180.0) % 360.0 - 180.0) < np.abs((found.delta - C3_ENDO + 180.0) % 360.0 - 180.0)
    c2_endo = np.where(found.p_perp < CLEARLY_C2, True, np.where(found.p_perp > CLEARLY_C3, False, c2_endo))
    pucker = np.full(len(structure.residues), -1)
    pucker[found.residue[rna][::-1]] = c2_endo[rna][::-1]
    rows = np.flatnonzero(torsions.kind == TorsionKind.SUGAR)
    target, sigma = torsions.target.copy(), torsions.sigma.copy()
    wanted = pucker[structure.residue[torsions.atoms[rows, 1]]]
    names = with_present_names(structure).names[torsions.atoms[rows]]
    for endo, values in enumerate(_ring_torsions()):
        for quad, (value, sd) in values.items():
            chosen = rows[(wanted == endo) & (names == quad.split("-")).all(axis=1)]
            target[chosen], sigma[chosen] = value, sd
    return replace(torsions, target=target, sigma=sigma)


def _compound_groups(
    structure: Structure, measured: NDArray[np.int32], c2_endo: NDArray[np.bool_], table: TargetTable
) -> NDArray[np.int64]:
    """Return the group of each residue: compound with pucker, the compound alone where the ribose isn't whole, else -1."""
    names = np.where(
        is_nucleotide(structure) & np.isin(structure.residues.compound, list(_RINGS)), structure.residues.compound, ""
    )
    endo = np.where(c2_endo, " rna2p", " rna3p")
    whole = np.zeros(len(names), dtype=np.bool_)
    whole[measured] = True
    return places(table.groups, np.char.add(names, np.where(whole, endo, "")))


def _link_groups(
    structure: Structure, atoms: NDArray[np.int32], c2_endo: NDArray[np.bool_], links: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the group of links by the pucker of the nucleotide that gives O3'."""
    donor = structure.names[atoms] == "O3'"
    first = structure.residue[np.take_along_axis(atoms, donor.argmax(axis=1)[:, None], axis=1)[:, 0]]
    groups: NDArray[np.int64] = np.where(donor.any(axis=1), links[c2_endo[first].astype(int)], -1)
    return groups


def _angle_links(
    structure: Structure,
    atoms: NDArray[np.int32],
    nucleic: NDArray[np.bool_],
    c2_endo: NDArray[np.bool_],
    links: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the group of angles that span two nucleotides joined by O3'-P, -1 for all others."""
    residues = structure.residue[atoms]
    names = structure.names[atoms]
    spans = (residues != residues[:, :1]).any(axis=1) & nucleic[residues].all(axis=1)
    spans &= (names == "O3'").any(axis=1) & (names == "P").any(axis=1)
    groups: NDArray[np.int64] = np.where(spans, _link_groups(structure, atoms, c2_endo, links), -1)
    return groups


@cache
def _ring_torsions() -> tuple[dict[str, tuple[float, float]], ...]:
    """Return the torsions of the ring in C3'-endo and in C2'-endo: atoms -> degrees and standard deviation."""
    return tuple(
        {
            row["atoms"]: (float(row["value"]), float(row["sd"]))
            for row in tables.rows("rna_sugar_pucker_targets")
            if row["modification"] == pucker and row["kind"].startswith(("nu", "realnu"))
        }
        for pucker in _PUCKERS
    )


@cache
def _table() -> TargetTable:
    """Return the targets; groups are ``A``, ``A rna2p``, ``A rna3p`` … and the links ``rna2p``, ``rna3p``."""
    plain = {
        (row["group"], *row["atoms"].split("-")): (float(row["value"]), float(row["sd"])) for row in tables.rows("rna_geometry")
    }
    targets = dict(plain)
    for compound, ring in _RINGS.items():
        for pucker in _PUCKERS:
            own = both_ways({(f"{compound} {pucker}", *key[1:]): value for key, value in plain.items() if key[0] == compound})
            for row in tables.rows("rna_sugar_pucker_targets"):
                if row["modification"] == f"{pucker}_{ring}" and row["kind"] in {"bond", "angle"}:
                    key = (f"{compound} {pucker}", *row["atoms"].split("-"))
                    own |= both_ways({key: (float(row["value"]), float(row["sd"]))})
            targets |= own
    targets = both_ways(targets)
    bonds = {key: value for key, value in targets.items() if len(key) == 3}
    angles = {key: value for key, value in targets.items() if len(key) == 4}
    return TargetTable(bonds, angles)
