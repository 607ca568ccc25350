"""Target values of angles: what the table of environments says, made to fit into space.

Classes of angles know nothing of each other, and the libraries that they are learned from have values that can't be
true together, such as 120° between all oxygens of phosphate. Where they contradict each other by far, the values are
brought to the nearest ones that directions in space have.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import gemmi
import numpy as np

from refinement.compounds.environment import angle_keys
from refinement.compounds.targets import ANGLE_SIGMA
from refinement.geometry import angles
from refinement.restraints.bonding import IS_METAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refinement.compounds.component import Component
    from refinement.compounds.environment import Environment
    from refinement.compounds.targets import Targets

Angle = tuple[int, int, int, float, float]
"""Rows of three atoms, the middle one second, target and standard deviation in degrees."""

ROUNDING = 10.0
"""Degrees; angles around a flat atom that miss 360° by less are corrected by equal parts."""
CONTRADICTION = 2.0 * ANGLE_SIGMA[0]
"""Degrees; angles that are nearer to ones that exist are left as they are, minimisation finds the compromise."""
MOST_NEIGHBOURS = 4
"""Around more neighbours the table can't tell which angles are 90° and which 180°."""
ROUNDS = 60
"""Alternating projections; the angles at a phosphate are within a hundredth of a degree after half of them."""
TINY = 1e-6
"""Least square of a length, so that none is divided by zero."""


def angle_targets(compound: Component, found: Environment, table: Targets) -> list[Angle]:
    """Return atoms, value and standard deviation of every angle.

    Angles at metals are left out; those with a metal at an end and those at atoms with more than four neighbours are
    of the ideal coordinates. Around a flat atom the angles add up to 360°, and atoms with a triple or two double bonds
    are straight (the library bends diazo groups).

    Parameters
    ----------
    compound : Component
        With ideal coordinates where the table isn't complete.
    found : Environment
        Its chemistry.
    table : Targets
        Values by environment.
    """
    metal = [bool(IS_METAL[gemmi.Element(element).atomic_number]) for element in compound.elements]
    made: list[Angle] = []
    for centre in range(len(compound)):
        if metal[centre]:
            continue
        around = sorted(there for there, _, _ in found.neighbours[centre])
        here = []
        for i, k in combinations(around, 2):
            by_ideal = metal[i] or metal[k] or len(around) > MOST_NEIGHBOURS
            here.append(_angle(compound, found, table, i, centre, k, by_ideal=by_ideal))
        if found.is_flat(centre) and len(around) == 3:
            here = _around_flat(compound, found, here)
        elif 2 < len(around) <= MOST_NEIGHBOURS:
            here = _fitted(here)
        made += here
    return made


def _angle(compound: Component, found: Environment, table: Targets, i: int, j: int, k: int, *, by_ideal: bool = False) -> Angle:
    if found.hybridisation[j] == "1" and len(found.neighbours[j]) == 2:
        return i, j, k, 180.0, ANGLE_SIGMA[0]
    known = table.angle(angle_keys(found, compound.elements, i, j, k))
    ideal = _ideal(compound, [(i, j, k)])[0]
    if known is None or (by_ideal and np.isfinite(ideal)):
        return i, j, k, ideal, ANGLE_SIGMA[0 if by_ideal and known is not None else 1]
    return i, j, k, known, ANGLE_SIGMA[0]


def _ideal(compound: Component, triples: Sequence[tuple[int, int, int]]) -> list[float]:
    """Return angles (degrees) of the ideal coordinates."""
    return [float(value) for value in angles(compound.positions, *np.array(triples).T)]


def _around_flat(compound: Component, found: Environment, three: list[Angle]) -> list[Angle]:
    """Return the three angles around a flat atom so that they add up to 360°, unless the ideal atom isn't flat either.

    Where they miss that by far, the table mixes angles within and beside rings, and the ideal coordinates decide.
    """
    excess = sum(row[3] for row in three) - 360.0
    if abs(excess) < ROUNDING:
        return [(*row[:3], row[3] - excess / 3.0, row[4]) for row in three]
    ideal = _ideal(compound, [row[:3] for row in three])
    centre = three[0][1]
    # nitrogen beside an unsaturated atom may be pyramidal
    certain = compound.elements[centre] == "C" or found.hybridisation[centre] == "2" or excess > 0
    if certain and abs(sum(ideal) - 360.0) < ROUNDING:
        return [(*row[:3], value, row[4]) for row, value in zip(three, ideal, strict=True)]
    return _fitted(three)


def _fitted(here: list[Angle]) -> list[Angle]:
    """Return the angles around one atom as the nearest ones that exist, if some have to change by more than `CONTRADICTION`."""
    if not np.isfinite([row[3] for row in here]).all():
        return here
    ends = sorted({row[0] for row in here} | {row[2] for row in here})
    places = tuple(np.array([[ends.index(row[0]), ends.index(row[2])] for row in here]).T)
    given = np.array([row[3] for row in here])
    cosines = np.eye(len(ends))
    cosines[places] = cosines[places[::-1]] = np.cos(np.radians(given))
    nearest = np.degrees(np.arccos(np.clip(realisable(cosines)[places], -1.0, 1.0)))
    if np.abs(nearest - given).max() < CONTRADICTION:
        return here
    return [(*row[:3], float(value), row[4]) for row, value in zip(here, nearest, strict=True)]


def realisable(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cosines between directions in space that come near to given ones.

    Such a matrix has ones on the diagonal and no eigenvalues besides three positive ones; projections onto the
    matrices with the one and with the other property are alternated.

    Parameters
    ----------
    cosines : NDArray[float64], shape (n, n)
        Symmetric.

    Returns
    -------
    NDArray[float64], shape (n, n)
    """
    found = cosines.copy()
    for _ in range(ROUNDS):
        values, vectors = np.linalg.eigh(found)
        values[:-3] = 0.0
        found = (vectors * np.maximum(values, 0.0)) @ vectors.T
        scale = 1.0 / np.sqrt(np.maximum(np.diag(found), TINY))
        found *= scale[:, None] * scale[None, :]
    return found
