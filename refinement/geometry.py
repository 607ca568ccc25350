"""Distances, angles and dihedral angles of many atoms at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Indices = NDArray[np.integer[Any]]


def distances(positions: NDArray[np.float64], i: Indices, j: Indices) -> NDArray[np.float64]:
    """Return the distances between atoms i and j in the unit of `positions`, shape (n,)."""
    return _length(positions[j] - positions[i])


def angles(positions: NDArray[np.float64], i: Indices, j: Indices, k: Indices) -> NDArray[np.float64]:
    """Return the angles at atoms j between i and k in degrees, shape (n,).

    The angle comes from atan2 of cross and dot product, which is exact near 0 and 180° too.
    """
    a, b = positions[i] - positions[j], positions[k] - positions[j]
    return np.degrees(np.arctan2(_length(_cross(a, b)), _dot(a, b)))


def dihedrals(positions: NDArray[np.float64], i: Indices, j: Indices, k: Indices, m: Indices) -> NDArray[np.float64]:
    """Return the dihedral angles i-j-k-m in degrees, -180 to 180, IUPAC sign, shape (n,).

    Atoms on one line give 0.
    """
    a, b, c = positions[j] - positions[i], positions[k] - positions[j], positions[m] - positions[k]
    ab, bc = _cross(a, b), _cross(b, c)
    return np.degrees(np.arctan2(_dot(a, bc) * _length(b), _dot(ab, bc)))


def dihedrals_or_nan(positions: NDArray[np.float64], quads: Indices) -> NDArray[np.float64]:
    """Return the dihedral angles of rows of four atoms; NaN where an index is negative (atom missing)."""
    out = np.full(len(quads), np.nan)
    known = (quads >= 0).all(axis=1)
    out[known] = dihedrals(positions, *quads[known].T)
    return out


def chiral_volumes(positions: NDArray[np.float64], centre: Indices, i: Indices, j: Indices, k: Indices) -> NDArray[np.float64]:
    """Return the signed volumes (Å³) of the parallelepipeds spanned from `centre` to i, j, k."""
    origin = positions[centre]
    return _dot(positions[i] - origin, _cross(positions[j] - origin, positions[k] - origin))


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the cross products of rows; `numpy.cross` spends most of its time on other shapes."""
    ax, ay, az, bx, by, bz = *a.T, *b.T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=1)


def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.einsum("ij,ij->i", a, b)


def _length(a: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(_dot(a, a))
