"""Gauss-Newton curvature of the covalent restraints: 2 w g gᵀ for each, with g the gradient of what is restrained.

It leaves out how the gradients themselves change, which makes it positive wherever the atoms are, and is exact where
restraints are fulfilled. Sinusoidal torsions count with the curvature at their minima.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from refinement.restraints.arrays import TorsionKind
from refinement.restraints.covalent import TORSION_KINDS
from refinement.restraints.kernels import DEGREES, SINUSOIDAL_SCALE, dihedral, smallest_eigenvector

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.elimination import Matrix
    from refinement.restraints.arrays import Planes
    from refinement.restraints.covalent import Covalent
    from refinement.restraints.dihedrals import DihedralRestraints
    from refinement.restraints.topology import Topology

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]

SHORTEST = 0.8
"""Å; shorter bonds count as this long in angles: atoms on top of each other would make everything around them stiff."""
STEEPEST = 200.0
"""Degrees/Å; a torsion that changes faster is about atoms that are nearly on a line, and left out."""
BENT = 0.1
"""Sine below which an angle counts as this much bent."""


def joined_atoms(topology: Topology) -> list[NDArray[np.int32]]:
    """Return the groups of atoms that covalent and rotamer restraints join, for `refinement.elimination.Pattern.of`."""
    torsions = topology.torsions.of_kind(*TORSION_KINDS, TorsionKind.CHI)
    groups = [topology.bonds.atoms, topology.angles.atoms, torsions.atoms, topology.chiralities.atoms]
    return [*groups, *_by_size(topology.planes)]


def joined_by(covalent: Covalent, dihedrals: list[DihedralRestraints]) -> list[NDArray[np.int32]]:
    """Return the groups of atoms that these restraints join, as `joined_atoms` does for all of a model."""
    groups = [covalent.bonds.atoms, covalent.angles.atoms, covalent.torsions.atoms, covalent.chiralities.atoms]
    return [*groups, *_by_size(covalent.planes), *(term.atoms for term in dihedrals)]


def _by_size(planes: Planes) -> list[NDArray[np.int32]]:
    """Return the atoms of planes, those of one size together."""
    sizes = np.diff(planes.first)
    return [planes.atoms[planes.first[:-1][sizes == size][:, None] + np.arange(size)] for size in np.unique(sizes).tolist()]


def add_curvature(covalent: Covalent, dihedrals: list[DihedralRestraints], positions: Floats, matrix: Matrix) -> None:
    """Add the curvature of the restraints at `positions`, shape (n, 3), to a matrix."""
    where = (matrix.pattern.rank, matrix.pattern.first, matrix.pattern.rows, matrix.diagonal, matrix.below)
    _bonds(positions, covalent.bonds.atoms, covalent.bond_weight, *where)
    _angles(positions, covalent.angles.atoms, covalent.angle_weight, *where)
    _torsions(positions, covalent.torsions.atoms, covalent.torsion_weight, covalent.torsions.period, *where)
    for term in dihedrals:
        _torsions(positions, term.atoms, term.weight, term.period, *where)
    _chiralities(positions, covalent.chiralities.atoms, covalent.chirality_weight, *where)
    _planes(positions, covalent.planes.first, covalent.planes.atoms, covalent.plane_weight, *where)


@njit(cache=True, nogil=True, error_model="numpy")
def _add_block(
    rank: Ints, first: Longs, rows: Ints, diagonal: Floats, below: Floats, a: int, b: int, scale: float, u: Floats, v: Floats
) -> None:
    """Add scale · u vᵀ to the block of atoms a and b, and its transpose to that of b and a.

    A block that the pattern doesn't have goes to the diagonal, as in `refinement.elimination`. Atoms of negative rank stay
    where they are.
    """
    i, j = rank[a], rank[b]
    if i < 0 or j < 0:
        return
    if i == j:
        for k in range(3):
            for m in range(k + 1):
                diagonal[i, k, m] += scale * u[k] * v[m]
        return
    if i < j:
        i, j, u, v = j, i, v, u
    for place in range(first[j], first[j + 1]):
        if rows[place] == i:
            for k in range(3):
                for m in range(3):
                    below[place, k, m] += scale * u[k] * v[m]
            return
    size = abs(scale) * math.sqrt((u[0] ** 2 + u[1] ** 2 + u[2] ** 2) * (v[0] ** 2 + v[1] ** 2 + v[2] ** 2))
    for k in range(3):
        diagonal[i, k, k] += size
        diagonal[j, k, k] += size


@njit(cache=True, nogil=True, error_model="numpy")
def _add_term(
    rank: Ints, first: Longs, rows: Ints, diagonal: Floats, below: Floats, atoms: Ints, weight: float, slope: Floats
) -> None:
    """Add 2 · weight · slope slopeᵀ of one restraint."""
    for a in range(len(atoms)):
        for b in range(a + 1):
            _add_block(rank, first, rows, diagonal, below, atoms[a], atoms[b], 2.0 * weight, slope[a], slope[b])


@njit(cache=True, nogil=True, error_model="numpy")
def _arm(positions: Floats, end: int, start: int, out: Floats) -> float:
    """Write the unit vector from one atom to another and return their distance, `SHORTEST` at least."""
    square = 1e-12
    for k in range(3):
        out[k] = positions[end, k] - positions[start, k]
        square += out[k] * out[k]
    length = math.sqrt(square)
    for k in range(3):
        out[k] /= length
    return max(length, SHORTEST)


@njit(cache=True, nogil=True, error_model="numpy")
def _bonds(
    positions: Floats, atoms: Ints, weight: Floats, rank: Ints, first: Longs, rows: Ints, diagonal: Floats, below: Floats
) -> None:
    slope = np.empty((2, 3))
    for n in range(len(atoms)):
        _arm(positions, atoms[n, 0], atoms[n, 1], slope[0])
        for k in range(3):
            slope[1, k] = -slope[0, k]
        _add_term(rank, first, rows, diagonal, below, atoms[n], weight[n], slope)


@njit(cache=True, nogil=True, error_model="numpy")
def _angles(
    positions: Floats, atoms: Ints, weight: Floats, rank: Ints, first: Longs, rows: Ints, diagonal: Floats, below: Floats
) -> None:
    slope, u, v = np.empty((3, 3)), np.empty(3), np.empty(3)
    for n in range(len(atoms)):
        long_u = _arm(positions, atoms[n, 0], atoms[n, 1], u)
        long_v = _arm(positions, atoms[n, 2], atoms[n, 1], v)
        cosine = u[0] * v[0] + u[1] * v[1] + u[2] * v[2]
        sine = max(math.sqrt(max(1.0 - cosine * cosine, 0.0)), BENT)
        for k in range(3):
            slope[0, k] = DEGREES * (cosine * u[k] - v[k]) / (long_u * sine)
            slope[2, k] = DEGREES * (cosine * v[k] - u[k]) / (long_v * sine)
            slope[1, k] = -(slope[0, k] + slope[2, k])
        _add_term(rank, first, rows, diagonal, below, atoms[n], weight[n], slope)


@njit(cache=True, nogil=True, error_model="numpy")
def _torsions(
    positions: Floats, atoms: Ints, weight: Floats, period: Ints,
    rank: Ints, first: Longs, rows: Ints, diagonal: Floats, below: Floats,
) -> None:  # fmt: skip
    slope, sinusoidal = np.empty((4, 3)), 0.5 * SINUSOIDAL_SCALE / DEGREES**2
    for n in range(len(atoms)):
        a, b, c, d = atoms[n, 0], atoms[n, 1], atoms[n, 2], atoms[n, 3]
        angle, ax, ay, az, sx, sy, sz, dx, dy, dz = dihedral(positions, a, b, c, d)
        if math.isnan(angle):
            continue
        slope[0, 0], slope[0, 1], slope[0, 2] = ax, ay, az
        slope[1, 0], slope[1, 1], slope[1, 2] = -(ax + sx), -(ay + sy), -(az + sz)
        slope[2, 0], slope[2, 1], slope[2, 2] = sx - dx, sy - dy, sz - dz
        slope[3, 0], slope[3, 1], slope[3, 2] = dx, dy, dz
        steepest = 0.0
        for m in range(4):
            steepest = max(steepest, slope[m, 0] ** 2 + slope[m, 1] ** 2 + slope[m, 2] ** 2)
        if steepest < STEEPEST * STEEPEST:
            factor = sinusoidal if period[n] > 0 else 1.0
            _add_term(rank, first, rows, diagonal, below, atoms[n], factor * weight[n], slope)


@njit(cache=True, nogil=True, error_model="numpy")
def _chiralities(
    positions: Floats, atoms: Ints, weight: Floats, rank: Ints, first: Longs, rows: Ints, diagonal: Floats, below: Floats
) -> None:
    slope, arms = np.empty((4, 3)), np.empty((3, 3))
    for n in range(len(atoms)):
        for m in range(3):
            for k in range(3):
                arms[m, k] = positions[atoms[n, m + 1], k] - positions[atoms[n, 0], k]
        for k in range(3):
            slope[0, k] = 0.0
        for m in range(3):
            one, other = arms[(m + 1) % 3], arms[(m + 2) % 3]
            for k in range(3):
                slope[m + 1, k] = one[(k + 1) % 3] * other[(k + 2) % 3] - one[(k + 2) % 3] * other[(k + 1) % 3]
                slope[0, k] -= slope[m + 1, k]
        _add_term(rank, first, rows, diagonal, below, atoms[n], weight[n], slope)


@njit(cache=True, nogil=True, error_model="numpy")
def _planes(
    positions: Floats, starts: Ints, atoms: Ints, weight: Floats,
    rank: Ints, first: Longs, rows: Ints, diagonal: Floats, below: Floats,
) -> None:  # fmt: skip
    """Distances from the plane through the atoms; what turns or shifts the plane as a whole costs nothing."""
    axes = np.zeros((3, 3))
    for n in range(len(weight)):
        start, stop = starts[n], starts[n + 1]
        inside = np.empty((stop - start, 2))
        _in_plane(positions, atoms[start:stop], axes, inside)
        yy, yz, zz = 1e-6, 0.0, 1e-6
        for s in range(stop - start):
            yy += inside[s, 0] * inside[s, 0]
            yz += inside[s, 0] * inside[s, 1]
            zz += inside[s, 1] * inside[s, 1]
        scale = 1.0 / (yy * zz - yz * yz + 1e-12)
        for s in range(stop - start):
            u, v = scale * (zz * inside[s, 0] - yz * inside[s, 1]), scale * (yy * inside[s, 1] - yz * inside[s, 0])
            for t in range(s + 1):
                share = -1.0 / (stop - start) - u * inside[t, 0] - v * inside[t, 1]
                if s == t:
                    share = max(1.0 + share, 0.0)
                _add_block(
                    rank, first, rows, diagonal, below, atoms[start + s], atoms[start + t], 2.0 * weight[n] * share,
                    axes[0], axes[0],
                )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def _in_plane(positions: Floats, atoms: Ints, axes: Floats, inside: Floats) -> None:
    """Write the normal of the plane through some atoms and two axes in it to `axes`, and their coordinates along these."""
    middle, moments = np.zeros(3), np.zeros((3, 3))
    for atom in atoms:
        for k in range(3):
            middle[k] += positions[atom, k] / len(atoms)
    for atom in atoms:
        for k in range(3):
            for m in range(3):
                moments[k, m] += (positions[atom, k] - middle[k]) * (positions[atom, m] - middle[m])
    axes[0, 0], axes[0, 1], axes[0, 2] = smallest_eigenvector(
        moments[0, 0], moments[0, 1], moments[0, 2], moments[1, 1], moments[1, 2], moments[2, 2]
    )
    least = 0
    for k in range(1, 3):
        if abs(axes[0, k]) < abs(axes[0, least]):
            least = k
    length = math.sqrt(1.0 - axes[0, least] ** 2)
    for k in range(3):
        axes[1, k] = ((1.0 if k == least else 0.0) - axes[0, least] * axes[0, k]) / length
    for k in range(3):
        after, last = (k + 1) % 3, (k + 2) % 3
        axes[2, k] = axes[0, after] * axes[1, last] - axes[0, last] * axes[1, after]
    for s in range(len(atoms)):
        for axis in range(2):
            inside[s, axis] = 0.0
            for k in range(3):
                inside[s, axis] += (positions[atoms[s], k] - middle[k]) * axes[axis + 1, k]
