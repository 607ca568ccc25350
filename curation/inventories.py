"""The lists that both archives publish of what they hold: which entries, since when, and what became of the others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from curation.archive import EMDB_HOLDINGS, PDB_DATES, PDB_HOLDINGS
from curation.download import FileDamagedError, FileMissingError
from curation.identifiers import normalise_emdb_id, normalise_pdb_id
from curation.metadata import read_packed
from refinement.errors import InputError, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from curation.archive import Archive

T = TypeVar("T")
PDB_REMOVED = "pdb/holdings/all_removed_entries.json.gz"
PDB_UNRELEASED = "pdb/holdings/unreleased_entries.json.gz"
MAX_HOLDINGS_BYTES = 1 << 30
"""Largest unpacked holdings file; that of the PDB has some 100 MB."""
MODEL_KINDS = {"mmcif", "coordinates_pdbx"}
"""Content types of an entry with an mmCIF file, in the layouts with short and with extended ids."""
OTHER_METHODS = ("structure_factors", "nmr")
"""Content types that only crystal and NMR entries have; such entries need not be opened."""
DATE_KEYS = ("last_modified_date", "update_date", "update", "map_release_date", "release_date")


class HoldingsError(InputError):
    """A holdings file can't be used."""


def read_pdb_holdings(archive: Archive) -> dict[str, tuple[str, ...]]:
    """Return the released PDB ids that have an mmCIF file, with their content types.

    Raises
    ------
    HoldingsError
        ``holdings_damaged``.
    """
    found = _by_id(_read_object(archive, PDB_HOLDINGS), normalise_pdb_id, _kinds)
    return {pdb_id: kinds for pdb_id, kinds in found.items() if not kinds or MODEL_KINDS & set(kinds)}


def read_emdb_holdings(archive: Archive) -> dict[str, str]:
    """Return the released EMDB ids with the date of each entry's last change, "" where the list doesn't say.

    Raises
    ------
    HoldingsError
        ``holdings_damaged``.
    """
    return _by_id(_read_object(archive, EMDB_HOLDINGS), normalise_emdb_id, _date)


def read_pdb_dates(archive: Archive) -> dict[str, str]:
    """Return when each PDB entry changed last; empty if the archive doesn't say."""
    return _by_id(_optional(archive, PDB_DATES), normalise_pdb_id, str)


def read_fates(archive: Archive, pdb_ids: Iterable[str]) -> dict[str, str]:
    """Return what became of PDB entries that aren't released.

    Parameters
    ----------
    archive : Archive
        The archives.
    pdb_ids : iterable of str
        Entries that are asked for.

    Returns
    -------
    dict[str, str]
        ``replaced by 9zab``, ``obsolete`` or ``status HPUB`` by PDB id; entries of which the archive says nothing are left out.
    """
    wanted = set(pdb_ids)
    if not wanted:
        return {}
    waiting = _by_id(_optional(archive, PDB_UNRELEASED), normalise_pdb_id, _status)
    removed = _by_id(_optional(archive, PDB_REMOVED), normalise_pdb_id, _removal)
    return {pdb_id: fate for pdb_id, fate in {**waiting, **removed}.items() if pdb_id in wanted and fate}


def is_other_method(kinds: Iterable[str]) -> bool:
    """Return whether content types say that an entry isn't from electron microscopy."""
    return any(kind.startswith(OTHER_METHODS) or "nmr" in kind for kind in kinds)


def _by_id(rows: dict[str, Any], normalise: Callable[[str], str], read: Callable[[Any], T]) -> dict[str, T]:
    """Return the rows whose key is an id."""
    found: dict[str, T] = {}
    for key, value in rows.items():
        try:
            found[normalise(key)] = read(value)
        except InputError:
            continue
    return found


def _kinds(row: object) -> tuple[str, ...]:
    if not isinstance(row, dict):
        return ()
    stated = row.get("content_type")
    names = stated if isinstance(stated, list) else row
    return tuple(str(kind).lower() for kind in names)


def _date(row: object) -> str:
    if isinstance(row, str):
        return row
    stated = (row.get(key) for key in DATE_KEYS) if isinstance(row, dict) else ()
    return next((str(date) for date in stated if date), "")


def _status(row: object) -> str:
    code = row.get("status_code") if isinstance(row, dict) else row
    return f"status {code[:20]}" if isinstance(code, str) and code else ""


def _removal(row: object) -> str:
    stated = row.get("superseded_by") if isinstance(row, dict) else None
    names = [str(name) for name in (stated if isinstance(stated, list) else [stated]) if name]
    successors = _by_id(dict.fromkeys(names), normalise_pdb_id, str)
    return f"replaced by {', '.join(successors)}" if successors else "obsolete"


def _optional(archive: Archive, path: str) -> dict[str, Any]:
    """Return a list that makes listing quicker or findings clearer but that pairs can be listed without."""
    try:
        return _read_object(archive, path)
    except (FileMissingError, HoldingsError):
        return {}


def _read_object(archive: Archive, path: str) -> dict[str, Any]:
    name = path.rpartition("/")[2]
    try:
        content = json.loads(read_packed(archive.fetch(path, max_bytes=MAX_HOLDINGS_BYTES), MAX_HOLDINGS_BYTES))
    except (ModelError, FileDamagedError, ValueError, RecursionError) as fault:
        message = f"The holdings file {name} is damaged: {fault}"
        raise HoldingsError("holdings_damaged", message, "Fetch it again; without it the pairs aren't known.") from fault
    if not isinstance(content, dict):
        message = f"The holdings file {name} is a JSON {type(content).__name__}, not an object with one key per entry."
        raise HoldingsError("holdings_damaged", message, "Fetch it again.")
    return content
