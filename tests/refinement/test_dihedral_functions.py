from __future__ import annotations

import gemmi
import numpy as np
import pytest

from refinement.geometry import angles, chiral_volumes, dihedrals, dihedrals_or_nan, distances


@pytest.fixture
def points() -> np.ndarray:
    return np.random.default_rng(4).normal(scale=3, size=(40, 3))


def test_against_gemmi(points: np.ndarray) -> None:
    quads = np.random.default_rng(5).permuted(np.tile(np.arange(40), (60, 1)), axis=1)[:, :4]
    positions = [gemmi.Position(*p) for p in points]
    expected = [np.degrees(gemmi.calculate_dihedral(*(positions[k] for k in quad))) for quad in quads]
    np.testing.assert_allclose(dihedrals(points, *quads.T), expected, atol=1e-9)
    expected = [np.degrees(gemmi.calculate_angle(*(positions[k] for k in quad[:3]))) for quad in quads]
    np.testing.assert_allclose(angles(points, *quads.T[:3]), expected, atol=1e-9)
    expected = [positions[a].dist(positions[b]) for a, b, *_ in quads]
    np.testing.assert_allclose(distances(points, *quads.T[:2]), expected, atol=1e-12)


def test_sign_is_that_of_the_right_handed_screw() -> None:
    square = np.array([[1.0, 0, 0], [0, 0, 0], [0, 0, 1.0], [0, 1.0, 1.0]])
    one = np.arange(4)[:, None]
    assert dihedrals(square, *one) == pytest.approx([90.0])
    assert dihedrals(square * (1, -1, 1), *one) == pytest.approx([-90.0])
    assert chiral_volumes(square, one[1], one[0], one[2], one[3]) == pytest.approx([-1.0])


def test_straight_and_folded_angles_are_exact() -> None:
    line = np.array([[-1.0, 0, 0], [0, 0, 0], [2.0, 0, 0]])
    assert angles(line, *np.arange(3)[:, None]) == pytest.approx([180.0])
    assert angles(line, np.array([2]), np.array([1]), np.array([2])) == pytest.approx([0.0])
    assert np.isfinite(dihedrals(np.zeros((4, 3)), *np.arange(4)[:, None])).all()


def test_missing_atoms_give_nan(points: np.ndarray) -> None:
    quads = np.array([[0, 1, 2, 3], [4, -1, 6, 7]])
    result = dihedrals_or_nan(points, quads)
    assert np.isnan(result).tolist() == [False, True]
    assert dihedrals_or_nan(points, np.zeros((0, 4), int)).shape == (0,)
