"""Cross-validation: whether a model refined into one half-map fits the other one as well.

Brown et al. 2015, Acta Cryst. D71, 136-153; Yamashita et al. 2021, Acta Cryst. D77, 1282-1291.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from refinement.maps.fsc import fsc_average, pair_sums, shell_curve, shells_of
from refinement.maps.soft_mask import soft_mask
from refinement.maps.transforms import structure_factors

if TYPE_CHECKING:
    from refinement.maps.density import Density
    from refinement.structure import Structure

MASK_RADIUS = 3.0
"""Å; the half-maps are masked this far around the model, softly."""
KEYS = ("fsc_work", "fsc_free", "fsc_gap")


@dataclass(frozen=True, slots=True, eq=False)
class CrossValidation:
    """Model–map correlations with the half-map that was refined into and with the other one.

    Attributes
    ----------
    summary : dict[str, float | None]
        ``fsc_work`` and ``fsc_free``, mean correlations out to the resolution, weighted by the sizes of the shells,
        and ``fsc_gap``, their difference.
    reasons : dict[str, str]
        Why a value is missing.
    curves : dict[str, dict[str, list]]
        ``cross_validation``: lists ``inverse_d`` (1/Å), ``work``, ``free``.
    """

    summary: dict[str, float | None]
    reasons: dict[str, str] = field(default_factory=dict)
    curves: dict[str, dict[str, list[float | None]]] = field(default_factory=dict)


def cross_validate(structure: Structure, work: Density, free: Density, resolution: float) -> CrossValidation:
    """Compare a model with the half-map it was refined into and with the other one.

    Parameters
    ----------
    structure : Structure
        The model, refined into `work` alone; for any other model both numbers are ``work``.
    work, free : Density
        The half-maps, on one grid.
    resolution : float
        Å; correlations are averaged out to here.
    """
    shells = shells_of(work.dims, work.cell)
    model = structure_factors(structure, work, max(resolution, shells.d_min)).values
    mask = soft_mask(structure, work, MASK_RADIUS)
    edges = np.linspace(0.0, 1.0 / max(resolution, shells.d_min), 41)
    values: list[float | None] = []
    curves: dict[str, list[float | None]] = {"inverse_d": np.round(0.5 * (edges[1:] + edges[:-1]), 6).tolist()}
    for name, half in (("work", work), ("free", free)):
        sums = pair_sums(shells, fft.rfftn(half.values * mask, overwrite_x=True), model)
        values.append(fsc_average(shells, sums, resolution))
        curves[name] = [round(float(v), 4) if np.isfinite(v) else None for v in shell_curve(shells, sums, edges)[0]]
    fsc_work, fsc_free = values
    gap = None if fsc_work is None or fsc_free is None else fsc_work - fsc_free
    summary = dict(zip(KEYS, (fsc_work, fsc_free, gap), strict=True))
    missing = {key: "not_applicable" for key, value in summary.items() if value is None}
    return CrossValidation(summary, missing, {"cross_validation": curves})
