from __future__ import annotations

from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from refinement.maps.density import Density
from refinement.maps.scattering import model_map, model_map_of, scattering_factors

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.structure import Structure

OBLIQUE = gemmi.UnitCell(20.0, 22.0, 26.0, 85.0, 95.0, 105.0)
ORTHOGONAL = gemmi.UnitCell(21.0, 18.0, 24.0, 90.0, 90.0, 90.0)


def box(dims: tuple[int, int, int], cell: gemmi.UnitCell = OBLIQUE) -> Density:
    return Density(np.zeros(dims, np.float32), cell, np.array([3.0, -4.0, 5.0]))


def atoms(count: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    return (
        rng.uniform(-5, 30, (count, 3)),
        rng.choice([1, 6, 7, 8, 15, 16, 26], count).astype(np.uint8),
        rng.uniform(5, 150, count),
        rng.uniform(0.2, 1, count),
    )


def summed_directly(density: Density, d_min: float) -> np.ndarray:
    """Structure factors term by term, and a plain inverse transform."""
    positions, elements, b_iso, occupancy = atoms()
    fractional = np.array(density.cell.frac.mat.tolist())
    h = np.stack(np.meshgrid(*[np.arange(-20, 21)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    s2 = np.einsum("ij,jk,ik->i", h, fractional @ fractional.T, h)
    limit = (np.array(density.dims) - 1) // 2
    kept = (s2 <= 1 / d_min**2) & (s2 > 0) & (np.abs(h) <= limit).all(axis=1)
    h, s2 = h[kept], s2[kept]
    a, b = scattering_factors(elements)
    coefficients = np.zeros(len(h), complex)
    for n, x in enumerate((positions - density.corner) @ fractional.T):
        factor = (a[n, :, None] * np.exp(-b[n, :, None] * s2 / 4)).sum(axis=0)
        coefficients += occupancy[n] * factor * np.exp(-b_iso[n] * s2 / 4 - 2j * np.pi * h @ x)
    transform = np.zeros(density.dims, complex)
    transform[tuple((h % density.dims).T)] = coefficients / density.cell.volume
    return np.fft.ifftn(transform).real * np.prod(density.dims)


@pytest.mark.parametrize(
    ("dims", "d_min", "cell"),
    [
        ((24, 27, 30), 2.2, OBLIQUE),
        ((24, 27, 30), 3.0, OBLIQUE),
        ((33, 37, 41), 1.5, OBLIQUE),  # too coarse to sum atoms on
        ((13, 14, 15), 2.8, OBLIQUE),  # even too coarse for all terms
        ((31, 29, 35), 2.5, ORTHOGONAL),
    ],
)
def test_agrees_with_direct_summation(dims: tuple[int, int, int], d_min: float, cell: gemmi.UnitCell) -> None:
    density = box(dims, cell)
    positions, elements, b_iso, occupancy = atoms()
    found = model_map_of(positions, elements, b_iso, occupancy, density=density, d_min=d_min)
    expected = summed_directly(density, d_min)
    assert found.dtype == np.float32
    assert found.shape == dims
    assert np.abs(found - expected).max() < 0.03 * expected.std()
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99999


def test_factors_are_those_of_gemmi() -> None:
    a, b = scattering_factors(np.array([6, 0, 98, 118], np.uint8))
    carbon = gemmi.Element("C").c4322
    np.testing.assert_allclose(a[0], carbon.a)
    np.testing.assert_allclose(b[0], carbon.b)
    np.testing.assert_allclose(a[1], gemmi.Element("O").c4322.a)
    np.testing.assert_array_equal(a[3], a[2])


def test_model_and_arrays_give_the_same(structure_of: Callable[..., Structure]) -> None:
    rows = [("A", 1, "ALA", "CA", "C"), ("A", 1, "ALA", "HA", "H"), ("B", 2, "HOH", "O", "O")]
    positions = np.array([[4.0, 4, 4], [4.9, 4.2, 4.4], [10, 9, 8]])
    structure = structure_of(rows, positions, b_iso=[20, 30, 50], occupancy=[1, 1, 0.5])
    density = box((25, 27, 31))
    arrays = (structure.positions, structure.elements, structure.b_iso, structure.occupancy)
    np.testing.assert_array_equal(model_map(structure, density, 2.5), model_map_of(*arrays, density=density, d_min=2.5))
    no_hydrogen = structure.without(structure.is_hydrogen)
    assert np.abs(model_map(structure, density, 2.5) - model_map(no_hydrogen, density, 2.5)).max() > 0.01


def test_an_atom_lies_where_it_belongs_and_the_mean_is_zero() -> None:
    density = box((40, 44, 52))
    place = density.corner + density.step_matrix @ np.array([11.0, 30.0, 25.0])
    found = model_map_of(place[None], np.array([6], np.uint8), np.array([20.0]), np.ones(1), density=density, d_min=2.0)
    assert np.unravel_index(found.argmax(), found.shape) == (11, 30, 25)
    assert found.mean() == pytest.approx(0, abs=1e-7)


def test_same_wherever_the_frame_lies() -> None:
    positions, elements, b_iso, occupancy = atoms()
    here = model_map_of(positions, elements, b_iso, occupancy, density=box((24, 27, 30)), d_min=2.5)
    shift = np.array([100.0, -30.0, 12.0])
    moved = Density(box((24, 27, 30)).values, OBLIQUE, box((24, 27, 30)).corner + shift)
    there = model_map_of(positions + shift, elements, b_iso, occupancy, density=moved, d_min=2.5)
    np.testing.assert_allclose(here, there, atol=1e-5 * here.std())


def test_senseless_b_factors_cost_neither_time_nor_the_map() -> None:
    positions, elements, b_iso, occupancy = atoms()
    b_iso[:3] = 1e9, -1e9, 1e4
    found = model_map_of(positions, elements, b_iso, occupancy, density=box((24, 27, 30)), d_min=3.0)
    assert np.isfinite(found).all()


def test_a_resolution_that_the_grid_cannot_hold_costs_nothing() -> None:
    positions, elements, b_iso, occupancy = atoms()
    found = model_map_of(positions, elements, b_iso, occupancy, density=box((24, 27, 30)), d_min=1e-3)
    np.testing.assert_allclose(found, summed_directly(box((24, 27, 30)), 0.4), atol=0.05 * found.std())


def test_no_atoms_give_an_empty_map() -> None:
    none = np.zeros(0)
    found = model_map_of(none.reshape(0, 3), np.zeros(0, np.uint8), none, none, density=box((12, 13, 14)), d_min=5.0)
    np.testing.assert_array_equal(found, 0.0)
