"""Ligands and ions, one by one: fit, B factors against the surroundings, clashes, geometry (metrics §17)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.cells import neighbours_around
from refinement.geometry import angles as measured_angles
from refinement.geometry import distances
from refinement.restraints.arrays import BondKind
from refinement.structure import ResidueKind
from refinement.validation.expected_q import expected_class_q, expected_q

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from refinement.restraints.topology import Topology
    from refinement.structure import Structure

NEIGHBOUR_DISTANCE = 3.0
"""Å; polymer residues with an atom this near are the neighbours of a ligand."""
LOW_CC = 0.5
HIGH_B = 4.0
"""Times the mean B of the neighbours."""
MANY_CLASHES = 0.5
"""Clashes per atom."""
Q_MARGIN = 0.2
"""Below the expected Q-score."""
OUTLIER = 4.0
"""Standard deviations."""

MANY_NEGATIVE = 0.5
"""Share of atoms in negative difference density that is suspicious."""
FLAGS = {
    "low_cc": "The correlation with the map is below 0.5.",
    "low_q": "The Q-score is more than 0.2 below what is expected at this resolution.",
    "high_b": "The mean B factor is more than four times that of the neighbours.",
    "zero_occupancy": "All occupancies are 0.",
    "many_clashes": "There are more clashes than half the number of its atoms.",
    "negative_difference": "Half of the atoms or more lie below -3 σ of the difference map.",
}
"""Sentence by code."""


@dataclass(frozen=True, slots=True, eq=False)
class Ligands:
    """Result.

    Attributes
    ----------
    details : dict[str, list[dict[str, Any]]]
        ``ligands``: one row for each ligand or ion (residues that are neither polymer nor water), in file order:
        ``chain``, ``number``, ``insertion``, ``compound``, ``kind`` (ligand, ion), ``atoms`` (without hydrogens), ``cc``,
        ``q_score`` (σ 0.4), ``q_score_06``, ``q_expected`` (of q_score_06), ``b_mean`` (Å²), ``b_neighbours``,
        ``neighbours`` (residues), ``occupancy_min``, ``occupancy_mean``, ``negative_difference``
        (share of atoms), ``clashes``, ``worst_overlap`` (Å),
        ``bonds_rmsz``, ``angles_rmsz``, ``geometry_outliers`` and ``flags`` (codes of `FLAGS`). Missing numbers are None.
    """

    details: dict[str, list[dict[str, Any]]]
    summary: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    columns: dict[str, NDArray[np.float32]] = field(default_factory=dict)


def ligands(
    structure: Structure, topology: Topology, columns: Mapping[str, NDArray[Any]], *, resolution: float | None = None
) -> Ligands:
    """List the ligands and ions of a model with what is known of each.

    Parameters
    ----------
    structure : Structure
    topology : Topology
        Its covalent restraints.
    columns : mapping
        Per-residue columns of other metrics, as far as they are there: ``cc``, ``q_score``, ``q_score_06``,
        ``n_clashes``, ``worst_overlap``, ``negative_difference``.
    resolution : float, optional
        Å; for the expected Q-score.
    """
    residues = structure.residues
    rows = np.flatnonzero(~residues.polymer & (residues.kind != ResidueKind.WATER))
    if not len(rows):
        return Ligands({"ligands": []})
    heavy = ~structure.is_hydrogen
    count = _per_residue(structure, heavy, np.ones(len(structure)))
    rows = rows[count[rows] > 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        b_mean = _per_residue(structure, heavy, structure.b_iso) / count
        occupancy = _per_residue(structure, heavy, structure.occupancy) / count
    lowest = np.full(len(residues), np.inf)
    np.minimum.at(lowest, structure.residue[heavy], structure.occupancy[heavy])
    around = {int(row): _neighbours(structure, own) for row, own in _surroundings(structure, rows).items()}
    bonds, angles, outliers = _geometry(structure, topology)
    listed = []
    for row in rows.tolist():
        neighbours, b_neighbours = around[row]
        ion = residues.kind[row] == ResidueKind.ION
        entry: dict[str, Any] = {
            "chain": str(residues.chain[row]),
            "number": int(residues.number[row]),
            "insertion": str(residues.insertion[row]),
            "compound": str(residues.compound[row]),
            "kind": "ion" if ion else "ligand",
            "atoms": int(count[row]),
            **{key: _number(columns.get(key), row) for key in ("cc", "q_score", "q_score_06")},
            "q_expected": _expected(resolution, ion=bool(ion)),
            "b_mean": round(float(b_mean[row]), 3),
            "b_neighbours": b_neighbours,
            "neighbours": neighbours,
            "occupancy_min": round(float(lowest[row]), 3),
            "occupancy_mean": round(float(occupancy[row]), 3),
            "negative_difference": _number(columns.get("negative_difference"), row),
            "clashes": _number(columns.get("n_clashes"), row),
            "worst_overlap": _number(columns.get("worst_overlap"), row),
            "bonds_rmsz": _number(bonds, row),
            "angles_rmsz": _number(angles, row),
            "geometry_outliers": int(outliers[row]),
        }
        listed.append({**entry, "flags": _flags(entry)})
    return Ligands({"ligands": listed})


def _expected(resolution: float | None, *, ion: bool) -> float | None:
    """Return the expected Q-score (σ 0.6): the line for ions, for ligands the curve of whole models."""
    if resolution is None:
        return None
    if ion:
        return expected_class_q(resolution, "ion")
    band = expected_q(resolution, 0.6)
    return None if band is None else band.expected


def _flags(entry: dict[str, Any]) -> list[str]:
    cc, q, expected, b_near, clashes = (entry[key] for key in ("cc", "q_score_06", "q_expected", "b_neighbours", "clashes"))
    tests = {
        "low_cc": cc is not None and cc < LOW_CC,
        "low_q": q is not None and expected is not None and q < expected - Q_MARGIN,
        "high_b": b_near is not None and entry["b_mean"] > HIGH_B * b_near,
        "zero_occupancy": entry["occupancy_mean"] == 0.0,
        "many_clashes": clashes is not None and clashes > MANY_CLASHES * entry["atoms"],
        "negative_difference": (entry["negative_difference"] or 0.0) >= MANY_NEGATIVE,
    }
    return [code for code, failed in tests.items() if failed]


def _surroundings(structure: Structure, rows: NDArray[np.intp]) -> dict[int, NDArray[np.int32]]:
    """Return the polymer residues near each of some residues, hydrogens aside."""
    residues = structure.residues
    heavy = ~structure.is_hydrogen
    own = np.flatnonzero(heavy & np.isin(structure.residue, rows))
    polymer = np.flatnonzero(heavy & residues.polymer[structure.residue])
    offsets, found = neighbours_around(structure.positions[own], structure.positions[polymer], NEIGHBOUR_DISTANCE)
    owner = structure.residue[np.repeat(own, np.diff(offsets))].astype(np.int64)
    couples = np.unique(owner * len(residues) + structure.residue[polymer[found]])
    near: dict[int, NDArray[np.int32]] = {}
    for row in rows.tolist():
        low, high = np.searchsorted(couples, (row * len(residues), (row + 1) * len(residues)))
        near[row] = (couples[low:high] % len(residues)).astype(np.int32)
    return near


def _neighbours(structure: Structure, rows: NDArray[np.int32]) -> tuple[int, float | None]:
    """Return the number of residues `rows` and the mean B (Å²) of their atoms that aren't hydrogen."""
    if not len(rows):
        return 0, None
    first = structure.residues.first
    atoms = np.concatenate([np.arange(first[row], first[row + 1]) for row in rows.tolist()])
    return len(rows), round(float(structure.b_iso[atoms[~structure.is_hydrogen[atoms]]].mean()), 3)


