"""Several mirrors of an archive: asked in their order, one for what another lacks, and left alone when they wish it."""

from __future__ import annotations

import email.utils
import gzip
import os
import random
import shutil
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx
import pytest

from curation.answers import retry_after
from curation.archive import PUBLIC, Archive, header_path
from curation.download import ArchiveError, FileMissingError, Patience, Transfer
from curation.hosts import Hosts
from tests.curation.hostile_server import HostileServer, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE = Patience(attempts=3, first_wait=0.005, longest_wait=0.02, chunk=0.5)
NAME = "emdb/structures/EMD-0042/other/emd_0042.bin.gz"
CONTENT = gzip.compress(random.Random(1).randbytes(300_000))  # noqa: S311
DEAD = "http://127.0.0.1:9"


@pytest.fixture
def mirrors(tmp_path: Path) -> Iterator[Callable[..., HostileServer]]:
    """Starter of servers of the same file; its date is the same on all, its ETag isn't."""
    with ExitStack() as stack:

        def start(name: str, **wanted: object) -> HostileServer:
            folder = tmp_path / name
            (folder / NAME).parent.mkdir(parents=True)
            (folder / NAME).write_bytes(CONTENT)
            os.utime(folder / NAME, (1_700_000_000, 1_700_000_000))
            return stack.enter_context(running(HostileServer(folder, name=name, **{"chance": 0.0, **wanted})))  # type: ignore[arg-type]

        yield start


def opened(cache: Path, *servers: HostileServer | str) -> Archive:
    return Archive(",".join(s if isinstance(s, str) else s.url for s in servers), cache, patience=PATIENCE)


def test_the_first_mirror_is_enough(mirrors: Callable[..., HostileServer], tmp_path: Path) -> None:
    first, second = mirrors("first"), mirrors("second")
    with opened(tmp_path / "cache", first, second) as archive:
        assert archive.fetch(NAME).read_bytes() == CONTENT
        receipt = archive.receipt(NAME)
    assert receipt is not None
    assert receipt.url == f"{first.url}/{NAME}"
    assert second.requests == []


def test_a_mirror_that_is_down_is_passed_over(mirrors: Callable[..., HostileServer], tmp_path: Path) -> None:
    second = mirrors("second")
    with opened(tmp_path / "cache", DEAD, second) as archive:
        assert archive.fetch(NAME).read_bytes() == CONTENT


def test_what_one_mirror_lacks_another_has(mirrors: Callable[..., HostileServer], tmp_path: Path) -> None:
    first, second = mirrors("first"), mirrors("second")
    shutil.rmtree(first.folder / "emdb")
    with opened(tmp_path / "cache", first, second) as archive:
        assert archive.fetch(NAME).read_bytes() == CONTENT


def test_a_file_is_missing_only_if_all_mirrors_say_so(mirrors: Callable[..., HostileServer], tmp_path: Path) -> None:
    first, second = mirrors("first"), mirrors("second")
    with opened(tmp_path / "cache", first, second) as archive, pytest.raises(FileMissingError):
        archive.fetch(header_path("EMD-0042"))
    with opened(tmp_path / "cache", first, DEAD) as archive:
        with pytest.raises(ArchiveError, match=r"could not be fetched .* 1 more mirrors") as fault:
            archive.fetch(header_path("EMD-0042"))
        assert fault.value.code == "archive_unreachable"


def test_a_damaged_copy_is_replaced_by_that_of_the_next(mirrors: Callable[..., HostileServer], tmp_path: Path) -> None:
    first, second = mirrors("first"), mirrors("second")
    damaged = bytearray(CONTENT)
    damaged[-1] ^= 1
    (first.folder / NAME).write_bytes(damaged)
    with opened(tmp_path / "cache", first, second) as archive:
        assert archive.fetch(NAME).read_bytes() == CONTENT
    assert sum(second.sent.values()) == len(CONTENT)


def test_the_next_mirror_continues_what_the_first_began(mirrors: Callable[..., HostileServer], tmp_path: Path) -> None:
    first, second = mirrors("first", faults=("cut", "broken"), chance=1.0, in_a_row=1000), mirrors("second")
    part = tmp_path / "part"
    urls = [f"{server.url}/{NAME}" for server in (first, second)]
    with httpx.Client() as client:
        transfer = Transfer(client, urls, part, "x.gz", max_bytes=10**9, patience=PATIENCE)
        # A first mirror that gives up half-way, whatever the faults of the seed are.
        first.faults = ("cut",)
        original = first.next_fault

        def only_once(path: str, *, resumed: bool) -> tuple[str, random.Random]:
            return ("broken" if resumed else "cut"), original(path, resumed=resumed)[1]

        first.next_fault = only_once  # type: ignore[method-assign]
        transfer.run()
    assert part.read_bytes() == CONTENT
    assert 0 < sum(first.sent.values()) < len(CONTENT)
    assert sum(first.sent.values()) + sum(second.sent.values()) == len(CONTENT)


