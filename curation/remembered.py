"""Links between models and maps that an earlier listing read, so that unchanged files need not be opened again.

Both archives publish when each entry changed last. What an entry's file said is remembered with that date and holds until
the date changes. Another archive has another memory: two mirrors may hold different files of one date.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from curation.identifiers import normalise_emdb_id, normalise_pdb_id
from refinement.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MEMORY_FILE = "model_links.json"
HEADER_MEMORY_FILE = "header_links.json"
SCHEMA = 2


class RememberedLinks:
    """The associated maps of models, or the models of maps, by the date of the entry's last change.

    Parameters
    ----------
    folder : Path or None
        Where the memory is kept; None remembers nothing.
    dates : Mapping[str, str]
        Date of the last change by id; entries without one aren't remembered.
    archive : str
        Address of the archive; what another one stated is forgotten.
    file : str
        `MEMORY_FILE` for what models state, `HEADER_MEMORY_FILE` for what headers of maps state.
    """

    def __init__(self, folder: Path | None, dates: Mapping[str, str], archive: str, file: str = MEMORY_FILE) -> None:
        self._path = folder / file if folder is not None and dates else None
        self._dates = dates
        self._archive = archive
        self._links = _load(self._path, archive) if self._path else {}

    def get(self, entry: str) -> tuple[str, ...] | None:
        """Return the ids of the other archive that an unchanged entry stated; None if it has to be read."""
        known = self._links.get(entry)
        return known[1] if known is not None and known[0] == self._dates.get(entry) else None

    def put(self, entry: str, linked: tuple[str, ...]) -> None:
        """Remember what an entry that could be read stated."""
        if self._path is not None and self._dates.get(entry):
            self._links[entry] = (self._dates[entry], linked)

    def save(self) -> None:
        """Write the memory; it is replaced as a whole."""
        if self._path is None:
            return
        links = {key: [date, *ids] for key, (date, ids) in sorted(self._links.items())}
        content = {"schema": SCHEMA, "archive": self._archive, "links": links}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f".{self._path.name}.partial")
        draft.write_text(json.dumps(content), encoding="utf-8")
        draft.replace(self._path)


def _load(path: Path, archive: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Read the memory; a damaged one counts as empty, since everything in it can be read again."""
    forms = (normalise_pdb_id, normalise_emdb_id)
    key_form, linked_form = forms if path.name == MEMORY_FILE else forms[::-1]
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if (content["schema"], content["archive"]) != (SCHEMA, archive):
            return {}
        return {
            key_form(key): (str(date), tuple(linked_form(name) for name in names))
            for key, (date, *names) in content["links"].items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, InputError):
        return {}
