"""What Q-score to expect at a resolution (metrics §15).

The curves are those that the authors of the Q-score fitted to the archive: a cubic polynomial with a band for whole
models, and straight lines for proteins, nucleic acids, ions and waters (Pintilie et al. 2020, Nature Methods 17,
328-334, and its program MapQ).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.structure import ResidueKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.structure import Structure

KEYS = {0.4: "q_score", 0.6: "q_score_06"}
"""Column of each width of the reference Gaussian (Å)."""
MODEL_CURVES = {
    0.4: (-0.0016, 0.0434, -0.3956, 1.3606),
    0.6: (-0.0019064058, 0.0499875375, -0.4513945578, 1.5361860733),
}
"""Coefficients of d³, d², d and 1."""
BANDS = {0.4: (-0.150, 0.085), 0.6: (-0.1, 0.1)}
"""Lower and upper edge of the usual range, relative to the curve."""
CLASS_LINES = {
    ("protein", 0.4): (-0.1866, 1.1242),
    ("protein", 0.6): (-0.1775, 1.1192),
    ("nucleic", 0.4): (-0.1465, 0.9436),
    ("nucleic", 0.6): (-0.1377, 0.9973),
    ("ion", 0.6): (-0.1103, 1.0795),
    ("water", 0.6): (-0.0895, 1.0001),
}
"""Slope and intercept by class; ions and waters have them for σ 0.6 only."""
FARTHEST = 10.0
"""Å; beyond this the cubic polynomials stop falling and mean nothing."""
CLASSES = {
    "protein": ResidueKind.PROTEIN,
    "nucleic": ResidueKind.NUCLEIC,
    "ion": ResidueKind.ION,
    "water": ResidueKind.WATER,
}


@dataclass(frozen=True, slots=True)
class ExpectedQ:
    """Expected Q-score of a model and the edges of the usual range."""

    expected: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class QAgainstExpected:
    """Q-scores beside what is expected; no keys of the registry, all in `details`.

    Attributes
    ----------
    details : dict[str, dict[str, Any]]
        ``q_expected``: by key (``q_score``, ``q_score_06``) ``expected``, ``low``, ``high`` and ``position`` (below,
        inside or above the usual range), and ``classes``: by class ``residues`` and by key ``mean`` and ``expected``.
    """

    summary: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    columns: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    details: dict[str, dict[str, Any]] = field(default_factory=dict)


def expected_q(resolution: float, sigma: float = 0.4) -> ExpectedQ | None:
    """Return the Q-score to expect of a model, or None beyond `FARTHEST`.

    Parameters
    ----------
    resolution : float
        Å.
    sigma : float
        Width of the reference Gaussian in Å: 0.4 or 0.6.
    """
    if not 0.0 < resolution <= FARTHEST:
        return None
    expected = float(np.polyval(MODEL_CURVES[sigma], resolution))
    below, above = BANDS[sigma]
    return ExpectedQ(min(expected, 1.0), min(expected + below, 1.0), min(expected + above, 1.0))


def expected_class_q(resolution: float, kind: str, sigma: float = 0.6) -> float | None:
    """Return the Q-score to expect of a class of residues, or None where there is no line or it has fallen to 0.

    Parameters
    ----------
    resolution : float
        Å.
    kind : str
        ``protein``, ``nucleic``, ``ion`` or ``water``.
    sigma : float
        Width of the reference Gaussian in Å: 0.4 or 0.6.
    """
    line = CLASS_LINES.get((kind, sigma))
    if line is None or not resolution > 0.0:
        return None
    expected = line[0] * resolution + line[1]
    return min(expected, 1.0) if expected > 0.0 else None


def q_against_expected(structure: Structure, atom_q: NDArray[np.float32], resolution: float) -> QAgainstExpected:
    """Compare the Q-scores of a model and of its classes with what is expected.

    Parameters
    ----------
    structure : Structure
    atom_q : NDArray[float32], shape (n_atoms, 2)
        Q of each atom with σ 0.4 and 0.6, NaN where not evaluated (`refinement.validation.qscore.QScores.atoms`).
    resolution : float
        Å.
    """
    found: dict[str, Any] = {}
    known = np.isfinite(atom_q)
    for column, (sigma, key) in enumerate(KEYS.items()):
        band = expected_q(resolution, sigma)
        if band is not None and known[:, column].any():
            mean = float(atom_q[known[:, column], column].mean(dtype=np.float64))
            position = "below" if mean < band.low else "above" if mean > band.high else "inside"
            found[key] = {"expected": band.expected, "low": band.low, "high": band.high, "position": position}
    kind = structure.residues.kind
    classes: dict[str, Any] = {}
    for name, code in CLASSES.items():
        chosen = (kind == code)[structure.residue]
        if not (chosen[:, None] & known).any():
            continue
        classes[name] = {"residues": int((kind == code).sum())}
        for column, (sigma, key) in enumerate(KEYS.items()):
            values = atom_q[chosen & known[:, column], column]
            average = float(values.mean(dtype=np.float64)) if len(values) else None
            classes[name][key] = {"mean": average, "expected": expected_class_q(resolution, name, sigma)}
    found["classes"] = classes
    return QAgainstExpected(details={"q_expected": found})
