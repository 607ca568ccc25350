"""Base pairs by Saenger's classes, and stacked bases, of RNA and DNA.

Two bases pair when two or more of the hydrogen bonds of one class (Saenger 1984) are there: short enough and near the
planes of both bases. They stack when they are close, parallel and above each other (Gendron 2001).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from refinement import tables
from refinement.cells import neighbour_pairs
from refinement.conformers import NamedAtoms
from refinement.geometry import distances
from refinement.nucleotides import parent_bases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from refinement.structure import Structure

HYDROGEN_BOND_MAX = 3.4
"""Å between the atoms on both sides of the hydrogen."""
USUAL_LENGTH = 2.89
"""Å; of the classes that fit, the one whose hydrogen bonds are nearest to this on average is taken."""
OUT_OF_PLANE_MAX = 35.0
"""Degrees between a hydrogen bond and the plane of a base."""
STACKING_DISTANCE = 5.5
"""Å between the closest ring atoms."""
STACKING_TILT = 30.0
"""Degrees between the normals of stacked bases."""
STACKING_OFFSET = 40.0
"""Degrees between the line of the centres and the mean normal."""

RING = ("N1", "C2", "N3", "C4", "C5", "C6", "N7", "C8", "N9")
POLAR = ("N1", "N2", "N3", "N4", "N6", "N7", "O2", "O4", "O6")
_NAMES = (*RING, "N2", "N4", "N6", "O2", "O4", "O6")
_RING_REACH = 3.0
"""Å; no ring atom is further from the centre of its base."""
_KINDS = {
    "XIX": "Watson-Crick", "XX": "Watson-Crick", "XXI": "reverse Watson-Crick", "XXII": "reverse Watson-Crick",
    "XXIII": "Hoogsteen", "XXIV": "reverse Hoogsteen", "XXVII": "reverse wobble", "XXVIII": "wobble",
}  # fmt: skip
"""Names of the commonest classes."""


class _PairClass(NamedTuple):
    """A class of pairs: the bases in alphabetical order and the columns of `_NAMES` of each hydrogen bond."""

    name: str
    bases: tuple[str, str]
    atoms: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class BasePair:
    """Two paired bases.

    Attributes
    ----------
    residues : tuple[int, int]
        Rows of the residues, the base that comes first in the alphabet first.
    saenger : str
        Class, ``I`` to ``XXVIII``.
    kind : str
        ``Watson-Crick``, ``wobble`` …, or ``other``.
    hydrogen_bonds : tuple[tuple[str, str, float], ...]
        Atom of the first base, atom of the second, distance in Å.
    """

    residues: tuple[int, int]
    saenger: str
    kind: str
    hydrogen_bonds: tuple[tuple[str, str, float], ...]


@dataclass(frozen=True, slots=True)
class Stack:
    """Two stacked bases: rows of the residues, distance of the closest ring atoms (Å), tilt and offset (degrees)."""

    residues: tuple[int, int]
    distance: float
    tilt: float
    offset: float


@dataclass(frozen=True, slots=True, eq=False)
class BasePairs:
    """Result.

    Attributes
    ----------
    pairs : tuple[BasePair, ...]
        Ordered by residue; a base can be in several.
    stacks : tuple[Stack, ...]
        Ordered by residue.
    structure : Structure
        The model.
    bases : NDArray[bool], shape (n_residues,)
        Residues with a base that pairs are looked for.
    """

    pairs: tuple[BasePair, ...]
    stacks: tuple[Stack, ...]
    structure: Structure
    bases: NDArray[np.bool_]

    @property
    def summary(self) -> dict[str, float | None]:
        """Nothing: pairs are no metric of quality."""
        return {}

    @property
    def reasons(self) -> dict[str, str]:
        """Nothing is missing."""
        return {}

    @property
    def columns(self) -> dict[str, NDArray[np.float32]]:
        """Return the number of pairs and of stacked neighbours of each base, NaN for residues without one."""
        columns = {}
        for key, found in (("base_pairs", self.pairs), ("stacked_bases", self.stacks)):
            ends = np.array([row for entry in found for row in entry.residues], dtype=np.int64)
            counts = np.bincount(ends, minlength=len(self.bases))
            columns[key] = np.where(self.bases, counts, np.nan).astype(np.float32)
        return columns

    @property
    def details(self) -> dict[str, object]:
        """Return counts and both lists with readable residue names; nothing where there are no bases."""
        if not self.bases.any():
            return {}
        label = self.structure.residues.label
        kinds, counts = np.unique([pair.kind for pair in self.pairs], return_counts=True)
        pairs = [
            {
                "residues": [label(row) for row in pair.residues],
                "saenger": pair.saenger,
                "kind": pair.kind,
                "hydrogen_bonds": [[a, b, round(length, 3)] for a, b, length in pair.hydrogen_bonds],
            }
            for pair in self.pairs
        ]
        stacks = [
            {
                "residues": [label(row) for row in stack.residues],
                "distance": round(stack.distance, 3),
                "tilt": round(stack.tilt, 1),
                "offset": round(stack.offset, 1),
            }
            for stack in self.stacks
        ]
        by_kind = dict(zip(kinds.tolist(), counts.tolist(), strict=True))
        return {"base_pairs": {"by_kind": by_kind, "pairs": pairs, "stacks": stacks}}


class _Planes(NamedTuple):
    """Centre and unit normal of each base (n_residues, 3), NaN where half of the ring is missing."""

    centre: NDArray[np.float64]
    normal: NDArray[np.float64]


def base_pairs(structure: Structure, *, longest: float = HYDROGEN_BOND_MAX) -> BasePairs:
    """Find paired and stacked bases; modified bases pair like their parents.

    A pair in several conformers is listed once, for the first of them.

    Parameters
    ----------
    structure : Structure
        The model.
    longest : float
        Å; hydrogen bonds are shorter than this between the atoms on both sides of the hydrogen.
    """
    bases = parent_bases(structure)
    pairs: dict[tuple[int, int], BasePair] = {}
    stacks: dict[tuple[int, int], Stack] = {}
    if (bases != "").any():
        named = NamedAtoms(structure, _NAMES)
        letters = np.unique(structure.altloc[bases[structure.residue] != ""]).tolist()
        for letter in [letter for letter in letters if letter] or [""]:
            table = named.table(letter)
            table[bases == ""] = -1
            planes = _planes(structure, table[:, : len(RING)])
            for pair in _find_pairs(structure, bases, table, planes, longest):
                pairs.setdefault((min(pair.residues), max(pair.residues)), pair)
            for stack in _find_stacks(structure, table[:, : len(RING)], planes):
                stacks.setdefault(stack.residues, stack)
    return BasePairs(
        tuple(pairs[key] for key in sorted(pairs)), tuple(stacks[key] for key in sorted(stacks)), structure, bases != ""
    )


def _planes(structure: Structure, ring: NDArray[np.int32]) -> _Planes:
    """Fit planes to the ring atoms of each base."""
    known = ring >= 0
    whole = known.sum(axis=1) >= len(RING) // 2
    points = np.where(known[whole, :, None], structure.positions[ring[whole]], 0.0)
    count = known[whole].sum(axis=1)[:, None]
    middle = points.sum(axis=1) / count
    offset = np.where(known[whole, :, None], points - middle[:, None], 0.0)
    _, axes = np.linalg.eigh(np.einsum("nai,naj->nij", offset, offset))
    centre = np.full((len(ring), 3), np.nan)
    normal = centre.copy()
    centre[whole], normal[whole] = middle, axes[:, :, 0]
    return _Planes(centre, normal)


def _find_pairs(
    structure: Structure, bases: NDArray[np.str_], table: NDArray[np.int32], planes: _Planes, longest: float
) -> Iterator[BasePair]:
    candidates = _candidates(structure, bases, table, planes, longest)
    best = np.full(len(candidates), np.inf)
    chosen = np.full(len(candidates), -1)
    turned = np.zeros(len(candidates), dtype=np.bool_)
    for number, one in enumerate(_classes()):
        alike = np.flatnonzero((bases[candidates] == one.bases).all(axis=1))
        for swap in (False, True) if one.bases[0] == one.bases[1] else (False,):
            first, second = (table[candidates[alike, int(swap)]], table[candidates[alike, int(not swap)]])
            score = np.zeros(len(alike))
            for a, b in one.atoms:
                length = distances(structure.positions, first[:, a], second[:, b])
                score += np.where((first[:, a] >= 0) & (second[:, b] >= 0), np.abs(length - USUAL_LENGTH), np.inf)
            better = score / len(one.atoms) < best[alike]
            best[alike[better]] = score[better] / len(one.atoms)
            chosen[alike[better]], turned[alike[better]] = number, swap
    for (i, j), number, swap in zip(candidates.tolist(), chosen.tolist(), turned.tolist(), strict=True):
        if number >= 0:
            pair = _pair(structure, table, (j, i) if swap else (i, j), _classes()[number], longest)
            if len(pair.hydrogen_bonds) > 1:
                yield pair


def _pair(structure: Structure, table: NDArray[np.int32], rows: tuple[int, int], one: _PairClass, longest: float) -> BasePair:
    bonds = []
    for a, b in one.atoms:
        i, j = table[rows[0], a], table[rows[1], b]
        length = float(np.linalg.norm(structure.positions[i] - structure.positions[j]))
        if length < longest:
            bonds.append((_NAMES[a], _NAMES[b], length))
    return BasePair(rows, one.name, _KINDS.get(one.name, "other"), tuple(bonds))


def _candidates(
    structure: Structure, bases: NDArray[np.str_], table: NDArray[np.int32], planes: _Planes, longest: float
) -> NDArray[np.int64]:
    """Return pairs of residues (m, 2) with a possible hydrogen bond, in the alphabetical order of their bases."""
    columns = np.array([_NAMES.index(name) for name in POLAR])
    row, place = np.nonzero((table[:, columns] >= 0) & np.isfinite(planes.normal[:, :1]))
    points = structure.positions[table[row, columns[place]]]
    close = neighbour_pairs(points, longest / 2.0)
    ends = row[close]
    bond = points[close[:, 1]] - points[close[:, 0]]
    residues = structure.residues
    apart = ends[:, 0] != ends[:, 1]
    apart &= (np.abs(residues.number[ends[:, 0]] - residues.number[ends[:, 1]]) > 1) | (
        residues.chain_index[ends[:, 0]] != residues.chain_index[ends[:, 1]]
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        bond /= np.linalg.norm(bond, axis=1)[:, None]
    for side in (0, 1):
        rise = np.abs(np.einsum("ij,ij->i", bond, planes.normal[ends[:, side]]))
        apart &= rise < np.sin(np.radians(OUT_OF_PLANE_MAX))
    found = np.unique(np.sort(ends[apart], axis=1), axis=0)
    swap = bases[found[:, 0]] > bases[found[:, 1]]
    found[swap] = found[swap, ::-1]
    return found.astype(np.int64)


def _find_stacks(structure: Structure, ring: NDArray[np.int32], planes: _Planes) -> Iterator[Stack]:
    rows = np.flatnonzero(np.isfinite(planes.normal[:, 0]))
    i, j = rows[neighbour_pairs(planes.centre[rows], STACKING_DISTANCE / 2.0 + _RING_REACH)].T
    cosine = np.einsum("ij,ij->i", planes.normal[i], planes.normal[j])
    mean = planes.normal[i] + np.where(cosine < 0, -1.0, 1.0)[:, None] * planes.normal[j]
    line = planes.centre[j] - planes.centre[i]
    rise = np.abs(np.einsum("ij,ij->i", mean, line)) / np.linalg.norm(mean, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        offset = np.degrees(np.arccos(np.minimum(rise / np.linalg.norm(line, axis=1), 1.0)))
    tilt = np.degrees(np.arccos(np.minimum(np.abs(cosine), 1.0)))
    flat = (tilt < STACKING_TILT) & (offset < STACKING_OFFSET)
    i, j, tilt, offset = i[flat], j[flat], tilt[flat], offset[flat]
    first, second = (np.where(ring[k, :, None] >= 0, structure.positions[ring[k]], np.nan) for k in (i, j))
    closest = np.full(len(i), np.inf)
    for a in range(len(RING)):
        apart = np.linalg.norm(second - first[:, None, a], axis=2)
        closest = np.fmin(closest, np.fmin.reduce(apart, axis=1))
    for k in np.flatnonzero(closest < STACKING_DISTANCE).tolist():
        yield Stack((int(i[k]), int(j[k])), float(closest[k]), float(tilt[k]), float(offset[k]))


@cache
def _classes() -> tuple[_PairClass, ...]:
    """Return Saenger's classes of pairs between A, C, G and U."""
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for row in tables.rows("rna_base_pairs"):
        if row["saenger"] and row["atoms"] == "heavy":
            found.setdefault((row["saenger"], row["pair"]), []).append((_NAMES.index(row["atom1"]), _NAMES.index(row["atom2"])))
    return tuple(_PairClass(name, (pair[0], pair[-1]), tuple(atoms)) for (name, pair), atoms in found.items())
