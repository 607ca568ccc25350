"""Annealing of models whose backbone isn't where the map has it: dynamics at a falling temperature, in maps of rising resolution.

Minimisation finds its way from about 1.5 Å; from further off atoms end in their neighbours' density. Dynamics climb
out of it, and blurred maps show the way from afar (docs/decisions).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from refinement.damping import DampedFactor
from refinement.maps.fourier import low_pass
from refinement.maps.interpolation import prepare
from refinement.minimise import minimise
from refinement.moves.crossover import crossed
from refinement.moves.dynamics import dynamics
from refinement.moves.naming import with_standard_names
from refinement.score import harm
from refinement.states import Model, Strengths, make_state, make_target
from refinement.target import scattering_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from refinement.elimination import Factor
    from refinement.maps.interpolation import InterpolatedMap
    from refinement.output import RunLog
    from refinement.states import Problem, State
    from refinement.structure import Structure
    from refinement.target import Target

    Floats = NDArray[np.float64]
    Stages = Sequence[tuple[float, int, float, float]]

BACKBONE = ("N", "CA", "C", "P", "C4'")
"""Atoms that tell whether a residue is in its place."""
ENOUGH = 10
"""Residues; with fewer the share of those in place says nothing."""
CORNERS = np.array(np.meshgrid([-1.0, 1.0], [-1.0, 1.0], [-1.0, 1.0])).reshape(3, 8).T / np.sqrt(3.0)
"""Directions in which an atom looks around."""
SOFT = 300.0
"""1/Å²; curvature that is added to each atom's, so that masses of the softest motions aren't too small: at 300 a step is
0.03 Å at unit temperature, and bonds turn by no more than their restraints follow."""
HELD = 1e6
"""1/Å²; the same of atoms without bonds, waters above all, which nothing would bring back."""
SETTLE = 20
"""Optimiser steps at the end of each stage."""
COMPARE = 30
"""Optimiser steps before the annealed model is compared with the one that was given."""
AGREE = 0.02
"""CC_mask; two runs that differ by less have arrived at the same place, which others reach with a helix a turn off."""
MENDED = 0.92
"""Share of residues in place that is enough."""
GRAVE = {"chirality_outliers", "cis_nonproline"}
"""What nothing later mends."""


def in_place(structure: Structure, interpolated: InterpolatedMap, resolution: float) -> float | None:
    """Return the share of residues whose backbone is in place, None if there are few.

    In place are atoms with more density than there is half the resolution away, on the mean over eight directions.
    Good models have 0.9 and more, those moved at random by 2 Å (rms) 0.3 to 0.6. This depends neither on B factors nor on
    the scale of the map, as CC_mask does.

    Parameters
    ----------
    structure : Structure
        The model.
    interpolated : InterpolatedMap
        The map.
    resolution : float
        Å.
    """
    chosen = np.isin(structure.names, BACKBONE)
    rows, here = structure.residue[chosen], structure.positions[chosen]
    count = np.bincount(rows, minlength=len(structure.residues))
    if (count > 0).sum() < ENOUGH:
        return None
    around = np.mean([interpolated.values(here + 0.5 * resolution * way) for way in CORNERS], axis=0)
    higher = np.bincount(rows, weights=interpolated.values(here) > around, minlength=len(structure.residues))
    return float((higher[count > 0] == count[count > 0]).mean())


def annealed(start: State, problem: Problem, seed: int, log: RunLog, progress: Callable[[str, float], None]) -> State:
    """Return the model annealed if it needs that and fits better then; otherwise as it is.

    Parameters
    ----------
    start : State
        Where the cycles would begin.
    problem : Problem
        The map, the restraints and the settings, of the whole model.
    seed : int
        Of the random numbers.
    log : RunLog
        What was done and why goes there.
    progress : callable
        Called with what is being done and the fraction done.

    Returns
    -------
    State
        Where the cycles are to begin.
    """
    settings = problem.settings
    share = in_place(start.structure, problem.interpolated, problem.resolution)
    if share is None or share >= settings.anneal_near:
        return start
    progress("annealing", 0.0)
    plain = _minimised(start.label, start.model, problem)
    far = share < settings.anneal_below
    try:
        best, rows = _annealed_repeatedly(start, plain, far, problem, np.random.default_rng(seed))
    except FloatingPointError as fault:
        log.add("annealing", f"Annealing is given up, the cycles begin with the model as it was: {fault}.", kept=False)
        return start
    wanted = settings.anneal_gain * (1.0 - plain.cc_mask) if far else 0.0
    kept = best.cc_mask > plain.cc_mask + wanted
    sentence = (
        f"{100 * share:.0f} % of the residues had their backbone in place: annealed, {100 * rows[-1]['in_place']:.0f} % now. "
        f"CC_mask {start.cc_mask:.3f} -> {best.cc_mask:.3f}, without {plain.cc_mask:.3f}{'' if kept else ': undone'}."
    )
    numbers = {"in_place_before": share, "cc_before": start.cc_mask, "cc_without": plain.cc_mask, "cc_after": best.cc_mask}
    log.add("annealing", sentence, **numbers, in_place_after=rows[-1]["in_place"], rounds=rows, kept=kept)
    return best if kept else start


def _annealed_repeatedly(
    start: State, plain: State, far: bool, problem: Problem, rng: np.random.Generator
) -> tuple[State, list[dict[str, float]]]:
    """Anneal from the start until two runs agree, then from their best without blurred maps if much isn't in place.

    Models that aren't `far` have the latter alone. Returns the best state, made of the better stretches of all, and a row for
    each run.
    """
    settings, best = problem.settings, plain
    rows: list[dict[str, float]] = []

    def run(model: Model, stages: Stages) -> float:
        nonlocal best
        other = _minimised(start.label, model.moved(_dynamics(model, stages, problem, rng)), problem)
        best = _best(plain, [best, other], problem)
        found = in_place(best.structure, problem.interpolated, problem.resolution) or 0.0
        rows.append({"alone": other.cc_mask, "cc": best.cc_mask, "in_place": found})
        return found

    for _ in range(settings.anneal_runs if far else 0):
        found = run(start.model, settings.anneal_stages)
        fits = sorted((row["alone"] for row in rows), reverse=True)
        if len(fits) > 1 and fits[0] - fits[1] < AGREE and found >= MENDED:
            break
    if not far or rows[-1]["in_place"] < MENDED:
        run(best.model, settings.anneal_stages[-1:])
    return best, rows


def _best(plain: State, parents: list[State], problem: Problem) -> State:
    """Return the state that fits best: one of two, or what their better stretches make."""
    structure = plain.structure
    pull = -problem.settings.weight_trial * scattering_weights(structure)
    positions = [parent.structure.positions for parent in parents]
    energies = [pull * problem.interpolated.values(place) for place in positions]
    joined = _minimised(plain.label, plain.model.moved(crossed(structure, positions, energies)[0]), problem)
    new = [state for state in (*parents[1:], joined) if not set(harm(plain.geometry, state.geometry)) & GRAVE]
    return max([parents[0], *new], key=lambda state: state.cc_mask)


def _dynamics(model: Model, stages: Stages, problem: Problem, rng: np.random.Generator) -> Floats:
    """Return the positions, shape (n, 3), at the end of all stages."""
    settings, positions = problem.settings, model.structure.positions
    bonded = np.zeros(len(positions), dtype=np.bool_)
    bonded[problem.topology.bonds.atoms] = True
    soft = np.where(bonded, SOFT, HELD)
    strengths = Strengths(rotamers=0.0)  # they would keep side chains from turning
    for blur, steps, hot, cold in stages:
        stage = problem
        if blur > 1.0:
            stage = replace(problem, interpolated=prepare(low_pass(problem.density, blur * problem.resolution)))
        target = make_target(model.moved(positions), stage, settings.weight_trial, strengths)
        positions = _stage(target, positions, np.linspace(hot, cold, steps), soft, rng, settings.max_shift)
        target.close()
    return positions


def _stage(
    target: Target, start: Floats, temperatures: Floats, soft: Floats, rng: np.random.Generator, max_shift: float
) -> Floats:
    """Return the positions, shape (n, 3), after dynamics at given temperatures and a few steps downhill."""

    def curvature(x: Floats) -> DampedFactor | Floats:
        return target.variables(x, soft)

    positions = start
    for found in dynamics(target, curvature, start, temperatures, rng, max_shift=max_shift):
        positions = found
    variables = _undamped(target.variables(positions))
    return minimise(target, positions, max_iterations=SETTLE, max_shift=max_shift, curvature=variables).x


def _minimised(label: str, model: Model, problem: Problem) -> State:
    """Return the state of a model after a short minimisation, by which two can be compared."""
    settings = problem.settings
    target = make_target(model, problem, settings.weight_trial, Strengths())
    start = model.structure.positions
    found = minimise(
        target, start, max_iterations=COMPARE, max_shift=settings.max_shift, curvature=_undamped(target.variables(start))
    )
    target.close()
    return make_state(label, with_standard_names(model.structure.moved(found.x)), problem, like=model)


def _undamped(variables: DampedFactor | Floats) -> Factor | Floats:
    """Return variables that aren't stiffened where steps are long.

    Between stages models must only cool a little. Damped, so few steps bring them to the nearest minimum, tangles included,
    and they don't leave it any more: haemoglobin shaken by 3 Å ended at CC_mask 0.879 instead of 0.889.
    """
    return variables.factor if isinstance(variables, DampedFactor) else variables
