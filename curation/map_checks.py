"""Rules about the primary map, its half-maps and its contour level. They warn and note; none of them refuses a pair.

The paper of 2020 has none of these; they are for what the archives hold today: maps put together from focused
reconstructions, masked and denoised ones, and mistakes that only the voxels show.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from curation.findings import Code, note, warn

if TYPE_CHECKING:
    from curation.facts import FitFacts, PairFacts
    from curation.findings import Finding

GAIN = 0.05
"""Correlation that other grid steps must gain before they are suspected."""
LEAST_FIT = 0.3
"""Correlation from which a fit to a changed map counts as one."""
MIRROR_GAIN = 0.2
"""Correlation that a mirrored map must gain; far more than any noise, because a mirrored model fits nowhere."""
OFF_DENSITY = 0.1
INVERTED = -0.2
MASKED = 0.55
"""Fraction of equal voxels; the sphere that programs leave of a box has 0.48 of it outside."""
COMPOSITE_KINDS = ("composite", "focused", "consensus")
COMPOSITE = re.compile(
    r"\b(?:composite|combined|focus(?:s)?ed|locally[- ]refined|multi-?body)\b[\w\s-]{0,40}\b(?:map|refine|recon)", re.I
)
DENOISERS = re.compile(
    r"deep\s*-?emhancer|emready|emmernet|cryoten|cryofem|em-?gan|noise2map|"
    r"\b(?:maps?|density|volume|reconstruction)\b[\w\s-]{0,30}\bdenois|\bdenois\w+[\w\s-]{0,20}\b(?:map|density|volume|recon)",
    re.I,
)
"""Programs that change densities by what they learned, and the word for it where it is about the map, not about images."""


def contour_is_given(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Note where the header recommends no contour level."""
    del strict
    if facts.voxels is None or facts.header is None or facts.header.contours or facts.header.contour is not None:
        return None
    return note(Code.CONTOUR_ABSENT, f"{facts.header.source} recommends no contour level.")


