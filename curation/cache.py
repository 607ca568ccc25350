"""Downloaded files, kept by their content: what is there under its checksum is whole and never changes.

``objects/ab/CHECKSUM/NAME`` holds a file, ``names/PATH.json`` the receipts of a path of the archive, the last one first:
which content it has now and which it had before. Files of the same content are one file on the disk. A
process that is killed at any moment leaves at most a partial file, which the next one continues, or a file without a
receipt, which is found again or evicted.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
import uuid
import weakref
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from curation.answers import Receipt
from curation.verification import sha256

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORGOTTEN_SECONDS = 7 * 24 * 3600
"""A partial file that nobody continued for so long is removed."""
SWEEP_SHARE = 0.02
"""The files are counted again when so much of the budget was added."""
MAX_REVISIONS = 50
"""Receipts that are kept of one path."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """A file in the cache: when it was used last, its size in bytes, checksum and folder."""

    used: float
    size: int
    checksum: str
    folder: Path


class Cache:
    """A folder of downloaded files that processes share.

    Parameters
    ----------
    folder : Path
        Where it lies; made if it isn't there.
    budget : int, optional
        Bytes. When the files have more, those that were not used for longest are evicted, never one that
        a living process was given or that is linked from elsewhere.
    """

    def __init__(self, folder: Path, budget: int | None = None) -> None:
        self.folder = folder
        self.budget = budget
        self._added = 0
        self._size: int | None = None
        self._held: set[str] = set()
        self._user = _User(folder / "users")

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *fault: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back what this process holds; its files may be evicted from now on."""
        self._user.close()
        self._held.clear()

    @contextmanager
    def lock(self, path: str) -> Iterator[Path]:
        """Let one process at a time fetch a file; give the place of its partial file."""
        parts = self.folder / "parts"
        part = parts / hashlib.sha256(path.encode()).hexdigest()[:40]
        with _locked(part.with_name(f"{part.name}.lock"), remove=True):
            yield part

    def find(self, path: str) -> Receipt | None:
        """Return the receipt of a path whose file is here, and hold the file; None if it has to be fetched."""
        receipts = self.receipts(path)
        if not receipts:
            return None
        self._hold(receipts[0].sha256)
        place = self.place(path, receipts[0])
        try:
            whole = place.stat().st_size == receipts[0].size
        except OSError:
            return None
        return receipts[0] if whole else None

    def receipts(self, path: str) -> list[Receipt]:
        """Return what was recorded about a path: its content now, then the contents that it had before."""
        try:
            rows = json.loads(self._receipt_path(path).read_text(encoding="utf-8"))
            return [Receipt(**row) for row in rows]
        except (OSError, ValueError, TypeError):
            return []

    def place(self, path: str, receipt: Receipt) -> Path:
        """Return where a file lies, and note that it is used now."""
        place = self._folder_of(receipt.sha256) / path.rpartition("/")[2]
        with contextlib.suppress(OSError):
            os.utime(place, ns=(time.time_ns(), place.stat().st_mtime_ns))
        return place

    def add(self, path: str, part: Path, receipt: Receipt) -> Path:
        """Take in a whole file, and make room for it.

        Parameters
        ----------
        path : str
            Path in the archive; its lock must be held.
        part : Path
            The file; it is moved away.
        receipt : Receipt
            What was fetched.

        Returns
        -------
        Path
            Where it lies now.
        """
        self._hold(receipt.sha256)
        folder = self._folder_of(receipt.sha256)
        folder.mkdir(parents=True, exist_ok=True)
        place = folder / path.rpartition("/")[2]
        twin = next((other for other in folder.iterdir() if other.stat().st_size == receipt.size), None)
        if twin is None:
            part.replace(place)
        else:
            with contextlib.suppress(OSError):  # it is there already, or the file system has no links
                os.link(twin, place)
            if place.exists():
                part.unlink()
            else:
                part.replace(place)
        self._record(path, receipt)
        self._added += receipt.size if twin is None else 0
        self._keep_to_budget()
        return self.place(path, receipt)

    def make_room(self) -> int:
        """Evict files until the budget is kept, and remove partial files that were forgotten; return the bytes freed."""
        freed = 0
        with _locked(self.folder / "evict.lock"):
            stored = self._stored()
            total = sum(file.size for file in stored)
            held = self._held | _held_by_others(self.folder / "users", self._user.name)
            for file in sorted(stored, key=lambda file: file.used):
                if self.budget is None or total - freed <= self.budget:
                    break
                if file.checksum not in held and not _linked_elsewhere(file.folder):
                    shutil.rmtree(file.folder)
                    freed += file.size
            self._forget_parts()
        self._size, self._added = total - freed, 0
        return freed

    def contents(self) -> tuple[int, int]:
        """Return how many files of different content there are, and their bytes."""
        stored = self._stored()
        return len(stored), sum(file.size for file in stored)

    def faults(self, *, mend: bool = False) -> list[str]:
        """Read everything and say what is wrong: contents that don't have their checksum, receipts that can't be read.

        Parameters
        ----------
        mend : bool
            Remove what is wrong, so that it is fetched again.
        """
        found = []
        for file in sorted(self.folder.glob("objects/*/*/*")):
            if sha256(file) != file.parent.name:
                found.append((file, "doesn't have the checksum by which it is kept"))
        names = self.folder / "names"
        for record in sorted(names.rglob("*.json")):
            if not self.receipts(str(record.relative_to(names)).removesuffix(".json")):
                found.append((record, "can't be read"))
        if mend:
            for path, _ in found:
                path.unlink()
        return [f"{path} {reason}" for path, reason in found]

    def _hold(self, checksum: str) -> None:
        """Keep a file from being evicted as long as this process lives, or until it closes the cache."""
        if checksum in self._held:
            return
        # The lock is that of eviction: afterwards the file is either gone already or safe.
        with _locked(self.folder / "evict.lock"):
            self._user.write(checksum)
            self._held.add(checksum)

    def _keep_to_budget(self) -> None:
        if self.budget is None:
            return
        if self._size is None or self._size + self._added > self.budget or self._added > SWEEP_SHARE * self.budget:
            self.make_room()

    def _record(self, path: str, receipt: Receipt) -> None:
        record = self._receipt_path(path)
        record.parent.mkdir(parents=True, exist_ok=True)
        before = [old for old in self.receipts(path) if old.sha256 != receipt.sha256]
        draft = record.with_name(f".{record.name}.draft")  # whose name is free: who adds a file has its lock
        rows = [asdict(row) for row in [receipt, *before][:MAX_REVISIONS]]
        draft.write_text(json.dumps(rows, indent=0), encoding="utf-8")
        draft.replace(record)

    def _stored(self) -> list[_Stored]:
        found = []
        for folder in self.folder.glob("objects/*/*"):
            with contextlib.suppress(OSError):
                states = [file.stat() for file in folder.iterdir()]
                if states:
                    used = max(state.st_atime for state in states)
                    found.append(_Stored(used, states[0].st_size, folder.name, folder))
        return found

    def _forget_parts(self) -> None:
        for part in (self.folder / "parts").glob("*"):
            with contextlib.suppress(OSError):
                if time.time() - part.stat().st_mtime > FORGOTTEN_SECONDS:
                    part.unlink()

    def _folder_of(self, checksum: str) -> Path:
        return self.folder / "objects" / checksum[:2] / checksum

    def _receipt_path(self, path: str) -> Path:
        return self.folder / "names" / f"{path}.json"


