"""The covalent targets that people know from Phenix and MolProbity.

Bond lengths and angles between the non-hydrogen atoms of amino acids and of peptide, disulfide and glycosidic links
in the values of Engh & Huber as the older CCP4 library has them, with the conformation-dependent library on top.
RNA has the values of `refinement.restraints.nucleic_targets`. Other compounds keep the targets of their dictionary;
metals bound to a part of a larger compound, and zinc among four side chains, get the distances of
`refinement.restraints.coordination`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from refinement import tables
from refinement.conformers import NamedAtoms
from refinement.geometry import dihedrals
from refinement.restraints.arrays import BondKind
from refinement.restraints.cdl import CIS_LIMIT, conformation_dependent_targets
from refinement.restraints.coordination import with_coordination
from refinement.restraints.nucleic_targets import nucleic_targets
from refinement.restraints.target_tables import TargetTable, both_ways, places, within_residue

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.restraints.arrays import Angles, Bonds
    from refinement.structure import Structure

CARBOXYLATE = "C-terminus"
SUGAR_LINK = "glycosidic link"
LINKED_SUGAR = "sugar linked at C1"
_BEFORE = {"ND2": "CG", "OG": "CB", "OG1": "CB", "O2": "C2", "O3": "C3", "O4": "C4", "O6": "C6"}
"""Atom that C1 of a sugar is bound to -> the atom before it."""
_MORE_BONDS = {
    (CARBOXYLATE, "C", "OXT"): (1.231, 0.020),
    (LINKED_SUGAR, "C1", "C2"): (1.524, 0.020),
    (LINKED_SUGAR, "C1", "O5"): (1.426, 0.020),
    **{(SUGAR_LINK, name, "C1"): (1.439, 0.020) for name in _BEFORE},
}
_MORE_ANGLES = {
    (CARBOXYLATE, "CA", "C", "O"): (121.0, 3.0),
    (CARBOXYLATE, "CA", "C", "OXT"): (121.0, 3.0),
    (CARBOXYLATE, "O", "C", "OXT"): (118.0, 3.0),
    (LINKED_SUGAR, "C2", "C1", "O5"): (109.47, 3.0),
    **{(SUGAR_LINK, before, name, "C1"): (108.7, 3.0) for name, before in _BEFORE.items()},
    **{(SUGAR_LINK, name, "C1", "O5"): (112.3, 3.0) for name in _BEFORE},
    **{(SUGAR_LINK, name, "C1", "C2"): (109.47, 3.0) for name in _BEFORE},
}


def standard_targets(structure: Structure, bonds: Bonds, angles: Angles) -> tuple[Bonds, Angles]:
    """Return restraints of a model with the targets described above.

    Parameters
    ----------
    structure : Structure
        The model; its positions decide about cis, trans, φ and ψ.
    bonds, angles : Bonds, Angles
        Restraints from the dictionaries.
    """
    table = _target_table()
    codes = table.name_codes(structure)
    groups = [within_residue(structure, atoms, _compound_codes(structure, table)) for atoms in (bonds.atoms, angles.atoms)]
    links = _link_codes(structure, bonds, table)
    groups[0] = np.where(links >= 0, links, groups[0])
    groups[1] = _angle_link_codes(structure, bonds, links, angles.atoms, groups[1])
    special = _special_residues(structure, bonds, links, table)
    for layer in (groups, [within_residue(structure, atoms, special) for atoms in (bonds.atoms, angles.atoms)]):
        bonds, angles = table.apply(bonds, layer[0], codes), table.apply(angles, layer[1], codes)
    bonds, angles = nucleic_targets(structure, bonds, angles)
    return conformation_dependent_targets(structure).apply(with_coordination(structure, bonds), angles)


@cache
def _target_table() -> TargetTable:
    return TargetTable(tables.geometry_bonds() | both_ways(_MORE_BONDS), tables.geometry_angles() | both_ways(_MORE_ANGLES))


def _compound_codes(structure: Structure, table: TargetTable) -> NDArray[np.int64]:
    """Return the code of each residue's compound, -1 for those without targets; MSE is looked up as MET."""
    own = np.where(structure.residues.compound == "MSE", "MET", structure.residues.compound)
    return places(table.groups, own)


