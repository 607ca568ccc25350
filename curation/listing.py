"""A dated list of all pairs, and what is new, revised or gone since the one before."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from curation.identifiers import Declarer, Pair
from refinement.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = 1
LISTING_FILE = "listing.json"


@dataclass(frozen=True, slots=True)
class Inventory:
    """One holdings file: its path in the archive, SHA-256 checksum, usable entries, and the newest date in it."""

    path: str
    sha256: str
    entries: int
    newest: str


@dataclass(frozen=True, slots=True)
class Listing:
    """All pairs of an archive at one time.

    Attributes
    ----------
    archive : str
        Address of the archive.
    inventories : tuple[Inventory, ...]
        The holdings files that the list was made from.
    pairs : tuple[Pair, ...]
        Every pair, and every map without a released model.
    dates : dict[str, tuple[str, str]]
        Dates of the last change of map and model by the key of the pair, "" where an archive doesn't say.
    maps_not_released : tuple[tuple[str, str], ...]
        Released models and the map they name, where that isn't released.
    models : frozenset[str]
        All released models; empty in a list that was read from a file.
    """

    archive: str
    inventories: tuple[Inventory, ...]
    pairs: tuple[Pair, ...]
    dates: dict[str, tuple[str, str]]
    maps_not_released: tuple[tuple[str, str], ...] = ()
    models: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    @property
    def one_sided(self) -> tuple[Pair, ...]:
        """Pairs that only one archive declares."""
        return tuple(pair for pair in self.pairs if len(pair.declared_by) == 1)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "schema": SCHEMA,
            "archive": self.archive,
            "inventories": [[i.path, i.sha256, i.entries, i.newest] for i in self.inventories],
            "pairs": [
                [
                    pair.emdb_id,
                    pair.pdb_id,
                    [str(side) for side in pair.declared_by],
                    list(pair.unreleased),
                    list(pair.fates),
                    list(self.dates.get(pair.key, ("", ""))),
                ]
                for pair in self.pairs
            ],
            "maps_not_released": [list(row) for row in self.maps_not_released],
        }


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between two lists, by the key of the pair.

    Attributes
    ----------
    new : tuple[str, ...]
        Pairs, and maps without a model, that the earlier list hadn't.
    revised : dict[str, str]
        Those of which a file changed, and which side it was.
    gone : dict[str, str]
        Those that the later list hasn't, and why.
    """

    new: tuple[str, ...]
    revised: dict[str, str]
    gone: dict[str, str]


def compare_listings(before: Listing, after: Listing) -> Changes:
    """Return what is new, revised or gone.

    Parameters
    ----------
    before, after : Listing
        The earlier and the later list; the later one as `curation.holdings.take_listing` made it.
    """
    earlier = {pair.key: pair for pair in before.pairs}
    later = {pair.key: pair for pair in after.pairs}
    revised: dict[str, str] = {}
    for key in later.keys() & earlier.keys():
        old, new = before.dates.get(key, ("", "")), after.dates.get(key, ("", ""))
        sides = [side for side, a, b in zip(("map", "model"), old, new, strict=True) if a != b]
        if sides:
            revised[key] = " and ".join(sides)
    fates = {name: fate for pair in after.pairs for name, fate in zip(pair.unreleased, pair.fates, strict=False)}
    maps = {pair.emdb_id: pair for pair in after.pairs}
    return Changes(
        new=tuple(sorted(later.keys() - earlier.keys())),
        revised=dict(sorted(revised.items())),
        gone={key: _why_gone(earlier[key], maps, after.models, fates) for key in sorted(earlier.keys() - later.keys())},
    )


def _why_gone(pair: Pair, maps: dict[str, Pair], models: frozenset[str], fates: dict[str, str]) -> str:
    if pair.emdb_id not in maps:
        return f"{pair.emdb_id} is no longer released"
    if pair.pdb_id is None:
        return f"{pair.emdb_id} has a model now"
    if pair.pdb_id not in models:
        fate = fates.get(pair.pdb_id, "")
        return f"{pair.pdb_id} is no longer released" + (f" ({fate})" if fate else "")
    return f"neither file says any longer that {pair.pdb_id} belongs to {pair.emdb_id}"


def save_listing(listing: Listing, path: Path) -> None:
    """Write a list; it is replaced as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.partial")
    draft.write_text(json.dumps(listing.as_dict()), encoding="utf-8")
    draft.replace(path)


def load_listing(path: Path, archive: str) -> Listing | None:
    """Read a list; None if there is none, it is damaged, or it is of another archive."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if (content["schema"], content["archive"]) != (SCHEMA, archive):
            return None
        pairs: list[Pair] = []
        dates: dict[str, tuple[str, str]] = {}
        for emdb_id, pdb_id, sides, unreleased, fates, (map_date, model_date) in content["pairs"]:
            pairs.append(Pair(emdb_id, pdb_id, tuple(map(Declarer, sides)), tuple(unreleased), tuple(fates)))
            dates[pairs[-1].key] = (map_date, model_date)
        inventories = tuple(Inventory(*row) for row in content["inventories"])
        not_released = tuple((pdb_id, emdb_id) for pdb_id, emdb_id in content["maps_not_released"])
        return Listing(archive, inventories, tuple(pairs), dates, not_released)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, InputError):
        return None
