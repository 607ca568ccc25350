"""Sparse Cholesky factors of matrices with a 3 × 3 block for each pair of atoms that some restraint joins.

Molecules are nearly trees, so that eliminating the atom with the fewest neighbours first leaves few blocks more than
there were: about ten an atom for all covalent restraints of a protein. The order and the pattern depend on who is
restrained to whom only and are found once; the numbers are filled in at the start of each minimisation.

Minimum-degree ordering: Tinney & Walker (1967) Proc. IEEE 55, 1801; George & Liu (1989) SIAM Rev. 31, 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]

MOST_NEIGHBOURS = 32
"""Blocks in a column at most. Further ones are left out and what they were is added to the diagonal, which leaves the
matrix positive (Ajiz & Jennings 1984, Int. J. Numer. Meth. Eng. 20, 949), but makes the factor approximate."""
SMALLEST = 1e-8
"""A pivot isn't let fall below this part of its diagonal element: only rounding makes it so small."""


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """Order of elimination, and the blocks of the factor.

    Attributes
    ----------
    rank : NDArray[int32], shape (n,)
        When each atom is eliminated.
    first, rows : NDArray[int64], shape (n + 1,), and NDArray[int32]
        Column j of the factor (counted in ranks) has blocks in the rows ``rows[first[j]:first[j + 1]]``, ascending, all
        of them larger than j.
    """

    rank: NDArray[np.int32]
    first: NDArray[np.int64]
    rows: NDArray[np.int32]

    @classmethod
    def of(cls, size: int, groups: Iterable[NDArray[np.int32]]) -> Pattern:
        """Return the pattern for `size` atoms; within each row of each of `groups`, shape (m, k), all are joined.

        Negative atoms stand for none.
        """
        keys = [np.empty(0, dtype=np.int64)]
        for group in groups:
            for a in range(group.shape[1]):
                for b in range(a):
                    one, other = group[:, a].astype(np.int64), group[:, b].astype(np.int64)
                    found = np.minimum(one, other) * size + np.maximum(one, other)
                    keys.append(found[(one >= 0) & (other >= 0)])
        unique = np.sort(np.concatenate(keys))
        unique = unique[np.diff(unique, prepend=-1) != 0]
        pairs = np.stack(np.divmod(unique, max(size, 1)), axis=1).astype(np.int32)
        rank, degree, joined = _order(size, pairs[pairs[:, 0] != pairs[:, 1]])
        return cls(rank, *_columns(rank, degree, joined))

    def empty(self) -> Matrix:
        """Return the matrix of zeros."""
        return Matrix(self, np.zeros((len(self.rank), 3, 3)), np.zeros((len(self.rows), 3, 3)))


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """A symmetric matrix in the pattern of its factor; rows and columns counted in ranks.

    Attributes
    ----------
    pattern : Pattern
    diagonal : NDArray[float64], shape (n, 3, 3)
        Blocks of the atoms; the lower triangles count.
    below : NDArray[float64], shape (len(pattern.rows), 3, 3)
        Blocks below them.
    """

    pattern: Pattern
    diagonal: NDArray[np.float64]
    below: NDArray[np.float64]

    def add_diagonal(self, values: NDArray[np.float64]) -> None:
        """Add a value for each atom, shape (n,), to its three diagonal elements."""
        rows = self.pattern.rank
        for k in range(3):
            self.diagonal[rows, k, k] += values

    def copy(self) -> Matrix:
        """Return a matrix of its own with the same blocks."""
        return Matrix(self.pattern, self.diagonal.copy(), self.below.copy())

    def factor(self) -> Factor:
        """Return the Cholesky factor; this matrix holds it afterwards."""
        _factorise(self.pattern.first, self.pattern.rows, self.diagonal, self.below)
        return Factor(self.pattern, self.diagonal, self.below, np.empty(3 * len(self.diagonal)))


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """A lower triangular matrix L with L Lᵀ = A.

    In the variables z = Lᵀ x a function with the Hessian A curves by 1 in all directions; this is a
    `refinement.minimise.Variables`.
    """

    pattern: Pattern
    inverse: NDArray[np.float64]
    below: NDArray[np.float64]
    scratch: NDArray[np.float64]

    def gradient(self, by_x: NDArray[np.float64], by_z: NDArray[np.float64]) -> None:
        """Write L⁻¹ · `by_x`, both of shape (3 n,): the gradient by z; in the order of elimination."""
        _forward(self.pattern.rank, self.pattern.first, self.pattern.rows, self.inverse, self.below, by_x, by_z)

    def direction(self, of_z: NDArray[np.float64], of_x: NDArray[np.float64]) -> None:
        """Write L⁻ᵀ · `of_z`, both of shape (3 n,): the change of x."""
        pattern = self.pattern
        _backward(pattern.rank, pattern.first, pattern.rows, self.inverse, self.below, of_z, self.scratch, of_x)


