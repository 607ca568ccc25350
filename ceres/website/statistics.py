"""How often curation finds what, by month: counts of the runs, a chart of the pairs that were excluded, and tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.core.cache import cache
from django.db.models import Count, Max

from ceres.models import Job, Run, State
from ceres.website import formats
from ceres.website.glossary import meaning_of
from curation.findings import Code, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MOST_RUNS = 12
RULES: dict[str, str] = {
    Code.RESOLUTION_MISMATCH: "ii",
    Code.GRID_MISMATCH: "iii",
    Code.BOX_MISMATCH: "iv",
    Code.PROCESSING_ERROR: "v",
    Code.MULTI_MODEL: "vi",
    Code.SINGLE_ATOM: "vii",
}
"""Codes of pairs in scope that can't be refined, and their numbers in the paper."""
OUT_OF_SCOPE = (Code.NO_MODEL, Code.ENTRY_OBSOLETE, Code.EXCLUDED_METHOD, Code.LOW_RESOLUTION)
"""Codes of what isn't a pair to be refined, whatever its files are like; the paper's 3308 pairs hold none of them."""
FAILED = "failed"
SCALES = (1, 2, 5, 10, 20, 25, 50, 100)
"""Lengths of the chart's axis in per cent."""
AXIS_PARTS = 4


@dataclass(frozen=True, slots=True)
class RunCounts:
    """What became of the pairs of a run.

    Attributes
    ----------
    label : str
        The run, usually a month.
    pairs : int
        Pairs in scope.
    refused, failed : Mapping[str, int]
        Jobs by the code that decided.
    published, in_progress : int
        Jobs that are done, and jobs that are on their way.
    findings : Mapping[tuple[str, str], int]
        Jobs by severity and code of their findings.
    strict : bool
        The rules were applied literally, as in 2020.
    link : bool
        There are pages about it.
    """

    label: str
    pairs: int
    refused: Mapping[str, int]
    failed: Mapping[str, int] = field(default_factory=dict)
    published: int | None = None
    in_progress: int | None = None
    findings: Mapping[tuple[str, str], int] = field(default_factory=dict)
    strict: bool = False
    link: bool = True

    @property
    def excluded(self) -> int:
        """Pairs in scope that the rules refused."""
        return sum(count for code, count in self.refused.items() if code not in OUT_OF_SCOPE)


PAPER = RunCounts(
    "June 2020",
    3308,
    {
        Code.RESOLUTION_MISMATCH: 263,
        Code.GRID_MISMATCH: 56,
        Code.BOX_MISMATCH: 18,
        Code.PROCESSING_ERROR: 16,
        Code.SINGLE_ATOM: 17,
    },
    link=False,
)
"""The published service on 26 June 2020: Liebschner et al. 2021, Acta Cryst. D77, 48, section 3.1."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a bar; x and width in per cent of the axis."""

    x: float
    width: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One month."""

    label: str
    text: str
    segments: list[Segment]
    about: str
    note: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Shares of the pairs in scope that were excluded, by reason."""

    bars: list[Bar]
    legend: list[tuple[str, str]]
    axis: list[str]


@dataclass(frozen=True, slots=True)
class Cell:
    """A count, and the run whose pairs it counts where there is a page of them."""

    text: str
    run: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table."""

    label: str
    code: str
    cells: list[Cell]
    kind: str = ""
    rule: str = ""
    total: bool = False

    @property
    def meaning(self) -> str:
        """What the code means, "" for lines without one."""
        return meaning_of(self.code)

    @property
    def anchor(self) -> str:
        """Place of the code in the glossary."""
        return f"code-{self.code.lower()}" if self.meaning else ""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the page shows."""

    runs: list[RunCounts]
    chart: Chart
    groups: list[tuple[str, list[Row]]]
    older: int


def statistics() -> Statistics:
    """Count the findings of the newest runs."""
    shown = list(Run.objects.all()[:MOST_RUNS])
    grouped = Job.objects.filter(run__in=shown).order_by().values("run_id", "state", "code")
    rows: list[Any] = list(grouped.annotate(count=Count("id"), last=Max("updated_at")))
    runs = [_counted(run, [row for row in rows if row["run_id"] == run.pk]) for run in shown]
    columns = [*runs, PAPER]
    groups = [
        ("Pairs in scope", _scope_rows(columns)),
        ("Outside the scope", [_decided(code, columns) for code in OUT_OF_SCOPE if _occurs(code, runs)]),
        ("Warnings", _finding_rows(Severity.WARN, columns)),
        ("Notes", _finding_rows(Severity.NOTE, columns)),
    ]
    return Statistics(runs, _chart(columns), [(title, rows) for title, rows in groups if rows], Run.objects.count() - len(shown))


def _counted(run: Run, rows: list[dict[str, Any]]) -> RunCounts:
    """Count a run; findings are counted anew only after a job of it has changed.

    Parameters
    ----------
    run : Run
    rows : list of dict
        Its jobs by ``state`` and ``code``: their ``count``, and when one was changed ``last``.
    """
    counts: dict[str, Counter[str]] = {State.REFUSED: Counter(), State.FAILED: Counter(), State.PUBLISHED: Counter()}
    for row in rows:
        counts.setdefault(row["state"], Counter())[row["code"]] += row["count"]
    refused, failed, published = counts.pop(State.REFUSED), counts.pop(State.FAILED), counts.pop(State.PUBLISHED).total()
    in_progress = sum(codes.total() for codes in counts.values())
    total = refused.total() + failed.total() + published + in_progress
    changed = max((row["last"].timestamp() for row in rows), default=0.0)
    return RunCounts(
        label=run.label,
        pairs=total - sum(refused[code] for code in OUT_OF_SCOPE),
        refused=refused,
        failed=failed,
        published=published,
        in_progress=in_progress,
        findings=cache.get_or_set(f"findings:{run.pk}:{total}:{changed}", lambda: _findings(run)) or {},
        strict=run.strict,
    )


