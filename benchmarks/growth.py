#!/usr/bin/env python3
"""Refine parts of a large model of growing size: what an atom costs must not depend on how many there are.

    benchmarks/growth.py MODEL [--atoms 5000 20000 80000] [--resolution 3] [--shift 0.15] [--noise 0.5] [--protocol default]

MODEL is mmCIF or PDB, may be gzipped. Each part has the residues nearest to the first one that make up so many atoms, and the
whole model comes last. Its map is simulated from the model, with white noise of `noise` times its standard deviation; its
atoms start shifted by `shift` Å along each axis at random. Each part is refined in a process of its own. Columns: atoms,
seconds by the clock and of the processor for the whole of the refinement (without files and validation), the latter for each
atom, and the peak of memory. The exit status is 1 if an atom of the largest part costs more than twice what it does in the
smallest.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

# This folder has files with the names of packages, and Python looks in the folder of a script first.
sys.path = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]
sys.path.append(str(Path(__file__).resolve().parent.parent))

import gemmi
import numpy as np

from refinement.maps.density import Density
from refinement.maps.scattering import model_map
from refinement.output import RunLog
from refinement.protocol import refine
from refinement.restraints.library import load_monomer_library
from refinement.settings import settings_for
from refinement.structure import Structure, read_structure

MARGIN, VOXEL = 8.0, 1.0 / 3.0
"""Å around the model; length of a voxel, in that of the resolution."""
BAR = 2.0


def main() -> int:
    """Run all parts and print a row for each."""
    options = _options()
    if options.part:
        sys.stdout.write(json.dumps(_refined(options)))
        return 0
    whole = len(_part(options.model, 0))
    sys.stdout.write("| atoms | wall s | CPU s | CPU ms an atom | GiB |\n|" + " --- |" * 5 + "\n")
    costs = []
    for atoms in [*(count for count in options.atoms if count < 0.9 * whole), whole]:
        command = [sys.executable, __file__, *sys.argv[1:], "--part", str(atoms)]
        row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        costs.append(1000.0 * row["cpu"] / row["atoms"])
        cells = (f"{row['atoms']:,}", f"{row['wall']:.1f}", f"{row['cpu']:.1f}", f"{costs[-1]:.2f}", f"{row['gib']:.2f}")
        sys.stdout.write(f"| {' | '.join(cells)} |\n")
        sys.stdout.flush()
    return int(costs[-1] > BAR * costs[0])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--atoms", type=int, nargs="+", default=[5000, 20000, 80000])
    parser.add_argument("--resolution", type=float, default=3.0, help="Å")
    parser.add_argument("--shift", type=float, default=0.15, help="Å")
    parser.add_argument("--noise", type=float, default=0.5, help="in standard deviations of the map")
    parser.add_argument("--protocol", default="default")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--part", type=int, help="refine this part only, and print its row as JSON")
    return parser.parse_args()


def _part(model: Path, atoms: int) -> Structure:
    """Return the residues nearest to the first one that have so many atoms together, without hydrogens; 0 for all."""
    structure = read_structure(model)
    structure = structure.without(structure.is_hydrogen) if structure.is_hydrogen.any() else structure
    first = structure.residues.first
    place = structure.positions[first[:-1]]
    order = np.argsort(np.linalg.norm(place - place[0], axis=1))
    count = int(np.searchsorted(np.cumsum(np.diff(first)[order]), atoms)) + 1
    if not atoms or count >= len(order):
        return structure
    return structure.without(~np.isin(structure.residue, order[:count]))


def _refined(options: argparse.Namespace) -> dict[str, float]:
    """Refine a part, and return what it cost."""
    truth = _part(options.model, options.part)
    density = _map(truth, options.resolution, options.noise)
    random = np.random.default_rng(0)
    start = truth.moved(truth.positions + random.normal(scale=options.shift, size=truth.positions.shape))
    library = load_monomer_library(np.unique(truth.residues.compound).tolist())
    how = {"resolution": options.resolution, "library": library, "settings": settings_for(options.protocol)}
    before, began = _processor(), time.perf_counter()
    refine(start, density, **how, threads=options.threads, log=RunLog(), progress=lambda _doing, _fraction: None)
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return {"atoms": len(truth), "wall": time.perf_counter() - began, "cpu": _processor() - before, "gib": gib}


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _map(truth: Structure, resolution: float, noise: float) -> Density:
    """Return a noisy map of a model, in a box around it."""
    step = resolution * VOXEL
    corner = truth.positions.min(axis=0) - MARGIN
    dims = np.ceil((truth.positions.max(axis=0) + MARGIN - corner) / step).astype(int)
    empty = Density(np.zeros(dims, dtype=np.float32), gemmi.UnitCell(*(dims * step), 90, 90, 90), corner)
    values = model_map(truth, empty, resolution)
    grains = np.random.default_rng(1).normal(scale=noise * float(values.std()), size=values.shape)
    return replace(empty, values=values + grains.astype(np.float32))


if __name__ == "__main__":
    raise SystemExit(main())
