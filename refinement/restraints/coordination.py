"""Distances between metals and the atoms that bind them, and the angles there.

Harding 2006 (Acta D62 678) for metals in general, Touw 2016 (Acta D72 1110) for zinc among cysteine and histidine.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gemmi
import numpy as np

from refinement.restraints.arrays import Angles, BondKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from refinement.restraints.arrays import Bonds
    from refinement.structure import Structure

METAL_SIGMA = 0.04
"""Å; standard deviation of coordination in refinement. The spread over all structures (up to 0.25) says how much distances
differ between sites, not how far a map at 3 Å may pull a metal off its ligand."""
METAL_LIMIT = 0.5
"""Å from the target where the pull levels off: what is further away may not be bound at all."""

_NITROGEN = 7

Distance = tuple[float, float]
"""Å and its standard deviation."""

NITROGEN: dict[str, Distance] = {
    "Mn": (2.21, 0.10), "Fe": (2.16, 0.15), "Co": (2.14, 0.10), "Cu": (2.02, 0.10), "Zn": (2.03, 0.05), "Mg": (2.15, 0.15),
}  # fmt: skip
"""Metal -> distance to N of histidine (magnesium: as in chlorophyll)."""
SULPHUR: dict[str, Distance] = {
    "Mn": (2.35, 0.25), "Fe": (2.30, 0.05), "Co": (2.25, 0.15), "Cu": (2.15, 0.25), "Zn": (2.31, 0.10),
}  # fmt: skip
"""Metal -> distance to S of cysteine."""
CARBOXYLATE: dict[str, Distance] = {
    "Na": (2.41, 0.10), "Mg": (2.07, 0.10), "K": (2.82, 0.10), "Ca": (2.36, 0.10), "Mn": (2.15, 0.05), "Fe": (2.04, 0.10),
    "Co": (2.05, 0.05), "Cu": (1.99, 0.15), "Zn": (1.99, 0.05),
}  # fmt: skip
"""Metal -> distance to O of aspartate and glutamate, monodentate."""
WATER: dict[str, Distance] = {
    "Na": (2.41, 0.10), "Mg": (2.07, 0.05), "K": (2.81, 0.15), "Ca": (2.39, 0.10), "Mn": (2.19, 0.05), "Fe": (2.09, 0.10),
    "Co": (2.09, 0.10), "Cu": (2.13, 0.25), "Zn": (2.09, 0.05),
}  # fmt: skip
"""Metal -> distance to O of water."""
ZINC_SULPHUR: tuple[Distance | None, ...] = (None, (2.298, 0.017), (2.306, 0.029), (2.318, 0.027), (2.330, 0.029))
"""Tetrahedral zinc: distance to S by the number of cysteines; the other ligands are histidines."""
ZINC_NITROGEN: tuple[Distance | None, ...] = (None, (2.002, 0.045), (2.040, 0.050), (2.074, 0.056), None)
"""The same to N."""

ZINC_ANGLES: tuple[tuple[float, float, float], ...] = (
    (109.5, 109.5, 109.5),
    (109.5, 111.6, 107.23),
    (116.23, 109.2, 102.38),
    (112.15, 106.6, 109.5),
    (109.45, 109.5, 109.5),
)
"""Degrees at tetrahedral zinc by the number of cysteines: S-Zn-S, S-Zn-N, N-Zn-N; those with one S and one N follow from the
others, as the four directions fill a tetrahedron."""
ZINC_ANGLE_SIGMA = 5.0
"""Degrees (4 to 5.5 in Touw 2016)."""
RING_ANGLE, RING_SIGMA = 126.5, 5.0
"""Degrees between the bonds of a ring nitrogen of histidine and a metal: it lies in the plane of the ring, on the bisector of
its angle of 107°."""
_RING = {"ND1": ("CG", "CE1"), "NE2": ("CE1", "CD2")}


def coordination_angles(structure: Structure, bonds: Bonds, angles: Angles) -> Angles:
    """Return angles with those at tetrahedral zinc and at the ring nitrogens of histidines that bind a metal added.

    Parameters
    ----------
    structure : Structure
        The model.
    bonds, angles : Bonds, Angles
        Its restraints; angles that are there already stay what they are.
    """
    binders = _binders(structure, bonds)
    if not binders:
        return angles
    known = {(min(a, c), b, max(a, c)) for a, b, c in angles.atoms[np.isin(angles.atoms[:, 1], list(_ends(binders)))].tolist()}
    rows: dict[tuple[int, int, int], tuple[float, float]] = {}
    for a, b, c, target, sigma in (*_at_zinc(structure, binders), *_at_rings(structure, binders)):
        key = (min(a, c), b, max(a, c))
        if key not in known:
            rows[key] = (target, sigma)
    if not rows:
        return angles
    values = np.array(list(rows.values()))
    return Angles(
        np.concatenate([angles.atoms, np.array(list(rows), dtype=np.int32)]),
        np.concatenate([angles.target, values[:, 0]]),
        np.concatenate([angles.sigma, values[:, 1]]),
    )


def _ends(binders: dict[int, tuple[int, int]]) -> set[int]:
    return {atom for pair in binders.values() for atom in pair}


def _at_zinc(structure: Structure, binders: dict[int, tuple[int, int]]) -> Iterator[tuple[int, int, int, float, float]]:
    """Yield the angles between the bonds of tetrahedral zinc: atoms, degrees, standard deviation."""
    for metal, cysteines in _tetrahedral(structure, binders).items():
        around = sorted(other for ion, other in binders.values() if ion == metal)
        for k, one in enumerate(around):
            for two in around[k + 1 :]:
                nitrogens = sum(structure.elements[atom] == _NITROGEN for atom in (one, two))
                yield one, metal, two, ZINC_ANGLES[cysteines][nitrogens], ZINC_ANGLE_SIGMA


def _at_rings(structure: Structure, binders: dict[int, tuple[int, int]]) -> Iterator[tuple[int, int, int, float, float]]:
    """Yield the two angles at each ring nitrogen of histidine that binds a metal."""
    first = structure.residues.first
    for metal, other in binders.values():
        row = int(structure.residue[other])
        if structure.residues.compound[row] != "HIS" or structure.names[other] not in _RING:
            continue
        span = np.arange(first[row], first[row + 1])
        fitting = np.isin(structure.altloc[span], ("", structure.altloc[other]))
        for name in _RING[str(structure.names[other])]:
            for neighbour in span[fitting & (structure.names[span] == name)].tolist():
                yield neighbour, other, metal, RING_ANGLE, RING_SIGMA


def coordination_distance(metal: str, binder: str, compound: str) -> Distance | None:
    """Return the distance between a metal and an atom of element `binder` in `compound`, None where unknown."""
    if binder == "N":
        return NITROGEN.get(metal)
    if binder == "S":
        return SULPHUR.get(metal)
    if binder == "O":
        return (WATER if compound == "HOH" else CARBOXYLATE).get(metal)
    return None


def is_covalent_coordination(structure: Structure, bonds: Bonds) -> NDArray[np.bool_]:
    """Return which bonds of kind METAL are counted among the covalent geometry.

    Those of metals that are part of a larger compound (haem), and of zinc among four side chains of
    cysteine and histidine; free ions are not, their distances vary too much.
    """
    counted = np.zeros(len(bonds), dtype=bool)
    sizes = np.diff(structure.residues.first)
    binders = _binders(structure, bonds)
    tetrahedral = _tetrahedral(structure, binders)
    for row, (metal, _) in binders.items():
        counted[row] = sizes[structure.residue[metal]] > 1 or metal in tetrahedral
    return counted


def with_coordination(structure: Structure, bonds: Bonds) -> Bonds:
    """Return the bonds with the distances above for those of kind METAL."""
    binders = _binders(structure, bonds)
    if not binders:
        return bonds
    target, sigma = bonds.target.copy(), bonds.sigma.copy()
    tetrahedral = _tetrahedral(structure, binders)
    for row, (metal, other) in binders.items():
        compound = str(structure.residues.compound[structure.residue[other]])
        element, binder = (gemmi.Element(int(structure.elements[atom])).name for atom in (metal, other))
        known = coordination_distance(element, binder, compound)
        if metal in tetrahedral:
            known = (ZINC_SULPHUR if binder == "S" else ZINC_NITROGEN)[tetrahedral[metal]] or known
        if known:
            target[row], sigma[row] = known
    return replace(bonds, target=target, sigma=sigma)


def _binders(structure: Structure, bonds: Bonds) -> dict[int, tuple[int, int]]:
    """Return row of the bond -> rows of the metal and of the atom that binds it."""
    found = {}
    for row in np.flatnonzero(bonds.kind == BondKind.METAL).tolist():
        i, j = bonds.atoms[row].tolist()
        found[row] = (i, j) if gemmi.Element(int(structure.elements[i])).is_metal else (j, i)
    return found


def _tetrahedral(structure: Structure, binders: dict[int, tuple[int, int]]) -> dict[int, int]:
    """Return zinc atoms with four side chains of cysteine and histidine -> the number of cysteines."""
    around: dict[int, list[str]] = {}
    for metal, other in binders.values():
        if structure.elements[metal] == gemmi.Element("Zn").atomic_number:
            around.setdefault(metal, []).append(str(structure.residues.compound[structure.residue[other]]))
    return {
        metal: compounds.count("CYS")
        for metal, compounds in around.items()
        if len(compounds) == 4 and set(compounds) <= {"CYS", "HIS"}
    }
