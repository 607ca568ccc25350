"""A server for archives on which everything goes wrong that can, by a seed: the same faults at every run."""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import random
import socket
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote

from curation.cache import Cache

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FAULTS = (
    "cut", "stall", "busy", "asks for a pause", "broken", "no such range", "too long", "too short",
    "trickle", "moved", "moved in a circle", "error page", "garbage", "from the beginning", "another range",
)  # fmt: skip
RESUMED_ONLY = {"no such range", "garbage", "from the beginning", "another range"}
"""Faults of answers to a request for a part of a file."""
INTERRUPTIONS = {"cut", "stall", "trickle", "too long", "too short"}
"""Faults after which a part of a file is asked for."""
PIECE = 8192
ERROR_PAGE = b"<html><body><h1>Service temporarily unavailable</h1></body></html>"


@dataclass
class HostileServer:
    """How a server misbehaves, and what it did.

    Parameters
    ----------
    folder : Path
        What it serves.
    seed : int
        Of the faults. Which fault a request meets depends on its path and on how many came before it alone.
    chance : float
        Of a fault.
    in_a_row : int
        Most faults of one file that follow each other.
    faults : tuple of str
        Which may happen.
    pace : float
        Seconds between pieces of 8 kB.
    name : str
        Part of its ETags, which differ from those of a mirror.
    """

    folder: Path
    seed: int = 0
    chance: float = 0.5
    in_a_row: int = 3
    faults: tuple[str, ...] = FAULTS
    stall: float = 1.0
    pace: float = 0.0
    name: str = ""
    url: str = ""
    requests: list[tuple[str, str | None, int]] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    _count: Counter[str] = field(default_factory=Counter)
    _row: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next_fault(self, path: str, *, resumed: bool) -> tuple[str, random.Random]:
        """Return what goes wrong with a request, "" if nothing, and the chance for its details."""
        with self._lock:
            self._count[path] += 1
            chance = random.Random(f"{self.seed} {path} {self._count[path]}")  # noqa: S311
            likely = RESUMED_ONLY if resumed else INTERRUPTIONS
            possible = [fault for fault in self.faults if resumed or fault not in RESUMED_ONLY]
            weights = [4 if fault in likely else 1 for fault in possible]
            fault = chance.choices(possible, weights)[0] if possible and chance.random() < self.chance else ""
            if self._row[path] >= self.in_a_row:
                fault = ""
            self._row[path] = self._row[path] + 1 if fault else 0
            self.done[fault] += 1
            return fault, chance

    def count(self, path: str, wanted: str | None, status: int) -> None:
        with self._lock:
            self.requests.append((path, wanted, status))

    def count_sent(self, path: str, size: int) -> None:
        with self._lock:
            self.sent[path] += size

    def fetched_again(self, whole: int) -> float:
        """Return how many bytes were sent beyond those of the files, as a share of these."""
        return sum(self.sent.values()) / whole - 1.0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: HostileServer

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        found = (self.state.folder / unquote(self.path).lstrip("/")).is_file()
        self.answer(200 if found else 404, b"")

    def do_GET(self) -> None:
        path = unquote(self.path).lstrip("/")
        moved = path.startswith("moved/")
        path = path.removeprefix("moved/")
        place = self.state.folder / path
        if not place.is_file():
            self.answer(404, b"")
            return
        data = place.read_bytes()
        etag = f'"{self.state.name}{hashlib.sha256(data).hexdigest()[:16]}"'
        modified = email.utils.formatdate(int(place.stat().st_mtime), usegmt=True)
        names = {"ETag": etag, "Last-Modified": modified}
        if self.headers.get("If-None-Match") == etag or (
            "If-None-Match" not in self.headers and self.headers.get("If-Modified-Since") == modified
        ):
            self.answer(304, b"")
            return
        wanted = self.headers.get("Range")
        first = (
            int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.headers.get("If-Range") in (etag, modified) else 0
        )
        fault, chance = ("", random.Random(0)) if moved else self.state.next_fault(path, resumed=first > 0)  # noqa: S311
        if first >= len(data) > 0:
            self.answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        elif not self.refused(fault, path, chance):
            self.send_file(path, data, first, fault, chance, names)

    def refused(self, fault: str, path: str, chance: random.Random) -> bool:
        """Answer something that isn't the file."""
        if fault == "busy":
            self.answer(chance.choice([500, 502, 503, 429]), b"later")
        elif fault == "asks for a pause":
            moment = email.utils.formatdate(time.time(), usegmt=True)
            self.answer(chance.choice([429, 503]), b"", {"Retry-After": chance.choice(["0", moment])})
        elif fault == "broken":
            self.close_connection = True
        elif fault == "no such range":
            self.answer(416, b"", chance.choice([{}, {"Content-Range": "bytes */*"}]))
        elif fault in {"moved", "moved in a circle"}:
            target = f"{self.state.url}/moved/{path}" if fault == "moved" else self.path
            self.answer(chance.choice([301, 302, 307]), b"", {"Location": target})
        else:
            return False
        return True

    def send_file(self, path: str, data: bytes, first: int, fault: str, chance: random.Random, names: dict[str, str]) -> None:
        body, length, stated = data[first:], len(data) - first, first
        if fault == "garbage":
            body = chance.randbytes(length)
        elif fault == "from the beginning":
            body = data[:length]
        elif fault == "another range":
            stated = chance.randrange(len(data))
            body = data[stated:]
            length = len(body)
        elif fault == "error page":
            body, first, stated, length, names = ERROR_PAGE, 0, 0, len(ERROR_PAGE), {}
        elif fault == "too long":
            length += chance.randint(1, 5000)
        elif fault == "too short":
            length = chance.randrange(length) if length else 0
            body = body[:length]
        if fault in {"cut", "stall"}:
            body = body[: chance.randrange(len(body) or 1)]
        headers = {**names, "Content-Length": str(length)}
        if first > 0:
            headers["Content-Range"] = f"bytes {stated}-{stated + length - 1}/{len(data)}"
        self.state.count(path, self.headers.get("Range"), 206 if first > 0 else 200)
        self.send_response(206 if first > 0 else 200)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if fault == "trickle":
            self.trickle(path, body)
            return
        self.send_body(path, body)
        if fault == "stall":
            self.connection.settimeout(self.state.stall)
            with contextlib.suppress(OSError):
                self.connection.recv(1)  # until the client gives up
        if len(body) < length or fault == "stall":
            self.close_connection = True

    def trickle(self, path: str, body: bytes) -> None:
        """Send some of the file, then a byte now and then: the line never falls silent."""
        some = len(body) // 2
        self.send_body(path, body[:some])
        ends = time.monotonic() + 4 * self.state.stall
        for place in range(some, len(body)):
            if self.close_connection or time.monotonic() > ends:
                break
            time.sleep(0.02)
            self.send_body(path, body[place : place + 1])
        self.close_connection = True

    def send_body(self, path: str, body: bytes) -> None:
        for start in range(0, len(body), PIECE):
            piece = body[start : start + PIECE]
            try:
                self.wfile.write(piece)
            except OSError:
                self.close_connection = True
                return
            if self.state.pace:
                time.sleep(self.state.pace)
            self.state.count_sent(path, len(piece))

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.state.count(self.path.lstrip("/"), self.headers.get("Range"), status)
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD" and status != 304:
            self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    request_queue_size = 64

    def server_bind(self) -> None:
        # What waits in a large buffer when the client hangs up would count as sent.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * PIECE)
        super().server_bind()

    def handle_error(self, *args: object) -> None:
        """A client that hangs up is no error here."""


@contextmanager
def running(state: HostileServer) -> Iterator[HostileServer]:
    """Serve until the block ends."""
    handler = type("Handler", (_Handler,), {"state": state})
    server = _Server(("127.0.0.1", 0), handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def stored_as_served(cache: Path, root: Path) -> list[str]:
    """Return the paths of the files in a cache; each must be the served one byte for byte, and no partial one be left."""
    assert [path for path in (cache / "parts").rglob("*") if path.is_file()] == []
    assert list((cache / "names").rglob(".*")) == []
    kept = Cache(cache)
    assert kept.faults() == []
    names = cache / "names"
    paths = sorted(str(record.relative_to(names)).removesuffix(".json") for record in names.rglob("*.json"))
    for path in paths:
        assert kept.place(path, kept.receipts(path)[0]).read_bytes() == (root / path).read_bytes(), path
    return paths