class _User:
    """The list of the files that one process was given; it is locked as long as the process lives."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = ""
        self._descriptor = -1
        self._finalise: weakref.finalize[..., _User] | None = None

    def write(self, checksum: str) -> None:
        """Add a file."""
        if not self.name:
            self._folder.mkdir(parents=True, exist_ok=True)
            _held_by_others(self._folder, "")  # clears away the lists of processes that were killed
            self.name = uuid.uuid4().hex
            path = self._folder / self.name
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            self._finalise = weakref.finalize(self, _end_list, path, self._descriptor)
        os.write(self._descriptor, f"{checksum}\n".encode())

    def close(self) -> None:
        """Remove the list."""
        if self._finalise is not None:
            self._finalise()
        self.name, self._descriptor, self._finalise = "", -1, None


def _end_list(path: Path, descriptor: int) -> None:
    path.unlink(missing_ok=True)
    os.close(descriptor)


def _held_by_others(folder: Path, own: str) -> set[str]:
    """Return the files of the processes that live; remove the lists of those that don't."""
    held: set[str] = set()
    for path in folder.glob("*"):
        if path.name == own:
            continue
        with contextlib.suppress(OSError), path.open("rb") as listed:
            try:
                fcntl.flock(listed, fcntl.LOCK_SH | fcntl.LOCK_NB)
                path.unlink()
            except BlockingIOError:
                held.update(listed.read().decode().split())
    return held


def _linked_elsewhere(folder: Path) -> bool:
    """Whether a job keeps a link to a file, so that its space would not become free."""
    states = [file.stat() for file in folder.iterdir()]
    return any(state.st_nlink > len(states) for state in states)


@contextmanager
def _locked(path: Path, *, remove: bool = False) -> Iterator[None]:
    """Hold a file's lock; with `remove` the file lives only as long as somebody wants the lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                break
        os.close(descriptor)  # who held it before has removed it: this isn't the lock any more
    try:
        yield
    finally:
        if remove:
            path.unlink(missing_ok=True)
        os.close(descriptor)
