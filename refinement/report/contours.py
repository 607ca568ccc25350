"""Contour lines of a grid: marching squares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Corner = tuple[int, int]
Edge = tuple[Corner, Corner]


def contours(grid: NDArray[np.floating], level: float) -> Iterator[list[tuple[float, float]]]:
    """Yield the closed lines round the parts of a grid that reach a level.

    Coordinates are indices, first axis first, interpolated linearly. Outside the grid everything counts as far below
    the level, which closes lines along its border.

    Parameters
    ----------
    grid : NDArray[floating], shape (n, m)
        Heights.
    level : float
        Height of the lines.
    """
    below = level - max(float(np.abs(grid).max()), 1.0)
    heights = np.pad(grid.astype(np.float64), 1, constant_values=below)
    following = _segments(heights, level)
    while following:
        start, edge = following.popitem()
        line = [start]
        while edge != start:
            line.append(edge)
            edge = following.pop(edge)
        yield [_crossing(a, b, float(heights[a]), float(heights[b]), level) for a, b in line]


def _segments(heights: NDArray[np.float64], level: float) -> dict[Edge, Edge]:
    """Return from each crossed edge the next one, with the high ground on the left."""
    inside = heights >= level
    count = inside[:-1, :-1].astype(int) + inside[1:, :-1] + inside[:-1, 1:] + inside[1:, 1:]
    following: dict[Edge, Edge] = {}
    for i, j in np.argwhere((count > 0) & (count < 4)).tolist():
        corners = [(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)]
        states = [bool(inside[corner]) for corner in corners]
        leaving = [k for k in range(4) if states[k] and not states[k - 3]]
        entering = {k for k in range(4) if not states[k] and states[k - 3]}
        saddle_is_high = sum(float(heights[corner]) for corner in corners) >= 4.0 * level
        for k in leaving:
            ahead = [(k + step) % 4 for step in ((1, 2, 3) if saddle_is_high else (3, 2, 1))]
            following[_edge(corners, k)] = _edge(corners, next(e for e in ahead if e in entering))
    return following


def _edge(corners: list[Corner], k: int) -> Edge:
    a, b = corners[k], corners[k - 3]
    return (a, b) if a < b else (b, a)


def _crossing(a: Corner, b: Corner, at_a: float, at_b: float, level: float) -> tuple[float, float]:
    """Return the place on an edge, without the border of one cell that was added."""
    share = (level - at_a) / (at_b - at_a)
    return a[0] + share * (b[0] - a[0]) - 1.0, a[1] + share * (b[1] - a[1]) - 1.0
