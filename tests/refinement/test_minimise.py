"""The optimiser against functions whose minima are known."""

from __future__ import annotations

import numpy as np
import pytest

from refinement.minimise import minimise


def rosenbrock(x: np.ndarray, gradient: np.ndarray) -> float:
    a, b = x[:-1], x[1:]
    gradient[:] = 0.0
    gradient[:-1] += -400 * a * (b - a**2) - 2 * (1 - a)
    gradient[1:] += 200 * (b - a**2)
    return float((100 * (b - a**2) ** 2 + (1 - a) ** 2).sum())


def test_finds_the_rosenbrock_minimum() -> None:
    found = minimise(rosenbrock, np.full(10, -1.2), max_iterations=500, max_shift=1.0, tolerance=1e-14)
    np.testing.assert_allclose(found.x, 1.0, atol=1e-4)
    assert found.energy < found.start_energy


def test_quadratic_takes_few_steps_with_the_right_curvature() -> None:
    rng = np.random.default_rng(1)
    stiffness = 10 ** rng.uniform(-2, 4, size=(50, 3))
    centre = rng.normal(size=(50, 3))

    def function(x: np.ndarray, gradient: np.ndarray) -> float:
        gradient[:] = 2 * stiffness * (x - centre)
        return float((stiffness * (x - centre) ** 2).sum())

    plain = minimise(function, np.zeros((50, 3)), max_iterations=400, max_shift=10.0, tolerance=1e-12)
    scaled = minimise(function, np.zeros((50, 3)), max_iterations=400, max_shift=10.0, curvature=2 * stiffness, tolerance=1e-12)
    np.testing.assert_allclose(scaled.x, centre, atol=1e-6)
    assert scaled.evaluations < 15 < plain.evaluations


def test_no_step_is_longer_than_the_cap() -> None:
    seen: list[np.ndarray] = []

    def function(x: np.ndarray, gradient: np.ndarray) -> float:
        seen.append(x.copy())
        gradient[:] = 2 * (x - 100.0)
        return float(((x - 100.0) ** 2).sum())

    minimise(function, np.zeros(3), max_iterations=20, max_shift=0.5)
    steps = np.abs(np.diff(np.array(seen), axis=0)).max()
    assert 0.49 < steps <= 0.5 + 1e-12


def test_walks_round_a_region_that_is_not_finite() -> None:
    def function(x: np.ndarray, gradient: np.ndarray) -> float:
        gradient[:] = -1.0 / x**2 + 1.0
        return float("nan") if x[0] <= 0 else float(1.0 / x[0] + x[0])

    found = minimise(function, np.array([5.0]), max_iterations=50, max_shift=20.0, tolerance=1e-12)
    assert found.x[0] == pytest.approx(1.0, abs=1e-3)


def test_a_start_that_is_not_finite_is_refused() -> None:
    def function(x: np.ndarray, gradient: np.ndarray) -> float:
        gradient[:] = np.nan
        return float("nan")

    with pytest.raises(FloatingPointError, match="finite"):
        minimise(function, np.zeros(3))


def test_a_minimum_is_left_where_it_is_and_the_start_is_not_changed() -> None:
    start = np.ones(4)
    found = minimise(rosenbrock, start, max_iterations=10)
    assert found.reason == "converged"
    assert found.iterations == 0
    np.testing.assert_array_equal(start, 1.0)


def test_the_same_bits_every_time() -> None:
    first = minimise(rosenbrock, np.linspace(-2, 2, 30), max_iterations=60, max_shift=0.5)
    again = minimise(rosenbrock, np.linspace(-2, 2, 30), max_iterations=60, max_shift=0.5)
    assert first.x.tobytes() == again.x.tobytes()
