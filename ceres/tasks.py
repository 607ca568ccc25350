"""Celery tasks: fetch the row, call the pipeline, that is all."""

from __future__ import annotations

from celery import shared_task
from django.conf import settings

from ceres.pipeline import leases, schedule


@shared_task(name="ceres.advance_job")
def advance_job(job_id: int) -> None:
    """Do the present stage of a job."""
    from ceres.pipeline.advance import advance  # loads the engine, which only workers need

    advance(job_id)


@shared_task(name="ceres.reap")
def reap() -> tuple[int, int]:
    """Take up the jobs of dead workers, and fill the queues; return how many jobs wait again and failed."""
    taken_up = leases.reap()
    if not settings.CELERY_TASK_ALWAYS_EAGER:
        schedule.dispatch()
    return taken_up
