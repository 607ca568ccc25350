"""The verdict counts metrics with a direction, each against its tolerance."""

from __future__ import annotations

import pytest

from ceres.models import Verdict
from ceres.verdict import IMPROVED, MIXED, UNCHANGED, WORSE, compare
from refinement.validation.registry import BY_KEY, Better

BASE = {"cc_mask": 0.6, "clashscore": 20.0, "rama_favored": 90.0, "rama_outliers": 1.0, "rama_z": -2.5, "q_score": 0.5}


@pytest.mark.parametrize(
    ("changes", "verdict", "better", "worse"),
    [
        ({}, Verdict.UNCHANGED, (), ()),
        ({"cc_mask": 0.604, "clashscore": 20.4}, Verdict.UNCHANGED, (), ()),
        ({"cc_mask": 0.61}, Verdict.IMPROVED, ("cc_mask",), ()),
        ({"cc_mask": 0.59}, Verdict.WORSE, (), ("cc_mask",)),
        ({"rama_z": 1.79}, Verdict.IMPROVED, ("rama_z",), ()),
        ({"cc_mask": 0.7, "clashscore": 5.0}, Verdict.IMPROVED, ("clashscore", "cc_mask"), ()),
        ({"cc_mask": 0.7, "rama_favored": 85.0}, Verdict.MIXED, ("cc_mask",), ("rama_favored",)),
        (
            {"cc_mask": 0.7, "clashscore": 5.0, "rama_outliers": 0.0, "q_score": 0.4},
            Verdict.IMPROVED,
            ("clashscore", "rama_outliers", "cc_mask"),
            ("q_score",),
        ),
        (
            {"cc_mask": 0.5, "rama_favored": 99.0, "rama_outliers": 0.0, "q_score": 0.6},
            Verdict.MIXED,
            ("rama_favored", "rama_outliers", "q_score"),
            ("cc_mask",),
        ),
    ],
)
def test_verdicts(changes: dict[str, float], verdict: Verdict, better: tuple[str, ...], worse: tuple[str, ...]) -> None:
    comparison = compare(BASE, {**BASE, **changes})
    assert (comparison.verdict, comparison.better, comparison.worse) == (verdict, better, worse)
    assert comparison.compared == len(BASE)


def test_metrics_without_two_values_or_a_direction_do_not_count() -> None:
    informative = next(metric.key for metric in BY_KEY.values() if metric.better is Better.INFO)
    comparison = compare({"cc_mask": None, informative: 1.0}, {"cc_mask": 0.9, informative: 99.0})
    assert (comparison.verdict, comparison.compared) == (Verdict.UNCHANGED, 0)


def test_the_database_knows_all_verdicts() -> None:
    assert {IMPROVED, MIXED, WORSE, UNCHANGED} == set(Verdict.values)
