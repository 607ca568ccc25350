"""How common φ and ψ are, as a smooth potential: by type of residue, in helices, strands and elsewhere.

L is the logarithm of the Ramachandran contours (Top8000), corrected by type and secondary structure where the tables
of Rama-Z hold enough residues to say so. Outside the allowed region it falls on linearly with the distance to that
region, so that an outlier far away feels a force.

A potential whose minimum is the most common conformation would bring every residue there that the map doesn't
hold, and a model of nothing but perfect helices is as unlikely as a bad one. So the summits are cut off at what is
typical: L averaged over the residues of good structures. What is more common than that isn't pulled any further.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from refinement import tables
from refinement.validation.ca_assignment import LOOP
from refinement.validation.ramachandran import ALLOWED, FAVORED, RamachandranClass

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Grid = NDArray[np.float64]

BIN, FIRST_CENTRE = 2.0, -179.0
"""Degrees."""
DECAY = 12.0
"""Degrees outside the allowed region over which L falls by 1."""
SMOOTHING = 1.0
"""Standard deviation of the Gaussian that L is smoothed with, in bins."""
COUNT_SMOOTHING = 1.0
"""The same for the counts of Rama-Z, in their cells of 4°; a cell of a rare type holds few residues."""
UNSURE = 5.0
"""Residues per cell that would be needed to change what the contours say; their noise is then below a factor of 1.5."""
NEIGHBOURHOOD = 30.0
"""Degrees; standard deviation of the window in which L is typical, the size of a basin."""
ROUNDING = 0.25
"""Units of L over which the slope fades out where it becomes typical."""

CLASS_OF_TYPE = {
    "GLY": RamachandranClass.GLYCINE,
    "cisPRO": RamachandranClass.CIS_PROLINE,
    "transPRO": RamachandranClass.TRANS_PROLINE,
    "prePRO": RamachandranClass.PRE_PROLINE,
    "ILE": RamachandranClass.ISOLEUCINE_VALINE,
    "VAL": RamachandranClass.ISOLEUCINE_VALINE,
}
"""Contours of a type in the tables of Rama-Z; `RamachandranClass.GENERAL` for the others."""


@cache
def potentials() -> NDArray[np.float64]:
    """Return the B-spline coefficients of L, shape (3 · types + 6, 180, 180), axes row (`rows_of`), φ, ψ.

    Nodes are `BIN` apart, the first at `FIRST_CENTRE`; what is added to L of a type makes no difference.
    The last six are the contours alone, by `RamachandranClass`.
    """
    heights = []
    for counts in tables.rama_z().counts:
        for name, table in zip(tables.rama_z().residue_types, counts, strict=True):
            category = CLASS_OF_TYPE.get(name, RamachandranClass.GENERAL)
            heights.append(levelled(*log_density(table, category), category))
    coefficients = np.stack(heights + [contour_heights(category) for category in list(RamachandranClass)[1:]])
    for axis in (1, 2):
        coefficients = ndimage.spline_filter1d(coefficients, order=3, axis=axis, mode="grid-wrap")
    return np.ascontiguousarray(coefficients)


def rows_of(
    state: NDArray[np.int8] | None, compound: NDArray[np.str_], *, before_proline: NDArray[np.bool_], cis: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Return the rows of `potentials` for residues.

    Parameters
    ----------
    state : NDArray[int8] or None
        Secondary structure, first axis of the tables of Rama-Z; a cis proline counts as loop in any. None for the
        rows of the contours alone.
    compound : NDArray[str]
        Standard amino acids.
    before_proline, cis : NDArray[bool]
        Whether a proline follows, and whether the peptide before the residue is cis.
    """
    proline = compound == "PRO"
    label = np.select(
        [proline & cis, proline, before_proline & (compound != "GLY"), compound == "MSE"],
        ["cisPRO", "transPRO", "prePRO", "MET"],
        compound,
    )
    names = np.array(tables.rama_z().residue_types)
    if state is None:
        category = np.array([CLASS_OF_TYPE.get(name, RamachandranClass.GENERAL) for name in label.tolist()], dtype=np.int32)
        return category + np.int32(tables.rama_z().counts[:, :, 0, 0].size)
    order = np.argsort(names)
    kind = order[np.searchsorted(names[order], label)]
    return (np.where(label == "cisPRO", LOOP, state).astype(np.int32) * len(names) + kind).astype(np.int32)


def log_density(counts: NDArray[np.float64], category: RamachandranClass) -> tuple[Grid, Grid]:
    """Return L of a type, and its density without what was smoothed and added; shape (180, 180) each.

    Parameters
    ----------
    counts : NDArray[float64], shape (90, 90)
        Residues of good structures in cells of 4°.
    category : RamachandranClass
        Contours of the type.
    """
    contour = tables.ramachandran()[category].astype(np.float64)
    observed = finer(ndimage.gaussian_filter(counts.astype(np.float64), COUNT_SMOOTHING, mode="wrap"))
    expected = contour * (observed.sum() / contour.sum())
    ratio = (observed + UNSURE) / (expected + UNSURE)
    return contour_heights(category) + np.log(ratio), contour * ratio


@cache
def contour_heights(category: RamachandranClass) -> Grid:
    """Return the logarithm of the contours of a plot, going down outside the allowed region."""
    limit = float(ALLOWED[category])
    heights = np.log(np.maximum(tables.ramachandran()[category].astype(np.float64), limit))
    smooth: Grid = ndimage.gaussian_filter(heights - distance_to(category, limit) / DECAY, SMOOTHING, mode="wrap")
    return smooth


def levelled(heights: Grid, density: Grid, category: RamachandranClass) -> Grid:
    """Return L with its summits cut off at what is typical there; nothing is typical outside the favoured region."""
    top = typical(heights, density) + distance_to(category, FAVORED) / DECAY
    return top - ROUNDING * np.logaddexp(0.0, (top - heights) / ROUNDING)


def typical(heights: Grid, density: Grid) -> Grid:
    """Return L averaged over residues near each point of the grid (by `density`, a Gaussian window)."""
    coarse = [_coarser(values) for values in (density * heights, density)]
    weighted, total = (ndimage.gaussian_filter(values, NEIGHBOURHOOD / (4 * BIN), mode="wrap") for values in coarse)
    return finer(finer(weighted / total))


@cache
def distance_to(category: RamachandranClass, level: float) -> Grid:
    """Return the distance of each point of a plot to the region within a contour, in degrees."""
    region = tables.ramachandran()[category] >= level
    margin = [(size // 2, size // 2) for size in region.shape]
    apart = ndimage.distance_transform_edt(~np.pad(region, margin, mode="wrap"))
    inside: Grid = apart[tuple(slice(a, -a) for a, _ in margin)] * BIN
    return inside


def finer(values: Grid) -> Grid:
    """Return a periodic grid with cells of half the width, interpolated linearly."""
    for axis in (0, 1):
        before, after = (0.75 * values + 0.25 * np.roll(values, shift, axis) for shift in (1, -1))
        values = np.stack([before, after], axis=axis + 1).reshape([n * (1 + (k == axis)) for k, n in enumerate(values.shape)])
    return values


def _coarser(values: Grid) -> Grid:
    """Return the mean over blocks of 4 × 4 cells."""
    n, m = (size // 4 for size in values.shape)
    means: Grid = values.reshape(n, 4, m, 4).mean(axis=(1, 3))
    return means
