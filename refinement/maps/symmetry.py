"""Whether a map obeys given operators, and the map averaged over them.

Values at the atoms, and at points beside them, are correlated with those at their images. Where symmetry was imposed
in the reconstruction they agree but for interpolation; independent copies of the same molecule agree as well as their
noise lets them. `refinement.maps.symmetry_search` looks for symmetry without a model.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from refinement.maps.interpolation import prepare, value_at
from refinement.threads import in_parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.maps.interpolation import InterpolatedMap
    from refinement.operators import Operators

    Floats = NDArray[np.float64]

SAMPLED = 3000
"""Atoms at which density is compared; the error of the correlation is then below 0.02 whatever it is."""
AROUND = 1.5
"""Å from an atom to the points beside it that are compared too: shape counts, not the height of peaks alone."""
BESIDE = 2
"""Such points of each atom."""


def agreement(density: InterpolatedMap, operators: Operators, positions: Floats) -> Floats:
    """Return how well the density at and around atoms correlates with that at their images, one number per operator.

    Parameters
    ----------
    density : InterpolatedMap
        The map.
    operators : Operators
        All are tested, the identity too if it is among them.
    positions : NDArray[float64], shape (n, 3)
        Atoms, Å; about `SAMPLED` of them are used.
    """
    points = beside(positions[:: -(-len(positions) // SAMPLED)])
    here = density.values(points)
    return np.array([correlation(here, density.values(operators.apply(k, points))) for k in range(len(operators))])


def local_agreement(
    density: InterpolatedMap, operators: Operators, positions: Floats, group: NDArray[np.integer], n_groups: int
) -> Floats:
    """Return the same for groups of atoms, shape (number of operators, n_groups); NaN where a group has no atoms.

    Parameters
    ----------
    density, operators, positions
        As for `agreement`; all atoms are used.
    group : NDArray[int], shape (n,)
        Group of each atom, e.g. its residue.
    n_groups : int
        Number of groups.
    """
    points, owner = beside(positions), np.tile(group, BESIDE + 1)
    here = density.values(points)
    return np.array(
        [_grouped_correlation(here, density.values(operators.apply(k, points)), owner, n_groups) for k in range(len(operators))]
    )


def beside(positions: Floats) -> Floats:
    """Return positions (n, 3) and after them points beside each, always the same ones; shape (n · (`BESIDE` + 1), 3)."""
    rng = np.random.default_rng(0)
    parts = [positions]
    for _ in range(BESIDE):
        direction = rng.normal(size=positions.shape)
        parts.append(positions + AROUND * direction / np.linalg.norm(direction, axis=1)[:, None])
    return np.concatenate(parts)


def correlation(first: Floats, second: Floats) -> float:
    """Return Pearson's correlation of two sets of values, 0 where one doesn't vary."""
    a, b = first - first.mean(), second - second.mean()
    return float((a * b).sum() / max(math.sqrt(float((a**2).sum() * (b**2).sum())), 1e-30))


def _grouped_correlation(first: Floats, second: Floats, group: NDArray[np.integer], n_groups: int) -> Floats:
    """Return the correlation within each group, NaN where nothing varies."""

    def total(values: Floats) -> Floats:
        return np.bincount(group, weights=values, minlength=n_groups).astype(np.float64)

    count = np.maximum(np.bincount(group, minlength=n_groups), 1)
    a, b = first - (total(first) / count)[group], second - (total(second) / count)[group]
    scale = np.sqrt(total(a * a) * total(b * b))
    found: Floats = np.where(scale > 0.0, total(a * b) / np.where(scale > 0.0, scale, 1.0), np.nan)
    return found


def averaged(
    density: Density, operators: Operators, region: NDArray[np.bool_], *, into: Density | None = None, threads: int = 1
) -> Density:
    """Return a map whose values in a region are the means over the images of each point.

    Parameters
    ----------
    density : Density
        The map that the images are looked up in; those outside its box don't count.
    operators : Operators
        The identity among them.
    region : NDArray[bool], shape of `into`
        Grid points that are averaged.
    into : Density, optional
        The map to change, on the grid that is wanted; `density` itself by default.
    threads : int
        Threads; the values don't depend on it.
    """
    into = into or density
    rows = np.flatnonzero(region.ravel())
    grid = np.stack(np.unravel_index(rows, region.shape), axis=1)
    points = into.corner + grid @ into.step_matrix.T
    field = prepare(density, normalise=False)
    means = np.empty(len(points))

    def part(first: int, end: int) -> None:
        _means(
            points[first:end], operators.rotation, operators.shift, field.coefficients, field.grid_matrix, field.corner,
            field.basis, np.array(density.dims), means[first:end],
        )  # fmt: skip

    in_parts(threads, len(points), part)
    values = into.values.copy()
    values.ravel()[rows] = means
    return replace(into, values=values)


@njit(cache=True, nogil=True, error_model="numpy")
def _means(
    points: Floats, rotation: Floats, shift: Floats, coefficients: NDArray[np.float32], grid_matrix: Floats, corner: Floats,
    basis: int, dims: NDArray[np.int64], means: Floats,
) -> None:  # fmt: skip
    """Set means[n] to the mean of the map over the images of point n that lie in its box, 0 if none does."""
    image, place = np.empty(3), np.empty(3)
    for n in range(len(points)):
        total, count = 0.0, 0
        for k in range(len(shift)):
            for i in range(3):
                image[i] = shift[k, i]
                for j in range(3):
                    image[i] += rotation[k, i, j] * points[n, j]
            inside = True
            for i in range(3):
                place[i] = 0.0
                for j in range(3):
                    place[i] += grid_matrix[i, j] * (image[j] - corner[j])
                inside &= -1e-6 <= place[i] <= dims[i] - 1 + 1e-6
            if inside:
                total += value_at(image, coefficients, grid_matrix, corner, basis)
                count += 1
        means[n] = total / max(count, 1)
