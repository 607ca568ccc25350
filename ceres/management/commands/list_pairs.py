"""List all pairs of the archive, and what is new, revised or gone since the list before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from django.conf import settings

from ceres.management.base import OperatorCommand
from ceres.management.display import listing_progress
from ceres.pipeline.sources import open_archive
from curation.archive import USER_AGENT
from curation.download import ArchiveError
from curation.holdings import take_listing
from curation.listing import LISTING_FILE, compare_listings, load_listing, save_listing
from curation.search import compare_with_search, search_emdb, search_rcsb

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from curation.listing import Changes, Listing

SHOWN = 20
"""Pairs of a kind that are named one by one."""


class Command(OperatorCommand):
    help = "List all pairs of the archive, and what is new, revised or gone since the list before."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--archive", default=settings.CERES_ARCHIVE, help="folder, URL, or 'public' (default: CERES_ARCHIVE)")
        parser.add_argument("--json", action="store_true", help="print one JSON object with all pairs")
        parser.add_argument("--search", action="store_true", help="compare with the search services of EMDB and RCSB too")

    def handle(self, *_args: Any, **options: Any) -> None:
        with open_archive(options["archive"]) as archive, listing_progress(self.console()) as progress:
            listing = take_listing(archive, progress=progress)
        path = Path(settings.CERES_CACHE) / LISTING_FILE
        before = load_listing(path, listing.archive)
        changes = compare_listings(before, listing) if before is not None else None
        if options["json"]:
            row: dict[str, Any] = listing.as_dict()
            if changes is not None:
                row["changes"] = {"new": list(changes.new), "revised": changes.revised, "gone": changes.gone}
            self.print_json(row)
        else:
            self.show(listing, changes)
        save_listing(listing, path)
        if options["search"]:
            self.ask_searches(listing)

    def ask_searches(self, listing: Listing) -> None:
        """Say where the search services and the list disagree; a service that doesn't answer is passed over."""
        with httpx.Client(headers={"User-Agent": USER_AGENT}, follow_redirects=True) as client:
            for name, search in (("EMDB", search_emdb), ("RCSB", search_rcsb)):
                try:
                    result = compare_with_search(listing, search(client))
                except ArchiveError as fault:
                    self.stderr.write(str(fault))
                    continue
                self.stderr.write(
                    f"{name} search: {result.found} pairs, {len(result.only_found)} of which the list hasn't; "
                    f"it hasn't {len(result.only_listed)} of the list."
                )
                self.show_some(f"only in the {name} search:", dict.fromkeys(result.only_found, ""), aside=True)
                self.show_some(f"not in the {name} search:", dict.fromkeys(result.only_listed, ""), aside=True)

    def show(self, listing: Listing, changes: Changes | None) -> None:
        """Print counts, and what changed."""
        write = self.stdout.write
        for inventory in listing.inventories:
            dated = f", newest of {inventory.newest[:10]}" if inventory.newest else ""
            write(f"{inventory.path}: {inventory.entries} entries{dated} (sha256 {inventory.sha256[:12]})")
        pairs = [pair for pair in listing.pairs if pair.pdb_id is not None]
        write(
            f"{len(pairs)} pairs, {len(listing.one_sided)} of them declared by one archive only; "
            f"{len(listing.pairs) - len(pairs)} maps without a released model; "
            f"{len(listing.maps_not_released)} models name a map that is not released."
        )
        if changes is None:
            write("There is no earlier list of this archive to compare with.")
            return
        write(f"Since the last list: {len(changes.new)} new, {len(changes.revised)} revised, {len(changes.gone)} gone.")
        self.show_some("new", dict.fromkeys(changes.new, ""))
        self.show_some("revised", changes.revised)
        self.show_some("gone", changes.gone)

    def show_some(self, what: str, rows: dict[str, str], *, aside: bool = False) -> None:
        """Print the first pairs of a kind; `aside` where standard output belongs to programs."""
        out = self.stderr if aside else self.stdout
        for key, why in list(rows.items())[:SHOWN]:
            out.write(f"  {what} {key}" + (f": {why}" if why else ""))
        if len(rows) > SHOWN:
            out.write(f"  and {len(rows) - SHOWN} more (--json names all)")
