"""Names of entries: PDB ids, EMDB ids, pairs of them, and what people type into a search box.

Identifiers are strings of any length. A PDB id is kept in lower case, in its four-character form where it has one
(``pdb_00006udk`` is ``6udk``). An EMDB id is ``EMD-`` and its number, written with at least four digits as the
archive does (``EMD-0093``).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from refinement.errors import InputError

_PDB = r"(?:pdb_0000(?P<long>[1-9][a-z0-9]{3})|(?P<extended>pdb_(?!0000)[0-9][a-z0-9]{7})|(?P<short>[1-9][a-z0-9]{3}))"
_EMDB_PREFIX = r"emdb?[-_ ]?"
_EMDB_NUMBER = r"(?P<number>[0-9]{1,8})"
PDB_PATTERN = re.compile(_PDB)
EMDB_PATTERN = re.compile(rf"(?P<prefix>{_EMDB_PREFIX})?{_EMDB_NUMBER}")
_DIVIDER = r"\s*[-_/:,;+\[( \t]\s*"
PAIR_PATTERN = re.compile(rf"{_PDB}{_DIVIDER}(?:{_EMDB_PREFIX})?{_EMDB_NUMBER}[\])]?")
TURNED_PATTERN = re.compile(rf"{_EMDB_PREFIX}{_EMDB_NUMBER}{_DIVIDER}{_PDB}[\])]?")
"""The map named first; its prefix is needed, because four digits could also be a model."""
MAX_QUERY = 200
"""Longest text of a search box that is looked at."""


class Declarer(StrEnum):
    """Who says that a model belongs to a map."""

    EMDB = "emdb"
    PDB = "pdb"


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """A model and the map it was built into; a map without a released model has ``pdb_id`` None.

    Attributes
    ----------
    emdb_id : str
        Normalised EMDB id, ``EMD-20740``.
    pdb_id : str or None
        Normalised PDB id, ``6udk``.
    declared_by : tuple[Declarer, ...]
        Which archive's file states the link: the EMDB header, the mmCIF file, or both.
    unreleased : tuple[str, ...]
        PDB ids that the EMDB header names although no model of that id is released.
    fates : tuple[str, ...]
        What became of each of them, ``replaced by 9zab``; "" where the PDB doesn't say. Empty if nobody asked.
    """

    emdb_id: str
    pdb_id: str | None = None
    declared_by: tuple[Declarer, ...] = ()
    unreleased: tuple[str, ...] = ()
    fates: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """``6udk_20740``; ``EMD-44046`` where there is no model."""
        return pair_key(self.pdb_id, self.emdb_id) if self.pdb_id else self.emdb_id


@dataclass(frozen=True, slots=True)
class PdbQuery:
    """Somebody looks for a model."""

    pdb_id: str


@dataclass(frozen=True, slots=True)
class EmdbQuery:
    """Somebody looks for a map."""

    emdb_id: str


@dataclass(frozen=True, slots=True)
class PairQuery:
    """Somebody looks for one model in one map."""

    pdb_id: str
    emdb_id: str

    @property
    def key(self) -> str:
        """Key of the pair, ``6udk_20740``."""
        return pair_key(self.pdb_id, self.emdb_id)


Query = PdbQuery | EmdbQuery | PairQuery


def normalise_pdb_id(text: str) -> str:
    """Return a PDB id in lower case, four characters where it has such a form.

    Raises
    ------
    InputError
        ``pdb_id_invalid``.
    """
    match = PDB_PATTERN.fullmatch(_plain(text))
    if match is None:
        message = f"{_shown(text)} is not a PDB id."
        raise InputError("pdb_id_invalid", message, "PDB ids look like 6udk or pdb_00006udk.")
    return _pdb_id(match)


def normalise_emdb_id(text: str) -> str:
    """Return an EMDB id as ``EMD-`` and at least four digits.

    Raises
    ------
    InputError
        ``emdb_id_invalid``.
    """
    match = EMDB_PATTERN.fullmatch(_plain(text))
    if match is None or not int(match["number"]):
        message = f"{_shown(text)} is not an EMDB id."
        raise InputError("emdb_id_invalid", message, "EMDB ids look like EMD-20740 or 20740.")
    return _emdb_id(match["number"])


def emdb_number(emdb_id: str) -> str:
    """Return the digits of a normalised EMDB id, leading zeros included: ``0093``."""
    return emdb_id.removeprefix("EMD-")


def pair_key(pdb_id: str, emdb_id: str) -> str:
    """Return the key of a pair, ``6udk_20740``, from normalised ids."""
    return f"{pdb_id}_{emdb_number(emdb_id)}"


def parse_pair(text: str) -> Pair:
    """Read a pair such as ``6udk_20740``, ``6udk-20740``, ``6udk_EMD-20740`` or ``6hug[0275]``.

    Raises
    ------
    InputError
        ``pair_invalid``.
    """
    match = _pair_match(_plain(text))
    if match is None:
        message = f"{_shown(text)} is not a pair of a PDB id and an EMDB id."
        raise InputError("pair_invalid", message, "Pairs look like 6udk_20740.")
    return Pair(emdb_id=_emdb_id(match["number"]), pdb_id=_pdb_id(match))


def parse_query(text: str) -> list[Query]:
    """Read what somebody typed into the search box.

    A pair, a PDB id or an EMDB id is recognised in any usual spelling. Four bare digits may be either, and both
    readings are returned, the EMDB id first. Several ids divided by blanks or commas give one result each.
    Text that holds no id gives an empty list.
    """
    text = _plain(text)[:MAX_QUERY]
    whole = _pair_or_single(text)
    if whole:
        return whole
    found: list[Query] = []
    for word in re.split(r"[\s,;]+", text):
        found += _pair_or_single(word)
    return list(dict.fromkeys(found))


def _pair_match(text: str) -> re.Match[str] | None:
    match = PAIR_PATTERN.fullmatch(text) or TURNED_PATTERN.fullmatch(text)
    return match if match is not None and int(match["number"]) else None


def _pair_or_single(word: str) -> list[Query]:
    match = _pair_match(word)
    if match is not None:
        return [PairQuery(_pdb_id(match), _emdb_id(match["number"]))]
    return _single(word)


def _single(text: str) -> list[Query]:
    found: list[Query] = []
    match = EMDB_PATTERN.fullmatch(text)
    if match is not None and int(match["number"]):
        found.append(EmdbQuery(_emdb_id(match["number"])))
    match = PDB_PATTERN.fullmatch(text)
    if match is not None:
        found.append(PdbQuery(_pdb_id(match)))
    return found


def _pdb_id(match: re.Match[str]) -> str:
    return str(match["long"] or match["extended"] or match["short"])


def _emdb_id(number: str) -> str:
    return f"EMD-{number.lstrip('0').zfill(4)}"


def _plain(text: str) -> str:
    """Fold full-width letters, typographic dashes and case; nothing outside ASCII can then match."""
    text = unicodedata.normalize("NFKC", text[: 4 * MAX_QUERY])
    return re.sub(r"[\u2010-\u2015\u2212]", "-", text).strip().lower()


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
