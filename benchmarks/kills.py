#!/usr/bin/env python3
"""Kill curation at random moments while it downloads, unpacks and judges, and see whether the next start completes.

    benchmarks/kills.py [ARCHIVE] [--count 50] [--seed 1]

ARCHIVE is a folder in the layout of the archives, by default the example archive; it is served over HTTP by a slow
server. Each time a process is started on an empty cache and ended with SIGKILL; the cache must then be consistent, and
a second process must come to the outcome, the curated models and the cached files of an uninterrupted one. Returns 1
if one doesn't.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

# This folder has files with the names of packages, and Python looks in the folder of a script first.
ROOT = Path(__file__).resolve().parent.parent
sys.path = [folder for folder in sys.path if Path(folder).resolve() != ROOT / "benchmarks"]
sys.path.insert(0, str(ROOT))

from curation.archive import Archive
from curation.cache import Cache
from curation.curate import MODEL_FILE, curate
from curation.download import Patience
from curation.example import build_example_archive
from curation.holdings import list_pairs
from tests.curation.hostile_server import HostileServer, running, stored_as_served

KINDS = {"fetching": "download", "reading": "unpacking"}
"""What curation is doing, by the first word of its reports; everything else is curation itself."""
LONGEST_DELAY = 0.03
"""Seconds from a report to the kill."""
PACE = 0.0005


def curate_all(url: str, folder: Path) -> None:
    """Curate every pair of an archive, with a line on standard output for whatever is done."""
    outcomes: dict[str, Any] = {}

    def report(_stage: str, doing: str, _fraction: float) -> None:
        print(KINDS.get(doing.partition(" ")[0], "curation"), flush=True)

    patience = Patience(first_wait=0.01, longest_wait=0.1)
    with Archive(url, folder / "cache", patience=patience) as archive:
        pairs = list_pairs(archive, progress=lambda *_: print("download", flush=True))
        for pair in pairs:
            curated = curate(pair, archive, folder / "work" / pair.key, progress=report)
            outcomes[pair.key] = [curated.code, curated.resolution, curated.facts]
    (folder / "outcomes.json").write_text(json.dumps(outcomes, default=str, sort_keys=True), encoding="utf-8")


def start(url: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).resolve()), "--child", url, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def complete(url: str, folder: Path) -> Counter[str]:
    """Run to the end; return how many lines of each kind there were."""
    with start(url, folder) as process:
        assert process.stdout is not None
        lines = Counter(line.strip() for line in process.stdout)
    assert process.returncode == 0
    return lines


def kill(url: str, folder: Path, kind: str, number: int, delay: float) -> bool:
    """Kill a process so many seconds after it reported something for the so-manieth time; return whether it lived so long."""
    with start(url, folder) as process:
        assert process.stdout is not None
        seen = 0
        for line in process.stdout:
            seen += line.strip() == kind
            if seen == number:
                time.sleep(delay)
                process.kill()
                break
        process.stdout.read()
    return process.returncode == -9


def left_by(folder: Path) -> tuple[str, dict[str, str]]:
    """Return the outcomes of a run and the checksums of its models."""
    models = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "work").rglob(MODEL_FILE))
    }
    return (folder / "outcomes.json").read_text(encoding="utf-8"), models


def kill_at_random(archive: Path, scratch: Path, *, count: int, seed: int) -> Counter[str]:
    """Kill and start again so many times; return how many kills there were of each kind.

    Raises
    ------
    AssertionError
        If a cache isn't consistent after a kill, or a second start doesn't come to the same.
    """
    chance = random.Random(seed)  # noqa: S311
    kills: Counter[str] = Counter()
    with running(HostileServer(archive, chance=0.0, pace=PACE)) as server:
        lines = complete(server.url, scratch / "whole")
        expected, files = left_by(scratch / "whole"), stored_as_served(scratch / "whole" / "cache", archive)
        while kills.total() < count:
            kind = sorted(lines)[kills.total() % len(lines)]
            folder = scratch / "killed"
            killed = kill(server.url, folder, kind, chance.randint(1, lines[kind]), chance.uniform(0.0, LONGEST_DELAY))
            assert Cache(folder / "cache").faults() == []
            if killed:
                kills[kind] += 1
                complete(server.url, folder)
                assert left_by(folder) == expected
                assert stored_as_served(folder / "cache", archive) == files
            shutil.rmtree(folder)
    return kills


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", nargs="?", type=Path)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        curate_all(options.child[0], Path(options.child[1]))
        return 0
    with tempfile.TemporaryDirectory(prefix="ceres-kills-") as scratch:
        archive = options.archive or build_example_archive(Path(scratch) / "archive")
        try:
            kills = kill_at_random(archive, Path(scratch), count=options.count, seed=options.seed)
        except AssertionError as fault:
            print(f"after a kill: {fault}")
            return 1
    print(
        f"{kills.total()} kills, all completed: {', '.join(f'{number} during {kind}' for kind, number in sorted(kills.items()))}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
