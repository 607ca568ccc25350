"""The choice of the final model: B factors of the best harmless state, kept only if it fits no worse."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from refinement.moves.adp import fit_b
from refinement.moves.occupancy import fit_occupancies
from refinement.score import fit_harm, harm

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.output import RunLog
    from refinement.states import Problem, State
    from refinement.structure import Structure


def choose(
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
