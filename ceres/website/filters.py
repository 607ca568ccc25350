"""Filters of the table of results; the address of the page is their state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import django_filters
from django import forms
from django.db.models import Q

from ceres.models import Job, State, Verdict
from ceres.website.table_one import label_of, metric_of
from curation.identifiers import EmdbQuery, PairQuery, parse_query

if TYPE_CHECKING:
    from ceres.models import JobQuerySet

RANGES: dict[str, str] = {
    "resolution": "entry__resolution",
    "cc_mask": "result__refined_cc_mask",
    "q_score": "result__refined_q_score",
    "clashscore": "result__refined_clashscore",
    "rama_outliers": "result__refined_rama_outliers",
    "rotamer_outliers": "result__refined_rotamer_outliers",
}
"""Metrics with a range filter, and the column that it looks at."""


@dataclass(frozen=True, slots=True)
class Range:
    """Two number inputs with one name."""

    label: str
    unit: str
    low: forms.BoundField
    high: forms.BoundField


def _bound(key: str, side: str, column: str) -> django_filters.NumberFilter:
    words = {"min": "at least", "max": "at most"}[side]
    step = 10 ** -min(metric_of(key).digits, 2)
    return django_filters.NumberFilter(
        field_name=column,
        lookup_expr={"min": "gte", "max": "lte"}[side],
        label=f"{label_of(key)}, {words}",
        widget=forms.NumberInput(attrs={"class": "form-control form-control-sm", "step": step, "placeholder": words}),
    )


class ResultsFilter(django_filters.FilterSet):
    """Text, state, verdict, reason, and ranges of the headline metrics."""

    q = django_filters.CharFilter(
        method="by_text",
        label="Code or words of the title",
        widget=forms.TextInput(attrs={"class": "form-control form-control-sm", "spellcheck": "false", "autocomplete": "off"}),
    )
    state = django_filters.ChoiceFilter(
        choices=[(state.value, state.label) for state in State],
        label="State",
        empty_label="any",
        widget=forms.Select(attrs={"class": "form-select form-select-sm"}),
    )
    verdict = django_filters.ChoiceFilter(
        field_name="result__verdict",
        choices=Verdict.choices,
        label="Verdict",
        empty_label="any",
        widget=forms.Select(attrs={"class": "form-select form-select-sm"}),
    )
    code = django_filters.CharFilter(field_name="code", lookup_expr="iexact", widget=forms.HiddenInput)

    class Meta:
        model = Job
        fields: list[str] = []

    @property
    def ranges(self) -> list[Range]:
        """The pairs of number inputs, in their order."""
        return [Range(label_of(key), metric_of(key).unit, self.form[f"{key}_min"], self.form[f"{key}_max"]) for key in RANGES]

    @property
    def active(self) -> int:
        """How many filters are set."""
        if not self.form.is_valid():
            return 0
        return sum(value not in (None, "") for value in self.form.cleaned_data.values())

    def by_text(self, queryset: JobQuerySet, _name: str, text: str) -> JobQuerySet:
        """Keep the entries whose codes or title the text names."""
        wanted = Q(entry__title__icontains=text) | Q(entry__key__icontains=text)
        for query in parse_query(text):
            if isinstance(query, PairQuery):
                wanted |= Q(entry__key=query.key)
            elif isinstance(query, EmdbQuery):
                wanted |= Q(entry__emdb_id=query.emdb_id)
            else:
                wanted |= Q(entry__pdb_id=query.pdb_id)
        return queryset.filter(wanted)


def _add_ranges() -> None:
    """Add two filters for every range; the metaclass would need them spelled out."""
    added: dict[str, Any] = {
        f"{key}_{side}": _bound(key, side, column) for key, column in RANGES.items() for side in ("min", "max")
    }
    ResultsFilter.base_filters.update(added)


_add_ranges()
