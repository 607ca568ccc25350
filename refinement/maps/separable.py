"""Sums of Gaussians on grids with orthogonal axes, where each Gaussian is a product of three.

Of each atom the products along y and z make a plane, whose multiples by the factors along x are added layer by layer:
one multiplication and addition for each Gaussian and grid point, in loops that compilers turn into vector code. (Indices
are unsigned there: numba checks signed ones for being negative.)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Singles = NDArray[np.float32]

TAIL = 3e-5
"""Atoms are summed out to where they have fallen to this fraction of their height."""
FUSED = 5
"""Gaussians of the scattering factors."""
SHRINK, SMALLEST = 0.05, 0.3
"""Steps in which the squared radius is shrunk from that of the widest Gaussian, and the last one."""


@njit(cache=True, nogil=True, error_model="numpy")
def is_orthogonal(step: Floats) -> bool:
    """Return whether grid steps, shape (3, 3), upper triangular, are along x, y and z."""
    return bool(step[0, 1] == 0.0 and step[0, 2] == 0.0 and step[1, 2] == 0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def squared_radius(height: Floats, fall: Floats) -> float:
    """Return r² (Å²) beyond which Σ |height| exp(−fall r²) is below `TAIL` of its value at 0."""
    top, slowest = 0.0, fall[0]
    for k in range(len(height)):
        top += abs(height[k])
        slowest = min(slowest, fall[k])
    # the slowest Gaussian bounds the reach; the sum of all reaches the same fraction sooner
    widest, shrink = -math.log(TAIL) / slowest, 1.0
    while shrink > SMALLEST:
        value = 0.0
        for k in range(len(height)):
            value += abs(height[k]) * math.exp(-fall[k] * widest * (shrink - SHRINK))
        if value > TAIL * top:
            break
        shrink -= SHRINK
    return widest * shrink


@njit(cache=True, nogil=True, error_model="numpy")
def meets(low: int, high: int, first: int, end: int, period: int) -> bool:
    """Return whether any of the planes low … high of a periodic box is one of first … end − 1."""
    if high - low + 1 >= period:
        return True
    low, high = low % period, high % period
    if low <= high:
        return low < end and high >= first
    return low < end or high >= first


@njit(cache=True, nogil=True, error_model="numpy")
def _widest(grid: Floats, height: Floats, fall: Floats, step: Floats, radius2: Floats) -> int:
    """Write r² of each atom, negative for those that aren't anywhere, and return the most grid points across one."""
    most = 1.0
    finest = min(step[0, 0], step[1, 1], step[2, 2])
    for n in range(len(grid)):
        radius2[n] = -1.0
        if abs(grid[n, 0]) < 1e8 and abs(grid[n, 1]) < 1e8 and abs(grid[n, 2]) < 1e8:
            radius2[n] = squared_radius(height[n], fall[n])
            most = max(most, 2.0 * math.sqrt(radius2[n]) / finest + 2.0)
    return int(most)


