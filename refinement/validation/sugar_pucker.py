"""Sugar pucker of RNA against the pucker that the base and the following phosphate ask for (Richardson 2008).

The phosphate after a nucleotide lies far from the line of the glycosidic bond when the ribose is C3'-endo and close
to it when it is C2'-endo; that holds where the density of the ribose itself is too blurred to tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refinement import tables
from refinement.conformers import NamedAtoms
from refinement.geometry import dihedrals_or_nan, distances
from refinement.validation.nucleotides import STANDARD_NUCLEOTIDES, is_nucleotide, next_in_chain, with_present_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.structure import Structure

SUGAR = ("C1'", "C2'", "C3'", "C4'", "C5'", "O3'", "O4'", "O5'")
NAMES = (*SUGAR, "O2'", "P", "OP1", "OP2", "N9", "N1")
PHOSPHATE_LENGTHS = {("P", "OP1"): 1.485, ("P", "OP2"): 1.485, ("P", "O5'"): 1.593}
SUGAR_LENGTHS = {
    ("C2'", "O2'"): 1.407, ("C1'", "C2'"): 1.521, ("C1'", "O4'"): 1.416, ("C2'", "C3'"): 1.529, ("C3'", "O3'"): 1.422,
    ("C3'", "C4'"): 1.528, ("C4'", "O4'"): 1.456, ("C4'", "C5'"): 1.511, ("C5'", "O5'"): 1.427,
}  # fmt: skip
"""Usual bond lengths in Å (Gelbin 1996)."""
BROKEN = 0.5
"""Å beyond the usual length; a nucleotide with such a bond isn't counted."""
GLYCOSIDIC_MAX = 1.463 + BROKEN
"""Å; a base further from C1' than this isn't bound to it."""


@dataclass(frozen=True, slots=True, eq=False)
class SugarPucker:
    """Result; one row per ribose, alternate positions counted separately.

    Attributes
    ----------
    residue : NDArray[int32]
        Row of the residue.
    delta, epsilon : NDArray[float64]
        Torsion angles C5'-C4'-C3'-O3' and C4'-C3'-O3'-P in degrees, 0 to 360; NaN where not evaluated.
    p_perp : NDArray[float64]
        Distance (Å) of the following P from the line of the glycosidic bond, NaN where there is none.
    c2_endo : NDArray[bool]
        The pucker that the phosphate (or O3', where there is none) asks for is C2'-endo, otherwise C3'-endo.
    delta_outlier, epsilon_outlier : NDArray[bool]
        The angle is outside the range of that pucker.
    n_residues : int
        Residues of the model.
    """

    residue: NDArray[np.int32]
    delta: NDArray[np.float64]
    epsilon: NDArray[np.float64]
    p_perp: NDArray[np.float64]
    c2_endo: NDArray[np.bool_]
    delta_outlier: NDArray[np.bool_]
    epsilon_outlier: NDArray[np.bool_]
    n_residues: int

    @property
    def outlier(self) -> NDArray[np.bool_]:
        """Mask of the outliers."""
        return self.delta_outlier | self.epsilon_outlier

    @property
    def summary(self) -> dict[str, float | None]:
        """Return the percentage of outliers under its metric key; riboses that can't be evaluated are counted."""
        n = len(self.residue)
        return {"na_pucker_outliers": 100.0 * float(self.outlier.sum()) / n if n else None}

    @property
    def reasons(self) -> dict[str, str]:
        """Return why the number is missing."""
        return {} if len(self.residue) else {"na_pucker_outliers": "not_applicable"}

    @property
    def columns(self) -> dict[str, NDArray[np.float32]]:
        """Return the per-residue columns, of the first conformer of each residue; ``pucker_outlier`` is 1 or 0."""
        outlier = np.where(np.isnan(self.delta), np.nan, self.outlier)
        values = {"delta": self.delta, "epsilon": self.epsilon, "p_perp": self.p_perp, "outlier": outlier}
        columns: dict[str, NDArray[np.float32]] = {}
        for key, value in values.items():
            column = np.full(self.n_residues, np.nan, dtype=np.float32)
            column[self.residue[::-1]] = value[::-1]
            columns[f"pucker_{key}"] = column
        return columns

    @property
    def details(self) -> dict[str, object]:
        """Return the number of riboses and of outliers."""
        return {"sugar_pucker": {"riboses": len(self.residue), "outliers": int(self.outlier.sum())}} if len(self.residue) else {}


