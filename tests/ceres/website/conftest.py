"""Fixtures of the tests of the pages."""

from __future__ import annotations

import importlib.util
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.cache import cache

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from django.http import HttpResponse
    from pytest_django.fixtures import SettingsWrapper


@pytest.fixture(scope="session")
def factory() -> ModuleType:
    """The module that makes entries, jobs and results."""
    spec = importlib.util.spec_from_file_location("site_factory", Path(__file__).with_name("site_factory.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def artifact_folder(settings: SettingsWrapper, tmp_path: Path) -> Path:
    """An artifact storage of the test's own, and a cache that holds nothing of other tests."""
    cache.clear()
    storage: dict[str, Any] = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    settings.STORAGES = {**settings.STORAGES, "artifacts": storage}
    return tmp_path


class _Outline(HTMLParser):
    """Collects what `page_is_sound` asserts about."""

    VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.faults: list[str] = []
        self.labelled: set[str] = set()
        self.controls: list[dict[str, str | None]] = []
        self.headings: list[int] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if len(values) != len(attrs):
            self.faults.append(f"an attribute twice on <{tag}>: {attrs}")
        if tag not in self.VOID:
            self.open.append(tag)
        self.ids += [values["id"]] if values.get("id") else []
        self.faults += [f"inline style on <{tag}>"] if "style" in values or tag == "style" else []
        self.faults += [f"{name} on <{tag}>" for name in values if name.startswith("on")]
        if tag == "label":
            self.labelled.add(values.get("for") or "")
        if tag in {"input", "select", "textarea"} and values.get("type") != "hidden" and "label" not in self.open:
            self.controls.append(values)
        if tag in {"h1", "h2", "h3"}:
            self.headings.append(int(tag[1]))
        self.references += [value for name, value in attrs if name in {"aria-labelledby", "aria-describedby"} and value]
        if tag in {"script", "link", "img"}:
            source = values.get("src") or values.get("href") or ""
            self.faults += (
                [f"<{tag}> from elsewhere: {source}"]
                if source.startswith(("http", "//")) and values.get("rel") != "canonical"
                else []
            )
            self.faults += ["inline script"] if tag == "script" and "src" not in values else []
        if tag == "th" and values.get("scope") not in {"col", "row", "colgroup", "rowgroup"}:
            self.faults.append("<th> without scope")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> doesn't close what is open")


@pytest.fixture(scope="session")
def page_is_sound() -> Callable[[HttpResponse], None]:
    """A check of a page's HTML: balanced, unique ids, labelled controls, one h1, nothing inline, nothing from elsewhere."""

    def check(response: HttpResponse) -> None:
        outline = _Outline()
        outline.feed(response.content.decode())
        assert outline.faults == []
        assert outline.open == []
        assert len(set(outline.ids)) == len(outline.ids)
        assert outline.headings.count(1) == 1
        assert set(outline.references) <= set(outline.ids)
        unlabelled = [row for row in outline.controls if row.get("id") not in outline.labelled and not row.get("aria-label")]
        assert unlabelled == []
        assert outline.headings[0] == 1
        assert all(later - earlier <= 1 for earlier, later in pairwise(outline.headings))

    return check
