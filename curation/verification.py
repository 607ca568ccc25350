"""Whether a file is whole and of its kind, asked of its bytes while they arrive.

The archives publish no checksums of maps and models. A gzipped file has one of its own, and every kind of file has a
beginning or an end by which it can be known; what fails here was damaged on its way, or is damaged in the archive.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import zlib
from typing import TYPE_CHECKING

from refinement.errors import MapError
from refinement.maps.header import HEADER_BYTES, parse_header

if TYPE_CHECKING:
    from pathlib import Path

CHUNK = 1 << 20
MAX_UNPACKED = 64 << 30
"""A gzipped file that unpacks to more is refused while it is verified."""
GZIP_WINDOW = 31
"""Tells zlib that a gzip header comes first."""
ROOT_ELEMENT = re.compile(rb"<([A-Za-z_][\w.:-]*)")
CIF_BEGIN = re.compile(rb"\s*(?:#[^\n]*\n\s*)*data_", re.IGNORECASE)
ERROR_PAGE = re.compile(rb"\s*(?:<!doctype\s+html|<html)", re.IGNORECASE)
LONGEST_TAIL = 256
"""Bytes; in so many from the end lies the closing tag of an XML document."""


class _DamagedStreamError(Exception):
    """The bytes can't be those of a gzip stream; says why."""


class Verifier:
    """Takes the bytes of a file in their order, and knows at any time what is wrong with them.

    Of a plain file only the form can be judged: its first bytes and, where it has one, its last.

    Parameters
    ----------
    name : str
        Name of the file; its suffixes say what it should be.
    limit : int
        A gzipped file that unpacks to more bytes is damaged.

    Attributes
    ----------
    size : int
        Bytes so far.
    damage : str or None
        What is wrong with the gzip stream, as soon as that is known.
    """

    def __init__(self, name: str, limit: int = MAX_UNPACKED) -> None:
        self.name = name
        self.size = 0
        self.damage: str | None = None
        self._digest = hashlib.sha256()
        self._packed = _Unpacking(limit) if name.endswith(".gz") else None
        self._head, self._tail = b"", b""

    @property
    def has_checksum(self) -> bool:
        """Whether the file carries a checksum, so that pieces of it from several connections may be joined."""
        return self._packed is not None

    @property
    def sha256(self) -> str:
        """Checksum of the bytes so far."""
        return self._digest.hexdigest()

    @property
    def complete(self) -> bool:
        """Whether a gzip stream is closed and its checksum right; of other files this isn't known."""
        return self._packed is None or (self._packed.ended and self.damage is None)

    @property
    def is_error_page(self) -> bool:
        """Whether the bytes are a page for people, which no file of an archive is."""
        return ERROR_PAGE.match(self._head) is not None

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes; of a damaged stream they are counted only."""
        self._head += chunk[: HEADER_BYTES - len(self._head)]
        if self._packed is None:
            self._tail = (self._tail + chunk[-LONGEST_TAIL:])[-LONGEST_TAIL:]
        elif self.damage is None:
            try:
                self._packed.feed(chunk)
            except _DamagedStreamError as fault:
                self.damage = str(fault)
        self._digest.update(chunk)
        self.size += len(chunk)

    def copy(self) -> Verifier:
        """Return another one in the same state."""
        twin = copy.copy(self)
        twin._digest = self._digest.copy()
        twin._packed = self._packed.copy() if self._packed is not None else None
        return twin

    def oddity(self, path: Path) -> str | None:
        """Say what is unlikely about the form of the whole file, None if nothing is.

        Archives do hold such files: they are believed when they come twice the same.

        Parameters
        ----------
        path : Path
            Where the bytes are.
        """
        if not self.complete:
            return self.damage or "it ends in the middle"
        head = self._packed.head if self._packed is not None else self._head
        name = self.name.removesuffix(".gz")
        if name.endswith((".map", ".mrc", ".ccp4")):
            return _map_oddity(head, self._packed.size if self._packed is not None else self.size)
        if name.endswith(".cif"):
            return None if CIF_BEGIN.match(head) else "it doesn't begin as mmCIF"
        if self.name.endswith(".xml"):
            return _xml_oddity(head, self._tail)
        return _json_oddity(path) if self.name.endswith(".json") else None


class _Unpacking:
    """A gzip stream of one or several members; what it unpacks to is counted and thrown away."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.head = b""
        self._member = zlib.decompressobj(GZIP_WINDOW)

    @property
    def ended(self) -> bool:
        """Whether the last member is closed and its checksum right."""
        return self._member.eof

    def feed(self, data: bytes) -> None:
        """Unpack the next bytes."""
        while data:
            if self._member.eof:
                data = data.lstrip(b"\0")  # archivers may pad the last member
                if not data:
                    return
                self._member = zlib.decompressobj(GZIP_WINDOW)
            data = self._unpack(data)

    def copy(self) -> _Unpacking:
        """Return another one in the same state."""
        twin = copy.copy(self)
        twin._member = self._member.copy()
        return twin

    def _unpack(self, data: bytes) -> bytes:
        """Unpack the bytes of one member, a chunk at a time; return those that follow it."""
        while True:
            try:
                plain = self._member.decompress(data, CHUNK)
            except zlib.error as fault:
                reason = str(fault).partition(": ")[2] or str(fault)
                raise _DamagedStreamError(reason) from fault
            self.size += len(plain)
            if self.size > self.limit:
                message = f"it unpacks to more than {self.limit >> 30} GiB"
                raise _DamagedStreamError(message)
            self.head += plain[: HEADER_BYTES - len(self.head)]
            if self._member.eof:
                return self._member.unused_data
            data = self._member.unconsumed_tail
            if not data and len(plain) < CHUNK:
                return b""


def feed_file(verifier: Verifier, path: Path) -> None:
    """Give the bytes of a file to a verifier."""
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            verifier.feed(chunk)


def sha256(path: Path) -> str:
    """Return the SHA-256 checksum of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _map_oddity(head: bytes, size: int) -> str | None:
    try:
        header = parse_header(head, "the map")
    except MapError as fault:
        return fault.message.rstrip(".")
    promised = HEADER_BYTES + header.nsymbt + header.voxels * header.dtype.itemsize
    return None if promised <= size else f"its header promises {promised} bytes and it has {size}"


def _xml_oddity(head: bytes, tail: bytes) -> str | None:
    root = ROOT_ELEMENT.search(head)
    if root is None:
        return "it isn't XML"
    return None if tail.rstrip().endswith(b"</" + root[1] + b">") else "its first element isn't closed at its end"


def _json_oddity(path: Path) -> str | None:
    try:
        json.loads(path.read_bytes())
    except (ValueError, RecursionError) as fault:
        return f"it isn't JSON: {fault}"
    return None
