"""Local resolution: Fourier shell correlation of the half-maps within small windows.

As in blocres (Cardone, Heymann & Steven 2013, J. Struct. Biol. 184, 226-236): a soft window walks over both
half-maps, and where the correlation inside it falls below a level is the resolution of its centre. Windows are
placed on a coarse grid around the model only; the rest of the map takes the value of the nearest window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
from numba import njit
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft
from scipy.ndimage import distance_transform_edt

from refinement.maps.density import Density
from refinement.maps.fourier import on_grid, reciprocal_metric
from refinement.maps.transforms import limits_within
from refinement.validation.interpolation import periodic_multilinear

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refinement.structure import Structure

LEVEL = 0.5
"""Correlation at the local resolution; windows hold few terms, so that lower ones drown in noise."""
WINDOW = 8.0
"""Width of the window as a multiple of the resolution; it falls to 0 as a cosine from its centre to half of this."""
STEP = 2.5
"""Distance between windows as a multiple of the resolution."""
FINEST = 2.0 / 3.0
"""Finest local resolution that can be found as a multiple of the resolution."""
BATCH = 64


@dataclass(frozen=True, slots=True, eq=False)
class LocalResolution:
    """Local resolution of a map.

    Attributes
    ----------
    columns : dict[str, NDArray[float32]]
        ``local_resolution`` of each residue, Å, the mean over its atoms; NaN without half-maps.
    density : Density or None
        Local resolution in Å on a coarse grid over the cell of the map.
    details : dict
        ``local_resolution``: median and quartiles over the residues, width of the window, number of windows.
    summary, reasons : dict
        Empty: Table 1 has no row for it.
    """

    columns: dict[str, NDArray[np.float32]]
    density: Density | None = None
    details: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def local_resolution(
    structure: Structure, half_maps: Sequence[Density], resolution: float, *, level: float = LEVEL
) -> LocalResolution:
    """Return the local resolution around a model.

    Parameters
    ----------
    structure : Structure
        The model; windows are placed around its atoms.
    half_maps : sequence of Density
        Both half-maps on one grid, or none.
    resolution : float
        Overall resolution in Å; decides about the size of the window.
    level : float
        Correlation that counts as resolved.
    """
    if not half_maps or not len(structure):
        return LocalResolution({"local_resolution": np.full(len(structure.residues), np.nan, dtype=np.float32)})
    first = half_maps[0]
    lengths = first.voxel * first.dims
    n_x, n_y, n_z = (max(1, round(length / (STEP * resolution))) for length in lengths)
    coarse = Density(np.zeros((n_x, n_y, n_z), dtype=np.float32), first.cell, first.corner)
    grid = coarse.grid_coordinates(structure.positions)
    centres = _corners(grid, coarse.dims)
    halves = _resampled(half_maps, resolution)
    coarse.values[tuple(centres.T)] = _windowed(halves, centres / np.array(coarse.dims), resolution, level)
    empty = coarse.values == 0.0
    nearest = distance_transform_edt(empty, return_distances=False, return_indices=True)
    coarse.values[:] = coarse.values[tuple(nearest)]
    at_atoms = periodic_multilinear(coarse.values, grid, lower=-0.5, width=np.ones(3))
    count = np.bincount(structure.residue, minlength=len(structure.residues))
    column = np.bincount(structure.residue, weights=at_atoms, minlength=len(structure.residues)) / np.maximum(count, 1)
    low, median, high = np.percentile(column, [25, 50, 75]).tolist()
    details = {"median": median, "quartiles": [low, high], "window": WINDOW * resolution, "windows": len(centres), "level": level}
    return LocalResolution({"local_resolution": column.astype(np.float32)}, coarse, {"local_resolution": details})


def _corners(grid: NDArray[np.float64], dims: tuple[int, int, int]) -> NDArray[np.int64]:
    """Return the corners of all grid cells that hold an atom, once each."""
    cells = np.unique(np.floor(grid).astype(np.int64), axis=0)
    corners = np.concatenate([cells + np.array(shift) for shift in product((0, 1), repeat=3)])
    return np.unique(corners % np.array(dims), axis=0)


def _resampled(half_maps: Sequence[Density], resolution: float) -> list[Density]:
    """Return the half-maps on a grid that just holds the finest terms that are looked at."""
    dims, cell = half_maps[0].dims, half_maps[0].cell
    limits = limits_within(dims, cell, 1.0 / (FINEST * resolution))
    fine = [min(n, int(fft.next_fast_len(2 * limit + 1, real=True))) for n, limit in zip(dims, limits, strict=True)]
    shape = (fine[0], fine[1], fine[2])
    if shape == dims:
        return list(half_maps)
    values = (fft.irfftn(on_grid(fft.rfftn(half.values), dims, shape), s=shape, overwrite_x=True) for half in half_maps)
    return [Density(np.asarray(v, dtype=np.float32), cell, half_maps[0].corner) for v in values]


def _windowed(halves: Sequence[Density], centres: NDArray[np.float64], resolution: float, level: float) -> NDArray[np.float64]:
    """Return the local resolution (Å) at fractional centres (n, 3)."""
    dims, voxel, cell = np.array(halves[0].dims), halves[0].voxel, halves[0].cell
    width = WINDOW * resolution
    size = [2 * max(2, round(0.5 * width / step)) for step in voxel]
    lengths = voxel * np.array(size)
    box = gemmi.UnitCell(float(lengths[0]), float(lengths[1]), float(lengths[2]), cell.alpha, cell.beta, cell.gamma)
    weight, members = _soft_sphere(size, box, 0.5 * width), _shell_numbers(size, box, width)
    found = np.empty(len(centres))
    half = np.array(size) // 2
    margins = [(h, n - h) for n, h in zip(size, half.tolist(), strict=True)]
    views = [sliding_window_view(np.pad(one.values, margins, mode="wrap"), size) for one in halves]
    # the margin before the map is half a window, so a window starts at the place of its centre
    starts = np.rint(centres * dims).astype(np.int64) % dims
    for first in range(0, len(centres), BATCH):
        x, y, z = starts[first : first + BATCH].T
        a, b = (_window_terms(view[x, y, z], weight) for view in views)
        fsc = _shell_correlations(a.reshape(len(x), -1), b.reshape(len(x), -1), members, size[2] // 2 + 1)
        found[first : first + BATCH] = width / _crossing_shell(fsc, level)
    return found


def _window_terms(windows: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Return the transforms of windows (batch, nx, ny, nz), weighted and without their weighted mean."""
    weighted = windows * weight
    weighted -= weighted.sum(axis=(1, 2, 3), keepdims=True) / weight.sum() * weight
    return np.asarray(fft.rfftn(weighted, axes=(1, 2, 3), overwrite_x=True))


