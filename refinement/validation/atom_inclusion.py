"""Which atoms lie inside the recommended contour of the map."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from refinement.maps.interpolation import trilinear

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.structure import Structure

CURVE_LEVELS = 129
"""Contour levels of the curve, as in the reports of EMDB."""


@dataclass(frozen=True, slots=True, eq=False)
class AtomInclusion:
    """Atom inclusion.

    Attributes
    ----------
    summary : dict[str, float | None]
        ``atom_inclusion`` (atoms that aren't hydrogen) and ``atom_inclusion_emdb`` (atoms without an H in their
        name, as EMDB counts, which also leaves out NH1, OH or CH2). Fractions.
    reasons : dict[str, str]
        Why a value is missing.
    columns : dict[str, NDArray[float32]]
        ``atom_inclusion`` per residue, NaN where not evaluated.
    curve : tuple[list[float], list[float]]
        Contour levels and the inclusion of the non-hydrogen atoms at each.
    """

    summary: dict[str, float | None]
    reasons: dict[str, str] = field(default_factory=dict)
    columns: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    curve: tuple[list[float], list[float]] = ([], [])


def atom_inclusion(structure: Structure, density: Density, contour: float | None) -> AtomInclusion:
    """Return the fraction of atoms whose trilinear map value is strictly above the contour.

    Atoms outside the box aren't included. The definition is that of EMDB's validation analysis.

    Parameters
    ----------
    structure : Structure
        The model.
    density : Density
        The primary map as deposited.
    contour : float or None
        The recommended contour level in units of the map.
    """
    heavy = ~structure.is_hydrogen
    # an atom outside is never inside any contour
    values = np.where(density.contains(structure.positions), trilinear(density, structure.positions), -np.inf)
    ordered = np.sort(values[heavy])
    curve = _curve(ordered, density)
    nothing = np.full(len(structure.residues), np.nan, dtype=np.float32)
    keys = ("atom_inclusion", "atom_inclusion_emdb")
    if contour is None or not np.isfinite(contour):
        return AtomInclusion(dict.fromkeys(keys), dict.fromkeys(keys, "no_contour"), {"atom_inclusion": nothing}, curve)
    inside = values > contour
    named_h = np.char.find(structure.names, "H") >= 0
    summary = {key: _mean(inside[chosen]) for key, chosen in zip(keys, (heavy, ~named_h), strict=True)}
    counts = np.bincount(structure.residue[heavy], minlength=len(nothing))
    hits = np.bincount(structure.residue[heavy & inside], minlength=len(nothing))
    known = counts > 0
    nothing[known] = hits[known] / counts[known]
    reasons = {key: "not_applicable" for key, value in summary.items() if value is None}
    return AtomInclusion(summary, reasons, {"atom_inclusion": nothing}, curve)


def _mean(inside: NDArray[np.bool_]) -> float | None:
    return float(inside.mean()) if len(inside) else None


def _curve(ordered: NDArray[np.float64], density: Density) -> tuple[list[float], list[float]]:
    if not len(ordered):
        return [], []
    levels = np.linspace(float(density.values.min()), float(density.values.max()), CURVE_LEVELS)
    above = 1.0 - np.searchsorted(ordered, levels, side="right") / len(ordered)
    return levels.tolist(), above.tolist()
