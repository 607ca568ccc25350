"""Say where the pairs of a run stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ceres.management.base import OperatorCommand, add_run_argument, find_run
from ceres.management.display import run_table

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from ceres.models import Job


def status_row(job: Job) -> dict[str, Any]:
    """Return what `status --json` says of a job."""
    return {
        "pair": job.entry.key,
        "state": job.shown_state,
        "code": job.code or None,
        "resolution": job.entry.resolution,
        "atoms": job.entry.atoms,
        "chains": job.entry.chains,
    }


class Command(OperatorCommand):
    help = "Show where the pairs of a run stand."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_run_argument(parser)
        parser.add_argument("--json", action="store_true", help="one JSON object per pair and line")

    def handle(self, *_args: Any, **options: Any) -> None:
        run = find_run(options["run"])
        if not options["json"]:
            self.console().print(run_table(run))
            return
        for job in run.jobs.select_related("entry").order_by("entry__key").iterator(chunk_size=2000):
            self.print_json(status_row(job))
