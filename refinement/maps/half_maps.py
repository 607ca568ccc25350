"""How much of a map is signal, shell by shell, and the map with its noise damped by that.

With two half-maps the part of signal in the power of one of them is their Fourier shell correlation C inside the molecule,
that in the mean of both 2C/(1 + C) (Rosenthal & Henderson 2003, J. Mol. Biol. 333, 721-745). Multiplying each shell by this
part gives the regression of the true map on the measured one; by its root, C_ref, what correlates best with it. In
cross-validation, where one half isn't known, the primary map tells what is signal in the other one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import fft

from refinement.maps.fourier import squared_frequencies
from refinement.maps.soft_mask import soft_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.structure import Structure

    Floats = NDArray[np.float64]

SHELLS = 40
"""Shells of equal width up to the resolution."""
MASK_RADIUS = 3.0
"""Å; power and correlations are those of the density this far around the model, softly: solvent is noise only."""
BEYOND = (1.05, 1.5)
"""Multiples of 1/d_min; what a half-map and the primary map share here is noise."""
MOST_SHARED = 0.5
"""More of a half-map's noise than the mean of both has isn't in the primary map; what is shared beyond that is signal."""
ENDS = 0.02
"""A primary map ends at the resolution if beyond it a term has less than this part of the power just within."""
NOISELESS = 0.97
"""Mean part of signal from which on there is nothing to damp."""
SHARED = 0.05
"""Mean part of signal below which the halves show no common molecule."""
AGREEMENT = 0.8
"""The primary map must correlate with the mean of the halves by this part of what a map without noise would, in shells with
signal, or they aren't of one reconstruction or place (masks and sharpening change it little within a shell)."""
STEADY = 0.3
"""Shells in which at least this part is signal tell how the primary map was made from the halves."""
WEIGHTED_ALREADY = 0.5
"""A primary map whose amplitudes follow C_ref by at least this power has been weighted when it was made."""
FIGURE_OF_MERIT = 0.5
"""The power of the part of signal that is C_ref."""
FEWEST, VARIED = 10, 0.1
"""A power of C_ref is only looked for in this many shells, over which its logarithm varies by this much."""
CHAIN = ((0.0, 1.0), (1.53, 1.5), (2.52, 1.0), (3.9, 0.5))
"""Å, and how many atoms are that far from one, itself included, on the mean over an extended chain of four."""
TINY = 1e-30


@dataclass(frozen=True, slots=True, eq=False)
class Signal:
    """The part of signal in a map.

    Attributes
    ----------
    part : NDArray[float64], shape (SHELLS,)
        In the power of each shell of equal width in 1/d, from 0 to 1.
    mean : float
        Over all terms up to the resolution.
    """

    part: Floats
    mean: float

    @property
    def noise(self) -> float:
        """Power of noise relative to that of signal; at most 50."""
        return (1.0 - self.mean) / max(self.mean, 0.02)

    @property
    def noise_in_correlation(self) -> float:
        """Variance by noise of a map's correlation with a model, times the number of terms.

        With shells weighted by the root of their part of signal p the correlation is a sum over terms weighted by p, each with
        noise 1 - p: Σ p² (1 - p) / (Σ p)².
        """
        terms = (np.arange(SHELLS) + 0.5) ** 2
        mean = float(np.average(self.part, weights=terms))
        return float(np.average(self.part**2 * (1.0 - self.part), weights=terms)) / max(mean, 0.02) ** 2


@dataclass(frozen=True, slots=True, eq=False)
class Weighted:
    """A map to refine into.

    Attributes
    ----------
    density : Density
        With its noise damped, or as it came.
    applied : bool
        Whether it was damped.
    reason : str
        Why, as a sentence.
    signal : Signal or None
        Of the primary map; None where the half-maps don't tell, or it has less noise than they have.
    """

    density: Density
    applied: bool
    reason: str
    signal: Signal | None = None

    @property
    def noise(self) -> float:
        """Power of noise relative to that of signal in the primary map, 0 where it isn't known."""
        return 0.0 if self.signal is None else self.signal.noise

    @property
    def record(self) -> dict[str, Any]:
        """What table_one.json says about it."""
        mean = None if self.signal is None else round(self.signal.mean, 4)
        return {"noise_weighted": self.applied, "reason": self.reason, "signal": mean}


def signal_confirmed(half: Density, primary: Density, structure: Structure, d_min: float) -> Signal:
    """Return the part of signal in a half-map as the primary map confirms it; the other half-map isn't needed.

    The square r² of the correlation of the two is the part of signal, C, if the primary map has no noise, and (1 + C)/2 if it
    is the mean of the halves and so has the same noise. That shows beyond the resolution, where all that they share is
    noise: with r0² there, (r² - r0²)/(1 - r0²) is C in both cases. A primary map that ends at the resolution can't show it
    and is taken to have no noise.

    Parameters
    ----------
    half, primary : Density
        The maps, on one grid.
    structure : Structure
        The model that they show.
    d_min : float
        Resolution in Å.
    """
    shell, count = _shells(half, d_min)
    terms = _terms((half, primary), structure)
    correlation = np.clip(_correlation(shell, *terms), 0.0, 1.0)
    shared = _shared_noise(half, terms, d_min)
    return _signal((correlation**2 - shared) / (1.0 - shared), count)


