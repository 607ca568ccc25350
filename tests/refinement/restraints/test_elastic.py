"""Distances held as they were."""

from __future__ import annotations

import numpy as np
import pytest

from refinement.restraints.elastic import BONDED, REACH, ElasticRestraints

POINTS = np.random.default_rng(4).normal(scale=2.5, size=(12, 3))


def test_gradient_agrees_with_finite_differences() -> None:
    term = ElasticRestraints.at(POINTS).weighted(3.0)
    positions = POINTS + np.random.default_rng(5).normal(scale=0.4, size=POINTS.shape)
    gradient = np.ones_like(positions)
    term.energy_and_gradient(positions, gradient)
    for atom, axis in np.ndindex(*positions.shape):
        step = np.zeros_like(positions)
        step[atom, axis] = 1e-5
        ahead, behind = (term.energy_and_gradient(positions + sign * step, np.zeros_like(step)) for sign in (1, -1))
        assert gradient[atom, axis] - 1.0 == pytest.approx((ahead - behind) / 2e-5, abs=1e-5)


def test_only_atoms_that_are_near_but_not_bonded_are_held() -> None:
    found = {tuple(pair) for pair in ElasticRestraints.at(POINTS).atoms.tolist()}
    apart = np.linalg.norm(POINTS[:, None] - POINTS[None], axis=2)
    rows = np.argwhere(np.triu((apart > BONDED) & (apart < REACH), k=1))
    assert found == {tuple(pair) for pair in rows.tolist()}
    assert found


def test_what_moves_together_is_free() -> None:
    term = ElasticRestraints.at(POINTS)
    angle = np.radians(25.0)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
    assert term.energy_and_gradient(POINTS @ turn.T + 3.0, np.zeros_like(POINTS)) == pytest.approx(0.0, abs=1e-12)
    bent = POINTS.copy()
    bent[0] += 0.3
    assert term.energy_and_gradient(bent, np.zeros_like(POINTS)) > 0.01
