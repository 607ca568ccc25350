"""From files to files: what the command line and the service both call.

Inputs are checked before anything is written. All outputs appear together at the end, or none.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree

from refinement import __version__
from refinement.cross_validation import add_cross_validation
from refinement.errors import InputError, MapError, ModelError
from refinement.maps.boxing import box_around
from refinement.maps.density import read_map, write_map
from refinement.moves.naming import with_standard_names
from refinement.output import RunLog, output_folder, sha256, write_json, write_refined_model, write_residues
from refinement.protocol import DEPOSITED, refine
from refinement.restraints.hydrogens import add_hydrogens
from refinement.restraints.library import load_monomer_library
from refinement.settings import settings_for
from refinement.structure import read_structure
from refinement.validation.changes import compare
from refinement.validation.percentiles import read_reference
from refinement.validation.registry import BY_KEY, MASKED_TWINS
from refinement.validation.rotamers import rotamers
from refinement.validation.table_one import Validation, rank, validate

if TYPE_CHECKING:
    import gemmi

    from refinement.maps.density import Density
    from refinement.structure import Structure

Progress = Callable[[str, str, float], None]
"""``progress(stage, doing, fraction)``; stages are read, validate, refine, cross-validate, write."""

SCHEMA = 1
BOX_CUSHION = 5.0
"""Å; margin of the boxed map around the model."""
MAX_RESOLUTION = 100.0
MIN_INSIDE = 0.5
"""A model of which less than this fraction lies in the map is refused."""


@dataclass(slots=True)
class _Inputs:
    structure: Structure
    density: Density
    half_maps: list[Density]
    library: gemmi.MonLib
    described: dict[str, Any]


def validate_files(
    model: Path,
    density_path: Path,
    *,
    resolution: float,
    half_maps: Sequence[Path] = (),
    contour: float | None = None,
    libraries: Sequence[Path] = (),
    references: Sequence[Path] = (),
    output: Path,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Validate a model against a map and write table_one.json, residues.parquet, curves.json and the log.

    Parameters
    ----------
    model, density_path : Path
        Model (mmCIF or PDB) and primary map (MRC/CCP4).
    resolution : float
        Å.
    half_maps : sequence of Path
        None or two half-maps.
    contour : float or None
        Recommended contour level of the primary map.
    libraries : sequence of Path
        Restraint dictionaries of the user.
    references : sequence of Path
        Reference distributions for percentiles, before those of EMDB.
    output : Path
        Folder for the files; made if it isn't there.
    progress : callable, optional
        See `Progress`.

    Returns
    -------
    dict
        The content of table_one.json.

    Raises
    ------
    InputError
        If an input can't be used.
    """
    report = progress or _silent
    log, started = RunLog(), time.perf_counter()
    distributions = [read_reference(Path(path)) for path in references]
    inputs = _read(model, density_path, resolution, half_maps, libraries, log, report)
    initial = _validated(inputs, inputs.structure, resolution, contour, "validate", report)
    rank(initial, distributions)
    table = _table_one(inputs, {"initial": initial}, {"resolution": resolution, "contour": contour}, started)
    log.add("done", f"Validated in {time.perf_counter() - started:.1f} s.")
    report("write", "results", 0.0)
    with output_folder(output) as folder:
        write_json(folder / "table_one.json", table)
        write_residues(folder / "residues.parquet", {"initial": (inputs.structure.residues, initial.residues)})
        write_json(folder / "curves.json", {"initial": initial.curves})
        log.write(folder)
    report("write", "results", 1.0)
    return table


