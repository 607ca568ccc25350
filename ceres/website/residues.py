"""Per-residue data of a result, read from its Parquet file: the track, and the residues to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from django.core.files.storage import storages

if TYPE_CHECKING:
    from collections.abc import Callable

    from ceres.models import Artifact

STATES = ("initial", "refined")
IDENTITY = ("state", "chain", "number", "insertion_code", "compound")
WATERS = ("HOH", "DOD")
SERIES: dict[str, str] = {
    "cc": "CC",
    "q_score": "Q-score",
    "b_iso": "B factor, Å²",
    "shift": "Shift, Å",
    "atom_inclusion": "Atom inclusion",
    "rama_score": "Ramachandran score",
    "rotamer_score": "Rotamer score",
    "cbeta_deviation": "Cβ deviation, Å",
    "n_clashes": "Clashes",
    "bond_z_max": "Worst bond, σ",
    "angle_z_max": "Worst angle, σ",
}
"""Columns that can be drawn along the chain, the most asked for first."""

OUTLIER_REGION = 0
CBETA_LIMIT = 0.25
CIS, TRANS = 30.0, 150.0
WORST_GEOMETRY = 6.0
"""Bonds and angles further from their target, in standard deviations, are worth a look."""

FLAGS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "rama_region": ("Ramachandran", lambda region: region == OUTLIER_REGION),
    "rotamer_region": ("rotamer", lambda region: region == OUTLIER_REGION),
    "cbeta_deviation": ("Cβ", lambda deviation: deviation >= CBETA_LIMIT),
    "omega": ("twisted peptide", lambda omega: (np.abs(omega) >= CIS) & (np.abs(omega) <= TRANS)),
    "n_clashes": ("clash", lambda clashes: clashes > 0),
    "bond_z_max": ("bond length", lambda sigmas: sigmas > WORST_GEOMETRY),
    "angle_z_max": ("bond angle", lambda sigmas: sigmas > WORST_GEOMETRY),
}
"""Columns that mark outliers: name for people, and which values do. NaN never does."""

MOST_OUTLIERS = 60


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
    def read(cls, file: IO[bytes], chain: str | None = None) -> ResidueTable:
        """Read an open Parquet file."""
        return cls(pq.read_table(file, filters=None if chain is None else [("chain", "=", chain)]))

    @property
    def series(self) -> dict[str, str]:
        """Columns that can be drawn and their names."""
        return {name: label for name, label in SERIES.items() if name in self._table.column_names}

    @property
    def flags(self) -> dict[str, str]:
        """Columns that mark outliers and their names."""
        return {name: label for name, (label, _) in FLAGS.items() if name in self._table.column_names}

    def _marked(self) -> dict[str, np.ndarray]:
        """Return which rows each flag marks."""
        return {name: FLAGS[name][1](self._table[name].to_numpy().astype(float)) for name in self.flags}

    def chains(self) -> list[dict[str, Any]]:
        """Chains in their order, each with its count of residues in the deposited model (or the refined one)."""
        counts: dict[str, dict[str, int]] = {}
        for state, chain in zip(*(self._table[name].to_pylist() for name in ("state", "chain")), strict=True):
            row = counts.setdefault(chain, {})
            row[state] = row.get(state, 0) + 1
        return [{"name": name, "residues": max(row.values())} for name, row in counts.items()]

    def chain(self) -> dict[str, Any]:
        """Return the residues of the table with both states side by side, for the track."""
        rows = self._table.select(list(IDENTITY)).to_pylist()
        places: dict[tuple[str, str], int] = {}
        for row in rows:
            places.setdefault(_place(row), len(places))
        values: dict[str, dict[str, list[float | None]]] = {
            name: {state: [None] * len(places) for state in STATES} for name in self.series
        }
        for name, columns in values.items():
            for row, value in zip(rows, self._table[name].to_pylist(), strict=True):
                columns[row["state"]][places[_place(row)]] = _rounded(value)
        flags: dict[str, list[list[str]]] = {state: [[] for _ in places] for state in STATES}
        for name, marked in self._marked().items():
            for index in np.flatnonzero(marked).tolist():
                flags[rows[index]["state"]][places[_place(rows[index])]].append(name)
        numbers, compounds = zip(*places, strict=True) if places else ((), ())
        return {"number": list(numbers), "compound": list(compounds), "values": values, "flags": flags}

    def outliers(self, most: int = MOST_OUTLIERS) -> tuple[list[Outlier], int]:
        """Return the flagged residues, those with most flags after refinement first, and how many there are."""
        marked = self._marked()
        if not marked:
            return [], 0
        chosen = np.flatnonzero(np.logical_or.reduce(list(marked.values())))
        rows = self._table.select(list(IDENTITY)).take(chosen).to_pylist()
        found: dict[tuple[str, str, str], dict[str, list[str]]] = {}
        for index, row in zip(chosen.tolist(), rows, strict=True):
            names = [self.flags[name] for name, rows_marked in marked.items() if rows_marked[index]]
            found.setdefault((row["chain"], *_place(row)), {state: [] for state in STATES})[row["state"]] = names
        made = [Outlier(*place, states["initial"], states["refined"]) for place, states in found.items()]
        made.sort(key=lambda outlier: (-len(outlier.refined), -len(outlier.initial)))
        return made[:most], len(made)


def _place(row: dict[str, Any]) -> tuple[str, str]:
    """Return the number with its insertion code, and the compound."""
    return f"{row['number']}{(row['insertion_code'] or '').strip()}", row["compound"]


def _rounded(value: float | None) -> float | None:
    return None if value is None or value != value else round(value, 3)  # NaN
