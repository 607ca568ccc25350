from __future__ import annotations

import gemmi
import numpy as np
import pytest

from refinement.maps.density import Density
from refinement.maps.fourier import low_pass, on_grid, reciprocal_metric

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
