from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from refinement.maps.density import Density
from refinement.maps.masks import molecular_mask
from refinement.maps.scattering import model_map
from refinement.validation.correlation import correlations, image_radius, local_radius, top_level
from refinement.validation.registry import BY_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.structure import Structure

RESOLUTION = 2.5
CELL = gemmi.UnitCell(28.0, 26.0, 30.0, 90.0, 97.0, 90.0)
CORNER = np.array([-6.0, 10.0, 3.0])
BACKBONE = (("N", "N"), ("CA", "C"), ("C", "C"), ("O", "O"), ("CB", "C"), ("CG", "C"))


@pytest.fixture(scope="module")
def model(structure_of: Callable[..., Structure]) -> Structure:
    """Two chains of three residues somewhere in the box, and a water."""
    rows = [(chain, number, "LEU", *atom) for chain in "AB" for number in (1, 2, 3) for atom in BACKBONE]
    rows.append(("B", 9, "HOH", "O", "O"))
    rng = np.random.default_rng(3)
    positions = CORNER + rng.uniform(6, 20, (len(rows), 3))
    return structure_of(rows, positions, b_iso=rng.uniform(10, 80, len(rows)))


@pytest.fixture(scope="module")
def density(model: Structure) -> Density:
    """A map that resembles the model, with noise."""
    empty = Density(np.zeros((34, 31, 36), np.float32), CELL, CORNER)
    image = model_map(model, empty, RESOLUTION)
    noise = np.random.default_rng(6).normal(scale=0.5 * image.std(), size=image.shape)
    return replace(empty, values=(image + noise + 7).astype(np.float32))


def pearson(a: np.ndarray, b: np.ndarray, chosen: np.ndarray) -> float:
    return float(np.corrcoef(a[chosen].astype(float), b[chosen].astype(float))[0, 1])


def near(density: Density, positions: np.ndarray, radius: float) -> np.ndarray:
    """Grid points within a radius of any position, the box repeating periodically."""
    indices = np.stack(np.meshgrid(*[np.arange(n) for n in density.dims], indexing="ij"), axis=-1)
    chosen = np.zeros(density.dims, bool)
    for grid in density.grid_coordinates(positions):
        offset = indices - grid
        offset -= np.rint(offset / density.dims) * density.dims
        chosen |= np.linalg.norm(offset @ density.step_matrix.T, axis=-1) <= radius
    return chosen


def test_global_coefficients_agree_with_their_definition(model: Structure, density: Density) -> None:
    calculated = model_map(model, density, RESOLUTION)
    observed = density.values
    mask = molecular_mask(model, density)
    level_c = np.sort(calculated, axis=None)[-mask.sum()]
    level_o = np.sort(observed, axis=None)[-mask.sum()]
    found = correlations(model, density, RESOLUTION)
    assert found.summary["cc_mask"] == pytest.approx(pearson(observed, calculated, mask), abs=1e-9)
    assert found.summary["cc_box"] == pytest.approx(pearson(observed, calculated, mask | True), abs=1e-9)
    assert found.summary["cc_volume"] == pytest.approx(pearson(observed, calculated, calculated >= level_c), abs=1e-9)
    peaks = (calculated >= level_c) | (observed >= level_o)
    assert found.summary["cc_peaks"] == pytest.approx(pearson(observed, calculated, peaks), abs=1e-9)
    assert not found.reasons
    assert set(found.summary) <= set(BY_KEY)


def test_local_coefficients_agree_with_their_definition(model: Structure, density: Density) -> None:
    calculated = model_map(model, density, RESOLUTION)
    found = correlations(model, density, RESOLUTION)
    assert found.radius == 3.0

    def around(chosen: np.ndarray) -> float:
        return pearson(density.values, calculated, near(density, model.positions[chosen], found.radius))

    for residue in range(len(model.residues)):
        assert found.columns["cc"][residue] == pytest.approx(around(model.residue == residue), abs=1e-6)
    chains = model.residues.chain[model.residue]
    assert list(found.chains) == ["A", "B"]
    for name, value in found.chains.items():
        assert value == pytest.approx(around(chains == name), abs=1e-9)
    main = np.isin(model.names, ["N", "CA", "C", "O", "CB"]) & (model.residues.compound[model.residue] == "LEU")
    assert found.summary["cc_main_chain"] == pytest.approx(around(main), abs=1e-9)
    assert found.summary["cc_side_chain"] == pytest.approx(around(~main), abs=1e-9)


