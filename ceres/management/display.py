"""What operators see while a run is worked on, and at its end."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ceres.models import Job, Result, Run, Stage, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from rich.console import Console

COLOURS = {State.PUBLISHED: "green", State.REFUSED: "yellow", State.FAILED: "red"}
ENDS = (State.PUBLISHED, State.REFUSED, State.FAILED)


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[doing]}"),
        console=console,
        disable=not console.is_terminal,
    )


@contextmanager
def listing_progress(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Show the reading of the archive's lists: what is read, files done, files in all."""
    with _bars(console) as bars:
        bar = bars.add_task("list of pairs", total=None, doing="")
        yield lambda what, done, total: bars.update(bar, completed=done, total=total, doing=what)


@contextmanager
def step_progress(console: Console, title: str) -> Iterator[Callable[[str, str, float], None]]:
    """Show one long step: stage, what it is doing, fraction done (0 to 1)."""
    with _bars(console) as bars:
        bar = bars.add_task(title, total=1.0, doing="")
        yield lambda _stage, doing, fraction: bars.update(bar, completed=fraction, doing=doing)


class RunDisplay:
    """Progress bars on a terminal, one line per finished job elsewhere."""

    def __init__(self, run: Run, console: Console) -> None:
        self._run, self._console = run, console
        self._bars = _bars(console)
        self._whole = self._bars.add_task(f"run {run.label}", total=run.jobs.count(), doing="")
        self._stages: dict[int, tuple[str, TaskID]] = {}
        self._shown = set(run.jobs.filter(state__in=ENDS).values_list("pk", flat=True))

    def __enter__(self) -> Self:
        self._bars.start()
        self.update()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()

    def listen(self, job: Job, doing: str, fraction: float) -> None:
        """Show what a stage in this process is doing."""
        if self._stages.get(job.pk, ("",))[0] != job.stage:
            self.update()
        self._show(job, doing, fraction)

    def update(self) -> None:
        """Show what the table knows: jobs that came to an end."""
        done = self._run.jobs.filter(state__in=ENDS).exclude(pk__in=self._shown).select_related("entry")
        for job in done:
            self._shown.add(job.pk)
            self._drop(job.pk)
            self._console.print(_sentence(job), highlight=False)
        self._bars.update(self._whole, completed=len(self._shown))

    def update_from_table(self) -> None:
        """Show also what other processes are doing."""
        self.update()
        working = list(self._run.jobs.filter(state=State.WORKING).select_related("entry"))
        for job_id in set(self._stages) - {job.pk for job in working}:
            self._drop(job_id)
        for job in working:
            self._show(job, job.doing, job.fraction)

    def _show(self, job: Job, doing: str, fraction: float) -> None:
        stage, bar = self._stages.get(job.pk, ("", None))
        if bar is None or stage != job.stage:
            self._drop(job.pk)
            bar = self._bars.add_task(f"  {job.entry.key} {Stage(job.stage)}", total=1.0, doing="")
            self._stages[job.pk] = (job.stage, bar)
        self._bars.update(bar, completed=fraction, doing=doing)

    def _drop(self, job_id: int) -> None:
        _, bar = self._stages.pop(job_id, ("", None))
        if bar is not None:
            self._bars.remove_task(bar)


def _sentence(job: Job) -> str:
    colour = COLOURS[State(job.state)]
    seconds = sum(job.timings.values())
    why = f"{job.code}: {job.message}" if job.code else ""
    return f"[{colour}]{job.state:9s}[/] {job.entry.key}  {why or f'{seconds:.1f} s'}"


def run_table(run: Run) -> Table:
    """Return the outcomes of a run as a table."""
    results = {result.job_id: result for result in Result.objects.filter(run=run).select_related(None)}
    table = Table(title=f"Run {run.label}", caption=_counts(run.jobs.values_list("state", flat=True)))
    for name in ("Pair", "State", "Resolution Å", "Atoms", "CC mask", "Clashscore", "Verdict", "Why"):
        table.add_column(name, justify="right" if name in {"Resolution Å", "Atoms"} else "left")
    for job in run.jobs.select_related("entry").order_by("entry__key"):
        result = results.get(job.pk)
        table.add_row(
            job.entry.key,
            f"[{COLOURS.get(State(job.state), 'white')}]{job.shown_state}[/]",
            _number(job.entry.resolution, 2),
            str(job.entry.atoms or ""),
            _change(result, "cc_mask", 3),
            _change(result, "clashscore", 1),
            result.verdict if result else "",
            job.message or job.code,
        )
    return table


def _counts(states: Iterable[str]) -> str:
    found = list(states)
    return ", ".join(f"{found.count(state)} {state}" for state in State.values if state in found)


def _change(result: Result | None, key: str, digits: int) -> str:
    if result is None:
        return ""
    return f"{_number(result.value('initial', key), digits)} → {_number(result.value('refined', key), digits)}"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
