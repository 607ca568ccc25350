"""The torsions of polymers by name, with their four atoms: what models are compared by and held to, whatever their pose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from refinement import tables
from refinement.conformers import NamedAtoms
from refinement.geometry import dihedrals, distances
from refinement.nucleotides import with_present_names
from refinement.restraints.dihedrals import DihedralRestraints
from refinement.structure import ResidueKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.structure import Structure

BACKBONE: dict[str, tuple[str, str, str, str]] = {
    "phi": ("-C", "N", "CA", "C"),
    "psi": ("N", "CA", "C", "+N"),
    "omega": ("-CA", "-C", "N", "CA"),
}
"""Torsions of amino acids; ``-`` and ``+`` stand for the residues before and after."""
NUCLEIC: dict[str, tuple[str, str, str, str]] = {
    "alpha": ("-O3'", "P", "O5'", "C5'"),
    "beta": ("P", "O5'", "C5'", "C4'"),
    "gamma": ("O5'", "C5'", "C4'", "C3'"),
    "delta": ("C5'", "C4'", "C3'", "O3'"),
    "epsilon": ("C4'", "C3'", "O3'", "+P"),
    "zeta": ("C3'", "O3'", "+P", "+O5'"),
    "nu1": ("O4'", "C1'", "C2'", "C3'"),
    "nu4": ("C3'", "C4'", "O4'", "C1'"),
}
"""Torsions of nucleotides; δ, ν1 and ν4 give the pucker."""
GLYCOSIDIC = {"N9": "C4", "N1": "C2"}
"""Atom of the base at C1' -> the next one, for χ; N9 where there is one."""

BONDED = 2.2
"""Å; the atoms of a torsion follow each other within this distance, or a part of the chain is missing."""


@dataclass(frozen=True, slots=True, eq=False)
class NamedTorsions:
    """Torsions of a model.

    Attributes
    ----------
    atoms : NDArray[int32], shape (m, 4)
    residue : NDArray[int32]
        Row of the residue that the torsion is named for.
    name : NDArray[str]
        ``phi``, ``psi``, ``omega``, ``chi1`` … of amino acids; ``alpha`` … ``zeta``, ``chi``, ``nu1``, ``nu4`` of nucleotides.
    period : NDArray[int32]
        0, or -2 where the group is symmetric and the angle counts modulo 180°.
    """

    atoms: NDArray[np.int32]
    residue: NDArray[np.int32]
    name: NDArray[np.str_]
    period: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.residue)

    def select(self, mask: NDArray[np.bool_]) -> NamedTorsions:
        """Return the torsions of `mask`."""
        return NamedTorsions(self.atoms[mask], self.residue[mask], self.name[mask], self.period[mask])

    def angles(self, structure: Structure) -> NDArray[np.float64]:
        """Return the angles in degrees."""
        return dihedrals(structure.positions, *self.atoms.T)


def named_torsions(structure: Structure) -> NamedTorsions:
    """Return the torsions of amino acids and nucleotides in every conformer, those that conformers share once."""
    present = with_present_names(structure)
    kind = structure.residues.kind
    atom_names = sorted({name for quad in _all_quads() for name in quad})
    found: list[NamedTorsions] = []
    for table in NamedAtoms(present, atom_names).conformers():
        columns = {name: table[:, k] for k, name in enumerate(atom_names)}
        before, after = _neighbours(structure)
        for name, quad in (BACKBONE | NUCLEIC).items():
            owner = kind == (ResidueKind.PROTEIN if name in BACKBONE else ResidueKind.NUCLEIC)
            found.append(_of(name, [_column(columns, atom, before, after) for atom in quad], owner))
        purine = columns["N9"] >= 0
        for base, next_ in GLYCOSIDIC.items():
            owner = (kind == ResidueKind.NUCLEIC) & (purine if base == "N9" else ~purine)
            found.append(_of("chi", [columns[atom] for atom in ("O4'", "C1'", base, next_)], owner))
        found += _side_chains(structure, columns)
    return _once(found, structure)


