"""The example molecules: the true model, and the deposited one with planted errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import gemmi
import numpy as np
from scipy.spatial.transform import Rotation

from curation import example_design as design
from curation.example_geometry import Targets, grow_atp, grow_nucleotides, grow_protein
from refinement.restraints.library import load_monomer_library

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from curation.example_geometry import Atom

CUSHION = 9.0
"""Å of empty box around the model."""

BACKBONE = frozenset({"N", "CA", "C", "O", "CB", "OXT"})
RNA_TORSIONS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "chi")
LIGAND_CHAIN, ION_CHAIN, WATER_CHAIN = "D", "E", "W"

WRONG_ROTAMERS = (
    ("A", 5, -60.0),
    ("A", 13, -60.0),
    ("A", 26, -60.0),
    ("A", 47, -60.0),
    ("A", 53, 60.0),
    ("A", 66, 60.0),
    ("B", 14, -60.0),
    ("B", 35, 60.0),
    ("B", 56, 60.0),
    ("B", 67, 60.0),
)
"""Chain, residue, turn of χ1 in degrees: no rotamer, but nothing in the way."""

CLASHES = (("A", 35, 45.0), ("A", 54, -90.0), ("B", 53, 45.0))
"""Chain, residue, turn of χ1 in degrees: the side chain is pushed into a neighbour."""

FLIPPED_PEPTIDES = (("A", 21), ("B", 23))
"""Chain, residue: the peptide to the next residue is turned by 180°."""

SHIFTED_LOOP = ("A", 34, 46)
"""Chain, first and last residue; the middle moves most."""

LOOP_SHIFT = 1.5
"""Å."""

NOISE = 0.01
"""Å in each coordinate."""

DEPOSITED_B = 50.0
"""Å²."""


@dataclass(frozen=True, slots=True)
class _Molecule:
    chain: str
    compounds: tuple[str, ...]
    torsions: tuple[Mapping[str, float], ...]
    placement: str

    def grow(self, targets: Targets) -> dict[Atom, NDArray[np.float64]]:
        if self.placement == "ATP":
            return grow_atp(self.torsions[0], targets)
        grow = grow_nucleotides if self.placement == "R" else grow_protein
        return grow(self.compounds, self.torsions, targets)


def build_truth() -> gemmi.Structure:
    """Return the true model: two protein chains, an RNA hairpin, ATP, a magnesium ion and waters.

    Bonds and angles are those of the restraint dictionaries after the links have changed them, so the
    molecules are grown twice: the first time shows which links there are. The ligand's nucleoside takes the
    values of the nucleotide A, whose rings close better.
    """
    molecules = _molecules()
    compounds = {name for molecule in molecules for name in molecule.compounds}
    library = load_monomer_library(compounds | {"MG", "HOH"})
    targets = [Targets(molecule.compounds, library) for molecule in molecules]
    structure = _assemble(molecules, targets)
    topology = gemmi.prepare_topology(structure, library, h_change=gemmi.HydrogenChange.NoChange)
    targets[-1].prefer(0, library.monomers["A"])
    for molecule, target in zip(molecules[:-1], targets[:-1], strict=True):
        chain = structure[0][molecule.chain]
        rows = {atom.serial: (row, atom.name) for row, residue in enumerate(chain) for atom in residue}
        target.adopt(topology, rows)
    structure = _assemble(molecules, targets)
    _centre(structure)
    _spread_b(structure)
    return structure


def plant_errors(truth: gemmi.Structure, rng: np.random.Generator) -> gemmi.Structure:
    """Return a copy with wrong rotamers, clashes, flipped peptides, a shifted loop, noise and one B factor."""
    model = truth.clone()
    for chain, number, turn in (*WRONG_ROTAMERS, *CLASHES):
        _turn_side_chain(_residue(model, chain, number), turn)
    for chain, number in FLIPPED_PEPTIDES:
        _flip_peptide(_residue(model, chain, number), _residue(model, chain, number + 1))
    _shift_loop(model, *SHIFTED_LOOP)
    for site in model[0].all():
        site.atom.pos += gemmi.Position(*rng.normal(scale=NOISE, size=3))
        site.atom.b_iso = DEPOSITED_B
    return model


def _molecules() -> tuple[_Molecule, ...]:
    return (
        _Molecule("A", *_protein(design.PROTEIN_A), "A"),
        _Molecule("B", *_protein(design.PROTEIN_B), "B"),
        _Molecule("C", *_table(design.RNA, RNA_TORSIONS), "R"),
        _Molecule(LIGAND_CHAIN, ("ATP",), (design.ATP,), "ATP"),
    )


def _protein(text: str) -> tuple[tuple[str, ...], tuple[Mapping[str, float], ...]]:
    compounds, torsions = _table(text, ("phi", "psi", "chi1", "chi2", "chi3", "chi4"))
    return compounds, tuple({**turns, "omega": 180.0} for turns in torsions)


def _table(text: str, names: Sequence[str]) -> tuple[tuple[str, ...], tuple[Mapping[str, float], ...]]:
    rows = [line.split() for line in text.strip().splitlines()]
    torsions = tuple(dict(zip(names, map(float, row[1:]), strict=False)) for row in rows)
    return tuple(row[0] for row in rows), torsions


def _assemble(molecules: Sequence[_Molecule], targets: Sequence[Targets]) -> gemmi.Structure:
    structure = gemmi.Structure()
    structure.name = "9XA1"
    model = gemmi.Model(1)
    for molecule, target in zip(molecules, targets, strict=True):
        rotation, shift = design.PLACEMENT[molecule.placement]
        turn = Rotation.from_rotvec(rotation, degrees=True)
        placed = {atom: turn.apply(position) + shift for atom, position in molecule.grow(target).items()}
        model.add_chain(_chain(molecule, placed))
        if molecule.chain == LIGAND_CHAIN:
            model.add_chain(_single_atoms(ION_CHAIN, "MG", "MG", [_magnesium(placed)]))
    model.add_chain(_single_atoms(WATER_CHAIN, "HOH", "O", [np.array(position) for position in design.WATERS]))
    structure.add_model(model)
    _describe(structure)
    _connect_magnesium(structure)
    return structure


def _chain(molecule: _Molecule, placed: Mapping[Atom, NDArray[np.float64]]) -> gemmi.Chain:
    chain = gemmi.Chain(molecule.chain)
    polymer = len(molecule.compounds) > 1
    for row, compound in enumerate(molecule.compounds):
        residue = _new_residue(compound, row + 1, molecule.chain, polymer=polymer)
        for (owner, name), position in placed.items():
            if owner == row:
                residue.add_atom(_new_atom(name, name[0], position))
        chain.add_residue(residue)
    return chain


def _single_atoms(name: str, compound: str, atom: str, positions: Sequence[NDArray[np.float64]]) -> gemmi.Chain:
    chain = gemmi.Chain(name)
    for row, position in enumerate(positions):
        residue = _new_residue(compound, row + 1, name, polymer=False)
        residue.add_atom(_new_atom(atom, atom, position))
        chain.add_residue(residue)
    return chain


def _new_residue(compound: str, number: int, chain: str, *, polymer: bool) -> gemmi.Residue:
    residue = gemmi.Residue()
    residue.name = compound
    residue.seqid = gemmi.SeqId(number, " ")
    residue.subchain = chain
    residue.het_flag = "A" if polymer else "H"
    if polymer:
        residue.entity_type = gemmi.EntityType.Polymer
        residue.label_seq = number
    else:
        residue.entity_type = gemmi.EntityType.Water if compound == "HOH" else gemmi.EntityType.NonPolymer
    return residue


def _new_atom(name: str, element: str, position: NDArray[np.float64]) -> gemmi.Atom:
    atom = gemmi.Atom()
    atom.name = name
    atom.element = gemmi.Element(element)
    atom.pos = gemmi.Position(*position)
    return atom


def _magnesium(ligand: Mapping[Atom, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the point that two phosphate oxygens hold at the usual distance, away from the bridging oxygen."""
    first, second = (ligand[0, name] for name in design.MAGNESIUM_OXYGENS)
    middle, span = (first + second) / 2.0, second - first
    away = middle - ligand[0, "O3B"]
    away -= (away @ span) / (span @ span) * span
    height = np.sqrt(design.MAGNESIUM_DISTANCE**2 - span @ span / 4.0)
    return np.asarray(middle + height * away / np.linalg.norm(away))


