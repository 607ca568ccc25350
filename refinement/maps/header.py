"""The 1024-byte header of an MRC or CCP4 map: read, judged, written.

Field positions are those of the MRC2014 description (Cheng et al. 2015, J. Struct. Biol. 192, 146-150);
the same words in the CCP4 format mean the same.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gemmi
import numpy as np

from refinement.errors import MapError

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEADER_BYTES = 1024
MAX_EXTENDED_BYTES = 64 << 20
"""Longest extended header that is believed; per-image tables of microscopes stay below some megabytes."""
MAX_COORDINATE = 1e6
"""A map corner further than this (Å) from the origin is nonsense."""

MODES: dict[int, str] = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
"""Voxel types that are read: signed bytes and shorts, floats, unsigned shorts, half floats."""


@dataclass(frozen=True, slots=True, eq=False)
class MapHeader:
    """What a map file says about itself; no voxel has been read.

    Attributes
    ----------
    n : tuple[int, int, int]
        Columns, rows, sections: the fastest axis first.
    mode : int
        Voxel type, a key of `MODES`.
    nstart : tuple[int, int, int]
        First column, row, section.
    m : tuple[int, int, int]
        Sampling of the cell along x, y, z.
    cell : gemmi.UnitCell
        Cell of the file (Å, degrees); the stored box may be a part or several of it.
    axes : tuple[int, int, int]
        Axis (1 x, 2 y, 3 z) of columns, rows, sections.
    origin : tuple[float, float, float]
        The ORIGIN record in Å.
    ispg : int
        Space group number; 0 or 1 for cryo-EM maps.
    nsymbt : int
        Bytes of the extended header.
    endianness : str
        "<" little or ">" big.
    """

    n: tuple[int, int, int]
    mode: int
    nstart: tuple[int, int, int]
    m: tuple[int, int, int]
    cell: gemmi.UnitCell
    axes: tuple[int, int, int]
    origin: tuple[float, float, float]
    ispg: int
    nsymbt: int
    endianness: str

    @property
    def dims(self) -> tuple[int, int, int]:
        """Grid points along x, y, z."""
        return self._ordered(self.n)

    @property
    def start(self) -> tuple[int, int, int]:
        """First grid point along x, y, z."""
        return self._ordered(self.nstart)

    @property
    def voxel(self) -> NDArray[np.float64]:
        """Grid steps along x, y, z in Å."""
        cell = self.cell
        return np.array([cell.a, cell.b, cell.c]) / np.array(self.m)

    @property
    def box(self) -> gemmi.UnitCell:
        """Cell of the stored box."""
        a, b, c = (self.voxel * np.array(self.dims)).tolist()
        return gemmi.UnitCell(a, b, c, self.cell.alpha, self.cell.beta, self.cell.gamma)

    @property
    def corner(self) -> NDArray[np.float64]:
        """Position of grid point (0, 0, 0) in Å: by NSTART where it isn't zero, else by ORIGIN."""
        if any(self.nstart):
            fraction = np.array(self.start) / np.array(self.m)
            return np.array(self.cell.orth.mat.tolist()) @ fraction
        return np.array(self.origin)

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        columns, rows, sections = self.n
        return columns * rows * sections

    @property
    def dtype(self) -> np.dtype:
        """Type of a voxel in the file."""
        return np.dtype(self.endianness + MODES[self.mode])

    def _ordered(self, values: tuple[int, int, int]) -> tuple[int, int, int]:
        x, y, z = (values[self.axes.index(axis)] for axis in (1, 2, 3))
        return x, y, z


def parse_header(raw: bytes, name: str) -> MapHeader:
    """Read and judge the first 1024 bytes of a map.

    Raises
    ------
    MapError
        ``map_truncated``, ``map_not_a_map``, ``map_mode``, ``map_dimensions``, ``map_sampling``, ``map_cell``,
        ``map_axes``, ``map_header`` or ``map_placement``.
    """
    if len(raw) < HEADER_BYTES and raw[208:211] in (b"", b"MAP"):
        message = f"{name} has {len(raw)} bytes, fewer than the {HEADER_BYTES} of a map header."
        raise MapError("map_truncated", message, "Fetch the file again.")
    if raw[208:211] != b"MAP":
        message = f"{name} is not an MRC or CCP4 map: the letters MAP are missing at byte 208."
        raise MapError("map_not_a_map", message, "Give a map in MRC or CCP4 format, plain or gzipped.")
    endianness = _endianness(raw)
    integers = struct.unpack(f"{endianness}25i", raw[:100])
    floats = struct.unpack(f"{endianness}6f", raw[40:64])
    origin = struct.unpack(f"{endianness}3f", raw[196:208])
    n, mode, nstart, m = integers[0:3], integers[3], integers[4:7], integers[7:10]
    ispg, nsymbt = integers[22], integers[23]
    _judge_counts(name, n, mode, m, nsymbt)
    cell = _cell(name, floats)
    axes = integers[16:19] if any(integers[16:19]) else (1, 2, 3)
    if sorted(axes) != [1, 2, 3]:
        message = f"{name} names its axes {axes[0]}, {axes[1]}, {axes[2]} instead of 1, 2, 3 in some order."
        raise MapError("map_axes", message, "Write the map again with a valid axis order.")
    header = MapHeader(n, mode, nstart, m, cell, axes, origin, ispg, nsymbt, endianness)
    corner = header.corner
    if not (np.isfinite(corner).all() and np.abs(corner).max() < MAX_COORDINATE):
        message = f"{name} places its corner at {', '.join(f'{x:.4g}' for x in corner)} Å."
        raise MapError("map_placement", message, "Mend NSTART or ORIGIN in the map header.")
    return header