def _soft_sphere(size: Sequence[int], cell: gemmi.UnitCell, radius: float) -> NDArray[np.float32]:
    """Return a window (nx, ny, nz) that falls as a raised cosine from 1 at its centre to 0 at `radius` Å."""
    axes = np.meshgrid(*[(np.arange(n) - n // 2) / n for n in size], indexing="ij")
    distance = np.linalg.norm(np.stack(axes, axis=-1) @ np.array(cell.orth.mat.tolist()).T, axis=-1)
    return np.asarray(0.5 + 0.5 * np.cos(np.pi * np.minimum(distance / radius, 1.0)), dtype=np.float32)


def _shell_numbers(size: Sequence[int], cell: gemmi.UnitCell, width: float) -> NDArray[np.int32]:
    """Return for each term of a window the number k of its shell, at |s| = k/width; 0 for those that belong to none."""
    h, k, m = np.fft.fftfreq(size[0], 1 / size[0]), np.fft.fftfreq(size[1], 1 / size[1]), np.arange(size[2] // 2 + 1)
    axes = np.meshgrid(h, k, m, indexing="ij", sparse=True)
    metric = reciprocal_metric(cell)
    s2 = sum(metric[i, j] * axes[i] * axes[j] for i in range(3) for j in range(3))
    shell = np.rint(np.sqrt(s2) * width).astype(np.int32).ravel()
    last = max(2, math.floor(min(0.5 * n / length for n, length in zip(size, (cell.a, cell.b, cell.c), strict=True)) * width))
    shell[shell > last] = 0
    return shell


@njit(cache=True, nogil=True, error_model="numpy")
def _shell_correlations(
    a: NDArray[np.complex64], b: NDArray[np.complex64], shell: NDArray[np.int32], depth: int
) -> NDArray[np.float64]:
    """Return the correlation in shells 1, 2, … of each window; 0 where there is nothing.

    Terms stand in rows of `depth`; those after the first of a row stand for their Friedel pair too.
    """
    fsc = np.zeros((len(a), shell.max()))
    sums = np.empty((3, fsc.shape[1] + 1))
    for window in range(len(a)):
        sums[:] = 0.0
        for term in range(a.shape[1]):
            x, y = a[window, term], b[window, term]
            share = 1.0 if term % depth == 0 else 2.0
            sums[0, shell[term]] += share * (x.real * y.real + x.imag * y.imag)
            sums[1, shell[term]] += share * (x.real * x.real + x.imag * x.imag)
            sums[2, shell[term]] += share * (y.real * y.real + y.imag * y.imag)
        for k in range(fsc.shape[1]):
            power = sums[1, k + 1] * sums[2, k + 1]
            if power > 0.0:
                fsc[window, k] = sums[0, k + 1] / math.sqrt(power)
    return fsc


def _crossing_shell(fsc: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """Return for each row of correlations of shells 1, 2, … the (fractional) shell where it first falls below a level."""
    below = fsc < level
    at = np.where(below.any(axis=1), below.argmax(axis=1), fsc.shape[1])
    rows = np.arange(len(fsc))
    inner = (at > 0) & (at < fsc.shape[1])
    after, before = fsc[rows, np.minimum(at, fsc.shape[1] - 1)], fsc[rows, np.maximum(at - 1, 0)]
    fraction = np.divide(before - level, before - after, out=np.zeros(len(fsc)), where=inner)
    return np.maximum(at + fraction, 1.0)
