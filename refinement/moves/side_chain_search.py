"""Compiled search for the best conformation of side chains, in place.

The energy of a trial is what the minimiser sees of the atoms that move:
-w Σ (Z/6) occupancy density + contacts with all neighbours, hydrogens included, each no worse than a cap
- ln(rotamer score) - a bonus for each hydrogen bond of a hydrogen with a fixed place.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from refinement.maps.interpolation import value_at
from refinement.moves.side_chain_atoms import hinge, inner_energy, list_contacts, surroundings_energy, turn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.interpolation import InterpolatedMap
    from refinement.moves.rotamer_tables import RotamerTables
    from refinement.moves.side_chain_atoms import Atoms, Contacts, Rules, SideChains

    Floats = NDArray[np.float64]

KEPT, KEPT_TURNED = 4, 1
"""Candidates that are polished, on the backbone as it is and on one that is turned."""
DISTINCT = 30.0
"""Degrees; candidates nearer than this in every χ are one."""
COARSE, FINE, FINEST = 8.0, 4.0, 2.0
POLISH_ROUNDS = 4
"""Steps of the polish in degrees, and how often at most each goes round all χ."""
SLACK = 8.0
"""Candidates that would need more than this from hydrogen bonds aren't looked at further."""
POLISHABLE = 0.3
"""Nor those that are worse than the best one by more than this part of its energy: polishing doesn't gain so much."""
NEAREST_ANGLE = 10.0
"""Degrees; the backbone is turned further only where this much helped."""
WIDE, TINY = 1e30, 1e-9
KERNEL_STEP = 0.1
"""Å between the nodes of the kernel."""


class Field(NamedTuple):
    """The map, as in `refinement.maps.interpolation.InterpolatedMap`, and what a side chain adds to it itself.

    Attributes
    ----------
    coefficients, grid_matrix, corner, basis
        The map.
    kernel : NDArray[float64], shape (k,)
        Energy of two unit weights at a distance, in steps of `KERNEL_STEP` from 0, where the map is what all atoms leave
        unexplained; empty where it is the observed one.
    anchors : NDArray[float64], shape (n, 3)
        Where the atoms were when it was made, in Å; empty with an empty kernel.
    """

    coefficients: NDArray[np.float32]
    grid_matrix: NDArray[np.float64]
    corner: NDArray[np.float64]
    basis: int
    kernel: NDArray[np.float64]
    anchors: NDArray[np.float64]


def field_of(density: InterpolatedMap, kernel: Floats | None = None, anchors: Floats | None = None) -> Field:
    """Return the field of an observed map, or with `kernel` and `anchors` of what a model leaves unexplained."""
    own = (np.empty(0) if kernel is None else kernel, np.empty((0, 3)) if anchors is None else anchors)
    return Field(density.coefficients, density.grid_matrix, density.corner, density.basis, *own)


@njit(cache=True, nogil=True, error_model="numpy")
def search(
    atoms: Atoms, field: Field, chains: SideChains, tables: RotamerTables, rules: Rules, contacts: Contacts, angles: Floats,
    rows: NDArray[np.int64], places: NDArray[np.int64], offsets: NDArray[np.int64], around: NDArray[np.int32],
    chain_offsets: NDArray[np.int64], chain_rows: NDArray[np.int32], gains: Floats,
) -> None:  # fmt: skip
    """Fit some side chains; changes ``atoms.positions`` and writes the gain of each accepted change.

    Parameters
    ----------
    angles : NDArray[float64]
        Backbone angles in degrees, 0 first, larger ones after smaller ones.
    rows : NDArray[int64]
        Side chains of one round.
    places : NDArray[int64]
        Those of `rows` that are fitted now.
    offsets, around, chain_offsets, chain_rows
        Atoms that don't move and side chains near each of `rows`.
    gains : NDArray[float64], shape (number of side chains,)
        Energy gained, 0 where nothing changed.
    """
    for place in places:
        s = rows[place]
        list_contacts(
            atoms, chains, rules, contacts, s, around[offsets[place] : offsets[place + 1]],
            chain_rows[chain_offsets[place] : chain_offsets[place + 1]],
        )  # fmt: skip
        gains[s] = _search_one(atoms, field, chains, tables, rules, contacts, angles, s)


