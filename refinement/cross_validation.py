"""Refinement into one half-map alone, to see how much of the fit is fit to noise.

The model is shaken first, and its B factors are made equal, so that it remembers as little as possible of the other
half-map, which it was built into (Brown et al. 2015, Acta Cryst. D71, 136-153). The half-map is given the falloff
of the primary map: as it comes from the reconstruction it isn't sharpened and full of noise, and no one would
refine into it. The settings are those of the run.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.maps.fourier import weighted_like
from refinement.protocol import refine
from refinement.validation.cross_validation import CrossValidation, cross_validate

if TYPE_CHECKING:
    from collections.abc import Callable

    import gemmi

    from refinement.maps.density import Density
    from refinement.operators import Operators
    from refinement.output import RunLog
    from refinement.settings import Settings
    from refinement.structure import Structure
    from refinement.validation.table_one import Validation

HALF_MAP_1 = "half-map 1"
"""Name of this part of the run in the log."""


def refine_into_half(
    structure: Structure,
    density: Density,
    work: Density,
    free: Density,
    *,
    resolution: float,
    library: gemmi.MonLib,
    settings: Settings,
    threads: int | None,
    reference: Structure | None = None,
    seed: int,
    log: RunLog,
    progress: Callable[[str, float], None],
    operators: Operators | None = None,
) -> CrossValidation:
    """Shake a model, refine it into one half-map, and compare it with both.

    Parameters
    ----------
    structure : Structure
        The deposited model.
    density : Density
        The primary map; only its falloff is used.
    work, free : Density
        The half-map to refine into, and the one that isn't looked at before the end.
    resolution : float
        Å.
    library, settings, threads, reference, progress, operators
        As for `refinement.protocol.refine`.
    seed : int
        Seed of the shake.
    log : RunLog
        The outcome goes there.

    Raises
    ------
    RestraintError
        If no restraints can be made.
    """
    start = shaken(structure, settings.cross_validation_shake, seed)
    with log.part(HALF_MAP_1):
        refined = refine(
            start,
            weighted_like(work, density, resolution),
            resolution=resolution,
            library=library,
            settings=settings.model_copy(update={"seeds": 1}),  # EMRinger of half a map says little
            threads=threads,
            reference=structure if reference is None and settings.hold_start else reference,
            log=log,
            progress=progress,
            operators=operators,
        )
    found = cross_validate(refined.structure, work, free, resolution)
    deposited = cross_validate(structure, work, free, resolution).summary["fsc_free"]
    numbers = {**found.summary, "deposited": deposited}
    shown = {name: "none" if value is None else f"{value:.3f}" for name, value in numbers.items()}
    log.add(
        "cross_validation",
        "Refined into half-map 1: mean FSC {fsc_work} with it, {fsc_free} with half-map 2, gap {fsc_gap}; "
        "deposited model with half-map 2 {deposited}.".format(**shown),
        **numbers,
    )
    return found


def add_cross_validation(
    table: Validation, structure: Structure, density: Density, work: Density, free: Density, **options: Any
) -> None:
    """Cross-validate and add the outcome to the refined model's table; parameters are those of `refine_into_half`."""
    started = time.perf_counter()
    found = refine_into_half(structure, density, work, free, **options)
    table.metrics.update(found.summary)
    table.curves.update(found.curves)
    for key in found.summary:
        table.reasons.pop(key, None)
    table.reasons.update(found.reasons)
    table.timings_s["cross-validation"] = round(time.perf_counter() - started, 3)


def shaken(structure: Structure, distance: float, seed: int) -> Structure:
    """Return the model with atoms moved at random by `distance` (Å, root mean square), all with the mean B factor."""
    rng = np.random.default_rng(seed)
    shifts = rng.normal(scale=distance / math.sqrt(3.0), size=structure.positions.shape)
    mean_b = np.full(len(structure), round(float(structure.b_iso.mean()), 2))
    return replace(structure.moved(structure.positions + shifts), b_iso=mean_b)
