"""Chains of one kind: aligned by residue numbers or by sequence, and laid on each other.

The rules are those of refinement.md, 6.7: at least 85 % of the aligned residues are the same compound, and after
superposition the trace atoms, those further away than 4 Å left out, have an rmsd of 2 Å at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refinement.conformers import NamedAtoms
from refinement.operators import Operators, kabsch
from refinement.restraints.reference_model import align
from refinement.structure import ResidueKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.structure import Structure

    Floats = NDArray[np.float64]
    Rows = NDArray[np.int32]

TRACE = ("CA", "C1'", "P")
"""The first of these that a residue has stands for it."""
SIMILAR = 0.85
"""Fraction of aligned residues that must be the same compound."""
PART = 0.5
"""A chain that has less than this part of another one's residues isn't a copy of it."""
MATCHED = 4.0
"""Å between residues of superposed chains, beyond which they don't count as the same."""
SUPERPOSED = 2.0
"""Å, the largest rmsd of copies."""
FEWEST = 3
ROUNDS = 10
"""Superpositions without the residues that lay too far off in the one before."""


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """The polymer residues of a chain that have a trace atom.

    Attributes
    ----------
    name : str
    residue : NDArray[int32], shape (n,)
        Rows of the residues.
    trace : NDArray[float64], shape (n, 3)
        Å.
    compounds : list of str
    keys : list of (int, str)
        Number and insertion code.
    """

    name: str
    residue: Rows
    trace: Floats
    compounds: list[str]
    keys: list[tuple[int, str]]

    def __len__(self) -> int:
        return len(self.residue)


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Chains with one sequence; the first is what the others are compared with.

    Attributes
    ----------
    chains : tuple of Chain
    residue : NDArray[int32], shape (number of chains, length of the first)
        Rows of the residues that are the same in all, -1 where a chain lacks one.
    operators : Operators
        They bring the first chain onto each.
    rmsd : NDArray[float64]
        Å, of the trace atoms that match.
    alike : NDArray[bool]
        Which chains have the first one's conformation.
    """

    chains: tuple[Chain, ...]
    residue: Rows
    operators: Operators
    rmsd: Floats
    alike: NDArray[np.bool_]

    @property
    def centre(self) -> Floats:
        """Centre of the first chain, Å."""
        middle: Floats = self.chains[0].trace.mean(axis=0)
        return middle

    @property
    def radius(self) -> float:
        """Radius of gyration of the first chain, Å."""
        return float(np.sqrt(((self.chains[0].trace - self.centre) ** 2).sum(axis=1).mean()))


def families(structure: Structure) -> list[Family]:
    """Return the chains that occur more than once, those with most residues first."""
    kinds: list[list[tuple[Chain, Rows]]] = []
    for chain in polymer_chains(structure):
        for members in kinds:
            pairs = aligned(members[0][0], chain)
            if len(pairs):
                members.append((chain, pairs))
                break
        else:
            kinds.append([(chain, np.repeat(np.arange(len(chain), dtype=np.int32)[:, None], 2, axis=1))])
    found = [_family(members) for members in kinds if len(members) > 1]
    return sorted(found, key=lambda family: -len(family.chains) * len(family.chains[0]))


def polymer_chains(structure: Structure) -> list[Chain]:
    """Return the chains of a model that have at least `FEWEST` residues with a trace atom."""
    residues = structure.residues
    table = NamedAtoms(structure, TRACE).table("A")
    polymer = residues.polymer & np.isin(residues.kind, (ResidueKind.PROTEIN, ResidueKind.NUCLEIC))
    atom = np.where(table[:, 0] >= 0, table[:, 0], np.where(table[:, 1] >= 0, table[:, 1], table[:, 2]))
    rows = np.flatnonzero(polymer & (atom >= 0))
    chains = []
    for own in np.split(rows, np.flatnonzero(np.diff(residues.chain_index[rows])) + 1):
        if len(own) >= FEWEST:
            keys = list(zip(residues.number[own].tolist(), residues.insertion[own].tolist(), strict=True))
            compounds = residues.compound[own].tolist()
            name = str(residues.chain[own[0]])
            chains.append(Chain(name, own.astype(np.int32), structure.positions[atom[own]], compounds, keys))
    return chains


def aligned(first: Chain, second: Chain) -> Rows:
    """Return pairs of places in two chains that hold the same compound, shape (m, 2); none if the chains differ too much.

    Residue numbers decide where they agree, so that gaps come to lie where they are; else the sequences do.
    """
    nothing = np.empty((0, 2), dtype=np.int32)
    shorter = min(len(first), len(second))
    if shorter < PART * max(len(first), len(second)):
        return nothing
    if first.compounds == second.compounds:
        return np.repeat(np.arange(len(first), dtype=np.int32)[:, None], 2, axis=1)
    places = align(tuple(first.compounds), tuple(second.compounds))
    by_sequence = [(k, place) for k, place in enumerate(places.tolist()) if place >= 0]
    for pairs in (_by_number(first, second), by_sequence):
        same = [pair for pair in pairs if first.compounds[pair[0]] == second.compounds[pair[1]]]
        if len(same) >= SIMILAR * len(pairs) and len(same) >= SIMILAR * shorter:
            return np.array(same, dtype=np.int32)
    return nothing


def superposed(first: Floats, second: Floats) -> tuple[Operators, float, float]:
    """Lay points (n, 3) on others, those that don't match left out.

    Returns
    -------
    Operators
        The motion.
    float
        Rmsd of those that match, Å.
    float
        Their fraction.
    """
    kept = np.ones(len(first), dtype=np.bool_)
    for _ in range(ROUNDS):
        rotation, shift = kabsch(first[kept], second[kept])
        apart = np.sqrt(((first @ rotation.T + shift - second) ** 2).sum(axis=1))
        near = apart <= MATCHED
        if near.sum() < FEWEST or (near == kept).all():
            break
        kept = near
    rmsd = float(np.sqrt((apart[kept] ** 2).mean()))
    return Operators(rotation[None], shift[None]), rmsd, float(near.mean())


def _by_number(first: Chain, second: Chain) -> list[tuple[int, int]]:
    place = {key: k for k, key in enumerate(first.keys)}
    return [(place[key], k) for k, key in enumerate(second.keys) if key in place]


def _family(members: list[tuple[Chain, Rows]]) -> Family:
    first = members[0][0]
    residue = np.full((len(members), len(first)), -1, dtype=np.int32)
    operators, rmsd, alike = Operators.identity(), [0.0], [True]
    for row, (chain, pairs) in enumerate(members):
        residue[row, pairs[:, 0]] = chain.residue[pairs[:, 1]]
        if row:
            motion, deviation, part = superposed(first.trace[pairs[:, 0]], chain.trace[pairs[:, 1]])
            operators = operators.joined(motion)
            rmsd.append(deviation)
            alike.append(deviation <= SUPERPOSED and part >= SIMILAR)
    return Family(tuple(chain for chain, _ in members), residue, operators, np.array(rmsd), np.array(alike))
