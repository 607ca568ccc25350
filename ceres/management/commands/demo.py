"""The whole service on a small archive, in one command."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from ceres.management.base import UNUSABLE, OperatorCommand, complain_about_our_faults
from ceres.management.commands.work_run import work_with_bars
from ceres.management.display import listing_progress, run_table, step_progress
from ceres.models import State
from ceres.pipeline.plan import RunDiffersError, plan_run
from ceres.pipeline.work import retry_failed
from curation.example import build_example_archive

if TYPE_CHECKING:
    from ceres.pipeline.plan import Planned

HOST = "127.0.0.1"


class Command(OperatorCommand):
    help = "Make the database, refine the pairs of a small archive, and serve the site."

    def handle(self, *_args: Any, **_options: Any) -> None:
        if settings.CERES_DEMO_SERVE:
            self._see_that_the_port_is_free()
        call_command("migrate", verbosity=0)
        console = self.console()
        archive = settings.CERES_ARCHIVE or self._example()
        planned = self._plan(archive)
        run = planned.run
        published = run.jobs.filter(state=State.PUBLISHED).count()
        console.print(f"Run {run} on {archive}: {planned.pairs} pairs, {published} published before.", highlight=False)
        retry_failed(run)
        work_with_bars(run, console)
        console.print(run_table(run))
        complain_about_our_faults(run)
        if settings.CERES_DEMO_SERVE:
            self._serve()

    def _plan(self, archive: str) -> Planned:
        """Plan this month's run; where it was begun by another engine or with other settings, one beside it."""
        month = timezone.now().strftime("%Y-%m")
        labels = [month, *(f"{month}-{letter}" for letter in ascii_lowercase[1:])]
        with listing_progress(self.console()) as progress:
            for label in labels:
                with suppress(RunDiffersError):
                    return plan_run(
                        label,
                        archive=archive,
                        strict=settings.CERES_STRICT,
                        protocol=settings.CERES_PROTOCOL,
                        seed=settings.CERES_SEED,
                        progress=progress,
                    )
        message = f"The runs {labels[0]} to {labels[-1]} were begun with other settings."
        raise CommandError(message, returncode=UNUSABLE)

    def _example(self) -> str:
        """Return the example archive, made at the first time."""
        folder = settings.CERES_VAR / "example"
        with step_progress(self.console(), "example archive") as progress:
            return str(build_example_archive(folder, progress))

    def _see_that_the_port_is_free(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, settings.CERES_DEMO_PORT))
            except OSError as error:
                message = f"Port {settings.CERES_DEMO_PORT} is in use. Choose another with CERES_DEMO_PORT."
                raise CommandError(message, returncode=UNUSABLE) from error

    def _serve(self) -> None:
        """Become the web server."""
        address = f"{HOST}:{settings.CERES_DEMO_PORT}"
        self.stdout.write(f"\nThe site is at http://{address}/   (Ctrl-C ends it)\n")
        self.stdout.flush()
        command = [sys.executable, "-m", "gunicorn", "ceres.wsgi", "--bind", address, "--workers", "1", "--threads", "4"]
        os.chdir(settings.BASE_DIR)
        os.execv(sys.executable, [*command, "--log-level", "warning"])  # noqa: S606  # no shell is involved
