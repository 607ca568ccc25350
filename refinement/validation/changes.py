"""What refinement changed: shifts, rotamers, peptide flips, moved residues.

Two models with the same atoms in the same order are compared, without superposition: both lie in the map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refinement.structure import ResidueKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.structure import Structure

MOVED = 1.0
"""Å; a residue whose atoms moved more than this (rms) is counted as moved."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Differences between two states of a model.

    Attributes
    ----------
    rmsd_to_initial : float
        Root-mean-square shift of all non-hydrogen atoms, Å.
    residues_moved : int
        Residues with an rms shift of more than `MOVED`.
    rotamers_changed : int
        Side chains whose rotamer name differs (a side chain without a name counts as one name of its own).
    peptides_flipped : int
        Peptides whose carbonyl turned by more than 90° about its Cα–Cα axis.
    residue_shift : NDArray[float32], shape (n_residues,)
        Rms shift of each residue, Å; NaN where a residue has only hydrogens.
    """

    rmsd_to_initial: float
    residues_moved: int
    rotamers_changed: int
    peptides_flipped: int
    residue_shift: NDArray[np.float32]

    @property
    def summary(self) -> dict[str, float]:
        """Return the numbers under their metric keys."""
        return {
            "rmsd_to_initial": self.rmsd_to_initial,
            "rotamers_changed": float(self.rotamers_changed),
            "peptides_flipped": float(self.peptides_flipped),
            "residues_moved": float(self.residues_moved),
        }


def compare(
    initial: Structure, refined: Structure, *, initial_rotamers: NDArray[np.str_], refined_rotamers: NDArray[np.str_]
) -> Changes:
    """Compare two models with the same atoms.

    Parameters
    ----------
    initial, refined : Structure
        The models; atoms in the same order.
    initial_rotamers, refined_rotamers : NDArray[str], shape (n_residues,)
        Rotamer names, "" where a residue has none.

    Raises
    ------
    ValueError
        If the models don't have the same atoms.
    """
    if len(initial) != len(refined) or not np.array_equal(initial.names, refined.names):
        message = f"the models differ in their atoms ({len(initial)} and {len(refined)})"
        raise ValueError(message)
    heavy = ~initial.is_hydrogen
    squared = ((refined.positions - initial.positions) ** 2).sum(axis=1)
    count = np.bincount(initial.residue[heavy], minlength=len(initial.residues))
    total = np.bincount(initial.residue[heavy], weights=squared[heavy], minlength=len(initial.residues))
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = np.sqrt(total / count)
    return Changes(
        rmsd_to_initial=float(np.sqrt(squared[heavy].mean())) if heavy.any() else 0.0,
        residues_moved=int((shift > MOVED).sum()),
        rotamers_changed=int((initial_rotamers != refined_rotamers).sum()),
        peptides_flipped=_flipped_peptides(initial, refined),
        residue_shift=shift.astype(np.float32),
    )


def _flipped_peptides(initial: Structure, refined: Structure) -> int:
    """Count carbonyls that turned by more than 90° about the axis from their Cα to the next one."""
    alpha, oxygen = atom_rows(initial, "CA"), atom_rows(initial, "O")
    residues = initial.residues
    here = np.arange(len(residues) - 1)
    usable = (
        (residues.kind[:-1] == ResidueKind.PROTEIN)
        & (residues.kind[1:] == ResidueKind.PROTEIN)
        & (residues.chain_index[:-1] == residues.chain_index[1:])
        & (alpha[:-1] >= 0)
        & (alpha[1:] >= 0)
        & (oxygen[:-1] >= 0)
    )
    here = here[usable]
    first, second, carbonyl = alpha[here], alpha[here + 1], oxygen[here]
    apart = np.linalg.norm(initial.positions[second] - initial.positions[first], axis=1)
    near = apart < 4.5  # consecutive residues of an unbroken chain
    before = _perpendicular(initial.positions, first[near], second[near], carbonyl[near])
    after = _perpendicular(refined.positions, first[near], second[near], carbonyl[near])
    return int(((before * after).sum(axis=1) < 0).sum())


def _perpendicular(
    positions: NDArray[np.float64], first: NDArray[np.int64], second: NDArray[np.int64], atom: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the part of (atom - first) at right angles to the axis first-second."""
    axis = positions[second] - positions[first]
    axis /= np.linalg.norm(axis, axis=1)[:, None]
    arm = positions[atom] - positions[first]
    return arm - (arm * axis).sum(axis=1)[:, None] * axis


def atom_rows(structure: Structure, name: str) -> NDArray[np.int64]:
    """Return for each residue the row of its first atom called `name`, -1 where there is none."""
    rows = np.full(len(structure.residues), -1, dtype=np.int64)
    found = np.flatnonzero(structure.names == name)[::-1]
    rows[structure.residue[found]] = found
    return rows
