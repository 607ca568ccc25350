"""Data targets that compare the whole map of the model with the observed one.

`LeastSquares` is target (4) of Afonine et al. 2018 (Acta Cryst. D74, 531-544), with each shell of Fourier terms at its
own scale and weighted by what the model leaves unexplained there: Σ |Fo - D Fc|² / S, the likelihood of Yamashita et al.
2021 (Acta Cryst. D77, 1282-1291) with D and S taken from the model at the start. `Overlap` is target (5), Σ ρ_calc ρ_tar:
the same without the model's own square, which costs no transforms, but moves atoms towards their neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from refinement.maps.fourier import on_grid
from refinement.maps.mesh import Mesh
from refinement.maps.shapes import common_shapes
from refinement.moves.side_chain_search import KERNEL_STEP

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.maps.shapes import CommonShapes
    from refinement.structure import Structure

POINTS = 2.5
"""Mesh points within the resolution; the model's map is then right to about 2 %, most of it in the finest shell."""
FINE_POINTS, FINE_TOLERANCE = 4.0, 1e-3
"""The same, and the error of shapes, where the model explains the map so well that 2 % would show."""
TERMS_IN_SHELL = 200
"""At least; scales of shells with fewer terms would be fitted to noise."""
MAX_SHELLS = 30
LEAST_UNEXPLAINED, LEAST_POWER = 1e-3, 1e-5
"""A shell leaves at least the first part of its own power unexplained, or a perfect one would decide alone, and the second of
the mean power of all shells: fainter ones are rounding."""
KERNEL_BINS, KERNEL_REACH = 128, 16.0
"""Bins of equal width in 1/d, and Å; no two atoms of a side chain's old and new place are farther apart."""
ATOM_VOLUME = 20.0
"""Å³ that an atom of a molecule takes with its hydrogens; the rest of the box tells nothing about it."""


@dataclass(frozen=True, slots=True, eq=False)
class ShellScales:
    """Scale and weight of each shell.

    Attributes
    ----------
    scale : NDArray[float64], shape (n_shells,)
        D: regression of the observed terms on those of the model, not below 0.
    unexplained : NDArray[float64], shape (n_shells,)
        S: mean of |Fo - D Fc|².
    correlation : NDArray[float64], shape (n_shells,)
        Of observed terms and those of the model.
    """

    scale: NDArray[np.float64]
    unexplained: NDArray[np.float64]
    correlation: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Unexplained:
    """What a model leaves unexplained.

    Attributes
    ----------
    gain : Density
        Energy that a unit of weight gains at each point, to first order.
    kernel : NDArray[float64], shape (k,)
        The second order: energy of two units at a distance, in steps of `KERNEL_STEP`.
    """

    gain: Density
    kernel: NDArray[np.float64]


