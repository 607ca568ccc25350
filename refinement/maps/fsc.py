"""Fourier shell correlation: sums over fine shells, curves in bins of equal count, and where they cross a level.

The terms are those of the index box |h| ≤ (n − 1)/2, one of each Friedel pair, without F(000). They are summed
once into very fine shells of 1/d², and all that follows is made from these sums. Bins, smoothing and crossings
follow the mtriage procedure (Afonine et al. 2018, Acta Cryst. D74, 814-840).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from refinement.maps.fourier import reciprocal_metric

if TYPE_CHECKING:
    import gemmi
    from numpy.typing import NDArray

FINE_SHELLS = 1 << 18
"""Number of fine shells, equally wide in 1/d²."""
NARROW = 0.005
"""A bin narrower than this (Å) takes one more term."""
HALF_WINDOW = 10
"""Bins on either side that smoothing looks at."""
SMOOTH_BELOW = 15.0
"""Å; bins of lower resolution stay as they are, they are few and wide."""
FIT_REACH = 5
"""Bins on either side of a crossing that the parabola is fitted to."""
MAX_STEP = 0.25
"""Å; a crossing of the parabola farther than this from the crossing bin isn't believed."""


@dataclass(frozen=True, slots=True, eq=False)
class Shells:
    """Fine shells of the terms of a box.

    Attributes
    ----------
    metric : NDArray[float64], shape (3, 3)
        1/d² = hᵀ M h.
    per_unit : float
        Fine shells per 1/Å².
    limits : tuple[int, int, int]
        Largest indices.
    count : NDArray[float64], shape (FINE_SHELLS,)
        Terms in each shell.
    d : NDArray[float64], shape (FINE_SHELLS,)
        Mean d (Å) in each shell, of its middle where it is empty.
    d_min, d_max : float
        Finest and coarsest term, Å.
    """

    metric: NDArray[np.float64]
    per_unit: float
    limits: tuple[int, int, int]
    count: NDArray[np.float64]
    d: NDArray[np.float64]
    d_min: float
    d_max: float

    @property
    def s2(self) -> NDArray[np.float64]:
        """Middle of each shell, 1/d² in 1/Å²."""
        return np.asarray((np.arange(FINE_SHELLS) + 0.5) / self.per_unit, dtype=np.float64)

    def coarser_than(self, values: NDArray[np.float64], d: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the sums of `values` (one per shell) over all shells with a larger d than each of the given ones (Å)."""
        running = np.concatenate([[0.0], np.cumsum(values)])
        return np.interp(self.per_unit / np.asarray(d) ** 2, np.arange(FINE_SHELLS + 1), running)


@dataclass(frozen=True, slots=True, eq=False)
class PairSums:
    """Sums over the terms of each fine shell for two transforms a and b.

    Attributes
    ----------
    ab, aa, bb : NDArray[float64], shape (FINE_SHELLS,)
        Real part of a·b*, |a|², |b|².
    aa_doubled, bb_doubled : NDArray[float64], shape (FINE_SHELLS,)
        |a|² and |b|² with terms of l > 0 counted twice.
    """

    ab: NDArray[np.float64]
    aa: NDArray[np.float64]
    bb: NDArray[np.float64]
    aa_doubled: NDArray[np.float64]
    bb_doubled: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class FscCurve:
    """A Fourier shell correlation from low to high resolution.

    Attributes
    ----------
    d : NDArray[float64], shape (n,)
        Mean d of each bin, Å, falling.
    fsc : NDArray[float64], shape (n,)
        Correlation.
    """

    d: NDArray[np.float64]
    fsc: NDArray[np.float64]

    def crossing(self, level: float) -> float | None:
        """Return d (Å) where the curve first falls below a level, None if it never does.

        A parabola in 1/d is fitted around the first bin below the level. Its root is taken, or the bin where it
        has none near by.
        """
        below = np.flatnonzero(self.fsc < level)
        if not len(below):
            return None
        at = int(below[0])
        first, end = max(at - FIT_REACH, 0), at + FIT_REACH + 1
        if end >= len(self.d):
            end = len(self.d) - 1
        here = float(self.d[at])
        if end - first < 3:
            return here
        x, y = 1.0 / self.d[first:end], self.fsc[first:end] - level
        middle = x.mean()
        quadratic, slope, constant = np.polyfit(x - middle, y, 2)
        under_root = slope**2 - 4.0 * quadratic * constant
        if under_root < 0.0 or quadratic == 0.0:
            return here
        roots = middle + (-slope + np.array([1.0, -1.0]) * math.sqrt(under_root)) / (2.0 * quadratic)
        if roots[0] * roots[1] < 0.0:
            return float(1.0 / roots.max())
        if roots.min() <= 0.0:
            return here
        nearest = min((1.0 / roots).tolist(), key=lambda d: abs(d - here))
        return nearest if abs(nearest - here) <= MAX_STEP else here


def shells_of(dims: tuple[int, int, int], cell: gemmi.UnitCell) -> Shells:
    """Count the terms of a box of shape `dims` in fine shells."""
    metric = reciprocal_metric(cell)
    limits = ((dims[0] - 1) // 2, (dims[1] - 1) // 2, (dims[2] - 1) // 2)
    corners = np.array([(h, k, limits[2]) for h in (-limits[0], limits[0]) for k in (-limits[1], limits[1])], dtype=float)
    largest = float(np.einsum("ni,ij,nj->n", corners, metric, corners).max())
    per_unit = FINE_SHELLS / (largest * (1.0 + 1e-9)) if largest > 0 else 1.0
    count, total, s2_range = _census(np.array(limits), metric, per_unit, FINE_SHELLS)
    middle = np.sqrt(per_unit / (np.arange(FINE_SHELLS) + 0.5))
    d = np.divide(total, count, out=middle, where=count > 0)
    with np.errstate(divide="ignore"):
        d_min, d_max = (1.0 / np.sqrt(s2_range[::-1])).tolist()
    return Shells(metric, per_unit, limits, count, d, d_min, d_max)


def pair_sums(shells: Shells, a: NDArray[np.complexfloating], b: NDArray[np.complexfloating]) -> PairSums:
    """Sum products of two transforms in fine shells.

    Parameters
    ----------
    shells : Shells
        The shells of the box.
    a, b : NDArray[complex]
        Transforms of boxes with one cell: from `scipy.fft.rfftn`, or compact (`refinement.maps.transforms`).
        Terms that either doesn't hold are left out.
    """
    limits = [min((a.shape[i] - 1) // 2, (b.shape[i] - 1) // 2, shells.limits[i]) for i in (0, 1)]
    limits.append(min(a.shape[2] - 1, b.shape[2] - 1, shells.limits[2]))
    sums = np.zeros((FINE_SHELLS, 5))
    _accumulate(a, b, np.array(limits), shells.metric, shells.per_unit, sums)
    ab, aa, bb, aa_flat, bb_flat = np.ascontiguousarray(sums.T)
    return PairSums(ab, aa, bb, 2.0 * aa - aa_flat, 2.0 * bb - bb_flat)


class Binning:
    """Bins of at least 100, 250 or 500 terms (beyond 10 Å, 5 Å, and finer), counted from the finest term on.

    Parameters
    ----------
    shells : Shells
        The shells of the box. Where the end of a bin falls inside a fine shell, its terms are shared in proportion.
    """

    def __init__(self, shells: Shells) -> None:
        filled = np.flatnonzero(shells.count)[::-1]
        self._filled = filled
        self._ends = np.concatenate([[0.0], np.cumsum(shells.count[filled])])
        d = shells.d[filled]
        self._edges = np.array(_bin_edges(self._ends[1:].tolist(), d.tolist()), dtype=np.float64)
        self.count = np.diff(self._edges)
        self.d = self.sums(shells.count * shells.d) / self.count if len(self.count) else self.count

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sums over each bin of values that are given per fine shell."""
        running = np.concatenate([[0.0], np.cumsum(values[self._filled])])
        return np.diff(np.interp(self._edges, self._ends, running))

    def curve(self, sums: PairSums, *, d_limit: float = 0.0) -> FscCurve:
        """Return the smoothed curve of two transforms; bins finer than d_limit (Å) and empty ones are left out."""
        product = self.sums(sums.aa) * self.sums(sums.bb)
        usable = (product > 0.0) & (self.d >= d_limit)
        fsc = self.sums(sums.ab)[usable] / np.sqrt(product[usable])
        d = self.d[usable]
        if len(d) > HALF_WINDOW:
            fine = d <= SMOOTH_BELOW
            fsc[fine] = _smoothed(fsc[fine])
        return FscCurve(d[::-1], fsc[::-1])


def shell_curve(shells: Shells, sums: PairSums, edges: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the correlation and the number of terms in shells with the given edges in 1/d (1/Å); NaN where there is nothing."""
    places = edges**2 * shells.per_unit

    def within(values: NDArray[np.float64]) -> NDArray[np.float64]:
        running = np.concatenate([[0.0], np.cumsum(values)])
        return np.diff(np.interp(places, np.arange(len(running)), running))

    with np.errstate(invalid="ignore", divide="ignore"):
        return within(sums.ab) / np.sqrt(within(sums.aa) * within(sums.bb)), within(shells.count)


def fsc_average(shells: Shells, sums: PairSums, d_min: float) -> float | None:
    """Return the mean correlation of shells one term wide out to d_min (Å), weighted by their numbers of terms."""
    s_max = 1.0 / max(d_min, shells.d_min)
    edges = np.linspace(0.0, s_max, max(1, math.ceil(s_max * shells.d_max)) + 1)
    fsc, count = shell_curve(shells, sums, edges)
    usable = np.isfinite(fsc) & (count > 0)
    return float(np.average(fsc[usable], weights=count[usable])) if usable.any() else None


def _bin_edges(ends: list[float], d: list[float]) -> list[int]:
    """Return the positions between bins in the list of all terms by rising d, from the number of terms up to each shell."""
    size = int(ends[-1]) if ends else 0
    edges = [0]
    while edges[-1] < size:
        start = edges[-1]
        first = d[bisect_right(ends, start)]
        least = 100 if first > 10.0 else 250 if first > 5.0 else 500
        end = start + least
        if size - end < least:
            edges.append(size)
            break
        wide = d[bisect_right(ends, end - 1)] - first > NARROW
        edges.append(end if wide else end + 1)
    return edges


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smooth by a Savitzky–Golay filter of degree 2; the ends are mirrored."""
    if len(values) < 2:
        return values
    padded = np.pad(values, HALF_WINDOW, mode="reflect")
    return np.convolve(padded, _quadratic_window(HALF_WINDOW), mode="valid")


def _quadratic_window(half: int) -> NDArray[np.float64]:
    """Return the weights, shape (2 half + 1,), that give a least-squares parabola's value at the middle of its points."""
    powers = np.vander(np.arange(-half, half + 1, dtype=np.float64), 3, increasing=True)
    weights: NDArray[np.float64] = np.linalg.pinv(powers)[0]
    return weights


def randomise_phases(coefficients: NDArray[np.complexfloating], shells: Shells, d: float, seed: int) -> None:
    """Give all terms finer than d (Å) of a transform from `scipy.fft.rfftn` random phases, in place."""
    _randomise(coefficients, np.array(shells.limits), shells.metric, 1.0 / d**2, seed)


@njit(cache=True, nogil=True, error_model="numpy")
def _randomise(
    a: NDArray[np.complex64], limits: NDArray[np.int64], metric: NDArray[np.float64], s2_from: float, seed: int
) -> None:
    """Replace phases by those of a hash of the index (splitmix64), which is alike for both terms of a Friedel pair."""
    for h in range(-limits[0], limits[0] + 1):
        for k in range(-limits[1], limits[1] + 1):
            flat = metric[0, 0] * h * h + metric[1, 1] * k * k + 2.0 * metric[0, 1] * h * k
            tilt = 2.0 * (metric[0, 2] * h + metric[1, 2] * k)
            for m in range(limits[2] + 1):
                if flat + m * (tilt + metric[2, 2] * m) <= s2_from:
                    continue
                sign = -1 if m == 0 and (h < 0 or (h == 0 and k < 0)) else 1
                bits = np.uint64(((sign * h + 65536) * 131072 + sign * k + 65536) * 131072 + m)
                bits = bits * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed) * np.uint64(0xD1B54A32D192ED03)
                bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
                bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
                phase = 2.0 * math.pi * np.float64((bits ^ (bits >> np.uint64(31))) >> np.uint64(11)) / 2.0**53
                size = abs(a[h, k, m])
                a[h, k, m] = complex(size * math.cos(phase), sign * size * math.sin(phase))


@njit(cache=True, nogil=True, error_model="numpy")
def _census(
    limits: NDArray[np.int64], metric: NDArray[np.float64], per_unit: float, shells: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    count, total = np.zeros(shells), np.zeros(shells)
    s2_range = np.array([np.inf, 0.0])
    for h in range(-limits[0], limits[0] + 1):
        for k in range(-limits[1], limits[1] + 1):
            flat = metric[0, 0] * h * h + metric[1, 1] * k * k + 2.0 * metric[0, 1] * h * k
            tilt = 2.0 * (metric[0, 2] * h + metric[1, 2] * k)
            for m in range(1 if h < 0 or (h == 0 and k <= 0) else 0, limits[2] + 1):
                s2 = flat + m * (tilt + metric[2, 2] * m)
                at = int(s2 * per_unit)
                count[at] += 1.0
                total[at] += 1.0 / math.sqrt(s2)
                s2_range[0] = min(s2_range[0], s2)
                s2_range[1] = max(s2_range[1], s2)
    return count, total, s2_range


@njit(cache=True, nogil=True, error_model="numpy")
def _accumulate(
    a: NDArray[np.complex64],
    b: NDArray[np.complex64],
    limits: NDArray[np.int64],
    metric: NDArray[np.float64],
    per_unit: float,
    sums: NDArray[np.float64],
) -> None:
    """Add Re ab*, |a|², |b|², and |a|², |b|² of the plane l = 0, to the shells."""
    for h in range(-limits[0], limits[0] + 1):
        for k in range(-limits[1], limits[1] + 1):
            flat = metric[0, 0] * h * h + metric[1, 1] * k * k + 2.0 * metric[0, 1] * h * k
            tilt = 2.0 * (metric[0, 2] * h + metric[1, 2] * k)
            ha, hb = (h, h) if h >= 0 else (h + a.shape[0], h + b.shape[0])
            ka, kb = (k, k) if k >= 0 else (k + a.shape[1], k + b.shape[1])
            for m in range(1 if h < 0 or (h == 0 and k <= 0) else 0, limits[2] + 1):
                row = sums[int((flat + m * (tilt + metric[2, 2] * m)) * per_unit)]
                ar, ai = np.float64(a[ha, ka, m].real), np.float64(a[ha, ka, m].imag)
                br, bi = np.float64(b[hb, kb, m].real), np.float64(b[hb, kb, m].imag)
                aa, bb = ar * ar + ai * ai, br * br + bi * bi
                row[0] += ar * br + ai * bi
                row[1] += aa
                row[2] += bb
                if m == 0:
                    row[3] += aa
                    row[4] += bb
