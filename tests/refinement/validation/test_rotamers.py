from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement import tables
from refinement.validation.ramachandran import Region
from refinement.validation.rotamers import FAVORED, OUTLIER, name_rotamers, rotamers

if TYPE_CHECKING:
    from collections.abc import Callable

LONG = ("ARG", "LYS", "MET", "GLU", "GLN", "ILE", "LEU", "ASP", "ASN", "HIS", "TRP", "TYR", "PHE", "SER", "THR", "VAL", "CYS")


@pytest.mark.parametrize("compound", LONG)
def test_mean_rotamers_are_favoured_and_carry_their_names(peptide: Callable, compound: str) -> None:
    centres = tables.rotamer_centres()[compound]
    result = rotamers(peptide([compound] * len(centres.names), chi=centres.chi.tolist()).structure())
    np.testing.assert_allclose((result.chi[:, : centres.chi.shape[1]] - centres.chi + 180) % 360 - 180, 0, atol=1e-2)
    common = centres.frequency > 2.0
    assert (result.region[common] == Region.FAVORED).all()
    named = result.name != "UNCLASSIFIED"
    matches = np.array([a == b for a, b in zip(result.name, centres.names, strict=True)])
    assert matches[common & named].mean() > 0.9


def test_thresholds_split_the_regions(peptide: Callable, rng: np.random.Generator) -> None:
    chi = rng.uniform(0, 360, (300, 2)).tolist()
    result = rotamers(peptide(["LEU"] * 300, chi=chi).structure())
    np.testing.assert_array_equal(result.region == Region.OUTLIER, result.score < OUTLIER)
    np.testing.assert_array_equal(result.region == Region.FAVORED, result.score >= FAVORED)
    assert {int(r) for r in result.region} == {0, 1, 2}
    assert result.summary["rotamer_outliers"] == pytest.approx(100 * (result.region == 0).mean())
    assert (result.name[result.region == Region.OUTLIER] == "OUTLIER").all()


@pytest.mark.parametrize(
    ("compound", "which", "symmetric"), [("PHE", 1, True), ("ASP", 1, True), ("GLU", 2, True), ("ASN", 1, False)]
)
def test_only_symmetric_groups_are_the_same_half_a_turn_on(
    peptide: Callable, compound: str, which: int, *, symmetric: bool
) -> None:
    chi = np.tile([-65.0, 170.0, 20.0, 0.0], (2, 1))[:, : which + 1]
    chi[:, which] = 20.0
    chi[1, which] += 180.0
    score = rotamers(peptide([compound] * 2, chi=chi.tolist()).structure()).score
    assert bool(np.isclose(score[0], score[1], rtol=1e-3)) is symmetric


def test_interpolation_wraps_around(peptide: Callable) -> None:
    grid = tables.rotamer_grid("val")
    result = rotamers(peptide(["VAL"] * 2, chi=[[0.0], [359.999]]).structure())
    np.testing.assert_allclose(result.score, grid.values[[0, -1]].mean(), rtol=1e-3)


def test_selenomethionine_is_looked_up_as_methionine(peptide: Callable) -> None:
    chi = [(-65.0, 180.0, 75.0)] * 2
    a = rotamers(peptide(["MET"] * 2, chi=chi).structure())
    b = rotamers(peptide(["MSE"] * 2, chi=chi).structure())
    np.testing.assert_allclose(a.score, b.score, rtol=1e-5)
    assert a.name.tolist() == b.name.tolist()


def test_incomplete_alanine_glycine_and_unknown_side_chains_are_skipped(peptide: Callable) -> None:
    model = peptide(["LEU", "ALA", "GLY", "LYS", "SEP"]).without((4, "CE"))
    result = rotamers(model.structure())
    assert result.residue.tolist() == [0]
    assert result.names().tolist()[1:] == [""] * 4
    column = result.columns["rotamer_score"]
    assert column.dtype == np.float32
    assert np.isnan(column[1:]).all()


def test_every_letter_counts(peptide: Callable) -> None:
    model = peptide(["LEU", "LEU", "LEU"])
    side = model.split(lambda s: s.number == 2 and s.name not in {"N", "CA", "C", "O"})
    assert rotamers(side.structure()).letter.tolist() == ["", "A", "B", ""]
    # the common atoms are a complete side chain of their own when only the carbonyl oxygen is split
    oxygen = model.split(lambda s: s.number == 2 and s.name == "O")
    result = rotamers(oxygen.structure())
    assert result.letter.tolist() == ["", "", "A", "B", ""]
    assert np.ptp(result.score) == pytest.approx(0, abs=1e-6)
    whole = model.split(lambda s: s.number == 2, "ABC")
    assert rotamers(whole.structure()).letter.tolist() == ["", "A", "B", "C", ""]


def test_a_letter_is_completed_from_the_letters_before_it(peptide: Callable) -> None:
    model = peptide(["LEU"]).split(lambda s: s.name == "CG")
    sites = [s for s in model.sites if not (s.name == "CG" and s.letter == "B")]
    sites += [replace(s, letter="B") for s in model.sites if s.name == "CD1"]
    kept = type(model)([s for s in sites if s.name != "CD1" or s.letter])
    assert rotamers(kept.structure()).letter.tolist() == ["B"]


def test_names_of_bins() -> None:
    assert name_rotamers("VAL", np.array([[175.0], [63.0], [-60.0]])).tolist() == ["t", "p", "m"]
    assert name_rotamers("PHE", np.array([[-60.0, 270.0]])).tolist() == ["m-80"]


def test_nothing_to_evaluate(peptide: Callable) -> None:
    result = rotamers(peptide(["GLY", "ALA"]).structure())
    assert result.summary == {"rotamer_outliers": None, "rotamer_favored": None}
    assert set(result.reasons) == {"rotamer_outliers", "rotamer_favored"}
    assert result.names().tolist() == ["", ""]
