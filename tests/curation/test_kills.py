"""Curation that is killed at any moment, with real processes; benchmarks/kills.py does it fifty times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.kills import kill_at_random
from curation.example import build_example_archive

if TYPE_CHECKING:
    from pathlib import Path


def test_after_a_kill_the_next_start_completes(tmp_path: Path) -> None:
    archive = build_example_archive(tmp_path / "archive")
    assert set(kill_at_random(archive, tmp_path, count=3, seed=11)) == {"curation", "download", "unpacking"}
