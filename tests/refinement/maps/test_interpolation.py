from __future__ import annotations

import gemmi
import numpy as np
import pytest
from scipy import ndimage

from refinement.errors import MapError
from refinement.maps.density import Density
from refinement.maps.interpolation import BLOCK, BLOCKS_PER_THREAD, PAD, InterpolatedMap, prepare, trilinear

OBLIQUE = gemmi.UnitCell(14.0, 15.5, 17.0, 80.0, 95.0, 106.0)
CORNER = np.array([-3.0, 7.5, 12.25])


def published() -> Density:
    """A wave on a periodic grid of 1 Å, for which another program's interpolated values are known."""
    i, j, k = np.meshgrid(*[np.arange(12.0)] * 3, indexing="ij")
    wave = np.sin(0.7 * i) + 0.5 * np.cos(0.9 * j) + 0.3 * np.sin(1.1 * k + 0.2 * i)
    return Density(wave.astype(np.float32), gemmi.UnitCell(12, 12, 12, 90, 90, 90), np.zeros(3))


def noise(dims: tuple[int, int, int] = (11, 12, 13)) -> Density:
    return Density(np.random.default_rng(5).normal(size=dims).astype(np.float32), OBLIQUE, CORNER)


def somewhere(density: Density, count: int, margin: float = 0.0) -> np.ndarray:
    """Positions anywhere between the first and the last grid points, or `margin` voxels beyond."""
    low, high = -margin, np.array(density.dims) - 1 + margin
    grid = np.random.default_rng(11).uniform(low, high, (count, 3))
    return density.corner + grid @ density.step_matrix.T


def nodes(density: Density) -> np.ndarray:
    grid = np.stack(np.meshgrid(*[np.arange(float(n)) for n in density.dims], indexing="ij"), axis=-1).reshape(-1, 3)
    return density.corner + grid @ density.step_matrix.T


def gradient_of(prepared: InterpolatedMap, positions: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    gradient = np.zeros_like(positions)
    return prepared.energy_and_gradient(positions, weights, gradient), gradient


def test_published_values() -> None:
    point = np.array([[5.3, 6.45, 4.8]])
    assert trilinear(published(), point)[0] == pytest.approx(-0.0860418, abs=1e-7)
    prepared = prepare(published(), normalise=False, method="catmull_rom")
    energy, gradient = gradient_of(prepared, point, np.ones(1))
    assert -energy == pytest.approx(-0.0716907, abs=1e-7)
    np.testing.assert_allclose(-gradient[0], (-0.53502, 0.21480, 0.32130), atol=1e-5)


def test_spline_agrees_with_scipy_in_the_middle() -> None:
    density = noise((20, 21, 22))
    points = somewhere(density, 200)
    grid = density.grid_coordinates(points)
    expected = ndimage.map_coordinates(density.values.astype(float), grid.T, order=3, mode="mirror")
    np.testing.assert_allclose(prepare(density, normalise=False).values(points), expected, atol=2e-6)


@pytest.mark.parametrize("method", ["bspline", "catmull_rom"])
def test_exact_at_grid_points_to_the_very_edge(method: str) -> None:
    density = noise()
    prepared = prepare(density, normalise=False, method=method)
    # a hair inside: the last node belongs to the cell below it or to the one above
    np.testing.assert_allclose(prepared.values(nodes(density)), density.values.ravel(), atol=2e-6)


@pytest.mark.parametrize("method", ["bspline", "catmull_rom"])
@pytest.mark.parametrize("margin", [0.0, 5.0])
def test_gradient_agrees_with_finite_differences(method: str, margin: float) -> None:
    density = noise()
    prepared = prepare(density, method=method)
    positions = somewhere(density, 60, margin)
    weights = np.random.default_rng(2).uniform(-1, 10, 60)
    _, gradient = gradient_of(prepared, positions, weights)
    step = 1e-4
    numeric = np.zeros_like(gradient)
    for axis in range(3):
        shift = np.zeros(3)
        shift[axis] = step
        # five-point formula: its own error is of order step⁴
        terms = [prepared.values(positions + m * shift) for m in (-2, -1, 1, 2)]
        numeric[:, axis] = -weights * (terms[0] - 8 * terms[1] + 8 * terms[2] - terms[3]) / (12 * step)
    scale = np.abs(numeric).max()
    assert scale > 1
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-6 * scale if method == "catmull_rom" else 1e-7 * scale)


def test_energy_is_the_weighted_sum_and_gradient_is_added() -> None:
    density = noise()
    prepared = prepare(density)
    positions = somewhere(density, 40)
    weights = np.arange(40.0)
    gradient = np.ones((40, 3))
    energy = prepared.energy_and_gradient(positions, weights, gradient)
    assert energy == pytest.approx(-float(weights @ prepared.values(positions)), rel=1e-12)
    np.testing.assert_array_equal(gradient[0], 1.0)
    _, alone = gradient_of(prepared, positions, weights)
    np.testing.assert_allclose(gradient, alone + 1, rtol=1e-12)


