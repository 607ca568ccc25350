"""The two puckers of proline: Cγ on either side of its ring."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refinement.conformers import NamedAtoms
from refinement.geometry import dihedrals
from refinement.restraints.rotamers import rotamer_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.interpolation import InterpolatedMap
    from refinement.structure import Structure

RING = ("N", "CA", "CB", "CG", "CD")
LOWEST_SCORE = 1e-4
"""Rotamer scores below it count like it; keeps the logarithm finite."""


def flip_puckers(
    structure: Structure, density: InterpolatedMap, map_weight: float, gain: float, *, fixed: NDArray[np.bool_] | None = None
) -> tuple[Structure, NDArray[np.int64], NDArray[np.float64]]:
    """Move Cγ of prolines through the plane of the ring where that fits better.

    Cγ is mirrored at the plane through Cβ, Cδ and the middle of N-Cα, which keeps its bonds. The energy is
    -weight · density at Cγ - ln(rotamer score).

    Parameters
    ----------
    structure : Structure
        The model without hydrogens; prolines with several conformers stay.
    density : InterpolatedMap
        The map, normalised.
    map_weight : float
        Weight of the density of a carbon atom.
    gain : float
        The energy must fall by more than this.
    fixed : NDArray[bool], shape (n_residues,), optional
        Residues that stay.

    Returns
    -------
    Structure
        The model.
    NDArray[int64]
        Rows of the residues that changed.
    NDArray[float64]
        How much the energy of each fell.
    """
    table = next(NamedAtoms(structure, RING).conformers())
    rows = np.flatnonzero((structure.residues.compound == "PRO") & (table >= 0).all(axis=1))
    rows = rows[(structure.altloc[table[rows]] == "").all(axis=1)]
    if fixed is not None:
        rows = rows[~fixed[rows]]
    atoms = table[rows]
    n, ca, cb, cg, cd = np.moveaxis(structure.positions[atoms], 1, 0)
    across = np.cross(cd - cb, 0.5 * (n + ca) - cb)
    across /= np.maximum(np.linalg.norm(across, axis=1), 1e-6)[:, None]
    mirrored = structure.positions.copy()
    mirrored[atoms[:, 3]] = cg - 2.0 * ((cg - cb) * across).sum(axis=1)[:, None] * across
    weight = map_weight * structure.occupancy[atoms[:, 3]]
    energies = []
    for positions in (structure.positions, mirrored):
        scores = rotamer_scores("PRO", dihedrals(positions, *atoms[:, :4].T)[:, None])
        energies.append(-weight * density.values(positions[atoms[:, 3]]) - np.log(np.maximum(scores, LOWEST_SCORE)))
    better = energies[0] - energies[1]
    taken = better > gain
    positions = structure.positions.copy()
    positions[atoms[taken, 3]] = mirrored[atoms[taken, 3]]
    return structure.moved(positions), rows[taken], better[taken]
