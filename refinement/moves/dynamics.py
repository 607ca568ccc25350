"""Dynamics at a temperature: atoms follow the forces of any target and are kicked at random.

Langevin dynamics in the splitting of Leimkuhler & Matthews (2013) Appl. Math. Res. Express 34 ("BAOAB"), which is
right for configurations at long time steps. Time and mass have no unit: masses are those that make the target's curvature
the same in all directions (Bennett 1975, J. Comput. Phys. 19, 267), so that a bond swings no faster than a hinge, and
a step is about a hundred times as long as with the masses of atoms. They are renewed as the model turns.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from refinement.minimise import variables_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from refinement.minimise import Function, Variables

STEP = 0.5
"""Time step; the stiffest direction swings once in 2π."""
FRICTION = 0.05
"""Part of the momentum that is lost in a step, and replaced by a random one."""
RENEWED = 20
"""Steps after which masses are made anew."""


def dynamics(
    function: Function,
    curvature: Callable[[NDArray[np.float64]], NDArray[np.float64] | Variables],
    start: NDArray[np.float64],
    temperatures: Sequence[float] | NDArray[np.float64],
    rng: np.random.Generator,
    *,
    max_shift: float,
    step: float = STEP,
    friction: float = FRICTION,
) -> Iterator[NDArray[np.float64]]:
    """Move atoms by Langevin dynamics; yield their positions, shape (n, 3), whenever masses are renewed, and at the end.

    Parameters
    ----------
    function : Function
        Energy and gradient, as for `refinement.minimise.minimise`.
    curvature : callable
        Approximate diagonal of the Hessian near given positions, or variables in which the Hessian is about 1; asked for
        again on the way.
    start : NDArray[float64], shape (n, 3)
        Å; not changed.
    temperatures : sequence of float
        kT of each step, in units of the energy.
    rng : Generator
        Source of the kicks.
    max_shift : float
        Å; no atom moves further along one axis in half a step: near a pole of the energy momenta are cut.
    step, friction : float
        See `STEP` and `FRICTION`.

    Raises
    ------
    FloatingPointError
        If the gradient isn't finite.
    """
    x = np.array(start, dtype=np.float64)
    gradient, shift = np.empty_like(x), np.empty(x.size)
    force, momentum = np.empty(x.size), np.empty(x.size)
    keep = 1.0 - friction
    for number, temperature in enumerate(temperatures):
        if number % RENEWED == 0:
            if number:
                yield x.copy()
            z = variables_of(curvature(x), x.size)
            if not number:
                momentum[:] = rng.normal(scale=math.sqrt(temperature), size=x.size)
            _forces(function, z, x, gradient, force)
        momentum -= 0.5 * step * force
        _drift(z, momentum, x, shift, 0.5 * step, max_shift)
        momentum *= keep
        momentum += rng.normal(scale=math.sqrt((1.0 - keep * keep) * temperature), size=x.size)
        _drift(z, momentum, x, shift, 0.5 * step, max_shift)
        _forces(function, z, x, gradient, force)
        momentum -= 0.5 * step * force
    yield x


def _forces(
    function: Function, z: Variables, x: NDArray[np.float64], gradient: NDArray[np.float64], force: NDArray[np.float64]
) -> None:
    function(x, gradient)
    z.gradient(gradient.ravel(), force)
    if not np.isfinite(force).all():
        message = "the forces of a dynamics run aren't finite numbers"
        raise FloatingPointError(message)


def _drift(
    z: Variables, momentum: NDArray[np.float64], x: NDArray[np.float64], shift: NDArray[np.float64], time: float, limit: float
) -> None:
    """Move along the momentum for a time; shorter where an atom would go too far."""
    z.direction(momentum, shift)
    np.clip(shift, -limit / time, limit / time, out=shift)
    x += time * shift.reshape(x.shape)
