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


@njit(cache=True, nogil=True, error_model="numpy")
def unit_vector(positions: Floats, start: int, end: int) -> tuple[float, float, float, float]:
    """Return the unit vector from one atom to another, and their distance (1e-6 Å at least)."""
    x = positions[end, 0] - positions[start, 0]
    y = positions[end, 1] - positions[start, 1]
    z = positions[end, 2] - positions[start, 2]
    length = max(np.sqrt(x * x + y * y + z * z), 1e-6)
    scale = 1.0 / length
    return scale * x, scale * y, scale * z, length


@njit(cache=True, nogil=True, error_model="numpy")
def normalised(x: float, y: float, z: float) -> tuple[float, float, float, float]:
    """Return a vector scaled to length 1, and its length (1e-6 at least)."""
    length = max(np.sqrt(x * x + y * y + z * z), 1e-6)
    scale = 1.0 / length
    return scale * x, scale * y, scale * z, length


@njit(cache=True, nogil=True, error_model="numpy")
def cross(ax: float, ay: float, az: float, bx: float, by: float, bz: float) -> tuple[float, float, float]:
    """Return the cross product of two vectors."""
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


@njit(cache=True, nogil=True, error_model="numpy")
def across(gx: float, gy: float, gz: float, ux: float, uy: float, uz: float, length: float) -> tuple[float, float, float]:
    """Turn a gradient on a normalised vector u into that on the vector before, which had this length."""
    along = gx * ux + gy * uy + gz * uz
    scale = 1.0 / length
    return scale * (gx - along * ux), scale * (gy - along * uy), scale * (gz - along * uz)


@njit(cache=True, nogil=True, error_model="numpy")
def _direction(positions: Floats, frame: Ints, shape: Bytes, c: Floats, h: int) -> tuple[float, float, float]:
    """Return the unit vector from the parent to hydrogen h."""
    parent, first, second = frame[h, 0], frame[h, 1], frame[h, 2]
    if shape[h] == TERMINAL:
        ux, uy, uz, _ = unit_vector(positions, first, parent)
        vx, vy, vz, _ = unit_vector(positions, first, second)
        along = ux * vx + uy * vy + uz * vz
        wx, wy, wz, _ = normalised(vx - along * ux, vy - along * uy, vz - along * uz)
        nx, ny, nz = cross(ux, uy, uz, wx, wy, wz)
        p, q = c[h, 1] * np.cos(c[h, 2]), c[h, 1] * np.sin(c[h, 2])
        return p * wx + q * nx - c[h, 0] * ux, p * wy + q * ny - c[h, 0] * uy, p * wz + q * nz - c[h, 0] * uz
    ux, uy, uz, _ = unit_vector(positions, parent, first)
    vx, vy, vz, _ = unit_vector(positions, parent, second)
    dx, dy, dz = c[h, 0] * ux + c[h, 1] * vx, c[h, 0] * uy + c[h, 1] * vy, c[h, 0] * uz + c[h, 1] * vz
    if shape[h] == TETRAHEDRAL:
        wx, wy, wz, _ = unit_vector(positions, parent, frame[h, 3])
        dx, dy, dz, _ = normalised(dx + c[h, 2] * wx, dy + c[h, 2] * wy, dz + c[h, 2] * wz)
        return dx, dy, dz
    wx, wy, wz, _ = normalised(dx, dy, dz)
    nx, ny, nz = cross(ux, uy, uz, vx, vy, vz)
    nx, ny, nz, _ = normalised(nx, ny, nz)
    return c[h, 2] * wx + c[h, 3] * nx, c[h, 2] * wy + c[h, 3] * ny, c[h, 2] * wz + c[h, 3] * nz


@njit(cache=True, nogil=True, error_model="numpy")
def place_hydrogens(positions: Floats, hydrogen: Ints, frame: Ints, shape: Bytes, coefficients: Floats, length: Floats) -> None:
    """Set the rows `hydrogen` of `positions`; arguments as the attributes of `Riding`."""
    for h in range(len(hydrogen)):
        x, y, z = _direction(positions, frame, shape, coefficients, h)
        parent, atom = frame[h, 0], hydrogen[h]
        positions[atom, 0] = positions[parent, 0] + length[h] * x
        positions[atom, 1] = positions[parent, 1] + length[h] * y
        positions[atom, 2] = positions[parent, 2] + length[h] * z


@njit(cache=True, nogil=True, error_model="numpy")
def share(gradient: Floats, atom: int, origin: int, gx: float, gy: float, gz: float) -> None:
    """Add a gradient on the vector from `origin` to `atom` to these two."""
    gradient[atom, 0] += gx
    gradient[atom, 1] += gy
    gradient[atom, 2] += gz
    gradient[origin, 0] -= gx
    gradient[origin, 1] -= gy
    gradient[origin, 2] -= gz


