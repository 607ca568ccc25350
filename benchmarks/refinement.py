#!/usr/bin/env python3
"""Refine model-map pairs with Ceres and with servalcat in one run and compare wall time, fit and geometry.

    benchmarks/refinement.py PAIRS [NAME ...] [--servalcat PROGRAM --monomers DIR] [--cycles 10] [--repeat 1] [--markdown FILE]

PAIRS is a folder with one folder per pair: model.cif or model.pdb, map.map.gz and meta.json (``resolution``).
Both programs start from the same files: the map with its corner at the origin, the model moved with it and
without hydrogens. Both get two processors; every Ceres run is warm (compiled kernels are on disk). Both results
are measured by `ceres validate`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

# This file has the name of the package that it measures, and Python looks in the folder of a script first.
sys.path = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]

import gemmi
import numpy as np

from refinement.maps.density import Density, read_map, write_map
from refinement.structure import read_structure

COLUMNS = ("cc_mask", "q_score", "bonds_rmsd", "angles_rmsd", "clashscore", "rama_favored", "rama_outliers", "rotamer_outliers")


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    pair: str
    what: str
    metrics: dict[str, float | None]
    seconds: float | None


def main() -> int:
    """Run the comparison and print it."""
    options = _options()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        for folder in sorted(options.pairs.iterdir()):
            if not (folder / "meta.json").is_file() or (options.names and folder.name not in options.names):
                continue
            rows += _compare(folder, Path(scratch) / folder.name, options)
            _print(rows[-3:] if len(rows) >= 3 else rows)
    if options.markdown:
        options.markdown.write_text(_markdown(rows), encoding="utf-8")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--servalcat", default=shutil.which("servalcat"), help="program to compare with")
    parser.add_argument("--monomers", type=Path, default=os.environ.get("CLIBD_MON"), help="monomer library for servalcat")
    parser.add_argument("--cycles", type=int, default=10, help="cycles of servalcat")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each; the shortest counts")
    parser.add_argument("--markdown", type=Path, help="also write the table there")
    return parser.parse_args()


def _compare(folder: Path, scratch: Path, options: argparse.Namespace) -> list[Row]:
    resolution = float(json.loads((folder / "meta.json").read_text())["resolution"])
    model, density = _canonical(folder, scratch)
    ceres = [sys.executable, "-m", "ceres.cli"]
    seconds = []
    for number in range(options.repeat):
        out = scratch / f"ceres{number}"
        seconds.append(
            _timed([*ceres, "refine", str(model), str(density), "-d", str(resolution), "-o", str(out), "--json"], scratch)
        )
    table = json.loads((scratch / "ceres0" / "table_one.json").read_text())
    rows = [Row(folder.name, "deposited", table["initial"], None), Row(folder.name, "Ceres", table["refined"], min(seconds))]
    if options.servalcat:
        command = [options.servalcat, "refine_spa_norefmac", "--map", str(density), "--model", str(model)]
        command += ["-d", str(resolution), "--ncycle", str(options.cycles), "-o", "servalcat"]
        monomers = {"CLIBD_MON": str(Path(options.monomers).resolve())} if options.monomers else {}
        seconds = [_timed(command, scratch, **monomers) for _ in range(options.repeat)]
        refined = _without_hydrogens(scratch / "servalcat.mmcif")
        checked = scratch / "checked"
        _timed([*ceres, "validate", str(refined), str(density), "-d", str(resolution), "-o", str(checked), "--json"], scratch)
        metrics = json.loads((checked / "table_one.json").read_text())["initial"]
        rows.append(Row(folder.name, f"servalcat, {options.cycles} cycles", metrics, min(seconds)))
    return rows


def _canonical(folder: Path, scratch: Path) -> tuple[Path, Path]:
    """Write the pair with the corner of the map at the origin, the model without hydrogens."""
    scratch.mkdir()
    source = next(path for path in (folder / "model.cif", folder / "model.pdb") if path.is_file())
    structure = read_structure(source)
    if structure.is_hydrogen.any():
        structure = structure.without(structure.is_hydrogen)
    density = read_map(folder / "map.map.gz")
    model = structure.moved(structure.positions - density.corner).to_gemmi()
    model.cell, model.spacegroup_hm = density.cell, "P 1"
    model.assign_serial_numbers()
    model.make_mmcif_document().write_file(str(scratch / "model.cif"))
    write_map(scratch / "map.mrc", Density(density.values, density.cell, np.zeros(3)))
    return scratch / "model.cif", scratch / "map.mrc"


def _without_hydrogens(path: Path) -> Path:
    structure = gemmi.read_structure(str(path))
    structure.remove_hydrogens()
    bare = path.with_suffix(".bare.cif")
    structure.make_mmcif_document().write_file(str(bare))
    return bare


def _timed(command: list[str], folder: Path, **variables: str) -> float:
    environment = {**os.environ, **variables, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"{' '.join(command)} failed with status {done.returncode}:\n{done.stderr[-2000:]}"
        raise RuntimeError(message)
    return time.perf_counter() - started


def _cells(row: Row) -> list[str]:
    digits = {"bonds_rmsd": 4, "cc_mask": 3, "q_score": 3}
    values = [row.metrics.get(key) for key in COLUMNS]
    shown = ["–" if value is None else f"{value:.{digits.get(key, 2)}f}" for key, value in zip(COLUMNS, values, strict=True)]
    return [row.pair, row.what, *shown, "" if row.seconds is None else f"{row.seconds:.1f}"]


def _print(rows: list[Row]) -> None:
    for row in rows:
        sys.stdout.write("  ".join(f"{cell:>12}" for cell in _cells(row)) + "\n")
    sys.stdout.flush()


def _markdown(rows: list[Row]) -> str:
    head = ["pair", "model", *COLUMNS, "wall s"]
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *map(_cells, rows))]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
