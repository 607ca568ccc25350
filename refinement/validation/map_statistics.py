"""Descriptive statistics of the primary map over the whole box."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.density import Density


@dataclass(frozen=True, slots=True)
class MapStatistics:
    """Moments of the voxels.

    Attributes
    ----------
    summary : dict[str, float | None]
        ``map_min``, ``map_max``, ``map_mean``, ``map_sd`` (of the population), ``map_skewness`` and
        ``map_kurtosis`` (fourth moment over sd⁴: 3 for noise).
    reasons : dict[str, str]
        Why a value is missing: a constant map has no shape.
    columns : dict[str, NDArray[float32]]
        Empty: there is nothing per residue.
    """

    summary: dict[str, float | None]
    reasons: dict[str, str] = field(default_factory=dict)
    columns: dict[str, NDArray[np.float32]] = field(default_factory=dict)


def map_statistics(density: Density) -> MapStatistics:
    """Return minimum, maximum and the first four moments of a map."""
    values = density.values
    mean = float(values.mean(dtype=np.float64))
    second = third = fourth = 0.0
    for section in values:  # one section at a time: the map isn't copied to float64 as a whole
        deviation = section.astype(np.float64) - mean
        square = deviation * deviation
        second += float(square.sum())
        third += float((square * deviation).sum())
        fourth += float((square * square).sum())
    variance = second / values.size
    shape: dict[str, float | None] = {"map_skewness": None, "map_kurtosis": None}
    if variance > 0:
        shape["map_skewness"] = third / values.size / variance**1.5
        shape["map_kurtosis"] = fourth / values.size / variance**2
    summary: dict[str, float | None] = {
        "map_min": float(values.min()),
        "map_max": float(values.max()),
        "map_mean": mean,
        "map_sd": variance**0.5,
        **shape,
    }
    return MapStatistics(summary, {key: "not_applicable" for key, value in shape.items() if value is None})
