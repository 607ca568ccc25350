"""work_run without a broker: interrupted, killed, and in several processes."""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_run_that_was_killed_goes_on_where_it_was(lone_service: Any) -> None:
    lone_service.make_jobs(2)
    lone_service.hang_once()
    first = lone_service.start("django", "work_run", "2026-11")
    lone_service.hanging_process()
    lone_service.kill(first)
    (working,) = (job for job in lone_service.state()["jobs"] if job["state"] == "working")
    assert (working["stage"], working["attempt"]) == ("refine", 1)
    assert "2 published" in lone_service.manage("work_run", "2026-11")
    assert lone_service.state()["results"] == 2


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_ctrl_c_gives_the_job_back_at_once(lone_service: Any) -> None:
    lone_service.make_jobs(1)
    lone_service.hang_once()
    first = lone_service.start("django", "work_run", "2026-11")
    lone_service.hanging_process()
    os.kill(first.pid, signal.SIGINT)
    first.wait(timeout=30)
    (job,) = lone_service.state()["jobs"]
    assert (job["state"], job["stage"], job["attempt"], job["lease_owner"]) == ("waiting", "refine", 0, "")


def test_several_processes_share_a_run(lone_service: Any) -> None:
    lone_service.make_jobs(12)
    assert "12 published" in lone_service.manage("work_run", "2026-11", "--workers", "2")
    state = lone_service.state()
    assert state["results"] == 12
    assert Counter(lone_service.refinements()) == Counter({job["entry__key"]: 1 for job in state["jobs"]})
