"""Percentiles: direction, ties, neighbours, files, and EMDB's own ranks."""

from __future__ import annotations

import csv
import gzip
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement.errors import InputError
from refinement.validation.percentiles import (
    FEWEST,
    Reference,
    archive_reference,
    percentile,
    percentiles,
    read_reference,
    reference_from_runs,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def reference() -> Reference:
    """A hundred entries from 1 to 10.9 Å: clashscore 0 … 99, Q 0 … 0.99, Rama-Z -5 … 4.9."""
    step = np.arange(100.0)
    values = {"clashscore": step, "q_score": step / 100, "rama_z": step / 10 - 5, "bonds_rmsd": step, "emringer": step}
    values["emringer"] = np.where(step < FEWEST - 1, step, np.nan)
    return Reference("a test", 1.0 + step / 10, values)


def test_best_is_100_whichever_way_is_better(reference: Reference) -> None:
    assert percentile(reference, "clashscore", -1.0, 3.0).archive == 100.0
    assert percentile(reference, "clashscore", 200.0, 3.0).archive == 0.0
    assert percentile(reference, "q_score", 2.0, 3.0).archive == 100.0
    assert percentile(reference, "rama_z", -5.0, 3.0).archive == 0.5
    assert percentile(reference, "rama_z", 0.0, 3.0).archive == 99.5


def test_without_direction_smaller_values_are_counted(reference: Reference) -> None:
    assert percentile(reference, "bonds_rmsd", 29.5, 3.0).archive == 30.0


def test_ties_count_half(reference: Reference) -> None:
    assert percentile(reference, "q_score", 0.5, 3.0).archive == 50.5


def test_neighbours_lie_within_the_window(reference: Reference) -> None:
    found = percentile(reference, "clashscore", 15.0, 3.0)
    assert found.window == (2.0, 4.0)
    assert found.neighbours_count == 21  # 2.0, 2.1 … 4.0 Å: clashscores 10 … 30
    assert found.neighbours == pytest.approx(100 * 15.5 / 21, abs=0.01)
    assert found.archive_count == 100


def test_too_few_entries_give_none(reference: Reference) -> None:
    few = percentile(reference, "clashscore", 15.0, 3.0, window=0.5)
    assert few.neighbours is None
    assert few.neighbours_count == 11
    assert percentile(reference, "emringer", 5.0, 3.0).archive is None


def test_reference_goes_through_a_file(reference: Reference, tmp_path: Path) -> None:
    path = tmp_path / "reference.npz"
    reference.write(path)
    again = read_reference(path)
    assert again.source == "a test"
    assert sorted(again.values) == sorted(reference.values)
    for key, values in reference.values.items():
        np.testing.assert_allclose(again.values[key], values, rtol=1e-6)
    assert percentile(again, "q_score", 0.5, 3.0) == percentile(reference, "q_score", 0.5, 3.0)


@pytest.mark.parametrize("content", [b"", b"no archive at all", None])
def test_other_files_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "other.npz"
    if content is None:
        np.savez(path, something=np.arange(3))
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"other\.npz is no reference distribution"):
        read_reference(path)


def test_reference_is_made_from_our_runs(tmp_path: Path) -> None:
    for number in range(30):
        table = {"initial": {"resolution": 3.0, "clashscore": float(number), "emringer": None}}
        if number % 2:
            table["refined"] = {"resolution": 3.0, "clashscore": 1.0}
        (tmp_path / f"{number}.json").write_text(json.dumps(table))
    (tmp_path / "none.json").write_text(json.dumps({"initial": {"clashscore": 3.0}}))
    initial = reference_from_runs(tmp_path.glob("*.json"))
    assert sorted(initial.values) == ["clashscore"]
    assert len(initial.resolution) == 30
    assert len(reference_from_runs(tmp_path.glob("*.json"), state="refined").resolution) == 15
    found = percentiles({"clashscore": 29.0, "q_score": 0.5}, 3.0, [initial])
    assert found["clashscore"]["archive"] == pytest.approx(100 * 0.5 / 30, abs=0.01)
    assert found["q_score"]["source"] == "EMDB"


def test_missing_values_have_no_percentile() -> None:
    assert percentiles({"q_score": None, "clashscore": 3.0}, 3.0) == {}


def test_archive_has_the_known_medians() -> None:
    for resolution, median in ((2.0, 0.68), (3.0, 0.505), (4.0, 0.353)):
        near = percentile(archive_reference(), "q_score", median, resolution, window=0.25)
        assert near.neighbours == pytest.approx(50.0, abs=5.0)


@pytest.mark.shared
def test_ranks_agree_with_those_of_emdb(shared: Path) -> None:
    """EMDB states ranks for each entry; its archive is a little larger than the list."""
    with gzip.open(shared / "reference" / "archive_stats" / "va_qscores.csv.gz", "rt") as handle:
        rows = [row for row in csv.DictReader(handle) if row["qscore"] and row["q_whole"] and row["q_relative"]][::200]
    whole, relative = [], []
    for row in rows:
        found = percentile(archive_reference(), "q_score", float(row["qscore"]), float(row["resolution"]))
        assert found.archive is not None
        whole.append(found.archive / 100 - float(row["q_whole"]))
        if found.neighbours is not None:
            relative.append(found.neighbours / 100 - float(row["q_relative"]))
    assert len(relative) > 100
    assert np.abs(whole).max() < 0.04
    assert np.abs(relative).mean() < 0.015
