"""Where the files of the PDB and of the EMDB are: directories and servers in the archives' own layout."""

from __future__ import annotations

import functools
import os
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from curation.cache import Cache
from curation.download import ArchiveError, FileDamagedError, FileMissingError, Patience, Receipt, Transfer
from curation.hosts import CONNECTIONS, Hosts
from curation.identifiers import emdb_number
from curation.verification import sha256
from refinement.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Progress = Callable[[int, int | None], None]

PUBLIC = {
    "pdb": (
        "https://files.wwpdb.org/pub/pdb",
        "https://files.rcsb.org/pub/pdb",
        "https://ftp.ebi.ac.uk/pub/databases/pdb",
        "https://files.pdbj.org/pub/pdb",
    ),
    "emdb": (
        "https://files.wwpdb.org/pub/emdb",
        "https://files.rcsb.org/pub/emdb",
        "https://ftp.ebi.ac.uk/pub/databases/emdb",
        "https://ftp.pdbj.org/pub/emdb",
    ),
}
"""The mirrors of the archives in the order in which they are asked: wwPDB, RCSB, PDBe, PDBj."""
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

    A directory is asked before any server, and the servers in their order.

    Parameters
    ----------
    root : str or Path, optional
        A directory or http(s) URL that holds ``pdb/`` and ``emdb/``, or several that hold the same, separated by
        commas. Without it the public archives are used.
    cache : Path, optional
        Where downloaded files are kept; needed if a branch is on a server.
    pdb_base, emdb_base : str or Path, optional
        Directory or URL of one branch alone; goes before `root`, where what it lacks is looked for.
    patience : Patience
        Retries and timeouts of downloads.
    budget : int, optional
        Largest size of the cache in bytes, see `curation.cache.Cache`.
    connections : int
        Largest number of connections to one server at a time.
    """

    root: str | Path | None = None
    cache: Path | None = None
    pdb_base: str | Path | None = None
    emdb_base: str | Path | None = None
    patience: Patience = field(default_factory=Patience)
    budget: int | None = None
    connections: int = CONNECTIONS

    def __post_init__(self) -> None:
        self._bases = {"pdb": self._mirrors("pdb", self.pdb_base), "emdb": self._mirrors("emdb", self.emdb_base)}
        if self.cache is None and not self.is_local:
            message = "An archive on a server needs a cache directory."
            raise ArchiveError("archive_no_cache", message)
        self._cache = None if self.cache is None else Cache(Path(self.cache), self.budget)
        self._hosts = None if self.cache is None else Hosts(Path(self.cache) / "hosts", self.connections)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=4 * self.connections)
        self._client = httpx.Client(headers={"User-Agent": USER_AGENT}, follow_redirects=True, max_redirects=5, limits=limits)

    def __str__(self) -> str:
        return str(self.root or f"{self._bases['pdb'][0]} and {self._bases['emdb'][0]}")

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *fault: object) -> None:
        self.close()

    @property
    def is_local(self) -> bool:
        """Whether both branches are directories, so that nothing is downloaded."""
        return not any(_is_url(base) for bases in self._bases.values() for base in bases)

    def close(self) -> None:
        """Close the connections and let the cache have back the files that were given out."""
        self._client.close()
        if self._cache is not None:
            self._cache.close()

    def fetch(self, path: str, *, max_bytes: int = MAX_FILE_BYTES, progress: Progress | None = None) -> Path:
        """Return a local path of a file of the archive, downloaded if need be.

        A downloaded file doesn't change any more and stays there until the archive is closed.

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
        directories, urls = self._places(path)
        local = next((place for place in directories if place.is_file()), None)
        if local is not None or self._cache is None or not urls:
            return _local(local, path, max_bytes)
        with self._cache.lock(path) as part:
            known = self._cache.find(path)
            transfer = Transfer(
                self._client,
                urls,
                part,
                path.rpartition("/")[2],
                max_bytes=max_bytes,
                patience=self.patience,
                hosts=self._hosts,
                progress=progress,
            )
            receipt = transfer.run(known)
            return self._cache.place(path, receipt) if receipt is known else self._cache.add(path, part, receipt)

    def fetch_all(self, limits: Mapping[str, int], *, progress: Progress | None = None) -> dict[str, Path | InputError]:
        """Fetch several files at the same time.

        Parameters
        ----------
        limits : mapping
            The paths, with the size in bytes from which on a file is refused.
        progress : callable, optional
            Called with the bytes of all files that are there and their size, while downloading.

        Returns
        -------
        dict[str, Path or InputError]
            By path, the file or why there is none.

        Raises
        ------
        ArchiveError
            The archive can't be reached.
        """
        together = _Together(progress)

        def fetched(path: str) -> Path | InputError:
            try:
                return self.fetch(path, max_bytes=limits[path], progress=together.of(path))
            except (FileMissingError, FileDamagedError) as fault:
                return fault

        with ThreadPoolExecutor(1 if self.is_local else 2 * self.connections) as pool:
            return dict(zip(limits, pool.map(fetched, limits), strict=True))

    def revision(self, path: str) -> str:
        """Return the SHA-256 checksum of a fetched file of the archive."""
        receipt = self.receipt(path)
        if receipt is not None:
            return receipt.sha256
        directories, _ = self._places(path)
        return sha256(next(place for place in directories if place.is_file()))

    def receipt(self, path: str) -> Receipt | None:
        """Return where and when a file was downloaded and in which revision; None if it lies in a directory."""
        directories, _ = self._places(path)
        if self._cache is None or any(place.is_file() for place in directories):
            return None
        return next(iter(self._cache.receipts(path)), None)

    def keep(self, source: Path, folder: Path) -> Path:
        """Let a fetched file lie in a folder of one's own, where it stays when the archive is closed.

        Parameters
        ----------
        source : Path
            A file that `fetch` gave.
        folder : Path
            Where it shall lie: as a link where the file system has links, which takes no room, else as a copy.

        Returns
        -------
        Path
            The file in the folder; `source` itself if it wasn't downloaded.
        """
        if self._cache is None or self._cache.folder not in source.parents:
            return source
        draft = folder / f".{source.name}.{os.getpid()}.partial"
        draft.unlink(missing_ok=True)
        try:
            os.link(source, draft)
        except OSError:
            shutil.copyfile(source, draft)
        return draft.replace(folder / source.name)

    def _mirrors(self, branch: str, base: str | Path | None) -> tuple[str, ...]:
        """Return where a branch is, in the order in which it is looked for."""
        roots = [part.strip().rstrip("/") for part in str(self.root or "").split(",") if part.strip()]
        bases = [str(base).rstrip("/")] if base else []
        if roots:
            bases += [f"{root}/{branch}" for root in roots]
        elif self.cache is not None or not bases:
            bases += PUBLIC[branch]
        for place in bases:
            if not _is_url(place) and not Path(place).is_dir():
                message = f"The archive directory {place} does not exist."
                raise ArchiveError("archive_missing", message, "It must hold pdb/ and emdb/ in the archives' layout.")
        return tuple(bases)

    def _places(self, path: str) -> tuple[list[Path], list[str]]:
        """Return where a file may be in directories, and its URLs."""
        branch, _, rest = path.partition("/")
        parts = rest.split("/")
        if branch not in self._bases or not all(PATH_PART.fullmatch(part) for part in parts):
            message = f"{path[:200]!r} is not a path of the PDB or EMDB archive."
            raise InputError("path_invalid", message)
        bases = self._bases[branch]
        directories = [Path(base) / rest for base in bases if not _is_url(base)]
        return directories, [f"{base}/{rest}" for base in bases if _is_url(base)]


class _Together:
    """Adds up the progress of several files; their size is known when that of each that has begun is."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._have: dict[str, int] = {}
        self._sizes: dict[str, int | None] = {}
        self._lock = threading.Lock()

    def of(self, path: str) -> Progress | None:
        """Return the progress of one file."""
        return None if self._progress is None else functools.partial(self._report, self._progress, path)

    def _report(self, progress: Progress, path: str, have: int, size: int | None) -> None:
        with self._lock:
            self._have[path], self._sizes[path] = have, size
            sizes = [known for known in self._sizes.values() if known is not None]
            progress(sum(self._have.values()), sum(sizes) if len(sizes) == len(self._sizes) else None)


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


def _local(place: Path | None, path: str, max_bytes: int) -> Path:
    if place is None:
        message = f"The archive has no file {path.rpartition('/')[2]}."
        raise FileMissingError("file_missing", message, "It may have been withdrawn or not be released yet.")
    size = place.stat().st_size
    if size > max_bytes:
        message = f"{place.name} has {size} bytes; at most {max_bytes} are accepted."
        raise FileDamagedError("file_too_large", message, "Raise the limit if this file is meant.")
    return place
