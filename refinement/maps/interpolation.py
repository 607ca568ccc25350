"""Values and gradients of a map between its grid points.

The refinement follows a cubic B-spline through the voxels: exact at the grid points, twice continuously
differentiable, so that value and gradient belong to one and the same function. Catmull-Rom interpolation
(once differentiable, needs no filter) and trilinear values are here for the metrics that are defined by them.

Outside the box the spline falls smoothly to zero within three voxels and stays zero, with zero gradient: atoms
that leave the map feel nothing and nothing is read out of bounds. Positions that aren't numbers give NaN.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numba import njit, uint64
from scipy import ndimage

from refinement.maps.prefetch import prefetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.density import Density

PAD = 4
"""Voxels added on each side: one mirrored, so that the edge is interpolated exactly, and three of zeros."""

BSPLINE, CATMULL_ROM = 0, 1
BLOCK = 4096
"""Atoms whose energies are summed first, so that the sum doesn't depend on the number of threads."""
BLOCKS_PER_THREAD = 8
"""Fewer aren't worth a second thread: starting it takes as long as one block."""
AHEAD = 8
"""Atoms between the one whose coefficients are asked for and the one that is computed: memory takes as long as these."""


@dataclass(frozen=True, slots=True, eq=False)
class InterpolatedMap:
    """A map made ready for interpolation at any position.

    Attributes
    ----------
    coefficients : NDArray[float32], shape (nx + 8, ny + 8, nz + 8)
        Spline coefficients (or voxels, for Catmull-Rom), padded.
    grid_matrix : NDArray[float64], shape (3, 3)
        Grid coordinates = grid_matrix @ (position − corner).
    corner : NDArray[float64], shape (3,)
        Position of grid point (0, 0, 0) in Å.
    basis : int
        `BSPLINE` or `CATMULL_ROM`.
    """

    coefficients: NDArray[np.float32]
    grid_matrix: NDArray[np.float64]
    corner: NDArray[np.float64]
    basis: int

    def values(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the map at positions, shape (n, 3), in Å."""
        return _values(positions, self.coefficients, self.grid_matrix, self.corner, self.basis)

    def energy_and_gradient(
        self, positions: NDArray[np.float64], weights: NDArray[np.float64], gradient: NDArray[np.float64], *, threads: int = 1
    ) -> float:
        """Return −Σ w ρ(r) and add its derivatives by the positions (per Å) to `gradient`.

        Target (7) of Afonine et al. 2018. Atoms of weight 0 are skipped. Threads take blocks of atoms; energy and gradient
        are the same to the last bit for any number of them. Atoms that are neighbours in memory should be
        neighbours in space, as they are in models.
        """
        n_blocks = -(-len(positions) // BLOCK)
        sums = np.zeros(n_blocks)
        threads = max(1, min(threads, n_blocks // BLOCKS_PER_THREAD))
        ends = np.linspace(0, n_blocks, threads + 1).astype(int).tolist()

        def work(k: int) -> None:
            _add_blocks(
                positions, weights, self.coefficients, self.grid_matrix, self.corner, self.basis, gradient,
                ends[k], ends[k + 1], sums,
            )  # fmt: skip

        if threads == 1:
            work(0)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, range(threads)))
        return -float(sums.sum())


def prepare(
    density: Density, *, normalise: bool = True, method: Literal["bspline", "catmull_rom"] = "bspline"
) -> InterpolatedMap:
    """Make a map ready for interpolation.

    Parameters
    ----------
    density : Density
        The map.
    normalise : bool
        Scale it to mean 0 and standard deviation 1 over the box first, so that weights transfer between maps.
    method : str
        ``bspline`` for refinement, ``catmull_rom`` to save the prefilter.

    Raises
    ------
    MapError
        ``map_constant`` if a constant map is to be normalised.
    """
    shape = [n + 2 * PAD for n in density.dims]
    padded = np.zeros(shape, dtype=np.float32)
    inside = padded[PAD:-PAD, PAD:-PAD, PAD:-PAD]
    if normalise:
        density.normalised(out=inside)
    else:
        inside[:] = density.values
    if method == "bspline":
        for axis in range(3):
            ndimage.spline_filter1d(inside, order=3, axis=axis, output=inside, mode="mirror")
    # a mirror takes the neighbour of a neighbour, which a box of one voxel doesn't have
    source = 2 if min(density.dims) > 1 else 1
    edge = padded[PAD - 1 : 1 - PAD, PAD - 1 : 1 - PAD, PAD - 1 : 1 - PAD]
    for axis in range(3):
        lines = np.moveaxis(edge, axis, 0)
        lines[0], lines[-1] = lines[source], lines[-1 - source]
    return InterpolatedMap(
        padded,
        density.grid_matrix,
        np.asarray(density.corner, dtype=np.float64),
        BSPLINE if method == "bspline" else CATMULL_ROM,
    )


def trilinear(density: Density, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return trilinear values at positions, shape (n, 3) in Å; the box repeats periodically."""
    return _trilinear(density.values, density.grid_coordinates(positions))


@njit(cache=True, nogil=True, error_model="numpy")
def spline_weights(t: float, basis: int) -> tuple[float, float, float, float, float, float, float, float]:
    """Return the weights of the four nodes round t in [0, 1) and their derivatives by t."""
    s = 1.0 - t
    if basis == BSPLINE:
        return (
            s * s * s / 6.0,
            2.0 / 3.0 - t * t * (1.0 - 0.5 * t),
            2.0 / 3.0 - s * s * (1.0 - 0.5 * s),
            t * t * t / 6.0,
            -0.5 * s * s,
            t * (1.5 * t - 2.0),
            s * (2.0 - 1.5 * s),
            0.5 * t * t,
        )
    return (
        -0.5 * t * s * s,
        1.0 - t * t * (2.5 - 1.5 * t),
        1.0 - s * s * (2.5 - 1.5 * s),
        -0.5 * s * t * t,
        -0.5 * s * (s - 2.0 * t),
        t * (4.5 * t - 5.0),
        s * (5.0 - 4.5 * s),
        -0.5 * t * (2.0 * s - t),
    )


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def spline_at(c: NDArray[np.float32], u: float, v: float, w: float, basis: int) -> tuple[float, float, float, float]:
    """Return the value at grid coordinates (u, v, w) and its derivatives by them."""
    u, v, w = u + PAD, v + PAD, w + PAD
    inside = 1.0 <= u < c.shape[0] - 2 and 1.0 <= v < c.shape[1] - 2 and 1.0 <= w < c.shape[2] - 2
    if not inside:
        # NaN compares false with everything: it must come out again instead of becoming an index
        nothing = 0.0 if u == u and v == v and w == w else math.nan
        return nothing, nothing, nothing, nothing
    i, j, k = int(u), int(v), int(w)
    x0, x1, x2, x3, dx0, dx1, dx2, dx3 = spline_weights(u - i, basis)
    y0, y1, y2, y3, dy0, dy1, dy2, dy3 = spline_weights(v - j, basis)
    z0, z1, z2, z3, dz0, dz1, dz2, dz3 = spline_weights(w - k, basis)
    # unsigned, so that none of the 64 nodes is tested for a negative index; loops that are unrolled keep all weights in registers
    p, k0 = uint64(i - 1), uint64(k - 1)
    k1, k2, k3 = k0 + uint64(1), k0 + uint64(2), k0 + uint64(3)
    value, by_u, by_v, by_w = 0.0, 0.0, 0.0, 0.0
    for a in range(4):
        wx, dx = (x0, dx0) if a == 0 else (x1, dx1) if a == 1 else (x2, dx2) if a == 2 else (x3, dx3)
        plane, plane_v, plane_w = 0.0, 0.0, 0.0
        q = uint64(j - 1)
        for b in range(4):
            wy, dy = (y0, dy0) if b == 0 else (y1, dy1) if b == 1 else (y2, dy2) if b == 2 else (y3, dy3)
            c0, c1, c2, c3 = c[p, q, k0], c[p, q, k1], c[p, q, k2], c[p, q, k3]
            along = z0 * c0 + z1 * c1 + z2 * c2 + z3 * c3
            plane += wy * along
            plane_v += dy * along
            plane_w += wy * (dz0 * c0 + dz1 * c1 + dz2 * c2 + dz3 * c3)
            q += uint64(1)
        p += uint64(1)
        value += wx * plane
        by_u += dx * plane
        by_v += wx * plane_v
        by_w += wx * plane_w
    return value, by_u, by_v, by_w


@njit(cache=True, nogil=True, error_model="numpy")
def _ask_for(c: NDArray[np.float32], position: NDArray[np.float64], g: NDArray[np.float64], corner: NDArray[np.float64]) -> None:
    """Begin to load the coefficients around a position."""
    x, y, z = position[0] - corner[0], position[1] - corner[1], position[2] - corner[2]
    u = g[0, 0] * x + g[0, 1] * y + g[0, 2] * z + PAD
    v = g[1, 0] * x + g[1, 1] * y + g[1, 2] * z + PAD
    w = g[2, 0] * x + g[2, 1] * y + g[2, 2] * z + PAD
    if 1.0 <= u < c.shape[0] - 2 and 1.0 <= v < c.shape[1] - 2 and 1.0 <= w < c.shape[2] - 2:
        i, j, k = uint64(int(u) - 1), uint64(int(v) - 1), uint64(int(w))
        for a in range(4):
            for b in range(4):
                prefetch(c, i + uint64(a), j + uint64(b), k)


@njit(cache=True, nogil=True, error_model="numpy")
def _add_blocks(
    positions: NDArray[np.float64],
    weights: NDArray[np.float64],
    coefficients: NDArray[np.float32],
    grid_matrix: NDArray[np.float64],
    corner: NDArray[np.float64],
    basis: int,
    gradient: NDArray[np.float64],
    first: int,
    stop: int,
    sums: NDArray[np.float64],
) -> None:
    """Write Σ w ρ(r) of blocks of atoms to `sums` and subtract the derivatives from `gradient` (n, 3)."""
    g = grid_matrix
    g00, g01, g02, g10, g11, g12, g20, g21, g22 = g[0, 0], g[0, 1], g[0, 2], g[1, 0], g[1, 1], g[1, 2], g[2, 0], g[2, 1], g[2, 2]
    for block in range(first, stop):
        total = 0.0
        for n in range(block * BLOCK, min((block + 1) * BLOCK, len(positions))):
            if n + AHEAD < len(positions):
                _ask_for(coefficients, positions[n + AHEAD], g, corner)
            weight = weights[n]
            if weight == 0.0:
                continue
            x, y, z = positions[n, 0] - corner[0], positions[n, 1] - corner[1], positions[n, 2] - corner[2]
            u, v, w = g00 * x + g01 * y + g02 * z, g10 * x + g11 * y + g12 * z, g20 * x + g21 * y + g22 * z
            value, by_u, by_v, by_w = spline_at(coefficients, u, v, w, basis)
            total += weight * value
            gradient[n, 0] -= weight * (by_u * g00 + by_v * g10 + by_w * g20)
            gradient[n, 1] -= weight * (by_u * g01 + by_v * g11 + by_w * g21)
            gradient[n, 2] -= weight * (by_u * g02 + by_v * g12 + by_w * g22)
        sums[block] = total


@njit(cache=True, nogil=True, error_model="numpy")
def _values(
    positions: NDArray[np.float64],
    coefficients: NDArray[np.float32],
    grid_matrix: NDArray[np.float64],
    corner: NDArray[np.float64],
    basis: int,
) -> NDArray[np.float64]:
    out = np.empty(len(positions))
    for n in range(len(positions)):
        out[n] = value_at(positions[n], coefficients, grid_matrix, corner, basis)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def value_at(
    position: NDArray[np.float64],
    coefficients: NDArray[np.float32],
    grid_matrix: NDArray[np.float64],
    corner: NDArray[np.float64],
    basis: int,
) -> float:
    """Return the map at one position (shape (3,), Å). See `InterpolatedMap` for the arrays."""
    g = grid_matrix
    x, y, z = position[0] - corner[0], position[1] - corner[1], position[2] - corner[2]
    u = g[0, 0] * x + g[0, 1] * y + g[0, 2] * z
    v = g[1, 0] * x + g[1, 1] * y + g[1, 2] * z
    w = g[2, 0] * x + g[2, 1] * y + g[2, 2] * z
    value, _, _, _ = spline_at(coefficients, u, v, w, basis)
    return value


@njit(cache=True, nogil=True, error_model="numpy")
def trilinear_at(values: NDArray[np.float32], u: float, v: float, w: float) -> float:
    """Return the trilinear value at grid coordinates; the box repeats periodically, NaN gives NaN."""
    nx, ny, nz = values.shape
    if not (abs(u) < 1e9 and abs(v) < 1e9 and abs(w) < 1e9):
        return math.nan
    i, j, k = math.floor(u), math.floor(v), math.floor(w)
    f, g, h = u - i, v - j, w - k
    i, j, k = i % nx, j % ny, k % nz
    i1, j1, k1 = (i + 1) % nx, (j + 1) % ny, (k + 1) % nz
    low = (1.0 - g) * ((1.0 - h) * values[i, j, k] + h * values[i, j, k1]) + g * (
        (1.0 - h) * values[i, j1, k] + h * values[i, j1, k1]
    )
    high = (1.0 - g) * ((1.0 - h) * values[i1, j, k] + h * values[i1, j, k1]) + g * (
        (1.0 - h) * values[i1, j1, k] + h * values[i1, j1, k1]
    )
    return (1.0 - f) * low + f * high


@njit(cache=True, nogil=True, error_model="numpy")
def _trilinear(values: NDArray[np.float32], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.empty(len(grid))
    for n in range(len(grid)):
        out[n] = trilinear_at(values, grid[n, 0], grid[n, 1], grid[n, 2])
    return out
