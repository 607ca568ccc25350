"""The covalent graph of a model, straight from dictionaries and distances, for hydrogens and contacts.

It needs no restraint targets, so it is made in milliseconds and takes models as they come: atoms that the
dictionary doesn't know, or residues without a dictionary, are joined by distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import gemmi
import numpy as np

from refinement.cells import neighbour_pairs
from refinement.restraints.graph import Neighbours, neighbours
from refinement.restraints.links import isopeptides
from refinement.structure import ResidueKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from refinement.structure import Residues, Structure

COVALENT_RADII = np.array([gemmi.Element(z).covalent_r for z in range(119)])
IS_METAL = np.array([z > 0 and gemmi.Element(z).is_metal for z in range(119)])

POLYMER_REACH = 2.3
"""A C-N or O3'-P distance (Å) up to which neighbours in the chain are always linked."""
STRETCHED_REACH = 3.5
"""The same where the residue numbers follow each other: a bad model, not a gap."""
DISULFIDE_REACH = 3.0
"""Two SG atoms closer than this (Å) are bonded."""
DECLARED_REACH = 4.0
"""Declared links longer than this (Å) join symmetry mates and are ignored."""
LIGAND_STRETCH, LIGAND_SQUEEZE = 1.2, 0.75
"""A ligand is bonded to another residue between these multiples of the sum of covalent radii."""
COORDINATION_MARGIN = 0.3
"""A metal binds atoms within the sum of covalent radii plus this (Å)."""
LOOSE_STRETCH = 1.3
"""Atoms without a dictionary are bonded up to this multiple of the sum of covalent radii."""


@dataclass(frozen=True, slots=True, eq=False)
class Bonding:
    """Who is bonded to whom.

    Attributes
    ----------
    pairs : NDArray[int32], shape (m, 2)
        All covalent bonds, links between residues included, metal coordination not.
    neighbours : Neighbours
        The same as sorted neighbour lists.
    external : NDArray[int32], shape (k, 2)
        The bonds between residues, among `pairs`.
    coordination : NDArray[int32], shape (c, 2)
        Pairs (metal, ligand atom) by distance.
    loose : bool
        Whether bonds inside residues were made by distance too.
    """

    pairs: NDArray[np.int32]
    neighbours: Neighbours
    external: NDArray[np.int32]
    coordination: NDArray[np.int32]
    loose: bool = False


Key = TypeVar("Key")
ResidueKey = tuple[str, tuple[str, ...], tuple[str, ...]]


def residue_keys(structure: Structure) -> list[ResidueKey]:
    """Return compound, atom names and altlocs of every residue: equal keys have equal chemistry inside."""
    names = structure.names.tolist()
    altlocs = structure.altloc.tolist()
    plain = not any(altlocs)
    first = structure.residues.first.tolist()
    keys: list[ResidueKey] = []
    for row, compound in enumerate(structure.residues.compound.tolist()):
        part = slice(first[row], first[row + 1])
        inside = names[part]
        keys.append((compound, tuple(inside), ("",) * len(inside) if plain else tuple(altlocs[part])))
    return keys


