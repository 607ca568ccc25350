"""Claims, heartbeats and the reaper."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from ceres.models import Job, Stage, State
from ceres.pipeline import leases
from ceres.pipeline.outcome import LeaseLostError

MakeJob = Callable[..., Job]


def work_on(job: Job, *, seconds: float, owner: str = "elsewhere:1:a", attempt: int = 1) -> None:
    """Let a worker hold the job; negative seconds for a lease that ran out."""
    until = timezone.now() + timedelta(seconds=seconds)
    Job.objects.filter(pk=job.pk).update(state=State.WORKING, lease_owner=owner, lease_until=until, attempt=attempt)


def test_a_claim_takes_a_waiting_job_once(make_job: MakeJob) -> None:
    job = make_job()
    claimed = leases.claim(job.pk, "me:1:a")
    assert claimed is not None
    assert (claimed.state, claimed.lease_owner, claimed.attempt) == (State.WORKING, "me:1:a", 1)
    assert claimed.lease_until is not None
    assert claimed.lease_until > timezone.now()
    assert leases.claim(job.pk, "you:1:b") is None


@pytest.mark.parametrize("state", [State.PUBLISHED, State.REFUSED, State.FAILED])
def test_finished_jobs_cannot_be_claimed(make_job: MakeJob, state: State) -> None:
    job = make_job(state=state, code="X")
    assert leases.claim(job.pk, "me:1:a") is None


def test_a_job_that_was_put_off_waits(make_job: MakeJob) -> None:
    job = make_job(not_before=timezone.now() + timedelta(minutes=1))
    assert leases.claim(job.pk, "me:1:a") is None
    Job.objects.filter(pk=job.pk).update(not_before=timezone.now() - timedelta(seconds=1))
    assert leases.claim(job.pk, "me:1:a") is not None


def test_threads_claim_every_job_exactly_once(make_job: MakeJob) -> None:
    jobs = [make_job(number=f"{number:04d}").pk for number in range(40)]
    claims: Counter[int] = Counter()
    lock, start = threading.Lock(), threading.Barrier(4)
    faults: list[BaseException] = []

    def claim_all(name: int) -> None:
        try:
            start.wait()
            for job_id in jobs if name % 2 else reversed(jobs):
                if leases.claim(job_id, f"me:{name}:a"):
                    with lock:
                        claims[job_id] += 1
        except BaseException as error:
            faults.append(error)
            raise
        finally:
            connection.close()

    threads = [threading.Thread(target=claim_all, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert claims == Counter(jobs)


def test_only_the_owner_can_settle(make_job: MakeJob) -> None:
    job = make_job()
    leases.claim(job.pk, "me:1:a")
    with pytest.raises(LeaseLostError):
        leases.settle(job.pk, "you:1:b", state=State.PUBLISHED)
    leases.settle(job.pk, "me:1:a", state=State.WAITING, stage=Stage.CURATE)
    job.refresh_from_db()
    assert (job.state, job.stage, job.lease_owner, job.lease_until) == (State.WAITING, Stage.CURATE, "", None)


def test_the_reaper_gives_expired_jobs_back(make_job: MakeJob, settings: Any) -> None:
    dead, alive, spent = make_job(number="0001"), make_job(number="0002"), make_job(number="0003")
    work_on(dead, seconds=-1)
    work_on(alive, seconds=60)
    work_on(spent, seconds=-1, attempt=settings.CERES_MAX_ATTEMPTS)
    assert leases.reap() == (1, 1)
    for job in (dead, alive, spent):
        job.refresh_from_db()
    assert (dead.state, dead.attempt, dead.lease_owner) == (State.WAITING, 1, "")
    assert alive.state == State.WORKING
    assert (spent.state, spent.code) == (State.FAILED, "worker_lost")
    assert leases.reap() == (0, 0)


def test_jobs_of_dead_processes_of_this_machine_expire_at_once(make_job: MakeJob) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine, gone, elsewhere = make_job(number="0001"), make_job(number="0002"), make_job(number="0003")
    work_on(mine, seconds=60, owner=leases.new_owner())
    work_on(gone, seconds=60, owner=leases.new_owner().rsplit(":", 2)[0] + f":{ended.pid}:a")
    work_on(elsewhere, seconds=60, owner=f"another-machine:{ended.pid}:a")
    assert leases.reap_dead_processes() == 1
    assert leases.reap() == (1, 0)
    gone.refresh_from_db()
    assert gone.state == State.WAITING


def test_a_job_that_was_taken_in_the_meantime_keeps_its_lease(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    job = leases.claim(make_job().pk, f"{socket.gethostname()[:20]}:1:old")
    assert job is not None

    def taken_while_we_look(_process: int) -> bool:
        Job.objects.filter(pk=job.pk).update(lease_owner="elsewhere:2:new")
        return False

    monkeypatch.setattr(leases, "_runs", taken_while_we_look)
    assert leases.reap_dead_processes() == 0
    assert leases.reap() == (0, 0)


def test_a_heartbeat_renews_the_lease_and_carries_progress(make_job: MakeJob, settings: Any) -> None:
    settings.CERES_LEASE_SECONDS = 1
    job = leases.claim(make_job().pk, "me:1:a")
    assert job is not None
    with leases.Heartbeat(job) as heartbeat:
        heartbeat.report("cycle 3 of 10", 0.25)
        time.sleep(1.3)
        assert leases.reap() == (0, 0)
        heartbeat.report("cycle 4 of 10", 7.0)
        time.sleep(0.3)
    job.refresh_from_db()
    assert job.state == State.WORKING
    assert (job.doing, job.fraction) == ("cycle 4 of 10", 1.0)


def test_a_worker_that_lost_its_lease_is_told(make_job: MakeJob, settings: Any) -> None:
    settings.CERES_LEASE_SECONDS = 1
    job = leases.claim(make_job().pk, "me:1:a")
    assert job is not None
    with leases.Heartbeat(job) as heartbeat:
        Job.objects.filter(pk=job.pk).update(lease_owner="you:1:b")
        time.sleep(0.5)
        with pytest.raises(LeaseLostError):
            heartbeat.report("cycle 1", 0.1)


def test_a_released_job_has_not_used_up_an_attempt(make_job: MakeJob) -> None:
    job = leases.claim(make_job().pk, "me:1:a")
    assert job is not None
    leases.release(job.pk, "me:1:a")
    job.refresh_from_db()
    assert (job.state, job.attempt, job.lease_owner) == (State.WAITING, 0, "")
    leases.release(job.pk, "me:1:a")
    job.refresh_from_db()
    assert job.attempt == 0
