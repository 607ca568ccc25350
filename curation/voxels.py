"""What the voxels of the maps say: masked or not, half-maps that are none, and a model that fits a changed map better.

Large maps are judged by an even sample of their voxels, so that the primary map and both half-maps are never in memory
together. The fit is judged at points in and around the model, where the model's density is known without making a map.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from curation.facts import FitFacts, HalfMapFacts, VoxelFacts
from refinement.maps.interpolation import trilinear

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.structure import Structure

SAMPLE = 1_000_000
"""Voxels of an even sample."""
EQUAL = 0.999999
"""Correlation from which two maps are one and the same, rescaled or rounded at most."""
ATOMS = 5000
"""Atoms at and around which the fit is judged; larger models are sampled evenly."""
LEAST_ATOMS = 100
"""A correlation over fewer says little."""
SHELL = (1.5, 5.0)
"""Å; every point at an atom has another one this far away, so that the correlation sees the fall to the solvent."""
WIDTH = 0.225
"""Gaussian width of an atom as a fraction of the resolution, as usual for simulated maps."""
LEAST_WIDTH = 0.8
NEIGHBOURS = 48
USUAL_RESOLUTION = 4.0
"""Å; taken where the files give none."""
SCALES = 0.06
"""Largest relative error of the grid steps that is looked for."""
MOST_STEPS = 60


def sample_voxels(density: Density) -> NDArray[np.float32]:
    """Return about a million voxels, spread evenly; maps of one shape give the same voxels."""
    values = density.values.reshape(-1)
    step = max(1, values.size // SAMPLE)
    while step > 1 and math.gcd(step, density.dims[2]) > 1:
        step += 1
    return values[::step].copy()


def primary_facts(density: Density, structure: Structure | None, resolution: float | None) -> VoxelFacts:
    """Return what the voxels of the primary map say, alone and with the model.

    Parameters
    ----------
    density : Density
        The primary map.
    structure : Structure or None
        The model as deposited.
    resolution : float or None
        Resolution in Å.
    """
    sample = sample_voxels(density)
    corners = density.values[:: density.dims[0] - 1 or 1, :: density.dims[1] - 1 or 1, :: density.dims[2] - 1 or 1]
    candidates = {0.0, *corners.reshape(-1).tolist()}
    return VoxelFacts(
        minimum=float(density.values.min()),
        maximum=float(density.values.max()),
        mean=float(sample.mean(dtype=np.float64)),
        sd=float(sample.std(dtype=np.float64)),
        commonest=max(float((sample == np.float32(value)).mean()) for value in candidates),
        fit=fit_facts(density, structure, resolution) if structure is not None else None,
    )


def compare_half_maps(
    primary: NDArray[np.float32], halves: Sequence[NDArray[np.float32]], names: Sequence[str]
) -> HalfMapFacts | None:
    """Compare samples of two half-maps with each other and with that of the primary map; None if they can't be compared.

    Where the primary map and a half-map were exchanged, the half-map is the mean of the primary map and the other half.
    """
    first, second = halves
    if not primary.shape == first.shape == second.shape:
        return None
    between = _correlation(first, second)
    with_primary = (_correlation(first, primary), _correlation(second, primary))
    identical = between >= EQUAL
    full = None
    if not identical:
        for name, half, other, value in zip(names, halves, halves[::-1], with_primary, strict=True):
            if value >= EQUAL or _correlation(half, primary + other) >= EQUAL:
                full = name
                break
    return HalfMapFacts(identical, full, between, with_primary)


def fit_facts(density: Density, structure: Structure, resolution: float | None) -> FitFacts | None:
    """Return how well the model follows the map as it is, with other grid steps, and mirrored.

    Parameters
    ----------
    density : Density
        The primary map.
    structure : Structure
        The model; atoms outside the map are left out.
    resolution : float or None
        Resolution in Å.

    Returns
    -------
    FitFacts or None
        None with fewer than `LEAST_ATOMS` atoms in the map.
    """
    chosen = ~structure.is_hydrogen & density.contains(structure.positions)
    if int(chosen.sum()) < LEAST_ATOMS:
        return None
    atoms = structure.positions[chosen]
    resolution = resolution or USUAL_RESOLUTION
    points = _points(atoms)
    expected = _model_density(points, atoms, structure.elements[chosen].astype(np.float64), resolution)

    def fit(moved: NDArray[np.float64]) -> float:
        return _correlation(expected, trilinear(density, moved))

    scale, scaled, step = _best_scale(density, points, atoms, resolution, fit)
    mirror, mirrored = _best_mirror(density, points, fit)
    return FitFacts(fit(points), scale, scaled, step, mirror, mirrored)


def _points(atoms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the positions of an even sample of the atoms, and as many points around them."""
    centres = atoms[np.unique(np.linspace(0, len(atoms) - 1, ATOMS).astype(np.int64))]
    rng = np.random.default_rng(0)
    directions = rng.normal(size=centres.shape)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.concatenate([centres, centres + directions * rng.uniform(*SHELL, size=(len(centres), 1))])