def signal_in_mean(halves: Sequence[Density], structure: Structure, d_min: float) -> Signal:
    """Return the part of signal in the mean of two half-maps, 2C/(1 + C); parameters as for `signal_in_one`."""
    shell, count = _shells(halves[0], d_min)
    correlation = np.clip(_correlation(shell, *_terms(halves, structure)), 0.0, 1.0)
    return _signal(2.0 * correlation / (1.0 + correlation), count)


def damped(density: Density, signal: Signal, d_min: float) -> Density:
    """Return the map with each shell multiplied by the root of its part of signal, C_ref, and nothing beyond d_min (Å)."""
    return _multiplied(density, signal.part**FIGURE_OF_MERIT, d_min)


def sharpened_like(half: Density, primary: Density, signal: Signal, structure: Structure, d_min: float) -> Density:
    """Return a half-map with the falloff of the primary map, as a half-map comes unsharpened.

    Of the primary map, which was made from both halves, one number enters: an overall B factor.

    Parameters
    ----------
    half, primary : Density
        The maps, on one grid.
    signal : Signal
        Of the half-map.
    structure : Structure
        The model, to know where the molecule is.
    d_min : float
        Resolution in Å; terms beyond it are dropped.
    """
    slope = _falloff(half, primary, signal, structure, d_min)[1]
    return _multiplied(half, np.exp(slope * _squares(d_min)), d_min)


def noise_weighted(primary: Density, halves: Sequence[Density], structure: Structure, d_min: float) -> Weighted:
    """Return the primary map with its noise damped by what the half-maps agree on, where that is right.

    Parameters
    ----------
    primary : Density
        The primary map.
    halves : sequence of Density
        Its half-maps, on the same grid, or none.
    structure : Structure
        The model, to know where the molecule is.
    d_min : float
        Resolution in Å.

    Returns
    -------
    Weighted
        The map as it came where there are no halves, they show no noise or no common signal, they aren't those of the
        primary map, or that has less noise than they say or was weighted when it was made.
    """
    if not halves:
        return Weighted(primary, False, "There are no half-maps: the primary map is refined into as it is.")
    signal = signal_in_mean(halves, structure, d_min)
    if signal.mean >= NOISELESS:
        return Weighted(primary, False, f"The half-maps agree ({signal.mean:.2f} is signal): nothing to weigh.", signal)
    if signal.mean < SHARED:
        return Weighted(primary, False, "The half-maps share no signal around the model: they aren't used.")
    mean = replace(primary, values=(0.5 * (halves[0].values + halves[1].values)).astype(np.float32))
    agreement, without_noise = _agreement(primary, mean, signal, structure, d_min)
    if agreement < AGREEMENT * without_noise:
        reason = f"The half-maps don't agree with the primary map (correlation {agreement:.2f}): they aren't used."
        return Weighted(primary, False, reason)
    if agreement < 0.5 * (1.0 + without_noise):
        return Weighted(primary, False, "The primary map has less noise than its half-maps: taken as it is.")
    if _falloff(mean, primary, signal, structure, d_min)[2] >= WEIGHTED_ALREADY:
        return Weighted(primary, False, "The primary map was weighted by shells when it was made: taken as it is.", signal)
    reason = f"The map is weighted by shells with what its half-maps agree on ({signal.mean:.2f} is signal)."
    return Weighted(damped(primary, signal, d_min), True, reason, signal)


def noise_of_difference(density: Density, signal: Signal, structure: Structure, d_min: float) -> float:
    """Return the standard deviation by noise of the density of one side chain in one place less that in another.

    It is that for one atom, in units of the map; for n atoms it is √n times as much. Noise of near atoms is alike, and how
    much is in its spectrum.

    Parameters
    ----------
    density : Density
        The map.
    signal : Signal
        The part of signal in it.
    structure : Structure
        The model, to know where the molecule is.
    d_min : float
        Resolution in Å.
    """
    shell, _ = _shells(density, d_min)
    (terms,) = _terms([density], structure)
    power = _sums(shell, np.abs(terms) ** 2)
    of_noise = power * (1.0 - signal.part)
    mask = soft_mask(structure, density, MASK_RADIUS)
    inside = (density.values - density.values.mean()) * mask
    variance = float((inside**2).sum() / max((mask**2).sum(), TINY)) * float(of_noise.sum() / max(power.sum(), TINY))
    if variance <= 0.0:
        return 0.0
    s = np.sqrt(_squares(d_min))
    together = sum(share * float(np.average(np.sinc(2.0 * s * apart), weights=of_noise)) for apart, share in CHAIN)
    return float(np.sqrt(2.0 * variance * max(together, 0.0)))


