"""Pairs listed from holdings files and from the links of both sides."""

from __future__ import annotations

import gzip
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.archive import PDB_DATES, Archive
from curation.download import FileMissingError
from curation.holdings import HoldingsError, list_pairs, read_emdb_holdings, read_pdb_holdings
from curation.identifiers import Declarer
from curation.remembered import MEMORY_FILE

if TYPE_CHECKING:
    from pathlib import Path

JSON = st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))


def keys(tiny: Any) -> list[str]:
    return [pair.key for pair in list_pairs(Archive(tiny.root))]


def test_many_to_many(tiny: Any) -> None:
    tiny.add_map("0001", ["9zaa", "9zab"])
    tiny.add_map("0002", ["9zaa"])
    tiny.add_model("9zaa", ["0001", "0002"])
    tiny.add_model("9zab", [])
    pairs = list_pairs(Archive(tiny.root))
    both = (Declarer.EMDB, Declarer.PDB)
    assert [(pair.key, pair.declared_by) for pair in pairs] == [
        ("9zaa_0001", both),
        ("9zab_0001", (Declarer.EMDB,)),
        ("9zaa_0002", both),
    ]


def test_unreleased_sides_make_no_pair(tiny: Any) -> None:
    tiny.add("9zaa", "0001")
    tiny.add("9zab", "0002")
    del tiny.models["9ZAA"], tiny.maps["EMD-0002"]
    tiny.write_holdings()
    assert keys(tiny) == ["EMD-0001"]


def test_damaged_model_does_not_lose_the_pair(tiny: Any) -> None:
    tiny.add("9zaa", "0001")
    path = tiny.model_file("9zaa")
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", gzip.compress(b"data_x\nloop_\n_a.b\n"), gzip.compress(b"EMDB\x00\xff")):
        path.write_bytes(damaged)
        assert keys(tiny) == ["9zaa_0001"]
    path.unlink()
    assert keys(tiny) == ["9zaa_0001"]


def test_crystal_and_nmr_entries_are_not_opened(tiny: Any) -> None:
    tiny.add("9zaa", "0001", link="pdb")
    tiny.models["9ZAA"]["structure_factors"] = ["/x"]
    tiny.write_holdings()
    assert keys(tiny) == ["EMD-0001"]


def test_foreign_keys_are_passed_over(tiny: Any) -> None:
    tiny.add("9zaa", "0001")
    tiny.models |= {"": {}, "not an id": {"mmcif": []}, "9ZAB": {"pdb": ["/x"]}, "PDB_00009ZAC": None}
    tiny.maps |= {"EMD-x": {}, "../../etc": {}, "EMD-0000": {}}
    tiny.write_holdings()
    archive = Archive(tiny.root)
    assert list(read_pdb_holdings(archive)) == ["9zaa", "9zac"]
    assert list(read_emdb_holdings(archive)) == ["EMD-0001"]


def test_progress_counts_files(tiny: Any) -> None:
    tiny.add("9zaa", "0001")
    seen: list[tuple[str, int, int]] = []
    list_pairs(Archive(tiny.root), progress=lambda *step: seen.append(step))
    assert seen == [("map headers", 1, 1), ("models", 1, 1)]


@pytest.mark.parametrize("data", [b"", b"{", b"[1, 2]", b"null", b'{"a": NaN', b"\xff\xfe", b"[" * 100_000])
def test_damaged_holdings_have_a_type(tiny: Any, data: bytes) -> None:
    tiny.add("9zaa", "0001")
    path = tiny.root / "emdb/status/latest/emdb_released_holdings.json"
    path.write_bytes(data)
    with pytest.raises(HoldingsError, match=r"emd.*holdings\.json") as fault:
        list_pairs(Archive(tiny.root))
    assert fault.value.code == "holdings_damaged"