@njit(cache=True, nogil=True, error_model="numpy")
def _along(centre: float, step: float, low: int, count: int, fall: Floats, out: Floats) -> None:
    """Write exp(−fall_k t²) to out[k, m], t = (low + m − centre) · step, by recurrence from the centre outwards."""
    middle = min(max(math.floor(centre + 0.5) - low, 0), count - 1)
    apart = low + middle - centre
    for k in range(len(fall)):
        f = fall[k] * step * step
        top, bend = math.exp(-f * apart * apart), math.exp(-2.0 * f)
        value, ratio = top, math.exp(-f * (2.0 * apart + 1.0))
        for m in range(middle, count):
            out[k, m] = value
            value *= ratio
            ratio *= bend
        value, ratio = top, math.exp(-f * (1.0 - 2.0 * apart))
        for m in range(middle, -1, -1):
            out[k, m] = value
            value *= ratio
            ratio *= bend


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _plane(along_y: Floats, along_z: Floats, rows: int, columns: int, size: int, line: Singles, plane: Singles) -> None:
    """Write the products of the factors along y and z, Gaussian k from plane[k · size] on; `line` is scratch."""
    count = np.uint64(columns)
    for k in range(len(along_y)):
        for m in range(columns):
            line[m] = along_z[k, m]
        for j in range(rows):
            factor, at = np.float32(along_y[k, j]), np.uint64(k * size + j * columns)
            for m in range(count):
                plane[at + m] = factor * line[m]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _bent_plane(
    along_y: Floats, along_z: Floats, rows: int, columns: int, size: int, line: Singles, bent: Singles, fall: Floats, v: float,
    w: float, step: Floats, plane: Singles,
) -> None:  # fmt: skip
    """Write the same times fall · (y² + z²), with the centre at (v, w) in rows and columns; `line` and `bent` are scratch."""
    count = np.uint64(columns)
    for k in range(len(along_y)):
        for m in range(columns):
            line[m] = along_z[k, m]
            bent[m] = fall[k] * ((m - w) * step[2, 2]) ** 2 * along_z[k, m]
        for j in range(rows):
            factor, at = np.float32(along_y[k, j]), np.uint64(k * size + j * columns)
            more = np.float32(fall[k] * ((j - v) * step[1, 1]) ** 2 * along_y[k, j])
            for m in range(count):
                plane[at + m] = factor * bent[m] + more * line[m]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _mix(factor: Singles, plane: Singles, size: int, first: int, end: int, out: Singles) -> None:
    """Write Σ_k factor[k] · (plane of Gaussian k) to out[first:end]."""
    begin, stop = np.uint64(first), np.uint64(end)
    if len(factor) == FUSED:  # the scattering factors: one pass is twice as fast
        a, b, c, d, e = factor[0], factor[1], factor[2], factor[3], factor[4]
        second, third, fourth, fifth = np.uint64(size), np.uint64(2 * size), np.uint64(3 * size), np.uint64(4 * size)
        for m in range(begin, stop):
            out[m] = a * plane[m] + b * plane[second + m] + c * plane[third + m] + d * plane[fourth + m] + e * plane[fifth + m]
        return
    for m in range(begin, stop):
        out[m] = factor[0] * plane[m]
    for k in range(1, len(factor)):
        a, at = factor[k], np.uint64(k * size)
        for m in range(begin, stop):
            out[m] += a * plane[at + m]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc"})
def _dot(plane: Singles, at: int, values: Singles, first: int, end: int) -> float:
    """Return Σ plane[at + m] · values[m] over m of first … end − 1."""
    total, start = np.float32(0.0), np.uint64(at)
    for m in range(np.uint64(first), np.uint64(end)):
        total += plane[start + m] * values[m]
    return float(total)


@njit(cache=True, nogil=True, error_model="numpy")
def _rows_within(x: float, centre: float, step: float, radius2: float, low: int, rows: int) -> tuple[int, int]:
    """Return the range of the rows of a layer at x (Å) that come within the radius."""
    half = math.sqrt(max(radius2 - x * x, 0.0)) / step
    return max(math.ceil(centre - half) - low, 0), min(math.floor(centre + half) - low + 1, rows)


@njit(cache=True, nogil=True, error_model="numpy")
def sum_separable(total: Singles, grid: Floats, height: Floats, fall: Floats, step: Floats, first: int, end: int) -> None:
    """Add atoms to the planes first … end − 1 of a periodic box; arguments as in `refinement.maps.scattering.sum_atoms`."""
    nx, ny, nz = total.shape
    radius2 = np.empty(len(grid))
    most, number = _widest(grid, height, fall, step, radius2), height.shape[1]
    size = most * most
    along = np.empty((3, number, most))
    plane, layer = np.empty(number * size, np.float32), np.empty(size, np.float32)
    line, factor = np.empty(most, np.float32), np.empty(number, np.float32)
    for n in range(len(grid)):
        if radius2[n] < 0.0:
            continue
        radius = math.sqrt(radius2[n])
        u, v, w = grid[n, 0], grid[n, 1], grid[n, 2]
        x_low, x_high = math.ceil(u - radius / step[0, 0]), math.floor(u + radius / step[0, 0])
        if x_high < x_low or not meets(x_low, x_high, first, end, nx):
            continue
        y_low, z_low = math.ceil(v - radius / step[1, 1]), math.ceil(w - radius / step[2, 2])
        rows, columns = math.floor(v + radius / step[1, 1]) - y_low + 1, math.floor(w + radius / step[2, 2]) - z_low + 1
        if rows < 1 or columns < 1:
            continue
        _along(u, step[0, 0], x_low, x_high - x_low + 1, fall[n], along[0])
        _along(v, step[1, 1], y_low, rows, fall[n], along[1])
        _along(w, step[2, 2], z_low, columns, fall[n], along[2])
        _plane(along[1], along[2], rows, columns, size, line, plane)
        for i in range(x_low, x_high + 1):
            if not first <= i % nx < end:
                continue
            begin, stop = _rows_within((i - u) * step[0, 0], v, step[1, 1], radius2[n], y_low, rows)
            for k in range(number):
                factor[k] = height[n, k] * along[0, k, i - x_low]
            _mix(factor, plane, size, begin * columns, stop * columns, layer)
            for j in range(begin, stop):
                _add_row(total[i % nx, (j + y_low) % ny], z_low, columns, nz, layer, j * columns)


