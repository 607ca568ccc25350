"""What the ``ceres`` command shows: progress bars and tables on a terminal, one JSON object for machines."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ceres.changes import changes_in_words
from ceres.cycles import CycleLines
from ceres.findings import numbers_in_words
from ceres.verdict import compare
from refinement.validation.registry import BY_KEY, METRICS, REASONS, Better, Group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rich.progress import Task

    from curation.curate import Curated
    from refinement.validation.registry import Metric

WORDS = {"better": "[green]better[/]", "worse": "[red]worse[/]", "same": "same", "unknown": ""}
BANDS = {"good": "[green]good[/]", "fair": "[yellow]fair[/]", "poor": "[red]poor[/]", "": ""}
SEVERITIES = {"refuse": "[red]refused[/]", "warn": "[yellow]warning[/]", "note": "note"}
STAGES = {
    "read": "reading",
    "curate": "curating",
    "validate": "validating",
    "refine": "refining",
    "cross-validate": "cross-validating",
    "write": "writing",
}


class Terminal:
    """Where a command reports to.

    Parameters
    ----------
    as_json : bool
        Print one JSON object on standard output and no bars or tables.
    quiet : bool
        No bars and no tables.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self._bare = as_json or quiet
        self._out = Console(highlight=False)
        self._err = Console(stderr=True, highlight=False)

    @contextmanager
    def progress(self) -> Iterator[Callable[[str, str, float], None]]:
        """Give a ``progress(stage, doing, fraction)``; each stage has a bar with what it is doing and the time left."""
        with self._bars() as stages:
            yield stages.report

    @contextmanager
    def refinement(self) -> Iterator[tuple[Callable[[str, str, float], None], Callable[[Mapping[str, Any]], None]]]:
        """Give a progress as `progress` does, and a listener that prints a line for each macro-cycle."""
        with self._bars() as stages:
            yield stages.report, _deaf if self._bare else CycleLines(self._err).listen

    @contextmanager
    def _bars(self) -> Iterator[_Stages]:
        bars = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            _TimeLeft(),
            TextColumn("{task.fields[doing]}", markup=False),
            console=self._err,
            disable=self._bare or not self._err.is_terminal or self._err.is_dumb_terminal,
        )
        with bars:
            stages = _Stages(bars)
            yield stages
            stages.finish()

    def outcome(self, table: Mapping[str, Any]) -> None:
        """Show Table 1 before and after, and below it, where it stays on the screen, what was kept and why, and what changed."""
        if self._bare:
            return
        record, plain = table["refinement"], not self._out.is_terminal
        self.table_one(table)
        self._out.print(_comparison(table), soft_wrap=plain)
        self._out.print(Text(record["verdict"], style="bold"), soft_wrap=plain)
        for line in changes_in_words(record["changes"]):
            self._out.print(Text(line), soft_wrap=plain)

    def table_one(self, table: Mapping[str, Any]) -> None:
        """Show Table 1: one state with its bands, or before and after with what became of it."""
        if not self._bare:
            self._out.print(_table_one(table))

    def curated(self, curated: Curated, title: str) -> None:
        """Show the verdict of curation and every finding with its numbers."""
        if self._bare:
            return
        verdict = "[green]may be refined[/]" if curated.passed else f"[red]excluded: {escape(curated.code)}[/]"
        self._out.print(f"[bold]{escape(title)}[/]  {verdict}")
        if curated.resolution is not None:
            self._out.print(f"Consensus resolution {curated.resolution:.2f} Å")
        for finding in curated.findings:
            sentence = escape(f"{finding.sentence} {finding.hint}".strip())
            self._out.print(f"  {SEVERITIES[str(finding.severity)]} {finding.code}: {sentence}", soft_wrap=True)
            for label, text in numbers_in_words(finding.numbers):
                self._out.print(Text(f"      {label}: {text}", style="dim"), soft_wrap=True)

    def say(self, sentence: str) -> None:
        """Print a sentence for people."""
        if not self._bare:
            self._out.print(escape(sentence), soft_wrap=True)

    def answer(self, content: Mapping[str, Any]) -> None:
        """Print the JSON object, if that was asked for."""
        if self.as_json:
            sys.stdout.write(json.dumps(content, ensure_ascii=False, allow_nan=False, default=str) + "\n")

    def complain(self, message: str, hint: str = "", *, code: str = "", status: int = 2) -> None:
        """Print what went wrong and what to do, on standard error; with ``--json`` as an object as well."""
        sys.stderr.write(f"ceres: {message}\n")
        if hint:
            sys.stderr.write(f"       {hint}\n")
        self.answer({"error": {"code": code, "message": message, "hint": hint}, "status": status})


