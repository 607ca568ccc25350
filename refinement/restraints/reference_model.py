"""Torsions held where another model of the same molecule has them: a reference, or the model at the start.

After Headd 2012 (Acta D68 381): chains are matched by the alignment of their sequences, every torsion of the reference is
a target with an energy that levels off, so that what really differs is free. Torsions of the reference's own outliers
(Ramachandran, rotamers) are no targets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gemmi
import numpy as np

from refinement.errors import InputError
from refinement.geometry import dihedrals, distances
from refinement.nucleotides import with_present_names
from refinement.restraints.named_torsions import BONDED, held, named_torsions
from refinement.structure import ResidueKind
from refinement.validation.ramachandran import Region, ramachandran
from refinement.validation.rotamers import rotamers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.restraints.dihedrals import DihedralRestraints
    from refinement.structure import Structure

MIN_IDENTITY = 0.4
"""Chains with a smaller part of identical residues aren't matched; below it folds begin to differ."""
SIGMA, LIMIT = 1.0, 15.0
"""Degrees (as in cctbx)."""
_MAIN_CHAIN = ("phi", "psi", "omega")


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """A polymer chain: its name, the rows of its residues and their compounds."""

    name: str
    kind: int
    rows: NDArray[np.int64]
    compounds: tuple[str, ...]


def reference_restraints(
    structure: Structure, reference: Structure, *, sigma: float = SIGMA, limit: float = LIMIT
) -> DihedralRestraints:
    """Return restraints on the torsions of a model that a reference has too.

    Parameters
    ----------
    structure, reference : Structure
        The model, and another one of at least a part of its chains, in any place; hydrogens don't matter.
    sigma, limit : float
        Degrees; standard deviation, and where the energy levels off.

    Raises
    ------
    InputError
        ``reference_unmatched``, if no chain of the reference is like one of the model.
    """
    torsions = named_torsions(structure)
    residues = match_residues(structure, reference)
    if (residues < 0).all():
        message = "No chain of the reference model has the sequence of a chain of the model."
        raise InputError("reference_unmatched", message, "Give a model of the same molecule, or of a close relative.")
    partner = atom_partners(structure, reference, residues)
    theirs = partner[torsions.atoms]
    known = (theirs >= 0).all(axis=1)
    for k in range(3):
        known &= distances(reference.positions, theirs[:, k], theirs[:, k + 1]) < BONDED
    compound, other = structure.residues.compound, reference.residues.compound
    owner = reference.residue[theirs[:, 1]]
    side = np.char.startswith(torsions.name, "chi")
    known &= ~side | (compound[torsions.residue] == other[owner])
    backbone, chains = _outliers(reference)
    protein = structure.residues.kind[torsions.residue] == ResidueKind.PROTEIN
    known &= ~(np.isin(torsions.name, _MAIN_CHAIN) & backbone[owner]) & ~(side & protein & chains[owner])
    target = np.full(len(torsions), np.nan)
    target[known] = dihedrals(reference.positions, *theirs[known].T)
    return held(torsions, target, sigma=sigma, limit=limit)


def match_residues(structure: Structure, reference: Structure) -> NDArray[np.int64]:
    """Return for each residue of a model the row of the one that stands for it in a reference, -1 where there is none.

    Each chain of the model takes the chain of the reference with most identical residues, of equals the one with its name.
    """
    partner = np.full(len(structure.residues), -1, dtype=np.int64)
    candidates = polymer_chains(reference)
    known: dict[tuple[tuple[str, ...], tuple[str, ...]], NDArray[np.int64]] = {}
    for chain in polymer_chains(structure):
        best = (MIN_IDENTITY, False)
        for other in candidates:
            if other.kind != chain.kind:
                continue
            key = (chain.compounds, other.compounds)
            if key not in known:
                known[key] = align(*key)
            places = known[key]
            aligned = np.flatnonzero(places >= 0)
            same = sum(chain.compounds[k] == other.compounds[places[k]] for k in aligned.tolist())
            score = (same / len(chain.rows), other.name == chain.name)
            if score > best:
                best = score
                partner[chain.rows] = -1
                partner[chain.rows[aligned]] = other.rows[places[aligned]]
    return partner


def align(sequence: tuple[str, ...], other: tuple[str, ...]) -> NDArray[np.int64]:
    """Return for each item of a sequence its place in the other one after alignment, -1 for gaps."""
    places = np.full(len(sequence), -1, dtype=np.int64)
    if sequence == other:
        return np.arange(len(sequence))
    result = gemmi.align_string_sequences(list(sequence), list(other), [])
    here = there = 0
    for length, what in re.findall(r"(\d+)([MID])", result.cigar_str()):
        count = int(length)
        if what == "M":
            places[here : here + count] = np.arange(there, there + count)
        here += count if what in "MI" else 0
        there += count if what in "MD" else 0
    return places


def polymer_chains(structure: Structure) -> list[Chain]:
    """Return the parts of proteins and nucleic acids of each chain, in file order."""
    residues = structure.residues
    found = []
    for kind in (ResidueKind.PROTEIN, ResidueKind.NUCLEIC):
        members = np.flatnonzero((residues.kind == kind) & residues.polymer)
        for rows in np.split(members, np.flatnonzero(np.diff(residues.chain_index[members])) + 1):
            if len(rows):
                found.append(Chain(str(residues.chain[rows[0]]), int(kind), rows, tuple(residues.compound[rows].tolist())))
    return found


def atom_partners(structure: Structure, reference: Structure, residues: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each atom of a model the atom of the same name in the reference's residue, -1 where there is none.

    Of atoms with alternates the reference's first counts.
    """
    mine, theirs = with_present_names(structure), with_present_names(reference)
    names = {name: k for k, name in enumerate(np.unique(np.concatenate([mine.names, theirs.names])).tolist())}
    codes = [np.array([names[name] for name in one.names.tolist()], dtype=np.int64) for one in (mine, theirs)]
    keys, first = np.unique(reference.residue.astype(np.int64) * len(names) + codes[1], return_index=True)
    residue = residues[structure.residue]
    wanted = residue * len(names) + codes[0]
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    partner: NDArray[np.int64] = np.where((residue >= 0) & (keys[place] == wanted), first[place], -1)
    return partner


def _outliers(reference: Structure) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which residues are outliers of the backbone, and of the side chains."""
    backbone = ramachandran(reference).region == Region.OUTLIER
    chains = np.zeros(len(reference.residues), dtype=np.bool_)
    found = rotamers(reference)
    chains[found.residue[found.region == Region.OUTLIER]] = True
    return backbone, chains
