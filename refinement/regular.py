"""A model with its geometry mended, as near to where it was as that allows.

Where noise is strong atoms are held where the model has them. Held where bad geometry has put them they would strain bonds
and torsions, and the map weight, which is set by bonds, would fall; what restraints know better isn't what the map is to
change.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from refinement.restraints.start import StartRestraints
from refinement.states import Strengths, make_state, make_target
from refinement.symmetry.target import minimise_model

if TYPE_CHECKING:
    from refinement.states import Problem, State

SPREAD = 0.1
"""Å; atoms are held where they were as if known that well, which is worth as much as angles are, and less than bonds."""
ITERATIONS, ROUNDS = 40, 2
"""Optimiser steps, and how often; each round begins and holds where the last one ended."""


def regularised(state: State, problem: Problem) -> State:
    """Return the state minimised by restraints alone, held near to where it is.

    Parameters
    ----------
    state : State
        Of the whole model.
    problem : Problem
        Its restraints and settings; the map isn't looked at but to measure the outcome.
    """
    weight = problem.settings.weight_trial
    held = problem.settings.model_copy(update={"start_hold": SPREAD**-2 / weight})
    for _ in range(ROUNDS):
        near = replace(problem, settings=held, start=StartRestraints.at(state.structure.positions), elastic=None)
        target = make_target(state.model, near, weight, Strengths())
        target.scattering[:] = 0.0
        found = minimise_model(target, state.structure.positions, None, max_iterations=ITERATIONS, max_shift=held.max_shift)
        target.close()
        state = make_state(state.label, state.structure.moved(found.x), problem, like=state.model)
    return state
