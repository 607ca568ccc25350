"""The way of a job through its stages, and all the ways to fall off it."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import shutil
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from django.db import transaction
from django.utils import timezone

from ceres.models import Artifact, Job, Result, Run, Stage, State, Verdict
from ceres.pipeline import advance as advance_module
from ceres.pipeline import publish, stages, storage, watch
from ceres.pipeline.advance import advance, work_folder
from curation.download import ArchiveError
from refinement.errors import CeresError, ModelError
from refinement.operators import turned_about

if TYPE_CHECKING:
    from pathlib import Path

MakeJob = Callable[..., Job]


def test_eager_tasks_take_a_job_to_its_page(make_job: MakeJob, engine: Any, folders: Path) -> None:
    engine.initial |= {"cc_mask": 0.70, "clashscore": 30.0}
    engine.refined |= {"cc_mask": 0.75, "clashscore": 8.0, "d_fsc": None}
    engine.reasons["d_fsc"] = "no_half_maps"
    job = make_job("9abc", "0123")
    assert advance(job.pk)
    job.refresh_from_db()
    assert (job.state, job.stage, job.code, job.lease_owner) == (State.PUBLISHED, Stage.PUBLISH, "", "")
    assert engine.calls == ["fetch", "curate", "refine"]
    assert set(job.timings) == set(Stage.values)
    result = Result.objects.get()
    assert job.entry.latest_result == result
    assert (job.entry.resolution, job.entry.atoms, job.entry.chains) == (3.0, 8, 1)
    assert (result.initial_cc_mask, result.refined_cc_mask) == (0.70, 0.75)
    assert (result.refined_d_fsc, result.reasons["d_fsc"]) == (None, "no_half_maps")
    assert (result.verdict, result.better, result.worse) == (Verdict.IMPROVED, 2, 0)
    assert result.settings == {"resolution": 3.0}
    assert not work_folder(job).exists()


def test_published_files_are_what_the_manifest_says(make_job: MakeJob, engine: Any, folders: Path) -> None:
    advance(make_job("9abc", "0123").pk)
    folder = folders / "artifacts" / "runs" / "2026-11" / "ab" / "9abc_0123"
    names = {*publish.FILES.values(), publish.MANIFEST}
    assert {path.name for path in folder.iterdir()} == names
    for artifact in Artifact.objects.all():
        content = (folders / "artifacts" / artifact.storage_key).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (artifact.sha256, artifact.size)
    assert Artifact.objects.count() == len(names)
    listed = json.loads((folder / publish.MANIFEST).read_text())["files"]
    assert {row["name"] for row in listed} == set(publish.FILES.values())
    assert not list((folders / "artifacts").rglob("*.part"))


def test_results_can_be_published_in_an_object_store(make_job: MakeJob, engine: Any, settings: Any) -> None:
    settings.STORAGES = {**settings.STORAGES, "artifacts": {"BACKEND": "django.core.files.storage.InMemoryStorage"}}
    advance(make_job("9abc", "0123").pk)
    assert Artifact.objects.count() == len(publish.FILES) + 1
    for artifact in Artifact.objects.all():
        with storage.open_artifact(artifact.storage_key) as handle:
            assert hashlib.sha256(handle.read()).hexdigest() == artifact.sha256


def test_a_message_delivered_twice_does_nothing(make_job: MakeJob, engine: Any) -> None:
    job = make_job()
    assert advance(job.pk)
    before = Job.objects.values().get()
    assert not advance(job.pk)
    assert Job.objects.values().get() == before
    assert engine.calls == ["fetch", "curate", "refine"]
    assert Result.objects.count() == 1


def test_settings_of_the_run_reach_the_engine(make_job: MakeJob, run: Run, engine: Any, settings: Any) -> None:
    settings.CERES_THREADS = 2
    run.settings = {"protocol": "quick", "seed": 7}
    run.save()
    seen: dict[str, Any] = {}
    engine.on_refine = seen.update
    advance(make_job().pk)
    assert {key: seen[key] for key in ("protocol", "seed", "threads", "contour")} == {
        "protocol": "quick",
        "seed": 7,
        "threads": 2,
        "contour": None,
    }


def test_operators_of_the_assembly_reach_the_engine_as_they_are(make_job: MakeJob, engine: Any) -> None:
    rotation, shift = turned_about((1.0, 2.0, 3.0), 72.0), np.array([1.0 / 3.0, -20.0, 1e-9])
    identity, turn = (*np.eye(3).ravel().tolist(), 0.0, 0.0, 0.0), (*rotation.ravel().tolist(), *shift.tolist())
    seen: dict[str, Any] = {}
    engine.on_refine = seen.update
    advance(make_job("9abc", "0123").pk)
    assert seen["operators"] is None
    engine.operators = (identity, turn)
    advance(make_job("9abd", "0124").pk)
    assert np.array_equal(seen["operators"].rotation, [np.eye(3), rotation])
    assert np.array_equal(seen["operators"].shift, [np.zeros(3), shift])


@pytest.mark.parametrize(
    ("half_maps", "settings_of_run", "expected"),
    [(True, {"cross_validate": True}, True), (False, {"cross_validate": True}, False), (True, {}, False)],
    ids=["half-maps", "no half-maps", "run of an earlier version"],
)
def test_pairs_with_half_maps_are_cross_validated(
    make_job: MakeJob, run: Run, engine: Any, half_maps: bool, settings_of_run: dict[str, Any], expected: bool
) -> None:
    run.settings |= settings_of_run
    run.save()
    engine.half_maps = half_maps
    told: list[tuple[str, float]] = []
    asked: dict[str, Any] = {}
    engine.on_refine = asked.update
    with watch.listening(lambda job, doing, fraction: told.append((doing, fraction))):
        advance(make_job().pk)
    assert asked["cross_validate"] is expected
    assert (("half-map 1: cycle 1", pytest.approx(0.52)) in told) is expected


def test_an_internal_error_is_logged_and_not_shown(make_job: MakeJob, engine: Any, caplog: pytest.LogCaptureFixture) -> None:
    engine.faults["refine"] = ZeroDivisionError("secret detail")
    job = make_job("9abc", "0123")
    with caplog.at_level(logging.ERROR, "ceres"):
        advance(job.pk)
    job.refresh_from_db()
    assert (job.state, job.stage, job.code) == (State.FAILED, Stage.REFINE, "internal_error")
    assert "secret" not in job.message + job.hint
    record = next(record for record in caplog.records if record.exc_info)
    assert "9abc_0123" in record.getMessage()
    assert "refine" in record.getMessage()
    assert not Result.objects.exists()


def test_input_that_the_engine_cannot_use_is_refused(make_job: MakeJob, engine: Any) -> None:
    engine.faults["refine"] = ModelError("model_compound", "model.cif has the unknown compound Q9X.", "Give a dictionary.")
    job = make_job()
    advance(job.pk)
    job.refresh_from_db()
    assert (job.state, job.code) == (State.REFUSED, "PROCESSING_ERROR")
    assert job.message == "model.cif has the unknown compound Q9X."
    assert job.hint == "Give a dictionary."
    assert job.findings[-1]["numbers"] == {"error": "model_compound"}


def test_a_named_error_that_is_not_about_the_input_fails(make_job: MakeJob, engine: Any) -> None:
    engine.faults["refine"] = CeresError("disk_full", "The disk is full.", "Make room.")
    job = make_job()
    advance(job.pk)
    job.refresh_from_db()
    assert (job.state, job.code, job.message) == (State.FAILED, "disk_full", "The disk is full.")


def test_downloads_are_tried_again_later_and_then_fail(make_job: MakeJob, engine: Any, settings: Any) -> None:
    engine.faults["fetch"] = ArchiveError("archive_unreachable", "The archive is away.")
    job = make_job()
    for attempt in range(1, settings.CERES_MAX_ATTEMPTS):
        assert advance(job.pk)
        job.refresh_from_db()
        assert (job.state, job.stage, job.attempt, job.code) == (State.WAITING, Stage.FETCH, attempt, "archive_unreachable")
        assert job.not_before is not None
        assert job.not_before > timezone.now()
        assert not advance(job.pk)
        Job.objects.update(not_before=timezone.now() - timedelta(seconds=1))
    assert advance(job.pk)
    job.refresh_from_db()
    assert (job.state, job.code) == (State.FAILED, "archive_unreachable")


def test_a_download_that_works_the_second_time_leaves_no_trace(make_job: MakeJob, engine: Any) -> None:
    engine.faults["fetch"] = ArchiveError("archive_unreachable", "The archive is away.")
    job = make_job()
    advance(job.pk)
    engine.faults.clear()
    Job.objects.update(not_before=None)
    advance(job.pk)
    job.refresh_from_db()
    assert (job.state, job.code, job.message) == (State.PUBLISHED, "", "")


def test_a_job_whose_files_are_gone_starts_again(make_job: MakeJob, engine: Any) -> None:
    job = make_job(stage=Stage.REFINE)
    advance(job.pk)
    job.refresh_from_db()
    assert (job.state, job.restarts) == (State.PUBLISHED, 1)
    assert engine.calls == ["fetch", "curate", "refine"]


def test_workers_that_do_not_share_a_folder_do_not_go_round_for_ever(
    make_job: MakeJob, engine: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    curate = engine.curate

    def curate_elsewhere(work: Any) -> Any:
        outcome = curate(work)
        shutil.rmtree(work.folder)
        return outcome

    monkeypatch.setitem(stages.STAGES, Stage.CURATE, curate_elsewhere)
    job = make_job()
    advance(job.pk)
    job.refresh_from_db()
    assert (job.state, job.code) == (State.FAILED, "work_missing")
    assert engine.calls.count("curate") == settings.CERES_MAX_ATTEMPTS + 1


def test_a_value_that_is_not_finite_becomes_a_reason(make_job: MakeJob, engine: Any) -> None:
    engine.refined["q_score"] = math.nan
    del engine.refined["emringer"]
    advance(make_job().pk)
    result = Result.objects.get()
    assert (result.refined_q_score, result.refined_emringer) == (None, None)
    assert result.reasons["q_score"] == "failed"
    assert result.reasons["emringer"] == "not_computed"


def test_ctrl_c_gives_the_job_back(make_job: MakeJob, engine: Any) -> None:
    engine.faults["refine"] = KeyboardInterrupt()
    job = make_job()
    with pytest.raises(KeyboardInterrupt):
        advance(job.pk)
    job.refresh_from_db()
    assert (job.state, job.stage, job.attempt, job.lease_owner) == (State.WAITING, Stage.REFINE, 0, "")
    engine.faults.clear()
    assert advance(job.pk)
    job.refresh_from_db()
    assert job.state == State.PUBLISHED


def test_publication_happens_whole_or_not_at_all(
    make_job: MakeJob, engine: Any, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(self: Any) -> None:
        raise OSError(28, "No space left on device")

    job = make_job("9abc", "0123")
    with monkeypatch.context() as broken:
        broken.setattr("ceres.pipeline.storage.Placement.commit", full_disk)
        advance(job.pk)
    job.refresh_from_db()
    job.entry.refresh_from_db()
    assert (job.state, job.code) == (State.FAILED, "internal_error")
    assert not Result.objects.exists()
    assert not Artifact.objects.exists()
    assert job.entry.latest_result is None
    assert not [path for path in (folders / "artifacts").rglob("*") if path.is_file()]


def test_a_worker_that_lost_its_lease_publishes_nothing(
    make_job: MakeJob, engine: Any, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job("9abc", "0123")
    read_manifest = publish.read_manifest

    def taken_away(folder: Path) -> Any:
        Job.objects.filter(pk=job.pk).update(lease_owner="somebody:1:else")
        return read_manifest(folder)

    monkeypatch.setattr(publish, "read_manifest", taken_away)
    advance(job.pk)
    job.refresh_from_db()
    assert (job.state, job.stage, job.lease_owner) == (State.WORKING, Stage.PUBLISH, "somebody:1:else")
    assert not Result.objects.exists()
    assert not [path for path in (folders / "artifacts").rglob("*") if path.is_file()]


def test_files_of_an_attempt_that_died_before_its_commit_are_replaced(make_job: MakeJob, engine: Any, folders: Path) -> None:
    folder = folders / "artifacts" / "runs" / "2026-11" / "ab"
    left = folder / "9abc_0123"
    left.mkdir(parents=True)
    (left / "stale.txt").write_text("stale")
    (folder / ".9abc_0123.0123456789ab.part").mkdir()
    advance(make_job("9abc", "0123").pk)
    assert Result.objects.count() == 1
    assert not (left / "stale.txt").exists()
    assert [path.name for path in folder.iterdir()] == ["9abc_0123"]


def test_the_latest_result_is_that_of_the_latest_run(make_job: MakeJob, run: Run, engine: Any) -> None:
    old = make_job("9abc", "0123")
    newer_run = Run.objects.create(
        label="2026-12", engine_version="0.1.0", settings=run.settings, settings_hash="0" * 64, archive=run.archive
    )
    new = Job.objects.create(entry=old.entry, run=newer_run, archive=run.archive)
    advance(new.pk)
    advance(old.pk)
    old.entry.refresh_from_db()
    assert Result.objects.count() == 2
    assert old.entry.latest_result == new.result


def test_progress_reaches_a_listener_in_the_same_process(make_job: MakeJob, engine: Any) -> None:
    seen: list[tuple[str, str, float]] = []
    with watch.listening(lambda job, doing, fraction: seen.append((job.stage, doing, fraction))):
        advance(make_job().pk)
    assert ("refine", "cycle 1", pytest.approx(0.5)) in seen
    assert watch.current() is None


@pytest.mark.parametrize(
    ("cross_validating", "steps", "middle"),
    [
        (False, ("read", "refine", "validate", "write"), 0.5),
        (True, ("read", "refine", "validate", "cross-validate", "write"), 0.27),
    ],
)
def test_the_steps_of_the_engine_make_one_fraction_that_grows(
    cross_validating: bool, steps: tuple[str, ...], middle: float
) -> None:
    seen: list[float] = []
    progress = watch.EngineProgress(
        lambda stage, doing, fraction: seen.append(fraction), "refine", cross_validating=cross_validating
    )
    for step in steps:
        for fraction in (0.0, 0.5, 1.0):
            progress(step, "something", fraction)
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0.0, 1.0)
    assert len(set(seen)) == 2 * len(steps) + 1  # each step goes on where the one before ended
    assert seen[4] == pytest.approx(middle)  # half of the refinement


def test_a_message_is_sent_only_after_the_commit(make_job: MakeJob, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[bool] = []
    enqueue = advance_module.schedule.enqueue

    def watched(job_id: int) -> None:
        states.append(transaction.get_connection().in_atomic_block)
        enqueue(job_id)

    monkeypatch.setattr(advance_module.schedule, "enqueue", watched)
    advance(make_job().pk)
    assert states == [False] * 4
