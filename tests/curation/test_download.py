"""Downloads: resumed, verified, kept, refused."""

from __future__ import annotations

import errno
import gzip
import json
import random
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
import pytest

from curation.archive import Archive, half_map_path, header_path, map_path, model_path
from curation.cache import Cache
from curation.download import ArchiveError, FileDamagedError, FileMissingError, Patience
from refinement.errors import CeresError, InputError
from refinement.maps.header import format_header
from tests.curation.hostile_server import HostileServer, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "emdb/structures/EMD-0042/map/emd_0042.map.gz"
QUICK = Patience(attempts=3, first_wait=0.005, longest_wait=0.01, chunk=5)
HEADER = format_header((40, 40, 48), gemmi.UnitCell(40, 40, 48, 90, 90, 90), np.zeros(3), (0.0, 1.0, 0.5, 0.1))
CONTENT = HEADER + random.Random(1).randbytes(4 * 40 * 40 * 48)  # noqa: S311


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "served"
    (root / NAME).parent.mkdir(parents=True)
    (root / NAME).write_bytes(gzip.compress(CONTENT))
    (root / "pdb").mkdir()
    return root


@pytest.fixture
def server(folder: Path, serve: Callable[[Path], Any]) -> Any:
    return serve(folder)


@pytest.fixture
def archive(server: Any, tmp_path: Path) -> Archive:
    return Archive(server.url, tmp_path / "cache", patience=QUICK)


@pytest.fixture
def part(archive: Archive) -> Path:
    """Where the partial file of NAME lies."""
    assert archive.cache is not None
    with Cache(archive.cache).lock(NAME) as place:
        return place


def leftovers(archive: Archive) -> list[Path]:
    """Return the partial files and locks of an archive."""
    assert archive.cache is not None
    return [path for path in archive.cache.rglob("*") if path.is_file() and path.parent.name == "parts"]


def statuses(server: Any) -> list[int]:
    return [status for _, _, status in server.requests]


def test_file_arrives_whole_with_its_receipt(archive: Archive, folder: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    path = archive.fetch(NAME, progress=lambda have, size: seen.append((have, size)))
    assert path.read_bytes() == (folder / NAME).read_bytes()
    receipt = archive.receipt(NAME)
    assert receipt is not None
    assert archive.revision(NAME) == receipt.sha256 == Archive(folder).revision(NAME)
    assert receipt.url.endswith(NAME)
    assert seen[-1] == (receipt.size, receipt.size)
    assert leftovers(archive) == []


def test_unchanged_file_is_not_sent_again(archive: Archive, server: Any, folder: Path) -> None:
    first = archive.fetch(NAME).stat().st_mtime_ns
    assert archive.fetch(NAME).stat().st_mtime_ns == first
    assert statuses(server) == [200, 304]
    newer = HEADER + bytes(4 * 40 * 40 * 48)
    (folder / NAME).write_bytes(gzip.compress(newer))
    assert gzip.decompress(archive.fetch(NAME).read_bytes()) == newer


def test_broken_connection_is_resumed(archive: Archive, server: Any, folder: Path) -> None:
    server.cut_after = 100_000
    path = archive.fetch(NAME)
    assert path.read_bytes() == (folder / NAME).read_bytes()
    assert statuses(server) == [200, 206]
    assert server.requests[1][1] == "bytes=100000-"


def test_many_readers_fetch_once(archive: Archive, server: Any, folder: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: archive.fetch(NAME), range(4)))
    assert {path.read_bytes() for path in paths} == {(folder / NAME).read_bytes()}
    assert sorted(statuses(server)) == [200, 304, 304, 304]


def test_server_without_ranges_starts_again(archive: Archive, server: Any, folder: Path) -> None:
    server.cut_after, server.ranges = 100_000, False
    assert archive.fetch(NAME).read_bytes() == (folder / NAME).read_bytes()
    assert statuses(server) == [200, 200]


def test_file_that_changes_while_fetched_is_fetched_anew(archive: Archive, server: Any, folder: Path, part: Path) -> None:
    older = gzip.compress(b"an older version" * 10)[:33]
    part.write_bytes(older)
    version = {"url": f"{server.url}/{NAME}", "etag": '"older"', "last_modified": ""}
    part.with_name(f"{part.name}.version").write_text(json.dumps(version))
    assert archive.fetch(NAME).read_bytes() == (folder / NAME).read_bytes()
    assert server.requests[0][1:] == ("bytes=33-", 200)


@pytest.mark.parametrize(
    "version", [None, "[]", "{", '{"url": 1}', '{"url": "http://elsewhere/x", "etag": "y", "last_modified": ""}']
)
def test_partial_file_of_unknown_origin_is_dropped(
    archive: Archive, server: Any, folder: Path, part: Path, version: str | None
) -> None:
    part.write_bytes((folder / NAME).read_bytes()[:1000])
    if version is not None:
        part.with_name(f"{part.name}.version").write_text(version)
    assert archive.fetch(NAME).read_bytes() == (folder / NAME).read_bytes()
    assert server.requests == [(f"/{NAME}", None, 200)]
    assert leftovers(archive) == []


