"""The macro-cycles: renew targets, minimise, look; then B factors; then choose the state to keep.

Reads like the flow chart of real-space refinement (Afonine et al. 2018, Acta Cryst. D74, 531-544, figure 1).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.annealing import annealed
from refinement.choice import choose, fitted
from refinement.cycle import prepared, run_cycle
from refinement.finish import NEARLY, explains_nearly_all, finish
from refinement.maps.boxing import box_around
from refinement.maps.interpolation import prepare
from refinement.moves.adp import cc_mask
from refinement.moves.placement import place
from refinement.output import RunLog
from refinement.regular import regularised
from refinement.repair import with_best_repaired
from refinement.restraints.elastic import ElasticRestraints
from refinement.restraints.reference_model import reference_restraints
from refinement.restraints.start import StartRestraints
from refinement.restraints.topology import build_topology
from refinement.score import harm
from refinement.seeds import best_of_seeds, shaken_start
from refinement.states import Problem, State, Strengths, elimination_pattern, make_state, make_target
from refinement.symmetric import with_copies, with_fitted_operators
from refinement.threads import processors
from refinement.validation.clashscore import clashscore
from refinement.weight import followed_weight, map_weight
from refinement.words import WITHOUT_CYCLES

if TYPE_CHECKING:
    from collections.abc import Callable

    import gemmi

    from refinement.maps.density import Density
    from refinement.operators import Operators
    from refinement.restraints.dihedrals import DihedralRestraints
    from refinement.settings import Settings
    from refinement.structure import Structure

DEPOSITED, PLACED = "deposited", "placed"
"""Labels of the state that the cycles begin with: as it came in, or after rigid motions."""
SETTLED = 0.003
"""Å; when a whole cycle moves the atoms less than this (rms) further cycles are idle."""
IDLE, IDLE_CYCLES = 5e-4, 2
"""So they are after this many cycles in a row that don't raise the density at the atoms by this part of it, once all moves
have been made."""


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
    reference: Structure | None = None,
    log: RunLog,
    progress: Callable[[str, float], None],
    operators: Operators | None = None,
    seed: int = 0,
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
    reference : Structure or None
        Another model of the same molecule; torsions are held where it has them.
    log : RunLog
        What happened goes there.
    progress : callable
        Called with what is being done and the fraction done.
    operators : Operators, optional
        Exact operators of the assembly, where they are known; otherwise those of the model's copies are fitted to the map.
    seed : int
        Of the random numbers of annealing, which only models with much of their backbone out of place need, and of the
        segments that the map weight is tried on.

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
    available = processors(threads)
    placed = place(bare, density, resolution=resolution, settings=settings, threads=available, log=log, progress=progress)
    label = DEPOSITED if placed.structure is bare else PLACED
    bare = placed.structure
    box = box_around(density, bare.positions, settings.cushion)
    topology = build_topology(bare, library)
    problem = Problem(
        topology=topology,
        library=library,
        density=box,
        interpolated=prepare(box),
        resolution=resolution,
        settings=settings,
        threads=available,
        reference=_held(bare, reference, settings, log),
        pattern=elimination_pattern(bare, topology),
    )
    for warning in problem.topology.warnings:
        log.add("restraints", warning)
    initial = _judged_as_given(make_state(label, bare, problem), structure, problem)
    _log_state(log, initial, cycle=0, cycles=settings.cycles)
    start = prepared(initial, problem, log)
    if settings.start_hold > 0 or settings.start_stiffness > 0:
        start = regularised(start, problem)
        there = start.structure.positions
        problem = replace(problem, start=StartRestraints.at(there), elastic=ElasticRestraints.at(there))
    if operators is None:
        start = annealed(start, problem, seed, log, progress)

    def again(number: int) -> tuple[Structure, dict[str, Any]]:
        return _refined(initial, shaken_start(start, problem, seed + number), problem, operators, log, progress, seed + number)

    first = _refined(initial, start, problem, operators, log, progress, seed)
    final, record = best_of_seeds(first, initial, problem, again, log)
    return Refined(final, {**record, "placement": placed.record, "start": _row(initial)})


def _refined(
    initial: State,
    start: State,
    whole: Problem,
    operators: Operators | None,
    log: RunLog,
    progress: Callable[[str, float], None],
    seed: int,
) -> tuple[Structure, dict[str, Any]]:
    """Run the cycles and choose; where copies were refined as one in vain, a second time without."""
    problem, first, decision = with_copies(whole, start, operators, log)
    strengths = Strengths()
    states, weight, cycles, problem = _macro_cycles(
        initial, first, strengths, problem, whole, log, progress, exact=decision.exact, seed=seed
    )
    if problem.settings.harmless:
        progress("repair", 0.91)
        states = with_best_repaired(states, first, initial, problem, weight, strengths, log)
    part = problem if problem.unique is not None else None
    about = whole if part else problem
    complete = partial(
        _completed, initial, about, part, weight=weight, strengths=strengths, exact=decision.exact, progress=progress
    )

    def choice(among: list[State], log: RunLog) -> tuple[Structure, dict[str, Any]]:
        return choose(initial, among, whole, log, progress, partial(complete, log=log), part=part)

    final, record = choice(states, log)
    if initial.cc_mask >= NEARLY and problem.settings.harmless and problem.settings.target != "centres":
        final, record = _better_than_without(final, record, choice, first, weight * strengths.map, whole, part, log)
    if part is not None and record["kept"] == initial.label:
        log.add("symmetry", "No state with copies refined as one could be kept: refined again without.", mode="off")
        without = replace(whole, settings=whole.settings.model_copy(update={"ncs": "off"}))
        final, record = _refined(initial, start, without, None, log, progress, seed)
        return final, {**record, "symmetry": {**decision.record, "kept": False}}
    return final, {**record, "map_weight": weight, "cycles": cycles, "symmetry": decision.record}


def _completed(
    initial: State,
    problem: Problem,
    part: Problem | None,
    state: State,
    model: Structure,
    fits: float,
    *,
    weight: float,
    strengths: Strengths,
    exact: bool,
    log: RunLog,
    progress: Callable[[str, float], None],
) -> tuple[Structure, float, dict[str, Any]]:
    """Minimise the chosen state against the whole map; what is returned is explained in `choose`."""
    if problem.settings.target == "centres":
        return model, fits, {}
    progress("whole map", 0.98)
    if part is not None and not exact:
        part, _ = with_fitted_operators(part, problem, state)
    model, record = finish(model, initial, state, weight, strengths, problem, log, part=part)
    return model, record["cc_after"], {"finish": record}


def _held(bare: Structure, reference: Structure | None, settings: Settings, log: RunLog) -> DihedralRestraints | None:
    """Return the restraints on torsions that a reference model, or by the settings the model itself at the start, gives."""
    other = bare if reference is None and settings.hold_start else reference
    if other is None:
        return None
    found = reference_restraints(bare, other, sigma=settings.reference_sigma, limit=settings.reference_limit)
    where = "as they are" if other is bare else "where the reference model has them"
    log.add("reference", f"{len(found)} torsions of {len(np.unique(found.residue))} residues are held {where}.", count=len(found))
    return found


def _judged_as_given(initial: State, given: Structure, problem: Problem) -> State:
    """Return the deposited state with the clashscore of its own hydrogens where that is better than with new ones."""
    own = clashscore(given, problem.library).summary["clashscore"] if given.is_hydrogen.any() else None
    built = initial.geometry.clashscore
    if own is None or built is None or own >= built:
        return initial
    return replace(initial, geometry=replace(initial.geometry, clashscore=own))


def _better_than_without(
    final: Structure,
    record: dict[str, Any],
    choice: Callable[[list[State], RunLog], tuple[Structure, dict[str, Any]]],
    first: State,
    pull: float,
    whole: Problem,
    part: Problem | None,
    log: RunLog,
) -> tuple[Structure, dict[str, Any]]:
    """Return the outcome of the cycles, or what the last minimisation alone makes of the model that they began with.

    The cycles follow the density at the centres, which leads a model off that explains the map nearly completely. It is tried
    where least squares would stand alone for it, and taken if it fits better, or is the only one that does no harm. `pull` is
    the map weight that the last minimisation has.
    """
    fit = fitted(first, first, whole, part)
    if not explains_nearly_all(fit.structure, fit.cc_after, pull, whole):
        return final, record
    aside = RunLog()  # so that the log doesn't say that it is kept before that is known
    other, other_record = choice([replace(first, label=WITHOUT_CYCLES)], aside)
    before, after = (cc_mask(model, whole.density, whole.resolution, threads=whole.threads) for model in (final, other))
    harmless = other_record["kept"] == WITHOUT_CYCLES and not other_record["borne"]
    taken = harmless and (bool(record["borne"]) or after >= before)
    if taken:
        log.adopt(aside)
        outcome = f"CC_mask without the cycles {after:.4f}, with them {before:.4f}."
    elif harmless:
        outcome = f"without the cycles it fits no better, CC_mask {after:.4f}, with them {before:.4f}."
    else:
        outcome = "without the cycles it can't be kept."
    sentence = f"The model explained the map nearly completely; {outcome}"
    log.add("nearly_exact", sentence, cc_mask=after, cc_mask_of_cycles=before, taken=taken)
    return (other, other_record) if taken else (final, record)


def _macro_cycles(
    initial: State,
    state: State,
    strengths: Strengths,
    problem: Problem,
    whole: Problem,
    log: RunLog,
    progress: Callable[[str, float], None],
    *,
    exact: bool = False,
    seed: int = 0,
) -> tuple[list[State], float, list[dict[str, Any]], Problem]:
    """Run the cycles from `state`, judged by `initial`; returns the state after each, the map weight, a row for each.

    `problem` is that of the whole model, or of its unique part; then its operators are fitted each time unless `exact`,
    and it comes back with the last ones. `seed` is that of the segments which the first weight is made from.
    """
    settings, first = problem.settings, state
    states: list[State] = []
    rows: list[dict[str, Any]] = []
    weight = 0.0
    for cycle in range(1, settings.cycles + 1):
        started = time.perf_counter()
        progress(f"macro-cycle {cycle} of {settings.cycles}", (cycle - 1) / (settings.cycles + 1))
        if problem.unique is not None and not exact:
            problem, shift = with_fitted_operators(problem, whole, state)
            if shift:
                log.add("operators", f"Operators fitted to the map: copies moved by up to {shift:.3f} Å.", shift=shift)
        if cycle == 1:
            weight = _first_weight(first, problem, strengths, seed, log)
        before, applied = state, weight * strengths.map
        state, found, moves = run_cycle(cycle, before, initial, problem, weight, strengths, log)
        states.append(state)
        moved = float(np.sqrt(((found.x - before.structure.positions) ** 2).sum(axis=1).mean()))
        harms = harm(initial.geometry, state.geometry)
        did: dict[str, Any] = {
            "cycle": cycle,
            "weight": applied,
            "moves_made": sum(move.kept for move in moves),
            "moves_undone": sum(not move.kept for move in moves),
            "moved": moved,
            "evaluations": found.evaluations,
            "harms": harms,
            "cycle_seconds": time.perf_counter() - started,
        }
        _log_state(log, state, cycles=settings.cycles, **did)
        rows.append({**_row(state), **did})
        if settings.harmless:
            _learnt(strengths, state, harms, problem, log)
        if cycle <= settings.weight_cycles and strengths.map == 1.0:  # a weight lowered after harm stays low
            weight = _followed(weight, applied, state, problem, log)
        if not harms and (moved < SETTLED or _idle(states, settings)):
            log.add("settled", f"Cycle {cycle} moved atoms by {moved:.4f} Å: the model has settled.")
            break
    return states, weight, rows, problem


def _first_weight(first: State, problem: Problem, strengths: Strengths, seed: int, log: RunLog) -> float:
    """Return the weight of the first cycle."""
    weight, of_segments = map_weight(
        partial(make_target, first.model, problem, strengths=strengths),
        first.structure,
        problem.topology,
        problem.settings,
        problem.symmetry,
        seed=seed,
        threads=problem.threads,
    )
    listed = f" (segments: {', '.join(f'{value:.1f}' for value in of_segments)})" if of_segments else ""
    log.add("weight", f"Map weight {weight:.2f}{listed}.", weight=weight, segments=of_segments)
    return weight


def _learnt(strengths: Strengths, state: State, harms: list[str], problem: Problem, log: RunLog) -> None:
    """Strengthen what a cycle has shown to be too weak, and tell where the map pulls less from here on."""
    before = strengths.pull
    strengths.learn(state, harms, problem.topology)
    if strengths.pull is None or strengths.pull is before:
        return
    eased = np.flatnonzero(strengths.pull < (1.0 if before is None else before))
    if not len(eased):  # all are as low as they may be
        return
    names = [state.structure.residues.label(row) for row in eased.tolist()]
    log.add("eased", f"The map pulls less at {len(names)} residues from here on: it bent them.", residues=names)


def _followed(weight: float, applied: float, state: State, problem: Problem, log: RunLog) -> float:
    """Return the weight that the bonds after a cycle ask for; `applied` is the one that it had, lowered after harm."""
    better = weight * followed_weight(applied, state.structure, problem.topology, problem.settings) / applied
    if better != weight:
        log.add("weight", f"Map weight {better:.2f} from here on: it was {weight:.2f}.", weight=better)
    return better


def _idle(states: list[State], settings: Settings) -> bool:
    """Return whether the last cycles, which made no moves, didn't raise the density."""
    if len(states) < max(settings.side_chain_cycles, *settings.flip_cycles, 1) + IDLE_CYCLES:
        return False
    before = max(state.density_mean for state in states[:-IDLE_CYCLES])
    gains = [state.density_mean - before for state in states[-IDLE_CYCLES:]]
    return max(gains) < IDLE * abs(before)


def _row(state: State) -> dict[str, Any]:
    return {"state": state.label, "cc_mask": state.cc_mask, "density": state.density_mean, **state.geometry.as_dict()}


def _log_state(log: RunLog, state: State, **numbers: Any) -> None:
    geometry = state.geometry
    parts = [f"{state.label}: CC_mask {state.cc_mask:.3f}, density {state.density_mean:.3f} σ"]
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
