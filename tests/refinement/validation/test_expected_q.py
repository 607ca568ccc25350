from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement.structure import ResidueKind
from refinement.validation.expected_q import BANDS, FARTHEST, expected_class_q, expected_q, q_against_expected

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("sigma", "resolution", "expected"), [(0.4, 3.0, 0.5212), (0.6, 3.0, 0.5804), (0.4, 2.0, 0.7302), (0.6, 4.0, 0.4084)]
)
def test_values_of_the_published_curves(sigma: float, resolution: float, expected: float) -> None:
    band = expected_q(resolution, sigma)
    assert band is not None
    assert band.expected == pytest.approx(expected, abs=5e-4)
    below, above = BANDS[sigma]
    assert band.low == pytest.approx(band.expected + below)
    assert band.high == pytest.approx(band.expected + above)


@pytest.mark.parametrize("sigma", [0.4, 0.6])
def test_worse_resolution_expects_less_and_never_more_than_one(sigma: float) -> None:
    bands = [expected_q(d, sigma) for d in np.arange(0.7, FARTHEST, 0.1)]
    values = [band.expected for band in bands if band is not None]
    assert len(values) == len(bands)
    assert max(values) <= 1.0
    below_one = np.array([value for value in values if value < 1.0])
    assert (np.diff(below_one[: int((6.0 - 0.7) / 0.1)]) < 0.0).all()
    assert max(band.high for band in bands if band is not None) <= 1.0


def test_where_nothing_is_expected() -> None:
    assert expected_q(FARTHEST + 0.1) is None
    assert expected_q(0.0) is None
    assert expected_q(float("nan")) is None
    assert expected_class_q(3.0, "ion", 0.4) is None
    assert expected_class_q(3.0, "glass") is None
    assert expected_class_q(12.0, "water") is None
    assert expected_class_q(float("nan"), "water") is None


def test_lines_by_class() -> None:
    assert expected_class_q(3.0, "protein") == pytest.approx(0.5867)
    assert expected_class_q(3.0, "protein", 0.4) == pytest.approx(0.5644)
    assert expected_class_q(2.0, "nucleic") == pytest.approx(0.7219)
    assert expected_class_q(2.0, "ion") == pytest.approx(0.8589)
    assert expected_class_q(2.0, "water") == pytest.approx(0.8211)
    assert expected_class_q(0.5, "ion") == 1.0


def test_a_model_beside_what_is_expected(peptide: Callable) -> None:
    structure = peptide(("ALA", "SER", "GLY")).structure()
    kind = np.array([ResidueKind.PROTEIN, ResidueKind.PROTEIN, ResidueKind.WATER], dtype=np.uint8)
    structure = replace(structure, residues=replace(structure.residues, kind=kind))
    q = np.full((len(structure), 2), 0.5, dtype=np.float32)
    q[structure.residue == 2] = 0.8
    q[0] = np.nan
    found = q_against_expected(structure, q, 3.0).details["q_expected"]
    assert found["q_score"]["position"] == found["q_score_06"]["position"] == "inside"
    assert q_against_expected(structure, q, 1.5).details["q_expected"]["q_score"]["position"] == "below"
    assert q_against_expected(structure, q, 6.0).details["q_expected"]["q_score"]["position"] == "above"
    assert found["classes"]["protein"]["residues"] == 2
    assert found["classes"]["protein"]["q_score"] == {"mean": 0.5, "expected": pytest.approx(0.5644)}
    assert found["classes"]["water"]["q_score_06"] == {"mean": pytest.approx(0.8), "expected": pytest.approx(0.7316)}
    assert found["classes"]["water"]["q_score"]["expected"] is None
    assert set(found["classes"]) == {"protein", "water"}


def test_without_scores_or_a_curve(peptide: Callable) -> None:
    structure = peptide(("ALA",)).structure()
    nothing = np.full((len(structure), 2), np.nan, dtype=np.float32)
    assert q_against_expected(structure, nothing, 3.0).details == {"q_expected": {"classes": {}}}
    some = np.full((len(structure), 2), 0.1, dtype=np.float32)
    assert set(q_against_expected(structure, some, 20.0).details["q_expected"]) == {"classes"}
