"""MolProbity score (Chen 2010): contacts, side chains and main chain in one number."""

from __future__ import annotations

import math


def molprobity_score(clashscore: float | None, rotamer_outliers: float | None, rama_favored: float | None) -> float | None:
    """Return the score on the scale of resolution (Å), or None where a component is missing.

    Parameters
    ----------
    clashscore : float or None
        Clashes per 1000 atoms.
    rotamer_outliers : float or None
        Percent of the side chains evaluated.
    rama_favored : float or None
        Percent of the residues evaluated.
    """
    if clashscore is None or rotamer_outliers is None or rama_favored is None:
        return None
    return (
        0.426 * math.log(1.0 + clashscore)
        + 0.33 * math.log(1.0 + max(0.0, rotamer_outliers - 1.0))
        + 0.25 * math.log(1.0 + max(0.0, 98.0 - rama_favored))
        + 0.5
    )
