"""Multilinear interpolation in periodic contour grids."""

from __future__ import annotations

from itertools import product
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
    fractions = places - cells
    shape = np.array(grid.shape)
    values = np.zeros(len(points))
    for corner in product((0, 1), repeat=grid.ndim):
        weight = np.where(corner, fractions, 1.0 - fractions).prod(axis=1)
        values += weight * grid[tuple(((cells + corner) % shape).T)]
    return values