def test_busy_server_is_asked_again(archive: Archive, server: Any) -> None:
    server.busy = 2
    archive.fetch(NAME)
    assert statuses(server) == [503, 503, 200]
    server.busy = 3
    with pytest.raises(ArchiveError, match="3 attempts") as fault:
        archive.fetch(NAME)
    assert fault.value.code == "archive_unreachable"


def test_damaged_gzip_is_fetched_twice_and_refused(archive: Archive, server: Any, folder: Path) -> None:
    whole = (folder / NAME).read_bytes()
    (folder / NAME).write_bytes(whole[:-1000])
    with pytest.raises(FileDamagedError, match=r"emd_0042\.map\.gz is damaged") as fault:
        archive.fetch(NAME)
    assert fault.value.code == "file_damaged"
    assert statuses(server) == [200, 416, 200, 416]
    assert archive.receipt(NAME) is None
    assert leftovers(archive) == []


def test_missing_and_oversized_files(archive: Archive, server: Any) -> None:
    with pytest.raises(FileMissingError, match=r"no file emd-0042\.xml") as fault:
        archive.fetch(header_path("EMD-0042"))
    assert server.url not in str(fault.value)
    with pytest.raises(FileDamagedError, match="at most 1000"):
        archive.fetch(NAME, max_bytes=1000)


def test_dead_server(tmp_path: Path) -> None:
    archive = Archive("http://127.0.0.1:9", tmp_path, patience=QUICK)
    with pytest.raises(ArchiveError, match="could not be fetched"):
        archive.fetch(NAME)


def test_damaged_receipt_counts_as_none(archive: Archive, server: Any) -> None:
    archive.fetch(NAME)
    assert archive.cache is not None
    record = archive.cache / "names" / f"{NAME}.json"
    whole = record.read_text()
    for text in ("", "[]", json.dumps({"url": 1}), whole.replace("size", "sise")):
        record.write_text(text)
        assert archive.receipt(NAME) is None
    archive.fetch(NAME)
    assert statuses(server) == [200, 200]


@pytest.mark.parametrize(
    "path",
    [
        "../etc/passwd",
        "emdb/../../etc/passwd",
        "emdb/structures/EMD-1/map/..",
        "emdb//etc/passwd",
        "emdb/structures/.hidden",
        "etc/passwd",
        "pdb",
        "emdb/a b",
        "emdb/a\x00b",
        "http://example.org/x",
        "emdb/structures/EMD-1/map/x?y=z",
    ],
)
def test_path_outside_the_archive_is_refused(archive: Archive, folder: Path, path: str) -> None:
    for place in (archive, Archive(emdb_base=folder / "emdb", pdb_base=folder / "pdb")):
        with pytest.raises(InputError, match="is not a path"):
            place.fetch(path)


def test_folder_is_used_as_it_is(folder: Path) -> None:
    archive = Archive(folder)
    assert archive.is_local
    assert archive.fetch(NAME) == folder / NAME
    with pytest.raises(FileMissingError):
        archive.fetch(header_path("EMD-0042"))
    with pytest.raises(FileDamagedError, match="at most 10"):
        archive.fetch(NAME, max_bytes=10)


def test_archives_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="does not exist"):
        Archive(tmp_path / "nowhere")
    with pytest.raises(ArchiveError, match="cache"):
        Archive("https://example.org/pub")


def test_one_branch_in_a_folder_the_other_on_a_server(server: Any, folder: Path, tmp_path: Path) -> None:
    archive = Archive(server.url, tmp_path / "cache", emdb_base=folder / "emdb", patience=QUICK)
    assert archive.fetch(NAME) == folder / NAME
    assert not archive.is_local
    assert server.requests == []


def test_paths_of_entries() -> None:
    assert model_path("5ni1") == "pdb/data/structures/divided/mmCIF/ni/5ni1.cif.gz"
    assert model_path("pdb_10005ni1") == "pdb/data/structures/divided/mmCIF/ni/pdb_10005ni1.cif.gz"
    assert header_path("EMD-0093") == "emdb/structures/EMD-0093/header/emd-0093.xml"
    assert map_path("EMD-0093") == "emdb/structures/EMD-0093/map/emd_0093.map.gz"
    assert half_map_path("EMD-0093", "x.map.gz") == "emdb/structures/EMD-0093/other/x.map.gz"


def test_a_full_disk_is_said(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CeresError, match=r"no room for emd_0042\.map\.gz") as fault:
        archive.fetch(NAME)
    assert fault.value.code == "disk_full"
    monkeypatch.undo()
    archive.fetch(NAME)
    assert leftovers(archive) == []


def test_an_encoding_that_was_not_asked_for_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = header_path("EMD-0042")
    (folder / header).parent.mkdir(parents=True)
    (folder / header).write_bytes(b"<emd></emd>")
    send = BaseHTTPRequestHandler.end_headers

    def end_headers(self: BaseHTTPRequestHandler) -> None:
        self.send_header("Content-Encoding", "gzip")
        send(self)

    monkeypatch.setattr(BaseHTTPRequestHandler, "end_headers", end_headers)
    state = HostileServer(folder, chance=0.0)
    with running(state), Archive(state.url, tmp_path / "cache", patience=QUICK) as archive:
        assert archive.fetch(NAME).read_bytes() == (folder / NAME).read_bytes()
        with pytest.raises(ArchiveError, match="not asked for"):
            archive.fetch(header)
