from __future__ import annotations

import gemmi
import numpy as np
import pytest

from refinement.maps.density import Density
from refinement.maps.fourier import flattened, low_pass, on_grid, reciprocal_metric, squared_frequencies

CELL = gemmi.UnitCell(20.0, 22.0, 26.0, 85.0, 95.0, 105.0)


def wave(dims: tuple[int, int, int], h: tuple[int, int, int]) -> np.ndarray:
    x, y, z = np.meshgrid(*[np.arange(n) / n for n in dims], indexing="ij")
    return np.cos(2 * np.pi * (h[0] * x + h[1] * y + h[2] * z))


def test_metric_gives_d_spacings() -> None:
    metric = reciprocal_metric(CELL)
    for h in ([1, 0, 0], [2, -3, 4], [0, 5, -1]):
        assert np.array(h) @ metric @ h == pytest.approx(CELL.calculate_1_d2(h))


def test_waves_beyond_the_cut_vanish_and_the_others_are_damped() -> None:
    dims = (20, 22, 26)
    inner, outer = (2, -1, 3), (5, 4, -6)
    d_inner = CELL.calculate_1_d2(list(inner)) ** -0.5
    values = 3 + wave(dims, inner) + wave(dims, outer)
    density = Density(values.astype(np.float32), CELL, np.zeros(3))
    filtered = low_pass(density, 0.9 * d_inner, b=50.0)
    damped = np.exp(-50 / 4 / d_inner**2)
    np.testing.assert_allclose(filtered.values, 3 + damped * wave(dims, inner), atol=2e-6)


def test_terms_keep_their_height_on_another_grid() -> None:
    fine, coarse = (30, 32, 40), (15, 16, 21)
    transform = np.fft.rfftn(2 + wave(fine, (3, -4, 5))).astype(np.complex64)
    back = np.fft.irfftn(on_grid(transform, fine, coarse), s=coarse, axes=(0, 1, 2))
    np.testing.assert_allclose(back, 2 + wave(coarse, (3, -4, 5)), atol=1e-5)


def test_all_shells_of_a_flattened_map_are_alike_and_there_is_nothing_beyond() -> None:
    dims = (40, 44, 52)
    rng = np.random.default_rng(1)
    terms = np.fft.rfftn(rng.normal(size=dims))
    squares = squared_frequencies(dims, CELL)
    falling = np.fft.irfftn(terms * np.exp(-30.0 / 4.0 * squares), s=dims, axes=(0, 1, 2)) + 5.0
    flat = flattened(Density(falling.astype(np.float32), CELL, np.zeros(3)), 1.5)
    power = np.abs(np.fft.rfftn(flat.values)) ** 2
    resolution = np.sqrt(squares)
    assert power[resolution > 1.01 / 1.5].max() < 1e-6 * power.max()
    assert flat.values.mean() == pytest.approx(0.0, abs=1e-6)
    shells = [power[(resolution > low) & (resolution <= low + 0.1)].mean() for low in (0.2, 0.3, 0.4, 0.5)]
    assert shells == pytest.approx([np.mean(shells)] * 4, rel=0.02)
    sharpened = Density((falling * 3.0).astype(np.float32), CELL, np.zeros(3))
    assert np.corrcoef(flattened(sharpened, 1.5).values.ravel(), flat.values.ravel())[0, 1] == pytest.approx(1.0, abs=1e-6)
