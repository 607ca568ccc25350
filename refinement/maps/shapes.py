"""Atoms seen by electrons at a resolution, as sums of a few common shapes.

A target that compares whole maps needs the map blurred by the shape of every atom, that is by its element and its
B factor (Afonine et al. 2018, Acta Cryst. D74, 531-544, appendix A). Cut at the resolution these shapes differ so
little that each is a combination of two to five: the leading singular vectors of all of them. Nothing is put into
classes of B, so a target made with them has no steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refinement.maps.scattering import B_RANGE, scattering_factors

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLES = 128
"""Samples of a shape between 0 and the resolution, evenly spaced in s²; shapes are smooth in it."""
TOLERANCE = 1e-2
"""Largest error of a shape as a fraction of itself, root mean square over the terms of a map."""
MAX_SHAPES = 8
B_STEP = 0.02
"""Shapes whose log B differ by less than this are looked at once when the common ones are sought."""
BLOCK = 100_000
"""Atoms whose shapes are in memory at one time."""


@dataclass(frozen=True, slots=True, eq=False)
class CommonShapes:
    """Shapes, and what each atom takes of them: f(s) of atom n is Σ_k share[n, k] · shapes[k](s).

    Attributes
    ----------
    share : NDArray[float64], shape (n_atoms, n_shapes)
        Includes the occupancy.
    shapes : NDArray[float64], shape (n_shapes, SAMPLES)
        Sampled at evenly spaced s² from 0 to 1/d_min².
    d_min : float
        Resolution in Å.
    """

    share: NDArray[np.float64]
    shapes: NDArray[np.float64]
    d_min: float

    def at(self, s2: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the shapes at squared frequencies (1/Å²), shape (n_shapes, *s2.shape); 0 beyond the resolution."""
        nodes = np.linspace(0.0, 1.0 / self.d_min**2, SAMPLES)
        found = [np.interp(s2.ravel(), nodes, shape, right=0.0).astype(np.float32) for shape in self.shapes]
        return np.stack(found).reshape(len(self.shapes), *s2.shape)


def common_shapes(
    elements: NDArray[np.uint8],
    b_iso: NDArray[np.float64],
    occupancy: NDArray[np.float64],
    d_min: float,
    *,
    tolerance: float = TOLERANCE,
) -> CommonShapes:
    """Find the common shapes of atoms.

    Parameters
    ----------
    elements : NDArray[uint8], shape (n,)
        Atomic numbers.
    b_iso : NDArray[float64], shape (n,)
        Å².
    occupancy : NDArray[float64], shape (n,)
        Occupancies.
    d_min : float
        Resolution in Å.
    tolerance : float
        Largest error of a shape as a fraction of itself.
    """
    s2 = np.linspace(0.0, 1.0 / d_min**2, SAMPLES)
    b_iso = np.clip(b_iso, *B_RANGE)
    spread = np.rint(np.log(b_iso - B_RANGE[0] + 1.0) / B_STEP).astype(np.int64)
    _, first = np.unique(np.stack([elements.astype(np.int64), spread]), axis=1, return_index=True)
    # between s² and s² + ds² there are 2π s ds² terms
    root = np.sqrt(np.sqrt(s2) / np.sqrt(s2).sum())
    root[0] = 0.5 * root[1]
    examples = _shapes(elements[first], b_iso[first], s2) * root
    examples /= np.linalg.norm(examples, axis=1)[:, None]
    _, _, right = np.linalg.svd(examples, full_matrices=False)
    count = 1
    while count < min(MAX_SHAPES, len(right)):
        rest = examples - examples @ right[:count].T @ right[:count]
        if np.linalg.norm(rest, axis=1).max() < tolerance:
            break
        count += 1
    share = np.empty((len(elements), count))
    for start in range(0, len(elements), BLOCK):
        part = slice(start, start + BLOCK)
        share[part] = (_shapes(elements[part], b_iso[part], s2) * root) @ right[:count].T
    return CommonShapes(share * occupancy[:, None], right[:count] / root, d_min)


def _shapes(elements: NDArray[np.uint8], b_iso: NDArray[np.float64], s2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scattering factors at s² (1/Å²), shape (n_atoms, n_s2)."""
    a, b = scattering_factors(elements)
    found = np.zeros((len(elements), len(s2)))
    for k in range(a.shape[1]):
        found += a[:, k, None] * np.exp(-0.25 * (b[:, k] + b_iso)[:, None] * s2)
    return found
