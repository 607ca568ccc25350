"""Sequences and the parts of them that have coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gemmi
import pytest

from curation.coverage import Coverage, sequence_coverage

if TYPE_CHECKING:
    from collections.abc import Callable

    Helix = Callable[..., gemmi.Structure]


def with_sequence(structure: gemmi.Structure, sequence: list[str]) -> gemmi.Structure:
    structure.setup_entities()
    for entity in structure.entities:
        entity.full_sequence = sequence
    structure.deduplicate_entities()
    structure.assign_label_seq_id()
    return structure


def mixed_helix(make_helix: Helix) -> gemmi.Structure:
    """Return two chains of 12 residues that differ in sequence, so that places can be told apart."""
    structure = make_helix(12, chains="AB")
    names = ["MET", "LYS", "TRP", "GLU", "PHE", "HIS", "ASP", "TYR", "ARG", "VAL", "ASN", "CYS"]
    for chain in structure[0]:
        for residue, name in zip(chain, names, strict=True):
            residue.name = name
    return with_sequence(structure, names)


def test_complete_chains_share_a_row(make_helix: Helix) -> None:
    assert sequence_coverage(mixed_helix(make_helix)) == (Coverage("A", "protein", 12, ("A", "B"), 12, (), 0),)


def test_gaps_and_ends_are_named(make_helix: Helix) -> None:
    structure = mixed_helix(make_helix)
    for number in (11, 6, 5, 0):
        del structure[0][1][number]
    whole, partial = sequence_coverage(structure)
    assert (whole.chains, whole.modelled, whole.missing) == (("A",), 12, ())
    assert (partial.chains, partial.modelled, partial.missing) == (("B",), 8, ((1, 1), (6, 7), (12, 12)))


def test_other_residues_than_the_sequence_has_are_counted(make_helix: Helix) -> None:
    structure = mixed_helix(make_helix)
    structure[0][0][4].name = "ALA"
    structure.entities[0].full_sequence = [
        *structure.entities[0].full_sequence[:7],
        "TYR,PHE",
        *structure.entities[0].full_sequence[8:],
    ]
    assert [(row.chains, row.different) for row in sequence_coverage(structure)] == [(("A",), 1), (("B",), 0)]


def test_one_letter_codes_of_the_file_will_do(make_helix: Helix) -> None:
    structure = mixed_helix(make_helix)
    block = structure.make_mmcif_document().sole_block()
    block.find_mmcif_category("_entity_poly_seq.").erase()
    entity = structure.entities[0].name
    rows = {"entity_id": [entity], "type": ["polypeptide(L)"], "pdbx_seq_one_letter_code": ["GG(MSE)KWEFHD\nYRVNCGGG"]}
    block.set_mmcif_category("_entity_poly.", rows)
    read = gemmi.make_structure_from_block(block)
    read.setup_entities()
    read[0][0][0].name = read[0][1][0].name = "MSE"
    before = [residue.label_seq for residue in read[0][0]]
    (found,) = sequence_coverage(read, block)
    assert (found.length, found.modelled, found.missing, found.different) == (17, 12, ((1, 2), (15, 17)), 0)
    assert sequence_coverage(read) == ()
    assert [residue.label_seq for residue in read[0][0]] == before


@pytest.mark.parametrize("letters", ["AC1", "(MSE", "A*", "A" * 200_000])
def test_codes_that_make_no_sense_are_left_aside(make_helix: Helix, letters: str) -> None:
    structure = mixed_helix(make_helix)
    block = structure.make_mmcif_document().sole_block()
    block.find_mmcif_category("_entity_poly_seq.").erase()
    rows = {"entity_id": [structure.entities[0].name], "pdbx_seq_one_letter_code": [letters]}
    block.set_mmcif_category("_entity_poly.", rows)
    read = gemmi.make_structure_from_block(block)
    read.setup_entities()
    assert sequence_coverage(read, block) == ()


def test_sequences_too_long_to_be_aligned_are_left_aside(make_helix: Helix, monkeypatch: pytest.MonkeyPatch) -> None:
    structure = mixed_helix(make_helix)
    structure[0][1][3].label_seq = None
    assert sequence_coverage(structure) != ()
    monkeypatch.setattr("curation.coverage.MOST_CELLS", 100)
    assert sequence_coverage(structure) == ()


def test_places_beyond_the_sequence_are_not_counted(make_helix: Helix) -> None:
    structure = mixed_helix(make_helix)
    for residue, place in zip(structure[0][0], (0, -3, 99), strict=False):
        residue.label_seq = place
    assert [(row.chains, row.modelled) for row in sequence_coverage(structure)] == [(("A",), 9), (("B",), 12)]


def test_files_without_sequences_have_no_coverage(make_helix: Helix) -> None:
    structure = make_helix()
    assert sequence_coverage(structure) == ()
    assert sequence_coverage(structure, gemmi.cif.Block("x")) == ()
