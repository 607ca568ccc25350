#!/usr/bin/env python3
"""Time and memory of the complete Table 1, its growth with the number of atoms, and another program beside it.

    benchmarks/validation.py PAIRS [NAME ...] [--ribosome MODEL] [--growth] [--oracle 'PYTHON SCRIPT'] [--repeat 2]

PAIRS is a folder with one folder per pair: model.cif or model.pdb, map.map.gz and meta.json (``resolution``,
``contour``). A ribosome is measured against a map of 3 Å that is calculated from it. The times printed are those of
Table 1 in a process that has already made one (kernels loaded), by the clock and of the processor, that of the whole
command in a fresh process (kernels compiled), and that of the other program, which is called with
MODEL MAP RESOLUTION --contour LEVEL -o FILE. ``--growth`` measures the metrics that need no map on a block of 1 to
1000 copies of a molecule of 1000 atoms.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

# This folder has files with the names of packages, and Python looks in the folder of a script first.
sys.path = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]
sys.path.append(str(Path(__file__).resolve().parent.parent))

import gemmi
import numpy as np

from curation.example_model import build_truth
from refinement.maps.density import Density, read_map, write_map
from refinement.maps.scattering import model_map
from refinement.restraints.library import load_monomer_library
from refinement.restraints.topology import build_topology
from refinement.structure import Structure, from_gemmi, read_structure
from refinement.validation.base_pairs import base_pairs
from refinement.validation.cablam import cablam
from refinement.validation.cbeta import cbeta_deviations
from refinement.validation.clashscore import clashscore
from refinement.validation.geometry import covalent_geometry
from refinement.validation.nonbonded_distance import min_nonbonded_distance
from refinement.validation.omega import omega
from refinement.validation.rama_z import rama_z
from refinement.validation.ramachandran import ramachandran
from refinement.validation.rotamers import rotamers
from refinement.validation.secondary_structure import secondary_structure
from refinement.validation.sugar_pucker import sugar_pucker
from refinement.validation.suites import suites
from refinement.validation.table_one import validate

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = {"hb_5ni1": 2.0, "hcn4_6gyn": 10.0, "ribosome": 90.0}
"""Seconds that Table 1 may take, warm."""
MAX_GIB = 6.0
SLOPE = 1.1
"""Largest exponent of the growth of time with atoms."""
SIMULATED_RESOLUTION, SIMULATED_VOXEL = 3.0, 1.0
COPIES = (1, 10, 100, 1000)
UNIT_ATOMS = 1000
GIB = 1 << 20
"""Peak memory is counted in KiB."""


def main() -> int:
    """Run the measurements and print them; 1 if a limit is exceeded."""
    options = _options()
    if options.measure:
        return _measure_here(options)
    fine = True
    with tempfile.TemporaryDirectory() as scratch:
        jobs = [(folder.name, *_pair(folder)) for folder in sorted(options.pairs.iterdir()) if _wanted(folder, options.names)]
        if options.ribosome:
            jobs.append(("ribosome", *_simulated(options.ribosome, Path(scratch))))
        _row("model", "atoms", "Table 1, s", "its CPU, s", "command, s", "peak, GiB", "other, s", "ratio")
        for name, model, density, resolution, contour in jobs:
            fine &= _measure(name, (model, density, resolution, contour), options, Path(scratch))
    return int(not (fine & (_growth(options) if options.growth else True)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("names", nargs="*", help="pairs to measure (default: hb_5ni1 hcn4_6gyn)")
    parser.add_argument("--ribosome", type=Path, help="a large model without a map")
    parser.add_argument("--growth", action="store_true", help="measure 1000 to 1,000,000 atoms")
    parser.add_argument("--most", type=int, default=max(COPIES), help="largest number of copies for --growth")
    parser.add_argument("--oracle", help="command of the other program, such as 'python metrics.py'")
    parser.add_argument("--repeat", type=int, default=2, help="warm runs; the shortest counts")
    parser.add_argument("--measure", nargs=4, metavar=("MODEL", "MAP", "RESOLUTION", "CONTOUR"), help=argparse.SUPPRESS)
    return parser.parse_args()


def _wanted(folder: Path, names: list[str]) -> bool:
    return (folder / "meta.json").is_file() and folder.name in (names or [name for name in LIMITS if name != "ribosome"])


def _pair(folder: Path) -> tuple[Path, Path, float, float | None]:
    meta = json.loads((folder / "meta.json").read_text())
    model = next(path for path in (folder / "model.cif", folder / "model.pdb") if path.is_file())
    return model, folder / "map.map.gz", float(meta["resolution"]), meta.get("contour")


def _simulated(model: Path, scratch: Path) -> tuple[Path, Path, float, float | None]:
    """Write the map of a model at `SIMULATED_RESOLUTION`."""
    structure = read_structure(model)
    corner = np.floor(structure.positions.min(axis=0) - 8.0)
    dims = 10 * np.ceil((structure.positions.max(axis=0) + 8.0 - corner) / (10.0 * SIMULATED_VOXEL)).astype(int)
    cell = gemmi.UnitCell(*(dims * SIMULATED_VOXEL), 90, 90, 90)
    values = model_map(structure, Density(np.zeros(dims, dtype=np.float32), cell, corner), SIMULATED_RESOLUTION)
    path = scratch / "simulated.mrc"
    write_map(path, Density(np.asarray(values, dtype=np.float32), cell, corner))
    return model, path, SIMULATED_RESOLUTION, 2.0 * float(np.std(values))


def _measure(name: str, job: tuple[Path, Path, float, float | None], options: argparse.Namespace, scratch: Path) -> bool:
    """Measure one model and print its row."""
    model, density, resolution, contour = job
    words = [str(model), str(density), str(resolution), "none" if contour is None else repr(contour)]
    here = [sys.executable, str(Path(__file__).resolve()), str(options.pairs), "--repeat", str(options.repeat)]
    output, _, _ = _timed([*here, "--measure", *words])
    warm = json.loads(output.splitlines()[-1])
    given = [] if contour is None else ["--contour", repr(contour)]
    command = [sys.executable, "-m", "ceres.cli", "validate", str(model), str(density), "-d", str(resolution), *given]
    _, seconds, memory = _timed([*command, "-o", str(scratch / name), "--quiet"])
    other = None
    if options.oracle:
        words = [str(model), str(density), str(resolution), *given, "-o", str(scratch / f"{name}.json")]
        _, other, _ = _timed([*shlex.split(options.oracle), *words])
    ratio = "" if other is None else f"{other / warm['seconds']:.0f}"
    fine = warm["seconds"] <= LIMITS.get(name, math.inf) and memory / GIB <= MAX_GIB
    shown = [
        f"{warm['seconds']:.2f}",
        f"{warm['cpu']:.2f}",
        f"{seconds:.2f}",
        f"{memory / GIB:.2f}",
        "" if other is None else f"{other:.1f}",
        ratio,
    ]
    _row(name, str(warm["atoms"]), *shown, "" if fine else "TOO SLOW OR TOO LARGE")
    slowest = sorted(warm["steps"].items(), key=lambda step: -step[1])[:5]
    sys.stdout.write("    " + ", ".join(f"{step} {value:.2f}" for step, value in slowest) + "\n")
    return fine


def _measure_here(options: argparse.Namespace) -> int:
    """Make Table 1 again and again in this process and print the shortest time as JSON."""
    model, density_path, resolution, contour = options.measure
    structure, density = read_structure(Path(model)), read_map(Path(density_path))
    level = None if contour == "none" else float(contour)
    library = load_monomer_library(np.unique(structure.residues.compound).tolist(), partial=True)
    best: dict[str, Any] = {"seconds": math.inf}
    for _ in range(options.repeat + 1):
        started, worked = time.perf_counter(), time.process_time()
        table = validate(structure, density, resolution=float(resolution), contour=level, library=library)
        seconds = time.perf_counter() - started
        if seconds < best["seconds"]:
            best = {"seconds": seconds, "cpu": time.process_time() - worked, "steps": table.timings_s}
    sys.stdout.write(json.dumps({**best, "atoms": len(structure)}) + "\n")
    return 0


def _timed(command: list[str]) -> tuple[str, float, float]:
    """Run a program; return what it printed, its seconds and its peak memory in KiB."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said, subprocess.Popen(command, stdout=said, stderr=said, env=environment) as running:
        _, status, usage = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        said.seek(0)
        output = said.read()
    if running.returncode:
        message = f"{shlex.join(command)} failed:\n{output[-2000:]}"
        raise RuntimeError(message)
    return output, seconds, float(usage.ru_maxrss)


