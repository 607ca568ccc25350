"""Rigid motions as arrays: how they multiply, whether they form a group, and which point group that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LARGEST_GROUP = 120
"""More operators than this are no point group of a particle."""
ROUNDS = 8
"""The averages over a group converge quadratically: a degree becomes 1e-14 in four rounds."""
FAMILIES = {1: "C", 2: "D", 4: "T", 6: "O", 12: "I"}
"""Order of a point group divided by the highest order of its rotations -> its kind."""


@dataclass(frozen=True, slots=True, eq=False)
class Operators:
    """Motions x' = rotation @ x + shift, usually with the identity first.

    Attributes
    ----------
    rotation : NDArray[float64], shape (n, 3, 3)
    shift : NDArray[float64], shape (n, 3)
        Å.
    """

    rotation: Floats
    shift: Floats

    def __len__(self) -> int:
        return len(self.shift)

    @classmethod
    def identity(cls) -> Operators:
        """Return the motion that moves nothing."""
        return cls(np.eye(3)[None], np.zeros((1, 3)))

    def select(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Operators:
        """Return some of the operators."""
        return Operators(self.rotation[rows], self.shift[rows])

    def joined(self, other: Operators) -> Operators:
        """Return these operators followed by others."""
        return Operators(np.concatenate([self.rotation, other.rotation]), np.concatenate([self.shift, other.shift]))

    def apply(self, number: int, positions: Floats) -> Floats:
        """Return positions (n, 3) moved by one operator."""
        moved: Floats = positions @ self.rotation[number].T + self.shift[number]
        return moved

    def after(self, other: Operators) -> Operators:
        """Return self[i] · other[i], the right one applied first; one of the two may be a single operator."""
        return Operators(self.rotation @ other.rotation, (self.rotation @ other.shift[:, :, None])[:, :, 0] + self.shift)

    def inverse(self) -> Operators:
        """Return the motions back."""
        back = self.rotation.transpose(0, 2, 1)
        return Operators(back, -(back @ self.shift[:, :, None])[:, :, 0])

    def about(self, origin: Floats) -> Operators:
        """Return the same motions for coordinates that are counted from `origin`, shape (3,)."""
        return Operators(self.rotation, self.shift + self.rotation @ origin - origin)


def turned_about(axis: tuple[float, ...], degrees: float) -> Floats:
    """Return the matrix of a rotation about an axis through the origin (Rodrigues' formula)."""
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    angle = np.radians(degrees)
    matrix: Floats = np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross
    return matrix


def rotation_by(vector: Floats) -> Floats:
    """Return the matrix of a rotation about a vector (3,) by its length in radians."""
    angle = float(np.linalg.norm(vector))
    return turned_about(tuple(vector), np.degrees(angle)) if angle > 0.0 else np.eye(3)


def angle_of(rotation: Floats) -> float:
    """Return the angle (degrees) of a rotation matrix; exact near 0 and 180° too."""
    skew = rotation - rotation.T
    sine = 0.5 * np.sqrt(skew[0, 1] ** 2 + skew[0, 2] ** 2 + skew[1, 2] ** 2)
    return float(np.degrees(np.arctan2(sine, 0.5 * (np.trace(rotation) - 1.0))))


def kabsch(positions: Floats, others: Floats) -> tuple[Floats, Floats]:
    """Return the rotation (3, 3) and the shift (3,) that bring positions (n, 3) best onto others (Kabsch 1976)."""
    centre, end = positions.mean(axis=0), others.mean(axis=0)
    u, _, vt = np.linalg.svd((others - end).T @ (positions - centre))
    rotation = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    return rotation, end - rotation @ centre


def separation(first: Operators, second: Operators, centre: Floats, radius: float) -> Floats:
    """Return how far apart (Å, rms) operators take the points of a body; all pairs, shape (len(first), len(second)).

    Parameters
    ----------
    first, second : Operators
        The operators.
    centre : NDArray[float64], shape (3,)
        Centre of the body, Å.
    radius : float
        Its radius of gyration, Å; the body counts as a ball.
    """
    here, there = (operators.rotation @ centre + operators.shift for operators in (first, second))
    square = ((here[:, None] - there[None]) ** 2).sum(axis=2)
    # |A - B|² = 6 - 2 tr(A Bᵀ) for rotations
    turn = 6.0 - 2.0 * first.rotation.reshape(-1, 9) @ second.rotation.reshape(-1, 9).T
    apart: Floats = np.sqrt(square + radius**2 / 3.0 * np.maximum(turn, 0.0))
    return apart


def multiplication_table(operators: Operators, centre: Floats, radius: float, tolerance: float) -> NDArray[np.int64] | None:
    """Return the row of operator[i] · operator[j], shape (n, n), None where the operators don't form a group.

    Parameters
    ----------
    operators : Operators
        The identity among them.
    centre, radius
        The body that they move, see `separation`.
    tolerance : float
        Å; products that come this close to an operator are it.
    """
    n = len(operators)
    if n > LARGEST_GROUP:
        return None
    table = np.empty((n, n), dtype=np.int64)
    for i in range(n):
        products = operators.select(np.full(n, i)).after(operators)
        apart = separation(products, operators, centre, radius)
        table[i] = apart.argmin(axis=1)
        if apart.min(axis=1).max() > tolerance or len(set(table[i].tolist())) < n:
            return None
    return table


def as_group(operators: Operators, table: NDArray[np.int64], centre: Floats) -> Operators:
    """Return the exact group that lies nearest to operators that nearly form one.

    Every operator g is replaced by the mean over the group of (g h) h⁻¹, which is g where the operators multiply
    exactly (Grove, Karcher & Ruh 1974, Math. Ann. 211, 7-21). The identity stays exact.

    Parameters
    ----------
    operators : Operators
        The identity first.
    table : NDArray[int64], shape (n, n)
        From `multiplication_table`.
    centre : NDArray[float64], shape (3,)
        Shifts are averaged with the origin here, Å; near the centre of the particle.
    """
    found = operators.about(centre)
    for _ in range(ROUNDS):
        back = found.inverse()
        rotation, shift = np.empty_like(found.rotation), np.empty_like(found.shift)
        for g in range(len(found)):
            round_trips = found.select(table[g]).after(back)
            u, _, vt = np.linalg.svd(round_trips.rotation.mean(axis=0))
            rotation[g], shift[g] = u @ vt, round_trips.shift.mean(axis=0)
        found = Operators(rotation, shift)
    return found.about(-centre)


def group_name(table: NDArray[np.int64]) -> str:
    """Return the Schoenflies name of a rotation group, e.g. ``C4``, ``D7``, ``I``, from its multiplication table."""
    n = len(table)
    one = int(np.flatnonzero((table == np.arange(n)).all(axis=1))[0])
    highest = 1
    for row in range(n):
        power, order = row, 1
        while power != one:
            power, order = int(table[power, row]), order + 1
        highest = max(highest, order)
    kind = FAMILIES.get(n // highest, "?")
    return f"{kind}{highest}" if kind in "CD" else kind
