"""The choice of the final model: B factors of the best harmless state, kept only if it fits no worse."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from refinement.b_factors import with_fitted_b
from refinement.moves.occupancy import fit_occupancies
from refinement.score import bearable, fit_harm, harm
from refinement.words import last_verdict, verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.moves.adp import AdpFit
    from refinement.output import RunLog
    from refinement.states import Problem, State
    from refinement.structure import Structure

    Completion = Callable[[State, Structure, float], tuple[Structure, float, dict[str, Any]]]

SAME_FIT = 0.005
"""States whose density at the atoms differs by less than this part fit equally well; late cycles differ by 0.001."""


def choose(
    initial: State,
    states: list[State],
    problem: Problem,
    log: RunLog,
    progress: Callable[[str, float], None],
    complete: Completion,
    *,
    part: Problem | None = None,
) -> tuple[Structure, dict[str, Any]]:
    """Complete the best harmless state and keep it if it fits no worse; otherwise the next, at last the deposited one.

    Parameters
    ----------
    initial, states : State, list of State
        The deposited state, and those after each cycle.
    problem : Problem
        That of the whole model.
    log, progress
        What was decided, and how far it is, goes there.
    complete : callable
        Does what is left to do for a state when its B factors are fitted, a last minimisation: takes the state and the
        whole model with those B factors, returns the model, its CC_mask, and its part of the record.
    part : Problem, optional
        That of the unique part of the model, where the states are about it.
    """
    if not problem.settings.harmless:
        return _last(initial, states[-1], problem, log, progress, complete, part=part)
    harms = {state.label: harm(initial.geometry, state.geometry) for state in states}
    candidates = best_first([state for state in states if not harms[state.label]])
    if not candidates:
        residues = len(initial.structure.residues)
        candidates = best_first(
            [state for state in states if bearable(harms[state.label], initial.geometry, state.geometry, residues)]
        )
    refused = {state.label: harms[state.label] for state in states if state not in candidates}
    worse_fit: list[str] = []
    record: dict[str, Any]
    for number, state in enumerate(candidates[:3]):
        progress("B factors", 0.92 + 0.02 * number)
        fit = fitted(state, initial, problem, part)
        model, fits, record = fit.structure, fit.cc_after, {"b_groups": fit.groups}
        if number == 0 or not fit_harm(initial.cc_mask, fits):  # the last minimisation is dear, and tried once in any case
            model, fits, record = _completed(state, fit, problem, log, complete)
        if not fit_harm(initial.cc_mask, fits):
            break
        log.add("undone", f"{state.label} would lower CC_mask from {initial.cc_mask:.4f} to {fits:.4f}: undone.")
        worse_fit.append(state.label)
    else:
        progress("B factors", 0.98)
        state, fit = initial, fitted(initial, initial, problem, None)
        model, fits, record = _with_occupancies(fit.structure, problem, log), fit.cc_after, {"b_groups": fit.groups}
    borne = harms.get(state.label, [])
    change = {"cc_before": initial.cc_mask, "cc_after": fits}
    words = verdict(state.label, cycles=len(states), refused=refused, worse_fit=worse_fit, borne=borne, **change)
    record |= {"kept": state.label, "verdict": words, "refused": refused, "worse_fit": worse_fit, "borne": borne}
    log.add(
        "choice", f"{words} {record['b_groups']} B groups.", state=state.label, **change, refused=refused, worse_fit=worse_fit
    )
    return model, record


def _last(
    initial: State,
    state: State,
    problem: Problem,
    log: RunLog,
    progress: Callable[[str, float], None],
    complete: Completion,
    *,
    part: Problem | None,
) -> tuple[Structure, dict[str, Any]]:
    """Complete the last state and keep it, come what may; parameters are those of `choose`."""
    progress("B factors", 0.92)
    model, fits, record = _completed(state, fitted(state, initial, problem, part), problem, log, complete)
    harms, change = harm(initial.geometry, state.geometry), {"cc_before": initial.cc_mask, "cc_after": fits}
    words = last_verdict(state.label, harms=harms, **change)
    record |= {"kept": state.label, "verdict": words, "refused": {}, "worse_fit": [], "borne": []}
    log.add("choice", f"{words} {record['b_groups']} B groups.", state=state.label, **change, harms=harms)
    return model, record


def _completed(
    state: State, fit: AdpFit, problem: Problem, log: RunLog, complete: Completion
) -> tuple[Structure, float, dict[str, Any]]:
    """Return a state with its new B factors after the last minimisation, its CC_mask, and what the record says of it."""
    model, fits, record = complete(state, _with_occupancies(fit.structure, problem, log), fit.cc_after)
    return model, fits, {"b_groups": fit.groups, **record}


def fitted(state: State, initial: State, problem: Problem, part: Problem | None) -> AdpFit:
    """Fit B factors of a state, beginning with those of the input; parameters are those of `choose`."""
    at = part or problem
    structure = state.structure if part else replace(state.structure, b_iso=initial.structure.b_iso)
    return with_fitted_b(structure, at, problem, evaluations=problem.settings.adp_evaluations)


def best_first(states: list[State]) -> list[State]:
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
