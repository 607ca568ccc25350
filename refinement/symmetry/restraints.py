"""Torsions of identical chains held alike, where the chains aren't constrained to be the same.

Each torsion is drawn to the mean of those of its counterparts that are near it anyway; differences beyond 15° are taken
for real and feel nothing (refinement.md, 6.6; the top-out form of Headd et al. 2012, Acta Cryst. D68, 381-390).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refinement.geometry import dihedrals_or_nan
from refinement.restraints.dihedrals import DihedralRestraints
from refinement.restraints.named_torsions import named_torsions
from refinement.symmetry.chains import families
from refinement.symmetry.matching import matched_atoms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from refinement.structure import Structure

    Floats = NDArray[np.float64]

BLOCK = 1 << 22
"""Differences of angles that are held at once; bounds memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Counterparts:
    """Torsions and their counterparts.

    Attributes
    ----------
    atoms : NDArray[int32], shape (m, number of chains, 4)
        Rows of the atoms, -1 where a chain lacks one.
    period : NDArray[int32], shape (m,)
        0, or -2 where the angle counts modulo 180°.
    """

    atoms: NDArray[np.int32]
    period: NDArray[np.int32]

    def restraints(self, structure: Structure, *, weight: float, limit: float) -> DihedralRestraints:
        """Return restraints to the mean of the near counterparts as they are now.

        Parameters
        ----------
        structure : Structure
            The model.
        weight : float
            1/σ² in degrees⁻².
        limit : float
            Degrees; beyond it counterparts aren't near, and the restraint levels off.
        """
        turn = np.where(self.period == -2, 180.0, 360.0)
        rows, columns, targets = [], [], []
        for first, stop in self._blocks():
            size = self.atoms[first:stop].shape[:2]
            angle = dihedrals_or_nan(structure.positions, self.atoms[first:stop].reshape(-1, 4)).reshape(size)
            apart = angle[:, None, :] - angle[:, :, None]
            apart -= turn[first:stop, None, None] * np.round(apart / turn[first:stop, None, None])
            near = np.abs(apart) <= limit  # false for NaN
            row, column = np.nonzero(near.sum(axis=2) > 1)
            mean = np.where(near, apart, 0.0).sum(axis=2) / np.maximum(near.sum(axis=2), 1)
            rows.append(row + first)
            columns.append(column)
            targets.append((angle + mean)[row, column])
        row, column = np.concatenate(rows), np.concatenate(columns)
        atoms = np.ascontiguousarray(self.atoms[row, column])
        return DihedralRestraints(
            atoms=atoms,
            target=np.concatenate(targets),
            weight=np.full(len(row), weight),
            period=self.period[row],
            limit=np.full(len(row), float(limit)),
            residue=structure.residue[atoms[:, 1]],
        )

    def _blocks(self) -> Iterator[tuple[int, int]]:
        size = max(1, BLOCK // max(1, self.atoms.shape[1]) ** 2)
        for first in range(0, len(self.atoms), size):
            yield first, min(first + size, len(self.atoms))


def counterparts(structure: Structure) -> list[Counterparts]:
    """Return the torsions of each kind of chain that occurs more than once, whatever their conformations.

    ω is left out: nothing but cis or trans tells it apart, and it has a restraint of its own.
    """
    torsions = named_torsions(structure)
    torsions = torsions.select(torsions.name != "omega")
    found = []
    for family in families(structure):
        table = matched_atoms(structure, family.residue.T)
        place = np.full(len(structure), -1, dtype=np.int64)
        place[table[:, 0]] = np.arange(len(table))
        rows = place[torsions.atoms]
        whole = (rows >= 0).all(axis=1)
        atoms = np.moveaxis(table[rows[whole]], 2, 1)
        if len(atoms):
            found.append(Counterparts(np.where((atoms.min(axis=2) >= 0)[:, :, None], atoms, -1), torsions.period[whole]))
    return found