def test_threads_give_the_same_bits() -> None:
    density = noise()
    prepared = prepare(density)
    count = 3 * BLOCKS_PER_THREAD * BLOCK + 17
    positions, weights = somewhere(density, count, 1.0), np.random.default_rng(4).uniform(size=count)
    gradients = [np.zeros_like(positions) for _ in range(3)]
    energies = [prepared.energy_and_gradient(positions, weights, g, threads=k + 1) for k, g in enumerate(gradients)]
    assert energies[0] == energies[1] == energies[2]
    assert energies[0] == pytest.approx(-float(weights @ prepared.values(positions)), rel=1e-9)
    for other in gradients[1:]:
        np.testing.assert_array_equal(other, gradients[0])


@pytest.mark.parametrize("dims", [(11, 12, 13), (4, 1, 5)])
def test_padding_is_a_mirror_and_zeros(dims: tuple[int, int, int]) -> None:
    """As numpy pads the filtered map."""
    density = noise(dims)
    filtered = ndimage.spline_filter(density.normalised().values, order=3, output=np.float32, mode="mirror")
    expected = np.pad(np.pad(filtered, 1, mode="reflect" if min(dims) > 1 else "edge"), PAD - 1)
    np.testing.assert_array_equal(prepare(density).coefficients, expected)


def test_spline_is_twice_differentiable_across_voxels() -> None:
    density = noise()
    prepared = prepare(density)
    node = density.corner + density.step_matrix @ np.array([5.0, 6.0, 7.0])
    along = density.step_matrix @ np.array([1.0, 0.3, -0.2])
    h = 1e-3

    def second(centre: float) -> float:
        line = node + np.outer([centre - h, centre, centre + h], along)
        low, middle, high = prepared.values(line)
        return (low - 2 * middle + high) / h**2

    assert second(-2 * h) == pytest.approx(second(2 * h), abs=0.15)


def test_nothing_is_felt_far_outside_and_nothing_jumps_at_the_edge() -> None:
    density = noise()
    prepared = prepare(density)
    centre = density.step_matrix @ (np.array(density.dims) / 2)
    outward = np.linspace(0, 1, 4001)[:, None] * np.array([40.0, 3.0, -2.0])
    values = prepared.values(density.corner + centre + outward)
    assert np.abs(np.diff(values)).max() < 0.15
    assert values[-1] == 0.0
    far = density.corner + np.array([[1e5, 0, 0], [0, -1e5, 0], [0, 0, 1e300]])
    energy, gradient = gradient_of(prepared, far, np.ones(3))
    assert energy == 0.0
    np.testing.assert_array_equal(gradient, 0.0)


def test_numbers_that_are_not_come_out_again() -> None:
    density = noise()
    bad = np.array([[np.nan, 0, 0], [0, np.nan, np.nan]])
    assert np.isnan(prepare(density).values(bad)).all()
    energy, _ = gradient_of(prepare(density), bad, np.ones(2))
    assert np.isnan(energy)
    assert np.isnan(trilinear(density, bad)).all()


def test_trilinear_repeats_and_agrees_with_a_plain_reference() -> None:
    density = noise()
    positions = somewhere(density, 100, margin=20.0)
    grid = density.grid_coordinates(positions)
    base = np.floor(grid).astype(int)
    fraction = grid - base
    expected = np.zeros(100)
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, fraction, 1 - fraction), axis=1)
        expected += weight * density.values[tuple(((base + corner) % density.dims).T)]
    np.testing.assert_allclose(trilinear(density, positions), expected, atol=1e-6)


def test_moving_map_and_atoms_together_changes_nothing() -> None:
    density = noise()
    shift = np.array([100.0, -50.0, 25.0])
    moved = Density(density.values, density.cell, density.corner + shift)
    positions = somewhere(density, 50)
    np.testing.assert_allclose(prepare(moved).values(positions + shift), prepare(density).values(positions), atol=1e-9)


def test_small_and_flat_boxes() -> None:
    thin = Density(np.arange(12, dtype=np.float32).reshape(3, 4, 1), gemmi.UnitCell(3, 4, 1, 90, 90, 90), np.zeros(3))
    np.testing.assert_allclose(prepare(thin, normalise=False).values(np.array([[1.0, 2.0, 0.0]])), 6.0, atol=1e-5)
    flat = Density(np.ones((4, 4, 4), np.float32), gemmi.UnitCell(4, 4, 4, 90, 90, 90), np.zeros(3))
    with pytest.raises(MapError, match="everywhere"):
        prepare(flat)
