"""Resolution metrics of simulated maps whose resolution is known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from refinement.maps.density import Density
from refinement.maps.fsc import FscCurve, shells_of
from refinement.maps.scattering import model_map
from refinement.validation.cross_validation import cross_validate
from refinement.validation.local_resolution import local_resolution
from refinement.validation.map_resolution import KEYS, corrected_curve, d_99, map_resolution, trial_resolutions

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.structure import Structure

RESOLUTION = 3.0
ALL_KEYS = {key + suffix for key in KEYS for suffix in ("", "_masked")}


@pytest.fixture(scope="module")
def model(structure_of: Callable[..., Structure]) -> Structure:
    """A blob of 400 atoms in residues of eight, none nearer to another than 1.2 Å."""
    rng = np.random.default_rng(5)
    chosen: list[np.ndarray] = []
    while len(chosen) < 400:
        place = rng.uniform(-11.0, 11.0, 3)
        if np.linalg.norm(place) < 11.0 and all(np.linalg.norm(place - other) > 1.2 for other in chosen):
            chosen.append(place)
    positions = np.array(chosen) + 24.0
    positions = positions[np.argsort(positions[:, 0])]
    elements = np.array(["C", "N", "O"])[rng.integers(0, 3, 400)]
    rows = [("A", i // 8 + 1, "UNL", f"X{i % 8}", element) for i, element in enumerate(elements)]
    return structure_of(rows, positions, 60.0)


@pytest.fixture(scope="module")
def density(model: Structure) -> Density:
    """The model's map, cut at `RESOLUTION`."""
    empty = Density(np.zeros((48, 50, 54), dtype=np.float32), gemmi.UnitCell(48, 48, 50, 90, 90, 90), np.zeros(3))
    return replace(empty, values=model_map(model, empty, RESOLUTION))


def noisy(density: Density, seed: int, size: float = 1.0) -> Density:
    noise = np.random.default_rng(seed).standard_normal(density.dims)
    return replace(density, values=(density.values + size * density.values.std() * noise).astype(np.float32))


def test_map_of_the_model_ends_where_it_was_cut(model: Structure, density: Density) -> None:
    found = map_resolution(model, density, RESOLUTION)
    assert set(found.summary) == ALL_KEYS
    assert found.summary["d_model"] == pytest.approx(RESOLUTION, abs=0.11)
    assert found.summary["d_99"] is not None
    assert RESOLUTION <= found.summary["d_99"] < 1.4 * RESOLUTION
    assert found.details["map_resolution"]["b_overall"] == pytest.approx(60.0, abs=10.0)
    assert found.reasons["d_fsc"] == found.reasons["d_fsc_masked"] == "no_half_maps"
    assert {key for key, value in found.summary.items() if value is None} == set(found.reasons)


def test_noise_decides_the_crossings(model: Structure, density: Density) -> None:
    halves = [noisy(density, seed) for seed in (1, 2)]
    full = replace(density, values=(halves[0].values + halves[1].values) / 2)
    found = map_resolution(model, full, RESOLUTION, halves)
    values, details = found.summary, found.details["map_resolution"]
    assert not found.reasons
    for key in ("d_fsc", "d_fsc_masked", "d_fsc_model_0143", "d_fsc_model_0143_masked"):
        assert values[key] == pytest.approx(RESOLUTION, abs=0.25), key
    assert values["d_fsc_model_05_masked"] >= values["d_fsc_model_0143_masked"]
    assert details["d_fsc_05_masked"] >= values["d_fsc_masked"]
    assert details["d_fsc_corrected"] == pytest.approx(values["d_fsc_masked"], abs=0.2)
    assert len(details["d_99_half_maps"]) == 2
    work, free = details["fsc_average_with_half_maps"]
    assert work == pytest.approx(free, abs=0.03)
    curves = found.curves["fsc"]
    assert {"model", "model_masked", "half_maps", "half_maps_masked", "half_maps_randomised", "half_maps_corrected"} < set(curves)
    assert all(len(curves[name]) == len(curves["inverse_d"]) for name in curves if name != "crossings")
    assert curves["crossings"]["d_fsc"] == values["d_fsc"]


def test_more_noise_is_less_resolution(model: Structure, density: Density) -> None:
    found = [map_resolution(model, density, RESOLUTION, [noisy(density, s, size) for s in (1, 2)]) for size in (0.5, 8.0)]
    assert found[0].summary["d_fsc"] < found[1].summary["d_fsc"] - 0.3


def test_equal_half_maps_never_reach_the_level(model: Structure, density: Density) -> None:
    half = noisy(density, 3)
    found = map_resolution(model, half, RESOLUTION, [half, half])
    assert found.summary["d_fsc"] is None
    assert found.reasons["d_fsc"] == "not_reached"


def test_shift_of_the_frame_and_scale_of_the_map_change_nothing(model: Structure, density: Density) -> None:
    first = map_resolution(model, noisy(density, 1), RESOLUTION).summary
    shift = np.array([31.0, -7.5, 0.25])
    moved = replace(noisy(density, 1), corner=density.corner + shift)
    moved = replace(moved, values=np.float32(250.0) * moved.values)
    second = map_resolution(model.moved(model.positions + shift), moved, RESOLUTION).summary
    assert second == pytest.approx(first, abs=0.011, nan_ok=True)


def test_overall_b_follows_the_map(model: Structure, density: Density) -> None:
    blurred = model_map(replace(model, b_iso=model.b_iso + 60.0), density, RESOLUTION)
    found = map_resolution(model, replace(density, values=blurred), RESOLUTION)
    assert found.details["map_resolution"]["b_overall"] == pytest.approx(120.0, abs=10.0)


