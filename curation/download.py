"""One file over HTTP, from one mirror after the other: resumed, verified, and handed over only when it is whole."""

from __future__ import annotations

import errno
import json
import logging
import os
import random
import time
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import stamina

from curation.answers import (
    ArchiveError,
    FileDamagedError,
    FileMissingError,
    MirrorError,
    Patience,
    Receipt,
    TryAgainError,
    Version,
    conditional,
    range_start,
    retry_after,
)
from curation.verification import Verifier, feed_file
from refinement.errors import CeresError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from curation.hosts import Hosts

    Progress = Callable[[int, int | None], None]

__all__ = ["ArchiveError", "FileDamagedError", "FileMissingError", "Patience", "Receipt", "Transfer", "download"]

# Retries are normal; they reach a log that the application sets up, not the terminal.
logging.getLogger("stamina").addHandler(logging.NullHandler())

RETRIED_STATUS = {408, 425, 429, 500, 502, 503, 504}
PARTIAL_CONTENT = 206
NOT_MODIFIED = 304
RANGE_NOT_SATISFIABLE = 416
MISSING_STATUS = {404, 410}
BAD_RANGES = 4
"""Answers in a row that don't fit the range that was asked for, before the file is begun anew."""
LEAST_PLAIN = 1 << 18
"""Bytes of a file without a checksum from which on it is resumed."""
OVERLAP = 1 << 12
"""Bytes of such a file that are fetched again when it is resumed; they must be those that are here."""
MAX_BEGINNINGS = 8
"""Connections whose bytes can be dropped one after the other, the last one first."""
OPINIONS = 4
"""Odd copies of a file that are fetched in the search for two that agree."""