def contour_is_unique(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Warn where the header marks several different contour levels as the primary one."""
    del strict
    if facts.header is None:
        return None
    primary = [contour for contour in facts.header.contours if contour.primary]
    if len({contour.level for contour in primary}) < 2:
        return None
    listed = ", ".join(f"{contour.level:g} ({contour.source})" for contour in primary)
    numbers = {"levels": [{"value": contour.level, "source": contour.source} for contour in primary]}
    sentence = f"Several contour levels are marked as primary: {listed}; {primary[0].level:g} is used."
    return warn(Code.CONTOUR_AMBIGUOUS, sentence, numbers)


def contour_cuts_the_map(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Warn where the contour level lies outside the range of the voxels."""
    del strict
    voxels, level = facts.voxels, facts.header.contour if facts.header else None
    if voxels is None or level is None or voxels.minimum < level < voxels.maximum:
        return None
    sentence = (
        f"The contour level {level:g} lies outside the range of the map, {voxels.minimum:g} to {voxels.maximum:g}; it isn't used."
    )
    return warn(Code.CONTOUR_OUTSIDE_RANGE, sentence, {"level": level, "minimum": voxels.minimum, "maximum": voxels.maximum})


def half_maps_differ(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Warn where both half-maps are the same map."""
    del strict
    compared = facts.voxels.half_maps if facts.voxels is not None else None
    if compared is None or not compared.identical:
        return None
    names = " and ".join(half.file for half in facts.half_maps)
    numbers = {"correlation": round(compared.between, 6)}
    sentence = f"{names} are the same map (correlation {compared.between:.6f}); they aren't used."
    return warn(Code.HALF_MAPS_IDENTICAL, sentence, numbers, "Deposit both half-maps.")


def half_maps_are_halves(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Warn where a half-map is the primary map, or was exchanged with it."""
    del strict
    compared = facts.voxels.half_maps if facts.voxels is not None else None
    if compared is None or compared.full is None:
        return None
    primary = facts.map.file if facts.map is not None else "the primary map"
    numbers = {"file": compared.full, "correlations": [round(value, 6) for value in compared.with_primary]}
    sentence = f"{compared.full} holds the full map, as {primary} should; the half-maps aren't used."
    return warn(Code.HALF_MAPS_SWAPPED, sentence, numbers, "Deposit both half-maps and the full map under their own names.")


def hand_is_right(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Warn where the model fits the mirrored map much better."""
    del strict
    fit = _fit(facts)
    if fit is None or not _mirrored(fit):
        return None
    sentence = (
        f"Mirrored along {fit.mirror}, the map fits the model with a correlation of {fit.mirrored:.2f} instead of "
        f"{fit.correlation:.2f}; its hand may be wrong."
    )
    numbers = {"axis": fit.mirror, "correlation_mirrored": round(fit.mirrored, 3), "correlation": round(fit.correlation, 3)}
    return warn(Code.HAND_SUSPECTED, sentence, numbers, "Compare the hand of the map with that of the model.")


def scale_is_right(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Warn where the model fits much better with other grid steps, so much that a shift can't be the reason."""
    del strict
    fit = _fit(facts)
    if fit is None or not _rescaled(fit):
        return None
    change = 100 * (fit.scale - 1)
    sentence = (
        f"With grid steps {abs(change):.1f} % {'larger' if change > 0 else 'smaller'} the map fits the model with a correlation "
        f"of {fit.scaled:.2f} instead of {fit.correlation:.2f}; its pixel size may be wrong."
    )
    rescaled, correlation = round(fit.scaled, 3), round(fit.correlation, 3)
    numbers = {"scale": round(fit.scale, 4), "correlation_rescaled": rescaled, "correlation": correlation}
    return warn(Code.SCALE_SUSPECTED, sentence, numbers, "Check the pixel size in the header of the map.")


def contrast_is_right(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Warn where density and model are opposed."""
    del strict
    fit = _fit(facts)
    if fit is None or fit.correlation > INVERTED or _mirrored(fit) or _rescaled(fit):
        return None
    sentence = f"The map is low where the atoms are (correlation {fit.correlation:.2f}); its contrast may be inverted."
    return warn(Code.CONTRAST_SUSPECTED, sentence, {"correlation": round(fit.correlation, 3)})


def model_follows_density(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Warn where the model has hardly any density, and neither scale nor hand nor contrast is the reason."""
    del strict
    fit = _fit(facts)
    if fit is None or not INVERTED < fit.correlation < OFF_DENSITY or _mirrored(fit) or _rescaled(fit):
        return None
    sentence = f"The model hardly follows the density (correlation {fit.correlation:.2f}); it may be badly placed."
    return warn(Code.MODEL_OFF_DENSITY, sentence, {"correlation": round(fit.correlation, 3)})


def map_is_masked(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Note where most voxels of the primary map are equal."""
    del strict
    if facts.voxels is None or facts.voxels.commonest <= MASKED:
        return None
    share = facts.voxels.commonest
    sentence = f"{100 * share:.0f} % of the voxels of the primary map have one and the same value, as after masking."
    return note(Code.MAP_MASKED, sentence, {"fraction": round(share, 4)})


def map_is_composite(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Note where the files say that the map was combined from others or focused on a part."""
    del strict
    said: list[str] = []
    if facts.header is not None:
        said += [f"{facts.header.source}: {_around(hit)}" for text in facts.header.remarks if (hit := COMPOSITE.search(text))]
    if facts.model is not None:
        kinds = [kind for kind in facts.model.related_kinds if kind.startswith(COMPOSITE_KINDS)]
        said += [f"{facts.model.source}: related to a {kind}" for kind in kinds]
    if not said:
        return None
    return note(
        Code.MAP_COMPOSITE, f"The map seems to be a composite or focused one ({'; '.join(said[:3])}).", {"said": said[:3]}
    )


def map_is_denoised(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Note where the files name a program that denoises or learned to enhance densities."""
    del strict
    said: list[str] = []
    for file, texts in (
        (facts.header, (*facts.header.software, *facts.header.remarks) if facts.header else ()),
        (facts.model, facts.model.software if facts.model else ()),
    ):
        said += [f"{file.source}: {_around(hit)}" for text in texts if file is not None and (hit := DENOISERS.search(text))]
    if not said:
        return None
    return note(
        Code.MAP_DENOISED, f"The primary map seems to be denoised or enhanced ({'; '.join(said[:3])}).", {"said": said[:3]}
    )


MAP_CHECKS = (
    contour_is_unique,
    contour_cuts_the_map,
    half_maps_differ,
    half_maps_are_halves,
    hand_is_right,
    scale_is_right,
    contrast_is_right,
    model_follows_density,
    contour_is_given,
    map_is_masked,
    map_is_composite,
    map_is_denoised,
)


def _fit(facts: PairFacts) -> FitFacts | None:
    return facts.voxels.fit if facts.voxels is not None else None


def _mirrored(fit: FitFacts) -> bool:
    return fit.mirrored >= LEAST_FIT and fit.mirrored - fit.correlation > MIRROR_GAIN


def _rescaled(fit: FitFacts) -> bool:
    return (
        not _mirrored(fit) and fit.scaled >= LEAST_FIT and fit.scaled - fit.correlation > GAIN and abs(fit.scale - 1) >= fit.step
    )


def _around(hit: re.Match[str]) -> str:
    """Return a match with some text on both sides."""
    return hit.string[max(0, hit.start() - 30) : hit.end() + 30].strip()
