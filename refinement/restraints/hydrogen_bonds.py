"""Hydrogen bonds as restraints: the distance of the heavy ends and the angles there, both levelling off.

A restraint that levels off (top-out, Headd 2012) can't pull together what isn't bound, and lets go of what the map
pulls apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from refinement.restraints import kernels
from refinement.restraints.kernels import DEGREES, add

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_NO_LENGTH = 1e-16
_STRAIGHT = 1e-13


@dataclass(frozen=True, slots=True, eq=False)
class HydrogenBonds:
    """Distances and angles of hydrogen bonds.

    Attributes
    ----------
    atoms : NDArray[int32], shape (m, 2)
        Donor and acceptor.
    target : NDArray[float64]
        Distance in Å.
    weight : NDArray[float64]
        1/σ² in Å⁻².
    limit : NDArray[float64]
        Å from the target where the energy levels off.
    angle_atoms : NDArray[int32], shape (k, 3)
        An atom bound to one end, that end, the other end.
    angle_target, angle_limit : NDArray[float64]
        Degrees.
    angle_weight : NDArray[float64]
        1/σ² in degrees⁻².
    """

    atoms: NDArray[np.int32]
    target: NDArray[np.float64]
    weight: NDArray[np.float64]
    limit: NDArray[np.float64]
    angle_atoms: NDArray[np.int32]
    angle_target: NDArray[np.float64]
    angle_weight: NDArray[np.float64]
    angle_limit: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.target)

    def weighted(self, factor: float) -> HydrogenBonds:
        """Return the restraints with all weights times a factor."""
        return replace(self, weight=self.weight * factor, angle_weight=self.angle_weight * factor)

    def select(self, bonds: NDArray[np.bool_], angles: NDArray[np.bool_]) -> HydrogenBonds:
        """Return the distances and the angles where the masks are true; those without weight have no energy to level off at."""
        of_bonds = {name: getattr(self, name)[bonds] for name in ("atoms", "target", "weight", "limit")}
        of_angles = {name: getattr(self, name)[angles] for name in ("angle_atoms", "angle_target", "angle_weight", "angle_limit")}
        return HydrogenBonds(**of_bonds, **of_angles)

    def energy_and_gradient(self, positions: NDArray[np.float64], gradient: NDArray[np.float64]) -> float:
        """Add the gradient (shape (n, 3)) into `gradient` and return the energy."""
        energy = kernels.bonds(positions, self.atoms, self.target, self.weight, self.limit, gradient)
        energy += limited_angles(positions, self.angle_atoms, self.angle_target, self.angle_weight, self.angle_limit, gradient)
        return float(energy)


def no_hydrogen_bonds() -> HydrogenBonds:
    """Return an empty set."""
    pairs, triples, none = np.empty((0, 2), dtype=np.int32), np.empty((0, 3), dtype=np.int32), np.empty(0)
    return HydrogenBonds(pairs, none, none, none, triples, none, none, none)


def joined(parts: Sequence[HydrogenBonds]) -> HydrogenBonds:
    """Return several sets as one."""
    if not parts:
        return no_hydrogen_bonds()
    return HydrogenBonds(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(HydrogenBonds)))


def each_atom_once(atoms: NDArray[np.int32], cost: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which bonds to keep so that no atom is in two of them, the best first.

    Parameters
    ----------
    atoms : NDArray[int32], shape (m, 2)
        Ends of the bonds.
    cost : NDArray[float64]
        The lower, the better; of equals the first wins.
    """
    rank = np.empty(len(cost), dtype=np.int64)
    rank[np.argsort(cost, kind="stable")] = np.arange(len(cost))
    kept = np.zeros(len(cost), dtype=np.bool_)
    open_ = np.ones(len(cost), dtype=np.bool_)
    size = int(atoms.max()) + 1 if len(atoms) else 0
    while open_.any():
        best = np.full(size, len(cost))
        for end in atoms[open_].T:
            np.minimum.at(best, end, rank[open_])
        kept |= open_ & (best[atoms] == rank[:, None]).all(axis=1)
        taken = np.zeros(size, dtype=np.bool_)
        taken[atoms[kept]] = True
        open_ &= ~taken[atoms].any(axis=1)
    return kept


@njit(cache=True, nogil=True, error_model="numpy")
def limited_angles(
    positions: NDArray[np.float64],
    atoms: NDArray[np.int32],
    target: NDArray[np.float64],
    weight: NDArray[np.float64],
    limit: NDArray[np.float64],
    gradient: NDArray[np.float64],
) -> float:
    """Harmonic angles that level off beyond `limit` (degrees): top (1 - exp(-w Δ²/top)), top = w limit²."""
    energy = 0.0
    for k in range(len(atoms)):
        i, j, m = atoms[k, 0], atoms[k, 1], atoms[k, 2]
        ux = positions[i, 0] - positions[j, 0]
        uy = positions[i, 1] - positions[j, 1]
        uz = positions[i, 2] - positions[j, 2]
        vx = positions[m, 0] - positions[j, 0]
        vy = positions[m, 1] - positions[j, 1]
        vz = positions[m, 2] - positions[j, 2]
        uu = ux * ux + uy * uy + uz * uz
        vv = vx * vx + vy * vy + vz * vz
        if uu < _NO_LENGTH or vv < _NO_LENGTH:
            continue
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        across = math.sqrt(nx * nx + ny * ny + nz * nz)
        delta = DEGREES * math.atan2(across, ux * vx + uy * vy + uz * vz) - target[k]
        top = weight[k] * limit[k] * limit[k]
        fade = math.exp(-weight[k] * delta * delta / top)
        energy += top * (1.0 - fade)
        if across < _STRAIGHT * math.sqrt(uu * vv):
            continue
        pull = 2.0 * weight[k] * delta * fade * DEGREES / across
        fu, fv = pull / uu, pull / vv
        ax, ay, az = fu * (uy * nz - uz * ny), fu * (uz * nx - ux * nz), fu * (ux * ny - uy * nx)
        cx, cy, cz = fv * (ny * vz - nz * vy), fv * (nz * vx - nx * vz), fv * (nx * vy - ny * vx)
        add(gradient, i, ax, ay, az)
        add(gradient, m, cx, cy, cz)
        add(gradient, j, -(ax + cx), -(ay + cy), -(az + cz))
    return energy
