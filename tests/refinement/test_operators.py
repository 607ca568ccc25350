"""Rigid motions: products, groups and their names."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from refinement.operators import (
    Operators,
    angle_of,
    as_group,
    group_name,
    kabsch,
    multiplication_table,
    rotation_by,
    separation,
    turned_about,
)

GOLDEN = (1.0 + np.sqrt(5.0)) / 2.0
THIRD = turned_about((1.0, 1.0, 1.0), 120.0)
GENERATORS = {
    "C1": [],
    "C2": [turned_about((0.3, -0.2, 0.9), 180.0)],
    "C7": [turned_about((0, 0, 1.0), 360.0 / 7.0)],
    "D2": [turned_about((0, 0, 1.0), 180.0), turned_about((1.0, 0, 0), 180.0)],
    "D6": [turned_about((0, 0, 1.0), 60.0), turned_about((1.0, 0, 0), 180.0)],
    "T": [turned_about((0, 0, 1.0), 180.0), THIRD],
    "O": [turned_about((0, 0, 1.0), 90.0), THIRD],
    "I": [turned_about((0, 0, 1.0), 180.0), THIRD, turned_about((0.0, 1.0, GOLDEN), 72.0)],
}


def generated(name: str, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Operators:
    group = [np.eye(3)]
    for member in group:
        for generator in GENERATORS[name]:
            product = generator @ member
            if not any(np.allclose(product, other, atol=1e-6) for other in group):
                group.append(product)
    return Operators(np.array(group), np.zeros((len(group), 3))).about(-np.array(centre))


def random_operators(n: int, rng: np.random.Generator) -> Operators:
    return Operators(Rotation.random(n, random_state=int(rng.integers(1 << 30))).as_matrix(), rng.normal(scale=30.0, size=(n, 3)))


@pytest.mark.parametrize("name", GENERATORS)
def test_groups_are_recognised_wherever_they_lie(name: str) -> None:
    group = generated(name, (35.0, -20.0, 60.0))
    table = multiplication_table(group, np.array([35.0, -20.0, 60.0]), 30.0, 1.0)
    assert table is not None
    assert group_name(table) == name


def test_the_table_is_that_of_the_products() -> None:
    group = generated("D6", (5.0, 6.0, 7.0))
    table = multiplication_table(group, np.array([5.0, 6.0, 7.0]), 20.0, 0.1)
    assert table is not None
    points = np.random.default_rng(0).normal(scale=20.0, size=(5, 3))
    for i, j in ((1, 2), (7, 3), (11, 11)):
        assert group.apply(i, group.apply(j, points)) == pytest.approx(group.apply(int(table[i, j]), points), abs=1e-9)


def test_an_incomplete_set_is_no_group() -> None:
    group = generated("C7")
    assert multiplication_table(group.select(np.arange(4)), np.zeros(3), 30.0, 1.0) is None
    twice = group.select(np.array([0, 0, 1, 2, 3, 4, 5, 6]))
    assert multiplication_table(twice, np.zeros(3), 30.0, 1.0) is None


@pytest.mark.parametrize("name", ["C2", "C7", "D6", "T", "I"])
def test_disturbed_operators_become_an_exact_group_nearby(name: str) -> None:
    rng = np.random.default_rng(3)
    centre = np.array([35.0, -20.0, 60.0])
    exact = generated(name, tuple(centre))
    small = [rotation_by(vector) for vector in np.radians(rng.normal(scale=0.2, size=(len(exact), 3)))]
    rotation = exact.rotation @ np.array(small)
    shift = centre - rotation @ centre + rng.normal(scale=0.1, size=exact.shift.shape)
    rotation[0], shift[0] = np.eye(3), 0.0
    found = Operators(rotation, shift)
    table = multiplication_table(found, centre, 30.0, 2.0)
    assert table is not None
    group = as_group(found, table, centre)
    assert np.diag(separation(group, exact, centre, 30.0)).max() < 0.5
    assert group.rotation[0] == pytest.approx(np.eye(3), abs=1e-12)
    assert group.shift[0] == pytest.approx(np.zeros(3), abs=1e-9)
    for i in range(len(group)):
        products = group.select(np.full(len(group), i)).after(group)
        wanted = group.select(table[i])
        assert products.rotation == pytest.approx(wanted.rotation, abs=1e-10)
        assert products.shift == pytest.approx(wanted.shift, abs=1e-8)


def test_an_exact_group_stays() -> None:
    exact = generated("O", (4.0, 5.0, 6.0))
    table = multiplication_table(exact, np.array([4.0, 5.0, 6.0]), 30.0, 1.0)
    assert table is not None
    again = as_group(exact, table, np.zeros(3))
    assert again.rotation == pytest.approx(exact.rotation, abs=1e-12)
    assert again.shift == pytest.approx(exact.shift, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_inverse_product_and_change_of_origin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = random_operators(3, rng), random_operators(3, rng)
    points, origin = rng.normal(scale=20.0, size=(4, 3)), rng.normal(scale=20.0, size=3)
    for k in range(3):
        assert one.inverse().apply(k, one.apply(k, points)) == pytest.approx(points, abs=1e-9)
        assert one.after(other).apply(k, points) == pytest.approx(one.apply(k, other.apply(k, points)), abs=1e-9)
        assert one.about(origin).apply(k, points - origin) == pytest.approx(one.apply(k, points) - origin, abs=1e-9)


def test_separation_is_the_rms_displacement_of_a_ball() -> None:
    rng = np.random.default_rng(1)
    one, other = random_operators(1, rng), random_operators(1, rng)
    ball = rng.normal(size=(200_000, 3))
    ball *= (rng.uniform(size=len(ball)) ** (1.0 / 3.0) / np.linalg.norm(ball, axis=1))[:, None] * 15.0
    ball += np.array([3.0, -4.0, 5.0])
    apart = np.sqrt(((one.apply(0, ball) - other.apply(0, ball)) ** 2).sum(axis=1).mean())
    radius = np.sqrt(3.0 / 5.0) * 15.0
    assert separation(one, other, np.array([3.0, -4.0, 5.0]), radius)[0, 0] == pytest.approx(apart, rel=5e-3)


def test_superposition_finds_the_motion_and_never_mirrors() -> None:
    rng = np.random.default_rng(2)
    points = rng.normal(scale=10.0, size=(30, 3))
    motion = random_operators(1, rng)
    rotation, shift = kabsch(points, motion.apply(0, points))
    assert rotation == pytest.approx(motion.rotation[0], abs=1e-9)
    assert shift == pytest.approx(motion.shift[0], abs=1e-8)
    mirrored, _ = kabsch(points, points * np.array([-1.0, 1.0, 1.0]))
    assert np.linalg.det(mirrored) == pytest.approx(1.0)


@pytest.mark.parametrize("degrees", [0.0, 1e-5, 30.0, 120.0, 179.9999, 180.0])
def test_rotations_agree_with_scipy(degrees: float) -> None:
    axis = np.array([0.6, -0.2, 0.5])
    vector = np.radians(degrees) * axis / np.linalg.norm(axis)
    expected = Rotation.from_rotvec(vector).as_matrix()
    assert rotation_by(vector) == pytest.approx(expected, abs=1e-12)
    assert turned_about(tuple(axis), degrees) == pytest.approx(expected, abs=1e-12)
    assert angle_of(expected) == pytest.approx(degrees, abs=1e-6)
