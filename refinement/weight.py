"""The weight of the map against the restraints.

One short minimisation with a trial weight shows how far the map pulls the bonds off their targets; the
deviation is nearly proportional to the weight, so one shot finds the weight that gives the wanted one
(measured on a prototype of the engine: exponent 1.1). A bad model is strained by itself, whatever the weight: the
first guess is much too low then, and is mended after each of the first cycles by what the bonds have become.
The other method, trials of random segments, is in `refinement.segments`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refinement.segments import averaged, segment_weights
from refinement.symmetry.target import minimise_model
from refinement.validation.geometry import bond_deviations

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.restraints.topology import Topology
    from refinement.settings import Settings
    from refinement.structure import Structure
    from refinement.symmetry.constraints import Symmetry
    from refinement.target import Target

TRIAL_ITERATIONS = 20
EXPONENT = 1.1
BROKEN = 0.1
"""Å; bonds further off are faults of the model (atoms caught on the wrong side) and say nothing about the weight."""
CLOSE_ENOUGH = 1.15
"""A weight this close (as a factor) to the wanted one stays."""
LARGEST_STEP = 3.0
"""Largest factor by which a cycle changes the weight."""


def map_weight(
    target_with: Callable[[float], Target],
    structure: Structure,
    topology: Topology,
    settings: Settings,
    symmetry: Symmetry | None = None,
    *,
    seed: int = 0,
    threads: int = 1,
) -> tuple[float, list[float]]:
    """Return the map weight at which bonds deviate by the wanted amount, and those of single segments if any were tried.

    Parameters
    ----------
    target_with : callable
        Makes the target with a given weight.
    structure : Structure
        The model at the start, without hydrogens.
    topology : Topology
        Its restraints.
    settings : Settings
        Method, trial weight, wanted deviation and limits.
    symmetry : Symmetry, optional
        Which atoms follow which.
    seed : int
        Which segments are tried.
    threads : int
        The outcome doesn't depend on it.
    """
    trial = settings.weight_trial
    target = target_with(trial)
    if settings.weight_method == "segments":
        weights = segment_weights(target, structure, settings, symmetry, seed=seed, threads=threads)
        if weights:  # a model without polymer has no segments
            target.close()
            return averaged(weights), weights
    found = minimise_model(target, structure.positions, symmetry, max_iterations=TRIAL_ITERATIONS, max_shift=settings.max_shift)
    target.close()
    return _weight_for(trial, structure.moved(found.x), topology, settings), []


def followed_weight(weight: float, structure: Structure, topology: Topology, settings: Settings) -> float:
    """Return the weight for the next cycle, from the bonds of a model that was minimised with `weight`.

    Parameters
    ----------
    weight : float
        Map weight of the last cycle.
    structure : Structure
        The model after it, without hydrogens.
    topology : Topology
        Its restraints.
    settings : Settings
        Wanted deviation and limits.
    """
    wanted = _weight_for(weight, structure, topology, settings)
    factor = wanted / weight
    if max(factor, 1.0 / factor) < CLOSE_ENOUGH:
        return weight
    return weight * float(np.clip(factor, 1.0 / LARGEST_STEP, LARGEST_STEP))


def _weight_for(weight: float, structure: Structure, topology: Topology, settings: Settings) -> float:
    deviation = np.abs(bond_deviations(structure, topology))
    sound = deviation[deviation < BROKEN]
    if not sound.any():  # waters or single atoms only: nothing is bonded
        return weight
    wanted = weight * (settings.bond_rmsd_target / float(np.sqrt(np.mean(sound**2)))) ** EXPONENT
    return float(np.clip(wanted, *settings.weight_limits))
