"""Table 1: every metric of one model against one map, with a reason for each that is missing."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.restraints.library import load_monomer_library
from refinement.restraints.topology import build_topology
from refinement.threads import in_order
from refinement.validation.atom_inclusion import atom_inclusion
from refinement.validation.base_pairs import base_pairs
from refinement.validation.cablam import cablam
from refinement.validation.cbeta import cbeta_deviations
from refinement.validation.clashscore import clashscore, contact_model
from refinement.validation.correlation import correlations
from refinement.validation.descriptive import describe
from refinement.validation.difference_map import unexplained
from refinement.validation.emringer import emringer
from refinement.validation.expected_q import q_against_expected
from refinement.validation.geometry import covalent_geometry
from refinement.validation.ligands import ligands
from refinement.validation.local_resolution import local_resolution
from refinement.validation.map_resolution import map_resolution
from refinement.validation.map_statistics import map_statistics
from refinement.validation.molprobity import molprobity_score
from refinement.validation.nonbonded_distance import min_nonbonded_distance
from refinement.validation.nucleic_backbone import nucleic_backbone
from refinement.validation.omega import omega
from refinement.validation.percentiles import percentiles
from refinement.validation.qscore import q_scores
from refinement.validation.rama_z import rama_z
from refinement.validation.ramachandran import ramachandran
from refinement.validation.registry import BY_KEY, MASKED_TWINS
from refinement.validation.rotamers import rotamers
from refinement.validation.secondary_structure import secondary_structure
from refinement.validation.smoc import smoc
from refinement.validation.sugar_pucker import sugar_pucker
from refinement.validation.suites import suites
from refinement.validation.waters import waters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import gemmi
    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.structure import Structure
    from refinement.validation.percentiles import Reference


LATE = ("expected Q-score", "ligands", "waters")
"""Steps that need what others found."""
LONG = ("resolution", "difference map", "correlation", "Q-score", "contacts")
"""Steps that take longest."""
VOXELS_AT_ONCE = 2 * 512**3
"""Voxels of the maps that are worked on at the same time, a few copies of each: bounds the memory."""


@dataclass(slots=True)
class Validation:
    """Table 1 of one model.

    Attributes
    ----------
    metrics : dict[str, float | None]
        Every key of the registry.
    reasons : dict[str, str]
        Reason code of each key without a value.
    residues : dict[str, NDArray]
        Per-residue columns, aligned with the residue table of the model.
    curves : dict
        Curves by name.
    chains : dict[str, float]
        CC of each chain.
    details : dict[str, Any]
        What isn't a key of the registry, by the name of its step: lists of ligands, percentiles and so on.
    timings_s : dict[str, float]
        Seconds of each step.
    """

    metrics: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    residues: dict[str, NDArray[Any]] = field(default_factory=dict)
    curves: dict[str, Any] = field(default_factory=dict)
    chains: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    timings_s: dict[str, float] = field(default_factory=dict)


def validate(
    structure: Structure,
    density: Density,
    *,
    resolution: float,
    contour: float | None = None,
    half_maps: Sequence[Density] = (),
    libraries: Sequence[Path] = (),
    library: gemmi.MonLib | None = None,
    threads: int = 1,
    progress: Callable[[str, float], None] | None = None,
) -> Validation:
    """Compute Table 1.

    Parameters
    ----------
    structure : Structure
        The model, as it is (hydrogens included).
    density : Density
        The primary map.
    resolution : float
        Consensus resolution in Å.
    contour : float or None
        Recommended contour level.
    half_maps : sequence of Density
        The two half-maps, if there are any.
    libraries : sequence of Path
        Restraint dictionaries of the user.
    library : gemmi.MonLib, optional
        A library that is already loaded, instead of `libraries`.
    threads : int
        Metrics that are computed at once, fewer for large maps; the values don't depend on it.
    progress : callable, optional
        Called with what is being done and the fraction that is done.

    Compounds without a dictionary don't count in covalent geometry; ``details["unknown_compounds"]`` names them.

    Raises
    ------
    RestraintError
        If a dictionary of the user can't be used, or no topology can be made.
    """
    compounds = np.unique(structure.residues.compound).tolist()
    if library is None:
        library = load_monomer_library(compounds, libraries, partial=True)
    table = Validation()
    started = time.perf_counter()
    topology = build_topology(structure, library, partial=True)
    table.timings_s["topology"] = round(time.perf_counter() - started, 4)
    contacts = cache(lambda: contact_model(structure, library))
    q_score = cache(lambda: q_scores(structure, density))
    steps: list[tuple[str, Callable[[], Any]]] = [
        ("map statistics", lambda: map_statistics(density)),
        ("Ramachandran", lambda: ramachandran(structure)),
        ("Rama-Z", lambda: rama_z(structure)),
        ("rotamers", lambda: rotamers(structure)),
        ("Cβ", lambda: cbeta_deviations(structure)),
        ("peptides", lambda: omega(structure)),
        ("CaBLAM", lambda: cablam(structure)),
        ("secondary structure", lambda: secondary_structure(structure)),
        ("bonds and angles", lambda: covalent_geometry(structure, topology)),
        ("contacts", lambda: clashscore(structure, library, model=contacts())),
        ("nonbonded distances", lambda: min_nonbonded_distance(structure, library)),
        ("sugar puckers", lambda: sugar_pucker(structure)),
        ("RNA suites", lambda: suites(structure)),
        ("nucleotide backbone", lambda: nucleic_backbone(structure, topology)),
        ("base pairs", lambda: base_pairs(structure)),
        ("correlation", lambda: correlations(structure, density, resolution)),
        ("Q-score", q_score),
        ("expected Q-score", lambda: q_against_expected(structure, q_score().atoms, resolution)),
        ("EMRinger", lambda: emringer(structure, density)),
        ("SMOC", lambda: smoc(structure, density, resolution)),
        ("difference map", lambda: unexplained(structure, density, resolution, half_maps)),
        ("ligands", lambda: ligands(structure, topology, table.residues, resolution=resolution)),
        ("waters", lambda: waters(structure, density, contacts(), resolution=resolution, q_score=table.residues["q_score_06"])),
        ("resolution", lambda: map_resolution(structure, density, resolution, half_maps)),
        ("local resolution", lambda: local_resolution(structure, half_maps, resolution)),
        ("atom inclusion", lambda: atom_inclusion(structure, density, contour)),
    ]
    at_once = max(1, min(threads, VOXELS_AT_ONCE // density.values.size))
    early = {name: partial(_timed, step) for name, step in steps if name not in LATE}
    found = in_order(at_once, list(early.values()), longest=[list(early).index(name) for name in LONG])
    for number, (name, step) in enumerate(steps):
        if progress is not None:
            progress(name, number / len(steps))
        result, table.timings_s[name] = next(found) if name in early else _timed(step)
        table.metrics.update(result.summary)
        table.reasons.update(result.reasons)
        table.residues.update(result.columns)
        _take_extras(table, result)
    table.metrics["resolution"] = resolution
    table.residues["b_iso"] = mean_b(structure)
    _add_molprobity_score(table)
    table.details |= describe(structure)
    table.details["unknown_compounds"] = [name for name in compounds if name not in library.monomers]
    rank(table)
    _explain_missing(table, has_half_maps=len(half_maps) == 2)
    return table


def _timed(step: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a step returns, and the seconds it took."""
    started = time.perf_counter()
    result = step()
    return result, round(time.perf_counter() - started, 4)


