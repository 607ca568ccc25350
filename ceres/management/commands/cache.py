"""Say how full the cache of downloaded files is, and look whether they are what they were."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings

from ceres.management.base import OperatorCommand
from curation.cache import Cache

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(OperatorCommand):
    help = "Evict what goes beyond CERES_CACHE_GB and say how full the cache of downloaded files is."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="read every file, remove those that were damaged on the disk")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:
        budget = settings.CERES_CACHE_GB * 10**9 or None
        with Cache(Path(settings.CERES_CACHE), budget) as cache:
            faults = cache.faults(mend=True) if options["check"] else []
            freed = cache.make_room()
            files, size = cache.contents()
        if options["json"]:
            self.print_json({"files": files, "bytes": size, "budget": budget, "freed": freed, "faults": faults})
            return
        for fault in faults:
            self.stdout.write(f"removed: {fault}")
        of_budget = f" of {budget / 1e9:.0f}" if budget else ""
        self.stdout.write(f"{files} files, {size / 1e9:.2f}{of_budget} GB; {freed / 1e9:.2f} GB evicted")
