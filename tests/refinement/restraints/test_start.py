"""Atoms held where they were."""

from __future__ import annotations

import numpy as np
import pytest

from refinement.restraints.start import LIMIT, StartRestraints


def test_gradient_agrees_with_finite_differences() -> None:
    rng = np.random.default_rng(2)
    start = rng.normal(size=(6, 3))
    positions = start + rng.normal(scale=0.6, size=start.shape)
    term = StartRestraints.at(start).weighted(3.0)
    gradient = np.ones_like(positions)
    term.energy_and_gradient(positions, gradient)
    for atom, axis in np.ndindex(*positions.shape):
        step = np.zeros_like(positions)
        step[atom, axis] = 1e-5
        ahead, behind = (term.energy_and_gradient(positions + sign * step, np.zeros_like(step)) for sign in (1, -1))
        assert gradient[atom, axis] - 1.0 == pytest.approx((ahead - behind) / 2e-5, abs=1e-6)


def test_energy_is_harmonic_near_the_start_and_level_far_from_it() -> None:
    term, here = StartRestraints.at(np.zeros((1, 3))).weighted(5.0), np.zeros((1, 3))
    assert term.energy_and_gradient(here, np.zeros((1, 3))) == 0.0
    near = term.energy_and_gradient(np.array([[0.01, 0.0, 0.0]]), np.zeros((1, 3)))
    assert near == pytest.approx(5.0 * 0.01**2, rel=1e-3)
    pull = np.zeros((1, 3))
    assert term.energy_and_gradient(np.array([[6.0 * LIMIT, 0.0, 0.0]]), pull) == pytest.approx(5.0 * LIMIT**2)
    np.testing.assert_allclose(pull, 0.0, atol=1e-12)
