"""Soft masks around a model, for Fourier shell correlations inside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refinement.maps.fourier import reciprocal_metric
from refinement.maps.masks import mask_around, mask_radii
from refinement.maps.transforms import forward, inverse, limits_of, limits_within, signed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.structure import Structure

FADED = 14.0
"""Terms damped by more than exp(−14), a millionth, are left out of a smoothed mask."""


def soft_mask(structure: Structure, density: Density, radius: float) -> NDArray[np.float32]:
    """Return a mask that is 1 inside the molecule and falls to 0 smoothly around it.

    The flat-solvent mask of atoms whose radii are larger by `radius` is smoothed by a Gaussian with that standard
    deviation, in Fourier space (the box is periodic), as in the mtriage procedure (Afonine et al. 2018,
    Acta Cryst. D74, 814-840).

    Parameters
    ----------
    structure : Structure
        The model; all atoms count.
    density : Density
        Gives the grid.
    radius : float
        Å; twice the resolution for the data metrics, 3 for cross-validation.

    Returns
    -------
    NDArray[float32], shape (nx, ny, nz)
        Values from 0 to about 1.
    """
    mask = mask_around(structure.positions, mask_radii(structure.elements) + radius, density)
    return smoothed(mask.astype(np.float32), density, radius)


def smoothed(values: NDArray[np.float32], density: Density, sigma: float) -> NDArray[np.float32]:
    """Return values (nx, ny, nz) convolved with a Gaussian of standard deviation `sigma` Å, not below zero."""
    s_max = np.sqrt(0.5 * FADED) / (np.pi * sigma)
    compact = forward(values, limits_within(density.dims, density.cell, s_max))
    h, k, m = limits_of(compact)
    metric = reciprocal_metric(density.cell)
    axes = np.meshgrid(signed(h), signed(k), np.arange(m + 1), indexing="ij", sparse=True)
    s2 = sum(metric[i, j] * axes[i] * axes[j] for i in range(3) for j in range(3))
    compact *= np.exp(-2.0 * np.pi**2 * sigma**2 * s2).astype(np.float32)
    return np.maximum(inverse(compact, density.dims), np.float32(0.0))
