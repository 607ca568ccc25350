"""What the model of an entry consists of, as tables: the page's section on the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ceres.website import formats
from ceres.website.presentation import Fact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ceres.models import Entry

CLASSES: dict[str, tuple[str, str]] = {
    "protein": ("protein residue", "protein residues"),
    "nucleic": ("nucleotide", "nucleotides"),
    "ligand": ("ligand", "ligands"),
    "ion": ("ion", "ions"),
    "water": ("water", "waters"),
}
"""Residue classes and their names for one and for several."""
GROUPS = {"all": "All", "protein": "Protein", "nucleic": "Nucleic acid", "ligand": "Ligands", "ion": "Ions", "water": "Water"}
HETERO = {"sugar": "Sugar", "lipid": "Lipid or detergent", "ion": "Ion", "other": "Other ligand", "unknown": "Unknown"}
MOST_ROWS, MOST_CHAINS, MOST_STRETCHES, MOST_SITES = 40, 12, 8, 12
"""What is shown of each table, and of each list within a row."""

WIDTH, HEIGHT = 420, 160
LEFT, RIGHT, TOP, BOTTOM = 8, 8, 18, 40
BIN, TICKS = 10, (0, 50, 100, 150, 200, 250, 300)
"""The histogram's size and margins in the units of its view box; bins and ticks in Å²."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts; the first `words` columns are words, the others numbers. `more` rows are left out."""

    title: str
    anchor: str
    head: list[str]
    rows: list[list[str]]
    words: int = 1
    more: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of the histogram."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """Atoms by B factor."""

    bars: list[Bar]
    ticks: list[tuple[float, str]]
    about: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    base: int = HEIGHT - BOTTOM


@dataclass(frozen=True, slots=True)
class ModelTab:
    """All that the section shows."""

    facts: list[Fact]
    tables: list[Table]
    statistics: list[Table]
    histogram: Histogram | None


def model_tab(entry: Entry) -> ModelTab | None:
    """Return what the model consists of, None where curation didn't get so far."""
    composition: dict[str, Any] = entry.facts.get("composition") or {}
    if not composition:
        return None
    tables = [_sequences(composition), _glycans(composition), _compounds(composition)]
    statistics = [_b_factors(composition), _occupancies(composition)]
    return ModelTab(
        facts=[row for row in _facts(composition, entry.facts.get("assembly") or {}) if row.text],
        tables=[table for table in tables if table.rows],
        statistics=[table for table in statistics if table.rows],
        histogram=_histogram(composition.get("b_histogram") or []),
    )


def _facts(composition: Mapping[str, Any], assembly: Mapping[str, Any]) -> list[Fact]:
    alternates = composition.get("alternates") or {}
    letters = ", ".join(alternates.get("letters", []))
    residues = alternates.get("residues", 0)
    share = 100.0 * alternates.get("fraction", 0.0)
    anisotropic = composition.get("anisotropic", 0)
    single = composition.get("single_atom_residues", 0)
    return [
        Fact("Chains", _listed(composition.get("chains", []), 24, counted=True)),
        Fact("Residues", _residues(composition.get("residues", {}))),
        Fact("Atoms", _atoms(composition)),
        Fact("Assembly", _assembly(assembly)),
        Fact("Alternate conformers", f"{_count(residues, 'residue')} ({share:.1f} %): {letters}" if residues else ""),
        Fact("Unknown residues and atoms", _counted(composition.get("unknown", {}))),
        Fact("Residues of one atom", formats.grouped(single) if single else ""),
        Fact("Anisotropic displacement", f"{_count(anisotropic, 'atom')}" if anisotropic else ""),
    ]


def _residues(counts: Mapping[str, int]) -> str:
    # a database may give the keys of JSON in another order, so the order is that of CLASSES
    parts = [_count(counts[kind], *names) for kind, names in CLASSES.items() if counts.get(kind)]
    return ", ".join(parts)


def _atoms(composition: Mapping[str, Any]) -> str:
    if not composition.get("atoms"):
        return ""
    text = formats.grouped(composition["atoms"])
    extra = [(composition.get("hydrogens"), "hydrogens"), (composition.get("altloc_atoms"), "in alternate conformers")]
    said = [f"{formats.grouped(count)} {what}" for count, what in extra if count]
    return f"{text} ({', '.join(said)})" if said else text


def _assembly(assembly: Mapping[str, Any]) -> str:
    if not assembly.get("copies"):
        return ""
    done = "were made" if assembly.get("expanded") else "are described in the file; the model is used as deposited"
    return f"{assembly['copies']} copies ({assembly.get('source', '')}) {done}"


def _sequences(composition: Mapping[str, Any]) -> Table:
    rows = []
    for row in composition.get("sequences", []):
        missing = [f"{first}" if first == last else f"{first}–{last}" for first, last in row["missing"]]
        rows.append([
            _listed(row["chains"], MOST_CHAINS),
            row["kind"],
            _listed(missing, MOST_STRETCHES) or "none",
            formats.grouped(row["length"]),
            formats.grouped(row["modelled"]),
            f"{100.0 * row['modelled'] / row['length']:.1f}",
            formats.grouped(row["different"]) if row["different"] else "0",
        ])  # fmt: skip
    head = ["Chains", "Polymer", "Places without coordinates", "Sequence", "Modelled", "Coverage, %", "Other residue"]
    note = "Places count from 1 along the sequence of the entry; the last column counts residues that the sequence has otherwise."
    return _table("Sequences", "sequences", head, rows, words=3, note=note)