def _describe(structure: gemmi.Structure) -> None:
    """Give entities numbers, as in the archives, and polymers their sequence."""
    structure.setup_entities()
    sequences = {chain.name: [residue.name for residue in chain] for chain in structure[0]}
    for count, entity in enumerate(structure.entities, start=1):
        entity.name = str(count)
        if entity.entity_type == gemmi.EntityType.Polymer:
            entity.full_sequence = sequences[entity.subchains[0]]
    structure.assign_serial_numbers()


def _connect_magnesium(structure: gemmi.Structure) -> None:
    ion, ligand, waters = (structure[0][name] for name in (ION_CHAIN, LIGAND_CHAIN, WATER_CHAIN))
    partners = [(ligand, ligand[0], ligand[0][name][0]) for name in design.MAGNESIUM_OXYGENS]
    partners += [(waters, water, water[0]) for water in waters][:4]
    for count, (chain, residue, atom) in enumerate(partners, start=1):
        link = gemmi.Connection()
        link.name = f"metalc{count}"
        link.type = gemmi.ConnectionType.MetalC
        link.asu = gemmi.Asu.Same
        link.partner1 = gemmi.AtomAddress(ION_CHAIN, ion[0].seqid, "MG", "MG")
        link.partner2 = gemmi.AtomAddress(chain.name, residue.seqid, residue.name, atom.name)
        link.reported_distance = ion[0][0].pos.dist(atom.pos)
        structure.connections.append(link)


