"""Reference tables that are not part of the project: taken from a folder or downloaded, checked, installed."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from curation.download import download
from refinement.errors import InputError
from refinement.tables.cablam_files import BLOB_IDS, COMMIT, REPOSITORY, file_name, install, repository_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from curation.download import Patience

PUBLIC_SITE = "https://raw.githubusercontent.com"
MAX_BYTES = 1 << 30
"""Of one table."""


def fetch_cablam_tables(
    source: Path | None = None,
    *,
    target: Path | None = None,
    site: str = PUBLIC_SITE,
    patience: Patience | None = None,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Install the contour grids of CaBLAM.

    Parameters
    ----------
    source : Path, optional
        Folder with the published files (also gzipped); without it they are downloaded from the public repository.
    target : Path, optional
        Where the installed file goes; by default `refinement.tables.cablam_files.tables_folder`.
    site : str
        Where raw files of public repositories are.
    patience : Patience, optional
        Retries and timeouts of the download.
    progress : callable, optional
        Called with the name of each file before it is read.

    Returns
    -------
    Path
        The installed file.

    Raises
    ------
    InputError
        ``table_missing``, ``table_not_recognised``, or an error of `curation.download.download`.
    ArchiveError
        The site can't be reached.
    """
    report = progress or (lambda _name: None)
    contents = {}
    if source is not None:
        for grid in BLOB_IDS:
            report(file_name(grid))
            contents[grid] = _read(source, file_name(grid))
        return install(contents, target)
    with tempfile.TemporaryDirectory(prefix="ceres-tables-") as folder, httpx.Client(follow_redirects=True) as client:
        for grid in BLOB_IDS:
            report(file_name(grid))
            path = Path(folder) / file_name(grid)
            url = f"{site}/{REPOSITORY}/{COMMIT}/{repository_path(grid)}"
            download(client, url, path, max_bytes=MAX_BYTES, patience=patience)
            contents[grid] = path.read_bytes()
    return install(contents, target)


def _read(folder: Path, name: str) -> bytes:
    plain, packed = folder / name, folder / f"{name}.gz"
    try:
        if plain.is_file():
            return plain.read_bytes()
        return gzip.decompress(packed.read_bytes())
    except FileNotFoundError as fault:
        message = f"{folder} has no file {name}."
        raise InputError("table_missing", message, f"All {len(BLOB_IDS)} published files are needed.") from fault
    except (OSError, EOFError) as fault:
        message = f"{name} in {folder} can't be read: {fault}"
        raise InputError("table_unreadable", message, "Fetch the file again.") from fault
