"""Conformations that the side-chain search tries, and the rotamer contours in a form that compiled code can read."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from refinement import tables
from refinement.restraints.rotamers import rotamer_scores
from refinement.validation.rotamers import FAVORED

if TYPE_CHECKING:
    from numpy.typing import NDArray

COMPOUNDS = tuple(name for name in tables.ROTAMER_TABLES if name != "PRO")
"""Compounds whose χ angles can be turned freely; the ring of proline can't."""
BROAD = frozenset({"ASN", "ASP", "GLN", "GLU", "HIS", "TRP"})
"""Compounds whose last χ turns an amide, a carboxylate or a ring, and occurs far from any rotamer centre."""
SPREAD = 12.0
"""Degrees to both sides of a centre in χ1 and χ2; about the standard deviation within a rotamer."""
BROAD_STEP = 30.0
"""Degrees between the values of a broad χ."""
MAX_CHI = 4


class RotamerTables(NamedTuple):
    """Rows are compounds in the order of `COMPOUNDS`.

    Attributes
    ----------
    grid : NDArray[float32], shape (all cells,)
        Contour grids, one after the other, in C order.
    grid_first : NDArray[int64], shape (n,)
        Where each grid begins.
    shape, width : NDArray[int64], NDArray[float64], shape (n, 4)
        Cells of each axis and their width in degrees; one cell of 360° for axes that a grid doesn't have.
    n_chi : NDArray[int64], shape (n,)
    period : NDArray[float64], shape (n, 4)
        Degrees.
    chi : NDArray[float64], shape (m, 4)
        Candidates, degrees; those of compound k are ``chi[first[k]:first[k + 1]]``.
    cost : NDArray[float64], shape (m,)
        Negative logarithm of the rotamer score of each.
    first : NDArray[int64], shape (n + 1,)
    """

    grid: NDArray[np.float32]
    grid_first: NDArray[np.int64]
    shape: NDArray[np.int64]
    width: NDArray[np.float64]
    n_chi: NDArray[np.int64]
    period: NDArray[np.float64]
    chi: NDArray[np.float64]
    cost: NDArray[np.float64]
    first: NDArray[np.int64]


@cache
def rotamer_tables() -> RotamerTables:
    """Return the grids and candidates of all compounds."""
    n = len(COMPOUNDS)
    names = sorted({tables.ROTAMER_TABLES[name] for name in COMPOUNDS})
    grids = [tables.rotamer_grid(name) for name in names]
    starts = np.concatenate([[0], np.cumsum([grid.values.size for grid in grids])])
    shape, width, period = np.ones((n, MAX_CHI), dtype=np.int64), np.full((n, MAX_CHI), 360.0), np.full((n, MAX_CHI), 360.0)
    which = np.array([names.index(tables.ROTAMER_TABLES[name]) for name in COMPOUNDS])
    n_chi = np.array([len(tables.chi_atoms()[name]) for name in COMPOUNDS])
    found = [candidates(name) for name in COMPOUNDS]
    for k, name in enumerate(COMPOUNDS):
        grid = grids[which[k]]
        shape[k, : n_chi[k]], width[k, : n_chi[k]] = grid.values.shape, grid.width
        period[k, : n_chi[k]] = tables.chi_periods()[name]
    padded = [np.pad(chi, ((0, 0), (0, MAX_CHI - chi.shape[1]))) for chi in found]
    scores = np.concatenate([rotamer_scores(name, chi) for name, chi in zip(COMPOUNDS, found, strict=True)])
    return RotamerTables(
        grid=np.concatenate([grid.values.ravel() for grid in grids]),
        grid_first=starts[which],
        shape=shape,
        width=width,
        n_chi=n_chi,
        period=period,
        chi=np.concatenate(padded),
        cost=-np.log(scores),
        first=np.concatenate([[0], np.cumsum([len(chi) for chi in found])]),
    )


def candidates(compound: str) -> NDArray[np.float64]:
    """Return the conformations of one compound that are tried, shape (m, χ), degrees.

    The centres of its rotamers, χ1 and χ2 also `SPREAD` to both sides, a broad last χ all the way round;
    of these the favoured ones (score of at least `refinement.validation.rotamers.FAVORED`).
    """
    n_chi = len(tables.chi_atoms()[compound])
    period = np.array(tables.chi_periods()[compound])
    offsets = [np.array([-SPREAD, 0.0, SPREAD]) if k < 2 else np.zeros(1) for k in range(n_chi)]
    if compound in BROAD:
        offsets[-1] = np.arange(0.0, period[-1], BROAD_STEP)
    steps = np.array(list(product(*offsets)))
    chi = (tables.rotamer_centres()[compound].chi[:, None, :n_chi] + steps).reshape(-1, n_chi) % period
    _, kept = np.unique(np.round(chi / 5.0), axis=0, return_index=True)
    chi = chi[np.sort(kept)]
    return chi[rotamer_scores(compound, chi) >= FAVORED]