def _centre(structure: gemmi.Structure) -> None:
    """Move the model so that a box from the origin surrounds it with the cushion."""
    positions = np.array([site.atom.pos.tolist() for site in structure[0].all()])
    shift = gemmi.Vec3(*(CUSHION - np.floor(positions.min(axis=0))))
    structure[0].transform_pos_and_adp(gemmi.Transform(gemmi.Mat33(), shift))


def _spread_b(structure: gemmi.Structure) -> None:
    """Give B factors (Å²) that grow from the centre outwards, with side chains above their main chain."""
    positions = np.array([site.atom.pos.tolist() for site in structure[0].all()])
    radii = np.linalg.norm(positions - positions.mean(axis=0), axis=1)
    for site, radius in zip(structure[0].all(), radii / radii.max(), strict=True):
        tip = 0.0 if site.atom.name in BACKBONE else 8.0
        site.atom.b_iso = round(30.0 + 45.0 * float(radius) ** 2 + tip, 2)


def _residue(structure: gemmi.Structure, chain: str, number: int) -> gemmi.Residue:
    return structure[0][chain][str(number)][0]


def _turn(atoms: Sequence[gemmi.Atom], start: gemmi.Position, end: gemmi.Position, degrees: float) -> None:
    axis = np.array((end - start).tolist())
    turn = Rotation.from_rotvec(degrees * axis / np.linalg.norm(axis), degrees=True)
    origin = np.array(end.tolist())
    for atom in atoms:
        atom.pos = gemmi.Position(*(turn.apply(np.array(atom.pos.tolist()) - origin) + origin))


def _turn_side_chain(residue: gemmi.Residue, degrees: float) -> None:
    atoms = [atom for atom in residue if atom.name not in BACKBONE]
    _turn(atoms, residue["CA"][0].pos, residue["CB"][0].pos, degrees)


def _flip_peptide(residue: gemmi.Residue, after: gemmi.Residue) -> None:
    atoms = [residue["C"][0], residue["O"][0], after["N"][0]]
    _turn(atoms, residue["CA"][0].pos, after["CA"][0].pos, 180.0)


def _shift_loop(structure: gemmi.Structure, chain: str, first: int, last: int) -> None:
    """Move a loop outwards, smoothly, so that its ends stay where they are."""
    everything = np.array([site.atom.pos.tolist() for site in structure[0].all()])
    middle = np.array(_residue(structure, chain, (first + last) // 2)["CA"][0].pos.tolist())
    direction = middle - everything.mean(axis=0)
    direction *= LOOP_SHIFT / np.linalg.norm(direction)
    for number in range(first, last + 1):
        share = np.sin(np.pi * (number - first + 1) / (last - first + 2)) ** 2
        for atom in _residue(structure, chain, number):
            atom.pos += gemmi.Position(*(share * direction))
