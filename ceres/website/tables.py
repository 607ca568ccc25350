"""The table of all results: sortable columns in groups deposited, refined and difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import django_tables2
from django.db.models import F, QuerySet
from django.urls import reverse
from django_tables2.data import TableQuerysetData

from ceres.models import Job
from ceres.website import formats
from ceres.website.table_one import HEADLINES, label_of, metric_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ceres.models import JobQuerySet
    from refinement.validation.registry import Metric

PRESETS: dict[str, tuple[str, ...]] = {
    "overview": ("cc_mask", "clashscore", "rama_outliers", "rotamer_outliers"),
    "fit": ("cc_mask", "cc_box", "q_score"),
    "geometry": ("bonds_rmsd", "angles_rmsd", "clashscore", "rama_outliers", "rotamer_outliers"),
    "all": HEADLINES,
}
"""Choices of metrics with a name."""

STATES = {"initial": "deposited", "refined": "refined", "delta": "Δ"}
"""Columns of a metric and their headings."""


def chosen_metrics(wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics that ``?cols=`` asks for: metric keys or the name of a preset; else the overview."""
    named = [key for name in wanted for part in name.split(",") for key in PRESETS.get(part, (part,))]
    return tuple(key for key in HEADLINES if key in named) or PRESETS["overview"]


class JobRows(TableQuerysetData):
    """Jobs as flat rows, read in two steps: the order of a page needs few columns, its rows need many.

    Sorting rows with all their columns would carry the whole table through the sort.
    """

    def __init__(self, jobs: JobQuerySet, metrics: Iterable[str]) -> None:
        self._columns = _columns(metrics)
        super().__init__(jobs.select_related(None).alias(**self._columns).values("id"))

    def __getitem__(self, key: slice) -> list[dict[str, Any]]:
        """Return the rows of a page."""
        ids = [row["id"] for row in self.data[key]]
        rows = Job.objects.filter(id__in=ids).values("id", "state", "stage", "code", **self._columns)
        by_id: dict[int, Any] = {row["id"]: row for row in rows}
        return [by_id[number] for number in ids]


def _columns(metrics: Iterable[str]) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "key": F("entry__key"),
        "title": F("entry__title"),
        "resolution": F("entry__resolution"),
        "atoms": F("entry__atoms"),
        "verdict": F("result__verdict"),
    }
    for key in metrics:
        columns[f"initial_{key}"] = F(f"result__initial_{key}")
        columns[f"refined_{key}"] = F(f"result__refined_{key}")
        columns[f"delta_{key}"] = F(f"result__refined_{key}") - F(f"result__initial_{key}")
    return columns


class Sorted(django_tables2.Column):
    """A column whose empty cells come last in both directions."""

    def order(self, queryset: QuerySet[Any], is_descending: bool) -> tuple[QuerySet[Any], bool]:
        """Sort by this column, then by key, so that pages don't overlap."""
        column = F(str(self.accessor))
        first = column.desc(nulls_last=True) if is_descending else column.asc(nulls_last=True)
        return queryset.order_by(first, "entry__key"), True


class MetricColumn(Sorted):
    """Values of a metric in one state, or their difference."""

    def __init__(self, metric: Metric, state: str) -> None:
        classes = {"initial": "num first-of-group", "refined": "num", "delta": "num"}[state]
        super().__init__(
            verbose_name=STATES[state],
            default="",
            attrs={"td": {"class": classes if state != "delta" else self.comparison}, "th": {"class": f"{classes} th-{state}"}},
        )
        self.metric = metric
        self.state = state

    def comparison(self, record: dict[str, Any]) -> str:
        """Return the style classes of a difference."""
        before, after = record[f"initial_{self.metric.key}"], record[f"refined_{self.metric.key}"]
        return f"num {self.metric.compare(before, after)}"

    def render(self, value: float, record: dict[str, Any]) -> str:
        """Return the number with the digits of the registry, a difference with its arrow."""
        if self.state != "delta":
            return formats.number(value, self.metric.digits)
        arrow = formats.ARROWS.get(self.comparison(record).removeprefix("num "), "")
        return f"{arrow} {formats.signed(value, self.metric.digits)}".strip()


@dataclass(frozen=True, slots=True)
class HeaderGroup:
    """A heading above the columns of a metric."""

    label: str
    unit: str
    about: str
    anchor: str
    span: int


class ResultsTable(django_tables2.Table):
    """All pairs: state, resolution, and the headline metrics."""

    key = Sorted(
        verbose_name="Entry",
        linkify=lambda record, table: table.link_of(record),
        attrs={
            "th": {"class": "sticky"},
            "td": {"class": "sticky code"},
            "a": {"title": lambda record: record["title"]},
        },
    )
    state = Sorted(verbose_name="State")
    resolution = Sorted(verbose_name="Resolution, Å", attrs={"td": {"class": "num"}, "th": {"class": "num"}}, default="")
    atoms = Sorted(verbose_name="Atoms", attrs={"td": {"class": "num"}, "th": {"class": "num"}}, default="")

    class Meta:
        attrs = {"class": "data-table results-table"}
        sequence = ("key", "state", "resolution", "atoms", "...")
        order_by = ("key",)
        empty_text = "No entry matches these filters."
        template_name = "website/results_table.html"

    def __init__(self, jobs: JobQuerySet, metrics: Sequence[str], run: str = "") -> None:
        extra = [(f"{state}_{key}", MetricColumn(metric_of(key), state)) for key in metrics for state in STATES]
        super().__init__(JobRows(jobs, metrics), extra_columns=extra)
        self.run = run
        self.plain_columns = len(self.columns) - 1 - len(extra)
        self.groups = [HeaderGroup(label_of(key), metric_of(key).unit, metric_of(key).about, key, len(STATES)) for key in metrics]

    def render_resolution(self, value: float) -> str:
        """Return Å with two digits."""
        return formats.number(value, metric_of("resolution").digits)

    def render_atoms(self, value: int) -> str:
        """Return the count with its digits in groups."""
        return formats.grouped(value)

    def render_state(self, record: dict[str, Any]) -> str:
        """Return the verdict of a published pair, the reason of a refused one, or the stage that it is in."""
        if record["verdict"]:
            return str(record["verdict"])
        if record["code"]:
            return f"{record['state']}: {formats.spelled(record['code']).lower()}"
        return str(record["stage"])

    def link_of(self, record: dict[str, Any]) -> str:
        """Return the address of a row's page: frozen where the table shows one run."""
        if self.run:
            return reverse("website:entry-run", args=[record["key"], self.run])
        return reverse("website:entry", args=[record["key"]])
