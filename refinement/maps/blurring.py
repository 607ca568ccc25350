"""Maps at low resolution, on coarse grids."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from refinement.maps.fourier import reciprocal_metric
from refinement.maps.transforms import inverse, limits_of, limits_within, signed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.density import Density

POINTS_PER_RESOLUTION = 4.0
"""Grid points in a length of the resolution of a blurred map."""


def blurred_map(terms: NDArray[np.complex64], density: Density, d: float) -> Density:
    """Return the map blurred to the resolution `d` (Å) on a coarse grid, from its compact transform.

    The Gaussian exp(−2 (d s)²) leaves 14 % of the terms at s = 1/d, where they are cut: no ripples.
    """
    wanted = limits_within(density.dims, density.cell, 1.0 / d)
    h, k, m = (min(limit, have) for limit, have in zip(wanted, limits_of(terms), strict=True))
    inner = terms[np.ix_(signed(h), signed(k), np.arange(m + 1))]
    metric = reciprocal_metric(density.cell)
    index = np.stack(np.meshgrid(signed(h), signed(k), np.arange(m + 1), indexing="ij"), axis=-1)
    s2 = np.einsum("...i,ij,...j->...", index, metric, index)
    inner = inner * np.where(s2 <= 1.0 / d**2, np.exp(-2.0 * d**2 * s2), 0.0).astype(np.float32)
    lengths = density.voxel * np.array(density.dims)
    nx, ny, nz = (
        int(fft.next_fast_len(max(2 * limit + 2, int(np.ceil(POINTS_PER_RESOLUTION * length / d))), real=True))
        for limit, length in zip((h, k, m), lengths, strict=True)
    )
    return replace(density, values=inverse(np.ascontiguousarray(inner), (nx, ny, nz)))
