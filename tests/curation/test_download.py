"""Downloads: resumed, verified, kept, refused."""

from __future__ import annotations

import gzip
import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
import pytest

from curation.archive import Archive, half_map_path, header_path, map_path, model_path
from curation.cache import Cache
from curation.download import ArchiveError, FileDamagedError, FileMissingError, Patience
from curation.verification import gzip_damage
from refinement.errors import InputError
from refinement.maps.header import format_header

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
    assert archive.exists(NAME)
    assert not archive.exists(header_path("EMD-0042"))


def test_dead_server(tmp_path: Path) -> None:
    archive = Archive("http://127.0.0.1:9", tmp_path, patience=QUICK)
    with pytest.raises(ArchiveError, match="could not be fetched"):
        archive.fetch(NAME)
    with pytest.raises(ArchiveError, match="could not be asked"):
        archive.exists(NAME)


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
        with pytest.raises(InputError, match="is not a path"):
            place.exists(path)


def test_folder_is_used_as_it_is(folder: Path) -> None:
    archive = Archive(folder)
    assert archive.is_local
    assert archive.fetch(NAME) == folder / NAME
    assert archive.exists(NAME)
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


def test_gzip_damage(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    whole = gzip.compress(CONTENT)
    path.write_bytes(whole)
    assert gzip_damage(path) is None
    assert gzip_damage(path, limit=1000) == "it unpacks to more than 0 GiB"
    for damaged in (whole[:-4], whole[:50], b"plain", whole[:1000] + b"\x00\x00" + whole[1002:]):
        path.write_bytes(damaged)
        assert gzip_damage(path)
