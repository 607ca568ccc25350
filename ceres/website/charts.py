"""Figures that the server draws: the coordinates are made here, the marks in the template."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from refinement.validation.registry import BY_KEY

if TYPE_CHECKING:
    from collections.abc import Iterable

SIZE = 420
MARGIN_LEFT, MARGIN_BOTTOM, MARGIN_TOP, MARGIN_RIGHT = 52, 46, 12, 12
CELLS = 30
"""Cells along each side where there are too many points for marks of their own."""

MOST_POINTS = 600
SHADES = 5


@dataclass(frozen=True, slots=True)
class Point:
    """One entry."""

    x: float
    y: float
    key: str
    worse: bool
    title: str


@dataclass(frozen=True, slots=True)
class Cell:
    """All entries of a small square."""

    x: float
    y: float
    shade: int
    title: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on both axes."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Scatter:
    """Deposited against refined values of a metric."""

    label: str
    points: list[Point]
    cells: list[Cell]
    ticks: list[Tick]
    count: int
    higher: int
    size: int = SIZE
    left: int = MARGIN_LEFT
    right: int = SIZE - MARGIN_RIGHT
    top: int = MARGIN_TOP
    bottom: int = SIZE - MARGIN_BOTTOM

    @property
    def cell_size(self) -> float:
        """Side of a cell."""
        return round((self.right - self.left) / CELLS, 1)


def _place(value: float) -> tuple[float, float]:
    """Return the horizontal and the vertical position of a value between 0 and 1."""
    share = min(max(value, 0.0), 1.0)
    x = MARGIN_LEFT + share * (SIZE - MARGIN_LEFT - MARGIN_RIGHT)
    y = SIZE - MARGIN_BOTTOM - share * (SIZE - MARGIN_BOTTOM - MARGIN_TOP)
    return round(x, 1), round(y, 1)


def scatter(key: str, values: Iterable[tuple[str, float, float]]) -> Scatter:
    """Return the figure of a correlation before and after refinement.

    Parameters
    ----------
    key : str
        Metric with values between 0 and 1.
    values : iterable of (str, float, float)
        Entry, deposited value, refined value.
    """
    rows = list(values)
    metric = BY_KEY[key]
    few = len(rows) <= MOST_POINTS
    ticks = [Tick(*_place(share), f"{share:.1f}") for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)]
    return Scatter(
        label=metric.label,
        points=[_point(key, *row) for row in rows] if few else [],
        cells=[] if few else _cells(rows),
        ticks=ticks,
        count=len(rows),
        higher=sum(metric.compare(before, after) == "better" for _, before, after in rows),
    )


def _point(key: str, entry: str, before: float, after: float) -> Point:
    worse = BY_KEY[key].compare(before, after) == "worse"
    title = f"{entry}: {before:.3f} deposited, {after:.3f} refined"
    return Point(_place(before)[0], _place(after)[1], entry, worse, title)


def _cells(rows: list[tuple[str, float, float]]) -> list[Cell]:
    counts = Counter((_step(before), _step(after)) for _, before, after in rows)
    most = max(counts.values())
    made = []
    for (column, row), count in sorted(counts.items()):
        x, y = _place(column / CELLS)[0], _place((row + 1) / CELLS)[1]
        shade = max(1, round(SHADES * (count / most) ** 0.5))
        made.append(Cell(x, y, shade, f"{count} entries"))
    return made


def _step(value: float) -> int:
    return min(CELLS - 1, int(min(max(value, 0.0), 1.0) * CELLS))
