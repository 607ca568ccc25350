"""Dated lists of pairs: what is new, revised or gone, and what became of entries that aren't released."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from curation.archive import PDB_DATES, Archive
from curation.curate import curate
from curation.holdings import list_pairs, read_emdb_holdings, read_pdb_holdings, take_listing
from curation.inventories import PDB_REMOVED, PDB_UNRELEASED
from curation.listing import Listing, compare_listings, load_listing, save_listing

if TYPE_CHECKING:
    from pathlib import Path

REMOVED = {
    "9ZAC": {"superseded_by": ["9ZAD", "9ZAE"], "title": "x"},
    "9ZAF": {"superseded_by": "PDB_00009ZAG"},
    "9ZAH": {"obsolete_date": "2026-01-01"},
    "9ZAI": None,
}


def put(tiny: Any, path: str, content: object) -> None:
    tiny.write(tiny.root / path, gzip.compress(json.dumps(content).encode()))


def taken(tiny: Any) -> Listing:
    return take_listing(Archive(tiny.root))


def test_list_is_dated_and_complete(tiny: Any) -> None:
    tiny.add("9zaa", "0001")
    tiny.add("9zab", "0002", link="emdb")
    tiny.add_map("0003", [])
    tiny.maps["EMD-0002"] = {"release_date": "2025-01-01", "last_modified_date": "2026-02-03"}
    tiny.maps["EMD-0001"] = {"release_date": "2025-05-05"}
    tiny.write_holdings()
    put(tiny, PDB_DATES, {"9ZAA": "2026-03-04T00:00:00+00:00"})
    listing = taken(tiny)
    assert [(i.entries, i.newest[:10], len(i.sha256)) for i in listing.inventories] == [
        (2, "2026-03-04", 64),
        (3, "2026-02-03", 64),
    ]
    assert listing.dates == {
        "9zaa_0001": ("2025-05-05", "2026-03-04T00:00:00+00:00"),
        "9zab_0002": ("2026-02-03", ""),
        "EMD-0003": ("", ""),
    }
    assert [pair.key for pair in listing.one_sided] == ["9zab_0002"]


def test_changes_between_lists(tiny: Any) -> None:
    for number, pdb_id in enumerate(("9zaa", "9zab", "9zac", "9zad"), start=1):
        tiny.add(pdb_id, f"000{number}")
    tiny.add_map("0005", [])
    tiny.maps |= dict.fromkeys(tiny.maps, "2026-01-07")
    tiny.write_holdings()
    before = taken(tiny)
    assert compare_listings(before, taken(tiny)) == compare_listings(before, before)
    tiny.maps["EMD-0001"] = "2026-01-14"
    put(tiny, PDB_DATES, {"9ZAA": "2026-01-14"})
    del tiny.maps["EMD-0002"], tiny.models["9ZAC"]
    put(tiny, PDB_REMOVED, REMOVED)
    tiny.add_map("0004", [])
    tiny.add_model("9zad", [])
    tiny.add("9zaf", "0005")
    changes = compare_listings(before, taken(tiny))
    assert changes.new == ("9zaf_0005", "EMD-0003", "EMD-0004")
    assert changes.revised == {"9zaa_0001": "map and model"}
    assert changes.gone == {
        "9zab_0002": "EMD-0002 is no longer released",
        "9zac_0003": "9zac is no longer released (replaced by 9zad, 9zae)",
        "9zad_0004": "neither file says any longer that 9zad belongs to EMD-0004",
        "EMD-0005": "EMD-0005 has a model now",
    }


def test_list_is_kept(tiny: Any, tmp_path: Path) -> None:
    tiny.add("9zaa", "0001")
    tiny.add_model("9zab", ["0009"])
    listing = taken(tiny)
    assert listing.maps_not_released == (("9zab", "EMD-0009"),)
    path = tmp_path / "cache" / "listing.json"
    assert load_listing(path, listing.archive) is None
    save_listing(listing, path)
    assert load_listing(path, listing.archive) == listing
    assert load_listing(path, "another") is None


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1}', '{"schema": 1, "archive": "a", "pairs": [[1]], "inventories": []}'])
def test_damaged_list_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "listing.json").write_text(text, encoding="utf-8")
    assert load_listing(tmp_path / "listing.json", "a") is None


@pytest.mark.parametrize(
    ("pdb_id", "fate"),
    [
        ("9zac", "replaced by 9zad, 9zae"),
        ("9zaf", "replaced by 9zag"),
        ("9zah", "obsolete"),
        ("9zai", "obsolete"),
        ("9zaj", "status HPUB"),
        ("9zak", ""),
    ],
)
def test_fate_of_a_model_that_is_not_released(tiny: Any, tmp_path: Path, pdb_id: str, fate: str) -> None:
    tiny.add("9zaa", "0001")
    tiny.add_map("0002", [pdb_id])
    put(tiny, PDB_REMOVED, REMOVED)
    put(tiny, PDB_UNRELEASED, {"9ZAJ": {"status_code": "HPUB"}, "9ZAK": {}, "9ZAL": 7})
    pair = list_pairs(Archive(tiny.root))[1]
    assert (pair.unreleased, pair.fates) == ((pdb_id,), (fate,))
    (finding,) = (f for f in curate(pair, Archive(tiny.root), tmp_path).findings if f.code == "NO_MODEL")
    assert (f"{pdb_id} ({fate})" in finding.sentence) == bool(fate)


def test_lists_with_extended_ids(tiny: Any) -> None:
    tiny.add_map("0001", [])
    put(
        tiny,
        "pdb/holdings/current_file_holdings.json.gz",
        {
            "pdb_00009zaa": {"content_type": ["coordinates_pdbx", "validation_report"]},
            "pdb_19zab345": {"content_type": ["coordinates_pdbx", "structure_factors"]},
            "pdb_00009zac": {"content_type": ["validation_report"]},
        },
    )
    assert read_pdb_holdings(Archive(tiny.root)) == {
        "9zaa": ("coordinates_pdbx", "validation_report"),
        "pdb_19zab345": ("coordinates_pdbx", "structure_factors"),
    }


def test_unchanged_headers_are_not_opened_again(tiny: Any, tmp_path: Path) -> None:
    tiny.add("9zaa", "0001", link="emdb")
    tiny.maps["EMD-0001"] = {"last_modified_date": "2026-01-07"}
    tiny.write_holdings()
    archive = Archive(tiny.root, tmp_path / "cache")
    first = list_pairs(archive)
    path = tiny.root / "emdb/structures/EMD-0001/header/emd-0001.xml"
    whole = path.read_bytes()
    path.write_bytes(b"")
    assert list_pairs(archive) == first
    tiny.maps["EMD-0001"] = {"last_modified_date": "2026-01-14"}
    tiny.write_holdings()
    assert [pair.key for pair in list_pairs(archive)] == ["EMD-0001"]
    path.write_bytes(whole)
    assert list_pairs(archive) == first


def test_headers_without_a_date_are_read_each_time(tiny: Any, tmp_path: Path) -> None:
    tiny.add("9zaa", "0001", link="emdb")
    archive = Archive(tiny.root, tmp_path / "cache")
    assert read_emdb_holdings(archive) == {"EMD-0001": ""}
    assert [pair.key for pair in list_pairs(archive)] == ["9zaa_0001"]
    tiny.add_map("0001", [])
    assert [pair.key for pair in list_pairs(archive)] == ["EMD-0001"]
