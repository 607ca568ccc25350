"""Making runs from an archive, and what real curation answers."""

from __future__ import annotations

import datetime
import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from ceres.models import Entry, Job, Run, State
from ceres.pipeline import work
from ceres.pipeline.plan import plan_run
from ceres.pipeline.sources import open_archive
from refinement.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_run_has_a_job_for_every_pair_and_every_lonely_map(folders: Path, small_archive: Path) -> None:
    planned = plan_run("2026-11", archive=str(small_archive))
    assert (planned.pairs, planned.new) == (3, 3)
    assert {entry.key: (entry.pdb_id, entry.emdb_id) for entry in Entry.objects.all()} == {
        "9abc_0123": ("9abc", "EMD-0123"),
        "9abd_0123": ("9abd", "EMD-0123"),
        "EMD-0456": (None, "EMD-0456"),
    }
    assert set(Job.objects.values_list("state", "stage", "archive")) == {("waiting", "fetch", str(small_archive))}
    assert Job.objects.get(entry__key="9abc_0123").listing["declared_by"] == ["emdb"]


def test_planning_twice_adds_only_what_is_new(folders: Path, small_archive: Path) -> None:
    plan_run("2026-11", archive=str(small_archive), only=["9abc_0123"])
    Job.objects.update(state=State.FAILED, code="x")
    planned = plan_run("2026-11", archive=str(small_archive))
    assert (planned.pairs, planned.new) == (3, 2)
    assert Job.objects.get(entry__key="9abc_0123").state == State.FAILED
    assert Run.objects.count() == 1


def test_a_second_run_shares_the_entries(folders: Path, small_archive: Path) -> None:
    plan_run("2026-11", archive=str(small_archive))
    plan_run("2026-12", archive=str(small_archive))
    assert (Entry.objects.count(), Job.objects.count(), Run.objects.count()) == (3, 6, 2)


def test_a_run_keeps_its_settings(folders: Path, small_archive: Path) -> None:
    run = plan_run("2026-11", archive=str(small_archive)).run
    assert run.settings["engine"]["protocol"] == run.settings["protocol"] == "default"
    assert run.settings["cross_validate"] is True
    with pytest.raises(InputError) as caught:
        plan_run("2026-11", archive=str(small_archive), strict=True)
    assert caught.value.code == "run_differs"
    assert not Run.objects.get().strict


@pytest.mark.parametrize("label", ["", "november", "2026-11/..", "2026-11 ", "2026-11-ÄB"])
def test_labels_are_safe_in_paths(folders: Path, small_archive: Path, label: str) -> None:
    with pytest.raises(InputError) as caught:
        plan_run(label, archive=str(small_archive))
    assert caught.value.code == "run_label_invalid"


def test_a_pair_that_is_not_there_is_named(folders: Path, small_archive: Path) -> None:
    with pytest.raises(InputError, match="1xyz_0001"):
        plan_run("2026-11", archive=str(small_archive), only=["1xyz_0001", "9abc_0123"])
    assert not Run.objects.exists()


def test_the_public_archives_are_not_taken_by_accident(folders: Path) -> None:
    with pytest.raises(InputError) as caught:
        open_archive("")
    assert caught.value.code == "archive_not_named"
    with open_archive("public") as archive:
        assert "wwpdb" in str(archive)


def test_refusals_keep_what_curation_learned(folders: Path, small_archive: Path) -> None:
    run = plan_run("2026-11", archive=str(small_archive)).run
    work.work_through(run)
    lonely = Job.objects.select_related("entry").get(entry__key="EMD-0456")
    assert (lonely.state, lonely.code) == (State.REFUSED, "NO_MODEL")
    assert (lonely.entry.title, lonely.entry.resolution, lonely.entry.atoms) == ("A test map", 3.1, None)
    mapless = Job.objects.select_related("entry").get(entry__key="9abc_0123")
    assert (mapless.state, mapless.code) == (State.REFUSED, "PROCESSING_ERROR")
    assert "emd_0123.map.gz" in mapless.message
    assert mapless.findings[0]["code"] == "PROCESSING_ERROR"
    entry = mapless.entry
    assert (entry.title, entry.method, entry.atoms, entry.chains) == ("A test model", "ELECTRON MICROSCOPY, singleParticle", 4, 1)
    assert entry.released == datetime.date(2020, 1, 29)
    assert entry.facts["resolution"] == 3.1


@pytest.mark.shared
def test_real_pairs_reach_the_engine_with_their_files(folders: Path, shared: Path, engine: Any, monkeypatch: Any) -> None:
    from ceres.models import Stage
    from ceres.pipeline import stages

    monkeypatch.setitem(stages.STAGES, Stage.FETCH, stages.fetch)
    monkeypatch.setitem(stages.STAGES, Stage.CURATE, stages.curate)
    seen: dict[str, Any] = {}
    engine.on_refine = seen.update
    run = plan_run("2026-11", archive=str(shared / "archive"), only=["9asb_99002", "9b02_99102"]).run
    work.work_through(run)
    states = dict(run.jobs.values_list("entry__key", "state"))
    assert states == {"9asb_99002": State.PUBLISHED, "9b02_99102": State.REFUSED}
    assert seen["resolution"] == pytest.approx(3.64)
    entry = Entry.objects.get(key="9asb_99002")
    assert (entry.resolution, entry.atoms, entry.chains) == (3.64, 793, 1)
    result = run.jobs.get(entry=entry).result
    assert result.refined_cc_mask == 1.0
    assert result.inputs["archive"] == str(shared / "archive")
    originals = {row["name"]: row["sha256"] for row in result.inputs["archive_files"]}
    name = "pdb/data/structures/divided/mmCIF/as/9asb.cif.gz"
    assert originals[name] == hashlib.sha256((shared / "archive" / name).read_bytes()).hexdigest()
