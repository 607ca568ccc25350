"""Fourier transforms of which only the inner terms are wanted, and model structure factors made with them.

A compact array holds the terms |h| ≤ H, |k| ≤ K, 0 ≤ l ≤ L of a real box, in the order of `scipy.fft`: shape
(2H + 1, 2K + 1, L + 1). Transforming axis by axis and dropping the outer terms at once saves most of the work.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from refinement.maps.scattering import ALIAS_LOG, B_RANGE, scattering_factors, sum_atoms

if TYPE_CHECKING:
    import gemmi
    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.structure import Structure

Limits = tuple[int, int, int]

FINE_RATE = 1.5
"""Atoms are summed on a grid that is finer by this than the wanted terms need."""


@dataclass(frozen=True, slots=True, eq=False)
class StructureFactors:
    """Structure factors of a model within a box of indices.

    Attributes
    ----------
    values : NDArray[complex64], shape (2H + 1, 2K + 1, L + 1)
        Compact array.
    b : float
        Å²; the structure factors are ``values · exp(−b s²/4)``. Kept apart, as the factor spans many powers of ten.
    """

    values: NDArray[np.complex64]
    b: float


def limits_within(dims: tuple[int, int, int], cell: gemmi.UnitCell, s_max: float) -> Limits:
    """Return the largest indices (H, K, L) with |s| ≤ s_max (1/Å) inside the Nyquist limits of a grid."""
    h, k, m = (min((n - 1) // 2, math.floor(s_max * length)) for n, length in zip(dims, (cell.a, cell.b, cell.c), strict=True))
    return h, k, m


def forward(values: NDArray[np.float32], limits: Limits) -> NDArray[np.complex64]:
    """Return the inner terms of the transform of a real box; slabs of zeros cost nothing."""
    nx, ny, _ = values.shape
    h, k, m = limits
    rows, columns = values.any(axis=(1, 2)), values.any(axis=(0, 2))
    filled = values if rows.all() and columns.all() else values[np.ix_(rows, columns)]
    inner = fft.rfft(filled, axis=2)[:, :, : m + 1]
    wide = np.zeros((len(inner), ny, m + 1), dtype=np.complex64)
    wide[:, columns] = inner
    inner = fft.fft(wide, axis=1, overwrite_x=True)[:, signed(k)]
    wide = np.zeros((nx, 2 * k + 1, m + 1), dtype=np.complex64)
    wide[rows] = inner
    return np.ascontiguousarray(fft.fft(wide, axis=0, overwrite_x=True)[signed(h)])


def inverse(compact: NDArray[np.complex64], dims: tuple[int, int, int]) -> NDArray[np.float32]:
    """Return the box of shape `dims` that a compact array is the transform of."""
    (nx, ny, nz), (h, k, m) = dims, limits_of(compact)
    wide = np.zeros((nx, 2 * k + 1, m + 1), dtype=np.complex64)
    wide[signed(h)] = compact
    wide = fft.ifft(wide, axis=0, overwrite_x=True)
    inner = np.zeros((nx, ny, m + 1), dtype=np.complex64)
    inner[:, signed(k)] = wide
    inner = fft.ifft(inner, axis=1, overwrite_x=True)
    return np.asarray(fft.irfft(inner, n=nz, axis=2, overwrite_x=True), dtype=np.float32)


def limits_of(compact: NDArray[np.complexfloating]) -> Limits:
    """Return the largest indices (H, K, L) of a compact array."""
    rows, columns, depth = compact.shape
    return (rows - 1) // 2, (columns - 1) // 2, depth - 1


def structure_factors(
    structure: Structure, density: Density, d_limit: float, *, b_iso: NDArray[np.float64] | float | None = None
) -> StructureFactors:
    """Return the structure factors of a model in the box of a map, with d ≥ d_limit and somewhat beyond.

    All atoms count, with their occupancies. B factors are summed relative to the smallest one, so that the strong
    and the weak terms keep their digits; the common factor is left to the reader (`StructureFactors.b`). The scale
    is arbitrary.

    Parameters
    ----------
    structure : Structure
        The model.
    density : Density
        Gives the box.
    d_limit : float
        Å; terms that are finer needn't be there.
    b_iso : NDArray[float64] or float, optional
        B factors (Å²) instead of the model's own.
    """
    cell = density.cell
    limits = limits_within(density.dims, cell, 1.0 / d_limit)
    nx, ny, nz = (int(fft.next_fast_len(math.ceil(FINE_RATE * (2 * h + 2)), real=True)) for h in limits)
    b_all = np.broadcast_to(structure.b_iso if b_iso is None else np.asarray(b_iso, dtype=float), len(structure))
    b_all = np.clip(b_all, *B_RANGE)
    lengths = (cell.a, cell.b, cell.c)
    damped = min(n * (n - 2 * h) / length**2 for n, h, length in zip((nx, ny, nz), limits, lengths, strict=True))
    shift = 4.0 * ALIAS_LOG / damped - float(b_all.min(initial=B_RANGE[1]))
    a, b = scattering_factors(structure.elements)
    spread = b + b_all[:, None] + shift
    height = structure.occupancy[:, None] * a * (4.0 * math.pi / spread) ** 1.5
    grid_matrix = np.array((nx, ny, nz))[:, None] * np.array(cell.frac.mat.tolist())
    total = np.zeros((nx, ny, nz), dtype=np.float32)
    sum_atoms(
        total,
        (structure.positions - density.corner) @ grid_matrix.T,
        height,
        4.0 * math.pi**2 / spread,
        np.array(cell.orth.mat.tolist()) / np.array((nx, ny, nz)),
        np.linalg.norm(grid_matrix, axis=1),
        0,
        nx,
    )
    return StructureFactors(forward(total, limits), -shift)


def signed(limit: int) -> NDArray[np.int64]:
    """Return 0 … limit, −limit … −1: where these terms stand in a transform of any length."""
    return np.concatenate([np.arange(limit + 1), np.arange(-limit, 0)])
