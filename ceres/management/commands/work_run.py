"""Work through a run, here or by telling the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings

from ceres.management.base import OperatorCommand, complain_about_our_faults, find_run
from ceres.management.display import RunDisplay, run_table
from ceres.pipeline import watch, work
from ceres.tasks import reap

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from rich.console import Console

    from ceres.models import Run


def work_with_bars(run: Run, console: Console, *, workers: int = 1) -> None:
    """Work through a run: through the broker's workers, in processes of our own, or right here."""
    with RunDisplay(run, console) as display:
        if not settings.CELERY_TASK_ALWAYS_EAGER:
            work.follow(run, lambda: _ring_and_look(display))
        elif workers > 1:
            with work.worker_processes(run, workers) as processes:
                work.follow(run, display.update_from_table, lambda: any(process.poll() is None for process in processes))
        else:
            with watch.listening(display.listen):
                work.work_through(run)
            display.update()


def _ring_and_look(display: RunDisplay) -> None:
    reap()
    display.update_from_table()


class Command(OperatorCommand):
    help = "Work through all jobs of a run. It can be interrupted and started again at any time."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("label", nargs="?", help="name of the run; the latest if not given")
        parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes, if there is no broker (default: 1)")
        parser.add_argument("--retry-failed", action="store_true", help="let failed jobs start again first")
        parser.add_argument("--silent", action="store_true", help="show nothing but errors")

    def handle(self, *_args: Any, **options: Any) -> None:
        run = find_run(options["label"])
        if options["retry_failed"]:
            work.retry_failed(run)
        if options["silent"]:
            work.work_through(run)
            return
        work_with_bars(run, self.console(), workers=options["workers"])
        self.console().print(run_table(run))
        complain_about_our_faults(run)
