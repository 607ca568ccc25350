"""Nucleotides of a model: which residues they are, what base they have, and their atoms by conformer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gemmi
import numpy as np

from refinement.structure import ResidueKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.structure import Structure

STANDARD_NUCLEOTIDES = ("A", "C", "G", "U", "DA", "DC", "DG", "DT")
"""Nucleotides that the pucker limits are for."""

_OLD_NAMES = {"O1P": "OP1", "O2P": "OP2", "O3P": "OP3"}


def is_nucleotide(structure: Structure) -> NDArray[np.bool_]:
    """Return which residues are nucleotides of a chain, modified ones included."""
    kept: NDArray[np.bool_] = structure.residues.kind == ResidueKind.NUCLEIC
    return kept


def parent_bases(structure: Structure) -> NDArray[np.str_]:
    """Return A, C, G or U (T counts as U) of each nucleotide, that of its parent where it is modified; "" for all others."""
    compounds, place = np.unique(structure.residues.compound, return_inverse=True)
    letters = [gemmi.find_tabulated_residue(name).one_letter_code.upper().replace("T", "U") for name in compounds.tolist()]
    known = np.array([letter if letter in {"A", "C", "G", "U"} else "" for letter in letters], dtype=np.str_)
    bases: NDArray[np.str_] = np.where(is_nucleotide(structure), known[place], "")
    return bases


def with_present_names(structure: Structure) -> Structure:
    """Return the model with nucleotide atoms named as since 2007 (``C1'``, ``OP1``) where it has the older names (``C1*``)."""
    nucleic = is_nucleotide(structure)[structure.residue]
    names, place = np.unique(structure.names, return_inverse=True)
    present = np.array([_OLD_NAMES.get(name, name).replace("*", "'") for name in names.tolist()], dtype=np.str_)
    if np.array_equal(names, present) or not nucleic.any():
        return structure
    return replace(structure, names=np.where(nucleic, present[place], structure.names))


def next_in_chain(structure: Structure, present: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return for each residue of `present` the next such residue of its chain in file order, else -1."""
    rows = np.flatnonzero(present)
    following = np.full(len(structure.residues), -1, dtype=np.int32)
    chain = structure.residues.chain_index
    same = chain[rows[:-1]] == chain[rows[1:]]
    following[rows[:-1][same]] = rows[1:][same]
    return following
