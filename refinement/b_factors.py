"""B factors of a model in refinement; where copies are refined as one, those of images are their sources'."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from refinement.moves.adp import cc_mask, fit_b

if TYPE_CHECKING:
    from refinement.moves.adp import AdpFit
    from refinement.states import Problem
    from refinement.structure import Structure


def with_fitted_b(
    structure: Structure, problem: Problem, whole: Problem, *, like: Structure | None = None, evaluations: int
) -> AdpFit:
    """Fit B factors, beginning with those that the model has.

    Parameters
    ----------
    structure : Structure
        The model that `problem` is about.
    problem, whole : Problem
        That of the unique part, where copies are refined as one, and that of the whole model; otherwise the same.
    like : Structure, optional
        The whole model with its occupancies, where it isn't `structure`; positions and B factors don't matter.
    evaluations : int
        About how many model maps may be computed.

    Returns
    -------
    AdpFit
        Of the whole model: its CC_mask is that in the map as it came, not averaged over copies.
    """
    symmetry = problem.symmetry
    fit = fit_b(
        structure,
        problem.density,
        problem.resolution,
        evaluations=evaluations,
        smoothness=problem.settings.adp_smoothness,
        by_residue=problem.settings.b_groups == "residues",
        noise=problem.settings.b_noise,
        source=symmetry.source if symmetry else None,
        own=symmetry.varies if symmetry else None,
        threads=problem.threads,
    )
    if problem.unique is None:
        return fit
    positions, b_iso = problem.unique.expanded(structure.positions).positions, problem.unique.shared(fit.structure.b_iso)
    everything = replace(like or problem.unique.whole, positions=positions, b_iso=b_iso)
    fits = cc_mask(everything, whole.density, whole.resolution, threads=whole.threads)
    return replace(fit, structure=everything, cc_after=fits)
