"""A set of torsion restraints with its own targets, as the Cβ and rotamer terms use."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from refinement.restraints import kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class DihedralRestraints:
    """Torsions with targets.

    Attributes
    ----------
    atoms : NDArray[int32], shape (m, 4)
    target : NDArray[float64]
        Degrees.
    weight : NDArray[float64]
        1/σ² in degrees⁻².
    period : NDArray[int32]
        As in `refinement.restraints.kernels.torsions`: 0 harmonic, -2 harmonic modulo 180°, n > 0 sinusoidal.
    limit : NDArray[float64]
        Degrees from the target where the harmonic energy levels off, inf for never.
    residue : NDArray[int32]
        Row of the residue that the torsion belongs to.
    """

    atoms: NDArray[np.int32]
    target: NDArray[np.float64]
    weight: NDArray[np.float64]
    period: NDArray[np.int32]
    limit: NDArray[np.float64]
    residue: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.target)

    def select(self, mask: NDArray[np.bool_]) -> DihedralRestraints:
        """Return the torsions of `mask`."""
        return DihedralRestraints(**{item.name: getattr(self, item.name)[mask] for item in fields(self)})

    def joined(self, other: DihedralRestraints) -> DihedralRestraints:
        """Return these torsions and those of another set."""
        return DihedralRestraints(
            **{item.name: np.concatenate([getattr(self, item.name), getattr(other, item.name)]) for item in fields(self)}
        )

    def energy_and_gradient(self, positions: NDArray[np.float64], gradient: NDArray[np.float64]) -> float:
        """Add the gradient (shape (n, 3)) into `gradient` and return the energy."""
        return float(kernels.torsions(positions, self.atoms, self.target, self.weight, self.period, self.limit, gradient))
