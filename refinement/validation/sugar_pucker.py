"""Sugar pucker of RNA against the pucker that the base and the following phosphate ask for (Richardson 2008).

The phosphate after a nucleotide lies far from the line of the glycosidic bond when the ribose is C3'-endo and close
to it when it is C2'-endo; that holds where the density of the ribose itself is too blurred to tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refinement import tables
from refinement.nucleotides import Riboses, riboses

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.structure import Structure


@dataclass(frozen=True, slots=True, eq=False)
class SugarPucker:
    """Result; one row per ribose, alternate positions counted separately.

    Attributes
    ----------
    riboses : Riboses
        What was measured.
    delta_outlier, epsilon_outlier : NDArray[bool]
        The angle is outside the range of the pucker that the phosphate asks for.
    n_residues : int
        Residues of the model.
    """

    riboses: Riboses
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
        n = len(self.outlier)
        return {"na_pucker_outliers": 100.0 * float(self.outlier.sum()) / n if n else None}

    @property
    def reasons(self) -> dict[str, str]:
        """Return why the number is missing."""
        return {} if len(self.outlier) else {"na_pucker_outliers": "not_applicable"}

    @property
    def columns(self) -> dict[str, NDArray[np.float32]]:
        """Return the per-residue columns, of the first conformer of each residue; ``pucker_outlier`` is 1 or 0."""
        found = self.riboses
        outlier = np.where(found.sound, self.outlier, np.nan)
        values = {"delta": found.delta, "epsilon": found.epsilon, "p_perp": found.p_perp, "outlier": outlier}
        columns: dict[str, NDArray[np.float32]] = {}
        for key, value in values.items():
            column = np.full(self.n_residues, np.nan, dtype=np.float32)
            column[found.residue[::-1]] = value[::-1]
            columns[f"pucker_{key}"] = column
        return columns

    @property
    def details(self) -> dict[str, object]:
        """Return the number of riboses and of outliers."""
        n = len(self.outlier)
        return {"sugar_pucker": {"riboses": n, "outliers": int(self.outlier.sum())}} if n else {}


def sugar_pucker(structure: Structure) -> SugarPucker:
    """Judge the puckers of the standard ribonucleotides of a model."""
    limit = {row["quantity"]: float(row["value"]) for row in tables.rows("rna_pucker")}
    measured = riboses(structure)
    low = np.where(measured.c2_endo, limit["delta_c2_endo_min"], limit["delta_c3_endo_min"])
    high = np.where(measured.c2_endo, limit["delta_c2_endo_max"], limit["delta_c3_endo_max"])
    return SugarPucker(
        riboses=measured,
        delta_outlier=(measured.delta < low) | (measured.delta > high),
        epsilon_outlier=(measured.epsilon < limit["epsilon_min"]) | (measured.epsilon > limit["epsilon_max"]),
        n_residues=len(structure.residues),
    )