def sugar_pucker(structure: Structure) -> SugarPucker:
    """Judge the puckers of the standard ribonucleotides of a model."""
    structure = with_present_names(structure)
    named = NamedAtoms(structure, NAMES)
    candidates = is_nucleotide(structure) & np.isin(structure.residues.compound, STANDARD_NUCLEOTIDES)
    rows: list[NDArray[np.int64]] = []
    atoms: list[NDArray[np.int32]] = []
    for turn, table in enumerate(named.conformers() if candidates.any() else ()):
        following = next_in_chain(structure, np.any(table >= 0, axis=1))
        next_p = np.where(following >= 0, table[following, NAMES.index("P")], -1)
        # the glycosidic nitrogen is N9 where there is one; column N9 holds it from here on, the next P stands in that of N1
        glycosidic = np.where(table[:, NAMES.index("N9")] >= 0, table[:, NAMES.index("N9")], table[:, NAMES.index("N1")])
        own = np.concatenate([table[:, : NAMES.index("N9")], glycosidic[:, None], next_p[:, None]], axis=1)
        kept = candidates & _is_whole_ribose(structure, own)
        if turn:
            kept &= named.lettered(own[:, [*range(len(SUGAR)), -2, -1]]).any(axis=1)
        rows.append(np.flatnonzero(kept))
        atoms.append(own[kept])
    if not rows:
        rows, atoms = [np.empty(0, dtype=np.int64)], [np.empty((0, len(NAMES)), dtype=np.int32)]
    residue = np.concatenate(rows)
    order = np.argsort(residue, kind="stable")
    return _judge(structure, residue[order].astype(np.int32), np.concatenate(atoms)[order])


def _is_whole_ribose(structure: Structure, own: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return the residues with all sugar atoms, O2', a whole phosphate or none, and no torn bond."""
    whole = (own[:, : len(SUGAR) + 1] >= 0).all(axis=1)
    phosphate = own[:, [NAMES.index(name) for name in ("P", "OP1", "OP2")]] >= 0
    whole &= phosphate.all(axis=1) | ~phosphate[:, 0]
    for (a, b), length in (PHOSPHATE_LENGTHS | SUGAR_LENGTHS).items():
        i, j = own[:, NAMES.index(a)], own[:, NAMES.index(b)]
        whole &= (distances(structure.positions, i, j) <= length + BROKEN) | (i < 0) | (j < 0)
    return whole


def _judge(structure: Structure, residue: NDArray[np.int32], own: NDArray[np.int32]) -> SugarPucker:
    limit = {row["quantity"]: float(row["value"]) for row in tables.rows("rna_pucker")}
    xyz = structure.positions
    atom = {name: own[:, NAMES.index(name)] for name in SUGAR}
    base, phosphorus = own[:, -2].copy(), own[:, -1].copy()
    phosphorus[distances(xyz, atom["O3'"], phosphorus) > limit["o3_p_link_max"]] = -1
    base[distances(xyz, atom["C1'"], base) > GLYCOSIDIC_MAX] = -1
    evaluated = np.ones(len(own), dtype=np.bool_)
    bonds = ("O3'", "C3'"), ("C3'", "C4'"), ("C5'", "C4'")
    for i, j in (*((atom[a], atom[b]) for a, b in bonds), (atom["O3'"], phosphorus), (atom["C1'"], base)):
        length = distances(xyz, i, j)
        evaluated &= ((length >= limit["bond_min"]) & (length <= limit["bond_max"])) | (j < 0)
    delta = dihedrals_or_nan(xyz, np.stack([atom["C5'"], atom["C4'"], atom["C3'"], atom["O3'"]], axis=1)) % 360.0
    epsilon = dihedrals_or_nan(xyz, np.stack([atom["C4'"], atom["C3'"], atom["O3'"], phosphorus], axis=1)) % 360.0
    p_perp = _distance_from_line(xyz, atom["C1'"], base, phosphorus)
    o3_perp = _distance_from_line(xyz, atom["C1'"], base, atom["O3'"])
    # without a base both distances are NaN and C3'-endo is expected
    c2_endo = np.where(phosphorus >= 0, p_perp < limit["p_distance_limit"], o3_perp < limit["o3_distance_limit"])
    low = np.where(c2_endo, limit["delta_c2_endo_min"], limit["delta_c3_endo_min"])
    high = np.where(c2_endo, limit["delta_c2_endo_max"], limit["delta_c3_endo_max"])
    delta_outlier = evaluated & ((delta < low) | (delta > high))
    epsilon_outlier = evaluated & ((epsilon < limit["epsilon_min"]) | (epsilon > limit["epsilon_max"]))
    for values in (delta, epsilon, p_perp):
        values[~evaluated] = np.nan
    return SugarPucker(residue, delta, epsilon, p_perp, c2_endo, delta_outlier, epsilon_outlier, len(structure.residues))


def _distance_from_line(
    xyz: NDArray[np.float64], start: NDArray[np.int32], end: NDArray[np.int32], point: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Return the distances (Å) of `point` from the lines through `start` and `end`, NaN where an atom is missing."""
    axis, offset = xyz[end] - xyz[start], xyz[point] - xyz[start]
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.linalg.norm(np.cross(axis, offset), axis=1) / np.linalg.norm(axis, axis=1)
    values[(end < 0) | (point < 0)] = np.nan
    return values
