"""The target as a function of the positions that vary, and its minimisation with or without copies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from refinement.damping import DampedFactor
from refinement.minimise import Minimum, minimise
from refinement.restraints.curvature import add_curvature
from refinement.restraints.dihedrals import DihedralRestraints
from refinement.symmetry.counting import CountedNonbonded, counted_covalent, counted_term, own_covalent, own_term, with_hydrogens
from refinement.target import Target

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.elimination import Matrix
    from refinement.symmetry.constraints import Symmetry

    Floats = NDArray[np.float64]


class WholeTerm(Protocol):
    """A term that sees all atoms of the whole model at once."""

    def energy_and_gradient(self, positions: Floats, gradient: Floats) -> float:
        """Return the energy at positions (n, 3), and add its derivatives to `gradient`."""


@dataclass(frozen=True, slots=True, eq=False)
class Further:
    """A term of the whole model that the target doesn't have.

    Attributes
    ----------
    term : WholeTerm
    curvature : NDArray[float64], shape (n,), or None
        Second derivative of `term` at each atom, per axis (1/Å²), where it is known.
    """

    term: WholeTerm
    curvature: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ByCopy:
    """A further term, divided by the number of copies, as a function of the positions that vary.

    Attributes
    ----------
    further : Further
    symmetry : Symmetry
        Of the whole model; the same atoms vary as in its unique part, in the same order.
    """

    further: Further
    symmetry: Symmetry

    def energy_and_gradient(self, x: Floats, gradient: Floats) -> float:
        """Return the energy at x, shape (number of atoms that vary, 3), and add its derivatives to `gradient`."""
        slope = np.zeros((len(self.symmetry), 3))
        energy = self.further.term.energy_and_gradient(self.symmetry.spread(x), slope) / self.symmetry.copies
        gradient += self.symmetry.folded(slope) / self.symmetry.copies
        return energy

    def curvature(self) -> Floats | float:
        """Return how it curves at the atoms that vary."""
        if self.further.curvature is None:
            return 0.0
        counted_once: Floats = (self.symmetry.counting().of_atoms * self.further.curvature)[self.symmetry.varying]
        return counted_once


class ConstrainedTarget:
    """Energy of the whole model, divided by the number of copies, as a function of the positions that vary.

    Parameters
    ----------
    target : Target
        The target of all atoms of the model, or of its unique part, the map averaged over the copies. It is left as it is.
    symmetry : Symmetry
        Which of its atoms (rows without hydrogens) follow which.
    further : ByCopy, optional
        A further term, of the whole model.
    """

    def __init__(self, target: Target, symmetry: Symmetry, further: ByCopy | None = None) -> None:
        self.symmetry, self.further = symmetry, further
        self.target = counted(target, symmetry)
        self._gradient = np.empty((len(symmetry), 3))
        held = [term for term in target.extra.values() if isinstance(term, DihedralRestraints)]
        self._dihedrals = [own_term(term, symmetry.place) for term in (*target.torsions, *held)]
        self._covalent = own_covalent(target.covalent, symmetry.place)

    def __call__(self, x: Floats, gradient: Floats) -> float:
        """Return the energy at x, shape (number of atoms that vary, 3), and overwrite `gradient`."""
        energy = self.target(self.symmetry.spread(x), self._gradient)
        gradient[:] = self.symmetry.folded(self._gradient)
        return energy if self.further is None else energy + self.further.energy_and_gradient(x, gradient)

    def curvature(self) -> Floats:
        """Return an estimate of the Hessian's diagonal, in the shape of x, for preconditioning."""
        counting = self.symmetry.counting()
        stiff = self.target.covalent.curvature(len(self.symmetry)) + 2.0 * self.target.contact_weight / 3.0 * counting.of_atoms
        return np.repeat(stiff[self.symmetry.varying, None], 3, axis=1)

    def variables(self, x: Floats) -> DampedFactor | Floats:
        """Return variables in which the target curves about equally in all directions near x; see `Target.variables`."""
        more = 0.0 if self.further is None else self.further.curvature()
        if self.target.pattern is None:
            return self.curvature() + np.reshape(more, (-1, 1))
        pattern, diagonal = self.target.pattern, self.target.map_curvature()[self.symmetry.varying] + more

        def assembly(at: Floats) -> Matrix:
            matrix = pattern.empty()
            add_curvature(self._covalent, self._dihedrals, at, matrix)
            matrix.add_diagonal(diagonal)
            return matrix

        return DampedFactor.at(x, assembly, diagonal)

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
    found.scattering = target.scattering * here.of_atoms
    return found


def minimise_model(
    target: Target,
    positions: Floats,
    symmetry: Symmetry | None,
    *,
    max_iterations: int,
    max_shift: float,
    further: Further | None = None,
    whole: Symmetry | None = None,
) -> Minimum:
    """Minimise the positions (n, 3) of a model's non-hydrogen atoms, copies together; x of the outcome has all atoms.

    `further` is of all atoms of the whole model, with the symmetry `whole` where `symmetry` is that of its unique part.
    """
    run = partial(minimise, max_iterations=max_iterations, max_shift=max_shift)
    if symmetry is None:
        if further is not None:
            target.extra["whole model"] = further.term
        return run(target, positions, curvature=target.variables(positions, further.curvature if further else None))
    constrained = ConstrainedTarget(target, symmetry, ByCopy(further, whole or symmetry) if further else None)
    start = positions[symmetry.varying]
    found = run(constrained, start, curvature=constrained.variables(start))
    constrained.close()
    return replace(found, x=symmetry.spread(found.x))
