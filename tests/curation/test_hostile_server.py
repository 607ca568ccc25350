"""Fetching from a server on which everything goes wrong, one fault at a time and all together."""

from __future__ import annotations

import gzip
import random
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from curation.archive import Archive, header_path
from curation.curate import curate
from curation.download import LEAST_PLAIN, OVERLAP, ArchiveError, FileDamagedError, FileMissingError, Patience
from curation.example import build_example_archive
from curation.holdings import list_pairs
from refinement.maps.header import format_header
from tests.curation.hostile_server import FAULTS, HostileServer, running, stored_as_served

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = Patience(attempts=8, first_wait=0.005, longest_wait=0.02, chunk=0.5)
MAP = "emdb/structures/EMD-0042/map/emd_0042.map.gz"
MASK = "emdb/structures/EMD-0042/masks/emd_0042_msk_1.map"
PACKED = gzip.compress(bytes(5000), mtime=0)
HEADER = header_path("EMD-0042")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    dims = (50, 50, 50)
    head = format_header(dims, gemmi.UnitCell(*map(float, dims), 90, 90, 90), np.zeros(3), (0.0, 1.0, 0.5, 0.1))
    voxels = random.Random(7).randbytes(4 * 50**3)  # noqa: S311
    contents = {
        MAP: gzip.compress(head + voxels, mtime=0),
        MASK: head + voxels,
        HEADER: b"<emd>" + b"<x/>" * 2000 + b"</emd>\n",
    }
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_example_archive(tmp_path_factory.mktemp("example") / "archive")


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_again_and_again(root: Path, tmp_path: Path, fault: str) -> None:
    for seed in range(3):
        cache = tmp_path / f"cache{seed}"
        # What happens to parts of a file happens after a cut only.
        server = HostileServer(root, seed=seed, chance=0.8, faults=("cut", fault))
        with running(server), Archive(server.url, cache, patience=PATIENCE) as archive:
            archive.fetch(MAP)
            archive.fetch(MASK)
            archive.fetch(HEADER)
        assert stored_as_served(cache, root) == [HEADER, MAP, MASK]


@pytest.mark.parametrize("seed", range(3))
def test_curation_of_the_example_is_the_same(example: Path, tmp_path: Path, seed: int) -> None:
    here = Archive(example)
    server = HostileServer(example, seed=seed)
    with running(server), Archive(server.url, tmp_path / "cache", patience=PATIENCE) as remote:
        pairs = list_pairs(remote)
        assert pairs == list_pairs(here)
        for pair in pairs:
            found, expected = (curate(pair, archive, tmp_path / "work") for archive in (remote, here))
            assert (found.code, found.resolution) == (expected.code, expected.resolution)
            assert found.facts == expected.facts
    assert stored_as_served(tmp_path / "cache", example)


@pytest.mark.parametrize(("path", "repeated"), [(MAP, 0), (MASK, OVERLAP)])
def test_what_is_cut_is_not_fetched_twice(root: Path, tmp_path: Path, path: str, repeated: int) -> None:
    server = HostileServer(root, faults=("cut",), chance=1.0, in_a_row=20)
    with running(server), Archive(server.url, tmp_path / "cache", patience=PATIENCE) as archive:
        archive.fetch(path)
    beginnings = [int(wanted[6:-1]) for _, wanted, status in server.requests if wanted and status == 206]
    assert len(beginnings) >= 5
    sent_from_the_start = [wanted for _, wanted, _ in server.requests].count(None)
    # A file without a checksum is fetched anew as long as little of it is here.
    assert sent_from_the_start == 1 or path == MASK
    whole = (root / path).stat().st_size
    assert sum(server.sent.values()) <= whole + repeated * len(beginnings) + (sent_from_the_start - 1) * LEAST_PLAIN


def test_a_server_that_sends_other_bytes_than_before_is_not_believed(root: Path, tmp_path: Path) -> None:
    server = HostileServer(root, faults=("cut", "garbage"), chance=1.0, in_a_row=3, seed=4)
    with running(server), Archive(server.url, tmp_path / "cache", patience=PATIENCE) as archive:
        archive.fetch(MASK)
    assert server.done["garbage"] > 0
    assert stored_as_served(tmp_path / "cache", root) == [MASK]


def test_an_error_page_is_never_a_file(root: Path, tmp_path: Path) -> None:
    server = HostileServer(root, faults=("error page",), chance=1.0, in_a_row=1000)
    with running(server), Archive(server.url, tmp_path / "cache", patience=PATIENCE) as archive:
        for path in (MAP, HEADER):
            with pytest.raises(ArchiveError, match="a page for people"):
                archive.fetch(path)
    assert stored_as_served(tmp_path / "cache", root) == []


@pytest.mark.parametrize(
    "content", [PACKED[:-9], PACKED[:12] + bytes(40), b"plain", b""], ids=["cut", "damaged", "not packed", "empty"]
)
def test_what_is_damaged_in_the_archive_itself_is_refused(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "served"
    (folder / MAP).parent.mkdir(parents=True)
    (folder / MAP).write_bytes(content)
    server = HostileServer(folder, seed=5)
    with running(server), Archive(server.url, tmp_path / "cache", patience=PATIENCE) as archive:
        with pytest.raises(FileDamagedError) as fault:
            archive.fetch(MAP)
        assert fault.value.code == "file_damaged"
        with pytest.raises(FileMissingError):
            archive.fetch(HEADER)
    assert stored_as_served(tmp_path / "cache", folder) == []


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (MAP, gzip.compress(b"no map, but whole")),
        (HEADER, b"<emd><cut>"),
        (HEADER, b"not even XML"),
        ("emdb/status/latest/emdb_released_holdings.json", b'{"EMD-1": '),
    ],
    ids=["map", "cut XML", "no XML", "cut JSON"],
)
def test_what_is_odd_in_the_archive_itself_is_believed_when_it_comes_twice(tmp_path: Path, path: str, content: bytes) -> None:
    folder = tmp_path / "served"
    (folder / path).parent.mkdir(parents=True)
    (folder / path).write_bytes(content)
    server = HostileServer(folder, chance=0.0)
    with running(server), Archive(server.url, tmp_path / "cache", patience=PATIENCE) as archive:
        assert archive.fetch(path).read_bytes() == content
    assert [status for _, _, status in server.requests] == [200, 200]
