#!/usr/bin/env python3
"""Refinement into one half-map, judged by the other one, at several levels of noise.

    benchmarks/half_maps.py PAIRS [NAME ...] [--archive ARCHIVE] [--noise 0.5 1 2] [--markdown FILE]

PAIRS is a folder with one folder per pair: model.cif or model.pdb, map.map.gz and meta.json (``resolution``). White
noise is added to each map twice; at level 1 it is as strong as makes the two correlate by 0.143 in the shell at the
stated resolution, at the other levels it is that many times as strong. The mean of the halves is the primary map.
ARCHIVE is a copy of the example archive: the entries with simulated half-maps there are rows of their own.

Each row compares models by their mean FSC with the second half: the deposited one as it is, the same with B factors
fitted to the first half as ours are, and ours, refined into the first half. The FSC is counted by thin shells, so that
neither a scale nor an overall B factor changes it; what counts is where atoms are, and how B differs among them. The
noise was added to the map that the deposited model was refined into, noise or no noise, and ours sees one half alone.
Returns 1 if ours is below the deposited model in the second half, or fits the first one better by more than 0.02.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

# This folder has files with the names of packages, and Python looks in the folder of a script first.
sys.path = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]
sys.path.append(str(Path(__file__).resolve().parent.parent))

from refinement.cross_validation import refine_into_half
from refinement.maps.density import Density, read_map
from refinement.maps.fourier import squared_frequencies
from refinement.maps.half_maps import sharpened_like, signal_confirmed, signal_in_mean
from refinement.moves.adp import fit_b
from refinement.output import RunLog
from refinement.restraints.library import load_monomer_library
from refinement.settings import settings_for
from refinement.structure import Structure, read_structure
from refinement.validation.cross_validation import cross_validate

if TYPE_CHECKING:
    from collections.abc import Iterator

HALF_BIT = 0.143
"""Correlation of the halves at the stated resolution where the noise is that of level 1."""
SHELL = 0.05
"""Terms within this part of the resolution tell how strong the map is there."""
SEEDS = (20261101, 20261102)
LARGEST_GAP = 0.02
ARCHIVED = {"6i5a_4413": ("6i5a", "4413", 2.3), "9b00_99100": ("9b00", "99100", 3.64)}
"""Entries of the example archive that have half-maps: both numbers and the resolution in Å."""
HEAD = "| pair | noise | Å | signal | deposited | its B fitted (gap) | ours | gap | not below | gap ≤ 0.02 | CPU s |"


@dataclass(frozen=True)
class Case:
    """A model, its primary map and half-maps.

    Attributes
    ----------
    name, level : str
        Of the pair, and how much noise there is.
    resolution : float
        Å.
    """

    name: str
    level: str
    structure: Structure
    density: Density
    halves: tuple[Density, Density]
    resolution: float


def noisy_halves(density: Density, resolution: float, level: float) -> tuple[Density, Density]:
    """Return the map with white noise, twice, so strong that the two correlate by 0.143 at the resolution (Å), times `level`."""
    s = np.sqrt(squared_frequencies(density.dims, density.cell)) * resolution
    power = np.abs(fft.rfftn(density.values)[np.abs(s - 1.0) < SHELL]) ** 2
    of_noise = float(power.mean()) * (1.0 - HALF_BIT) / HALF_BIT
    deviation = level * np.sqrt(of_noise / density.values.size)
    first, second = (
        density.values + deviation * np.random.default_rng(seed).standard_normal(density.dims).astype(np.float32)
        for seed in SEEDS
    )
    return replace(density, values=first.astype(np.float32)), replace(density, values=second.astype(np.float32))


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """Make the cases asked for, one after the other."""
    for key in ARCHIVED if options.archive else ():
        yield _archived(options.archive, key)
    for folder in sorted(options.pairs.iterdir()):
        if not (folder / "meta.json").is_file() or (options.names and folder.name not in options.names):
            continue
        resolution = float(json.loads((folder / "meta.json").read_text())["resolution"])
        model = next(path for path in (folder / "model.cif", folder / "model.pdb") if path.is_file())
        structure, density = read_structure(model), read_map(folder / "map.map.gz")
        for level in options.noise:
            halves = noisy_halves(density, resolution, level)
            mean = replace(density, values=(0.5 * (halves[0].values + halves[1].values)).astype(np.float32))
            yield Case(folder.name, f"{level:g}", structure, mean, halves, resolution)


def _archived(archive: Path, key: str) -> Case:
    pdb, emdb, resolution = ARCHIVED[key]
    folder = archive / "emdb" / "structures" / f"EMD-{emdb}"
    structure = read_structure(archive / "pdb/data/structures/divided/mmCIF" / pdb[1:3] / f"{pdb}.cif.gz")
    first, second = (read_map(folder / "other" / f"emd_{emdb}_half_map_{number}.map.gz") for number in (1, 2))
    return Case(key, "archive", structure, read_map(folder / "map" / f"emd_{emdb}.map.gz"), (first, second), resolution)


def measured(case: Case) -> tuple[str, bool]:
    """Return a row of the table, and whether the bars are met."""
    library = load_monomer_library(np.unique(case.structure.residues.compound).tolist(), [])
    settings, started = settings_for("default"), time.process_time()
    ours = refine_into_half(
        case.structure,
        case.density,
        *case.halves,
        resolution=case.resolution,
        library=library,
        settings=settings,
        threads=1,
        seed=0,
        log=RunLog(),
        progress=lambda _doing, _fraction: None,
    ).summary
    spent = time.process_time() - started
    bare = case.structure.without(case.structure.is_hydrogen)
    confirmed = signal_confirmed(case.halves[0], case.density, case.structure, case.resolution)
    sharpened = sharpened_like(case.halves[0], case.density, confirmed, case.structure, case.resolution)
    fitted = fit_b(
        bare,
        sharpened,
        case.resolution,
        evaluations=settings.adp_evaluations,
        smoothness=settings.adp_smoothness,
        shells=np.sqrt(confirmed.part),
        noise=confirmed.noise_in_correlation,
    ).structure
    deposited, refitted = (cross_validate(model, *case.halves, case.resolution).summary for model in (bare, fitted))
    signal = signal_in_mean(case.halves, bare, case.resolution).mean
    free, gap = float(ours["fsc_free"] or 0.0), float(ours["fsc_gap"] or 1.0)
    as_deposited = float(deposited["fsc_free"] or 0.0)
    met = free >= as_deposited and gap <= LARGEST_GAP
    cells = [case.name, case.level, f"{case.resolution:g}", f"{signal:.2f}", f"{as_deposited:.3f}"]
    cells += [f"{refitted['fsc_free']:.3f} ({refitted['fsc_gap']:.3f})", f"{free:.3f}", f"{gap:.3f}"]
    cells += ["yes" if free >= as_deposited else "no", "yes" if gap <= LARGEST_GAP else "no", f"{spent:.0f}"]
    return "| " + " | ".join(cells) + " |", met


def main() -> int:
    """Measure all cases and print the table."""
    options = _options()
    lines = [HEAD, "|" + "---|" * HEAD.count(" | ") + "---|"]
    sys.stdout.write("\n".join(lines) + "\n")
    failed = False
    for case in cases(options):
        line, met = measured(case)
        failed |= not met
        lines.append(line)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return int(failed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--archive", type=Path, help="the example archive, for its simulated half-maps")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.5, 1.0, 2.0], help="levels of noise")
    parser.add_argument("--markdown", type=Path, help="also write the table there")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
