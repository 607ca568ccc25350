"""RNA backbone conformers: the suite of each ribonucleotide and how well it fits (Richardson 2008).

A suite is the stretch of backbone from sugar to sugar, seven torsion angles: δ, ε and ζ of the nucleotide before,
α, β, γ and δ of its own; it belongs to the second nucleotide. Names are those of the published conformers, ``!!`` for
an outlier and ``__`` where an angle is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from refinement import tables
from refinement.conformers import NamedAtoms
from refinement.geometry import dihedrals_or_nan, distances
from refinement.nucleotides import is_nucleotide, next_in_chain, with_present_names

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.structure import Structure

ANGLES = ("delta_minus", "epsilon", "zeta", "alpha", "beta", "gamma", "delta")
"""Order of the angles of a suite."""
OUTLIER = "!!"
INCOMPLETE = "__"
POWER = 3.0
"""Exponent of the distance between a suite and a conformer, in half-widths."""
LEAST = 0.01
"""Suiteness of a suite at the edge of its conformer."""
LINK_LIMIT = 3.5
"""Å; nucleotides whose O3' and P are nearer than this are joined."""

_FOUR = slice(1, 5)
"""ε, ζ, α, β: the angles that tell the conformers of one bin apart."""
_NAMES = ("P", "O5'", "C5'", "C4'", "C3'", "O3'", "O2'")
_TRIAGE = ("epsilon", "delta_minus", "delta", "gamma", "alpha", "beta", "zeta")
"""Order in which the ranges are checked."""


class _Bin(NamedTuple):
    """Conformers with the same puckers and the same γ; `dominant` is -1 where none is much larger than the others."""

    names: NDArray[np.str_]
    centres: NDArray[np.float64]
    dominant: int
    satellite: NDArray[np.bool_]
    width_satellite: NDArray[np.float64]
    width_dominant: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SuiteNames:
    """Conformers of suites, one row each.

    Attributes
    ----------
    name : NDArray[str]
        Conformer such as ``1a``, `OUTLIER` or `INCOMPLETE`.
    suiteness : NDArray[float64]
        1 at the centre of the conformer, `LEAST` at its edge, 0 for outliers, NaN for incomplete suites.
    distance : NDArray[float64]
        Distance from the nearest conformer in half-widths, NaN for incomplete suites and those with a `cause`.
    cause : NDArray[str]
        The angle that lies outside all ranges, "" where none does.
    """

    name: NDArray[np.str_]
    suiteness: NDArray[np.float64]
    distance: NDArray[np.float64]
    cause: NDArray[np.str_]


@dataclass(frozen=True, slots=True, eq=False)
class Suites:
    """Result; one row per suite, alternate positions counted separately.

    Attributes
    ----------
    residue : NDArray[int32]
        Row of the second nucleotide.
    angles : NDArray[float64], shape (n, 7)
        `ANGLES` in degrees, 0 to 360, NaN where undefined.
    found : SuiteNames
        Conformers.
    n_residues : int
        Residues of the model.
    """

    residue: NDArray[np.int32]
    angles: NDArray[np.float64]
    found: SuiteNames
    n_residues: int

    @property
    def outlier(self) -> NDArray[np.bool_]:
        """Mask of the outliers."""
        mask: NDArray[np.bool_] = self.found.name == OUTLIER
        return mask

    @property
    def mean_suiteness(self) -> float | None:
        """Mean suiteness of the complete suites, outliers included."""
        known = self.found.suiteness[self.found.name != INCOMPLETE]
        return float(known.mean()) if len(known) else None

    @property
    def summary(self) -> dict[str, float | None]:
        """Return the percentage of outliers under its metric key; incomplete suites are counted, as in MolProbity."""
        n = len(self.residue)
        return {"na_suite_outliers": 100.0 * float(self.outlier.sum()) / n if n else None}

    @property
    def reasons(self) -> dict[str, str]:
        """Return why the number is missing."""
        return {} if len(self.residue) else {"na_suite_outliers": "not_applicable"}

    @property
    def columns(self) -> dict[str, NDArray[np.float32] | NDArray[np.str_]]:
        """Return the per-residue columns, of the first conformer of each residue."""
        suiteness = np.full(self.n_residues, np.nan, dtype=np.float32)
        suiteness[self.residue[::-1]] = self.found.suiteness[::-1]
        names = np.full(self.n_residues, "", dtype="<U2")
        names[self.residue[::-1]] = self.found.name[::-1]
        return {"suiteness": suiteness, "suite": names} if len(self.residue) else {"suiteness": suiteness}

    @property
    def details(self) -> dict[str, object]:
        """Return how many suites there are, their mean suiteness and how often each conformer occurs."""
        if not len(self.residue):
            return {}
        names, counts = np.unique(self.found.name, return_counts=True)
        conformers = dict(zip(names.tolist(), counts.tolist(), strict=True))
        return {"suites": {"suites": len(self.residue), "mean_suiteness": self.mean_suiteness, "conformers": conformers}}


