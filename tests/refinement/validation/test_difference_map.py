"""Difference maps of simulated maps from which something is missing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from refinement.maps.density import Density
from refinement.maps.scattering import model_map
from refinement.validation.difference_map import difference_map, unexplained

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.structure import Structure

RESOLUTION = 2.5
MISSING = 60


@pytest.fixture(scope="module")
def model(structure_of: Callable[..., Structure]) -> Structure:
    """Atoms on a crooked lattice, 3 Å apart, with the frame away from the origin."""
    rng = np.random.default_rng(8)
    places = np.stack(np.meshgrid(*[np.arange(5) * 3.0 + 12.0] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    rows = [("A", i + 1, "UNL", "C", "C") for i in range(len(places))]
    return structure_of(rows, places + rng.normal(0, 0.3, places.shape) + 100.0, 30.0)


@pytest.fixture(scope="module")
def density(model: Structure) -> Density:
    empty = Density(np.zeros((44, 45, 48), dtype=np.float32), gemmi.UnitCell(36, 36, 36, 90, 90, 90), np.full(3, 100.0))
    return replace(empty, values=model_map(model, empty, 2.0))


def halves_of(density: Density, size: float) -> list[Density]:
    noise = [np.random.default_rng(seed).standard_normal(density.dims) for seed in (1, 2)]
    return [replace(density, values=(density.values + size * density.values.std() * one).astype(np.float32)) for one in noise]


@pytest.mark.parametrize("with_halves", [False, True])
def test_a_missing_atom_is_the_strongest_peak(model: Structure, density: Density, *, with_halves: bool) -> None:
    incomplete = model.without(np.arange(len(model)) == MISSING)
    halves = halves_of(density, 0.3) if with_halves else []
    found = difference_map(incomplete, density, RESOLUTION, halves)
    assert found.heights[0] > 5.0
    assert np.linalg.norm(found.positions[0] - model.positions[MISSING]) < 0.9
    assert (np.diff(np.abs(found.heights)) <= 0).all()


def test_an_atom_too_many_is_a_hole(model: Structure, density: Density) -> None:
    other = model.without(np.arange(len(model)) == MISSING)
    empty = replace(density, values=model_map(other, density, 2.0))
    found = difference_map(model, empty, RESOLUTION)
    assert found.heights[0] < -5.0
    assert np.linalg.norm(found.positions[0] - model.positions[MISSING]) < 0.9


def test_little_is_left_of_a_complete_model(model: Structure, density: Density) -> None:
    halves = halves_of(density, 0.5)
    whole = difference_map(model, density, RESOLUTION, halves).heights
    incomplete = difference_map(model.without(np.arange(len(model)) == MISSING), density, RESOLUTION, halves).heights
    assert whole.max() < 0.7 * incomplete.max()


def test_noise_without_signal_gives_no_map(model: Structure, density: Density) -> None:
    first = halves_of(replace(density, values=0 * density.values + density.values.std() * np.eye(45, 48, dtype=np.float32)), 1)[0]
    opposite = replace(first, values=-first.values)
    found = difference_map(model, density, RESOLUTION, [first, opposite])
    assert not found.density.values.any()
    assert not len(found.heights)


def test_scale_of_the_map_does_not_matter(model: Structure, density: Density) -> None:
    incomplete = model.without(np.arange(len(model)) == MISSING)
    first = difference_map(incomplete, density, RESOLUTION)
    second = difference_map(incomplete, replace(density, values=np.float32(37.0) * density.values), RESOLUTION)
    np.testing.assert_allclose(second.density.values, first.density.values, atol=2e-3)


def test_residues_without_density_are_told_apart(model: Structure, density: Density) -> None:
    other = model.without(np.arange(len(model)) == MISSING)
    empty = replace(density, values=model_map(other, density, 2.0))
    found = unexplained(model, empty, RESOLUTION)
    share = found.columns["negative_difference"]
    assert share[MISSING] == 1.0
    assert np.delete(share, MISSING).max() == 0.0
    strongest = found.details["difference_peaks"][0]
    assert strongest["height"] < -5.0
    assert len(found.details["difference_peaks"]) <= 50
