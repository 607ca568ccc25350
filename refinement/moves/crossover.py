"""The best of several models of the same molecule, stretch by stretch: each chain changes between them where they agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refinement.structure import Structure

    Floats = NDArray[np.float64]

SEAM = 100.0
"""Energy per Å² between two models at the place where a chain changes from one to the other: what bonds and angles there
cost after they have given way, about; at 0.3 Å a change must gain 9."""


def crossed(structure: Structure, parents: Sequence[Floats], energies: Sequence[Floats]) -> tuple[Floats, NDArray[np.intp]]:
    """Join stretches of several models so that the sum of their energies and of the seams is lowest.

    The choice for each chain is the shortest path through its residues (Viterbi's algorithm).

    Parameters
    ----------
    structure : Structure
        The molecule, without hydrogens.
    parents : sequence of NDArray[float64], shape (n, 3)
        Positions of its atoms (Å) in each model.
    energies : sequence of NDArray[float64], shape (n,)
        Energy of each atom there; lower is better.

    Returns
    -------
    (NDArray[float64], NDArray[intp])
        Positions, shape (n, 3), and the model that each residue is taken from, shape (n_residues,).
    """
    size = len(structure.residues)
    cost: Floats = np.stack([np.bincount(structure.residue, weights=energy, minlength=size) for energy in energies], axis=1)
    places = np.stack([_centres(structure, positions) for positions in parents], axis=1)
    apart = ((places[:, :, None] - places[:, None]) ** 2).sum(axis=3)
    chosen = np.empty(size, dtype=np.intp)
    chains = structure.residues.chain_index
    for rows in np.split(np.arange(size), np.flatnonzero(np.diff(chains)) + 1):
        seams = SEAM * 0.5 * (apart[rows[:-1]] + apart[rows[1:]])
        chosen[rows] = _shortest_path(cost[rows], seams)
    return np.stack(parents)[chosen[structure.residue], np.arange(len(structure))], chosen


def _centres(structure: Structure, positions: Floats) -> Floats:
    """Return the mean position of the atoms of the backbone of each residue, or of all where it has none."""
    backbone = np.isin(structure.names, ("N", "CA", "C", "P", "O5'", "C4'", "O3'"))
    size = len(structure.residues)
    has = np.bincount(structure.residue, weights=backbone, minlength=size) > 0
    weights = np.where(backbone | ~has[structure.residue], 1.0, 0.0)
    count = np.maximum(np.bincount(structure.residue, weights=weights, minlength=size), 1.0)
    sums = [np.bincount(structure.residue, weights=weights * axis, minlength=size) for axis in positions.T]
    return np.stack(sums, axis=1) / count[:, None]


def _shortest_path(cost: Floats, seams: Floats) -> NDArray[np.intp]:
    """Return which column of each row of `cost`, shape (m, k), is on the path of the lowest sum; changes cost `seams`."""
    total, came = cost[0], np.empty((len(seams), cost.shape[1]), dtype=np.intp)
    for row, seam in enumerate(seams):
        ways = total[:, None] + seam
        came[row] = ways.argmin(axis=0)
        total = ways.min(axis=0) + cost[row + 1]
    path = [int(total.argmin())]
    for back in came[::-1]:
        path.append(int(back[path[-1]]))
    return np.array(path[::-1], dtype=np.intp)
