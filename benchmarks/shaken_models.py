#!/usr/bin/env python3
"""Shake a refined model by dynamics or torsions, refine what comes of it, and compare.

    benchmarks/shaken_models.py PAIRS [NAME ...] [--models 20] [--distance 3] [--kinds dynamics torsions] [--threads 2]

PAIRS is a folder with one folder per pair: model.cif or model.pdb, map.map.gz and meta.json (``resolution``). The model is
refined as it is, shaken without the map (benchmarks/beside/shaking.py), and refined again. The table has CC_mask of the
start, of the refined model, how far Cα atoms are from the model that wasn't shaken (rms, Å), and processor seconds. The exit
status is 1 if the final CC_mask of one kind differ by more than 0.01.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

# This folder has files with the names of packages, and Python looks in the folder of a script first.
sys.path = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]
sys.path.append(str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.beside.shaking import problem_of, rmsd, shaken
from refinement.maps.boxing import box_around
from refinement.maps.density import Density, read_map
from refinement.moves.adp import cc_mask
from refinement.output import RunLog
from refinement.protocol import refine
from refinement.restraints.library import load_monomer_library
from refinement.settings import Settings
from refinement.structure import Structure, read_structure

BAR = 0.01
NAMES = ("hb_5ni1",)
KINDS = ("dynamics", "torsions")


def main() -> int:
    """Run all starts and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("names", nargs="*", help=f"pairs to run (default: {' '.join(NAMES)})")
    parser.add_argument("--models", type=int, default=20, help="of each kind")
    parser.add_argument("--distance", type=float, default=3.0, help="Å, rms over all atoms after superposition")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    sys.stdout.write("| pair | shaken by | Å | CC_mask | refined | Cα Å | s |\n|" + " --- |" * 7 + "\n")
    worst = 0.0
    for name in options.names or NAMES:
        pair = options.pairs / name
        given = read_structure(next(path for path in (pair / "model.cif", pair / "model.pdb") if path.is_file()))
        structure = given.without(given.is_hydrogen) if given.is_hydrogen.any() else given
        density = read_map(pair / "map.map.gz")
        resolution = float(json.loads((pair / "meta.json").read_text())["resolution"])
        unshaken, fit = _refined(structure, density, resolution, options.threads, (name, "not", "0"), None)
        problem = problem_of(unshaken, density, resolution)
        for kind in options.kinds:
            fits = []
            for seed in range(options.models):
                start = shaken(unshaken, problem, options.distance, seed, kind=kind)
                words = (name, kind, f"{rmsd(start.positions, unshaken.positions):.2f}")
                fits.append(_refined(start, density, resolution, options.threads, words, unshaken)[1])
            worst = max(worst, max(fits) - min(fits))
            near = float(np.mean(np.array(fits) > max(fits) - BAR))
            spread = f"{min(fits):.4f} to {max(fits):.4f}, not shaken {fit:.4f}"
            sys.stdout.write(f"\n{name}, {kind}: {spread}; {100 * near:.0f} % within {BAR} of the best.\n\n")
    return int(worst > BAR)


def _refined(
    start: Structure, density: Density, resolution: float, threads: int, words: tuple[str, ...], unshaken: Structure | None
) -> tuple[Structure, float]:
    """Refine from `start`, print the row, and return the model and its CC_mask."""
    library = load_monomer_library(np.unique(start.residues.compound).tolist())
    began = time.process_time()
    how = {"resolution": resolution, "library": library, "settings": Settings(), "threads": threads, "log": RunLog()}
    found = refine(start, density, **how, progress=lambda _doing, _fraction: None).structure
    seconds = time.process_time() - began
    box = box_around(density, np.concatenate([start.positions, found.positions]), Settings().cushion)
    before, after = (cc_mask(model, box, resolution) for model in (start, found))
    alpha = start.names == "CA"
    off = "" if unshaken is None else f"{rmsd(found.positions[alpha], unshaken.positions[alpha]):.2f}"
    sys.stdout.write("| " + " | ".join((*words, f"{before:.3f}", f"{after:.4f}", off, f"{seconds:.1f}")) + " |\n")
    sys.stdout.flush()
    return found, after


if __name__ == "__main__":
    raise SystemExit(main())
