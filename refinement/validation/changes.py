"""What refinement changed: shifts, rotamers, peptide flips, moved residues, residues that fit better or worse.

Two models with the same atoms in the same order are compared, without superposition: both lie in the map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.structure import ResidueKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.structure import Residues, Structure

MOVED = 1.0
"""Å; a residue whose atoms moved more than this (rms) is counted as moved."""
FIT_CHANGED = 0.1
"""A residue whose Q-score differs by more than this fits better or worse. B factors don't enter the Q-score, so it says
what the new coordinates did; between equally good refinements of one model hardly any residue differs so much."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Differences between two states of a model.

    Attributes
    ----------
    residues : Residues
        The residue table of both models.
    rmsd_to_initial : float
        Root-mean-square shift of all non-hydrogen atoms, Å.
    moved : NDArray[int64]
        Rows of the residues with an rms shift of more than `MOVED`, the furthest first.
    rotamers : NDArray[int64]
        Rows of the side chains whose rotamer name differs (a side chain without a name counts as one name of its own).
    rotamer_names : NDArray[str], shape (n_residues, 2)
        Rotamer names before and after, "" where a residue has none.
    flipped : NDArray[int64]
        Rows of the residues whose carbonyl turned by more than 90° about the axis from its Cα to the next.
    residue_shift : NDArray[float32], shape (n_residues,)
        Rms shift of each residue, Å; NaN where a residue has only hydrogens.
    """

    residues: Residues
    rmsd_to_initial: float
    moved: NDArray[np.int64]
    rotamers: NDArray[np.int64]
    rotamer_names: NDArray[np.str_]
    flipped: NDArray[np.int64]
    residue_shift: NDArray[np.float32]

    @property
    def summary(self) -> dict[str, float]:
        """Return the numbers under their metric keys."""
        return {
            "rmsd_to_initial": self.rmsd_to_initial,
            "rotamers_changed": float(len(self.rotamers)),
            "peptides_flipped": float(len(self.flipped)),
            "residues_moved": float(len(self.moved)),
        }

    def listed(self, fit_before: NDArray[np.float32], fit_after: NDArray[np.float32]) -> dict[str, list[dict[str, Any]]]:
        """Return every change with the residue that it happened to.

        Parameters
        ----------
        fit_before, fit_after : NDArray[float32], shape (n_residues,)
            Q-scores; NaN where there is none.

        Returns
        -------
        dict
            ``rotamers`` and ``peptides`` in the order of the file, ``moved`` with the furthest first (Å),
            ``fit_better`` and ``fit_worse`` with the largest difference first.
        """
        gain = np.nan_to_num(fit_after - fit_before)
        order = np.argsort(-np.abs(gain), kind="stable")

        def fits(rows: NDArray[np.int64]) -> list[dict[str, Any]]:
            return [{**self._named(row), "from": float(fit_before[row]), "to": float(fit_after[row])} for row in rows.tolist()]

        names = self.rotamer_names
        return {
            "rotamers": [
                {**self._named(row), "from": str(names[row, 0]), "to": str(names[row, 1])} for row in self.rotamers.tolist()
            ],
            "peptides": [self._named(row) for row in self.flipped.tolist()],
            "moved": [{**self._named(row), "shift": float(self.residue_shift[row])} for row in self.moved.tolist()],
            "fit_better": fits(order[gain[order] > FIT_CHANGED]),
            "fit_worse": fits(order[gain[order] < -FIT_CHANGED]),
        }

    def _named(self, row: int) -> dict[str, Any]:
        residues = self.residues
        number, insertion = int(residues.number[row]), str(residues.insertion[row])
        place = {"chain": str(residues.chain[row]), "number": number, "compound": str(residues.compound[row])}
        return {**place, "insertion": insertion} if insertion else place


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
    moved = np.flatnonzero(shift > MOVED)
    return Changes(
        residues=initial.residues,
        rmsd_to_initial=float(np.sqrt(squared[heavy].mean())) if heavy.any() else 0.0,
        moved=moved[np.argsort(-shift[moved], kind="stable")],
        rotamers=np.flatnonzero(initial_rotamers != refined_rotamers),
        rotamer_names=np.stack([initial_rotamers, refined_rotamers], axis=1),
        flipped=_flipped_peptides(initial, refined),
        residue_shift=shift.astype(np.float32),
    )


def _flipped_peptides(initial: Structure, refined: Structure) -> NDArray[np.int64]:
    """Return the residues whose carbonyls turned by more than 90° about the axis from their Cα to the next one."""
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
    return here[near][(before * after).sum(axis=1) < 0]


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
