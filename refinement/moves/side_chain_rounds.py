"""Which side chains are searched at the same time, and what is around them.

Side chains that can touch belong to different rounds; those of one round are searched in any order, or at once in
several threads, and each finds its neighbours where the rounds before left them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from refinement.cells import neighbours_around
from refinement.moves.side_chain_atoms import BOND_REACH, HINGE_REACH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from refinement.moves.rotamer_tables import RotamerTables
    from refinement.moves.side_chain_atoms import Atoms, SideChains

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]
    Lists = tuple[Longs, Ints, Longs, Ints]

BLOCK = 2048
"""Side chains whose neighbours are listed together; bounds memory."""


def near_moved(atoms: Atoms, chains: SideChains, moved: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the side chains, shape (m,), that can touch any of the atoms `moved`, shape (n,), or own one."""
    points = atoms.positions[moved]
    if not len(points):
        return np.zeros(len(chains.compound), dtype=np.bool_)
    offsets, _ = neighbours_around(atoms.positions[chains.beta], points, longest_reach(chains) + touch(atoms))
    return np.asarray(np.diff(offsets) > 0)


def rounds(atoms: Atoms, chains: SideChains, wanted: NDArray[np.int64], tables: RotamerTables) -> Iterator[tuple[Longs, Lists]]:
    """Yield side chains that can be searched at once, and the lists of their surroundings.

    Parameters
    ----------
    atoms, chains
        The model and its side chains.
    wanted : NDArray[int64]
        Rows of the side chains to search, ascending.
    tables : RotamerTables
        For their cost.

    Yields
    ------
    rows : NDArray[int64]
        Side chains; the most expensive first.
    lists : tuple
        Offsets and rows of the atoms that no χ turns near each of them, and of the side chains near each.
    """
    turning = np.zeros(len(atoms.weight), dtype=np.bool_)
    turning[chains.atoms[chains.level > 0]] = True
    still = np.flatnonzero(~turning & ~atoms.silent).astype(np.int32)
    longest, apart = longest_reach(chains), touch(atoms)
    colour = _colours_of(atoms, chains, wanted)
    cost = np.diff(tables.first)[chains.compound] * np.diff(chains.first)
    for k in range(int(colour.max(initial=-1)) + 1):
        mine = wanted[colour == k]
        mine = mine[np.argsort(-cost[mine], kind="stable")]
        for start in range(0, len(mine), BLOCK):
            rows = mine[start : start + BLOCK]
            centres, everywhere = atoms.positions[chains.beta[rows]], atoms.positions[chains.beta]
            offsets, near = neighbours_around(centres, atoms.positions[still], longest[rows] + apart)
            chain_offsets, others = neighbours_around(centres, everywhere, longest[rows] + apart + HINGE_REACH + longest.max())
            yield rows, (offsets, still[near], chain_offsets, ascending(chain_offsets, others))


def dealt(rows: NDArray[np.int64], threads: int) -> NDArray[np.int64]:
    """Return places of `rows`, dealt out so that contiguous parts of equal size (`in_parts`) cost about the same."""
    return np.concatenate([np.arange(thread, len(rows), threads) for thread in range(threads)])


def longest_reach(chains: SideChains) -> Floats:
    """Return how far (Å) from Cβ any atom of each side chain can get."""
    return np.asarray(np.maximum.reduceat(chains.reach, chains.first[:-1]))


def touch(atoms: Atoms) -> float:
    """Return the distance (Å) over which atoms may feel each other."""
    return 2.0 * float(atoms.radius.max()) + BOND_REACH + HINGE_REACH


def _colours_of(atoms: Atoms, chains: SideChains, wanted: Longs) -> Longs:
    """Return the round of each of the side chains `wanted`."""
    beta, longest = atoms.positions[chains.beta[wanted]], longest_reach(chains)[wanted]
    apart = longest + touch(atoms) + 2.0 * HINGE_REACH  # both may hinge
    offsets, near = neighbours_around(beta, beta, apart + longest.max(initial=0.0))
    return np.asarray(_colours(beta, apart, longest, offsets, near))


@njit(cache=True, nogil=True, error_model="numpy")
def _colours(beta: Floats, apart: Floats, longest: Floats, offsets: Longs, near: Ints) -> Longs:
    """Give each point the lowest number that none of its neighbours before it has."""
    colours = np.empty(len(beta), dtype=np.int64)
    taken = np.full(len(beta) + 1, -1, dtype=np.int64)
    for s in range(len(beta)):
        for k in range(offsets[s], offsets[s + 1]):
            t = near[k]
            if t < s:
                square = 0.0
                for axis in range(3):
                    square += (beta[s, axis] - beta[t, axis]) ** 2
                if square < (apart[s] + longest[t]) ** 2:
                    taken[colours[t]] = s
        colour = 0
        while taken[colour] == s:
            colour += 1
        colours[s] = colour
    return colours


def ascending(offsets: Longs, rows: Ints) -> Ints:
    """Sort the rows of each owner."""
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return rows[np.lexsort((rows, owner))]
