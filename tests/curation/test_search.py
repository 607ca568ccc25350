"""The search services as a second source, answered by stand-ins."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from curation import search
from curation.download import ArchiveError
from curation.identifiers import Declarer, Pair
from curation.listing import Listing
from curation.search import compare_with_search, search_emdb, search_rcsb

if TYPE_CHECKING:
    from collections.abc import Callable

PAGES = {
    "1": 'emdb_id,fitted_pdbs\nEMD-0001,"9zaa,9zab"\nEMD-0002,9ZAC\n',
    "2": "emdb_id,fitted_pdbs\nEMD-0003,9zad\nEMD-0004,\n",
    "3": "emdb_id,fitted_pdbs\nnothing,9zae\n",
}


def client(answer: Callable[[httpx.Request], httpx.Response]) -> httpx.Client:
    return httpx.Client(transport=httpx.MockTransport(answer))


def test_emdb_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "ROWS", 2)
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(200, text=PAGES[request.url.params["page"]])

    found = search_emdb(client(answer), pause=0)
    assert found == {("9zaa", "EMD-0001"), ("9zab", "EMD-0001"), ("9zac", "EMD-0002"), ("9zad", "EMD-0003")}
    assert [url.params["page"] for url in asked] == ["1", "2", "3"]
    assert asked[0].path == '/emdb/api/search/current_status:"REL" AND xref_links:"pdb"'


def test_pages_without_end_come_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "ROWS", 2)
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params["page"])
        return httpx.Response(200, text=PAGES["1"])

    assert len(search_emdb(client(answer), pause=0)) == 3
    assert asked == ["1", "2"]


def test_rcsb_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "BATCH", 2)
    links = {"9ZAA": ["EMD-0001", "EMD-0002"], "9ZAB": None, "9ZAC": ["EMD-0003", "odd"]}
    batches: list[list[str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        if "request_options" in asked:
            return httpx.Response(200, json={"result_set": [{"identifier": name} for name in links]})
        batches.append(asked["variables"]["ids"])
        rows = [{"rcsb_id": name, "rcsb_entry_container_identifiers": {"emdb_ids": links[name]}} for name in batches[-1]]
        return httpx.Response(200, json={"data": {"entries": rows}})

    found = search_rcsb(client(answer), pause=0)
    assert found == {("9zaa", "EMD-0001"), ("9zaa", "EMD-0002"), ("9zac", "EMD-0003")}
    assert batches == [["9ZAA", "9ZAB"], ["9ZAC"]]
    assert search_rcsb(client(lambda _: httpx.Response(204)), pause=0) == set()


def test_faults_have_a_type() -> None:
    def cut(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route", request=request)

    for ask in (search_emdb, search_rcsb):
        for answer, code in (
            (cut, "search_unreachable"),
            (lambda _: httpx.Response(429), "search_refuses"),
            (lambda _: httpx.Response(200, text="<html>\n<body>\n"), "search_odd"),
        ):
            with pytest.raises(ArchiveError) as fault:
                ask(client(answer), pause=0)
            assert fault.value.code == code


def test_disagreement() -> None:
    both = (Declarer.EMDB, Declarer.PDB)
    pairs = (Pair("EMD-0001", "9zaa", both), Pair("EMD-0002", "9zab", both), Pair("EMD-0003"))
    found = {("9zaa", "EMD-0001"), ("9zac", "EMD-0003")}
    result = compare_with_search(Listing("here", (), pairs, {}), found)
    assert (result.found, result.only_found, result.only_listed) == (2, ("9zac_0003",), ("9zab_0002",))
