"""The cache of downloaded files: one copy of a content, never more than the budget, never without what is in use."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from curation.answers import Receipt
from curation.cache import FORGOTTEN_SECONDS, Cache
from curation.verification import sha256

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOLD = """
import sys
from pathlib import Path
from curation.cache import Cache
cache = Cache(Path(sys.argv[1]))
assert cache.find(sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Function that puts a file of one letter into a cache and gives it back, so that it isn't in use."""

    def function(path: str, letter: str, size: int = 1000, *, budget: int | None = None, used: float | None = None) -> Path:
        cache = Cache(tmp_path / "cache", budget)
        with cache.lock(path) as part:
            part.write_text(letter * size)
            receipt = Receipt(f"http://a/{path}", size, sha256(part), '"1"', "", "2026-01-01T00:00:00+00:00")
            place = cache.add(path, part, receipt)
        cache.close()
        if used is not None and place.exists():
            os.utime(place, (used, used))
        return place

    return function


def test_files_of_one_content_are_one_file(put: Callable[..., Path], tmp_path: Path) -> None:
    first, second, again = put("emdb/a.map.gz", "x"), put("emdb/b.map.gz", "x"), put("emdb/a.map.gz", "x")
    assert first == again
    assert first.samefile(second)
    assert (first.name, second.name) == ("a.map.gz", "b.map.gz")
    assert Cache(tmp_path / "cache").faults() == []


def test_what_a_path_held_before_is_remembered(put: Callable[..., Path], tmp_path: Path) -> None:
    older, newer = put("emdb/a.xml", "x"), put("emdb/a.xml", "y", 2000)
    assert older.read_text() == "x" * 1000
    receipts = Cache(tmp_path / "cache").receipts("emdb/a.xml")
    assert [receipt.sha256 for receipt in receipts] == [sha256(newer), sha256(older)]


def test_the_file_not_used_for_longest_goes_first(put: Callable[..., Path], tmp_path: Path) -> None:
    old, older = put("a", "a", used=2000.0), put("b", "b", used=1000.0)
    new = put("c", "c", budget=2500)
    assert [path.exists() for path in (old, older, new)] == [True, False, True]
    cache = Cache(tmp_path / "cache")
    assert cache.find("b") is None
    assert cache.find("a") is not None
    assert cache.receipts("b")
    assert cache.faults() == []


def test_use_is_what_counts_not_age(put: Callable[..., Path], tmp_path: Path) -> None:
    first, second = put("a", "a", used=1000.0), put("b", "b", used=2000.0)
    with Cache(tmp_path / "cache") as cache:
        receipt = cache.find("a")
        assert receipt is not None
        cache.place("a", receipt)
    put("c", "c", budget=2500)
    assert [path.exists() for path in (first, second)] == [True, False]


def test_a_file_that_this_process_was_given_stays(put: Callable[..., Path], tmp_path: Path) -> None:
    place = put("a", "a", used=1000.0)
    cache = Cache(tmp_path / "cache", 10)
    assert cache.find("a")
    assert cache.make_room() == 0
    cache.close()
    assert cache.make_room() == 1000
    assert not place.exists()


def test_a_file_that_another_process_was_given_stays_as_long_as_it_lives(put: Callable[..., Path], tmp_path: Path) -> None:
    place = put("a", "a", used=1000.0)
    command = [sys.executable, "-c", HOLD, str(tmp_path / "cache"), "a"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert Cache(tmp_path / "cache", 10).make_room() == 0
        other.kill()
    assert Cache(tmp_path / "cache", 10).make_room() == 1000
    assert not place.exists()
    assert list((tmp_path / "cache/users").iterdir()) == []


def test_a_file_that_a_job_has_linked_stays(put: Callable[..., Path], tmp_path: Path) -> None:
    place = put("a", "a", used=1000.0)
    os.link(place, tmp_path / "own")
    assert Cache(tmp_path / "cache", 10).make_room() == 0
    (tmp_path / "own").unlink()
    assert Cache(tmp_path / "cache", 10).make_room() == 1000


def test_no_budget_no_eviction(put: Callable[..., Path], tmp_path: Path) -> None:
    places = [put(name, name) for name in "abc"]
    assert Cache(tmp_path / "cache").make_room() == 0
    assert all(place.exists() for place in places)


def test_forgotten_partial_files_go(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 10**9)
    with cache.lock("a") as part, cache.lock("b") as other:
        part.write_text("x")
        other.write_text("y")
    long_ago = time.time() - FORGOTTEN_SECONDS - 1
    os.utime(part, (long_ago, long_ago))
    cache.make_room()
    assert [part.exists(), other.exists()] == [False, True]


@pytest.mark.parametrize("content", ["y" * 1000, "x" * 999])
def test_a_damaged_file_is_seen_and_removed(put: Callable[..., Path], tmp_path: Path, content: str) -> None:
    place, other = put("a", "x"), put("b", "z")
    place.write_text(content)
    cache = Cache(tmp_path / "cache")
    assert "checksum" in cache.faults()[0]
    assert place.exists()
    assert len(cache.faults(mend=True)) == 1
    assert cache.faults() == []
    assert [cache.find("a") is None, cache.find("b") is None] == [True, False]
    assert other.exists()


def test_a_damaged_receipt_is_seen_and_removed(put: Callable[..., Path], tmp_path: Path) -> None:
    put("a", "x")
    (tmp_path / "cache/names/a.json").write_text("[{")
    cache = Cache(tmp_path / "cache")
    assert cache.find("a") is None
    assert "can't be read" in cache.faults(mend=True)[0]
    assert cache.faults() == []


def test_contents(put: Callable[..., Path], tmp_path: Path) -> None:
    put("a", "x"), put("b", "x"), put("c", "y", 500)
    assert Cache(tmp_path / "cache").contents() == (2, 1500)
