"""One file over HTTP: resumed after an interruption, verified, and visible only when it is whole."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import httpx
import stamina

from refinement.errors import CeresError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    Progress = Callable[[int, int | None], None]

# Retries are normal; they reach a log that the application sets up, not the terminal.
logging.getLogger("stamina").addHandler(logging.NullHandler())

CHUNK = 1 << 20
RETRIED_STATUS = {408, 425, 429, 500, 502, 503, 504}
PARTIAL_CONTENT = 206
NOT_MODIFIED = 304
RANGE_NOT_SATISFIABLE = 416
MISSING_STATUS = {404, 410}
MAX_UNPACKED = 64 << 30
"""A gzipped file that unpacks to more is refused while it is verified."""


class ArchiveError(CeresError):
    """The archive can't be reached or answers with nonsense; trying again later may help."""


class FileMissingError(InputError):
    """The archive doesn't have the file."""


class FileDamagedError(InputError):
    """The file in the archive is damaged or too large."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is recorded beside a downloaded file.

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
    """

    url: str
    size: int
    sha256: str
    etag: str
    last_modified: str


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is waited for.

    Attributes
    ----------
    attempts : int
        Number of connections that are tried; each resumes where the last one ended.
    first_wait, longest_wait : float
        Seconds between attempts; the wait doubles from the first to the longest.
    connect, chunk : float
        Seconds to wait for a connection and for the next bytes. There is no limit for a whole file.
    """

    attempts: int = 6
    first_wait: float = 0.5
    longest_wait: float = 20.0
    connect: float = 15.0
    chunk: float = 60.0

    @property
    def timeout(self) -> httpx.Timeout:
        """The same for httpx."""
        return httpx.Timeout(self.chunk, connect=self.connect)


class _TryAgainError(Exception):
    """The connection broke or the server is busy."""


def download(
    client: httpx.Client,
    url: str,
    target: Path,
    *,
    max_bytes: int,
    patience: Patience | None = None,
    progress: Progress | None = None,
) -> Receipt:
    """Fetch a URL into a file; a file that is there already and unchanged on the server is kept.

    Parameters
    ----------
    client : httpx.Client
        Connection pool.
    url : str
        What to fetch.
    target : Path
        Where to put it. ``NAME.part`` and ``NAME.receipt.json`` are kept beside it.
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
        ``file_damaged`` if it is incomplete twice over, ``file_too_large``.
    ArchiveError
        ``archive_unreachable``, ``archive_refuses``.
    """
    patience = patience or Patience()
    target.parent.mkdir(parents=True, exist_ok=True)
    known = read_receipt(target)
    damage: str | None = None
    for _ in range(2):
        receipt = _with_retries(client, url, target, known, max_bytes, patience, progress)
        if receipt is known:
            return receipt
        part = _part(target)
        damage = gzip_damage(part) if target.suffix == ".gz" else None
        if damage is None:
            _publish(part, target, receipt)
            return receipt
        part.unlink()
    message = f"{target.name} is damaged in the archive: {damage}."
    raise FileDamagedError("file_damaged", message, "The archive's own copy can't be unpacked.")


def read_receipt(target: Path) -> Receipt | None:
    """Return the receipt of a file that was downloaded whole, None if there is none or the size differs."""
    try:
        receipt = Receipt(**json.loads(_receipt_path(target).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return receipt if target.is_file() and target.stat().st_size == receipt.size else None


def gzip_damage(path: Path, limit: int = MAX_UNPACKED) -> str | None:
    """Unpack a gzipped file to nowhere and say what is wrong with it, None if nothing is."""
    total = 0
    try:
        with gzip.open(path, "rb") as stream:
            while chunk := stream.read(CHUNK):
                total += len(chunk)
                if total > limit:
                    return f"it unpacks to more than {limit >> 30} GiB"
    except (EOFError, gzip.BadGzipFile, zlib.error) as fault:
        return str(fault).rstrip(".") or type(fault).__name__
    return None


def sha256(path: Path) -> str:
    """Return the SHA-256 checksum of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _with_retries(
    client: httpx.Client,
    url: str,
    target: Path,
    known: Receipt | None,
    max_bytes: int,
    patience: Patience,
    progress: Progress | None,
) -> Receipt:
    part = _part(target)
    while True:
        before = part.stat().st_size if part.is_file() else 0
        try:
            for attempt in _attempts(patience):
                with attempt:
                    return _once(client, url, target, known, max_bytes, patience, progress)
        except (_TryAgainError, httpx.HTTPError, httpx.InvalidURL) as fault:
            # A line that breaks often but brings something each time is not given up.
            if part.is_file() and part.stat().st_size > before:
                continue
            message = f"{url} could not be fetched in {patience.attempts} attempts: {fault or type(fault).__name__}."
            raise ArchiveError("archive_unreachable", message, "Check the connection; a later attempt resumes.") from fault


