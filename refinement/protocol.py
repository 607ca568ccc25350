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
from refinement.minimise import Minimum, minimise
from refinement.moves.adp import fit_b
from refinement.moves.flips import PeptideFlip, flip_peptides
from refinement.moves.naming import with_standard_names
from refinement.moves.occupancy import fit_occupancies
from refinement.moves.placement import place
from refinement.moves.side_chain_atoms import Rules
from refinement.moves.side_chains import SideChainMove, fit_side_chains
from refinement.restraints.topology import build_topology
from refinement.score import fit_harm, harm
from refinement.states import Model, Problem, State, Strengths, contact_weight, make_state, make_target
from refinement.validation.clashscore import clashscore
from refinement.validation.rotamers import FAVORED, OUTLIER
from refinement.weight import map_weight

if TYPE_CHECKING:
    from collections.abc import Callable

    import gemmi

    from refinement.maps.density import Density
    from refinement.output import RunLog
    from refinement.settings import Settings
    from refinement.structure import Structure

DEPOSITED, PLACED = "deposited", "placed"
"""Labels of the state that the cycles begin with: as it came in, or after rigid motions."""
COINCIDENT, SEPARATION = 0.05, 0.2
"""Å; bonded atoms closer than the first are moved apart by the second."""
SETTLED = 0.003
"""Å; when a whole cycle moves the atoms less than this (rms) further cycles are idle."""


@dataclass(frozen=True, slots=True)
class Refined:
    """Outcome: the model without hydrogens, and the record for table_one.json (cycles, weight, choice)."""

    structure: Structure
    record: dict[str, Any] = field(default_factory=dict)


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
    available = threads or os.cpu_count() or 1
    placed = place(bare, density, resolution=resolution, settings=settings, threads=available, log=log, progress=progress)
    label = DEPOSITED if placed.structure is bare else PLACED
    bare = placed.structure
    box = box_around(density, bare.positions, settings.cushion)
    problem = Problem(
        topology=build_topology(bare, library),
        library=library,
        density=box,
        interpolated=prepare(box),
        resolution=resolution,
        settings=settings,
        threads=available,
    )
    for warning in problem.topology.warnings:
        log.add("restraints", warning)
    initial = _judged_as_given(make_state(label, bare, problem), structure, problem)
    _log_state(log, initial)
    states, weight = _macro_cycles(initial, _prepared(initial, problem, log), problem, log, progress)
    final, record = _choose(initial, states, problem, log, progress)
    record |= {"placement": placed.record, "map_weight": weight, "cycles": [_row(state) for state in states]}
    return Refined(final, record)


def _judged_as_given(initial: State, given: Structure, problem: Problem) -> State:
    """Return the deposited state with the clashscore of its own hydrogens where that is better than with new ones."""
    own = clashscore(given, problem.library).summary["clashscore"] if given.is_hydrogen.any() else None
    built = initial.geometry.clashscore
    if own is None or built is None or own >= built:
        return initial
    return replace(initial, geometry=replace(initial.geometry, clashscore=own))


def _macro_cycles(
    initial: State, state: State, problem: Problem, log: RunLog, progress: Callable[[str, float], None]
) -> tuple[list[State], float]:
    """Run the cycles from `state`, judged by `initial`; returns the state after each, and the map weight."""
    settings, strengths, first = problem.settings, Strengths(), state
    states: list[State] = []
    weight = 0.0
    for cycle in range(1, settings.cycles + 1):
        started = time.perf_counter()
        progress(f"macro-cycle {cycle} of {settings.cycles}", (cycle - 1) / (settings.cycles + 1))
        if cycle == 1:
            weight = map_weight(
                lambda trial: make_target(first.model, problem, trial, strengths), first.structure, problem.topology, settings
            )
            log.add("weight", f"Map weight {weight:.2f}.", weight=weight)
        before = state
        state, found = _cycle(cycle, before, initial, problem, weight, strengths, log)
        states.append(state)
        moved = float(np.sqrt(((found.x - before.structure.positions) ** 2).sum(axis=1).mean()))
        seconds = time.perf_counter() - started
        _log_state(log, state, moved=moved, cycle_seconds=seconds, evaluations=found.evaluations)
        harms = harm(initial.geometry, state.geometry)
        strengths.raise_for(harms)
        if moved < SETTLED and not harms:
            log.add("settled", f"Cycle {cycle} moved atoms by {moved:.4f} Å: the model has settled.")
            break
    return states, weight


def _cycle(
    cycle: int, before: State, initial: State, problem: Problem, weight: float, strengths: Strengths, log: RunLog
) -> tuple[State, Minimum]:
    """Move side chains and peptides, minimise; without the moves where only with them the state is harmful."""
    label = f"cycle {cycle}"
    model, moves = _moved(cycle, before.model, problem, weight, strengths)
    state, found = _minimised(label, model, problem, weight, strengths)
    harms = harm(initial.geometry, state.geometry)
    if moves and set(harms) - set(harm(initial.geometry, before.geometry)):
        other, other_found = _minimised(label, before.model, problem, weight, strengths)
        if len(harm(initial.geometry, other.geometry)) < len(harms):
            state, found, moves = other, other_found, [move.undone() for move in moves]
    for kind, event, what in (
        (SideChainMove, "side_chains", "side chains changed rotamer"),
        (PeptideFlip, "flips", "peptides were flipped"),
    ):
        mine = [move for move in moves if isinstance(move, kind)]
        if mine:
            outcome = "" if mine[0].kept else ", which was undone because the geometry became worse"
            sentence = f"{label}: {len(mine)} {what}{outcome}."
            log.add(event, sentence, count=len(mine), moves=[move.as_dict() for move in mine])
    return state, found