@njit(cache=True, nogil=True, error_model="numpy")
def _search_one(
    atoms: Atoms, field: Field, chains: SideChains, tables: RotamerTables, rules: Rules, contacts: Contacts, angles: Floats,
    s: int,
) -> float:  # fmt: skip
    """Fit one side chain and return the energy gained, 0 if it stays."""
    own = chains.atoms[chains.first[s] : chains.first[s + 1]]
    n_chi = tables.n_chi[chains.compound[s]]
    base, trial, turned = np.empty((len(own), 3)), np.empty((len(own), 3)), np.empty((len(own), 3))
    for a in range(len(own)):
        for k in range(3):
            base[a, k] = atoms.positions[own[a], k]
    chi, best_chi = np.empty(4), np.empty(4)
    _copy(chains.start[s], chi)
    _copy(chains.start[s], best_chi)
    score = chains.score[s]
    outlier, allowed = score < rules.outlier, rules.outlier <= score < rules.favored
    lowest_score = 0.999 * score if allowed else rules.favored
    current = _fixed_part(atoms, field, chains, rules, contacts, s, base)
    current += _polish(atoms, field, chains, tables, rules, contacts, s, base, trial, chi, lowest_score, FINEST)
    within_noise = rules.doubt * math.sqrt(squared_weight(atoms, chains, s))
    best, best_angle, found = current - rules.gain - within_noise, 0.0, False
    if outlier:
        best, found = current, True
        _copy(chi, best_chi)
    elif allowed:
        best = current + rules.gain - within_noise
    for k in range(len(angles)):
        if k == 1:
            turn(chains, s, n_chi, base, best_chi, trial)
            if chains.hinge[s, 0] < 0 or not is_poor(atoms, field, chains, rules, s, trial):
                break
        if abs(angles[k]) > NEAREST_ANGLE and best_angle * angles[k] <= 0.0:
            continue
        hinge(atoms, chains, s, base, angles[k], turned)
        fixed = _fixed_part(atoms, field, chains, rules, contacts, s, turned) + rules.angle_penalty * angles[k] ** 2
        kept = KEPT if k == 0 else KEPT_TURNED
        energy = fixed + _best_of(atoms, field, chains, tables, rules, contacts, s, turned, trial, chi, kept)
        if energy < best:
            best, best_angle, found = energy, angles[k], True
            _copy(chi, best_chi)
    if not found:
        return 0.0
    hinge(atoms, chains, s, base, best_angle, turned)
    turn(chains, s, n_chi, turned, best_chi, trial)
    for a in range(len(own)):
        for k in range(3):
            atoms.positions[own[a], k] = trial[a, k]
    return max(current - best, TINY)


@njit(cache=True, nogil=True, error_model="numpy")
def squared_weight(atoms: Atoms, chains: SideChains, s: int) -> float:
    """Return the sum of squares of what the density counts at each atom that χ turn."""
    total = 0.0
    for a in range(chains.first[s], chains.first[s + 1]):
        if chains.level[a] > 0 and atoms.weight[chains.atoms[a]] > 0.0:
            total += atoms.weight[chains.atoms[a]] ** 2
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def is_poor(atoms: Atoms, field: Field, chains: SideChains, rules: Rules, s: int, points: Floats) -> bool:
    """Return whether a side chain lies in much less density than its backbone."""
    total, weight = np.zeros(2), np.zeros(2)
    for a in range(chains.first[s + 1] - chains.first[s]):
        atom, side = chains.atoms[chains.first[s] + a], int(chains.level[chains.first[s] + a] > 0)
        if atoms.weight[atom] > 0.0:
            value = value_at(points[a], field.coefficients, field.grid_matrix, field.corner, field.basis)
            total[side] += atoms.weight[atom] * value
            weight[side] += atoms.weight[atom]
    return total[1] * weight[0] < rules.poor * total[0] * weight[1]


@njit(cache=True, nogil=True, error_model="numpy")
def _best_of(
    atoms: Atoms, field: Field, chains: SideChains, tables: RotamerTables, rules: Rules, contacts: Contacts, s: int,
    base: Floats, trial: Floats, chi: Floats, kept: int,
) -> float:  # fmt: skip
    """Write the best polished candidate to `chi` and return its energy."""
    best, energies = np.empty((kept, 4)), np.empty(kept)
    polished_candidates(atoms, field, chains, tables, rules, contacts, s, base, trial, best, energies)
    place = 0
    for k in range(1, kept):
        if energies[k] < energies[place]:
            place = k
    lowest = energies[place]
    if lowest < WIDE:
        lowest = _polish(atoms, field, chains, tables, rules, contacts, s, base, trial, best[place], rules.favored, FINEST)
        _copy(best[place], chi)
    return lowest


