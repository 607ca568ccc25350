"""Side chains: the best rotamer in the map for every residue, with hydrogens and contacts counted.

All side chains with one conformer are searched in the order of the chain, each among its neighbours where they
are by then. Disulfides, linked residues and those that bind a metal stay. Proline has its two puckers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.moves.puckers import flip_puckers
from refinement.moves.rotamer_tables import rotamer_tables
from refinement.moves.side_chain_atoms import room
from refinement.moves.side_chain_search import Field, search
from refinement.moves.side_chain_setup import atoms_of, blocks, searchable, side_chains_of
from refinement.restraints.rotamers import rotamer_targets
from refinement.validation.rotamers import rotamers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.interpolation import InterpolatedMap
    from refinement.moves.side_chain_atoms import Rules
    from refinement.restraints.hydrogens import Hydrogenated
    from refinement.restraints.nonbonded import Nonbonded
    from refinement.structure import Structure

ANGLES = (0.0, -20.0, -10.0, 10.0, 20.0)
"""Degrees about Cα(i-1)-Cα(i+1) that the backbone is tried at."""


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
    """
    targets = rotamer_targets(structure)
    atoms = atoms_of(model, nonbonded, map_weight)
    chosen = searchable(structure, model, targets)
    gains = np.zeros(len(structure.residues))
    if len(chosen):
        chains = side_chains_of(structure, model, targets, chosen)
        own_gains = np.zeros(len(chosen))
        field = Field(density.coefficients, density.grid_matrix, density.corner, density.basis)
        angles, contacts = np.array(ANGLES if backrub else ANGLES[:1]), room()
        for start, stop, lists in blocks(atoms, chains):
            search(atoms, field, chains, rotamer_tables(), rules, contacts, angles, start, stop, *lists, own_gains)
        gains[targets.residue[chosen]] = own_gains
    moved = structure.moved(atoms.positions[model.heavy])
    moved, prolines, better = flip_puckers(moved, density, map_weight, rules.gain)
    gains[prolines] = better
    return SideChainFit(moved, _moves(structure, moved, gains))


def _moves(before: Structure, after: Structure, gains: NDArray[np.float64]) -> tuple[SideChainMove, ...]:
    """Return the side chains whose rotamer has another name now."""
    old, new = rotamers(before).names(), rotamers(after).names()
    changed = np.flatnonzero((gains > 0.0) & (old != new))
    label = before.residues.label
    return tuple(SideChainMove(row, label(row), str(old[row]), str(new[row]), float(gains[row])) for row in changed.tolist())
