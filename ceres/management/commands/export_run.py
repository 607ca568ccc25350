"""Write the results of a run as CSV."""

from __future__ import annotations

import csv
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ceres.management.base import OperatorCommand, find_run
from ceres.models import METRIC_KEYS, Result, metric_column

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator

    from ceres.models import Run

COLUMNS = {
    "pair": "entry__key",
    "pdb_id": "entry__pdb_id",
    "emdb_id": "entry__emdb_id",
    "title": "entry__title",
    "method": "entry__method",
    "released": "entry__released",
    "atoms": "entry__atoms",
    "chains": "entry__chains",
    "verdict": "verdict",
    "better": "better",
    "worse": "worse",
    **{metric_column(state, key): metric_column(state, key) for key in METRIC_KEYS for state in ("initial", "refined")},
}
"""Columns of the file and where they come from."""


def rows(run: Run) -> Iterator[tuple[Any, ...]]:
    """Return the results of a run, ordered by pair, without holding them all in memory."""
    found = Result.objects.filter(run=run).order_by("entry__key").values_list(*COLUMNS.values())
    return iter(found.iterator(chunk_size=2000))


class Command(OperatorCommand):
    help = "Write the published results of a run as CSV: one line per pair, a column per metric before and after."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("label", nargs="?", help="name of the run; the latest if not given")
        parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to FILE, not to the terminal")

    def handle(self, *_args: Any, **options: Any) -> None:
        run = find_run(options["label"])
        path: Path | None = options["output"]
        if path is None:
            self._write(run, nullcontext(self.stdout))
            return
        temporary = path.with_name(f"{path.name}.part")
        self._write(run, temporary.open("w", encoding="utf-8", newline=""))
        temporary.replace(path)

    def _write(self, run: Run, target: Any) -> None:
        with target as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(rows(run))
