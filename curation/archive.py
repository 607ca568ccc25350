"""Where the files of the PDB and of the EMDB are: a directory or a server in the archives' own layout."""

from __future__ import annotations

import fcntl
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from curation.download import ArchiveError, FileDamagedError, FileMissingError, Patience, download, read_receipt, sha256
from curation.identifiers import emdb_number
from refinement.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WWPDB = "https://files.wwpdb.org/pub/pdb"
EMDB = "https://ftp.ebi.ac.uk/pub/databases/emdb"
MAX_FILE_BYTES = 16 << 30
"""Largest file that is fetched unless the caller says otherwise."""
USER_AGENT = "Ceres/0.1 (cryo-EM re-refinement)"
PATH_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
PDB_HOLDINGS = "pdb/holdings/current_file_holdings.json.gz"
PDB_DATES = "pdb/holdings/released_structures_last_modified_dates.json.gz"
EMDB_HOLDINGS = "emdb/status/latest/emdb_released_holdings.json"


@dataclass
class Archive:
    """The two archives, seen as one tree with the branches ``pdb/`` and ``emdb/``.

    Parameters
    ----------
    root : str or Path, optional
        A directory or http(s) URL that holds ``pdb/`` and ``emdb/``. Without it the public archives are used.
    cache : Path, optional
        Where downloaded files are kept; needed if a branch is on a server.
    pdb_base, emdb_base : str or Path, optional
        Directory or URL of one branch alone; goes before `root`.
    patience : Patience
        Retries and timeouts of downloads.
    """

    root: str | Path | None = None
    cache: Path | None = None
    pdb_base: str | Path | None = None
    emdb_base: str | Path | None = None
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        whole = str(self.root).rstrip("/") if self.root else None
        self._bases = {
            "pdb": str(self.pdb_base or (f"{whole}/pdb" if whole else WWPDB)).rstrip("/"),
            "emdb": str(self.emdb_base or (f"{whole}/emdb" if whole else EMDB)).rstrip("/"),
        }
        for base in self._bases.values():
            if not _is_url(base) and not Path(base).is_dir():
                message = f"The archive directory {base} does not exist."
                raise ArchiveError("archive_missing", message, "It must hold pdb/ and emdb/ in the archives' layout.")
        if self.cache is None and any(map(_is_url, self._bases.values())):
            message = "An archive on a server needs a cache directory."
            raise ArchiveError("archive_no_cache", message)
        self._client = httpx.Client(headers={"User-Agent": USER_AGENT}, follow_redirects=True, max_redirects=5)

    def __str__(self) -> str:
        return str(self.root or f"{self._bases['pdb']} and {self._bases['emdb']}")

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *fault: object) -> None:
        self.close()

    @property
    def is_local(self) -> bool:
        """Whether both branches are directories, so that nothing is downloaded."""
        return not any(map(_is_url, self._bases.values()))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def fetch(
        self, path: str, *, max_bytes: int = MAX_FILE_BYTES, progress: Callable[[int, int | None], None] | None = None
    ) -> Path:
        """Return a local path of a file of the archive, downloaded if need be.

        Parameters
        ----------
        path : str
            Path within the archive, ``emdb/structures/EMD-3488/header/emd-3488.xml``.
        max_bytes : int
            Larger files are refused.
        progress : callable, optional
            Called with the bytes that are there and the size, while downloading.

        Raises
        ------
        FileMissingError, FileDamagedError
            The archive has no such file; it is damaged or too large.
        ArchiveError
            The archive can't be reached.
        InputError
            ``path_invalid`` for a path that isn't one of an archive.
        """
        base, rest = self._locate(path)
        if not _is_url(base):
            return _local(Path(base) / rest, max_bytes)
        target = self._cached(path)
        with _locked(target):
            download(self._client, f"{base}/{rest}", target, max_bytes=max_bytes, patience=self.patience, progress=progress)
        return target

    def exists(self, path: str) -> bool:
        """Return whether the archive has a file, without fetching it.

        Raises
        ------
        ArchiveError
            The archive can't be reached.
        """
        base, rest = self._locate(path)
        if not _is_url(base):
            return (Path(base) / rest).is_file()
        try:
            response = self._client.head(f"{base}/{rest}", timeout=self.patience.timeout)
        except httpx.HTTPError as fault:
            message = f"{base}/{rest} could not be asked for: {fault or type(fault).__name__}."
            raise ArchiveError("archive_unreachable", message, "Check the connection.") from fault
        if response.is_success or response.status_code in {404, 410}:
            return response.is_success
        message = f"{base}/{rest} answers {response.status_code}."
        raise ArchiveError("archive_refuses", message, "Check the address of the archive.")

    def revision(self, path: str) -> str:
        """Return the SHA-256 checksum of a fetched file of the archive."""
        base, rest = self._locate(path)
        if not _is_url(base):
            return sha256(Path(base) / rest)
        receipt = read_receipt(self._cached(path))
        return receipt.sha256 if receipt is not None else sha256(self._cached(path))

    def _locate(self, path: str) -> tuple[str, str]:
        branch, _, rest = path.partition("/")
        parts = rest.split("/")
        if branch not in self._bases or not all(PATH_PART.fullmatch(part) for part in parts):
            message = f"{path[:200]!r} is not a path of the PDB or EMDB archive."
            raise InputError("path_invalid", message)
        return self._bases[branch], rest

    def _cached(self, path: str) -> Path:
        if self.cache is None:
            message = "an archive on a server has a cache"
            raise AssertionError(message)
        return Path(self.cache) / path


def model_path(pdb_id: str) -> str:
    """Return where the mmCIF file of an entry lies; the folder is named by the last but two and one characters."""
    return f"pdb/data/structures/divided/mmCIF/{pdb_id[-3:-1]}/{pdb_id}.cif.gz"


def header_path(emdb_id: str) -> str:
    """Return where the EMDB header lies."""
    return f"{_folder(emdb_id)}/header/emd-{emdb_number(emdb_id)}.xml"


def map_path(emdb_id: str, name: str | None = None) -> str:
    """Return where the primary map lies; `name` is the file name that the header states."""
    return f"{_folder(emdb_id)}/map/{name or f'emd_{emdb_number(emdb_id)}.map.gz'}"


def half_map_path(emdb_id: str, name: str) -> str:
    """Return where a half-map lies whose file name the header states."""
    return f"{_folder(emdb_id)}/other/{name}"


def _folder(emdb_id: str) -> str:
    return f"emdb/structures/{emdb_id}"


def _is_url(base: str) -> bool:
    return base.startswith(("http://", "https://"))


def _local(path: Path, max_bytes: int) -> Path:
    if not path.is_file():
        message = f"The archive has no file {path.name}."
        raise FileMissingError("file_missing", message, "It may have been withdrawn or not be released yet.")
    size = path.stat().st_size
    if size > max_bytes:
        message = f"{path.name} has {size} bytes; at most {max_bytes} are accepted."
        raise FileDamagedError("file_too_large", message, "Raise the limit if this file is meant.")
    return path


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Let one process at a time write a file of the cache."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(target.name + ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)
