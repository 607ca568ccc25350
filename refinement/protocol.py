"""The macro-cycles: renew targets, minimise, look; then B factors; then choose the state to keep.

Reads like the flow chart of real-space refinement (Afonine et al. 2018, Acta Cryst. D74, 531-544, figure 1).
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.maps.boxing import box_around
from refinement.maps.interpolation import prepare
from refinement.minimise import minimise
from refinement.moves.adp import fit_group_b
from refinement.restraints.cbeta import cbeta_restraints
from refinement.restraints.contact_types import contact_types
from refinement.restraints.hydrogens import Hydrogenated, hydrogenate
from refinement.restraints.nonbonded import make_nonbonded
from refinement.restraints.ramachandran import ramachandran_restraints
from refinement.restraints.rotamers import rotamer_restraints, rotamer_targets
from refinement.restraints.topology import build_topology
from refinement.score import Geometry, fit_harm, harm, measure_geometry
from refinement.target import Target, covalent_terms
from refinement.validation.clashscore import clashscore
from refinement.validation.ramachandran import FAVORED, ramachandran
from refinement.weight import map_weight

if TYPE_CHECKING:
    from collections.abc import Callable

    import gemmi
    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.maps.interpolation import InterpolatedMap
    from refinement.output import RunLog
    from refinement.restraints.topology import Topology
    from refinement.settings import Settings
    from refinement.structure import Structure

DEPOSITED = "deposited"
"""Label of the state that came in."""
STRONGER = 1.6
"""Factor on a restraint after a cycle in which it was too weak to prevent harm."""
MAX_FACTOR = 20.0
COINCIDENT, SEPARATION = 0.05, 0.2
"""Å; bonded atoms closer than the first are moved apart by the second."""
SETTLED = 0.003
"""Å; when a whole cycle moves the atoms less than this (rms) further cycles are idle."""


@dataclass(slots=True)
class Strengths:
    """Factors on the restraints, raised where a cycle did harm and kept for the rest of the run."""

    contacts: float = 1.0
    rotamers: float = 1.0
    ramachandran: float = 1.0
    cbeta: float = 1.0
    peptides: float = 1.0
    map: float = 1.0

    def raise_for(self, harms: list[str]) -> None:
        """Strengthen what failed."""
        for name, attribute in (
            ("clashscore", "contacts"),
            ("rotamer_outliers", "rotamers"),
            ("rama_outliers", "ramachandran"),
            ("cbeta_deviations", "cbeta"),
            ("cis_nonproline", "peptides"),
            ("twisted_peptides", "peptides"),
        ):
            if name in harms:
                setattr(self, attribute, min(getattr(self, attribute) * STRONGER, MAX_FACTOR))
        if {"bonds_rmsd", "angles_rmsd", "chirality_outliers", "planarity_outliers"} & set(harms):
            self.map = max(self.map / STRONGER, 1.0 / MAX_FACTOR)


@dataclass(frozen=True, slots=True)
class State:
    """A model after a cycle, and the same with hydrogens built anew."""

    label: str
    structure: Structure
    hydrogenated: Hydrogenated
    geometry: Geometry
    density_mean: float


@dataclass(frozen=True, slots=True)
class Refined:
    """Outcome: the model without hydrogens, and the record for table_one.json (cycles, weight, choice)."""

    structure: Structure
    record: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Problem:
    """What doesn't change during the run."""

    topology: Topology
    library: gemmi.MonLib
    density: Density
    interpolated: InterpolatedMap
    resolution: float
    settings: Settings
    threads: int


def refine(
    structure: Structure,
    density: Density,
    *,
    resolution: float,
    library: gemmi.MonLib,
    settings: Settings,
    threads: int | None,
    log: RunLog,
    progress: Callable[[str, float], None],
) -> Refined:
    """Refine a model against a map.

    Parameters
    ----------
    structure : Structure
        The model; its hydrogens are rebuilt.
    density : Density
        The map.
    resolution : float
        Å.
    library : gemmi.MonLib
        Dictionaries of all its compounds.
    settings : Settings
        The protocol.
    threads : int or None
        Threads; the result doesn't depend on it.
    log : RunLog
        What happened goes there.
    progress : callable
        Called with what is being done and the fraction done.

    Returns
    -------
    Refined
        Never worse than `structure` by the rule of `refinement.score`.

    Raises
    ------
    RestraintError
        If no restraints can be made.
    """
    progress("restraints", 0.0)
    bare = structure.without(structure.is_hydrogen) if structure.is_hydrogen.any() else structure
    box = box_around(density, bare.positions, settings.cushion)
    problem = _Problem(
        topology=build_topology(bare, library),
        library=library,
        density=box,
        interpolated=prepare(box),
        resolution=resolution,
        settings=settings,
        threads=threads or os.cpu_count() or 1,
    )
    for warning in problem.topology.warnings:
        log.add("restraints", warning)
    initial = _judged_as_given(_state(DEPOSITED, bare, problem), structure, problem)
    _log_state(log, initial)
    states, weight = _macro_cycles(initial, _separated(initial, problem, log), problem, log, progress)
    final, record = _choose(initial, states, problem, log, progress)
    record |= {"map_weight": weight, "cycles": [_row(state) for state in states]}
    return Refined(final, record)


