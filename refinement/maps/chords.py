"""Which points of a row of a grid lie within a sphere."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from numba import njit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SLACK = 1e-6
"""Grid steps by which a chord is longer than it should be, so that rounding never makes it too short."""


@njit(cache=True, nogil=True, error_model="numpy")
def chord(x: float, y: float, step: NDArray[np.float64], radius2: float) -> tuple[float, float]:
    """Return the range of t for which (x, y, 0) + t · (third column of `step`) lies within a sphere around 0.

    Parameters
    ----------
    x, y : float
        Å.
    step : NDArray[float64], shape (3, 3)
        Grid steps in its columns, Å; upper triangular.
    radius2 : float
        Squared radius in Å².

    Returns
    -------
    tuple[float, float]
        Slightly more than the range; (1, −1) if there is none.
    """
    a = step[0, 2] * step[0, 2] + step[1, 2] * step[1, 2] + step[2, 2] * step[2, 2]
    b = x * step[0, 2] + y * step[1, 2]
    under_root = b * b - a * (x * x + y * y - radius2)
    if under_root < -1e-9 * a * radius2:
        return 1.0, -1.0
    root = math.sqrt(max(under_root, 0.0))
    return (-b - root) / a - SLACK, (-b + root) / a + SLACK
