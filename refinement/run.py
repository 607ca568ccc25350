"""From files to files: what the command line and the service both call.

Inputs are checked before anything is written. All outputs appear together at the end, or none.
"""

from __future__ import annotations

import platform
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement import __version__
from refinement.cross_validation import add_cross_validation
from refinement.errors import InputError
from refinement.final_model import final_model
from refinement.inputs import Inputs, Progress, read_inputs
from refinement.maps.boxing import box_around
from refinement.maps.density import write_map
from refinement.moves.naming import with_standard_names
from refinement.noise import refine_with_half_maps
from refinement.output import RunLog, output_folder, write_json, write_residues
from refinement.protocol import DEPOSITED
from refinement.refined_cif import write_refined_model
from refinement.settings import settings_for
from refinement.threads import beside, processors
from refinement.validation.changes import compare
from refinement.validation.percentiles import read_reference
from refinement.validation.registry import BY_KEY, MASKED_TWINS
from refinement.validation.rotamers import rotamers
from refinement.validation.table_one import Validation, rank, validate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.operators import Operators
    from refinement.output import Listener
    from refinement.protocol import Refined
    from refinement.structure import Structure

    Listed = dict[str, list[dict[str, Any]]]

SCHEMA = 1
REFINED_MODEL = "refined.cif.gz"
FIRST = 40
"""Changes of each kind in table_one.json; changes.json has all of them."""
BOX_CUSHION = 5.0
"""Å; margin of the boxed map around the model."""


