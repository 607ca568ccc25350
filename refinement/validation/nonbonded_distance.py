"""The shortest distance between atoms that aren't bonded (metrics §9)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from refinement.cells import neighbour_pairs
from refinement.restraints.bonding import compatible, find_bonds
from refinement.restraints.graph import exclusions

if TYPE_CHECKING:
    import gemmi
    from numpy.typing import NDArray

    from refinement.restraints.bonding import Bonding
    from refinement.structure import Structure

SEARCH_REACHES = (2.6, 4.5)
"""Å; the second where the first finds nothing."""
FOURTH = 4
"""Order of 1-4 pairs in the exclusions."""


@dataclass(frozen=True, slots=True)
class NonbondedDistance:
    """The closest pair.

    Attributes
    ----------
    summary : dict[str, float | None]
        ``min_nonbonded_distance`` in Å.
    reasons : dict[str, str]
        ``not_applicable`` where no two atoms are within reach.
    columns : dict[str, NDArray[float32]]
        Empty: there is nothing per residue.
    pair : tuple[int, int] or None
        Its atoms.
    """

    summary: dict[str, float | None]
    reasons: dict[str, str] = field(default_factory=dict)
    columns: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    pair: tuple[int, int] | None = None


def min_nonbonded_distance(structure: Structure, library: gemmi.MonLib | None) -> NonbondedDistance:
    """Return the shortest distance of two atoms that are not 1-2, 1-3 or planar 1-4 neighbours.

    Hydrogens take part if the model has them. Atoms of different conformers and metals with what they coordinate
    are left out; symmetry mates play no role.

    Parameters
    ----------
    structure : Structure
        The model.
    library : gemmi.MonLib or None
        Dictionaries for the bonds and planes.
    """
    bonding = find_bonds(structure, library)
    for reach in SEARCH_REACHES:
        found = _closest(structure, bonding, library, reach)
        if found is not None:
            length, pair = found
            return NonbondedDistance({"min_nonbonded_distance": length}, pair=pair)
    return NonbondedDistance({"min_nonbonded_distance": None}, {"min_nonbonded_distance": "not_applicable"})


def _closest(
    structure: Structure, bonding: Bonding, library: gemmi.MonLib | None, reach: float
) -> tuple[float, tuple[int, int]] | None:
    pairs = neighbour_pairs(structure.positions, 0.5 * reach).astype(np.int64)
    altloc = structure.altloc
    pairs = pairs[compatible(altloc[pairs[:, 0]], altloc[pairs[:, 1]])]
    n = len(structure)
    keys = pairs[:, 0] * n + pairs[:, 1]
    near = exclusions(bonding.neighbours)
    owner = np.repeat(np.arange(n, dtype=np.int64), np.diff(near.first))
    listed = owner * n + near.partner  # ascending
    place = np.minimum(np.searchsorted(listed, keys), max(len(listed) - 1, 0))
    order = np.where(listed[place] == keys, near.order[place], 0) if len(listed) else np.zeros(len(keys), dtype=np.int64)
    metal_bonds = np.sort(bonding.coordination, axis=1).astype(np.int64)
    free = ((order == 0) | (order == FOURTH)) & ~np.isin(keys, metal_bonds[:, 0] * n + metal_bonds[:, 1])
    pairs, fourth = pairs[free], order[free] == FOURTH
    length = np.linalg.norm(structure.positions[pairs[:, 0]] - structure.positions[pairs[:, 1]], axis=1)
    for k in np.lexsort((pairs[:, 1], pairs[:, 0], length)).tolist():
        i, j = int(pairs[k, 0]), int(pairs[k, 1])
        if not (fourth[k] and _in_one_plane(structure, bonding, library, i, j)):
            return float(length[k]), (i, j)
    return None


def _in_one_plane(structure: Structure, bonding: Bonding, library: gemmi.MonLib | None, i: int, j: int) -> bool:
    """Return whether two 1-4 neighbours lie in one plane: of a dictionary, or of a peptide link."""
    row = int(structure.residue[i])
    if row != structure.residue[j]:
        middle = set(bonding.neighbours.of(i).tolist()) | set(bonding.neighbours.of(j).tolist())
        return {"C", "N"} <= {str(structure.names[atom]) for atom in middle}
    compound = str(structure.residues.compound[row])
    if library is None or compound not in library.monomers:
        return False
    names = {str(structure.names[i]), str(structure.names[j])}
    return any(names <= {member.atom for member in plane.ids} for plane in library.monomers[compound].rt.planes)
