"""Difference map of map and model, weighted by the likelihood of what the model leaves unexplained.

Yamashita et al. 2021, Acta Cryst. D77, 1282-1291. In each resolution shell the model is scaled by D, the signal that
it doesn't explain has variance S, and the noise of the map, known from the half-maps, has variance N. A term of
the difference is weighted by S/(S + N) and brought to unit variance of the signal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import maximum_filter

from refinement.maps.fourier import reciprocal_metric
from refinement.maps.interpolation import trilinear
from refinement.maps.masks import molecular_mask
from refinement.maps.soft_mask import soft_mask
from refinement.maps.transforms import forward, inverse, limits_of, limits_within, signed, structure_factors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.structure import Structure

MASK_RADIUS = 3.0
"""Å; maps are masked this far around the model, softly."""
TERMS_PER_SHELL = 500
"""Resolution shells are as many as hold this many terms on average."""
PEAK = 4.0
"""Peaks are listed beyond this many standard deviations."""
NEGATIVE = -3.0
"""Standard deviations; atoms with less than this lie where the map has no place for them."""
LISTED = 50
"""So many peaks and holes are listed, strongest first."""


@dataclass(frozen=True, slots=True, eq=False)
class DifferenceMap:
    """What the model doesn't explain.

    Attributes
    ----------
    density : Density
        Difference in units of its standard deviation within the molecule.
    positions : NDArray[float64], shape (n, 3)
        Grid points of its peaks and holes, Å, strongest first.
    heights : NDArray[float64], shape (n,)
        Their heights; negative for holes.
    """

    density: Density
    positions: NDArray[np.float64]
    heights: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Unexplained:
    """Result for Table 1.

    Attributes
    ----------
    columns : dict[str, NDArray[float32]]
        ``negative_difference``: share of each residue's atoms, hydrogens aside, with less than `NEGATIVE`.
    details : dict[str, list]
        ``difference_peaks``: position (Å) and height of the strongest peaks and holes.
    """

    columns: dict[str, NDArray[np.float32]]
    details: dict[str, list[dict[str, float]]]
    summary: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def unexplained(structure: Structure, density: Density, resolution: float, half_maps: Sequence[Density] = ()) -> Unexplained:
    """Return what the difference map says of the residues, and its peaks; arguments as for `difference_map`."""
    difference = difference_map(structure, density, resolution, half_maps)
    heavy = ~structure.is_hydrogen
    low = trilinear(difference.density, structure.positions[heavy]) < NEGATIVE
    size = len(structure.residues)
    count = np.bincount(structure.residue[heavy], minlength=size)
    found = np.bincount(structure.residue[heavy], weights=low, minlength=size)
    share = np.full(size, np.nan, dtype=np.float32)
    np.divide(found, count, out=share, where=count > 0, casting="same_kind")
    peaks = [
        {"x": x, "y": y, "z": z, "height": height}
        for (x, y, z), height in zip(difference.positions[:LISTED].tolist(), difference.heights[:LISTED].tolist(), strict=True)
    ]
    return Unexplained({"negative_difference": share}, {"difference_peaks": peaks})


def difference_map(structure: Structure, density: Density, resolution: float, half_maps: Sequence[Density] = ()) -> DifferenceMap:
    """Return the difference map out to a resolution, and its peaks near the model.

    Parameters
    ----------
    structure : Structure
        The model.
    density : Density
        The primary map; used where there are no half-maps.
    resolution : float
        Å.
    half_maps : sequence of Density
        Both half-maps; their mean is then compared with the model. Without them noise counts as nothing.
    """
    limits = limits_within(density.dims, density.cell, 1.0 / resolution)
    mask = soft_mask(structure, density, MASK_RADIUS)
    terms = [forward(one.values * mask, limits) for one in (half_maps or [density])]
    model = structure_factors(structure, density, resolution)
    s2 = _s2(density, terms[0])
    calculated = model.values * np.exp(-0.25 * model.b * s2).astype(np.float32)
    shell, count = _shells(s2, resolution)
    observed = terms[0] if len(terms) == 1 else np.float32(0.5) * (terms[0] + terms[1])
    noise = None if len(terms) == 1 else np.float32(0.5) * (terms[0] - terms[1])
    difference = _weighted(observed, calculated, noise, shell, count)
    values = inverse(difference, density.dims)
    inside = molecular_mask(structure, density)
    deviation = float(values[inside].std()) if inside.any() else 0.0
    found = replace(density, values=values / np.float32(deviation) if deviation > 0 else values)
    return DifferenceMap(found, *_peaks(found, mask))


def _s2(density: Density, compact: NDArray[np.complex64]) -> NDArray[np.float64]:
    """Return 1/d² (1/Å²) of each term of a compact array."""
    h, k, m = limits_of(compact)
    metric = reciprocal_metric(density.cell)
    axes = np.meshgrid(signed(h), signed(k), np.arange(m + 1), indexing="ij", sparse=True)
    return np.asarray(sum(metric[i, j] * axes[i] * axes[j] for i in range(3) for j in range(3)))


def _shells(s2: NDArray[np.float64], resolution: float) -> tuple[NDArray[np.int64], int]:
    """Return the shell of each term, of equal width in 1/d, and their number; the last one is for what isn't used."""
    used = (s2 > 0.0) & (s2 <= 1.0 / resolution**2)
    count = max(1, math.ceil(int(used.sum()) / TERMS_PER_SHELL) if used.any() else 1)
    count = min(count, 50)
    shell = np.minimum((np.sqrt(s2) * resolution * count).astype(np.int64), count - 1)
    return np.where(used, shell, count), count


