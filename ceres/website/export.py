"""The table of results as CSV, streamed row by row."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from django.db.models import F

from ceres.models import METRIC_KEYS, metric_column

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ceres.models import JobQuerySet

CHUNK = 2000
IDENTITY: dict[str, str] = {
    "key": "entry__key",
    "pdb_id": "entry__pdb_id",
    "emdb_id": "entry__emdb_id",
    "title": "entry__title",
    "run": "run__label",
    "state": "state",
    "code": "code",
    "verdict": "result__verdict",
    "atoms": "entry__atoms",
    "chains": "entry__chains",
}
"""Columns before those of the metrics."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text


def _cell(value: Any) -> Any:
    """Keep spreadsheets from taking a text that an archive supplied for a formula."""
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value


def csv_lines(jobs: JobQuerySet) -> Iterator[str]:
    """Yield the lines of a CSV file with all metrics of the jobs, a header line first.

    Values have full precision; an empty field means that there is no value.
    """
    metrics = [metric_column(state, key) for key in METRIC_KEYS for state in ("initial", "refined")]
    writer = csv.writer(_Echo())
    yield writer.writerow([*IDENTITY, *metrics])
    columns = [F(path) for path in IDENTITY.values()] + [F(f"result__{name}") for name in metrics]
    for row in jobs.select_related(None).values_list(*columns).iterator(chunk_size=CHUNK):
        yield writer.writerow([_cell(value) for value in row])
