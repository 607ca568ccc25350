"""Density on a grid, and its files: MRC and CCP4 maps, plain or gzipped.

In memory a map is always float32, C-contiguous in x, y, z, whatever the axis order, voxel type or byte
order of the file. The stored box is treated as a P1 cell; where it lies in space is its ``corner``.
"""

from __future__ import annotations

import gzip
import os
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from refinement.errors import MapError
from refinement.maps.header import HEADER_BYTES, MapHeader, format_header, parse_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    import gemmi
    from numpy.typing import NDArray

__all__ = ["Density", "MapHeader", "read_map", "read_map_header", "write_map"]

MAX_DEFLATE_RATIO = 1032
"""No deflate stream unpacks to more than 1032 times its size."""
CHUNK_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Density:
    """A map as a box of voxels.

    Attributes
    ----------
    values : NDArray[float32], shape (nx, ny, nz)
        Voxels, C-contiguous.
    cell : gemmi.UnitCell
        Cell of the stored box: its edges are n times the grid steps.
    corner : NDArray[float64], shape (3,)
        Position of grid point (0, 0, 0) in Å.
    """

    values: NDArray[np.float32]
    cell: gemmi.UnitCell
    corner: NDArray[np.float64]

    @property
    def dims(self) -> tuple[int, int, int]:
        """Grid points along x, y, z."""
        nx, ny, nz = self.values.shape
        return nx, ny, nz

    @property
    def voxel(self) -> NDArray[np.float64]:
        """Grid steps along the three cell edges in Å."""
        return np.array([self.cell.a, self.cell.b, self.cell.c]) / np.array(self.values.shape)

    @property
    def grid_matrix(self) -> NDArray[np.float64]:
        """Matrix G with grid coordinates = G @ (position − corner)."""
        return np.array(self.values.shape)[:, None] * np.array(self.cell.frac.mat.tolist())

    @property
    def step_matrix(self) -> NDArray[np.float64]:
        """Inverse of `grid_matrix`: its columns are the grid steps in Å."""
        return np.array(self.cell.orth.mat.tolist()) / np.array(self.values.shape)

    def grid_coordinates(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return fractional grid indices, shape (n, 3), of positions in Å."""
        return (positions - self.corner) @ self.grid_matrix.T

    def contains(self, positions: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which positions (Å) lie between the first and the last grid point along each axis."""
        grid = self.grid_coordinates(positions)
        return np.asarray(((grid >= 0) & (grid <= np.array(self.values.shape) - 1)).all(axis=1))

    def normalised(self, out: NDArray[np.float32] | None = None) -> Density:
        """Return the map with mean 0 and standard deviation 1 over the whole box, written to `out` if that is given.

        Raises
        ------
        MapError
            ``map_constant`` if all voxels are equal.
        """
        mean = self.values.mean(dtype=np.float64)
        # plane by plane: the squares of a large map would take twice its memory
        squares = np.array([np.square(plane - mean, dtype=np.float64).sum() for plane in self.values])
        deviation = np.sqrt(squares.sum() / self.values.size)
        if not deviation > 0:
            message = f"The map is {mean:.4g} everywhere."
            raise MapError("map_constant", message, "Give a map with density in it.")
        values = np.subtract(self.values, np.float32(mean), out=out)
        values /= np.float32(deviation)
        return replace(self, values=values)


def read_map_header(path: Path | str) -> MapHeader:
    """Read the header of a map and no voxel.

    Raises
    ------
    MapError
        If the file is missing, isn't a map, or its header makes no sense.
    """
    path = Path(path)
    with _opened(path) as stream:
        return parse_header(_read(stream, HEADER_BYTES), path.name)


def read_map(path: Path | str, *, max_voxels: int = 2**31) -> Density:
    """Read a map in MRC or CCP4 format, plain or gzipped.

    Voxels of mode 0, 1, 2, 6 and 12, any axis order and byte order are read. Nothing is expanded by symmetry.
    Not more is read than the header promises, and nothing is allocated for a promise the file can't keep.

    Parameters
    ----------
    path : Path or str
        The file.
    max_voxels : int
        Largest number of voxels that is accepted.

    Raises
    ------
    MapError
        With the codes of `parse_header` and ``map_missing``, ``map_unreadable``, ``map_damaged``, ``map_too_large``,
        ``map_truncated``, ``map_not_finite``, ``map_constant``.
    """
    path = Path(path)
    with _opened(path) as stream:
        header = parse_header(_read(stream, HEADER_BYTES), path.name)
        _require_room(header, path, max_voxels)
        extended = _read(stream, header.nsymbt)
        if len(extended) < header.nsymbt:
            raise _truncated(path, 0, header)
        values = _read_voxels(stream, header, path)
    return Density(values, header.box, header.corner)


def write_map(path: Path | str, density: Density) -> None:
    """Write a map as little-endian float32 with axes x, y, z; gzipped if the name ends with .gz.

    The corner is written as NSTART if it lies on the grid, else as ORIGIN. The same map always gives the same
    bytes. The file appears under its name only when it is complete.
    """
    path = Path(path)
    values = np.ascontiguousarray(density.values, dtype=np.float32)
    statistics = (
        float(values.min()),
        float(values.max()),
        float(values.mean(dtype=np.float64)),
        float(values.std(dtype=np.float64)),
    )
    header = format_header(density.dims, density.cell, np.asarray(density.corner, dtype=np.float64), statistics)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            if path.name.endswith(".gz"):
                with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
                    _write_voxels(cast("BinaryIO", packed), header, values)
            else:
                _write_voxels(file, header, values)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _write_voxels(stream: BinaryIO, header: bytes, values: NDArray[np.float32]) -> None:
    stream.write(header)
    sections = max(1, CHUNK_BYTES // (4 * values.shape[0] * values.shape[1]))
    for first in range(0, values.shape[2], sections):
        stream.write(values[:, :, first : first + sections].T.astype("<f4").tobytes())


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a map; faults of the file and of its compression become `MapError`."""
    if not path.is_file():
        raise MapError("map_missing", f"The map file {path} does not exist.", "Check the path.")
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=file, mode="rb") as stream:
                    yield cast("BinaryIO", stream)
            else:
                yield file
    except EOFError as fault:
        message = f"{path.name} ends in the middle of its gzip stream."
        raise MapError("map_truncated", message, "Fetch the file again.") from fault
    except (gzip.BadGzipFile, zlib.error) as fault:
        raise MapError("map_damaged", f"{path.name} can't be unpacked: {fault}.", "Fetch the file again.") from fault
    except OSError as fault:
        message = f"{path.name} can't be read: {fault.strerror or fault}."
        raise MapError("map_unreadable", message, "Check the disk and the permissions.") from fault


def _read(stream: BinaryIO, count: int) -> bytes:
    """Read `count` bytes, or fewer where the file ends."""
    parts: list[bytes] = []
    while count > 0:
        part = stream.read(min(count, CHUNK_BYTES))
        if not part:
            break
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _require_room(header: MapHeader, path: Path, max_voxels: int) -> None:
    """Refuse promises that are too large or that this file can't keep, before anything is allocated."""
    size = " × ".join(map(str, header.n))
    if header.voxels > max_voxels:
        message = f"{path.name} claims {size} voxels, more than the {max_voxels:,} that are accepted."
        raise MapError("map_too_large", message, "Cut a box around the model or bin the map.")
    promised = HEADER_BYTES + header.nsymbt + header.voxels * header.dtype.itemsize
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    largest = path.stat().st_size * (MAX_DEFLATE_RATIO if packed else 1)
    if promised > largest:
        raise _truncated(path, None if packed else max(0, largest - HEADER_BYTES - header.nsymbt), header)


def _truncated(path: Path, found: int | None, header: MapHeader) -> MapError:
    size = " × ".join(map(str, header.n))
    have = "fewer" if found is None else f"{found // header.dtype.itemsize:,}"
    return MapError(
        "map_truncated",
        f"{path.name} promises {size} = {header.voxels:,} voxels but holds {have}.",
        "The file is cut short or its header is wrong; fetch it again.",
    )


def _read_voxels(stream: BinaryIO, header: MapHeader, path: Path) -> NDArray[np.float32]:
    """Read some sections at a time straight into x, y, z order, so that the file is never in memory twice."""
    columns, rows, sections = header.n
    try:
        values = np.empty(header.dims, dtype=np.float32)
    except MemoryError as fault:
        message = f"{path.name} has {header.voxels:,} voxels, more than this machine's memory holds."
        raise MapError("map_too_large", message, "Cut a box around the model or use a larger machine.") from fault
    in_file_order = values.transpose([axis - 1 for axis in reversed(header.axes)])
    section_bytes = columns * rows * header.dtype.itemsize
    chunk = max(1, CHUNK_BYTES // section_bytes)
    low, high = np.inf, -np.inf
    for first in range(0, sections, chunk):
        count = min(chunk, sections - first)
        raw = _read(stream, count * section_bytes)
        if len(raw) < count * section_bytes:
            raise _truncated(path, first * section_bytes + len(raw), header)
        block = np.frombuffer(raw, header.dtype).reshape(count, rows, columns)
        bad = block.size - int(np.count_nonzero(np.isfinite(block)))
        if bad:
            message = f"{path.name} has at least {bad:,} voxels that aren't numbers (NaN or infinite)."
            raise MapError("map_not_finite", message, "Replace them, or write the map again.")
        low, high = min(low, float(block.min())), max(high, float(block.max()))
        in_file_order[first : first + count] = block
    stream.read(1)  # at the end of a gzip stream this is what makes its checksum be compared
    if low == high:
        message = f"{path.name} is {low:.4g} everywhere."
        raise MapError("map_constant", message, "Give a map with density in it.")
    return values
