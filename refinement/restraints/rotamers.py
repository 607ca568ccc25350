"""Rotamer restraints: side-chain torsions held at, or drawn into, conformations that occur in nature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
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

WINDOW, SAMPLE = 90.0, 2.0
"""Degrees to either side of a centre where the spread of a rotamer is measured, and between the points."""
RAREST = 0.01
"""Percent; the least frequency of a rotamer, for those that have none in the table."""

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
    centre, spread : NDArray[float64], shape (m, 4)
        Centre of the rotamer that the side chain belongs to, and its standard deviation, in degrees; NaN as for `chi`.
    """

    residue: NDArray[np.int32]
    atoms: NDArray[np.int32]
    chi: NDArray[np.float64]
    target: NDArray[np.float64]
    period: NDArray[np.float64]
    score: NDArray[np.float64]
    centre: NDArray[np.float64]
    spread: NDArray[np.float64]

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


def natural_rotamer_restraints(targets: RotamerTargets, *, sigma: float = SIGMA) -> DihedralRestraints:
    """Return harmonic restraints of every χ to the centre of its rotamer, as wide as side chains in good structures vary.

    Bonds and angles are treated the same way. Where χ is free, such as χ2 of Asn, the restraint is weak of itself; where
    the score is too low the side chain is drawn in with `sigma` (degrees) instead.
    """
    row, chi = np.nonzero(targets.atoms[:, :, 0] >= 0)
    poor = targets.score[row] < ACCEPTED
    return replace(
        rotamer_restraints(targets, limit=np.inf),
        target=np.where(poor, targets.target[row, chi], targets.centre[row, chi]),
        weight=np.where(poor, sigma, targets.spread[row, chi]) ** -2.0,
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
    centre, spread = _rotamer_of(compound, chi, period)
    angles = (chi, _drawn_in(compound, chi, centre, score, period, accepted), centre, spread)
    padded = np.full((len(angles), len(rows), 4), np.nan)
    for place, values in zip(padded, angles, strict=True):
        place[:, :n_chi] = values
    wide_atoms = np.full((len(rows), 4, 4), -1, dtype=np.int32)
    wide_atoms[:, :n_chi] = atoms
    wide_period = np.full((len(rows), 4), 360.0)
    wide_period[:, :n_chi] = period
    chi, target, centre, spread = padded
    return RotamerTargets(rows.astype(np.int32), wide_atoms, chi, target, wide_period, score, centre, spread)


def _rotamer_of(
    compound: str, chi: NDArray[np.float64], period: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return centre and spread of the rotamer that each side chain most probably belongs to, shape (m, number of χ)."""
    centres, spreads, frequency = _distributions(compound)
    way = chi[:, None] - centres
    way -= period * np.round(way / period)
    unlikely = ((way / spreads) ** 2 + 2.0 * np.log(spreads)).sum(axis=2) - 2.0 * np.log(frequency)
    mine = np.argmin(unlikely, axis=1)
    return centres[mine], spreads[mine]


@cache
def _distributions(compound: str) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return centres, spreads (both of shape (k, number of χ)) and frequencies (%, k) of the rotamers that aren't rare.

    The spread is the second moment of the contours along each χ through the centre, as far as no other centre is nearer.
    """
    rotamers = tables.rotamer_centres()[compound]
    n_chi = min(len(tables.chi_atoms()[compound]), tables.rotamer_grid(tables.ROTAMER_TABLES[compound]).values.ndim)
    period = np.array(tables.chi_periods()[compound][:n_chi])
    centres = rotamers.chi[:, :n_chi]
    common = rotamer_scores(compound, centres) >= ACCEPTED
    centres, frequency = centres[common], np.maximum(np.nan_to_num(rotamers.frequency[common]), RAREST)
    way = np.arange(-WINDOW, WINDOW + SAMPLE, SAMPLE)
    spreads = np.empty_like(centres)
    for axis in range(n_chi):
        points = np.repeat(centres[:, None], len(way), axis=1)
        points[:, :, axis] += way
        off = points[:, :, None] - centres
        off -= period * np.round(off / period)
        own = np.argmin((off**2).sum(axis=3), axis=2) == np.arange(len(centres))[:, None]
        density = own * rotamer_scores(compound, points.reshape(-1, n_chi)).reshape(own.shape)
        spreads[:, axis] = np.sqrt((density * way**2).sum(axis=1) / density.sum(axis=1))
    return centres, spreads, frequency


def _drawn_in(
    compound: str,
    chi: NDArray[np.float64],
    centre: NDArray[np.float64],
    score: NDArray[np.float64],
    period: NDArray[np.float64],
    accepted: float,
) -> NDArray[np.float64]:
    """Return `chi` moved towards the centre of its rotamer, where its score is too low, until the score is high enough."""
    target = chi.copy()
    poor = np.flatnonzero(score < accepted)
    if not len(poor):
        return target
    way = centre[poor] - chi[poor]
    way -= period * np.round(way / period)
    trials = chi[poor, None] + way[:, None] * (np.arange(1, STEPS + 1) / STEPS)[:, None]
    enough = rotamer_scores(compound, trials.reshape(-1, chi.shape[1])).reshape(len(poor), STEPS) >= accepted
    enough[:, -1] = True
    target[poor] = trials[np.arange(len(poor)), np.argmax(enough, axis=1)]
    return target


def _merged(pieces: list[RotamerTargets]) -> RotamerTargets:
    """Join targets of conformers and compounds, by residue; side chains that conformers share count once."""
    columns = [
        np.concatenate([getattr(piece, name) for piece in pieces])
        for name in ("residue", "atoms", "chi", "target", "period", "score", "centre", "spread")
    ]
    _, first = np.unique(columns[1].reshape(-1, 16), axis=0, return_index=True)
    first = first[np.argsort(columns[0][first], kind="stable")]
    return RotamerTargets(*(column[first] for column in columns))