def _geometry(structure: Structure, topology: Topology) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return rmsz of the bonds and of the angles inside each residue, and how many of both are outliers."""
    bonds = topology.bonds.select(topology.bonds.kind == BondKind.INTERNAL)
    bond_z = (distances(structure.positions, *bonds.atoms.T) - bonds.target) / bonds.sigma
    angles = topology.angles
    angle_z = (measured_angles(structure.positions, *angles.atoms.T) - angles.target) / angles.sigma
    bond_rmsz, bond_outliers = _rms(structure, bonds.atoms, bond_z)
    angle_rmsz, angle_outliers = _rms(structure, angles.atoms, angle_z)
    return bond_rmsz, angle_rmsz, bond_outliers + angle_outliers


def _rms(structure: Structure, atoms: NDArray[np.int32], z: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the root mean square of z per residue and the number of outliers; only of restraints inside one residue."""
    owner = structure.residue[atoms]
    inside = (owner == owner[:, :1]).all(axis=1) & ~structure.is_hydrogen[atoms].any(axis=1)
    row, chosen, size = owner[inside, 0], z[inside], len(structure.residues)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(row, chosen**2, minlength=size) / np.bincount(row, minlength=size)
    return np.sqrt(mean), np.bincount(row[np.abs(chosen) > OUTLIER], minlength=size)


def _per_residue(structure: Structure, chosen: NDArray[np.bool_], values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.bincount(structure.residue[chosen], values[chosen], minlength=len(structure.residues)).astype(np.float64)


def _number(column: NDArray[Any] | None, row: int) -> float | None:
    return None if column is None or not np.isfinite(column[row]) else round(float(column[row]), 4)