def refine_files(
    model: Path,
    density_path: Path,
    *,
    resolution: float,
    half_maps: Sequence[Path] = (),
    contour: float | None = None,
    libraries: Sequence[Path] = (),
    protocol: str = "default",
    threads: int | None = None,
    seed: int = 0,
    dock: bool = False,
    cross_validate: bool = False,
    output: Path,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Refine a model against a map, validate it before and after, and write everything.

    Parameters are those of `validate_files`, and

    protocol : str
        Name of a protocol (`refinement.settings.PROTOCOLS`).
    threads : int or None
        Threads to use; the result doesn't depend on it. None uses all processors.
    seed : int
        Seed of the shake before cross-validation; the refinement itself draws no random numbers.
    dock : bool
        Accept a model that lies outside the map: it is searched for in the map like any that doesn't fit.
    cross_validate : bool
        Refine also into the first half-map alone, and compare with both.

    Returns
    -------
    dict
        The content of table_one.json.

    Raises
    ------
    InputError
        If an input can't be used.
    """
    report = progress or _silent
    settings = settings_for(protocol)
    log, started = RunLog(), time.perf_counter()
    if cross_validate and not half_maps:
        message = "Cross-validation was asked for, but there are no half-maps."
        raise InputError("half_maps_missing", message, "Give both half-maps, or leave cross-validation out.")
    inputs = _read(model, density_path, resolution, half_maps, libraries, log, report, outside=dock)
    initial = _validated(inputs, inputs.structure, resolution, contour, "validate", report)
    refine_started = time.perf_counter()
    how: dict[str, Any] = {"resolution": resolution, "library": inputs.library, "settings": settings, "threads": threads}
    refined_model = refine(inputs.structure, inputs.density, **how, log=log, progress=partial(report, "refine"))
    refine_seconds = time.perf_counter() - refine_started
    final_model = refined_model.structure
    if inputs.structure.is_hydrogen.any():
        unmoved = refined_model.record["kept"] == DEPOSITED
        final_model = (
            _with_b_of(inputs.structure, final_model)
            if unmoved
            else _with_hydrogens_of(inputs.structure, final_model, inputs.library)
        )
    refined = _validated(inputs, final_model, resolution, contour, "validate", report)
    _add_changes(inputs.structure, refined_model.structure, refined)
    if cross_validate:
        maps = (inputs.density, *inputs.half_maps)
        add_cross_validation(
            refined, inputs.structure, *maps, **how, seed=seed, log=log, progress=partial(report, "cross-validate")
        )
    table = _table_one(
        inputs,
        {"initial": initial, "refined": refined},
        {
            **settings.model_dump(mode="json"),
            "hash": settings.digest(),
            "seed": seed,
            "cross_validate": cross_validate,
            "resolution": resolution,
            "contour": contour,
        },
        started,
    )
    table["refinement"] = refined_model.record
    table["timings_s"]["refine"] = round(refine_seconds, 3)
    log.add("done", f"Refined and validated in {time.perf_counter() - started:.1f} s.")
    report("write", "results", 0.0)
    states = {"initial": (inputs.structure.residues, initial.residues), "refined": (final_model.residues, refined.residues)}
    with output_folder(output) as folder:
        write_refined_model(folder / "refined.cif.gz", final_model, Path(model), refined.metrics)
        write_json(folder / "table_one.json", table)
        write_residues(folder / "residues.parquet", states)
        write_json(folder / "curves.json", {"initial": initial.curves, "refined": refined.curves})
        write_map(folder / "boxed_map.ccp4.gz", _boxed(inputs.density, inputs.structure, final_model))
        log.write(folder)
    report("write", "results", 1.0)
    return table


def _read(
    model: Path,
    density_path: Path,
    resolution: float,
    half_maps: Sequence[Path],
    libraries: Sequence[Path],
    log: RunLog,
    report: Progress,
    *,
    outside: bool = False,
) -> _Inputs:
    """Read and check all inputs; `outside` allows a model that isn't in the map."""
    _require_resolution(resolution)
    if len(half_maps) not in (0, 2):
        message = f"{len(half_maps)} half-map was given."
        raise InputError("half_maps_incomplete", message, "Give both half-maps or none.")
    report("read", Path(model).name, 0.0)
    structure = read_structure(model)
    report("read", Path(density_path).name, 0.3)
    density = read_map(density_path)
    halves = [read_map(path) for path in half_maps]
    for path, half in zip(half_maps, halves, strict=True):
        _require_same_grid(Path(path), half, density)
    if not outside:
        _require_inside(structure, density, Path(model), Path(density_path), log)
    report("read", "restraint dictionaries", 0.9)
    library = load_monomer_library(np.unique(structure.residues.compound).tolist(), libraries)
    files = {"model": Path(model), "map": Path(density_path)}
    files |= {f"half_map_{number}": Path(path) for number, path in enumerate(half_maps, start=1)}
    files |= {f"library_{number}": Path(path) for number, path in enumerate(libraries, start=1)}
    described = {role: {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)} for role, path in files.items()}
    log.add(
        "read",
        f"Read {Path(model).name}: {len(structure)} atoms in {len(structure.chain_names)} chains; "
        f"{Path(density_path).name}: {'×'.join(map(str, density.dims))} voxels of {density.voxel[0]:.3f} Å.",
        atoms=len(structure),
        chains=len(structure.chain_names),
        dims=list(density.dims),
    )
    return _Inputs(structure, density, halves, library, described)


def _require_resolution(resolution: float | None) -> None:
    if resolution is None or not math.isfinite(resolution) or not 0.0 < resolution <= MAX_RESOLUTION:
        message = f"The resolution {resolution} Å makes no sense." if resolution is not None else "No resolution was given."
        raise InputError("resolution_invalid", message, "Give the resolution of the map in Å, e.g. -d 3.2.")


def _require_same_grid(path: Path, half: Density, density: Density) -> None:
    same = half.dims == density.dims and np.allclose(half.voxel, density.voxel, rtol=1e-3)
    if not same or not np.allclose(half.corner, density.corner, atol=0.01):
        message = f"{path.name} has another grid than the map: {half.dims} voxels at {half.corner.tolist()} Å."
        raise MapError("half_map_grid", message, "Half-maps must have the grid of the primary map.")


