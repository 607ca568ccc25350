from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any

import pytest

from ceres.models import METRIC_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from django.test import Client

pytestmark = pytest.mark.django_db


@pytest.fixture
def archive(factory: ModuleType) -> ModuleType:
    """Three results, a refused and a failed pair."""
    for number, (cc, clash, resolution, verdict) in enumerate(
        [(0.5, 30.0, 4.2, "mixed"), (0.7, 10.0, 3.1, "improved"), (0.9, 2.0, 2.0, "improved")]
    ):
        entry = factory.make_entry(f"{number + 1}abc_100{number}", resolution=resolution, title=f"Protein number {number}")
        factory.make_result(
            entry, initial={"cc_mask": 0.6, "clashscore": 20.0}, refined={"cc_mask": cc, "clashscore": clash}, verdict=verdict
        )
    factory.make_job(factory.make_entry("7ref_7000", resolution=4.5))
    factory.make_job(factory.make_entry("8fai_8000"), state="failed", code="OUT_OF_MEMORY", message="It needs 40 GB.")
    return factory


def keys(response: Any) -> list[str]:
    return [row.record["key"] for row in response.context["table"].paginated_rows]


def test_the_table_is_sound(client: Client, archive: ModuleType, page_is_sound: Callable[..., None]) -> None:
    for address in (
        "/results/",
        "/results/?cols=all&sort=-delta_cc_mask",
        "/excluded/",
        "/excluded/?code=RESOLUTION_MISMATCH",
        "/results/?q=nothing",
    ):
        response = client.get(address)
        assert response.status_code == 200
        page_is_sound(response)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["1abc_1000", "2abc_1001", "3abc_1002", "7ref_7000", "8fai_8000"]),
        ("verdict=improved", ["2abc_1001", "3abc_1002"]),
        ("state=refused", ["7ref_7000"]),
        ("state=failed", ["8fai_8000"]),
        ("resolution_max=3.1", ["2abc_1001", "3abc_1002"]),
        ("resolution_min=3.1&resolution_max=4.2&state=published", ["1abc_1000", "2abc_1001"]),
        ("cc_mask_min=0.7", ["2abc_1001", "3abc_1002"]),
        ("clashscore_max=10", ["2abc_1001", "3abc_1002"]),
        ("code=resolution_mismatch", ["7ref_7000"]),
        ("q=number 1", ["2abc_1001"]),
        ("q=EMD-1002", ["3abc_1002"]),
        ("q=pdb_00007ref", ["7ref_7000"]),
        ("q=2abc_1001", ["2abc_1001"]),
        ("sort=-refined_cc_mask&state=published", ["3abc_1002", "2abc_1001", "1abc_1000"]),
        ("sort=refined_cc_mask", ["1abc_1000", "2abc_1001", "3abc_1002", "7ref_7000", "8fai_8000"]),
        ("sort=-refined_cc_mask", ["3abc_1002", "2abc_1001", "1abc_1000", "7ref_7000", "8fai_8000"]),
        ("sort=delta_clashscore&state=published", ["3abc_1002", "2abc_1001", "1abc_1000"]),
        ("sort=resolution&state=published", ["3abc_1002", "2abc_1001", "1abc_1000"]),
        ("sort=-key&state=published", ["3abc_1002", "2abc_1001", "1abc_1000"]),
    ],
)
def test_filters_and_order(client: Client, archive: ModuleType, query: str, expected: list[str]) -> None:
    assert keys(client.get(f"/results/?{query}")) == expected


@pytest.mark.parametrize(
    "query",
    [
        "sort=nonsense",
        "page=99",
        "page=x",
        "cc_mask_min=abc",
        "resolution_max=1e999",
        "verdict=x",
        "cols=x",
        "q=%00",
        "cc_mask_min=nan",
    ],
)
def test_nonsense_in_the_address_is_no_error(client: Client, archive: ModuleType, query: str) -> None:
    assert client.get(f"/results/?{query}").status_code == 200


def test_fields_that_a_form_sends_empty_leave_the_address(client: Client, archive: ModuleType) -> None:
    response = client.get("/results/?q=&run=&state=&verdict=mixed&cols=cc_mask&cols=q_score")
    assert response["Location"] == "/results/?verdict=mixed&cols=cc_mask&cols=q_score"


def test_sorted_column_says_so_and_links_keep_the_state(client: Client, archive: ModuleType) -> None:
    content = client.get("/results/?sort=-refined_cc_mask&verdict=improved").content.decode()
    assert len(re.findall(r'aria-sort="descending"', content)) == 1
    assert re.search(r'aria-sort="descending"><a href="\?sort=refined_cc_mask&amp;verdict=improved"', content)


