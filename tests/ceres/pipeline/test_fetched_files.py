"""What the stages of a job do with files that come from a server."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command

from ceres.models import Job
from ceres.pipeline import stages
from ceres.pipeline.handover import Handover
from ceres.pipeline.outcome import Work
from ceres.pipeline.plan import plan_run
from ceres.pipeline.sources import open_archive
from curation.archive import map_path
from curation.cache import Cache
from curation.example import build_example_archive
from tests.curation.hostile_server import HostileServer, running

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(transaction=True)


def manage(*arguments: str) -> str:
    """Run a command; return what it printed."""
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_example_archive(tmp_path_factory.mktemp("example") / "archive")


@pytest.fixture
def server(example: Path) -> Iterator[HostileServer]:
    with running(HostileServer(example, chance=0.0)) as state:
        yield state


def test_the_maps_of_a_job_outlive_the_cache(folders: Path, settings: Any, server: HostileServer, tmp_path: Path) -> None:
    plan_run("2026-11", archive=server.url, only=["9xa1_90001"])
    work = Work(Job.objects.get(), tmp_path / "job", lambda *_: None)
    work.folder.mkdir()
    stages.fetch(work)
    stages.curate(work)
    handover = Handover.read(work.folder)
    assert {Path(name).parent for name in (handover.density, *handover.half_maps)} == {work.folder}
    assert len(handover.half_maps) == 2
    cache = Cache(Path(settings.CERES_CACHE), budget=1)
    held = {path.stat().st_ino for path in work.folder.iterdir()}
    cache.make_room()
    assert {path.stat().st_ino for path in cache.folder.glob("objects/*/*/*")} <= held
    Handover.read(work.folder)


def test_settings_reach_the_archive(settings: Any, folders: Path, server: HostileServer) -> None:
    settings.CERES_EMDB_DIR = str(server.folder / "emdb")
    settings.CERES_CACHE_GB, settings.CERES_CONNECTIONS = 3, 2
    with open_archive(server.url) as archive:
        assert (archive.budget, archive.connections) == (3 * 10**9, 2)
        path = map_path("EMD-90001")
        assert archive.fetch(path) == server.folder / path


def test_the_cache_command(folders: Path, settings: Any, server: HostileServer) -> None:
    settings.CERES_CACHE_GB = 1
    with open_archive(server.url) as archive:
        place = archive.fetch(map_path("EMD-90001"))
    place.write_bytes(b"damaged")
    shown = json.loads(manage("cache", "--check", "--json"))
    assert (shown["files"], shown["bytes"], shown["budget"], shown["freed"]) == (0, 0, 10**9, 0)
    assert "checksum" in shown["faults"][0]
    with open_archive(server.url) as archive:
        size = archive.fetch(map_path("EMD-90001")).stat().st_size
    assert manage("cache") == f"1 files, {size / 1e9:.2f} of 1 GB; 0.00 GB evicted\n"
