"""Helix, strand or loop from Cα alone, chain by chain: the assignment that Rama-Z is calibrated for.

Strands count only where they lie beside another strand of the same chain. Chains of one sequence that
superpose within 1 Å share the assignment of the first of them, as in Phenix.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from refinement.conformers import NamedAtoms
from refinement.structure import ResidueKind
from refinement.validation.ca_trace import stretch_elements

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from refinement.structure import Structure
    from refinement.validation.ca_trace import Span

HELIX, SHEET, LOOP = 0, 1, 2
"""First axis of the Rama-Z tables."""

COMPLETE_ENOUGH = 0.95
"""With fewer residues than this that have CA, N and O, all residues with a CA count; otherwise the complete ones."""
FARTHEST_NEXT = 6.0
"""Å between consecutive Cα; further apart a stretch ends."""
STRAND_DISTANCE = 6.0
"""Å between Cα of paired strands."""
SHORTEST_PAIRING = 4
SHORTEST_EDGE = 5
"""Residues of a strand at the edge of a sheet."""
SAME_FOLD = 1.0
"""Å rmsd after superposition."""

_JUMPS = (4, 2, 1)
_HOPELESS_PER_RESIDUE = 3.5


def assign_from_ca(structure: Structure) -> NDArray[np.int8]:
    """Return `HELIX`, `SHEET` or `LOOP` for every residue; atoms with another letter than A are ignored."""
    states = np.full(len(structure.residues), LOOP, dtype=np.int8)
    known: dict[tuple[object, ...], list[_Assigned]] = {}
    for rows, sites in _chains(structure):
        numbers = structure.residues.number[rows]
        key = (int(numbers[0]), int(numbers[-1]), structure.residues.compound[rows].tobytes())
        alike = known.setdefault(key, [])
        found = next((other for other in alike if _superpose(other.sites, sites)), None)
        if found is None:
            found = _Assigned(sites, *chain_elements(sites, _stretches(numbers, sites)))
            alike.append(found)
        # helices win where both claim a residue
        for spans, state in ((found.strands, SHEET), (found.helices, HELIX)):
            for first, last in spans:
                states[rows[first] : rows[last] + 1] = state
    return states


@dataclass(frozen=True, slots=True)
class _Assigned:
    sites: NDArray[np.float64]
    helices: list[Span]
    strands: list[Span]


def chain_elements(sites: NDArray[np.float64], stretches: list[Span]) -> tuple[list[Span], list[Span]]:
    """Return helices and paired strands of a chain as first and last position, both inclusive.

    Parameters
    ----------
    sites : NDArray[float64], shape (n, 3)
        Cα, Å.
    stretches : list of (start, stop)
        Parts of the chain with consecutive numbers.
    """
    helices: list[Span] = []
    strands: list[Span] = []
    for start, stop in stretches:
        parts = stretch_elements(sites[start:stop])
        for all_of_them, own in zip((helices, strands), parts, strict=True):
            all_of_them += [(first + start, last + start) for first, last in own]
    return helices, paired_strands(sites, strands)


def _chains(structure: Structure) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield the residues that take part and their Cα, for each chain."""
    table = NamedAtoms(structure, ("CA", "N", "O", "C")).table("A")
    residues = structure.residues
    present = _in_first_conformer(structure) & (residues.kind == ResidueKind.PROTEIN) & (residues.compound != "UNK")
    total = max(1, int(present.sum()))
    has = table[present] >= 0
    complete = min(int(has[:, k].sum()) for k in range(3)) / total
    if complete < COMPLETE_ENOUGH:
        present &= table[:, 0] >= 0
    elif complete < 1.0:
        present &= (table >= 0).all(axis=1)
    rows = np.flatnonzero(present)
    chain = residues.chain_index[rows]
    for part in np.split(rows, np.flatnonzero(np.diff(chain)) + 1):
        if len(part):
            yield part, structure.positions[table[part, 0]]


def _in_first_conformer(structure: Structure) -> NDArray[np.bool_]:
    kept = (structure.altloc == "") | (structure.altloc == "A")
    return np.bincount(structure.residue[kept], minlength=len(structure.residues)) > 0


def _stretches(numbers: NDArray[np.int32], sites: NDArray[np.float64]) -> list[Span]:
    far = np.linalg.norm(np.diff(sites, axis=0), axis=1) >= FARTHEST_NEXT
    ends = np.flatnonzero((np.diff(numbers) != 1) | far) + 1
    return list(pairwise([0, *ends.tolist(), len(numbers)]))