def _attempts(patience: Patience) -> Iterable[stamina.Attempt]:
    return stamina.retry_context(
        on=(_TryAgainError, httpx.TransportError),
        attempts=patience.attempts,
        timeout=None,
        wait_initial=patience.first_wait,
        wait_max=patience.longest_wait,
        wait_jitter=patience.first_wait,
    )


def _once(
    client: httpx.Client,
    url: str,
    target: Path,
    known: Receipt | None,
    max_bytes: int,
    patience: Patience,
    progress: Progress | None,
) -> Receipt:
    part = _part(target)
    validator = _validator_path(target)
    have, tag = _resumable(part, validator)
    # Encodings are switched off: the byte ranges must be those of the file itself.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": tag}
    elif known is not None and known.url == url:
        headers |= _conditional(known)
    with client.stream("GET", url, headers=headers, timeout=patience.timeout) as response:
        if response.status_code == NOT_MODIFIED and known is not None:
            return known
        if response.status_code == RANGE_NOT_SATISFIABLE:
            part.unlink(missing_ok=True)
            message = "the file changed while it was fetched"
            raise _TryAgainError(message)
        _require_good(response, url, target.name)
        if response.status_code == PARTIAL_CONTENT and _tag(response) not in ("", tag):
            part.unlink(missing_ok=True)
            message = "the file changed while it was fetched"
            raise _TryAgainError(message)
        if response.status_code != PARTIAL_CONTENT or _range_start(response) != have:
            have = 0
        size = _whole_size(response, have)
        if size is not None and size > max_bytes:
            raise _too_large(target.name, size, max_bytes)
        validator.write_text(_tag(response), encoding="utf-8")
        _receive(response, part, have, size, max_bytes, progress)
        etag, modified = response.headers.get("ETag", ""), response.headers.get("Last-Modified", "")
    return Receipt(url, part.stat().st_size, sha256(part), etag, modified)


def _receive(
    response: httpx.Response, part: Path, have: int, size: int | None, max_bytes: int, progress: Progress | None
) -> None:
    with part.open("r+b" if have else "wb") as out:
        out.truncate(have)
        out.seek(have)
        # Pieces are taken as they come: collecting them to a fixed size would lose the last one when the line breaks.
        for chunk in response.iter_raw():
            have += len(chunk)
            if have > max_bytes:
                out.truncate(0)
                raise _too_large(part.stem, have, max_bytes)
            out.write(chunk)
            if progress is not None:
                progress(have, size)
        out.flush()
        os.fsync(out.fileno())
    if size is not None and have < size:
        message = f"the connection ended after {have} of {size} bytes"
        raise _TryAgainError(message)


def _publish(part: Path, target: Path, receipt: Receipt) -> None:
    """Rename the complete file into its place; without its receipt it does not count as fetched."""
    _receipt_path(target).unlink(missing_ok=True)
    part.replace(target)
    _validator_path(target).unlink(missing_ok=True)
    draft = target.with_name(target.name + ".receipt.part")
    draft.write_text(json.dumps(asdict(receipt)), encoding="utf-8")
    draft.replace(_receipt_path(target))


def _resumable(part: Path, validator: Path) -> tuple[int, str]:
    """Return how many bytes can be kept and the validator they belong to; without a validator nothing is kept."""
    try:
        tag = validator.read_text(encoding="utf-8")
        return (part.stat().st_size, tag) if tag else (0, "")
    except OSError:
        return 0, ""


def _require_good(response: httpx.Response, url: str, name: str) -> None:
    status = response.status_code
    if status in MISSING_STATUS:
        message = f"The archive has no file {name}."
        raise FileMissingError("file_missing", message, "It may have been withdrawn or not be released yet.")
    if status in RETRIED_STATUS:
        message = f"the server answers {status}"
        raise _TryAgainError(message)
    if status not in {200, PARTIAL_CONTENT}:
        message = f"{url} answers {status}."
        raise ArchiveError("archive_refuses", message, "Check the address of the archive.")


def _conditional(known: Receipt) -> dict[str, str]:
    headers = {}
    if known.etag:
        headers["If-None-Match"] = known.etag
    if known.last_modified:
        headers["If-Modified-Since"] = known.last_modified
    return headers


def _tag(response: httpx.Response) -> str:
    """Return what names this version of the file: a strong ETag, else the date."""
    etag: str = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


def _range_start(response: httpx.Response) -> int:
    stated = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(stated) if stated.isdigit() else -1


def _whole_size(response: httpx.Response, have: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    return have + int(length) if length.isdigit() else None


def _too_large(name: str, size: int, max_bytes: int) -> FileDamagedError:
    message = f"{name} has {size} bytes or more; at most {max_bytes} are accepted."
    return FileDamagedError("file_too_large", message, "Raise the limit if this file is meant.")


def _part(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _validator_path(target: Path) -> Path:
    return target.with_name(target.name + ".part.version")


def _receipt_path(target: Path) -> Path:
    return target.with_name(target.name + ".receipt.json")
