"""The cell list against all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from refinement.cells import Cells, nearest_points, neighbour_pairs, neighbours_around


def all_pairs(points: np.ndarray, reach: np.ndarray) -> set[tuple[int, int]]:
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    limit = reach[:, None] + reach[None]
    i, j = np.nonzero(np.triu((distance <= limit) & (limit > 0), 1))
    return set(zip(i.tolist(), j.tolist(), strict=True))


def as_set(pairs: np.ndarray) -> set[tuple[int, int]]:
    found = [tuple(pair) for pair in pairs.tolist()]
    assert len(found) == len(set(found)), "a pair occurs twice"
    return set(found)


coordinates = st.floats(-30.0, 30.0, width=32)


@settings(max_examples=60, deadline=None)
@given(
    points=st.integers(0, 40).flatmap(lambda n: arrays(np.float64, (n, 3), elements=coordinates)),
    cutoff=st.floats(0.3, 25.0),
)
def test_finds_what_brute_force_finds(points: np.ndarray, cutoff: float) -> None:
    reach = np.full(len(points), 0.5 * cutoff)
    assert as_set(neighbour_pairs(points, 0.5 * cutoff)) == all_pairs(points, reach)


@pytest.mark.parametrize("spread", [4.0, 30.0, 3000.0])
def test_finds_pairs_by_individual_reach(spread: float) -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform(-spread, spread, (400, 3))
    points[200:] = points[:200] + rng.normal(scale=1.0, size=(200, 3))
    reach = rng.uniform(-1.0, 2.0, 400)
    found = as_set(neighbour_pairs(points, reach))
    assert found == all_pairs(points, reach)
    assert len(found) > 50


def test_widely_spread_points_need_no_memory_for_the_space_between() -> None:
    rng = np.random.default_rng(2)
    points = rng.uniform(-9e7, 9e7, (300, 3))
    points[1] = points[0] + [0.5, 0.0, 0.0]
    assert as_set(neighbour_pairs(points, 1.0)) == {(0, 1)}


def test_points_that_are_not_finite_have_no_neighbours() -> None:
    points = np.array([[0.0, 0, 0], [0.1, 0, 0], [np.nan, 0, 0], [np.inf, 0, 0], [1e300, 0, 0], [0.0, 0.1, np.nan]])
    assert as_set(neighbour_pairs(points, 5.0)) == {(0, 1)}
    offsets, rows = neighbours_around(np.array([[np.nan, 0, 0], [0.0, 0, 0]]), points, 1.0)
    assert offsets.tolist() == [0, 0, 2]
    assert sorted(rows.tolist()) == [0, 1]


def test_a_crowd_larger_than_the_first_guess_is_complete() -> None:
    points = np.random.default_rng(3).normal(scale=0.1, size=(120, 3))
    assert len(as_set(neighbour_pairs(points, 2.0))) == 120 * 119 // 2


@settings(max_examples=30, deadline=None)
@given(
    points=arrays(np.float64, (25, 3), elements=coordinates),
    centres=arrays(np.float64, (6, 3), elements=coordinates),
    cutoff=st.floats(0.5, 40.0),
)
def test_nearest_point_of_centres(points: np.ndarray, centres: np.ndarray, cutoff: float) -> None:
    nearest, distance = nearest_points(centres, points, cutoff)
    for c, centre in enumerate(centres):
        apart = np.sqrt(((points - centre) ** 2).sum(axis=1))
        if apart.min() <= cutoff * (1.0 - 1e-9):
            assert distance[c] == pytest.approx(apart.min(), abs=1e-9)
            assert apart[nearest[c]] == pytest.approx(apart.min(), abs=1e-9)
        elif apart.min() > cutoff * (1.0 + 1e-9):
            assert nearest[c] == -1
            assert distance[c] == np.inf


def test_of_equally_near_points_the_first_is_nearest() -> None:
    points = np.array([[5.0, 0, 0], [1.0, 0, 0], [-1.0, 0, 0], [1.0, 0, 0], [np.nan, 0, 0]])
    nearest, distance = nearest_points(np.array([[0.0, 0, 0], [np.nan, 0, 0]]), points, 3.0)
    assert nearest.tolist() == [1, -1]
    assert distance.tolist() == [1.0, np.inf]
    assert nearest_points(np.zeros((2, 3)), np.empty((0, 3)), 1.0)[0].tolist() == [-1, -1]


def test_nothing_to_find() -> None:
    assert neighbour_pairs(np.empty((0, 3)), 1.0).shape == (0, 2)
    assert neighbour_pairs(np.zeros((2, 3)), 0.0).shape == (0, 2)
    assert neighbours_around(np.empty((0, 3)), np.zeros((2, 3)), 1.0)[1].size == 0


def test_order_is_the_same_every_time() -> None:
    points = np.random.default_rng(4).uniform(0, 20, (500, 3))
    assert np.array_equal(neighbour_pairs(points, 2.0), neighbour_pairs(points.copy(), 2.0))


@settings(max_examples=30, deadline=None)
@given(
    points=arrays(np.float64, (25, 3), elements=coordinates),
    centres=arrays(np.float64, (6, 3), elements=coordinates),
    cutoff=st.floats(0.5, 40.0),
)
def test_neighbours_of_centres(points: np.ndarray, centres: np.ndarray, cutoff: float) -> None:
    offsets, rows = neighbours_around(centres, points, cutoff)
    for c, centre in enumerate(centres):
        near = np.flatnonzero(np.linalg.norm(points - centre, axis=1) <= cutoff)
        assert sorted(rows[offsets[c] : offsets[c + 1]].tolist()) == near.tolist()


def test_cells_serve_many_searches() -> None:
    points = np.random.default_rng(5).uniform(-12, 12, (300, 3))
    cells = Cells.of(points, 4.0)
    for cutoff in (4.0, 1.5):
        for centres in (points[:1], points[10:40] + 0.3):
            offsets, rows = cells.around(centres, cutoff)
            expected, theirs = neighbours_around(centres, points, cutoff)
            assert (offsets == expected).all()
            for c in range(len(centres)):
                assert sorted(rows[offsets[c] : offsets[c + 1]]) == sorted(theirs[offsets[c] : offsets[c + 1]])
