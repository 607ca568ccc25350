"""What the operators' commands print, and how they end."""

from __future__ import annotations

import csv
import io
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command

from ceres.management.commands import list_pairs
from ceres.models import METRIC_KEYS, Job, Run, State
from curation.download import ArchiveError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.django_db(transaction=True)


def manage(*arguments: str) -> str:
    """Run a command; return what it printed."""
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def worked(folders: Path, small_archive: Path, engine: Any) -> str:
    """A run that was planned and worked through; what `work_run` printed."""
    manage("plan_run", "2026-11", "--archive", str(small_archive))
    return manage("work_run", "2026-11")


def test_plan_run_says_what_it_found(folders: Path, small_archive: Path) -> None:
    assert "3 pairs in the archive, 3 new jobs" in manage("plan_run", "2026-11", "--archive", str(small_archive))
    assert "3 pairs in the archive, 0 new jobs" in manage("plan_run", "2026-11", "--archive", str(small_archive))


def test_work_run_prints_every_outcome(worked: str) -> None:
    for words in ("published 9abc_0123", "published 9abd_0123", "refused   EMD-0456  NO_MODEL", "2 published, 1 refused"):
        assert words in worked


def test_work_run_goes_on_where_it_was(worked: str, engine: Any) -> None:
    calls = len(engine.calls)
    again = manage("work_run")
    assert "2 published, 1 refused" in again
    assert len(engine.calls) == calls


def test_work_run_admits_that_its_processes_died(folders: Path, small_archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manage("plan_run", "2026-11", "--archive", str(small_archive))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(CommandError, match="3 jobs have not come to an end") as caught:
        manage("work_run", "--workers", "2")
    assert caught.value.returncode == 1


def test_status_gives_one_json_object_per_pair(worked: str) -> None:
    rows = [json.loads(line) for line in manage("status", "--json").splitlines()]
    published = {"state": "published", "code": None, "resolution": 3.0, "atoms": 8, "chains": 1}
    assert rows == [
        {"pair": "9abc_0123", **published},
        {"pair": "9abd_0123", **published},
        {"pair": "EMD-0456", "state": "refused", "code": "NO_MODEL", "resolution": 3.1, "atoms": None, "chains": None},
    ]
    assert manage("status", "--run", "2026-11", "--json") == manage("status", "--json")


def test_status_names_the_stage_of_unfinished_jobs(folders: Path, small_archive: Path) -> None:
    manage("plan_run", "2026-11", "--archive", str(small_archive))
    Job.objects.filter(entry__key="9abc_0123").update(stage="refine")
    rows = {row["pair"]: row["state"] for row in map(json.loads, manage("status", "--json").splitlines())}
    assert rows == {"9abc_0123": "refine", "9abd_0123": "fetch", "EMD-0456": "fetch"}


def test_status_for_people_is_a_table(worked: str) -> None:
    table = manage("status")
    assert "Run 2026-11" in table
    assert "EMD-0456 has no model in the PDB." in table


@pytest.mark.parametrize("command", [("status",), ("work_run",), ("export_run", "2026-11"), ("status", "--run", "2020-01")])
def test_commands_without_a_run_say_so(folders: Path, command: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match="There is no run") as caught:
        manage(*command)
    assert caught.value.returncode == 2


def test_an_archive_that_is_not_there_is_a_sentence(folders: Path) -> None:
    with pytest.raises(CommandError, match="does not exist") as caught:
        manage("plan_run", "2026-11", "--archive", str(folders / "nowhere"))
    assert caught.value.returncode == 2


def test_a_fault_of_ours_ends_with_status_1(folders: Path, small_archive: Path, engine: Any) -> None:
    engine.faults["refine"] = ZeroDivisionError()
    manage("plan_run", "2026-11", "--archive", str(small_archive))
    with pytest.raises(CommandError, match="9abc_0123, 9abd_0123") as caught:
        manage("work_run")
    assert caught.value.returncode == 1
    engine.faults.clear()
    assert "2 published, 1 refused" in manage("work_run", "--retry-failed")


def test_export_has_a_column_for_every_metric(worked: str, folders: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(manage("export_run"))))
    assert [row["pair"] for row in rows] == ["9abc_0123", "9abd_0123"]
    for key in METRIC_KEYS:
        assert (rows[0][f"initial_{key}"], rows[0][f"refined_{key}"]) == ("1.0", "1.0")
    manage("export_run", "2026-11", "--output", str(folders / "run.csv"))
    assert list(csv.DictReader(io.StringIO((folders / "run.csv").read_text()))) == rows
    assert not list(folders.glob("*.part"))


