"""An archive that needs no network: made molecules, a simulated map and half-maps, and entries to be refused.

The layout is that of the PDB and EMDB archives, so the example walks through the same code as real entries.
"""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
from scipy import fft

from curation.archive import EMDB_HOLDINGS, PDB_HOLDINGS, half_map_path, header_path, map_path, model_path
from curation.example_model import CUSHION, build_truth, plant_errors
from curation.example_records import RELEASE_DATE, ExampleEntry, write_header, write_model
from refinement.maps.density import Density, write_map
from refinement.maps.fourier import low_pass, reciprocal_metric
from refinement.maps.interpolation import trilinear
from refinement.maps.scattering import model_map
from refinement.structure import from_gemmi

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from refinement.structure import Structure

VERSION = 2
"""Raise it when the content changes, so that archives made before are made anew."""
SEED = 20260107
RESOLUTION = 3.0
"""Å; there the half-maps correlate by 0.143."""
SIGNAL_LIMIT = 2.4
"""Å; the finest detail of the simulated particles and of the noise."""
VOXEL = 1.0
"""Å."""
STEPS_PER_NOISE = 3.0
"""Values are rounded to this fraction of the noise, so that the maps pack well."""
ENCLOSED = 0.9
"""Fraction of the atoms inside the recommended contour."""
STAMP = "EXAMPLE.json"

GOOD = ExampleEntry("90001", "9xa1", "Example of Ceres: two protein chains, an RNA hairpin, ATP and magnesium")
MISMATCH = ExampleEntry("90002", "9xb1", "Example of Ceres: the files state different resolutions", model_resolution=3.6)
HALF_GRID = ExampleEntry("90003", "9xb2", "Example of Ceres: the half-maps lie on another grid")
MAP_ONLY = ExampleEntry("90004", "", "Example of Ceres: a map without a model")


@dataclass(frozen=True, slots=True)
class _Maps:
    full: Density
    halves: tuple[Density, Density]
    contour: float