def _superpose(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    """Return whether two chains are alike: as many residues, at least three, rmsd within `SAME_FOLD`."""
    if len(a) != len(b) or len(a) < 3:
        return False
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    left, singular, right = np.linalg.svd(a.T @ b)
    singular[2] *= np.sign(np.linalg.det(left) * np.linalg.det(right))
    squares = (a * a).sum() + (b * b).sum() - 2.0 * singular.sum()
    return bool(max(0.0, squares) <= SAME_FOLD**2 * len(a))


# --------------------------------------------------------------------------------------------------- sheets


def paired_strands(sites: NDArray[np.float64], strands: list[Span]) -> list[Span]:
    """Return the parts of strands that lie beside others, sheet by sheet.

    A strand between two others in a sheet counts from the first to the last residue beside either of them.
    """
    ranges: dict[tuple[int, int], Span] = {}
    partners: list[list[int]] = [[] for _ in strands]
    bounds = [_ball(sites[first : last + 1]) for first, last in strands]
    for i, (first_i, last_i) in enumerate(strands):
        for j in range(i + 1, len(strands)):
            if np.linalg.norm(bounds[i][0] - bounds[j][0]) > bounds[i][1] + bounds[j][1] + STRAND_DISTANCE:
                continue
            first_j, last_j = strands[j]
            beside = _beside(sites[first_i : last_i + 1], sites[first_j : last_j + 1])
            if beside is not None:
                partners[i].append(j)
                partners[j].append(i)
                ranges[i, j], ranges[j, i] = beside
    parts = []
    for sheet in _sheets(partners):
        hull: dict[int, Span] = {}
        for i, j in pairwise(sheet):
            for strand, (first, last) in ((i, ranges[i, j]), (j, ranges[j, i])):
                before = hull.get(strand, (first, last))
                hull[strand] = min(before[0], first), max(before[1], last)
        parts += _without_short_edges([(strands[k][0] + first, strands[k][0] + last) for k, (first, last) in hull.items()])
    return parts


def _without_short_edges(sheet: list[Span]) -> list[Span]:
    """Return a sheet without short strands at its edges; those between longer ones stay."""
    long = [k for k, (first, last) in enumerate(sheet) if last - first + 1 >= SHORTEST_EDGE]
    return sheet[long[0] : long[-1] + 1] if long else []


def _ball(sites: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    centre = sites.mean(axis=0)
    return centre, float(np.linalg.norm(sites - centre, axis=1).max())


def _beside(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[Span, Span] | None:
    """Return which residues of two strands face each other, None if fewer than `SHORTEST_PAIRING` do."""
    apart = np.linalg.norm(a[:, None] - b[None], axis=2)
    closest = _closest(apart)
    if closest is None:
        return None
    i, j = closest
    n = len(b)
    parallel = _facing(apart, i, j)
    opposite = _facing(apart[:, ::-1], i, n - 1 - j)
    if max(len(parallel), len(opposite)) < SHORTEST_PAIRING:
        return None
    if len(opposite) > len(parallel):
        (first, low), (last, high) = opposite[0], opposite[-1]
        return (first, last), (n - 1 - high, n - 1 - low)
    (first, low), (last, high) = parallel[0], parallel[-1]
    return (first, last), (low, high)


def _closest(apart: NDArray[np.float64]) -> tuple[int, int] | None:
    """Return the closest residues of two strands; every fourth is tried first, to give up early."""
    best = np.inf
    for jump in _JUMPS:
        tried = apart[jump // 2 :: jump, jump // 2 :: jump]
        if tried.size:
            best = min(best, float(tried.min()))
        if best > (jump + 1) * _HOPELESS_PER_RESIDUE + STRAND_DISTANCE:
            return None
    if best > STRAND_DISTANCE:
        return None
    i, j = np.unravel_index(int(np.argmin(apart)), apart.shape)
    return int(i), int(j)


def _facing(apart: NDArray[np.float64], i: int, j: int) -> list[Span]:
    """Return the pairs in step with (i, j) that are close, up to the first gap behind it."""
    pairs = []
    for offset in range(-min(i, j), min(apart.shape[0] - i, apart.shape[1] - j)):
        if apart[i + offset, j + offset] <= STRAND_DISTANCE:
            pairs.append((i + offset, j + offset))
        elif offset > 0:
            break
    return pairs


def _sheets(partners: list[list[int]]) -> list[list[int]]:
    """Thread strands into sheets, from strands with one partner, then with two; pairs that are left stand alone."""
    used: set[int] = set()
    sheets = []
    for wanted in (1, 2):
        for edge in [i for i, own in enumerate(partners) if len(own) == wanted]:
            if edge in used:
                continue
            sheet, current = [edge], edge
            while (following := next((k for k in partners[current] if k not in used and k not in sheet), None)) is not None:
                sheet.append(following)
                current = following
            if len(sheet) > 1:
                used.update(sheet)
                sheets.append(sheet)
    joined = {pair for sheet in sheets for a, b in pairwise(sheet) for pair in ((a, b), (b, a))}
    for i, own in enumerate(partners):
        for j in own:
            if (i, j) not in joined:
                joined |= {(i, j), (j, i)}
                sheets.append([i, j])
    return sheets