def _glycans(composition: Mapping[str, Any]) -> Table:
    rows = [
        [row["name"], row["linkage"], _listed(row["sites"], MOST_SITES, total=row["count"]), formats.grouped(row["count"])]
        for row in composition.get("glycans", [])
    ]
    note = "From the free end to the reducing one; the numbers are the atoms of each bond, branches stand in brackets."
    return _table("Glycans", "glycans", ["Sugars", "Linkage", "At", "Count"], rows, words=3, note=note)


def _compounds(composition: Mapping[str, Any]) -> Table:
    names, parents = composition.get("names", {}), composition.get("parents", {})
    hetero = composition.get("hetero") or {"other": composition.get("ligands", {})}
    rows: list[list[str]] = []
    for kind, label in HETERO.items():
        counts = sorted((hetero.get(kind) or {}).items(), key=lambda item: (-item[1], item[0]))
        rows += [[label, name, _name(names.get(name, "")), formats.grouped(count)] for name, count in counts]
    for name, count in sorted(composition.get("modified", {}).items(), key=lambda item: (-item[1], item[0])):
        parent = parents.get(name)
        label = f"Modified residue ({parent})" if parent else "Modified residue"
        rows.append([label, name, _name(names.get(name, "")), formats.grouped(count)])
    return _table("Ligands and modified residues", "compounds", ["Class", "Compound", "Name", "Count"], rows, words=3)


def _b_factors(composition: Mapping[str, Any]) -> Table:
    rows = []
    for label, values in _by_group(composition.get("b_factors", {}), "mean"):
        numbers = [_digits(values.get(key), 1) for key in ("mean", "median", "min", "max")]
        rows.append([label, formats.grouped(values.get("atoms")), *numbers, formats.grouped(values.get("zero"))])
    head = ["Class", "Atoms", "Mean", "Median", "Lowest", "Highest", "Zero"]
    return _table("B factors, Å²", "b-factors", head, rows, note="Hydrogens are left out.")


def _occupancies(composition: Mapping[str, Any]) -> Table:
    rows = []
    for label, values in _by_group(composition.get("occupancy", {}), "min"):
        numbers = [_digits(values.get(key), 2) for key in ("mean", "min", "max")]
        counts = [formats.grouped(values.get(key)) for key in ("partial", "zero", "negative", "above_one")]
        rows.append([label, *numbers, *counts])
    head = ["Class", "Mean", "Lowest", "Highest", "Partial", "Zero", "Negative", "Above 1"]
    return _table("Occupancies", "occupancies", head, rows)


def _by_group(values: Mapping[str, Any], needed: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the groups that have values; entries curated by earlier versions may lack them."""
    groups = ((label, values.get(key)) for key, label in GROUPS.items())
    return [(label, group) for label, group in groups if isinstance(group, dict) and needed in group]


def _histogram(counts: list[int]) -> Histogram | None:
    most = max(counts, default=0)
    if not most:
        return None
    step = (WIDTH - LEFT - RIGHT) / len(counts)
    bars = []
    for number, count in enumerate(counts):
        tall = (HEIGHT - TOP - BOTTOM) * count / most
        last = number == len(counts) - 1
        span = f"{number * BIN} Å² and more" if last else f"{number * BIN} to {(number + 1) * BIN} Å²"
        title = f"{span}: {_count(count, 'atom')}"
        bars.append(
            Bar(round(LEFT + number * step, 1), round(HEIGHT - BOTTOM - tall, 1), round(step - 1, 1), round(tall, 1), title)
        )
    ticks = [(round(LEFT + tick / BIN * step, 1), str(tick)) for tick in TICKS if tick <= (len(counts) - 1) * BIN]
    peak = counts.index(most) * BIN
    return Histogram([bar for bar in bars if bar.height], ticks, f"Atoms by B factor; most have {peak} to {peak + BIN} Å²")


def _table(title: str, anchor: str, head: list[str], rows: list[list[str]], *, words: int = 1, note: str = "") -> Table:
    return Table(title, anchor, head, rows[:MOST_ROWS], words, max(0, len(rows) - MOST_ROWS), note)


def _listed(items: list[str], most: int, *, counted: bool = False, total: int | None = None) -> str:
    if not items:
        return ""
    total = len(items) if total is None else total
    shown = ", ".join(items[:most])
    text = f"{shown} and {formats.grouped(total - most)} more" if total > most else shown
    return f"{formats.grouped(total)}: {text}" if counted else text


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(
        f"{formats.grouped(count)} {name}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def _count(count: int, one: str, several: str = "") -> str:
    return f"{formats.grouped(count)} {one if count == 1 else several or f'{one}s'}"


def _name(text: str) -> str:
    """Return a compound's name without capitals, if it is written in capitals only."""
    return text.lower() if text.isupper() else text


def _digits(value: float | None, digits: int) -> str:
    return formats.number(value, digits) or "–"
