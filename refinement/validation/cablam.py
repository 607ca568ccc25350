"""CaBLAM: whether the orientation of the peptides goes with the Cα trace (Prisant 2020).

Cα traces are right more often than peptides at low resolution, so a peptide that rarely occurs in such a trace
is likely turned the wrong way. The trace alone also suggests the secondary structure that was meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refinement import tables
from refinement.conformers import NamedAtoms
from refinement.geometry import angles, dihedrals, dihedrals_or_nan, distances
from refinement.structure import ResidueKind
from refinement.tables.cablam_files import CLASSES, expected_grids
from refinement.validation.interpolation import periodic_multilinear

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from refinement.structure import Structure
    from refinement.tables.cablam_files import ContourGrid

OUTLIER, DISFAVORED, CA_OUTLIER = 0.01, 0.05, 0.005
"""Contour heights below which a residue is one."""
HELIX_LEVEL, STRAND_LEVEL = 0.001, 0.0001
"""Contour heights from which a residue may be part of an α or 3-10 helix, or of a strand."""
MOTIFS = {"alpha": "motif.loose_alpha", "beta": "motif.regular_beta", "three_ten": "motif.loose_threeten"}

PEPTIDE_BOND, CA_STEP = 2.0, 4.5
"""Å; residues are joined by C-N, or by Cα-Cα where one of them lacks main-chain atoms."""
CIS_LIKE = 90.0

_N, _CA, _C, _O = range(4)
_KEYS = {"cablam_outliers": "peptide", "cablam_disfavored": "peptide", "ca_geometry_outliers": "trace"}


@dataclass(frozen=True, slots=True, eq=False)
class Measures:
    """Shape of the trace around each residue of one conformer, degrees, NaN where undefined.

    Attributes
    ----------
    mu_in, mu_out : NDArray[float64]
        Dihedrals of the Cα i-2 to i+1 and i-1 to i+2.
    nu : NDArray[float64]
        Dihedral between the C=O of residue i-1 and i, each seen from its foot on the line between two Cα.
    ca_angle : NDArray[float64]
        Angle of the Cα i-1, i, i+1.
    category : NDArray[int8]
        Index into `refinement.tables.cablam_files.CLASSES`.
    previous, following : NDArray[int32]
        Joined residues, -1 where there is none.
    """

    mu_in: NDArray[np.float64]
    mu_out: NDArray[np.float64]
    nu: NDArray[np.float64]
    ca_angle: NDArray[np.float64]
    category: NDArray[np.int8]
    previous: NDArray[np.int32]
    following: NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Cablam:
    """Result; one entry per residue, the worst of its conformers.

    Attributes
    ----------
    measures : Measures
        Of the main conformer.
    peptide_score, trace_score : NDArray[float64]
        Lowest contour heights (CaBLAM and Cα geometry), NaN where not evaluated.
    suggestion : NDArray[str]
        ``alpha``, ``three_ten``, ``beta`` or "": what the trace of the main conformer looks like.
    tables_present : bool
        Whether the contour grids are installed.
    """

    measures: Measures
    peptide_score: NDArray[np.float64]
    trace_score: NDArray[np.float64]
    suggestion: NDArray[np.str_]
    tables_present: bool

    @property
    def summary(self) -> dict[str, float | None]:
        """Return the percentages under their metric keys; disfavoured includes the outliers."""
        rows = (
            ("cablam_outliers", self.peptide_score, OUTLIER),
            ("cablam_disfavored", self.peptide_score, DISFAVORED),
            ("ca_geometry_outliers", self.trace_score, CA_OUTLIER),
        )
        return {key: _percent_below(score, limit) for key, score, limit in rows}

    @property
    def reasons(self) -> dict[str, str]:
        """Return why numbers are missing."""
        measured = {
            "peptide": ~np.isnan(self.measures.mu_in + self.measures.mu_out + self.measures.nu),
            "trace": ~np.isnan(self.measures.mu_in + self.measures.mu_out),
        }
        return {
            key: "reference_table_missing" if not self.tables_present and measured[_KEYS[key]].any() else "not_applicable"
            for key, value in self.summary.items()
            if value is None
        }

    @property
    def columns(self) -> dict[str, NDArray[np.generic]]:
        """Return the per-residue columns."""
        return {
            "cablam_score": self.peptide_score.astype(np.float32),
            "ca_geometry_score": self.trace_score.astype(np.float32),
            "cablam_suggestion": self.suggestion,
        }

    @property
    def details(self) -> dict[str, dict[str, int]]:
        """Return how many residues were evaluated, and how many outliers look like a helix or a strand."""
        outlier = self.peptide_score < OUTLIER
        return {
            "cablam": {
                "residues": int((~np.isnan(self.peptide_score)).sum()),
                "ca_residues": int((~np.isnan(self.trace_score)).sum()),
                "outliers_in_helix": int((outlier & np.isin(self.suggestion, ("alpha", "three_ten"))).sum()),
                "outliers_in_strand": int((outlier & (self.suggestion == "beta")).sum()),
            }
        }


def cablam(structure: Structure, grids: Mapping[str, ContourGrid] | None = None) -> Cablam:
    """Evaluate the protein residues of a model, unknown and modified ones included.

    Parameters
    ----------
    structure : Structure
        The model; Cα alone give the Cα geometry and the suggestions.
    grids : mapping, optional
        Contour grids by name (``general``, ``general_CA`` …); by default those that are installed.
    """
    grids = expected_grids() if grids is None else grids
    worst = {kind: np.full(len(structure.residues), np.nan) for kind in ("peptide", "trace")}
    conformers = [measure(structure, table) for table in NamedAtoms(structure, ("N", "CA", "C", "O")).conformers()]
    if grids is not None:
        for measures in conformers:
            for kind, suffix in (("peptide", ""), ("trace", "_CA")):
                worst[kind] = np.fmin(worst[kind], _scores(measures, grids, suffix))
    suggestion = np.where(worst["trace"] < CA_OUTLIER, "", suggestions(conformers[0]))
    return Cablam(conformers[0], worst["peptide"], worst["trace"], suggestion, grids is not None)


def measure(structure: Structure, table: NDArray[np.int32]) -> Measures:
    """Measure one conformer.

    Parameters
    ----------
    structure : Structure
        The model.
    table : NDArray[int32], shape (n_residues, 4)
        Rows of N, CA, C, O, -1 where missing.
    """
    previous, following = _joined(structure, table)
    ca = [table[:, _CA]]
    for step in (previous, following):
        near = np.where(step >= 0, table[step, _CA], -1)
        far = np.where(step >= 0, step[step], -1)
        ca += [near, np.where(far >= 0, table[far, _CA], -1)]
    here, before, two_before, after, two_after = ca
    positions = structure.positions
    mu_in = dihedrals_or_nan(positions, np.stack([two_before, before, here, after], axis=1))
    mu_out = dihedrals_or_nan(positions, np.stack([before, here, after, two_after], axis=1))
    oxygen = np.where(previous >= 0, table[previous, _O], -1)
    nu = _carbonyl_dihedral(positions, np.stack([before, here, after, oxygen, table[:, _O]], axis=1))
    ca_angle = np.full(len(table), np.nan)
    known = (before >= 0) & (here >= 0) & (after >= 0)
    ca_angle[known] = angles(positions, before[known], here[known], after[known])
    carbon = np.where(previous >= 0, table[previous, _C], -1)
    omega = dihedrals_or_nan(positions, np.stack([before, carbon, table[:, _N], here], axis=1))
    return Measures(mu_in, mu_out, nu, ca_angle, _category(structure, omega), previous, following)


def _joined(structure: Structure, table: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the residues before and after each residue that are joined to it."""
    amino = structure.residues.kind == ResidueKind.PROTEIN
    rows = np.flatnonzero(amino & (table >= 0).any(axis=1))
    a, b = rows[:-1], rows[1:]
    joined = structure.residues.chain_index[a] == structure.residues.chain_index[b]
    joined &= (table[a, _CA] >= 0) & (table[b, _CA] >= 0)
    a, b = a[joined], b[joined]
    whole = (table[a] >= 0).all(axis=1) & (table[b] >= 0).all(axis=1)
    left, right = np.where(whole, table[a, _C], table[a, _CA]), np.where(whole, table[b, _N], table[b, _CA])
    near = distances(structure.positions, left, right) <= np.where(whole, PEPTIDE_BOND, CA_STEP)
    previous = np.full(len(table), -1, dtype=np.int32)
    following = previous.copy()
    previous[b[near]], following[a[near]] = a[near], b[near]
    return previous, following


