"""One macro-cycle: moves of side chains and peptides, then minimisation, and without the moves where they harm."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from refinement.moves.doubtful import doubtful
from refinement.moves.flips import PeptideFlip, flip_peptides
from refinement.moves.fragments import FragmentMove, mend_fragments
from refinement.moves.naming import with_standard_names
from refinement.moves.side_chain_atoms import Rules
from refinement.moves.side_chains import SideChainMove, fit_side_chains
from refinement.score import harm
from refinement.states import Model, Problem, State, Strengths, contact_weight, make_state, make_target
from refinement.symmetry.target import minimise_model
from refinement.validation.rotamers import FAVORED, OUTLIER

if TYPE_CHECKING:
    from refinement.minimise import Minimum
    from refinement.output import RunLog
    from refinement.settings import Settings

Move = SideChainMove | PeptideFlip | FragmentMove

COINCIDENT, SEPARATION = 0.05, 0.2
"""Å; bonded atoms closer than the first are moved apart by the second."""


def prepared(initial: State, problem: Problem, log: RunLog) -> State:
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
    return initial if structure is initial.structure else make_state("prepared", structure, problem, like=initial.model)


def run_cycle(
    cycle: int, before: State, initial: State, problem: Problem, weight: float, strengths: Strengths, log: RunLog
) -> tuple[State, Minimum, list[Move]]:
    """Move side chains and peptides, minimise; without the moves where only with them the state is harmful.

    Parameters
    ----------
    cycle : int
        Its number, from 1.
    before, initial : State
        Where the cycle begins, and the state that harm is measured against.
    problem : Problem
        The map, the restraints and the settings.
    weight : float
        Map weight.
    strengths : Strengths
        Factors on the restraints.
    log : RunLog
        The moves go there.

    Returns
    -------
    (State, Minimum, list of moves)
        The state after the cycle, what the optimiser did, and the moves, undone ones too.
    """
    label = f"cycle {cycle}"
    model, moves = _moved(cycle, before.model, problem, weight, strengths)
    state, found = _minimised(label, model, problem, weight, strengths)
    harms = harm(initial.geometry, state.geometry)
    if problem.settings.harmless and moves and set(harms) - set(harm(initial.geometry, before.geometry)):
        other, other_found = _minimised(label, before.model, problem, weight, strengths)
        if len(harm(initial.geometry, other.geometry)) < len(harms):
            state, found, moves = other, other_found, [move.undone() for move in moves]
    for kind, event, what in (
        (SideChainMove, "side_chains", "side chains changed rotamer"),
        (PeptideFlip, "flips", "peptides were flipped"),
        (FragmentMove, "fragments", "stretches of backbone were rebuilt"),
    ):
        mine = [move for move in moves if isinstance(move, kind)]
        if mine:
            outcome = "" if mine[0].kept else ", which was undone because the geometry became worse"
            sentence = f"{label}: {len(mine)} {what}{outcome}."
            log.add(event, sentence, count=len(mine), moves=[move.as_dict() for move in mine])
    return state, found, moves


def _moved(cycle: int, model: Model, problem: Problem, weight: float, strengths: Strengths) -> tuple[Model, list[Move]]:
    """Make the moves that belong to a cycle."""
    settings = problem.settings
    moves: list[Move] = []
    if cycle in settings.flip_cycles:
        target = make_target(model, problem, weight, strengths)
        structure, flips = flip_peptides(
            model.structure, target, problem.interpolated, max_shift=settings.max_shift, fixed=problem.images
        )
        target.close()
        model = model.moved(problem.imposed(structure.positions))
        moves += flips
    if cycle in settings.fragment_cycles:
        target = make_target(model, problem, weight, strengths)
        structure, rebuilt = mend_fragments(model.structure, target, problem.topology, max_shift=settings.max_shift)
        target.close()
        model = model.moved(problem.imposed(structure.positions))
        moves += rebuilt
    if cycle <= settings.side_chain_cycles:
        model, side_chains = _with_side_chains(model, problem, weight, strengths, backrub=cycle <= settings.backrub_cycles)
        moves += side_chains
    return model, moves


def _with_side_chains(
    model: Model, problem: Problem, weight: float, strengths: Strengths, *, backrub: bool
) -> tuple[Model, list[SideChainMove]]:
    """Give side chains their best rotamers, in later cycles where something moved; the energy is that of the minimiser."""
    settings, weight = problem.settings, weight * strengths.map
    here, moved, searched_at = model.structure.positions, None, model.structure.positions
    if model.searched_at is not None:
        moved = ((here - model.searched_at) ** 2).sum(axis=1) > settings.side_chain_restless**2
        searched_at = np.where(moved[:, None], here, model.searched_at)
    fit = fit_side_chains(
        model.structure,
        model.hydrogenated,
        model.nonbonded,
        problem.interpolated,
        search_rules(weight, settings, strengths),
        map_weight=weight,
        backrub=backrub,
        moved=moved,
        only=doubtful(model.structure, problem.interpolated) if settings.side_chains == "doubtful" else None,
        fixed=problem.images_by_residue(model.structure),
        cliques=settings.side_chain_cliques,
        threads=problem.threads,
    )
    return replace(model.moved(problem.imposed(fit.structure.positions)), searched_at=searched_at), list(fit.moves)


def search_rules(weight: float, settings: Settings, strengths: Strengths) -> Rules:
    """Return the rules of the search for side chains that go with a map weight."""
    return Rules(
        contact_weight=contact_weight(weight, settings, strengths),
        reduction=settings.nonbonded_slack,
        cap=settings.side_chain_contact_cap,
        bond=settings.side_chain_hydrogen_bond,
        favored=FAVORED,
        outlier=OUTLIER,
        gain=settings.side_chain_gain,
        doubt=settings.side_chain_doubt,
        poor=settings.backrub_below,
        angle_penalty=settings.backrub_penalty,
    )


def _minimised(label: str, model: Model, problem: Problem, weight: float, strengths: Strengths) -> tuple[State, Minimum]:
    """Minimise a model; returns the state, with atoms named by convention, and what the optimiser did."""
    settings = problem.settings
    target = make_target(model, problem, weight, strengths)
    found = minimise_model(
        target,
        model.structure.positions,
        problem.symmetry,
        max_iterations=settings.iterations,
        max_shift=settings.max_shift,
    )
    target.close()
    structure = with_standard_names(model.structure.moved(found.x))
    return make_state(label, structure, problem, like=model), found
