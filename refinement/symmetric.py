"""Copies in the protocol: the problem of the unique part, made from that of the whole model, and its operators kept right."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from refinement.maps.interpolation import prepare
from refinement.restraints.elastic import ElasticRestraints
from refinement.restraints.start import StartRestraints
from refinement.restraints.topology import build_topology
from refinement.states import elimination_pattern, make_state
from refinement.symmetry.decision import decide
from refinement.symmetry.operator_fit import fitted_operators
from refinement.symmetry.restraints import counterparts
from refinement.symmetry.unique import averaged_map, unique_part, with_best_copy

if TYPE_CHECKING:
    from refinement.operators import Operators
    from refinement.output import RunLog
    from refinement.states import Problem, State
    from refinement.symmetry.decision import Decision
    from refinement.symmetry.unique import UniquePart

NOTICEABLE = 0.01
"""Å; operators that would move no copy by more (rms) stay as they are."""


def with_copies(whole: Problem, start: State, given: Operators | None, log: RunLog) -> tuple[Problem, State, Decision]:
    """Decide about copies.

    Parameters
    ----------
    whole : Problem
        That of the whole model.
    start : State
        Where the cycles are to begin.
    given : Operators or None
        Exact operators of the assembly.
    log : RunLog
        The decision goes there.

    Returns
    -------
    (Problem, State, Decision)
        The problem that the cycles work on, and where they begin.
    """
    settings, structure = whole.settings, start.structure
    decision = decide(structure, whole.density, whole.interpolated, resolution=whole.resolution, settings=settings, given=given)
    log.add("symmetry", decision.reason, **{name: value for name, value in decision.record.items() if name != "reason"})
    if decision.symmetry is not None:
        structure = with_best_copy(structure, decision.symmetry, whole.interpolated)
        unique = unique_part(structure, decision.symmetry)
        problem = _about(whole, unique)
        return problem, make_state(start.label, unique.part(structure), problem), decision
    if decision.mode == "restraints":
        alike = tuple(counterparts(structure))
        return replace(whole, counterparts=alike), start, decision
    return whole, start, decision


def _about(whole: Problem, unique: UniquePart) -> Problem:
    """Return the problem of the unique part."""
    structure, reference = unique.part(unique.whole), whole.reference
    topology = build_topology(structure, whole.library)
    density = averaged_map(whole.density.normalised(), unique, whole.settings.cushion, threads=whole.threads)
    return replace(
        whole,
        topology=topology,
        density=density,
        interpolated=prepare(density, normalise=False),
        reference=unique.restraints(reference, structure) if reference is not None else None,
        start=StartRestraints.at(structure.positions) if whole.start is not None else None,
        elastic=ElasticRestraints.at(structure.positions) if whole.elastic is not None else None,
        pattern=elimination_pattern(structure, topology, unique.symmetry),
        unique=unique,
    )


def with_fitted_operators(problem: Problem, whole: Problem, state: State) -> tuple[Problem, float]:
    """Return the problem with operators fitted to the map, and how far that moves the copies (Å, rms; 0 if it doesn't)."""
    unique = problem.unique
    if unique is None:
        return problem, 0.0
    structure = state.whole
    operators, moved = fitted_operators(
        whole.interpolated, structure.positions, structure.elements * structure.occupancy, unique.whole_symmetry
    )
    if moved < NOTICEABLE:
        return problem, 0.0
    unique = unique.with_operators(operators)
    density = averaged_map(whole.density.normalised(), unique, whole.settings.cushion, threads=whole.threads)
    return replace(problem, density=density, interpolated=prepare(density, normalise=False), unique=unique), moved
