"""Table 1 as comma-separated values: one row for each metric."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from refinement.validation.registry import BY_KEY, MASKED_TWINS

if TYPE_CHECKING:
    from collections.abc import Mapping

PERCENTILES = ("archive", "archive_count", "neighbours", "neighbours_count")


def table_one_csv(table: Mapping[str, Any]) -> str:
    """Return the content of table_one.json as CSV.

    The columns are key, label, group and unit; value and band of each state; what is wanted; the reason code where a
    value is missing; and the percentiles of the last state.
    """
    states = [state for state in ("initial", "refined") if state in table]
    places = table.get("details", {}).get(states[-1], {}).get("percentiles", {})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heads = [name for state in states for name in (state, f"{state}_band")]
    percentile_heads = [f"percentile_{name}" for name in PERCENTILES]
    writer.writerow(["key", "label", "group", "unit", *heads, "good", "poor", "reason", *percentile_heads])
    for key in [*BY_KEY, *(f"{key}_masked" for key in sorted(MASKED_TWINS))]:
        metric = BY_KEY[key.removesuffix("_masked") if key not in BY_KEY else key]
        label = metric.label if key in BY_KEY else f"{metric.label}, masked"
        values = [item for state in states for item in (table[state].get(key), metric.band(table[state].get(key)))]
        missing = all(table[state].get(key) is None for state in states)
        reason = table["reasons"].get(key, "") if missing else ""
        place = places.get(key, {})
        ranks = [place.get(name) for name in PERCENTILES]
        writer.writerow([key, label, str(metric.group), metric.unit, *values, metric.good, metric.poor, reason, *ranks])
    return out.getvalue()
