"""The choice of the final model: B factors of the best harmless state, kept only if it fits no worse."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from refinement.b_factors import with_fitted_b
from refinement.moves.occupancy import fit_occupancies
from refinement.score import fit_harm, harm
from refinement.words import last_verdict, verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.moves.adp import AdpFit
    from refinement.output import RunLog
    from refinement.states import Problem, State
    from refinement.structure import Structure

SAME_FIT = 0.005
"""States whose density at the atoms differs by less than this part fit equally well; late cycles differ by 0.001."""


def choose(
    initial: State,
    states: list[State],
    problem: Problem,
    log: RunLog,
    progress: Callable[[str, float], None],
    *,
    part: Problem | None = None,
) -> tuple[Structure, dict[str, Any]]:
    """Fit B factors of the best harmless state and keep it if it fits no worse; otherwise the next, at last the deposited one.

    `problem` is that of the whole model; `part` that of its unique part, where the states are about it.
    """
    cc_initial = initial.cc_mask
    if not problem.settings.harmless:
        return _last(initial, states[-1], cc_initial, problem, part, log, progress)
    candidates = _best_first([state for state in states if not harm(initial.geometry, state.geometry)])
    refused = {state.label: harm(initial.geometry, state.geometry) for state in states if state not in candidates}
    worse_fit: list[str] = []
    for number, state in enumerate([*candidates[:3], initial]):
        progress("B factors", 0.92 + 0.02 * number)
        fit = _with_b(state, initial, problem, None if state is initial else part)
        if state is initial or not fit_harm(cc_initial, fit.cc_after):
            fits = {"cc_before": cc_initial, "cc_after": fit.cc_after}
            words = verdict(state.label, cycles=len(states), refused=refused, worse_fit=worse_fit, **fits)
            log.add("choice", f"{words} {fit.groups} B groups.", state=state.label, **fits, refused=refused, worse_fit=worse_fit)
            record = {"kept": state.label, "verdict": words, "refused": refused, "worse_fit": worse_fit, "b_groups": fit.groups}
            return _with_occupancies(fit.structure, problem, log), record
        log.add("undone", f"{state.label} would lower CC_mask from {cc_initial:.4f} to {fit.cc_after:.4f}: undone.")
        worse_fit.append(state.label)
    message = "the deposited model is always a candidate"
    raise AssertionError(message)


def _last(
    initial: State,
    state: State,
    cc_initial: float,
    problem: Problem,
    part: Problem | None,
    log: RunLog,
    progress: Callable[[str, float], None],
) -> tuple[Structure, dict[str, Any]]:
    """Fit B factors of the last state and keep it, come what may."""
    progress("B factors", 0.92)
    fit = _with_b(state, initial, problem, part)
    harms = harm(initial.geometry, state.geometry)
    words = last_verdict(state.label, harms=harms, cc_before=cc_initial, cc_after=fit.cc_after)
    log.add(
        "choice", f"{words} {fit.groups} B groups.", state=state.label, cc_before=cc_initial, cc_after=fit.cc_after, harms=harms
    )
    record = {"kept": state.label, "verdict": words, "refused": {}, "worse_fit": [], "b_groups": fit.groups}
    return _with_occupancies(fit.structure, problem, log), record


def _with_b(state: State, initial: State, problem: Problem, part: Problem | None) -> AdpFit:
    """Fit B factors of a state, beginning with those of the input."""
    at = part or problem
    structure = state.structure if part else replace(state.structure, b_iso=initial.structure.b_iso)
    return with_fitted_b(structure, at, problem, evaluations=problem.settings.adp_evaluations)


def _best_first(states: list[State]) -> list[State]:
    """Return states by their fit, those that fit about as well as the best one by their geometry.

    The last cycles fit best; earlier ones come only if those can't be kept.
    """
    enough = (1.0 - SAME_FIT) * max((state.density_mean for state in states), default=0.0)

    def rank(state: State) -> tuple[bool, float, float]:
        equal = state.density_mean >= enough
        return not equal, state.geometry.outliers if equal else 0.0, -state.density_mean

    return sorted(states, key=rank)


def _with_occupancies(structure: Structure, problem: Problem, log: RunLog) -> Structure:
    """Fit the occupancies of alternate conformers, if there are any."""
    if problem.settings.occupancy_evaluations == 0:
        return structure
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
