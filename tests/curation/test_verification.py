"""What is known about a file while it arrives."""

from __future__ import annotations

import gzip
import itertools
import random
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.verification import CHUNK, Verifier, sha256
from refinement.maps.header import HEADER_BYTES, format_header

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = random.Random(3).randbytes(3000) + bytes(CHUNK)  # noqa: S311
PACKED = gzip.compress(PLAIN, 1)
MAP = format_header((4, 5, 6), gemmi.UnitCell(4, 5, 6, 90, 90, 90), np.zeros(3), (0.0, 1.0, 0.5, 0.1)) + bytes(4 * 120)


def fed(name: str, data: bytes, cuts: list[int] | None = None, limit: int = 1 << 30) -> Verifier:
    verifier = Verifier(name, limit)
    places = [0, *sorted(cuts or []), len(data)]
    for begin, end in itertools.pairwise(places):
        verifier.feed(data[begin:end])
    return verifier


cuts = st.lists(st.integers(0, len(PACKED)), max_size=6)


@given(cuts)
def test_a_whole_file_is_complete_however_it_comes(places: list[int]) -> None:
    verifier = fed("x.gz", PACKED, places)
    assert (verifier.complete, verifier.damage, verifier.size) == (True, None, len(PACKED))


@given(cuts, st.integers(0, len(PACKED) - 1))
def test_a_file_that_is_cut_is_not_complete(places: list[int], end: int) -> None:
    verifier = fed("x.gz", PACKED[:end], [place for place in places if place < end])
    assert (verifier.complete, verifier.damage) == (False, None)


@given(cuts, st.integers(10, len(PACKED) - 1), st.integers(0, 7))
def test_a_flipped_bit_is_seen_if_it_changes_the_content(places: list[int], place: int, bit: int) -> None:
    flipped = bytearray(PACKED)
    flipped[place] ^= 1 << bit
    # A few bits at the end of the last block mean nothing.
    assert not fed("x.gz", bytes(flipped), places).complete or gzip.decompress(flipped) == PLAIN


@given(st.integers(1, len(PACKED) - 1))
def test_a_copy_goes_on_by_itself(place: int) -> None:
    first = fed("x.gz", PACKED[:place])
    twin = first.copy()
    first.feed(b"garbage" * 2_000)
    twin.feed(PACKED[place:])
    assert (twin.complete, twin.damage) == (True, None)
    assert not first.complete


def test_several_members_and_padding() -> None:
    two = gzip.compress(b"a") + gzip.compress(b"b")
    assert fed("x.gz", two + bytes(100), [3, 22, 30]).complete
    assert gzip.decompress(two) == b"ab"
    assert fed("x.gz", two + b"junk").damage


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
def test_contents_of_the_size_of_a_chunk(size: int) -> None:
    assert fed("x.gz", gzip.compress(bytes(size))).complete


def test_a_bomb_is_defused() -> None:
    verifier = fed("x.gz", gzip.compress(bytes(20 << 20)), limit=10 << 20)
    assert verifier.damage is not None
    assert "unpacks to more" in verifier.damage
    assert not verifier.complete


@pytest.mark.parametrize(
    ("name", "data", "odd"),
    [
        ("a.map", MAP, ""),
        ("a.map.gz", gzip.compress(MAP), ""),
        ("a.map.gz", gzip.compress(MAP + b"more"), ""),
        ("a.map.gz", gzip.compress(MAP[:-1]), f"promises {len(MAP)} bytes and it has {len(MAP) - 1}"),
        ("a.map.gz", gzip.compress(MAP[:100]), "100 bytes"),
        ("a.map.gz", gzip.compress(bytes(HEADER_BYTES)), "MAP"),
        ("a.cif.gz", gzip.compress(b"# a\n#b\n\n data_1ABC\n"), ""),
        ("a.cif.gz", gzip.compress(b"DATA_x"), ""),
        ("a.cif.gz", gzip.compress(b"HEADER    VIRUS"), "mmCIF"),
        ("a.xml", b'<?xml version="1.0"?><!-- x --><emd id="1"><x/></emd>\n', ""),
        ("a.xml", b'\xef\xbb\xbf<!DOCTYPE emd [<!ENTITY a "b">]><emd>&a;</emd>', ""),
        ("a.xml", b"<emd><x></x>", "first element"),
        ("a.xml", b"", "XML"),
        ("a.json", b'{"a": [1]}', ""),
        ("a.json", b'{"a": {}', "JSON"),
        ("a.json", b"[" * 100_000, "JSON"),
        ("a.txt", b"anything", ""),
    ],
    ids=itertools.count(),
)
def test_oddities(tmp_path: Path, name: str, data: bytes, odd: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    verifier = fed(name, data, [len(data) // 2])
    found = verifier.oddity(path)
    assert (found is None) == (not odd)
    assert odd in (found or "")
    assert verifier.sha256 == sha256(path)


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><html>", b" \n<HTML lang=en>", b"<!doctype  HTML PUBLIC>"])
def test_pages_for_people(page: bytes) -> None:
    assert fed("a.xml", page).is_error_page
    assert fed("a.map.gz", page).is_error_page
    assert not fed("a.xml", b"<emd>" + page).is_error_page
