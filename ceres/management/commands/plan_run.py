"""Make a run: one job for every pair of the archive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings

from ceres.management.base import OperatorCommand
from ceres.management.display import listing_progress
from ceres.pipeline.plan import plan_run

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(OperatorCommand):
    help = "Make a run with a job for every pair of the archive, or add the pairs that are new."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("label", help="name of the run, e.g. 2026-11")
        parser.add_argument("--archive", default=settings.CERES_ARCHIVE, help="folder, URL, or 'public' (default: CERES_ARCHIVE)")
        parser.add_argument("--kind", default="monthly", help="what kind of run it is (default: monthly)")
        parser.add_argument("--protocol", default=settings.CERES_PROTOCOL, help="protocol of the engine")
        parser.add_argument("--strict", action="store_true", default=settings.CERES_STRICT, help="curate as in 2020")
        parser.add_argument("--only", action="append", default=[], metavar="PAIR", help="take only this pair, e.g. 6udk_20740")

    def handle(self, *_args: Any, **options: Any) -> None:
        with listing_progress(self.console()) as progress:
            planned = plan_run(
                options["label"],
                archive=options["archive"],
                kind=options["kind"],
                strict=options["strict"],
                protocol=options["protocol"],
                seed=settings.CERES_SEED,
                only=options["only"],
                progress=progress,
            )
        self.stdout.write(f"Run {planned.run}: {planned.pairs} pairs in the archive, {planned.new} new jobs.")
