"""The files of a run: written beside their place, then renamed, so that nothing half-written is left.

File names and the shape of table_one.json are promises of the project.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from refinement.structure import Residues

Listener = Callable[[dict[str, Any]], None]
"""``listen(event)``: a row of log.jsonl as it comes, for those who show a run while it goes on."""


class RunLog:
    """What happened in a run: one JSON object a line for programs, one sentence a line for people.

    Parameters
    ----------
    listen : callable, optional
        Called with each row as soon as it is noted.
    """

    def __init__(self, listen: Listener | None = None) -> None:
        self._started = time.monotonic()
        self._rows: list[dict[str, Any]] = []
        self._listen = listen
        self._part = ""

    def add(self, event: str, sentence: str, **numbers: Any) -> None:
        """Note an event: a stable name, a sentence, and the numbers in it."""
        row: dict[str, Any] = {"seconds": round(time.monotonic() - self._started, 3), "event": event}
        if self._part:
            row["part"] = self._part
        self._rows.append({**row, "sentence": sentence, **clean(numbers)})
        if self._listen is not None:
            self._listen(self._rows[-1])

    def adopt(self, other: RunLog) -> None:
        """Note the events of another log, as of now."""
        for row in other._rows:
            self.add(**{name: value for name, value in row.items() if name not in {"seconds", "part"}})

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Mark the events of a second refinement in the same run, such as the one into a half-map."""
        self._part = name
        try:
            yield
        finally:
            self._part = ""

    def write(self, folder: Path) -> None:
        """Write log.jsonl and log.txt into `folder`."""
        lines = [json.dumps(row, ensure_ascii=False) for row in self._rows]
        (folder / "log.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        parts = [f"{row['part']}: " if "part" in row else "" for row in self._rows]
        readable = [f"{row['seconds']:9.2f} s  {part}{row['sentence']}" for part, row in zip(parts, self._rows, strict=True)]
        (folder / "log.txt").write_text("\n".join(readable) + "\n", encoding="utf-8")


@contextlib.contextmanager
def output_folder(target: Path) -> Iterator[Path]:
    """Give a temporary folder beside `target` whose files move to `target` when all went well.

    Raises
    ------
    OSError
        If the folder can't be made or written, e.g. on a full disk; nothing is left behind then.
    """
    target = Path(target)
    missing = [folder for folder in (target, *target.parents) if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    try:
        yield work
        target.mkdir(exist_ok=True)
        _move_all(work, target)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        for folder in missing:  # only folders that this run made and that are still empty
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    shutil.rmtree(work, ignore_errors=True)


def _move_all(source: Path, target: Path) -> None:
    """Move all files of a folder into another; none if one of them would have to replace a folder."""
    files = sorted(source.iterdir())
    for place in (target / path.name for path in files):
        if place.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(place))
    for path in files:
        path.replace(target / path.name)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` as JSON; NaN and infinity become null."""
    path.write_text(json.dumps(clean(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def clean(value: Any) -> Any:
    """Make `value` JSON-clean: numpy scalars and arrays to plain ones, non-finite numbers to None."""
    if isinstance(value, dict):
        return {str(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if isinstance(value, np.ndarray):
        return clean(value.tolist())
    if isinstance(value, np.generic):
        return clean(value.item())
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    if isinstance(value, Path):
        return value.name
    return value


def write_residues(path: Path, states: Mapping[str, tuple[Residues, Mapping[str, np.ndarray]]]) -> None:
    """Write residues.parquet: one row per residue and state.

    Parameters
    ----------
    path : Path
        Where to.
    states : mapping
        State (``initial``, ``refined``) to its residue table and its metric columns, each of shape (n_residues,).
    """
    tables = [_residue_table(state, residues, columns) for state, (residues, columns) in states.items()]
    table = pa.concat_tables(tables, promote_options="default")
    pq.write_table(table, path, compression="zstd", use_dictionary=True)


def _residue_table(state: str, residues: Residues, columns: Mapping[str, np.ndarray]) -> pa.Table:
    data: dict[str, pa.Array] = {
        "state": pa.array([state] * len(residues)).dictionary_encode(),
        "chain": pa.array(residues.chain.tolist()).dictionary_encode(),
        "number": pa.array(residues.number, type=pa.int32()),
        "insertion_code": pa.array(residues.insertion.tolist()).dictionary_encode(),
        "compound": pa.array(residues.compound.tolist()).dictionary_encode(),
    }
    for name, values in columns.items():
        array = np.asarray(values)
        if array.dtype.kind == "f":
            rounded = np.round(array.astype(np.float32), 3)  # three decimals pack to a third of the size
            data[name] = pa.array(rounded, mask=~np.isfinite(rounded))
        elif array.dtype.kind in "US":
            data[name] = pa.array([text or None for text in array.tolist()], type=pa.string()).dictionary_encode()
        else:
            data[name] = pa.array(array)
    return pa.table(data)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while piece := handle.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
