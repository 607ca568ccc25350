"""Messages are doorbells: they may be lost, repeated or refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from kombu.exceptions import OperationalError

from ceres import tasks
from ceres.models import Job, Stage, State
from ceres.pipeline import schedule

MakeJob = Callable[..., Job]


@pytest.fixture
def sent(settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """Messages that were sent to a broker: job and queue."""
    settings.CELERY_TASK_ALWAYS_EAGER = False
    messages: list[tuple[int, str]] = []
    monkeypatch.setattr(tasks.advance_job, "apply_async", lambda args, queue: messages.append((args[0], queue)))
    return messages


def test_queues_are_kept_short(make_job: MakeJob, sent: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "QUEUE_DEPTH", 3)
    jobs = [make_job(number=f"{number:04d}").pk for number in range(5)]
    assert schedule.dispatch() == 3
    assert schedule.dispatch() == 0
    Job.objects.filter(pk=jobs[0]).update(state=State.PUBLISHED)
    assert schedule.dispatch() == 1
    assert [job_id for job_id, _ in sent] == jobs[:4]


def test_large_jobs_have_a_queue_of_their_own(make_job: MakeJob, sent: list[Any]) -> None:
    small, large = make_job(number="0001"), make_job(number="0002", size_class="large")
    schedule.dispatch()
    assert sorted(sent) == [(small.pk, "small"), (large.pk, "large")]


def test_a_message_that_was_lost_is_sent_again(make_job: MakeJob, sent: list[Any]) -> None:
    job = make_job()
    schedule.dispatch()
    Job.objects.update(queued_at=timezone.now() - schedule.MESSAGE_LIFE - timedelta(seconds=1))
    schedule.dispatch()
    assert [job_id for job_id, _ in sent] == [job.pk, job.pk]


def test_an_empty_queue_means_that_messages_were_lost(
    make_job: MakeJob, sent: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_job()
    schedule.dispatch()
    Job.objects.update(queued_at=timezone.now() - schedule.LOST_AFTER - timedelta(seconds=1))
    with monkeypatch.context() as full:
        full.setattr(schedule, "_queue_length", lambda queue: 1)
        assert schedule.dispatch() == 0
    assert schedule.dispatch() == 1


def test_jobs_that_are_put_off_or_held_get_no_message(make_job: MakeJob, sent: list[Any]) -> None:
    make_job(number="0001", not_before=timezone.now() + timedelta(minutes=1))
    make_job(number="0002", state=State.WORKING, lease_owner="x:1:y", lease_until=timezone.now() + timedelta(minutes=1))
    assert schedule.dispatch() == 0
    assert sent == []


def test_a_broker_that_is_away_does_no_harm(make_job: MakeJob, sent: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def away(args: list[int], queue: str) -> None:
        raise OperationalError

    job = make_job()
    with monkeypatch.context() as broken:
        broken.setattr(tasks.advance_job, "apply_async", away)
        schedule.enqueue(job.pk)
    job.refresh_from_db()
    assert job.queued_at is None
    schedule.dispatch()
    assert sent == [(job.pk, "small")]


def test_the_reaper_rings_for_what_it_took_up(make_job: MakeJob, sent: list[Any]) -> None:
    job = make_job(state=State.WORKING, lease_owner="x:1:y", lease_until=timezone.now() - timedelta(seconds=1), attempt=1)
    assert tasks.reap() == (1, 0)
    assert sent == [(job.pk, "small")]


def test_without_a_broker_the_reaper_only_reaps(make_job: MakeJob, engine: Any) -> None:
    job = make_job(state=State.WORKING, lease_owner="x:1:y", lease_until=timezone.now() - timedelta(seconds=1), attempt=1)
    assert tasks.reap() == (1, 0)
    job.refresh_from_db()
    assert (job.state, engine.calls) == (State.WAITING, [])


def test_jobs_that_were_begun_are_taken_first(make_job: MakeJob) -> None:
    make_job(number="0001")
    begun = make_job(number="0002", stage=Stage.REFINE)
    assert schedule.next_due(begun.run_id) == begun.pk