def _link_codes(structure: Structure, bonds: Bonds, table: TargetTable) -> NDArray[np.int64]:
    """Return the code of the link of each bond: peptide, disulfide or glycosidic; -1 for others."""
    names = structure.names[bonds.atoms]
    peptide = (bonds.kind == BondKind.POLYMER) & np.isin(names, ("C", "N")).all(axis=1)
    sugar = (bonds.kind == BondKind.LINK) & (names == "C1").any(axis=1) & np.isin(names, tuple(_BEFORE)).any(axis=1)
    codes = np.full(len(bonds), -1, dtype=np.int64)
    codes[bonds.kind == BondKind.DISULFIDE] = table.code("link SS")
    codes[sugar] = table.code(SUGAR_LINK)
    codes[peptide] = _peptide_codes(structure, bonds.atoms[peptide], table)
    return codes


def _angle_link_codes(
    structure: Structure,
    bonds: Bonds,
    links: NDArray[np.int64],
    angle_atoms: NDArray[np.int32],
    groups: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return `groups` of angles with the codes of the links that they contain."""
    linked = np.flatnonzero(links >= 0)
    if not len(linked):
        return groups
    groups = groups.copy()
    keys = _pair_keys(bonds.atoms[linked], len(structure))
    order = np.argsort(keys)
    keys, codes = keys[order], links[linked][order]
    for side in ((0, 1), (1, 2)):
        wanted = _pair_keys(angle_atoms[:, side], len(structure))
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        found = keys[place] == wanted
        groups[found] = codes[place[found]]
    return groups


def _pair_keys(pairs: NDArray[np.int32], n_atoms: int) -> NDArray[np.int64]:
    ends = np.sort(pairs.astype(np.int64), axis=1)
    keys: NDArray[np.int64] = ends[:, 0] * n_atoms + ends[:, 1]
    return keys


def _special_residues(structure: Structure, bonds: Bonds, links: NDArray[np.int64], table: TargetTable) -> NDArray[np.int64]:
    """Return a code for residues with a terminal carboxylate and for sugars bound at C1, -1 for others."""
    codes = np.full(len(structure.residues), -1, dtype=np.int64)
    ends = bonds.atoms[links == table.code(SUGAR_LINK)]
    codes[structure.residue[ends[structure.names[ends] == "C1"]]] = table.code(LINKED_SUGAR)
    amino = _compound_codes(structure, table) >= 0
    terminal = structure.residue[structure.names == "OXT"]
    codes[terminal[amino[terminal]]] = table.code(CARBOXYLATE)
    return codes


def _peptide_codes(structure: Structure, pairs: NDArray[np.int32], table: TargetTable) -> NDArray[np.int64]:
    """Return the link code of C-N bonds: trans or cis, to proline or to another residue."""
    carbon_first = structure.names[pairs[:, 0]] == "C"
    carbon = np.where(carbon_first, pairs[:, 0], pairs[:, 1])
    nitrogen = np.where(carbon_first, pairs[:, 1], pairs[:, 0])
    alpha = _alpha_carbons(structure)
    quads = np.stack([alpha[carbon], carbon, nitrogen, alpha[nitrogen]], axis=1)
    known = (quads >= 0).all(axis=1)
    omega = np.full(len(quads), 180.0)
    omega[known] = dihedrals(structure.positions, *quads[known].T)
    proline = structure.residues.compound[structure.residue[nitrogen]] == "PRO"
    cis = np.abs(omega) < CIS_LIMIT
    codes = np.array([[table.code(f"link {p}{c}") for c in ("TRANS", "CIS")] for p in ("", "P")])
    chosen: NDArray[np.int64] = codes[proline.astype(int), cis.astype(int)]
    return chosen


def _alpha_carbons(structure: Structure) -> NDArray[np.int64]:
    """Return for each atom the CA of its residue in its conformer, -1 where there is none."""
    letters = np.unique(structure.altloc)
    named = NamedAtoms(structure, ("CA",))
    alpha = named.table(str(letters[-1]))[:, 0].astype(np.int64)[structure.residue]
    for letter in letters[letters != ""].tolist():
        mine = structure.altloc == letter
        alpha[mine] = named.table(letter)[:, 0][structure.residue[mine]]
    return alpha
