"""The eight `expected` contour grids of CaBLAM, which are not part of the project: where they are kept and how they are read.

They are large, so they are installed on request: ``manage.py fetch_tables`` takes the published files, checks
that they are the right ones by their git blob ids, and writes one compact file. It goes to the folder
``$CERES_TABLES``, or ``ceres/tables`` in the user's data folder (``$XDG_DATA_HOME``, ``~/.local/share``).
Prisant 2020 Protein Sci 29 315; Richardson laboratory, CC BY 4.0.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tempfile
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from refinement.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

REPOSITORY = "rlabduke/reference_data"
COMMIT = "cbe300663a2bb55015cf9e9978c720cb12dbf52f"
REPOSITORY_FOLDER = "Top8000/Top8000_cablam_pct_contour_grids"

CLASSES = ("general", "gly", "transpro", "cispro")
"""Each has a grid of the peptide (μ_in, μ_out, ν) and one of the Cα trace (μ_in, μ_out, angle), named ``CLASS_CA``."""

BLOB_IDS: Mapping[str, str] = {
    "cispro": "3835fe4644abcf3ab8d3b83d69f1a595c1c1d251",
    "cispro_CA": "f7479279fc51f6316dc959ef62f0c0edf297853f",
    "general": "79308da52b05fbaa0618bf4fb03465eac9c57463",
    "general_CA": "13c9b5e679755d4b46913afe80b5209935178071",
    "gly": "97048c85cd6e363f860f52155a329dfb94423981",
    "gly_CA": "3fe0d4d92b78ea621786c861a8a31d2760efbfa5",
    "transpro": "9a84bf211a4e68d19432ccc256d99425748cded0",
    "transpro_CA": "cef63e7fa409781901308922894ba32af559a6d0",
}
"""Grid -> git blob id of its published file."""

INSTALLED = "cablam_expected.npz"

_HEADER = re.compile(r"#\s+x\d+:\s+(\S+)\s+(\S+)\s+(\d+)\s+(\S+)")
_WRAPS = {"true", "yes", "on", "1"}


class ContourGrid:
    """Contour heights on a regular grid with any number of axes.

    Parameters
    ----------
    values : NDArray[float32]
        Heights at the centres of the cells.
    lower, upper : NDArray[float64], shape (axes,)
        Edges of the grid, degrees.
    wraps : NDArray[bool], shape (axes,)
        Periodic axes; beyond the first and last centre of the others the height stays the same.
    """

    def __init__(
        self, values: NDArray[np.float32], lower: NDArray[np.float64], upper: NDArray[np.float64], wraps: NDArray[np.bool_]
    ) -> None:
        self.values, self.lower, self.upper, self.wraps = values, lower, upper, wraps

    def heights(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the heights at points, shape (n, axes), by multilinear interpolation."""
        shape = np.array(self.values.shape)
        places = (points - self.lower) / ((self.upper - self.lower) / shape) - 0.5
        cells = np.floor(places).astype(np.int64)
        fractions = places - cells
        heights = np.zeros(len(points))
        for corner in product((0, 1), repeat=self.values.ndim):
            weight = np.where(corner, fractions, 1.0 - fractions).prod(axis=1)
            index = np.where(self.wraps, (cells + corner) % shape, np.clip(cells + corner, 0, shape - 1))
            heights += weight * self.values[tuple(index.T)]
        return heights


def file_name(grid: str) -> str:
    """Return the name of the published file of a grid, e.g. ``general_CA``."""
    return f"cablam.8000.expected.{grid}.stat"


def repository_path(grid: str) -> str:
    """Return where the published file lies in `REPOSITORY`."""
    return f"{REPOSITORY_FOLDER}/{file_name(grid)}"


def tables_folder() -> Path:
    """Return the folder of installed tables; it need not exist."""
    if chosen := os.environ.get("CERES_TABLES"):
        return Path(chosen).expanduser()
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "ceres" / "tables"


