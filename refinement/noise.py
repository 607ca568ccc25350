"""Refinement into a map whose noise is known from half-maps: damped by shells, with atoms held as far as noise would move them.

Coordinates follow the damped map. B factors and all that is reported belong to the primary map as it came.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from refinement.maps.boxing import box_around
from refinement.maps.half_maps import noise_of_difference, noise_weighted
from refinement.moves.adp import cc_mask, fit_b
from refinement.protocol import DEPOSITED, Refined, refine
from refinement.score import fit_harm
from refinement.threads import processors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from refinement.maps.density import Density
    from refinement.maps.half_maps import Signal
    from refinement.output import RunLog
    from refinement.settings import Settings
    from refinement.structure import Structure


def refine_with_half_maps(
    structure: Structure,
    density: Density,
    halves: Sequence[Density],
    *,
    resolution: float,
    settings: Settings,
    log: RunLog,
    threads: int | None,
    **how: Any,
) -> Refined:
    """Refine a model against the primary map, weighted by what its half-maps agree on where that is right.

    Parameters
    ----------
    structure, density, resolution, settings, log, threads, how
        As for `refinement.protocol.refine`.
    halves : sequence of Density
        The half-maps, or none.

    Returns
    -------
    Refined
        With B factors fitted to the primary map. Where the model fits that worse than the deposited one, it is refined
        again, into the primary map.

    Raises
    ------
    RestraintError
        If no restraints can be made.
    """
    given: dict[str, Any] = {"resolution": resolution, "log": log, "threads": threads, **how}
    if not halves or not settings.noise_weighting:
        return refine(structure, density, settings=settings, **given)
    weighted = noise_weighted(density, halves, structure, resolution)
    log.add("half_maps", weighted.reason, **weighted.record)
    held = against_noise(settings, weighted.density, weighted.signal, structure, resolution)
    refined = refine(structure, weighted.density, settings=held, **given)
    if weighted.applied and refined.record["kept"] != DEPOSITED:
        final, before, after = _with_b_of(density, structure, refined.structure, resolution, held, processors(threads))
        if fit_harm(before, after):
            log.add("undone", f"It fits the primary map worse (CC_mask {before:.4f} -> {after:.4f}): refined into that instead.")
            refined, weighted = refine(structure, density, settings=settings, **given), replace(weighted, applied=False)
        else:
            log.add("primary", f"B factors of the primary map: CC_mask {before:.4f} -> {after:.4f}.", before=before, after=after)
            refined = replace(refined, structure=final)
    return replace(refined, record={**refined.record, "half_maps": weighted.record})


def against_noise(
    settings: Settings, density: Density, signal: Signal | None, structure: Structure, resolution: float
) -> Settings:
    """Return the settings for a map with noise.

    Parameters
    ----------
    settings : Settings
        Those for a map without.
    density : Density
        The map that is refined into.
    signal : Signal or None
        What part of it is signal; None where that isn't known.
    structure : Structure
        The model.
    resolution : float
        Å.
    """
    if signal is None:
        return settings
    box = box_around(density, structure.positions, settings.cushion)
    deviation = noise_of_difference(density, signal, structure, resolution) / max(float(box.values.std()), 1e-30)
    return settings.against(signal.noise, deviation, signal.noise_in_correlation)


def _with_b_of(
    density: Density, given: Structure, refined: Structure, resolution: float, settings: Settings, threads: int
) -> tuple[Structure, float, float]:
    """Return the refined model with B factors fitted to the map, and CC_mask of the given model and of this one."""
    bare = given.without(given.is_hydrogen) if given.is_hydrogen.any() else given
    before = cc_mask(bare, density, resolution, threads=threads)
    if settings.adp_evaluations == 0:
        return refined, before, cc_mask(refined, density, resolution, threads=threads)
    fit = fit_b(
        refined,
        density,
        resolution,
        evaluations=settings.adp_evaluations,
        smoothness=settings.adp_smoothness,
        by_residue=settings.b_groups == "residues",
        noise=settings.b_noise,
        threads=threads,
    )
    return fit.structure, before, fit.cc_after
