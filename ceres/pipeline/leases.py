"""Who may work on a job, and for how long.

A worker takes a job by one conditional UPDATE and renews its lease from a thread. Nothing is locked
while a stage runs; whoever writes must still own the lease. A worker that dies simply stops renewing.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import F
from django.utils import timezone

from ceres.models import Job, State
from ceres.pipeline.faults import WORKER_LOST
from ceres.pipeline.outcome import LeaseLostError

if TYPE_CHECKING:
    from types import TracebackType

logger = logging.getLogger(__name__)

LONGEST_BEAT = 5.0
"""Seconds after which the table knows at the latest what a worker is doing."""

FREE: dict[str, Any] = {"lease_owner": "", "lease_until": None}


def new_owner() -> str:
    """Return a name for one claim: host, process, and something random."""
    return f"{socket.gethostname()[:20]}:{os.getpid()}:{uuid.uuid4().hex[:16]}"


def claim(job_id: int, owner: str) -> Job | None:
    """Take a waiting job, or return None if it isn't to be had (a message delivered twice)."""
    now = timezone.now()
    taken = (
        Job.objects.due(now)
        .filter(pk=job_id)
        .update(
            state=State.WORKING,
            lease_owner=owner,
            lease_until=now + timedelta(seconds=settings.CERES_LEASE_SECONDS),
            attempt=F("attempt") + 1,
            not_before=None,
            doing="",
            fraction=0.0,
            updated_at=now,
        )
    )
    return Job.objects.select_related("entry", "run").get(pk=job_id) if taken else None


def settle(job_id: int, owner: str, **columns: Any) -> None:
    """Set columns of a job that `owner` works on, and give up the lease.

    Raises
    ------
    LeaseLostError
        If the lease is no longer the owner's; nothing was changed.
    """
    mine = Job.objects.filter(pk=job_id, lease_owner=owner, state=State.WORKING)
    if not mine.update(**{**FREE, "updated_at": timezone.now(), **columns}):
        raise LeaseLostError


def release(job_id: int, owner: str) -> None:
    """Give a job back untouched, e.g. because the operator pressed Ctrl-C."""
    with suppress(LeaseLostError):
        settle(job_id, owner, state=State.WAITING, attempt=F("attempt") - 1)


def reap() -> tuple[int, int]:
    """Give the jobs of dead workers back to the queue, or fail them after too many attempts.

    Returns
    -------
    tuple[int, int]
        Number of jobs that wait again, and that failed.
    """
    now = timezone.now()
    expired = Job.objects.expired(now)
    failed = expired.filter(attempt__gte=settings.CERES_MAX_ATTEMPTS).update(
        **FREE,
        state=State.FAILED,
        code=WORKER_LOST,
        message=f"The worker was lost {settings.CERES_MAX_ATTEMPTS} times in this stage.",
        hint="The entry may need more memory than a worker has.",
        updated_at=now,
    )
    returned = expired.update(**FREE, state=State.WAITING, queued_at=None, updated_at=now)
    if failed or returned:
        logger.warning("leases ran out: %d jobs wait again, %d failed", returned, failed)
    return returned, failed


def reap_dead_processes() -> int:
    """End the leases of processes of this machine that are no more; return how many."""
    prefix = f"{socket.gethostname()[:20]}:"
    dead = [
        job.lease_owner
        for job in Job.objects.filter(state=State.WORKING, lease_owner__startswith=prefix).only("lease_owner")
        if not _runs(int(job.lease_owner.split(":")[-2]))
    ]
    now = timezone.now()
    return Job.objects.filter(lease_owner__in=dead, state=State.WORKING).update(lease_until=now - timedelta(seconds=1))


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


class Heartbeat:
    """Renews a lease from a thread while a stage runs, and carries the progress into the table."""

    def __init__(self, job: Job) -> None:
        self._job_id, self._owner = job.pk, job.lease_owner
        self._doing, self._fraction = "", 0.0
        self._stop, self._lost = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease-{job.pk}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def report(self, doing: str, fraction: float) -> None:
        """Note what the stage is doing.

        Raises
        ------
        LeaseLostError
            If somebody else holds the job: there is no use in going on.
        """
        if self._lost.is_set():
            raise LeaseLostError
        self._doing, self._fraction = doing, min(max(fraction, 0.0), 1.0)

    def _beat(self) -> None:
        try:
            while not self._stop.wait(min(settings.CERES_LEASE_SECONDS / 6, LONGEST_BEAT)):
                with suppress(DatabaseError):  # a database that is away for a moment: the lease lasts for six beats
                    if not self._renew():
                        self._lost.set()
                        return
        finally:
            connection.close()

    def _renew(self) -> bool:
        until = timezone.now() + timedelta(seconds=settings.CERES_LEASE_SECONDS)
        mine = Job.objects.filter(pk=self._job_id, lease_owner=self._owner, state=State.WORKING)
        return bool(mine.update(lease_until=until, doing=self._doing, fraction=self._fraction))
