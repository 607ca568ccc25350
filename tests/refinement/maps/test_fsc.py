from __future__ import annotations

import gemmi
import numpy as np
import pytest
from scipy import fft
from scipy.signal import savgol_filter

from refinement.maps.fourier import reciprocal_metric
from refinement.maps.fsc import Binning, FscCurve, fsc_average, pair_sums, randomise_phases, shell_curve, shells_of

DIMS = (40, 46, 37)
CELL = gemmi.UnitCell(48.0, 52.0, 45.0, 85.0, 95.0, 105.0)


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(13)


def terms(dims: tuple[int, int, int], cell: gemmi.UnitCell) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of one half of the box without (0, 0, 0), and their d."""
    axes = [np.arange(-((n - 1) // 2), (n - 1) // 2 + 1) for n in dims]
    h = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    half = (h[:, 2] > 0) | ((h[:, 2] == 0) & ((h[:, 0] > 0) | ((h[:, 0] == 0) & (h[:, 1] > 0))))
    h = h[half]
    return h, 1.0 / np.sqrt(np.einsum("ni,ij,nj->n", h, reciprocal_metric(cell), h))


@pytest.fixture
def boxes(rng: np.random.Generator) -> list[np.ndarray]:
    """Two noisy copies of one smooth box."""
    smooth = fft.rfftn(rng.standard_normal(DIMS))
    x, y = (fft.fftfreq(n, 1 / n) for n in DIMS[:2])
    z = np.arange(smooth.shape[2])
    fall = np.exp(-0.02 * (x[:, None, None] ** 2 + y[:, None] ** 2 + z**2))
    signal = fft.irfftn(smooth * fall, s=DIMS)
    return [fft.rfftn((signal / signal.std() + 0.5 * rng.standard_normal(DIMS)).astype(np.float32)) for _ in range(2)]


def test_shells_hold_every_term_of_one_half_once() -> None:
    shells = shells_of(DIMS, CELL)
    _, d = terms(DIMS, CELL)
    assert shells.count.sum() == len(d)
    assert (shells.d_min, shells.d_max) == pytest.approx((d.min(), d.max()))
    for cut in (2.5, 4.0, 11.0):
        assert shells.coarser_than(shells.count, np.array([cut]))[0] == pytest.approx((d > cut).sum(), abs=1.0)


def test_sums_are_those_of_the_terms(boxes: list[np.ndarray]) -> None:
    h, _ = terms(DIMS, CELL)
    a, b = (box[h[:, 0], h[:, 1], h[:, 2]].astype(np.complex128) for box in boxes)
    sums = pair_sums(shells_of(DIMS, CELL), boxes[0], boxes[1])
    assert sums.ab.sum() == pytest.approx((a * b.conj()).real.sum())
    assert sums.bb.sum() == pytest.approx((abs(b) ** 2).sum())
    twice = np.where(h[:, 2] > 0, 2.0, 1.0)
    assert sums.aa_doubled.sum() == pytest.approx((twice * abs(a) ** 2).sum())
    assert sums.bb_doubled.sum() == pytest.approx((twice * abs(b) ** 2).sum())


def test_curve_is_that_of_sorted_terms_in_bins(boxes: list[np.ndarray]) -> None:
    """A triclinic box has no equal d, so bins by sorting and bins from fine shells are nearly the same."""
    h, d = terms(DIMS, CELL)
    order = np.argsort(d, kind="stable")
    a, b = (box[h[:, 0], h[:, 1], h[:, 2]].astype(np.complex128)[order] for box in boxes)
    d, start, bins = d[order], 0, []
    while start < len(d):
        least = 100 if d[start] > 10 else 250 if d[start] > 5 else 500
        end = start + least + (d[start + least - 1] - d[start] <= 0.005) if start + least <= len(d) else len(d)
        if len(d) - start - least < least:
            end = len(d)
        bins.append(slice(start, end))
        start = end
    expected_d = np.array([d[one].mean() for one in bins])
    fsc = np.array(
        [(a[one] * b[one].conj()).real.sum() / np.sqrt((abs(a[one]) ** 2).sum() * (abs(b[one]) ** 2).sum()) for one in bins]
    )
    fine = expected_d <= 15
    fsc[fine] = savgol_filter(fsc[fine], 21, 2, mode="mirror")
    shells = shells_of(DIMS, CELL)
    binning = Binning(shells)
    found = binning.curve(pair_sums(shells, boxes[0], boxes[1]))
    np.testing.assert_allclose(binning.count, [one.stop - one.start for one in bins])
    np.testing.assert_allclose(found.d, expected_d[::-1], rtol=1e-4)
    np.testing.assert_allclose(found.fsc, fsc[::-1], atol=2e-3)
    limited = binning.curve(pair_sums(shells, boxes[0], boxes[1]), d_limit=3.0)
    assert limited.d.min() >= 3.0


def test_crossing_of_a_known_curve() -> None:
    s = np.linspace(0.05, 0.5, 200)
    curve = FscCurve(1 / s, 1 / (1 + np.exp(40 * (s - 0.3))))
    for level in (0.5, 0.143):
        assert curve.crossing(level) == pytest.approx(1 / (0.3 - np.log(level / (1 - level)) / 40), rel=2e-3)
    assert curve.crossing(0.0) is None


def test_crossing_of_odd_curves() -> None:
    assert FscCurve(np.array([]), np.array([])).crossing(0.143) is None
    assert FscCurve(np.array([10.0, 5.0]), np.array([0.9, 0.1])).crossing(0.5) == 5.0
    d = 1 / np.linspace(0.1, 0.5, 40)
    assert FscCurve(d, np.full(40, 0.3)).crossing(0.5) == pytest.approx(10.0)
    step = FscCurve(d, np.where(d > 4.0, 1.0, -1.0))
    assert step.crossing(0.5) == pytest.approx(4.0, abs=0.3)


def test_alike_and_unlike_boxes(boxes: list[np.ndarray]) -> None:
    shells = shells_of(DIMS, CELL)
    same = pair_sums(shells, boxes[0], boxes[0])
    assert fsc_average(shells, same, 2.5) == pytest.approx(1.0)
    np.testing.assert_allclose(Binning(shells).curve(same).fsc, 1.0)
    opposite = pair_sums(shells, boxes[0], -boxes[0])
    assert fsc_average(shells, opposite, 2.5) == pytest.approx(-1.0)
    assert fsc_average(shells, pair_sums(shells, boxes[0], 0 * boxes[0]), 2.5) is None


def test_average_is_weighted_by_the_number_of_terms(boxes: list[np.ndarray]) -> None:
    shells = shells_of(DIMS, CELL)
    sums = pair_sums(shells, boxes[0], boxes[1])
    fsc, count = shell_curve(shells, sums, np.linspace(0.0, 0.25, int(np.ceil(0.25 * shells.d_max)) + 1))
    assert count.sum() == pytest.approx(shells.coarser_than(shells.count, np.array([4.0]))[0])
    filled = count > 0
    assert fsc_average(shells, sums, 4.0) == pytest.approx(np.average(fsc[filled], weights=count[filled]))
    assert fsc_average(shells, sums, 0.1) == fsc_average(shells, sums, shells.d_min)


def test_random_phases_keep_amplitudes_and_a_real_box(boxes: list[np.ndarray]) -> None:
    shells = shells_of(DIMS, CELL)
    changed = []
    for seed in (1, 2):
        mixed = boxes[0].copy()
        randomise_phases(mixed, shells, 6.0, seed)
        np.testing.assert_allclose(abs(mixed), abs(boxes[0]), rtol=1e-5)
        back = fft.rfftn(fft.irfftn(mixed, s=DIMS))
        inner = pair_sums(shells, back, mixed)
        assert inner.ab.sum() == pytest.approx(inner.aa.sum(), rel=1e-5)
        changed.append(mixed)
    fsc, _ = shell_curve(shells, pair_sums(shells, changed[0], changed[1]), np.array([0.0, 0.16, 0.2, 0.3, 0.4]))
    assert fsc[0] > 0.99
    assert np.abs(fsc[2:]).max() < 0.05
    shifted, _ = shell_curve(shells, pair_sums(shells, changed[0][:, :, :-1], changed[1][:, :, 1:]), np.array([0.2, 0.3, 0.4]))
    assert np.abs(shifted).max() < 0.05  # neither are the phases those of a neighbour


@pytest.mark.parametrize("dims", [(1, 1, 1), (2, 2, 2), (3, 1, 4), (7, 8, 9)])
def test_tiny_boxes(dims: tuple[int, int, int], rng: np.random.Generator) -> None:
    shells = shells_of(dims, CELL)
    box = fft.rfftn(rng.standard_normal(dims).astype(np.float32))
    curve = Binning(shells).curve(pair_sums(shells, box, box))
    assert shells.count.sum() == (np.prod([2 * ((n - 1) // 2) + 1 for n in dims]) - 1) / 2
    assert curve.crossing(0.143) is None