def build_example_archive(
    folder: Path | str, progress: Callable[[str, str, float], None] | None = None, *, seed: int = SEED
) -> Path:
    """Make the example archive, unless the folder holds it already.

    One pair can be refined (9xa1, EMD-90001); three entries are refused: 9xb1 (resolutions differ),
    9xb2 (half-maps on another grid) and EMD-90004 (no model). The same seed gives the same files.

    Parameters
    ----------
    folder : Path
        Root of the archive; ``pdb`` and ``emdb`` lie in it.
    progress : callable, optional
        ``progress(stage, doing, fraction)``.
    seed : int
        Seed of all noise.

    Returns
    -------
    Path
        The folder.
    """
    folder = Path(folder)
    stamp = json.dumps({"version": VERSION, "seed": seed})
    if (folder / STAMP).is_file() and (folder / STAMP).read_text(encoding="utf-8") == stamp:
        return folder
    report = progress or _silent
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        _fill(work, np.random.default_rng(seed), report)
        (work / STAMP).write_text(stamp, encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        work.replace(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    folder.chmod(0o755)
    report("example", "done", 1.0)
    return folder


def simulate_maps(truth: Structure, rng: np.random.Generator) -> tuple[Density, Density, Density]:
    """Return a map and its two half-maps on the same grid, as 3 Å single-particle data would give them.

    Each half-map is the electron-scattering map of the truth plus its own white noise, both cut at the
    finest detail; the noise is so strong that the half-maps' correlation is 0.143 at the resolution.
    """
    dims = np.ceil((truth.positions.max(axis=0) + CUSHION) / VOXEL).astype(int)
    nx, ny, nz = (int(fft.next_fast_len(n, real=True)) for n in dims.tolist())
    cell = gemmi.UnitCell(nx * VOXEL, ny * VOXEL, nz * VOXEL, 90.0, 90.0, 90.0)
    empty = Density(np.zeros((nx, ny, nz), dtype=np.float32), cell, np.zeros(3))
    signal = replace(empty, values=model_map(truth, empty, SIGNAL_LIMIT))
    noises = [
        low_pass(replace(empty, values=rng.standard_normal((nx, ny, nz)).astype(np.float32)), SIGNAL_LIMIT) for _ in range(2)
    ]
    power = _shell_power(signal) / np.mean([_shell_power(noise) for noise in noises])
    strength = float(np.sqrt(power * (1.0 / 0.143 - 1.0)))
    step = strength * float(noises[0].values.std()) / STEPS_PER_NOISE
    first, second = (_rounded(signal.values + strength * noise.values, step) for noise in noises)
    full = replace(empty, values=(first + second) / np.float32(2.0))
    return full, replace(empty, values=first), replace(empty, values=second)


def _fill(root: Path, rng: np.random.Generator, report: Callable[[str, str, float], None]) -> None:
    report("example", "growing the molecules", 0.0)
    truth = build_truth()
    deposited = plant_errors(truth, rng)
    report("example", "simulating the maps", 0.2)
    structure = from_gemmi(truth.clone())
    full, *halves = simulate_maps(structure, rng)
    maps = _Maps(full, (halves[0], halves[1]), _contour(full, structure))
    shifted = tuple(replace(half, corner=half.corner + np.array([4.0 * VOXEL, 0.0, 0.0])) for half in maps.halves)
    entries = (
        (GOOD, maps.halves),
        (MISMATCH, ()),
        (HALF_GRID, shifted),
        (MAP_ONLY, ()),
    )
    for count, (entry, halves_of_entry) in enumerate(entries):
        report("example", f"writing EMD-{entry.emdb_number}", 0.5 + 0.1 * count)
        _write_maps(root, entry, maps, halves_of_entry)
        if entry.pdb_id:
            write_model(_inside(root, model_path(entry.pdb_id)), deposited, entry)
    _write_holdings(root, [entry for entry, _ in entries])


def _write_maps(root: Path, entry: ExampleEntry, maps: _Maps, halves: tuple[Density, ...]) -> None:
    emdb_id = f"EMD-{entry.emdb_number}"
    write_header(_inside(root, header_path(emdb_id)), entry, maps.full, halves, maps.contour)
    write_map(_inside(root, map_path(emdb_id)), maps.full)
    for count, half in enumerate(halves, start=1):
        write_map(_inside(root, half_map_path(emdb_id, f"emd_{entry.emdb_number}_half_map_{count}.map.gz")), half)


def _write_holdings(root: Path, entries: list[ExampleEntry]) -> None:
    models = sorted(entry.pdb_id for entry in entries if entry.pdb_id)
    current = {name.upper(): {"mmcif": [f"/{model_path(name)}"]} for name in models}
    moment = f"{RELEASE_DATE}T00:00:00+00:00"
    modified = {name.upper(): moment for name in models}
    holdings = _inside(root, PDB_HOLDINGS).parent
    _write_json(_inside(root, PDB_HOLDINGS), current)
    _write_json(holdings / "released_structures_last_modified_dates.json.gz", modified)
    _write_json(holdings / "unreleased_entries.json.gz", {})
    dates = {"release_date": RELEASE_DATE, "last_modified_date": RELEASE_DATE}
    _write_json(_inside(root, EMDB_HOLDINGS), {f"EMD-{entry.emdb_number}": dates for entry in entries})


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = json.dumps(content, indent=1).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def _inside(root: Path, path: str) -> Path:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _shell_power(density: Density) -> float:
    """Return the mean |F|² at the resolution, of the terms within 3 % of it."""
    coefficients = fft.rfftn(density.values)
    nx, ny, nz = density.dims
    axes = np.meshgrid(fft.fftfreq(nx, 1 / nx), fft.fftfreq(ny, 1 / ny), fft.rfftfreq(nz, 1 / nz), indexing="ij")
    miller = np.stack(axes, axis=-1)
    inverse = np.sqrt(np.einsum("...i,ij,...j", miller, reciprocal_metric(density.cell), miller))
    shell = np.abs(inverse * RESOLUTION - 1.0) < 0.03
    return float(np.mean(np.abs(coefficients[shell]) ** 2))


def _rounded(values: NDArray[np.float32], step: float) -> NDArray[np.float32]:
    """Round to multiples of a power of two near the step: such values pack well and average exactly."""
    exact = 2.0 ** np.round(np.log2(step))
    return (np.rint(values / exact) * exact).astype(np.float32)


def _contour(density: Density, truth: Structure) -> float:
    """Return the level (two digits) that encloses most atoms of the truth."""
    level = float(np.quantile(trilinear(density, truth.positions), 1.0 - ENCLOSED))
    return float(f"{level:.2g}")


def _silent(stage: str, doing: str, fraction: float) -> None:
    """Ignore progress."""