def rows_by_key(keys: Iterable[Key]) -> dict[Key, NDArray[np.int32]]:
    """Return which rows have which key, in order of first appearance."""
    rows: dict[Key, list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    return {key: np.array(found, dtype=np.int32) for key, found in rows.items()}


def compatible(first: NDArray[np.str_], second: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Return which pairs of altlocs can exist together: equal, or one of them blank."""
    return (first == second) | (first == "") | (second == "")


def find_bonds(structure: Structure, library: gemmi.MonLib | None) -> Bonding:
    """Return the covalent graph of a model.

    Parameters
    ----------
    structure : Structure
        With or without hydrogens.
    library : gemmi.MonLib or None
        Dictionaries; compounds that are not in it are joined by distance.

    Returns
    -------
    Bonding
        Bonds inside residues come from the dictionary whatever their length; links are the declared
        ones, polymer links, disulfides, isopeptides and ligands within bonding distance.
    """
    inside, loose = _inside_bonds(structure, library)
    external, coordination = find_links(structure)
    pairs = np.concatenate([inside, _loose_bonds(structure, loose), external]).astype(np.int32)
    return Bonding(pairs, neighbours(len(structure), pairs), external, coordination, bool(loose.any()))


def _inside_bonds(structure: Structure, library: gemmi.MonLib | None) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return the dictionary's bonds and which atoms it doesn't know."""
    first = structure.residues.first
    loose = np.zeros(len(structure), dtype=bool)
    found = [np.empty((0, 2), dtype=np.int32)]
    for key, rows in rows_by_key(residue_keys(structure)).items():
        bonds, unknown = _template_bonds(key, library)
        if len(bonds):
            found.append((first[rows][:, None, None] + bonds[None]).reshape(-1, 2))
        if len(unknown):
            loose[(first[rows][:, None] + unknown[None]).ravel()] = True
    return np.concatenate(found).astype(np.int32), loose


def _template_bonds(key: ResidueKey, library: gemmi.MonLib | None) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    compound, names, altlocs = key
    known = library.monomers[compound] if library is not None and compound in library.monomers else None
    at: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        at.setdefault(name, []).append(index)
    bonds = []
    for bond in known.rt.bonds if known else ():
        for i in at.get(bond.id1.atom, ()):
            for j in at.get(bond.id2.atom, ()):
                if altlocs[i] == altlocs[j] or not altlocs[i] or not altlocs[j]:
                    bonds.append((i, j))
    listed = {atom.id for atom in known.atoms} if known else set()
    unknown = [index for index, name in enumerate(names) if name not in listed] if len(names) > 1 else []
    return np.array(bonds, dtype=np.int32).reshape(-1, 2), np.array(unknown, dtype=np.int32)


def _loose_bonds(structure: Structure, loose: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Join atoms that no dictionary knows to what is near in their residue; a hydrogen to one atom only."""
    if not loose.any():
        return np.empty((0, 2), dtype=np.int32)
    involved = np.flatnonzero(loose[np.arange(len(structure))] | np.isin(structure.residue, np.unique(structure.residue[loose])))
    pairs = involved[neighbour_pairs(structure.positions[involved], 1.6)]
    i, j = pairs[:, 0], pairs[:, 1]
    reach = LOOSE_STRETCH * (COVALENT_RADII[structure.elements[i]] + COVALENT_RADII[structure.elements[j]])
    length = np.linalg.norm(structure.positions[i] - structure.positions[j], axis=1)
    hydrogen = structure.is_hydrogen
    keep = (loose[i] | loose[j]) & (structure.residue[i] == structure.residue[j]) & (length < reach) & (length > 0.1)
    keep &= compatible(structure.altloc[i], structure.altloc[j]) & ~(hydrogen[i] & hydrogen[j])
    i, j, length = i[keep], j[keep], length[keep]
    order = np.argsort(length, kind="stable")
    taken: set[int] = set()
    bonds = []
    for a, b in zip(i[order].tolist(), j[order].tolist(), strict=True):
        hydrogens = {x for x in (a, b) if hydrogen[x]}
        if not hydrogens & taken:
            taken |= hydrogens
            bonds.append((a, b))
    return np.array(bonds, dtype=np.int32).reshape(-1, 2)


def find_links(structure: Structure) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the bonds between residues, and metal coordination, as in `Bonding`."""
    residues = structure.residues
    usable = ~structure.is_hydrogen & (residues.kind[structure.residue] != ResidueKind.WATER)
    atoms = np.flatnonzero(usable)
    pairs = atoms[neighbour_pairs(structure.positions[atoms], 0.5 * STRETCHED_REACH)].astype(np.int32)
    i, j = pairs[:, 0], pairs[:, 1]
    apart = compatible(structure.altloc[i], structure.altloc[j])
    i, j = i[apart], j[apart]
    length = np.linalg.norm(structure.positions[i] - structure.positions[j], axis=1)
    metal_i, metal_j = IS_METAL[structure.elements[i]], IS_METAL[structure.elements[j]]
    span = COVALENT_RADII[structure.elements[i]] + COVALENT_RADII[structure.elements[j]]
    bound = (metal_i ^ metal_j) & (length < span + COORDINATION_MARGIN)
    coordination = np.stack([np.where(metal_i, i, j), np.where(metal_i, j, i)], axis=1)[bound]
    other = (structure.residue[i] != structure.residue[j]) & ~metal_i & ~metal_j
    i, j, length, span = i[other], j[other], length[other], span[other]
    linked = _polymer_links(structure, i, j, length) | _disulfides(structure, i, j, length)
    linked |= _ligand_links(structure, i, j, (length < LIGAND_STRETCH * span) & (length > LIGAND_SQUEEZE * span))
    found = np.stack([i[linked], j[linked]], axis=1)
    further = np.concatenate([_declared(structure), np.sort(isopeptides(structure), axis=1)])
    external = np.unique(np.concatenate([found, further]), axis=0) if len(further) else found
    return external.astype(np.int32), coordination.astype(np.int32)


def _polymer_links(
    structure: Structure, i: NDArray[np.int32], j: NDArray[np.int32], length: NDArray[np.float64]
) -> NDArray[np.bool_]:
    residues = structure.residues
    first, second = structure.residue[i], structure.residue[j]
    names_i, names_j = structure.names[i], structure.names[j]
    joint = ((names_i == "C") & (names_j == "N")) | ((names_i == "O3'") & (names_j == "P"))
    joint &= residues.polymer[first] & residues.polymer[second] & (residues.chain_index[first] == residues.chain_index[second])
    joint &= (second - first >= 1) & (second - first <= 2)
    step = residues.number[second] - residues.number[first]
    consecutive = (step == 1) | ((step == 0) & (residues.insertion[first] != residues.insertion[second]))
    consecutive &= (second == first + 1) | _alternates(residues, first) | _alternates(residues, second - 1)
    return joint & ((length < POLYMER_REACH) | (consecutive & (length < STRETCHED_REACH)))


def _alternates(residues: Residues, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which rows are followed by another compound at the same place (microheterogeneity)."""
    after = np.minimum(rows + 1, len(residues) - 1)
    same = (residues.number[rows] == residues.number[after]) & (residues.insertion[rows] == residues.insertion[after])
    found: NDArray[np.bool_] = same & (residues.chain_index[rows] == residues.chain_index[after]) & (after > rows)
    return found


def _disulfides(
    structure: Structure, i: NDArray[np.int32], j: NDArray[np.int32], length: NDArray[np.float64]
) -> NDArray[np.bool_]:
    sulfur = (structure.names[i] == "SG") & (structure.names[j] == "SG")
    return sulfur & (length < DISULFIDE_REACH)


def _ligand_links(structure: Structure, i: NDArray[np.int32], j: NDArray[np.int32], near: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Bonds of ligands by distance, unless the two residues have so many that they must be overlapping."""
    residues = structure.residues
    first, second = structure.residue[i], structure.residue[j]
    ligand = (residues.kind[first] == ResidueKind.LIGAND) | (residues.kind[second] == ResidueKind.LIGAND)
    linked = near & ligand
    couple = first.astype(np.int64) * len(residues) + second
    _, inverse, count = np.unique(couple[linked], return_inverse=True, return_counts=True)
    linked[np.flatnonzero(linked)[count[inverse] > 2]] = False
    return linked


def _declared(structure: Structure) -> NDArray[np.int32]:
    """Covalent bonds and disulfides that the file declares."""
    kinds = (gemmi.ConnectionType.Covale, gemmi.ConnectionType.Disulf)
    declared = [c for c in structure.source.connections if c.type in kinds and c.asu != gemmi.Asu.Different]
    if not declared:
        return np.empty((0, 2), dtype=np.int32)
    residues = structure.residues
    labels = zip(residues.chain.tolist(), residues.number.tolist(), residues.insertion.tolist(), strict=True)
    row_of: dict[tuple[str, int, str], list[int]] = {}
    for row, label in enumerate(labels):
        row_of.setdefault(label, []).append(row)
    found = []
    for connection in declared:
        ends = [_atoms_at(structure, row_of, partner) for partner in (connection.partner1, connection.partner2)]
        for a in ends[0]:
            for b in ends[1]:
                near = float(np.linalg.norm(structure.positions[a] - structure.positions[b])) < DECLARED_REACH
                together = structure.altloc[a] == structure.altloc[b] or not structure.altloc[a] or not structure.altloc[b]
                metal = IS_METAL[structure.elements[a]] or IS_METAL[structure.elements[b]]
                if a != b and near and together and not metal:
                    found.append((min(a, b), max(a, b)))
    return np.array(found, dtype=np.int32).reshape(-1, 2)


def _atoms_at(structure: Structure, row_of: dict[tuple[str, int, str], list[int]], address: gemmi.AtomAddress) -> list[int]:
    seqid = address.res_id.seqid
    first = structure.residues.first
    rows = row_of.get((address.chain_name, -999 if seqid.num is None else seqid.num, seqid.icode.strip()), [])
    return [
        atom
        for row in rows
        if structure.residues.compound[row] == address.res_id.name
        for atom in range(first[row], first[row + 1])
        if structure.names[atom] == address.atom_name and address.altloc in ("\0", "", structure.altloc[atom])
    ]
