"""Symmetry of a map found without a model: C, D, T, O, I and helices.

Groups are tried in the orientations that reconstruction programs give them, the main axis along z, about the middle of
the box and about the centre of the dense region, in a map blurred so far that small errors of centre and tilt don't
matter; the best are then refined. The method is that of map-symmetry searches elsewhere (refinement.md, 6.7): values
at points of high density against those at their images, the worst operator counts, and of two groups that both fit
the larger one wins. Where a model has copies its own operators are tested instead, which is faster and exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from refinement.maps.blurring import blurred_map
from refinement.maps.interpolation import prepare
from refinement.maps.symmetry import correlation
from refinement.maps.transforms import forward, limits_within
from refinement.operators import Operators, separation, turned_about

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.maps.interpolation import InterpolatedMap

    Floats = NDArray[np.float64]

LIMIT = 0.75
"""Lowest correlation of symmetry-related density."""
HIGHEST_FOLD = 14
BLUR = 6.0
"""Å; the map is blurred to this, so that an axis half of it away is still found."""
POINTS = 400
"""Points of high density that are compared; fewer than a quarter of them are too few."""
DENSE = 0.02
"""Fraction of the box that counts as dense, at most."""
REFINED = 5
"""Candidates that are refined and scored again."""
STEPS = (1.0, 0.5, 0.25, 0.1, 0.05)
"""Å, and half degrees: steps in which centre and orientation are refined."""
HOPELESS = 0.3
"""Operators that correlate less before anything is refined aren't near a symmetry."""
GAIN = 1e-4
"""Correlation that a step of the refinement must gain."""
AZIMUTHS = np.arange(0.0, 180.0, 1.5)
"""Degrees from x at which two-fold axes across the main axis are looked for."""
STEP = 0.25 * BLUR
"""Å by which neighbouring trials of a helix move the density, along the axis and round it."""
LONGEST_RISE = 60.0
"""Å"""
HELICES = 4
"""Trials of a helix that are refined."""
SHORTEST_RISE = 0.5
"""Å; less is a rotation."""
SLIDING = 0.9
"""A helix of which other twists correlate so nearly as well (in the median) is a smooth rod, and has no symmetry."""
AS_GOOD = 0.95
"""The shortest rise that correlates so nearly as well as the best is the helix, the others are its powers."""
THROUGH, CORE = 0.7, 0.25
"""A helix fills this part of the box's height, and is compared within this part on either side of the middle: images
beyond the box's ends are lost."""


@dataclass(frozen=True, slots=True, eq=False)
class MapSymmetry:
    """A symmetry of a map.

    Attributes
    ----------
    name : str
        ``C4``, ``D7``, ``T``, ``O``, ``I``, ``I (b)`` for the icosahedron turned by 90°, or ``helical``.
    operators : Operators
        The identity first; of a helix five neighbours.
    correlation : float
        That of the worst operator.
    """

    name: str
    operators: Operators
    correlation: float

    @property
    def score(self) -> float:
        """Correlation times the root of the number of operators, by which symmetries are ranked."""
        return self.correlation * math.sqrt(len(self.operators))


@dataclass(frozen=True, slots=True, eq=False)
class _Sampled:
    """The blurred map, the points that are compared, and the map there."""

    density: InterpolatedMap
    points: Floats
    values: Floats

    @classmethod
    def at(cls, density: InterpolatedMap, points: Floats) -> _Sampled:
        return cls(density, points, density.values(points))

    def correlation(self, operators: Operators, number: int) -> float:
        return correlation(self.values, self.density.values(operators.apply(number, self.points)))

    def score(self, name: str, operators: Operators, *, hopeless: float = HOPELESS) -> MapSymmetry:
        """Correlate all operators, but stop at one that is hopeless."""
        worst = 1.0
        for k in range(1, len(operators)):
            worst = min(worst, self.correlation(operators, k))
            if worst <= hopeless:
                break
        return MapSymmetry(name, operators, worst)


