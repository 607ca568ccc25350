"""Which pairs of a model and a map exist: from both archives' holdings and from what their files say of each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from curation.archive import EMDB_HOLDINGS, PDB_HOLDINGS, header_path, model_path
from curation.download import FileDamagedError, FileMissingError
from curation.emdb_header import MAX_HEADER_BYTES, HeaderError, read_header
from curation.identifiers import Declarer, Pair
from curation.inventories import (
    HoldingsError,
    is_other_method,
    read_emdb_holdings,
    read_fates,
    read_pdb_dates,
    read_pdb_holdings,
)
from curation.listing import Inventory, Listing
from curation.metadata import MAX_MODEL_BYTES, associated_maps, parse_document, read_packed
from curation.remembered import HEADER_MEMORY_FILE, RememberedLinks
from refinement.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import gemmi

    from curation.archive import Archive

    Progress = Callable[[str, int, int], None]
    Reader = Callable[[Archive, str], tuple[str, ...] | None]

__all__ = ["HoldingsError", "Pair", "list_pairs", "read_emdb_holdings", "read_pdb_holdings", "take_listing"]

READERS = 8
"""Files that are fetched at the same time from a server."""


@dataclass(slots=True)
class _Links:
    """Which models each map is said to have, and by whom."""

    declared: dict[tuple[str, str], set[Declarer]] = field(default_factory=dict)

    def add(self, emdb_id: str, pdb_id: str, declarer: Declarer) -> None:
        self.declared.setdefault((emdb_id, pdb_id), set()).add(declarer)


def list_pairs(archive: Archive, *, progress: Progress | None = None) -> list[Pair]:
    """List every pair that either archive declares, and every map without a released model; see `take_listing`."""
    return list(take_listing(archive, progress=progress).pairs)


def take_listing(archive: Archive, *, progress: Progress | None = None) -> Listing:
    """List every pair that either archive declares, and every map without a released model, with dates.

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
    Listing
        Pairs sorted by EMDB id, then PDB id.

    Raises
    ------
    HoldingsError
        If a holdings file is damaged.
    FileMissingError, ArchiveError
        If a holdings file isn't there or the archive can't be reached.
    """
    released, dates = read_pdb_holdings(archive), read_pdb_dates(archive)
    maps = read_emdb_holdings(archive)
    links = _Links()
    memory = RememberedLinks(archive.cache, maps if archive.cache else {}, str(archive), HEADER_MEMORY_FILE)
    for emdb_id, models in _read_links(_header_links, list(maps), "map headers", archive, memory, progress):
        for pdb_id in models:
            links.add(emdb_id, pdb_id, Declarer.EMDB)
    candidates = [pdb_id for pdb_id, kinds in released.items() if not is_other_method(kinds)]
    memory = RememberedLinks(archive.cache, dates if archive.cache else {}, str(archive))
    for pdb_id, volumes in _read_links(_model_links, candidates, "models", archive, memory, progress):
        for emdb_id in volumes:
            links.add(emdb_id, pdb_id, Declarer.PDB)
    pairs = _pairs(archive, links, released, maps)
    return Listing(
        archive=str(archive),
        inventories=(_inventory(archive, PDB_HOLDINGS, released, dates), _inventory(archive, EMDB_HOLDINGS, maps, maps)),
        pairs=tuple(pairs),
        dates={pair.key: (maps[pair.emdb_id], dates.get(pair.pdb_id or "", "")) for pair in pairs},
        maps_not_released=_not_released(links, released, maps),
        models=frozenset(released),
    )


def _pairs(archive: Archive, links: _Links, released: Iterable[str], maps: Iterable[str]) -> list[Pair]:
    there = set(released)
    models_of: dict[str, dict[str, set[Declarer]]] = {emdb_id: {} for emdb_id in maps}
    for (emdb_id, pdb_id), declarers in links.declared.items():
        if emdb_id in models_of:
            models_of[emdb_id][pdb_id] = declarers
    fates = read_fates(archive, {pdb_id for models in models_of.values() for pdb_id in models} - there)
    pairs: list[Pair] = []
    for emdb_id, models in models_of.items():
        unreleased = tuple(sorted(set(models) - there))
        known = tuple(fates.get(pdb_id, "") for pdb_id in unreleased)
        found = [
            Pair(emdb_id, pdb_id, tuple(sorted(declarers)), unreleased, known)
            for pdb_id, declarers in models.items()
            if pdb_id in there
        ]
        pairs += found or [Pair(emdb_id, unreleased=unreleased, fates=known)]
    return sorted(pairs, key=lambda pair: (pair.emdb_id, pair.pdb_id or ""))


def _not_released(links: _Links, released: Iterable[str], maps: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return released models with a map that isn't."""
    there, models = set(maps), set(released)
    return tuple(sorted((pdb_id, emdb_id) for emdb_id, pdb_id in links.declared if emdb_id not in there and pdb_id in models))


def _inventory(archive: Archive, path: str, entries: Iterable[str], dates: dict[str, str]) -> Inventory:
    return Inventory(path, archive.revision(path), len(list(entries)), max(dates.values(), default=""))


def _header_links(archive: Archive, emdb_id: str) -> tuple[str, ...] | None:
    try:
        return read_header(archive.fetch(header_path(emdb_id), max_bytes=MAX_HEADER_BYTES)).pdb_ids
    except (HeaderError, FileMissingError, FileDamagedError):
        # Curation reports the broken header; the model's own file may still declare the pair.
        return None


def _model_links(archive: Archive, pdb_id: str) -> tuple[str, ...] | None:
    try:
        data = read_packed(archive.fetch(model_path(pdb_id), max_bytes=MAX_MODEL_BYTES))
        # Most entries aren't from electron microscopy and never name the EMDB; they need not be parsed.
        document: Iterable[gemmi.cif.Block] = parse_document(data) if b"EMDB" in data else ()
    except (ModelError, FileMissingError, FileDamagedError, ValueError, RuntimeError):
        # Curation reports the broken model; the map's header may still declare the pair.
        return None
    return tuple(dict.fromkeys(emdb_id for block in document for emdb_id in associated_maps(block)))


def _read_links(
    read: Reader, entries: list[str], what: str, archive: Archive, memory: RememberedLinks, progress: Progress | None
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield what every entry's file states, from memory where it hasn't changed; several files at a time from a server."""

    def links(entry: str) -> tuple[str, ...]:
        known = memory.get(entry)
        if known is not None:
            return known
        found = read(archive, entry)
        if found is None:
            return ()
        memory.put(entry, found)
        return found

    with ThreadPoolExecutor(READERS) as pool:
        answers = map(links, entries) if archive.is_local else pool.map(links, entries)
        for done, (entry, found) in enumerate(zip(entries, answers, strict=True), start=1):
            yield entry, found
            if progress is not None:
                progress(what, done, len(entries))
    memory.save()
