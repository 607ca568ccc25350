"""The archives' search services as a second source of pairs: what they know that the lists don't, and the reverse.

Searches aren't used to enumerate: their indexes have been seen to miss entries and to give pages without end. They are
asked politely, one page after the other, and a page that brings nothing new is the last.
"""

from __future__ import annotations

import csv
import io
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from curation.download import ArchiveError
from curation.identifiers import normalise_emdb_id, normalise_pdb_id
from refinement.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from curation.listing import Listing

EMDB_SEARCH = "https://www.ebi.ac.uk/emdb/api/search"
RCSB_SEARCH = "https://search.rcsb.org/rcsbsearch/v2/query"
RCSB_DATA = "https://data.rcsb.org/graphql"
EMDB_QUERY = 'current_status:"REL" AND xref_links:"pdb"'
RCSB_QUERY: dict[str, Any] = {
    "query": {
        "type": "group",
        "logical_operator": "and",
        "nodes": [
            {
                "type": "terminal",
                "service": "text",
                "parameters": {"attribute": "exptl.method", "operator": "exact_match", "value": "ELECTRON MICROSCOPY"},
            },
            {
                "type": "terminal",
                "service": "text",
                "parameters": {"attribute": "rcsb_entry_container_identifiers.emdb_ids", "operator": "exists"},
            },
        ],
    },
    "return_type": "entry",
    "request_options": {"return_all_hits": True},
}
ENTRIES = "query ($ids: [String!]!) { entries(entry_ids: $ids) { rcsb_id rcsb_entry_container_identifiers { emdb_ids } } }"
ROWS = 1000
"""Entries of one page of the EMDB's search."""
MOST_PAGES = 500
BATCH = 300
"""Entries of one question to the RCSB."""
PAUSE = 0.5
"""Seconds between two questions."""
TIMEOUT = 60.0

Keys = set[tuple[str, str]]
"""Pairs as (PDB id, EMDB id)."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """What a search and the list don't both have.

    Attributes
    ----------
    found : int
        Pairs that the search knows.
    only_found : tuple[str, ...]
        Keys of the pairs that the list hasn't.
    only_listed : tuple[str, ...]
        Keys of the pairs of the list that the search hasn't.
    """

    found: int
    only_found: tuple[str, ...]
    only_listed: tuple[str, ...]


def search_emdb(client: httpx.Client, *, address: str = EMDB_SEARCH, pause: float = PAUSE) -> Keys:
    """Return the pairs of the EMDB's search: released maps with the models fitted into them.

    Raises
    ------
    ArchiveError
        If the service can't be reached or answers something else.
    """
    found: Keys = set()
    for page in range(1, MOST_PAGES + 1):
        wanted = {"rows": ROWS, "page": page, "wt": "csv", "fl": "emdb_id,fitted_pdbs"}
        answer = _ask(client, "GET", f"{address}/{EMDB_QUERY}", params=wanted)
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        if rows and "emdb_id" not in rows[0]:
            raise _odd(address)
        new = set(_keys((re.split(r"[,;\s]+", row.get("fitted_pdbs") or ""), [row["emdb_id"] or ""]) for row in rows)) - found
        found |= new
        if len(rows) < ROWS or not new:
            break
        time.sleep(pause)
    return found


def search_rcsb(client: httpx.Client, *, search: str = RCSB_SEARCH, data: str = RCSB_DATA, pause: float = PAUSE) -> Keys:
    """Return the pairs of the RCSB's search: models from electron microscopy with the maps they were built into.

    Raises
    ------
    ArchiveError
        If the service can't be reached or answers something else.
    """
    answer = _ask(client, "POST", search, json=RCSB_QUERY)
    if answer.status_code == httpx.codes.NO_CONTENT:
        return set()
    found: Keys = set()
    try:
        names = [str(hit["identifier"]) for hit in answer.json()["result_set"]]
        for first in range(0, len(names), BATCH):
            batch = {"query": ENTRIES, "variables": {"ids": names[first : first + BATCH]}}
            entries = _ask(client, "POST", data, json=batch).json()["data"]["entries"]
            links = ((entry["rcsb_id"], entry["rcsb_entry_container_identifiers"]["emdb_ids"] or ()) for entry in entries)
            found |= set(_keys(([str(pdb_id)], map(str, emdb_ids)) for pdb_id, emdb_ids in links))
            time.sleep(pause)
    except (KeyError, TypeError, ValueError) as fault:
        raise _odd(search) from fault
    return found


def compare_with_search(listing: Listing, found: Collection[tuple[str, str]]) -> Disagreement:
    """Return which pairs a search and a list don't both have."""
    listed = {(pair.pdb_id, pair.emdb_id): pair.key for pair in listing.pairs if pair.pdb_id is not None}
    only_found = (f"{pdb_id}_{emdb_id.removeprefix('EMD-')}" for pdb_id, emdb_id in set(found) - listed.keys())
    only_listed = (listed[key] for key in listed.keys() - set(found))
    return Disagreement(len(found), tuple(sorted(only_found)), tuple(sorted(only_listed)))


def _keys(rows: Iterable[tuple[Iterable[str], Iterable[str]]]) -> Iterator[tuple[str, str]]:
    """Return all pairs of the models and maps of each row; what isn't an id is passed over."""
    for models, maps in rows:
        emdb_ids = list(maps)
        for model in filter(None, models):
            for emdb_id in emdb_ids:
                try:
                    yield normalise_pdb_id(model), normalise_emdb_id(emdb_id)
                except InputError:
                    continue


def _ask(client: httpx.Client, method: str, address: str, **parts: Any) -> httpx.Response:
    try:
        answer = client.request(method, address, timeout=TIMEOUT, **parts)
    except httpx.HTTPError as fault:
        message = f"The search at {httpx.URL(address).host} can't be reached: {fault or type(fault).__name__}."
        raise ArchiveError("search_unreachable", message, "Check the connection; the list of pairs doesn't need it.") from fault
    if not answer.is_success:
        message = f"The search at {httpx.URL(address).host} answers {answer.status_code}."
        raise ArchiveError("search_refuses", message, "Ask again later; the list of pairs doesn't need it.")
    return answer


def _odd(address: str) -> ArchiveError:
    message = f"The search at {httpx.URL(address).host} answers in a form that isn't known."
    return ArchiveError("search_odd", message, "The service may have changed; the list of pairs doesn't need it.")