@njit(cache=True, nogil=True, error_model="numpy")
def polished_candidates(
    atoms: Atoms, field: Field, chains: SideChains, tables: RotamerTables, rules: Rules, contacts: Contacts, s: int,
    base: Floats, trial: Floats, best: Floats, energies: Floats,
) -> None:  # fmt: skip
    """Write different good conformations to `best` (k, 4), and their energies (k,), `WIDE` for those that aren't worth it."""
    compound = chains.compound[s]
    n_chi = tables.n_chi[compound]
    for k in range(len(energies)):
        energies[k] = WIDE
    hopeless = WIDE
    for c in range(tables.first[compound], tables.first[compound + 1]):
        turn(chains, s, n_chi, base, tables.chi[c], trial)
        energy = tables.cost[c] + map_energy(atoms, field, chains, s, trial, True)
        if energy - SLACK < min(energies[_worst(energies)], hopeless):
            energy += surroundings_energy(chains, rules, contacts, s, trial, True)
            energy += inner_energy(rules, contacts, trial)
            _insert(best, energies, tables.chi[c], energy, n_chi, tables.period[compound])
            hopeless = min(hopeless, energy + SLACK + POLISHABLE * abs(energy))
    for k in range(len(energies)):
        if energies[k] < hopeless:
            energies[k] = _polish(atoms, field, chains, tables, rules, contacts, s, base, trial, best[k], rules.favored, FINE)
        else:
            energies[k] = WIDE


@njit(cache=True, nogil=True, error_model="numpy")
def _insert(best: Floats, energies: Floats, chi: Floats, energy: float, n_chi: int, period: Floats) -> None:
    """Put a candidate among the best ones, instead of one that is nearly the same or of the worst."""
    place = -1
    for k in range(len(energies)):
        same = energies[k] < WIDE
        for j in range(n_chi):
            apart = chi[j] - best[k, j]
            same &= abs(apart - period[j] * math.floor(apart / period[j] + 0.5)) < DISTINCT
        if same and place < 0:
            place = k
    if place < 0:
        place = _worst(energies)
    if energy < energies[place]:
        energies[place] = energy
        _copy(chi, best[place])


@njit(cache=True, nogil=True, error_model="numpy")
def _worst(energies: Floats) -> int:
    """Return the place of the highest energy."""
    place = 0
    for k in range(1, len(energies)):
        if energies[k] > energies[place]:
            place = k
    return place


@njit(cache=True, nogil=True, error_model="numpy")
def _copy(source: Floats, target: Floats) -> None:
    for k in range(4):
        target[k] = source[k]


@njit(cache=True, nogil=True, error_model="numpy")
def _polish(
    atoms: Atoms, field: Field, chains: SideChains, tables: RotamerTables, rules: Rules, contacts: Contacts, s: int, base: Floats,
    trial: Floats, chi: Floats, lowest_score: float, finest: float,
) -> float:  # fmt: skip
    """Move `chi` downhill, one angle at a time, never below a rotamer score; return the energy.

    Steps get smaller down to `finest` (degrees).
    """
    compound = chains.compound[s]
    n_chi = tables.n_chi[compound]
    energy = _energy(atoms, field, chains, tables, rules, contacts, s, base, trial, chi, 0.0)
    for step in (COARSE, FINE, FINEST):
        if step < finest:
            break
        for _ in range(POLISH_ROUNDS):
            improved = False
            for k in range(n_chi):
                here = chi[k]
                for sign in (1.0, -1.0):
                    chi[k] = here + sign * step
                    value = _energy(atoms, field, chains, tables, rules, contacts, s, base, trial, chi, lowest_score)
                    if value < energy:
                        energy, improved = value, True
                        break
                    chi[k] = here
            if not improved:
                break
    return energy


