"""Helices and strands of one stretch of a Cα trace, as Rama-Z wants them.

The residues that Rama-Z calls helical or extended decide its partial scores, so the assignment has to be the
one that its tables and calibration were made with: the conservative search of Phenix (`find_ss_from_ca`).
A stretch is a run of residues with consecutive numbers. Steps that span about one turn must have the rise of
the element and point the same way; overlaps go to α, then 3-10, then π helices, then strands.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Element:
    """What a kind of element looks like in a Cα trace.

    Attributes
    ----------
    reach : tuple of int
        A step goes from Cα i to the mean of the Cα that are so many residues further on.
    span : float
        Residues per step.
    rise, tolerance : float
        Å per residue.
    parallel : float
        Smallest cosine between a step and the one before it, or the direction of the element.
    single : float
        Smallest mean cosine between Cα i to i + 1 and the direction of the element.
    shortest : int
        Residues.
    third : tuple of float or None
        Distance i to i + 3 and how much shorter or longer it may be, Å.
    gap : int
        Elements with fewer residues between them are cut back if they run in opposite directions.
    """

    reach: tuple[int, ...]
    span: float
    rise: float
    tolerance: float
    parallel: float
    single: float
    shortest: int = 6
    third: tuple[float, float] | None = None
    gap: int = 0

    @property
    def tail(self) -> int:
        """Residues from the start of the last step to the end of the element."""
        return int(self.span + 0.99)

    @property
    def lost(self) -> int:
        """How many residues at the end of a trace no step starts from (four for every helix)."""
        return 2 if self.reach == (2,) else 4


HELICES = (
    Element((3, 4), 3.5, 1.54, 0.13, 0.94, 0.3),
    Element((3,), 3.0, 2.0, 0.5, 0.9, 0.5),
    Element((4,), 4.0, 0.95, 0.5, 0.9, 0.1),
)
"""α, 3-10, π."""
STRAND = Element((2,), 2.0, 3.3, 0.3, 0.75, 0.5, shortest=4, third=(10.0, 1.5), gap=3)

NO_LENGTH = 1e-10


def stretch_elements(sites: NDArray[np.float64]) -> tuple[list[Span], list[Span]]:
    """Return the helices and the strands of one stretch as first and last position, both inclusive.

    Parameters
    ----------
    sites : NDArray[float64], shape (n, 3)
        Cα of residues with consecutive numbers, Å.
    """
    used = np.zeros(len(sites), dtype=np.bool_)
    found: list[list[Span]] = []
    for element in (*HELICES, STRAND):
        search = _Search(sites, element)
        found.append([part for span in search.elements() if (part := _unused_part(span, used, search))])
    return found[0] + found[1] + found[2], found[3]


def _unused_part(span: Span, used: NDArray[np.bool_], search: _Search) -> Span | None:
    """Claim the first stretch of a span that no earlier element has, None if it is too short."""
    first, last = span
    taken = used[first : last + 1]
    if taken.any():
        if taken.all():
            return None
        start = int(np.argmin(taken))
        stop = start + int(np.argmax(np.append(taken[start:], True)))
        first, last = first + start, first + stop - 1
        if last - first + 1 < search.element.shortest or not search.is_stretched(first, last):
            return None
    used[first : last + 1] = True
    return first, last


class _Search:
    """Search for one kind of element; spans map the first step of an element to its last one."""

    def __init__(self, sites: NDArray[np.float64], element: Element) -> None:
        self.sites, self.element = sites, element
        n = max(0, len(sites) - element.lost)
        ahead = [sites[k : k + n] for k in element.reach]
        self.steps, self.lengths = _unit(sum(ahead[1:], start=ahead[0]) / len(ahead) - sites[:n])
        self.singles, _ = _unit(np.diff(sites, axis=0))
        self.thirds = np.linalg.norm(sites[3:] - sites[:-3], axis=1)

    def elements(self) -> list[Span]:
        """Return first and last residue of the elements, in order."""
        spans = self._pruned(self._raw())
        self._merge(spans)
        self._cut_turns(spans)
        self._merge(spans)
        tail = self.element.tail
        ends = [(first, last + tail) for first, last in sorted(spans.items())]
        return [
            (first, min(last, len(self.sites) - 1)) for first, last in ends if last <= len(self.sites) and self._good(first, last)
        ]

    def is_stretched(self, first: int, last: int) -> bool:
        """Return whether no residues i and i + 3 are too close (strands only)."""
        if self.element.third is None:
            return True
        target, tolerance = self.element.third
        return bool(self.thirds[first : last - 2].min(initial=np.inf) >= target - tolerance)

    def _raw(self) -> dict[int, int]:
        """Return runs of steps that have the right length and follow each other in one direction."""
        element, n = self.element, len(self.steps)
        fits = np.abs(self.lengths - element.rise * element.span) <= element.tolerance * element.span
        follows = fits.copy()
        follows[1:] &= _dot(self.steps[1:], self.steps[:-1]) >= element.parallel
        if element.third is not None:
            target, tolerance = element.third
            known = min(n, len(self.thirds))
            follows[:known] &= np.abs(self.thirds[:known] - target) <= tolerance
        spans, i = {}, 0
        starts, goes_on = fits.tolist(), follows.tolist()
        while i < n:
            first, i = i, i + 1
            if not starts[first]:
                continue
            while i < n and goes_on[i]:
                i += 1
            spans[first] = i - 1
        return self._long_enough(spans)

    def _pruned(self, spans: dict[int, int]) -> dict[int, int]:
        """Cut spans, twice at most, at steps that point away from the mean direction."""
        for _ in range(2):
            kept, cut = {}, False
            for first, last in sorted(spans.items()):
                along = self.steps[first : last + 1] @ _direction(self.steps[first : last + 1]) >= self.element.parallel
                cut |= not along.all()
                for start, stop in _runs(along):
                    kept[first + start] = first + stop - 1
            spans = self._long_enough(kept)
            if not cut:
                break
        return spans

    def _long_enough(self, spans: dict[int, int]) -> dict[int, int]:
        least = self.element.shortest - 1 - self.element.tail
        return {first: last for first, last in spans.items() if last - first >= least}

    def _merge(self, spans: dict[int, int]) -> None:
        """Join neighbours that touch where the whole is still an element."""
        cycles, changed = 0, True
        while changed and cycles <= len(spans):
            changed, cycles = False, cycles + 1
            for a, b in pairwise(sorted(spans)):
                if b <= spans[a] + self.element.tail + 1 and self._good(a, spans[b] + self.element.tail):
                    spans[a] = spans.pop(b)
                    changed = True
                    break

    def _cut_turns(self, spans: dict[int, int]) -> None:
        """Shorten neighbours of opposite direction that leave no room for a turn between them."""
        tail, cycles, changed = self.element.tail, 0, True
        while changed and cycles <= len(spans):
            changed, cycles = False, cycles + 1
            for a, b in pairwise(sorted(spans)):
                between = b - (spans[a] + tail)
                if between >= self.element.gap or self._span_direction(a, spans[a]) @ self._span_direction(b, spans[b]) > 0:
                    continue
                changed = True
                shift = (between + 1) // 2
                moved, last = b + shift, spans[b]
                spans[a] -= shift
                if not self._is_span(a, spans[a]):
                    del spans[a]
                if self._is_span(moved, last):
                    spans[moved] = last
                if shift:
                    del spans[b]
                break

    def _is_span(self, first: int, last: int) -> bool:
        return last >= first >= 0 and self._good(first, last + self.element.tail)

    def _span_direction(self, first: int, last: int) -> NDArray[np.float64]:
        return _direction(self.steps[first : last + self.element.tail - self.element.lost + 1])

    def _good(self, first: int, last: int) -> bool:
        """Return whether the residues from first to last are an element as a whole."""
        element = self.element
        last = min(last, len(self.sites) - 1)
        steps = slice(first, last - element.lost + 1)
        if last - first + 1 < element.shortest or not len(self.steps[steps]):
            return False
        direction = _direction(self.steps[steps])
        rise = self.lengths[steps].mean() / element.span
        return bool(
            (self.steps[steps] @ direction).mean() >= element.parallel
            and abs(rise - element.rise) <= element.tolerance
            and (self.singles[first:last] @ direction).mean() >= element.single
            and self.is_stretched(first, last)
        )


def _runs(mask: NDArray[np.bool_]) -> list[Span]:
    """Return the stretches of true values as start and stop."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _direction(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean direction of steps; the last one doesn't count, as in the reference."""
    total = steps[: max(1, len(steps) - 1)].sum(axis=0)
    return np.asarray(total / max(float(np.sqrt(total @ total)), NO_LENGTH))


def _unit(vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    lengths = np.maximum(np.sqrt(_dot(vectors, vectors)), NO_LENGTH)
    return vectors / lengths[:, None], lengths


def _dot(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.einsum("ij,ij->i", a, b)