def suites(structure: Structure) -> Suites:
    """Name the suites of the ribonucleotides of a model, modified ones included.

    Every ribonucleotide of a chain with two or more nucleotides has a suite; that of the first one is incomplete.
    """
    structure = with_present_names(structure)
    named = NamedAtoms(structure, _NAMES)
    nucleic = is_nucleotide(structure)
    rows: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)]
    angles: list[NDArray[np.float64]] = [np.empty((0, 7))]
    for turn, table in enumerate(named.conformers() if nucleic.any() else ()):
        following = next_in_chain(structure, nucleic & (table >= 0).any(axis=1))
        previous = np.full(len(following), -1, dtype=np.int32)
        previous[following[following >= 0]] = np.flatnonzero(following >= 0)
        before = _linked_before(structure, table, previous)
        counted = (table[:, _NAMES.index("O2'")] >= 0) & ((following >= 0) | (previous >= 0))
        if turn:
            counted &= (named.lettered(table) | named.lettered(before)).any(axis=1) & (previous >= 0)
        rows.append(np.flatnonzero(counted))
        angles.append(_angles(structure, before[counted], table[counted]))
    residue = np.concatenate(rows).astype(np.int32)
    order = np.argsort(residue, kind="stable")
    values = np.concatenate(angles)[order]
    return Suites(residue[order], values, name_suites(values), len(structure.residues))


