"""The tables: columns from the registry, immutability, constraints, complete migrations."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction

from ceres.models import (
    HEADLINE_METRICS,
    METRIC_KEYS,
    Artifact,
    Entry,
    ImmutableError,
    Job,
    Result,
    State,
    metric_column,
)
from ceres.pipeline.advance import advance
from refinement.validation import registry

MakeJob = Callable[..., Job]


@pytest.mark.django_db
def test_migrations_are_complete() -> None:
    out = io.StringIO()
    call_command("makemigrations", "--check", "--dry-run", stdout=out)
    assert "No changes detected" in out.getvalue()


def test_every_metric_has_a_column_for_both_states() -> None:
    columns = {field.name for field in Result._meta.get_fields()}
    for metric in registry.METRICS:
        keys = [metric.key, f"{metric.key}_masked"] if metric.key in registry.MASKED_TWINS else [metric.key]
        assert {metric_column(state, key) for state in ("initial", "refined") for key in keys} <= columns
    assert len(METRIC_KEYS) == len(set(METRIC_KEYS)) == len(registry.METRICS) + len(registry.MASKED_TWINS)
    assert set(HEADLINE_METRICS) <= set(METRIC_KEYS)


@pytest.mark.parametrize(
    ("pdb_id", "emdb_id", "folder", "number"),
    [
        ("6gyn", "EMD-0093", "gy", "0093"),
        ("pdb_1000abcd", "EMD-44046", "bc", "44046"),
        (None, "EMD-44046", "04", "44046"),
    ],
)
def test_identifiers_of_any_length(pdb_id: str | None, emdb_id: str, folder: str, number: str) -> None:
    entry = Entry(key=f"{pdb_id}_{number}", pdb_id=pdb_id, emdb_id=emdb_id)
    assert (entry.folder, entry.emdb_number) == (folder, number)


def test_published_rows_can_be_neither_changed_nor_deleted(make_job: MakeJob, engine: Any) -> None:
    advance(make_job().pk)
    for row in (Result.objects.get(), Artifact.objects.first()):
        assert row is not None
        with pytest.raises(ImmutableError):
            row.save()
        with pytest.raises(ImmutableError):
            row.delete()
    for model in (Result, Artifact):
        with pytest.raises(ImmutableError):
            model.objects.all().delete()
        with pytest.raises(ImmutableError):
            model.objects.update(pk=7)
    assert Result.objects.count() == 1


def test_a_pair_has_one_job_in_a_run(make_job: MakeJob) -> None:
    job = make_job()
    with pytest.raises(IntegrityError), transaction.atomic():
        Job.objects.create(entry=job.entry, run=job.run, archive=job.archive)


@pytest.mark.parametrize("columns", [{"state": State.WORKING}, {"state": State.FAILED}, {"state": State.REFUSED, "code": ""}])
def test_states_that_make_no_sense_are_refused_by_the_database(make_job: MakeJob, columns: dict[str, Any]) -> None:
    job = make_job()
    with pytest.raises(IntegrityError), transaction.atomic():
        Job.objects.filter(pk=job.pk).update(**columns)


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        ({"stage": "refine"}, "refine"),
        ({"stage": "fetch", "state": "failed", "code": "x"}, "failed"),
        ({"stage": "curate", "state": "refused", "code": "x"}, "refused"),
        ({"stage": "publish", "state": "published"}, "published"),
    ],
)
def test_the_state_for_people(make_job: MakeJob, columns: dict[str, str], shown: str) -> None:
    assert make_job(**columns).shown_state == shown
