"""Tables of ligands, waters, base pairs and other records."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from refinement.report.markup import tag
from refinement.validation.ligands import FLAGS
from refinement.validation.waters import SUGGESTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from xml.etree.ElementTree import Element

MOST = 100
"""Rows of a table; the rest is in table_one.json."""

LIGAND_COLUMNS = (
    ("cc", "CC", 2),
    ("q_score", "Q-score", 2),
    ("b_mean", "B, Å²", 0),
    ("b_neighbours", "B around, Å²", 0),
    ("occupancy_mean", "Occupancy", 2),
    ("clashes", "Clashes", 0),
    ("bonds_rmsz", "Bonds, rmsZ", 2),
    ("angles_rmsz", "Angles, rmsZ", 2),
)
WATER_COLUMNS = (
    ("q_score_06", "Q-score (σ 0.6)", 2),
    ("density", "Density", 2),
    ("b_iso", "B, Å²", 0),
    ("occupancy", "Occupancy", 2),
    ("severity", "Clashes, Å", 2),
)


def record_tables(details: Mapping[str, Any]) -> Iterator[tuple[str, str, list[Element]]]:
    """Yield name, title and content of the sections about ligands, waters and base pairs that the model has."""
    found = details.get("ligands") or []
    if found:
        yield "ligands", "Ligands and ions", _ligands(found)
    water = details.get("waters") or {}
    if water.get("count"):
        yield "waters", "Waters", _waters(water)
    pairs = details.get("base_pairs") or {}
    if pairs.get("pairs"):
        yield "base-pairs", "Base pairs", _base_pairs(pairs)


def plain_table(names: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> Element:
    """Return a table of texts without its empty columns; those of numbers only are set to the right."""
    used = [k for k in range(len(names)) if not rows or any(row[k] for row in rows)]
    names, rows = [names[k] for k in used], [[row[k] for k in used] for row in rows]
    classes = ["num" if all(_is_number(row[k]) for row in rows) else "" for k in range(len(names))]
    head = tag("tr", *(tag("th", name, scope="col", class_=class_) for name, class_ in zip(names, classes, strict=True)))
    body = [tag("tr", *(tag("td", text, class_=class_) for text, class_ in zip(row, classes, strict=True))) for row in rows]
    caption = tag("caption", note) if note else None
    return tag("div", tag("table", caption, tag("thead", head), tag("tbody", *body)), class_="scroll", tabindex="0")


def _ligands(found: Sequence[Mapping[str, Any]]) -> list[Element]:
    """Return the ligands, those with a flag first."""
    ordered = sorted(found, key=lambda row: -len(row.get("flags") or []))
    rows = [
        [
            _label(row),
            *(_number(row.get(key), digits) for key, _, digits in LIGAND_COLUMNS),
            " ".join(FLAGS.get(code, code) for code in row.get("flags") or []),
        ]
        for row in ordered[:MOST]
    ]
    names = ("Residue", *(name for _, name, _ in LIGAND_COLUMNS), "Suspicious because")
    return [plain_table(names, rows, _cut(len(found), "those with a doubt first"))]


def _waters(found: Mapping[str, Any]) -> list[Element]:
    sentence = (
        f"{found['count']:,} waters: {found['with_clashes']} clash ({found['percent_with_clashes']:.1f} %), "
        f"{found['without_density']} have no density."
    )
    content = [tag("p", sentence)]
    listed = found.get("suspicious") or []
    if listed:
        rows = [
            [
                _label(row),
                *(_number(row.get(key), digits) for key, _, digits in WATER_COLUMNS),
                " ".join(SUGGESTIONS.get(code, code) for code in row.get("suggestion") or []),
            ]
            for row in listed[:MOST]
        ]
        names = ("Water", *(name for _, name, _ in WATER_COLUMNS), "What it may be")
        content.append(plain_table(names, rows, _cut(len(listed), "the worst clashes first")))
    return content


def _base_pairs(found: Mapping[str, Any]) -> list[Element]:
    classes = Counter(pair["saenger"] for pair in found["pairs"])
    kinds = {pair["saenger"]: pair["kind"] for pair in found["pairs"]}
    rows = [[name, kinds[name], str(count)] for name, count in classes.most_common()]
    sentence = f"{len(found['pairs']):,} pairs and {len(found.get('stacks') or []):,} stacks of bases."
    return [tag("p", sentence), plain_table(("Class of Saenger", "Kind", "Pairs"), rows)]


def _cut(count: int, order: str) -> str:
    return f"{MOST} of {count}, {order}; table_one.json has them all." if count > MOST else ""


def _label(row: Mapping[str, Any]) -> str:
    return f"{row['chain']}/{row['number']}{row.get('insertion') or ''} {row['compound']}"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == "–"
    return True
