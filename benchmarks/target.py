#!/usr/bin/env python3
"""Time and memory of what the minimiser evaluates, for very large models and beside another program.

    benchmarks/target.py lattice MODEL MAP [--atoms 14900000] [--threads 1 2] [--repeat 5]
    benchmarks/target.py restraints MODEL [--toolbox PYTHON]

``lattice`` fills a map with copies of the box around a model and of its non-hydrogen atoms, side by side, until there
are as many atoms as asked for, and evaluates the map target with its gradient. Limits: 1 s and 8 GiB with 2 threads.

``restraints`` evaluates all terms of the target but the map, hydrogens included, in one thread, and with PYTHON
(one that imports mmtbx) the geometry gradient of that toolbox on the same model, hydrogens included. At least 5 times faster per
atom is asked for. The models should have hydrogens; ours are built on the same atoms.

Times are the shortest of all repeats; those compared are of the processor.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

# This folder has files with the names of packages, and Python looks in the folder of a script first.
sys.path = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]
sys.path.append(str(Path(__file__).resolve().parent.parent))

import gemmi
import numpy as np

from refinement.maps.boxing import box_around
from refinement.maps.density import Density, read_map
from refinement.maps.interpolation import prepare
from refinement.restraints.library import load_monomer_library
from refinement.restraints.topology import build_topology
from refinement.settings import Settings
from refinement.states import Model, Problem, Strengths, make_target
from refinement.structure import read_structure

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from refinement.maps.interpolation import InterpolatedMap

MAX_SECONDS, MAX_GIB, TIMES_FASTER = 1.0, 8.0, 5.0
CUSHION = 2.0
"""Å between the atoms of a copy and the faces of its box."""
WEIGHT = 5.0
"""Of the map; only terms whose weights go with it depend on it."""


def main() -> int:
    """Run one of the two and return 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    lattice = parts.add_parser("lattice")
    lattice.add_argument("model")
    lattice.add_argument("map")
    lattice.add_argument("--atoms", type=int, default=14_900_000)
    lattice.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    lattice.add_argument("--repeat", type=int, default=5)
    beside = parts.add_parser("restraints")
    beside.add_argument("model")
    beside.add_argument("--toolbox", help="a Python that imports mmtbx")
    beside.add_argument("--repeat", type=int, default=200)
    options = parser.parse_args()
    return measure_lattice(options) if options.part == "lattice" else measure_restraints(options)


def shortest(work: Callable[[], object], repeat: int) -> tuple[float, float]:
    """Return the shortest time by the clock and of the processor, in seconds."""
    work()
    clock, processor = [], []
    for _ in range(repeat):
        begin, used = time.perf_counter(), time.process_time()
        work()
        clock.append(time.perf_counter() - begin)
        processor.append(time.process_time() - used)
    return min(clock), min(processor)


def measure_lattice(options: argparse.Namespace) -> int:
    """Evaluate the map target on a lattice of copies."""
    positions, density = filled_lattice(Path(options.model), Path(options.map), options.atoms)
    weights, gradient = np.ones(len(positions)), np.zeros_like(positions)
    energies, slopes = [], []
    print(f"{len(positions):,} atoms in {' x '.join(str(n) for n in density.coefficients.shape)} voxels")
    for threads in options.threads:
        clock, processor = shortest(
            lambda n=threads: density.energy_and_gradient(positions, weights, gradient, threads=n), options.repeat
        )
        gradient[:] = 0.0
        energies.append(density.energy_and_gradient(positions, weights, gradient, threads=threads))
        slopes.append(gradient[:: max(1, len(gradient) // 1000)].copy())
        per_atom = 1e9 * processor / len(positions)
        print(f"{threads} threads: {clock:.3f} s by the clock, {processor:.3f} s of the processor, {per_atom:.0f} ns per atom")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.2f} GiB")
    same = len(set(energies)) == 1 and all(np.array_equal(slope, slopes[0]) for slope in slopes)
    print("results of all numbers of threads are", "the same" if same else "different")
    return int(clock > MAX_SECONDS or peak > MAX_GIB or not same)


def filled_lattice(model: Path, path: Path, n_atoms: int) -> tuple[NDArray[np.float64], InterpolatedMap]:
    """Return the positions of the atoms (Å) and the map of a lattice of copies."""
    structure = read_structure(model)
    one = structure.positions[~structure.is_hydrogen]
    box = box_around(read_map(path), one, CUSHION)
    copies = -(-n_atoms // len(one))
    along = np.ceil(copies ** (1 / 3)).astype(int)
    counts = np.array([along, along, -(-copies // along**2)])
    edges = (box.voxel * box.dims * counts).tolist()
    cell = gemmi.UnitCell(*edges, box.cell.alpha, box.cell.beta, box.cell.gamma)
    density = prepare(Density(np.tile(box.values, counts), cell, box.corner))
    positions = np.empty((copies, len(one), 3))
    for copy, place in enumerate(np.ndindex(*counts.tolist())):
        if copy == copies:
            break
        positions[copy] = one + box.step_matrix @ (np.array(place) * box.dims)
    return positions.reshape(-1, 3)[:n_atoms], density


class _NoMap:
    """Stands in for the map."""

    def energy_and_gradient(self, *_: object, **__: object) -> float:
        """Add nothing."""
        return 0.0


def measure_restraints(options: argparse.Namespace) -> int:
    """Evaluate all restraints of a model, and those of the other program."""
    structure = read_structure(options.model)
    structure = structure.without(structure.is_hydrogen)
    library = load_monomer_library(np.unique(structure.residues.compound).tolist())
    edge = float(np.ptp(structure.positions, axis=0).max()) + 10.0
    noise = np.random.default_rng(0).normal(size=(8, 8, 8)).astype(np.float32)
    density = Density(noise, gemmi.UnitCell(edge, edge, edge, 90, 90, 90), structure.positions.min(axis=0) - 5.0)
    problem = Problem(build_topology(structure, library), library, density, prepare(density), 3.0, Settings(), 1)
    target = make_target(Model.of(structure, library), problem, WEIGHT, Strengths())
    target.density = _NoMap()  # type: ignore[assignment]
    positions, gradient = structure.positions, np.zeros_like(structure.positions)
    n_atoms = len(target.model.structure)
    clock, processor = shortest(lambda: target(positions, gradient), options.repeat)
    ours = 1e9 * processor / n_atoms
    print(f"Ceres: {n_atoms} atoms, {1e3 * processor:.3f} ms ({1e3 * clock:.3f} by the clock), {ours:.0f} ns per atom")
    if not options.toolbox:
        return 0
    command = [options.toolbox, str(Path(__file__).with_name("toolbox_gradient.py")), options.model, str(options.repeat)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    answer = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    other = json.loads(answer.stdout.splitlines()[-1])
    theirs = 1e9 * other["processor"] / other["atoms"]
    print(f"toolbox: {other['atoms']} atoms, {1e3 * other['processor']:.3f} ms, {theirs:.0f} ns per atom")
    print(f"{theirs / ours:.1f} times faster per atom")
    return int(theirs < TIMES_FASTER * ours)


if __name__ == "__main__":
    sys.exit(main())
