"""Rigid motions of a model, or of parts of it, into the density.

Six variables for each body, a rotation vector and a shift, both about its centre of mass, are moved by the
minimiser against the density at the atoms: first in maps blurred to low resolution, which pull from far away,
then in finer ones. Variables are all in Å: rotations are multiplied by the radius of gyration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refinement.maps.blurring import blurred_map
from refinement.maps.interpolation import prepare
from refinement.maps.transforms import forward, limits_within
from refinement.minimise import minimise
from refinement.operators import angle_of, kabsch, rotation_by

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.maps.interpolation import InterpolatedMap

LOW_RESOLUTIONS = (15.0, 8.0)
"""Å; the first passes, as in the rigid-body protocol of crystallography."""
FINE_RESOLUTION = 4.0
"""Å; the last blurred pass is not finer than this. The map as it is follows."""
STEPS = 40
"""Steps of the minimiser in each pass; six variables need no more."""
LARGEST_STEP = 0.25
"""Largest step as a fraction of the resolution of the pass."""
MAX_ATOMS = 20000
"""A body of more atoms is represented by every second, third, ... of them: six variables are known well enough."""


@dataclass(frozen=True, slots=True, eq=False)
class RigidMotion:
    """Rotate about `centre` (Å), then shift (Å)."""

    rotation: NDArray[np.float64]
    shift: NDArray[np.float64]
    centre: NDArray[np.float64]

    def apply(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return moved positions, shape (n, 3)."""
        return (positions - self.centre) @ self.rotation.T + (self.centre + self.shift)

    @property
    def angle(self) -> float:
        """Return the angle of rotation in degrees."""
        return angle_of(self.rotation)

    @property
    def distance(self) -> float:
        """Return the length of the shift in Å."""
        return float(np.linalg.norm(self.shift))


class RigidTarget:
    """−Σ w ρ(r) / Σ w of a body as a function of its rotation vector (times the radius of gyration) and shift, in Å.

    Parameters
    ----------
    density : InterpolatedMap
        The map.
    positions : NDArray[float64], shape (n, 3)
        The body in Å.
    weights : NDArray[float64], shape (n,)
        Weight of each atom, e.g. its atomic number; the centre of mass is made with it.
    """

    def __init__(self, density: InterpolatedMap, positions: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        self.density = density
        self.weights = weights / weights.sum()
        self.centre = self.weights @ positions
        self.arms = positions - self.centre
        self.radius = max(float(np.sqrt(self.weights @ (self.arms**2).sum(axis=1))), 1.0)
        self._slopes = np.empty_like(self.arms)

    def __call__(self, x: NDArray[np.float64], gradient: NDArray[np.float64]) -> float:
        """Return the energy at x, shape (6,), and overwrite `gradient`."""
        motion = self.motion(x)
        arms = self.arms @ motion.rotation.T
        self._slopes[:] = 0.0
        energy = self.density.energy_and_gradient(arms + (self.centre + motion.shift), self.weights, self._slopes)
        torque = np.cross(arms, self._slopes).sum(axis=0)
        gradient[:3] = left_jacobian(x[:3] / self.radius).T @ torque / self.radius
        gradient[3:] = self._slopes.sum(axis=0)
        return energy

    def motion(self, x: NDArray[np.float64]) -> RigidMotion:
        """Return the motion that the variables stand for."""
        return RigidMotion(rotation_by(x[:3] / self.radius), x[3:].copy(), self.centre)


def left_jacobian(rotation_vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return J with R(v + dv) = R(J dv) R(v) to first order (Chirikjian 2012, Stochastic Models on Lie Groups, 10.86)."""
    angle2 = float(rotation_vector @ rotation_vector)
    x, y, z = rotation_vector
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    if angle2 < 1e-8:
        first, second = 0.5 - angle2 / 24.0, 1.0 / 6.0 - angle2 / 120.0
    else:
        angle = np.sqrt(angle2)
        first, second = (1.0 - np.cos(angle)) / angle2, (angle - np.sin(angle)) / (angle2 * angle)
    return np.eye(3) + first * cross + second * (cross @ cross)


@dataclass(frozen=True, slots=True, eq=False)
class BlurredMaps:
    """One map at rising resolution, ready for interpolation.

    Attributes
    ----------
    resolutions : tuple[float, ...]
        Å, falling.
    maps : tuple[InterpolatedMap, ...]
        Each with mean 0 and standard deviation 1.
    """

    resolutions: tuple[float, ...]
    maps: tuple[InterpolatedMap, ...]

    @classmethod
    def of(cls, density: Density, resolutions: Sequence[float], *, finest: float) -> BlurredMaps:
        """Blur a map to each resolution; the map itself, which is as good as `finest` (Å), comes last."""
        limits = limits_within(density.dims, density.cell, 1.0 / min(resolutions))
        terms = forward(density.values, limits)
        blurred = [prepare(blurred_map(terms, density, d)) for d in resolutions]
        return cls((*resolutions, finest), (*blurred, prepare(density)))


def low_resolutions(resolution: float) -> tuple[float, ...]:
    """Return the resolutions (Å) of the blurred passes for a map of this resolution."""
    last = max(resolution, FINE_RESOLUTION)
    return (*(d for d in LOW_RESOLUTIONS if d > last), last)


def move_rigidly(
    positions: NDArray[np.float64], weights: NDArray[np.float64], maps: BlurredMaps, *, first: int = 0, last: int | None = None
) -> tuple[NDArray[np.float64], float]:
    """Move a body into the density, pass by pass.

    Parameters
    ----------
    positions : NDArray[float64], shape (n, 3)
        The body in Å.
    weights : NDArray[float64], shape (n,)
        Weight of each atom.
    maps : BlurredMaps
        The map at rising resolution.
    first, last : int
        The passes to do, as in a slice.

    Returns
    -------
    positions : NDArray[float64], shape (n, 3)
        The moved body.
    density : float
        Weighted mean of the last map at its atoms, in standard deviations.
    """
    every = -(-len(positions) // MAX_ATOMS)
    mean = 0.0
    for resolution, density in list(zip(maps.resolutions, maps.maps, strict=True))[first:last]:
        target = RigidTarget(density, positions[::every], weights[::every])
        found = minimise(target, np.zeros(6), max_iterations=STEPS, max_shift=LARGEST_STEP * resolution)
        positions = target.motion(found.x).apply(positions)
        mean = -found.energy
    return positions, mean


def best_rigid_move(
    positions: NDArray[np.float64], weights: NDArray[np.float64], maps: BlurredMaps, *, first: int = 0
) -> tuple[NDArray[np.float64], float]:
    """Move a body as `move_rigidly` does, beginning with each pass from `first` on, and return the best outcome.

    A low first pass pulls from far, but a part of a larger assembly drifts in it into its neighbours' density;
    a fine one stays near.
    """
    outcomes = [move_rigidly(positions, weights, maps, first=level) for level in range(first, len(maps.maps))]
    return max(outcomes, key=lambda outcome: outcome[1])


def motion_between(before: NDArray[np.float64], after: NDArray[np.float64]) -> RigidMotion:
    """Return the rigid motion that brings positions (n, 3) best onto others, about their centre (Kabsch)."""
    centre = before.mean(axis=0)
    rotation, _ = kabsch(before, after)
    return RigidMotion(rotation, after.mean(axis=0) - centre, centre)
