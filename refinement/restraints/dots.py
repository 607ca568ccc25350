"""Contact dots: the surface of an atom sampled by points, each given to the neighbour it is deepest in.

The method is that of small-probe contact dots (Word et al. 1999, J. Mol. Biol. 285, 1711): a dot inside an
atom bonded to its owner is void; otherwise it belongs to the neighbour with the smallest gap. Scores of rotating
hydrogens are sums over dots; clashes are judged on the whole surface (`refinement.validation.contact_surface`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int32]
    Flags = NDArray[np.bool_]

PROBE_RADIUS = 0.25
"""Å; a dot has a contact when a probe of this radius on it touches another atom."""
DOT_DENSITY = 16.0
"""Dots per Å² of surface."""
HYDROGEN_BOND_OVERLAP = 0.6
"""Overlap (Å) of a donor hydrogen and an acceptor that is still a hydrogen bond."""
TILT, TURN = np.radians(2.5), 0.2
"""Orientation of the dots, radians."""
HEAVY_REACH, HYDROGEN_REACH = 3, 4
"""Bonds within which atoms never touch: between heavy atoms, and when either is a hydrogen."""

GAP_SCALE, BUMP_WEIGHT, BOND_WEIGHT = 0.25, 10.0, 4.0
"""Weights of the contact score of a dot (same paper): exp(-(gap/0.25)²), -10 overlap, +4 overlap."""


def dot_sphere(radius: float) -> NDArray[np.float64]:
    """Return points spread over a sphere of this radius (Å), about `DOT_DENSITY` per Å², shape (k, 3).

    The points lie on circles of latitude as far apart as the points on a circle. The arrangement, with its axis
    `TILT` off z and every other circle turned by `TURN` / (points on it), is that of the published contact
    programs: where a dot falls decides pairs within 0.02 Å of a limit.
    """
    on_equator = int(np.sqrt(np.pi * np.floor(4.0 * np.pi * DOT_DENSITY * radius * radius)))
    circles = []
    for number, polar in enumerate(np.linspace(0.0, np.pi, on_equator // 2 + 1)):
        on_circle = max(1, int(on_equator * np.sin(polar)))
        turn = 0.0 if number % 2 else TURN / on_circle
        azimuth = turn + 2.0 * np.pi * np.arange(on_circle) / on_circle
        flat = np.sin(polar) * np.stack([np.cos(azimuth), np.sin(azimuth)])
        circles.append(np.vstack([flat, np.full(on_circle, np.cos(polar))]))
    points = np.concatenate(circles, axis=1)
    cos, sin = np.cos(TILT), np.sin(TILT)
    return radius * (np.array([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]]) @ points).T


MAX_NEIGHBOURS = 256
"""More atoms than can be around one atom."""
SHORTEST = 1e-6
"""Å; shorter vectors have no direction."""


def dot_spheres(radii: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the dots of all distinct radii.

    Returns
    -------
    dots : NDArray[float64], shape (m, 3)
    first : NDArray[int64]
        Sphere k owns ``dots[first[k]:first[k + 1]]``.
    sphere : NDArray[int64], shape (n,)
        Sphere of each atom.
    """
    distinct, sphere = np.unique(radii, return_inverse=True)
    spheres = [dot_sphere(float(radius)) for radius in distinct]
    first = np.concatenate([[0], np.cumsum([len(s) for s in spheres])]).astype(np.int64)
    return np.concatenate(spheres), first, sphere.astype(np.int64)


@njit(cache=True, nogil=True, error_model="numpy")
def close_by_bonds(atom: int, first: Ints, partner: Ints, hydrogen: Flags, altloc: Ints, found: Ints) -> int:
    """List the atoms too few bonds away to touch `atom`, and return their number.

    Three bonds, four when `atom` or the other end is a hydrogen. Atoms of other conformers are passed by.
    `found` (int32) is filled from the start; the search stops when it is full.
    """
    count, start = 0, 0
    for level in range(HYDROGEN_REACH):
        stop = count
        for k in range(start if level else -1, stop if level else 0):
            here = atom if level == 0 else found[k]
            for b in range(first[here], first[here + 1]):
                other = partner[b]
                if other == atom or (level >= HEAVY_REACH and not hydrogen[atom] and not hydrogen[other]):
                    continue
                if altloc[other] != altloc[atom] and altloc[other] != 0 and altloc[atom] != 0:
                    continue
                known = False
                for m in range(count):
                    if found[m] == other:
                        known = True
                        break
                if not known and count < len(found):
                    found[count] = other
                    count += 1
        start = stop
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def contacts_of(source: int, around: Ints, close: Ints, n_close: int, altloc: Ints, near: Ints) -> int:
    """List the atoms `around` that may touch `source`: not too few bonds away, not of another conformer."""
    count = 0
    for other in around:
        if other == source or (altloc[other] != altloc[source] and altloc[other] != 0 and altloc[source] != 0):
            continue
        bonded = False
        for k in range(n_close):
            if close[k] == other:
                bonded = True
                break
        if not bonded and count < len(near):
            near[count] = other
            count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def local_axes(positions: Floats, origin: int, ahead: int, aside: int) -> Floats:
    """Return axes (rows x, y, z) that turn with three atoms: z from `ahead` to `origin`, x towards `aside`.

    Without an atom `aside` (-1), or with one in line with the others, x is across the coordinate axis nearest to right angles.
    """
    axes = np.zeros((3, 3))
    x, y, z = axes
    length = 0.0
    for k in range(3):
        z[k] = positions[origin, k] - positions[ahead, k]
        length += z[k] * z[k]
    if length < SHORTEST * SHORTEST:
        z[2], length = 1.0, 1.0
    z /= np.sqrt(length)
    square = 0.0
    if aside >= 0:
        for k in range(3):
            x[k] = positions[aside, k] - positions[ahead, k]
        x -= (x[0] * z[0] + x[1] * z[1] + x[2] * z[2]) * z
        square = x[0] * x[0] + x[1] * x[1] + x[2] * x[2]
    if square < SHORTEST * SHORTEST:
        least = np.argmin(np.abs(z))
        x[:] = -z[least] * z
        x[least] += 1.0
        square = x[0] * x[0] + x[1] * x[1] + x[2] * x[2]
    x /= np.sqrt(square)
    y[0], y[1], y[2] = z[1] * x[2] - z[2] * x[1], z[2] * x[0] - z[0] * x[2], z[0] * x[1] - z[1] * x[0]
    return axes


@njit(cache=True, nogil=True, error_model="numpy")
def buried(x: float, y: float, z: float, inside: Ints, n_inside: int, positions: Floats, radius: Floats) -> bool:
    """Return whether a dot lies inside one of the atoms `inside`."""
    for k in range(n_inside):
        j = inside[k]
        dx, dy, dz = positions[j, 0] - x, positions[j, 1] - y, positions[j, 2] - z
        if dx * dx + dy * dy + dz * dz < radius[j] * radius[j]:
            return True
    return False
