"""Resolution of a map in several senses: d99, half-map FSC, model–map FSC, and d_model.

Everything is computed for the whole box and inside a soft mask around the model. Definitions of the mtriage
procedure (Afonine et al. 2018, Acta Cryst. D74, 814-840); the correction of masked half-map FSC by randomised
phases is that of Chen et al. 2013, Ultramicroscopy 135, 24-35.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import fft

from refinement.maps.fsc import (
    Binning,
    FscCurve,
    PairSums,
    Shells,
    fsc_average,
    pair_sums,
    randomise_phases,
    shell_curve,
    shells_of,
)
from refinement.maps.soft_mask import soft_mask
from refinement.maps.transforms import StructureFactors, structure_factors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.structure import Structure

MASK_RATIO = 2.0
"""Radius of the soft mask as a multiple of the resolution."""
FINEST = 0.5
"""Model and map are compared down to this fraction of the resolution; finer terms of a map say nothing about it."""
ENOUGH = 0.99
"""Correlation with the full map at d99."""
B_TRIALS = np.arange(-500.0, 500.0, 5.0)
"""Overall B factors (Å²) that are tried on a model without B factors."""
GROUPS = 4096
"""Shells are joined into so many groups for the search of the overall B."""
RANDOM_BELOW = 0.8
"""Phases are randomised from where the half-map FSC falls below this."""
DISPLAYED = 200
"""Most points of a curve for display."""

LEVELS = {"d_fsc_model_0": 0.0, "d_fsc_model_0143": 0.143, "d_fsc_model_05": 0.5}
KEYS = ("d_99", "d_model", "d_model_b0", "d_fsc_model_0143", "d_fsc_model_05", "d_fsc")


@dataclass(frozen=True, slots=True, eq=False)
class MapResolution:
    """Resolutions of a map, alone and against a model.

    Attributes
    ----------
    summary : dict[str, float | None]
        The keys of `KEYS` and the same with ``_masked``, Å.
    reasons : dict[str, str]
        Why a value is missing.
    columns : dict[str, NDArray[float32]]
        Empty: there is nothing per residue.
    curves : dict
        ``fsc``: lists of inverse d (1/Å) and of correlations.
    details : dict
        ``map_resolution``: further crossings, overall B factors, d99 of the half-maps, mask radius.
    """

    summary: dict[str, float | None]
    reasons: dict[str, str] = field(default_factory=dict)
    columns: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    curves: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Found:
    """What has been computed so far: values by key, further details, and sums for the curves to show."""

    values: dict[str, float | None]
    details: dict[str, Any]
    shown: dict[str, PairSums]


def map_resolution(structure: Structure, density: Density, resolution: float, half_maps: Sequence[Density] = ()) -> MapResolution:
    """Return the resolutions of a map.

    Parameters
    ----------
    structure : Structure
        The model with its own B factors; all atoms count.
    density : Density
        The primary map.
    resolution : float
        Consensus resolution in Å; decides about the mask.
    half_maps : sequence of Density
        Both half-maps on the grid of the map, or none.
    """
    shells = shells_of(density.dims, density.cell)
    binning = Binning(shells)
    d_limit = max(FINEST * resolution, shells.d_min)
    own = structure_factors(structure, density, d_limit)
    still = structure_factors(structure, density, d_limit, b_iso=0.0)
    mask = soft_mask(structure, density, MASK_RATIO * resolution)
    found = _Found({}, {"mask_radius": MASK_RATIO * resolution}, {})
    for suffix, weight in (("", None), ("_masked", mask)):
        observed = _transform(density.values, weight)
        found.values["d_99" + suffix] = d_99(shells, pair_sums(shells, observed, observed).aa_doubled)
        with_own = found.shown["model" + suffix] = pair_sums(shells, observed, own.values)
        curve = binning.curve(with_own, d_limit=d_limit)
        for key, level in LEVELS.items():
            found.values[key + suffix] = curve.crossing(level)
        limit = found.values["d_fsc_model_0" + suffix] or d_limit
        sums = pair_sums(shells, observed, still.values)
        found.values["d_model" + suffix], found.details["b_overall" + suffix] = d_model(shells, sums, still, limit)
        found.values["d_model_b0" + suffix] = d_model_b0(shells, sums, still, d_limit)
    if half_maps:
        masked = _add_half_maps(half_maps, mask, shells, binning, found)
        averages = [fsc_average(shells, pair_sums(shells, half, own.values), resolution) for half in masked]
        found.details["fsc_average_with_half_maps"] = averages  # of whatever the model was refined into: not independent
    return _result(found, shells, density, has_half_maps=bool(half_maps))


def _result(found: _Found, shells: Shells, density: Density, *, has_half_maps: bool) -> MapResolution:
    summary = {key + suffix: found.values.get(key + suffix) for key in KEYS for suffix in ("", "_masked")}
    missing = {key: "not_reached" for key, value in summary.items() if value is None}
    if not has_half_maps:
        missing |= dict.fromkeys(("d_fsc", "d_fsc_masked"), "no_half_maps")
    randomised_from = found.details.get("randomised_from")
    curves = display_curves(shells, found.shown, density, 1.0 / randomised_from if randomised_from else 0.0)
    crossings = {key: value for key, value in found.values.items() if key.startswith("d_fsc")}
    further = {key: value for key, value in found.values.items() if key not in summary}
    details = {"map_resolution": {**further, **found.details}}
    return MapResolution(summary, missing, {}, {"fsc": {**curves, "crossings": crossings}}, details)


def d_99(shells: Shells, power: NDArray[np.float64]) -> float | None:
    """Return the resolution (Å) at which the truncated map still correlates to 0.99 with the whole.

    Parameters
    ----------
    shells : Shells
        The fine shells of the box.
    power : NDArray[float64]
        Sum of |F|² of each shell; terms with l = 0 count once and all others twice, as in the reference program.
    """
    total = float(power.sum())
    if not total > 0:
        return None
    found = shells.d_min
    for back, step in ((0.0, 0.1), (0.2, 0.01)):
        trials = found - back + step * np.arange(1, int((shells.d_max - found + back) / step) + 2)
        enough = np.sqrt(shells.coarser_than(power, trials) / total) >= ENOUGH
        found = float(trials[int(np.argmin(enough))])
    return found


def d_model(shells: Shells, sums: PairSums, still: StructureFactors, d_limit: float) -> tuple[float | None, float | None]:
    """Return the resolution (Å) at which a model with one overall B resembles the map most, and that B (Å²).

    Parameters
    ----------
    shells : Shells
        The fine shells of the box.
    sums : PairSums
        Map against the model without B factors.
    still : StructureFactors
        That model.
    d_limit : float
        Å; finer terms are left out of both.
    """
    s2 = shells.s2
    kept = s2 <= 1.0 / d_limit**2
    ab, bb, aa = (np.where(kept, values, 0.0) for values in (sums.ab, sums.bb, sums.aa))
    if not (aa.any() and bb.any()):
        return None, None
    starts = np.arange(0, len(s2), len(s2) // GROUPS)
    middle = np.add.reduceat(s2, starts) / np.diff([*starts, len(s2)])
    fall = np.exp(-0.25 * (B_TRIALS[:, None] + still.b) * middle)
    numerator, power = fall @ np.add.reduceat(ab, starts), fall**2 @ np.add.reduceat(bb, starts)
    b_overall = float(B_TRIALS[int(np.argmax(numerator / np.sqrt(power)))])
    kept_terms = shells.count[kept[: len(shells.count)]] > 0
    start = float(shells.d[kept][kept_terms][-1])
    return _best_cut(shells, ab, bb, float(aa.sum()), b_overall + still.b, start), b_overall


def d_model_b0(shells: Shells, sums: PairSums, still: StructureFactors, d_limit: float) -> float | None:
    """Return the resolution (Å) at which a model without B factors resembles the map most; see `d_model`."""
    total = float(sums.aa.sum())
    if not (total > 0 and sums.bb.any()):
        return None
    return _best_cut(shells, sums.ab, sums.bb, total, still.b, d_limit)


def _best_cut(shells: Shells, ab: NDArray[np.float64], bb: NDArray[np.float64], observed: float, b: float, start: float) -> float:
    """Return the cut d (Å) at which the model map, blurred with b (Å²), correlates best with the whole map."""
    trials = trial_resolutions(start)
    fall = np.exp(-0.25 * b * (shells.s2 - 1.0 / start**2))
    power = shells.coarser_than(bb * fall**2, trials)
    with np.errstate(invalid="ignore", divide="ignore"):
        cc = shells.coarser_than(ab * fall, trials) / np.sqrt(observed * power)
    return float(trials[int(np.nanargmax(np.where(power > 0, cc, -1.0)))])


def trial_resolutions(start: float) -> NDArray[np.float64]:
    """Return the cuts (Å) to try from `start` on: steps of 0.1 Å up to 10.4 Å, then of 1 Å."""
    end = next((end for below, end in ((5.0, 10.0), (10.0, 20.0), (20.0, 40.0)) if start < below), 100.0)
    trials = np.concatenate([np.arange(1, 105) / 10.0, np.arange(11.0, 101.0)])
    trials = trials[(trials >= start) & (trials <= end)]
    return trials if len(trials) else np.array([start])


def _transform(values: NDArray[np.float32], weight: NDArray[np.float32] | None) -> NDArray[np.complex64]:
    return np.asarray(fft.rfftn(values) if weight is None else fft.rfftn(values * weight, overwrite_x=True))


def _add_half_maps(
    half_maps: Sequence[Density], mask: NDArray[np.float32], shells: Shells, binning: Binning, found: _Found
) -> list[NDArray[np.complex64]]:
    """Add the half-map FSC without mask, with it, and corrected for it; return the transforms of the masked half-maps."""
    curves: dict[str, FscCurve] = {}
    whole = [_transform(half.values, None) for half in half_maps]
    masked = [_transform(half.values, mask) for half in half_maps]
    for suffix, pair in (("", whole), ("_masked", masked)):
        sums = found.shown["half_maps" + suffix] = pair_sums(shells, pair[0], pair[1])
        curve = curves[suffix] = binning.curve(sums)
        found.values["d_fsc" + suffix] = curve.crossing(0.143)
        found.values["d_fsc_05" + suffix] = curve.crossing(0.5)
        found.details["d_99_half_maps" + suffix] = [d_99(shells, sums.aa_doubled), d_99(shells, sums.bb_doubled)]
    start = curves[""].crossing(RANDOM_BELOW)
    if start is not None:
        for seed, half in enumerate(whole, start=1):
            randomise_phases(half, shells, start, seed)
        randomised = [_transform(fft.irfftn(half, s=mask.shape, overwrite_x=True), mask) for half in whole]
        sums = found.shown["half_maps_randomised"] = pair_sums(shells, randomised[0], randomised[1])
        corrected = corrected_curve(curves["_masked"], binning.curve(sums), start)
        found.details["randomised_from"] = start
        found.values["d_fsc_corrected"] = corrected.crossing(0.143)
        found.values["d_fsc_05_corrected"] = corrected.crossing(0.5)
    return masked


def corrected_curve(masked: FscCurve, randomised: FscCurve, start: float) -> FscCurve:
    """Return (FSC − R)/(1 − R) from `start` (Å) on, where R is the curve of the maps with randomised phases."""
    expected = np.interp(1.0 / masked.d, 1.0 / randomised.d, randomised.fsc)
    fsc = np.where(masked.d < start, (masked.fsc - expected) / np.maximum(1.0 - expected, 1e-6), masked.fsc)
    return FscCurve(masked.d, fsc)


def display_curves(
    shells: Shells, sums: dict[str, PairSums], density: Density, randomised_from: float = 0.0
) -> dict[str, list[float | None]]:
    """Return correlations in shells of equal width in 1/d out to the Nyquist limit of the box.

    With ``half_maps_masked`` and ``half_maps_randomised`` comes ``half_maps_corrected``, which is the masked curve
    up to `randomised_from` (1/Å).

    Returns
    -------
    dict[str, list]
        ``inverse_d`` (1/Å, middle of the shells) and one list of correlations per name, None where there is nothing.
    """
    nyquist = 0.5 / float(density.voxel.max())
    longest = float((density.voxel * density.dims).max())
    edges = np.linspace(0.0, nyquist, max(1, min(DISPLAYED, int(nyquist * longest))) + 1)
    found = {name: shell_curve(shells, pair, edges)[0] for name, pair in sums.items()}
    if "half_maps_randomised" in found:
        masked, expected = found["half_maps_masked"], found["half_maps_randomised"]
        beyond = edges[1:] > randomised_from
        found["half_maps_corrected"] = np.where(beyond, (masked - expected) / (1.0 - expected), masked)
    lists = {name: [round(float(v), 4) if np.isfinite(v) else None for v in curve] for name, curve in found.items()}
    return {"inverse_d": np.round(0.5 * (edges[1:] + edges[:-1]), 6).tolist(), **lists}