def test_reap_takes_up_expired_jobs(folders: Path, small_archive: Path) -> None:
    manage("plan_run", "2026-11", "--archive", str(small_archive))
    Job.objects.filter(entry__key="9abc_0123").update(
        state=State.WORKING, lease_owner="lost:1:a", lease_until="2020-01-01T00:00:00Z", attempt=1
    )
    assert manage("reap") == "1 jobs wait again, 0 failed.\n"


def test_demo_publishes_and_stops_when_it_need_not_serve(
    folders: Path, small_archive: Path, engine: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CERES_ARCHIVE, settings.CERES_DEMO_SERVE = "", False
    monkeypatch.setattr("ceres.management.commands.demo.build_example_archive", lambda folder, progress: small_archive)
    first, second = manage("demo"), manage("demo")
    assert "3 pairs, 0 published before" in first
    assert "3 pairs, 2 published before" in second
    assert "2 published, 1 refused" in second
    assert engine.calls.count("refine") == 2


def test_demo_makes_a_run_beside_one_with_other_settings(folders: Path, small_archive: Path, engine: Any, settings: Any) -> None:
    settings.CERES_ARCHIVE, settings.CERES_DEMO_SERVE = str(small_archive), False
    manage("demo")
    settings.CERES_SEED = 7
    manage("demo")
    first, second = Run.objects.order_by("id")
    assert second.label == f"{first.label}-b"
    assert (first.settings["seed"], second.settings["seed"]) == (0, 7)
    assert second.jobs.filter(state=State.PUBLISHED).count() == 2
    manage("demo")
    assert Run.objects.count() == 2


def test_demo_refuses_a_port_in_use_before_it_works(folders: Path, settings: Any) -> None:
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        settings.CERES_DEMO_SERVE, settings.CERES_DEMO_PORT = True, holder.getsockname()[1]
        with pytest.raises(CommandError, match="CERES_DEMO_PORT") as caught:
            manage("demo")
    assert caught.value.returncode == 2


def test_list_pairs_says_what_changed(folders: Path, small_archive: Path) -> None:
    command = ("list_pairs", "--archive", str(small_archive))
    first = manage(*command)
    assert "There is no earlier list" in first
    assert "2 pairs, " in first
    assert "1 maps without a released model" in first
    assert "Since the last list: 0 new, 0 revised, 0 gone." in manage(*command)
    content = json.loads(manage(*command, "--json"))
    assert content["changes"] == {"new": [], "revised": {}, "gone": {}}
    assert len(content["pairs"]) == 3


def test_list_pairs_compares_with_searches(
    folders: Path, small_archive: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(client: object) -> set[tuple[str, str]]:
        message = "The search can't be reached."
        raise ArchiveError("search_unreachable", message)

    monkeypatch.setattr(list_pairs, "search_emdb", lambda client: {("9abc", "EMD-0123"), ("9xyz", "EMD-0999")})
    monkeypatch.setattr(list_pairs, "search_rcsb", unreachable)
    content = json.loads(manage("list_pairs", "--archive", str(small_archive), "--json", "--search"))
    assert len(content["pairs"]) == 3
    said = capsys.readouterr().err
    assert "EMDB search: 2 pairs, 1 of which the list hasn't; it hasn't 1 of the list." in said
    assert "only in the EMDB search: 9xyz_0999" in said
    assert "not in the EMDB search: 9abd_0123" in said
    assert "The search can't be reached." in said
