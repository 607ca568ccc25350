"""What our refinement must reach, beside the deposited model and beside other programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEPOSITED, OURS, SERVALCAT, OPEN, PUBLISHED = "deposited", "Ceres", "servalcat", "open toolbox", "published"
"""Who made a model."""

LOWER_IS_BETTER = ("clashscore", "rotamer_outliers", "rama_outliers", "cbeta_deviations", "molprobity_score", "rama_z")
"""In these no other program may be better than ours; Rama-Z counts by its distance from zero."""
EQUAL = {"clashscore": 0.05, "rotamer_outliers": 0.01, "rama_outliers": 0.01, "molprobity_score": 0.005, "rama_z": 0.05}
"""Differences up to this are none: the last digit that is shown."""
LIMITS = {"rotamer_outliers": 0.5, "rama_outliers": 0.2, "clashscore": 5.0, "rama_z": 2.5}
FAVORED, FAVORED_FAR, FAR = 97.0, 95.0, 3.8
"""Least percentage of favoured residues, the same beyond the resolution `FAR` (Å)."""
FEW_CLASHES = 2.0
"""A clashscore up to this may exceed the deposited one."""
CC_BELOW_SERVALCAT, EMRINGER_BELOW = 0.02, 0.4
"""So much may CC_mask be below servalcat's, and EMRinger below the deposited one in one pair."""
FIT_EQUAL = {"cc_mask": 0.0005, "q_score": 0.0005, "d_fsc_model_05_masked": 0.005}


@dataclass(frozen=True)
class Row:
    """A model and its metrics.

    Attributes
    ----------
    pair, maker : str
        Which pair, and who made the model.
    metrics : mapping
        Keys of Table 1.
    wall, cpu, memory : float or None
        Seconds by the clock, seconds of processors, and the largest resident set in MB.
    fault : str
        Why there are no metrics.
    """

    pair: str
    maker: str
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    wall: float | None = None
    cpu: float | None = None
    memory: float | None = None
    fault: str = ""

    def value(self, key: str) -> float | None:
        """Return a metric, Rama-Z without its sign."""
        number = self.metrics.get(key)
        return abs(number) if number is not None and key == "rama_z" else number


def missed(rows: Sequence[Row], resolution: float) -> dict[str, list[str]]:
    """Return for each metric in which our model of a pair misses a bar what it misses.

    Parameters
    ----------
    rows : sequence of Row
        All models of one pair.
    resolution : float
        Å.
    """
    by_maker = {row.maker: row for row in rows if row.metrics}
    ours, deposited = by_maker.get(OURS), by_maker.get(DEPOSITED)
    found: dict[str, list[str]] = {}
    if ours is None or deposited is None:
        return found
    for key, text in (*_limits(ours, deposited, resolution), *_beside(ours, rows), *_fit(ours, by_maker)):
        found.setdefault(key, []).append(text)
    return found


def _limits(ours: Row, deposited: Row, resolution: float) -> list[tuple[str, str]]:
    """Compare with fixed limits."""
    found = []
    for key, limit in LIMITS.items():
        value = ours.value(key)
        if value is not None and value > limit:
            found.append((key, f"{value:.2f} is above {limit:g}"))
    favoured, least = ours.value("rama_favored"), FAVORED if resolution <= FAR else FAVORED_FAR
    if favoured is not None and favoured < least:
        found.append(("rama_favored", f"{favoured:.1f} is below {least:g}"))
    return found


def _beside(ours: Row, rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Compare the geometry with all other models."""
    found = []
    for key in LOWER_IS_BETTER:
        value = ours.value(key)
        for row in rows:
            other = row.value(key)
            if row.maker == OURS or value is None or other is None or value <= other + EQUAL.get(key, 0.0):
                continue
            if key == "clashscore" and row.maker == DEPOSITED and value <= FEW_CLASHES:
                continue
            found.append((key, f"{value:.2f} is above {other:.2f} of {row.maker}"))
    return found


def _fit(ours: Row, by_maker: Mapping[str, Row]) -> list[tuple[str, str]]:
    """Compare the fit with the models that it must not fall behind."""
    found = []
    for key, maker, allowed in (
        ("cc_mask", DEPOSITED, 0.0),
        ("cc_mask", OPEN, 0.0),
        ("cc_mask", SERVALCAT, CC_BELOW_SERVALCAT),
        ("q_score", DEPOSITED, 0.0),
        ("emringer", DEPOSITED, EMRINGER_BELOW),
    ):
        value, other = ours.value(key), by_maker[maker].value(key) if maker in by_maker else None
        if value is not None and other is not None and value < other - allowed - FIT_EQUAL.get(key, 0.0):
            margin = f" by more than {allowed:g}" if allowed else ""
            found.append((key, f"{value:.3f} is below {other:.3f} of {maker}{margin}"))
    key = "d_fsc_model_05_masked"
    value, other = ours.value(key), by_maker[DEPOSITED].value(key)
    if value is not None and other is not None and value > other + FIT_EQUAL[key]:
        found.append((key, f"{value:.2f} Å is worse than {other:.2f} Å of {DEPOSITED}"))
    return found


def mean_emringer(rows: Sequence[Row]) -> tuple[float, float] | None:
    """Return the mean EMRinger score over the pairs, deposited and ours; None without a pair that has both."""
    scores = {(row.pair, row.maker): row.value("emringer") for row in rows}
    pairs = [pair for pair, maker in scores if maker == OURS]
    both = [(scores.get((pair, DEPOSITED)), scores[pair, OURS]) for pair in pairs]
    known = [(before, after) for before, after in both if before is not None and after is not None]
    if not known:
        return None
    before, after = (sum(column) / len(known) for column in zip(*known, strict=True))
    return before, after
