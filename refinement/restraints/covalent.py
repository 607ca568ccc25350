"""Bonds, angles, torsions, chiralities and planes as one set of restraints with weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refinement.restraints import angle_kernel, kernels
from refinement.restraints.arrays import Angles, Bonds, Chiralities, Planes, TorsionKind, Torsions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.restraints.topology import Topology

TORSION_KINDS = (
    TorsionKind.OMEGA,
    TorsionKind.PLANAR,
    TorsionKind.NUCLEIC,
    TorsionKind.SUGAR,
    TorsionKind.HYDROGEN,
    TorsionKind.LIGAND,
)
"""Without phi, psi and chi, which the Ramachandran and rotamer terms restrain better, and without the ring of
proline, whose staggered library targets (±60°) its angles don't allow."""


@dataclass(frozen=True, slots=True, eq=False)
class Covalent:
    """Covalent restraints ready for the kernels; weights are 1/σ².

    Attributes
    ----------
    bonds, angles, torsions, chiralities, planes
        The restraints.
    bond_weight, angle_weight, torsion_weight, chirality_weight, plane_weight : NDArray[float64]
        1/σ² in Å⁻², degrees⁻², degrees⁻², Å⁻⁶, Å⁻².
    bond_limit, torsion_limit : NDArray[float64]
        Where the energy levels off (Å, degrees), inf for never.
    """

    bonds: Bonds
    angles: Angles
    torsions: Torsions
    chiralities: Chiralities
    planes: Planes
    bond_weight: NDArray[np.float64]
    angle_weight: NDArray[np.float64]
    torsion_weight: NDArray[np.float64]
    chirality_weight: NDArray[np.float64]
    plane_weight: NDArray[np.float64]
    bond_limit: NDArray[np.float64]
    torsion_limit: NDArray[np.float64]

    def energy_and_gradient(self, positions: NDArray[np.float64], gradient: NDArray[np.float64]) -> float:
        """Add the gradient (shape (n, 3)) into `gradient` and return the energy of all terms."""
        return float(sum(self.energies(positions, gradient).values()))

    def energies(self, positions: NDArray[np.float64], gradient: NDArray[np.float64]) -> dict[str, float]:
        """Add the gradient into `gradient` and return the energy of each term."""
        bonds, angles, torsions, chiralities, planes = self.bonds, self.angles, self.torsions, self.chiralities, self.planes
        return {
            "bonds": kernels.bonds(positions, bonds.atoms, bonds.target, self.bond_weight, self.bond_limit, gradient),
            "angles": angle_kernel.angles(positions, angles.atoms, angles.target, self.angle_weight, gradient),
            "torsions": kernels.torsions(
                positions, torsions.atoms, torsions.target, self.torsion_weight, torsions.period, self.torsion_limit, gradient
            ),
            "chiralities": kernels.chiralities(
                positions, chiralities.atoms, chiralities.target, self.chirality_weight, chiralities.both, gradient
            ),
            "planes": kernels.planes(positions, planes.first, planes.atoms, self.plane_weight, gradient),
        }

    def curvature(self, n_atoms: int) -> NDArray[np.float64]:
        """Return a diagonal estimate of the second derivative per atom (shape (n_atoms,), Å⁻²), for preconditioning.

        A distance with weight w curves by 2w along one of three axes; an angle at a bond of typical
        length 1.5 Å by the same with its weight in rad⁻² over 1.5² Å².
        """
        out = np.zeros(n_atoms)
        arm = (kernels.DEGREES / 1.5) ** 2
        for atoms, weight in (
            (self.bonds.atoms, self.bond_weight),
            (self.angles.atoms, self.angle_weight * arm),
            (self.torsions.atoms, self.torsion_weight * arm),
            (self.chiralities.atoms, self.chirality_weight * 4.0),
        ):
            share = np.repeat(2.0 / 3.0 * weight, atoms.shape[1])
            out += np.bincount(atoms.ravel(), weights=share, minlength=n_atoms)
        share = np.repeat(2.0 / 3.0 * self.plane_weight, np.diff(self.planes.first))
        out += np.bincount(self.planes.atoms, weights=share, minlength=n_atoms)
        return out


def covalent_restraints(topology: Topology, *, torsion_kinds: tuple[TorsionKind, ...] = TORSION_KINDS) -> Covalent:
    """Return the covalent restraints of a topology with their weights.

    Parameters
    ----------
    topology : Topology
        From `refinement.restraints.topology.build_topology`.
    torsion_kinds : tuple of TorsionKind
        The torsions to restrain.
    """
    torsions = topology.torsions.of_kind(*torsion_kinds)
    return Covalent(
        bonds=topology.bonds,
        angles=topology.angles,
        torsions=torsions,
        chiralities=topology.chiralities,
        planes=topology.planes,
        bond_weight=topology.bonds.sigma**-2.0,
        angle_weight=topology.angles.sigma**-2.0,
        torsion_weight=torsions.sigma**-2.0,
        chirality_weight=topology.chiralities.sigma**-2.0,
        plane_weight=topology.planes.sigma**-2.0,
        bond_limit=np.full(len(topology.bonds), np.inf),
        torsion_limit=np.full(len(torsions), np.inf),
    )
