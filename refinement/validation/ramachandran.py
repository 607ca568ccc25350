"""Ramachandran analysis (Top8000 contours).

Lovell 2003, Hintze 2016. One evaluation per residue; both neighbours must be bound to it, and all three must
be standard amino acids, as in MolProbity.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from refinement import tables
from refinement.conformers import NamedAtoms, backbone_torsions
from refinement.validation.interpolation import periodic_multilinear

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.conformers import BackboneTorsions
    from refinement.structure import Structure


class RamachandranClass(IntEnum):
    """Plot that a residue belongs to; the values index `refinement.tables.ramachandran`."""

    NONE = -1
    GENERAL = 0
    GLYCINE = 1
    TRANS_PROLINE = 2
    CIS_PROLINE = 3
    PRE_PROLINE = 4
    ISOLEUCINE_VALINE = 5


class Region(IntEnum):
    """Part of a plot or of a rotamer table that a residue lies in."""

    NONE = -1
    OUTLIER = 0
    ALLOWED = 1
    FAVORED = 2


FAVORED = 0.02
ALLOWED = np.array([0.0005, 0.001, 0.001, 0.002, 0.001, 0.001])
"""Lower limits of the score of the allowed region, by `RamachandranClass`."""

CIS_LIKE = 90.0
"""Degrees; a proline with the preceding |ω| below this is looked up in the cis plot."""


@dataclass(frozen=True, slots=True, eq=False)
class Ramachandran:
    """Result; arrays have one entry per residue.

    Attributes
    ----------
    phi, psi : NDArray[float32]
        Degrees; NaN where the residue isn't evaluated.
    score : NDArray[float32]
        Height of the contour, 0 to 1; NaN where not evaluated.
    category : NDArray[int8]
        `RamachandranClass`.
    region : NDArray[int8]
        `Region`.
    """

    phi: NDArray[np.float32]
    psi: NDArray[np.float32]
    score: NDArray[np.float32]
    category: NDArray[np.int8]
    region: NDArray[np.int8]

    @property
    def evaluated(self) -> int:
        """Number of residues evaluated."""
        return int((self.region != Region.NONE).sum())

    @property
    def summary(self) -> dict[str, float | None]:
        """Return the percentages under their metric keys."""
        regions = {"rama_outliers": Region.OUTLIER, "rama_allowed": Region.ALLOWED, "rama_favored": Region.FAVORED}
        if not self.evaluated:
            return dict.fromkeys(regions)
        return {key: 100.0 * int((self.region == region).sum()) / self.evaluated for key, region in regions.items()}

    @property
    def reasons(self) -> dict[str, str]:
        """Return why numbers are missing."""
        return {key: "not_applicable" for key, value in self.summary.items() if value is None}

    @property
    def columns(self) -> dict[str, NDArray[np.float32]]:
        """Return the per-residue columns; `rama_region` is 0 outlier, 1 allowed, 2 favoured."""
        region = np.where(self.region == Region.NONE, np.nan, self.region).astype(np.float32)
        category = np.where(self.category == RamachandranClass.NONE, np.nan, self.category).astype(np.float32)
        return {"phi": self.phi, "psi": self.psi, "rama_score": self.score, "rama_class": category, "rama_region": region}


def categories(structure: Structure, torsions: BackboneTorsions) -> NDArray[np.int8]:
    """Return the `RamachandranClass` of residues with φ and ψ.

    Glycine and proline come before pre-proline, which comes before isoleucine and valine.
    """
    compound = structure.residues.compound
    following = torsions.bonds.following
    before_proline = (following >= 0) & (compound[following] == "PRO")
    cis = np.abs(torsions.omega) < CIS_LIKE
    proline = compound == "PRO"
    conditions = [
        np.isnan(torsions.phi),
        compound == "GLY",
        proline & cis,
        proline,
        before_proline,
        (compound == "ILE") | (compound == "VAL"),
    ]
    choices = [
        RamachandranClass.NONE,
        RamachandranClass.GLYCINE,
        RamachandranClass.CIS_PROLINE,
        RamachandranClass.TRANS_PROLINE,
        RamachandranClass.PRE_PROLINE,
        RamachandranClass.ISOLEUCINE_VALINE,
    ]
    return np.select(conditions, choices, RamachandranClass.GENERAL).astype(np.int8)


def scores(category: NDArray[np.int8], phi: NDArray[np.float64], psi: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the contour heights at φ, ψ (degrees), NaN for `RamachandranClass.NONE`."""
    score = np.full(len(category), np.nan)
    width = np.full(2, 2.0)
    for kind, grid in enumerate(tables.ramachandran()):
        chosen = category == kind
        points = np.stack([phi[chosen], psi[chosen]], axis=1)
        score[chosen] = periodic_multilinear(grid, points, lower=-180.0, width=width)
    return score


def ramachandran(structure: Structure) -> Ramachandran:
    """Evaluate the main chain of a model.

    As in MolProbity, atoms with an alternate-location letter other than A are ignored.
    """
    torsions = backbone_torsions(structure, NamedAtoms(structure, ("N", "CA", "C")).table("A"))
    category = categories(structure, torsions)
    score = scores(category, torsions.phi, torsions.psi)
    region = np.select(
        [category == RamachandranClass.NONE, score >= FAVORED, score >= ALLOWED[category]],
        [Region.NONE, Region.FAVORED, Region.ALLOWED],
        Region.OUTLIER,
    ).astype(np.int8)
    phi, psi, height = (values.astype(np.float32) for values in (torsions.phi, torsions.psi, score))
    return Ramachandran(phi, psi, height, category, region)
