"""A refinement that needs too much memory ends by name, and the worker goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
import pytest

from ceres.models import State
from ceres.pipeline import memory
from ceres.pipeline.advance import advance
from ceres.pipeline.faults import MEMORY_LIMIT
from refinement.maps.density import Density, write_map

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ceres.models import Job

    MakeJob = Callable[..., Job]


def outcome_of(job: Job) -> tuple[str, str]:
    advance(job.pk)
    job.refresh_from_db()
    return job.state, job.code


def test_growing_beyond_the_limit_ends_the_job_and_not_the_worker(
    make_job: MakeJob, engine: Any, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.CERES_MEMORY_GB = 2
    monkeypatch.setattr(memory, "resident", lambda: 3.1e9)
    large = make_job("9abc", "0123")
    assert outcome_of(large) == (State.FAILED, MEMORY_LIMIT)
    assert "3.1 GB" in large.message
    assert "2.0 GB" in large.message
    assert "CERES_MEMORY_GB" in large.hint
    monkeypatch.setattr(memory, "resident", lambda: 1.9e9)
    assert outcome_of(make_job("9abd", "0124")) == (State.PUBLISHED, "")


def test_an_allocation_that_the_system_refuses_has_a_name(make_job: MakeJob, engine: Any) -> None:
    engine.faults["refine"] = MemoryError()
    assert outcome_of(make_job()) == (State.FAILED, MEMORY_LIMIT)


@pytest.mark.parametrize(("halves", "bytes_needed"), [(0, 8 * 24**3), (2, 16 * 24**3)])
def test_maps_that_are_too_large_are_not_read(
    halves: int, bytes_needed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{number}.mrc" for number in range(halves + 1)]
    for path in paths:
        cell = gemmi.UnitCell(24, 24, 24, 90, 90, 90)
        write_map(path, Density(np.arange(24**3, dtype=np.float32).reshape(24, 24, 24), cell, np.zeros(3)))
    monkeypatch.setattr(memory, "limit", lambda: float(bytes_needed))
    memory.require_room(paths[0], paths[1:])
    monkeypatch.setattr(memory, "limit", lambda: bytes_needed - 1.0)
    with pytest.raises(memory.MemoryLimitError):
        memory.require_room(paths[0], paths[1:])


def test_the_limit_is_a_share_of_the_machine_or_of_the_container(
    monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path
) -> None:
    settings.CERES_MEMORY_GB = 0
    inside = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "CONTAINER", (inside, tmp_path / "none"))
    machine = memory.limit()
    inside.write_text("max\n")
    assert memory.limit() == machine
    inside.write_text("1000000\n")
    assert memory.limit() == pytest.approx(memory.SHARE * 1e6)
    assert 0 < memory.resident() < machine
