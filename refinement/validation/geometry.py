"""Deviations of bonds, angles, chiral centres and planes from their targets.

Bonds and angles are compared with the targets of `refinement.restraints.standard_targets`, over covalent restraints
between non-hydrogen atoms. Links between residues and metals of larger compounds (haem) are included, the coordination
of free ions is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refinement.geometry import angles as measured_angles
from refinement.geometry import chiral_volumes, distances
from refinement.restraints.arrays import BondKind
from refinement.restraints.coordination import is_covalent_coordination
from refinement.restraints.standard_targets import standard_targets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.restraints.arrays import Angles, Bonds, Chiralities, Planes
    from refinement.restraints.topology import Topology
    from refinement.structure import Structure

OUTLIER = 4.0
"""Standard deviations beyond which a restraint is an outlier."""
CHIRALITY_SIGMA = 0.2
"""Å³; spread of chiral volumes."""
PLANE_SIGMA = 0.02
"""Å; spread of atoms about a plane."""
PROLINE_PLANE_SIGMA = 0.05
"""Å; the same for the plane around N of proline."""


@dataclass(frozen=True, slots=True)
class Deviations:
    """Deviations of one kind of restraint.

    Attributes
    ----------
    count : int
        Restraints.
    rmsd : float or None
        Root-mean-square deviation, Å or degrees; None without restraints.
    rmsz : float or None
        The same in standard deviations.
    largest : float or None
        Largest absolute deviation.
    outliers : int
        Restraints beyond `OUTLIER` standard deviations.
    """

    count: int
    rmsd: float | None
    rmsz: float | None
    largest: float | None
    outliers: int

    @classmethod
    def of(cls, deviation: NDArray[np.float64], sigma: NDArray[np.float64]) -> Deviations:
        """Sum up deviations and their standard deviations, both of shape (n,)."""
        if not len(deviation):
            return cls(0, None, None, None, 0)
        z = deviation / sigma
        rmsd, rmsz = (float(np.sqrt(np.mean(values**2))) for values in (deviation, z))
        return cls(len(deviation), rmsd, rmsz, float(np.abs(deviation).max()), int((np.abs(z) > OUTLIER).sum()))


@dataclass(frozen=True, slots=True, eq=False)
class CovalentGeometry:
    """Result.

    Attributes
    ----------
    bonds, angles : Deviations
        Between non-hydrogen atoms.
    bonds_with_hydrogens, angles_with_hydrogens : Deviations
        Over all atoms; the same as above where the model has no hydrogens.
    chirality_outliers, planarity_outliers : int or None
        Chiral centres and planes (any atom) beyond `OUTLIER`; None where there are none.
    residue_bond_z, residue_angle_z : NDArray[float32], shape (n_residues,)
        Largest absolute deviation of each residue in standard deviations, NaN without restraints.
    """

    bonds: Deviations
    angles: Deviations
    bonds_with_hydrogens: Deviations
    angles_with_hydrogens: Deviations
    chirality_outliers: int | None
    planarity_outliers: int | None
    residue_bond_z: NDArray[np.float32]
    residue_angle_z: NDArray[np.float32]

    @property
    def summary(self) -> dict[str, float | None]:
        """Return the numbers under their metric keys."""
        return {
            "bonds_rmsd": self.bonds.rmsd,
            "bonds_rmsz": self.bonds.rmsz,
            "angles_rmsd": self.angles.rmsd,
            "angles_rmsz": self.angles.rmsz,
            "chirality_outliers": None if self.chirality_outliers is None else float(self.chirality_outliers),
            "planarity_outliers": None if self.planarity_outliers is None else float(self.planarity_outliers),
        }

    @property
    def reasons(self) -> dict[str, str]:
        """Return why numbers are missing."""
        return {key: "not_applicable" for key, value in self.summary.items() if value is None}

    @property
    def details(self) -> dict[str, dict[str, int]]:
        """Return how many restraints were compared."""
        return {"restraints": {"bonds": self.bonds.count, "angles": self.angles.count}}

    @property
    def columns(self) -> dict[str, NDArray[np.float32]]:
        """Return the per-residue columns."""
        return {"bond_z_max": self.residue_bond_z, "angle_z_max": self.residue_angle_z}


def covalent_geometry(structure: Structure, topology: Topology) -> CovalentGeometry:
    """Compare the covalent geometry of a model with its targets."""
    covalent = _covalent_bonds(structure, topology)
    bonds, angles = standard_targets(structure, covalent, topology.angles)
    bond_deviation = distances(structure.positions, *bonds.atoms.T) - bonds.target
    angle_deviation = measured_angles(structure.positions, *angles.atoms.T) - angles.target
    heavy = ~structure.is_hydrogen
    heavy_bonds, heavy_angles = np.all(heavy[bonds.atoms], axis=1), np.all(heavy[angles.atoms], axis=1)
    return CovalentGeometry(
        bonds=Deviations.of(bond_deviation[heavy_bonds], bonds.sigma[heavy_bonds]),
        angles=Deviations.of(angle_deviation[heavy_angles], angles.sigma[heavy_angles]),
        bonds_with_hydrogens=Deviations.of(bond_deviation, bonds.sigma),
        angles_with_hydrogens=Deviations.of(angle_deviation, angles.sigma),
        chirality_outliers=_count(chirality_outliers(structure, topology.chiralities), len(topology.chiralities)),
        planarity_outliers=_count(planarity_outliers(structure, topology.planes), _flat_groups(structure, topology.planes)),
        residue_bond_z=_worst(structure, bonds, bond_deviation, heavy_bonds),
        residue_angle_z=_worst(structure, angles, angle_deviation, heavy_angles),
    )


def bond_deviations(structure: Structure, topology: Topology) -> NDArray[np.float64]:
    """Return how far the bonds between other atoms than hydrogen are from their targets, in Å."""
    covalent = _covalent_bonds(structure, topology)
    bonds, _ = standard_targets(structure, covalent, topology.angles)
    heavy = np.all(~structure.is_hydrogen[bonds.atoms], axis=1)
    deviation: NDArray[np.float64] = (distances(structure.positions, *bonds.atoms.T) - bonds.target)[heavy]
    return deviation


def _covalent_bonds(structure: Structure, topology: Topology) -> Bonds:
    counted = ~np.isin(topology.bonds.kind, (BondKind.METAL, BondKind.AD_HOC))
    return topology.bonds.select(counted | is_covalent_coordination(structure, topology.bonds))


def _worst(
    structure: Structure, restraints: Bonds | Angles, deviation: NDArray[np.float64], chosen: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return the largest |z| of the chosen restraints per residue."""
    worst = np.full(len(structure.residues), np.nan, dtype=np.float32)
    z = np.abs(deviation / restraints.sigma)[chosen].astype(np.float32)
    for column in restraints.atoms[chosen].T:
        np.fmax.at(worst, structure.residue[column], z)
    return worst


