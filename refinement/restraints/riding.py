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
def _unit(positions, start, end, out):  # type: ignore[no-untyped-def]
    """Write the unit vector from one atom to another and return their distance (never less than 1e-6 Å)."""
    x = positions[end, 0] - positions[start, 0]
    y = positions[end, 1] - positions[start, 1]
    z = positions[end, 2] - positions[start, 2]
    length = max(np.sqrt(x * x + y * y + z * z), 1e-6)
    out[0], out[1], out[2] = x / length, y / length, z / length
    return length


@njit(cache=True, nogil=True, error_model="numpy")
def _cross(a, b, out):  # type: ignore[no-untyped-def]
    out[0] = a[1] * b[2] - a[2] * b[1]
    out[1] = a[2] * b[0] - a[0] * b[2]
    out[2] = a[0] * b[1] - a[1] * b[0]


@njit(cache=True, nogil=True, error_model="numpy")
def _normalise(vector):  # type: ignore[no-untyped-def]
    length = max(np.sqrt(vector[0] ** 2 + vector[1] ** 2 + vector[2] ** 2), 1e-6)
    for k in range(3):
        vector[k] /= length
    return length


@njit(cache=True, nogil=True, error_model="numpy")
def place_hydrogens(positions, hydrogen, frame, shape, coefficients, length):  # type: ignore[no-untyped-def]
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
def _through_unit(gradient, g, unit, length):  # type: ignore[no-untyped-def]
    """Replace g, the gradient on a normalised vector, by that on the vector before it was normalised."""
    along = g[0] * unit[0] + g[1] * unit[1] + g[2] * unit[2]
    for k in range(3):
        gradient[k] = (g[k] - along * unit[k]) / length


@njit(cache=True, nogil=True, error_model="numpy")
def fold_hydrogens(positions, gradient, hydrogen, frame, shape, coefficients, length):  # type: ignore[no-untyped-def]
    """Fold the gradient of the hydrogens onto their frames; arguments as in `fold_gradient`."""
    u, v, w, n, d, m = np.empty(3), np.empty(3), np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    gd, gu, gv, gw, gn, t = np.empty(3), np.empty(3), np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    for h in range(len(hydrogen)):
        parent, first, second, third = frame[h, 0], frame[h, 1], frame[h, 2], frame[h, 3]
        c0, c1, c2, c3 = coefficients[h, 0], coefficients[h, 1], coefficients[h, 2], coefficients[h, 3]
        for k in range(3):
            gd[k] = length[h] * gradient[hydrogen[h], k]
            gradient[parent, k] += gradient[hydrogen[h], k]
            gradient[hydrogen[h], k] = 0.0
            gw[k] = 0.0
        if shape[h] == TERMINAL:
            lu = _unit(positions, first, parent, u)
            lv = _unit(positions, first, second, v)
            along = u[0] * v[0] + u[1] * v[1] + u[2] * v[2]
            for k in range(3):
                w[k] = v[k] - along * u[k]
            lw = _normalise(w)
            _cross(u, w, n)
            cos, sin = c1 * np.cos(c2), c1 * np.sin(c2)
            for k in range(3):
                gn[k] = sin * gd[k]
            _cross(w, gn, t)
            _cross(gn, u, gw)
            for k in range(3):
                gu[k] = -c0 * gd[k] + t[k]
                gw[k] += cos * gd[k]
            _through_unit(t, gw, w, lw)
            ut = u[0] * t[0] + u[1] * t[1] + u[2] * t[2]
            for k in range(3):
                gv[k] = t[k] - ut * u[k]
                gu[k] -= along * t[k] + ut * v[k]
            _through_unit(t, gu, u, lu)
            _through_unit(m, gv, v, lv)
            for k in range(3):
                gradient[parent, k] += t[k]
                gradient[second, k] += m[k]
                gradient[first, k] -= t[k] + m[k]
            continue
        lu = _unit(positions, parent, first, u)
        lv = _unit(positions, parent, second, v)
        lw = 1.0
        if shape[h] == TETRAHEDRAL:
            lw = _unit(positions, parent, third, w)
            for k in range(3):
                d[k] = c0 * u[k] + c1 * v[k] + c2 * w[k]
            ld = _normalise(d)
            _through_unit(t, gd, d, ld)
            for k in range(3):
                gu[k], gv[k], gw[k] = c0 * t[k], c1 * t[k], c2 * t[k]
        else:
            for k in range(3):
                w[k] = c0 * u[k] + c1 * v[k]
            ld = _normalise(w)
            _cross(u, v, n)
            ln = _normalise(n)
            for k in range(3):
                gn[k] = c3 * gd[k]
                m[k] = c2 * gd[k]
            _through_unit(t, m, w, ld)
            for k in range(3):
                gu[k], gv[k] = c0 * t[k], c1 * t[k]
            _through_unit(t, gn, n, ln)
            _cross(v, t, m)
            for k in range(3):
                gu[k] += m[k]
            _cross(t, u, m)
            for k in range(3):
                gv[k] += m[k]
        _through_unit(t, gu, u, lu)
        _through_unit(m, gv, v, lv)
        for k in range(3):
            gradient[first, k] += t[k]
            gradient[second, k] += m[k]
            gradient[parent, k] -= t[k] + m[k]
        if shape[h] == TETRAHEDRAL:
            _through_unit(t, gw, w, lw)
            for k in range(3):
                gradient[third, k] += t[k]
                gradient[parent, k] -= t[k]