def _judged_as_given(initial: State, given: Structure, problem: _Problem) -> State:
    """Return the deposited state with the clashscore of its own hydrogens where that is better than with new ones."""
    own = clashscore(given, problem.library).summary["clashscore"] if given.is_hydrogen.any() else None
    built = initial.geometry.clashscore
    if own is None or built is None or own >= built:
        return initial
    return replace(initial, geometry=replace(initial.geometry, clashscore=own))


def _macro_cycles(
    initial: State, state: State, problem: _Problem, log: RunLog, progress: Callable[[str, float], None]
) -> tuple[list[State], float]:
    """Run the cycles from `state`, judged by `initial`; returns the state after each, and the map weight."""
    settings, strengths, first = problem.settings, Strengths(), state
    states: list[State] = []
    weight = 0.0
    for cycle in range(1, settings.cycles + 1):
        started = time.perf_counter()
        progress(f"macro-cycle {cycle} of {settings.cycles}", (cycle - 1) / (settings.cycles + 1))
        start = state.structure.positions
        if cycle == 1:
            weight = map_weight(
                lambda trial: _target(first, problem, trial, strengths), first.structure, problem.topology, settings
            )
            log.add("weight", f"Map weight {weight:.2f}.", weight=weight)
        target = _target(state, problem, weight, strengths)
        found = minimise(
            target,
            start,
            max_iterations=settings.iterations,
            max_shift=settings.max_shift,
            curvature=target.curvature(),
        )
        target.close()
        moved = float(np.sqrt(((found.x - start) ** 2).sum(axis=1).mean()))
        state = _state(f"cycle {cycle}", state.structure.moved(found.x), problem)
        states.append(state)
        seconds = time.perf_counter() - started
        _log_state(log, state, moved=moved, cycle_seconds=seconds, evaluations=found.evaluations)
        harms = harm(initial.geometry, state.geometry)
        strengths.raise_for(harms)
        if moved < SETTLED and not harms:
            log.add("settled", f"Cycle {cycle} moved atoms by {moved:.4f} Å: the model has settled.")
            break
    return states, weight


def _separated(initial: State, problem: _Problem, log: RunLog) -> State:
    """Move bonded atoms that lie on each other apart: angles and torsions at a bond without length are undefined.

    Left as they are, such atoms feel no force, and any step away from there costs energy.
    """
    pairs, positions = problem.topology.bonds.atoms, initial.structure.positions
    length = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
    moving = np.unique(pairs[length < COINCIDENT, 1])
    if not len(moving):
        return initial
    direction = np.random.default_rng(0).normal(size=(len(moving), 3))
    positions = positions.copy()
    positions[moving] += SEPARATION * direction / np.linalg.norm(direction, axis=1)[:, None]
    log.add("separated", f"{len(moving)} atoms lay on atoms that they are bonded to and were moved away.", atoms=len(moving))
    return _state("separated", initial.structure.moved(positions), problem)


def _target(state: State, problem: _Problem, weight: float, strengths: Strengths) -> Target:
    """Build the target for the present model: targets of conformation-dependent terms are those of now."""
    settings, bare, model = problem.settings, state.structure, state.hydrogenated
    weight = weight * strengths.map
    stiffness = max(1.0, weight / 10.0)
    cbeta = cbeta_restraints(bare, sigma=settings.cbeta_sigma)
    side_chains = rotamer_targets(bare)
    rotamer = rotamer_restraints(side_chains, sigma=settings.rotamer_sigma, limit=np.inf)
    rare = np.isin(rotamer.residue, side_chains.residue[side_chains.score < FAVORED])
    torsions = [
        replace(cbeta, weight=cbeta.weight * stiffness * strengths.cbeta),
        replace(rotamer, weight=rotamer.weight * stiffness * strengths.rotamers * np.where(rare, settings.outlier_boost, 1.0)),
    ]
    backbone = ramachandran_restraints(bare, problem.topology)
    scores = ramachandran(bare).score[backbone.residue]
    boost = np.where(scores < FAVORED, settings.outlier_boost, 1.0)
    share = _ramachandran_share(problem.resolution, settings)
    return Target(
        model,
        problem.interpolated,
        covalent=covalent_terms(bare, problem.topology, peptides=strengths.peptides),
        nonbonded=make_nonbonded(
            model.structure,
            contact_types(model.structure, model.bonding.neighbours, problem.library),
            model.bonding.neighbours,
        ),
        contact_weight=max(settings.nonbonded, settings.nonbonded_per_weight * weight) * strengths.contacts,
        contact_reduction=settings.nonbonded_slack,
        list_margin=settings.list_margin,
        torsions=torsions,
        ramachandran=backbone.weighted(weight * share * boost * strengths.ramachandran),
        map_weight=weight,
        threads=problem.threads,
    )


