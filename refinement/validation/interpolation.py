"""Multilinear interpolation in periodic contour grids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def periodic_multilinear(
    grid: NDArray[np.float32], points: NDArray[np.float64], *, lower: float, width: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Interpolate between the centres of the cells of a grid; every axis is periodic.

    Parameters
    ----------
    grid : NDArray[float32], d axes
        Values at the centres of the cells.
    points : NDArray[float64], shape (n, d)
        Angles in degrees, in any turn.
    lower : float
        Lower edge of the first cell of every axis, degrees.
    width : NDArray[float64], shape (d,)
        Widths of the cells, degrees.
    """
    places = (points - lower) / width - 0.5
    cells = np.floor(places).astype(np.int64)
    corners = [(np.zeros(len(points), dtype=np.int64), np.ones(len(points)))]
    for axis, size in enumerate(grid.shape):
        cell, beyond = cells[:, axis], places[:, axis] - cells[:, axis]
        sides = ((cell % size, 1.0 - beyond), ((cell + 1) % size, beyond))
        corners = [(row * size + place, weight * part) for row, weight in corners for place, part in sides]
    flat, values = grid.ravel(), np.zeros(len(points))
    for row, weight in corners:
        values += weight * flat[row]
    return values
