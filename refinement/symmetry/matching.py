"""Which atoms of a copy stand for which: residue by residue, hetero groups by where they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refinement.cells import nearest_points
from refinement.moves.naming import FLAT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.operators import Operators
    from refinement.structure import Structure

    Floats = NDArray[np.float64]
    Rows = NDArray[np.int32]

BELONGS = 12.0
"""Å from a polymer within which ligands, ions and waters are part of the copy."""
HETERO_REACH = 1.5
"""Å between the centres of a ligand, ion or water and of the image that it is taken for."""


def matched_atoms(structure: Structure, residues: Rows) -> Rows:
    """Return rows of atoms and of their counterparts.

    Residues whose atoms differ in names or conformers have none: they are built differently.

    Parameters
    ----------
    structure : Structure
        The model.
    residues : NDArray[int32], shape (m, number of copies)
        Rows of residues and of their counterparts, -1 for none; without one in the first copy a row is ignored.

    Returns
    -------
    NDArray[int32], shape (n, number of copies)
        Only atoms with at least one counterpart, ascending in the first column.
    """
    order, code = _canonical(structure)
    first = structure.residues.first
    residues = residues[np.argsort(residues[:, 0])]
    residues = residues[residues[:, 0] >= 0]
    size = np.diff(first)[residues[:, 0]]
    owner = np.repeat(np.arange(len(residues)), size)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(size) - size, size)
    atoms = np.full((len(owner), residues.shape[1]), -1, dtype=np.int32)
    atoms[:, 0] = order[first[residues[owner, 0]] + place]
    for k in range(1, residues.shape[1]):
        other = residues[:, k]
        usable = (other >= 0) & (np.diff(first)[other] == size)
        usable &= structure.residues.compound[other] == structure.residues.compound[residues[:, 0]]
        there = first[np.where(usable, other, 0)][owner] + place
        rows = order[np.minimum(there, len(order) - 1)]
        differs = usable[owner] & (code[rows] != code[atoms[:, 0]])
        usable &= np.bincount(owner, weights=differs, minlength=len(residues)) == 0
        atoms[:, k] = np.where(usable[owner], rows, -1)
    atoms = atoms[(atoms[:, 1:] >= 0).any(axis=1)]
    return atoms[np.argsort(atoms[:, 0])]


def with_equivalent_names(structure: Structure, operators: Operators, atoms: Rows) -> Rows:
    """Return the atoms with counterparts exchanged where equivalent atoms of a copy bear each other's names.

    Which of the two oxygens of an aspartate is called first depends on the last degree of a torsion. Parameters are those
    of `with_hetero_groups`.
    """
    atoms = atoms.copy()
    residue, names = structure.residue[atoms[:, 0]], structure.names[atoms[:, 0]]
    single = structure.altloc[atoms[:, 0]] == ""
    compound = structure.residues.compound[residue]
    place = np.empty((2, len(structure.residues)), dtype=np.int64)
    for kind, (_, pairs) in FLAT.items():
        swaps = []
        for pair in pairs:
            place[:] = -1
            for number, name in enumerate(pair):
                rows = np.flatnonzero(single & (compound == kind) & (names == name))
                place[number, residue[rows]] = rows
            swaps.append(place.copy())
        both = np.flatnonzero(np.all([swap >= 0 for swap in swaps], axis=(0, 1)))
        for k in range(1, len(operators)):
            _exchange(structure, operators, atoms, [swap[:, both] for swap in swaps], k)
    return atoms


def _exchange(structure: Structure, operators: Operators, atoms: Rows, swaps: list[NDArray[np.int64]], k: int) -> None:
    """Exchange the counterparts in copy k of pairs of atoms, where that brings them nearer."""
    gain = np.zeros(swaps[0].shape[1])
    for first, second in swaps:
        known = (atoms[first, k] >= 0) & (atoms[second, k] >= 0)
        here = [operators.apply(k, structure.positions[atoms[rows, 0]]) for rows in (first, second)]
        there = [structure.positions[atoms[rows, k]] for rows in (first, second)]
        for own, same, other in ((here[0], there[0], there[1]), (here[1], there[1], there[0])):
            gain += known * (((own - same) ** 2).sum(axis=1) - ((own - other) ** 2).sum(axis=1))
    for first, second in swaps:
        a, b = first[gain > 0.0], second[gain > 0.0]
        atoms[a, k], atoms[b, k] = atoms[b, k], atoms[a, k]


def with_hetero_groups(structure: Structure, operators: Operators, atoms: Rows, *, near: bool = False) -> Rows:
    """Add the ligands, ions and waters of the first copy that the others have too.

    Parameters
    ----------
    structure : Structure
        The model.
    operators : Operators
        They bring the first copy onto the others.
    atoms : NDArray[int32], shape (n, number of copies)
        Polymer atoms of the copies.
    near : bool
        Only those that lie nearer to the first copy than to any other atom of a polymer.
    """
    residues = structure.residues
    used = np.zeros(len(residues), dtype=np.bool_)
    used[structure.residue[atoms[atoms >= 0]]] = True
    rows = np.flatnonzero(~used & ~residues.polymer)
    if not len(rows) or not len(atoms):
        return atoms
    count = np.diff(residues.first)
    total = np.add.reduceat(structure.positions, residues.first[:-1], axis=0)
    centres = (total / count[:, None])[rows]
    _, distance = nearest_points(centres, structure.positions[atoms[:, 0]], BELONGS)
    if near:
        strangers = residues.polymer[structure.residue]
        strangers[atoms[:, 0]] = False
        _, beyond = nearest_points(centres, structure.positions[strangers], BELONGS)
        distance = np.where(distance <= beyond, distance, np.inf)
    images = _hetero_images(residues.compound[rows], centres, operators)
    orbits, taken = [], np.zeros(len(rows), dtype=np.bool_)
    for row in np.argsort(distance, kind="stable").tolist():
        if taken[row] or not np.isfinite(distance[row]):
            continue
        orbit = images[row].copy()
        mates = orbit[1:][orbit[1:] >= 0]
        if len(set(mates.tolist()) | {row}) <= len(mates):  # it lies on an axis, or is shared
            taken[row] = True
            continue
        orbit[1:][taken[orbit[1:]] & (orbit[1:] >= 0)] = -1
        taken[orbit[orbit >= 0]] = True
        orbits.append(np.where(orbit >= 0, rows[orbit], -1))
    if not orbits:
        return atoms
    joined = np.concatenate([atoms, matched_atoms(structure, np.array(orbits, dtype=np.int32))])
    return joined[np.argsort(joined[:, 0])]


def _hetero_images(compounds: NDArray[np.str_], centres: Floats, operators: Operators) -> NDArray[np.int64]:
    """Return which residue of the same compound lies where each operator brings each residue, -1 for none."""
    images = np.full((len(centres), len(operators)), -1, dtype=np.int64)
    for compound in np.unique(compounds).tolist():
        rows = np.flatnonzero(compounds == compound)
        for k in range(len(operators)):
            nearest, _ = nearest_points(operators.apply(k, centres[rows]), centres[rows], HETERO_REACH)
            images[rows, k] = np.where(nearest >= 0, rows[nearest], -1)
    images[:, 0] = np.arange(len(centres))
    return images


def _canonical(structure: Structure) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the atoms of each residue in the order of their names, and a number for each atom's name and conformer."""
    _, name = np.unique(structure.names, return_inverse=True)
    letters, letter = np.unique(structure.altloc, return_inverse=True)
    code = name.astype(np.int64) * len(letters) + letter
    return np.lexsort((code, structure.residue)), code
