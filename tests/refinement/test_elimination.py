"""Block Cholesky factors against dense linear algebra."""

from __future__ import annotations

import numpy as np
import pytest

from refinement.elimination import MOST_NEIGHBOURS, Matrix, Pattern
from refinement.minimise import minimise


def chain_with_rings(size: int) -> np.ndarray:
    """Return triples along a chain, and some that close rings across it."""
    along = np.stack([np.arange(size - 2), np.arange(1, size - 1), np.arange(2, size)], axis=1)
    across = np.array([[0, 9, 10], [3, 17, 4], [12, 30, 31]])
    return np.concatenate([along, across]).astype(np.int32)


def filled(pattern: Pattern, groups: np.ndarray, seed: int = 1) -> tuple[Matrix, np.ndarray]:
    """Return a positive matrix with random blocks where atoms are joined, and the same as a dense one."""
    rng = np.random.default_rng(seed)
    size = len(pattern.rank)
    dense = np.zeros((size, 3, size, 3))
    for group in groups:
        g = rng.normal(size=(len(group), 3))
        dense[group[:, None], :, group[None], :] += g[:, None, :, None] * g[None, :, None, :]
    matrix = pattern.empty()
    atom = np.argsort(pattern.rank)
    for j in range(size):
        matrix.diagonal[j] = dense[atom[j], :, atom[j]]
        for place in range(pattern.first[j], pattern.first[j + 1]):
            matrix.below[place] = dense[atom[pattern.rows[place]], :, atom[j]]
    matrix.add_diagonal(np.full(size, 0.5))
    return matrix, dense.reshape(3 * size, 3 * size) + 0.5 * np.eye(3 * size)


def test_every_joined_pair_has_its_block_and_columns_ascend() -> None:
    groups = chain_with_rings(40)
    pattern = Pattern.of(40, [groups])
    assert sorted(pattern.rank.tolist()) == list(range(40))
    blocks = {(int(row), j) for j in range(40) for row in pattern.rows[pattern.first[j] : pattern.first[j + 1]]}
    assert len(blocks) == len(pattern.rows)
    for group in pattern.rank[groups].tolist():
        assert {(max(a, b), min(a, b)) for a in group for b in group if a != b} <= blocks
    for j in range(40):
        rows = pattern.rows[pattern.first[j] : pattern.first[j + 1]]
        assert (np.diff(rows) > 0).all()
        assert (rows > j).all()


def test_little_is_filled_in_along_a_chain() -> None:
    size = 3000
    along = np.stack([np.arange(size - 3) + k for k in range(4)], axis=1).astype(np.int32)
    assert len(Pattern.of(size, [along]).rows) < 3.01 * size


def test_factor_is_that_of_dense_algebra() -> None:
    groups = chain_with_rings(40)
    pattern = Pattern.of(40, [groups])
    matrix, dense = filled(pattern, groups)
    factor = matrix.factor()
    x = np.random.default_rng(2).normal(size=120)
    by_z, back = np.empty(120), np.empty(120)
    factor.gradient(x, by_z)
    factor.direction(by_z, back)
    np.testing.assert_allclose(dense @ back, x, atol=1e-9)
    # z = Lᵀ x: the length of the gradient by z is that of x in the metric of the inverse
    assert by_z @ by_z == pytest.approx(x @ np.linalg.solve(dense, x))


def test_blocks_that_find_no_room_leave_the_factor_positive() -> None:
    size = 3 * MOST_NEIGHBOURS
    everything = np.arange(size, dtype=np.int32)[None]
    pattern = Pattern.of(size, [everything])
    assert len(pattern.rows) < size * (size - 1) // 2
    matrix, dense = filled(pattern, everything)
    factor = matrix.factor()
    by_z, step = np.empty(3 * size), np.empty(3 * size)
    gradient = np.random.default_rng(3).normal(size=3 * size)
    factor.gradient(gradient, by_z)
    factor.direction(by_z, step)
    assert np.isfinite(step).all()
    assert step @ gradient > 0
    assert step @ step < 100 * (gradient @ gradient) / np.linalg.eigvalsh(dense)[0] ** 2


def test_a_quadratic_is_minimised_in_a_step_in_its_own_variables() -> None:
    groups = chain_with_rings(40)
    matrix, dense = filled(Pattern.of(40, [groups]), groups)
    centre = np.random.default_rng(4).normal(size=120)

    def function(x: np.ndarray, gradient: np.ndarray) -> float:
        gradient[:] = (dense @ (x.ravel() - centre)).reshape(x.shape)
        return float(0.5 * (x.ravel() - centre) @ gradient.ravel())

    found = minimise(function, np.zeros((40, 3)), max_shift=50.0, curvature=matrix.factor(), tolerance=1e-12)
    np.testing.assert_allclose(found.x.ravel(), centre, atol=1e-7)
    assert found.evaluations < 10
    plain = minimise(function, np.zeros((40, 3)), max_shift=50.0, tolerance=1e-12)
    assert plain.evaluations > 5 * found.evaluations


def test_atoms_without_restraints_stand_alone() -> None:
    pattern = Pattern.of(3, [])
    assert len(pattern.rows) == 0
    matrix = pattern.empty()
    matrix.add_diagonal(np.array([4.0, 9.0, 16.0]))
    out = np.empty(9)
    matrix.factor().gradient(np.ones(9), out)
    np.testing.assert_allclose(out.reshape(3, 3)[pattern.rank], np.repeat(1 / np.array([[2.0], [3.0], [4.0]]), 3, axis=1))
    assert len(Pattern.of(0, []).rank) == 0
