"""Where published files lie: a folder, or a bucket of an object store."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from django.core.files import File
from django.core.files.storage import FileSystemStorage, storages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.core.files.storage import Storage

STORAGE = "artifacts"


def artifact_storage() -> Storage:
    """Return the storage that CERES_STORAGE names."""
    return storages[STORAGE]


def open_artifact(key: str) -> BinaryIO:
    """Open a published file for reading."""
    handle: BinaryIO = artifact_storage().open(key, "rb")  # type: ignore[assignment]
    return handle


class Placement:
    """Files on their way into the storage, under a temporary key until `commit`."""

    def __init__(self, prefix: str, files: Sequence[Path]) -> None:
        self._prefix, self._files = prefix, files
        self._storage = artifact_storage()
        self._temporary: Path | None = None

    def stage(self) -> None:
        """Copy the files to the temporary key, down to the disk."""
        if not isinstance(self._storage, FileSystemStorage):
            return
        target = Path(self._storage.path(self._prefix))
        self._temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.part")
        self._temporary.mkdir(parents=True)
        for path in self._files:
            copy = self._temporary / path.name
            shutil.copyfile(path, copy)
            copy.chmod(self._storage.file_permissions_mode or 0o644)
            with copy.open("rb") as handle:
                os.fsync(handle.fileno())

    def commit(self) -> None:
        """Give the files their final key.

        To be called inside the transaction that publishes, while the lease is held: what lies there
        already was left by an attempt that never came to its end. An object appears in a bucket whole
        or not at all, so that nothing has to be renamed there.
        """
        if self._temporary is None:
            for path in self._files:
                with path.open("rb") as handle:
                    self._storage.save(f"{self._prefix}/{path.name}", File(handle))
            return
        target = self._temporary.with_name(self._prefix.rpartition("/")[2])
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(target)
        self._temporary.rename(target)
        self._temporary = None
        for forgotten in target.parent.glob(f".{target.name}.*.part"):
            shutil.rmtree(forgotten, ignore_errors=True)

    def discard(self) -> None:
        """Remove what has not been committed."""
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
