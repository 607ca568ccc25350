"""What servers of archives answer, how long they are waited for, and what is recorded about a file of theirs."""

from __future__ import annotations

import contextlib
import email.utils
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from refinement.errors import CeresError, InputError


class ArchiveError(CeresError):
    """The archive can't be reached or answers with nonsense; trying again later may help."""


class FileMissingError(InputError):
    """The archive doesn't have the file."""


class FileDamagedError(InputError):
    """The file in the archive is damaged or too large."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is recorded about a downloaded file.

    Attributes
    ----------
    url : str
        Where it came from.
    size : int
        Bytes.
    sha256 : str
        Checksum of the bytes.
    etag, last_modified : str
        As the server stated them; may be empty.
    fetched : str
        When it was there, in ISO 8601, UTC.
    """

    url: str
    size: int
    sha256: str
    etag: str
    last_modified: str
    fetched: str


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is waited for.

    Attributes
    ----------
    attempts : int
        Number of connections to a server that are tried without getting further.
    first_wait, longest_wait : float
        Seconds between attempts; the wait doubles from the first to the longest, and chance is added to it.
    connect, chunk : float
        Seconds to wait for a connection and for the next bytes. There is no limit for a whole file.
    slowest : float
        Bytes a second; a connection that brings fewer for `chunk` seconds is given up.
    longest_pause : float
        Seconds that a server may ask for; if it wants more, the next mirror is asked.
    """

    attempts: int = 6
    first_wait: float = 0.5
    longest_wait: float = 20.0
    connect: float = 15.0
    chunk: float = 60.0
    slowest: float = 1000.0
    longest_pause: float = 120.0

    @property
    def timeout(self) -> httpx.Timeout:
        """The same for httpx."""
        return httpx.Timeout(self.chunk, connect=self.connect)


class TryAgainError(Exception):
    """The connection broke or the server is busy."""

    def __init__(self, message: str, pause: float | None = None) -> None:
        super().__init__(message)
        self.pause = pause


class MirrorError(Exception):
    """A mirror doesn't give the file."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Version:
    """Which version of a file the first bytes belong to."""

    url: str
    etag: str
    last_modified: str

    @classmethod
    def of(cls, response: httpx.Response, url: str) -> Version:
        """Read it from an answer."""
        return cls(url, response.headers.get("ETag", ""), response.headers.get("Last-Modified", ""))

    def validator(self, url: str) -> str:
        """Return what to state in If-Range; a weak ETag doesn't name bytes, and mirrors share only the date."""
        named = url == self.url and not self.etag.startswith("W/")
        return (self.etag if named else "") or self.last_modified

    def contradicts(self, other: Version) -> bool:
        """Whether another answer is about another version."""
        if self.url == other.url and self.etag and other.etag:
            return self.etag != other.etag
        return bool(self.last_modified and other.last_modified) and self.last_modified != other.last_modified


def conditional(known: Receipt, url: str) -> dict[str, str]:
    """Return the headers that ask for a file only if it has changed; an ETag is that of one server."""
    headers = {}
    if known.etag and known.url == url:
        headers["If-None-Match"] = known.etag
    if known.last_modified:
        headers["If-Modified-Since"] = known.last_modified
    return headers


def retry_after(response: httpx.Response) -> float | None:
    """Return how many seconds a server wants to be left alone; it may state a number or a date."""
    stated = response.headers.get("Retry-After", "").strip()
    if stated.isdigit():
        return float(stated)
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, (email.utils.parsedate_to_datetime(stated) - datetime.now(UTC)).total_seconds())
    return None


def range_start(response: httpx.Response) -> int:
    """Return at which byte of the file an answer begins, -1 if it doesn't say."""
    stated = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(stated) if stated.isdigit() else -1
