from __future__ import annotations

from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest
from scipy import fft
from scipy.ndimage import gaussian_filter

from refinement.maps.density import Density
from refinement.maps.fourier import reciprocal_metric
from refinement.maps.scattering import scattering_factors
from refinement.maps.soft_mask import smoothed, soft_mask
from refinement.maps.transforms import forward, inverse, limits_of, limits_within, structure_factors

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.structure import Structure

DIMS = (20, 27, 24)


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(13)


@pytest.mark.parametrize("limits", [(9, 13, 11), (4, 3, 5), (0, 0, 0), (9, 0, 2)])
def test_forward_keeps_the_inner_terms(limits: tuple[int, int, int], rng: np.random.Generator) -> None:
    values = rng.standard_normal(DIMS).astype(np.float32)
    values[3:7] = 0.0
    values[:, 20:] = 0.0
    h, k, m = limits
    rows, columns = ([*range(n + 1), *range(-n, 0)] for n in (h, k))
    compact = forward(values, limits)
    assert limits_of(compact) == limits
    np.testing.assert_allclose(compact, fft.rfftn(values)[np.ix_(rows, columns, range(m + 1))], atol=1e-3)


def test_inverse_is_the_low_pass(rng: np.random.Generator) -> None:
    values = rng.standard_normal(DIMS).astype(np.float32)
    once = inverse(forward(values, (4, 3, 5)), DIMS)
    np.testing.assert_allclose(inverse(forward(once, (9, 13, 11)), DIMS), once, atol=1e-5)
    assert once.mean() == pytest.approx(values.mean(), abs=1e-5)
    assert once.std() < values.std()


def test_empty_box_has_empty_transform() -> None:
    assert not forward(np.zeros(DIMS, dtype=np.float32), (4, 3, 5)).any()


def atoms(structure_of: Callable[..., Structure], rng: np.random.Generator) -> Structure:
    elements = ["C", "N", "O", "S", "H", "P", "Zn"] * 3
    rows = [("A", i, "UNL", "X", element) for i, element in enumerate(elements)]
    return structure_of(rows, rng.uniform(-5, 30, (21, 3)), rng.uniform(15, 150, 21), rng.uniform(0.2, 1, 21))


@pytest.mark.parametrize("b_iso", [None, 0.0])
def test_structure_factors_are_the_sum_over_atoms(
    structure_of: Callable[..., Structure], rng: np.random.Generator, b_iso: float | None
) -> None:
    cell = gemmi.UnitCell(24.0, 30.0, 26.0, 85.0, 95.0, 105.0)
    density = Density(np.zeros(DIMS, dtype=np.float32), cell, np.array([3.0, -4.0, 5.0]))
    structure = atoms(structure_of, rng)
    found = structure_factors(structure, density, 2.6, b_iso=b_iso)
    limits = limits_of(found.values)
    assert limits == limits_within(DIMS, cell, 1 / 2.6)
    h = np.stack([rng.integers(-limits[0], limits[0] + 1, 200), rng.integers(-limits[1], limits[1] + 1, 200),
                  rng.integers(0, limits[2] + 1, 200)], axis=1)  # fmt: skip
    s2 = np.einsum("ni,ij,nj->n", h, reciprocal_metric(cell), h)
    h, s2 = h[s2 < 1 / 2.6**2], s2[s2 < 1 / 2.6**2]
    a, b = scattering_factors(structure.elements)
    spread = b + (structure.b_iso[:, None] if b_iso is None else b_iso)
    factors = (a * np.exp(-0.25 * spread * s2[:, None, None])).sum(axis=2) * structure.occupancy
    fractional = (structure.positions - density.corner) @ np.array(cell.frac.mat.tolist()).T
    expected = (factors * np.exp(-2j * np.pi * (h @ fractional.T))).sum(axis=1)
    ours = found.values[h[:, 0], h[:, 1], h[:, 2]] * np.exp(-0.25 * found.b * s2)
    scale = np.vdot(expected, ours).real / np.vdot(expected, expected).real
    np.testing.assert_allclose(ours / scale, expected, atol=2e-3 * np.sqrt((abs(expected) ** 2).mean()))


def test_smoothing_is_a_gaussian(rng: np.random.Generator) -> None:
    dims = (48, 40, 54)
    density = Density(np.zeros(dims, dtype=np.float32), gemmi.UnitCell(48.0, 60.0, 54.0, 90, 90, 90), np.zeros(3))
    values = (rng.random(dims) < 0.01).astype(np.float32)
    expected = gaussian_filter(values.astype(float), (4.0, 4.0 / 1.5, 4.0), mode="wrap", truncate=8)
    np.testing.assert_allclose(smoothed(values, density, 4.0), expected, atol=2e-5)


def test_soft_mask_is_one_inside_and_nothing_far_away(structure_of: Callable[..., Structure]) -> None:
    positions = [(x, y, z) for x in (16, 20, 24) for y in (16, 20, 24) for z in (16, 20, 24)]
    rows = [("A", i, "UNL", "C", "C") for i in range(27)]
    density = Density(np.zeros((50, 50, 50), dtype=np.float32), gemmi.UnitCell(50, 50, 50, 90, 90, 90), np.zeros(3))
    structure = structure_of(rows, positions)
    mask = soft_mask(structure, density, 3.0)
    assert mask.shape == (50, 50, 50)
    assert mask[20, 20, 20] > 0.98
    assert mask[20, 20, 45] < 1e-4
    assert mask.min() >= 0.0
    line = mask[20, 20, 20:46]
    assert (np.diff(line) <= 1e-5).all()
    moved = soft_mask(structure.moved(structure.positions + np.array([30.0, 0, 0])), density, 3.0)
    np.testing.assert_allclose(moved, np.roll(mask, 30, axis=0), atol=1e-5)
