"""From gemmi's topology objects to restraint arrays; atoms carry their row as serial number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gemmi
import numpy as np

from refinement.geometry import dihedrals
from refinement.restraints.arrays import Angles, BondKind, Bonds, Chiralities, Planes, TorsionKind, Torsions
from refinement.restraints.coordination import METAL_SIGMA
from refinement.restraints.links import covalent_sum, metal_mask
from refinement.structure import ResidueKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.structure import Structure

BOND_SIGMA_FLOOR = 0.008
"""Å; some library values are unrealistically tight."""
BOND_SIGMA_UNKNOWN = 0.02
"""Å, where the dictionary gives none."""
METAL_TOLERANCE = 0.4
"""Å; a coordination target further than this from the sum of covalent radii is replaced by that sum."""
METAL_PULL = 0.3
"""Å; coordination that is longer than its target by more stays as long as it is."""
METAL_REACH = 1.0
"""Å; coordination longer than the sum of covalent radii plus this isn't restrained."""
ANGLE_SIGMA_FLOOR = 0.5
ANGLE_SIGMA_UNKNOWN = 3.0
TORSION_SIGMA_FLOOR = 2.0
NUCLEIC_SIGMA_FLOOR = 20.0
"""Degrees; the staggered library targets of nucleotide backbones are up to 35° from the angles that occur (ε of A-form: 213°)."""
CHIRALITY_SIGMA = 0.1
"""Å³"""
PLANE_SIGMA = 0.02
"""Å"""

_FLAT_LABELS = ("const", "plan")


def bonds(topo: gemmi.Topo, structure: Structure) -> Bonds:
    """Return the bonds of a topology, each pair of atoms once."""
    rows = [(a.serial, b.serial, r.value, r.esd) for bond in topo.bonds for (a, b), r in ((bond.atoms, bond.restr),)]
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    atoms = np.sort(table[:, :2].astype(np.int32), axis=1)
    usable = np.isfinite(table[:, 2]) & (table[:, 2] > 0) & (atoms[:, 0] != atoms[:, 1])
    keep = _first_of_each(atoms, usable)
    atoms, target, sigma = atoms[keep], table[keep, 2], table[keep, 3]
    sigma = np.where(np.isfinite(sigma) & (sigma > 0), np.maximum(sigma, BOND_SIGMA_FLOOR), BOND_SIGMA_UNKNOWN)
    found = Bonds(np.ascontiguousarray(atoms), target, sigma, _bond_kinds(atoms, structure))
    return _gentle_metals(found, structure)


def _gentle_metals(found: Bonds, structure: Structure) -> Bonds:
    """Return the bonds with coordination that never pulls far and ignores what can't be coordination."""
    metal = found.kind == BondKind.METAL
    if not metal.any():
        return found
    ends = structure.positions[found.atoms]
    length = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
    typical = covalent_sum(structure.elements, found.atoms)
    target = np.where(np.abs(found.target - typical) > METAL_TOLERANCE, typical, found.target)
    target = np.where(length > target + METAL_PULL, length, target)
    gentle = Bonds(
        found.atoms,
        np.where(metal, target, found.target),
        np.where(metal, np.maximum(found.sigma, METAL_SIGMA), found.sigma),
        found.kind,
    )
    return gentle.select(~metal | (length <= typical + METAL_REACH))


def angles(topo: gemmi.Topo) -> Angles:
    """Return the angles of a topology, each triple once."""
    rows = [
        (a.serial, b.serial, c.serial, r.value, r.esd) for angle in topo.angles for (a, b, c), r in ((angle.atoms, angle.restr),)
    ]
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    atoms = table[:, :3].astype(np.int32)
    swap = atoms[:, 0] > atoms[:, 2]
    atoms[swap] = atoms[swap][:, ::-1]
    distinct = (atoms[:, 0] != atoms[:, 1]) & (atoms[:, 1] != atoms[:, 2]) & (atoms[:, 0] != atoms[:, 2])
    keep = _first_of_each(atoms, np.isfinite(table[:, 3]) & (table[:, 3] > 0) & distinct)
    target, sigma = np.minimum(table[keep, 3], 180.0), table[keep, 4]
    sigma = np.where(np.isfinite(sigma) & (sigma > 0), np.maximum(sigma, ANGLE_SIGMA_FLOOR), ANGLE_SIGMA_UNKNOWN)
    return Angles(np.ascontiguousarray(atoms[keep]), target, sigma)


