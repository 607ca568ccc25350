"""Sums of Gaussians on orthogonal grids against plain numpy, and against those on axes a hair off orthogonal."""

from __future__ import annotations

import numpy as np
import pytest

from refinement.maps.scattering import sum_atoms
from refinement.maps.separable import TAIL, gather_separable, meets, squared_radius, sum_separable
from refinement.maps.summation import _gather_oblique

DIMS = (14, 17, 19)
STEP = np.diag([0.9, 1.1, 0.7])
REACH = 1.0 / np.diag(STEP)


def atoms(number: int, count: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return grid coordinates, some beyond the edges of the box, heights and falls."""
    rng = np.random.default_rng(number)
    fall = np.sort(rng.uniform(0.2, 2.0, (count, number)), axis=1)
    return rng.uniform(-3, 22, (count, 3)), rng.uniform(0.2, 2.0, (count, number)), fall


def squares(point: np.ndarray) -> np.ndarray:
    """Return r² from a point to its nearest image, for each point of the grid."""
    apart = [np.arange(n) - x for n, x in zip(DIMS, point, strict=True)]
    apart = [(d - n * np.round(d / n)) * s for d, n, s in zip(apart, DIMS, np.diag(STEP), strict=True)]
    return apart[0][:, None, None] ** 2 + apart[1][None, :, None] ** 2 + apart[2][None, None, :] ** 2


@pytest.mark.parametrize("number", [1, 3, 5])
def test_sum_is_that_of_plain_numpy(number: int) -> None:
    grid, height, fall = atoms(number)
    total, expected = np.zeros(DIMS, np.float32), np.zeros(DIMS)
    sum_separable(total, grid, height, fall, STEP, 0, DIMS[0])
    for n in range(len(grid)):
        r2 = squares(grid[n])[..., None]
        expected += (height[n] * np.exp(-fall[n] * r2)).sum(axis=-1)
    assert np.abs(total - expected).max() < 3 * len(grid) * TAIL * height.sum(axis=1).max()


def test_parts_of_the_box_make_the_whole() -> None:
    whole, parts = np.zeros(DIMS, np.float32), np.zeros(DIMS, np.float32)
    sum_separable(whole, *atoms(5), STEP, 0, DIMS[0])
    for first, end in ((0, 5), (5, 6), (6, DIMS[0])):
        sum_separable(parts, *atoms(5), STEP, first, end)
    assert parts.tobytes() == whole.tobytes()


@pytest.mark.parametrize("by_b", [False, True])
def test_gathered_is_the_derivative_of_the_sum(by_b: bool) -> None:
    """By the height of all Gaussians of an atom, or by β = 4π²/fall with the height ∝ β^-1.5."""
    grid, height, fall = atoms(5)
    field = np.random.default_rng(1).normal(size=DIMS).astype(np.float32)
    out = np.zeros(len(grid))
    gather_separable(field, grid, height, fall, STEP, by_b, out)
    for n in range(len(grid)):
        r2 = squares(grid[n])[..., None]
        value = height[n] * np.exp(-fall[n] * r2)
        if by_b:
            value *= (fall[n] * r2 - 1.5) * fall[n] / (4 * np.pi**2)
        assert out[n] == pytest.approx((field * value.sum(axis=-1)).sum(), abs=3e-3 * np.abs(out).max())


def test_axes_that_are_nearly_orthogonal_give_nearly_the_same() -> None:
    grid, height, fall = atoms(5)
    nearly = STEP.copy()
    nearly[0, 1] = 1e-9
    here, there = np.zeros(DIMS, np.float32), np.zeros(DIMS, np.float32)
    sum_atoms(here, grid, height, fall, STEP, REACH, 0, DIMS[0])
    sum_atoms(there, grid, height, fall, nearly, REACH, 0, DIMS[0])
    assert np.abs(here - there).max() < 2e-3 * here.max()
    field = np.random.default_rng(1).normal(size=DIMS).astype(np.float32)
    for by_b in (True, False):
        ours, theirs = np.zeros(len(grid)), np.zeros(len(grid))
        gather_separable(field, grid, height, fall, STEP, by_b, ours)
        _gather_oblique(field, grid, height, fall, nearly, REACH, by_b, theirs)
        assert np.abs(ours - theirs).max() < 1e-2 * np.abs(ours).max()  # of tables read between their rows


def test_atoms_nowhere_add_nothing() -> None:
    grid, height, fall = atoms(2, 3)
    grid[0, 1], grid[1, 2], grid[2, 0] = np.nan, np.inf, 1e12
    total, out = np.zeros(DIMS, np.float32), np.zeros(3)
    sum_separable(total, grid, height, fall, STEP, 0, DIMS[0])
    gather_separable(np.ones(DIMS, np.float32), grid, height, fall, STEP, True, out)
    assert not total.any()
    assert not out.any()


def test_radius_leaves_the_tail_out() -> None:
    height, fall = np.array([2.0, 1.0, 0.3]), np.array([2.0, 0.7, 0.4])
    r2 = squared_radius(height, fall)
    assert (height * np.exp(-fall * r2)).sum() <= TAIL * height.sum()
    assert (height * np.exp(-fall * 0.9 * r2)).sum() > TAIL * height.sum()


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(2, 3, True), (5, 7, False), (-3, -1, False), (-1, 0, True), (11, 14, True), (3, 30, True)]
)
def test_planes_of_a_periodic_box(low: int, high: int, expected: bool) -> None:
    assert meets(low, high, 0, 4, 12) is expected
