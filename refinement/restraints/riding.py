"""Riding hydrogens: positions that are exact functions of the heavy atoms.

A frame is the parent and up to three other heavy atoms. Three shapes cover all of chemistry:

* ``TETRAHEDRAL`` parent with three neighbours: along ``a u1 + b u2 + c u3``;
* ``BRIDGE`` parent with two: ``p v + q n`` with v along ``a u1 + b u2`` and n along ``u1 x u2``;
* ``TERMINAL`` parent with one: bond angle α at the parent, torsion φ about the bond to it.

u_k are unit vectors from the parent to its neighbours. The gradient of the hydrogens is folded onto the
heavy atoms by the exact chain rule of the same formulas.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int32]
    Bytes = NDArray[np.uint8]

TETRAHEDRAL, BRIDGE, TERMINAL = 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Riding:
    """Frames of all hydrogens of a model.

    Attributes
    ----------
    hydrogen : NDArray[int32], shape (h,)
        The atoms placed.
    frame : NDArray[int32], shape (h, 4)
        Parent and reference atoms, all heavy; -1 where a shape needs fewer.
    shape : NDArray[uint8], shape (h,)
        `TETRAHEDRAL`, `BRIDGE` or `TERMINAL`.
    coefficients : NDArray[float64], shape (h, 4)
        (a, b, c, -), (a, b, p, q) or (cos α, sin α, φ, -), φ in radians.
    length : NDArray[float64], shape (h,)
        Distance to the parent in Å.
    rotor : NDArray[int32], shape (h,)
        Group of hydrogens that turn together about a bond, -1 for none.
    rotor_kind : NDArray[uint8], shape (number of rotors,)
        How freely each turns, see `refinement.restraints.rotors`.
    """

    hydrogen: NDArray[np.int32]
    frame: NDArray[np.int32]
    shape: NDArray[np.uint8]
    coefficients: NDArray[np.float64]
    length: NDArray[np.float64]
    rotor: NDArray[np.int32]
    rotor_kind: NDArray[np.uint8]

    def turned(self, angles: NDArray[np.float64]) -> Riding:
        """Return the frames with every rotor turned by its angle (radians, shape (number of rotors,))."""
        coefficients = self.coefficients.copy()
        turning = self.rotor >= 0
        coefficients[turning, 2] += angles[self.rotor[turning]]
        return replace(self, coefficients=coefficients)


def place(riding: Riding, positions: NDArray[np.float64]) -> None:
    """Set the hydrogens of `positions` (shape (n, 3), Å, changed in place) from the heavy atoms."""
    place_hydrogens(positions, riding.hydrogen, riding.frame, riding.shape, riding.coefficients, riding.length)


def fold_gradient(riding: Riding, positions: NDArray[np.float64], gradient: NDArray[np.float64]) -> None:
    """Move the gradient on the hydrogens onto the heavy atoms they ride on.

    Parameters
    ----------
    riding : Riding
    positions : NDArray[float64], shape (n, 3)
        Å; only the heavy atoms are read.
    gradient : NDArray[float64], shape (n, 3)
        Changed in place; the rows of hydrogens become zero.
    """
    fold_hydrogens(positions, gradient, riding.hydrogen, riding.frame, riding.shape, riding.coefficients, riding.length)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _unit(positions: Floats, start: int, end: int, out: Floats) -> float:
    """Write the unit vector from one atom to another and return their distance (never less than 1e-6 Å)."""
    x = positions[end, 0] - positions[start, 0]
    y = positions[end, 1] - positions[start, 1]
    z = positions[end, 2] - positions[start, 2]
    length = max(np.sqrt(x * x + y * y + z * z), 1e-6)
    out[0], out[1], out[2] = x / length, y / length, z / length
    return length


@njit(cache=True, nogil=True, error_model="numpy")
def _cross(a: Floats, b: Floats, out: Floats) -> None:
    out[0] = a[1] * b[2] - a[2] * b[1]
    out[1] = a[2] * b[0] - a[0] * b[2]
    out[2] = a[0] * b[1] - a[1] * b[0]


@njit(cache=True, nogil=True, error_model="numpy")
def _normalise(vector: Floats) -> float:
    length = max(np.sqrt(vector[0] ** 2 + vector[1] ** 2 + vector[2] ** 2), 1e-6)
    for k in range(3):
        vector[k] /= length
    return length


@njit(cache=True, nogil=True, error_model="numpy")
def place_hydrogens(positions: Floats, hydrogen: Ints, frame: Ints, shape: Bytes, coefficients: Floats, length: Floats) -> None:
    """Set the rows `hydrogen` of `positions`; arguments as the attributes of `Riding`."""
    u, v, w, n = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    d = np.empty(3)
    for h in range(len(hydrogen)):
        parent, first, second, third = frame[h, 0], frame[h, 1], frame[h, 2], frame[h, 3]
        c0, c1, c2, c3 = coefficients[h, 0], coefficients[h, 1], coefficients[h, 2], coefficients[h, 3]
        if shape[h] == TERMINAL:
            _unit(positions, first, parent, u)
            _unit(positions, first, second, v)
            along = u[0] * v[0] + u[1] * v[1] + u[2] * v[2]
            for k in range(3):
                w[k] = v[k] - along * u[k]
            _normalise(w)
            _cross(u, w, n)
            cos, sin = np.cos(c2), np.sin(c2)
            for k in range(3):
                d[k] = -c0 * u[k] + c1 * (cos * w[k] + sin * n[k])
        else:
            _unit(positions, parent, first, u)
            _unit(positions, parent, second, v)
            if shape[h] == TETRAHEDRAL:
                _unit(positions, parent, third, w)
                for k in range(3):
                    d[k] = c0 * u[k] + c1 * v[k] + c2 * w[k]
                _normalise(d)
            else:
                for k in range(3):
                    w[k] = c0 * u[k] + c1 * v[k]
                _normalise(w)
                _cross(u, v, n)
                _normalise(n)
                for k in range(3):
                    d[k] = c2 * w[k] + c3 * n[k]
        for k in range(3):
            positions[hydrogen[h], k] = positions[parent, k] + length[h] * d[k]


@njit(cache=True, nogil=True, error_model="numpy")
def _through_unit(gradient: Floats, g: Floats, unit: Floats, length: float) -> None:
    """Replace g, the gradient on a normalised vector, by that on the vector before it was normalised."""
    along = g[0] * unit[0] + g[1] * unit[1] + g[2] * unit[2]
    for k in range(3):
        gradient[k] = (g[k] - along * unit[k]) / length


@njit(cache=True, nogil=True, error_model="numpy")
def _share(gradient: Floats, atom: int, origin: int, g: Floats, unit: Floats, length: float) -> None:
    """Give g, the gradient on the unit vector from `origin` to `atom`, to these two."""
    along = g[0] * unit[0] + g[1] * unit[1] + g[2] * unit[2]
    for k in range(3):
        part = (g[k] - along * unit[k]) / length
        gradient[atom, k] += part
        gradient[origin, k] -= part


@njit(cache=True, nogil=True, error_model="numpy")
def _fold_terminal(
    positions: Floats, gradient: Floats, frame: Ints, c: Floats, g: Floats, u: Floats, v: Floats, w: Floats, n: Floats,
    p: Floats, q: Floats,
) -> None:  # fmt: skip
    """Fold g, the gradient on the direction to one terminal hydrogen; the rest is room for vectors."""
    lu = _unit(positions, frame[1], frame[0], u)
    lv = _unit(positions, frame[1], frame[2], v)
    along = u[0] * v[0] + u[1] * v[1] + u[2] * v[2]
    for k in range(3):
        w[k] = v[k] - along * u[k]
    lw = _normalise(w)
    cos, sin = c[1] * np.cos(c[2]), c[1] * np.sin(c[2])
    # the direction is -c0 u + cos w + sin (u x w)
    _cross(g, u, p)
    _cross(w, g, q)
    for k in range(3):
        p[k] = cos * g[k] + sin * p[k]
        q[k] = -c[0] * g[k] + sin * q[k]
    _through_unit(n, p, w, lw)
    dot = u[0] * n[0] + u[1] * n[1] + u[2] * n[2]
    for k in range(3):
        p[k] = n[k] - dot * u[k]
        q[k] -= along * n[k] + dot * v[k]
    _share(gradient, frame[0], frame[1], q, u, lu)
    _share(gradient, frame[2], frame[1], p, v, lv)


@njit(cache=True, nogil=True, error_model="numpy")
def _fold_bridge(
    positions: Floats, gradient: Floats, frame: Ints, c: Floats, g: Floats, u: Floats, v: Floats, w: Floats, n: Floats,
    p: Floats, q: Floats,
) -> None:  # fmt: skip
    """Fold g, the gradient on the direction to a hydrogen between two neighbours."""
    lu = _unit(positions, frame[0], frame[1], u)
    lv = _unit(positions, frame[0], frame[2], v)
    for k in range(3):
        w[k] = c[0] * u[k] + c[1] * v[k]
    lw = _normalise(w)
    _cross(u, v, n)
    ln = _normalise(n)
    _through_unit(p, g, w, lw)
    _through_unit(q, g, n, ln)
    _cross(v, q, w)
    _cross(q, u, n)
    for k in range(3):
        w[k] = c[0] * c[2] * p[k] + c[3] * w[k]
        n[k] = c[1] * c[2] * p[k] + c[3] * n[k]
    _share(gradient, frame[1], frame[0], w, u, lu)
    _share(gradient, frame[2], frame[0], n, v, lv)


@njit(cache=True, nogil=True, error_model="numpy")
def _fold_tetrahedral(
    positions: Floats, gradient: Floats, frame: Ints, c: Floats, g: Floats, u: Floats, v: Floats, w: Floats, n: Floats,
    p: Floats, q: Floats,
) -> None:  # fmt: skip
    """Fold g, the gradient on the direction to a hydrogen opposite to three neighbours."""
    lu = _unit(positions, frame[0], frame[1], u)
    lv = _unit(positions, frame[0], frame[2], v)
    lw = _unit(positions, frame[0], frame[3], w)
    for k in range(3):
        n[k] = c[0] * u[k] + c[1] * v[k] + c[2] * w[k]
    ln = _normalise(n)
    _through_unit(p, g, n, ln)
    for number in range(3):
        for k in range(3):
            q[k] = c[number] * p[k]
        if number == 0:
            _share(gradient, frame[1], frame[0], q, u, lu)
        elif number == 1:
            _share(gradient, frame[2], frame[0], q, v, lv)
        else:
            _share(gradient, frame[3], frame[0], q, w, lw)


@njit(cache=True, nogil=True, error_model="numpy")
def fold_hydrogens(
    positions: Floats, gradient: Floats, hydrogen: Ints, frame: Ints, shape: Bytes, coefficients: Floats, length: Floats
) -> None:
    """Fold the gradient of the hydrogens onto their frames; arguments as in `fold_gradient`."""
    g, u, v, w, n, p, q = np.empty(3), np.empty(3), np.empty(3), np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    for h in range(len(hydrogen)):
        for k in range(3):
            g[k] = length[h] * gradient[hydrogen[h], k]
            gradient[frame[h, 0], k] += gradient[hydrogen[h], k]
            gradient[hydrogen[h], k] = 0.0
        if shape[h] == TERMINAL:
            _fold_terminal(positions, gradient, frame[h], coefficients[h], g, u, v, w, n, p, q)
        elif shape[h] == BRIDGE:
            _fold_bridge(positions, gradient, frame[h], coefficients[h], g, u, v, w, n, p, q)
        else:
            _fold_tetrahedral(positions, gradient, frame[h], coefficients[h], g, u, v, w, n, p, q)
