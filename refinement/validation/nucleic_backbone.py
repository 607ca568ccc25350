"""Bond lengths and angles of the backbone of nucleotides, base excluded, that are far from their targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refinement.geometry import angles as measured_angles
from refinement.geometry import distances
from refinement.nucleotides import is_nucleotide
from refinement.restraints.nucleic_targets import nucleic_targets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.restraints.arrays import Angles, Bonds
    from refinement.restraints.topology import Topology
    from refinement.structure import Structure

OUTLIER = 4.0
"""Standard deviations from which a bond or angle is an outlier."""
BACKBONE = ("P", "OP1", "OP2", "O5'", "C5'", "C4'", "O4'", "C1'", "C3'", "O3'", "C2'", "O2'", "N1", "N9")
"""Atoms that count; N1 and N9 for the glycosidic bond."""


@dataclass(frozen=True, slots=True, eq=False)
class NucleicBackbone:
    """Result.

    Attributes
    ----------
    bonds, angles : Bonds, Angles
        Restraints whose atoms are all in `BACKBONE`.
    bond_z, angle_z : NDArray[float64]
        (measured - target) / standard deviation of each.
    structure : Structure
        The model.
    """

    bonds: Bonds
    angles: Angles
    bond_z: NDArray[np.float64]
    angle_z: NDArray[np.float64]
    structure: Structure

    @property
    def summary(self) -> dict[str, float | None]:
        """Nothing: the counts are details."""
        return {}

    @property
    def reasons(self) -> dict[str, str]:
        """Nothing is missing."""
        return {}

    @property
    def columns(self) -> dict[str, NDArray[np.float32]]:
        """Return the number of outliers of each nucleotide, NaN for other residues; one between two counts for both."""
        structure = self.structure
        counts = np.zeros(len(structure.residues))
        for restraints, z in ((self.bonds, self.bond_z), (self.angles, self.angle_z)):
            owners = np.sort(structure.residue[restraints.atoms[np.abs(z) >= OUTLIER]], axis=1)
            np.add.at(counts, owners[:, 0], 1)
            np.add.at(counts, owners[owners[:, -1] != owners[:, 0], -1], 1)
        counts[~is_nucleotide(structure)] = np.nan
        return {"na_backbone_outliers": counts.astype(np.float32)}

    @property
    def details(self) -> dict[str, object]:
        """Return counts and the outliers, worst first; nothing where there are no nucleotides."""
        if not len(self.bonds):
            return {}
        found: dict[str, object] = {}
        for key, restraints, z in (("bonds", self.bonds, self.bond_z), ("angles", self.angles, self.angle_z)):
            rows = np.flatnonzero(np.abs(z) >= OUTLIER)
            rows = rows[np.argsort(-np.abs(z[rows]), kind="stable")]
            outliers = [{"atoms": self._labels(restraints.atoms[row]), "z": round(float(z[row]), 2)} for row in rows.tolist()]
            found[key] = {"count": len(z), "outliers": len(rows), "list": outliers}
        return {"nucleic_backbone": found}

    def _labels(self, atoms: NDArray[np.int32]) -> list[str]:
        structure = self.structure
        return [f"{structure.residues.label(int(structure.residue[atom]))} {structure.names[atom]}" for atom in atoms]


def nucleic_backbone(structure: Structure, topology: Topology) -> NucleicBackbone:
    """Compare the backbone of the nucleotides of a model with its targets, those of RNA by sugar pucker."""
    counted = is_nucleotide(structure)[structure.residue] & np.isin(structure.names, BACKBONE)
    bonds = topology.bonds.select(np.all(counted[topology.bonds.atoms], axis=1))
    angles = topology.angles.select(np.all(counted[topology.angles.atoms], axis=1))
    bonds, angles = nucleic_targets(structure, bonds, angles)
    bond_z = (distances(structure.positions, *bonds.atoms.T) - bonds.target) / bonds.sigma
    angle_z = (measured_angles(structure.positions, *angles.atoms.T) - angles.target) / angles.sigma
    return NucleicBackbone(bonds, angles, bond_z, angle_z, structure)
