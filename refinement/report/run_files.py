"""The files of a run, read back for the page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class ResidueColumns:
    """Columns of one state of residues.parquet.

    Attributes
    ----------
    chain, compound, insertion : NDArray[object]
        Texts.
    number : NDArray[int64]
        Residue number of the author.
    columns : dict[str, NDArray[float64]]
        Metric columns; NaN where not evaluated.
    """

    chain: NDArray[Any]
    number: NDArray[np.int64]
    insertion: NDArray[Any]
    compound: NDArray[Any]
    columns: dict[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.number)

    def column(self, name: str) -> NDArray[np.float64]:
        """Return a metric column, all NaN if there is none of this name."""
        return self.columns.get(name, np.full(len(self), np.nan))

    def label(self, row: int) -> str:
        """Return a readable name such as ``A/12B LYS``."""
        return f"{self.chain[row]}/{self.number[row]}{self.insertion[row] or ''} {self.compound[row]}"


@dataclass(frozen=True, slots=True, eq=False)
class RunFiles:
    """What a run wrote.

    Attributes
    ----------
    table : dict
        table_one.json.
    residues : dict[str, ResidueColumns]
        State to its residues.
    curves : dict
        State to its curves.
    """

    table: dict[str, Any]
    residues: dict[str, ResidueColumns]
    curves: dict[str, dict[str, Any]]

    @property
    def states(self) -> tuple[str, ...]:
        """The states that the run has: ``initial``, and ``refined`` after a refinement."""
        return tuple(state for state in ("initial", "refined") if state in self.table)


def read_run(folder: Path) -> RunFiles:
    """Read table_one.json, residues.parquet and curves.json of a run."""
    table, curves = (json.loads((folder / name).read_text(encoding="utf-8")) for name in ("table_one.json", "curves.json"))
    rows = pq.read_table(folder / "residues.parquet")
    states = np.array(rows.column("state").to_pylist())
    residues = {}
    for state in dict.fromkeys(states.tolist()):
        part = rows.filter(states == state)
        texts = {name: np.array(part.column(name).to_pylist(), dtype=object) for name in ("chain", "insertion_code", "compound")}
        numeric = {}
        for field in part.schema:
            if field.name not in (*texts, "state", "number") and str(field.type) in NUMERIC:
                numeric[field.name] = part.column(field.name).cast("float64").to_numpy(zero_copy_only=False)
        number = part.column("number").to_numpy().astype(np.int64)
        residues[state] = ResidueColumns(texts["chain"], number, texts["insertion_code"], texts["compound"], numeric)
    return RunFiles(table, residues, curves)


NUMERIC = {"float", "double", "halffloat", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"}