@njit(cache=True, nogil=True, error_model="numpy")
def _add_row(row: Singles, low: int, count: int, period: int, values: Singles, first: int) -> None:
    """Add `count` values to a periodic row from `low` on."""
    if low >= 0 and low + count <= period:
        start, at = np.uint64(low), np.uint64(first)
        for m in range(np.uint64(count)):
            row[start + m] += values[at + m]
    else:
        for m in range(count):
            row[(low + m) % period] += values[first + m]


@njit(cache=True, nogil=True, error_model="numpy")
def gather_separable(field: Singles, grid: Floats, height: Floats, fall: Floats, step: Floats, by_b: bool, out: Floats) -> None:
    """Set out[n] to the sum over the grid of field · ρ_n, or of field · dρ_n/dB; see `refinement.maps.summation`.

    With h ∝ β^-1.5 and f = 4π²/β, the derivative by β of h exp(−f r²) is (f r² − 1.5)/β times it.
    """
    nx, ny, nz = field.shape
    radius2 = np.empty(len(grid))
    most, number = _widest(grid, height, fall, step, radius2), height.shape[1]
    size = most * most
    along = np.empty((3, number, most))
    plane, around = np.empty(number * size, np.float32), np.empty(number * size, np.float32)
    layer, line, bent = np.empty(size, np.float32), np.empty(most, np.float32), np.empty(most, np.float32)
    for n in range(len(grid)):
        if radius2[n] < 0.0:
            continue
        radius, total = math.sqrt(radius2[n]), 0.0
        u, v, w = grid[n, 0], grid[n, 1], grid[n, 2]
        x_low, x_high = math.ceil(u - radius / step[0, 0]), math.floor(u + radius / step[0, 0])
        y_low, z_low = math.ceil(v - radius / step[1, 1]), math.ceil(w - radius / step[2, 2])
        rows, columns = math.floor(v + radius / step[1, 1]) - y_low + 1, math.floor(w + radius / step[2, 2]) - z_low + 1
        if x_high < x_low or rows < 1 or columns < 1:
            out[n] = 0.0
            continue
        _along(u, step[0, 0], x_low, x_high - x_low + 1, fall[n], along[0])
        _along(v, step[1, 1], y_low, rows, fall[n], along[1])
        _along(w, step[2, 2], z_low, columns, fall[n], along[2])
        _plane(along[1], along[2], rows, columns, size, line, plane)
        if by_b:
            _bent_plane(along[1], along[2], rows, columns, size, line, bent, fall[n], v - y_low, w - z_low, step, around)
        for i in range(x_low, x_high + 1):
            x = (i - u) * step[0, 0]
            begin, stop = _rows_within(x, v, step[1, 1], radius2[n], y_low, rows)
            for j in range(begin, stop):
                _take_row(field[i % nx, (j + y_low) % ny], z_low, columns, nz, layer, j * columns)
            for k in range(number):
                weight, f = height[n, k] * along[0, k, i - x_low], fall[n, k]
                found = _dot(plane, k * size, layer, begin * columns, stop * columns)
                if by_b:
                    found = (f * x * x - 1.5) * found + _dot(around, k * size, layer, begin * columns, stop * columns)
                    weight *= f / (4.0 * math.pi**2)
                total += weight * found
        out[n] = total


@njit(cache=True, nogil=True, error_model="numpy")
def _take_row(row: Singles, low: int, count: int, period: int, values: Singles, first: int) -> None:
    """Copy `count` values of a periodic row from `low` on."""
    if low >= 0 and low + count <= period:
        start, at = np.uint64(low), np.uint64(first)
        for m in range(np.uint64(count)):
            values[at + m] = row[start + m]
    else:
        for m in range(count):
            values[first + m] = row[(low + m) % period]
