"""Cutting the part of a map that holds the model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gemmi
import numpy as np

from refinement.errors import MapError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.density import Density


def box_around(density: Density, positions: NDArray[np.float64], cushion: float, *, wrap: bool = False) -> Density:
    """Return the map within a box around positions; its voxels are those of the map, not interpolated.

    Parameters
    ----------
    density : Density
        The map.
    positions : NDArray[float64], shape (n, 3)
        Atoms in Å.
    cushion : float
        Distance in Å between the outermost atoms and the faces of the box.
    wrap : bool
        Let the map repeat periodically instead of ending the box at its edges.

    Raises
    ------
    MapError
        ``map_elsewhere`` if no part of the map is that near to the atoms.
    """
    grid = density.grid_coordinates(positions)
    reach = cushion * np.linalg.norm(density.grid_matrix, axis=1)
    dims = np.array(density.values.shape)
    start = np.floor(grid.min(axis=0) - reach).astype(np.int64)
    end = np.ceil(grid.max(axis=0) + reach).astype(np.int64) + 1
    if not wrap:
        start, end = np.maximum(start, 0), np.minimum(end, dims)
        if (end <= start).any():
            message = f"No atom lies within {cushion:g} Å of the map."
            raise MapError("map_elsewhere", message, "Check that model and map belong together and lie in the same frame.")
    size = end - start
    if wrap:
        indices = [np.arange(first, last) % n for first, last, n in zip(start, end, dims, strict=True)]
        values = density.values[np.ix_(*indices)]
    else:
        values = density.values[tuple(slice(first, last) for first, last in zip(start, end, strict=True))]
    a, b, c = (density.voxel * size).tolist()
    cell = gemmi.UnitCell(a, b, c, density.cell.alpha, density.cell.beta, density.cell.gamma)
    corner = density.corner + density.step_matrix @ start.astype(np.float64)
    return replace(density, values=np.ascontiguousarray(values), cell=cell, corner=corner)
