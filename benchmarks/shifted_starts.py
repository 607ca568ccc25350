#!/usr/bin/env python3
"""Refine a pair from models that were moved and turned as a whole, and compare with the unmoved one.

    benchmarks/shifted_starts.py PAIRS [NAME ...] [--shifts 2 5 20] [--turns 5 30 180] [--seeds 1]

PAIRS is a folder with one folder per pair: model.cif or model.pdb, map.map.gz and meta.json (``resolution``). Every
shift (Å) is combined with every turn (degrees, about the centre of the model), in directions drawn by the seed. The
table has CC_mask of the start, of the refined model, and its difference to the run from the unmoved model; the exit
status is 1 if one is larger than 0.01.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path

# This folder has files with the names of packages, and Python looks in the folder of a script first.
sys.path = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]
sys.path.append(str(Path(__file__).resolve().parent.parent))

import numpy as np
from scipy.spatial.transform import Rotation

from refinement.run import refine_files
from refinement.structure import Structure, read_structure

BAR = 0.01
NAMES = ("hb_5ni1", "5ly6")


def main() -> int:
    """Run all starts and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("names", nargs="*", help=f"pairs to run (default: {' '.join(NAMES)})")
    parser.add_argument("--shifts", type=float, nargs="+", default=[2.0, 5.0, 20.0])
    parser.add_argument("--turns", type=float, nargs="+", default=[5.0, 30.0, 180.0])
    parser.add_argument("--seeds", type=int, default=1, help="directions for each shift and turn")
    options = parser.parse_args()
    worst = 0.0
    sys.stdout.write("| pair | shift Å | turn ° | CC_mask at the start | refined | difference | s |\n|" + " --- |" * 7 + "\n")
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.names or NAMES:
            pair = options.pairs / name
            given = next(path for path in (pair / "model.cif", pair / "model.pdb") if path.is_file())
            structure = read_structure(given)
            unmoved = _run(pair, structure, 0.0, 0.0, None, Path(scratch))
            for shift, turn, seed in itertools.product(options.shifts, options.turns, range(options.seeds)):
                moved = _moved(structure, shift, turn, np.random.default_rng((seed, int(shift), int(turn))))
                worst = max(worst, abs(_run(pair, moved, shift, turn, unmoved, Path(scratch)) - unmoved))
    sys.stdout.write(f"\nLargest difference {worst:.4f}; {BAR} is allowed.\n")
    return int(worst > BAR)


def _moved(structure: Structure, shift: float, turn: float, rng: np.random.Generator) -> Structure:
    axis, direction = rng.normal(size=(2, 3))
    rotation = Rotation.from_rotvec(np.radians(turn) * axis / np.linalg.norm(axis))
    centre = structure.positions.mean(axis=0)
    positions = rotation.apply(structure.positions - centre) + centre + shift * direction / np.linalg.norm(direction)
    return structure.moved(positions)


def _run(pair: Path, start: Structure, shift: float, turn: float, unmoved: float | None, scratch: Path) -> float:
    """Refine from `start`, print the row, and return CC_mask."""
    model = scratch / "start.cif"
    start.to_gemmi().make_mmcif_document().write_file(str(model))
    resolution = float(json.loads((pair / "meta.json").read_text())["resolution"])
    began = time.perf_counter()
    table = refine_files(model, pair / "map.map.gz", resolution=resolution, dock=True, output=scratch / "refined")
    before, after = (float(table[state]["cc_mask"]) for state in ("initial", "refined"))
    difference = "" if unmoved is None else f"{after - unmoved:+.4f}"
    seconds = time.perf_counter() - began
    row = (pair.name, f"{shift:g}", f"{turn:g}", f"{before:.3f}", f"{after:.4f}", difference, f"{seconds:.1f}")
    sys.stdout.write("| " + " | ".join(row) + " |\n")
    sys.stdout.flush()
    return after


if __name__ == "__main__":
    raise SystemExit(main())
