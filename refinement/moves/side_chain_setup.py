"""Which side chains can be searched, and the arrays that the compiled search reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refinement import tables
from refinement.conformers import NamedAtoms, peptide_bonds
from refinement.moves.rotamer_tables import COMPOUNDS, MAX_CHI
from refinement.moves.side_chain_atoms import MAX_OWN, Atoms, SideChains
from refinement.restraints.bonding import residue_keys, rows_by_key
from refinement.restraints.hydrogen_frames import HYDROXYL
from refinement.structure import ResidueKind
from refinement.target import CARBON_NUMBER
from refinement.validation.rotamers import OUTLIER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.restraints.hydrogens import Hydrogenated
    from refinement.restraints.nonbonded import Nonbonded
    from refinement.restraints.rotamers import RotamerTargets
    from refinement.structure import Structure

BACKBONE = ("N", "CA", "C", "O", "CB")
OUTSIDE = 4
"""Atoms of the neighbouring residues that hinge: C and O before; N and its hydrogen after."""


def atoms_of(model: Hydrogenated, nonbonded: Nonbonded, map_weight: float) -> Atoms:
    """Return the atoms of a model as the search sees them.

    Hydrogens of OH and SH have no contacts: they turn out of the way when hydrogens are built anew.
    """
    full, riding = model.structure, model.riding
    turning = np.flatnonzero(riding.rotor >= 0)
    silent = np.zeros(len(full), dtype=np.bool_)
    silent[riding.hydrogen[turning[riding.rotor_kind[riding.rotor[turning]] == HYDROXYL]]] = True
    weight = np.where(full.is_hydrogen, 0.0, map_weight / CARBON_NUMBER * full.elements * full.occupancy)
    return Atoms(
        full.positions.copy(), weight, silent, nonbonded.radius, nonbonded.role, nonbonded.excluded_first, nonbonded.excluded
    )


def searchable(structure: Structure, model: Hydrogenated, targets: RotamerTargets) -> NDArray[np.int64]:
    """Return the rows of `targets` whose side chains may move.

    Not those with alternate conformers or absent atoms, with a bond to anything but their neighbours in the
    chain (disulfides, linked sugars and ligands), or at a metal.

    Parameters
    ----------
    structure : Structure
        The model without hydrogens.
    model : Hydrogenated
        The same with hydrogens.
    targets : RotamerTargets
        Of `structure`.
    """
    residues, full, bonding = structure.residues, model.structure, model.bonding
    fixed = ~np.isin(residues.compound, COMPOUNDS)
    fixed[structure.residue[(structure.altloc != "") | (structure.occupancy <= 0.0)]] = True
    ends = bonding.external.ravel()
    peptide = np.isin(full.names[ends], ("N", "C")) & (residues.kind[full.residue[ends]] == ResidueKind.PROTEIN)
    fixed[full.residue[ends[~peptide]]] = True
    fixed[full.residue[bonding.coordination.ravel()]] = True
    fixed |= np.bincount(full.residue, minlength=len(residues)) + OUTSIDE > MAX_OWN
    return np.flatnonzero(~fixed[targets.residue])


def side_chains_of(structure: Structure, model: Hydrogenated, targets: RotamerTargets, chosen: NDArray[np.int64]) -> SideChains:
    """Return the chosen rows of `targets` arranged for the search; arguments as in `searchable`."""
    rows, full = targets.residue[chosen], model.structure
    table = next(NamedAtoms(structure, BACKBONE).conformers())
    hinge, outside = _hinges(structure, model, table, rows)
    level, quads = _shapes(model, rows)
    begin, size = full.residues.first[rows], np.diff(full.residues.first)[rows]
    extra = (outside >= 0).sum(axis=1)
    first = np.concatenate([[0], np.cumsum(size + extra)])
    owner = np.repeat(np.arange(len(rows)), size + extra)
    place = np.arange(first[-1]) - first[owner]
    inside = place < size[owner]
    atoms = np.empty(first[-1], dtype=np.int32)
    atoms[inside] = begin[owner[inside]] + place[inside]
    atoms[~inside] = outside[outside >= 0]
    levels = np.zeros(first[-1], dtype=np.int64)
    levels[inside] = level[atoms[inside]]
    outlier = (targets.score[chosen] < OUTLIER)[:, None]
    return SideChains(
        compound=np.array([COMPOUNDS.index(name) for name in structure.residues.compound[rows].tolist()], dtype=np.int64),
        first=first.astype(np.int64),
        atoms=atoms,
        level=levels,
        reach=_reach(full.positions, atoms, levels, owner, begin[:, None, None] + quads),
        quads=quads,
        hinge=hinge,
        beta=model.heavy[table[rows, BACKBONE.index("CB")]].astype(np.int64),
        start=np.nan_to_num(np.where(outlier, targets.target[chosen], targets.chi[chosen])),
        score=targets.score[chosen],
    )


def _hinges(
    structure: Structure, model: Hydrogenated, table: NDArray[np.int32], rows: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return Cα before and after of residues whose backbone can hinge, and the atoms outside that hinge with it.

    Rows of the model with hydrogens, -1 for none. The residue after mustn't be proline, whose ring would break.
    """
    bonds = peptide_bonds(structure, table[:, 0], table[:, 2], structure.residues.kind == ResidueKind.PROTEIN)
    before, after = bonds.previous[rows], bonds.following[rows]
    heavy = np.column_stack([table[before, 1], table[after, 1], table[before, 2], table[before, 3], table[after, 0]])
    usable = (before >= 0) & (after >= 0) & (heavy >= 0).all(axis=1) & (table[rows] >= 0).all(axis=1)
    usable &= (structure.altloc[heavy] == "").all(axis=1) & (structure.residues.compound[after] != "PRO")
    heavy = np.where(usable[:, None], model.heavy[heavy], -1).astype(np.int64)
    hydrogen = np.full(len(model.structure) + 1, -1, dtype=np.int64)
    hydrogen[model.riding.frame[:, 0]] = model.riding.hydrogen
    return np.ascontiguousarray(heavy[:, :2]), np.column_stack([heavy[:, 2:], hydrogen[heavy[:, 4]]])