def torsions(topo: gemmi.Topo, structure: Structure) -> Torsions:
    """Return the torsions of a topology.

    Torsions without a standard deviation are left out (planes hold these groups); of the two
    sets of ribose torsions the one nearer to the present pucker is kept.
    """
    found = [
        (a.serial, b.serial, c.serial, d.serial, r.value, r.esd, r.period, r.label)
        for torsion in topo.torsions
        for (a, b, c, d), r in ((torsion.atoms, torsion.restr),)
        if r.esd > 0
    ]
    table = np.array([row[:7] for row in found], dtype=np.float64).reshape(-1, 7)
    label = np.array([row[7] for row in found], dtype=np.str_)
    atoms = np.ascontiguousarray(table[:, :4].astype(np.int32))
    kind = _torsion_kinds(atoms, label, structure)
    floor = np.where(kind == TorsionKind.NUCLEIC, NUCLEIC_SIGMA_FLOOR, TORSION_SIGMA_FLOOR)
    keep = np.isfinite(table[:, 4:6]).all(axis=1) & _matching_pucker(atoms, table, label, structure)
    out = Torsions(
        atoms=atoms[keep],
        target=table[keep, 4],
        sigma=np.maximum(table[:, 5], floor)[keep],
        period=table[keep, 6].astype(np.int32),
        kind=kind[keep],
        label=label[keep],
    )
    return out.select(_one_per_bond_quadruple(out))


def chiralities(topo: gemmi.Topo) -> Chiralities:
    """Return the chiral volumes of a topology."""
    rows = []
    for centre in topo.chirs:
        volume = topo.ideal_chiral_abs_volume(centre)
        both = centre.restr.sign == gemmi.ChiralityType.Both
        negative = centre.restr.sign == gemmi.ChiralityType.Negative
        rows.append((*(atom.serial for atom in centre.atoms), -volume if negative else volume, both))
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    table = table[np.isfinite(table[:, 4]) & (np.abs(table[:, 4]) > 0)]
    return Chiralities(
        np.ascontiguousarray(table[:, :4].astype(np.int32)),
        table[:, 4].copy(),
        np.full(len(table), CHIRALITY_SIGMA),
        table[:, 5].astype(np.bool_),
    )


def planes(topo: gemmi.Topo) -> Planes:
    """Return the planes of a topology that have at least four atoms."""
    groups: dict[tuple[int, ...], float] = {}
    for plane in topo.planes:
        atoms = tuple(sorted({atom.serial for atom in plane.atoms}))
        if len(atoms) >= 4:
            esd = plane.restr.esd
            groups.setdefault(atoms, esd if esd > 0 else PLANE_SIGMA)
    first = np.zeros(len(groups) + 1, dtype=np.int32)
    np.cumsum([len(group) for group in groups], out=first[1:])
    flat = np.array([atom for group in groups for atom in group], dtype=np.int32)
    return Planes(first, flat, np.array(list(groups.values()), dtype=np.float64))


