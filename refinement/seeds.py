"""Other beginnings, where the backbone seems to fit less well than the deposited one: EMRinger decides among equals.

EMRinger (Barad et al. 2015, Nat. Methods 12, 943-946) asks only for the backbone and the map: whether the density round
Cβ peaks where side chains can be. It scatters between equivalent runs by about 10 over the root of the number of side
chains, 0.4 to 0.5 for most models. A fall by more than that is worth another run, from atoms shaken by little; of the
outcomes that fit as well one whose score didn't fall so far is taken, and all scores are told.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.moves.adp import cc_mask
from refinement.states import make_state
from refinement.validation.emringer import LEVELS, emringer

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.output import RunLog
    from refinement.states import Problem, State
    from refinement.structure import Structure

    Outcome = tuple[Structure, dict[str, Any]]

FALL = 0.4
"""EMRinger may be this much lower than that of the deposited model before other beginnings are tried."""
ENOUGH = 50
"""Side chains that count; with fewer the score scatters by more than 1."""
SHAKE = 0.1
"""Å rms; what a beginning differs by: side chains and peptides then take other ways, but the fold stays."""
SAME_CC = 0.005
"""Outcomes whose CC_mask isn't lower than that of the first by more than this fit as well."""


@dataclass(frozen=True, slots=True)
class Ringer:
    """EMRinger of a model.

    Attributes
    ----------
    score : float
    mean : float
        Over all levels, with 0 where none is left; it scatters less.
    """

    score: float
    mean: float


def ringer(structure: Structure, problem: Problem) -> Ringer | None:
    """Return EMRinger in the map of a refinement; None where too few side chains can be scanned."""
    found = emringer(structure, problem.density)
    if found.summary["emringer"] is None or found.details["emringer"]["residues"] < ENOUGH:
        return None
    return Ringer(found.summary["emringer"], sum(found.curves["emringer"]["score"]) / LEVELS)


def best_of_seeds(first: Outcome, initial: State, problem: Problem, again: Callable[[int], Outcome], log: RunLog) -> Outcome:
    """Return the outcome of a refinement, or of another one with another seed if that fits as well and has a better backbone.

    Parameters
    ----------
    first : (Structure, dict)
        The outcome and its record.
    initial : State
        The deposited model.
    problem : Problem
        The map and the settings: at most so many ``seeds`` are tried, the first outcome included.
    again : callable
        Refines once more with the seed that it is given, 1, 2, …
    log : RunLog
        What was tried and taken goes there.
    """
    before, after = ringer(initial.structure, problem), ringer(first[0], problem)
    if before is None or after is None or after.score >= before.score - FALL:
        return first
    outcomes, scores = [first], [after]
    for seed in range(1, problem.settings.seeds):
        with log.part(f"seed {seed}"):
            outcome = again(seed)
        outcomes.append(outcome)
        scores.append(ringer(outcome[0], problem) or Ringer(-math.inf, -math.inf))
        if scores[-1].score >= before.score - FALL:
            break
    cc = [cc_mask(structure, problem.density, problem.resolution, threads=problem.threads) for structure, _ in outcomes]
    alike = [k for k in range(len(outcomes)) if cc[k] >= cc[0] - SAME_CC and outcomes[k][1]["kept"] != initial.label]
    values = [score.score for score in scores]
    kept = max(alike or [0], key=lambda k: (values[k] >= before.score - FALL, scores[k].mean))
    record = {
        "deposited": before.score,
        "emringer": values,
        "means": [score.mean for score in scores],
        "cc_mask": cc,
        "kept": kept,
    }
    if len(outcomes) > 1:
        listed = ", ".join(f"{value:.2f}" for value in values)
        sentence = f"EMRinger of equivalent runs: {listed} (deposited {before.score:.2f}); run {kept + 1} is kept."
        log.add("seeds", sentence, **record)
    structure, rest = outcomes[kept]
    return structure, {**rest, "seeds": record}


def shaken_start(start: State, problem: Problem, seed: int) -> State:
    """Return a state with atoms moved at random by `SHAKE`."""
    noise = np.random.default_rng(seed).normal(scale=SHAKE / math.sqrt(3.0), size=start.structure.positions.shape)
    return make_state(start.label, start.structure.moved(start.structure.positions + noise), problem, like=start.model)
