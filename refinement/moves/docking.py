"""Six-dimensional search for the place of a model in a map.

Rotations cover all orientations evenly. For each the correlation of model and map is computed for all shifts at
once by Fourier transforms, at low resolution and with the amplitudes of every resolution shell made equal, so that
the form counts and not only where there is much density. The best placements are then moved as rigid bodies in
maps of rising resolution, and fewer and fewer of them go on. The work is bounded by the numbers below, not by a
clock, so that the same input gives the same placement everywhere.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import gemmi
import numpy as np
from numba import njit
from scipy import fft

from refinement.maps.blurring import POINTS_PER_RESOLUTION, blurred_map
from refinement.maps.fourier import reciprocal_metric
from refinement.maps.transforms import forward, limits_within
from refinement.moves.rigid_body import BlurredMaps, low_resolutions, move_rigidly

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.density import Density

ROTATIONS = 1152
"""Orientations tried; on average the nearest is 12° off, at most 20°, and rigid-body refinement comes back from 30°."""
BEST_RESOLUTION, PER_RADIUS = 10.0, 0.4
"""Å, and the fraction of the radius of gyration: at most so fine, or the nearest orientation no longer correlates."""
MAX_POINTS = 1 << 19
"""Grid points of the search; a larger box is searched at lower resolution."""
SEARCH_ATOMS = 5000
"""Atoms that represent the model in the search."""
KEPT = (80, 20, 6)
"""Placements that go on to the first, the second and each further pass of rigid-body refinement."""
SAME_ANGLE, SAME_DISTANCE = 10.0, 0.5
"""Degrees, and fraction of the search's resolution: placements nearer than both are one."""


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """A placement of the model: its positions (n, 3) in Å, and the mean of the map at its atoms in standard deviations."""

    positions: NDArray[np.float64]
    density: float


def search_resolution(density: Density, arms: NDArray[np.float64], weights: NDArray[np.float64], resolution: float) -> float:
    """Return the resolution (Å) of the search for a model, given relative to its centre."""
    radius = float(np.sqrt(weights @ (arms**2).sum(axis=1) / weights.sum()))
    reach = float(np.sqrt((arms**2).sum(axis=1).max()))
    lengths = density.voxel * np.array(density.dims) + reach
    affordable = POINTS_PER_RESOLUTION * float(np.prod(lengths) / MAX_POINTS) ** (1.0 / 3.0)
    return max(BEST_RESOLUTION, resolution, PER_RADIUS * radius, affordable)


def dock(
    positions: NDArray[np.float64],
    weights: NDArray[np.float64],
    density: Density,
    *,
    resolution: float,
    threads: int = 1,
) -> list[Placement]:
    """Search all orientations and places of a model in a map.

    Parameters
    ----------
    positions : NDArray[float64], shape (n, 3)
        The model in Å, anywhere.
    weights : NDArray[float64], shape (n,)
        Weight of each atom, e.g. its atomic number.
    density : Density
        The map; placements lie in its frame, their centres within its box.
    resolution : float
        Of the map, Å.
    threads : int
        Threads; the result doesn't depend on it.

    Returns
    -------
    list[Placement]
        Best first; at most the last number of `KEPT`.
    """
    weights = weights / weights.sum()
    arms = positions - weights @ positions
    d_search = search_resolution(density, arms, weights, resolution)
    # a part of a larger assembly drifts into its neighbours in a map that is blurred more than needed
    levels = tuple(d for d in low_resolutions(resolution) if d < d_search) or low_resolutions(resolution)[-1:]
    maps = BlurredMaps.of(density, levels, finest=resolution)
    search = _Search.prepare(density, d_search, arms, weights)
    rotations = even_rotations(ROTATIONS)
    scores, places = search.run(rotations, threads)
    chosen = _distinct(rotations, places, scores, SAME_DISTANCE * d_search, KEPT[0])
    found = [Placement(arms @ rotations[i].T + places[i], scores[i]) for i in chosen]
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        for level in range(len(maps.maps)):
            one_pass = partial(move_rigidly, weights=weights, maps=maps, first=level, last=level + 1)
            moved = pool.map(one_pass, [placement.positions for placement in found])
            found = _best([Placement(*outcome) for outcome in moved], KEPT[min(level + 1, len(KEPT) - 1)])
    return found