def _count(outliers: NDArray[np.bool_], evaluated: int) -> int | None:
    return int(outliers.sum()) if evaluated else None


def chirality_outliers(structure: Structure, chiralities: Chiralities) -> NDArray[np.bool_]:
    """Return which chiral centres have a volume too far from the right one."""
    if not len(chiralities):
        return np.zeros(0, dtype=np.bool_)
    volume = chiral_volumes(structure.positions, *chiralities.atoms.T)
    volume = np.where(chiralities.both, np.abs(volume), volume)
    outlier: NDArray[np.bool_] = np.abs(volume - chiralities.target) > OUTLIER * CHIRALITY_SIGMA
    return outlier


def planarity_outliers(structure: Structure, planes: Planes) -> NDArray[np.bool_]:
    """Return which planes have an atom, hydrogens aside, too far from the least-squares plane.

    Planes of one size are done together.
    """
    atoms, owner, sizes = _heavy_planes(structure, planes)
    start = np.concatenate([[0], np.cumsum(sizes)])
    at_proline = (structure.names[atoms] == "CD") & (structure.residues.compound[structure.residue[atoms]] == "PRO")
    sigma = np.full(len(planes), PLANE_SIGMA)
    sigma[owner[at_proline]] = PROLINE_PLANE_SIGMA
    outlier = np.zeros(len(planes), dtype=np.bool_)
    for size in np.unique(sizes[sizes > 3]).tolist():
        chosen = np.flatnonzero(sizes == size)
        points = structure.positions[atoms[start[chosen][:, None] + np.arange(size)]]
        points = points - points.mean(axis=1, keepdims=True)
        _, axes = np.linalg.eigh(np.einsum("pai,paj->pij", points, points))
        distance = np.abs(np.einsum("pai,pi->pa", points, axes[:, :, 0]))
        outlier[chosen] = distance.max(axis=1) > OUTLIER * sigma[chosen]
    return outlier


def bent_residues(structure: Structure, topology: Topology) -> NDArray[np.bool_]:
    """Return which residues have a chiral centre or a plane that is out of shape, shape (n_residues,)."""
    planes, centres = topology.planes, topology.chiralities.atoms[chirality_outliers(structure, topology.chiralities), 0]
    flat = planes.atoms[planes.first[:-1][planarity_outliers(structure, planes)]]
    bent = np.zeros(len(structure.residues), dtype=np.bool_)
    bent[structure.residue[np.concatenate([centres, flat])]] = True
    return bent


def _flat_groups(structure: Structure, planes: Planes) -> int:
    return int((_heavy_planes(structure, planes)[2] > 3).sum())


def _heavy_planes(structure: Structure, planes: Planes) -> tuple[NDArray[np.int32], NDArray[np.intp], NDArray[np.intp]]:
    """Return the atoms of planes other than hydrogens, the plane of each, and how many each plane has."""
    owner = np.repeat(np.arange(len(planes)), np.diff(planes.first))
    heavy = ~structure.is_hydrogen[planes.atoms]
    return planes.atoms[heavy], owner[heavy], np.bincount(owner[heavy], minlength=len(planes))
