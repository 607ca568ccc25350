"""Tables of ligands, waters and other records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refinement.report.markup import tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from xml.etree.ElementTree import Element

MOST = 100
"""Rows of a table; the rest is in table_one.json."""
SKIPPED = frozenset({"percentiles", "composition", "b_factors", "occupancies"})
"""Details that have a place of their own on the page."""


def record_tables(details: Mapping[str, Any]) -> Iterator[tuple[str, str, list[Element]]]:
    """Yield name, title and content of a section for each list of records among the details."""
    for name, value in details.items():
        if name in SKIPPED:
            continue
        lists = {"": value} if isinstance(value, list) else value if isinstance(value, dict) else {}
        tables = [_records(key, rows) for key, rows in lists.items() if _is_records(rows)]
        if tables:
            yield name.replace("_", "-"), _title(name), [element for table in tables for element in table]


def plain_table(names: Sequence[str], rows: Sequence[Sequence[str]], note: str) -> Element:
    """Return a table of texts; columns in which everything is a number are set to the right."""
    numeric = [all(_is_number(row[k]) for row in rows) for k in range(len(names))]
    classes = ["num" if flag else "" for flag in numeric]
    head = tag("tr", *(tag("th", name, scope="col", class_=class_) for name, class_ in zip(names, classes, strict=True)))
    body = [tag("tr", *(tag("td", text, class_=class_) for text, class_ in zip(row, classes, strict=True))) for row in rows]
    caption = tag("caption", note) if note else None
    return tag("div", tag("table", caption, tag("thead", head), tag("tbody", *body)), class_="scroll", tabindex="0")


def _is_records(rows: Any) -> bool:
    return isinstance(rows, list) and bool(rows) and all(isinstance(row, dict) for row in rows)


def _records(name: str, rows: Sequence[Mapping[str, Any]]) -> list[Element]:
    keys = [key for key in dict.fromkeys(key for row in rows for key in row) if not _nested(rows, key)]
    note = f"The first {MOST} of {len(rows)}; table_one.json has them all." if len(rows) > MOST else ""
    table = plain_table([_title(key) for key in keys], [[_text(row.get(key)) for key in keys] for row in rows[:MOST]], note)
    return [tag("h3", _title(name)), table] if name else [table]


def _nested(rows: Sequence[Mapping[str, Any]], key: str) -> bool:
    return any(isinstance(row.get(key), dict | list) for row in rows)


def _title(name: str) -> str:
    words = name.replace("_", " ").strip()
    for short, long in (("cc", "CC"), ("q score", "Q-score"), ("b iso", "B"), ("emringer", "EMRinger"), ("rmsz", "rmsZ")):
        words = long + words[len(short) :] if words == short or words.startswith(f"{short} ") else words
    return words[:1].upper() + words[1:]


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000.0 else str(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == "–"
    return True