@njit(cache=True, nogil=True, error_model="numpy")
def _join(joined: Ints, degree: Ints, a: int, b: int) -> None:
    """Make two atoms neighbours if they aren't and both have room."""
    if degree[a] == joined.shape[1] or degree[b] == joined.shape[1]:
        return
    for k in range(degree[a]):
        if joined[a, k] == b:
            return
    joined[a, degree[a]], joined[b, degree[b]] = b, a
    degree[a] += 1
    degree[b] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _order(size: int, pairs: Ints) -> tuple[Ints, Ints, Ints]:
    """Return the rank of each atom, and how many and which atoms it was joined to when it was eliminated.

    Atoms of equal degree wait in a list for each degree, those that came last first.
    """
    joined = np.empty((size, MOST_NEIGHBOURS), dtype=np.int32)
    degree = np.zeros(size, dtype=np.int32)
    for k in range(len(pairs)):
        _join(joined, degree, pairs[k, 0], pairs[k, 1])
    head = np.full(MOST_NEIGHBOURS + 1, -1, dtype=np.int64)
    after, before = np.full(size, -1, dtype=np.int64), np.full(size, -1, dtype=np.int64)
    for v in range(size - 1, -1, -1):
        _enter(head, after, before, degree[v], v)
    rank = np.empty(size, dtype=np.int32)
    for step in range(size):
        lowest = 0
        while head[lowest] < 0:
            lowest += 1
        v = head[lowest]
        _leave(head, after, before, lowest, v)
        rank[v] = step
        for k in range(degree[v]):
            a = joined[v, k]
            _leave(head, after, before, degree[a], a)
            place = 0
            while joined[a, place] != v:
                place += 1
            degree[a] -= 1
            joined[a, place] = joined[a, degree[a]]
        for k in range(degree[v]):
            for m in range(k):
                _join(joined, degree, joined[v, k], joined[v, m])
        for k in range(degree[v]):
            _enter(head, after, before, degree[joined[v, k]], joined[v, k])
    return rank, degree, joined


@njit(cache=True, nogil=True, error_model="numpy")
def _enter(head: Longs, after: Longs, before: Longs, degree: int, v: int) -> None:
    """Put an atom at the front of the list of its degree."""
    after[v], before[v] = head[degree], -1
    if head[degree] >= 0:
        before[head[degree]] = v
    head[degree] = v


@njit(cache=True, nogil=True, error_model="numpy")
def _leave(head: Longs, after: Longs, before: Longs, degree: int, v: int) -> None:
    """Take an atom out of the list of its degree."""
    if before[v] >= 0:
        after[before[v]] = after[v]
    else:
        head[degree] = after[v]
    if after[v] >= 0:
        before[after[v]] = before[v]


@njit(cache=True, nogil=True, error_model="numpy")
def _columns(rank: Ints, degree: Ints, joined: Ints) -> tuple[Longs, Ints]:
    """Return the rows of each column, ascending."""
    first = np.zeros(len(rank) + 1, dtype=np.int64)
    for v in range(len(rank)):
        first[rank[v] + 1] = degree[v]
    for j in range(len(rank)):
        first[j + 1] += first[j]
    rows = np.empty(first[-1], dtype=np.int32)
    for v in range(len(rank)):
        begin = first[rank[v]]
        for k in range(degree[v]):
            row, place = rank[joined[v, k]], begin + k
            while place > begin and rows[place - 1] > row:
                rows[place] = rows[place - 1]
                place -= 1
            rows[place] = row
    return first, rows


@njit(cache=True, nogil=True, error_model="numpy")
def _factorise(first: Longs, rows: Ints, diagonal: Floats, below: Floats) -> None:
    """Replace a matrix by its factor; of the diagonal blocks the inverse is kept."""
    for j in range(len(diagonal)):
        _invert_root(diagonal[j])
        for s in range(first[j], first[j + 1]):
            _times_transposed(below[s], diagonal[j])
        for t in range(first[j], first[j + 1]):
            k = rows[t]
            _subtract_product(diagonal[k], below[t], below[t])
            place, stop = first[k], first[k + 1]
            for s in range(t + 1, first[j + 1]):
                while place < stop and rows[place] < rows[s]:
                    place += 1
                if place < stop and rows[place] == rows[s]:
                    _subtract_product(below[place], below[s], below[t])
                else:
                    _compensate(diagonal[rows[s]], diagonal[k], below[s], below[t])


