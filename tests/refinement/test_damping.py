"""Damping: one atom in a bad place doesn't hold back the others, and what moves with it isn't torn."""

from __future__ import annotations

import numpy as np
import pytest

from refinement.damping import SLACK, DampedFactor
from refinement.elimination import Matrix, Pattern
from refinement.minimise import TOO_FAR, minimise

SIZE, LAST, LIMIT = 60, 59, 0.25
BOND, SOFT = 1e3, 100.0
"""Stiffness of the bonds of a chain along x, and of the springs that hold its atoms in place."""


def stiffness() -> np.ndarray:
    """Hessian of a chain: bonds between neighbours, and a soft spring for each atom."""
    dense = np.zeros((SIZE, SIZE))
    for i in range(SIZE - 1):
        dense[i, i] += BOND
        dense[i + 1, i + 1] += BOND
        dense[i, i + 1] -= BOND
        dense[i + 1, i] -= BOND
    return dense + SOFT * np.eye(SIZE)


def assembly(_: np.ndarray) -> Matrix:
    chain = np.stack([np.arange(SIZE - 1), np.arange(1, SIZE)], axis=1).astype(np.int32)
    pattern = Pattern.of(SIZE, [chain])
    matrix, dense = pattern.empty(), stiffness()
    atom = np.argsort(pattern.rank)
    for j in range(SIZE):
        matrix.diagonal[j] = np.eye(3) * dense[atom[j], atom[j]]
        for s in range(pattern.first[j], pattern.first[j + 1]):
            matrix.below[s] = np.eye(3) * dense[atom[pattern.rows[s]], atom[j]]
    return matrix


def variables() -> DampedFactor:
    return DampedFactor.at(np.zeros((SIZE, 3)), assembly, np.full(SIZE, SOFT))


def step_of(factor: DampedFactor, gradient: np.ndarray) -> np.ndarray:
    by_z, step = np.empty(3 * SIZE), np.empty(3 * SIZE)
    factor.gradient(gradient.ravel(), by_z)
    factor.direction(by_z, step)
    return step.reshape(-1, 3)


def test_no_atom_goes_far_and_its_neighbours_follow() -> None:
    gradient = np.zeros((SIZE, 3))
    gradient[LAST, 0] = 1e5
    free, plain = variables(), step_of(variables(), gradient)
    assert np.abs(plain).max() > 20 * LIMIT
    damped = step_of(free.damped(np.zeros(3 * SIZE), gradient.ravel(), LIMIT), gradient)
    assert np.linalg.norm(damped, axis=1).max() <= 2 * SLACK * LIMIT
    assert damped[LAST, 0] > 0.5 * LIMIT
    # bonds are as little strained as before, in units of the step
    assert np.abs(np.diff(damped[:, 0])).max() / damped[LAST, 0] < 3 * np.abs(np.diff(plain[:, 0])).max() / plain[LAST, 0]


def test_what_stays_within_reach_moves_as_it_would_alone() -> None:
    gradient, alone = np.zeros((SIZE, 3)), np.zeros((SIZE, 3))
    gradient[LAST, 0], gradient[0, 0] = 1e7, 20.0
    alone[0, 0] = 20.0
    damped = step_of(variables().damped(np.zeros(3 * SIZE), gradient.ravel(), LIMIT), gradient)
    first = step_of(variables(), alone)[0, 0]
    assert damped[0, 0] == pytest.approx(first, rel=0.2)


def test_a_hundred_atoms_arrive_although_one_has_far_to_go() -> None:
    """Cut down as a whole, thirty steps move everything by less than the one atom may: 7.5 Å in all."""
    goal = np.random.default_rng(1).normal(scale=0.1, size=(SIZE, 3))
    goal[LAST] = 300.0
    loose = [np.empty((0, 2), dtype=np.int32)]

    def function(x: np.ndarray, gradient: np.ndarray) -> float:
        gradient[:] = SOFT * (x - goal)
        return float(0.5 * SOFT * ((x - goal) ** 2).sum())

    def separate(_: np.ndarray) -> Matrix:
        matrix = Pattern.of(SIZE, loose).empty()
        matrix.add_diagonal(np.full(SIZE, SOFT))
        return matrix

    start = np.zeros((SIZE, 3))
    free = DampedFactor.at(start, separate, np.full(SIZE, SOFT))
    assert np.abs(goal[LAST]).max() > TOO_FAR * LIMIT
    ours = minimise(function, start, max_iterations=30, max_shift=LIMIT, curvature=free)
    plain = minimise(function, start, max_iterations=30, max_shift=LIMIT, curvature=separate(start).factor())
    others = np.arange(SIZE) != LAST
    assert np.abs(ours.x - goal)[others].max() < 1e-3
    assert np.abs(plain.x - goal)[others].max() > 0.05
