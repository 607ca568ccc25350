#!/usr/bin/env python3
"""Fetch all files of an archive from a server on which everything goes wrong, by several seeds.

    benchmarks/fetching.py [ARCHIVE] [--seeds 8] [--chance 0.5]

ARCHIVE is a folder in the layout of the archives, by default the example archive. Of each seed are printed how many requests
met a fault, the share of the bytes that were sent twice, the files that were refused, and the time. Returns 1 if a file that
was accepted isn't the served one byte for byte, a partial one is left, or more than 5 % were sent twice. The last line is of
a server without faults.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

# This folder has files with the names of packages, and Python looks in the folder of a script first.
ROOT = Path(__file__).resolve().parent.parent
sys.path = [folder for folder in sys.path if Path(folder).resolve() != ROOT / "benchmarks"]
sys.path.insert(0, str(ROOT))

from curation.archive import MAX_FILE_BYTES, PATH_PART, Archive
from curation.download import Patience
from curation.example import build_example_archive
from tests.curation.hostile_server import HostileServer, running, stored_as_served

MOST_TWICE = 0.05
PATIENCE = Patience(attempts=8, first_wait=0.005, longest_wait=0.02, chunk=0.5)


def fetch_everything(root: Path, scratch: Path, *, seed: int, chance: float) -> float:
    """Fetch all files with a seed, print what happened, and return the share of the bytes that were sent twice."""
    files = [path.relative_to(root) for path in sorted(root.rglob("*")) if path.is_file()]
    paths = [str(path) for path in files if len(path.parts) > 1 and all(map(PATH_PART.fullmatch, path.parts))]
    server = HostileServer(root, seed=seed, chance=chance)
    clock, processor = time.perf_counter(), time.process_time()
    with running(server), Archive(server.url, scratch / f"cache{seed}-{chance}", patience=PATIENCE) as archive:
        found = archive.fetch_all(dict.fromkeys(paths, MAX_FILE_BYTES))
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    stored_as_served(scratch / f"cache{seed}-{chance}", root)
    whole = sum((root / path).stat().st_size for path in paths)
    twice = server.fetched_again(whole)
    refused = sorted(path.rpartition("/")[2] for path, got in found.items() if not isinstance(got, Path))
    met = server.done.total() - server.done[""]
    print(
        f"seed {seed:3}: {len(paths)} files, {whole / 1e6:.1f} MB, {met} of {server.done.total()} requests met a fault, "
        f"{100 * twice:.2f} % sent twice, refused: {', '.join(refused) or 'none'}; "
        f"{clock:.1f} s, of the processor {processor:.1f} s with the server"
    )
    return twice


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", nargs="?", type=Path)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--chance", type=float, default=0.5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ceres-fetching-") as scratch:
        root = options.archive or build_example_archive(Path(scratch) / "archive")
        try:
            shares = [fetch_everything(root, Path(scratch), seed=seed, chance=options.chance) for seed in range(options.seeds)]
            fetch_everything(root, Path(scratch), seed=0, chance=0.0)
        except AssertionError as fault:
            print(f"a file isn't what was served, or a partial one is left: {fault}")
            return 1
    return int(max(shares, default=0.0) > MOST_TWICE)


if __name__ == "__main__":
    sys.exit(main())
