"""Cβ restraints: two improper dihedrals that hold Cβ where the backbone wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refinement.conformers import STANDARD_AMINO_ACIDS, NamedAtoms
from refinement.restraints.dihedrals import DihedralRestraints

if TYPE_CHECKING:
    from refinement.structure import Structure

SIGMA = 2.5
"""Degrees."""
GENERAL = (122.8, -122.6)
TARGETS: dict[str, tuple[float, float]] = {
    "ALA": (122.9, -122.6),
    "PRO": (115.1, -120.7),
    "VAL": (123.4, -122.0),
    "THR": (123.4, -122.0),
    "ILE": (123.4, -122.0),
}
"""Degrees: N-C-CA-CB and C-N-CA-CB (values as in cctbx); `GENERAL` for the other amino acids."""

_NAMES = ("N", "CA", "C", "CB")
_QUADS = ((0, 2, 1, 3), (2, 0, 1, 3))


def cbeta_restraints(structure: Structure, *, sigma: float = SIGMA) -> DihedralRestraints:
    """Return the Cβ restraints of all standard amino acids that have the four atoms, in every conformer.

    Parameters
    ----------
    structure : Structure
        The model.
    sigma : float
        Standard deviation of the dihedrals in degrees.
    """
    compound = structure.residues.compound
    wanted = np.isin(compound, [name for name in STANDARD_AMINO_ACIDS if name != "GLY"])
    tables = []
    for table in NamedAtoms(structure, _NAMES).conformers():
        complete = wanted & (table >= 0).all(axis=1)
        tables.append(np.column_stack([table[complete], np.flatnonzero(complete)]))
    groups = np.unique(np.concatenate(tables), axis=0) if tables else np.empty((0, 5), dtype=np.int64)
    residue = groups[:, 4].astype(np.int32)
    targets = np.array([TARGETS.get(str(name), GENERAL) for name in compound[residue]]).reshape(-1, 2)
    atoms = np.stack([groups[:, quad] for quad in _QUADS], axis=1).reshape(-1, 4)
    count = len(atoms)
    return DihedralRestraints(
        atoms=np.ascontiguousarray(atoms, dtype=np.int32),
        target=targets.ravel(),
        weight=np.full(count, sigma**-2.0),
        period=np.zeros(count, dtype=np.int32),
        limit=np.full(count, np.inf),
        residue=np.repeat(residue, 2),
    )
