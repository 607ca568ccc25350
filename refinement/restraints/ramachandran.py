"""Ramachandran restraints: φ and ψ feel the potential of `refinement.restraints.backbone_potential`.

It is interpolated by a periodic bicubic B-spline, which has continuous second derivatives. Which table a residue
belongs to, by its type and the secondary structure of the Cα trace, is read from the model when the restraints
are made, so that it is renewed in every macro-cycle.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from refinement.conformers import STANDARD_AMINO_ACIDS
from refinement.geometry import dihedrals
from refinement.restraints.arrays import TorsionKind
from refinement.restraints.backbone_potential import BIN, FIRST_CENTRE, potentials, rows_of
from refinement.restraints.kernels import add, dihedral
from refinement.validation.ca_assignment import assign_from_ca
from refinement.validation.ramachandran import CIS_LIKE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.restraints.topology import Topology
    from refinement.structure import Structure


@dataclass(frozen=True, slots=True, eq=False)
class RamachandranRestraints:
    """One restraint per residue (and conformer) with φ and ψ.

    Attributes
    ----------
    atoms : NDArray[int32], shape (m, 5)
        C of the residue before, N, CA, C, N of the residue after.
    row : NDArray[int32]
        Row of `refinement.restraints.backbone_potential.potentials`.
    weight : NDArray[float64]
        The energy is -weight · L.
    residue : NDArray[int32]
        Row of the residue.
    """

    atoms: NDArray[np.int32]
    row: NDArray[np.int32]
    weight: NDArray[np.float64]
    residue: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.weight)

    def weighted(self, weight: NDArray[np.float64] | float) -> RamachandranRestraints:
        """Return the restraints with other weights, one for all or one per restraint."""
        return replace(self, weight=np.ascontiguousarray(np.broadcast_to(weight, len(self)), dtype=np.float64))

    def energy_and_gradient(self, positions: NDArray[np.float64], gradient: NDArray[np.float64]) -> float:
        """Add the gradient (shape (n, 3)) into `gradient` and return the energy."""
        return float(energy_and_gradient(positions, self.atoms, self.row, self.weight, potentials(), gradient))


def ramachandran_restraints(
    structure: Structure, topology: Topology, *, weight: float = 1.0, contours: bool = False
) -> RamachandranRestraints:
    """Return Ramachandran restraints for all standard amino acids bound on both sides.

    Types are those of Rama-Z; a proline is cis where the peptide before it is nearer to cis.

    Parameters
    ----------
    structure : Structure
        The model; secondary structure and whether a proline is cis are read from its coordinates.
    topology : Topology
        From `refinement.restraints.topology.build_topology`.
    weight : float
        Energy per unit of L.
    contours : bool
        Take the contours alone for the potential.
    """
    torsions = topology.torsions.of_kind(TorsionKind.PHI_PSI)
    atoms = _backbone_quintets(torsions.atoms[torsions.label == "phi"], torsions.atoms[torsions.label == "psi"])
    conformers = topology.conformer[atoms]
    highest = conformers.max(axis=1, initial=0)
    one = ((conformers == 0) | (conformers == highest[:, None])).all(axis=1)
    standard = np.isin(structure.residues.compound[structure.residue[atoms[:, 2]]], STANDARD_AMINO_ACIDS)
    atoms = np.ascontiguousarray(atoms[one & standard])
    return RamachandranRestraints(
        atoms=atoms,
        row=_rows(structure, topology, atoms, contours=contours),
        weight=np.full(len(atoms), float(weight)),
        residue=structure.residue[atoms[:, 2]],
    )


def _backbone_quintets(phi: NDArray[np.int32], psi: NDArray[np.int32]) -> NDArray[np.int32]:
    """Join φ and ψ torsions that share N, CA and C."""
    if not len(phi) or not len(psi):
        return np.empty((0, 5), dtype=np.int32)
    triples = np.concatenate([phi[:, 1:], psi[:, :3]])
    _, group = np.unique(triples, axis=0, return_inverse=True)
    group = group.ravel()
    first_phi = np.full(int(group.max()) + 1, -1, dtype=np.int64)
    first_phi[group[: len(phi)][::-1]] = np.arange(len(phi))[::-1]
    partner = first_phi[group[len(phi) :]]
    both = partner >= 0
    return np.ascontiguousarray(np.column_stack([phi[partner[both]], psi[both, 3]]))


def _rows(structure: Structure, topology: Topology, atoms: NDArray[np.int32], *, contours: bool) -> NDArray[np.int32]:
    """Return the row of the potential for each restraint."""
    residue = structure.residue[atoms[:, 2]]
    compound = structure.residues.compound[residue]
    following = structure.residues.compound[structure.residue[atoms[:, 4]]]
    omega = topology.torsions.of_kind(TorsionKind.OMEGA).atoms
    bent = omega[np.abs(dihedrals(structure.positions, *omega.T)) < CIS_LIKE]
    cis = np.isin(atoms[:, 1], bent[:, 2])
    state = None if contours else assign_from_ca(structure)[residue]
    return rows_of(state, compound, before_proline=following == "PRO", cis=cis)


@njit(cache=True, nogil=True, error_model="numpy")
def energy_and_gradient(
    positions: NDArray[np.float64],
    atoms: NDArray[np.int32],
    row: NDArray[np.int32],
    weight: NDArray[np.float64],
    coefficients: NDArray[np.float64],
    gradient: NDArray[np.float64],
) -> float:
    """Return -Σ w L(φ, ψ) and add its gradient into `gradient`."""
    size = coefficients.shape[1]
    energy = 0.0
    for k in range(len(atoms)):
        a, b, c, d, e = atoms[k, 0], atoms[k, 1], atoms[k, 2], atoms[k, 3], atoms[k, 4]
        phi, ax, ay, az, sx, sy, sz, dx, dy, dz = dihedral(positions, a, b, c, d)
        psi, bx, by, bz, tx, ty, tz, ex, ey, ez = dihedral(positions, b, c, d, e)
        if math.isnan(phi) or math.isnan(psi):
            continue
        u, v = (phi - FIRST_CENTRE) / BIN, (psi - FIRST_CENTRE) / BIN
        first, second = math.floor(u), math.floor(v)
        u -= first
        v -= second
        wu = _spline_weights(u)
        wv = _spline_weights(v)
        du = _spline_slopes(u)
        dv = _spline_slopes(v)
        value, along_phi, along_psi = 0.0, 0.0, 0.0
        for i in range(4):
            line = coefficients[row[k], (first + i - 1) % size]
            height, slope = 0.0, 0.0
            for j in range(4):
                node = line[(second + j - 1) % size]
                height += wv[j] * node
                slope += dv[j] * node
            value += wu[i] * height
            along_phi += du[i] * height
            along_psi += wu[i] * slope
        energy -= weight[k] * value
        f, g = -weight[k] * along_phi / BIN, -weight[k] * along_psi / BIN
        add(gradient, a, f * ax, f * ay, f * az)
        add(gradient, b, g * bx - f * (ax + sx), g * by - f * (ay + sy), g * bz - f * (az + sz))
        add(gradient, c, f * (sx - dx) - g * (bx + tx), f * (sy - dy) - g * (by + ty), f * (sz - dz) - g * (bz + tz))
        add(gradient, d, f * dx + g * (tx - ex), f * dy + g * (ty - ey), f * dz + g * (tz - ez))
        add(gradient, e, g * ex, g * ey, g * ez)
    return energy


@njit(cache=True, nogil=True, error_model="numpy")
def _spline_weights(u: float) -> tuple[float, float, float, float]:
    """Return the cubic B-spline weights of the nodes at -1, 0, 1, 2 for 0 <= u < 1."""
    r = 1.0 - u
    return r * r * r / 6.0, 2.0 / 3.0 - u * u * (2.0 - u) / 2.0, 2.0 / 3.0 - r * r * (2.0 - r) / 2.0, u * u * u / 6.0


@njit(cache=True, nogil=True, error_model="numpy")
def _spline_slopes(u: float) -> tuple[float, float, float, float]:
    """Return the derivatives of the weights."""
    r = 1.0 - u
    return -r * r / 2.0, u * (1.5 * u - 2.0), r * (2.0 - 1.5 * r), u * u / 2.0