def _model_density(
    points: NDArray[np.float64], atoms: NDArray[np.float64], weights: NDArray[np.float64], resolution: float
) -> NDArray[np.float64]:
    """Return a sum of Gaussians, one for each atom and as high as its atomic number, at points."""
    width = max(WIDTH * resolution, LEAST_WIDTH)
    tree = cKDTree(atoms)
    distance, index = tree.query(points, k=min(NEIGHBOURS, len(atoms)), distance_upper_bound=4 * width)
    padded = np.append(weights, 0.0)
    return np.asarray((padded[index] * np.exp(-0.5 * (distance / width) ** 2)).sum(axis=1))


def _best_scale(
    density: Density,
    points: NDArray[np.float64],
    atoms: NDArray[np.float64],
    resolution: float,
    fit: Callable[[NDArray[np.float64]], float],
) -> tuple[float, float, float]:
    """Return the factor of the grid steps that fits best, its correlation, and the step of the scan.

    A model that was built into the right map has kept its place in the frame; one that was fitted into the wrong map
    has kept its middle. Both are tried.
    """
    centre = atoms.mean(axis=0)
    best = (1.0, fit(points))
    for fixed in (centre, density.corner, np.zeros(3)):
        step = _scale_step(atoms, fixed, resolution)
        for k in range(1, int(SCALES / step) + 1):
            for scale in (1 - k * step, 1 + k * step):
                value = fit(fixed + (points - fixed) / scale)
                if value > best[1]:
                    best = (scale, value)
    return (*best, _scale_step(atoms, centre, resolution))


def _scale_step(atoms: NDArray[np.float64], fixed: NDArray[np.float64], resolution: float) -> float:
    """Return the change of scale that moves the atoms far from a fixed point by a quarter of the resolution."""
    reach = float(np.percentile(np.linalg.norm(atoms - fixed, axis=1), 95))
    return max(resolution / (4 * max(reach, 1.0)), SCALES / MOST_STEPS)


def _best_mirror(density: Density, points: NDArray[np.float64], fit: Callable[[NDArray[np.float64]], float]) -> tuple[str, float]:
    """Return the axis along which the mirrored map fits best, and its correlation.

    Programs mirror about the middle of the box or about the grid point that the Fourier transform takes for it.
    """
    grid = density.grid_coordinates(points)
    best = ("", -1.0)
    for axis, name in enumerate("xyz"):
        for last in (density.dims[axis] - 1, density.dims[axis]):
            turned = grid.copy()
            turned[:, axis] = last - turned[:, axis]
            value = fit(density.corner + turned @ density.step_matrix.T)
            if value > best[1]:
                best = (name, value)
    return best


def _correlation(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return Pearson's coefficient; 0 where either doesn't vary."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    a -= a.mean()
    b -= b.mean()
    norm = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / norm if norm > 0 else 0.0
