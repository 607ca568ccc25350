"""Values and gradients of a map between its grid points.

The refinement follows a cubic B-spline through the voxels: exact at the grid points, twice continuously
differentiable, so that value and gradient belong to one and the same function. Catmull-Rom interpolation
(once differentiable, needs no filter) and trilinear values are here for the metrics that are defined by them.

Outside the box the spline falls smoothly to zero within three voxels and stays zero, with zero gradient: atoms
that leave the map feel nothing and nothing is read out of bounds. Positions that aren't numbers give NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numba import njit
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.density import Density

PAD = 4
"""Voxels added on each side: one mirrored, so that the edge is interpolated exactly, and three of zeros."""

BSPLINE, CATMULL_ROM = 0, 1


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
        self, positions: NDArray[np.float64], weights: NDArray[np.float64], gradient: NDArray[np.float64]
    ) -> float:
        """Return −Σ w ρ(r) and add its derivatives by the positions (per Å) to `gradient`."""
        return float(
            energy_and_gradient(positions, weights, self.coefficients, self.grid_matrix, self.corner, self.basis, gradient)
        )


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
    values = density.normalised().values if normalise else density.values
    if method == "bspline":
        values = ndimage.spline_filter(values, order=3, output=np.float32, mode="mirror")
    # "reflect" takes the neighbour of a neighbour, which a box of one voxel doesn't have
    mirror: Literal["reflect", "edge"] = "reflect" if min(values.shape) > 1 else "edge"
    padded = np.pad(np.pad(values, 1, mode=mirror), PAD - 1)
    return InterpolatedMap(
        np.ascontiguousarray(padded, dtype=np.float32),
        density.grid_matrix,
        np.asarray(density.corner, dtype=np.float64),
        BSPLINE if method == "bspline" else CATMULL_ROM,
    )


def trilinear(density: Density, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return trilinear values at positions, shape (n, 3) in Å; the box repeats periodically."""
    return _trilinear(density.values, density.grid_coordinates(positions))


@njit(cache=True, nogil=True, error_model="numpy")
def _weights(t: float, basis: int) -> tuple[float, float, float, float, float, float, float, float]:
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


@njit(cache=True, nogil=True, error_model="numpy")
def _spline_at(c: NDArray[np.float32], u: float, v: float, w: float, basis: int) -> tuple[float, float, float, float]:
    """Return the value at grid coordinates (u, v, w) and its derivatives by them."""
    u, v, w = u + PAD, v + PAD, w + PAD
    inside = 1.0 <= u < c.shape[0] - 2 and 1.0 <= v < c.shape[1] - 2 and 1.0 <= w < c.shape[2] - 2
    if not inside:
        # NaN compares false with everything: it must come out again instead of becoming an index
        nothing = 0.0 if u == u and v == v and w == w else math.nan
        return nothing, nothing, nothing, nothing
    i, j, k = int(u), int(v), int(w)
    x0, x1, x2, x3, dx0, dx1, dx2, dx3 = _weights(u - i, basis)
    y0, y1, y2, y3, dy0, dy1, dy2, dy3 = _weights(v - j, basis)
    z0, z1, z2, z3, dz0, dz1, dz2, dz3 = _weights(w - k, basis)
    value, by_u, by_v, by_w = 0.0, 0.0, 0.0, 0.0
    for a, wx, dx in ((-1, x0, dx0), (0, x1, dx1), (1, x2, dx2), (2, x3, dx3)):
        plane, plane_v, plane_w = 0.0, 0.0, 0.0
        for b, wy, dy in ((-1, y0, dy0), (0, y1, dy1), (1, y2, dy2), (2, y3, dy3)):
            line = c[i + a, j + b]
            c0, c1, c2, c3 = line[k - 1], line[k], line[k + 1], line[k + 2]
            along = z0 * c0 + z1 * c1 + z2 * c2 + z3 * c3
            plane += wy * along
            plane_v += dy * along
            plane_w += wy * (dz0 * c0 + dz1 * c1 + dz2 * c2 + dz3 * c3)
        value += wx * plane
        by_u += dx * plane
        by_v += wx * plane_v
        by_w += wx * plane_w
    return value, by_u, by_v, by_w


@njit(cache=True, nogil=True, error_model="numpy")
def energy_and_gradient(
    positions: NDArray[np.float64],
    weights: NDArray[np.float64],
    coefficients: NDArray[np.float32],
    grid_matrix: NDArray[np.float64],
    corner: NDArray[np.float64],
    basis: int,
    gradient: NDArray[np.float64],
) -> float:
    """Return −Σ w ρ(r) and add its derivatives to `gradient` (n, 3); target (7) of Afonine et al. 2018.

    Atoms of weight 0 are skipped. See `InterpolatedMap` for the arrays.
    """
    g = grid_matrix
    energy = 0.0
    for n in range(len(positions)):
        weight = weights[n]
        if weight == 0.0:
            continue
        x, y, z = positions[n, 0] - corner[0], positions[n, 1] - corner[1], positions[n, 2] - corner[2]
        u = g[0, 0] * x + g[0, 1] * y + g[0, 2] * z
        v = g[1, 0] * x + g[1, 1] * y + g[1, 2] * z
        w = g[2, 0] * x + g[2, 1] * y + g[2, 2] * z
        value, by_u, by_v, by_w = _spline_at(coefficients, u, v, w, basis)
        energy -= weight * value
        for axis in range(3):
            gradient[n, axis] -= weight * (by_u * g[0, axis] + by_v * g[1, axis] + by_w * g[2, axis])
    return energy


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
    value, _, _, _ = _spline_at(coefficients, u, v, w, basis)
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
