"""Compiled energy and gradient of bond angles, the most frequent of all restraints.

Angles are taken in batches: vectors are collected, everything between them and the forces is computed without a
branch, so that it runs in vector registers, and forces are handed out. The arc cosine is a polynomial about 115°, exact
to rounding; the few angles far from there (three-membered rings, metals, straight ones) are computed one by one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from refinement.restraints.kernels import DEGREES, NO_LENGTH, add

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int32]

BATCH = 64
ROWS = 9
"""Numbers per angle of a batch: two vectors, which become two forces, target, weight, cosine."""
MIDDLE = math.radians(115.0)
REACH = math.radians(30.0)
"""Around the middle; there the sine of the difference to it gives the angle."""
SIN_MIDDLE, COS_MIDDLE = math.sin(MIDDLE), math.cos(MIDDLE)
LOWEST, HIGHEST = math.cos(MIDDLE + REACH), math.cos(MIDDLE - REACH)
_NEARLY_STRAIGHT = 0.999
_STRAIGHT = 1e-13


def _arc_sine_series() -> tuple[float, ...]:
    """Return the coefficients of arcsin(s)/s in powers of s², |s| up to the sine of `REACH`: Chebyshev interpolation."""
    largest = math.sin(REACH) ** 2
    series = np.polynomial.chebyshev.Chebyshev.interpolate(
        lambda square: np.arcsin(np.sqrt(square)) / np.sqrt(square), 12, domain=[0.0, largest]
    )
    return tuple(series.convert(kind=np.polynomial.Polynomial, domain=[-1.0, 1.0]).coef.tolist())


C0, C1, C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12 = _arc_sine_series()


@njit(cache=True, nogil=True, error_model="numpy")
def angles(positions: Floats, atoms: Ints, target: Floats, weight: Floats, gradient: Floats) -> float:
    """Return Σ w (θ - θ0)² of angles and add the gradient.

    Parameters
    ----------
    positions : NDArray[float64], shape (n, 3)
        Å.
    atoms : NDArray[int32], shape (m, 3)
        The apex in the middle.
    target, weight : NDArray[float64], shape (m,)
        Degrees, degrees⁻².
    gradient : NDArray[float64], shape (n, 3)
        Changed in place.
    """
    energy = 0.0
    batch = np.ones(ROWS * BATCH)
    for start in range(0, len(atoms), BATCH):
        stop = min(start + BATCH, len(atoms))
        for k in range(start, stop):
            i, j, m = atoms[k, 0], atoms[k, 1], atoms[k, 2]
            row = k - start
            for axis in range(3):
                batch[axis * BATCH + row] = positions[i, axis] - positions[j, axis]
                batch[(3 + axis) * BATCH + row] = positions[m, axis] - positions[j, axis]
            batch[6 * BATCH + row], batch[7 * BATCH + row] = target[k], weight[k]
        _bend(batch)
        for k in range(start, stop):
            i, j, m = atoms[k, 0], atoms[k, 1], atoms[k, 2]
            row = k - start
            if not LOWEST < batch[8 * BATCH + row] < HIGHEST:
                energy += _unusual(positions, i, j, m, target[k], weight[k], gradient)
                continue
            energy += batch[7 * BATCH + row]
            ax, ay, az = batch[row], batch[BATCH + row], batch[2 * BATCH + row]
            cx, cy, cz = batch[3 * BATCH + row], batch[4 * BATCH + row], batch[5 * BATCH + row]
            add(gradient, i, ax, ay, az)
            add(gradient, m, cx, cy, cz)
            add(gradient, j, -(ax + cx), -(ay + cy), -(az + cz))
    return energy


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _bend(batch: Floats) -> None:
    """Replace the vectors by forces, the weights by energies, and write the cosines; wrong for angles out of `REACH`."""
    for row in range(BATCH):
        ux, uy, uz = batch[row], batch[BATCH + row], batch[2 * BATCH + row]
        vx, vy, vz = batch[3 * BATCH + row], batch[4 * BATCH + row], batch[5 * BATCH + row]
        uu = ux * ux + uy * uy + uz * uz
        vv = vx * vx + vy * vy + vz * vz
        inverse = 1.0 / (uu * vv)
        scale = math.sqrt(inverse)
        cosine = scale * (ux * vx + uy * vy + uz * vz)
        sine = math.sqrt(1.0 - cosine * cosine)
        off = sine * COS_MIDDLE - cosine * SIN_MIDDLE
        q = off * off
        r = q * q
        t = r * r
        low = (C0 + C1 * q) + r * (C2 + C3 * q)
        high = (C4 + C5 * q) + r * (C6 + C7 * q)
        highest = (C8 + C9 * q) + r * (C10 + C11 * q) + t * C12
        angle = MIDDLE + off * (low + t * (high + t * highest))
        delta = DEGREES * angle - batch[6 * BATCH + row]
        weight = batch[7 * BATCH + row]
        pull = 2.0 * DEGREES * weight * delta / sine
        along_u, along_v, across = pull * cosine * inverse * vv, pull * cosine * inverse * uu, pull * scale
        batch[row] = along_u * ux - across * vx
        batch[BATCH + row] = along_u * uy - across * vy
        batch[2 * BATCH + row] = along_u * uz - across * vz
        batch[3 * BATCH + row] = along_v * vx - across * ux
        batch[4 * BATCH + row] = along_v * vy - across * uy
        batch[5 * BATCH + row] = along_v * vz - across * uz
        batch[7 * BATCH + row] = weight * delta * delta
        batch[8 * BATCH + row] = cosine


@njit(cache=True, nogil=True, error_model="numpy")
def _unusual(positions: Floats, i: int, j: int, m: int, target: float, weight: float, gradient: Floats) -> float:
    """Return the energy of any angle and add its gradient.

    Nearly straight ones go through the cross product, where the arc cosine loses its digits.
    """
    ux, uy, uz = positions[i, 0] - positions[j, 0], positions[i, 1] - positions[j, 1], positions[i, 2] - positions[j, 2]
    vx, vy, vz = positions[m, 0] - positions[j, 0], positions[m, 1] - positions[j, 1], positions[m, 2] - positions[j, 2]
    uu, vv = ux * ux + uy * uy + uz * uz, vx * vx + vy * vy + vz * vz
    if uu < NO_LENGTH or vv < NO_LENGTH:
        return 0.0
    iu, iv = 1.0 / math.sqrt(uu), 1.0 / math.sqrt(vv)
    ux, uy, uz = ux * iu, uy * iu, uz * iu
    vx, vy, vz = vx * iv, vy * iv, vz * iv
    cosine = ux * vx + uy * vy + uz * vz
    if -_NEARLY_STRAIGHT < cosine < _NEARLY_STRAIGHT:
        delta = DEGREES * math.acos(cosine) - target
        pull = 2.0 * weight * delta * DEGREES / math.sqrt(1.0 - cosine * cosine)
        ax, ay, az = cosine * ux - vx, cosine * uy - vy, cosine * uz - vz
        cx, cy, cz = cosine * vx - ux, cosine * vy - uy, cosine * vz - uz
    else:
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        sine = math.sqrt(nx * nx + ny * ny + nz * nz)
        delta = DEGREES * math.atan2(sine, cosine) - target
        pull = 2.0 * weight * delta * DEGREES / sine if sine > _STRAIGHT else 0.0
        ax, ay, az = uy * nz - uz * ny, uz * nx - ux * nz, ux * ny - uy * nx
        cx, cy, cz = ny * vz - nz * vy, nz * vx - nx * vz, nx * vy - ny * vx
    fi, fm = pull * iu, pull * iv
    add(gradient, i, fi * ax, fi * ay, fi * az)
    add(gradient, m, fm * cx, fm * cy, fm * cz)
    add(gradient, j, -(fi * ax + fm * cx), -(fi * ay + fm * cy), -(fi * az + fm * cz))
    return weight * delta * delta
