"""Table 1 and the numbers at a glance as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refinement.report.markup import tag
from refinement.validation.percentiles import standing
from refinement.validation.registry import METRICS, REASONS, Metric

if TYPE_CHECKING:
    from collections.abc import Sequence
    from xml.etree.ElementTree import Element

    from refinement.report.run_files import RunFiles

GLANCE = (
    "molprobity_score",
    "clashscore",
    "rama_favored",
    "rama_z",
    "rotamer_outliers",
    "cc_mask",
    "q_score",
    "emringer",
    "d_fsc_model_05",
    "atom_inclusion",
)
STATES = {"initial": "Deposited", "refined": "Refined"}


def shown(metric: Metric, value: float | None) -> str:
    """Return a value as people read it."""
    return "–" if value is None else f"{value:.{metric.digits}f}".replace("-", "\N{MINUS SIGN}")


def band(metric: Metric, value: float | None) -> Element | None:
    """Return the band of a value as a coloured word, None where there are no bands."""
    word = metric.band(value)
    return tag("span", word, class_=f"band {word}") if word else None


def glance(run: RunFiles) -> Element:
    """Return the numbers that are looked at first."""
    state = run.states[-1]
    values, places = run.table[state], run.table.get("details", {}).get(state, {}).get("percentiles", {})
    by_key = {metric.key: metric for metric in METRICS}
    tiles = tag("dl", class_="glance")
    for key in GLANCE:
        metric, value = by_key[key], values.get(key)
        if value is None:
            continue
        unit = tag("small", f" {metric.unit}") if metric.unit else None
        tile = tag("div", tag("dt", metric.label), tag("dd", shown(metric, value), unit, class_="value"))
        words = band(metric, value)
        note = standing(key, places.get(key))
        if words is not None:
            tile.append(tag("dd", words, class_="note"))
        elif note:
            tile.append(tag("dd", note, class_="note"))
        tiles.append(tile)
    return tiles


def table_one(run: RunFiles) -> Element:
    """Return Table 1: one column for each state, bands, what is wanted, and percentiles."""
    states = run.states
    head = tag("tr", tag("th", "", scope="col"))
    for state in states:
        head.append(tag("th", STATES[state] if len(states) > 1 else "Value", scope="col", class_="num"))
    for name in ("", "Wanted", "Among others"):
        head.append(tag("th", name, scope="col"))
    body = tag("tbody")
    group = None
    for metric in METRICS:
        rows = _rows(metric, run, states)
        if rows and metric.group != group:
            group = metric.group
            title = str(group).capitalize()
            body.append(tag("tr", tag("th", title, colspan=str(len(states) + 4), scope="rowgroup")))
        for row in rows:
            body.append(row)
    return tag("div", tag("table", tag("thead", head), body), class_="scroll", tabindex="0")


def _rows(metric: Metric, run: RunFiles, states: Sequence[str]) -> list[Element]:
    """Return the row of a metric, and that of its masked twin; none for changes without a refined model."""
    if metric.group == "change" and len(states) < 2:
        return []
    places = run.table.get("details", {}).get(states[-1], {}).get("percentiles", {})
    rows = []
    for key, suffix in ((metric.key, ""), (f"{metric.key}_masked", ", masked")):
        if all(key not in run.table[state] for state in states):
            continue
        values = [run.table[state].get(key) for state in states]
        if suffix and all(value is None for value in values):
            continue
        label = f"{metric.label}{suffix}" + (f", {metric.unit}" if metric.unit else "")
        cells = [tag("th", label, scope="row", title=metric.about)]
        cells += [tag("td", shown(metric, value), class_="num") for value in values]
        if values[-1] is None:
            reason = REASONS.get(run.table["reasons"].get(key, ""), "")
            cells.append(tag("td", reason, colspan="3", class_="reason"))
        else:
            cells.append(tag("td", band(metric, values[-1])))
            cells.append(tag("td", metric.wanted, class_="reason"))
            cells.append(tag("td", standing(key, places.get(key)), class_="reason reason-cell"))
        rows.append(tag("tr", *cells))
    return rows