def _ramachandran_share(resolution: float, settings: Settings) -> float:
    """Return the weight of the Ramachandran term relative to the map: full from 3 Å on, little at 2.5 Å and better."""
    part = float(np.clip((resolution - 2.5) / 0.5, 0.0, 1.0))
    return settings.ramachandran_fine + part * (settings.ramachandran - settings.ramachandran_fine)


def _choose(
    initial: State, states: list[State], problem: _Problem, log: RunLog, progress: Callable[[str, float], None]
) -> tuple[Structure, dict[str, Any]]:
    """Fit B factors of the best harmless state and keep it if it fits no worse; otherwise the next, at last the deposited one."""
    settings = problem.settings
    candidates = [state for state in states if not harm(initial.geometry, state.geometry)]
    # the last cycles fit best; earlier ones come only if those can't be kept
    candidates.sort(key=lambda state: -state.density_mean)
    cc_initial: float | None = None
    for number, state in enumerate([*candidates[:3], initial]):
        progress("B factors", 0.92 + 0.02 * number)
        before = replace(state.structure, b_iso=initial.structure.b_iso)
        fit = fit_group_b(
            before, problem.density, problem.resolution, evaluations=settings.adp_evaluations, smoothness=settings.adp_smoothness
        )
        if cc_initial is None:
            cc_initial = _cc(initial.structure, problem)
        if state is initial or not fit_harm(cc_initial, fit.cc_after):
            sentence = f"Kept: {state.label}. CC_mask in the box {cc_initial:.4f} -> {fit.cc_after:.4f}, {fit.groups} B groups."
            refused = {other.label: harm(initial.geometry, other.geometry) for other in states if other not in candidates}
            log.add("choice", sentence, state=state.label, cc_before=cc_initial, cc_after=fit.cc_after, refused=refused)
            return fit.structure, {"kept": state.label, "refused": refused, "b_groups": fit.groups}
        log.add("undone", f"{state.label} would lower CC_mask from {cc_initial:.4f} to {fit.cc_after:.4f}: undone.")
    message = "the deposited model is always a candidate"
    raise AssertionError(message)


def _cc(structure: Structure, problem: _Problem) -> float:
    """Return CC_mask in the box, with the B factors as they are."""
    return fit_group_b(structure, problem.density, problem.resolution, evaluations=0, smoothness=0.0).cc_before


def _state(label: str, structure: Structure, problem: _Problem) -> State:
    built = hydrogenate(structure, problem.library, from_dictionary=True)
    geometry = measure_geometry(structure, problem.topology, problem.library, built)
    values: NDArray[np.float64] = problem.interpolated.values(structure.positions)
    return State(label, structure, built, geometry, float(values.mean()))


def _row(state: State) -> dict[str, Any]:
    return {"state": state.label, "density": state.density_mean, **state.geometry.as_dict()}


def _log_state(log: RunLog, state: State, **numbers: float) -> None:
    geometry = state.geometry
    parts = [f"{state.label}: density {state.density_mean:.3f} σ"]
    for name, unit, digits in (
        ("bonds_rmsd", "Å", 4),
        ("angles_rmsd", "°", 2),
        ("clashscore", "", 1),
        ("rama_favored", "%", 1),
        ("rama_outliers", "%", 2),
        ("rotamer_outliers", "%", 2),
    ):
        value = getattr(geometry, name)
        if value is not None:
            parts.append(f"{name.replace('_', ' ')} {value:.{digits}f} {unit}".rstrip())
    if "cycle_seconds" in numbers:
        parts.append(f"{numbers['cycle_seconds']:.1f} s")
    log.add("state", ", ".join(parts) + ".", **_row(state), **numbers)
