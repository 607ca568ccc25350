from __future__ import annotations

import gemmi
import numpy as np
import pytest

from refinement.errors import MapError
from refinement.maps.boxing import box_around
from refinement.maps.density import Density, read_map, write_map
from refinement.maps.interpolation import trilinear

CELL = gemmi.UnitCell(22.0, 24.0, 26.0, 85.0, 95.0, 105.0)


@pytest.fixture
def density() -> Density:
    values = np.random.default_rng(9).normal(size=(20, 21, 22)).astype(np.float32)
    return Density(values, CELL, np.array([5.0, -3.0, 40.0]))


def atoms(density: Density, low: float, high: float) -> np.ndarray:
    grid = np.random.default_rng(2).uniform(low, high, (30, 3)) * density.dims
    return density.corner + grid @ density.step_matrix.T


def test_values_stay_where_they_are(density: Density) -> None:
    positions = atoms(density, 0.35, 0.6)
    box = box_around(density, positions, 2.0)
    assert box.values.size < density.values.size
    assert box.values.flags.c_contiguous
    np.testing.assert_allclose(trilinear(box, positions), trilinear(density, positions), atol=1e-5)
    np.testing.assert_allclose(box.voxel, density.voxel)


def test_cushion_is_kept_on_every_side(density: Density) -> None:
    positions = atoms(density, 0.45, 0.55)
    box = box_around(density, positions, 3.0)
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(30, 3))
    shell = positions + 2.999 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    assert box.contains(shell).all()


def test_box_ends_with_the_map(density: Density) -> None:
    box = box_around(density, atoms(density, -0.3, 1.3), 4.0)
    np.testing.assert_array_equal(box.values, density.values)
    np.testing.assert_allclose(box.corner, density.corner)
    np.testing.assert_allclose(box.cell.parameters, density.cell.parameters)


def test_map_repeats_if_asked(density: Density) -> None:
    positions = atoms(density, 0.7, 1.3)
    box = box_around(density, positions, 1.0, wrap=True)
    assert box.contains(positions).all()
    np.testing.assert_allclose(trilinear(box, positions), trilinear(density, positions), atol=1e-5)


def test_model_elsewhere_is_refused(density: Density) -> None:
    with pytest.raises(MapError, match="No atom lies within 3 Å") as caught:
        box_around(density, atoms(density, 3.0, 3.2), 3.0)
    assert caught.value.code == "map_elsewhere"


def test_written_box_lies_in_the_frame_of_the_map(density: Density, tmp_path) -> None:
    positions = atoms(density, 0.3, 0.7)
    write_map(tmp_path / "boxed_map.ccp4.gz", box_around(density, positions, 2.0))
    np.testing.assert_allclose(
        trilinear(read_map(tmp_path / "boxed_map.ccp4.gz"), positions), trilinear(density, positions), atol=1e-4
    )
