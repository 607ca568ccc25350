"""Side chains that compete for room are moved together.

A side chain that fits badly may be kept out of its density by a neighbour that is in the wrong place too: alone, neither
can move. Where it would fit much better without the side chains around it, those that it would clash with, the nearest two
at most, make room: for each of its best conformations they are searched anew, and all move if the sum of energies falls.
Small cliques solved exactly are what is left of dead-end elimination (Canutescu et al. 2003, Protein Sci. 12, 2001-2014)
where a map holds most side chains.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from refinement.cells import neighbours_around
from refinement.moves.side_chain_atoms import HINGE_REACH, dihedral, inner_energy, list_contacts, surroundings_energy, turn
from refinement.moves.side_chain_rounds import ascending, longest_reach, touch
from refinement.moves.side_chain_search import (
    KEPT,
    TINY,
    WIDE,
    is_poor,
    map_energy,
    polished_candidates,
    rotamer_score,
    squared_weight,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.moves.rotamer_tables import RotamerTables
    from refinement.moves.side_chain_atoms import Atoms, Contacts, Rules, SideChains
    from refinement.moves.side_chain_search import Field

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]

RIVALS = 2
"""Neighbours that make room at most."""
WORTH = 3.0
"""Energy by which a side chain must fit better without its neighbours to be looked at further; a bad contact costs 8."""
IN_THE_WAY = 1.0
"""Energy of contacts with a conformation from which on a neighbour is in its way."""


def search_cliques(
    atoms: Atoms,
    field: Field,
    chains: SideChains,
    wanted: Longs,
    free: NDArray[np.bool_],
    tables: RotamerTables,
    rules: Rules,
    contacts: Contacts,
    gains: Floats,
) -> None:
    """Move side chains together where they compete; changes ``atoms.positions``.

    Parameters
    ----------
    atoms, field, chains, tables, rules, contacts
        As for `refinement.moves.side_chain_search.search`.
    wanted : NDArray[int64]
        Side chains that are looked at, one after the other.
    free : NDArray[bool], shape (number of side chains,)
        Those that may make room; images of others stay.
    gains : NDArray[float64], shape (number of side chains,)
        The energy gained is added at each side chain that moved.
    """
    poor = wanted[[bool(_fits_badly(atoms, field, chains, rules, s)) for s in wanted.tolist()]] if len(wanted) else wanted
    if not len(poor):
        return
    near = _near(atoms, chains, poor)
    rows = np.union1d(poor, near[1]).astype(np.int64)
    turning = np.zeros(len(atoms.weight), dtype=np.bool_)
    turning[chains.atoms[chains.level > 0]] = True
    still = np.flatnonzero(~turning & ~atoms.silent).astype(np.int32)
    reach = longest_reach(chains)[rows] + touch(atoms)
    offsets, around = neighbours_around(atoms.positions[chains.beta[rows]], atoms.positions[still], reach)
    chain_offsets, chain_rows = _near(atoms, chains, rows)
    place = np.full(len(chains.compound), -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    _search(
        atoms, field, chains, tables, rules, contacts, poor, free, place, offsets, still[around], chain_offsets, chain_rows, gains
    )


def _near(atoms: Atoms, chains: SideChains, rows: Longs) -> tuple[Longs, Ints]:
    """Return offsets and rows of the side chains that may touch each of `rows`."""
    longest = longest_reach(chains)
    reach = longest[rows] + touch(atoms) + HINGE_REACH + longest.max()
    offsets, others = neighbours_around(atoms.positions[chains.beta[rows]], atoms.positions[chains.beta], reach)
    return offsets, ascending(offsets, others)


@njit(cache=True, nogil=True, error_model="numpy")
def _fits_badly(atoms: Atoms, field: Field, chains: SideChains, rules: Rules, s: int) -> bool:
    return is_poor(atoms, field, chains, rules, s, _own(atoms, chains, s))


@njit(cache=True, nogil=True, error_model="numpy")
def _own(atoms: Atoms, chains: SideChains, s: int) -> Floats:
    """Return the positions of the atoms of a side chain."""
    first = chains.first[s]
    points = np.empty((chains.first[s + 1] - first, 3))
    for a in range(len(points)):
        for k in range(3):
            points[a, k] = atoms.positions[chains.atoms[first + a], k]
    return points


@njit(cache=True, nogil=True, error_model="numpy")
def _put(atoms: Atoms, chains: SideChains, s: int, points: Floats) -> None:
    """Put a side chain where `points` are."""
    for a in range(len(points)):
        for k in range(3):
            atoms.positions[chains.atoms[chains.first[s] + a], k] = points[a, k]


@njit(cache=True, nogil=True, error_model="numpy")
def _here(
    atoms: Atoms,
    field: Field,
    chains: SideChains,
    tables: RotamerTables,
    rules: Rules,
    contacts: Contacts,
    s: int,
    points: Floats,
) -> float:
    """Return the energy of a side chain at `points`, with what is listed."""
    chi = np.zeros(4)
    for k in range(tables.n_chi[chains.compound[s]]):
        chi[k] = math.degrees(dihedral(points, chains.quads[s, k]))
    energy = map_energy(atoms, field, chains, s, points, True) - math.log(
        max(rotamer_score(tables, chains.compound[s], chi), TINY)
    )
    energy += surroundings_energy(chains, rules, contacts, s, points, True)
    return energy + inner_energy(rules, contacts, points)


@njit(cache=True, nogil=True, error_model="numpy")
def _search(
    atoms: Atoms, field: Field, chains: SideChains, tables: RotamerTables, rules: Rules, contacts: Contacts, poor: Longs,
    free: NDArray[np.bool_], place: Longs, offsets: Longs, around: Ints, chain_offsets: Longs, chain_rows: Ints, gains: Floats,
) -> None:  # fmt: skip
    """Look at side chains one after the other."""
    clique = np.empty(RIVALS + 1, dtype=np.int64)
    for s in poor:
        still = around[offsets[place[s]] : offsets[place[s] + 1]]
        near = chain_rows[chain_offsets[place[s]] : chain_offsets[place[s] + 1]]
        clique[0] = s
        size = 1 + _rivals(atoms, field, chains, tables, rules, contacts, s, still, near, free, clique[1:])
        if size == 1:
            continue
        before = _own_of(atoms, chains, clique, size)
        best = _own_of(atoms, chains, clique, size)
        base = _own(atoms, chains, s)
        trial, chi, energies = np.empty_like(base), np.empty((KEPT, 4)), np.empty(KEPT)
        list_contacts(atoms, chains, rules, contacts, s, still, _without(near, clique[1:size]))
        here = _here(atoms, field, chains, tables, rules, contacts, s, base)
        polished_candidates(atoms, field, chains, tables, rules, contacts, s, base, trial, chi, energies)
        lists = (place, offsets, around, chain_offsets, chain_rows)
        start = here + _others(atoms, field, chains, tables, rules, contacts, clique, size, lists, False)
        squares = 0.0
        for t in clique[:size]:
            squares += squared_weight(atoms, chains, t)
        lowest, found = start - rules.gain - rules.doubt * math.sqrt(squares), False
        for k in range(KEPT):
            if energies[k] >= WIDE:
                continue
            _put_all(atoms, chains, clique, size, before)
            turn(chains, s, tables.n_chi[chains.compound[s]], base, chi[k], trial)
            _put(atoms, chains, s, trial)
            energy = energies[k] + _others(atoms, field, chains, tables, rules, contacts, clique, size, lists, True)
            if energy < lowest:
                lowest, found = energy, True
                best = _own_of(atoms, chains, clique, size)
        _put_all(atoms, chains, clique, size, best if found else before)
        if found:
            for t in clique[:size]:
                gains[t] += (start - lowest) / size


@njit(cache=True, nogil=True, error_model="numpy")
def _rivals(
    atoms: Atoms, field: Field, chains: SideChains, tables: RotamerTables, rules: Rules, contacts: Contacts, s: int,
    still: Ints, near: Ints, free: NDArray[np.bool_], rivals: Longs,
) -> int:  # fmt: skip
    """Write the side chains that are in the way of what s would be without them to `rivals`, and return how many."""
    base = _own(atoms, chains, s)
    trial, chi, energies = np.empty_like(base), np.empty((KEPT, 4)), np.empty(KEPT)
    list_contacts(atoms, chains, rules, contacts, s, still, near)
    here = _here(atoms, field, chains, tables, rules, contacts, s, base)
    list_contacts(atoms, chains, rules, contacts, s, still, near[:0])
    polished_candidates(atoms, field, chains, tables, rules, contacts, s, base, trial, chi, energies)
    best = int(np.argmin(energies))
    if energies[best] > here - WORTH:
        return 0
    turn(chains, s, tables.n_chi[chains.compound[s]], base, chi[best], trial)
    count, worst = 0, np.zeros(len(rivals))
    for k in range(len(near)):
        if near[k] == s or not free[near[k]]:
            continue
        list_contacts(atoms, chains, rules, contacts, s, still[:0], near[k : k + 1])
        energy = surroundings_energy(chains, rules, contacts, s, trial, True)
        weakest = int(np.argmin(worst))
        if energy > max(IN_THE_WAY, worst[weakest]):
            worst[weakest], rivals[weakest] = energy, near[k]
    for k in range(len(rivals)):
        if worst[k] > 0.0:
            rivals[count] = rivals[k]
            count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _others(
    atoms: Atoms, field: Field, chains: SideChains, tables: RotamerTables, rules: Rules, contacts: Contacts, clique: Longs,
    size: int, lists: tuple[Longs, Longs, Ints, Longs, Ints], searched: bool,
) -> float:  # fmt: skip
    """Return the energy of all but the first side chain of a clique, where they are or at their best; each contact once."""
    place, offsets, around, chain_offsets, chain_rows = lists
    total = 0.0
    for j in range(1, size):
        t = clique[j]
        still = around[offsets[place[t]] : offsets[place[t] + 1]]
        near = chain_rows[chain_offsets[place[t]] : chain_offsets[place[t] + 1]]
        list_contacts(atoms, chains, rules, contacts, t, still, _without(near, clique[j + 1 : size]))
        base = _own(atoms, chains, t)
        energy = _here(atoms, field, chains, tables, rules, contacts, t, base)
        if searched:
            trial, chi, energies = np.empty_like(base), np.empty((KEPT, 4)), np.empty(KEPT)
            polished_candidates(atoms, field, chains, tables, rules, contacts, t, base, trial, chi, energies)
            best = int(np.argmin(energies))
            if energies[best] < energy:
                energy = energies[best]
                turn(chains, t, tables.n_chi[chains.compound[t]], base, chi[best], trial)
                _put(atoms, chains, t, trial)
        total += energy
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _without(near: Ints, left_out: Longs) -> Ints:
    """Return the rows that aren't left out."""
    kept, count = np.empty_like(near), 0
    for row in near:
        if not (left_out == row).any():
            kept[count] = row
            count += 1
    return kept[:count]


@njit(cache=True, nogil=True, error_model="numpy")
def _own_of(atoms: Atoms, chains: SideChains, clique: Longs, size: int) -> Floats:
    """Return the positions of all atoms of a clique, one side chain after the other."""
    total = 0
    for s in clique[:size]:
        total += chains.first[s + 1] - chains.first[s]
    points, at = np.empty((total, 3)), 0
    for s in clique[:size]:
        for a in range(chains.first[s], chains.first[s + 1]):
            for k in range(3):
                points[at, k] = atoms.positions[chains.atoms[a], k]
            at += 1
    return points


@njit(cache=True, nogil=True, error_model="numpy")
def _put_all(atoms: Atoms, chains: SideChains, clique: Longs, size: int, points: Floats) -> None:
    """Put the side chains of a clique where `points` are."""
    at = 0
    for s in clique[:size]:
        count = chains.first[s + 1] - chains.first[s]
        _put(atoms, chains, s, points[at : at + count])
        at += count
