"""The unique part of a symmetric model, with as much of its copies around it as it feels.

All moves and minimisations work on this small model; the whole one is made from it by the operators. The map is averaged
over the copies once, so that the density at the first copy is the mean of that at all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from refinement.cells import nearest_points
from refinement.maps.boxing import box_around
from refinement.maps.masks import mask_around
from refinement.maps.symmetry import averaged
from refinement.symmetry.counting import FREE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.maps.interpolation import InterpolatedMap
    from refinement.operators import Operators
    from refinement.restraints.dihedrals import DihedralRestraints
    from refinement.structure import Structure
    from refinement.symmetry.constraints import Symmetry

    Floats = NDArray[np.float64]
    Rows = NDArray[np.int32]

SHELL = 10.0
"""Å around the atoms that vary within which images are kept: a long side chain and a contact beyond its end."""
OWN = 2.0
"""Å around atoms without a counterpart within which the map isn't averaged."""
BETTER = 0.005
"""By this part another copy's mean density must be higher for the refinement to begin with that copy."""
APART = 2.5
"""Å around each first copy within which the map is averaged where the operators don't form a group."""


@dataclass(frozen=True, slots=True, eq=False)
class UniquePart:
    """A part of a model that holds all atoms that vary.

    Attributes
    ----------
    rows : NDArray[int32], shape (n,)
        Its atoms in the whole model, ascending.
    symmetry : Symmetry
        Of its atoms.
    whole : Structure
        The whole model.
    whole_symmetry : Symmetry
        Of all atoms.
    """

    rows: Rows
    symmetry: Symmetry
    whole: Structure
    whole_symmetry: Symmetry

    def part(self, structure: Structure) -> Structure:
        """Return the part of a whole model, images where their sources want them."""
        if len(self.rows) < len(structure):
            other = np.ones(len(structure), dtype=np.bool_)
            other[self.rows] = False
            structure = structure.without(other)
        return structure.moved(self.symmetry.imposed(structure.positions))

    def restraints(self, term: DihedralRestraints, structure: Structure) -> DihedralRestraints:
        """Return restraints of the whole model as those of its part, `structure`, as far as their atoms are in it."""
        place = np.full(len(self.whole), -1, dtype=np.int32)
        place[self.rows] = np.arange(len(self.rows), dtype=np.int32)
        kept = (place[term.atoms] >= 0).all(axis=1)
        arrays = {item.name: getattr(term, item.name)[kept] for item in fields(term)}
        atoms = place[arrays["atoms"]]
        return replace(term, **{**arrays, "atoms": atoms, "residue": structure.residue[atoms[:, 1]]})

    def expanded(self, positions: Floats) -> Structure:
        """Return the whole model from the positions (n, 3) of the part."""
        return self.whole.moved(self.whole_symmetry.spread(positions[self.symmetry.varying]))

    def shared(self, values: Floats) -> Floats:
        """Return a number for each atom of the whole model, that of its source, from those of the part's atoms (n,)."""
        everywhere = np.empty(len(self.whole))
        everywhere[self.whole_symmetry.varying] = values[self.symmetry.varying]
        return everywhere[self.whole_symmetry.source]

    def with_operators(self, operators: Operators) -> UniquePart:
        """Return the same with other operators."""
        return replace(
            self, symmetry=self.symmetry.with_operators(operators), whole_symmetry=self.whole_symmetry.with_operators(operators)
        )


def unique_part(structure: Structure, symmetry: Symmetry) -> UniquePart:
    """Return the atoms that vary and the residues around them; all where the operators don't form a group."""
    rows = np.arange(len(structure), dtype=np.int32)
    if symmetry.closed:
        rows = np.flatnonzero(_around(structure, symmetry.varies)[structure.residue]).astype(np.int32)
    return UniquePart(rows, symmetry.select(rows), structure, symmetry)


def with_best_copy(structure: Structure, symmetry: Symmetry, density: InterpolatedMap) -> Structure:
    """Return the model with the copy that lies in most density in the place of the first, if that is clearly better.

    Copies that were built one by one don't have the same errors, but whatever the first has all of them get.
    """
    values = density.values(structure.positions) * structure.elements
    complete = symmetry.multiplicity == symmetry.copies
    means = [float(values[complete & (symmetry.operator == k) & (symmetry.copy != FREE)].mean()) for k in range(symmetry.copies)]
    best = int(np.argmax(means))
    if not symmetry.closed or means[best] <= means[0] + BETTER * abs(means[0]):
        return structure
    rows = np.flatnonzero((symmetry.operator == best) & complete)
    positions = structure.positions.copy()
    positions[symmetry.source[rows]] = symmetry.operators.inverse().apply(best, structure.positions[rows])
    return structure.moved(positions)


def _around(structure: Structure, varies: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which residues have atoms near those that vary, or follow or precede such a residue in a chain.

    The latter keep the hydrogens of the former as they are.
    """
    nearest, _ = nearest_points(structure.positions, structure.positions[varies], SHELL)
    residues = structure.residues
    near = np.zeros(len(residues), dtype=np.bool_)
    near[structure.residue[nearest >= 0]] = True
    padded = near.copy()
    joined = residues.chain_index[1:] == residues.chain_index[:-1]
    padded[1:] |= near[:-1] & joined
    padded[:-1] |= near[1:] & joined
    return padded


def averaged_map(density: Density, part: UniquePart, cushion: float, *, threads: int) -> Density:
    """Return the map around a unique part, averaged over the copies where that means the same density.

    Parameters
    ----------
    density : Density
        The map around the whole model, normalised.
    part : UniquePart
    cushion : float
        Å; margin of the box.
    threads : int
        Threads; the values don't depend on it.
    """
    whole, symmetry = part.whole, part.whole_symmetry
    positions = whole.positions[part.rows]
    into = box_around(density, positions, cushion)
    alone = positions[part.symmetry.copy == FREE]
    own = mask_around(alone, np.full(len(alone), OWN), into) if len(alone) else np.zeros(into.values.shape, dtype=np.bool_)
    if symmetry.closed:
        region = mask_around(positions, np.full(len(positions), cushion), into) & ~own
        return averaged(density, symmetry.operators, region, into=into, threads=threads)
    for copy in np.unique(symmetry.copy[symmetry.varies & (symmetry.copy != FREE)]).tolist():
        first = np.flatnonzero(symmetry.copy == copy)
        images = np.unique(symmetry.operator[np.isin(symmetry.source, first)])
        region = mask_around(whole.positions[first], np.full(len(first), APART), into) & ~own
        into = averaged(density, symmetry.operators.select(images), region, into=into, threads=threads)
    return into
