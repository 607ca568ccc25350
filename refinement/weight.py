"""The weight of the map against the restraints.

One short minimisation with a trial weight shows how far the map pulls the bonds off their targets; the
deviation is nearly proportional to the weight, so one shot finds the weight that gives the wanted one
(measured on a prototype of the engine: exponent 1.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refinement.symmetry.target import minimise_model
from refinement.validation.geometry import covalent_geometry

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.restraints.topology import Topology
    from refinement.settings import Settings
    from refinement.structure import Structure
    from refinement.symmetry.constraints import Symmetry
    from refinement.target import Target

TRIAL_ITERATIONS = 20
EXPONENT = 1.1


def map_weight(
    target_with: Callable[[float], Target],
    structure: Structure,
    topology: Topology,
    settings: Settings,
    symmetry: Symmetry | None = None,
) -> float:
    """Return the map weight at which bonds deviate by the wanted amount.

    Parameters
    ----------
    target_with : callable
        Makes the target with a given weight.
    structure : Structure
        The model at the start, without hydrogens.
    topology : Topology
        Its restraints.
    settings : Settings
        Trial weight, wanted deviation and limits.
    symmetry : Symmetry, optional
        Which atoms follow which.
    """
    trial = settings.weight_trial
    target = target_with(trial)
    found = minimise_model(target, structure.positions, symmetry, max_iterations=TRIAL_ITERATIONS, max_shift=settings.max_shift)
    target.close()
    deviation = covalent_geometry(structure.moved(found.x), topology).bonds.rmsd
    if not deviation:  # waters or single atoms only: nothing is bonded
        return trial
    weight = trial * (settings.bond_rmsd_target / deviation) ** EXPONENT
    return float(np.clip(weight, *settings.weight_limits))