def _first_of_each(atoms: NDArray[np.int32], usable: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the rows of the first usable occurrence of every tuple of atoms, in order."""
    rows = np.flatnonzero(usable)
    if not len(rows):
        return rows
    _, first = np.unique(atoms[rows], axis=0, return_index=True)
    return rows[np.sort(first)]


def _bond_kinds(atoms: NDArray[np.int32], structure: Structure) -> NDArray[np.uint8]:
    ends = structure.residue[atoms]
    between = ends[:, 0] != ends[:, 1]
    names = structure.names[atoms]
    polymer = structure.residues.polymer[ends].all(axis=1)
    kind = np.where(between, BondKind.LINK, BondKind.INTERNAL).astype(np.uint8)
    peptide = ((names == "C").any(axis=1) & (names == "N").any(axis=1)) | (
        (names == "O3'").any(axis=1) & (names == "P").any(axis=1)
    )
    kind[between & peptide & polymer] = BondKind.POLYMER
    kind[between & (names == "SG").all(axis=1)] = BondKind.DISULFIDE
    kind[between & metal_mask(structure.elements)[atoms].any(axis=1)] = BondKind.METAL
    return kind


def _torsion_kinds(atoms: NDArray[np.int32], label: NDArray[np.str_], structure: Structure) -> NDArray[np.uint8]:
    small = np.char.lower(label)
    middle = structure.residue[atoms[:, 1]] if len(atoms) else np.empty(0, dtype=np.int32)
    residue_kind = structure.residues.kind[middle]
    compound = structure.residues.compound[middle]
    kind = np.full(len(label), TorsionKind.LIGAND, dtype=np.uint8)
    protein = residue_kind == ResidueKind.PROTEIN
    kind[residue_kind == ResidueKind.NUCLEIC] = TorsionKind.NUCLEIC
    kind[np.char.find(small, "nyu") >= 0] = TorsionKind.SUGAR
    kind[protein & np.isin(small, ("chi1", "chi2", "chi3", "chi4"))] = TorsionKind.CHI
    kind[protein & (compound == "PRO")] = TorsionKind.PROLINE
    flat = np.zeros(len(label), dtype=np.bool_)
    for prefix in _FLAT_LABELS:
        flat |= np.char.startswith(small, prefix)
    kind[flat | (protein & (small == "chi5") & (compound == "ARG"))] = TorsionKind.PLANAR
    kind[np.isin(small, ("phi", "psi"))] = TorsionKind.PHI_PSI
    kind[small == "omega"] = TorsionKind.OMEGA
    if len(atoms):
        ends = structure.is_hydrogen[atoms[:, 0]] | structure.is_hydrogen[atoms[:, 3]]
        kind[ends & (kind != TorsionKind.OMEGA)] = TorsionKind.HYDROGEN
    return kind


def _matching_pucker(
    atoms: NDArray[np.int32], table: NDArray[np.float64], label: NDArray[np.str_], structure: Structure
) -> NDArray[np.bool_]:
    """Return a mask that drops, residue by residue, the pucker (C2' or C3' endo) that fits less well."""
    keep = np.ones(len(label), dtype=np.bool_)
    two, three = np.char.startswith(label, "C2e-"), np.char.startswith(label, "C3e-")
    if not (two.any() and three.any()):
        return keep
    rows = np.flatnonzero(two | three)
    delta = dihedrals(structure.positions, *atoms[rows].T) - table[rows, 4]
    delta -= 360 * np.round(delta / 360)
    in_ring = np.char.find(label[rows], "nyu") >= 0
    cost = np.where(in_ring, (delta / np.maximum(table[rows, 5], TORSION_SIGMA_FLOOR)) ** 2, 0.0)
    residue = structure.residue[atoms[rows, 1]]
    n_residues = len(structure.residues)
    cost_two = np.bincount(residue, weights=cost * two[rows], minlength=n_residues)
    cost_three = np.bincount(residue, weights=cost * three[rows], minlength=n_residues)
    keep[rows] = np.where((cost_two < cost_three)[residue], two[rows], three[rows])
    return keep


def _one_per_bond_quadruple(found: Torsions) -> NDArray[np.bool_]:
    """Return a mask that drops exact repeats (same atoms and target)."""
    mask = np.zeros(len(found), dtype=np.bool_)
    keys = np.column_stack([found.atoms, np.round(found.target * 100).astype(np.int64), found.period])
    mask[_first_of_each(keys, np.ones(len(found), dtype=np.bool_))] = True
    return mask
