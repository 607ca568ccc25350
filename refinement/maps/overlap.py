"""The exact real-space target without a model map: blurred maps at the atoms, and the overlap of atoms with each other.

The least-squares residual of map and model map is, but for a constant,

    −2κ Σ_m ∫ρ_o ρ_m + κ² Σ_mn ∫ρ_m ρ_n .

The first integral is the value at the atom's centre of the map blurred by the atom's own shape (Afonine et al. 2018,
Acta Cryst. D74, 531-544, appendix A), so a few maps, one for each class of B factor, give it for all atoms. The
second is a function of the distance of two atoms alone. Unlike the density at the centres, this target doesn't draw
neighbouring atoms together into the middle of a common peak. Nothing has to be summed on a grid while atoms move.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from scipy import fft
from scipy.spatial import cKDTree

from refinement.maps.fourier import cut, reciprocal_metric
from refinement.maps.interpolation import InterpolatedMap, prepare
from refinement.maps.scattering import scattering_factors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.structure import Structure

CLASSES = 8
"""Classes of B: equal numbers of atoms each; the B of a class is the geometric mean."""
REACH = 6.0
"""Å; pairs of atoms farther apart overlap too little to matter."""
MARGIN = 1.0
"""Å; pairs up to this much farther are listed, as atoms move."""
STEPS = 256
"""Steps of the overlap tables, equally wide in distance²."""
CARBON = 6
TAPER = 2.0
"""Å; width over which overlaps are faded out before `REACH`."""
B_LIMITS = (1.0, 600.0)
"""Å²."""


@dataclass(frozen=True, slots=True, eq=False)
class LeastSquaresTarget:
    """The exact target, made ready for one model's B factors and for positions near those that it was made with.

    Attributes
    ----------
    maps : list[InterpolatedMap]
        The map blurred by a carbon atom of each class of B, on the scale of a normalised map.
    members : list[NDArray[int64]]
        Atoms of each class.
    amplitude : NDArray[float64], shape (n,)
        Scattering of each atom relative to carbon, times occupancy.
    class_of : NDArray[int64], shape (n,)
        Class of each atom.
    pairs : NDArray[int32], shape (m, 2)
        Atoms that may overlap.
    tables : NDArray[float64], shape (k, k, STEPS + 2)
        κ · overlap of carbon atoms of two classes by distance², on the scale of `maps`.
    """

    maps: list[InterpolatedMap]
    members: list[NDArray[np.int64]]
    amplitude: NDArray[np.float64]
    class_of: NDArray[np.int64]
    pairs: NDArray[np.int32]
    tables: NDArray[np.float64]

    def energy_and_gradient(self, positions: NDArray[np.float64], weight: float, gradient: NDArray[np.float64]) -> float:
        """Return weight · (½κ Σ overlaps − Σ blurred map at the atoms), and add its derivatives by the positions (per Å)."""
        energy = 0.0
        for interpolated, atoms in zip(self.maps, self.members, strict=True):
            part = np.zeros((len(atoms), 3))
            energy += interpolated.energy_and_gradient(positions[atoms], weight * self.amplitude[atoms], part)
            gradient[atoms] += part
        return energy + _overlaps(positions, self.pairs, self.class_of, self.amplitude, self.tables, weight, gradient)


def least_squares_target(structure: Structure, density: Density, d_min: float) -> LeastSquaresTarget:
    """Make the exact target for a model with the B factors it has.

    Parameters
    ----------
    structure : Structure
        The model without hydrogens, near to where it will be minimised.
    density : Density
        The map; its scale doesn't matter.
    d_min : float
        Resolution in Å; terms beyond it don't count.
    """
    b_iso = np.clip(structure.b_iso, B_LIMITS[0], B_LIMITS[1])
    edges = np.quantile(b_iso, np.linspace(0.0, 1.0, CLASSES + 1)[1:-1])
    _, class_of = np.unique(np.searchsorted(edges, b_iso), return_inverse=True)
    members = [np.flatnonzero(class_of == number) for number in range(int(class_of.max()) + 1)]
    b_class = np.array([np.exp(np.log(b_iso[atoms]).mean()) for atoms in members])
    amplitude = structure.occupancy * _relative_scattering(structure.elements, float(np.median(b_iso)), d_min)
    blurred = _blurred(density, b_class, d_min)
    scale = 1.0 / max(float(blurred[len(blurred) // 2].values.std()), 1e-30)
    maps = [prepare(replace(each, values=each.values * np.float32(scale)), normalise=False) for each in blurred]
    tables = np.array([[_overlap_table(b + other, d_min) for other in b_class] for b in b_class])
    pairs = cKDTree(structure.positions).query_pairs(REACH + MARGIN, output_type="ndarray").astype(np.int32)
    made = LeastSquaresTarget(maps, members, amplitude, class_of, pairs, tables)
    return replace(made, tables=tables * _scale_of_model(made, structure.positions))


def _scale_of_model(target: LeastSquaresTarget, positions: NDArray[np.float64]) -> float:
    """Return the κ at which the model explains most of the map; overlaps aren't scaled yet."""
    nothing = np.zeros_like(positions)
    observed = -sum(
        part.energy_and_gradient(positions[atoms], target.amplitude[atoms], nothing[atoms])
        for part, atoms in zip(target.maps, target.members, strict=True)
    )
    between = _overlaps(positions, target.pairs, target.class_of, target.amplitude, target.tables, 1.0, nothing)
    own = float((target.amplitude**2 * target.tables[target.class_of, target.class_of, 0]).sum())
    return max(observed, 0.0) / (2.0 * between + own)


