"""Riding hydrogens placed and folded over and over: one set of axes for all hydrogens of a frame.

Same positions and gradient as `refinement.restraints.riding` (which explains the shapes), for the minimiser. The
hydrogens of a CH2, CH3 or NH3 group share parent and references, so that their axes are computed once, and are
kept from placing them until their gradient is folded back. With the axes e1, e2, e3 of a frame a hydrogen is at
``parent + c1 e1 + c2 e2 + c3 e3``:

* ``TERMINAL``: the bond from the first reference to the parent, across it towards the second, and their cross product;
* ``BRIDGE``: between the neighbours, across their plane, none;
* ``TETRAHEDRAL``: opposite to the neighbours, none, none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from refinement.restraints.riding import BRIDGE, TERMINAL, TETRAHEDRAL, across, cross, normalised, share, unit_vector

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.restraints.riding import Riding

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int32]
    Bytes = NDArray[np.uint8]

AXES = 16
"""Numbers kept per frame: up to four unit vectors, each with the length it had before."""


class Rider:
    """The frames of a model's hydrogens; keeps the axes of the last placement, so that each thread needs its own.

    Parameters
    ----------
    riding : Riding
        Hydrogens of one group must follow each other.
    """

    def __init__(self, riding: Riding) -> None:
        shape, length = riding.shape, riding.length
        a, b, p, q = riding.coefficients.T
        terminal, bridge = shape == TERMINAL, shape == BRIDGE
        along = np.select([terminal, bridge], [-a, p], 1.0)
        aside = np.select([terminal, bridge], [b * np.cos(p), q], 0.0)
        third = np.where(terminal, b * np.sin(p), 0.0)
        self.hydrogen = riding.hydrogen
        self.components = np.ascontiguousarray(length[:, None] * np.stack([along, aside, third], axis=1))
        # what the axes are made of; those of terminal groups don't depend on their angles
        mixture = np.where(terminal[:, None], 0.0, riding.coefficients[:, :3])
        mixture[bridge, 2] = 0.0
        same = (riding.frame[1:] == riding.frame[:-1]).all(axis=1) & (shape[1:] == shape[:-1])
        same &= (mixture[1:] == mixture[:-1]).all(axis=1)
        starts = np.flatnonzero(np.concatenate([np.ones(min(1, len(shape)), dtype=bool), ~same]))
        self.first = np.append(starts, len(shape)).astype(np.int32)
        self.frame = np.ascontiguousarray(riding.frame[starts])
        self.shape, self.mixture = shape[starts], np.ascontiguousarray(mixture[starts])
        self.axes = np.empty((len(starts), AXES))

    def place(self, positions: NDArray[np.float64]) -> None:
        """Set the hydrogens of `positions` (shape (n, 3), Å, changed in place) from the heavy atoms."""
        _place(positions, self.hydrogen, self.components, self.first, self.frame, self.shape, self.mixture, self.axes)

    def fold(self, gradient: NDArray[np.float64]) -> None:
        """Move the gradient (shape (n, 3)) of the hydrogens onto their frames as last placed; their rows become zero."""
        _fold(gradient, self.hydrogen, self.components, self.first, self.frame, self.shape, self.mixture, self.axes)


@njit(cache=True, nogil=True, error_model="numpy")
def _place(
    positions: Floats, hydrogen: Ints, components: Floats, first: Ints, frame: Ints, shape: Bytes, mixture: Floats, axes: Floats
) -> None:
    for f in range(len(frame)):
        parent = frame[f, 0]
        kept = axes[f]
        e1x, e1y, e1z, e2x, e2y, e2z, e3x, e3y, e3z = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        if shape[f] == TERMINAL:
            e1x, e1y, e1z, kept[3] = unit_vector(positions, frame[f, 1], parent)
            vx, vy, vz, kept[7] = unit_vector(positions, frame[f, 1], frame[f, 2])
            dot = e1x * vx + e1y * vy + e1z * vz
            e2x, e2y, e2z, kept[11] = normalised(vx - dot * e1x, vy - dot * e1y, vz - dot * e1z)
            e3x, e3y, e3z = cross(e1x, e1y, e1z, e2x, e2y, e2z)
            kept[0], kept[1], kept[2] = e1x, e1y, e1z
            kept[4], kept[5], kept[6] = vx, vy, vz
            kept[8], kept[9], kept[10] = e2x, e2y, e2z
        else:
            a, b, c = mixture[f, 0], mixture[f, 1], mixture[f, 2]
            ux, uy, uz, kept[3] = unit_vector(positions, parent, frame[f, 1])
            vx, vy, vz, kept[7] = unit_vector(positions, parent, frame[f, 2])
            sx, sy, sz = a * ux + b * vx, a * uy + b * vy, a * uz + b * vz
            kept[0], kept[1], kept[2] = ux, uy, uz
            kept[4], kept[5], kept[6] = vx, vy, vz
            if shape[f] == TETRAHEDRAL:
                wx, wy, wz, kept[11] = unit_vector(positions, parent, frame[f, 3])
                e1x, e1y, e1z, kept[15] = normalised(sx + c * wx, sy + c * wy, sz + c * wz)
                kept[8], kept[9], kept[10] = wx, wy, wz
                kept[12], kept[13], kept[14] = e1x, e1y, e1z
            else:
                e1x, e1y, e1z, kept[11] = normalised(sx, sy, sz)
                nx, ny, nz = cross(ux, uy, uz, vx, vy, vz)
                e2x, e2y, e2z, kept[15] = normalised(nx, ny, nz)
                kept[8], kept[9], kept[10] = e1x, e1y, e1z
                kept[12], kept[13], kept[14] = e2x, e2y, e2z
        for h in range(first[f], first[f + 1]):
            atom, p, q, r = hydrogen[h], components[h, 0], components[h, 1], components[h, 2]
            positions[atom, 0] = positions[parent, 0] + p * e1x + q * e2x + r * e3x
            positions[atom, 1] = positions[parent, 1] + p * e1y + q * e2y + r * e3y
            positions[atom, 2] = positions[parent, 2] + p * e1z + q * e2z + r * e3z


@njit(cache=True, nogil=True, error_model="numpy")
def _fold(
    gradient: Floats, hydrogen: Ints, components: Floats, first: Ints, frame: Ints, shape: Bytes, mixture: Floats, axes: Floats
) -> None:
    for f in range(len(frame)):
        parent = frame[f, 0]
        # gradients on the axes: sums over the hydrogens
        ax, ay, az, bx, by, bz, cx, cy, cz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        felt = False
        for h in range(first[f], first[f + 1]):
            atom = hydrogen[h]
            gx, gy, gz = gradient[atom, 0], gradient[atom, 1], gradient[atom, 2]
            if gx == 0.0 and gy == 0.0 and gz == 0.0:
                continue
            felt = True
            gradient[atom, 0] = gradient[atom, 1] = gradient[atom, 2] = 0.0
            gradient[parent, 0] += gx
            gradient[parent, 1] += gy
            gradient[parent, 2] += gz
            p, q, r = components[h, 0], components[h, 1], components[h, 2]
            ax, ay, az = ax + p * gx, ay + p * gy, az + p * gz
            bx, by, bz = bx + q * gx, by + q * gy, bz + q * gz
            cx, cy, cz = cx + r * gx, cy + r * gy, cz + r * gz
        if not felt:
            continue
        if shape[f] == TERMINAL:
            _fold_terminal(gradient, frame[f], axes[f], ax, ay, az, bx, by, bz, cx, cy, cz)
        elif shape[f] == BRIDGE:
            _fold_bridge(gradient, frame[f], mixture[f], axes[f], ax, ay, az, bx, by, bz)
        else:
            _fold_tetrahedral(gradient, frame[f], mixture[f], axes[f], ax, ay, az)


@njit(cache=True, nogil=True, error_model="numpy")
def _fold_terminal(
    gradient: Floats, frame: Ints, kept: Floats, ax: float, ay: float, az: float, bx: float, by: float, bz: float,
    cx: float, cy: float, cz: float,
) -> None:  # fmt: skip
    """Fold the gradients a, b, c on the axes u, w and u x w."""
    parent, first, second = frame[0], frame[1], frame[2]
    ux, uy, uz, lu = kept[0], kept[1], kept[2], kept[3]
    vx, vy, vz, lv = kept[4], kept[5], kept[6], kept[7]
    wx, wy, wz, lw = kept[8], kept[9], kept[10], kept[11]
    along = ux * vx + uy * vy + uz * vz
    nx, ny, nz = cross(cx, cy, cz, ux, uy, uz)
    bx, by, bz = across(bx + nx, by + ny, bz + nz, wx, wy, wz, lw)
    nx, ny, nz = cross(wx, wy, wz, cx, cy, cz)
    dot = ux * bx + uy * by + uz * bz
    ax, ay, az = ax + nx - along * bx - dot * vx, ay + ny - along * by - dot * vy, az + nz - along * bz - dot * vz
    ax, ay, az = across(ax, ay, az, ux, uy, uz, lu)
    bx, by, bz = across(bx - dot * ux, by - dot * uy, bz - dot * uz, vx, vy, vz, lv)
    share(gradient, parent, first, ax, ay, az)
    share(gradient, second, first, bx, by, bz)


@njit(cache=True, nogil=True, error_model="numpy")
def _fold_bridge(
    gradient: Floats, frame: Ints, mixture: Floats, kept: Floats, ax: float, ay: float, az: float, bx: float, by: float, bz: float
) -> None:
    """Fold the gradients a and b on the axes w, between the unit vectors u and v, and n, across them."""
    parent, first, second = frame[0], frame[1], frame[2]
    ux, uy, uz, lu = kept[0], kept[1], kept[2], kept[3]
    vx, vy, vz, lv = kept[4], kept[5], kept[6], kept[7]
    wx, wy, wz = across(ax, ay, az, kept[8], kept[9], kept[10], kept[11])
    nx, ny, nz = across(bx, by, bz, kept[12], kept[13], kept[14], kept[15])
    ax, ay, az = cross(vx, vy, vz, nx, ny, nz)
    bx, by, bz = cross(nx, ny, nz, ux, uy, uz)
    a, b = mixture[0], mixture[1]
    ax, ay, az = across(ax + a * wx, ay + a * wy, az + a * wz, ux, uy, uz, lu)
    bx, by, bz = across(bx + b * wx, by + b * wy, bz + b * wz, vx, vy, vz, lv)
    share(gradient, first, parent, ax, ay, az)
    share(gradient, second, parent, bx, by, bz)


@njit(cache=True, nogil=True, error_model="numpy")
def _fold_tetrahedral(gradient: Floats, frame: Ints, mixture: Floats, kept: Floats, ax: float, ay: float, az: float) -> None:
    """Fold the gradient a on the axis opposite to three unit vectors."""
    gx, gy, gz = across(ax, ay, az, kept[12], kept[13], kept[14], kept[15])
    for k in range(3):
        m = mixture[k]
        x, y, z = across(m * gx, m * gy, m * gz, kept[4 * k], kept[4 * k + 1], kept[4 * k + 2], kept[4 * k + 3])
        share(gradient, frame[k + 1], frame[0], x, y, z)


@njit(cache=True, nogil=True, error_model="numpy")
def scatter(bare: Floats, rows: Ints, full: Floats) -> None:
    """Write the positions of some atoms into those rows of `full`."""
    for k in range(len(rows)):
        for axis in range(3):
            full[rows[k], axis] = bare[k, axis]


@njit(cache=True, nogil=True, error_model="numpy")
def gather(bare: Floats, full: Floats, rows: Ints, out: Floats) -> None:
    """Write the sum of `bare` and those rows of `full` to `out`."""
    for k in range(len(rows)):
        for axis in range(3):
            out[k, axis] = bare[k, axis] + full[rows[k], axis]