class _TimeLeft(ProgressColumn):
    """Time left of a stage, reckoned from the fraction done when it was last reported, and counted down from there."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """Return the time as ``m:ss left``, nothing once all is done or while nothing is known."""
        left = task.fields.get("left")
        if task.finished or left is None:
            return Text()
        seconds = max(0, round(left - (time.monotonic() - task.fields["reported"])))
        return Text(f"{seconds // 60}:{seconds % 60:02d} left")


class _Stages:
    """Bars, one for each stage, in the order in which they come."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._stage = ""
        self._task: TaskID | None = None
        self._began = 0.0

    def report(self, stage: str, doing: str, fraction: float) -> None:
        if stage != self._stage:
            self.finish()
            self._stage = stage
            self._task = self._bars.add_task(STAGES.get(stage, stage), total=1.0, doing=doing)
            self._began = time.monotonic()
        if self._task is not None:
            now = time.monotonic()
            left = (now - self._began) * (1.0 - fraction) / fraction if fraction > 0.0 else None
            self._bars.update(self._task, completed=fraction, doing=doing, left=left, reported=now)

    def finish(self) -> None:
        if self._task is not None:
            self._bars.update(self._task, completed=1.0, doing="")
        self._task = None


def _deaf(_event: Mapping[str, Any]) -> None:
    """Listen to nothing."""


def _comparison(table: Mapping[str, Any]) -> str:
    """Return how many metrics moved which way, and the names of those that became worse."""
    found = compare(table["initial"], table["refined"])
    colour = {"improved": "green", "worse": "red"}.get(found.verdict, "yellow")
    worse = f": {'; '.join(BY_KEY[key].label for key in found.worse)}" if found.worse else ""
    counts = f"{len(found.better)} of {found.compared} metrics better, {len(found.worse)} worse{escape(worse)}"
    return f"\n[{colour}]{found.verdict.capitalize()}[/]: {counts}."


def _table_one(table: Mapping[str, Any]) -> Table:
    """Return the rows of Table 1: values with bands and limits, or before and after with what became of it."""
    initial, refined = table["initial"], table.get("refined")
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("")
    shown.add_column("before" if refined else "value", justify="right")
    if refined:
        shown.add_column("", justify="center")
        shown.add_column("after", justify="right")
    shown.add_column("")
    if not refined:
        shown.add_column("", style="dim")
    group = None
    for key, metric, name in _listed(table):
        before, after = initial.get(key), (refined or {}).get(key)
        if refined and before is None and after is None:
            continue
        if metric.group != group:
            group = metric.group
            shown.add_row(f"[bold]{str(group).capitalize()}[/]")
        if refined:
            shown.add_row(
                name, _number(metric, before), _arrow(before, after), _number(metric, after), _word(metric, before, after)
            )
        else:
            shown.add_row(name, _number(metric, before), BANDS[metric.band(before)], escape(_remark(table, key, metric)))
    return shown


def _listed(table: Mapping[str, Any]) -> Iterator[tuple[str, Metric, str]]:
    """Yield key, metric and name of the rows; changes only after a refinement, masked twins only with a value."""
    for metric in METRICS:
        if metric.group == Group.CHANGE and "refined" not in table:
            continue
        unit = f", {metric.unit}" if metric.unit else ""
        yield metric.key, metric, f"  {metric.label}{unit}"
        twin = f"{metric.key}_masked"
        if any(table.get(state, {}).get(twin) is not None for state in ("initial", "refined")):
            yield twin, metric, f"  {metric.label}, masked{unit}"


def _remark(table: Mapping[str, Any], key: str, metric: Metric) -> str:
    """Return what is said beside a value: its limits and percentiles, or why it is missing."""
    if table["initial"].get(key) is None:
        return REASONS.get(table.get("reasons", {}).get(key, ""), "")
    from refinement.validation.percentiles import standing

    place = table.get("details", {}).get("initial", {}).get("percentiles", {}).get(key)
    return "; ".join(part for part in (metric.wanted, standing(key, place)) if part)


def _number(metric: Metric, value: float | None) -> str:
    return "–" if value is None else f"{value:.{metric.digits}f}"


def _arrow(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return ""
    return "→" if before == after else "↗" if after > before else "↘"


def _word(metric: Metric, before: float | None, after: float | None) -> str:
    return "" if metric.better is Better.INFO else WORDS[metric.compare(before, after)]