# ----------------------------------------------------------------------------------------------------- growth


def block(copies: int) -> Structure:
    """Return a block of copies of a molecule of about `UNIT_ATOMS` atoms, each with its own chain name."""
    source = build_truth()
    unit = gemmi.Chain("")
    for name in ("A", "C"):
        for residue in source[0][name]:
            if sum(len(r) for r in unit) + len(residue) <= (0.75 if name == "A" else 1.0) * UNIT_ATOMS:
                copy = residue.clone()
                copy.seqid = gemmi.SeqId(len(unit) + 1 + (500 if name == "C" else 0), " ")
                unit.add_residue(copy)
    places = np.array([atom.pos.tolist() for residue in unit for atom in residue])
    step = np.ptp(places, axis=0) + 2.5
    side = math.ceil(copies ** (1 / 3))
    made = gemmi.Structure()
    made.add_model(gemmi.Model(1))
    for number in range(copies):
        chain = unit.clone()
        chain.name = f"{number:04d}"
        shift = gemmi.Position(*(step * (number % side, number // side % side, number // side**2)))
        for residue in chain:
            for atom in residue:
                atom.pos += shift
        made[0].add_chain(chain)
    return from_gemmi(made)


def map_free(structure: Structure) -> dict[str, float]:
    """Compute the metrics that need no map and return the processor time of each step."""
    library = load_monomer_library(np.unique(structure.residues.compound).tolist())
    topology: list[Any] = []
    steps: list[tuple[str, Callable[[], Any]]] = [
        ("topology", lambda: topology.append(build_topology(structure, library))),
        ("geometry", lambda: covalent_geometry(structure, topology.pop())),
        ("contacts", lambda: clashscore(structure, library)),
        ("nonbonded distance", lambda: min_nonbonded_distance(structure, library)),
        ("Ramachandran", lambda: ramachandran(structure)),
        ("Rama-Z", lambda: rama_z(structure)),
        ("rotamers", lambda: rotamers(structure)),
        ("Cβ", lambda: cbeta_deviations(structure)),
        ("peptides", lambda: omega(structure)),
        ("CaBLAM", lambda: cablam(structure)),
        ("secondary structure", lambda: secondary_structure(structure)),
        ("puckers", lambda: sugar_pucker(structure)),
        ("suites", lambda: suites(structure)),
        ("base pairs", lambda: base_pairs(structure)),
    ]
    seconds = {}
    for name, step in steps:
        started = time.process_time()
        step()
        seconds[name] = time.process_time() - started
    return seconds


def _growth(options: argparse.Namespace) -> bool:
    """Print the time of the metrics without a map by number of atoms, and the exponents."""
    map_free(block(1))
    atoms, totals, all_steps = [], [], []
    sys.stdout.write("\n")
    _row("copies", "atoms", "seconds", "µs/atom", "peak, GiB")
    for copies in COPIES:
        if copies > options.most:
            break
        structure = block(copies)
        runs = [map_free(structure) for _ in range(max(1, 3 if copies < 100 else 1))]
        steps = min(runs, key=lambda run: sum(run.values()))
        atoms.append(len(structure))
        totals.append(sum(steps.values()))
        all_steps.append(steps)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GIB
        _row(str(copies), str(atoms[-1]), f"{totals[-1]:.2f}", f"{1e6 * totals[-1] / atoms[-1]:.0f}", f"{peak:.2f}")
    if len(atoms) < 2:
        return True
    slope = float(np.polyfit(np.log(atoms), np.log(totals), 1)[0])
    sys.stdout.write(f"time grows with the power {slope:.2f} of the number of atoms\n")
    for name in all_steps[-1]:
        last = math.log(all_steps[-1][name] / all_steps[-2][name]) / math.log(atoms[-1] / atoms[-2])
        sys.stdout.write(f"    {name}: {all_steps[-1][name]:.2f} s, power {last:.2f} at the end\n")
    return slope <= SLOPE


def _row(*cells: str) -> None:
    sys.stdout.write("".join(f"{cell:>12}" for cell in cells) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
