"""The inputs of a run: read, and checked before any work is done and anything is written."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.errors import InputError, MapError, ModelError
from refinement.maps.density import read_map
from refinement.output import sha256
from refinement.restraints.library import load_monomer_library
from refinement.structure import read_structure

if TYPE_CHECKING:
    from collections.abc import Sequence

    import gemmi
    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.output import RunLog
    from refinement.structure import Structure

Progress = Callable[[str, str, float], None]
"""``progress(stage, doing, fraction)``; stages are read, validate, refine, cross-validate, write."""

MAX_RESOLUTION = 100.0
ON_TOP = 0.5
"""Å; two residues of one name whose atoms are closer than this are the same residue twice."""
MIN_INSIDE = 0.5
"""A model of which less than this fraction lies in the map is refused."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a run works on.

    Attributes
    ----------
    model : Path
        The model's file.
    structure : Structure
        The model.
    density : Density
        The primary map.
    half_maps : list of Density
        None or two.
    resolution : float
        Å.
    contour : float or None
        Recommended contour level of the primary map.
    library : gemmi.MonLib
        Dictionaries of all compounds.
    described : dict
        Name, size and SHA-256 of each file.
    reference : Structure or None
        Another model of the same molecule, whose torsions are held.
    """

    model: Path
    structure: Structure
    density: Density
    half_maps: list[Density]
    resolution: float
    contour: float | None
    library: gemmi.MonLib
    described: dict[str, Any]
    reference: Structure | None = None


def read_inputs(
    model: Path,
    density_path: Path,
    *,
    resolution: float,
    half_maps: Sequence[Path],
    contour: float | None,
    libraries: Sequence[Path],
    reference: Path | None = None,
    log: RunLog,
    report: Progress,
    refining: bool = False,
    outside: bool = False,
) -> Inputs:
    """Read and check all inputs.

    Atoms that are there twice are noted, but refused with `refining`; `outside` allows a model that isn't in the map.

    Raises
    ------
    InputError
        If an input can't be used.
    """
    model, density_path = Path(model), Path(density_path)
    _require_resolution(resolution)
    if len(half_maps) not in (0, 2):
        message = f"{len(half_maps)} half-map was given."
        raise InputError("half_maps_incomplete", message, "Give both half-maps or none.")
    report("read", model.name, 0.0)
    structure = read_structure(model)
    report("read", density_path.name, 0.3)
    density = read_map(density_path)
    halves = [read_map(path) for path in half_maps]
    for path, half in zip(half_maps, halves, strict=True):
        _require_same_grid(Path(path), half, density)
    _require_different([density, *halves], [density_path, *map(Path, half_maps)])
    other = read_structure(Path(reference)) if reference is not None else None
    _look_for_doubles(structure, model, log, refuse=refining)
    if not outside:
        _require_inside(structure, density, model, density_path, log)
    report("read", "restraint dictionaries", 0.9)
    library = load_monomer_library(np.unique(structure.residues.compound).tolist(), libraries)
    files = {"model": model, "map": density_path}
    files |= {f"half_map_{number}": Path(path) for number, path in enumerate(half_maps, start=1)}
    files |= {f"library_{number}": Path(path) for number, path in enumerate(libraries, start=1)}
    files |= {"reference": Path(reference)} if reference is not None else {}
    described = {role: {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)} for role, path in files.items()}
    log.add(
        "read",
        f"Read {model.name}: {len(structure)} atoms in {len(structure.chain_names)} chains; "
        f"{density_path.name}: {'×'.join(map(str, density.dims))} voxels of {density.voxel[0]:.3f} Å.",
        atoms=len(structure),
        chains=len(structure.chain_names),
        dims=list(density.dims),
    )
    return Inputs(model, structure, density, halves, resolution, contour, library, described, other)


def _require_resolution(resolution: float | None) -> None:
    if resolution is None or not math.isfinite(resolution) or not 0.0 < resolution <= MAX_RESOLUTION:
        message = f"The resolution {resolution} Å makes no sense." if resolution is not None else "No resolution was given."
        raise InputError("resolution_invalid", message, "Give the resolution of the map in Å, e.g. -d 3.2.")


def _require_same_grid(path: Path, half: Density, density: Density) -> None:
    same = half.dims == density.dims and np.allclose(half.voxel, density.voxel, rtol=1e-3)
    if not same or not np.allclose(half.corner, density.corner, atol=0.01):
        message = f"{path.name} has another grid than the map: {half.dims} voxels at {half.corner.tolist()} Å."
        raise MapError("half_map_grid", message, "Half-maps must have the grid of the primary map.")


def _require_different(maps: Sequence[Density], paths: Sequence[Path]) -> None:
    """Refuse half-maps that are one and the same, or the map itself: correlations of equal maps say nothing."""
    for (one, path), (other, other_path) in combinations(zip(maps, paths, strict=True), 2):
        if np.array_equal(one.values, other.values):
            message = f"{path.name} and {other_path.name} hold the same values."
            raise MapError("half_maps_identical", message, "Half-maps come from different halves of the data; check the names.")


def _look_for_doubles(structure: Structure, model: Path, log: RunLog, *, refuse: bool) -> None:
    """Refuse or note atoms that are there twice: no restraint can tell them apart."""
    doubled = doubled_atoms(structure)
    if not len(doubled):
        return
    atom = int(doubled[0])
    where = f"{structure.residues.label(int(structure.residue[atom]))} {structure.names[atom]}"
    message = (
        f"{model.name} has {len(doubled)} atoms more than once, without different alternate conformers, the first at {where}."
    )
    if refuse:
        raise ModelError("model_atoms_doubled", message, "Remove one of each, or give them different conformers.")
    log.add("doubled", message, atoms=len(doubled))


def doubled_atoms(structure: Structure) -> NDArray[np.int64]:
    """Return the rows of atoms that are there once more, ascending.

    They share name and conformer with another atom of their residue, or of a residue with the same number and compound
    at the same place; large models have waters that share only the number.
    """
    residues = structure.residues
    columns: list[NDArray[Any]] = [residues.chain, residues.number, residues.insertion, residues.compound]
    columns = [column[structure.residue] for column in columns] + [structure.names, structure.altloc]
    codes: list[NDArray[np.int64]] = [np.unique(column, return_inverse=True)[1] for column in columns]
    order = np.lexsort(np.stack([structure.residue, *codes]))
    first, second = order[:-1], order[1:]
    same = np.all([code[first] == code[second] for code in codes], axis=0)
    apart = np.linalg.norm(structure.positions[first] - structure.positions[second], axis=1)
    return np.sort(first[same & ((structure.residue[first] == structure.residue[second]) | (apart < ON_TOP))])


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