def test_map_without_density_has_no_resolution(model: Structure, density: Density) -> None:
    far = model.moved(model.positions + 1000.0)
    for flat in (np.zeros(density.dims, dtype=np.float32), np.ones(density.dims, dtype=np.float32)):
        found = map_resolution(far, replace(density, values=flat), RESOLUTION)
        assert set(found.summary) == ALL_KEYS
        assert set(found.reasons) == {key for key, value in found.summary.items() if value is None}


def test_d_99_of_a_spectrum_cut_at_a_known_place(density: Density) -> None:
    shells = shells_of(density.dims, density.cell)
    flat = np.where(shells.d > 4.0, shells.count, 0.0)
    found = d_99(shells, flat)
    assert found is not None
    # 0.99² of the terms lie within a sphere that is smaller by the cube root
    assert found == pytest.approx(4.0 / (0.99**2) ** (1 / 3), abs=0.03)
    assert d_99(shells, 0.0 * flat) is None


def test_trial_resolutions() -> None:
    assert trial_resolutions(2.73)[[0, -1]].tolist() == [2.8, 10.0]
    assert trial_resolutions(7.0)[-1] == 20.0
    assert trial_resolutions(50.0).tolist() == [*range(50, 101)]
    assert trial_resolutions(200.0).tolist() == [200.0]


def test_correction_takes_the_share_of_the_mask_away() -> None:
    d = 1 / np.linspace(0.1, 0.5, 50)
    true, expected = np.exp(-((0.3 * np.arange(50) / 10) ** 2)), np.full(50, 0.2)
    masked = FscCurve(d, true + expected * (1 - true))
    corrected = corrected_curve(masked, FscCurve(d, expected), 5.0)
    np.testing.assert_allclose(corrected.fsc[d < 5.0], true[d < 5.0])
    np.testing.assert_array_equal(corrected.fsc[d >= 5.0], masked.fsc[d >= 5.0])


def test_cross_validation_sees_what_was_fitted_to_noise(model: Structure, density: Density) -> None:
    work, free = noisy(density, 1, 2.0), noisy(density, 2, 2.0)
    honest = cross_validate(model, work, free, RESOLUTION).summary
    assert honest["fsc_gap"] == pytest.approx(0.0, abs=0.02)
    assert honest["fsc_work"] - honest["fsc_free"] == honest["fsc_gap"]
    moved = model.moved(model.positions + np.random.default_rng(4).normal(0.0, 0.5, model.positions.shape))
    misled = replace(work, values=work.values + model_map(moved, density, RESOLUTION))
    assert cross_validate(moved, misled, free, RESOLUTION).summary["fsc_gap"] > 0.02
    same = cross_validate(model, work, work, RESOLUTION)
    assert same.summary["fsc_gap"] == 0.0
    assert set(same.curves["cross_validation"]) == {"inverse_d", "work", "free"}


def test_cross_validation_of_the_noise_free_map_is_perfect(model: Structure, density: Density) -> None:
    summary = cross_validate(model, density, density, RESOLUTION).summary
    assert summary["fsc_work"] > 0.97
    blank = cross_validate(model, density, replace(density, values=0 * density.values), RESOLUTION)
    assert blank.summary["fsc_free"] is None
    assert blank.reasons == {"fsc_free": "not_applicable", "fsc_gap": "not_applicable"}


def test_local_resolution_tells_the_good_half_from_the_bad(model: Structure, density: Density) -> None:
    """Noise grows along x: so does the local resolution; without noise it is finer than the overall one."""
    x = np.linspace(0.0, 1.0, density.dims[0])[:, None, None]
    size = 0.2 + 12.0 * np.clip((x - 0.45) * 5.0, 0.0, 1.0)
    halves = []
    for seed in (1, 2):
        noise = np.random.default_rng(seed).standard_normal(density.dims)
        halves.append(replace(density, values=(density.values + size * density.values.std() * noise).astype(np.float32)))
    found = local_resolution(model, halves, RESOLUTION)
    column = found.columns["local_resolution"]
    assert column.shape == (len(model.residues),)
    assert column[-10:].mean() > column[:10].mean() + 1.0
    assert column[:10].mean() < 4.5
    assert found.density is not None
    assert np.isfinite(found.density.values).all()
    assert found.density.values.min() > 0.0
    low, high = found.details["local_resolution"]["quartiles"]
    assert low <= found.details["local_resolution"]["median"] <= high


def test_local_resolution_is_limited_by_the_maps(model: Structure, density: Density) -> None:
    same = local_resolution(model, [density, density], RESOLUTION).columns["local_resolution"]
    assert (same <= 0.75 * RESOLUTION).all()
    noise = [noisy(replace(density, values=0 * density.values + np.eye(50, 54, dtype=np.float32)), s, 50.0) for s in (1, 2)]
    assert (local_resolution(model, noise, RESOLUTION).columns["local_resolution"] > 2 * RESOLUTION).all()
    none = local_resolution(model, [], RESOLUTION)
    assert np.isnan(none.columns["local_resolution"]).all()
    assert none.density is None


def test_flat_windows_have_no_resolution(model: Structure, density: Density) -> None:
    flat = replace(density, values=np.zeros(density.dims, dtype=np.float32))
    column = local_resolution(model, [flat, flat], RESOLUTION).columns["local_resolution"]
    np.testing.assert_allclose(column, 8.0 * RESOLUTION, rtol=1e-5)