def even_rotations(count: int) -> NDArray[np.float64]:
    """Return `count` rotation matrices, (count, 3, 3), that cover all orientations evenly.

    Super-Fibonacci spirals of Alexa (2022, CVPR, 8291-8300) on the sphere of unit quaternions.
    """
    from scipy.spatial.transform import Rotation  # slow to import, and seldom needed

    phi, psi = math.sqrt(2.0), 1.533751168755204288118041
    s = np.arange(count) + 0.5
    inner, outer = np.sqrt(s / count), np.sqrt(1.0 - s / count)
    alpha, beta = 2.0 * np.pi * s / phi, 2.0 * np.pi * s / psi
    quaternions = np.stack([inner * np.sin(alpha), inner * np.cos(alpha), outer * np.sin(beta), outer * np.cos(beta)], axis=1)
    return np.asarray(Rotation.from_quat(quaternions).as_matrix())


def _distinct(
    rotations: NDArray[np.float64], places: NDArray[np.float64], scores: NDArray[np.float64], distance: float, count: int
) -> list[int]:
    """Return the best `count` placements of which no two are the same."""
    chosen: list[int] = []
    least_trace = 1.0 + 2.0 * math.cos(math.radians(SAME_ANGLE))
    for i in np.argsort(-scores, kind="stable").tolist():
        if len(chosen) == count:
            break
        trace = np.einsum("ij,nij->n", rotations[i], rotations[chosen])
        near = ((places[chosen] - places[i]) ** 2).sum(axis=1) < distance**2
        if not (near & (trace > least_trace)).any():
            chosen.append(i)
    return chosen


def _best(placements: list[Placement], count: int) -> list[Placement]:
    """Return the best placements; of those that ended in the same place (1 Å) only the best one."""
    kept: list[Placement] = []
    for placement in sorted(placements, key=lambda p: -p.density):
        if len(kept) == count:
            break
        if all(float(((placement.positions - other.positions) ** 2).sum(axis=1).mean()) > 1.0 for other in kept):
            kept.append(placement)
    return kept


