"""Install the reference tables that are not part of the project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ceres.management.base import OperatorCommand
from curation.reference_tables import fetch_cablam_tables

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(OperatorCommand):
    help = "Install the contour grids of CaBLAM, from a folder or their public repository, if they are the published ones."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--from", dest="source", type=Path, metavar="FOLDER", help="folder with the eight published files")
        parser.add_argument("--to", dest="target", type=Path, metavar="FOLDER", help="where to install (default: CERES_TABLES)")

    def handle(self, *_args: Any, **options: Any) -> None:
        path = fetch_cablam_tables(options["source"], target=options["target"], progress=self.stdout.write)
        self.stdout.write(f"Installed {path}.")