@njit(cache=True, nogil=True, error_model="numpy")
def _energy(
    atoms: Atoms, field: Field, chains: SideChains, tables: RotamerTables, rules: Rules, contacts: Contacts, s: int,
    base: Floats, trial: Floats, chi: Floats, lowest_score: float,
) -> float:  # fmt: skip
    """Return the energy of the side chain at `chi`, `WIDE` where its rotamer score is too low."""
    compound = chains.compound[s]
    score = rotamer_score(tables, compound, chi)
    if score < lowest_score:
        return WIDE
    turn(chains, s, tables.n_chi[compound], base, chi, trial)
    energy = map_energy(atoms, field, chains, s, trial, True) - math.log(max(score, TINY))
    energy += surroundings_energy(chains, rules, contacts, s, trial, True)
    return energy + inner_energy(rules, contacts, trial)


@njit(cache=True, nogil=True, error_model="numpy")
def map_energy(atoms: Atoms, field: Field, chains: SideChains, s: int, points: Floats, side: bool) -> float:
    """Return the map energy of the side chain, or of its backbone."""
    energy = 0.0
    for a in range(chains.first[s + 1] - chains.first[s]):
        atom = chains.atoms[chains.first[s] + a]
        if (chains.level[chains.first[s] + a] > 0) == side and atoms.weight[atom] > 0.0:
            value = value_at(points[a], field.coefficients, field.grid_matrix, field.corner, field.basis)
            energy -= atoms.weight[atom] * value
    if side and len(field.kernel):
        energy += _own_energy(atoms, field, chains, s, points)
    return energy


@njit(cache=True, nogil=True, error_model="numpy")
def _own_energy(atoms: Atoms, field: Field, chains: SideChains, s: int, points: Floats) -> float:
    """Return what the side chain explains of its own: the map lacks it where it was, and is to lack it where it goes."""
    energy, first = 0.0, chains.first[s]
    for a in range(chains.first[s + 1] - first):
        if chains.level[first + a] == 0:
            continue
        for b in range(chains.first[s + 1] - first):
            atom = chains.atoms[first + b]
            weight = atoms.weight[chains.atoms[first + a]] * atoms.weight[atom]
            if chains.level[first + b] > 0 and weight > 0.0:
                there, here = 0.0, 0.0
                for k in range(3):
                    there += (points[a, k] - field.anchors[atom, k]) ** 2
                    here += (points[a, k] - points[b, k]) ** 2
                energy += weight * (_kernel_at(field.kernel, math.sqrt(here)) - 2.0 * _kernel_at(field.kernel, math.sqrt(there)))
    return energy


@njit(cache=True, nogil=True, error_model="numpy")
def _kernel_at(kernel: Floats, distance: float) -> float:
    """Return the kernel at a distance (Å), linear between its nodes, 0 beyond the last one."""
    place = distance / KERNEL_STEP
    node = int(place)
    if node + 1 >= len(kernel):
        return 0.0
    return kernel[node] + (place - node) * (kernel[node + 1] - kernel[node])


@njit(cache=True, nogil=True, error_model="numpy")
def _fixed_part(
    atoms: Atoms, field: Field, chains: SideChains, rules: Rules, contacts: Contacts, s: int, points: Floats
) -> float:
    """Return the energy of the backbone that hinges, which is the same for every χ."""
    energy = map_energy(atoms, field, chains, s, points, False)
    return energy + surroundings_energy(chains, rules, contacts, s, points, False)


@njit(cache=True, nogil=True, error_model="numpy")
def rotamer_score(tables: RotamerTables, compound: int, chi: Floats) -> float:
    """Return the Top8000 score at χ angles (degrees), multilinear between the centres of the cells."""
    cell, part = np.empty(4, dtype=np.int64), np.empty(4)
    for k in range(4):
        place = chi[k] / tables.width[compound, k] - 0.5 if k < tables.n_chi[compound] else 0.0
        cell[k] = math.floor(place)
        part[k] = place - cell[k]
    score = 0.0
    for corner in range(1 << tables.n_chi[compound]):
        weight, row = 1.0, 0
        for k in range(4):
            bit = (corner >> k) & 1
            weight *= part[k] if bit else 1.0 - part[k]
            size = tables.shape[compound, k]
            row = row * size + (cell[k] + bit) % size
        score += weight * tables.grid[tables.grid_first[compound] + row]
    return score
