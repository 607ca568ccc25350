"""Refinement into one half-map alone, to see how much of the fit is fit to noise.

The model is shaken first, and its B factors are made equal, so that it remembers as little as possible of the other
half-map, which it was built into (Brown et al. 2015, Acta Cryst. D71, 136-153). As it comes from the reconstruction the
half-map isn't sharpened and full of noise, and no one would refine into it: it is sharpened like the primary map, by one
overall B factor, and its noise is damped by how well the primary map confirms each shell. These are the only numbers in
which the other half has part. The settings are those of the run.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.maps.half_maps import damped, sharpened_like, signal_confirmed
from refinement.moves.adp import fit_b
from refinement.noise import against_noise
from refinement.protocol import refine
from refinement.threads import processors
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


def model_of_one_half(
    structure: Structure,
    density: Density,
    work: Density,
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
) -> Structure:
    """Shake a model and refine it into one half-map; the other one isn't known here.

    B factors are fitted once more with all resolutions alike, as far as there is signal, as the correlations count them:
    CC_mask, which the run itself fits them by, is ruled by low resolution.

    Parameters
    ----------
    structure : Structure
        The deposited model.
    density : Density
        The primary map; only its falloff is used, and how well each shell of the half-map agrees with it.
    work : Density
        The half-map.
    resolution : float
        Å.
    library, settings, threads, reference, progress, operators
        As for `refinement.protocol.refine`.
    seed : int
        Seed of the shake.
    log : RunLog
        What happened goes there.

    Returns
    -------
    Structure
        Without hydrogens.

    Raises
    ------
    RestraintError
        If no restraints can be made.
    """
    signal = signal_confirmed(work, density, structure, resolution)
    sharpened = sharpened_like(work, density, signal, structure, resolution)
    target = damped(sharpened, signal, resolution) if settings.noise_weighting else sharpened
    settings = against_noise(settings, target, signal, structure, resolution)
    with log.part(HALF_MAP_1):
        sentence = f"The primary map confirms {signal.mean:.2f} of half-map 1 as signal."
        log.add("half_maps", sentence, signal=signal.mean)
        refined = refine(
            shaken(structure, settings.cross_validation_shake, seed),
            target,
            resolution=resolution,
            library=library,
            # EMRinger, which seeds are chosen by, says little of half a map
            settings=settings.model_copy(update={"seeds": 1}),
            threads=threads,
            reference=structure if reference is None and settings.hold_start else reference,
            log=log,
            progress=progress,
            operators=operators,
        )
    progress("B factors", 0.99)
    return fit_b(
        refined.structure,
        sharpened,
        resolution,
        evaluations=settings.adp_evaluations,
        smoothness=settings.adp_smoothness,
        by_residue=settings.b_groups == "residues",
        shells=np.sqrt(signal.part),
        noise=settings.b_noise,
        threads=processors(threads),
    ).structure


def refine_into_half(
    structure: Structure, density: Density, work: Density, free: Density, *, resolution: float, log: RunLog, **options: Any
) -> CrossValidation:
    """Refine a model into one half-map, and compare it with both.

    Parameters
    ----------
    structure, density, work, resolution, log, options
        As for `model_of_one_half`.
    free : Density
        The other half-map, which isn't looked at before the end.

    Raises
    ------
    RestraintError
        If no restraints can be made.
    """
    model = model_of_one_half(structure, density, work, resolution=resolution, log=log, **options)
    found = cross_validate(model, work, free, resolution)
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
