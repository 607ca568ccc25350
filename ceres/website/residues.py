"""Per-residue data of a result, read from its Parquet file: the track, and the residues to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from django.core.files.storage import storages

from ceres.website import formats

if TYPE_CHECKING:
    from ceres.models import Artifact

IDENTITY = ("state", "chain", "number", "insertion_code", "compound")
WATERS = ("HOH", "DOD")
LABELS: dict[str, str] = {"cc": "CC", "q_score": "Q-score", "b_iso": "B factor", "atom_inclusion": "Atom inclusion"}
"""Names of the columns that can be drawn along the chain, the most asked for first."""

MOST_OUTLIERS = 60
FLAG_VALUE = "outlier"


@dataclass(frozen=True, slots=True)
class Outlier:
    """A residue that is worth a look, with its flags before and after."""

    chain: str
    number: str
    compound: str
    initial: list[str]
    refined: list[str]

    @property
    def anchor(self) -> str:
        """The fragment of the page's address that selects the residue."""
        return f"{self.chain}/{self.number}"


class ResidueTable:
    """The rows of residues.parquet without waters."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table.filter(pc.invert(pc.is_in(table["compound"].cast(pa.string()), pa.array(WATERS))))

    @classmethod
    def open(cls, artifact: Artifact, chain: str | None = None) -> ResidueTable:
        """Read an artifact, all of it or one chain.

        Raises
        ------
        FileNotFoundError
            If the file isn't in the artifact storage.
        """
        with storages["artifacts"].open(artifact.storage_key) as file:
            return cls.read(file, chain)

    @classmethod
    def read(cls, file: BinaryIO, chain: str | None = None) -> ResidueTable:
        """Read an open Parquet file."""
        return cls(pq.read_table(file, filters=None if chain is None else [("chain", "=", chain)]))

    @property
    def series(self) -> dict[str, str]:
        """Columns that can be drawn and their names."""
        numeric = [field.name for field in self._table.schema if pa.types.is_floating(field.type) and field.name not in IDENTITY]
        known = [name for name in LABELS if name in numeric]
        return {name: LABELS.get(name, formats.spelled(name)) for name in [*known, *(n for n in numeric if n not in LABELS)]}

    @property
    def flags(self) -> dict[str, str]:
        """Columns that mark outliers and their names."""
        return {
            field.name: formats.spelled(field.name).removesuffix(" outlier") for field in self._table.schema if _is_flag(field)
        }

    def chains(self) -> list[dict[str, Any]]:
        """Chains in their order, each with its count of residues in the deposited model (or the refined one)."""
        counts: dict[str, dict[str, int]] = {}
        for state, chain in zip(*(self._table[name].to_pylist() for name in ("state", "chain")), strict=True):
            row = counts.setdefault(chain, {})
            row[state] = row.get(state, 0) + 1
        return [{"name": name, "residues": max(row.values())} for name, row in counts.items()]

    def chain(self) -> dict[str, Any]:
        """Return the residues of the table with both states side by side, for the track."""
        series, flags = list(self.series), list(self.flags)
        places: dict[tuple[int, str, str], int] = {}
        rows = self._table.to_pylist()
        for row in rows:
            places.setdefault((row["number"], row["insertion_code"] or "", row["compound"]), len(places))
        values: dict[str, dict[str, list[float | None]]] = {
            name: {"initial": [None] * len(places), "refined": [None] * len(places)} for name in series
        }
        marked: dict[str, list[list[str]]] = {state: [[] for _ in places] for state in ("initial", "refined")}
        for row in rows:
            index = places[row["number"], row["insertion_code"] or "", row["compound"]]
            for name in series:
                values[name][row["state"]][index] = _rounded(row[name])
            marked[row["state"]][index] = [name for name in flags if _flagged(row[name])]
        return {
            "number": [f"{number}{insertion}" for number, insertion, _ in places],
            "compound": [compound for _, _, compound in places],
            "values": values,
            "flags": marked,
        }

    def outliers(self, most: int = MOST_OUTLIERS) -> tuple[list[Outlier], int]:
        """Return the flagged residues, those with most flags after refinement first, and how many there are."""
        flags = self.flags
        if not flags:
            return [], 0
        kept = self._table.select([*IDENTITY, *flags]).filter(_any_flag(self._table, list(flags)))
        found: dict[tuple[str, str, str], dict[str, list[str]]] = {}
        for row in kept.to_pylist():
            place = (row["chain"], f"{row['number']}{row['insertion_code'] or ''}", row["compound"])
            names = [label for name, label in flags.items() if _flagged(row[name])]
            found.setdefault(place, {"initial": [], "refined": []})[row["state"]] = names
        made = [Outlier(*place, states["initial"], states["refined"]) for place, states in found.items()]
        made.sort(key=lambda outlier: -len(outlier.refined))
        return made[:most], len(made)


def _is_flag(field: pa.Field) -> bool:
    if field.name in IDENTITY:
        return False
    text = pa.types.is_dictionary(field.type) or pa.types.is_string(field.type)
    return pa.types.is_boolean(field.type) or text


def _flagged(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == FLAG_VALUE)


def _any_flag(table: pa.Table, flags: list[str]) -> pa.ChunkedArray:
    marked = None
    for name in flags:
        column = table[name]
        if not pa.types.is_boolean(column.type):
            column = pc.equal(pc.utf8_lower(column.cast(pa.string())), FLAG_VALUE)
        column = pc.fill_null(column, False)  # pyarrow's signature
        marked = column if marked is None else pc.or_(marked, column)
    return marked


def _rounded(value: float | None) -> float | None:
    return None if value is None or value != value else round(value, 3)  # NaN
