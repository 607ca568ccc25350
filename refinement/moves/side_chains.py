"""Side chains: the best rotamer in the map for every residue, with hydrogens and contacts counted.

All side chains with one conformer are searched, each among its neighbours where they are by then; those that can't
touch at the same time. Disulfides, linked residues and those that bind a metal stay. Proline has its two puckers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.moves.puckers import flip_puckers
from refinement.moves.rotamer_tables import rotamer_tables
from refinement.moves.side_chain_atoms import room
from refinement.moves.side_chain_cliques import search_cliques
from refinement.moves.side_chain_rounds import dealt, near_moved, rounds
from refinement.moves.side_chain_search import field_of, search
from refinement.moves.side_chain_setup import atoms_of, searchable, side_chains_of
from refinement.restraints.rotamers import rotamer_targets
from refinement.threads import in_parts
from refinement.validation.rotamers import FAVORED, rotamers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.interpolation import InterpolatedMap
    from refinement.moves.side_chain_atoms import Atoms, Contacts, Rules, SideChains
    from refinement.moves.side_chain_search import Field
    from refinement.restraints.hydrogens import Hydrogenated
    from refinement.restraints.nonbonded import Nonbonded
    from refinement.structure import Structure

ANGLES = (0.0, -10.0, 10.0, -20.0, 20.0)
"""Degrees about Cα(i-1)-Cα(i+1) that the backbone is tried at; the larger ones where the smaller one helped."""


@dataclass(frozen=True, slots=True)
class SideChainMove:
    """A side chain that took another conformation.

    Attributes
    ----------
    residue : int
        Row of the residue.
    label : str
        Its name, e.g. ``A/LYS 12``.
    before, after : str
        Names of the rotamers.
    gain : float
        Energy gained, in units of the target.
    kept : bool
        Whether it stayed after the minimisation.
    """

    residue: int
    label: str
    before: str
    after: str
    gain: float
    kept: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return the move for the log."""
        return {"residue": self.label, "from": self.before, "to": self.after, "gain": round(self.gain, 2), "kept": self.kept}

    def undone(self) -> SideChainMove:
        """Return the record of the move taken back."""
        return replace(self, kept=False)


@dataclass(frozen=True, slots=True)
class SideChainFit:
    """Outcome: the model (without hydrogens) and the moves that changed a rotamer."""

    structure: Structure
    moves: tuple[SideChainMove, ...]


def fit_side_chains(
    structure: Structure,
    model: Hydrogenated,
    nonbonded: Nonbonded,
    density: InterpolatedMap,
    rules: Rules,
    *,
    map_weight: float,
    backrub: bool,
    moved: NDArray[np.bool_] | None = None,
    only: NDArray[np.bool_] | None = None,
    fixed: NDArray[np.bool_] | None = None,
    cliques: bool = True,
    kernel: NDArray[np.float64] | None = None,
    threads: int = 1,
) -> SideChainFit:
    """Give every side chain its best rotamer in the map.

    Parameters
    ----------
    structure : Structure
        The model without hydrogens.
    model : Hydrogenated
        The same with hydrogens.
    nonbonded : Nonbonded
        Radii, roles and exclusions of the atoms of `model`.
    density : InterpolatedMap
        The map, normalised.
    rules : Rules
        Weights and limits of the search.
    map_weight : float
        Weight of the density of a carbon atom.
    backrub : bool
        Turn the backbone too where a side chain fits badly.
    moved : NDArray[bool], shape (n,), optional
        Atoms of `structure` that moved since the last search; others than those near them, and others than outliers,
        aren't searched again.
    only : NDArray[bool], shape (n_residues,), optional
        No others are searched.
    fixed : NDArray[bool], shape (n_residues,), optional
        Residues that stay: images of others.
    cliques : bool
        Move side chains together where they compete for room.
    kernel : NDArray[float64], shape (k,), optional
        Where `density` is what the model as it is leaves unexplained: see `refinement.moves.side_chain_search.Field`. Prolines
        keep their puckers then.
    threads : int
        Threads; the result doesn't depend on it.
    """
    targets = rotamer_targets(structure)
    atoms = atoms_of(model, nonbonded, map_weight)
    chosen = searchable(structure, model, targets)
    gains = np.zeros(len(structure.residues))
    if len(chosen):
        chains = side_chains_of(structure, model, targets, chosen)
        wanted = chains.score < FAVORED
        if moved is None:
            wanted[:] = True
        else:
            restless = np.zeros(len(atoms.weight), dtype=np.bool_)
            restless[model.heavy[moved]] = True
            wanted |= near_moved(atoms, chains, restless)
        if only is not None:
            wanted &= only[targets.residue[chosen]]
        if fixed is not None:
            wanted &= ~fixed[targets.residue[chosen]]
        field = field_of(density, kernel, None if kernel is None else atoms.positions.copy())
        angles = np.array(ANGLES if backrub else ANGLES[:1])
        found = _searched(atoms, field, chains, np.flatnonzero(wanted), rules, angles, threads)
        if cliques:
            free = np.ones(len(chosen), dtype=np.bool_) if fixed is None else ~fixed[targets.residue[chosen]]
            search_cliques(atoms, field, chains, np.flatnonzero(wanted), free, rotamer_tables(), rules, room(), found)
        gains[targets.residue[chosen]] = found
    fitted = structure.moved(atoms.positions[model.heavy])
    if kernel is None:
        doubt = rules.gain + rules.doubt * map_weight
        fitted, prolines, better = flip_puckers(fitted, density, map_weight, doubt, fixed=fixed)
        gains[prolines] = better
    return SideChainFit(fitted, _moves(structure, fitted, gains))


def _searched(
    atoms: Atoms,
    field: Field,
    chains: SideChains,
    wanted: NDArray[np.int64],
    rules: Rules,
    angles: NDArray[np.float64],
    threads: int,
) -> NDArray[np.float64]:
    """Search the side chains `wanted`, round by round; moves the atoms and returns the gain of each side chain."""
    tables, gains = rotamer_tables(), np.zeros(len(chains.compound))
    rooms: SimpleQueue[Contacts] = SimpleQueue()
    for _ in range(threads):
        rooms.put(room())
    for rows, lists in rounds(atoms, chains, wanted, tables):
        places = dealt(rows, threads)

        def work(first: int, end: int, rows: Any = rows, places: Any = places, lists: Any = lists) -> None:
            contacts = rooms.get()
            search(atoms, field, chains, tables, rules, contacts, angles, rows, places[first:end], *lists, gains)
            rooms.put(contacts)

        in_parts(threads, len(rows), work)
    return gains


def _moves(before: Structure, after: Structure, gains: NDArray[np.float64]) -> tuple[SideChainMove, ...]:
    """Return the side chains whose rotamer has another name now."""
    old, new = rotamers(before).names(), rotamers(after).names()
    changed = np.flatnonzero((gains > 0.0) & (old != new))
    label = before.residues.label
    return tuple(SideChainMove(row, label(row), str(old[row]), str(new[row]), float(gains[row])) for row in changed.tolist())