def find_symmetry(density: Density, *, limit: float = LIMIT) -> tuple[MapSymmetry, ...]:
    """Search a map for symmetry about an axis along z.

    Parameters
    ----------
    density : Density
        The map; a box cut out of a larger one shows its symmetry only if the whole particle is in it.
    limit : float
        Lowest correlation.

    Returns
    -------
    tuple of MapSymmetry
        Those that the map has, best first, each kind once; empty if it has none.
    """
    coarse = blurred_map(forward(density.values, limits_within(density.dims, density.cell, 1.0 / BLUR)), density, BLUR)
    points = _dense_points(coarse)
    if len(points) < POINTS // 4:
        return ()
    sample = _Sampled.at(prepare(coarse), points)
    middle = density.corner + density.step_matrix @ (np.array(density.dims) / 2.0)
    centres = (middle, middle - density.step_matrix @ np.full(3, 0.5), points.mean(axis=0))
    found = [sample.score(name, operators.about(-centre)) for name, operators in _point_groups() for centre in centres]
    found += [dihedral for centre in centres for dihedral in _dihedrals(sample, centre)]
    found = sorted((trial for trial in found if trial.correlation > HOPELESS), key=lambda trial: -trial.score)
    best = [_refined(sample, symmetry) for symmetry in found[:REFINED]]
    best += _helices(sample, density, centres, limit)
    names: dict[str, MapSymmetry] = {}
    for symmetry in sorted(best, key=lambda symmetry: -symmetry.score):
        if symmetry.correlation >= limit:
            names.setdefault(symmetry.name, symmetry)
    return tuple(names.values())


def _dense_points(density: Density) -> Floats:
    """Return up to `POINTS` grid points (Å) spread over the region of high density."""
    values = density.values
    level = max(
        float(np.quantile(values, 1.0 - DENSE)), float(values.mean(dtype=np.float64) + 2.0 * values.std(dtype=np.float64))
    )
    rows = np.flatnonzero(values.ravel() > level)
    rows = np.sort(rows[np.random.default_rng(0).permutation(len(rows))[:POINTS]])
    grid = np.stack(np.unravel_index(rows, values.shape), axis=1)
    return density.corner + grid @ density.step_matrix.T


@cache
def _point_groups() -> tuple[tuple[str, Operators], ...]:
    """Return the cyclic and the polyhedral groups about the origin."""
    golden = (1.0 + math.sqrt(5.0)) / 2.0
    two, third = turned_about((0.0, 0.0, 1.0), 180.0), turned_about((1.0, 1.0, 1.0), 120.0)
    return (
        *((f"C{fold}", _cyclic(fold)) for fold in range(2, HIGHEST_FOLD + 1)),
        ("T", _generated(two, third)),
        ("O", _generated(turned_about((0.0, 0.0, 1.0), 90.0), third)),
        ("I", _generated(two, third, turned_about((0.0, 1.0, golden), 72.0))),
        ("I (b)", _generated(two, third, turned_about((1.0, 0.0, golden), 72.0))),
    )


def _cyclic(fold: int) -> Operators:
    rotations = [turned_about((0.0, 0.0, 1.0), 360.0 * k / fold) for k in range(fold)]
    return Operators(np.array(rotations), np.zeros((fold, 3)))


def _dihedral(fold: int, azimuth: float) -> Operators:
    """Return D_n with a two-fold axis at this angle (degrees) from x."""
    two = turned_about((math.cos(math.radians(azimuth)), math.sin(math.radians(azimuth)), 0.0), 180.0)
    turns = _cyclic(fold)
    return turns.joined(Operators(turns.rotation @ two, turns.shift))


def _generated(*generators: Floats) -> Operators:
    """Return all products of rotations, the identity first."""
    group = [np.eye(3)]
    for member in group:  # it grows while it is gone through
        for generator in generators:
            product = generator @ member
            if not any(np.allclose(product, other, atol=1e-6) for other in group):
                group.append(product)
    return Operators(np.array(group), np.zeros((len(group), 3)))


def _dihedrals(sample: _Sampled, centre: Floats) -> Iterator[MapSymmetry]:
    """Yield D_2, D_3, ... about a centre, each with its two-fold axes turned to where the density agrees best."""
    scores = np.array([sample.correlation(_dihedral(1, azimuth).about(-centre), 1) for azimuth in AZIMUTHS.tolist()])
    for fold in range(2, HIGHEST_FOLD + 1):
        axes = (AZIMUTHS[:, None] + 180.0 / fold * np.arange(fold)) % 180.0
        azimuth = AZIMUTHS[np.interp(axes, AZIMUTHS, scores, period=180.0).mean(axis=1).argmax()]
        yield sample.score(f"D{fold}", _dihedral(fold, float(azimuth)).about(-centre))


