"""Dynamics of systems whose thermodynamics are known."""

from __future__ import annotations

import numpy as np
import pytest

from refinement.moves.dynamics import dynamics

STIFFNESS = 10.0 ** np.random.default_rng(3).uniform(0.0, 4.0, size=(200, 3))
CENTRE = np.random.default_rng(4).normal(size=(200, 3))


def springs(x: np.ndarray, gradient: np.ndarray) -> float:
    gradient[:] = STIFFNESS * (x - CENTRE)
    return float(0.5 * (STIFFNESS * (x - CENTRE) ** 2).sum())


def frames(temperatures: np.ndarray, *, seed: int = 0, max_shift: float = 10.0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return list(dynamics(springs, lambda _x: STIFFNESS, CENTRE, temperatures, rng, max_shift=max_shift))


@pytest.mark.parametrize("temperature", [0.5, 4.0])
def test_every_spring_holds_half_the_temperature(temperature: float) -> None:
    found = np.array(frames(np.full(2000, temperature))[20:])
    energy = 0.5 * STIFFNESS * (found - CENTRE) ** 2
    assert energy.mean() == pytest.approx(0.5 * temperature, rel=0.05)
    soft = STIFFNESS < 100.0
    assert energy[:, soft].mean() == pytest.approx(energy[:, ~soft].mean(), rel=0.1)


def test_cooling_leads_to_the_minimum() -> None:
    found = frames(np.linspace(4.0, 0.0, 400))[-1]
    assert springs(found, np.empty_like(found)) < 0.1 * 0.5 * 4.0 * found.size


def test_the_seed_decides() -> None:
    one, same, other = (frames(np.full(50, 1.0), seed=seed)[-1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.01


def test_no_atom_leaps() -> None:
    steps = np.diff(np.array([CENTRE, frames(np.array([1e6]), max_shift=0.1)[-1]]), axis=0)
    assert 0.1 < np.abs(steps).max() <= 0.2 + 1e-12


def test_forces_without_end_are_an_error() -> None:
    def broken(_x: np.ndarray, gradient: np.ndarray) -> float:
        gradient[:] = np.nan
        return 0.0

    run = dynamics(broken, lambda _x: STIFFNESS, CENTRE, np.ones(3), np.random.default_rng(0), max_shift=0.1)
    with pytest.raises(FloatingPointError, match="aren't finite"):
        list(run)
