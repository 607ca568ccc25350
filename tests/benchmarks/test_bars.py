"""The bars of the comparison with other programs."""

from __future__ import annotations

import pytest

from benchmarks.beside.bars import DEPOSITED, OPEN, OURS, SERVALCAT, Row, mean_emringer, missed

GOOD = {
    "cc_mask": 0.86, "q_score": 0.52, "emringer": 3.1, "d_fsc_model_05_masked": 3.1, "clashscore": 0.5, "rama_favored": 98.0,
    "rama_outliers": 0.0, "rotamer_outliers": 0.2, "cbeta_deviations": 0.0, "rama_z": -0.3, "molprobity_score": 0.9,
}  # fmt: skip
BAD = {
    "cc_mask": 0.84, "q_score": 0.5, "emringer": 3.4, "d_fsc_model_05_masked": 3.2, "clashscore": 12.0, "rama_favored": 95.0,
    "rama_outliers": 1.0, "rotamer_outliers": 3.0, "cbeta_deviations": 4.0, "rama_z": 2.9, "molprobity_score": 2.1,
}  # fmt: skip


def misses(ours: dict[str, float | None], resolution: float = 3.2, **others: dict[str, float | None]) -> dict[str, list[str]]:
    names = {"deposited": DEPOSITED, "servalcat": SERVALCAT, "open_toolbox": OPEN}
    rows = [Row("p", names[maker], metrics) for maker, metrics in ({"deposited": BAD} | others).items()]
    return missed([*rows, Row("p", OURS, ours)], resolution)


def test_a_good_model_misses_nothing() -> None:
    assert misses(GOOD) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rotamer_outliers", 0.6), ("rama_outliers", 0.3), ("rama_favored", 96.9), ("clashscore", 5.2), ("rama_z", -2.6),
        ("cc_mask", 0.83), ("q_score", 0.49), ("emringer", 2.95), ("d_fsc_model_05_masked", 3.25), ("cbeta_deviations", 5.0),
        ("molprobity_score", 2.2),
    ],
)  # fmt: skip
def test_each_bar(key: str, value: float) -> None:
    assert set(misses({**GOOD, key: value})) == {key}


def test_favoured_residues_may_be_fewer_far_out() -> None:
    assert misses({**GOOD, "rama_favored": 95.5}, resolution=3.9) == {}


def test_few_clashes_may_be_more_than_deposited_but_not_more_than_another_program() -> None:
    clean = {**BAD, "clashscore": 0.1}
    assert misses({**GOOD, "clashscore": 1.9}, deposited=clean) == {}
    assert set(misses({**GOOD, "clashscore": 2.4}, deposited=clean)) == {"clashscore"}
    assert set(misses({**GOOD, "clashscore": 1.9}, servalcat=clean)) == {"clashscore"}


def test_other_programs_set_bars_for_the_fit() -> None:
    assert misses(GOOD, servalcat={**BAD, "cc_mask": 0.879}) == {}
    assert set(misses(GOOD, servalcat={**BAD, "cc_mask": 0.885})) == {"cc_mask"}
    assert set(misses(GOOD, open_toolbox={**BAD, "cc_mask": 0.865})) == {"cc_mask"}
    assert misses(GOOD, open_toolbox={**BAD, "q_score": 0.6}) == {}


def test_rama_z_counts_by_its_distance_from_zero() -> None:
    assert misses(GOOD, servalcat={**BAD, "rama_z": 0.31}) == {}
    assert set(misses({**GOOD, "rama_z": 1.2}, servalcat={**BAD, "rama_z": -0.8})) == {"rama_z"}


def test_missing_values_and_failed_programs_miss_nothing() -> None:
    assert misses({**GOOD, "emringer": None}, servalcat={}) == {}
    assert missed([Row("p", OURS, GOOD)], 3.0) == {}


def test_the_mean_of_emringer_is_over_pairs_with_both() -> None:
    rows = [
        Row("a", DEPOSITED, {"emringer": 2.0}), Row("a", OURS, {"emringer": 3.0}), Row("b", DEPOSITED, {"emringer": None}),
        Row("b", OURS, {"emringer": 9.0}), Row("c", DEPOSITED, {"emringer": 4.0}), Row("c", OURS, {"emringer": 3.5}),
    ]  # fmt: skip
    assert mean_emringer(rows) == (3.0, 3.25)
    assert mean_emringer(rows[:1]) is None
