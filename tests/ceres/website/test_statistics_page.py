"""Findings counted by kind and month."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ceres.models import Job, Run
from ceres.website.statistics import OUT_OF_SCOPE, PAPER, RULES, statistics
from curation.findings import Code

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from django.test import Client

pytestmark = pytest.mark.django_db


def finding(code: str, severity: str = "refuse") -> dict[str, Any]:
    return {"code": code, "severity": severity, "sentence": "Because.", "numbers": {}, "hint": ""}


@pytest.fixture
def months(factory: ModuleType) -> ModuleType:
    """Two runs: ten pairs in October, and in November one that was refused then passes, one fails, one waits."""
    refused = ["RESOLUTION_MISMATCH", "RESOLUTION_MISMATCH", "GRID_MISMATCH", "LOW_RESOLUTION", "NO_MODEL"]
    for number in range(10):
        entry = factory.make_entry(f"{number}abc_100{number}")
        note = [finding("PLACEHOLDER_CELL", "note"), finding("PLACEHOLDER_CELL", "note")]
        if number < len(refused):
            code = refused[number]
            factory.make_job(entry, "2026-10", code=code, findings=[finding(code), *note])
            if number:
                factory.make_job(entry, "2026-11", code=code, findings=[finding(code), *note])
            else:
                factory.make_job(entry, "2026-11", "published", findings=note)
        else:
            factory.make_job(entry, "2026-10", "published", findings=[*note, finding("MAP_MASKED", "note")])
            state, code = {9: ("failed", "OUT_OF_MEMORY"), 8: ("waiting", "")}.get(number, ("published", ""))
            factory.make_job(entry, "2026-11", state, code=code, findings=[finding("RESOLUTION_ROUNDED", "warn")])
    return factory


def table_of(client: Client) -> dict[str, list[str]]:
    groups = client.get("/statistics/").context["statistics"].groups
    return {row.label: [cell.text for cell in row.cells] for _, rows in groups for row in rows}


def test_pairs_are_counted_by_code_and_run(client: Client, months: ModuleType, page_is_sound: Callable[..., None]) -> None:
    response = client.get("/statistics/")
    assert response.status_code == 200
    page_is_sound(response)
    shown = response.context["statistics"]
    assert [run.label for run in shown.runs] == ["2026-11", "2026-10"]
    assert [(run.pairs, run.excluded, run.published, run.in_progress) for run in shown.runs] == [(8, 2, 4, 1), (8, 3, 5, 0)]
    rows = table_of(client)
    assert rows["Resolution mismatch"] == ["1", "2", "263"]
    assert rows["Grid mismatch"] == ["1", "1", "56"]
    assert rows["Multi model"] == ["0", "0", "–"]
    assert rows["Excluded"] == ["2 (25.0\u202f%)", "3 (37.5\u202f%)", "370 (11.2\u202f%)"]
    assert rows["Computation failed: out of memory"] == ["1", "0", "–"]
    assert rows["Low resolution"] == ["1", "1", "–"]
    assert rows["No model"] == ["1", "1", "–"]
    assert rows["Placeholder cell"] == ["5", "10", "–"]  # once for each pair
    assert rows["Resolution rounded"] == ["5", "0", "–"]
    assert rows["All pairs in scope"] == ["8", "8", "3\u202f308"]


def test_counts_lead_to_the_pairs(client: Client, months: ModuleType) -> None:
    text = client.get("/statistics/").content.decode()
    assert 'href="/excluded/?run=2026-11&amp;code=GRID_MISMATCH"' in text
    listed = client.get("/excluded/?run=2026-10&code=RESOLUTION_MISMATCH").context["jobs"]
    assert [job.entry.key for job in listed] == ["0abc_1000", "1abc_1001"]


def test_bars_are_as_long_as_their_share(client: Client, months: ModuleType) -> None:
    chart = client.get("/statistics/").context["statistics"].chart
    assert chart.axis == ["0", "12.5", "25", "37.5", "50\u202f%"]
    newest, older, paper = chart.bars
    assert [(segment.kind, segment.x, segment.width) for segment in newest.segments] == [
        ("resolution_mismatch", 0.0, 25.0), ("grid_mismatch", 25.0, 25.0), ("failed", 50.0, 25.0),
    ]  # fmt: skip
    assert sum(segment.width for segment in older.segments) == pytest.approx(75.0)
    assert sum(segment.width for segment in paper.segments) == pytest.approx(200.0 * 370 / 3308, abs=0.01)
    assert {kind for kind, _ in chart.legend} == {segment.kind for bar in chart.bars for segment in bar.segments}


def test_changed_jobs_are_counted_again(client: Client, months: ModuleType) -> None:
    before = table_of(client)["Placeholder cell"]
    job = Job.objects.filter(run__label="2026-11", findings__0__code="RESOLUTION_ROUNDED").first()
    assert job is not None
    job.findings = [finding("PLACEHOLDER_CELL", "note")]
    job.save()
    assert [before[0], table_of(client)["Placeholder cell"][0]] == ["5", "6"]


def test_the_page_asks_the_database_a_fixed_number_of_times(
    client: Client, months: ModuleType, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(5):  # runs, jobs by code, findings of both runs, number of runs
        client.get("/statistics/")
    with django_assert_num_queries(3):
        client.get("/statistics/")


def test_older_runs_are_left_out(client: Client, factory: ModuleType) -> None:
    for month in range(1, 16):
        factory.make_job(factory.make_entry(f"1abc_{month:04}"), f"2025-{month:02}")
    shown = statistics()
    assert (len(shown.runs), shown.older) == (12, 3)
    assert "3 older runs are not shown" in client.get("/statistics/").content.decode()


def test_a_site_without_runs_says_so(client: Client, page_is_sound: Callable[..., None]) -> None:
    assert not Run.objects.exists()
    response = client.get("/statistics/")
    page_is_sound(response)
    assert "No run has begun yet." in response.content.decode()


def test_the_published_counts_are_those_of_the_paper() -> None:
    assert (PAPER.pairs, PAPER.excluded) == (3308, 370)
    assert not set(RULES) & set(OUT_OF_SCOPE)
    assert set(RULES) | set(OUT_OF_SCOPE) <= set(Code)
