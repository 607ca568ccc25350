"""Which atom stands for which name in which conformer, which residues are joined, and the main-chain torsions.

A conformer of a chain is its atoms without an alternate-location letter together with those of one letter.
The main conformer of a chain is the one of letter A, or of the first letter where there is no A.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refinement.geometry import dihedrals_or_nan, distances

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from refinement.structure import Structure

STANDARD_AMINO_ACIDS = (
    "ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE", "LEU",
    "LYS", "MET", "MSE", "PHE", "PRO", "SER", "THR", "TRP", "TYR", "VAL",
)  # fmt: skip
"""Amino acids that the contour tables are for."""

PEPTIDE_BOND_LIMIT = 2.0
"""Å; residues whose C and N are nearer than this are joined."""


def is_standard(structure: Structure) -> NDArray[np.bool_]:
    """Return which residues are one of the 20 amino acids or MSE."""
    return np.isin(structure.residues.compound, STANDARD_AMINO_ACIDS)


class NamedAtoms:
    """Rows of atoms by residue and name, for a fixed list of names.

    Parameters
    ----------
    structure : Structure
        The model.
    names : sequence of str
        Atom names; column k of every table is ``names[k]``.
    """

    def __init__(self, structure: Structure, names: Sequence[str]) -> None:
        self.structure = structure
        self.names = tuple(names)
        order = np.argsort(np.array(self.names))
        place = np.searchsorted(np.array(self.names)[order], structure.names)
        column = order[np.minimum(place, len(order) - 1)]
        # reversed, so that the first of several atoms with one name is kept
        rows = np.flatnonzero(np.array(self.names)[column] == structure.names)[::-1]
        self._atom, self._column = rows.astype(np.int32), column[rows]
        self._residue, self._letter = structure.residue[rows], structure.altloc[rows]
        self._plain = self._letter == ""

    def table(self, letter: str | NDArray[np.str_] = "") -> NDArray[np.int32]:
        """Return atoms, shape (n_residues, n_names), -1 where missing.

        Parameters
        ----------
        letter : str or NDArray[str], shape (n_residues,)
            Letter of the conformer; its atoms win over those without a letter.
        """
        table = np.full((len(self.structure.residues), len(self.names)), -1, dtype=np.int32)
        self._put(table, self._plain)
        if not self._plain.all():
            wanted = np.broadcast_to(np.asarray(letter), len(table))[self._residue]
            self._put(table, ~self._plain & (self._letter == wanted))
        return table

    def overwrite(self, table: NDArray[np.int32], atoms: NDArray[np.bool_]) -> None:
        """Put atoms (a mask over the model) into a table, in place of those of the same name."""
        self._put(table, atoms[self._atom])

    def _put(self, table: NDArray[np.int32], chosen: NDArray[np.bool_]) -> None:
        table[self._residue[chosen], self._column[chosen]] = self._atom[chosen]

    def lettered(self, table: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which entries of a table have an alternate-location letter."""
        return (table >= 0) & (self.structure.altloc[table] != "")

    def conformers(self) -> Iterator[NDArray[np.int32]]:
        """Yield the table of the main conformer, then those of the chains' other letters.

        In the further tables the residues of chains without another letter are empty.
        """
        letters = chain_letters(self.structure)
        chain = self.structure.residues.chain_index
        for k in range(max((len(own) for own in letters), default=1)):
            active = np.array([k < len(own) for own in letters])
            choice = np.array([own[k] if k < len(own) else "" for own in letters])
            table = self.table(choice[chain])
            table[~active[chain]] = -1
            yield table


def chain_letters(structure: Structure) -> list[list[str]]:
    """Return the conformer letters of each chain, the main one first; ``[""]`` where there are none."""
    found: list[list[str]] = [[] for _ in range(int(structure.residues.chain_index[-1]) + 1)]
    lettered = np.flatnonzero(structure.altloc != "")
    chains = structure.residues.chain_index[structure.residue[lettered]].tolist()
    for chain, letter in sorted(set(zip(chains, structure.altloc[lettered].tolist(), strict=True))):
        found[chain].append(letter)
    return [sorted(own, key=lambda letter: (letter != "A", letter)) or [""] for own in found]


@dataclass(frozen=True, slots=True, eq=False)
class PeptideBonds:
    """Residues joined by a peptide bond in one conformer.

    Attributes
    ----------
    previous, following : NDArray[int32], shape (n_residues,)
        Row of the residue bound to N and to C, -1 where there is none.
    """

    previous: NDArray[np.int32]
    following: NDArray[np.int32]


def peptide_bonds(
    structure: Structure,
    nitrogen: NDArray[np.int32],
    carbon: NDArray[np.int32],
    present: NDArray[np.bool_],
) -> PeptideBonds:
    """Find the peptide bonds between residues that follow each other in a chain.

    Parameters
    ----------
    nitrogen, carbon : NDArray[int32], shape (n_residues,)
        Rows of the atoms N and C, -1 where missing.
    present : NDArray[bool], shape (n_residues,)
        Residues that take part: amino acids that exist in the conformer.
    """
    rows = np.flatnonzero(present)
    first, second = rows[:-1], rows[1:]
    joined = structure.residues.chain_index[first] == structure.residues.chain_index[second]
    joined &= (carbon[first] >= 0) & (nitrogen[second] >= 0)
    first, second = first[joined], second[joined]
    near = distances(structure.positions, carbon[first], nitrogen[second]) < PEPTIDE_BOND_LIMIT
    previous = np.full(len(structure.residues), -1, dtype=np.int32)
    following = previous.copy()
    previous[second[near]] = first[near]
    following[first[near]] = second[near]
    return PeptideBonds(previous, following)


@dataclass(frozen=True, slots=True, eq=False)
class BackboneTorsions:
    """Main-chain torsion angles of one conformer, degrees, NaN where undefined; one entry per residue.

    Attributes
    ----------
    phi, psi : NDArray[float64]
        Defined only together, for residues bound on both sides.
    omega : NDArray[float64]
        Of the peptide bond before the residue.
    bonds : PeptideBonds
        Neighbours.
    """

    phi: NDArray[np.float64]
    psi: NDArray[np.float64]
    omega: NDArray[np.float64]
    bonds: PeptideBonds


def backbone_torsions(structure: Structure, table: NDArray[np.int32] | None = None) -> BackboneTorsions:
    """Return φ, ψ and ω of standard amino acids; φ and ψ need a complete next residue (N, CA, C).

    Parameters
    ----------
    structure : Structure
        The model.
    table : NDArray[int32], shape (n_residues, 3), optional
        Rows of N, CA, C in one conformer, -1 where missing; by default those of the main conformer.
    """
    if table is None:
        table = next(NamedAtoms(structure, ("N", "CA", "C")).conformers())
    n, ca, c = table.T
    bonds = peptide_bonds(structure, n, c, is_standard(structure) & (table >= 0).any(axis=1))
    before = np.where(bonds.previous[:, None] >= 0, table[bonds.previous], -1)
    after = np.where(bonds.following[:, None] >= 0, table[bonds.following], -1)
    positions = structure.positions
    phi = dihedrals_or_nan(positions, np.stack([before[:, 2], n, ca, c], axis=1))
    psi = dihedrals_or_nan(positions, np.stack([n, ca, c, after[:, 0]], axis=1))
    omega = dihedrals_or_nan(positions, np.stack([before[:, 1], before[:, 2], n, ca], axis=1))
    missing = np.isnan(phi) | np.isnan(psi) | (after < 0).any(axis=1)
    phi[missing] = psi[missing] = np.nan
    return BackboneTorsions(phi, psi, omega, bonds)
