"""Politeness towards servers: few connections at a time, and pauses for as long as a server asks for.

Slots and pauses are files in a folder, so that all threads and processes that share it are polite together. The locks
are the operating system's: those of a process that dies are free at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONNECTIONS = 4
"""At a time to one server; RCSB's own client uses as many, and EMDB's one."""
LONGEST_PAUSE = 3600.0
"""Seconds; a server that asks for more is asked again after these."""
GLANCE = 0.05
"""Seconds between looks for a free slot."""


class Hosts:
    """The servers that are asked for files.

    Parameters
    ----------
    folder : Path
        Where slots and pauses are kept; made when it is needed.
    connections : int
        Largest number of connections to one server.
    """

    def __init__(self, folder: Path, connections: int = CONNECTIONS) -> None:
        self.folder = folder
        self.connections = connections

    @contextmanager
    def visit(self, url: str) -> Iterator[None]:
        """Wait for the end of a pause and for a free slot, and hold the slot."""
        name = _file_name(url)
        self.folder.mkdir(parents=True, exist_ok=True)
        while (wait := self.pause_left(url)) > 0.0:
            time.sleep(min(wait, 1.0))
        slot = self._slot(name)
        try:
            yield
        finally:
            os.close(slot)

    def pause(self, url: str, seconds: float) -> None:
        """Ask nothing of a server for some time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        seconds = min(seconds, LONGEST_PAUSE)
        if seconds <= self.pause_left(url):
            return
        path = self._pause_path(url)
        path.touch()
        os.utime(path, (time.time(), time.time() + seconds))  # the pause ends when the file seems to be written

    def pause_left(self, url: str) -> float:
        """Return for how many seconds a server wants to be left alone, 0 if it doesn't."""
        try:
            return max(0.0, self._pause_path(url).stat().st_mtime - time.time())
        except FileNotFoundError:
            return 0.0

    def _pause_path(self, url: str) -> Path:
        return self.folder / f"{_file_name(url)}.pause"

    def _slot(self, name: str) -> int:
        while True:
            order = random.sample(range(self.connections), self.connections)
            for number in order:
                slot = os.open(self.folder / f"{name}.{number}", os.O_RDWR | os.O_CREAT, 0o666)
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return slot
                os.close(slot)
            time.sleep(GLANCE * random.uniform(0.5, 1.5))  # noqa: S311


def _file_name(url: str) -> str:
    """Return the server of a URL as part of a file name."""
    return re.sub(r"[^A-Za-z0-9.-]", "_", urlsplit(url).netloc)[:200] or "nowhere"
