"""The model's map on a mesh: against summed atoms, finite differences, and itself moved around."""

from __future__ import annotations

import gemmi
import numpy as np
import pytest
from scipy import fft

from refinement.maps.density import Density
from refinement.maps.fourier import cut, on_grid
from refinement.maps.mesh import Mesh
from refinement.maps.scattering import model_map_of, scattering_factors
from refinement.maps.shapes import CommonShapes, common_shapes

CELL = gemmi.UnitCell(24.0, 27.0, 30.0, 80.0, 95.0, 106.0)
CORNER = np.array([-3.0, 7.5, 12.25])
D_MIN = 3.0


@pytest.fixture
def density() -> Density:
    return Density(np.random.default_rng(5).normal(size=(24, 28, 30)).astype(np.float32), CELL, CORNER)


@pytest.fixture
def atoms(density: Density) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Positions anywhere in the box and across its faces, elements, B factors and occupancies."""
    rng = np.random.default_rng(3)
    positions = CORNER + rng.uniform(-1.0, np.array(density.dims), (60, 3)) @ density.step_matrix.T
    elements = rng.choice(np.array([6, 7, 8, 16, 26], dtype=np.uint8), 60)
    return positions, elements, rng.uniform(5.0, 300.0, 60), rng.uniform(0.3, 1.0, 60)


def shapes_of(atoms: tuple[np.ndarray, ...], tolerance: float = 1e-3) -> CommonShapes:
    _, elements, b_iso, occupancy = atoms
    return common_shapes(elements, b_iso, occupancy, D_MIN, tolerance=tolerance)


def test_shapes_are_those_of_the_atoms(atoms: tuple[np.ndarray, ...]) -> None:
    _, elements, b_iso, occupancy = atoms
    s2 = np.linspace(0.0, 1.0 / D_MIN**2, 300)
    a, b = scattering_factors(elements)
    exact = occupancy[:, None] * (a[:, :, None] * np.exp(-0.25 * (b + b_iso[:, None])[:, :, None] * s2)).sum(axis=1)
    for tolerance in (1e-2, 1e-3):
        shapes = shapes_of(atoms, tolerance)
        error = np.linalg.norm((shapes.share @ shapes.at(s2) - exact) * s2**0.25, axis=1)
        assert (error < 1.5 * tolerance * np.linalg.norm(exact * s2**0.25, axis=1)).all()
    assert shapes_of(atoms, 1e-2).share.shape[1] < shapes_of(atoms, 1e-3).share.shape[1] <= 8
    assert shapes.at(np.array([1.01 / D_MIN**2])).max() == 0.0


@pytest.mark.parametrize(("points", "error"), [(2.5, 0.03), (4.0, 0.003)])
def test_terms_are_those_of_summed_atoms(density: Density, atoms: tuple[np.ndarray, ...], points: float, error: float) -> None:
    positions, elements, b_iso, occupancy = atoms
    mesh = Mesh.of(density, D_MIN, points=points)
    shapes = shapes_of(atoms)
    filters = mesh.filters(shapes)
    terms = mesh.spread(positions, shapes.share, filters, mesh.room(len(filters)))
    summed = model_map_of(positions, elements, b_iso, occupancy, density=density, d_min=D_MIN)
    expected = fft.rfftn(summed)
    cut(expected, density.dims, CELL, D_MIN)
    # the mesh has the density per point, the map per volume
    expected = on_grid(expected, density.dims, mesh.dims) * np.float32(CELL.volume / mesh.size)

    assert np.linalg.norm(terms - expected) < error * np.linalg.norm(expected)


def test_reading_is_the_transpose_of_spreading(density: Density, atoms: tuple[np.ndarray, ...]) -> None:
    positions = atoms[0]
    mesh = Mesh.of(density, D_MIN, points=3.0)
    shapes = shapes_of(atoms)
    filters = mesh.filters(shapes)
    meshes = mesh.room(len(filters))
    terms = mesh.terms_of(density)
    model = mesh.spread(positions, shapes.share, filters, meshes)
    product = ((model.real * terms.real + model.imag * terms.imag) * mesh.multiplicity()).sum()
    mesh.blur(terms, filters, meshes)
    read = mesh.read(positions, shapes.share, meshes, 1.0, np.zeros_like(positions))
    assert read * mesh.size == pytest.approx(product, rel=1e-5)


def test_gradient_agrees_with_finite_differences(density: Density, atoms: tuple[np.ndarray, ...]) -> None:
    positions = atoms[0]
    mesh = Mesh.of(density, D_MIN, points=2.5)
    shapes = shapes_of(atoms)
    filters = mesh.filters(shapes)
    meshes = mesh.room(len(filters))
    mesh.blur(mesh.terms_of(density), filters, meshes)
    gradient = np.zeros_like(positions)
    mesh.read(positions, shapes.share, meshes, -2.5, gradient)
    for row, axis in ((0, 0), (17, 1), (40, 2)):
        step = np.zeros_like(positions)
        step[row, axis] = 1e-4
        up, down = (mesh.read(positions + s * step, shapes.share, meshes, -2.5, np.zeros_like(positions)) for s in (1, -1))
        assert gradient[row, axis] == pytest.approx((up - down) / 2e-4, rel=1e-4, abs=1e-6 * np.abs(gradient).max())


def test_atoms_far_outside_and_atoms_nowhere_count_nothing(density: Density, atoms: tuple[np.ndarray, ...]) -> None:
    positions = atoms[0].copy()
    mesh = Mesh.of(density, D_MIN, points=2.5)
    shapes = shapes_of(atoms)
    filters = mesh.filters(shapes)
    meshes = mesh.room(len(filters))
    positions[:30] += 500.0
    positions[30] = np.nan
    without = mesh.spread(positions[31:], shapes.share[31:], filters, meshes)
    np.testing.assert_array_equal(mesh.spread(positions, shapes.share, filters, meshes), without)


def test_threads_give_the_same_bits(density: Density, atoms: tuple[np.ndarray, ...]) -> None:
    found = []
    for threads in (1, 2):
        mesh = Mesh.of(density, D_MIN, points=2.5, threads=threads)
        shapes = shapes_of(atoms)
        filters = mesh.filters(shapes)
        found.append(mesh.spread(atoms[0], shapes.share, filters, mesh.room(len(filters))).tobytes())
    assert found[0] == found[1]


@pytest.mark.parametrize("threads", [2, 3])
def test_any_number_of_threads_gives_the_same_bits(density: Density, atoms: tuple[np.ndarray, ...], threads: int) -> None:
    positions, shapes = atoms[0], shapes_of(atoms)
    found = []
    for count in (1, threads):
        mesh = Mesh.of(density, D_MIN, points=2.5, threads=count)
        filters = mesh.filters(shapes)
        meshes = mesh.room(len(filters))
        terms = mesh.spread(positions, shapes.share, filters, meshes)
        mesh.blur(terms, filters, meshes)
        gradient = np.zeros_like(positions)
        energy = mesh.read(positions, shapes.share, meshes, 2.0, gradient)
        found.append((terms, meshes.copy(), gradient, energy))
    for one, other in zip(*found, strict=True):
        assert np.array_equal(one, other)
    assert np.abs(found[0][2]).max() > 0.0
