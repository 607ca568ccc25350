"""Neighbour search for points anywhere in space: a cell list that wraps around, no box, no periodic images.

Cells are numbered modulo the size of a table that grows with the number of points, never with the volume they
span. Far cells may share a slot of the table; as every candidate is measured, that costs time only. Points
with a coordinate that is not finite have no neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]

FARTHEST = 1e8
"""Points further out than this (Å) are treated like missing ones: their cell would not fit an int32."""
SLOTS_PER_POINT = 4
PAIRS_PER_POINT = 12
"""Room made for pairs at the first attempt; dense cases take a second one."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _table_shape(points: Floats, edge: float) -> Longs:
    """Return the number of slots along x, y, z: as many as the points span, within the limit, 3 at least."""
    limit = max(64, SLOTS_PER_POINT * len(points))
    shape = np.empty(3, dtype=np.int64)
    for k in range(3):
        low, high = np.inf, -np.inf
        for i in range(len(points)):
            if abs(points[i, k]) < FARTHEST:
                low, high = min(low, points[i, k]), max(high, points[i, k])
        shape[k] = 3
        if high >= low:
            shape[k] = max(3, min(limit, int((high - low) / edge) + 2))
    while shape[0] * shape[1] * shape[2] > limit:
        widest = 0
        for k in range(1, 3):
            if shape[k] > shape[widest]:
                widest = k
        if shape[widest] == 3:
            break
        shape[widest] = max(3, shape[widest] // 2)
    return shape


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _build(points: Floats, edge: float) -> tuple[Longs, Longs, Ints, Floats]:
    """Sort points by slot.

    Returns
    -------
    shape : int64 array (3,)
    start : int64 array
        Slot s owns the sorted rows ``start[s]:start[s + 1]``.
    members : int32 array
        Point of each sorted row, ascending in every slot.
    sorted_points : float64 array (m, 3)
    """
    shape = _table_shape(points, edge)
    n = len(points)
    slot = np.empty(n, dtype=np.int64)
    start = np.zeros(shape[0] * shape[1] * shape[2] + 1, dtype=np.int64)
    for i in range(n):
        slot[i] = -1
        if abs(points[i, 0]) < FARTHEST and abs(points[i, 1]) < FARTHEST and abs(points[i, 2]) < FARTHEST:
            x = int(np.floor(points[i, 0] / edge)) % shape[0]
            y = int(np.floor(points[i, 1] / edge)) % shape[1]
            z = int(np.floor(points[i, 2] / edge)) % shape[2]
            slot[i] = (x * shape[1] + y) * shape[2] + z
            start[slot[i] + 1] += 1
    for s in range(len(start) - 1):
        start[s + 1] += start[s]
    members = np.empty(start[-1], dtype=np.int32)
    sorted_points = np.empty((start[-1], 3))
    cursor = np.empty(len(start) - 1, dtype=np.int64)
    for s in range(len(cursor)):
        cursor[s] = start[s]
    for i in range(n):
        if slot[i] >= 0:
            row = cursor[slot[i]]
            members[row] = i
            for k in range(3):
                sorted_points[row, k] = points[i, k]
            cursor[slot[i]] += 1
    return shape, start, members, sorted_points


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _half_shell(x: int, y: int, z: int, shape: Longs, slots: Longs) -> None:
    """Write the slots of 13 neighbours of a cell, one of each opposite pair."""
    count = 0
    for dx in range(2):
        for dy in range(-1, 2):
            for dz in range(-1, 2):
                if dx == 0 and (dy < 0 or (dy == 0 and dz <= 0)):
                    continue
                ax, ay, az = (x + dx) % shape[0], (y + dy) % shape[1], (z + dz) % shape[2]
                slots[count] = (ax * shape[1] + ay) * shape[2] + az
                count += 1


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _scan_pairs(points: Floats, reach: Floats, edge: float, pairs: Ints) -> int:
    """Write as many pairs as `pairs` has rows and return how many there are."""
    shape, start, members, at = _build(points, edge)
    far = np.empty(len(members))
    for row in range(len(members)):
        far[row] = reach[members[row]]
    slots = np.empty(13, dtype=np.int64)
    found = 0
    for slot in range(len(start) - 1):
        if start[slot] == start[slot + 1]:
            continue
        _half_shell(slot // (shape[1] * shape[2]), (slot // shape[2]) % shape[1], slot % shape[2], shape, slots)
        for a in range(start[slot], start[slot + 1]):
            x, y, z, r, i = at[a, 0], at[a, 1], at[a, 2], far[a], members[a]
            for s in range(14):
                first, stop = a + 1, start[slot + 1]
                if s < 13:
                    first, stop = start[slots[s]], start[slots[s] + 1]
                for b in range(first, stop):
                    dx, dy, dz = at[b, 0] - x, at[b, 1] - y, at[b, 2] - z
                    limit = r + far[b]
                    if dx * dx + dy * dy + dz * dz <= limit * limit and limit > 0.0:
                        if found < len(pairs):
                            j = members[b]
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
    edge = 2.0 * longest * (1.0 + 1e-9)
    pairs = np.empty((PAIRS_PER_POINT * len(points), 2), dtype=np.int32)
    count = _scan_pairs(points, reaches, edge, pairs)
    if count > len(pairs):
        pairs = np.empty((count, 2), dtype=np.int32)
        _scan_pairs(points, reaches, edge, pairs)
    return pairs[:count].copy()


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _scan_around(
    centres: Floats, cutoff: Floats, edge: float, shape: Longs, start: Longs, members: Ints, at: Floats,
    offsets: Longs, rows: Ints,
) -> None:  # fmt: skip
    """Write as many neighbours of the centres as `rows` has room for; `offsets` counts all of them."""
    found = 0
    for c in range(len(centres)):
        x, y, z = centres[c, 0], centres[c, 1], centres[c, 2]
        if abs(x) < FARTHEST and abs(y) < FARTHEST and abs(z) < FARTHEST:
            cx, cy, cz = int(np.floor(x / edge)), int(np.floor(y / edge)), int(np.floor(z / edge))
            for s in range(27):
                ax, ay, az = (cx + s // 9 - 1) % shape[0], (cy + (s // 3) % 3 - 1) % shape[1], (cz + s % 3 - 1) % shape[2]
                slot = (ax * shape[1] + ay) * shape[2] + az
                for b in range(start[slot], start[slot + 1]):
                    dx, dy, dz = at[b, 0] - x, at[b, 1] - y, at[b, 2] - z
                    if dx * dx + dy * dy + dz * dz <= cutoff[c] * cutoff[c]:
                        if found < len(rows):
                            rows[found] = members[b]
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
    longest = float(cutoffs.max(initial=0.0))
    if not longest > 0.0:
        return np.zeros(len(centres) + 1, dtype=np.int64), np.empty(0, dtype=np.int32)
    return Cells.of(points, longest).around(centres, cutoffs)


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Points sorted into cells, for searches around many small groups of centres one after the other.

    Attributes
    ----------
    edge : float
        Å; no search reaches further.
    """

    edge: float
    shape: NDArray[np.int64]
    start: NDArray[np.int64]
    members: NDArray[np.int32]
    sorted_points: NDArray[np.float64]

    @classmethod
    def of(cls, points: NDArray[np.float64], longest: float) -> Cells:
        """Sort points, shape (n, 3), for searches up to the cutoff `longest` (Å, positive)."""
        edge = longest * (1.0 + 1e-9)
        return cls(edge, *_build(np.ascontiguousarray(points, dtype=np.float64), edge))

    def around(self, centres: NDArray[np.float64], cutoff: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Find the points near each of some centres; as `neighbours_around`."""
        centres = np.ascontiguousarray(centres, dtype=np.float64)
        cutoffs = np.ascontiguousarray(np.broadcast_to(np.asarray(cutoff, dtype=np.float64), (len(centres),)))
        offsets = np.zeros(len(centres) + 1, dtype=np.int64)
        rows = np.empty(2 * PAIRS_PER_POINT * len(centres), dtype=np.int32)
        cells = (self.edge, self.shape, self.start, self.members, self.sorted_points)
        _scan_around(centres, cutoffs, *cells, offsets, rows)
        if offsets[-1] > len(rows):
            rows = np.empty(offsets[-1], dtype=np.int32)
            _scan_around(centres, cutoffs, *cells, offsets, rows)
        return offsets, rows[: offsets[-1]]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _scan_nearest(centres: Floats, edge: float, points: Floats, nearest: Longs, distance: Floats) -> None:
    """Write the nearest point of each centre within `edge`, the first of equally near ones."""
    shape, start, members, at = _build(points, edge)
    for c in range(len(centres)):
        x, y, z = centres[c, 0], centres[c, 1], centres[c, 2]
        best, row = edge * edge, -1
        if abs(x) < FARTHEST and abs(y) < FARTHEST and abs(z) < FARTHEST:
            cx, cy, cz = int(np.floor(x / edge)), int(np.floor(y / edge)), int(np.floor(z / edge))
            for s in range(27):
                ax, ay, az = (cx + s // 9 - 1) % shape[0], (cy + (s // 3) % 3 - 1) % shape[1], (cz + s % 3 - 1) % shape[2]
                slot = (ax * shape[1] + ay) * shape[2] + az
                for b in range(start[slot], start[slot + 1]):
                    dx, dy, dz = at[b, 0] - x, at[b, 1] - y, at[b, 2] - z
                    square = dx * dx + dy * dy + dz * dz
                    if square < best or (square == best and (row < 0 or members[b] < row)):
                        best, row = square, members[b]
        nearest[c] = row
        distance[c] = np.sqrt(best) if row >= 0 else np.inf


def nearest_points(
    centres: NDArray[np.float64], points: NDArray[np.float64], cutoff: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find the point nearest to each of some centres.

    Parameters
    ----------
    centres : NDArray[float64], shape (c, 3)
        Å.
    points : NDArray[float64], shape (n, 3)
        Å.
    cutoff : float
        Å; points further away don't count.

    Returns
    -------
    nearest : NDArray[int64], shape (c,)
        Row of the nearest point, the first of equally near ones, -1 where there is none.
    distance : NDArray[float64], shape (c,)
        Å, inf where there is none.
    """
    nearest, distance = np.full(len(centres), -1, dtype=np.int64), np.full(len(centres), np.inf)
    centres, points = (np.ascontiguousarray(part, dtype=np.float64) for part in (centres, points))
    if len(points) and cutoff > 0.0:
        _scan_nearest(centres, float(cutoff), points, nearest, distance)
    return nearest, distance
