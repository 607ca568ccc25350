"""Residue tracks, curves and histograms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import gemmi
import numpy as np

from refinement.report.markup import Frame, axes, picture, round_ticks, tag
from refinement.validation.cablam import OUTLIER as CABLAM_OUTLIER
from refinement.validation.cbeta import OUTLIER as CBETA_OUTLIER
from refinement.validation.ramachandran import Region

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from xml.etree.ElementTree import Element

    from numpy.typing import NDArray

    from refinement.report.run_files import ResidueColumns

TRACK_WIDTH = 1000
TRACKS = (("cc", "CC", "series-1"), ("q_score", "Q-score", "series-2"))
"""Column, name and class of the lines along a chain."""
LOWEST, HIGHEST = -0.2, 1.0
FEWEST = 3
"""Chains with fewer residues have no track."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of mark under a residue track: residues with a value from `low` to `high`, both inclusive."""

    column: str
    name: str
    letter: str
    low: float
    high: float

    def rows(self, residues: ResidueColumns) -> NDArray[np.bool_]:
        """Return the mask of the residues that have it."""
        values = residues.column(self.column)
        found: NDArray[np.bool_] = (values >= self.low) & (values <= self.high)
        return found


PROBLEMS = (
    Problem("rama_region", "Ramachandran outlier", "R", Region.OUTLIER, Region.OUTLIER),
    Problem("rotamer_region", "rotamer outlier", "S", Region.OUTLIER, Region.OUTLIER),
    Problem("cbeta_deviation", "Cβ deviation", "β", CBETA_OUTLIER, np.inf),
    Problem("cablam_score", "CaBLAM outlier", "A", 0.0, np.nextafter(CABLAM_OUTLIER, 0.0)),
    Problem("pucker_outlier", "sugar pucker outlier", "P", 1.0, 1.0),
    Problem("suiteness", "suite outlier", "N", 0.0, 0.0),
    Problem("n_clashes", "clash", "C", 1.0, np.inf),
)


def problems_of(residues: ResidueColumns) -> list[Problem]:
    """Return the kinds of problems that could be found in these residues at all."""
    return [problem for problem in PROBLEMS if np.isfinite(residues.column(problem.column)).any()]


def residue_tracks(residues: ResidueColumns) -> list[Element]:
    """Return one figure for each chain: CC and Q along it, and marks where something is wrong."""
    solvent = {name for name in set(residues.compound.tolist()) if gemmi.find_tabulated_residue(name).is_water()}
    shown = ~np.isin(residues.compound, list(solvent))
    problems = problems_of(residues)
    figures = []
    for chain in dict.fromkeys(residues.chain[shown].tolist()):
        rows = np.flatnonzero(shown & (residues.chain == chain))
        if len(rows) >= FEWEST:
            figures.append(_track(residues, rows, str(chain), problems))
    return figures


def _track(residues: ResidueColumns, rows: NDArray[np.int64], chain: str, problems: Sequence[Problem]) -> Element:
    frame = Frame(52, TRACK_WIDTH - 12, 8, 128, (-0.5, len(rows) - 0.5), (LOWEST, HIGHEST))
    numbers = residues.number[rows]
    gap = np.flatnonzero(np.abs(np.diff(numbers)) > 1) + 0.5
    lines = []
    means = []
    for column, name, class_ in TRACKS:
        values = residues.column(column)[rows]
        if np.isfinite(values).any():
            means.append(f"{name} {np.nanmean(values):.2f}")
            places = np.concatenate([np.arange(len(rows)), gap])
            heights = np.concatenate([np.clip(values, LOWEST, HIGHEST), np.full(len(gap), np.nan)])
            order = np.argsort(places, kind="stable")
            lines.append(tag("path", d=frame.path(places[order], heights[order]), class_=f"line {class_}"))
    ticks = [(0.0, "0"), (0.5, "0.5"), (1.0, "1")]
    description = f"Chain {chain}, residues {numbers[0]} to {numbers[-1]}: mean " + ", ".join(means)
    problems = [problem for problem in problems if np.isfinite(residues.column(problem.column)[rows]).any()]
    marks = _marks(residues, rows, frame, problems)
    height = frame.bottom + 34 + 14 * len(problems)
    drawing = picture(TRACK_WIDTH, height, description, axes(frame, _residue_ticks(numbers), ticks), *lines, marks)
    caption = f"{len(rows)} residues · mean " + ", ".join(means) if means else f"{len(rows)} residues"
    title = tag("h3", f"Chain {chain} ", tag("small", caption))
    return tag("figure", title, tag("div", drawing, class_="wide"), class_="track")


def _residue_ticks(numbers: NDArray[np.int64]) -> list[tuple[float, str]]:
    """Return ticks at round residue numbers, as far as they don't crowd."""
    step = next((s for s in (5, 10, 20, 50, 100, 200, 500, 1000, 2000) if len(numbers) / s <= 16), 5000)
    ticks: list[tuple[float, str]] = []
    for place in np.flatnonzero(numbers % step == 0).tolist():
        if not ticks or place - ticks[-1][0] > len(numbers) / 24:
            ticks.append((float(place), str(numbers[place])))
    return ticks