def validate_files(
    model: Path,
    density_path: Path,
    *,
    resolution: float,
    half_maps: Sequence[Path] = (),
    contour: float | None = None,
    libraries: Sequence[Path] = (),
    references: Sequence[Path] = (),
    threads: int | None = None,
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
    threads : int or None
        Threads to use; the result doesn't depend on it. None uses all processors.
    output : Path
        Folder for the files; made if it isn't there.
    progress : callable, optional
        See `refinement.inputs.Progress`.

    Returns
    -------
    dict
        The content of table_one.json.

    Raises
    ------
    InputError
        If an input can't be used.
    """
    report, log, started = progress or _silent, RunLog(), time.perf_counter()
    _require_no_refinement(Path(output))
    distributions = [read_reference(Path(path)) for path in references]
    given: dict[str, Any] = {"resolution": resolution, "half_maps": half_maps, "contour": contour, "libraries": libraries}
    inputs = read_inputs(model, density_path, **given, log=log, report=report)
    initial = _validated(inputs, inputs.structure, report, processors(threads))
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
    reference: Path | None = None,
    ncs: str | None = None,
    operators: Operators | None = None,
    output: Path,
    progress: Progress | None = None,
    listen: Listener | None = None,
) -> dict[str, Any]:
    """Refine a model against a map, validate it before and after, and write everything.

    Parameters are those of `validate_files`, and

    protocol : str
        Name of a protocol (`refinement.settings.PROTOCOLS`).
    seed : int
        Seed of annealing, and of the shake before cross-validation.
    dock : bool
        Accept a model that lies outside the map: it is searched for in the map like any that doesn't fit.
    cross_validate : bool
        Refine also into the first half-map alone, and compare with both.
    reference : Path or None
        Another model of the same molecule; torsions are held where it has them.
    ncs : str, optional
        What is done with copies of one molecule, instead of what the protocol says: ``auto``, ``constraints``,
        ``restraints`` or ``off``.
    operators : Operators, optional
        Exact operators between the copies.
    listen : callable, optional
        Called with each event of the log as it comes, such as the end of a macro-cycle.

    Returns
    -------
    dict
        The content of table_one.json.

    Raises
    ------
    InputError
        If an input can't be used.
    """
    report, log, started = progress or _silent, RunLog(listen), time.perf_counter()
    settings = settings_for(protocol, ncs=ncs)
    if cross_validate and not half_maps:
        message = "Cross-validation was asked for, but there are no half-maps."
        raise InputError("half_maps_missing", message, "Give both half-maps, or leave cross-validation out.")
    given: dict[str, Any] = {"resolution": resolution, "half_maps": half_maps, "contour": contour, "libraries": libraries}
    given |= {"reference": reference}
    inputs = read_inputs(model, density_path, **given, log=log, report=report, refining=True, outside=dock)
    how: dict[str, Any] = {"resolution": resolution, "library": inputs.library, "settings": settings, "threads": threads}
    how["reference"] = inputs.reference
    how["operators"] = operators
    # refinement leaves processors idle now and then: the validation of the given model fills the gaps
    with beside(processors(threads), partial(_validated, inputs, inputs.structure, _silent)) as validated:
        refine_started = time.perf_counter()
        maps = (inputs.density, inputs.half_maps)
        outcome = refine_with_half_maps(inputs.structure, *maps, **how, seed=seed, log=log, progress=partial(report, "refine"))
        refine_seconds = time.perf_counter() - refine_started
        initial = validated()
    final, refined, changes = _finished(inputs, outcome, initial, report, processors(threads))
    if cross_validate:
        three = (inputs.density, *inputs.half_maps)
        add_cross_validation(
            refined, inputs.structure, *three, **how, seed=seed, log=log, progress=partial(report, "cross-validate")
        )
    used = {**settings.model_dump(mode="json"), "hash": settings.digest()}
    used |= {"seed": seed, "cross_validate": cross_validate, "resolution": resolution, "contour": contour}
    table = _table_one(inputs, {"initial": initial, "refined": refined}, used, started)
    counts = {kind: len(rows) for kind, rows in changes.items()}
    table["refinement"] = {**outcome.record, "changes": {"counts": counts, **{k: v[:FIRST] for k, v in changes.items()}}}
    table["timings_s"]["refine"] = round(refine_seconds, 3)
    log.add("done", f"Refined and validated in {time.perf_counter() - started:.1f} s.")
    report("write", "results", 0.0)
    _write_refinement(output, inputs, final, {"initial": initial, "refined": refined}, table, changes, log, processors(threads))
    report("write", "results", 1.0)
    return table


def _require_no_refinement(output: Path) -> None:
    """Refuse a folder with a refined model: it would seem to belong to the new Table 1, and may be what is validated."""
    if (output / REFINED_MODEL).exists():
        message = f"{output} holds the results of a refinement ({REFINED_MODEL})."
        raise InputError("output_holds_refinement", message, "Choose another folder, or move them away.")


def _validated(inputs: Inputs, structure: Structure, report: Progress, threads: int = 1) -> Validation:
    return validate(
        structure,
        inputs.density,
        resolution=inputs.resolution,
        contour=inputs.contour,
        half_maps=inputs.half_maps,
        library=inputs.library,
        threads=threads,
        progress=partial(report, "validate"),
    )


def _finished(
    inputs: Inputs, outcome: Refined, initial: Validation, report: Progress, threads: int
) -> tuple[Structure, Validation, Listed]:
    """Return the model to hand out, its validation, and what changed."""
    unmoved = outcome.record["kept"] == DEPOSITED
    final = final_model(inputs.structure, outcome.structure, inputs.library, unmoved=unmoved)
    refined = _validated(inputs, final, report, threads)
    return final, refined, _changes(inputs.structure, outcome.structure, final, initial, refined)


def _changes(given: Structure, bare: Structure, final: Structure, initial: Validation, refined: Validation) -> Listed:
    """List what changed from `given` to `final`, and add the counts to the refined model's table.

    Models are compared without hydrogens; `bare` is the refined one without them.
    """
    before = with_standard_names(given.without(given.is_hydrogen) if given.is_hydrogen.any() else given)
    changes = compare(before, bare, initial_rotamers=rotamers(before).names(), refined_rotamers=rotamers(bare).names())
    for key, value in changes.summary.items():
        refined.metrics[key] = value
        refined.reasons.pop(key, None)
    rows_before, rows_after = (_rows_with_atoms(model) for model in (given, final))
    shift = np.full(len(final.residues), np.nan, dtype=np.float32)
    shift[rows_after] = changes.residue_shift
    refined.residues["shift"] = shift
    return changes.listed(initial.residues["q_score"][rows_before], refined.residues["q_score"][rows_after])


def _rows_with_atoms(structure: Structure) -> NDArray[np.int64]:
    """Return the rows of the residues that have more than hydrogens."""
    return np.flatnonzero(np.bincount(structure.residue[~structure.is_hydrogen], minlength=len(structure.residues)))


def _write_refinement(
    output: Path,
    inputs: Inputs,
    final: Structure,
    states: dict[str, Validation],
    table: dict[str, Any],
    changes: Listed,
    log: RunLog,
    threads: int,
) -> None:
    """Write all files of a refinement, the packed ones at the same time."""
    initial, refined = states["initial"], states["refined"]
    residues = {"initial": (inputs.structure.residues, initial.residues), "refined": (final.residues, refined.residues)}
    with output_folder(output) as folder:
        boxed = partial(write_map, folder / "boxed_map.ccp4.gz", _boxed(inputs.density, inputs.structure, final))
        with beside(threads, boxed) as written:
            write_refined_model(folder / REFINED_MODEL, final, inputs.model, refined.metrics, refined.details["restraints"])
            write_json(folder / "table_one.json", table)
            counts = table["refinement"]["changes"]["counts"]
            write_json(folder / "changes.json", {"schema": SCHEMA, "counts": counts, **changes})
            write_residues(folder / "residues.parquet", residues)
            write_json(folder / "curves.json", {state: validation.curves for state, validation in states.items()})
            written()
        log.write(folder)


def _table_one(inputs: Inputs, states: dict[str, Validation], settings: dict[str, Any], started: float) -> dict[str, Any]:
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
