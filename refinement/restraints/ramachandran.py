"""Ramachandran restraints: the logarithm of the Top8000 density as a smooth potential.

The potential of a class is L = ln(density) where the density is above the outlier limit. Below it L
falls on linearly with the distance to that region, so that an outlier far away still knows where to
go. L is smoothed by a Gaussian of one bin and interpolated by a periodic bicubic B-spline, which has
continuous second derivatives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from scipy import ndimage

from refinement import tables
from refinement.conformers import STANDARD_AMINO_ACIDS
from refinement.geometry import dihedrals
from refinement.restraints.arrays import TorsionKind
from refinement.restraints.kernels import add, dihedral
from refinement.validation.ramachandran import ALLOWED, CIS_LIKE, RamachandranClass

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.restraints.topology import Topology
    from refinement.structure import Structure

BIN = 2.0
"""Degrees."""
FIRST_CENTRE = -179.0
DECAY = 12.0
"""Degrees outside the allowed region over which L falls by 1."""
SMOOTHING = 1.0
"""Standard deviation of the Gaussian, in bins."""


@dataclass(frozen=True, slots=True, eq=False)
class RamachandranRestraints:
    """One restraint per residue (and conformer) with φ and ψ.

    Attributes
    ----------
    atoms : NDArray[int32], shape (m, 5)
        C of the residue before, N, CA, C, N of the residue after.
    category : NDArray[int32]
        `refinement.validation.ramachandran.RamachandranClass`.
    weight : NDArray[float64]
        The energy is -weight · L.
    residue : NDArray[int32]
        Row of the residue.
    """

    atoms: NDArray[np.int32]
    category: NDArray[np.int32]
    weight: NDArray[np.float64]
    residue: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.weight)

    def weighted(self, weight: NDArray[np.float64] | float) -> RamachandranRestraints:
        """Return the restraints with other weights, one for all or one per restraint."""
        return replace(self, weight=np.ascontiguousarray(np.broadcast_to(weight, len(self)), dtype=np.float64))

    def energy_and_gradient(self, positions: NDArray[np.float64], gradient: NDArray[np.float64]) -> float:
        """Add the gradient (shape (n, 3)) into `gradient` and return the energy."""
        return float(energy_and_gradient(positions, self.atoms, self.category, self.weight, potentials(), gradient))


@cache
def potentials() -> NDArray[np.float64]:
    """Return the B-spline coefficients of L, shape (6, 180, 180), axes class, φ, ψ."""
    coefficients = [
        ndimage.spline_filter(log_density(grid, float(limit)), order=3, mode="grid-wrap")
        for grid, limit in zip(tables.ramachandran(), ALLOWED, strict=True)
    ]
    return np.ascontiguousarray(coefficients)


def log_density(density: NDArray[np.float32], limit: float) -> NDArray[np.float64]:
    """Return L on the grid of a class (shape (180, 180)).

    Parameters
    ----------
    density : NDArray[float32], shape (180, 180)
        Top8000 contour values.
    limit : float
        Below it a residue is an outlier.
    """
    margin = [(size // 2, size // 2) for size in density.shape]
    outside = np.pad(density < limit, margin, mode="wrap")
    reach = ndimage.distance_transform_edt(outside)[tuple(slice(a, -a) for a, _ in margin)] * BIN
    heights = np.log(np.maximum(density.astype(np.float64), limit)) - reach / DECAY
    smooth: NDArray[np.float64] = ndimage.gaussian_filter(heights, SMOOTHING, mode="wrap")
    return smooth


def ramachandran_restraints(structure: Structure, topology: Topology, *, weight: float = 1.0) -> RamachandranRestraints:
    """Return Ramachandran restraints for all standard amino acids bound on both sides.

    Classes follow the precedence of the validation: Gly, Pro (cis where the peptide before it is
    nearer to cis), pre-Pro, Ile and Val, all others.

    Parameters
    ----------
    structure : Structure
        The model; whether a proline is cis is read from its coordinates.
    topology : Topology
        From `refinement.restraints.topology.build_topology`.
    weight : float
        Energy per unit of L.
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
        category=_categories(structure, topology, atoms),
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


def _categories(structure: Structure, topology: Topology, atoms: NDArray[np.int32]) -> NDArray[np.int32]:
    compound = structure.residues.compound[structure.residue[atoms[:, 2]]]
    following = structure.residues.compound[structure.residue[atoms[:, 4]]]
    omega = topology.torsions.of_kind(TorsionKind.OMEGA).atoms
    bent = omega[np.abs(dihedrals(structure.positions, *omega.T)) < CIS_LIKE]
    cis = np.isin(atoms[:, 1], bent[:, 2])
    proline = compound == "PRO"
    conditions = [compound == "GLY", proline & cis, proline, following == "PRO", (compound == "ILE") | (compound == "VAL")]
    choices = [
        RamachandranClass.GLYCINE,
        RamachandranClass.CIS_PROLINE,
        RamachandranClass.TRANS_PROLINE,
        RamachandranClass.PRE_PROLINE,
        RamachandranClass.ISOLEUCINE_VALINE,
    ]
    return np.select(conditions, choices, RamachandranClass.GENERAL).astype(np.int32)


@njit(cache=True, nogil=True, error_model="numpy")
def energy_and_gradient(
    positions: NDArray[np.float64],
    atoms: NDArray[np.int32],
    category: NDArray[np.int32],
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
        row, column = math.floor(u), math.floor(v)
        u -= row
        v -= column
        wu = _spline_weights(u)
        wv = _spline_weights(v)
        du = _spline_slopes(u)
        dv = _spline_slopes(v)
        value, along_phi, along_psi = 0.0, 0.0, 0.0
        for i in range(4):
            line = coefficients[category[k], (row + i - 1) % size]
            height, slope = 0.0, 0.0
            for j in range(4):
                node = line[(column + j - 1) % size]
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
