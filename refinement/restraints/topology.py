"""Who is bonded to whom: restraint arrays of a model from monomer dictionaries.

`build_topology` lets gemmi apply dictionaries, links and modifications to the model, then flattens
the result into arrays whose atom indices are rows of `Structure`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING

import gemmi
import numpy as np

from refinement.cells import neighbours_around
from refinement.errors import RestraintError
from refinement.geometry import angles
from refinement.restraints import gather
from refinement.restraints.arrays import Angles, BondKind, Bonds, Chiralities, Planes, TorsionKind, Torsions
from refinement.restraints.bonding import compatible
from refinement.restraints.graph import Exclusions, Neighbours, exclusions, neighbours
from refinement.restraints.library import unknown_compounds
from refinement.restraints.link_targets import with_link_chemistry
from refinement.restraints.links import add_links, covalent_sum
from refinement.structure import ResidueKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.structure import Structure

__all__ = [
    "Angles",
    "BondKind",
    "Bonds",
    "Chiralities",
    "Link",
    "Planes",
    "Topology",
    "TorsionKind",
    "Torsions",
    "build_topology",
]

_ONE_AT_A_TIME = Lock()
"""gemmi writes into the library while it prepares a topology."""

AD_HOC_SIGMA = 0.05
"""Å; ties atoms without a dictionary entry to their neighbours."""
AD_HOC_MARGIN = 0.3
AD_HOC_REACH = 2.6
"""Å; longest distance of atoms that may be tied."""
AD_HOC_ANGLES = (105.0, 125.0)
"""Degrees; range of the targets at bonds between residues that no dictionary describes."""
AD_HOC_ANGLE_SIGMA = 5.0
MISMATCH_SHARE = 0.5
"""A ligand of which a larger share of atoms is unknown to its dictionary is refused."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link between two residues: its name in the library and the rows of the residues."""

    name: str
    residue_1: int
    residue_2: int


@dataclass(frozen=True, slots=True, eq=False)
class Topology:
    """Covalent restraints and the bond graph of a model.

    Attributes
    ----------
    bonds, angles, torsions, chiralities, planes
        Restraints as flat arrays.
    neighbours : Neighbours
        Bonded neighbours of each atom (all kinds of bonds).
    exclusions : Exclusions
        1-2, 1-3 and 1-4 pairs.
    conformer : NDArray[uint8], shape (n,)
        0 for atoms without alternates, else a number per letter; atoms of two different
        conformers never interact.
    links : tuple of Link
        All links between residues, also gaps (``gap``).
    unrestrained : NDArray[bool], shape (n,)
        Atoms that their dictionary doesn't know.
    warnings : tuple of str
        What the topology builder remarked.
    """

    bonds: Bonds
    angles: Angles
    torsions: Torsions
    chiralities: Chiralities
    planes: Planes
    neighbours: Neighbours
    exclusions: Exclusions
    conformer: NDArray[np.uint8]
    links: tuple[Link, ...]
    unrestrained: NDArray[np.bool_]
    warnings: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.conformer)


def build_topology(structure: Structure, library: gemmi.MonLib, *, partial: bool = False) -> Topology:
    """Return the covalent restraints of a model.

    Hydrogens take part as far as the model has them. Peptide links are cis or trans as they are
    now; disulfides, links that the library knows, covalent ligands and metal coordination are
    found by distance in addition to those that the file declares. Consecutive residues are linked
    across stretched bonds too (up to 3.5 Å); others with a longer distance are a gap.

    Parameters
    ----------
    structure : Structure
        The model.
    library : gemmi.MonLib
        From `refinement.restraints.library.load_monomer_library`.
    partial : bool
        Compounds without a dictionary, or with another one's atom names, have bonds of kind ``AD_HOC`` and no other
        restraints, instead of raising: enough for validation, too little for refinement.

    Raises
    ------
    RestraintError
        ``compound_unknown`` (all of them named), ``dictionary_mismatch`` if most atoms of a
        ligand aren't in its dictionary, ``topology_failed`` for anything else.
    """
    unknown = sorted(set(structure.residues.compound.tolist()) - set(library.monomers.keys()))
    if unknown and not partial:
        raise unknown_compounds(unknown)
    warnings: list[str] = []
    model = structure.to_gemmi()  # the topology refers to it
    with _ONE_AT_A_TIME:
        topo = _prepare(model, structure, library, warnings)
    known = gather.bonds(topo, structure)
    unrestrained = _without_bonds(known, structure)
    if not partial:
        _require_match(unrestrained, structure)
    bonds = _tie_unknown(known, unrestrained, structure)
    bonded = neighbours(len(structure), bonds.atoms)
    topology = Topology(
        bonds=bonds,
        angles=gather.angles(topo),
        torsions=gather.torsions(topo, structure),
        chiralities=gather.chiralities(topo),
        planes=gather.planes(topo),
        neighbours=bonded,
        exclusions=exclusions(bonded),
        conformer=_conformers(structure),
        links=_links(topo, structure),
        unrestrained=unrestrained,
        warnings=tuple(warnings),
    )
    topology = with_link_chemistry(topology, structure)
    topology = replace(topology, angles=_with_link_angles(topology.angles, topology.bonds, bonded, structure))
    return _without_made_up(topology, structure, unknown) if unknown else topology


