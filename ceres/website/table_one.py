"""Table 1 of an entry: the registry's metrics before and after refinement, with the change in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ceres.models import METRIC_KEYS
from ceres.website import formats
from refinement.validation import registry
from refinement.validation.registry import BY_KEY, Group, Metric

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ceres.models import Result

GROUP_TITLES: dict[Group, str] = {
    Group.FIT: "Fit of model and map",
    Group.MODEL: "Model",
    Group.DATA: "Data",
    Group.CROSS_VALIDATION: "Cross-validation",
    Group.CHANGE: "Change",
}
"""Parts of the table in their order: the fit comes first."""

HEADLINES: tuple[str, ...] = (
    "cc_mask", "cc_box", "q_score", "clashscore", "rama_outliers", "rotamer_outliers", "bonds_rmsd", "angles_rmsd",
)  # fmt: skip
"""Metrics of the table of all results, deposited, refined and difference."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of Table 1: its text, or why there is none."""

    text: str
    reason: str = ""
    band: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of Table 1."""

    key: str
    anchor: str
    label: str
    unit: str
    about: str
    initial: Cell
    refined: Cell
    change: str
    comparison: str

    @property
    def arrow(self) -> str:
        """Sign of the change."""
        return formats.ARROWS.get(self.comparison, "")

    @property
    def word(self) -> str:
        """The change in one word."""
        return formats.WORDS.get(self.comparison, "")

    @property
    def has_value(self) -> bool:
        """Whether one of the two states has a value."""
        return not (self.initial.reason and self.refined.reason)


@dataclass(frozen=True, slots=True)
class Section:
    """One group of Table 1: the rows with values, and those that have none."""

    key: str
    title: str
    rows: list[Row]


def metric_of(key: str) -> Metric:
    """Return the registry's metric of a column key; ``d_99_masked`` is described by ``d_99``."""
    return BY_KEY[key] if key in BY_KEY else BY_KEY[key.removesuffix("_masked")]


def label_of(key: str) -> str:
    """Return the name for people of a column key."""
    return BY_KEY[key].label if key in BY_KEY else f"{metric_of(key).label}, masked"


def reason_of(code: str) -> str:
    """Return the sentence of a reason's code."""
    return registry.REASONS.get(code, formats.spelled(code))


def sections(result: Result) -> list[Section]:
    """Return the groups of Table 1 with the metrics that have a value."""
    rows = [row for row in rows_of(result) if row.has_value]
    made = [
        Section(group.value, title, [row for row in rows if metric_of(row.key).group is group])
        for group, title in GROUP_TITLES.items()
        if group is not Group.CHANGE
    ]
    return [section for section in made if section.rows]


def changes(result: Result) -> list[Row]:
    """Return how far the refined model is from the deposited one."""
    return [row for row in rows_of(result) if metric_of(row.key).group is Group.CHANGE and row.has_value]


def without_value(result: Result) -> list[Row]:
    """Return the metrics that have a value in neither state."""
    return [row for row in rows_of(result) if not row.has_value]


def rows_of(result: Result, keys: Iterable[str] = METRIC_KEYS) -> list[Row]:
    """Return one row for each metric key."""
    return [_row(result, key) for key in keys]


def _row(result: Result, key: str) -> Row:
    metric = metric_of(key)
    before, after = result.value("initial", key), result.value("refined", key)
    reason = reason_of(result.reasons.get(key, "not_computed"))
    comparison = metric.compare(before, after)
    change = ""
    if before is not None and after is not None and metric.group is not Group.DATA:
        change = formats.signed(after - before, metric.digits)
    return Row(
        key=key,
        anchor=metric.key,
        label=label_of(key),
        unit=metric.unit,
        about=metric.about,
        initial=_cell(metric, before, reason),
        refined=_cell(metric, after, reason),
        change=change,
        comparison=comparison,
    )


def _cell(metric: Metric, value: float | None, reason: str) -> Cell:
    if value is None:
        return Cell("n/a", reason=reason)
    return Cell(formats.number(value, metric.digits), band=metric.band(value))