def _shapes(model: Hydrogenated, rows: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many χ move each atom of the model, and the atoms of each χ counted in their residue."""
    full = model.structure
    first, graph = full.residues.first, model.bonding.neighbours
    level = np.zeros(len(full), dtype=np.int64)
    quads = np.zeros((len(rows), MAX_CHI, 4), dtype=np.int64)
    keys = residue_keys(full)
    for key, same in rows_by_key(keys[row] for row in rows.tolist()).items():
        begin, stop = int(first[rows[same[0]]]), int(first[rows[same[0]] + 1])
        depth = np.zeros(stop - begin, dtype=np.int64)
        for k, quad in enumerate(tables.chi_atoms()[key[0]]):
            local = [key[1].index(name) for name in quad]
            quads[same, k] = local
            reached, waiting = {local[1], local[2]}, [local[2]]
            while waiting:
                atom = begin + waiting.pop()
                for other in graph.partner[graph.first[atom] : graph.first[atom + 1]].tolist():
                    if begin <= other < stop and other - begin not in reached:
                        reached.add(other - begin)
                        waiting.append(other - begin)
            depth[list(reached - {local[1], local[2]})] += 1
        level[first[rows[same]][:, None] + np.arange(stop - begin)] = depth
    return level, quads


def _reach(
    positions: NDArray[np.float64],
    atoms: NDArray[np.int32],
    level: NDArray[np.int64],
    owner: NDArray[np.int64],
    quads: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return how far (Å) from Cβ each atom can get: along the axes of its χ, then straight."""
    ends = positions[quads[:, :, 2]]
    steps = np.linalg.norm(np.diff(ends, axis=1), axis=2)
    along = np.concatenate([np.zeros((len(quads), 1)), np.cumsum(steps, axis=1)], axis=1)
    last = np.maximum(level - 1, 0)
    return along[owner, last] + np.linalg.norm(positions[atoms] - ends[owner, last], axis=1)