class LeastSquares:
    """Weighted least squares between the map and that of the model; a term of `refinement.target.Target`.

    The energy is that of the likelihood, without its constant: it needs no weight where S is the noise of
    independent terms and the model is complete. `weight` scales it where these don't hold.

    Parameters
    ----------
    structure : Structure
        The model without hydrogens; its B factors and occupancies stay, its positions give D and S.
    density : Density
        The map around it.
    d_min : float
        Resolution in Å.
    fine : bool
        Mesh and shapes for models that explain nearly everything.
    threads : int
        Threads of the transforms; the values don't depend on it.
    """

    def __init__(
        self, structure: Structure, density: Density, d_min: float, *, weight: float = 1.0, fine: bool = False, threads: int = 1
    ) -> None:
        self.weight = weight
        self.mesh = Mesh.of(density, d_min, points=FINE_POINTS if fine else POINTS, threads=threads)
        shapes = _shapes_of(structure, self.mesh.d_min, FINE_TOLERANCE if fine else None)
        self._share = shapes.share
        filters = self.mesh.filters(shapes)
        self._meshes = self.mesh.room(len(filters))
        observed = self.mesh.terms_of(density)
        multiplicity = self.mesh.multiplicity()
        shell = _shells(self.mesh)
        model = self.mesh.spread(structure.positions, self._share, filters, self._meshes)
        self.scales = shell_scales(observed, model, shell, multiplicity)
        inside = np.minimum(shell, len(self.scales.scale) - 1)
        root = np.where(shell < len(self.scales.scale), 1.0 / np.sqrt(self.scales.unexplained)[inside], 0.0)
        self._observed = observed * root.astype(np.float32)
        self._filters = filters * (root * self.scales.scale[inside]).astype(np.float32)
        self._multiplicity = multiplicity

    def energy_and_gradient(self, positions: NDArray[np.float64], gradient: NDArray[np.float64]) -> float:
        """Return the energy at positions (n, 3), and add its derivatives to `gradient`."""
        model = self.mesh.spread(positions, self._share, self._filters, self._meshes)
        shared = _sum(model.real * self._observed.real + model.imag * self._observed.imag, self._multiplicity)
        own = _sum(model.real**2 + model.imag**2, self._multiplicity)
        np.subtract(self._observed, model, out=model)
        self.mesh.blur(model, self._filters, self._meshes)
        # the transform back divides by the number of points
        self.mesh.read(positions, self._share, self._meshes, -2.0 * self.weight * self.mesh.size, gradient)
        return self.weight * (own - 2.0 * shared)

    def curvature(self) -> NDArray[np.float64]:
        """Return the second derivative of each atom's own part, per axis, without `weight`, shape (n,) in 1/Å²."""
        s2 = self.mesh.squared_frequencies() * self._multiplicity
        x, y, z = (np.square((2.0 + np.cos(2.0 * np.pi * np.arange(n) / n)) / 3.0) for n in self.mesh.dims)
        s2 *= x[:, None, None] * y[:, None] * z[: self.mesh.dims[2] // 2 + 1]
        count = len(self._filters)
        products = np.empty((count, count))
        for i in range(count):
            for j in range(i + 1):
                products[i, j] = products[j, i] = float((s2 * self._filters[i] * self._filters[j]).sum())
        return np.asarray(8.0 * math.pi**2 / 3.0 * np.einsum("ni,ij,nj->n", self._share, products, self._share))

    def unexplained(self, positions: NDArray[np.float64], weights: NDArray[np.float64], density: Density) -> Unexplained:
        """Return what atoms leave unexplained, as the gain in energy of what is added to them.

        Parameters
        ----------
        positions : NDArray[float64], shape (n, 3)
            Of all atoms, Å.
        weights : NDArray[float64], shape (n,)
            What each counts; their mean shape per unit of it is the shape of what is added.
        density : Density
            Its grid is taken; the box is that of the mesh.
        """
        mesh = self.mesh
        rest = self._observed - mesh.spread(positions, self._share, self._filters, self._meshes)
        unit = self._share[weights > 0.0].sum(axis=0) / weights[weights > 0.0].sum()
        x, y, z = ((2.0 + np.cos(2.0 * np.pi * np.arange(n) / n)) / 3.0 for n in mesh.dims)
        spline = x[:, None, None] * y[:, None] * z[: mesh.dims[2] // 2 + 1]
        shape = np.tensordot(unit, self._filters, axes=1) * spline  # without what is for the mesh's splines
        values = fft.irfftn(on_grid(rest * shape.astype(np.float32), mesh.dims, density.dims), s=density.dims)
        s = np.sqrt(mesh.squared_frequencies())
        bins = np.minimum((s * mesh.d_min * KERNEL_BINS).astype(np.int64), KERNEL_BINS).ravel()
        power = np.bincount(bins, weights=(shape**2 * self._multiplicity).ravel(), minlength=KERNEL_BINS + 1)[:KERNEL_BINS]
        middle = (np.arange(KERNEL_BINS) + 0.5) / (KERNEL_BINS * mesh.d_min)
        distance = np.arange(0.0, KERNEL_REACH, KERNEL_STEP)
        kernel = np.asarray(self.weight * (np.sinc(2.0 * distance[:, None] * middle) @ power), dtype=np.float64)
        gain = (2.0 * self.weight * mesh.size) * values
        return Unexplained(replace(density, values=np.ascontiguousarray(gain, dtype=np.float32)), kernel)

    def occupied(self) -> float:
        """Return the fraction of the box that the model fills: of all terms, that many are independent and tell of it."""
        return min(1.0, len(self._share) * ATOM_VOLUME / float(self.mesh.cell.volume))


class Overlap:
    """The overlap of the map with that of the model, -Σ ρ_calc ρ_tar; a term of `refinement.target.Target`.

    Parameters are those of `LeastSquares`; `weight` multiplies the sum over the points of the mesh. The blurred maps
    are made once.
    """

    def __init__(self, structure: Structure, density: Density, d_min: float, *, weight: float = 1.0, threads: int = 1) -> None:
        self.weight = weight
        self.mesh = Mesh.of(density, d_min, points=FINE_POINTS, threads=threads)
        shapes = _shapes_of(structure, self.mesh.d_min, None)
        self._share = shapes.share
        filters = self.mesh.filters(shapes)
        self._meshes = self.mesh.room(len(filters))
        self.mesh.blur(self.mesh.terms_of(density), filters, self._meshes)

    def energy_and_gradient(self, positions: NDArray[np.float64], gradient: NDArray[np.float64]) -> float:
        """Return the energy at positions (n, 3), and add its derivatives to `gradient`."""
        return self.mesh.read(positions, self._share, self._meshes, -self.weight, gradient)


def shell_scales(
    observed: NDArray[np.complex64], model: NDArray[np.complex64], shell: NDArray[np.int64], multiplicity: NDArray[np.float64]
) -> ShellScales:
    """Return the scale of each shell and what it leaves unexplained.

    Parameters
    ----------
    observed, model : NDArray[complex64], shape (nx, ny, nz // 2 + 1)
        Terms.
    shell : NDArray[int64]
        Number of each term's shell; the largest number stands for terms that belong to none.
    multiplicity : NDArray[float64], shape (nz // 2 + 1,)
        How many terms each stands for.
    """
    count = int(shell.max())

    def total(values: NDArray[np.floating]) -> NDArray[np.float64]:
        weighted = (values * multiplicity).ravel()
        return np.asarray(np.bincount(shell.ravel(), weights=weighted, minlength=count + 1)[:count], dtype=np.float64)

    terms = np.maximum(total(np.ones(observed.shape)), 1.0)
    shared = total(observed.real * model.real + observed.imag * model.imag)
    own = total(model.real**2 + model.imag**2)
    power = total(observed.real**2 + observed.imag**2)
    scale = np.maximum(shared, 0.0) / np.maximum(own, 1e-30)
    rest = (power - 2.0 * scale * shared + scale**2 * own) / terms
    floor = np.maximum(LEAST_UNEXPLAINED * power / terms, LEAST_POWER * float(power.sum() / terms.sum()))
    correlation = shared / np.sqrt(np.maximum(own * power, 1e-30))
    return ShellScales(scale, np.maximum(rest, np.maximum(floor, 1e-30)), correlation)


def _shapes_of(structure: Structure, d_min: float, tolerance: float | None) -> CommonShapes:
    more = {} if tolerance is None else {"tolerance": tolerance}
    return common_shapes(structure.elements, structure.b_iso, structure.occupancy, d_min, **more)


def _shells(mesh: Mesh) -> NDArray[np.int64]:
    """Return the number of each term's shell; shells hold equally many terms, as far as a sphere can be cut like that."""
    s2 = mesh.squared_frequencies()
    inside = (s2 * mesh.d_min**2 <= 1.0) & (s2 > 0.0)
    count = int(np.clip((inside * mesh.multiplicity()).sum() / TERMS_IN_SHELL, 1, MAX_SHELLS))
    part = (s2 * mesh.d_min**2) ** 1.5 * count
    return np.where(inside, np.minimum(part.astype(np.int64), count - 1), count)


def _sum(values: NDArray[np.float32], multiplicity: NDArray[np.float64]) -> float:
    return float((values.sum(axis=(0, 1), dtype=np.float64) * multiplicity).sum())
