"""Operators fitted to the map: each copy moved as a rigid body, then all of them made an exact group again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refinement.minimise import minimise
from refinement.moves.rigid_body import MAX_ATOMS, STEPS, RigidTarget
from refinement.operators import Operators, as_group, multiplication_table
from refinement.symmetry.chains import SUPERPOSED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.interpolation import InterpolatedMap
    from refinement.symmetry.constraints import Symmetry

    Floats = NDArray[np.float64]

LARGEST_STEP = 0.25
"""Å in one step: operators are right but for a fraction of an Å, or the map wouldn't have confirmed them."""


def fitted_operators(density: InterpolatedMap, positions: Floats, weights: Floats, symmetry: Symmetry) -> tuple[Operators, float]:
    """Return operators at which the copies lie in more density, and how far that moves them (Å, rms, the copy that moves most).

    Parameters
    ----------
    density : InterpolatedMap
        The map of the whole model, not averaged.
    positions : NDArray[float64], shape (n, 3)
        The whole model.
    weights : NDArray[float64], shape (n,)
        Weight of each atom, e.g. its atomic number.
    symmetry : Symmetry
        Which atom follows which. The operators stay as they are if no better ones are found.
    """
    old = symmetry.operators
    rotation, shift = old.rotation.copy(), old.shift.copy()
    for k in range(1, len(old)):
        atoms = np.flatnonzero(symmetry.operator == k)
        atoms = atoms[:: -(-len(atoms) // MAX_ATOMS)]
        if len(atoms) < 3:
            continue
        target = RigidTarget(density, positions[atoms], weights[atoms])
        motion = target.motion(minimise(target, np.zeros(6), max_iterations=STEPS, max_shift=LARGEST_STEP).x)
        rotation[k] = motion.rotation @ old.rotation[k]
        shift[k] = motion.apply(old.shift[k][None])[0]
    new = Operators(rotation, shift)
    if symmetry.closed:
        centre = positions.mean(axis=0)
        radius = float(np.sqrt(((positions - centre) ** 2).sum(axis=1).mean()))
        table = multiplication_table(old, centre, radius, SUPERPOSED)
        new = as_group(new, table, centre) if table is not None else old
    before, after = (_density(density, positions, weights, symmetry, operators) for operators in (old, new))
    if after <= before:
        return old, 0.0
    return new, _largest_move(positions, symmetry, old, new)


def _density(density: InterpolatedMap, positions: Floats, weights: Floats, symmetry: Symmetry, operators: Operators) -> float:
    """Return the weighted density at all images."""
    moved = symmetry.with_operators(operators).imposed(positions)
    return float((density.values(moved) * weights)[symmetry.operator > 0].sum())


def _largest_move(positions: Floats, symmetry: Symmetry, old: Operators, new: Operators) -> float:
    square = ((symmetry.with_operators(new).imposed(positions) - symmetry.with_operators(old).imposed(positions)) ** 2).sum(
        axis=1
    )
    count = np.bincount(symmetry.operator, minlength=len(old))
    mean = np.bincount(symmetry.operator, weights=square, minlength=len(old)) / np.maximum(count, 1)
    return float(np.sqrt(mean[1:].max(initial=0.0)))
