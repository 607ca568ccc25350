"""Which pairs of a model and a map exist: from both archives' holdings and from what their files say of each other."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from curation.archive import EMDB_HOLDINGS, PDB_DATES, PDB_HOLDINGS, header_path, model_path
from curation.download import FileDamagedError, FileMissingError
from curation.emdb_header import MAX_HEADER_BYTES, HeaderError, read_header
from curation.identifiers import Declarer, Pair, normalise_emdb_id, normalise_pdb_id
from curation.metadata import associated_maps, parse_document, read_packed
from curation.remembered import RememberedLinks
from refinement.errors import InputError, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import gemmi

    from curation.archive import Archive

    Progress = Callable[[str, int, int], None]

__all__ = ["HoldingsError", "Pair", "list_pairs", "read_emdb_holdings", "read_pdb_holdings"]

MAX_HOLDINGS_BYTES = 1 << 30
"""Largest unpacked holdings file; that of the PDB has some 100 MB."""
MAX_MODEL_BYTES = 4 << 30
OTHER_METHODS = ("structure_factors", "nmr")
"""Content types that only crystal and NMR entries have; such entries need not be opened."""
READERS = 8
"""Files that are fetched at the same time from a server."""


class HoldingsError(InputError):
    """A holdings file can't be used."""


@dataclass(slots=True)
class _Links:
    """Which models each map is said to have, and by whom."""

    declared: dict[tuple[str, str], set[Declarer]] = field(default_factory=dict)

    def add(self, emdb_id: str, pdb_id: str, declarer: Declarer) -> None:
        self.declared.setdefault((emdb_id, pdb_id), set()).add(declarer)


def list_pairs(archive: Archive, *, progress: Progress | None = None) -> list[Pair]:
    """List every pair that either archive declares, and every map without a released model.

    A pair is declared by the ``pdb_reference`` of the EMDB header or by an associated EM volume of the mmCIF
    file; either suffices, so that a broken file on one side does not lose the pair. Both must be released.

    Parameters
    ----------
    archive : Archive
        The archives.
    progress : callable, optional
        Called with what is being read, how many files are done and how many there are.

    Returns
    -------
    list[Pair]
        Sorted by EMDB id, then PDB id.

    Raises
    ------
    HoldingsError
        If a holdings file is damaged.
    FileMissingError, ArchiveError
        If a holdings file isn't there or the archive can't be reached.
    """
    released = read_pdb_holdings(archive)
    maps = read_emdb_holdings(archive)
    links = _Links()
    for emdb_id, models in _mapped(lambda key: _header_links(archive, key), maps, "map headers", archive, progress):
        for pdb_id in models:
            links.add(emdb_id, pdb_id, Declarer.EMDB)
    candidates = [pdb_id for pdb_id, kinds in released.items() if not _other_method(kinds)]
    memory = RememberedLinks(archive.cache, _dates(archive) if archive.cache else {}, str(archive))
    for pdb_id, volumes in _mapped(lambda key: _model_links(archive, key, memory), candidates, "models", archive, progress):
        for emdb_id in volumes:
            links.add(emdb_id, pdb_id, Declarer.PDB)
    memory.save()
    return _pairs(links, set(released), maps)


def read_pdb_holdings(archive: Archive) -> dict[str, tuple[str, ...]]:
    """Return the released PDB ids that have an mmCIF file, with their content types.

    Raises
    ------
    HoldingsError
        ``holdings_damaged``.
    """
    released: dict[str, tuple[str, ...]] = {}
    for key, kinds in _read_object(archive, PDB_HOLDINGS).items():
        names = tuple(str(kind).lower() for kind in kinds) if isinstance(kinds, dict) else ()
        if names and "mmcif" not in names:
            continue
        try:
            released[normalise_pdb_id(key)] = names
        except InputError:
            continue
    return released


def read_emdb_holdings(archive: Archive) -> list[str]:
    """Return the released EMDB ids.

    Raises
    ------
    HoldingsError
        ``holdings_damaged``.
    """
    released: dict[str, None] = {}
    for key in _read_object(archive, EMDB_HOLDINGS):
        try:
            released[normalise_emdb_id(key)] = None
        except InputError:
            continue
    return list(released)


def _dates(archive: Archive) -> dict[str, str]:
    """Return when each PDB entry changed last; empty if the archive doesn't say."""
    dates: dict[str, str] = {}
    try:
        stated = _read_object(archive, PDB_DATES)
    except (FileMissingError, HoldingsError):
        return {}
    for key, date in stated.items():
        try:
            dates[normalise_pdb_id(key)] = str(date)
        except InputError:
            continue
    return dates


def _pairs(links: _Links, released: set[str], maps: Iterable[str]) -> list[Pair]:
    models_of: dict[str, dict[str, set[Declarer]]] = {emdb_id: {} for emdb_id in maps}
    for (emdb_id, pdb_id), declarers in links.declared.items():
        if emdb_id in models_of:
            models_of[emdb_id][pdb_id] = declarers
    pairs: list[Pair] = []
    for emdb_id, models in models_of.items():
        unreleased = tuple(sorted(set(models) - released))
        there = [
            Pair(emdb_id, pdb_id, tuple(sorted(declarers)), unreleased)
            for pdb_id, declarers in models.items()
            if pdb_id in released
        ]
        pairs += there or [Pair(emdb_id, unreleased=unreleased)]
    return sorted(pairs, key=lambda pair: (pair.emdb_id, pair.pdb_id or ""))


def _header_links(archive: Archive, emdb_id: str) -> tuple[str, ...]:
    try:
        return read_header(archive.fetch(header_path(emdb_id), max_bytes=MAX_HEADER_BYTES)).pdb_ids
    except (HeaderError, FileMissingError, FileDamagedError):
        # Curation reports the broken header; the model's own file may still declare the pair.
        return ()


def _model_links(archive: Archive, pdb_id: str, memory: RememberedLinks) -> tuple[str, ...]:
    known = memory.get(pdb_id)
    if known is not None:
        return known
    try:
        data = read_packed(archive.fetch(model_path(pdb_id), max_bytes=MAX_MODEL_BYTES))
        # Most entries aren't from electron microscopy and never name the EMDB; they need not be parsed.
        document: Iterable[gemmi.cif.Block] = parse_document(data) if b"EMDB" in data else ()
    except (ModelError, FileMissingError, FileDamagedError, ValueError, RuntimeError):
        # Curation reports the broken model; the map's header may still declare the pair.
        return ()
    found = tuple(dict.fromkeys(emdb_id for block in document for emdb_id in associated_maps(block)))
    memory.put(pdb_id, found)
    return found


def _mapped(
    read: Callable[[str], tuple[str, ...]], keys: list[str], what: str, archive: Archive, progress: Progress | None
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Read one file per key, several at a time from a server."""
    with ThreadPoolExecutor(1 if archive.is_local else READERS) as pool:
        for done, (key, found) in enumerate(zip(keys, pool.map(read, keys), strict=True), start=1):
            yield key, found
            if progress is not None:
                progress(what, done, len(keys))


def _other_method(kinds: Iterable[str]) -> bool:
    return any(kind.startswith(OTHER_METHODS) or "nmr" in kind for kind in kinds)


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
