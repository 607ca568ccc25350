"""Work through a run in this process, or beside it in others."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.conf import settings

from ceres.models import Job, Run, Stage, State
from ceres.pipeline import leases, schedule
from ceres.pipeline.advance import advance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POLL_SECONDS = 1.0


def work_through(run: Run) -> None:
    """Do all stages of all jobs of a run that can be taken, and wait for those that others hold."""
    while True:
        leases.reap_dead_processes()
        leases.reap()
        job_id = schedule.next_due(run.pk)
        if job_id is not None:
            advance(job_id)
        elif schedule.unfinished(run.pk):
            time.sleep(POLL_SECONDS)
        else:
            return


def follow(run: Run, tick: Callable[[], object], alive: Callable[[], bool] = lambda: True) -> None:
    """Wait until other processes have come to the end of a run."""
    while schedule.unfinished(run.pk) and alive():
        tick()
        time.sleep(POLL_SECONDS)
    tick()


@contextmanager
def worker_processes(run: Run, count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Work through a run in `count` processes that share the cores; end them with the block."""
    threads = settings.CERES_THREADS or max(1, (os.cpu_count() or 1) // count)
    environment = {**os.environ, "CERES_THREADS": str(threads), "DJANGO_SETTINGS_MODULE": os.environ["DJANGO_SETTINGS_MODULE"]}
    command = [sys.executable, "-m", "django", "work_run", run.label, "--silent"]
    processes = [subprocess.Popen(command, env=environment, cwd=settings.BASE_DIR) for _ in range(count)]  # noqa: S603
    try:
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def retry_failed(run: Run) -> int:
    """Let the failed jobs of a run start again; return how many."""
    return Job.objects.filter(run=run, state=State.FAILED).update(
        state=State.WAITING, stage=Stage.FETCH, attempt=0, restarts=0, code="", message="", hint="", queued_at=None
    )
