"""Run programs on a pair and measure their time and memory; the models they leave are judged by a program too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gemmi
import numpy as np

from refinement.maps.density import Density, read_map, write_map
from refinement.structure import read_structure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class ProgramError(RuntimeError):
    """A program ended with a fault."""


@dataclass(frozen=True)
class Usage:
    """What a run took: seconds by the clock, seconds of processors, and the largest resident set in MB."""

    wall: float
    cpu: float
    memory: float


@dataclass(frozen=True)
class Pair:
    """A pair in the frame that all programs understand alike: the corner of the map at the origin, no hydrogens."""

    name: str
    resolution: float
    model: Path
    density: Path
    published: Path | None
    folder: Path


def canonical(source: Path, folder: Path) -> Pair:
    """Write a pair of `source` (model, map.map.gz, meta.json and perhaps published_refined.pdb) into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    density = read_map(source / "map.map.gz")
    write_map(folder / "map.mrc", Density(density.values, density.cell, np.zeros(3)))
    given = next(path for path in (source / "model.cif", source / "model.pdb") if path.is_file())
    published = source / "published_refined.pdb"
    return Pair(
        name=source.name,
        resolution=float(json.loads((source / "meta.json").read_text())["resolution"]),
        model=_moved(given, density, folder / "model.cif"),
        density=folder / "map.mrc",
        published=_moved(published, density, folder / "published.cif") if published.is_file() else None,
        folder=folder,
    )


def _moved(source: Path, density: Density, target: Path) -> Path:
    structure = read_structure(source)
    if structure.is_hydrogen.any():
        structure = structure.without(structure.is_hydrogen)
    model = structure.moved(structure.positions - density.corner).to_gemmi()
    model.cell, model.spacegroup_hm = density.cell, "P 1"
    model.assign_serial_numbers()
    model.make_mmcif_document().write_file(str(target))
    return target


def without_hydrogens(path: Path) -> Path:
    """Write the model again without hydrogens, so that the judge builds the same ones on every model."""
    structure = gemmi.read_structure(str(path))
    structure.setup_entities()
    structure.remove_hydrogens()
    bare = path.with_name(f"{path.name.split('.')[0]}.bare.cif")
    structure.make_mmcif_document().write_file(str(bare))
    return bare


def measured(command: Sequence[str], folder: Path, **variables: str) -> Usage:
    """Run a command in a folder and return what it took, all its processes together.

    Raises
    ------
    ProgramError
        If it doesn't end well.
    """
    environment = {**os.environ, **ONE_THREAD, **variables}
    log = folder / f"{os.path.basename(command[0])}.log"  # noqa: PTH119
    started = time.perf_counter()
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - started
    if process.returncode:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-6:])
        message = f"{' '.join(command)} ended with status {process.returncode}:\n{last}"
        raise ProgramError(message)
    return Usage(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def run_ceres(pair: Pair, folder: Path, threads: int, arguments: Sequence[str]) -> tuple[Path, Usage]:
    """Refine with this checkout; the time includes both validations."""
    words = [*_ceres("refine"), str(pair.model), str(pair.density), "-d", str(pair.resolution), "-o", str(folder / "out")]
    usage = measured([*words, "--threads", str(threads), "--json", *arguments], folder)
    return folder / "out" / "refined.cif.gz", usage


def run_servalcat(pair: Pair, folder: Path, program: str, monomers: Path | None, cycles: int) -> tuple[Path, Usage]:
    """Refine with servalcat, without its dependence on other programs."""
    words = [program, "refine_spa_norefmac", "--map", str(pair.density), "--model", str(pair.model)]
    words += ["-d", str(pair.resolution), "--ncycle", str(cycles), "-o", "servalcat"]
    variables = {"CLIBD_MON": str(monomers.resolve())} if monomers else {}
    usage = measured(words, folder, **variables)
    return folder / "servalcat.mmcif", usage


def run_open(pair: Pair, folder: Path, program: Sequence[str]) -> tuple[Path, Usage]:
    """Refine with a program that is called with MODEL MAP RESOLUTION OUTPUT."""
    usage = measured([*program, str(pair.model), str(pair.density), str(pair.resolution), str(folder / "open.cif")], folder)
    return folder / "open.cif", usage


def judge(model: Path, pair: Pair, folder: Path, program: Sequence[str]) -> dict[str, float | None]:
    """Return the metrics of a model: by `program` MODEL MAP RESOLUTION -o FILE, or by `ceres validate` where it is empty."""
    if program:
        target = folder / "judged.json"
        measured([*program, str(model), str(pair.density), str(pair.resolution), "-o", str(target)], folder)
        return dict(json.loads(target.read_text())["metrics"])
    target = folder / "judged"
    words = [*_ceres("validate"), str(model), str(pair.density), "-d", str(pair.resolution), "-o", str(target), "--json"]
    measured(words, folder)
    return dict(json.loads((target / "table_one.json").read_text())["initial"])


def _ceres(command: str) -> list[str]:
    return [sys.executable, "-m", "ceres.cli", command]
