"""Did refinement make the model better? Counted over the metrics that have a direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from refinement.validation import registry

if TYPE_CHECKING:
    from collections.abc import Mapping

IMPROVED, MIXED, WORSE, UNCHANGED = "improved", "mixed", "worse", "unchanged"
"""Verdicts; the database has the same ones."""

MAJORITY = 3
"""So many metrics must move one way for each that moves the other way."""

NO_HARM = ("cc_mask", "clashscore", "rama_outliers", "rotamer_outliers")
"""A model that became worse in one of these is never called improved."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the metrics moved, each by more than its tolerance."""

    better: tuple[str, ...]
    worse: tuple[str, ...]
    compared: int

    @property
    def verdict(self) -> str:
        """``improved`` or ``worse`` by a clear majority, ``unchanged``, else ``mixed``."""
        better, worse = len(self.better), len(self.worse)
        if not better and not worse:
            return UNCHANGED
        if better >= MAJORITY * worse and not set(self.worse) & set(NO_HARM):
            return IMPROVED
        if worse >= MAJORITY * better:
            return WORSE
        return MIXED


def compare(initial: Mapping[str, float | None], refined: Mapping[str, float | None]) -> Comparison:
    """Compare two columns of Table 1 with the directions and tolerances of the registry."""
    moves = {metric.key: metric.compare(initial.get(metric.key), refined.get(metric.key)) for metric in registry.METRICS}
    return Comparison(
        better=tuple(key for key, move in moves.items() if move == "better"),
        worse=tuple(key for key, move in moves.items() if move == "worse"),
        compared=sum(move != "unknown" for move in moves.values()),
    )
