"""What our commands share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from ceres.models import Job, Run, State
from ceres.pipeline import schedule
from ceres.pipeline.faults import OUR_FAULTS
from refinement.errors import CeresError

if TYPE_CHECKING:
    from argparse import ArgumentParser

UNUSABLE, FAULT_OF_OURS = 2, 1
"""Exit statuses."""


class OperatorCommand(BaseCommand):
    """A command whose errors are sentences, not tracebacks."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command; an error with a name ends it with exit status 2."""
        try:
            return super().execute(*args, **options)
        except CeresError as error:
            raise CommandError(str(error), returncode=UNUSABLE) from error

    def console(self) -> Console:
        """Return a console on the command's output, of fixed width where it isn't a terminal."""
        terminal = self.stdout.isatty()
        return Console(file=self.stdout, soft_wrap=not terminal, width=None if terminal else 160)  # type: ignore[arg-type]

    def print_json(self, row: dict[str, Any]) -> None:
        """Print one JSON object on one line."""
        self.stdout.write(json.dumps(row, ensure_ascii=False))


def add_run_argument(parser: ArgumentParser) -> None:
    """Add ``--run``."""
    parser.add_argument("--run", metavar="LABEL", help="label of the run; the latest if not given")


def find_run(label: str | None) -> Run:
    """Return a run by its label, or the latest.

    Raises
    ------
    CommandError
        If there is none.
    """
    run = Run.objects.filter(label=label).first() if label else Run.objects.first()
    if run is None:
        message = f"There is no run {label}." if label else "There is no run yet; make one with plan_run."
        raise CommandError(message, returncode=UNUSABLE)
    return run


def complain_about_our_faults(run: Run) -> None:
    """End with exit status 1 if a job of the run failed through a fault of ours, or didn't come to an end.

    Raises
    ------
    CommandError
        If there is such a job.
    """
    jobs = Job.objects.filter(run=run, state=State.FAILED, code__in=OUR_FAULTS).select_related("entry")
    if keys := [job.entry.key for job in jobs]:
        message = f"{len(keys)} of the jobs failed through a fault of ours: {', '.join(keys[:10])}. The log says why."
        raise CommandError(message, returncode=FAULT_OF_OURS)
    if left := schedule.unfinished(run.pk):
        message = f"{left} jobs have not come to an end, because the processes that worked on them ended."
        raise CommandError(message, returncode=FAULT_OF_OURS)
