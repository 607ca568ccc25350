"""Counts and summaries of a model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import gemmi
import pytest

from curation.composition import compose
from curation.ligands import unknown_compounds
from refinement.structure import from_gemmi

if TYPE_CHECKING:
    from collections.abc import Callable


def add_residue(structure: gemmi.Structure, name: str, number: int, atoms: list[tuple[str, str]], kind: gemmi.EntityType) -> None:
    residue = gemmi.Residue()
    residue.name, residue.seqid, residue.het_flag, residue.entity_type = name, gemmi.SeqId(number, " "), "H", kind
    for atom_name, element in atoms:
        atom = gemmi.Atom()
        atom.name, atom.element, atom.b_iso, atom.occ = atom_name, gemmi.Element(element), 50.0, 1.0
        residue.add_atom(atom)
    structure[0][0].add_residue(residue)


@pytest.fixture
def mixed(make_helix: Callable[..., gemmi.Structure]) -> gemmi.Structure:
    structure = make_helix(4)
    add_residue(structure, "NAG", 101, [("C1", "C"), ("O1", "O")], gemmi.EntityType.NonPolymer)
    add_residue(structure, "MG", 102, [("MG", "MG")], gemmi.EntityType.NonPolymer)
    add_residue(structure, "HOH", 103, [("O", "O")], gemmi.EntityType.Water)
    add_residue(structure, "HOH", 104, [("O", "O"), ("H1", "H"), ("H2", "D")], gemmi.EntityType.Water)
    return structure


def test_counts(mixed: gemmi.Structure) -> None:
    made_of = compose(from_gemmi(mixed))
    assert (made_of.atoms, made_of.hydrogens, made_of.chains) == (27, 2, ("A",))
    assert made_of.residues == {"protein": 4, "nucleic": 0, "water": 2, "ion": 1, "ligand": 1}
    assert made_of.ligands == {"MG": 1, "NAG": 1}
    assert (made_of.polymer_residues, made_of.single_atom_residues, made_of.modified) == (4, 0, {})
    assert made_of.compounds == ("ALA", "HOH", "MG", "NAG")
    assert made_of.elements["Mg"] == 1
    assert sum(made_of.b_histogram) == 25  # without hydrogens
    assert made_of.b_factors["protein"] == {"atoms": 20, "min": 30.0, "max": 34.0, "mean": 32.0, "median": 32.0, "zero": 0}
    assert made_of.b_factors["water"]["atoms"] == 2
    assert made_of.hetero == {"ion": {"MG": 1}, "sugar": {"NAG": 1}, "lipid": {}, "other": {}, "unknown": {}}
    assert [(glycan.name, glycan.linkage) for glycan in made_of.glycans] == [("NAG", "free")]
    assert made_of.b_of_chains == {"A": pytest.approx((20 * 32.0 + 5 * 50.0) / 25)}
    plain = made_of.as_dict()
    assert json.loads(json.dumps(plain)) == plain


def test_single_atoms_count_conformers_once(make_helix: Callable[..., gemmi.Structure]) -> None:
    structure = make_helix(4, names=("CA",))
    first = structure[0][0][0]
    first[0].altloc = "A"
    second = first[0].clone()
    second.altloc = "B"
    first.add_atom(second)
    made_of = compose(from_gemmi(structure))
    assert (made_of.polymer_residues, made_of.single_atom_residues, made_of.altloc_atoms) == (4, 4, 2)
    assert made_of.single_atom_fraction == 1.0
    assert made_of.alternates == {"residues": 1, "atoms": 2, "letters": ["A", "B"], "fraction": 0.25}


def test_occupancies_and_large_b(make_helix: Callable[..., gemmi.Structure]) -> None:
    structure = make_helix(1)
    for atom, (occupancy, b_iso) in zip(structure[0][0][0], [(0, 0), (-1, -5), (2, 299), (0.5, 1e6), (1, 9.99)], strict=True):
        atom.occ, atom.b_iso = occupancy, b_iso
    made_of = compose(from_gemmi(structure))
    counts = {"mean": 0.5, "min": -1.0, "max": 2.0, "zero": 1, "negative": 1, "above_one": 1, "partial": 1}
    assert made_of.occupancy == {"all": counts, "protein": counts}
    assert made_of.b_factors["all"]["zero"] == 2
    assert (made_of.b_histogram[0], made_of.b_histogram[29], made_of.b_histogram[30]) == (3, 1, 1)


def test_modified_residues(make_helix: Callable[..., gemmi.Structure]) -> None:
    structure = make_helix(3)
    structure[0][0][1].name = "MSE"
    structure[0][0][2].name = "UNK"
    made_of = compose(from_gemmi(structure))
    assert (made_of.modified, made_of.parents, made_of.unknown) == ({"MSE": 1}, {"MSE": "M"}, {"UNK": 1})


def test_the_file_gives_names_sequences_and_anisotropic_atoms(make_helix: Callable[..., gemmi.Structure]) -> None:
    structure = make_helix(3)
    structure[0][0][1].name = "MSE"
    structure[0][0][1][0].aniso.u11 = 0.3
    structure.entities[0].full_sequence = ["ALA", "MSE", "ALA", "GLY"]
    block = structure.make_mmcif_document().sole_block()
    block.set_mmcif_category("_chem_comp.", {"id": ["ALA", "MSE"], "name": ["ALANINE", "SELENO  METHIONINE"]})
    made_of = compose(from_gemmi(structure), block)
    assert (made_of.names, made_of.anisotropic) == ({"MSE": "SELENO METHIONINE"}, 1)
    assert [(row.modelled, row.missing) for row in made_of.sequences] == [(3, ((4, 4),))]


def test_unknown_compounds_are_named() -> None:
    assert unknown_compounds(["ALA", "HOH", "ZN"]) == ()
    assert unknown_compounds(["ALA", "DRG", "ZZZZ9"]) == ("DRG", "ZZZZ9")
