"""How a model was refined: the macro-cycles as a table and as figures, the choice, and what changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ceres.changes import KINDS, described
from ceres.website import formats
from ceres.website.table_one import label_of, metric_of
from refinement.validation.registry import Better

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ceres.models import Result

COLUMNS = ("cc_mask", "bonds_rmsd", "angles_rmsd", "clashscore", "rama_favored", "rama_outliers", "rama_z", "rotamer_outliers")
DRAWN = ("cc_mask", "clashscore", "rama_favored", "rotamer_outliers")
"""Metrics of the table, and those that have a figure."""

WIDTH, HEIGHT = 300, 132
LEFT, RIGHT, TOP, BOTTOM = 50, 50, 12, 34
"""Size of a figure and its margins, in the units of its view box."""
SHOWN = 12
"""Changes of each kind that the page names."""


@dataclass(frozen=True, slots=True)
class Step:
    """A row of the table: a state of the model, the moves that led to it, and how long that took."""

    label: str
    values: list[str]
    weight: str
    moves: str
    seconds: str
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A point of a figure."""

    x: float
    y: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric from the deposited model through the cycles to the refined one."""

    label: str
    unit: str
    line: str
    marks: list[Mark]
    first: Mark
    last: Mark
    first_text: str
    last_text: str
    better: str
    about: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    base: int = HEIGHT - BOTTOM + 8


@dataclass(frozen=True, slots=True)
class Kind:
    """Changes of one kind: how many, and the first ones with the anchors that select their residues."""

    title: str
    named: list[tuple[str, str]]
    more: int


@dataclass(frozen=True, slots=True)
class Story:
    """What the page says about a refinement."""

    verdict: str
    head: list[tuple[str, str]]
    steps: list[Step]
    figures: list[Figure]
    changes: list[Kind]


def story_of(result: Result) -> Story | None:
    """Return the story of a refinement, None where the result doesn't hold it."""
    record: dict[str, Any] = result.refinement
    if not record.get("cycles"):
        return None
    final = {key: result.value("refined", key) for key in COLUMNS}
    head = [(label_of(key), metric_of(key).unit) for key in COLUMNS]
    figures = [_figure(key, [record["start"], *record["cycles"], final]) for key in DRAWN]
    return Story(
        verdict=record.get("verdict", ""),
        head=head,
        steps=[
            Step("Deposited", _values(record["start"]), "", "", ""),
            *(_step(row, kept=row["state"] == record.get("kept")) for row in record["cycles"]),
            Step("Refined, with new B factors", _values(final), "", "", ""),
        ],
        figures=[figure for figure in figures if figure is not None],
        changes=list(_kinds(record.get("changes") or {})),
    )


def _step(row: Mapping[str, Any], *, kept: bool) -> Step:
    made, undone = row.get("moves_made", 0), row.get("moves_undone", 0)
    moves = f"{made}, {undone} undone" if undone else f"{made}"
    weight, seconds = (formats.number(row.get(key), 1) for key in ("weight", "cycle_seconds"))
    return Step(f"Cycle {row['cycle']}", _values(row), weight, moves, seconds, kept=kept)


def _values(row: Mapping[str, Any]) -> list[str]:
    return [formats.number(row.get(key), metric_of(key).digits) or "–" for key in COLUMNS]


def _figure(key: str, rows: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Draw a metric: the input first, the cycles, what is handed out last."""
    values = [row.get(key) for row in rows]
    known = [value for value in values if value is not None]
    if len(known) < 2 or values[0] is None or values[-1] is None:
        return None
    metric = metric_of(key)
    low, high = min(known), max(known)
    room = (high - low) or 1.0
    across = (WIDTH - LEFT - RIGHT) / (len(values) - 1)

    def mark(number: int, value: float) -> Mark:
        kind = "deposited" if number == 0 else "refined" if number == len(values) - 1 else "cycle"
        name = {"deposited": "deposited", "refined": "refined"}.get(kind, f"cycle {number}")
        y = TOP + (high - value) / room * (HEIGHT - TOP - BOTTOM) if high > low else 0.5 * (TOP + HEIGHT - BOTTOM)
        return Mark(
            round(LEFT + number * across, 1), round(y, 1), kind, f"{name}: {formats.number(value, metric.digits)} {metric.unit}"
        )

    marks = [mark(number, value) for number, value in enumerate(values) if value is not None]
    texts = [formats.number(value, metric.digits) for value in (values[0], values[-1])]
    return Figure(
        label=label_of(key),
        unit=metric.unit,
        line=" ".join(f"{point.x},{point.y}" for point in marks),
        marks=marks,
        first=marks[0],
        last=marks[-1],
        first_text=texts[0],
        last_text=texts[1],
        better={Better.HIGHER: "higher is better", Better.LOWER: "lower is better"}.get(metric.better, ""),
        about=f"{label_of(key)}: {texts[0]} deposited, {texts[1]} refined, over {len(values) - 2} cycles",
    )


def _kinds(changes: Mapping[str, Any]) -> list[Kind]:
    """Return the kinds of changes that there are."""
    found = []
    for kind, names in KINDS.items():
        count = changes.get("counts", {}).get(kind, 0)
        if count:
            rows = changes.get(kind, [])[:SHOWN]
            named = [(f"{row['chain']}/{row['number']}{row.get('insertion', '')}", described(kind, row)) for row in rows]
            title = f"{formats.grouped(count)} {names[count != 1]}"
            found.append(Kind(title, named, count - len(named)))
    return found