def _agreement(primary: Density, mean: Density, signal: Signal, structure: Structure, d_min: float) -> tuple[float, float]:
    """Return the correlation of two maps in shells with signal, and what it would be if the first had no noise."""
    shell, count = _shells(primary, d_min)
    sound = (signal.part >= STEADY) & (count > 0)
    if not sound.any():
        return 0.0, 1.0
    correlation = _correlation(shell, *_terms((primary, mean), structure))
    averages = (float(np.average(each[sound], weights=count[sound])) for each in (correlation, np.sqrt(signal.part)))
    found, without_noise = averages
    return found, without_noise


def _shared_noise(half: Density, terms: list[NDArray[np.complexfloating]], d_min: float) -> float:
    """Return the square of the correlation of two transforms just beyond the resolution, at most `MOST_SHARED`."""
    s = np.sqrt(squared_frequencies(half.dims, half.cell)) * d_min
    beyond = (s > BEYOND[0]) & (s < BEYOND[1])
    inside = (s > 1.0 / BEYOND[0]) & (s <= 1.0)
    first, second = (each[beyond] for each in terms)
    powers = [float((np.abs(each) ** 2).sum()) for each in (first, second)]
    if not beyond.any() or (np.abs(second) ** 2).mean() < ENDS * (np.abs(terms[1][inside]) ** 2).mean():
        return 0.0
    correlation = float((first * second.conj()).real.sum()) / np.sqrt(max(powers[0] * powers[1], TINY))
    return min(max(correlation, 0.0) ** 2, MOST_SHARED)


def _falloff(made_from: Density, primary: Density, signal: Signal, structure: Structure, d_min: float) -> Floats:
    """Return constant, slope (Å²) and power of C_ref of the amplitudes of a map relative to those of what it was made from.

    Sharpening makes the logarithm of their ratio a straight line in 1/d², weighting adds that of C_ref.
    """
    shell, count = _shells(primary, d_min)
    theirs, ours = _terms((made_from, primary), structure)
    gain = _sums(shell, (ours * theirs.conj()).real) / np.maximum(_sums(shell, np.abs(theirs) ** 2), TINY)
    sound = (signal.part >= STEADY) & (count > 0) & (gain > 0.0)
    reference = FIGURE_OF_MERIT * np.log(np.maximum(signal.part, 1e-3))
    columns = np.stack([np.ones(SHELLS), _squares(d_min), reference], axis=1)
    if sound.sum() < FEWEST or np.ptp(reference[sound]) < VARIED:
        columns[:, 2] = 0.0
    root = np.sqrt(count)[sound]
    found, *_ = np.linalg.lstsq(columns[sound] * root[:, None], np.log(np.maximum(gain[sound], TINY)) * root)
    return np.asarray(found)


def _terms(maps: Sequence[Density], structure: Structure) -> list[NDArray[np.complexfloating]]:
    """Return the transforms of maps on one grid around the model, without their means."""
    mask = soft_mask(structure, maps[0], MASK_RADIUS)
    return [fft.rfftn((each.values - each.values.mean()) * mask) for each in maps]


def _multiplied(density: Density, factor: Floats, d_min: float) -> Density:
    """Return the map with each shell multiplied, and without terms beyond."""
    shell, _ = _shells(density, d_min)
    terms = fft.rfftn(density.values)
    terms *= np.append(factor, 0.0).astype(np.float32)[shell]
    values = fft.irfftn(terms, s=density.dims, overwrite_x=True)
    return replace(density, values=np.ascontiguousarray(values, dtype=np.float32))


def _squares(d_min: float) -> Floats:
    """Return 1/d² (1/Å²) in the middle of each shell."""
    return np.asarray(((np.arange(SHELLS) + 0.5) / (SHELLS * d_min)) ** 2)


def _shells(density: Density, d_min: float) -> tuple[NDArray[np.int64], Floats]:
    """Return the shell of each term, `SHELLS` for those beyond d_min, and the number of terms in each shell."""
    s = np.sqrt(squared_frequencies(density.dims, density.cell)) * (d_min * SHELLS)
    shell = np.minimum(s.astype(np.int64), SHELLS)
    return shell, np.bincount(shell.ravel(), minlength=SHELLS + 1)[:SHELLS].astype(np.float64)


def _sums(shell: NDArray[np.int64], values: NDArray[np.floating]) -> Floats:
    return np.asarray(np.bincount(shell.ravel(), weights=values.ravel(), minlength=SHELLS + 1)[:SHELLS], dtype=np.float64)


def _correlation(shell: NDArray[np.int64], first: NDArray[np.complexfloating], second: NDArray[np.complexfloating]) -> Floats:
    shared = _sums(shell, (first * second.conj()).real)
    product = _sums(shell, np.abs(first) ** 2) * _sums(shell, np.abs(second) ** 2)
    return shared / np.sqrt(np.maximum(product, TINY))


def _signal(part: Floats, count: Floats) -> Signal:
    part = np.clip(part, 0.0, 1.0)
    return Signal(part, float(np.average(part, weights=count)))
