"""Every rule on facts made for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import checks
from curation.boxes import is_placeholder
from curation.checks import CHECKS, consensus_resolution, first_refusal, run_checks
from curation.composition import Composition
from curation.facts import Grid, HeaderFacts, HeaderGrid, ModelFacts, PairFacts, Problem, Sourced
from curation.findings import GLOSSARY, Code, Severity
from curation.identifiers import Pair

if TYPE_CHECKING:
    from collections.abc import Callable

GRID = Grid("m.map", (10, 12, 14), (0, 0, 0), (0, 0, 0), (1.5, 1.5, 1.5), (15, 18, 21, 90, 90, 90), (0, 0, 0), (1, 2, 3), 1, 2)
STATED = HeaderGrid((10, 12, 14), (10, 12, 14), (10, 12, 14), (15, 18, 21, 90, 90, 90), (1.5, 1.5, 1.5), 1)
HEADER = HeaderFacts(
    source="h.xml", emdb_id="EMD-0042", title="", status="REL", dates={}, methods=("singleParticle",),
    resolutions=(Sourced(3.2, "h"),), resolution_methods=(), pdb_ids=("9zaa",), related_maps=(), symmetry=(),
    map_file=None, grid=STATED, statistics={}, contour=None, half_map_files=(), additional_map_files=(), mask_files=(),
)  # fmt: skip
MODEL = ModelFacts(
    source="9zaa.cif.gz", entry_id="9ZAA", title="", methods=("ELECTRON MICROSCOPY",), dates={}, resolutions=(Sourced(3.2, "m"),),
    associated_maps=("EMD-0042",), related_maps=(), cell=(15, 18, 21, 90, 90, 90), space_group="P 1", models=1,
)  # fmt: skip
MADE_OF = Composition(
    atoms=10, hydrogens=0, altloc_atoms=0, chains=("A",), residues={}, polymer_residues=4, single_atom_residues=1, ligands={},
    modified={}, compounds=(), elements={}, b_factors={}, b_histogram=(), occupancy={},
)  # fmt: skip
GOOD = PairFacts(Pair("EMD-0042", "9zaa"), HEADER, MODEL, MADE_OF, GRID, (GRID, GRID), 1.0)


def changed(**parts: Any) -> PairFacts:
    """Return the good facts with parts of header, model or grid replaced."""
    header = replace(HEADER, **parts.pop("header")) if isinstance(parts.get("header"), dict) else parts.pop("header", HEADER)
    model = replace(MODEL, **parts.pop("model")) if isinstance(parts.get("model"), dict) else parts.pop("model", MODEL)
    return replace(GOOD, header=header, model=model, **parts)


def with_resolutions(header: tuple[float, ...], model: tuple[float, ...]) -> PairFacts:
    return changed(
        header={"resolutions": tuple(Sourced(value, "h") for value in header)},
        model={"resolutions": tuple(Sourced(value, "m") for value in model)},
    )


def test_good_pair_has_no_findings() -> None:
    assert run_checks(GOOD) == []
    assert run_checks(GOOD, strict=True) == []


def test_unknown_facts_say_nothing() -> None:
    assert run_checks(PairFacts(Pair("EMD-0042", "9zaa"))) == []


def test_every_code_is_in_the_glossary() -> None:
    assert set(GLOSSARY) == set(Code)
    assert all(text.endswith(".") for text in GLOSSARY.values())


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (replace(GOOD, pair=Pair("EMD-0042")), Code.NO_MODEL),
        (replace(GOOD, pair=Pair("EMD-0042", unreleased=("9zzz",))), Code.NO_MODEL),
        (changed(header={"pdb_ids": ()}, model={"associated_maps": ()}), Code.NO_MODEL),
        (changed(problems=(Problem("9zaa.cif.gz", "file_missing", "no file"),)), Code.NO_MODEL),
        (changed(header={"methods": ("tomography",)}), Code.EXCLUDED_METHOD),
        (changed(header={"methods": ("singleParticle", "electronCrystallography")}), Code.EXCLUDED_METHOD),
        (changed(model={"methods": ("ELECTRON CRYSTALLOGRAPHY",)}), Code.EXCLUDED_METHOD),
        (replace(GOOD, map=replace(GRID, space_group=5)), Code.EXCLUDED_METHOD),
        (changed(map=None, half_maps=(), header={"grid": replace(STATED, space_group=5)}), Code.EXCLUDED_METHOD),
        (with_resolutions((4.0,), (6.0,)), Code.RESOLUTION_MISMATCH),
        (with_resolutions((3.2, 3.4), (3.2,)), Code.RESOLUTION_MISMATCH),
        (with_resolutions((), ()), Code.RESOLUTION_MISMATCH),
        (replace(GOOD, half_maps=(GRID, replace(GRID, dims=(10, 12, 13)))), Code.GRID_MISMATCH),
        (replace(GOOD, half_maps=(replace(GRID, voxel=(1.5, 1.5, 1.51)), GRID)), Code.GRID_MISMATCH),
        (replace(GOOD, half_maps=(replace(GRID, corner=(0, 0, 0.1)), GRID)), Code.GRID_MISMATCH),
        (replace(GOOD, fraction_inside=0.98), Code.BOX_MISMATCH),
        (replace(GOOD, map=replace(GRID, dims=(20000,) * 3), half_maps=()), Code.BOX_MISMATCH),
        (replace(GOOD, map=replace(GRID, voxel=(90.0,) * 3), half_maps=()), Code.BOX_MISMATCH),
        (changed(header={"grid": replace(STATED, cell=(291.2, 291.2, 291.2, 90, 90, 90))}), Code.BOX_MISMATCH),
        (changed(header={"grid": replace(STATED, cell=(0, 18, 21, 90, 90, 90))}), Code.BOX_MISMATCH),
        (changed(header={"grid": replace(STATED, cell=(15, 18, 21, 90, 100, 90))}), Code.BOX_MISMATCH),
        (changed(header={"grid": replace(STATED, stored=(10, 12, 13), dims=(10, 12, 13))}), Code.BOX_MISMATCH),
        (changed(header={"grid": replace(STATED, stored=(0, 12, 14))}), Code.BOX_MISMATCH),
        (changed(header={"grid": replace(STATED, voxel=(1.6, 1.5, 1.5))}), Code.BOX_MISMATCH),
        (changed(model={"cell": (291.2, 291.2, 291.2, 90, 90, 90)}), Code.BOX_MISMATCH),
        (changed(model={"cell": (-15, 18, 21, 90, 90, 90)}), Code.BOX_MISMATCH),
        (changed(problems=(Problem("m.map", "map_cell", "a cell of nan"),)), Code.BOX_MISMATCH),
        (changed(problems=(Problem("m.map", "map_truncated", "cut"),)), Code.PROCESSING_ERROR),
        (changed(header=None, problems=(Problem("h.xml", "header_unreadable", "cut"),)), Code.PROCESSING_ERROR),
        (replace(GOOD, unknown_compounds=("DRG", "XYZ")), Code.PROCESSING_ERROR),
        (replace(GOOD, composition=replace(MADE_OF, elements={"C": 9, "X": 1})), Code.PROCESSING_ERROR),
        (changed(model={"models": 2}), Code.MULTI_MODEL),
        (replace(GOOD, composition=replace(MADE_OF, single_atom_residues=2)), Code.SINGLE_ATOM),
        (with_resolutions((5.01,), (5.01,)), Code.LOW_RESOLUTION),
    ],
    ids=range(34),
)
def test_rule_refuses(facts: PairFacts, code: Code) -> None:
    refusal = first_refusal(run_checks(facts))
    assert refusal is not None
    assert refusal.code is code
    assert refusal.sentence.endswith(".")


@pytest.mark.parametrize(
    "facts",
    [
        replace(GOOD, composition=replace(MADE_OF, single_atom_residues=1)),
        replace(GOOD, composition=replace(MADE_OF, polymer_residues=0, single_atom_residues=0)),
        with_resolutions((5.0,), (5.0,)),
        with_resolutions((3.2,), ()),
        with_resolutions((), (3.2,)),
        with_resolutions((3.2,), (3.204,)),
        changed(header={"methods": ("subtomogramAveraging",)}),
        changed(header={"methods": ("Subtomogram averaging", "helical")}),
        changed(model={"methods": ("ELECTRON MICROSCOPY", "SOLUTION NMR")}),
        changed(model={"methods": ()}),
        replace(GOOD, map=replace(GRID, space_group=0)),
        replace(GOOD, half_maps=()),
        replace(GOOD, half_maps=(replace(GRID, voxel=(1.5001, 1.5, 1.5), corner=(0.001, 0, 0)), GRID)),
        changed(header={"grid": replace(STATED, stored=(14, 12, 10), dims=(10, 12, 14))}),
        changed(header={"grid": replace(STATED, stored=None, dims=None, sampling=None, cell=None, voxel=None)}),
        changed(header={"grid": replace(STATED, cell=(15.005, 18, 21, 0, 0, 0), voxel=(1.501, 1.5, 1.5))}),
        changed(map=replace(GRID, cell=(30, 36, 42, 90, 90, 90)), header={"grid": replace(STATED, cell=None, sampling=None)}),
    ],
    ids=range(17),
)
def test_rule_lets_pass(facts: PairFacts) -> None:
    assert first_refusal(run_checks(facts)) is None


@pytest.mark.parametrize(
    ("facts", "code", "severity"),
    [
        (with_resolutions((3.24,), (3.2,)), Code.RESOLUTION_ROUNDED, Severity.WARN),
        (replace(GOOD, fraction_inside=0.995), Code.ATOMS_OUTSIDE_BOX, Severity.WARN),
        (changed(header={"half_map_files": ("a", "b")}, half_maps=(GRID,)), Code.HALF_MAPS_INCOMPLETE, Severity.WARN),
        (changed(header={"half_map_files": ("a",)}, half_maps=()), Code.HALF_MAPS_INCOMPLETE, Severity.WARN),
        (changed(header={"pdb_ids": ()}), Code.LINK_ONE_SIDED, Severity.NOTE),
        (changed(model={"associated_maps": ()}), Code.LINK_ONE_SIDED, Severity.NOTE),
        (changed(model={"cell": (1, 1, 1, 90, 90, 90)}), Code.PLACEHOLDER_CELL, Severity.NOTE),
        (changed(model={"cell": None}), Code.PLACEHOLDER_CELL, Severity.NOTE),
        (changed(header={"skipped": ("a",)}, model={"skipped": tuple("bcdefg")}), Code.METADATA_SKIPPED, Severity.NOTE),
    ],
    ids=range(9),
)
def test_rule_remarks(facts: PairFacts, code: Code, severity: Severity) -> None:
    assert [(finding.code, finding.severity) for finding in run_checks(facts)] == [(code, severity)]


def test_literal_rules() -> None:
    for facts, code in (
        (with_resolutions((3.24,), (3.2,)), Code.RESOLUTION_MISMATCH),
        (changed(model={"cell": (1, 1, 1, 90, 90, 90)}), Code.BOX_MISMATCH),
        (changed(model={"cell": None}), Code.BOX_MISMATCH),
    ):
        assert [finding.code for finding in run_checks(facts, strict=True)] == [code]


def test_order_decides() -> None:
    facts = replace(with_resolutions((4.0,), (6.0,)), pair=Pair("EMD-0042"), fraction_inside=0.1, unknown_compounds=("DRG",))
    codes = [finding.code for finding in run_checks(facts)]
    assert codes == [Code.NO_MODEL, Code.RESOLUTION_MISMATCH, Code.BOX_MISMATCH, Code.PROCESSING_ERROR]


def test_numbers_are_in_the_sentence() -> None:
    finding = checks.box_is_consistent(replace(GOOD, fraction_inside=0.5), strict=False)
    assert finding is not None
    assert "50.0 %" in finding.sentence
    assert finding.numbers["fraction_inside"] == 0.5
    finding = checks.resolution_agrees(with_resolutions((4.0,), (6.0,)), strict=False)
    assert finding is not None
    assert "4 Å (h), 6 Å (m)" in finding.sentence


@pytest.mark.parametrize(
    ("values", "strict", "expected", "rounded"),
    [
        ([3.2], False, 3.2, False),
        ([3.2, 3.2], True, 3.2, False),
        ([3.204, 3.2], True, 3.2, False),
        ([3.25, 3.3], False, 3.25, True),
        ([3.25, 3.2], False, None, False),
        ([3.24, 3.2], False, 3.24, True),
        ([3.24, 3.2], True, None, False),
        ([], False, None, False),
    ],
)
def test_consensus(values: list[float], strict: bool, expected: float | None, rounded: bool) -> None:
    consensus = consensus_resolution(with_resolutions(tuple(values[:1]), tuple(values[1:])), strict=strict)
    assert (consensus.value, consensus.rounded) == (expected, rounded)


@given(st.lists(st.floats(0.5, 20), min_size=1, max_size=4), st.booleans())
def test_consensus_needs_agreement(values: list[float], strict: bool) -> None:
    consensus = consensus_resolution(with_resolutions(tuple(values[:1]), tuple(values[1:])), strict=strict)
    if consensus.value is not None:
        assert all(abs(value - consensus.value) < (0.105 if consensus.rounded else 0.0101) for value in values)
    assert not (strict and consensus.rounded)


def test_checks_are_pure_and_documented() -> None:
    facts = with_resolutions((4.0,), (6.0,))
    check: Callable[..., Any]
    for check in CHECKS:
        assert check.__doc__
        assert check(facts, strict=False) == check(facts, strict=False)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [(None, True), ((1, 1, 1, 90, 90, 90), True), ((0, 0, 0, 0, 0, 0), True), ((1, 1, 50, 90, 90, 90), False)],
)
def test_placeholder(cell: Any, expected: bool) -> None:
    assert is_placeholder(cell) is expected
