"""The last minimisation: the whole map of the model against the observed one, once its B factors are known.

The cycles follow the density at the centres of atoms, target (7), which is cheap and reaches far, but whose minimum
lies off the truth: by 0.1 Å at 3 Å, by 0.4 Å at 6 Å, as neighbours add to the density. Least squares over the whole map
have their minimum at the truth, if B factors are right and nothing is missing. Real maps lie between the two; so does
the target here: least squares with half of the density at the centres (docs/decisions). Where the model explains the
map nearly completely it is least squares alone, as strong as the little that is left unexplained allows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.b_factors import with_fitted_b
from refinement.moves.adp import cc_mask
from refinement.moves.naming import with_standard_names
from refinement.repair import firm, restored, spoilt_residues
from refinement.revision import revised_side_chains
from refinement.score import FEW_CLASHES, few_more, harm
from refinement.states import SHAPES, make_state, make_target
from refinement.symmetry.target import Further, minimise_model
from refinement.target import scattering_weights
from refinement.validation.ramachandran import Region
from refinement.validation.rotamers import rotamers
from refinement.whole_map import LeastSquares, Overlap
from refinement.words import harm_in_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from refinement.moves.adp import AdpFit
    from refinement.output import RunLog
    from refinement.states import Model, Problem, State, Strengths
    from refinement.structure import Structure

    Floats = NDArray[np.float64]

STEP = 0.1
"""Å; for second derivatives of the density."""
ROUNDS = 4
"""Of least squares alone; each begins with new scales and B factors."""
RETRIES, PATIENCE, WEAKER = 5, 3, 0.7
"""How often what did harm is tried again with what failed held more strongly; after so many times the map pulls less, too."""
HELD = frozenset({"rotamer_outliers", "rama_outliers", "cbeta_deviations", "cis_nonproline", "twisted_peptides"})
"""Harms of single residues, which then have their torsions held where they were before."""
STIFF = 0.2
"""Degrees; so firmly, as at 1° rare side chains still give way to the restraints that draw them to their rotamer."""
FIRMER = 4.0
"""Where the shape of single residues is harmed their planes and chiral centres are held so much more strongly."""
MINOR = frozenset({"rotamer_outliers", "planarity_outliers"})
"""Harms that are borne when nothing else helped, if they are few and the deposited model has more."""
NEARLY = 0.95
"""CC_mask; real maps, with their noise and solvent, leave the best models below it."""
REVISION_TRIALS = 3
"""How often side chains that came out worse are put back before the revision is given up."""
STILL = 0.01
"""Å; a round that moves atoms by less (rms) is the last one."""
LEAST_CURVATURE = 1e-3
"""1/Å²; of the density at the centres, where the map is flat or the model lies in none."""
HIGHEST = 100.0
"""Least squares are at most this much stronger than the density at the centres; at 60 the truth stays within 0.03 Å."""


@dataclass(frozen=True, slots=True)
class Balance:
    """How least squares and the density at the centres share the work.

    Attributes
    ----------
    squares, centres : float
        Strengths, as multiples of the pull of the centres during the cycles.
    fine : bool
        Whether the model explains the map nearly completely.
    """

    squares: float
    centres: float
    fine: bool


def finish(
    structure: Structure,
    initial: State,
    kept: State,
    weight: float,
    strengths: Strengths,
    problem: Problem,
    log: RunLog,
    *,
    part: Problem | None = None,
) -> tuple[Structure, dict[str, Any]]:
    """Minimise the chosen model against the whole map, and keep the outcome if it fits better and harms nothing.

    Parameters
    ----------
    structure : Structure
        The chosen model with its new B factors, without hydrogens.
    initial, kept : State
        The state that harm is measured against, and the one that was chosen.
    weight : float
        Map weight of the cycles.
    strengths : Strengths
        Factors on the restraints.
    problem : Problem
        The map, the restraints and the settings, of the whole model.
    log : RunLog
        What was done and why goes there.
    part : Problem, optional
        That of the unique part, which `kept` is about, where copies are refined as one: they stay one.

    Returns
    -------
    (Structure, dict)
        The model, and what the record of the refinement says about it.
    """
    settings, at = problem.settings, part or problem
    cc = cc_mask(structure, problem.density, problem.resolution, threads=problem.threads)
    best, model = structure, kept.model.moved(at.imposed(kept.structure.positions))
    record: dict[str, Any] = {"target": settings.target, "kept": False, "cc_before": cc, "rounds": []}
    strengths, rounds, refused = replace(strengths), 0, 0
    keep = _near_the_limit(model.structure)
    begin, again = model.structure.positions, False
    strengths.shapes = np.ones(len(keep)) if strengths.shapes is None else strengths.shapes
    while rounds < ROUNDS:
        term, balance = _whole_map_term(best, weight * strengths.map, problem)
        hold = replace(at, reference=firm(model.structure, keep, at.reference, sigma=STIFF)) if keep.any() else at
        steps = settings.finish_iterations // (2 if again else 1)
        trial = _tried(model.moved(begin), best, (term, balance), (weight, strengths), problem, hold, steps)
        harms = _harms(initial, kept, trial.state, patient=refused < PATIENCE)
        fit = None if harms else trial.fitted()
        shift = float(np.sqrt(((trial.positions - model.structure.positions) ** 2).sum(axis=1).mean()))
        record["rounds"].append({**asdict(balance), "moved": shift, "cc": fit.cc_after if fit else None, "harms": harms})
        if fit is None or fit.cc_after < cc:
            refused += 1
            if record["kept"] or refused > RETRIES or (balance.fine and not harms):
                break
            keep |= spoilt_residues(kept, trial.state, sorted(HELD.intersection(harms)), at.topology, at.library)
            bent = spoilt_residues(kept, trial.state, sorted(SHAPES.intersection(harms)), at.topology, at.library)
            strengths.shapes = np.where(bent, strengths.shapes * FIRMER, strengths.shapes)
            strengths.raise_for([name for name in harms if name == "cbeta_deviations" or name not in HELD | SHAPES])
            strengths.map *= WEAKER if refused > PATIENCE or not harms else 1.0
            # what was found so far, but for what it spoilt
            begin, again = at.imposed(restored(trial.state.structure, model.structure, keep | bent)), True
            continue
        best, cc, model, record["kept"] = fit.structure, fit.cc_after, trial.state.model, True
        rounds += 1
        begin, again = model.structure.positions, False
        nearly_exact = balance.fine or explains_nearly_all(best, cc, weight * strengths.map, problem)
        if not nearly_exact or shift < STILL:
            break
    if record["kept"] and cc >= NEARLY:
        best, cc = _revised(best, cc, model, initial, kept, (weight, strengths), problem, at, record)
    record["cc_after"] = cc
    log.add("finish", _words(record), **record)
    return best, record


@dataclass(frozen=True, slots=True)
class Trial:
    """Outcome of one minimisation against the whole map: the state, the positions, and the fit of B factors that is to follow."""

    state: State
    positions: Floats
    fitted: Callable[[], AdpFit]


def _tried(
    begin: Model,
    best: Structure,
    balanced: tuple[LeastSquares | Overlap, Balance],
    strength: tuple[float, Strengths],
    problem: Problem,
    at: Problem,
    steps: int,
) -> Trial:
    """Minimise from `begin`; `best` is the whole model as it is, `at` the problem of `begin`."""
    (term, balance), (weight, strengths) = balanced, strength
    found = _minimised(begin, term, balance, weight, strengths, at, steps)
    moved = with_standard_names((at.unique.part(best) if at.unique else best).moved(found))
    evaluations = problem.settings.finish_adp_evaluations
    fitted = partial(with_fitted_b, moved, at, problem, like=best, evaluations=evaluations)
    return Trial(make_state("finish", moved, at, like=begin), found, fitted)


def _revised(
    best: Structure,
    cc: float,
    model: Model,
    initial: State,
    kept: State,
    strength: tuple[float, Strengths],
    problem: Problem,
    at: Problem,
    record: dict[str, Any],
) -> tuple[Structure, float]:
    """Search side chains in what is unexplained and minimise again, as long as that gets better.

    Those that harm are put back, and the others get another chance.
    """
    weight, strengths = strength
    before = make_state("finish", model.structure, at, like=model)
    record["revisions"] = []
    for _ in range(problem.settings.revisions):
        term, balance = _whole_map_term(best, weight * strengths.map, problem)
        if not isinstance(term, LeastSquares) or not balance.fine:
            break
        changed, moves = revised_side_chains(best, model, term, weight, strengths, problem, at)
        row: dict[str, Any] = {"moves": [move.as_dict() for move in moves], "cc": None, "put_back": 0}
        if not moves:
            break
        record["revisions"].append(row)
        keep = _near_the_limit(changed.structure)
        back = np.zeros_like(keep)
        for _ in range(REVISION_TRIALS):
            hold = replace(at, reference=firm(changed.structure, keep | back, at.reference, sigma=STIFF))
            trial = _tried(changed, best, (term, balance), strength, problem, hold, problem.settings.finish_iterations)
            harms = _harms(initial, kept, trial.state, patient=False)
            spoilt = spoilt_residues(before, trial.state, harms, at.topology, at.library)
            if not harms or not (spoilt & ~back).any():
                break
            back |= spoilt
            changed = changed.moved(at.imposed(restored(changed.structure, model.structure, back)))
        row["harms"], row["put_back"] = harms, int(back.sum())
        if harms:
            break
        fit = trial.fitted()
        row["cc"] = fit.cc_after
        if fit.cc_after <= cc:
            break
        best, cc, model, before = fit.structure, fit.cc_after, trial.state.model, trial.state
    return best, cc


def _near_the_limit(structure: Structure) -> NDArray[np.bool_]:
    """Return which residues have a side chain that little would make an outlier: held from the beginning, they save a trial."""
    side_chains = rotamers(structure)
    near = np.zeros(len(structure.residues), dtype=np.bool_)
    near[side_chains.residue[side_chains.region == Region.ALLOWED]] = True
    return near


def _words(record: dict[str, Any]) -> str:
    """Return what came of it."""
    name = {"combined": "least squares and density at the centres", "overlap": "the overlap of maps"}.get(
        record["target"], "least squares"
    )
    if any(row["fine"] for row in record["rounds"]):
        name = "strong least squares, as the model explains the map nearly completely"
    change = f"CC_mask {record['cc_before']:.4f} -> {record['cc_after']:.4f}"
    if record["kept"]:
        return f"Last minimisation with {name}: {change}."
    harms = record["rounds"][-1]["harms"]
    return f"Last minimisation with {name} isn't kept: {harm_in_words(harms) if harms else 'it fits no better'}."


def _harms(initial: State, kept: State, state: State, *, patient: bool) -> list[str]:
    """Return what became worse than at the start, or than it was; the few clashes that no one counts don't matter.

    When patience is at an end, a side chain or a plane in a thousand doesn't either, if there were more at the start.
    """
    few = (state.geometry.clashscore or 0.0) <= FEW_CLASHES
    since = [name for name in harm(kept.geometry, state.geometry) if not (few and name == "clashscore")]
    if not patient:
        count = len(kept.structure.residues)
        since = [name for name in since if not (name in MINOR and few_more(name, kept.geometry, state.geometry, count))]
    borne = set(harm(initial.geometry, kept.geometry))  # nothing better could be had
    return sorted({*harm(initial.geometry, state.geometry)} - borne | {*since})


def _whole_map_term(structure: Structure, pull: float, problem: Problem) -> tuple[LeastSquares | Overlap, Balance]:
    """Return the term of the whole map, with its weight, and how it is balanced; `pull` is the map weight of the cycles."""
    settings = problem.settings
    stiffness = pull * _curvature_at_centres(structure, problem)
    options: dict[str, Any] = {"structure": structure, "density": problem.density, "d_min": problem.resolution}
    options["threads"] = problem.threads
    squares = LeastSquares(**options)
    own = float(squares.curvature().mean())
    if settings.target == "overlap":
        overlap = Overlap(**options)
        overlap.weight = stiffness / _curvature(overlap.energy_and_gradient, structure.positions)
        return overlap, Balance(1.0, 0.0, False)
    justified = own * squares.occupied() / stiffness
    fine = justified > 1.0
    if fine:
        squares = LeastSquares(**options, fine=True)
        own = float(squares.curvature().mean())
    strength = min(max(settings.least_squares, justified), HIGHEST) if fine else settings.least_squares
    squares.weight = strength * stiffness / own
    alone = fine or settings.target == "least_squares"
    return squares, Balance(strength, 0.0 if alone else settings.centres_share, fine)


def explains_nearly_all(structure: Structure, cc: float, pull: float, problem: Problem) -> bool:
    """Return whether least squares stand alone for a model, as it leaves so little unexplained.

    Parameters
    ----------
    structure : Structure
        The whole model with fitted B factors.
    cc : float
        Its CC_mask.
    pull : float
        Map weight of the cycles.
    problem : Problem
        Its map.
    """
    return cc >= NEARLY and _whole_map_term(structure, pull, problem)[1].fine


def _curvature_at_centres(structure: Structure, problem: Problem) -> float:
    """Return the mean second derivative of the density term at unit weight, 1/Å²."""
    weights = scattering_weights(structure)
    return _curvature(lambda x, slope: problem.interpolated.energy_and_gradient(x, weights, slope), structure.positions)


def _curvature(function: Callable[[Floats, Floats], float], positions: Floats) -> float:
    """Return the mean over atoms and axes of a function's second derivative (1/Å²), if atoms don't feel each other.

    Where the map is flat or the model lies in none it is taken as `LEAST_CURVATURE`.
    """
    total = 0.0
    for axis in range(3):
        slopes = np.zeros((2, *positions.shape))
        for slope, sign in zip(slopes, (1.0, -1.0), strict=True):
            function(positions + sign * STEP * np.eye(3)[axis], slope)
        total += float((slopes[0] - slopes[1])[:, axis].mean()) / (2.0 * STEP)
    return max(total / 3.0, LEAST_CURVATURE)


def _minimised(
    model: Model,
    term: LeastSquares | Overlap,
    balance: Balance,
    weight: float,
    strengths: Strengths,
    problem: Problem,
    steps: int,
) -> Floats:
    """Return the positions, shape (n, 3), after minimisation with the term of the whole map; `problem` is that of `model`."""
    settings = problem.settings
    target = make_target(model, problem, weight, strengths)
    target.map_weight *= balance.centres
    curvature = term.weight * term.curvature() if isinstance(term, LeastSquares) else None
    found = minimise_model(
        target,
        model.structure.positions,
        problem.symmetry,
        max_iterations=steps,
        max_shift=settings.max_shift,
        further=Further(term, curvature),
        whole=problem.unique.whole_symmetry if problem.unique else None,
    )
    target.close()
    return found.x