@dataclass(frozen=True, slots=True, eq=False)
class _Search:
    """The map's weighted transform, and the model about its centre.

    Attributes
    ----------
    terms : NDArray[complex64]
        rfftn of the map with equal amplitudes in all shells, on a grid that is padded so that nothing wraps round.
    used : NDArray[float32]
        1 for the terms that count, 0 for the others.
    dims, inside : tuple[int, int, int]
        The grid, and the part of it that belongs to the box of the map.
    grid_matrix, step_matrix : NDArray[float64], shape (3, 3)
        Å to grid steps and back.
    corner : NDArray[float64], shape (3,)
        Position of grid point (0, 0, 0) in Å.
    arms, weights : NDArray[float64], shapes (n, 3) and (n,)
        Some of the atoms relative to the centre of all, Å, and their weights.
    """

    terms: NDArray[np.complex64]
    used: NDArray[np.float32]
    dims: tuple[int, int, int]
    inside: tuple[int, int, int]
    grid_matrix: NDArray[np.float64]
    step_matrix: NDArray[np.float64]
    corner: NDArray[np.float64]
    arms: NDArray[np.float64]
    weights: NDArray[np.float64]

    @classmethod
    def prepare(cls, density: Density, d: float, arms: NDArray[np.float64], weights: NDArray[np.float64]) -> _Search:
        limits = limits_within(density.dims, density.cell, 1.0 / d)
        coarse = blurred_map(forward(density.values, limits), density, d)
        reach = float(np.sqrt((arms**2).sum(axis=1).max())) + d
        pad = np.ceil(reach * np.linalg.norm(coarse.grid_matrix, axis=1)).astype(int)
        nx, ny, nz = (int(fft.next_fast_len(n + p, real=True)) for n, p in zip(coarse.dims, pad.tolist(), strict=True))
        padded = np.zeros((nx, ny, nz), dtype=np.float32)
        ix, iy, iz = coarse.dims
        padded[:ix, :iy, :iz] = coarse.values - np.float32(np.median(coarse.values))
        a, b, c = (coarse.voxel * (nx, ny, nz)).tolist()
        cell = gemmi.UnitCell(a, b, c, density.cell.alpha, density.cell.beta, density.cell.gamma)
        terms, used = _equalised(fft.rfftn(padded), padded.shape, cell, d)
        every = -(-len(arms) // SEARCH_ATOMS)
        return cls(
            terms,
            used,
            (nx, ny, nz),
            coarse.dims,
            coarse.grid_matrix,
            coarse.step_matrix,
            coarse.corner,
            np.ascontiguousarray(arms[::every]),
            np.ascontiguousarray(weights[::every], dtype=np.float64),
        )

    def run(self, rotations: NDArray[np.float64], threads: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return for each rotation the best score, and the position (Å) of the centre there."""
        with ThreadPoolExecutor(max(threads, 1)) as pool:
            found = list(pool.map(self._best_shift, rotations))
        return np.array([score for score, _ in found]), np.array([place for _, place in found])

    def _best_shift(self, rotation: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        model = np.zeros(self.dims, dtype=np.float32)
        _splat(model, self.arms, self.weights, self.grid_matrix @ rotation)
        terms = fft.rfftn(model, overwrite_x=True)
        length = math.sqrt(float((self.used * (terms.real**2 + terms.imag**2)).sum()))
        overlap = fft.irfftn(np.conj(terms, out=terms) * self.terms, s=self.dims, overwrite_x=True)
        nx, ny, nz = self.inside
        box = overlap[:nx, :ny, :nz]
        best = np.unravel_index(int(np.argmax(box)), box.shape)
        return float(box[best]) / length, self.corner + self.step_matrix @ np.array(best, dtype=np.float64)


def _equalised(
    terms: NDArray[np.complex64], dims: tuple[int, ...], cell: gemmi.UnitCell, d: float
) -> tuple[NDArray[np.complex64], NDArray[np.float32]]:
    """Return the terms within d (Å) divided by the root-mean-square of their shell, and where these terms are (1 or 0)."""
    h, k = np.fft.fftfreq(dims[0], 1.0 / dims[0]), np.fft.fftfreq(dims[1], 1.0 / dims[1])
    index = np.stack(np.meshgrid(h, k, np.arange(terms.shape[2]), indexing="ij"), axis=-1)
    s = np.sqrt(np.einsum("...i,ij,...j->...", index, reciprocal_metric(cell), index))
    shell = np.minimum((s * max(cell.a, cell.b, cell.c)).astype(np.int64), 10**6)
    power = np.abs(terms) ** 2
    mean = np.bincount(shell.ravel(), weights=power.ravel()) / np.maximum(np.bincount(shell.ravel()), 1)
    inside = (s > 0.0) & (s <= 1.0 / d)
    weight = np.where(inside, 1.0 / np.sqrt(np.maximum(mean[shell], 1e-30)), 0.0)
    return (terms * weight).astype(np.complex64), inside.astype(np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
def _splat(
    total: NDArray[np.float32], arms: NDArray[np.float64], weights: NDArray[np.float64], to_grid: NDArray[np.float64]
) -> None:
    """Add point atoms, shared among their eight grid points; the grid repeats and the centre is point (0, 0, 0)."""
    nx, ny, nz = total.shape
    for n in range(len(arms)):
        x, y, z = arms[n, 0], arms[n, 1], arms[n, 2]
        u = to_grid[0, 0] * x + to_grid[0, 1] * y + to_grid[0, 2] * z
        v = to_grid[1, 0] * x + to_grid[1, 1] * y + to_grid[1, 2] * z
        w = to_grid[2, 0] * x + to_grid[2, 1] * y + to_grid[2, 2] * z
        i, j, k = math.floor(u), math.floor(v), math.floor(w)
        f, g, h = u - i, v - j, w - k
        for a in range(2):
            wx = weights[n] * (f if a else 1.0 - f)
            for b in range(2):
                wxy = wx * (g if b else 1.0 - g)
                for c in range(2):
                    total[(i + a) % nx, (j + b) % ny, (k + c) % nz] += wxy * (h if c else 1.0 - h)
