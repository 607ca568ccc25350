"""Peptide torsion angle ω: cis, trans, twisted (Williams 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refinement.conformers import NamedAtoms, peptide_bonds
from refinement.geometry import dihedrals
from refinement.structure import ResidueKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.structure import Structure

CIS = 30.0
"""Degrees; |ω| below this is cis."""
TRANS = 150.0
"""Degrees; |ω| above this is trans; between the two the peptide is twisted."""


@dataclass(frozen=True, slots=True, eq=False)
class Omega:
    """Result; one row per peptide bond, alternate positions counted separately.

    Attributes
    ----------
    residue : NDArray[int32]
        Row of the residue on the N side of the bond.
    omega : NDArray[float64]
        Degrees, -180 to 180.
    proline : NDArray[bool]
        The residue is proline.
    n_residues : int
        Residues of the model.
    """

    residue: NDArray[np.int32]
    omega: NDArray[np.float64]
    proline: NDArray[np.bool_]
    n_residues: int

    @property
    def cis(self) -> NDArray[np.bool_]:
        """Mask of cis peptides."""
        return np.abs(self.omega) < CIS

    @property
    def twisted(self) -> NDArray[np.bool_]:
        """Mask of twisted peptides."""
        return ~self.cis & (np.abs(self.omega) <= TRANS)

    @property
    def cis_proline(self) -> int:
        """Number of cis peptides before proline."""
        return int((self.cis & self.proline).sum())

    @property
    def summary(self) -> dict[str, float | None]:
        """Return the counts under their metric keys."""
        if not len(self.omega):
            return {"cis_nonproline": None, "twisted_peptides": None}
        cis = float((self.cis & ~self.proline).sum())
        return {"cis_nonproline": cis, "twisted_peptides": float(self.twisted.sum())}

    @property
    def reasons(self) -> dict[str, str]:
        """Return why numbers are missing."""
        return {key: "not_applicable" for key, value in self.summary.items() if value is None}

    @property
    def columns(self) -> dict[str, NDArray[np.float32]]:
        """Return the per-residue column: ω of the first conformer of each residue."""
        column = np.full(self.n_residues, np.nan, dtype=np.float32)
        column[self.residue[::-1]] = self.omega[::-1]
        return {"omega": column}


def omega(structure: Structure) -> Omega:
    """Measure the peptide torsion angles of a model, modified and D amino acids included, unknown ones (UNK) not."""
    named = NamedAtoms(structure, ("N", "CA", "C"))
    amino = (structure.residues.kind == ResidueKind.PROTEIN) & (structure.residues.compound != "UNK")
    found = []
    for turn, table in enumerate(named.conformers()):
        bonds = peptide_bonds(structure, table[:, 0], table[:, 2], amino & (table >= 0).any(axis=1))
        rows = np.flatnonzero(bonds.previous >= 0)
        before = table[bonds.previous[rows]]
        quads = np.stack([before[:, 1], before[:, 2], table[rows, 0], table[rows, 1]], axis=1)
        kept = (quads >= 0).all(axis=1)
        if turn:
            kept &= named.lettered(quads).any(axis=1)
        found.append(quads[kept])
    quads = np.concatenate(found)
    residue = structure.residue[quads[:, 3]]
    order = np.argsort(residue, kind="stable")
    values = dihedrals(structure.positions, *quads[order].T)
    residue = residue[order]
    return Omega(residue, values, structure.residues.compound[residue] == "PRO", len(structure.residues))
