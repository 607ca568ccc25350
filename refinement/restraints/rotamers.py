"""Rotamer restraints: side-chain torsions held at, or drawn into, conformations that occur in nature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refinement import tables
from refinement.conformers import NamedAtoms
from refinement.geometry import dihedrals
from refinement.restraints.dihedrals import DihedralRestraints
from refinement.validation.interpolation import periodic_multilinear

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.structure import Structure

SIGMA = 5.0
"""Degrees."""
LIMIT = 45.0
"""Degrees from the target where the energy levels off."""
ACCEPTED = 0.05
"""Side chains with at least this Top8000 score stay as they are."""
STEPS = 20
"""Parts of the way to the nearest rotamer that are tried, shortest first."""

_NAMES = tuple(sorted({name for chis in tables.chi_atoms().values() for quad in chis for name in quad}))


@dataclass(frozen=True, slots=True, eq=False)
class RotamerTargets:
    """Targets of the χ angles of one model; one row per side chain and conformer.

    Attributes
    ----------
    residue : NDArray[int32], shape (m,)
        Row of the residue.
    atoms : NDArray[int32], shape (m, 4, 4)
        The four atoms of each χ, -1 where the side chain is shorter.
    chi, target : NDArray[float64], shape (m, 4)
        Present angle and target in degrees; NaN where the side chain is shorter.
    period : NDArray[float64], shape (m, 4)
        360, or 180 where the group is symmetric.
    score : NDArray[float64], shape (m,)
        Top8000 score of the present angles.
    """

    residue: NDArray[np.int32]
    atoms: NDArray[np.int32]
    chi: NDArray[np.float64]
    target: NDArray[np.float64]
    period: NDArray[np.float64]
    score: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.score)


def rotamer_targets(structure: Structure, *, accepted: float = ACCEPTED) -> RotamerTargets:
    """Return the χ targets of all complete side chains that have a rotamer table.

    The target of a side chain with a score of at least `accepted` is its present conformation. That
    of another is the first point with this score on the straight way to the nearest rotamer.

    Parameters
    ----------
    structure : Structure
        The model.
    accepted : float
        Top8000 score, 0 to 1.
    """
    compounds = structure.residues.compound
    pieces: list[RotamerTargets] = []
    for table in NamedAtoms(structure, _NAMES).conformers():
        for compound in tables.ROTAMER_TABLES:
            if compound in tables.rotamer_centres():
                pieces.append(_compound_targets(structure, compound, np.flatnonzero(compounds == compound), table, accepted))
    return _merged(pieces)


def rotamer_restraints(targets: RotamerTargets, *, sigma: float = SIGMA, limit: float = LIMIT) -> DihedralRestraints:
    """Return harmonic restraints that level off, one per χ.

    Parameters
    ----------
    targets : RotamerTargets
        From `rotamer_targets`; a move may have set other targets.
    sigma : float
        Standard deviation in degrees.
    limit : float
        Degrees from the target where the energy levels off, inf for never.
    """
    row, chi = np.nonzero(targets.atoms[:, :, 0] >= 0)
    return DihedralRestraints(
        atoms=np.ascontiguousarray(targets.atoms[row, chi]),
        target=targets.target[row, chi],
        weight=np.full(len(row), sigma**-2.0),
        period=np.where(targets.period[row, chi] == 180.0, -2, 0).astype(np.int32),
        limit=np.full(len(row), float(limit)),
        residue=targets.residue[row],
    )


def rotamer_scores(compound: str, chi: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Top8000 scores of χ angles (degrees, shape (m, number of χ)) of one compound."""
    grid = tables.rotamer_grid(tables.ROTAMER_TABLES[compound])
    return periodic_multilinear(grid.values, chi[:, : grid.values.ndim], lower=0.0, width=grid.width)


def _compound_targets(
    structure: Structure, compound: str, rows: NDArray[np.int64], table: NDArray[np.int32], accepted: float
) -> RotamerTargets:
    grid = tables.rotamer_grid(tables.ROTAMER_TABLES[compound])
    n_chi = min(len(tables.chi_atoms()[compound]), grid.values.ndim)
    quads = tables.chi_atoms()[compound][:n_chi]
    columns = np.array([[_NAMES.index(name) for name in quad] for quad in quads])
    atoms = table[rows][:, columns]
    complete = (atoms >= 0).all(axis=(1, 2))
    rows, atoms = rows[complete], atoms[complete]
    chi = dihedrals(structure.positions, *np.moveaxis(atoms, 2, 0).reshape(4, -1)).reshape(len(rows), n_chi)
    period = np.array(tables.chi_periods()[compound][:n_chi])
    score = rotamer_scores(compound, chi)
    target = _drawn_in(compound, chi, score, period, accepted)
    padded = np.full((2, len(rows), 4), np.nan)
    padded[0, :, :n_chi], padded[1, :, :n_chi] = chi, target
    wide_atoms = np.full((len(rows), 4, 4), -1, dtype=np.int32)
    wide_atoms[:, :n_chi] = atoms
    wide_period = np.full((len(rows), 4), 360.0)
    wide_period[:, :n_chi] = period
    return RotamerTargets(rows.astype(np.int32), wide_atoms, padded[0], padded[1], wide_period, score)


def _drawn_in(
    compound: str, chi: NDArray[np.float64], score: NDArray[np.float64], period: NDArray[np.float64], accepted: float
) -> NDArray[np.float64]:
    """Return `chi` moved towards the nearest rotamer, where its score is too low, until the score is high enough."""
    target = chi.copy()
    poor = np.flatnonzero(score < accepted)
    centres = tables.rotamer_centres()[compound].chi[:, : chi.shape[1]]
    centres = centres[rotamer_scores(compound, centres) >= accepted]
    if not len(poor) or not len(centres):
        return target
    way = centres[None] - chi[poor, None]
    way -= period * np.round(way / period)
    nearest = np.argmin((way**2).sum(axis=2), axis=1)
    way = way[np.arange(len(poor)), nearest]
    trials = chi[poor, None] + way[:, None] * (np.arange(1, STEPS + 1) / STEPS)[:, None]
    enough = rotamer_scores(compound, trials.reshape(-1, chi.shape[1])).reshape(len(poor), STEPS) >= accepted
    enough[:, -1] = True
    target[poor] = trials[np.arange(len(poor)), np.argmax(enough, axis=1)]
    return target


def _merged(pieces: list[RotamerTargets]) -> RotamerTargets:
    """Join targets of conformers and compounds, by residue; side chains that conformers share count once."""
    columns = [
        np.concatenate([getattr(piece, name) for piece in pieces])
        for name in ("residue", "atoms", "chi", "target", "period", "score")
    ]
    _, first = np.unique(columns[1].reshape(-1, 16), axis=0, return_index=True)
    first = first[np.argsort(columns[0][first], kind="stable")]
    return RotamerTargets(*(column[first] for column in columns))
