"""Atoms that are there twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from curation.example_model import build_truth
from refinement.inputs import doubled_atoms
from refinement.structure import from_gemmi

if TYPE_CHECKING:
    import gemmi


@pytest.fixture
def source() -> gemmi.Structure:
    return build_truth()


def doubled(source: gemmi.Structure) -> list[str]:
    model = from_gemmi(source)
    return [f"{model.residues.label(int(model.residue[row]))} {model.names[row]}" for row in doubled_atoms(model)]


def test_a_model_without_any(source: gemmi.Structure) -> None:
    assert doubled(source) == []


def test_an_atom_twice_in_its_residue(source: gemmi.Structure) -> None:
    residue = source[0]["A"][3]
    again = residue[1].clone()
    again.pos.x += 2.0
    residue.add_atom(again)
    assert doubled(source) == [f"A/{residue.name} {residue.seqid} {again.name}"]


def test_conformers_are_two_atoms(source: gemmi.Structure) -> None:
    residue = source[0]["A"][3]
    again = residue[1].clone()
    residue[1].altloc, again.altloc = "A", "B"
    residue.add_atom(again)
    assert doubled(source) == []


def test_a_residue_twice_at_its_place(source: gemmi.Structure) -> None:
    again = source[0]["A"][3].clone()
    source[0]["A"].add_residue(again)
    assert doubled(source) == [f"A/{again.name} {again.seqid} {atom.name}" for atom in again]


def test_waters_of_one_number_in_different_places(source: gemmi.Structure) -> None:
    waters = next(chain for chain in source[0] if chain[0].is_water())
    again = waters[0].clone()
    again[0].pos.x += 9.0
    waters.add_residue(again)
    assert doubled(source) == []