def test_columns_are_chosen_in_the_address(client: Client, archive: ModuleType) -> None:
    metrics = client.get("/results/?cols=q_score&cols=cc_box").context["table"].groups
    assert [group.anchor for group in metrics] == ["cc_box", "q_score"]
    assert [group.anchor for group in client.get("/results/?cols=fit").context["table"].groups] == [
        "cc_mask",
        "cc_box",
        "q_score",
    ]


def test_values_changes_and_states_are_shown(client: Client, archive: ModuleType) -> None:
    content = client.get("/results/").content.decode()
    assert re.search(r'<td class="num worse">▼ −0.100</td>', content)
    assert '<td class="better num">▲ −18.00</td>' in content
    assert "refused: resolution mismatch" in content
    assert "failed: out of memory" in content


def test_a_run_can_be_chosen(client: Client, archive: ModuleType) -> None:
    entry = archive.make_entry("9old_9000")
    archive.make_result(entry, "2026-01", refined={"cc_mask": 0.61})
    archive.make_result(entry, "2026-02", refined={"cc_mask": 0.62})
    old = client.get("/results/?run=2026-01")
    assert keys(old) == ["9old_9000"]
    assert '/entry/9old_9000/runs/2026-01/"' in old.content.decode()
    assert ">0.610<" in old.content.decode()
    assert ">0.620<" in client.get("/results/?q=9old").content.decode()


def test_pages_do_not_overlap(client: Client, factory: ModuleType) -> None:
    for number in range(53):
        factory.make_job(factory.make_entry(f"1a{number:02}_{1000 + number}"))
    first, second = client.get("/results/?sort=-refined_cc_mask"), client.get("/results/?sort=-refined_cc_mask&page=2")
    assert len(keys(first)) == 50
    assert len(keys(second)) == 3
    assert not set(keys(first)) & set(keys(second))
    assert '<span aria-current="page">2</span>' in second.content.decode()


def test_the_table_asks_the_database_a_fixed_number_of_times(
    client: Client, factory: ModuleType, django_assert_num_queries: Any
) -> None:
    for number in range(20):
        factory.make_result(factory.make_entry(f"1a{number:02}_{1000 + number}"))
    with django_assert_num_queries(4):  # count, order, rows, runs
        client.get("/results/?sort=-delta_cc_mask&cols=all")
    for number in range(20):
        factory.make_job(factory.make_entry(f"2a{number:02}_{2000 + number}"))
    with django_assert_num_queries(4):  # reasons, count, rows, runs
        client.get("/excluded/")


def test_csv_holds_all_metrics_of_the_filtered_set(client: Client, archive: ModuleType) -> None:
    response = client.get("/results.csv?verdict=improved&sort=-key")
    assert response.streaming
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))
    assert [row["key"] for row in rows] == ["2abc_1001", "3abc_1002"]
    assert [float(row["refined_cc_mask"]) for row in rows] == [0.7, 0.9]
    assert {row["initial_emringer"] for row in rows} == {""}
    assert set(rows[0]) >= {f"{state}_{key}" for key in METRIC_KEYS for state in ("initial", "refined")}


def test_csv_of_everything_has_the_pairs_without_result_too(client: Client, archive: ModuleType) -> None:
    rows = list(csv.DictReader(io.StringIO(b"".join(client.get("/results.csv").streaming_content).decode())))
    assert [(row["key"], row["state"], row["code"]) for row in rows[-2:]] == [
        ("7ref_7000", "refused", "RESOLUTION_MISMATCH"),
        ("8fai_8000", "failed", "OUT_OF_MEMORY"),
    ]


def test_csv_keeps_spreadsheets_from_running_titles(client: Client, factory: ModuleType) -> None:
    factory.make_result(factory.make_entry(title='=HYPERLINK("x")'))
    rows = list(csv.DictReader(io.StringIO(b"".join(client.get("/results.csv").streaming_content).decode())))
    assert rows[0]["title"] == '\'=HYPERLINK("x")'


def test_excluded_pairs_are_counted_by_reason(client: Client, archive: ModuleType) -> None:
    archive.make_job(archive.make_entry("6ref_6000"))
    response = client.get("/excluded/")
    assert [(row["code"], row["state"], row["count"]) for row in response.context["reasons"]] == [
        ("RESOLUTION_MISMATCH", "refused", 2),
        ("OUT_OF_MEMORY", "failed", 1),
    ]
    one = client.get("/excluded/?code=OUT_OF_MEMORY")
    assert [job.entry.key for job in one.context["jobs"]] == ["8fai_8000"]
    assert "It needs 40 GB." in one.content.decode()