def _all_quads() -> list[tuple[str, ...]]:
    named = [tuple(atom.strip("+-") for atom in quad) for quad in (BACKBONE | NUCLEIC).values()]
    side_chains = [quad for chis in tables.chi_atoms().values() for quad in chis]
    return [*named, *side_chains, ("O4'", "C1'", *GLYCOSIDIC.keys(), *GLYCOSIDIC.values())]


def _side_chains(structure: Structure, columns: dict[str, NDArray[np.int32]]) -> list[NamedTorsions]:
    found = []
    for compound, chis in tables.chi_atoms().items():
        owner = structure.residues.compound == compound
        if owner.any():
            for number, (quad, period) in enumerate(zip(chis, tables.chi_periods()[compound], strict=True), start=1):
                one = _of(f"chi{number}", [columns[atom] for atom in quad], owner)
                found.append(replace(one, period=np.full(len(one), -2 if period == 180.0 else 0, dtype=np.int32)))
    return found


def _of(name: str, columns: list[NDArray[np.int32]], owner: NDArray[np.bool_]) -> NamedTorsions:
    atoms = np.stack(columns, axis=1)
    rows = np.flatnonzero(owner & (atoms >= 0).all(axis=1))
    return NamedTorsions(atoms[rows], rows.astype(np.int32), np.full(len(rows), name), np.zeros(len(rows), dtype=np.int32))


def _neighbours(structure: Structure) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of the residues before and after each in its chain, -1 at the ends."""
    count, chain = len(structure.residues), structure.residues.chain_index
    same = chain[1:] == chain[:-1]
    before, after = np.full(count, -1, dtype=np.int64), np.full(count, -1, dtype=np.int64)
    before[1:][same] = np.flatnonzero(same)
    after[:-1][same] = np.flatnonzero(same) + 1
    return before, after


def _column(
    columns: dict[str, NDArray[np.int32]], atom: str, before: NDArray[np.int64], after: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Return the rows of a named atom of each residue, or of the one before or after."""
    own = columns[atom.strip("+-")]
    if atom[0] not in "+-":
        return own
    other = before if atom[0] == "-" else after
    return np.where(other >= 0, own[other], -1).astype(np.int32)


def _once(found: list[NamedTorsions], structure: Structure) -> NamedTorsions:
    """Join parts, by residue, without repeats and without torsions across gaps."""
    joined = NamedTorsions(*(np.concatenate([getattr(part, column) for part in found]) for column in NamedTorsions.__slots__))
    whole = np.ones(len(joined), dtype=np.bool_)
    for k in range(3):
        whole &= distances(structure.positions, joined.atoms[:, k], joined.atoms[:, k + 1]) < BONDED
    joined = joined.select(whole)
    _, first = np.unique(joined.atoms, axis=0, return_index=True)
    kept = np.zeros(len(joined), dtype=np.bool_)
    kept[first] = True
    joined = joined.select(kept)
    order = np.argsort(joined.residue, kind="stable")
    return NamedTorsions(joined.atoms[order], joined.residue[order], joined.name[order], joined.period[order])


def held(torsions: NamedTorsions, target: NDArray[np.float64], *, sigma: float, limit: float) -> DihedralRestraints:
    """Return restraints that hold torsions at targets and let go further away (top-out, Headd 2012).

    Parameters
    ----------
    torsions : NamedTorsions
        The torsions.
    target : NDArray[float64], shape (m,)
        Degrees; torsions with NaN are left out.
    sigma : float
        Degrees.
    limit : float
        Degrees from the target where the energy levels off.
    """
    known = np.isfinite(target)
    count = int(known.sum())
    return DihedralRestraints(
        atoms=np.ascontiguousarray(torsions.atoms[known]),
        target=target[known],
        weight=np.full(count, sigma**-2.0),
        period=torsions.period[known],
        limit=np.full(count, float(limit)),
        residue=torsions.residue[known],
    )
