"""Real workers, a real broker, and what happens when they are killed."""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import Any

import pytest
import redis

pytestmark = [pytest.mark.redis, pytest.mark.timeout(300)]
FILES_OF_A_RESULT = 10


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_message_goes_to_one_queue_only(service: Any) -> None:
    service.make_jobs(2)
    service.python(
        "import django; django.setup()\n"
        "from ceres.models import Job\n"
        "from ceres.pipeline.schedule import dispatch\n"
        "Job.objects.filter(entry__key='9abc_0001').update(size_class='large')\n"
        "dispatch()"
    )
    with redis.Redis.from_url(service.environment["CERES_BROKER_URL"]) as client:
        assert [client.llen(queue) for queue in ("small", "large")] == [1, 1]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_workers_publish_every_job_once_however_often_they_are_told(service: Any) -> None:
    service.make_jobs(4)
    service.ring(3)
    service.start_worker()
    service.wait_until_done()
    service.ring(1)
    client = redis.Redis.from_url(service.environment["CERES_BROKER_URL"])
    service.wait_for("the reading of all messages", lambda: client.llen("small") == 0)
    client.close()
    state = service.state()
    assert (state["results"], state["artifacts"]) == (4, 4 * FILES_OF_A_RESULT)
    assert Counter(service.refinements()) == Counter({job["entry__key"]: 1 for job in state["jobs"]})


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_child_that_is_killed_in_the_middle_is_replaced(service: Any) -> None:
    service.make_jobs(1)
    service.hang_once()
    service.ring(1)
    service.start_worker()
    os.kill(service.hanging_process(), signal.SIGKILL)
    service.wait_for("the end of the child", lambda: "signal 9" in (service.folder / "process-0.log").read_text())
    assert service.manage("reap") == "1 jobs wait again, 0 failed.\n"
    service.wait_until_done()
    assert service.refinements() == ["9abc_0000", "9abc_0000"]
    assert service.state()["results"] == 1


def test_a_worker_that_is_killed_in_the_middle_loses_nothing(service: Any) -> None:
    service.make_jobs(2)
    service.hang_once()
    service.ring(1)
    worker = service.start_worker()
    service.hanging_process()
    service.kill(worker)
    held = [job for job in service.state()["jobs"] if job["state"] == "working"]
    assert ("refine", 1) in [(job["stage"], job["attempt"]) for job in held]
    service.start_worker()
    service.wait_until_done(reaping=True)
    state = service.state()
    assert (state["results"], state["artifacts"]) == (2, 2 * FILES_OF_A_RESULT)
    assert not list((service.var / "artifacts").rglob("*.part"))


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_broker_that_forgets_everything_is_filled_again(service: Any) -> None:
    service.make_jobs(3)
    service.ring(1)
    with redis.Redis.from_url(service.environment["CERES_BROKER_URL"]) as client:
        client.flushdb()
    service.start_worker()
    service.wait_until_done(reaping=True)
    assert sorted(service.refinements()) == ["9abc_0000", "9abc_0001", "9abc_0002"]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_work_run_drives_the_workers_and_shows_the_end(service: Any) -> None:
    service.make_jobs(2)
    service.start_worker()
    assert "2 published" in service.manage("work_run", "2026-11")
