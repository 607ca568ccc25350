"""Targets of the whole map: gradients, curvature, and where their minima lie."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from refinement.maps.density import Density
from refinement.maps.interpolation import prepare
from refinement.maps.scattering import model_map
from refinement.moves.side_chain_search import KERNEL_STEP
from refinement.whole_map import LeastSquares, Overlap, shell_scales

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.structure import Structure

D_MIN = 3.5


@pytest.fixture
def cluster(structure_of: Callable[..., Structure]) -> Structure:
    """Thirty atoms 1.5 Å or more apart, with different B factors."""
    rng = np.random.default_rng(4)
    points: list[np.ndarray] = []
    while len(points) < 30:
        point = rng.uniform(0.0, 7.0, 3)
        if all(np.linalg.norm(point - other) > 1.5 for other in points):
            points.append(point)
    elements = rng.choice(["C", "N", "O"], 30)
    rows = [("A", n + 1, "GLY", "CA", element) for n, element in enumerate(elements)]
    return structure_of(rows, np.array(points), b_iso=rng.uniform(20.0, 120.0, 30))


@pytest.fixture
def density(cluster: Structure) -> Density:
    empty = Density(np.zeros((32, 32, 32), dtype=np.float32), gemmi.UnitCell(24, 24, 24, 90, 90, 90), np.full(3, -8.5))
    return replace(empty, values=model_map(cluster, empty, D_MIN))


def shaken(structure: Structure, by: float) -> Structure:
    return structure.moved(structure.positions + np.random.default_rng(8).normal(scale=by, size=structure.positions.shape))


def gradient_of(term: LeastSquares | Overlap, structure: Structure) -> np.ndarray:
    gradient = np.zeros_like(structure.positions)
    term.energy_and_gradient(structure.positions, gradient)
    return gradient


@pytest.mark.parametrize("kind", [LeastSquares, Overlap])
def test_gradient_agrees_with_finite_differences(kind: type, cluster: Structure, density: Density) -> None:
    model = shaken(cluster, 0.3)
    term = kind(model, density, D_MIN, weight=1.7)
    gradient = gradient_of(term, model)
    rng = np.random.default_rng(2)
    for _ in range(3):
        direction, scratch, step = rng.normal(size=gradient.shape), np.zeros_like(gradient), 3e-3
        up = term.energy_and_gradient(model.positions + step * direction, scratch)
        down = term.energy_and_gradient(model.positions - step * direction, scratch)
        assert (gradient * direction).sum() == pytest.approx((up - down) / (2 * step), rel=5e-3)


def test_only_least_squares_leave_the_truth_alone(cluster: Structure, density: Density) -> None:
    squares = LeastSquares(cluster, density, D_MIN, fine=True)
    at_truth, near = gradient_of(squares, cluster), gradient_of(squares, shaken(cluster, 0.1))
    assert np.abs(at_truth).max() < 0.03 * np.abs(near).max()
    # neighbours pull in the two others: the shift that their curvature asks for is much longer
    overlap = Overlap(cluster, density, D_MIN)
    centres = np.zeros_like(cluster.positions)
    prepare(density).energy_and_gradient(cluster.positions, np.ones(len(cluster)), centres)
    for gradient, term in ((gradient_of(overlap, cluster), overlap), (centres, None)):
        moved = np.zeros_like(gradient)
        if term is None:
            prepare(density).energy_and_gradient(shaken(cluster, 0.1).positions, np.ones(len(cluster)), moved)
        else:
            moved = gradient_of(term, shaken(cluster, 0.1))
        assert np.abs(gradient).max() > 0.3 * np.abs(moved).max()


def test_curvature_is_that_of_a_lone_atom(structure_of: Callable[..., Structure]) -> None:
    atom = structure_of([("A", 1, "GLY", "CA", "C")], [[0.1, 0.2, -0.3]], b_iso=40.0)
    empty = Density(np.zeros((30, 30, 30), dtype=np.float32), gemmi.UnitCell(24, 24, 24, 90, 90, 90), np.full(3, -12.0))
    density = replace(empty, values=model_map(atom, empty, D_MIN))
    squares = LeastSquares(atom, density, D_MIN, fine=True)
    step = 0.05
    slope = [gradient_of(squares, atom.moved(atom.positions + s * np.array([[step, 0.0, 0.0]])))[0, 0] for s in (1, -1)]
    # the energy is a parabola only near the atom
    assert squares.curvature()[0] == pytest.approx((slope[0] - slope[1]) / (2 * step), rel=0.02)


def test_the_energy_is_that_of_all_terms(cluster: Structure, density: Density) -> None:
    model = shaken(cluster, 0.2)
    squares = LeastSquares(model, density, D_MIN)
    energy = squares.energy_and_gradient(model.positions, np.zeros_like(model.positions))
    # at the start D is the best scale: Σ|Fo - D Fc|²/S is the number of terms where S isn't at its floor
    explained = -energy
    fsc = squares.scales.correlation
    assert explained > 0
    assert (fsc > 0.5).all()
    other = LeastSquares(model, density, D_MIN, weight=3.0)
    assert other.energy_and_gradient(model.positions, np.zeros_like(model.positions)) == pytest.approx(3.0 * energy, rel=1e-5)


def test_scales_of_shells() -> None:
    rng = np.random.default_rng(1)
    shape = (20, 20, 11)
    model = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    noise = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    shell = np.zeros(shape, dtype=np.int64)
    shell[10:], shell[:, 15:] = 1, 2
    observed = np.where(shell == 0, 3.0 * model + 0.5 * noise, -model).astype(np.complex64)
    found = shell_scales(observed, model, shell, np.ones(11))
    assert len(found.scale) == 2
    assert found.scale[0] == pytest.approx(3.0, rel=0.02)
    assert found.unexplained[0] == pytest.approx(0.5, rel=0.05)
    assert found.correlation[0] == pytest.approx(np.sqrt(9 / 9.25), abs=0.005)
    # what runs against the model isn't explained by a negative scale
    assert found.scale[1] == 0.0
    assert found.correlation[1] == pytest.approx(-1.0, abs=1e-5)


def test_threads_give_the_same_bits(cluster: Structure, density: Density) -> None:
    found = []
    for threads in (1, 2):
        term = LeastSquares(shaken(cluster, 0.2), density, D_MIN, threads=threads)
        gradient = np.zeros_like(cluster.positions)
        found.append((term.energy_and_gradient(cluster.positions, gradient), gradient.tobytes()))
    assert found[0] == found[1]


def test_unexplained_predicts_the_energy_of_a_move(cluster: Structure, density: Density) -> None:
    """The map of what is unexplained and its kernel are the energy of the least squares, for atoms of the mean shape."""
    alike = replace(cluster, elements=np.full_like(cluster.elements, 6), b_iso=np.full(len(cluster), 50.0))
    model = shaken(alike, 0.4)
    term = LeastSquares(model, density, D_MIN, weight=2.3, fine=True)
    rest = term.unexplained(model.positions, np.ones(len(model)), density)
    field = prepare(rest.gain, normalise=False)
    gradient = np.zeros_like(model.positions)
    moving = np.arange(5)
    before = term.energy_and_gradient(model.positions, gradient)

    def pairs(first: np.ndarray, second: np.ndarray) -> float:
        distance = np.linalg.norm(first[:, None] - second, axis=2)
        return float(np.interp(distance, np.arange(len(rest.kernel)) * KERNEL_STEP, rest.kernel).sum())

    def predicted(points: np.ndarray) -> float:
        old = model.positions[moving]
        return -float(field.values(points).sum()) + pairs(points, points) - 2.0 * pairs(points, old)

    for seed in range(4):
        moved = model.positions.copy()
        moved[moving] += np.random.default_rng(seed).normal(scale=1.0, size=(len(moving), 3))
        after = term.energy_and_gradient(moved, gradient)
        change = predicted(moved[moving]) - predicted(model.positions[moving])
        assert change == pytest.approx(after - before, abs=0.02 * pairs(moved[moving], moved[moving]))