def _findings(run: Run) -> dict[tuple[str, str], int]:
    """Count the jobs that have each finding; one that has it several times counts once."""
    counts: Counter[tuple[str, str]] = Counter()
    jobs = Job.objects.filter(run=run).exclude(findings=[]).order_by()
    for findings in jobs.values_list("findings", flat=True).iterator(chunk_size=2000):
        counts.update({(row["severity"], row["code"]) for row in findings})
    return dict(counts)


def _occurs(code: str, runs: Iterable[RunCounts]) -> bool:
    return any(run.refused.get(code) for run in runs)


def _scope_rows(columns: list[RunCounts]) -> list[Row]:
    others = sorted({code for run in columns for code in run.refused} - set(RULES) - set(OUT_OF_SCOPE))
    rows = [_decided(code, columns, kind=_kind(code)) for code in (*RULES, *others)]
    shares = [Cell(f"{formats.grouped(run.excluded)} ({_percent(run.excluded, run.pairs)})") for run in columns]
    rows.append(Row("Excluded", "", shares, total=True))
    for code in sorted({code for run in columns for code in run.failed}):
        cells = [_cell(run, run.failed.get(code, 0) if run.link else None) for run in columns]
        rows.append(Row(f"Computation failed: {formats.spelled(code).lower()}", code, cells, kind=FAILED))
    rows.append(Row("Refined and published", "", [Cell(_text(run.published)) for run in columns]))
    if any(run.in_progress for run in columns):
        rows.append(Row("In progress", "", [Cell(_text(run.in_progress)) for run in columns]))
    rows.append(Row("All pairs in scope", "", [Cell(formats.grouped(run.pairs)) for run in columns], total=True))
    return rows


def _decided(code: str, columns: list[RunCounts], kind: str = "") -> Row:
    cells = [_cell(run, run.refused.get(code, 0 if run.link else None)) for run in columns]
    return Row(formats.spelled(code), code, cells, kind=kind, rule=RULES.get(code, ""))


def _finding_rows(severity: str, columns: list[RunCounts]) -> list[Row]:
    """Return the findings of a severity that occur, those of the newest run that are commonest first."""
    codes = {code for run in columns for kind, code in run.findings if kind == severity}
    ordered = sorted(codes, key=lambda code: ([-run.findings.get((severity, code), 0) for run in columns], code))
    return [
        Row(
            formats.spelled(code),
            code,
            [Cell(_text(run.findings.get((severity, code), 0) if run.link else None)) for run in columns],
        )
        for code in ordered
    ]


def _cell(run: RunCounts, count: int | None) -> Cell:
    return Cell(_text(count), run.label if count and run.link else "")


def _text(count: int | None) -> str:
    return "–" if count is None else formats.grouped(count)


def _percent(count: int, of: int) -> str:
    return f"{100.0 * count / of:.1f}\u202f%" if of else "–"


def _kind(code: str) -> str:
    return code.lower() if code in RULES else "other"


def _chart(columns: list[RunCounts]) -> Chart:
    largest = max(100.0 * (run.excluded + sum(run.failed.values())) / run.pairs if run.pairs else 0.0 for run in columns)
    scale = next((size for size in SCALES if size >= largest), SCALES[-1])
    bars = [_bar(run, scale) for run in columns]
    kinds = dict.fromkeys(segment.kind for bar in bars for segment in bar.segments)
    names = {_kind(code): formats.spelled(code) for code in RULES} | {"other": "Other reasons", FAILED: "Computation failed"}
    axis = [f"{scale * part / AXIS_PARTS:g}" for part in range(AXIS_PARTS + 1)]
    return Chart(bars, [(kind, name) for kind, name in names.items() if kind in kinds], [*axis[:-1], f"{axis[-1]}\u202f%"])


def _bar(run: RunCounts, scale: int) -> Bar:
    counts: Counter[str] = Counter()
    for code, count in run.refused.items():
        if code not in OUT_OF_SCOPE:
            counts[_kind(code)] += count
    counts[FAILED] = sum(run.failed.values())
    order = [*(_kind(code) for code in RULES), "other", FAILED]
    segments, place = [], 0.0
    for kind in order:
        if count := counts[kind]:
            width = 100.0 * count / run.pairs * 100.0 / scale
            title = f"{formats.spelled(kind)}: {formats.grouped(count)} ({_percent(count, run.pairs)})"
            segments.append(Segment(round(place, 3), round(width, 3), kind, title))
            place += width
    text = f"{formats.grouped(run.excluded)} of {formats.grouped(run.pairs)} pairs, {_percent(run.excluded, run.pairs)}"
    about = f"{run.label}: {text}. {'; '.join(segment.title for segment in segments)}"
    note = "as published" if not run.link else "rules of 2020" if run.strict else ""
    return Bar(run.label, text, segments, about, note)
