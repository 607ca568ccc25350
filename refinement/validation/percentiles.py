"""Where a value stands among others: percentiles in the whole archive and among entries of similar resolution.

A reference distribution is a table of values by entry, with the resolution of each. The one that comes with the
engine is EMDB's own (Q-score, SMOC and atom inclusion of 25,396 entries); others are made from our own runs.
EMDB's relative Q-score compares an entry with those within 1 Å of its resolution; so do we.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement import tables
from refinement.errors import InputError
from refinement.validation.registry import BY_KEY, Better

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

WINDOW = 1.0
"""Å; entries whose resolution differs by no more than this are neighbours."""
FEWEST = 20
"""With fewer entries than this there is no percentile."""
SAME = 1e-6
"""Values nearer than this are equal: files keep seven digits."""
UNLISTED: dict[str, Better] = {"smoc": Better.HIGHER}
"""Direction of values that have a distribution but no row in the registry."""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A reference distribution.

    Attributes
    ----------
    source : str
        Where the values are from, in words.
    resolution : NDArray[float64], shape (n,)
        Resolution of each entry in Å.
    values : dict[str, NDArray[float64]]
        Metric key to the values, each of shape (n,); NaN where an entry has none.
    """

    source: str
    resolution: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]]

    def write(self, path: Path) -> None:
        """Write the distribution as a compressed ``.npz`` file that `read_reference` reads."""
        columns = {f"value_{key}": values.astype(np.float32) for key, values in self.values.items()}
        with path.open("wb") as handle:
            np.savez_compressed(
                handle, source=np.array(self.source), resolution=self.resolution.astype(np.float32), allow_pickle=False, **columns
            )


@dataclass(frozen=True, slots=True)
class Percentile:
    """Where one value stands; percentages of entries that are worse, those that are equal counted half.

    Attributes
    ----------
    archive, neighbours : float or None
        Percentile (0 to 100, 100 is best) among all entries and among those of similar resolution. For metrics
        without a better direction it counts the smaller values. None with fewer than `FEWEST` entries.
    archive_count, neighbours_count : int
        Number of entries compared with.
    window : tuple[float, float]
        Resolutions (Å) between which entries are neighbours.
    source : str
        Where the other values are from.
    """

    archive: float | None
    archive_count: int
    neighbours: float | None
    neighbours_count: int
    window: tuple[float, float]
    source: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        names = ("archive", "archive_count", "neighbours", "neighbours_count", "window", "source")
        return {name: getattr(self, name) for name in names}


def percentile(reference: Reference, key: str, value: float, resolution: float, *, window: float = WINDOW) -> Percentile:
    """Return where `value` of the metric `key` stands in a distribution.

    Parameters
    ----------
    reference : Reference
        The distribution; it must have the metric.
    key : str
        Metric key.
    value : float
        The value.
    resolution : float
        Resolution (Å) that the value belongs to.
    window : float
        Å; how far the resolution of neighbours may differ.
    """
    others = reference.values[key]
    known = np.isfinite(others)
    near = known & (np.abs(reference.resolution - resolution) <= window + 1e-6)
    mine, theirs = _goodness(key, np.array([value]))[0], _goodness(key, others)
    return Percentile(
        archive=_rank(mine, theirs[known]),
        archive_count=int(known.sum()),
        neighbours=_rank(mine, theirs[near]),
        neighbours_count=int(near.sum()),
        window=(round(max(resolution - window, 0.0), 3), round(resolution + window, 3)),
        source=reference.source,
    )


def percentiles(
    metrics: Mapping[str, float | None], resolution: float, references: Sequence[Reference] = ()
) -> dict[str, dict[str, Any]]:
    """Return the percentiles of all metrics that a distribution is known for, by metric key.

    The given references come before EMDB's own, which `archive_reference` holds.
    """
    found: dict[str, dict[str, Any]] = {}
    for reference in (*references, archive_reference()):
        for key in reference.values:
            value = metrics.get(key)
            if value is not None and key not in found:
                found[key] = percentile(reference, key, value, resolution).as_dict()
    return found


def standing(key: str, found: Mapping[str, Any] | None) -> str:
    """Return an entry of `percentiles` in words, such as ``better than 84 % of EMDB, 83 % at 2.2–4.2 Å``."""
    if not found:
        return ""
    parts = []
    if found.get("archive") is not None:
        parts.append(f"{found['archive']:.0f} % of {found['source']}")
    if found.get("neighbours") is not None:
        low, high = found["window"]
        parts.append(f"{found['neighbours']:.0f} % at {low:g}–{high:g} Å")
    word = "above" if _direction(key) is Better.INFO else "better than"
    return f"{word} {', '.join(parts)}" if parts else ""


@cache
def archive_reference() -> Reference:
    """Return EMDB's values of Q-score (σ 0.4), SMOC and atom inclusion over its archive."""
    quality = tables.archive_quality()
    values = {"q_score": quality.q_score, "smoc": quality.smoc, "atom_inclusion_emdb": quality.atom_inclusion}
    return Reference("EMDB", quality.resolution, values)


def read_reference(path: Path) -> Reference:
    """Read a distribution that `Reference.write` wrote.

    Raises
    ------
    InputError
        If the file is no such distribution.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            columns = {name: stored[name] for name in stored.files}
        source, resolution = str(columns.pop("source")), columns.pop("resolution").astype(np.float64)
    except (EOFError, OSError, ValueError, KeyError, AttributeError, zipfile.BadZipFile) as fault:
        message = f"{path.name} is no reference distribution."
        raise InputError("reference_unreadable", message, "Give a file written by Reference.write.") from fault
    values = {name.removeprefix("value_"): column.astype(np.float64) for name, column in columns.items() if name[:6] == "value_"}
    return Reference(source, resolution, values)


def reference_from_runs(paths: Iterable[Path], *, state: str = "initial", source: str = "our runs") -> Reference:
    """Make a distribution from the table_one.json files of runs.

    Parameters
    ----------
    paths : iterable of Path
        The files, in any order; those without the state or without a resolution are left out.
    state : str
        ``initial`` for the models as deposited, ``refined`` for ours.
    source : str
        Where the values are from, in words.
    """
    rows = [json.loads(path.read_text(encoding="utf-8")).get(state) or {} for path in sorted(paths)]
    rows = [row for row in rows if row.get("resolution") is not None]
    keys = [key for key in dict.fromkeys(key for row in rows for key in row) if key != "resolution"]
    columns = {key: np.array([_number(row.get(key)) for row in rows], dtype=np.float64) for key in keys}
    resolution = np.array([row["resolution"] for row in rows], dtype=np.float64)
    return Reference(source, resolution, {key: column for key, column in columns.items() if np.isfinite(column).any()})


def _direction(key: str) -> Better:
    return BY_KEY[key].better if key in BY_KEY else UNLISTED.get(key, Better.INFO)


def _goodness(key: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return numbers that grow as values get better; NaN stays NaN."""
    better = _direction(key)
    if better is Better.TO_ZERO:
        return -np.abs(values)
    return -values if better is Better.LOWER else values


def _rank(mine: float, theirs: NDArray[np.float64]) -> float | None:
    if len(theirs) < FEWEST:
        return None
    worse, equal = int((theirs < mine - SAME).sum()), int((np.abs(theirs - mine) <= SAME).sum())
    return round(100.0 * (worse + 0.5 * equal) / len(theirs), 2)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else np.nan
