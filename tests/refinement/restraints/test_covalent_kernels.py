"""Every kernel against plain numpy, finite differences and the symmetries of space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from refinement.geometry import angles as plain_angles
from refinement.geometry import dihedrals as plain_dihedrals
from refinement.restraints import angle_kernel, kernels
from refinement.restraints.hydrogen_bonds import limited_angles
from refinement.restraints.parallelity import parallelities

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

ATOMS = 9
SEEDS = st.integers(0, 2**32 - 1)


@dataclass
class Term:
    """A kernel bound to its restraints, and the same energy in plain numpy."""

    kernel: Callable[[NDArray, NDArray], float]
    plain: Callable[[NDArray], float]

    def gradient(self, x: NDArray) -> NDArray:
        out = np.zeros_like(x)
        self.kernel(x, out)
        return out

    def energy(self, x: NDArray) -> float:
        return self.kernel(x, np.zeros_like(x))


def tuples(rng: np.random.Generator, size: int, count: int = 5) -> NDArray[np.int32]:
    return np.stack([rng.permutation(ATOMS)[:size] for _ in range(count)]).astype(np.int32)


def bonds(rng: np.random.Generator, limit: float) -> Term:
    atoms = tuples(rng, 2)
    target, weight = rng.uniform(1.0, 3.0, len(atoms)), rng.uniform(1.0, 2500.0, len(atoms))
    limits = np.full(len(atoms), limit)

    def plain(x: NDArray) -> float:
        delta = np.linalg.norm(x[atoms[:, 0]] - x[atoms[:, 1]], axis=1) - target
        if np.isinf(limit):
            return float((weight * delta**2).sum())
        return float((weight * limit**2 * -np.expm1(-((delta / limit) ** 2))).sum())

    return Term(lambda x, g: kernels.bonds(x, atoms, target, weight, limits, g), plain)


def angles(rng: np.random.Generator, straight: bool) -> Term:
    atoms = tuples(rng, 3)
    target = np.full(len(atoms), 180.0) if straight else rng.uniform(90.0, 130.0, len(atoms))
    weight = rng.uniform(0.01, 0.5, len(atoms))

    def plain(x: NDArray) -> float:
        return float((weight * (plain_angles(x, *atoms.T) - target) ** 2).sum())

    return Term(lambda x, g: angle_kernel.angles(x, atoms, target, weight, g), plain)


def torsions(rng: np.random.Generator, period: int, limit: float) -> Term:
    atoms = tuples(rng, 4)
    target, weight = rng.uniform(-180.0, 180.0, len(atoms)), rng.uniform(0.01, 0.2, len(atoms))
    periods, limits = np.full(len(atoms), period, dtype=np.int32), np.full(len(atoms), limit)

    def plain(x: NDArray) -> float:
        delta = plain_dihedrals(x, *atoms.T) - target
        if period > 0:
            return float((weight * 9600.0 / period**2 * (1 - np.cos(np.radians(period * delta)))).sum())
        step = 360.0 / max(1, -period)
        delta = (delta + step / 2) % step - step / 2
        if np.isinf(limit):
            return float((weight * delta**2).sum())
        return float((weight * limit**2 * -np.expm1(-((delta / limit) ** 2))).sum())

    return Term(lambda x, g: kernels.torsions(x, atoms, target, weight, periods, limits, g), plain)


def chiralities(rng: np.random.Generator) -> Term:
    atoms = tuples(rng, 4)
    target, weight = rng.uniform(1.0, 3.0, len(atoms)), rng.uniform(1.0, 100.0, len(atoms))
    both = rng.random(len(atoms)) < 0.5

    def plain(x: NDArray) -> float:
        volume = np.linalg.det(x[atoms[:, 1:]] - x[atoms[:, :1]])
        return float((weight * (np.where(both, np.abs(volume), volume) - target) ** 2).sum())

    return Term(lambda x, g: kernels.chiralities(x, atoms, target, weight, both, g), plain)


def planes(rng: np.random.Generator) -> Term:
    groups = [np.sort(rng.permutation(ATOMS)[:size]) for size in (4, 5, 8)]
    first = np.cumsum([0, *(len(group) for group in groups)]).astype(np.int32)
    atoms, weight = np.concatenate(groups).astype(np.int32), rng.uniform(1.0, 2500.0, len(groups))

    def plain(x: NDArray) -> float:
        smallest = [np.linalg.svd(x[group] - x[group].mean(axis=0), compute_uv=False)[-1] for group in groups]
        return float((weight * np.square(smallest)).sum())

    return Term(lambda x, g: kernels.planes(x, first, atoms, weight, g), plain)


def angles_that_let_go(rng: np.random.Generator) -> Term:
    atoms = tuples(rng, 3)
    target, weight, limit = rng.uniform(90.0, 150.0, 5), rng.uniform(0.01, 0.5, 5), rng.uniform(20.0, 60.0, 5)

    def plain(x: NDArray) -> float:
        delta = plain_angles(x, *atoms.T) - target
        return float((weight * limit**2 * -np.expm1(-((delta / limit) ** 2))).sum())

    return Term(lambda x, g: limited_angles(x, atoms, target, weight, limit, g), plain)


def parallel_planes(rng: np.random.Generator, limit: float) -> Term:
    groups = [np.sort(rng.permutation(ATOMS)[:size]) for size in (4, 6, 3, 9)]
    first = np.cumsum([0, *(len(group) for group in groups)]).astype(np.int32)
    atoms = np.concatenate(groups).astype(np.int32)
    pairs = np.array([[0, 1], [1, 2], [0, 2], [3, 1]], dtype=np.int32)
    weight, limits = rng.uniform(20.0, 900.0, len(pairs)), np.full(len(pairs), limit)

    def plain(x: NDArray) -> float:
        normals = np.array([np.linalg.svd(x[group] - x[group].mean(axis=0))[2][-1] for group in groups])
        opening = 1.0 - np.abs((normals[pairs[:, 0]] * normals[pairs[:, 1]]).sum(axis=1))
        if np.isinf(limit):
            return float((weight * opening).sum())
        return float((weight * limit**2 * -np.expm1(-opening / limit**2)).sum())

    return Term(lambda x, g: parallelities(x, first, atoms, pairs, weight, limits, g), plain)


TERMS: dict[str, Callable[[np.random.Generator], Term]] = {
    "bonds": lambda rng: bonds(rng, np.inf),
    "bonds levelling off": lambda rng: bonds(rng, 0.7),
    "angles": lambda rng: angles(rng, straight=False),
    "straight angles": lambda rng: angles(rng, straight=True),
    "harmonic torsions": lambda rng: torsions(rng, 0, np.inf),
    "torsions modulo 180": lambda rng: torsions(rng, -2, np.inf),
    "torsions levelling off": lambda rng: torsions(rng, 0, 30.0),
    "threefold torsions": lambda rng: torsions(rng, 3, np.inf),
    "sixfold torsions": lambda rng: torsions(rng, 6, np.inf),
    "angles levelling off": angles_that_let_go,
    "parallel planes": lambda rng: parallel_planes(rng, np.inf),
    "parallel planes levelling off": lambda rng: parallel_planes(rng, 0.4),
    "chiralities": chiralities,
    "planes": planes,
}


def numerical_gradient(energy: Callable[[NDArray], float], x: NDArray, step: float) -> NDArray:
    out = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        shift = np.zeros_like(x)
        shift[index] = step
        near = energy(x + shift) - energy(x - shift)
        far = energy(x + 2 * shift) - energy(x - 2 * shift)
        out[index] = (8 * near - far) / (12 * step)
    return out


def assert_exact(term: Term, x: NDArray, step: float = 2e-4) -> None:
    """Compare the gradient with finite differences of the plain energy; where two steps disagree there is a kink."""
    expected = numerical_gradient(term.plain, x, step)
    check = numerical_gradient(term.plain, x, step * 0.7)
    size = np.linalg.norm(expected) + 1e-6
    assume(np.linalg.norm(expected - check) < 2e-7 * size)
    assert np.linalg.norm(term.gradient(x) - expected) < 1e-6 * size


@pytest.mark.parametrize("name", TERMS)
@settings(max_examples=12, deadline=None)
@given(seed=SEEDS)
def test_kernel_agrees_with_numpy_and_finite_differences(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    term = TERMS[name](rng)
    x = rng.normal(scale=1.5, size=(ATOMS, 3))
    assert term.energy(x) == pytest.approx(term.plain(x), rel=1e-11, abs=1e-10)
    assert_exact(term, x)


@pytest.mark.parametrize("name", TERMS)
@settings(max_examples=12, deadline=None)
@given(seed=SEEDS, thickness=st.sampled_from([1e-1, 1e-2, 1e-3]))
def test_kernel_is_exact_for_nearly_flat_atoms(name: str, seed: int, thickness: float) -> None:
    rng = np.random.default_rng(seed)
    term = TERMS[name](rng)
    x = rng.normal(scale=1.5, size=(ATOMS, 3)) * [1.0, 1.0, thickness]
    assert term.energy(x) == pytest.approx(term.plain(x), rel=1e-9, abs=1e-9)
    assert_exact(term, x, step=min(2e-4, thickness / 50))


@pytest.mark.parametrize("name", TERMS)
@settings(max_examples=12, deadline=None)
@given(seed=SEEDS)
def test_energy_does_not_change_with_place_and_orientation(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    term = TERMS[name](rng)
    x = rng.normal(scale=1.5, size=(ATOMS, 3))
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation[:, 0] *= np.sign(np.linalg.det(rotation))
    moved = x @ rotation.T + rng.uniform(-50, 50, 3)
    assert term.energy(moved) == pytest.approx(term.energy(x), rel=1e-8, abs=1e-8)
    gradient = term.gradient(x)
    scale = np.abs(gradient).max() + 1e-9
    np.testing.assert_allclose(term.gradient(moved), gradient @ rotation.T, atol=1e-7 * scale)
    np.testing.assert_allclose(gradient.sum(axis=0), 0.0, atol=1e-10 * scale)
    np.testing.assert_allclose(np.cross(x, gradient).sum(axis=0), 0.0, atol=1e-9 * scale)


@pytest.mark.parametrize("name", TERMS)
def test_gradient_is_added_to_what_is_there(name: str) -> None:
    rng = np.random.default_rng(3)
    term = TERMS[name](rng)
    x = rng.normal(scale=1.5, size=(ATOMS, 3))
    start = rng.normal(size=x.shape)
    out = start.copy()
    term.kernel(x, out)
    np.testing.assert_allclose(out - start, term.gradient(x), atol=1e-9 * np.abs(out).max())


@pytest.mark.parametrize("name", TERMS)
def test_coinciding_and_collinear_atoms_give_finite_numbers(name: str) -> None:
    term = TERMS[name](np.random.default_rng(1))
    for x in (np.zeros((ATOMS, 3)), np.outer(np.arange(ATOMS), [0.3, -0.5, 1.0]), np.ones((ATOMS, 3)) * 7.7):
        assert np.isfinite(term.energy(x))
        assert np.isfinite(term.gradient(x)).all()


@pytest.mark.parametrize("name", TERMS)
def test_nan_positions_come_through_as_nan_or_are_left_out(name: str) -> None:
    rng = np.random.default_rng(2)
    term = TERMS[name](rng)
    x = rng.normal(size=(ATOMS, 3))
    x[0] = np.nan
    assert isinstance(term.energy(x), float)


@pytest.mark.parametrize("bend", [0.0, 1e-9, 1e-6, 1e-4, 1e-2, 1.0, 2.5])
def test_angle_is_exact_through_180_degrees(bend: float) -> None:
    """A linear group (azide, nitrile) with a target of 180° has a smooth energy there."""
    turn = np.radians(bend)
    x = np.array([[1.1, 0.0, 0.0], [0.0, 0.0, 0.0], [-1.2 * np.cos(turn), 1.2 * np.sin(turn), 0.0]])
    atoms, target, weight = np.array([[0, 1, 2]], dtype=np.int32), np.array([180.0]), np.array([0.25])
    gradient = np.zeros_like(x)
    energy = angle_kernel.angles(x, atoms, target, weight, gradient)
    assert energy == pytest.approx(0.25 * bend**2, rel=1e-9, abs=1e-15)
    # dE/dx of the last atom: 2 w Δ · (180/π) / length, against the bend
    assert np.linalg.norm(gradient[2]) == pytest.approx(0.5 * bend * np.degrees(1.0) / 1.2, rel=1e-7, abs=1e-9)


def test_angles_of_every_size_and_of_many_batches() -> None:
    """One at a time and together: 300 angles from 1 to 179°, on both sides of where the kernel changes formula."""
    theta = np.radians(np.concatenate([np.linspace(1.0, 179.0, 260), np.repeat([85.0, 145.0], 20) + np.tile([-1e-9, 1e-9], 20)]))
    rng = np.random.default_rng(3)
    count = len(theta)
    turn = np.linalg.qr(rng.normal(size=(count, 3, 3)))[0]
    flat = np.zeros((count, 3, 3))
    flat[:, 0, 0] = rng.uniform(0.9, 1.9, count)
    flat[:, 2, :2] = rng.uniform(0.9, 1.9, count)[:, None] * np.stack([np.cos(theta), np.sin(theta)], axis=1)
    x = (flat @ turn + rng.normal(size=(count, 1, 3))).reshape(-1, 3)
    atoms = np.arange(3 * count, dtype=np.int32).reshape(-1, 3)
    target, weight = rng.uniform(90.0, 130.0, count), rng.uniform(0.01, 0.5, count)
    together, alone = np.zeros_like(x), np.zeros_like(x)
    energy = angle_kernel.angles(x, atoms, target, weight, together)
    deviation = np.degrees(theta) - target
    assert energy == pytest.approx(float((weight * deviation**2).sum()), rel=1e-12)
    for k in range(count):
        angle_kernel.angles(x, atoms[k : k + 1], target[k : k + 1], weight[k : k + 1], alone)
    np.testing.assert_array_equal(together, alone)
    # across the bond, the energy rises by the angle alone: dE/dθ over the length
    force = np.linalg.norm(together[0::3], axis=1) * np.linalg.norm(x[0::3] - x[1::3], axis=1)
    np.testing.assert_allclose(force, np.abs(2.0 * weight * deviation * np.degrees(1.0)), rtol=1e-7, atol=1e-9)


def test_angles_of_atoms_in_one_place_are_left_out() -> None:
    x, gradient = np.zeros((3, 3)), np.zeros((3, 3))
    one = np.ones(1)
    assert angle_kernel.angles(x, np.array([[0, 1, 2]], dtype=np.int32), 110.0 * one, one, gradient) == 0.0
    assert not gradient.any()


@pytest.mark.parametrize("bend", [2.561, 2.5626, 2.563])
def test_angle_has_no_step_where_the_formulas_meet(bend: float) -> None:
    """The kernel changes formula at a cosine of 0.999, 2.5626° from straight."""
    term = angles(np.random.default_rng(0), straight=False)
    turn = np.radians(bend)
    x = np.zeros((ATOMS, 3)) + np.random.default_rng(5).normal(size=(ATOMS, 3))
    x[:3] = [[1.5, 0.0, 0.0], [0.0, 0.0, 0.0], [-1.4 * np.cos(turn), 1.4 * np.sin(turn), 0.0]]
    single = Term(
        lambda x, g: angle_kernel.angles(x, np.array([[0, 1, 2]], np.int32), np.array([120.0]), np.array([0.3]), g),
        lambda x: float(0.3 * (plain_angles(x, *np.array([[0], [1], [2]]))[0] - 120.0) ** 2),
    )
    assert single.energy(x) == pytest.approx(single.plain(x), rel=1e-12)
    expected = numerical_gradient(single.plain, x, 1e-4)
    assert np.linalg.norm(single.gradient(x) - expected) < 1e-6 * np.linalg.norm(expected)
    assert np.isfinite(term.energy(x))


def test_torsion_sign_and_target() -> None:
    x = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.5], [np.cos(1.0), np.sin(1.0), 1.5]])
    atoms = np.array([[0, 1, 2, 3]], dtype=np.int32)
    angle = float(plain_dihedrals(x, *atoms.T)[0])
    one, never = np.ones(1), np.full(1, np.inf)
    for period, shift in ((0, 0.0), (0, 360.0), (-2, 180.0), (3, 120.0), (6, -60.0)):
        periods = np.array([period], dtype=np.int32)
        gradient = np.zeros_like(x)
        assert kernels.torsions(x, atoms, np.array([angle + shift]), one, periods, never, gradient) == pytest.approx(0, abs=1e-8)
        np.testing.assert_allclose(gradient, 0.0, atol=1e-6)


def test_level_off_forgets_far_targets() -> None:
    x = np.array([[0.0, 0.0, 0.0], [30.0, 0.0, 0.0]])
    atoms, gradient = np.array([[0, 1]], dtype=np.int32), np.zeros((2, 3))
    energy = kernels.bonds(x, atoms, np.array([3.0]), np.array([400.0]), np.array([0.5]), gradient)
    assert energy == pytest.approx(400.0 * 0.25)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-12)


@settings(max_examples=80, deadline=None)
@given(
    seed=SEEDS, spread=st.sampled_from([(1.0, 1.0, 1.0), (1.0, 1.0, 1e-5), (1.0, 1e-3, 1e-3), (1.0, 1e-2, 0.0), (2.0, 2.0, 0.0)])
)
def test_smallest_eigenvector_solves_the_eigenproblem(seed: int, spread: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    points = rng.normal(size=(6, 3)) * spread @ turn.T
    matrix = (points - points.mean(axis=0)).T @ (points - points.mean(axis=0))
    vector = np.array(kernels.smallest_eigenvector(*matrix[np.triu_indices(3)]))
    assert np.linalg.norm(vector) == pytest.approx(1.0, rel=1e-12)
    values = np.linalg.eigvalsh(matrix)
    assert vector @ matrix @ vector == pytest.approx(values[0], rel=1e-7, abs=1e-13 * values[2])


@pytest.mark.parametrize("matrix", [np.zeros((3, 3)), np.eye(3), np.diag([1.0, 0, 0]), np.diag([0, 2.0, 0]), np.ones((3, 3))])
def test_smallest_eigenvector_of_degenerate_matrices(matrix: NDArray) -> None:
    vector = np.array(kernels.smallest_eigenvector(*matrix[np.triu_indices(3)]))
    assert np.linalg.norm(vector) == pytest.approx(1.0)
    assert vector @ matrix @ vector == pytest.approx(np.linalg.eigvalsh(matrix)[0], abs=1e-12)