def test_scale_offset_and_frame_change_nothing(model: Structure, density: Density) -> None:
    shift = np.array([31.0, -17.0, 5.0])
    elsewhere = Density((3 * density.values - 40).astype(np.float32), CELL, CORNER + shift)
    here = correlations(model, density, RESOLUTION)
    there = correlations(model.moved(model.positions + shift), elsewhere, RESOLUTION)
    for key, value in here.summary.items():
        # a grid point at the very limit of a sphere or of a rank may fall on the other side
        assert there.summary[key] == pytest.approx(value, abs=2e-4)
    np.testing.assert_allclose(there.columns["cc"], here.columns["cc"], atol=2e-4)


def test_the_right_place_fits_better_than_a_wrong_one(model: Structure, density: Density) -> None:
    right = correlations(model, density, RESOLUTION).summary["cc_mask"]
    wrong = correlations(model.moved(model.positions + 1.5), density, RESOLUTION).summary["cc_mask"]
    assert right is not None
    assert wrong is not None
    assert right > 0.85
    assert wrong < 0.5


def test_flat_map_has_no_coefficients_and_says_why(model: Structure, density: Density) -> None:
    flat = correlations(model, replace(density, values=np.full_like(density.values, 2.5)), RESOLUTION)
    assert set(flat.summary.values()) == {None}
    assert set(flat.reasons.values()) == {"not_applicable"}
    np.testing.assert_array_equal(flat.columns["cc"], 0.0)
    assert set(flat.chains.values()) == {0.0}


def test_model_without_protein_has_no_main_chain(structure_of: Callable[..., Structure], density: Density) -> None:
    waters = structure_of([("W", n, "HOH", "O", "O") for n in range(4)], CORNER + np.arange(12.0).reshape(4, 3) + 5)
    found = correlations(waters, density, RESOLUTION)
    assert found.summary["cc_main_chain"] is None
    assert found.reasons == {"cc_main_chain": "not_applicable"}
    assert found.summary["cc_side_chain"] is not None


@pytest.mark.parametrize(
    ("resolution", "b_iso", "element", "radius"),
    [
        (1.5, 0, 6, 1.25), (1.5, 50, 6, 1.77), (1.5, 100, 6, 2.39), (2, 0, 6, 1.63), (2, 50, 6, 1.95), (2, 100, 6, 2.41),
        (3, 0, 6, 2.43), (3, 50, 6, 2.59), (3, 100, 6, 2.79), (4, 0, 6, 3.21), (4, 100, 6, 3.45), (5, 0, 6, 4.01),
        (5, 100, 6, 4.17), (3, 0, 8, 2.41), (3, 50, 8, 2.57), (3, 100, 8, 2.77),
    ],
)  # fmt: skip
def test_image_radius_is_the_published_one(resolution: float, b_iso: float, element: int, radius: float) -> None:
    assert image_radius(resolution, b_iso, atomic_number=element) == pytest.approx(radius, abs=0.011)


def test_local_radius_has_limits() -> None:
    assert local_radius(1.5, 20.0) == 3.0
    assert local_radius(3.7, 50.0) == 3.7
    assert local_radius(15.0, 50.0) == 10.0
    assert local_radius(4.3, 400.0) > 4.5


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).normal(size=999),
        np.repeat(np.random.default_rng(1).normal(size=7), 9),
        np.array([0.0, -0.0, 1e-42, -1e-42, 3e38, -3e38, 5.0]),
        np.zeros(10),
    ],
)
def test_level_of_a_rank_is_that_of_a_full_sort(values: np.ndarray) -> None:
    values = values.astype(np.float32)
    for rank in {1, 2, len(values) // 2, len(values)}:
        assert top_level(values, rank) == np.sort(values)[-rank]
    assert top_level(values, 0) == values.max()
