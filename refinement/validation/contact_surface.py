"""How much of the surface of an atom lies inside another one, whatever the orientation.

Contact dots (Word et al. 1999, J. Mol. Biol. 285, 1711) sample the surface of an atom: a dot inside an atom bonded to
its owner is void, otherwise it belongs to the neighbour that it is deepest in. Where dots lie is arbitrary, so
that pairs within some 0.02 Å of a limit depend on how a model is turned. Here the surface itself is measured, and with it
the chance that dots in a random orientation find a contact.

The overlap is constant on a circle around the line of centres. Atoms that bury the circle or take it over cover
arcs of it, so that circle after circle the free area is known without any sampling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from refinement.restraints.dots import MAX_NEIGHBOURS, local_axes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int32]

DOTS = 15.0
"""Dots per Å² on the spheres of the published programs: 14.7 to 15.3 for radii of 1.05 to 1.80 Å, as what makes
the nominal 16 is rounded down (`refinement.restraints.dots.dot_sphere`)."""
RING = 0.005
"""Å of overlap between one circle and the next."""
TIE = 1e-6
"""Å by which a neighbour must be deeper to take over a part of the surface; alternates at one place share it."""
TWO_PI = 2.0 * np.pi


@njit(cache=True, nogil=True, error_model="numpy")
def chance_of_a_dot(area: float) -> float:
    """Return the chance that a round spot of this area (Å²) holds a dot.

    The dots form a square lattice of unknown place: up to the circle that fits a cell the chance is the share of the cell that
    is covered, beyond the corners of the cell begin to fill.
    """
    share = DOTS * area
    if share <= np.pi / 4.0:
        return share
    if share >= np.pi / 2.0:
        return 1.0
    square = share / np.pi
    return np.sqrt(4.0 * square - 1.0) + square * (np.pi - 4.0 * np.arccos(0.5 / np.sqrt(square)))


@njit(cache=True, nogil=True, error_model="numpy")
def covers(
    source: int, target: int, near: Ints, n_near: int, close: Ints, n_close: int, positions: Floats, radius: Floats, cover: Floats
) -> int:
    """Describe the atoms that may cover the part of the surface of `source` that `target` is at; return their number.

    Parameters
    ----------
    near, n_near
        Atoms that may touch `source`.
    close, n_close
        Atoms bonded to it, directly or through few others.
    cover : NDArray[float64], shape (2 * MAX_NEIGHBOURS, 6)
        Filled with the place along the line of centres, the distance from it, the azimuth around it, the square
        of the distance from `source`, the radius, and how the radius shrinks with the overlap: not at all for
        `close` atoms, with it for `near` ones, which cover what is deeper in them.
    """
    x, y, z = local_axes(positions, target, source, -1)
    count, q = 0, np.empty(3)
    for m in range(n_near + n_close):
        rival = m < n_near
        atom = near[m] if rival else close[m - n_near]
        if atom == target:
            continue
        reach = radius[atom] - (TIE if rival else 0.0)
        square = 0.0
        for k in range(3):
            q[k] = positions[atom, k] - positions[source, k]
            square += q[k] * q[k]
        if square >= (radius[source] + reach) ** 2:
            continue
        u, v = q[0] * x[0] + q[1] * x[1] + q[2] * x[2], q[0] * y[0] + q[1] * y[1] + q[2] * y[2]
        cover[count, 0] = q[0] * z[0] + q[1] * z[1] + q[2] * z[2]
        cover[count, 1], cover[count, 2] = np.sqrt(u * u + v * v), np.arctan2(v, u)
        cover[count, 3], cover[count, 4], cover[count, 5] = square, reach, 1.0 if rival else 0.0
        count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _free_share(cover: Floats, count: int, own: float, cosine: float, overlap: float, arcs: Floats) -> float:
    """Return the share of a circle on the sphere of radius `own` that no atom covers; `arcs` is scratch, shape (m, 2)."""
    sine = np.sqrt(max(0.0, 1.0 - cosine * cosine))
    n_arcs = 0
    for m in range(count):
        reach = cover[m, 4] - cover[m, 5] * overlap
        if reach <= 0.0:
            continue
        outside = own * own + cover[m, 3] - reach * reach - 2.0 * own * cover[m, 0] * cosine
        swing = 2.0 * own * cover[m, 1] * sine
        if outside >= swing:
            continue
        if outside <= -swing:
            return 0.0
        half = np.arccos(outside / swing)
        start, stop = cover[m, 2] - half, cover[m, 2] + half
        if start < -np.pi:
            n_arcs = _insert(arcs, n_arcs, start + TWO_PI, np.pi)
            start = -np.pi
        if stop > np.pi:
            n_arcs = _insert(arcs, n_arcs, -np.pi, stop - TWO_PI)
            stop = np.pi
        n_arcs = _insert(arcs, n_arcs, start, stop)
    covered, end = 0.0, -np.pi
    for a in range(n_arcs):
        if arcs[a, 1] > end:
            covered += arcs[a, 1] - max(arcs[a, 0], end)
            end = arcs[a, 1]
    return max(0.0, 1.0 - covered / TWO_PI)


@njit(cache=True, nogil=True, error_model="numpy")
def _insert(arcs: Floats, count: int, start: float, stop: float) -> int:
    """Insert an arc among those sorted by their start, and return their number."""
    a = count
    while a > 0 and arcs[a - 1, 0] > start:
        arcs[a, 0], arcs[a, 1] = arcs[a - 1, 0], arcs[a - 1, 1]
        a -= 1
    arcs[a, 0], arcs[a, 1] = start, stop
    return count + 1


@njit(cache=True, nogil=True, error_model="numpy")
def depth_of_contact(
    distance: float, radii: Floats, seen: Ints, cover: Floats, count: Ints, low: float, high: float
) -> tuple[float, float]:
    """Return the chance that dots find two atoms between two overlaps (Å), and the overlap that they find with even odds.

    Parameters
    ----------
    distance : float
        Å between the atoms.
    radii : NDArray[float64], shape (2,)
    seen : NDArray[int32], shape (2,)
        Whether each of them has dots.
    cover : NDArray[float64], shape (2, m, 6)
        What `covers` made for each of them.
    count : NDArray[int32], shape (2,)
    low, high : float
        Å. The overlap with even odds is `low` where the chance is less.
    """
    distance = max(distance, TIE)
    top = 0.0
    for side in range(2):
        if seen[side]:
            top = max(top, radii[1 - side] - abs(distance - radii[side]))
    top = min(top, high)
    if top <= low:
        return 0.0, low
    n_rings = int(np.ceil((top - low) / RING))
    step = (top - low) / n_rings
    area = np.zeros(2)
    arcs = np.empty((4 * MAX_NEIGHBOURS, 2))
    before, median = 0.0, low
    for ring in range(n_rings):
        upper = top - ring * step
        missed = 1.0
        for side in range(2):
            if seen[side]:
                own, other = radii[side], radii[1 - side]
                area[side] += _ring_area(own, other, distance, upper, upper - step, cover[side], count[side], arcs)
                missed *= 1.0 - chance_of_a_dot(area[side])
        found = 1.0 - missed
        if before < 0.5 <= found:
            median = upper - step * (0.5 - before) / (found - before)
        before = found
        if missed == 0.0:
            break
    return before, median


@njit(cache=True, nogil=True, error_model="numpy")
def _ring_area(
    own: float, other: float, distance: float, upper: float, lower: float, cover: Floats, count: int, arcs: Floats
) -> float:
    """Return the free area (Å²) of a sphere of radius `own` that is inside another one by `lower` to `upper` Å."""
    inner = _cosine(own, other, distance, upper)
    outer = _cosine(own, other, distance, lower)
    if inner <= outer:
        return 0.0
    middle = 0.5 * (inner + outer)
    overlap = other - np.sqrt(max(0.0, distance * distance + own * own - 2.0 * distance * own * middle))
    return TWO_PI * own * own * (inner - outer) * _free_share(cover, count, own, middle, overlap, arcs)


@njit(cache=True, nogil=True, error_model="numpy")
def _cosine(own: float, other: float, distance: float, overlap: float) -> float:
    """Return the cosine of the angle with the line of centres at which the surface has this overlap."""
    away = max(0.0, other - overlap)
    cosine = (distance * distance + own * own - away * away) / (2.0 * distance * own)
    return min(1.0, max(-1.0, cosine))
