"""Steps that every atom can make: an approximate Hessian made stiffer where a single atom would go far beyond its reach.

Covalent restraints and the map leave soft directions, such as turns about bonds, in which a bad contact or a torn bond asks
for steps of many Å. Cutting the whole step down to what such an atom may do would stop all others: one bad atom in a
hundred thousand would be enough. Levenberg's and Marquardt's damping does it atom by atom (Levenberg 1944, Q. Appl. Math. 2,
164; Marquardt 1963, J. Soc. Ind. Appl. Math. 11, 431), and the atoms bonded to a damped one follow it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.elimination import Factor, Matrix

    Floats = NDArray[np.float64]

Assembly = Callable[["Floats"], "Matrix"]
"""``assembly(x) -> matrix``: the approximate Hessian at x, shape (n, 3)."""

ROUNDS = 6
"""Damping in one direction changes the steps in others; so often it is raised at most."""
SLACK = 2.0
"""What is left of too long steps, as a multiple of the limit, doesn't need another round."""


@dataclass(frozen=True, slots=True, eq=False)
class DampedFactor:
    """Variables z = Lᵀ x of a Hessian L Lᵀ that can be damped; a `refinement.minimise.Dampable`.

    Attributes
    ----------
    factor : Factor
        L.
    assembly : Assembly
        Makes it anew.
    softest : NDArray[float64], shape (n,)
        What each atom's damping begins with, 1/Å²: the curvature of the softest directions.
    """

    factor: Factor
    assembly: Assembly
    softest: NDArray[np.float64]

    @classmethod
    def at(cls, x: Floats, assembly: Assembly, softest: Floats) -> DampedFactor:
        """Return the variables at x, shape (n, 3), without damping."""
        return cls(assembly(x).factor(), assembly, softest)

    def gradient(self, by_x: Floats, by_z: Floats) -> None:
        """Write the gradient by z, given that by x, both of shape (3 n,)."""
        self.factor.gradient(by_x, by_z)

    def direction(self, of_z: Floats, of_x: Floats) -> None:
        """Write the change of x that a change of z makes, both of shape (3 n,)."""
        self.factor.direction(of_z, of_x)

    def damped(self, x: Floats, gradient: Floats, limit: float) -> DampedFactor:
        """Return variables in which the steepest descent hardly moves any atom by more than `limit` (Å).

        Parameters
        ----------
        x, gradient : NDArray[float64], shape (3 n,)
            Positions and the gradient there.
        limit : float
            Å.
        """
        damping, pulled = np.zeros(len(self.softest)), np.sqrt(np.square(gradient.reshape(-1, 3)).sum(axis=1)) / limit
        begin = np.maximum(self.softest, pulled)  # an atom alone would go as far as it may; those that only follow it are free
        by_z, step = np.empty_like(gradient), np.empty_like(gradient)
        hessian = self.assembly(x.reshape(-1, 3))
        factor = hessian.copy().factor()
        for _ in range(ROUNDS):
            factor.gradient(gradient, by_z)
            factor.direction(by_z, step)
            shift = np.sqrt(np.square(step.reshape(-1, 3)).sum(axis=1))
            if shift.max(initial=0.0) <= SLACK * limit:
                break
            far = shift > limit
            damping[far] = np.maximum(begin[far], damping[far] * shift[far] / limit)
            stiffer = hessian.copy()
            stiffer.add_diagonal(damping)
            factor = stiffer.factor()
        return replace(self, factor=factor)