def _moved(
    cycle: int, model: Model, problem: Problem, weight: float, strengths: Strengths
) -> tuple[Model, list[SideChainMove | PeptideFlip]]:
    """Make the moves that belong to a cycle."""
    settings = problem.settings
    moves: list[SideChainMove | PeptideFlip] = []
    if cycle in settings.flip_cycles:
        target = make_target(model, problem, weight, strengths)
        structure, flips = flip_peptides(model.structure, target, problem.interpolated, max_shift=settings.max_shift)
        target.close()
        model = model.moved(structure.positions)
        moves += flips
    if cycle <= settings.side_chain_cycles:
        model, side_chains = _with_side_chains(model, problem, weight, strengths, backrub=cycle <= settings.backrub_cycles)
        moves += side_chains
    return model, moves


def _with_side_chains(
    model: Model, problem: Problem, weight: float, strengths: Strengths, *, backrub: bool
) -> tuple[Model, list[SideChainMove]]:
    """Give every side chain its best rotamer; the energy is that of the minimiser."""
    settings, weight = problem.settings, weight * strengths.map
    rules = Rules(
        contact_weight=contact_weight(weight, settings, strengths),
        reduction=settings.nonbonded_slack,
        cap=settings.side_chain_contact_cap,
        bond=settings.side_chain_hydrogen_bond,
        favored=FAVORED,
        outlier=OUTLIER,
        gain=settings.side_chain_gain,
        poor=settings.backrub_below,
        angle_penalty=settings.backrub_penalty,
    )
    fit = fit_side_chains(
        model.structure,
        model.hydrogenated,
        model.nonbonded(problem.library),
        problem.interpolated,
        rules,
        map_weight=weight,
        backrub=backrub,
    )
    return model.moved(fit.structure.positions), list(fit.moves)


def _minimised(label: str, model: Model, problem: Problem, weight: float, strengths: Strengths) -> tuple[State, Minimum]:
    """Minimise a model; returns the state, with atoms named by convention, and what the optimiser did."""
    settings = problem.settings
    target = make_target(model, problem, weight, strengths)
    found = minimise(
        target,
        model.structure.positions,
        max_iterations=settings.iterations,
        max_shift=settings.max_shift,
        curvature=target.curvature(),
    )
    target.close()
    return make_state(label, with_standard_names(model.structure.moved(found.x)), problem), found


def _prepared(initial: State, problem: Problem, log: RunLog) -> State:
    """Name equivalent atoms by convention, and move bonded atoms that lie on each other apart.

    Angles and torsions at a bond without length are undefined: left as they are, such atoms feel no force,
    and any step away from there costs energy.
    """
    structure = with_standard_names(initial.structure)
    pairs, positions = problem.topology.bonds.atoms, structure.positions.copy()
    length = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
    moving = np.unique(pairs[length < COINCIDENT, 1])
    if len(moving):
        direction = np.random.default_rng(0).normal(size=(len(moving), 3))
        positions[moving] += SEPARATION * direction / np.linalg.norm(direction, axis=1)[:, None]
        log.add("separated", f"{len(moving)} atoms lay on atoms that they are bonded to and were moved away.", atoms=len(moving))
        structure = structure.moved(positions)
    return initial if structure is initial.structure else make_state("prepared", structure, problem)


def _choose(
    initial: State, states: list[State], problem: Problem, log: RunLog, progress: Callable[[str, float], None]
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
        fit = fit_b(
            before,
            problem.density,
            problem.resolution,
            evaluations=settings.adp_evaluations,
            smoothness=settings.adp_smoothness,
            threads=problem.threads,
        )
        if cc_initial is None:
            cc_initial = _cc(initial.structure, problem)
        if state is initial or not fit_harm(cc_initial, fit.cc_after):
            sentence = f"Kept: {state.label}. CC_mask in the box {cc_initial:.4f} -> {fit.cc_after:.4f}, {fit.groups} B groups."
            refused = {other.label: harm(initial.geometry, other.geometry) for other in states if other not in candidates}
            log.add("choice", sentence, state=state.label, cc_before=cc_initial, cc_after=fit.cc_after, refused=refused)
            record = {"kept": state.label, "refused": refused, "b_groups": fit.groups}
            return _with_occupancies(fit.structure, problem, log), record
        log.add("undone", f"{state.label} would lower CC_mask from {cc_initial:.4f} to {fit.cc_after:.4f}: undone.")
    message = "the deposited model is always a candidate"
    raise AssertionError(message)


def _with_occupancies(structure: Structure, problem: Problem, log: RunLog) -> Structure:
    """Fit the occupancies of alternate conformers, if there are any."""
    fit = fit_occupancies(
        structure,
        problem.density,
        problem.resolution,
        evaluations=problem.settings.occupancy_evaluations,
        threads=problem.threads,
    )
    if fit.groups:
        sentence = f"Occupancies of {fit.groups} groups of conformers: CC_mask {fit.cc_before:.4f} -> {fit.cc_after:.4f}."
        log.add("occupancies", sentence, groups=fit.groups, cc_before=fit.cc_before, cc_after=fit.cc_after)
    return fit.structure


def _cc(structure: Structure, problem: Problem) -> float:
    """Return CC_mask in the box, with the B factors as they are."""
    return fit_b(structure, problem.density, problem.resolution, evaluations=0, smoothness=0.0).cc_before


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