def rank(table: Validation, references: Sequence[Reference] = ()) -> None:
    """Put the percentiles of the metrics, and of the mean SMOC, into the details; given references come first."""
    values = {**table.metrics, "smoc": table.details.get("smoc", {}).get("mean")}
    table.details["percentiles"] = percentiles(values, float(table.metrics["resolution"] or 0.0), references)


def mean_b(structure: Structure) -> NDArray[np.float32]:
    """Return the mean B (Å²) of each residue's atoms that aren't hydrogen, NaN where there is none."""
    heavy = ~structure.is_hydrogen
    count = np.bincount(structure.residue[heavy], minlength=len(structure.residues))
    total = np.bincount(structure.residue[heavy], weights=structure.b_iso[heavy], minlength=len(structure.residues))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (total / count).astype(np.float32)


def _take_extras(table: Validation, result: Any) -> None:
    """Take what only some metrics have: chain values, details and curves."""
    table.chains.update(getattr(result, "chains", {}))
    table.details.update(getattr(result, "details", {}))
    table.curves.update(getattr(result, "curves", {}))
    curve = getattr(result, "curve", None)
    if curve is not None and len(curve[0]):
        table.curves["atom_inclusion"] = {"level": list(curve[0]), "fraction": list(curve[1])}


def _add_molprobity_score(table: Validation) -> None:
    parts = [table.metrics.get(key) for key in ("clashscore", "rotamer_outliers", "rama_favored")]
    table.metrics["molprobity_score"] = molprobity_score(*parts)
    if table.metrics["molprobity_score"] is None:
        table.reasons["molprobity_score"] = "component_missing"


def _explain_missing(table: Validation, *, has_half_maps: bool) -> None:
    """Give every key of the registry a value or a reason."""
    compared = {"fsc_work", "fsc_free", "fsc_gap"}
    for key in [*BY_KEY, *(f"{key}_masked" for key in sorted(MASKED_TWINS))]:
        if table.metrics.setdefault(key, None) is None:
            reason = "not_cross_validated" if has_half_maps else "no_half_maps"
            table.reasons.setdefault(key, reason if key in compared else "not_computed")
