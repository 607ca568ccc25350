"""What the words and codes of the site mean; everything comes from the registry and from curation."""

from __future__ import annotations

from dataclasses import dataclass

from ceres.models import Verdict
from ceres.website import formats
from ceres.website.table_one import GROUP_TITLES
from curation.findings import GLOSSARY
from refinement.validation import registry
from refinement.validation.registry import Better, Metric

VERDICTS: dict[str, str] = {
    Verdict.IMPROVED: (
        "At least three metrics became better for each that became worse, and none of the fit, the clashes, the "
        "Ramachandran and the rotamer outliers is among the worse."
    ),
    Verdict.MIXED: "Some metrics became better, others worse, without a clear majority.",
    Verdict.WORSE: "At least three metrics became worse for each that became better.",
    Verdict.UNCHANGED: "No metric changed by more than its tolerance.",
}
DIRECTIONS: dict[Better, str] = {
    Better.LOWER: "Lower is better.",
    Better.HIGHER: "Higher is better.",
    Better.TO_ZERO: "Closer to zero is better.",
    Better.INFO: "Shown for information: neither direction is better by itself.",
}


@dataclass(frozen=True, slots=True)
class Term:
    """One entry of the glossary."""

    anchor: str
    name: str
    about: str
    notes: str


def metric_groups() -> list[tuple[str, str, list[Term]]]:
    """Return the groups of metrics: anchor, title and terms."""
    return [
        (f"metrics-{group.name.lower()}", title, [_term(metric) for metric in registry.METRICS if metric.group is group])
        for group, title in GROUP_TITLES.items()
    ]


def _term(metric: Metric) -> Term:
    notes = [DIRECTIONS[metric.better]]
    if metric.better is not Better.INFO:
        notes.append(f"Changes up to {metric.tolerance:g}{_unit(metric)} count as none.")
    if metric.good is not None and metric.poor is not None:
        sides = ("at least", "at most") if metric.better is Better.HIGHER else ("at most", "at least")
        notes.append(f"Good: {sides[0]} {metric.good:g}{_unit(metric)}; poor: {sides[1]} {metric.poor:g}{_unit(metric)}.")
    return Term(metric.key, metric.label, metric.about, " ".join(notes))


def _unit(metric: Metric) -> str:
    return f" {metric.unit}" if metric.unit else ""


def finding_terms() -> list[Term]:
    """Return the codes of curation."""
    return [
        Term(f"code-{code.value.lower()}", formats.spelled(code.value), about, code.value) for code, about in GLOSSARY.items()
    ]


def reason_terms() -> list[Term]:
    """Return the reasons why a metric has no value."""
    return [Term(f"reason-{code}", formats.spelled(code), about, code) for code, about in registry.REASONS.items()]


def verdict_terms() -> list[Term]:
    """Return the verdicts."""
    return [Term(f"verdict-{code}", code.capitalize(), about, "") for code, about in VERDICTS.items()]


def meaning_of(code: str) -> str:
    """Return the glossary's sentence of a code of curation, "" for other codes."""
    return next((about for known, about in GLOSSARY.items() if known.value == code), "")
