from __future__ import annotations

from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from refinement.maps.density import Density
from refinement.maps.masks import SHRINK_RADIUS, SOLVENT_RADIUS, mask_around, mask_radii, molecular_mask

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.structure import Structure


def cube(points: int = 40, edge: float = 20.0) -> Density:
    return Density(np.zeros((points,) * 3, np.float32), gemmi.UnitCell(edge, edge, edge, 90, 90, 90), np.zeros(3))


def plain(positions: np.ndarray, radii: np.ndarray, density: Density) -> np.ndarray:
    """The definition, written out with the distance of every pair of points."""
    dims = np.array(density.dims)
    indices = np.stack(np.meshgrid(*[np.arange(n) for n in dims], indexing="ij"), axis=-1).reshape(-1, 3)
    images = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)

    def nearest(point: np.ndarray) -> np.ndarray:
        offsets = indices - point
        offsets = (offsets - np.rint(offsets / dims) * dims)[:, None] + images * dims
        return np.linalg.norm(offsets @ density.step_matrix.T, axis=-1).min(axis=1)

    core = np.zeros(len(indices), bool)
    grown = np.zeros(len(indices), bool)
    for grid, radius in zip(density.grid_coordinates(positions), radii, strict=True):
        distance = nearest(grid)
        core |= distance < radius
        grown |= distance <= radius + SOLVENT_RADIUS
    kept = grown.copy()
    for point in np.nonzero(grown & ~core)[0]:
        kept[point] = not (~grown & (nearest(indices[point]) <= SHRINK_RADIUS)).any()
    return kept.reshape(density.dims)


@pytest.mark.parametrize(("element", "points"), [("H", 123), ("O", 195), ("N", 209), ("C", 317), ("S", 317), ("P", 389)])
def test_one_atom_has_the_known_number_of_points(element: str, points: int) -> None:
    radii = mask_radii(np.array([gemmi.Element(element).atomic_number], np.uint8))
    assert mask_around(np.full((1, 3), 10.0), radii, cube()).sum() == points


def test_two_carbons_have_the_known_number_of_points() -> None:
    assert mask_around(np.array([[9.0, 10, 10], [13, 10, 10]]), np.full(2, 1.775), cube()).sum() == 641


def test_oblique_cell_agrees_with_the_definition() -> None:
    cell = gemmi.UnitCell(7.0, 8.0, 9.0, 75.0, 98.0, 110.0)
    density = Density(np.zeros((11, 12, 13), np.float32), cell, np.array([4.0, -2.0, 1.0]))
    rng = np.random.default_rng(8)
    positions = rng.uniform(-5, 15, (5, 3))
    radii = rng.uniform(0.4, 0.9, 5)
    expected = plain(positions, radii, density)
    assert 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(mask_around(positions, radii, density), expected)


def test_mask_repeats_periodically() -> None:
    inside = mask_around(np.array([[10.0, 10, 10]]), np.array([1.775]), cube())
    at_corner = mask_around(np.array([[20.0, 0, -40.0]]), np.array([1.775]), cube())
    np.testing.assert_array_equal(at_corner, np.roll(inside, (20, 20, 20), (0, 1, 2)))


def test_radii_of_rare_and_unknown_elements() -> None:
    radii = mask_radii(np.array([0, 6, 12, 22, 92, 118, 200], np.uint8))
    assert radii[0] == radii[1] == 1.775
    assert radii[2] == 1.73
    assert radii[3] == pytest.approx(gemmi.Element("Ti").vdw_r)
    assert (radii >= 1).all()


def test_every_atom_of_a_model_counts(structure_of: Callable[..., Structure]) -> None:
    rows = [("A", 1, "ALA", "CA", "C"), ("A", 1, "ALA", "HA", "H"), ("B", 2, "HOH", "O", "O")]
    positions = np.array([[4.0, 4, 4], [10, 10, 10], [16, 16, 16]])
    mask = molecular_mask(structure_of(rows, positions, occupancy=0.0), cube())
    assert mask.sum() == 317 + 123 + 195