def _relative_scattering(elements: NDArray[np.uint8], b: float, d_min: float) -> NDArray[np.float64]:
    """Return the factor by which an atom of each element resembles a carbon atom best, both with this B."""
    s = np.linspace(0.0, 1.0 / d_min, 200)
    weight = s**2 * np.exp(-0.5 * b * s**2)
    carbon = _factor(CARBON, s)
    kinds, which = np.unique(elements, return_inverse=True)
    ratio = [(weight * carbon * _factor(int(kind), s)).sum() / (weight * carbon**2).sum() for kind in kinds]
    return np.array(ratio)[which]


def _factor(element: int, s: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b = scattering_factors(np.array([element], dtype=np.uint8))
    return np.asarray((a[0] * np.exp(-0.25 * b[0] * s[:, None] ** 2)).sum(axis=1))


def _blurred(density: Density, b_class: NDArray[np.float64], d_min: float) -> list[Density]:
    """Return the map cut at d_min and convoluted with a carbon atom of each B."""
    dims, cell = density.dims, density.cell
    d_min = max(d_min, float(density.voxel.min()))
    terms = fft.rfftn(density.values)
    cut(terms, dims, cell, d_min)
    h, k, m = (np.fft.fftfreq(dims[0], 1 / dims[0]), np.fft.fftfreq(dims[1], 1 / dims[1]), np.arange(dims[2] // 2 + 1.0))
    metric = reciprocal_metric(cell)
    s2 = metric[0, 0] * h[:, None, None] ** 2 + metric[1, 1] * k[:, None] ** 2 + metric[2, 2] * m**2
    s2 += 2.0 * (metric[0, 1] * h[:, None, None] * k[:, None] + metric[0, 2] * h[:, None, None] * m + metric[1, 2] * k[:, None] * m)
    grid = np.linspace(0.0, 1.0 / d_min**2, 2000)
    carbon = _factor(CARBON, np.sqrt(grid))
    out = []
    for b in b_class:
        shape = np.interp(s2, grid, carbon * np.exp(-0.25 * b * grid)).astype(np.float32)
        out.append(replace(density, values=np.asarray(fft.irfftn(terms * shape, s=dims), dtype=np.float32)))
    return out


def _overlap_table(b_sum: float, d_min: float) -> NDArray[np.float64]:
    """Return ∫ρ_m ρ_n of two carbon atoms, cut at d_min, by distance²; it falls to 0 at `REACH`."""
    s = np.linspace(0.0, 1.0 / d_min, 300)
    r = np.sqrt(np.arange(STEPS + 2) * REACH**2 / STEPS)
    power = _factor(CARBON, s) ** 2 * np.exp(-0.25 * b_sum * s**2) * 4.0 * np.pi * s**2
    table = np.trapezoid(power * np.sinc(2.0 * r[:, None] * s), s, axis=1)
    end = np.clip((REACH - r) / TAPER, 0.0, 1.0)
    return table * end**2 * (3.0 - 2.0 * end)


@njit(cache=True, nogil=True, error_model="numpy")
def _overlaps(
    positions: NDArray[np.float64],
    pairs: NDArray[np.int32],
    class_of: NDArray[np.int64],
    amplitude: NDArray[np.float64],
    tables: NDArray[np.float64],
    weight: float,
    gradient: NDArray[np.float64],
) -> float:
    """Return weight · Σ overlap over pairs and add its derivatives; tables are read with linear interpolation of a cubic."""
    energy = 0.0
    steps = tables.shape[2] - 2
    per_step = steps / (REACH * REACH)
    for p in range(len(pairs)):
        i, j = pairs[p, 0], pairs[p, 1]
        x, y, z = positions[i, 0] - positions[j, 0], positions[i, 1] - positions[j, 1], positions[i, 2] - positions[j, 2]
        t = (x * x + y * y + z * z) * per_step
        if not t < steps:
            continue
        m = int(t)
        table = tables[class_of[i], class_of[j]]
        factor = weight * amplitude[i] * amplitude[j]
        rise = table[m + 1] - table[m]
        energy += factor * (table[m] + (t - m) * rise)
        slope = 2.0 * factor * per_step * rise
        gradient[i, 0] += slope * x
        gradient[i, 1] += slope * y
        gradient[i, 2] += slope * z
        gradient[j, 0] -= slope * x
        gradient[j, 1] -= slope * y
        gradient[j, 2] -= slope * z
    return energy
