"""Other beginnings, where EMRinger fell."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from curation.example_model import build_truth
from refinement import seeds
from refinement.output import RunLog
from refinement.seeds import Ringer, best_of_seeds, ringer, shaken_start
from refinement.settings import Settings, settings_for
from refinement.structure import from_gemmi

DEPOSITED = "deposited"


def outcome_of(
    monkeypatch: pytest.MonkeyPatch, runs: list[tuple[float, float, float]], deposited: float = 3.0, *, most: int = 3
) -> tuple[int, dict[str, Any], int]:
    """Runs are score, mean and CC_mask; returns which is kept, its record, and how many were made."""
    models = [SimpleNamespace(number=k) for k in range(len(runs))]
    start = SimpleNamespace(number=-1)

    def score_of(model: Any, _problem: Any) -> Ringer:
        return Ringer(deposited, deposited - 1.0) if model is start else Ringer(*runs[model.number][:2])

    monkeypatch.setattr(seeds, "ringer", score_of)
    monkeypatch.setattr(seeds, "cc_mask", lambda model, *_rest, **_more: runs[model.number][2])
    made = [0]

    def again(number: int) -> Any:
        made.append(number)
        return models[number], {"kept": "cycle 4"}

    problem: Any = SimpleNamespace(settings=Settings(seeds=most), density=None, resolution=3.0, threads=1)
    initial: Any = SimpleNamespace(structure=start, label=DEPOSITED)
    first: Any = (models[0], {"kept": "cycle 9"})
    model, record = best_of_seeds(first, initial, problem, again, RunLog())
    return model.number, record, len(made)  # type: ignore[attr-defined]


def test_one_run_is_enough_where_the_score_held(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, record, made = outcome_of(monkeypatch, [(2.61, 1.0, 0.8), (9.0, 9.0, 0.9)])
    assert (kept, made) == (0, 1)
    assert "seeds" not in record


def test_another_run_is_taken_where_it_fell_and_the_search_ends_there(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, record, made = outcome_of(monkeypatch, [(2.0, 1.0, 0.8), (2.7, 0.9, 0.799), (4.0, 4.0, 0.8)])
    assert (kept, made) == (1, 2)
    assert record["seeds"]["emringer"] == [2.0, 2.7]
    assert record["seeds"]["deposited"] == 3.0
    assert record["seeds"]["kept"] == 1
    assert record["kept"] == "cycle 4"


def test_a_better_score_is_no_excuse_for_a_worse_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, record, made = outcome_of(monkeypatch, [(2.0, 1.0, 0.8), (2.9, 1.9, 0.79)])
    assert (kept, made) == (0, 2)
    assert record["seeds"]["cc_mask"] == [0.8, 0.79]


def test_the_steadier_mean_decides_if_none_holds_the_score(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, _, made = outcome_of(monkeypatch, [(2.1, 1.0, 0.8), (2.0, 1.5, 0.802), (2.5, 1.2, 0.798)])
    assert (kept, made) == (1, 3)
    assert outcome_of(monkeypatch, [(2.0, 1.5, 0.8), (1.5, 1.2, 0.82), (1.6, 1.1, 0.82)])[0] == 0
    assert outcome_of(monkeypatch, [(2.1, 1.0, 0.8)], most=1)[2] == 1


def test_protocols_that_are_quick_or_repeat_the_past_have_one_run() -> None:
    assert {name: settings_for(name).seeds for name in ("default", "quick", "ceres2020")} == {
        "default": 3,
        "quick": 1,
        "ceres2020": 1,
    }


def test_beginnings_differ_by_little_and_only_by_their_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    structure = from_gemmi(build_truth())
    monkeypatch.setattr(seeds, "make_state", lambda label, moved, _problem, like: SimpleNamespace(label=label, structure=moved))
    start: Any = SimpleNamespace(label="prepared", structure=structure, model=None)
    one, same, other = (shaken_start(start, None, seed).structure.positions for seed in (1, 1, 2))  # type: ignore[arg-type]
    assert one.tobytes() == same.tobytes()
    assert one.tobytes() != other.tobytes()
    shift = np.sqrt(((one - structure.positions) ** 2).sum(axis=1).mean())
    assert shift == pytest.approx(seeds.SHAKE, rel=0.05)


def test_few_side_chains_have_no_score_to_decide_by(monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(
        summary={"emringer": 2.0}, details={"emringer": {"residues": seeds.ENOUGH}}, curves={"emringer": {"score": [1.0, 2.0]}}
    )
    monkeypatch.setattr(seeds, "emringer", lambda _structure, _density: found)
    problem: Any = SimpleNamespace(density=None)
    assert ringer(None, problem) == Ringer(2.0, 0.15)  # type: ignore[arg-type]
    found.details["emringer"]["residues"] = seeds.ENOUGH - 1
    assert ringer(None, problem) is None  # type: ignore[arg-type]
    found.summary["emringer"] = None
    assert ringer(None, problem) is None  # type: ignore[arg-type]
