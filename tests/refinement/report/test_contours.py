"""Contour lines: where they run, that they close, and how saddles are joined."""

from __future__ import annotations

import numpy as np

from refinement.report.contours import contours


def area(line: list[tuple[float, float]]) -> float:
    """Signed area within a closed line."""
    x, y = np.array(line).T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def test_a_hill_has_a_round_line() -> None:
    x, y = np.meshgrid(np.arange(41) - 20, np.arange(41) - 17, indexing="ij")
    distance = np.hypot(x, y)
    (line,) = contours(20.0 - distance, 10.0)
    radii = np.hypot(*(np.array(line) - (20, 17)).T)
    assert np.abs(radii - 10.0).max() < 0.05
    assert area(line) > 0.99 * np.pi * 100  # the high ground is on the left


def test_a_hole_runs_the_other_way() -> None:
    x, y = np.meshgrid(np.arange(41) - 20, np.arange(41) - 20, indexing="ij")
    distance = np.hypot(x, y)
    areas = sorted(area(line) for line in contours(-np.abs(distance - 10.0), -3.0))
    assert len(areas) == 2
    np.testing.assert_allclose(areas, [-np.pi * 49, np.pi * 169], rtol=0.01)


def test_lines_close_along_the_border() -> None:
    (line,) = contours(np.ones((3, 4)), 0.5)
    points = np.array(line)
    assert points.min() > -1.0
    np.testing.assert_allclose(points.max(axis=0), (2, 3), atol=0.5)
    assert list(contours(np.zeros((3, 4)), 0.5)) == []


def test_saddles_join_by_the_height_of_their_middle() -> None:
    grid = np.zeros((4, 4))
    grid[1, 1] = grid[2, 2] = 1.0
    assert len(list(contours(grid, 0.6))) == 2
    assert len(list(contours(grid, 0.4))) == 1


def test_random_grids_leave_nothing_open() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        grid = rng.random((12, 9))
        total = sum(area(line) for line in contours(grid, 0.5))
        assert 0.0 < total < 13 * 10
