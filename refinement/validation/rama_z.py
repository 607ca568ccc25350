"""Rama-Z: how normal the whole Ramachandran distribution is (Hooft 1997, Sobolev 2020).

Every residue is compared with the distribution of its type in its secondary structure; the score of a group is
the mean of the residues' z, calibrated on good structures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refinement import tables
from refinement.conformers import NamedAtoms, backbone_torsions
from refinement.validation.ca_assignment import HELIX, LOOP, SHEET, assign_from_ca
from refinement.validation.interpolation import periodic_multilinear

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.conformers import BackboneTorsions
    from refinement.structure import Structure

CIS = 30.0
"""Degrees; a proline beside a peptide bond, before or after it, with |ω| below this is looked up as cis."""
CELL = 4.0
"""Degrees."""

GROUPS = {"rama_z": ("W", None), "rama_z_helix": ("H", HELIX), "rama_z_sheet": ("S", SHEET), "rama_z_loop": ("L", LOOP)}
"""Metric key -> its calibration and its state."""


@dataclass(frozen=True, slots=True, eq=False)
class RamaZ:
    """Result; one row per evaluated residue, alternates with their own φ or ψ separately.

    Attributes
    ----------
    residue : NDArray[int32]
        Row of the residue.
    z : NDArray[float64]
        Z-score of its φ and ψ, uncalibrated.
    state : NDArray[int8]
        `HELIX`, `SHEET` or `LOOP`.
    summary : dict[str, float | None]
        Scores under their metric keys.
    deviations : dict[str, float | None]
        Jackknife standard deviations of the scores; None for fewer than two residues.
    counts : dict[str, int]
        Residues behind each score.
    n_residues : int
        Residues of the model.
    """

    residue: NDArray[np.int32]
    z: NDArray[np.float64]
    state: NDArray[np.int8]
    summary: dict[str, float | None]
    deviations: dict[str, float | None]
    counts: dict[str, int]
    n_residues: int

    @property
    def reasons(self) -> dict[str, str]:
        """Return why numbers are missing."""
        return {key: "not_applicable" for key, value in self.summary.items() if value is None}

    def repeated(self, times: NDArray[np.integer]) -> tuple[float | None, int]:
        """Return rama_z of a model that has each residue so many times, shape (n_residues,), and the residues behind it."""
        z = np.repeat(self.z, times[self.residue])
        return _score(z, *tables.rama_z().calibration[GROUPS["rama_z"][0]])[0], len(z)

    @property
    def columns(self) -> dict[str, NDArray[np.float32]]:
        """Return the per-residue column: z of the first conformer."""
        column = np.full(self.n_residues, np.nan, dtype=np.float32)
        column[self.residue[::-1]] = self.z[::-1]
        return {"rama_z_residue": column}

    @property
    def details(self) -> dict[str, dict[str, dict[str, float | None]]]:
        """Return uncertainty and number of residues of each score."""
        return {"rama_z": {key: {"sd": self.deviations[key], "residues": self.counts[key]} for key in GROUPS}}


def rama_z(structure: Structure) -> RamaZ:
    """Compute Rama-Z of a model."""
    states = assign_from_ca(structure)
    rows, phi, psi, kinds = _evaluated(structure)
    state = states[rows]
    z = _z(np.where(kinds == tables.rama_z().residue_types.index("cisPRO"), LOOP, state), kinds, np.stack([phi, psi], axis=1))
    summary: dict[str, float | None] = {}
    deviations: dict[str, float | None] = {}
    counts: dict[str, int] = {}
    for key, (group, wanted) in GROUPS.items():
        part = z if wanted is None else z[state == wanted]
        counts[key] = len(part)
        summary[key], deviations[key] = _score(part, *tables.rama_z().calibration[group])
    return RamaZ(rows, z, state, summary, deviations, counts, len(structure.residues))


def _score(z: NDArray[np.float64], mean: float, sd: float) -> tuple[float | None, float | None]:
    """Return the calibrated score of a group and its jackknife standard deviation."""
    if not len(z):
        return None, None
    score = float((z.mean() - mean) / sd)
    if len(z) == 1:
        return score, None
    left_out = (z.sum() - z) / (len(z) - 1)
    return score, float(np.std(left_out) / sd * np.sqrt(len(z) - 1))


def _evaluated(
    structure: Structure,
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return residue, φ, ψ and type of everything that has its own φ or ψ."""
    found = []
    atoms = []
    for table in NamedAtoms(structure, ("N", "CA", "C")).conformers():
        torsions = backbone_torsions(structure, table)
        rows = np.flatnonzero(~np.isnan(torsions.phi))
        before, after = torsions.bonds.previous[rows], torsions.bonds.following[rows]
        atoms.append(np.stack([table[before, 2], *table[rows].T, table[after, 0]], axis=1))
        kinds = _kinds(structure, torsions, rows)
        found.append((rows.astype(np.int32), torsions.phi[rows], torsions.psi[rows], kinds))
    residue, phi, psi, kinds = (np.concatenate(column) for column in zip(*found, strict=True))
    _, first = np.unique(np.concatenate(atoms), axis=0, return_index=True)
    kept = np.sort(first)
    kept = kept[np.argsort(residue[kept], kind="stable")]
    return residue[kept], phi[kept], psi[kept], kinds[kept]


def _kinds(structure: Structure, torsions: BackboneTorsions, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the index of each residue's type in the tables."""
    names = tables.rama_z().residue_types
    compound = structure.residues.compound
    after = torsions.bonds.following[rows]
    own = compound[rows]
    cis = (np.abs(torsions.omega[rows]) < CIS) | (np.abs(torsions.omega[after]) < CIS)
    before_proline = (compound[after] == "PRO") & (own != "GLY")
    label = np.select(
        [(own == "PRO") & cis, own == "PRO", before_proline, own == "MSE"], ["cisPRO", "transPRO", "prePRO", "MET"], own
    )
    order = np.argsort(names)
    return order[np.searchsorted(np.array(names)[order], label)]


def _z(state: NDArray[np.int8], kinds: NDArray[np.int64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the z-scores of points (φ, ψ), shape (n, 2)."""
    z = np.empty(len(kinds))
    table = tables.rama_z().counts
    for which in np.unique(np.stack([state, kinds], axis=1), axis=0):
        chosen = (state == which[0]) & (kinds == which[1])
        counts = table[which[0], which[1]].astype(np.float64)
        total = counts.sum()
        mean = (counts * counts).sum() / total
        sd = np.sqrt((counts * (counts - mean) ** 2).sum() / (total - 1.0))
        height = periodic_multilinear(counts, points[chosen], lower=-180.0, width=np.full(2, CELL))
        z[chosen] = (height - mean) / sd
    return z