def download(
    client: httpx.Client,
    url: str,
    target: Path,
    *,
    max_bytes: int,
    patience: Patience | None = None,
    progress: Progress | None = None,
) -> Receipt:
    """Fetch a URL into a file, which appears when it is whole.

    Parameters
    ----------
    client : httpx.Client
        Connection pool.
    url : str
        What to fetch.
    target : Path
        Where to put it. While it is fetched ``NAME.part`` and ``NAME.part.version`` lie beside it.
    max_bytes : int
        Larger files are refused.
    patience : Patience, optional
        Retries and timeouts.
    progress : callable, optional
        Called with the bytes that are there and the size (None if the server doesn't say).

    Raises
    ------
    FileMissingError
        ``file_missing``.
    FileDamagedError
        ``file_damaged`` if it came damaged twice in the same way, ``file_too_large``.
    ArchiveError
        ``archive_unreachable``, ``archive_refuses``.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    transfer = Transfer(client, [url], part, target.name, max_bytes=max_bytes, patience=patience, progress=progress)
    receipt = transfer.run()
    part.replace(target)
    return receipt


class Transfer:
    """A file on its way into a partial file.

    A gzipped file is resumed where it broke off: its checksum tells whether the pieces belong together. What can be
    seen to be damaged while it arrives is dropped back to where the connection began that brought it. Of other files
    only large ones are resumed, from a few bytes before, which must agree.

    Parameters
    ----------
    client : httpx.Client
        Connection pool.
    urls : sequence of str
        The file on its mirrors, in the order in which they are asked.
    part : Path
        The partial file; one that an earlier process left is continued. Beside it lies ``NAME.version``.
    name : str
        Name of the file, which says what it is and is used in sentences.
    max_bytes : int
        Larger files are refused.
    patience : Patience, optional
        Retries and timeouts.
    hosts : Hosts, optional
        Limits of connections.
    progress : callable, optional
        Called with the bytes that are there and the size (None if the server doesn't say).
    """

    def __init__(
        self,
        client: httpx.Client,
        urls: Sequence[str],
        part: Path,
        name: str,
        *,
        max_bytes: int,
        patience: Patience | None = None,
        hosts: Hosts | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._client, self._urls, self._part, self._name = client, list(urls), part, name
        self._max_bytes = max_bytes
        self._patience = patience or Patience()
        self._hosts = hosts
        self._progress = progress
        self._known: Receipt | None = None
        self._version: Version | None = None
        self._verifier = Verifier(name)
        self._beginnings: list[Verifier] = []
        self._doubts = 0
        self._bad_ranges = 0
        self._ended_at: tuple[int, str] | None = None

    def run(self, known: Receipt | None = None) -> Receipt:
        """Fetch the file.

        Parameters
        ----------
        known : Receipt, optional
            Of a copy that is there already; it is returned if the file hasn't changed, and nothing is fetched.

        Raises
        ------
        FileMissingError, FileDamagedError, ArchiveError
            As `download`.
        """
        self._known = known if known is not None and known.url in self._urls else None
        self._recover()
        odd: set[str] = set()
        failed: list[MirrorError] = []
        waiting = self._in_order()
        while waiting:
            url = waiting.pop(0)
            try:
                receipt = self._from_mirror(url)
            except MirrorError as fault:
                failed.append(fault)
                continue
            if receipt is self._known:
                return receipt
            oddity = self._verifier.oddity(self._part)
            if oddity is None or (receipt.sha256 in odd and self._verifier.complete):
                self._version_path.unlink(missing_ok=True)
                return receipt
            self._start_over()
            self._ended_at = None
            if receipt.sha256 in odd:
                message = f"{self._name} is damaged in the archive: {oddity}."
                raise FileDamagedError("file_damaged", message, "The archive's own copy can't be unpacked.")
            if len(odd) == OPINIONS:
                message = f"{self._name} came damaged in {OPINIONS + 1} different ways, the last time: {oddity}."
                raise ArchiveError("archive_unreachable", message, "Check the connection and its proxies.")
            odd.add(receipt.sha256)
            waiting.append(url)
        raise self._failure(failed)

    def _in_order(self) -> list[str]:
        """Return the mirrors in their order, those last that want to be left alone."""
        hosts, patience = self._hosts, self._patience
        if hosts is None:
            return list(self._urls)
        return sorted(self._urls, key=lambda url: hosts.pause_left(url) > patience.longest_wait)

    def _failure(self, failed: list[MirrorError]) -> CeresError:
        """Return what to say when no mirror gives the file; it is missing only if all of them say so."""
        if all(fault.code == "file_missing" for fault in failed):
            self.discard()
            message = f"The archive has no file {self._name}."
            return FileMissingError("file_missing", message, "It may have been withdrawn or not be released yet.")
        reason = next(fault for fault in failed if fault.code != "file_missing")
        hint = {
            "archive_unreachable": "Check the connection; a later attempt resumes.",
            "archive_refuses": "Check the address of the archive.",
        }
        more = f" {len(failed) - 1} more mirrors don't give it either." if len(failed) > 1 else ""
        return ArchiveError(reason.code, f"{reason}{more}", hint[reason.code])

    def discard(self) -> None:
        """Remove what has been fetched so far."""
        self._part.unlink(missing_ok=True)
        self._version_path.unlink(missing_ok=True)

    @property
    def _version_path(self) -> Path:
        return self._part.with_name(f"{self._part.name}.version")

    def _recover(self) -> None:
        """Take up what an earlier process left, if it is known what it belongs to and it isn't damaged."""
        try:
            self._version = Version(**json.loads(self._version_path.read_text(encoding="utf-8")))
            if self._version.url in self._urls:
                feed_file(self._verifier, self._part)
                if self._verifier.damage is None and self._begin_at > 0:
                    return
        except (OSError, ValueError, TypeError):
            pass
        self._start_over()

    def _start_over(self) -> None:
        self.discard()
        self._version, self._verifier = None, Verifier(self._name)
        self._beginnings, self._doubts, self._bad_ranges = [], 0, 0

    @property
    def _begin_at(self) -> int:
        """Byte from which on the file is asked for; 0 to have all of it."""
        size = self._verifier.size
        if self._verifier.has_checksum:
            return size
        return size - OVERLAP if size >= LEAST_PLAIN else 0

    def _from_mirror(self, url: str) -> Receipt:
        """Fetch from one mirror, however often the line breaks, as long as something comes each time."""
        if self._hosts is not None and self._hosts.pause_left(url) > self._patience.longest_pause:
            raise MirrorError("archive_unreachable", f"{url} is on a server that wants to be left alone for now")
        while True:
            before = self._verifier.size
            try:
                for attempt in self._attempts():
                    with attempt, self._hosts.visit(url) if self._hosts else nullcontext():
                        return self._once(url)
            except (TryAgainError, httpx.HTTPError, httpx.InvalidURL) as fault:
                if self._verifier.size > before:
                    continue
                message = f"{url} could not be fetched in {self._patience.attempts} attempts: {fault or type(fault).__name__}."
                raise MirrorError("archive_unreachable", message) from fault

    def _attempts(self) -> Iterable[stamina.Attempt]:
        patience = self._patience

        def worth_another(fault: Exception) -> bool | float:
            pause = fault.pause if isinstance(fault, TryAgainError) else None
            if pause is not None:
                return pause + random.uniform(0.0, patience.first_wait) if pause <= patience.longest_pause else False  # noqa: S311
            return isinstance(fault, (TryAgainError, httpx.TransportError, httpx.TooManyRedirects))

        return stamina.retry_context(
            on=worth_another,
            attempts=patience.attempts,
            timeout=None,
            wait_initial=patience.first_wait,
            wait_max=patience.longest_wait,
            wait_jitter=patience.first_wait,
        )

    def _once(self, url: str) -> Receipt:
        """Ask once; return a receipt when the server has no more bytes, the known one if they are unchanged."""
        headers = self._headers(url)
        with self._client.stream("GET", url, headers=headers, timeout=self._patience.timeout) as response:
            if response.status_code == NOT_MODIFIED and self._known is not None:
                return self._known
            if response.status_code == RANGE_NOT_SATISFIABLE:
                self._judge_end(response)
            else:
                self._judge_status(response, url)
                size = self._begin(response, url)
                self._receive(response, size)
                self._judge_length()
        version = self._version or Version(url, "", "")
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        return Receipt(url, self._verifier.size, self._verifier.sha256, version.etag, version.last_modified, moment)

    def _headers(self, url: str) -> dict[str, str]:
        # Encodings are switched off: the byte ranges must be those of the file itself.
        headers = {"Accept-Encoding": "identity"}
        validator = self._version.validator(url) if self._version is not None else ""
        if self._begin_at > 0 and validator:
            return headers | {"Range": f"bytes={self._begin_at}-", "If-Range": validator}
        if self._verifier.size:
            self._start_over()
        return headers | (conditional(self._known, url) if self._known is not None else {})

    def _judge_status(self, response: httpx.Response, url: str) -> None:
        status = response.status_code
        if status in MISSING_STATUS:
            raise MirrorError("file_missing", f"{url} answers {status}.")
        if status in RETRIED_STATUS:
            pause = retry_after(response)
            if pause is not None and self._hosts is not None:
                self._hosts.pause(url, min(pause, self._patience.longest_pause))
            message = f"the server answers {status}" + (f" and asks for {pause:.0f} s" if pause else "")
            raise TryAgainError(message, pause)
        if status not in {200, PARTIAL_CONTENT}:
            raise MirrorError("archive_refuses", f"{url} answers {status}.")
        packed = response.headers.get("Content-Encoding", "identity")
        if packed != "identity" and not self._verifier.has_checksum:
            raise MirrorError("archive_refuses", f"{url} comes in the encoding {packed}, which was not asked for.")

    def _judge_end(self, response: httpx.Response) -> None:
        """Decide what it means that the server has no bytes after ours: all is here, or nothing fits."""
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
        stated = int(total) if total.isdigit() else None
        if self._verifier.has_checksum:
            if self._verifier.complete and stated in (None, self._verifier.size):
                return
            if stated == self._verifier.size:
                self._judge_length()
                return
        if stated is not None and stated < self._verifier.size:
            self._bad_ranges = BAD_RANGES
        message = "the server has no bytes after those that are here"
        raise self._bad_range(message)

    def _bad_range(self, message: str) -> TryAgainError:
        """Return the fault; begin anew when it is the last of too many."""
        self._bad_ranges += 1
        if self._bad_ranges >= BAD_RANGES:
            self._start_over()
        return TryAgainError(message)

    def _begin(self, response: httpx.Response, url: str) -> int | None:
        """See that the bytes to come continue ours, or begin anew; return the size of the whole file."""
        version = Version.of(response, url)
        if response.status_code == PARTIAL_CONTENT:
            if self._version is not None and self._version.contradicts(version):
                self._start_over()
                message = "the file changed while it was fetched"
                raise TryAgainError(message)
            if range_start(response) != self._begin_at:
                message = "the server sends other bytes than those that were asked for"
                raise self._bad_range(message)
        elif self._verifier.size or self._part.exists():
            if not (version.etag or version.last_modified) and self._verifier.size:
                message = "the server doesn't say which version of the file it sends"
                raise self._bad_range(message)
            self._start_over()
        length = response.headers.get("Content-Length", "")
        size = self._begin_at + int(length) if length.isdigit() else None
        if size is not None and size > self._max_bytes:
            raise self._too_large(size)
        if self._version is None:
            self._version = version
            self._version_path.write_text(json.dumps(asdict(version)), encoding="utf-8")
        return size

    def _receive(self, response: httpx.Response, size: int | None) -> None:
        """Take the bytes; drop those that continue the file if they turn out to be damaged.

        A file that is damaged from its first connection on is taken as it is, to be compared with another copy.
        """
        verifier = self._verifier
        resumed = verifier.size > 0 and verifier.damage is None
        if not self._beginnings or self._beginnings[-1].size != verifier.size:
            self._beginnings = [*self._beginnings[1 - MAX_BEGINNINGS :], verifier.copy()]
            self._doubts = 0
        with self._room(), self._part.open("ab") as out:
            # Pieces are taken as they come: collecting them would lose the last one when the line breaks.
            for chunk in self._beyond(_quick_enough(response.iter_raw(), self._patience)):
                verifier.feed(chunk)
                out.write(chunk)
                if verifier.size > self._max_bytes:
                    raise self._too_large(verifier.size)
                if resumed and verifier.damage is not None:
                    break
                self._bad_ranges = 0
                if self._progress is not None:
                    self._progress(verifier.size, size)
            out.flush()
            os.fsync(out.fileno())
        if resumed and verifier.damage is not None:
            self._fall_back()
            message = f"the bytes are damaged: {verifier.damage}"
            raise TryAgainError(message)

    def _beyond(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass on the bytes that aren't here yet; those that are must be the same."""
        with self._part.open("rb") as part:
            part.seek(self._begin_at)
            here = part.read(self._verifier.size - self._begin_at)
        for chunk in chunks:
            again, here = here[: len(chunk)], here[len(chunk) :]
            if not chunk.startswith(again):
                message = "the server sends other bytes than those that are here"
                raise self._bad_range(message)
            if len(chunk) > len(again):
                yield chunk[len(again) :]

    @contextmanager
    def _room(self) -> Iterator[None]:
        """Say in a sentence that the disk is full."""
        try:
            yield
        except OSError as fault:
            if fault.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            message = f"There is no room for {self._name} in {self._part.parent}."
            raise CeresError("disk_full", message, "Free some space, or let the cache lie elsewhere.") from fault

    def _fall_back(self) -> None:
        """Drop what this connection brought; what came before it too, if it is damaged each time."""
        self._doubts += 1
        if self._doubts == BAD_RANGES:
            self._beginnings.pop()
            self._doubts = 0
        if not self._beginnings:
            self._start_over()
            return
        self._verifier = self._beginnings[-1].copy()
        os.truncate(self._part, self._verifier.size)

    def _judge_length(self) -> None:
        """Ask for more if the file isn't whole and can be resumed, until the server has ended it twice at one byte."""
        if self._verifier.is_error_page:
            self._start_over()
            message = "the server sends a page for people in place of the file"
            raise TryAgainError(message)
        end = (self._verifier.size, self._verifier.sha256)
        resumable = self._begin_at > 0 and not self._verifier.has_checksum
        whole = self._verifier.complete and not (resumable and self._verifier.oddity(self._part))
        if whole or self._verifier.damage or self._ended_at == end:
            return
        self._ended_at = end
        message = f"the file ends in the middle, after {self._verifier.size} bytes"
        raise TryAgainError(message)

    def _too_large(self, size: int) -> FileDamagedError:
        self.discard()
        message = f"{self._name} has {size} bytes or more; at most {self._max_bytes} are accepted."
        return FileDamagedError("file_too_large", message, "Raise the limit if this file is meant.")


def _quick_enough(chunks: Iterable[bytes], patience: Patience) -> Iterator[bytes]:
    """Pass on what comes; give up a connection that brings next to nothing, for it would never time out."""
    since, size = time.monotonic(), 0
    for chunk in chunks:
        yield chunk
        size += len(chunk)
        elapsed = time.monotonic() - since
        if elapsed > patience.chunk:
            if size < patience.slowest * elapsed:
                message = f"the connection brought {size} bytes in {elapsed:.0f} s"
                raise TryAgainError(message)
            since, size = time.monotonic(), 0
