"""Compiled energies and gradients of the covalent terms; angles are in `refinement.restraints.angle_kernel`.

Every kernel adds its gradient into `gradient` (shape (n, 3)) and returns its energy. Energies are
Σ w Δ² without the factor ½, w = 1/σ²; angles and torsions in degrees. Sums run in the order of the
arrays, so that results are the same to the last bit for any number of threads.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from numba import njit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEGREES = 180.0 / math.pi
SINUSOIDAL_SCALE = 9600.0
"""Height of the sinusoidal torsion energy times the square of its period, in units of the weight."""

NO_LENGTH = 1e-16
_COLLINEAR = 1e-10
_NEWTON_STEPS = 8


@njit(cache=True, nogil=True, error_model="numpy")
def add(gradient: NDArray[np.float64], atom: int, x: float, y: float, z: float) -> None:
    """Add a vector to the gradient of one atom."""
    gradient[atom, 0] += x
    gradient[atom, 1] += y
    gradient[atom, 2] += z


@njit(cache=True, nogil=True, error_model="numpy")
def bonds(
    positions: NDArray[np.float64],
    atoms: NDArray[np.int32],
    target: NDArray[np.float64],
    weight: NDArray[np.float64],
    limit: NDArray[np.float64],
    gradient: NDArray[np.float64],
) -> float:
    """Harmonic distances, levelling off beyond `limit` (Å, inf for never): top (1 - exp(-w Δ²/top)), top = w limit²."""
    energy = 0.0
    for k in range(len(atoms)):
        i, j = atoms[k, 0], atoms[k, 1]
        x = positions[i, 0] - positions[j, 0]
        y = positions[i, 1] - positions[j, 1]
        z = positions[i, 2] - positions[j, 2]
        length = math.sqrt(x * x + y * y + z * z)
        delta = length - target[k]
        w = weight[k]
        pull = 2.0 * w * delta
        if limit[k] < math.inf:
            top = w * limit[k] * limit[k]
            fade = math.exp(-w * delta * delta / top)
            energy += top * (1.0 - fade)
            pull *= fade
        else:
            energy += w * delta * delta
        if length * length > NO_LENGTH:
            pull /= length
            add(gradient, i, pull * x, pull * y, pull * z)
            add(gradient, j, -pull * x, -pull * y, -pull * z)
    return energy


@njit(cache=True, nogil=True, error_model="numpy")
def torsions(
    positions: NDArray[np.float64],
    atoms: NDArray[np.int32],
    target: NDArray[np.float64],
    weight: NDArray[np.float64],
    period: NDArray[np.int32],
    limit: NDArray[np.float64],
    gradient: NDArray[np.float64],
) -> float:
    """Torsions of either form.

    period n > 0: w (9600/n²)(1 - cos nΔ). n ≤ 0: harmonic to the nearest of max(1, |n|) equivalent
    targets, levelling off beyond `limit` (degrees, inf for never). Torsions about a straight angle
    are undefined and left out.
    """
    energy = 0.0
    for k in range(len(atoms)):
        a, b, c, d = atoms[k, 0], atoms[k, 1], atoms[k, 2], atoms[k, 3]
        angle, ax, ay, az, sx, sy, sz, dx, dy, dz = dihedral(positions, a, b, c, d)
        if math.isnan(angle):
            continue
        delta = angle - target[k]
        n = period[k]
        w = weight[k]
        if n > 0:
            turn = n * delta / DEGREES
            scale = SINUSOIDAL_SCALE / (n * n)
            energy += w * scale * (1.0 - math.cos(turn))
            slope = w * scale * n * math.sin(turn) / DEGREES
        else:
            step = 360.0 / max(1, -n)
            delta -= step * round(delta / step)
            slope = 2.0 * w * delta
            if limit[k] < math.inf:
                top = w * limit[k] * limit[k]
                fade = math.exp(-w * delta * delta / top)
                energy += top * (1.0 - fade)
                slope *= fade
            else:
                energy += w * delta * delta
        add(gradient, a, slope * ax, slope * ay, slope * az)
        add(gradient, b, -(slope * (ax + sx)), -(slope * (ay + sy)), -(slope * (az + sz)))
        add(gradient, c, slope * (sx - dx), slope * (sy - dy), slope * (sz - dz))
        add(gradient, d, slope * dx, slope * dy, slope * dz)
    return energy


@njit(cache=True, nogil=True, error_model="numpy")
def dihedral(
    positions: NDArray[np.float64], a: int, b: int, c: int, d: int
) -> tuple[float, float, float, float, float, float, float, float, float, float]:
    """Return a dihedral angle (degrees, IUPAC sign) and its derivatives (degrees/Å).

    The ten numbers are the angle, the derivative by atom a, a vector s, and the derivative by atom
    d; those by b and c are -(a + s) and s - d. The angle is NaN where three atoms are on a line.
    """
    px, py, pz = positions[b, 0] - positions[a, 0], positions[b, 1] - positions[a, 1], positions[b, 2] - positions[a, 2]
    qx, qy, qz = positions[c, 0] - positions[b, 0], positions[c, 1] - positions[b, 1], positions[c, 2] - positions[b, 2]
    rx, ry, rz = positions[d, 0] - positions[c, 0], positions[d, 1] - positions[c, 1], positions[d, 2] - positions[c, 2]
    mx, my, mz = py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx
    nx, ny, nz = qy * rz - qz * ry, qz * rx - qx * rz, qx * ry - qy * rx
    mm, nn, qq = mx * mx + my * my + mz * mz, nx * nx + ny * ny + nz * nz, qx * qx + qy * qy + qz * qz
    if not (mm > _COLLINEAR and nn > _COLLINEAR):
        return math.nan, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    length = math.sqrt(qq)
    angle = DEGREES * math.atan2((px * nx + py * ny + pz * nz) * length, mx * nx + my * ny + mz * nz)
    fa, fd = -DEGREES * length / mm, DEGREES * length / nn
    along_p = (px * qx + py * qy + pz * qz) / qq
    along_r = (rx * qx + ry * qy + rz * qz) / qq
    ax, ay, az = fa * mx, fa * my, fa * mz
    dx, dy, dz = fd * nx, fd * ny, fd * nz
    sx, sy, sz = along_p * ax - along_r * dx, along_p * ay - along_r * dy, along_p * az - along_r * dz
    return angle, ax, ay, az, sx, sy, sz, dx, dy, dz


@njit(cache=True, nogil=True, error_model="numpy")
def chiralities(
    positions: NDArray[np.float64],
    atoms: NDArray[np.int32],
    target: NDArray[np.float64],
    weight: NDArray[np.float64],
    both: NDArray[np.bool_],
    gradient: NDArray[np.float64],
) -> float:
    """Signed volumes a·(b × c), or their absolute value where either hand is right."""
    energy = 0.0
    for k in range(len(atoms)):
        o, i, j, m = atoms[k, 0], atoms[k, 1], atoms[k, 2], atoms[k, 3]
        ax, ay, az = positions[i, 0] - positions[o, 0], positions[i, 1] - positions[o, 1], positions[i, 2] - positions[o, 2]
        bx, by, bz = positions[j, 0] - positions[o, 0], positions[j, 1] - positions[o, 1], positions[j, 2] - positions[o, 2]
        cx, cy, cz = positions[m, 0] - positions[o, 0], positions[m, 1] - positions[o, 1], positions[m, 2] - positions[o, 2]
        ix, iy, iz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
        volume = ax * ix + ay * iy + az * iz
        sign = -1.0 if both[k] and volume < 0.0 else 1.0
        delta = sign * volume - target[k]
        energy += weight[k] * delta * delta
        pull = 2.0 * weight[k] * delta * sign
        ix, iy, iz = pull * ix, pull * iy, pull * iz
        jx, jy, jz = pull * (cy * az - cz * ay), pull * (cz * ax - cx * az), pull * (cx * ay - cy * ax)
        mx, my, mz = pull * (ay * bz - az * by), pull * (az * bx - ax * bz), pull * (ax * by - ay * bx)
        add(gradient, i, ix, iy, iz)
        add(gradient, j, jx, jy, jz)
        add(gradient, m, mx, my, mz)
        add(gradient, o, -(ix + jx + mx), -(iy + jy + my), -(iz + jz + mz))
    return energy


@njit(cache=True, nogil=True, error_model="numpy")
def planes(
    positions: NDArray[np.float64],
    first: NDArray[np.int32],
    atoms: NDArray[np.int32],
    weight: NDArray[np.float64],
    gradient: NDArray[np.float64],
) -> float:
    """Squared distances from the least-squares plane of each group.

    The energy is at its minimum over all planes, so that the plane's own change with the atoms
    adds nothing to the gradient.
    """
    energy = 0.0
    for k in range(len(weight)):
        start, stop = first[k], first[k + 1]
        cx, cy, cz = 0.0, 0.0, 0.0
        for s in range(start, stop):
            cx += positions[atoms[s], 0]
            cy += positions[atoms[s], 1]
            cz += positions[atoms[s], 2]
        share = 1.0 / (stop - start)
        cx, cy, cz = cx * share, cy * share, cz * share
        xx, xy, xz, yy, yz, zz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for s in range(start, stop):
            x, y, z = positions[atoms[s], 0] - cx, positions[atoms[s], 1] - cy, positions[atoms[s], 2] - cz
            xx += x * x
            xy += x * y
            xz += x * z
            yy += y * y
            yz += y * z
            zz += z * z
        nx, ny, nz = smallest_eigenvector(xx, xy, xz, yy, yz, zz)
        w = weight[k]
        for s in range(start, stop):
            i = atoms[s]
            distance = (positions[i, 0] - cx) * nx + (positions[i, 1] - cy) * ny + (positions[i, 2] - cz) * nz
            energy += w * distance * distance
            pull = 2.0 * w * distance
            add(gradient, i, pull * nx, pull * ny, pull * nz)
    return energy


@njit(cache=True, nogil=True, error_model="numpy")
def smallest_eigenvector(xx: float, xy: float, xz: float, yy: float, yz: float, zz: float) -> tuple[float, float, float]:
    """Return the unit eigenvector of the smallest eigenvalue of a symmetric positive 3 × 3 matrix.

    Newton's method on the characteristic polynomial, which from zero on rises to the smallest root and never passes it; few
    steps are enough for atoms near a plane. Where they aren't, the root comes from the trigonometric solution
    of the cubic. The vector is the largest cross product of two rows of A - λI; a second pass with the Rayleigh
    quotient removes the rounding of the trigonometric root.
    """
    trace = xx + yy + zz
    mean = trace / 3.0
    minors = xx * yy - xy * xy + xx * zz - xz * xz + yy * zz - yz * yz
    determinant = xx * (yy * zz - yz * yz) - xy * (xy * zz - yz * xz) + xz * (xy * yz - yy * xz)
    value, passes = 0.0, 2
    for _ in range(_NEWTON_STEPS):
        slope = (3.0 * value - 2.0 * trace) * value + minors
        if not slope > 0.0:
            break
        step = (((trace - value) * value - minors) * value + determinant) / slope
        value += step
        if abs(step) <= 1e-15 * trace:
            passes = 1
            break
    p = math.sqrt(((xx - mean) ** 2 + (yy - mean) ** 2 + (zz - mean) ** 2 + 2.0 * (xy * xy + xz * xz + yz * yz)) / 6.0)
    if p <= 1e-14 * abs(mean) or p == 0.0:
        return 0.0, 0.0, 1.0
    if passes == 2:
        bxx, byy, bzz = xx - mean, yy - mean, zz - mean
        half = 0.5 * (bxx * (byy * bzz - yz * yz) - xy * (xy * bzz - yz * xz) + xz * (xy * yz - byy * xz)) / (p * p * p)
        value = mean + 2.0 * p * math.cos(math.acos(min(1.0, max(-1.0, half))) / 3.0 + 2.0 * math.pi / 3.0)
    x, y, z = 0.0, 0.0, 1.0
    for _ in range(passes):
        a, b, c = xx - value, yy - value, zz - value
        x0, y0, z0 = xy * yz - xz * b, xz * xy - a * yz, a * b - xy * xy
        x1, y1, z1 = xy * c - xz * yz, xz * xz - a * c, a * yz - xy * xz
        x2, y2, z2 = b * c - yz * yz, yz * xz - xy * c, xy * yz - b * xz
        s0, s1, s2 = x0 * x0 + y0 * y0 + z0 * z0, x1 * x1 + y1 * y1 + z1 * z1, x2 * x2 + y2 * y2 + z2 * z2
        if s1 > s0:
            x0, y0, z0, s0 = x1, y1, z1, s1
        if s2 > s0:
            x0, y0, z0, s0 = x2, y2, z2, s2
        if s0 <= 1e-28 * p**4:
            # two equal smallest eigenvalues (atoms on a line): any direction across will do
            return _across(a, xy, xz, b, yz, c)
        scale = 1.0 / math.sqrt(s0)
        x, y, z = x0 * scale, y0 * scale, z0 * scale
        value = x * (xx * x + 2.0 * (xy * y + xz * z)) + y * (yy * y + 2.0 * yz * z) + zz * z * z
    return x, y, z


@njit(cache=True, nogil=True, error_model="numpy")
def _across(a: float, xy: float, xz: float, b: float, yz: float, c: float) -> tuple[float, float, float]:
    """Return a unit vector perpendicular to the largest row of a symmetric matrix of rank one."""
    x, y, z = a, xy, xz
    if xy * xy + b * b + yz * yz > x * x + y * y + z * z:
        x, y, z = xy, b, yz
    if xz * xz + yz * yz + c * c > x * x + y * y + z * z:
        x, y, z = xz, yz, c
    if abs(x) > abs(z):
        scale = 1.0 / math.sqrt(x * x + y * y)
        return -y * scale, x * scale, 0.0
    scale = 1.0 / math.sqrt(y * y + z * z)
    return 0.0, -z * scale, y * scale