@njit(cache=True, nogil=True, error_model="numpy")
def _invert_root(block: Floats) -> None:
    """Replace a symmetric 3 × 3 block by the inverse of its lower triangular root."""
    for k in range(3):
        pivot = block[k, k]
        for m in range(k):
            pivot -= block[k, m] ** 2
        block[k, k] = math.sqrt(max(pivot, SMALLEST * abs(block[k, k]), 1e-12))
        for i in range(k + 1, 3):
            value = block[i, k]
            for m in range(k):
                value -= block[i, m] * block[k, m]
            block[i, k] = value / block[k, k]
    for k in range(3):
        block[k, k] = 1.0 / block[k, k]
    lower = -block[1, 0] * block[0, 0] * block[1, 1]
    block[2, 0] = -(block[2, 0] * block[0, 0] + block[2, 1] * lower) * block[2, 2]
    block[2, 1] = -block[2, 1] * block[1, 1] * block[2, 2]
    block[1, 0] = lower
    block[0, 1] = block[0, 2] = block[1, 2] = 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _times_transposed(block: Floats, inverse: Floats) -> None:
    """Multiply a block from the right by the transpose of a lower triangular one."""
    for i in range(3):
        x, y, z = block[i, 0], block[i, 1], block[i, 2]
        block[i, 0] = x * inverse[0, 0]
        block[i, 1] = x * inverse[1, 0] + y * inverse[1, 1]
        block[i, 2] = x * inverse[2, 0] + y * inverse[2, 1] + z * inverse[2, 2]


@njit(cache=True, nogil=True, error_model="numpy")
def _subtract_product(block: Floats, left: Floats, right: Floats) -> None:
    """Subtract left · rightᵀ."""
    for i in range(3):
        for k in range(3):
            block[i, k] -= left[i, 0] * right[k, 0] + left[i, 1] * right[k, 1] + left[i, 2] * right[k, 2]


@njit(cache=True, nogil=True, error_model="numpy")
def _compensate(one: Floats, other: Floats, left: Floats, right: Floats) -> None:
    """Add the size of the block left · rightᵀ, which is left out, to the diagonal blocks of its row and its column."""
    size = 0.0
    for i in range(3):
        for k in range(3):
            size += (left[i, 0] * right[k, 0] + left[i, 1] * right[k, 1] + left[i, 2] * right[k, 2]) ** 2
    for k in range(3):
        one[k, k] += math.sqrt(size)
        other[k, k] += math.sqrt(size)


@njit(cache=True, nogil=True, error_model="numpy")
def _forward(rank: Ints, first: Longs, rows: Ints, inverse: Floats, below: Floats, given: Floats, out: Floats) -> None:
    """Write L⁻¹ · given; `given` in the order of atoms, `out` in that of elimination."""
    for atom in range(len(rank)):
        for k in range(3):
            out[3 * rank[atom] + k] = given[3 * atom + k]
    for j in range(len(rank)):
        x, y, z = out[3 * j], out[3 * j + 1], out[3 * j + 2]
        block = inverse[j]
        z = block[2, 0] * x + block[2, 1] * y + block[2, 2] * z
        y = block[1, 0] * x + block[1, 1] * y
        x = block[0, 0] * x
        out[3 * j], out[3 * j + 1], out[3 * j + 2] = x, y, z
        for s in range(first[j], first[j + 1]):
            i, block = 3 * rows[s], below[s]
            out[i] -= block[0, 0] * x + block[0, 1] * y + block[0, 2] * z
            out[i + 1] -= block[1, 0] * x + block[1, 1] * y + block[1, 2] * z
            out[i + 2] -= block[2, 0] * x + block[2, 1] * y + block[2, 2] * z


@njit(cache=True, nogil=True, error_model="numpy")
def _backward(
    rank: Ints, first: Longs, rows: Ints, inverse: Floats, below: Floats, given: Floats, solved: Floats, out: Floats
) -> None:
    """Write L⁻ᵀ · given; `given` in the order of elimination, `out` in that of atoms; `solved` is scratch."""
    for j in range(len(rank) - 1, -1, -1):
        x, y, z = given[3 * j], given[3 * j + 1], given[3 * j + 2]
        for s in range(first[j], first[j + 1]):
            i, block = 3 * rows[s], below[s]
            u, v, w = solved[i], solved[i + 1], solved[i + 2]
            x -= block[0, 0] * u + block[1, 0] * v + block[2, 0] * w
            y -= block[0, 1] * u + block[1, 1] * v + block[2, 1] * w
            z -= block[0, 2] * u + block[1, 2] * v + block[2, 2] * w
        block = inverse[j]
        solved[3 * j] = block[0, 0] * x + block[1, 0] * y + block[2, 0] * z
        solved[3 * j + 1] = block[1, 1] * y + block[2, 1] * z
        solved[3 * j + 2] = block[2, 2] * z
    for atom in range(len(rank)):
        for k in range(3):
            out[3 * atom + k] = solved[3 * rank[atom] + k]
