"""Fourier coefficients of a box: cuts by resolution, overall B factors, change of grid.

Coefficients are those of `scipy.fft.rfftn` of a box in x, y, z order: axes h, k, l with l ≥ 0. The number of
threads follows `scipy.fft.set_workers` of the caller; the result doesn't depend on it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from scipy import fft

if TYPE_CHECKING:
    import gemmi
    from numpy.typing import NDArray

    from refinement.maps.density import Density


def reciprocal_metric(cell: gemmi.UnitCell) -> NDArray[np.float64]:
    """Return the matrix M with 1/d² = hᵀ M h for Miller indices h (1/Å²)."""
    fractional = np.array(cell.frac.mat.tolist())
    return fractional @ fractional.T


def squared_frequencies(dims: tuple[int, int, int], cell: gemmi.UnitCell) -> NDArray[np.float64]:
    """Return 1/d² (1/Å²) of every coefficient of a box, shape (nx, ny, nz // 2 + 1)."""
    metric = reciprocal_metric(cell)
    h, k = (np.fft.fftfreq(n, 1.0 / n) for n in dims[:2])
    h, k, m = h[:, None, None], k[:, None], np.arange(dims[2] // 2 + 1.0)
    squares = metric[0, 0] * h**2 + metric[1, 1] * k**2 + metric[2, 2] * m**2
    return np.asarray(squares + 2.0 * (metric[0, 1] * h * k + metric[0, 2] * h * m + metric[1, 2] * k * m))


def levelled(density: Density, d_min: float, weights: NDArray[np.float64]) -> tuple[Density, NDArray[np.float32]]:
    """Return the map with Fourier terms of a given root mean square in every shell up to d_min (Å), and none beyond.

    Parameters
    ----------
    density : Density
        The map, sharpened or not.
    d_min : float
        Å.
    weights : NDArray[float64], shape (m,)
        What the terms of each shell of equal width in 1/d are to be.

    Returns
    -------
    (Density, NDArray[float32])
        The map, and the factors of its terms, shape (nx, ny, nz // 2 + 1), for other maps on the same grid.
    """
    shells = len(weights)
    terms = fft.rfftn(density.values)
    shell = np.sqrt(squared_frequencies(density.dims, density.cell)) * (d_min * shells)
    shell = np.minimum(shell.astype(np.int64), shells).ravel()
    total = np.bincount(shell, weights=(np.abs(terms) ** 2).ravel(), minlength=shells + 1)
    power = total / np.maximum(np.bincount(shell, minlength=shells + 1), 1)
    factor = np.append(weights, 0.0) / np.sqrt(np.maximum(power, 1e-30 * max(float(power.max()), 1e-30)))
    factors = factor[shell].reshape(terms.shape).astype(np.float32)
    factors[0, 0, 0] = 0.0
    terms *= factors
    values = fft.irfftn(terms, s=density.dims, overwrite_x=True)
    return replace(density, values=np.ascontiguousarray(values, dtype=np.float32)), factors


def flattened(density: Density, d_min: float, *, shells: int = 40) -> Density:
    """Return the map with Fourier terms of the same mean square in every shell up to d_min (Å), and none beyond.

    What is compared in it is compared at all resolutions alike, whether the map is sharpened or not.
    """
    return levelled(density, d_min, np.ones(shells))[0]


def cut(
    coefficients: NDArray[np.complexfloating],
    dims: tuple[int, int, int],
    cell: gemmi.UnitCell,
    d_min: float,
    *,
    b: float = 0.0,
    keep_mean: bool = False,
) -> None:
    """Keep the terms with d ≥ d_min and multiply them by exp(−b/(4 d²)), in place.

    Parameters
    ----------
    coefficients : NDArray[complex], shape (nx, ny, nz // 2 + 1)
        Transform of a real box.
    dims : tuple[int, int, int]
        Shape of that box. Terms at or beyond its Nyquist limit, |h| > (n − 1)/2, are dropped.
    cell : gemmi.UnitCell
        Cell of the box.
    d_min : float
        Resolution in Å; the cut is sharp.
    b : float
        B factor in Å² to blur with; negative to sharpen.
    keep_mean : bool
        Keep F(000).
    """
    _cut(coefficients, np.array(dims), reciprocal_metric(cell), 1.0 / d_min**2, 0.25 * b, keep_mean)


def on_grid(coefficients: NDArray[np.complex64], fine: tuple[int, int, int], dims: tuple[int, int, int]) -> NDArray[np.complex64]:
    """Take the coefficients of a fine grid over to a coarser grid of the same cell.

    The mean density is kept, so the terms are scaled by the ratio of the numbers of points.
    """
    out = np.zeros((dims[0], dims[1], dims[2] // 2 + 1), dtype=coefficients.dtype)
    scale = np.float32(np.prod(dims, dtype=float) / np.prod(fine, dtype=float))
    last = [(min(n, m) - 1) // 2 for n, m in zip(dims, fine, strict=True)]
    rows = np.concatenate([np.arange(last[0] + 1), np.arange(-last[0], 0)])
    columns = np.concatenate([np.arange(last[1] + 1), np.arange(-last[1], 0)])
    common = np.ix_(rows, columns, np.arange(last[2] + 1))
    out[common] = coefficients[common] * scale
    return out


def low_pass(density: Density, d_min: float, *, b: float = 0.0) -> Density:
    """Return the map cut sharply at d_min (Å) and blurred with b (Å²); its mean is kept."""
    coefficients = fft.rfftn(density.values)
    cut(coefficients, density.dims, density.cell, d_min, b=b, keep_mean=True)
    values = fft.irfftn(coefficients, s=density.dims, overwrite_x=True)
    return replace(density, values=np.ascontiguousarray(values, dtype=np.float32))


@njit(cache=True, nogil=True, error_model="numpy")
def _cut(
    coefficients: NDArray[np.complex64],
    dims: NDArray[np.int64],
    metric: NDArray[np.float64],
    s2_max: float,
    quarter_b: float,
    keep_mean: bool,
) -> None:
    nh, nk, nm = coefficients.shape
    mean = coefficients[0, 0, 0]
    for i in range(nh):
        h = i if 2 * i <= nh else i - nh
        for j in range(nk):
            k = j if 2 * j <= nk else j - nk
            outside = 2 * abs(h) >= dims[0] or 2 * abs(k) >= dims[1]
            for m in range(nm):
                s2 = (
                    metric[0, 0] * h * h
                    + metric[1, 1] * k * k
                    + metric[2, 2] * m * m
                    + 2.0 * (metric[0, 1] * h * k + metric[0, 2] * h * m + metric[1, 2] * k * m)
                )
                if outside or 2 * m >= dims[2] or s2 > s2_max:
                    coefficients[i, j, m] = 0.0
                else:
                    coefficients[i, j, m] *= np.exp(-quarter_b * s2)
    coefficients[0, 0, 0] = mean if keep_mean else 0.0 * mean