def format_header(
    dims: tuple[int, int, int],
    cell: gemmi.UnitCell,
    corner: NDArray[np.float64],
    statistics: tuple[float, float, float, float],
) -> bytes:
    """Make the header of a little-endian float32 map with axes x, y, z.

    Parameters
    ----------
    dims : tuple[int, int, int]
        Grid points along x, y, z.
    cell : gemmi.UnitCell
        Cell of the box.
    corner : NDArray[float64], shape (3,)
        Position of grid point (0, 0, 0) in Å. It is written as NSTART when it lies on the grid, else as ORIGIN.
    statistics : tuple
        Minimum, maximum, mean and standard deviation of the voxels.
    """
    steps = np.array(cell.frac.mat.tolist()) @ corner * np.array(dims)
    start = np.rint(steps)
    on_grid = bool(start.any()) and np.abs(start).max() < 2**31 and bool(np.abs(steps - start).max() < 1e-4)
    nstart = [int(s) for s in start] if on_grid else [0, 0, 0]
    origin = [0.0, 0.0, 0.0] if on_grid else corner.tolist()
    low, high, mean, deviation = statistics
    raw = bytearray(HEADER_BYTES)
    struct.pack_into("<10i", raw, 0, *dims, 2, *nstart, *dims)
    struct.pack_into("<6f", raw, 40, *cell.parameters)
    struct.pack_into("<3i3fii", raw, 64, 1, 2, 3, low, high, mean, 1, 0)
    struct.pack_into("<i", raw, 108, 20140)
    struct.pack_into("<3f4s4sfi", raw, 196, *origin, b"MAP ", b"\x44\x44\x00\x00", deviation, 1)
    raw[224:304] = b"Written by Ceres".ljust(80)
    return bytes(raw)


def _endianness(raw: bytes) -> str:
    """Trust the machine stamp unless it makes nonsense of the mode while the other order doesn't."""
    stamped = ">" if raw[212] == 0x11 else "<"
    other = "<" if stamped == ">" else ">"

    def sensible(order: str) -> bool:
        counts = struct.unpack(f"{order}4i", raw[:16])
        return 0 <= counts[3] < 256 and all(abs(c) < 1 << 20 for c in counts[:3])

    return other if not sensible(stamped) and sensible(other) else stamped


def _judge_counts(name: str, n: tuple[int, ...], mode: int, m: tuple[int, ...], nsymbt: int) -> None:
    if min(n) <= 0:
        message = f"{name} claims {n[0]} × {n[1]} × {n[2]} voxels."
        raise MapError("map_dimensions", message, "The header is damaged; fetch or write the map again.")
    if mode not in MODES:
        known = ", ".join(map(str, MODES))
        message = f"{name} has voxels of mode {mode}; modes {known} can be read."
        raise MapError("map_mode", message, "Convert the map to mode 2 (32-bit floats).")
    if min(m) <= 0:
        message = f"{name} samples its cell {m[0]} × {m[1]} × {m[2]} times (MX, MY, MZ), so the voxel size is unknown."
        raise MapError("map_sampling", message, "Mend MX, MY and MZ in the map header.")
    if not 0 <= nsymbt <= MAX_EXTENDED_BYTES:
        message = f"{name} claims an extended header of {nsymbt} bytes (NSYMBT)."
        raise MapError("map_header", message, "The header is damaged; fetch or write the map again.")


def _cell(name: str, parameters: tuple[float, ...]) -> gemmi.UnitCell:
    lengths, angles = parameters[:3], parameters[3:]
    if not any(angles):
        angles = (90.0, 90.0, 90.0)
    sizes = " × ".join(f"{x:.5g}" for x in lengths)
    if not all(np.isfinite(x) and 1e-3 < x < MAX_COORDINATE for x in lengths):
        message = f"{name} has a cell of {sizes} Å."
        raise MapError("map_cell", message, "Mend the cell lengths in the map header.")
    if all(np.isfinite(x) and 1.0 < x < 179.0 for x in angles):
        alpha, beta, gamma = np.cos(np.radians(angles))
        if 1 - alpha**2 - beta**2 - gamma**2 + 2 * alpha * beta * gamma > 1e-6:
            return gemmi.UnitCell(*lengths, *angles)
    message = f"{name} has a cell with the angles {', '.join(f'{x:.5g}' for x in angles)}°."
    raise MapError("map_cell", message, "Mend the cell angles in the map header.")