def git_blob_id(content: bytes) -> str:
    """Return the id that git gives a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def require_published(grid: str, content: bytes) -> None:
    """Refuse a file that isn't the published one.

    Raises
    ------
    InputError
        ``table_not_recognised``.
    """
    found = git_blob_id(content)
    if found != BLOB_IDS[grid]:
        message = f"{file_name(grid)} isn't the published file: its git blob id is {found}, not {BLOB_IDS[grid]}."
        raise InputError("table_not_recognised", message, f"Fetch it again from {REPOSITORY} at commit {COMMIT[:7]}.")


def parse_grid(content: bytes, name: str = "The table") -> ContourGrid:
    """Read a published contour file; cells that it doesn't name are 0.

    Parameters
    ----------
    content : bytes
        Header lines that begin with #, then a line with centre and height for each cell.
    name : str
        For error messages.

    Raises
    ------
    InputError
        ``table_unreadable``.
    """
    text = content.decode("utf-8", errors="replace")
    head = [line for line in text[:4000].splitlines() if line.startswith("#")]
    axes = [match.groups() for line in head if (match := _HEADER.match(line))]
    try:
        rows = _numbers(text, len(axes) + 1)
        lower, upper = (np.array([float(axis[k]) for axis in axes]) for k in (0, 1))
        shape = np.array([int(axis[2]) for axis in axes])
        if any("first" in line for line in head):
            rows = np.roll(rows, -1, axis=1)
        cells = np.floor((rows[:, :-1] - lower) / ((upper - lower) / shape)).astype(np.int64)
        values = np.zeros(shape, dtype=np.float32)
        values[tuple(np.minimum(cells, shape - 1).T)] = rows[:, -1]
    except (ValueError, IndexError) as fault:
        message = f"{name} can't be read as a contour grid: {fault}"
        raise InputError("table_unreadable", message, "Give the file as it is published.") from fault
    return ContourGrid(values, lower, upper, np.array([axis[3].lower() in _WRAPS for axis in axes]))


def _numbers(text: str, columns: int) -> NDArray[np.float64]:
    if text.rstrip().rpartition("\n")[2][:1] in {"", "#"}:
        message = "no cells"
        raise ValueError(message)
    rows = np.loadtxt(io.StringIO(text), comments="#", ndmin=2)
    if columns == 1 or rows.shape[1] != columns:
        message = f"{rows.shape[1]} columns for {columns - 1} axes"
        raise ValueError(message)
    return rows


def install(contents: Mapping[str, bytes], folder: Path | None = None) -> Path:
    """Check the eight published files and write them as one compact file, whole or not at all.

    Parameters
    ----------
    contents : mapping
        Grid (see `BLOB_IDS`) to the bytes of its file.
    folder : Path, optional
        Where to; `tables_folder` if not given.

    Returns
    -------
    Path
        The installed file.

    Raises
    ------
    InputError
        ``table_missing``, ``table_not_recognised``.
    """
    if absent := sorted(set(BLOB_IDS) - set(contents)):
        message = f"{len(absent)} of the {len(BLOB_IDS)} files are missing: {', '.join(file_name(grid) for grid in absent)}."
        raise InputError("table_missing", message, "All of them are needed.")
    for grid in BLOB_IDS:
        require_published(grid, contents[grid])
    return write_grids({grid: parse_grid(contents[grid], file_name(grid)) for grid in BLOB_IDS}, folder or tables_folder())


def write_grids(grids: Mapping[str, ContourGrid], folder: Path) -> Path:
    """Write grids into the file that `expected_grids` reads; it appears when it is whole."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, grid in grids.items():
        arrays |= {f"{name}.values": grid.values, f"{name}.axes": np.stack([grid.lower, grid.upper, grid.wraps])}
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / INSTALLED
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as handle:
        part = Path(handle.name)
        try:
            np.savez_compressed(handle, **arrays)  # type: ignore[arg-type]
        except BaseException:
            part.unlink()
            raise
    part.chmod(0o644)
    part.replace(target)
    return target


def expected_grids() -> Mapping[str, ContourGrid] | None:
    """Return the installed grids by name, None if they are not installed or can't be read."""
    path = tables_folder() / INSTALLED
    try:
        return _load(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, KeyError):
        return None


@lru_cache(maxsize=2)
def _load(path: Path, _changed: int) -> dict[str, ContourGrid]:
    grids = {}
    with np.load(path, allow_pickle=False) as source:
        for name in BLOB_IDS:
            lower, upper, wraps = source[f"{name}.axes"]
            grids[name] = ContourGrid(source[f"{name}.values"], lower, upper, wraps.astype(np.bool_))
    return grids
