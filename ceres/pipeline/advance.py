"""The one entry to the pipeline: take a job, do its stage, write down how it ended."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from ceres.models import Entry, Stage, State
from ceres.pipeline import leases, schedule, stages, watch
from ceres.pipeline.faults import INTERNAL_ERROR, WORK_MISSING
from ceres.pipeline.outcome import LeaseLostError, Outcome, Work, WorkMissingError
from curation.download import ArchiveError
from refinement.errors import CeresError, InputError

if TYPE_CHECKING:
    from ceres.models import Job
    from ceres.pipeline.outcome import Progress

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""Pause before a download is tried again, four times as long each time."""

_INTERNAL = Outcome(
    state=State.FAILED,
    code=INTERNAL_ERROR,
    message="Something went wrong on our side; the log of the service says what.",
)


def advance(job_id: int) -> bool:
    """Do the present stage of a job, if it can be taken.

    The same for eager tasks and workers. Calling it twice for one job does nothing the second time.

    Returns
    -------
    bool
        Whether a stage was done.
    """
    owner = leases.new_owner()
    job = leases.claim(job_id, owner)
    if job is None:
        return False
    started = time.monotonic()
    outcome = None
    try:
        outcome = _attempt(job)
        _conclude(job, outcome, time.monotonic() - started)
    except LeaseLostError:
        logger.warning("%s, %s: the lease was lost; another worker has the job", job, job.stage)
        return False
    except Exception:
        logger.exception("%s, %s: the end of the stage could not be written", job, job.stage)
        return _give_up(job, time.monotonic() - started)
    except BaseException:  # Ctrl-C, exit of the worker: the job is anybody's again
        leases.release(job.pk, owner)
        raise
    finally:
        if outcome and outcome.cleanup:
            outcome.cleanup()
    return True


def work_folder(job: Job) -> Path:
    """Return the folder for the job's intermediate files."""
    return Path(settings.CERES_WORK) / job.run.label / job.entry.key


def _attempt(job: Job) -> Outcome:
    """Do the stage; every error becomes an outcome."""
    stage = Stage(job.stage)
    folder = work_folder(job)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with leases.Heartbeat(job) as heartbeat:
            return stages.STAGES[stage](Work(job, folder, _progress(job, heartbeat)))
    except LeaseLostError:
        raise
    except WorkMissingError:
        return _start_again(job)
    except CeresError as error:
        return _user_error(job, error)
    except Exception:
        logger.exception("%s, %s: internal error", job, stage)
        return _INTERNAL


def _start_again(job: Job) -> Outcome:
    """Fetch once more, a few times at most: the files of an earlier stage are gone."""
    logger.warning("%s, %s: files of an earlier stage are missing", job, job.stage)
    if job.restarts >= settings.CERES_MAX_ATTEMPTS:
        return Outcome(
            state=State.FAILED,
            code=WORK_MISSING,
            message=f"The files between the stages were gone {job.restarts + 1} times.",
            hint="All workers must share the folder CERES_VAR.",
        )
    return Outcome(stage=Stage.FETCH, job={"restarts": job.restarts + 1})


def _progress(job: Job, heartbeat: leases.Heartbeat) -> Progress:
    listener = watch.current()

    def progress(step: str, doing: str, fraction: float) -> None:
        doing = doing if step == job.stage else f"{step}: {doing}"
        heartbeat.report(doing, fraction)
        if listener:
            listener(job, doing, fraction)

    return progress


def _user_error(job: Job, error: CeresError) -> Outcome:
    """Decide what an error with a name means: try again, refuse, or fail."""
    logger.warning("%s, %s: %s: %s", job, job.stage, error.code, error)
    explained = Outcome(state=State.FAILED, code=error.code, message=error.message, hint=error.hint)
    if isinstance(error, ArchiveError) and job.attempt < settings.CERES_MAX_ATTEMPTS:
        return replace(explained, state=State.WAITING, delay=RETRY_SECONDS * 4 ** (job.attempt - 1))
    if isinstance(error, InputError):
        return stages.refuse_input(job, error)
    return explained


def _conclude(job: Job, outcome: Outcome, seconds: float) -> None:
    """Write the outcome in one transaction, and ring for the next stage once it is written."""
    stage = outcome.stage or job.stage
    retried = outcome.state == State.WAITING and outcome.stage is None
    columns = {
        **outcome.job,
        "state": outcome.state,
        "stage": stage,
        "attempt": job.attempt if retried or outcome.state != State.WAITING else 0,
        "code": outcome.code,
        "message": outcome.message,
        "hint": outcome.hint,
        "timings": {**job.timings, job.stage: round(seconds, 3)},
        "queued_at": None,
        "not_before": timezone.now() + timedelta(seconds=outcome.delay) if outcome.delay else None,
        "doing": "",
        "fraction": 0.0,
    }
    with transaction.atomic():
        leases.settle(job.pk, job.lease_owner, **columns)
        if outcome.entry:
            Entry.objects.filter(pk=job.entry_id).update(**outcome.entry, updated_at=timezone.now())
        if outcome.record:
            outcome.record()
        transaction.on_commit(lambda: _after(job, outcome))


def _after(job: Job, outcome: Outcome) -> None:
    """Follow up what has been committed."""
    if outcome.state != State.WAITING:
        logger.info("%s: %s %s", job, outcome.state, outcome.code)
        shutil.rmtree(work_folder(job), ignore_errors=True)
    elif not outcome.delay:
        schedule.enqueue(job.pk)


def _give_up(job: Job, seconds: float) -> bool:
    try:
        _conclude(job, _INTERNAL, seconds)
    except LeaseLostError:
        return False
    return True
