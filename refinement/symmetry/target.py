"""The target as a function of the positions that vary, and its minimisation with or without copies."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from refinement.minimise import Minimum, minimise
from refinement.restraints.curvature import add_curvature
from refinement.restraints.dihedrals import DihedralRestraints
from refinement.symmetry.counting import CountedNonbonded, counted_covalent, counted_term, own_covalent, own_term, with_hydrogens
from refinement.target import Target

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.elimination import Factor
    from refinement.symmetry.constraints import Symmetry

    Floats = NDArray[np.float64]


class ConstrainedTarget:
    """Energy of the whole model, divided by the number of copies, as a function of the positions that vary.

    Parameters
    ----------
    target : Target
        The target of all atoms of the model, its map averaged over the copies. It is left as it is.
    symmetry : Symmetry
        Which of its atoms (rows without hydrogens) follow which.
    """

    def __init__(self, target: Target, symmetry: Symmetry) -> None:
        self.symmetry = symmetry
        self.target = counted(target, symmetry)
        self._gradient = np.empty((len(symmetry), 3))
        held = [term for term in target.extra.values() if isinstance(term, DihedralRestraints)]
        self._dihedrals = [own_term(term, symmetry.place) for term in (*target.torsions, *held)]
        self._covalent = own_covalent(target.covalent, symmetry.place)

    def __call__(self, x: Floats, gradient: Floats) -> float:
        """Return the energy at x, shape (number of atoms that vary, 3), and overwrite `gradient`."""
        energy = self.target(self.symmetry.spread(x), self._gradient)
        gradient[:] = self.symmetry.folded(self._gradient)
        return energy

    def curvature(self) -> Floats:
        """Return an estimate of the Hessian's diagonal, in the shape of x, for preconditioning."""
        counting = self.symmetry.counting()
        stiff = self.target.covalent.curvature(len(self.symmetry)) + 2.0 * self.target.contact_weight / 3.0 * counting.of_atoms
        return np.repeat(stiff[self.symmetry.varying, None], 3, axis=1)

    def variables(self, x: Floats) -> Factor | Floats:
        """Return variables in which the target curves about equally in all directions near x; see `Target.variables`."""
        if self.target.pattern is None:
            return self.curvature()
        matrix = self.target.pattern.empty()
        add_curvature(self._covalent, self._dihedrals, x, matrix)
        matrix.add_diagonal(self.target.map_curvature()[self.symmetry.varying])
        return matrix.factor()

    def close(self) -> None:
        """Stop the helper thread."""
        self.target.close()


def counted(target: Target, symmetry: Symmetry) -> Target:
    """Return a target like another in which every term counts as `refinement.symmetry.counting` says."""
    here = symmetry.counting()
    found = Target(
        target.model,
        target.density,
        covalent=counted_covalent(target.covalent, here),
        nonbonded=CountedNonbonded(target.nonbonded, symmetry.counting(with_hydrogens(target.model))),  # type: ignore[arg-type]
        contact_weight=target.contact_weight,
        contact_reduction=target.contact_reduction,
        list_margin=target.list_margin,
        torsions=[counted_term(term, here) for term in target.torsions],
        ramachandran=counted_term(target.ramachandran, here),
        extra={name: counted_term(term, here) for name, term in target.extra.items()},
        map_weight=target.map_weight,
        pattern=target.pattern,
        threads=target.threads,
    )
    found.scattering *= here.of_atoms
    return found


def minimise_model(
    target: Target, positions: Floats, symmetry: Symmetry | None, *, max_iterations: int, max_shift: float
) -> Minimum:
    """Minimise the positions (n, 3) of a model's non-hydrogen atoms, copies together; x of the outcome has all atoms."""
    run = partial(minimise, max_iterations=max_iterations, max_shift=max_shift)
    if symmetry is None:
        return run(target, positions, curvature=target.variables(positions))
    constrained = ConstrainedTarget(target, symmetry)
    start = positions[symmetry.varying]
    found = run(constrained, start, curvature=constrained.variables(start))
    constrained.close()
    return replace(found, x=symmetry.spread(found.x))
