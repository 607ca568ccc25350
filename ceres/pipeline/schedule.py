"""Tell workers that there is work. A message is only a doorbell: losing one, or all, loses nothing."""

from __future__ import annotations

import logging
from datetime import timedelta

from celery import current_app
from django.conf import settings
from django.db.models import Case, F, IntegerField, Q, When
from django.utils import timezone
from kombu.exceptions import OperationalError

from ceres.models import Job, SizeClass, Stage, State

logger = logging.getLogger(__name__)

QUEUE_DEPTH = 64
"""Messages kept in a queue; the rest waits in the table, where it can be counted and reordered."""

MESSAGE_LIFE = timedelta(hours=1)
"""After this time without being taken a job gets another message."""

LOST_AFTER = timedelta(minutes=1)
"""The same where the broker's queue is empty: its messages were lost."""


def enqueue(job_id: int) -> None:
    """Send the message that a job can be taken; without a broker the job is worked on at once."""
    from ceres.tasks import advance_job  # the task imports the pipeline

    queue = Job.objects.values_list("size_class", flat=True).get(pk=job_id)
    if not settings.CELERY_TASK_ALWAYS_EAGER:
        Job.objects.filter(pk=job_id).update(queued_at=timezone.now())
    try:
        advance_job.apply_async(args=[job_id], queue=queue)
    except OperationalError as error:
        Job.objects.filter(pk=job_id).update(queued_at=None)
        logger.warning("the broker can't be reached (%s); job %d waits for the reaper", error, job_id)


def dispatch() -> int:
    """Fill the queues from the table; return the number of messages sent."""
    sent = 0
    now = timezone.now()
    for size_class in SizeClass.values:
        length = _queue_length(size_class)
        if length is None:
            return sent
        life = MESSAGE_LIFE if length else LOST_AFTER
        due = Job.objects.due(now).filter(size_class=size_class)
        ringing = Q(queued_at__isnull=False, queued_at__gt=now - life)
        room = QUEUE_DEPTH - due.filter(ringing).count()
        waiting = due.exclude(ringing).order_by(F("queued_at").asc(nulls_first=True), "id")
        for job_id in list(waiting.values_list("pk", flat=True)[: max(room, 0)]):
            enqueue(job_id)
            sent += 1
    return sent


def _queue_length(queue: str) -> int | None:
    """Return the number of messages in a queue of the broker, or None if the broker can't be asked."""
    with current_app.connection_for_read() as connection:
        try:
            return int(connection.default_channel.queue_declare(queue=queue, passive=True).message_count)
        except connection.channel_errors:
            return 0  # no message was ever sent there
        except (*connection.connection_errors, OperationalError) as error:
            logger.warning("the broker can't be reached (%s)", error)
            return None


def next_due(run_id: int) -> int | None:
    """Return a job of a run that can be taken now; those that are further on come first."""
    order = Case(*(When(stage=stage, then=place) for place, stage in enumerate(Stage.values)), output_field=IntegerField())
    due = Job.objects.due(timezone.now()).filter(run_id=run_id)
    return due.order_by(order.desc(), "id").values_list("pk", flat=True).first()


def unfinished(run_id: int) -> int:
    """Return how many jobs of a run have not come to an end."""
    return Job.objects.filter(run_id=run_id, state__in=[State.WAITING, State.WORKING]).count()
