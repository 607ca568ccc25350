"""Side chains are looked at once more in what the whole model leaves unexplained.

The cycles search side chains in the observed map, at the centres of atoms. Density there is highest where that of
neighbours adds to it, so in coarse maps even a right side chain finds a place that looks better, inside its neighbours'
density. Once the model has its B factors the same search has a better map: that of the residuals, Fo - D Fc weighted as in
`refinement.whole_map`, in which a side chain loses what it explained where it was and gains what isn't explained by anything
where it goes. To second order this is the energy of the least squares themselves, for one side chain at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from refinement.cycle import search_rules
from refinement.maps.interpolation import prepare
from refinement.moves.side_chains import fit_side_chains
from refinement.target import scattering_weights

if TYPE_CHECKING:
    from refinement.moves.side_chains import SideChainMove
    from refinement.states import Model, Problem, Strengths
    from refinement.structure import Structure
    from refinement.whole_map import LeastSquares


def revised_side_chains(
    whole: Structure,
    model: Model,
    squares: LeastSquares,
    weight: float,
    strengths: Strengths,
    problem: Problem,
    part: Problem,
) -> tuple[Model, tuple[SideChainMove, ...]]:
    """Return the model with side chains where the whole map wants them, and the moves.

    Parameters
    ----------
    whole : Structure
        The whole model without hydrogens.
    model : Model
        The same, or its unique part where copies are refined as one.
    squares : LeastSquares
        The term of the whole map, made for `whole`, with its weight.
    weight : float
        Map weight of the cycles.
    strengths : Strengths
        Factors on the restraints.
    problem, part : Problem
        That of the whole model, and that of `model`.
    """
    rest = squares.unexplained(whole.positions, scattering_weights(whole), problem.density)
    rules = search_rules(weight, part.settings, strengths)
    # noise counts as much as in the cycles, though the weights of atoms have other units here
    rules = rules._replace(doubt=rules.doubt * weight * strengths.map * part.settings.least_squares)
    fit = fit_side_chains(
        model.structure,
        model.hydrogenated,
        model.nonbonded,
        prepare(rest.gain, normalise=False),
        rules,
        map_weight=1.0,
        backrub=False,
        fixed=part.images_by_residue(model.structure),
        cliques=False,
        kernel=rest.kernel,
        threads=part.threads,
    )
    return model.moved(part.imposed(fit.structure.positions)), fit.moves