def _refined(sample: _Sampled, symmetry: MapSymmetry) -> MapSymmetry:
    """Move and turn the axes, of a helix also rise and twist, as long as the worst operator gets better."""
    for step in STEPS:
        improved = True
        while improved:
            improved = False
            for trial in _nearby(symmetry, sample.points.mean(axis=0), step):
                enough = symmetry.correlation + GAIN
                other = sample.score(symmetry.name, trial, hopeless=enough)
                if other.correlation > enough:
                    symmetry, improved = other, True
    return symmetry


def _nearby(symmetry: MapSymmetry, middle: Floats, step: float) -> Iterator[Operators]:
    """Yield the operators with their axes shifted by a step, turned about `middle`, or with another rise and twist."""
    operators = symmetry.operators
    for axis in np.concatenate([np.eye(3), -np.eye(3)]):
        yield operators.about(-step * axis)
        turn = turned_about(tuple(axis), 2.0 * step)
        local = operators.about(middle)
        yield Operators(turn @ local.rotation @ turn.T, local.shift @ turn.T).about(-middle)
    if symmetry.name == "helical":
        one = operators.select(np.array([1])).about(middle)
        for rise, twist in ((step, 0.0), (-step, 0.0), (0.0, 2.0 * step), (0.0, -2.0 * step)):
            yield _powers(_screw(rise, twist).after(one).about(-middle))


def _helices(sample: _Sampled, density: Density, centres: tuple[Floats, ...], limit: float) -> list[MapSymmetry]:
    """Return the helix along z with the shortest rise among those that fit about as well as the best, if any does."""
    height = density.dims[2] * density.voxel[2]
    along = sample.points[:, 2]
    inner = np.abs(along - centres[0][2]) < CORE * height
    if np.ptp(along) < THROUGH * height or inner.sum() < POINTS // 4:
        return []
    core = _Sampled.at(sample.density, sample.points[inner])
    spread = core.points - core.points.mean(axis=0)
    radius = float(np.sqrt((spread[:, :2] ** 2).sum(axis=1).mean()))
    trials = sorted((trial for centre in centres[1:] for trial in _maxima(core, centre, radius)), key=lambda trial: -trial[0])
    found = []
    for _, one in trials[:HELICES]:
        helix = _refined(core, core.score("helical", _powers(one)))
        rise = abs(float(helix.operators.shift[1, 2]))
        if helix.correlation >= limit and rise >= SHORTEST_RISE and _moved(helix.operators, core.points, radius) > BLUR:
            found.append((rise, helix))
    best = max((helix.correlation for _, helix in found), default=0.0)
    good = sorted(((rise, k) for k, (rise, helix) in enumerate(found) if helix.correlation >= AS_GOOD * best))
    return [found[k][1] for _, k in good[:1]]


def _maxima(sample: _Sampled, centre: Floats, radius: float) -> list[tuple[float, Operators]]:
    """Return the screws about a centre that correlate better than those with a slightly other rise or twist, and how well."""
    rises = np.arange(0.0, LONGEST_RISE, STEP)
    twists = np.linspace(-180.0, 180.0, math.ceil(2.0 * math.pi * max(radius, BLUR) / STEP), endpoint=False)
    table = np.empty((len(rises), len(twists)))
    for i, rise in enumerate(rises.tolist()):
        for j, twist in enumerate(twists.tolist()):
            table[i, j] = sample.correlation(_screw(rise, twist).about(-centre), 0)
    peak = ndimage.maximum_filter(table, size=3, mode=("nearest", "wrap")) == table
    peak &= np.median(table, axis=1)[:, None] < SLIDING * table
    peak[[0, -1]] = False
    found = [
        (float(table[i, j]), _screw(float(rises[i]), float(twists[j])).about(-centre)) for i, j in np.argwhere(peak).tolist()
    ]
    return [(score, one) for score, one in found if _moved(_powers(one), sample.points, radius) > BLUR]


def _moved(helix: Operators, points: Floats, radius: float) -> float:
    """Return how far (Å) the screw itself moves the density."""
    one = helix.select(np.array([1]))
    return float(separation(one, Operators.identity(), points.mean(axis=0), radius)[0, 0])


def _screw(rise: float, twist: float) -> Operators:
    return Operators(turned_about((0.0, 0.0, 1.0), twist)[None], np.array([[0.0, 0.0, rise]]))


def _powers(one: Operators) -> Operators:
    """Return the identity, a screw, its square, and their inverses."""
    back = one.inverse()
    joined = Operators.identity()
    for row in (one, one.after(one), back, back.after(back)):
        joined = joined.joined(row)
    return joined
