"""The score and its per-residue columns; parity with an independent program on real models."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement.restraints.hydrogens import add_hydrogens
from refinement.restraints.library import load_monomer_library
from refinement.structure import read_structure
from refinement.validation.clashscore import clashscore
from refinement.validation.nonbonded_distance import min_nonbonded_distance

if TYPE_CHECKING:
    from pathlib import Path

    import gemmi

    from refinement.structure import Structure

Row = tuple[str, int, str, str, str]


@pytest.fixture(scope="module")
def score_library() -> gemmi.MonLib:
    return load_monomer_library(["LYS", "ALA", "HOH", "GLU"])


def alanine(library: gemmi.MonLib, shift: float, chain: str) -> tuple[list[Row], np.ndarray]:
    known = [atom for atom in library.monomers["ALA"].atoms if atom.el.name != "H" and atom.id != "OXT"]
    rows: list[Row] = [(chain, 5, "ALA", atom.id, atom.el.name) for atom in known]
    return rows, np.array([atom.xyz.tolist() for atom in known]) + np.array([shift, 0.0, 0.0])


def two_alanines(structure_of, library: gemmi.MonLib, apart: float) -> Structure:
    first, second = alanine(library, 0.0, "A"), alanine(library, apart, "B")
    return structure_of(first[0] + second[0], np.concatenate([first[1], second[1]]))


def test_score_counts_pairs_per_thousand_atoms(structure_of, score_library: gemmi.MonLib) -> None:
    found = clashscore(two_alanines(structure_of, score_library, 2.5), score_library)
    assert found.hydrogens_added
    assert found.n_atoms == 2 * (5 + 7)
    assert len(found.clashes) > 3
    # pairs near the limit count by their chance
    assert found.summary["clashscore"] == pytest.approx(1000.0 * len(found.clashes) / found.n_atoms, rel=0.02)
    assert found.columns["n_clashes"].tolist() == [len(found.clashes)] * 2
    assert found.columns["worst_overlap"].tolist() == pytest.approx([found.clashes[0].overlap] * 2)
    assert {found.clashes[0].first_residue, found.clashes[0].second_residue} == {0, 1}


def test_a_model_without_contacts_scores_zero(structure_of, score_library: gemmi.MonLib) -> None:
    found = clashscore(two_alanines(structure_of, score_library, 30.0), score_library)
    assert found.summary["clashscore"] == 0.0
    assert found.columns["worst_overlap"].tolist() == [0.0, 0.0]


def test_hydrogens_of_the_model_are_kept_unless_rebuilt(structure_of, score_library: gemmi.MonLib) -> None:
    bare = two_alanines(structure_of, score_library, 2.5)
    full = add_hydrogens(bare, score_library)
    some = full.without(full.names == "HB1")
    kept = clashscore(some, score_library)
    assert not kept.hydrogens_added
    assert kept.n_atoms == len(some)
    rebuilt = clashscore(some, score_library, rebuild=True)
    assert rebuilt.n_atoms == len(full)
    assert rebuilt.summary == clashscore(bare, score_library).summary


def test_water_is_neither_counted_nor_a_source(structure_of, score_library: gemmi.MonLib) -> None:
    rows, positions = alanine(score_library, 0.0, "A")
    beside = positions[[row[3] for row in rows].index("CB")] + [0.0, 0.0, 1.5]
    structure = structure_of([*rows, ("W", 1, "HOH", "O", "O")], np.vstack([positions, beside]))
    found = clashscore(structure, score_library)
    assert found.n_atoms == 12
    assert found.clashes
    assert found.columns["n_clashes"].tolist() == [len(found.clashes)] * 2
    alone = structure_of([("W", 1, "HOH", "O", "O"), ("W", 2, "HOH", "O", "O")], [[0.0, 0, 0], [1.0, 0, 0]])
    only_water = clashscore(alone, score_library)
    assert only_water.summary == {"clashscore": None}
    assert only_water.reasons == {"clashscore": "not_applicable"}


def test_without_a_library_the_model_is_taken_as_it_is(structure_of, score_library: gemmi.MonLib) -> None:
    found = clashscore(two_alanines(structure_of, score_library, 2.5), None)
    assert not found.hydrogens_added
    assert found.n_atoms == 10


def test_shortest_distance_skips_bonds_angles_and_planes(structure_of, score_library: gemmi.MonLib) -> None:
    structure = two_alanines(structure_of, score_library, 50.0)
    alone = min_nonbonded_distance(structure, score_library)
    i, j = alone.pair or (-1, -1)
    assert {str(structure.names[i]), str(structure.names[j])} in ({"N", "O"}, {"CB", "O"})
    near = min_nonbonded_distance(two_alanines(structure_of, score_library, 1.4), score_library)
    assert near.summary["min_nonbonded_distance"] == pytest.approx(near_distance(structure_of, score_library, 1.4))


def near_distance(structure_of, library: gemmi.MonLib, apart: float) -> float:
    structure = two_alanines(structure_of, library, apart)
    half = len(structure) // 2
    distance = np.linalg.norm(structure.positions[:half, None] - structure.positions[None, half:], axis=2)
    return float(distance.min())


def test_shortest_distance_of_far_atoms_is_missing(structure_of, score_library: gemmi.MonLib) -> None:
    rows: list[Row] = [("A", 1, "HOH", "O", "O"), ("A", 2, "HOH", "O", "O")]
    far = min_nonbonded_distance(structure_of(rows, [[0.0, 0, 0], [9.0, 0, 0]]), score_library)
    assert far.summary == {"min_nonbonded_distance": None}
    assert far.reasons == {"min_nonbonded_distance": "not_applicable"}
    near = min_nonbonded_distance(structure_of(rows, [[0.0, 0, 0], [0.7, 0, 0]]), score_library)
    assert near.summary["min_nonbonded_distance"] == pytest.approx(0.7)


PAIRS = {
    "mavs_5925": "mavs_5925/model.pdb",
    "tmv_6i5a": "tmv_6i5a/model.pdb",
    "tmv_6i5a.published_refined": "tmv_6i5a/published_refined.pdb",
    "spike_ntd_origin": "spike_ntd_origin/model.pdb",
    "apof_20026": "apof_20026/model.pdb",
    "hb_5ni1": "hb_5ni1/model.cif",
    "7cec_A": "7cec_A/model.cif",
    "5ly6": "5ly6/model.pdb",
    "5ly6.published_refined": "5ly6/published_refined.pdb",
    "gsec_5fn5": "gsec_5fn5/model.pdb",
    "hcn4_6gyn": "hcn4_6gyn/model.pdb",
}


def within(value: float | None, expected: float) -> bool:
    """Return whether a clashscore is within 5 % or 0.5 of another program's, whichever is more."""
    return value is not None and abs(value - expected) <= max(0.5, 0.05 * expected)


@pytest.mark.shared
@pytest.mark.parametrize("name", PAIRS)
def test_real_models_agree_with_an_independent_program(shared: Path, name: str) -> None:
    expected = json.loads((shared / "oracle" / "values" / f"{name}.json").read_text())
    structure = read_structure(shared / "pairs" / PAIRS[name])
    library = load_monomer_library(set(structure.residues.compound.tolist()))
    found = clashscore(structure, library)
    assert within(found.summary["clashscore"], expected["metrics"]["clashscore"])
    if not found.hydrogens_added:
        assert len(found.clashes) == pytest.approx(expected["extra"]["n_clashes"], abs=1)
        assert found.n_atoms == expected["extra"]["n_clash_atoms"]
        rebuilt = clashscore(structure, library, rebuild=True)
        assert within(rebuilt.summary["clashscore"], expected["extra"]["clashscore_rebuilt_h"])
    else:
        assert found.n_atoms == pytest.approx(expected["extra"]["n_clash_atoms"], abs=10)
    shortest = min_nonbonded_distance(structure, library).summary["min_nonbonded_distance"]
    assert shortest == pytest.approx(expected["metrics"]["min_nonbonded_distance"], abs=0.001)
