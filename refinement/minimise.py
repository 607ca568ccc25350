"""The optimiser: limited-memory BFGS on flat arrays.

Written here because the loop must not allocate, must give the same bits for any number of threads
(all sums run in one fixed order, no BLAS), and must know that its variables are atoms: a step is
capped by the largest atomic shift, and it works in variables z in which the function curves about equally in all
directions: each scaled by itself, or z = Lᵀ x with the factor L of an approximate Hessian
(Nocedal & Wright, Numerical Optimization, 2nd ed., algorithms 7.4 and 7.5, and section 5.1 on preconditioning).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

Function = Callable[["NDArray[np.float64]", "NDArray[np.float64]"], float]
"""``function(x, gradient) -> energy``; it overwrites ``gradient``, which has the shape of ``x``."""


class Variables(Protocol):
    """Variables z in place of x, both flat; what is linear in x is linear in z."""

    def gradient(self, by_x: NDArray[np.float64], by_z: NDArray[np.float64]) -> None:
        """Write the gradient by z, given that by x."""
        ...

    def direction(self, of_z: NDArray[np.float64], of_x: NDArray[np.float64]) -> None:
        """Write the change of x that a change of z makes."""
        ...


@runtime_checkable
class Dampable(Variables, Protocol):
    """Variables that can be made stiffer where a step would go too far."""

    def damped(self, x: NDArray[np.float64], gradient: NDArray[np.float64], limit: float) -> Dampable:
        """Return variables in which the steepest descent from x, where the gradient is this, stays within about `limit`."""
        ...


TOO_FAR = 10.0
"""Steps that would go beyond so many times the longest allowed shift aren't shortened as a whole: a single atom in a bad place
would hold back all others, the more surely the larger the model. What would go so far is made stiffer instead."""
MOST_DAMPED = 6
"""How often that is done in one minimisation; it costs a few factors of the approximate Hessian."""
_ARMIJO = 1e-4
_CURVATURE = 1e-12
_MAX_BACKTRACKS = 12


@dataclass(frozen=True, slots=True)
class Minimum:
    """Where a minimisation ended.

    Attributes
    ----------
    x : NDArray[float64]
        The variables, in the shape they came in.
    energy : float
        Value of the function there.
    start_energy : float
        Value of the function at the start.
    iterations, evaluations : int
        Steps taken, and calls of the function.
    reason : str
        ``converged``, ``steps`` (limit reached) or ``stuck`` (no descent possible).
    """

    x: NDArray[np.float64]
    energy: float
    start_energy: float
    iterations: int
    evaluations: int
    reason: str


def minimise(
    function: Function,
    start: NDArray[np.float64],
    *,
    max_iterations: int = 100,
    memory: int = 8,
    max_shift: float = 0.25,
    curvature: NDArray[np.float64] | Variables | None = None,
    tolerance: float = 1e-5,
) -> Minimum:
    """Minimise a function of positions (or of any variables) by L-BFGS.

    Parameters
    ----------
    function : Function
        Energy and gradient. A non-finite energy makes the step shorter.
    start : NDArray[float64], any shape
        Starting values; not changed.
    max_iterations : int
        Number of steps.
    memory : int
        Number of remembered steps.
    max_shift : float
        Largest change of any variable in one step, in its own unit (Å for positions).
    curvature : NDArray[float64], Variables or None
        Approximate diagonal of the Hessian, shape of `start`, or variables in which the Hessian is about 1.
    tolerance : float
        Stop when the energy has fallen by less than this fraction over five steps.

    Returns
    -------
    Minimum
        The best point met; never worse than the start.

    Raises
    ------
    FloatingPointError
        If the energy or the gradient at the start isn't finite.
    """
    shape = start.shape
    x = np.array(start, dtype=np.float64).ravel()
    gradient = np.zeros_like(x)
    energy = _evaluate(function, x, gradient, shape)
    evaluations = 1
    if not _finite(energy, gradient):
        message = "the energy at the start of a minimisation isn't a finite number"
        raise FloatingPointError(message)
    start_energy = energy
    variables = variables_of(curvature, len(x))
    history = _History.empty(memory, len(x))
    trial, trial_gradient, direction, by_z, trial_by_z, of_z = (np.empty_like(x) for _ in range(6))
    variables.gradient(gradient, by_z)
    recent = [energy]
    reason, iteration, dampings = "steps", 0, 0
    while iteration < max_iterations:
        slope = history.descent(by_z, of_z)
        variables.direction(of_z, direction)
        largest = _largest(direction)
        if largest > TOO_FAR * max_shift and dampings < MOST_DAMPED and isinstance(variables, Dampable):
            variables = variables.damped(x, gradient, max_shift)
            variables.gradient(gradient, by_z)
            history.count = 0
            dampings += 1
            slope = history.descent(by_z, of_z)
            variables.direction(of_z, direction)
            largest = _largest(direction)
        if largest == 0.0 or not slope < 0.0:
            if history.count == 0:
                reason = "converged"
                break
            history.count = 0
            continue
        length = min(1.0, max_shift / largest)
        if history.count == 0 and curvature is None:
            length = min(length, 0.1 * max_shift / largest)
        accepted, energy_new, length, tried = _line_search(
            function, x, energy, direction, slope, length, trial, trial_gradient, shape
        )
        evaluations += tried
        if not accepted:
            if history.count == 0:
                reason = "stuck"
                break
            history.count = 0
            continue
        variables.gradient(trial_gradient, trial_by_z)
        history.push(length, of_z, by_z, trial_by_z)
        x, trial = trial, x
        gradient, trial_gradient = trial_gradient, gradient
        by_z, trial_by_z = trial_by_z, by_z
        energy = energy_new
        iteration += 1
        recent.append(energy)
        if len(recent) > 6:
            del recent[0]
            if recent[0] - energy <= tolerance * max(abs(energy), 1.0):
                reason = "converged"
                break
    return Minimum(x.reshape(shape).copy(), energy, start_energy, iteration, evaluations, reason)


def variables_of(curvature: NDArray[np.float64] | Variables | None, size: int) -> Variables:
    """Return variables in which the function curves by about 1.

    Parameters
    ----------
    curvature : NDArray[float64], Variables or None
        Approximate diagonal of the Hessian; None for 1. Variables are returned as they are.
    size : int
        Number of variables.
    """
    return _Scaled.of(curvature, size) if curvature is None or isinstance(curvature, np.ndarray) else curvature


def _evaluate(function: Function, x: NDArray[np.float64], gradient: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    return float(function(x.reshape(shape), gradient.reshape(shape)))


def _line_search(
    function: Function,
    x: NDArray[np.float64],
    energy: float,
    direction: NDArray[np.float64],
    slope: float,
    length: float,
    trial: NDArray[np.float64],
    trial_gradient: NDArray[np.float64],
    shape: tuple[int, ...],
) -> tuple[bool, float, float, int]:
    """Backtrack from `length` until the energy has fallen enough; fills `trial` and its gradient.

    Returns whether it has, the energy, the length, and the number of attempts.
    """
    for attempt in range(1, _MAX_BACKTRACKS + 1):
        _step(x, direction, length, trial)
        value = _evaluate(function, trial, trial_gradient, shape)
        if _finite(value, trial_gradient):
            if value <= energy + _ARMIJO * length * slope:
                return True, value, length, attempt
            # Minimum of the parabola through the two energies and the slope, kept within [0.1, 0.5].
            parabola = -0.5 * slope * length * length / (value - energy - slope * length)
            length = min(max(parabola, 0.1 * length), 0.5 * length)
        else:
            length *= 0.1
    return False, energy, length, _MAX_BACKTRACKS


class _Scaled:
    """Each variable multiplied by the root of its curvature."""

    def __init__(self, scale: NDArray[np.float64]) -> None:
        self.scale = scale

    @classmethod
    def of(cls, curvature: NDArray[np.float64] | None, size: int) -> _Scaled:
        if curvature is None:
            return cls(np.ones(size))
        return cls(1.0 / np.sqrt(np.maximum(np.asarray(curvature, dtype=np.float64).ravel(), 1e-8)))

    def gradient(self, by_x: NDArray[np.float64], by_z: NDArray[np.float64]) -> None:
        np.multiply(by_x, self.scale, out=by_z)

    def direction(self, of_z: NDArray[np.float64], of_x: NDArray[np.float64]) -> None:
        np.multiply(of_z, self.scale, out=of_x)


class _History:
    """Ring buffer of the last steps and gradient changes."""

    __slots__ = ("changes", "count", "curvatures", "newest", "steps", "weights")

    def __init__(self, steps: NDArray[np.float64], changes: NDArray[np.float64], curvatures: NDArray[np.float64]) -> None:
        self.steps, self.changes, self.curvatures = steps, changes, curvatures
        self.weights = np.zeros_like(curvatures)
        self.count, self.newest = 0, -1

    @classmethod
    def empty(cls, memory: int, size: int) -> _History:
        return cls(np.zeros((memory, size)), np.zeros((memory, size)), np.zeros(memory))

    def descent(self, gradient: NDArray[np.float64], direction: NDArray[np.float64]) -> float:
        """Write the direction of descent and return the slope along it."""
        return float(
            _descent_direction(
                gradient, self.steps, self.changes, self.curvatures, self.count, self.newest, self.weights, direction
            )
        )

    def push(
        self, length: float, direction: NDArray[np.float64], gradient: NDArray[np.float64], gradient_new: NDArray[np.float64]
    ) -> None:
        """Remember a step of `length` along a direction and the gradients at its ends."""
        row = (self.newest + 1) % len(self.steps)
        curvature = _remember(length, direction, gradient, gradient_new, self.steps[row], self.changes[row])
        if curvature > 0.0:  # otherwise the pair would spoil the positive-definite model: forget it
            self.curvatures[row] = curvature
            self.newest = row
            self.count = min(self.count + 1, len(self.steps))


@njit(cache=True, nogil=True, error_model="numpy")
def _finite(energy: float, gradient: NDArray[np.float64]) -> bool:
    total = energy
    for i in range(len(gradient)):
        total += 0.0 * gradient[i]  # not a number if any isn't finite
    return bool(np.isfinite(total))


@njit(cache=True, nogil=True, error_model="numpy")
def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _largest(a: NDArray[np.float64]) -> float:
    found = 0.0
    for i in range(len(a)):
        found = max(found, abs(a[i]))
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _step(x: NDArray[np.float64], direction: NDArray[np.float64], length: float, out: NDArray[np.float64]) -> None:
    for i in range(len(x)):
        out[i] = x[i] + length * direction[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _remember(
    length: float,
    direction: NDArray[np.float64],
    gradient: NDArray[np.float64],
    gradient_new: NDArray[np.float64],
    step: NDArray[np.float64],
    change: NDArray[np.float64],
) -> float:
    sy = 0.0
    yy = 0.0
    for i in range(len(direction)):
        step[i] = length * direction[i]
        change[i] = gradient_new[i] - gradient[i]
        sy += step[i] * change[i]
        yy += change[i] * change[i]
    return sy if sy > _CURVATURE * yy else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _descent_direction(
    gradient: NDArray[np.float64],
    steps: NDArray[np.float64],
    changes: NDArray[np.float64],
    curvatures: NDArray[np.float64],
    count: int,
    newest: int,
    alpha: NDArray[np.float64],
    direction: NDArray[np.float64],
) -> float:
    """Two-loop recursion; returns the slope (gradient . direction). `alpha` is scratch."""
    memory, size = steps.shape
    for i in range(size):
        direction[i] = -gradient[i]
    for k in range(count):
        row = (newest - k) % memory
        alpha[row] = _dot(steps[row], direction) / curvatures[row]
        for i in range(size):
            direction[i] -= alpha[row] * changes[row, i]
    factor = 1.0
    if count > 0:
        weighted = 0.0
        for i in range(size):
            weighted += changes[newest, i] * changes[newest, i]
        factor = curvatures[newest] / weighted
    for i in range(size):
        direction[i] *= factor
    for k in range(count - 1, -1, -1):
        row = (newest - k) % memory
        beta = _dot(changes[row], direction) / curvatures[row]
        for i in range(size):
            direction[i] += (alpha[row] - beta) * steps[row, i]
    return _dot(gradient, direction)