def _carbonyl_dihedral(positions: NDArray[np.float64], atoms: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return ν from rows of three Cα, the oxygen after the first and the oxygen after the second."""
    out = np.full(len(atoms), np.nan)
    known = np.flatnonzero((atoms >= 0).all(axis=1))
    one, two, three, oxygen_one, oxygen_two = (positions[column] for column in atoms[known].T)
    corners = np.concatenate([oxygen_one, _foot(one, two, oxygen_one), _foot(two, three, oxygen_two), oxygen_two])
    out[known] = dihedrals(corners, *np.arange(4 * len(known)).reshape(4, -1))
    return out


def _foot(a: NDArray[np.float64], b: NDArray[np.float64], point: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the feet of the perpendiculars from points onto the lines a-b."""
    along = b - a
    length = np.maximum(np.einsum("ij,ij->i", along, along), 1e-12)
    return np.asarray(a + along * (np.einsum("ij,ij->i", along, point - a) / length)[:, None])


def _category(structure: Structure, omega: NDArray[np.float64]) -> NDArray[np.int8]:
    compound = structure.residues.compound
    proline = compound == "PRO"
    order = [CLASSES.index(name) for name in ("gly", "cispro", "transpro", "general")]
    return np.select([compound == "GLY", proline & (np.abs(omega) < CIS_LIKE), proline], order[:3], order[3]).astype(np.int8)


def _scores(measures: Measures, grids: Mapping[str, ContourGrid], suffix: str) -> NDArray[np.float64]:
    third = measures.ca_angle if suffix else measures.nu
    points = np.stack([measures.mu_in, measures.mu_out, third], axis=1)
    scores = np.full(len(points), np.nan)
    known = ~np.isnan(points).any(axis=1)
    for number, name in enumerate(CLASSES):
        chosen = known & (measures.category == number)
        scores[chosen] = grids[f"{name}{suffix}"].heights(points[chosen])
    return scores


def suggestions(measures: Measures) -> NDArray[np.str_]:
    """Return what the trace looks like: ``alpha``, ``three_ten``, ``beta`` or "".

    A residue needs both neighbours to look alike. 3-10 needs two residues in a row that look more like it than like α.
    """
    points = np.stack([measures.mu_in, measures.mu_out], axis=1)
    known = ~np.isnan(points).any(axis=1)
    height = {name: np.zeros(len(points)) for name in MOTIFS}
    for name, grid in MOTIFS.items():
        height[name][known] = periodic_multilinear(tables.cablam(grid), points[known], lower=-180.0, width=np.full(2, 3.0))
    helix = (height["alpha"] >= HELIX_LEVEL) | (height["three_ten"] >= HELIX_LEVEL)
    strand = height["beta"] >= STRAND_LEVEL
    tight = height["three_ten"] > height["alpha"]
    before, after = measures.previous, measures.following
    inside = (before >= 0) & (after >= 0)
    is_helix = inside & helix & helix[before] & helix[after]
    is_strand = inside & strand & strand[before] & strand[after]
    is_three_ten = is_helix & tight & (tight[after] | tight[before])
    return np.select([is_three_ten, is_helix, is_strand], ["three_ten", "alpha", "beta"], "")


def _percent_below(score: NDArray[np.float64], limit: float) -> float | None:
    evaluated = int((~np.isnan(score)).sum())
    return 100.0 * int((score < limit).sum()) / evaluated if evaluated else None