def _weighted(
    observed: NDArray[np.complex64],
    calculated: NDArray[np.complex64],
    noise: NDArray[np.complex64] | None,
    shell: NDArray[np.int64],
    count: int,
) -> NDArray[np.complex64]:
    """Return the weighted difference; shells from the first one without signal on are empty."""
    twice = np.broadcast_to(np.where(np.arange(shell.shape[2]) > 0, 2.0, 1.0), shell.shape).ravel()
    places = shell.ravel()

    def total(values: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(places, weights=twice * values.ravel(), minlength=count + 1), dtype=np.float64)

    held = total(np.ones(shell.shape, dtype=np.float32))
    terms = np.maximum(held, 1.0)
    power = total(_product(calculated, calculated))
    scale = np.divide(total(_product(observed, calculated)), power, out=np.zeros(count + 1), where=power > 0)
    rest = observed - scale[shell].astype(np.float32) * calculated
    weight = np.ones(count + 1)
    if noise is not None:
        noise_variance = total(_product(noise, noise)) / terms
        signal = total(_product(observed, observed)) / terms - noise_variance
        unexplained = np.maximum(total(_product(rest, rest)) / terms - noise_variance, 0.0)
        part = np.divide(unexplained, unexplained + noise_variance, out=np.zeros(count + 1), where=unexplained > 0)
        weight = np.divide(part, np.sqrt(unexplained), out=np.zeros(count + 1), where=unexplained > 0)
        spent = np.flatnonzero((signal[:count] <= 0.0) & (held[:count] > 0))
        if len(spent):
            weight[spent[0] :] = 0.0
    weight[count] = 0.0
    return np.asarray(rest * weight[shell].astype(np.float32), dtype=np.complex64)


def _product(a: NDArray[np.complex64], b: NDArray[np.complex64]) -> NDArray[np.float32]:
    """Return the real part of a·b*."""
    return np.asarray(a.real * b.real + a.imag * b.imag)


def _peaks(density: Density, mask: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return positions and heights of the extrema beyond `PEAK` inside the soft mask, strongest first."""
    size = np.abs(density.values)
    chosen = np.argwhere((size > PEAK) & (mask > 0.5) & (size == maximum_filter(size, size=3, mode="wrap")))
    heights = density.values[tuple(chosen.T)].astype(np.float64)
    order = np.argsort(-np.abs(heights), kind="stable")
    return density.corner + chosen[order] @ density.step_matrix.T, heights[order]
