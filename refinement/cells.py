"""Neighbour search for points anywhere in space: a hashed cell list, no box and no periodic images.

Points are counted into buckets by a hash of their cell, so memory grows with the number of points and never
with the volume they span. Points with a coordinate that is not finite have no neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

FARTHEST = 1e8
"""Points further out than this (Å) are treated like missing ones: their cell would not fit an int32."""

_HALF_SHELL = np.array(
    [(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if (x, y, z) > (0, 0, 0)],
    dtype=np.int32,
)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _bucket(x: int, y: int, z: int, mask: int) -> int:
    return ((x * 73856093) ^ (y * 19349663) ^ (z * 83492791)) & mask


@numba.njit(cache=True, nogil=True, error_model="numpy")
def build_cells(points, edge):  # type: ignore[no-untyped-def]
    """Sort points into hashed cells.

    Parameters
    ----------
    points : float64 array, shape (n, 3)
        Å.
    edge : float
        Cell edge in Å, not less than the longest distance to be searched.

    Returns
    -------
    cell : int32 array, shape (n, 3)
        Cell of each point (row index of `points`).
    start : int64 array, shape (n_buckets + 1,)
        Bucket b owns ``members[start[b]:start[b + 1]]``.
    members : int32 array
        Row indices, ascending in each bucket; points that are not finite are left out.
    """
    n = len(points)
    size = 64
    while size < 2 * n:
        size *= 2
    mask = size - 1
    cell = np.zeros((n, 3), dtype=np.int32)
    bucket = np.empty(n, dtype=np.int64)
    start = np.zeros(size + 1, dtype=np.int64)
    for i in range(n):
        bucket[i] = -1
        inside = True
        for k in range(3):
            inside &= abs(points[i, k]) < FARTHEST
        if inside:
            for k in range(3):
                cell[i, k] = np.int32(np.floor(points[i, k] / edge))
            bucket[i] = _bucket(cell[i, 0], cell[i, 1], cell[i, 2], mask)
            start[bucket[i] + 1] += 1
    for b in range(size):
        start[b + 1] += start[b]
    members = np.empty(start[size], dtype=np.int32)
    cursor = start[:-1].copy()
    for i in range(n):
        if bucket[i] >= 0:
            members[cursor[bucket[i]]] = i
            cursor[bucket[i]] += 1
    return cell, start, members


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _scan_pairs(points, reach, cell, start, members, shell, pairs):  # type: ignore[no-untyped-def]
    """Write the pairs (or only count them when `pairs` has no rows) and return their number."""
    mask = len(start) - 2
    writing = len(pairs) > 0
    found = 0
    for m in range(len(members)):
        i = members[m]
        x, y, z, r = points[i, 0], points[i, 1], points[i, 2], reach[i]
        for s in range(len(shell) + 1):
            cx, cy, cz = cell[i, 0], cell[i, 1], cell[i, 2]
            if s < len(shell):
                cx, cy, cz = cx + shell[s, 0], cy + shell[s, 1], cz + shell[s, 2]
            b = _bucket(cx, cy, cz, mask)
            for t in range(start[b], start[b + 1]):
                j = members[t]
                if cell[j, 0] != cx or cell[j, 1] != cy or cell[j, 2] != cz or (s == len(shell) and j <= i):
                    continue
                dx, dy, dz = points[j, 0] - x, points[j, 1] - y, points[j, 2] - z
                limit = r + reach[j]
                if limit > 0.0 and dx * dx + dy * dy + dz * dz <= limit * limit:
                    if writing:
                        pairs[found, 0] = min(i, j)
                        pairs[found, 1] = max(i, j)
                    found += 1
    return found


def neighbour_pairs(points: NDArray[np.float64], reach: ArrayLike) -> NDArray[np.int32]:
    """Find all pairs of points not further apart than the sum of their reaches.

    Parameters
    ----------
    points : NDArray[float64], shape (n, 3)
        Positions in Å.
    reach : float or array of shape (n,)
        Reach of every point in Å; for one common cutoff give half of it. Pairs need a positive sum.

    Returns
    -------
    NDArray[int32], shape (m, 2)
        Each pair once, smaller index first. The order depends only on the input.
    """
    points = np.ascontiguousarray(points, dtype=np.float64)
    reaches = np.ascontiguousarray(np.broadcast_to(np.asarray(reach, dtype=np.float64), (len(points),)))
    longest = float(reaches.max(initial=0.0))
    if not longest > 0.0:
        return np.empty((0, 2), dtype=np.int32)
    cell, start, members = build_cells(points, 2.0 * longest * (1.0 + 1e-9))
    nothing = np.empty((0, 2), dtype=np.int32)
    count = _scan_pairs(points, reaches, cell, start, members, _HALF_SHELL, nothing)
    if count == 0:
        return nothing
    pairs = np.empty((count, 2), dtype=np.int32)
    _scan_pairs(points, reaches, cell, start, members, _HALF_SHELL, pairs)
    return pairs


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _scan_around(centres, cutoff, edge, points, cell, start, members, offsets, rows):  # type: ignore[no-untyped-def]
    """Write the neighbours of each centre, or only count them into `offsets` when `rows` is empty."""
    mask = len(start) - 2
    writing = len(rows) > 0
    found = 0
    for c in range(len(centres)):
        x, y, z = centres[c, 0], centres[c, 1], centres[c, 2]
        if abs(x) < FARTHEST and abs(y) < FARTHEST and abs(z) < FARTHEST:
            home_x, home_y, home_z = int(np.floor(x / edge)), int(np.floor(y / edge)), int(np.floor(z / edge))
            for s in range(27):
                cx, cy, cz = home_x + s // 9 - 1, home_y + (s // 3) % 3 - 1, home_z + s % 3 - 1
                b = _bucket(cx, cy, cz, mask)
                for t in range(start[b], start[b + 1]):
                    j = members[t]
                    if cell[j, 0] != cx or cell[j, 1] != cy or cell[j, 2] != cz:
                        continue
                    dx, dy, dz = points[j, 0] - x, points[j, 1] - y, points[j, 2] - z
                    if dx * dx + dy * dy + dz * dz <= cutoff[c] * cutoff[c]:
                        if writing:
                            rows[found] = j
                        found += 1
        offsets[c + 1] = found


def neighbours_around(
    centres: NDArray[np.float64], points: NDArray[np.float64], cutoff: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Find the points near each of some centres.

    Parameters
    ----------
    centres : NDArray[float64], shape (c, 3)
        Å.
    points : NDArray[float64], shape (n, 3)
        Å; a point at a centre is its neighbour too.
    cutoff : float or array of shape (c,)
        Å.

    Returns
    -------
    offsets : NDArray[int64], shape (c + 1,)
    rows : NDArray[int32]
        Centre c has the points ``rows[offsets[c]:offsets[c + 1]]``; the order depends only on the input.
    """
    centres = np.ascontiguousarray(centres, dtype=np.float64)
    points = np.ascontiguousarray(points, dtype=np.float64)
    cutoffs = np.ascontiguousarray(np.broadcast_to(np.asarray(cutoff, dtype=np.float64), (len(centres),)))
    edge = float(cutoffs.max(initial=0.0)) * (1.0 + 1e-9)
    offsets = np.zeros(len(centres) + 1, dtype=np.int64)
    rows = np.empty(0, dtype=np.int32)
    if not edge > 0.0:
        return offsets, rows
    cells = build_cells(points, edge)
    _scan_around(centres, cutoffs, edge, points, *cells, offsets, rows)
    if offsets[-1]:
        rows = np.empty(offsets[-1], dtype=np.int32)
        _scan_around(centres, cutoffs, edge, points, *cells, offsets, rows)
    return offsets, rows