def _require_inside(structure: Structure, density: Density, model: Path, density_path: Path, log: RunLog) -> None:
    inside = float(density.contains(structure.positions).mean())
    if inside < MIN_INSIDE:
        centre = ", ".join(f"{x:.0f}" for x in structure.positions.mean(axis=0))
        box = ", ".join(f"{x:.0f}" for x in density.corner)
        message = (
            f"{model.name} lies outside {density_path.name}: {100 * inside:.0f} % of its atoms are inside the box. "
            f"The model is centred at ({centre}) Å, the box begins at ({box}) Å."
        )
        raise ModelError(
            "model_outside_map", message, "Check that model and map belong together and share one frame, or have it docked."
        )
    if inside < 1.0:
        count = round((1.0 - inside) * len(structure))
        log.add("outside", f"{count} atoms lie outside the map and feel no density.", atoms=count)


def _validated(
    inputs: _Inputs, structure: Structure, resolution: float, contour: float | None, stage: str, report: Progress
) -> Validation:
    return validate(
        structure,
        inputs.density,
        resolution=resolution,
        contour=contour,
        half_maps=inputs.half_maps,
        library=inputs.library,
        progress=lambda doing, fraction: report(stage, doing, fraction),
    )


def _with_hydrogens_of(initial: Structure, refined: Structure, library: gemmi.MonLib) -> Structure:
    """Give the residues of a refined model new hydrogens where the initial model had some, and only there."""
    full = add_hydrogens(refined, library)
    count = len(initial.residues)
    bare = np.bincount(initial.residue[~initial.is_hydrogen], minlength=count) > 0  # residues of hydrogens alone are gone
    had = (np.bincount(initial.residue[initial.is_hydrogen], minlength=count) > 0)[bare]
    unwanted = full.is_hydrogen & ~had[full.residue]
    return full.without(unwanted) if unwanted.any() else full


def _with_b_of(initial: Structure, refined: Structure) -> Structure:
    """Give an unmoved model, its own hydrogens included, the B factors and occupancies of its refined non-hydrogen atoms.

    A hydrogen takes that of the nearest such atom, the occupancy only where it belongs to an alternate conformer.
    """
    b_iso = initial.b_iso.copy()
    heavy = ~initial.is_hydrogen
    b_iso[heavy] = refined.b_iso
    _, nearest = cKDTree(refined.positions).query(initial.positions[~heavy])
    b_iso[~heavy] = refined.b_iso[nearest]
    occupancy = initial.occupancy.copy()
    occupancy[heavy] = refined.occupancy
    occupancy[~heavy] = np.where(initial.altloc[~heavy] != "", refined.occupancy[nearest], occupancy[~heavy])
    return replace(initial, b_iso=b_iso, occupancy=occupancy)


def _add_changes(initial: Structure, refined: Structure, table: Validation) -> None:
    """Add the counts of changes to the refined model's table; both models without hydrogens."""
    bare = with_standard_names(initial.without(initial.is_hydrogen) if initial.is_hydrogen.any() else initial)
    changes = compare(bare, refined, initial_rotamers=rotamers(bare).names(), refined_rotamers=rotamers(refined).names())
    for key, value in changes.summary.items():
        table.metrics[key] = value
        table.reasons.pop(key, None)
    if len(changes.residue_shift) == len(table.residues["b_iso"]):
        table.residues["shift"] = changes.residue_shift


def _table_one(inputs: _Inputs, states: dict[str, Validation], settings: dict[str, Any], started: float) -> dict[str, Any]:
    keys = [*BY_KEY, *(f"{key}_masked" for key in sorted(MASKED_TWINS))]
    timings = {f"{state} {name}": seconds for state, table in states.items() for name, seconds in table.timings_s.items()}
    reasons: dict[str, str] = {}
    for table in states.values():
        reasons.update(table.reasons)
    if "refined" not in states:
        reasons |= {key: "no_refined_model" for key, metric in BY_KEY.items() if metric.group == "change"}
    return {
        "schema": SCHEMA,
        **{state: {key: table.metrics[key] for key in keys} for state, table in states.items()},
        "reasons": reasons,
        "chains": {state: table.chains for state, table in states.items()},
        "details": {state: table.details for state, table in states.items()},
        "inputs": inputs.described,
        "settings": settings,
        "versions": {
            "ceres": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("gemmi", "numpy", "numba", "scipy")},
        },
        "timings_s": {**timings, "total": round(time.perf_counter() - started, 3)},
    }


def _boxed(density: Density, initial: Structure, refined: Structure) -> Density:
    """Return the map around both models."""
    return box_around(density, np.concatenate([initial.positions, refined.positions]), BOX_CUSHION)


def _silent(stage: str, doing: str, fraction: float) -> None:
    """Report nothing."""
