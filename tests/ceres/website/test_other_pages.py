from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection

from ceres.models import Verdict
from ceres.website import formats
from ceres.website.glossary import VERDICTS
from curation.findings import GLOSSARY
from refinement.validation import registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

pytestmark = pytest.mark.django_db


def test_glossary_explains_every_metric_code_and_verdict(client: Client, page_is_sound: Callable[..., None]) -> None:
    response = client.get("/glossary/")
    page_is_sound(response)
    content = response.content.decode()
    anchors = [metric.key for metric in registry.METRICS] + [f"code-{code.lower()}" for code in GLOSSARY]
    anchors += [f"reason-{code}" for code in registry.REASONS] + [f"verdict-{verdict}" for verdict in Verdict.values]
    assert [anchor for anchor in anchors if f'id="{anchor}"' not in content] == []
    assert set(VERDICTS) == set(Verdict)
    assert "Changes up to 0.005 count as none. Good: at least 0.6; poor: at most 0.3." in content


@pytest.mark.parametrize("address", ["/", "/about/"])
def test_still_pages_are_sound(client: Client, page_is_sound: Callable[..., None], address: str) -> None:
    page_is_sound(client.get(address))


def test_unchanged_pages_are_not_sent_again(client: Client) -> None:
    tag = client.get("/glossary/")["ETag"]
    assert client.get("/glossary/", headers={"if-none-match": tag}).status_code == 304


def test_robots_and_icon(client: Client) -> None:
    robots = client.get("/robots.txt")
    assert robots["Content-Type"].startswith("text/plain")
    assert b"Disallow: /admin/" in robots.content
    assert client.get("/favicon.ico")["Location"] == "/static/img/favicon.svg"


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(1.005, 2, "1.00"), (-2.5, 1, "−2.5"), (-0.0001, 2, "0.00"), (0.0, 0, "0"), (None, 2, ""), (12345.678, 1, "12345.7")],
)
def test_numbers(value: float | None, digits: int, text: str) -> None:
    assert formats.number(value, digits) == text


@pytest.mark.parametrize(("value", "text"), [(0.5, "+0.50"), (-0.5, "−0.50"), (0.001, "0.00"), (-0.001, "0.00")])
def test_differences(value: float, text: str) -> None:
    assert formats.signed(value, 2) == text


@pytest.mark.parametrize(("size", "text"), [(12, "12 bytes"), (1234, "1.2 kB"), (9_876_543, "9.9 MB")])
def test_sizes(size: int, text: str) -> None:
    assert formats.file_size(size) == text


def test_pages_take_nothing_from_the_engine_but_the_registry() -> None:
    folder = Path(formats.__file__).parent
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "refinement":
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "refinement"}
    assert sorted(name for name in found if not name.startswith("refinement.validation.registry")) == []
    assert found


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/entry/a%00b/", 404),
        ("/entry/a/runs/b/files/%00", 404),
        ("/results/?run=%00", 404),
        ("/excluded/?code=%00", 200),
        ("/results/?q=%00", 200),
        ("/results/?code=%00", 200),
        ("/results/?sort=%00", 200),
    ],
)
def test_control_characters_in_addresses_reach_no_database(client: Client, address: str, status: int) -> None:
    seen: list[object] = []

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.extend(params or ())
        return execute(sql, params, many, context)

    with connection.execute_wrapper(watch):
        assert client.get(address).status_code == status
    assert [value for value in seen if isinstance(value, str) and "\0" in value] == []