@njit(cache=True, nogil=True, error_model="numpy")
def _fold_terminal(positions: Floats, gradient: Floats, frame: Ints, c: Floats, h: int, gx: float, gy: float, gz: float) -> None:
    """Fold g, the gradient on the direction -c0 u + c1 cos(c2) w + c1 sin(c2) u x w of a terminal hydrogen."""
    parent, first, second = frame[h, 0], frame[h, 1], frame[h, 2]
    ux, uy, uz, lu = unit_vector(positions, first, parent)
    vx, vy, vz, lv = unit_vector(positions, first, second)
    along = ux * vx + uy * vy + uz * vz
    wx, wy, wz, lw = normalised(vx - along * ux, vy - along * uy, vz - along * uz)
    p, q = c[h, 1] * np.cos(c[h, 2]), c[h, 1] * np.sin(c[h, 2])
    ax, ay, az = cross(gx, gy, gz, ux, uy, uz)
    ax, ay, az = across(p * gx + q * ax, p * gy + q * ay, p * gz + q * az, wx, wy, wz, lw)
    bx, by, bz = cross(wx, wy, wz, gx, gy, gz)
    dot = ux * ax + uy * ay + uz * az
    bx = q * bx - c[h, 0] * gx - along * ax - dot * vx
    by = q * by - c[h, 0] * gy - along * ay - dot * vy
    bz = q * bz - c[h, 0] * gz - along * az - dot * vz
    bx, by, bz = across(bx, by, bz, ux, uy, uz, lu)
    ax, ay, az = across(ax - dot * ux, ay - dot * uy, az - dot * uz, vx, vy, vz, lv)
    share(gradient, parent, first, bx, by, bz)
    share(gradient, second, first, ax, ay, az)


@njit(cache=True, nogil=True, error_model="numpy")
def _fold_bridge(positions: Floats, gradient: Floats, frame: Ints, c: Floats, h: int, gx: float, gy: float, gz: float) -> None:
    """Fold g, the gradient on the direction c2 w + c3 n of a hydrogen between two neighbours."""
    parent, first, second = frame[h, 0], frame[h, 1], frame[h, 2]
    ux, uy, uz, lu = unit_vector(positions, parent, first)
    vx, vy, vz, lv = unit_vector(positions, parent, second)
    a, b, p, q = c[h, 0], c[h, 1], c[h, 2], c[h, 3]
    wx, wy, wz, lw = normalised(a * ux + b * vx, a * uy + b * vy, a * uz + b * vz)
    nx, ny, nz = cross(ux, uy, uz, vx, vy, vz)
    nx, ny, nz, ln = normalised(nx, ny, nz)
    wx, wy, wz = across(p * gx, p * gy, p * gz, wx, wy, wz, lw)
    nx, ny, nz = across(q * gx, q * gy, q * gz, nx, ny, nz, ln)
    ax, ay, az = cross(vx, vy, vz, nx, ny, nz)
    bx, by, bz = cross(nx, ny, nz, ux, uy, uz)
    ax, ay, az = across(ax + a * wx, ay + a * wy, az + a * wz, ux, uy, uz, lu)
    bx, by, bz = across(bx + b * wx, by + b * wy, bz + b * wz, vx, vy, vz, lv)
    share(gradient, first, parent, ax, ay, az)
    share(gradient, second, parent, bx, by, bz)


@njit(cache=True, nogil=True, error_model="numpy")
def _fold_tetrahedral(
    positions: Floats, gradient: Floats, frame: Ints, c: Floats, h: int, gx: float, gy: float, gz: float
) -> None:
    """Fold g, the gradient on the direction along c0 u + c1 v + c2 w of a hydrogen opposite to three neighbours."""
    parent = frame[h, 0]
    ux, uy, uz, lu = unit_vector(positions, parent, frame[h, 1])
    vx, vy, vz, lv = unit_vector(positions, parent, frame[h, 2])
    wx, wy, wz, lw = unit_vector(positions, parent, frame[h, 3])
    a, b, d = c[h, 0], c[h, 1], c[h, 2]
    nx, ny, nz, ln = normalised(a * ux + b * vx + d * wx, a * uy + b * vy + d * wy, a * uz + b * vz + d * wz)
    gx, gy, gz = across(gx, gy, gz, nx, ny, nz, ln)
    x, y, z = across(a * gx, a * gy, a * gz, ux, uy, uz, lu)
    share(gradient, frame[h, 1], parent, x, y, z)
    x, y, z = across(b * gx, b * gy, b * gz, vx, vy, vz, lv)
    share(gradient, frame[h, 2], parent, x, y, z)
    x, y, z = across(d * gx, d * gy, d * gz, wx, wy, wz, lw)
    share(gradient, frame[h, 3], parent, x, y, z)


@njit(cache=True, nogil=True, error_model="numpy")
def fold_hydrogens(
    positions: Floats, gradient: Floats, hydrogen: Ints, frame: Ints, shape: Bytes, coefficients: Floats, length: Floats
) -> None:
    """Fold the gradient of the hydrogens onto their frames; arguments as in `fold_gradient`."""
    for h in range(len(hydrogen)):
        atom, parent = hydrogen[h], frame[h, 0]
        gx, gy, gz = gradient[atom, 0], gradient[atom, 1], gradient[atom, 2]
        for k in range(3):
            gradient[parent, k] += gradient[atom, k]
            gradient[atom, k] = 0.0
        gx, gy, gz = length[h] * gx, length[h] * gy, length[h] * gz
        if shape[h] == TERMINAL:
            _fold_terminal(positions, gradient, frame, coefficients, h, gx, gy, gz)
        elif shape[h] == BRIDGE:
            _fold_bridge(positions, gradient, frame, coefficients, h, gx, gy, gz)
        else:
            _fold_tetrahedral(positions, gradient, frame, coefficients, h, gx, gy, gz)
