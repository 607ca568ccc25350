"""PDB ids, EMDB ids, pairs, and what people type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.identifiers import (
    EmdbQuery,
    Pair,
    PairQuery,
    PdbQuery,
    normalise_emdb_id,
    normalise_pdb_id,
    pair_key,
    parse_pair,
    parse_query,
)
from refinement.errors import InputError

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
PDB_IDS = st.tuples(st.sampled_from("123456789"), st.text(LETTERS, min_size=3, max_size=3)).map("".join)
NUMBERS = st.integers(1, 999_999).map(lambda n: f"{n:04d}")


@pytest.mark.parametrize("text", ["6udk", "6UDK", " 6Udk ", "pdb_00006udk", "PDB_00006UDK", "６ＵＤＫ"])
def test_pdb_spellings(text: str) -> None:
    assert normalise_pdb_id(text) == "6udk"


def test_extended_pdb_id_stays_long() -> None:
    assert normalise_pdb_id("PDB_10006UDK") == "pdb_10006udk"


@pytest.mark.parametrize(
    "text", ["", "6ud", "6udkk", "udk6", "pdb_6udk", "pdb_00000000", "6ud/", "6udk\n\n../x", "٣abc", "EMD-1234"]
)
def test_no_pdb_id(text: str) -> None:
    with pytest.raises(InputError, match="not a PDB id"):
        normalise_pdb_id(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("EMD-20740", "EMD-20740"),
        ("emd_20740", "EMD-20740"),
        ("EMDB-20740", "EMD-20740"),
        ("emd 20740", "EMD-20740"),
        ("20740", "EMD-20740"),
        ("EMD-0093", "EMD-0093"),
        ("93", "EMD-0093"),
        ("EMD–3488", "EMD-3488"),
    ],
)
def test_emdb_spellings(text: str, expected: str) -> None:
    assert normalise_emdb_id(text) == expected


@pytest.mark.parametrize("text", ["", "EMD-", "EMD-0000", "EMD-12a4", "EMD--1", "-5", "1e5", "٣٤٨٨", "EMD-123456789"])
def test_no_emdb_id(text: str) -> None:
    with pytest.raises(InputError, match="not an EMDB id"):
        normalise_emdb_id(text)


@pytest.mark.parametrize(
    "text",
    [
        "6udk_20740",
        "6udk-20740",
        "6udk_EMD-20740",
        "6UDK/EMD-20740",
        "6udk 20740",
        "6udk[20740]",
        "pdb_00006udk_20740",
        "EMD-20740 6udk",
        "emdb_20740_6UDK",
    ],
)
def test_pair_spellings(text: str) -> None:
    pair = parse_pair(text)
    assert (pair, pair.key) == (Pair("EMD-20740", "6udk"), "6udk_20740")
    assert parse_query(text) == [PairQuery("6udk", "EMD-20740")]


def test_leading_zeros_stay_in_keys() -> None:
    assert parse_pair("6hug_0275").key == "6hug_0275"
    assert parse_pair("6hug[275]").key == "6hug_0275"
    assert Pair("EMD-0093").key == "EMD-0093"


@pytest.mark.parametrize("text", ["", "6udk", "20740", "6udk_", "_20740", "6udk_0000", "6udk20740", "6udk_20740_1"])
def test_no_pair(text: str) -> None:
    with pytest.raises(InputError, match="not a pair"):
        parse_pair(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("6udk", [PdbQuery("6udk")]),
        ("20740", [EmdbQuery("EMD-20740")]),
        ("3488", [EmdbQuery("EMD-3488"), PdbQuery("3488")]),
        ("6udk, EMD-3488 7cec_30342", [PdbQuery("6udk"), EmdbQuery("EMD-3488"), PairQuery("7cec", "EMD-30342")]),
        ("haemoglobin", []),
        ("", []),
        ("<script>alert(1)</script>", []),
    ],
)
def test_search_box(text: str, expected: list[object]) -> None:
    assert parse_query(text) == expected


@given(PDB_IDS, NUMBERS, st.sampled_from(["_", "-", "/", " ", "_EMD-", "-emd_"]), st.booleans())
def test_every_pair_survives_its_spellings(pdb_id: str, number: str, divider: str, upper: bool) -> None:
    text = f"{pdb_id}{divider}{number}"
    pair = parse_pair(text.upper() if upper else text)
    assert (pair.pdb_id, pair.emdb_id) == (pdb_id, f"EMD-{number}")
    assert parse_pair(pair.key).key == pair.key == pair_key(pdb_id, f"EMD-{number}")


@given(st.text(max_size=400))
def test_any_text_is_a_query(text: str) -> None:
    for query in parse_query(text):
        if not isinstance(query, PdbQuery):
            assert normalise_emdb_id(query.emdb_id) == query.emdb_id
        if not isinstance(query, EmdbQuery):
            assert normalise_pdb_id(query.pdb_id) == query.pdb_id