def _marks(residues: ResidueColumns, rows: NDArray[np.int64], frame: Frame, problems: Sequence[Problem]) -> Element:
    """Return one row of marks for each kind of problem."""
    group = tag("g")
    for level, problem in enumerate(problems):
        y = frame.bottom + 36 + 14 * level
        found = np.flatnonzero(problem.rows(residues)[rows])
        group.append(tag("text", problem.letter, x=frame.left - 7, y=y + 4, class_="end"))
        group.append(tag("line", x1=frame.left, x2=frame.right, y1=y, y2=y, class_="grid"))
        for place in found.tolist():
            x = frame.x(float(place))
            title = tag("title", f"{residues.label(int(rows[place]))}: {problem.name}")
            group.append(tag("line", title, x1=x, x2=x, y1=y - 5, y2=y + 5, class_="mark"))
    return group


def curve(
    title: str,
    x: Sequence[float],
    series: Mapping[str, Sequence[float]],
    *,
    x_label: str,
    y_label: str = "",
    y_range: tuple[float, float] | None = None,
    levels: Sequence[tuple[float, str]] = (),
    places: Sequence[tuple[float, str]] = (),
    x_ticks: Sequence[tuple[float, str]] | None = None,
    note: str = "",
) -> Element:
    """Return a figure with lines.

    Parameters
    ----------
    title : str
        Heading.
    x : sequence of float
        Horizontal values, common to all lines.
    series : mapping
        Name to the vertical values of each line.
    x_label, y_label : str
        Labels of the axes.
    y_range : tuple, optional
        Lowest and highest vertical value; of the lines if it isn't given.
    levels, places : sequence of (float, str)
        Horizontal and vertical lines of reference with their texts.
    x_ticks : sequence of (float, str), optional
        Ticks of the horizontal axis instead of round values.
    note : str
        What stands under the figure.
    """
    across = np.asarray(x, dtype=np.float64)
    lines = {name: np.asarray(values, dtype=np.float64) for name, values in series.items()}
    known = np.concatenate([values[np.isfinite(values)] for values in lines.values()])
    if y_range is None:
        y_range = (min(0.0, float(known.min())), float(known.max()) or 1.0)
    frame = Frame(60, 508, 12, 262, (float(across.min()), float(across.max())), y_range)
    marks = [
        tag("path", d=frame.path(across, np.clip(values, *y_range)), class_=f"line series-{k}")
        for k, values in enumerate(lines.values(), start=1)
    ]
    for value, text in levels:
        y = frame.y(value)
        marks.append(tag("line", x1=frame.left, x2=frame.right, y1=y, y2=y, class_="level"))
        marks.append(tag("text", text, x=frame.right - 4, y=y - 4, class_="end"))
    for value, text in places:
        if frame.x_range[0] <= value <= frame.x_range[1]:
            px = frame.x(value)
            marks.append(tag("line", x1=px, x2=px, y1=frame.top, y2=frame.bottom, class_="level"))
            left = px > frame.right - 110
            marks.append(tag("text", text, x=px + (-4 if left else 4), y=frame.top + 14, class_="end" if left else ""))
    ticks = round_ticks(*frame.x_range) if x_ticks is None else x_ticks
    area = axes(frame, ticks, round_ticks(*y_range), x_label, y_label)
    drawing = picture(520, 310, f"{title}: {', '.join(lines)}", area, *marks)
    return tag(
        "figure",
        tag("h3", title),
        drawing,
        _legend(list(lines)) if len(lines) > 1 else None,
        tag("figcaption", note) if note else None,
    )


def _legend(names: Sequence[str]) -> Element:
    items = [
        tag("li", tag("svg", tag("path", d="M1 5h22", class_=f"line series-{k}"), viewBox="0 0 24 10", class_="key"), name)
        for k, name in enumerate(names, start=1)
    ]
    return tag("ul", *items, class_="legend")


def histogram(title: str, edges: Sequence[float], counts: Sequence[int], *, x_label: str, note: str = "") -> Element:
    """Return a figure with columns of the given counts between edges."""
    highest = max(counts) or 1
    frame = Frame(60, 508, 12, 262, (float(edges[0]), float(edges[-1])), (0.0, float(highest)))
    columns = []
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        left, right, top = frame.x(low), frame.x(high), frame.y(float(count))
        text = tag("title", f"{low:.1f} to {high:.1f}: {count}")
        columns.append(tag("rect", text, x=left + 0.5, y=top, width=max(right - left - 1.0, 0.5), height=frame.bottom - top))
    area = axes(frame, round_ticks(*frame.x_range), round_ticks(0.0, float(highest), 5), x_label, "atoms")
    drawing = picture(520, 310, title, area, tag("g", *columns, class_="columns"))
    return tag("figure", tag("h3", title), drawing, tag("figcaption", note) if note else None)