def _linked_before(structure: Structure, table: NDArray[np.int32], previous: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the atoms of the ribonucleotide that each residue is joined to through its P; rows of -1 where there is none."""
    before = np.where(previous[:, None] >= 0, table[previous], -1)
    oxygen, phosphorus = before[:, _NAMES.index("O3'")], table[:, _NAMES.index("P")]
    joined = (oxygen >= 0) & (phosphorus >= 0) & (before[:, _NAMES.index("O2'")] >= 0)
    joined &= distances(structure.positions, oxygen, phosphorus) < LINK_LIMIT
    before[~joined] = -1
    before[:, :2] = -1  # P and O5' of the nucleotide before have no part in the suite
    return before


def _angles(structure: Structure, before: NDArray[np.int32], own: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the seven torsion angles, shape (n, 7), degrees from 0 to 360."""
    p, o5, c5, c4, c3, o3 = (own[:, _NAMES.index(name)] for name in ("P", "O5'", "C5'", "C4'", "C3'", "O3'"))
    c5_before, c4_before, c3_before, o3_before = (before[:, _NAMES.index(name)] for name in ("C5'", "C4'", "C3'", "O3'"))
    chain = [c5_before, c4_before, c3_before, o3_before, p, o5, c5, c4, c3, o3]
    columns = [dihedrals_or_nan(structure.positions, np.stack(chain[k : k + 4], axis=1)) for k in range(7)]
    return np.stack(columns, axis=1) % 360.0


def name_suites(angles: NDArray[np.float64]) -> SuiteNames:
    """Find the conformers of suites.

    Parameters
    ----------
    angles : NDArray[float64], shape (n, 7)
        `ANGLES` in degrees from 0 to 360, NaN where unknown.

    Notes
    -----
    Ranges of the angles put a suite into one of twelve bins, the distance in four angles chooses the conformer, and the
    distance in all seven says whether it belongs to it (Richardson 2008; limits of suitename, 2011).
    """
    n = len(angles)
    complete = ~np.isnan(angles).any(axis=1)
    group, cause = _triage(angles)
    name = np.where(complete, OUTLIER, INCOMPLETE)
    suiteness = np.where(complete, 0.0, np.nan)
    distance = np.full(n, np.nan)
    widths = _widths()
    for key, one in _bins().items():
        rows = np.flatnonzero(complete & (cause == "") & (group == key))
        chosen = _choose(angles[rows], one, widths)
        distance[rows] = _distances(angles[rows], one.centres[chosen], widths)
        inside = distance[rows] <= 1.0
        name[rows[inside]] = one.names[chosen[inside]]
        suiteness[rows[inside]] = np.maximum((np.cos(np.pi * distance[rows[inside]]) + 1.0) / 2.0, LEAST)
    return SuiteNames(name, suiteness, distance, np.where(complete, cause, ""))


def _triage(angles: NDArray[np.float64]) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Return the bin of each suite (``33p``) and the first angle that is in no range."""
    group = np.full(len(angles), "", dtype="<U3")
    cause = np.full(len(angles), "", dtype="<U11")
    for angle in _TRIAGE:
        values = angles[:, ANGLES.index(angle)]
        label = np.full(len(angles), "", dtype="<U1")
        inside = np.zeros(len(angles), dtype=np.bool_)
        for row in tables.rows("rna_suite_limits"):
            if row["quantity"] == angle.removesuffix("_minus"):
                within = (values >= float(row["from"])) & (values <= float(row["to"]))
                label[within] = row["class"]
                inside |= within
        cause[(cause == "") & ~inside] = angle
        group = np.char.add(group, label)
    return group, cause


def _choose(angles: NDArray[np.float64], one: _Bin, widths: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the conformer of a bin that each suite is compared with: the nearest one, unless two claim it."""
    rows = np.arange(len(angles))
    near = _distances(angles[:, None, _FOUR], one.centres[None, :, _FOUR], widths[_FOUR])
    chosen = near.argmin(axis=1)
    if one.dominant < 0 or len(one.names) == 1:
        return chosen
    contested = ((near < 1.0).sum(axis=1) > 1) & (near[:, one.dominant] < 1.0)
    others = near.copy()
    others[:, one.dominant] = np.inf
    other = others.argmin(axis=1)
    dominant_wins = near[:, one.dominant] < near[rows, other]
    # between a dominant conformer and its satellite, which is smaller, each is measured in widths of its own
    dominant, satellite, point = one.centres[one.dominant, _FOUR], one.centres[other, _FOUR], angles[:, _FOUR]
    beyond_dominant = ((dominant - point) * (dominant - satellite)).sum(axis=1) <= 0
    beyond_satellite = ((satellite - point) * (satellite - dominant)).sum(axis=1) <= 0
    between = one.satellite[other] & ~beyond_dominant & ~beyond_satellite
    to_dominant = _distances(point, dominant, one.width_dominant[other])
    to_satellite = _distances(point, satellite, one.width_satellite[other])
    dominant_wins = np.where(between, to_dominant < to_satellite, dominant_wins)
    return np.where(contested, np.where(dominant_wins, one.dominant, other), chosen)


def _distances(a: NDArray[np.float64], b: NDArray[np.float64], widths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return distances over the last axis in half-widths."""
    total: NDArray[np.float64] = (np.abs((a - b) / widths) ** POWER).sum(axis=-1)
    return np.cbrt(total)


@cache
def _widths() -> NDArray[np.float64]:
    """Return the half-widths of conformers along `ANGLES`."""
    half = {row["angle"]: float(row["half_width"]) for row in tables.rows("rna_suite_widths")}
    return np.array([half[angle] for angle in ANGLES])


@cache
def _bins() -> dict[str, _Bin]:
    """Return the conformers by bin; keys are classes in the order of `_TRIAGE`, such as ``33p``."""
    columns = ("delta_minus", "epsilon_minus", "zeta_minus", "alpha", "beta", "gamma", "delta")
    special = [(r["satellite"], r["angle"], float(r["half_width_satellite"]), float(r["half_width_dominant"]))
               for r in tables.rows("rna_suite_satellite_widths")]  # fmt: skip
    found: dict[str, list[dict[str, str]]] = {}
    for row in tables.rows("rna_suite_clusters"):
        found.setdefault(row["bin"], []).append(row)
    bins = {}
    for key, rows in found.items():
        names = [row["cluster"] for row in rows]
        width_satellite = np.tile(_widths()[_FOUR], (len(rows), 1))
        width_dominant = width_satellite.copy()
        for satellite, angle, own, dominant in special:
            if satellite in names:
                place = names.index(satellite), ANGLES.index(angle) - _FOUR.start
                width_satellite[place], width_dominant[place] = own, dominant
        kinds = [row["kind"] for row in rows]
        bins[key] = _Bin(
            names=np.array(names),
            centres=np.array([[float(row[column]) for column in columns] for row in rows]),
            dominant=kinds.index("dom") if "dom" in kinds else -1,
            satellite=np.array(kinds) == "sat",
            width_satellite=width_satellite,
            width_dominant=width_dominant,
        )
    return bins
