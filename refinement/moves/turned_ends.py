"""Ends of Asn, Gln and His turned over by 180°, where the map tells oxygen, nitrogen and carbon apart.

In most maps it doesn't, and hydrogen bonds decide (`refinement.moves.side_chains`). Where the model explains the map
nearly completely, what is left unexplained does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.structure import Structure
    from refinement.target import Term

    Floats = NDArray[np.float64]

ENDS = {"ASN": (("OD1", "ND2"),), "GLN": (("OE1", "NE2"),), "HIS": (("ND1", "CD2"), ("CE1", "NE2"))}
"""Atoms that change places."""


def with_turned_ends(structure: Structure, term: Term) -> tuple[Floats, list[str]]:
    """Turn each end over where that lowers the energy of the map; one after the other, in the order of the file.

    Parameters
    ----------
    structure : Structure
        The model, without hydrogens.
    term : Term
        What compares it with the map.

    Returns
    -------
    (NDArray[float64], list of str)
        Positions, shape (n, 3), and the names of the residues that were turned. Bonds are to be regularised: C=O is
        shorter than C–N.
    """
    positions, gradient = structure.positions.copy(), np.zeros_like(structure.positions)
    turned = []
    lowest = term.energy_and_gradient(positions, gradient)
    for row in np.flatnonzero(np.isin(structure.residues.compound, list(ENDS))).tolist():
        pairs = _pairs(structure, row)
        if pairs is None:
            continue
        trial = positions.copy()
        trial[pairs[:, ::-1]] = positions[pairs]
        energy = term.energy_and_gradient(trial, gradient)
        if energy < lowest:
            positions, lowest = trial, energy
            turned.append(structure.residues.label(row))
    return positions, turned


def _pairs(structure: Structure, row: int) -> NDArray[np.intp] | None:
    """Return the atoms of a residue that change places, shape (m, 2); None if one is missing or has several conformers."""
    atoms = np.arange(structure.residues.first[row], structure.residues.first[row + 1])
    found = []
    for names in ENDS[str(structure.residues.compound[row])]:
        pair = [atoms[structure.names[atoms] == name] for name in names]
        if any(len(rows) != 1 for rows in pair):
            return None
        found.append([int(rows[0]) for rows in pair])
    return np.array(found, dtype=np.intp)