def test_another_date_on_the_next_mirror_means_another_file(mirrors: Callable[..., HostileServer], tmp_path: Path) -> None:
    first, second = mirrors("first"), mirrors("second")
    with opened(tmp_path / "cache", first, second) as archive:
        archive.fetch(NAME)
    shutil.rmtree(first.folder / "emdb")
    (second.folder / NAME).write_bytes(gzip.compress(b"a newer one"))
    with opened(tmp_path / "cache", first, second) as archive:
        assert gzip.decompress(archive.fetch(NAME).read_bytes()) == b"a newer one"


def test_an_unchanged_file_is_not_fetched_from_the_next_mirror(mirrors: Callable[..., HostileServer], tmp_path: Path) -> None:
    first, second = mirrors("first"), mirrors("second")
    with opened(tmp_path / "cache", first, second) as archive:
        archive.fetch(NAME)
    shutil.rmtree(first.folder / "emdb")
    with opened(tmp_path / "cache", first, second) as archive:
        assert archive.fetch(NAME).read_bytes() == CONTENT
    assert [status for _, _, status in second.requests] == [304]


def test_a_folder_goes_before_the_network(mirrors: Callable[..., HostileServer], tmp_path: Path) -> None:
    first, copy = mirrors("first"), tmp_path / "copy" / "emdb"
    place = copy / NAME.removeprefix("emdb/")
    place.parent.mkdir(parents=True)
    place.write_bytes(b"own")
    with Archive(first.url, tmp_path / "cache", emdb_base=copy, patience=PATIENCE) as archive:
        assert archive.fetch(NAME) == place
        assert archive.receipt(NAME) is None
        assert first.requests == []
        place.unlink()
        assert archive.fetch(NAME).read_bytes() == CONTENT
    (first.folder / "pdb").mkdir()
    folder_last = Archive(f"{first.url},{first.folder}", tmp_path / "cache", patience=PATIENCE)
    assert folder_last.fetch(NAME) == first.folder / NAME


def test_several_files_report_together(mirrors: Callable[..., HostileServer], tmp_path: Path) -> None:
    server = mirrors("first", faults=("cut",), chance=1.0)
    other = NAME.replace("bin", "another.bin")
    shutil.copyfile(server.folder / NAME, server.folder / other)
    seen: list[tuple[int, int | None]] = []
    with opened(tmp_path / "cache", server) as archive:
        found = archive.fetch_all(
            dict.fromkeys((NAME, other, header_path("EMD-0042")), 10**9), progress=lambda *now: seen.append(now)
        )
    assert [found[NAME].read_bytes(), found[other].read_bytes()] == [CONTENT, CONTENT]  # type: ignore[union-attr]
    assert isinstance(found[header_path("EMD-0042")], FileMissingError)
    assert seen[-1] == (2 * len(CONTENT), 2 * len(CONTENT))
    assert [have for have, _ in seen] == sorted(have for have, _ in seen)


def test_a_server_that_wants_a_long_pause_is_left_alone(mirrors: Callable[..., HostileServer], tmp_path: Path) -> None:
    first, second = mirrors("first"), mirrors("second")
    hosts = Hosts(tmp_path / "cache" / "hosts")
    hosts.pause(first.url, 10**6)
    hosts.pause(first.url, 1.0)
    assert 3000 < hosts.pause_left(f"{first.url}/x") < 3601
    with opened(tmp_path / "cache", first, second) as archive:
        assert archive.fetch(NAME).read_bytes() == CONTENT
    with opened(tmp_path / "cache", first) as archive, pytest.raises(ArchiveError, match="left alone"):
        archive.fetch(NAME)
    assert first.requests == []


def test_a_short_pause_is_waited_for(tmp_path: Path) -> None:
    hosts = Hosts(tmp_path)
    hosts.pause("http://a", 0.2)
    ends = time.time() + hosts.pause_left("http://a")
    with hosts.visit("http://a/x"):
        assert time.time() >= ends - 1e-3
    assert hosts.pause_left("http://b") == 0.0


def test_no_more_connections_than_allowed(tmp_path: Path) -> None:
    busy, most, lock = [0], [0], threading.Lock()

    def visit(number: int) -> None:
        with Hosts(tmp_path, connections=2).visit(f"http://a/{number}"):
            with lock:
                busy[0] += 1
                most[0] = max(most[0], busy[0])
            time.sleep(0.01)
            with lock:
                busy[0] -= 1

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    with Hosts(tmp_path, connections=2).visit("http://b/x"):
        pass  # another server has slots of its own
    for thread in threads:
        thread.join()
    assert most == [2]


@pytest.mark.parametrize(
    ("stated", "seconds"),
    [("7", 7.0), (" 0 ", 0.0), ("soon", None), ("", None), ("-5", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_what_retry_after_says(stated: str, seconds: float | None) -> None:
    assert retry_after(httpx.Response(503, headers={"Retry-After": stated})) == seconds
    later = email.utils.formatdate(time.time() + 100, usegmt=True)
    assert retry_after(httpx.Response(503, headers={"Retry-After": later})) == pytest.approx(100, abs=10)


def test_the_public_mirrors() -> None:
    for bases in PUBLIC.values():
        for base, site in zip(bases, ("wwpdb.org", "rcsb.org", "ebi.ac.uk", "pdbj.org"), strict=True):
            assert httpx.URL(base).host.endswith(site)