def test_truncated_holdings(tiny: Any) -> None:
    tiny.add("9zaa", "0001")
    path = tiny.root / "pdb/holdings/current_file_holdings.json.gz"
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(HoldingsError):
        list_pairs(Archive(tiny.root))
    path.unlink()
    with pytest.raises(FileMissingError):
        list_pairs(Archive(tiny.root))


FORM = '{"schema": 2, "archive": "ARCHIVE", "links": %s}'


def date_entries(tiny: Any, date: str) -> None:
    dates = json.dumps(dict.fromkeys(tiny.models, date)).encode()
    tiny.write(tiny.root / PDB_DATES, gzip.compress(dates))


def test_unchanged_models_are_not_opened_again(tiny: Any, tmp_path: Path) -> None:
    tiny.add("9zaa", "0001", link="pdb")
    date_entries(tiny, "2026-01-07T00:00:00+00:00")
    archive = Archive(tiny.root, tmp_path / "cache")
    first = list_pairs(archive)
    tiny.model_file("9zaa").write_bytes(b"")
    assert list_pairs(archive) == first
    date_entries(tiny, "2026-01-14T00:00:00+00:00")
    assert [pair.key for pair in list_pairs(archive)] == ["EMD-0001"]


def test_another_archive_with_the_same_dates_is_read_anew(tiny: Any, tmp_path: Path) -> None:
    tiny.add("9zaa", "0001", link="pdb")
    date_entries(tiny, "2026-01-07T00:00:00+00:00")
    assert [pair.key for pair in list_pairs(Archive(tiny.root, tmp_path / "cache"))] == ["9zaa_0001"]
    mirror = tmp_path / "mirror"
    shutil.copytree(tiny.root, mirror)
    tiny.add("9zaa", "0002", link="pdb")
    shutil.copyfile(tiny.model_file("9zaa"), mirror / tiny.model_file("9zaa").relative_to(tiny.root))
    assert [pair.key for pair in list_pairs(Archive(mirror, tmp_path / "cache"))] == ["EMD-0001"]


def test_broken_models_are_not_remembered(tiny: Any, tmp_path: Path) -> None:
    tiny.add("9zaa", "0001", link="pdb")
    date_entries(tiny, "2026-01-07T00:00:00+00:00")
    archive = Archive(tiny.root, tmp_path / "cache")
    whole = tiny.model_file("9zaa").read_bytes()
    tiny.model_file("9zaa").write_bytes(whole[:100])
    assert [pair.key for pair in list_pairs(archive)] == ["EMD-0001"]
    tiny.model_file("9zaa").write_bytes(whole)
    assert [pair.key for pair in list_pairs(archive)] == ["9zaa_0001"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": 0, "links": {}}',
        '{"schema": 2, "links": {}}',
        *(FORM % links for links in ('{"9zaa": []}', "7")),
    ],
)
def test_damaged_memory_counts_as_empty(tiny: Any, tmp_path: Path, text: str) -> None:
    tiny.add("9zaa", "0001", link="pdb")
    date_entries(tiny, "2026-01-07T00:00:00+00:00")
    text = text.replace("ARCHIVE", str(Archive(tiny.root)))
    tiny.write(tmp_path / "cache" / MEMORY_FILE, text.encode())
    assert [pair.key for pair in list_pairs(Archive(tiny.root, tmp_path / "cache"))] == ["9zaa_0001"]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(JSON)
def test_any_json_is_read_or_refused(tmp_path: Path, content: object) -> None:
    for name, packed in (
        ("pdb/holdings/current_file_holdings.json.gz", True),
        ("emdb/status/latest/emdb_released_holdings.json", False),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = json.dumps(content).encode()
        path.write_bytes(gzip.compress(data, 1) if packed else data)
    archive = Archive(tmp_path)
    if isinstance(content, dict):
        assert all(pair.pdb_id is None for pair in list_pairs(archive))
    else:
        with pytest.raises(HoldingsError):
            list_pairs(archive)
