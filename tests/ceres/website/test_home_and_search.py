from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

    from django.test import Client

pytestmark = pytest.mark.django_db


def test_home_without_anything_is_a_page(client: Client) -> None:
    response = client.get("/")
    assert response.status_code == 200
    assert b'name="q"' in response.content
    assert b'<svg class="plot"' not in response.content


def test_home_counts_the_latest_state_of_each_pair(client: Client, factory: ModuleType) -> None:
    twice = factory.make_entry("6udk_20740")
    factory.make_job(twice, "2026-10")
    factory.make_result(twice, "2026-11")
    refused = factory.make_entry("1abc_1234")
    factory.make_job(refused, "2026-10", "failed")
    factory.make_job(refused, "2026-11")
    factory.make_job(factory.make_entry("2abc_2345"), state="waiting")
    home = client.get("/").context["home"]
    assert home.counts == {"published": 1, "refused": 1, "failed": 0, "in_progress": 1}
    assert home.verdicts["improved"] == 1


def test_home_asks_the_database_a_fixed_number_of_times(
    client: Client, factory: ModuleType, django_assert_num_queries: object
) -> None:
    for number in range(8):
        factory.make_result(factory.make_entry(f"6ud{number}_2074{number}"))
    with django_assert_num_queries(4):
        response = client.get("/")
    assert response.content.count(b"/entry/6ud") == 6 + 8  # the newest six, and one mark each in the figure


@pytest.mark.parametrize(
    "text",
    [
        "6udk",
        "6UDK",
        " 6udk ",
        "pdb_00006udk",
        "PDB_00006UDK",
        "EMD-20740",
        "emd-20740",
        "emd_20740",
        "20740",
        "6udk_20740",
        "6udk-20740",
        "6UDK/EMD-20740",
        "6udk EMD-20740",
        "6udk,20740",
    ],
)
def test_every_spelling_leads_to_the_entry(client: Client, factory: ModuleType, text: str) -> None:
    factory.make_entry("6udk_20740")
    factory.make_entry("7xyz_30000")
    response = client.get("/search/", {"q": text})
    assert response.status_code == 302
    assert response["Location"] == "/entry/6udk_20740/"


def test_several_entries_of_one_map_are_listed(client: Client, factory: ModuleType) -> None:
    factory.make_entry("6udk_20740")
    factory.make_entry("6udl_20740")
    response = client.get("/search/", {"q": "20740"})
    assert response.status_code == 200
    assert b"/entry/6udk_20740/" in response.content
    assert b"/entry/6udl_20740/" in response.content


def test_an_emdb_number_keeps_its_leading_zeros(client: Client, factory: ModuleType) -> None:
    factory.make_entry("6gyn_0093")
    for text in ("0093", "EMD-93", "emd-0093"):
        assert client.get("/search/", {"q": text})["Location"] == "/entry/6gyn_0093/"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("9zzz", "not among the pairs"),
        ("EMD-99999", "not among the pairs"),
        ("hello there", "doesn’t look like a code"),
        ("<script>alert(1)</script>", "doesn’t look like a code"),
        ("'; drop table", "doesn’t look like a code"),
    ],
)
def test_an_unknown_code_is_told_why_with_404(client: Client, factory: ModuleType, text: str, words: str) -> None:
    factory.make_entry()
    response = client.get("/search/", {"q": text})
    assert response.status_code == 404
    assert words in response.content.decode()
    assert "<script>alert" not in response.content.decode()


def test_an_empty_search_leads_home(client: Client) -> None:
    assert client.get("/search/", {"q": "  "})["Location"] == "/"
    assert client.get("/search/")["Location"] == "/"


def test_a_null_byte_in_the_search_is_no_error(client: Client) -> None:
    assert client.get("/search/", {"q": "6u\0dk"}).status_code == 404


def test_home_draws_cells_where_there_are_many_entries(
    client: Client, factory: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ceres.website.charts.MOST_POINTS", 1)
    for number in range(3):
        factory.make_result(factory.make_entry(f"6ud{number}_2074{number}"))
    response = client.get("/")
    figure = response.context["figure"]
    assert figure.points == []
    assert [cell.title for cell in figure.cells] == ["3 entries"]
    assert b'class="cell shade-5"' in response.content
