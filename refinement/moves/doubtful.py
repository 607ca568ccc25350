"""Side chains that a search may be left to: rotamer outliers, and those that the map doesn't bear out.

The rule of real-space refinement in 2020: a side chain is poor if its mean density is below the mean of all side chains
divided by 2.5, unless its backbone is as poor, because then the map says nothing about either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refinement.structure import ResidueKind
from refinement.validation.correlation import MAIN_CHAIN
from refinement.validation.rotamers import OUTLIER, rotamers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.interpolation import InterpolatedMap
    from refinement.structure import Structure

POOR = 2.5
"""The mean density divided by this is poor."""


def doubtful(structure: Structure, density: InterpolatedMap) -> NDArray[np.bool_]:
    """Return which residues have a side chain that is an outlier or fits poorly, shape (n_residues,).

    Parameters
    ----------
    structure : Structure
        The model without hydrogens.
    density : InterpolatedMap
        The map, normalised.
    """
    found = np.zeros(len(structure.residues), dtype=bool)
    sides = rotamers(structure)
    found[sides.residue[sides.score < OUTLIER]] = True
    values = density.values(structure.positions)
    main = np.isin(structure.names, MAIN_CHAIN)
    protein = (structure.residues.kind == ResidueKind.PROTEIN)[structure.residue]
    side_poor, main_poor = (_poor(structure, values, protein & part) for part in (~main, main))
    return found | (side_poor & ~main_poor)


def _poor(structure: Structure, values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the residues whose chosen atoms have less than their share of density."""
    count = np.bincount(structure.residue[chosen], minlength=len(structure.residues))
    total = np.bincount(structure.residue[chosen], weights=values[chosen], minlength=len(structure.residues))
    present = count > 0
    if not present.any():
        return present
    mean = np.where(present, total / np.maximum(count, 1), np.inf)
    return mean < mean[present].mean() / POOR