def _without_made_up(topology: Topology, structure: Structure, unknown: list[str]) -> Topology:
    """Drop what gemmi made up for unknown compounds: targets that are the present values."""
    made_up = np.isin(structure.residues.compound, unknown)[structure.residue]
    bonds, planes = topology.bonds, topology.planes
    loose = made_up[bonds.atoms].any(axis=1)
    touched = np.zeros(len(planes), dtype=np.bool_)
    touched[np.repeat(np.arange(len(planes)), np.diff(planes.first))[made_up[planes.atoms]]] = True
    return replace(
        topology,
        bonds=Bonds(bonds.atoms, bonds.target, bonds.sigma, np.where(loose, np.uint8(BondKind.AD_HOC), bonds.kind)),
        angles=topology.angles.select(_free_of(made_up, topology.angles.atoms)),
        torsions=topology.torsions.select(_free_of(made_up, topology.torsions.atoms)),
        chiralities=topology.chiralities.select(_free_of(made_up, topology.chiralities.atoms)),
        planes=planes.select(~touched),
        unrestrained=topology.unrestrained | made_up,
    )


def _free_of(atoms: NDArray[np.bool_], rows: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which restraints (rows of atom indices) touch none of the atoms of a mask."""
    return np.logical_not(np.any(atoms[rows], axis=1))


def _prepare(model: gemmi.Structure, structure: Structure, library: gemmi.MonLib, warnings: list[str]) -> gemmi.Topo:
    _modern_names(model, library)
    _number_atoms(model)
    try:
        add_links(model, structure, library)
        topo = gemmi.prepare_topology(model, library, warnings=warnings.append)
    except (RuntimeError, ValueError, IndexError) as fault:
        message = f"No topology can be made of the model: {str(fault).splitlines()[0]}."
        raise RestraintError("topology_failed", message, "Check residue names, atom names and declared links.") from fault
    _number_atoms(model)  # gemmi counts from 1
    return topo


def _number_atoms(model: gemmi.Structure) -> None:
    for row, site in enumerate(model[0].all()):
        site.atom.serial = row


def _modern_names(model: gemmi.Structure, library: gemmi.MonLib) -> None:
    """Rename atoms of old PDB versions, and H1 of chain starts where the dictionary calls it H."""
    library.update_old_atom_names(model)
    for chain in model[0]:
        for residue in chain.get_polymer():
            if "H1" not in residue or "H" in residue or residue.name not in library.monomers:
                continue
            known = {atom.id for atom in library.monomers[residue.name].atoms}
            if "H" in known and "H1" not in known:
                for atom in residue["H1"]:
                    atom.name = "H"


def _conformers(structure: Structure) -> NDArray[np.uint8]:
    letters = np.unique(structure.altloc)
    codes = np.searchsorted(letters, structure.altloc)
    return (codes if len(letters) and letters[0] == "" else codes + 1).astype(np.uint8)


def _without_bonds(known: Bonds, structure: Structure) -> NDArray[np.bool_]:
    """Return the atoms without any bond inside their residue, single atoms aside."""
    inner = known.atoms[known.kind == BondKind.INTERNAL]
    degree = np.bincount(inner.ravel(), minlength=len(structure))
    sizes = np.diff(structure.residues.first)[structure.residue]
    mask: NDArray[np.bool_] = (degree == 0) & (sizes > 1)
    return mask


def _require_match(unrestrained: NDArray[np.bool_], structure: Structure) -> None:
    residues = structure.residues
    heavy = ~structure.is_hydrogen
    count = np.bincount(structure.residue[heavy], minlength=len(residues))
    missing = np.bincount(structure.residue[heavy & unrestrained], minlength=len(residues))
    bad = (residues.kind == ResidueKind.LIGAND) & (count > 2) & (missing > MISMATCH_SHARE * count)
    if bad.any():
        row = int(np.argmax(bad))
        message = (
            f"{missing[row]} of {count[row]} atoms of {residues.label(row)} have names that its restraint dictionary "
            f"doesn't know or stand alone; the same holds for {int(bad.sum()) - 1} other residues."
        )
        raise RestraintError("dictionary_mismatch", message, "Give a dictionary with the atom names of the model.")


def _tie_unknown(known: Bonds, unrestrained: NDArray[np.bool_], structure: Structure) -> Bonds:
    """Add bonds from each unrestrained atom to the atoms of its residue that are within bonding distance."""
    loose = np.flatnonzero(unrestrained)
    if not len(loose):
        return known
    pairs = _near_in_residue(loose, structure)
    if not len(pairs):
        return known
    ends = structure.positions[pairs]
    length = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
    typical = covalent_sum(structure.elements, pairs)
    near = length <= typical + AD_HOC_MARGIN
    pairs, length, typical = pairs[near], length[near], typical[near]
    return Bonds(
        np.ascontiguousarray(np.concatenate([known.atoms, pairs])),
        np.concatenate([known.target, np.clip(length, typical - 0.1, typical + 0.1)]),
        np.concatenate([known.sigma, np.full(len(pairs), AD_HOC_SIGMA)]),
        np.concatenate([known.kind, np.full(len(pairs), BondKind.AD_HOC, dtype=np.uint8)]),
    )


def _with_link_angles(known: Angles, bonds: Bonds, bonded: Neighbours, structure: Structure) -> Angles:
    """Add loose angles at the ends of links and tied atoms for which the dictionaries give none."""
    loose = bonds.atoms[np.isin(bonds.kind, (BondKind.LINK, BondKind.AD_HOC))]
    if not len(loose):
        return known
    near = known.atoms[np.isin(known.atoms[:, 1], loose)].tolist()
    described = {(apex, end) for one, apex, two in near for end in (one, two)}
    added = [
        (min(end, other), apex, max(end, other))
        for pair in loose.tolist()
        for apex, end in (pair, pair[::-1])
        if (apex, end) not in described
        for other in bonded.of(apex).tolist()
        if other != end and structure.altloc[other] in ("", structure.altloc[end], structure.altloc[apex])
    ]
    if not added:
        return known
    atoms = np.array(sorted(set(added)), dtype=np.int32)
    target = np.clip(angles(structure.positions, *atoms.T), *AD_HOC_ANGLES)
    return Angles(
        np.concatenate([known.atoms, atoms]),
        np.concatenate([known.target, target]),
        np.concatenate([known.sigma, np.full(len(atoms), AD_HOC_ANGLE_SIGMA)]),
    )


def _near_in_residue(loose: NDArray[np.int64], structure: Structure) -> NDArray[np.int32]:
    offsets, j = neighbours_around(structure.positions[loose], structure.positions, AD_HOC_REACH)
    i = np.repeat(loose, np.diff(offsets))
    kept = (i != j) & (structure.residue[i] == structure.residue[j]) & compatible(structure.altloc[i], structure.altloc[j])
    return np.unique(np.sort(np.stack([i, j], axis=1)[kept], axis=1), axis=0).astype(np.int32).reshape(-1, 2)


def _links(topo: gemmi.Topo, structure: Structure) -> tuple[Link, ...]:
    rows = structure.residue.tolist()
    found = [link for k in range(len(topo.chain_infos)) for residue in topo.chain_infos[k].res_infos for link in residue.prev]
    found += list(topo.extras)
    return tuple(
        Link(link.link_id, rows[link.res1[0].serial], rows[link.res2[0].serial])
        for link in found
        if len(link.res1) and len(link.res2)
    )
