"""The chemical environment of atoms, in four degrees of detail, as keys of tables of target values.

The finest key that a table knows decides; what it doesn't know is looked up by a coarser one;
each key follows from the finer ones, so that a table may leave out what coarser keys predict. The idea is that
of COD-based tables (Long et al. 2017, Acta Cryst. D73, 112-122), with fewer and coarser classes.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from refinement.compounds.component import Component

LEVELS = (3, 2, 1, 0)
"""From the finest to the coarsest description of an atom."""
LARGEST_RING = 8


@dataclass(frozen=True, slots=True, eq=False)
class Environment:
    """What surrounds the atoms of a compound.

    Attributes
    ----------
    neighbours : list of list of (int, int, bool)
        For each atom the bonded ones, with order and whether the bond is aromatic.
    ring : dict of (int, int) to int
        Size of the smallest ring that a bond is in, 0 if none; both directions.
    hybridisation : list of str
        ``1``, ``2``, ``3``; ``2c`` a flat nitrogen and ``3c`` an O or S beside a double bond; ``H`` for hydrogen.
    described : list of list of str
        For each level the descriptions of the atoms.
    """

    neighbours: list[list[tuple[int, int, bool]]]
    ring: dict[tuple[int, int], int]
    hybridisation: list[str]
    described: list[list[str]]

    def bond(self, i: int, j: int) -> tuple[int, bool]:
        """Return order of a bond and whether it is aromatic."""
        return next((order, aromatic) for k, order, aromatic in self.neighbours[i] if k == j)

    def is_flat(self, atom: int) -> bool:
        """Return whether the neighbours of an atom lie in one plane with it; those of P and S never do."""
        return self.hybridisation[atom].startswith("2") and self.described[0][atom][0] in "CNB"


def environment(compound: Component) -> Environment:
    """Describe the atoms of a compound."""
    neighbours: list[list[tuple[int, int, bool]]] = [[] for _ in range(len(compound))]
    for (i, j), order, aromatic in zip(
        compound.bonds.tolist(), compound.orders.tolist(), compound.bond_aromatic.tolist(), strict=True
    ):
        neighbours[i].append((j, order, aromatic))
        neighbours[j].append((i, order, aromatic))
    ring = _rings(compound, neighbours)
    hybridisation = [_hybridisation(compound, neighbours, atom) for atom in range(len(compound))]
    return Environment(neighbours, ring, hybridisation, _descriptions(compound, neighbours, ring, hybridisation))


def bond_keys(found: Environment, elements: tuple[str, ...], i: int, j: int) -> Iterator[int]:
    """Yield the keys of a bond, finest first."""
    order, aromatic = found.bond(i, j)
    word = "A" if aromatic else str(order)
    for level in LEVELS:
        ends = sorted((found.described[level][i], found.described[level][j]))
        yield _key("bond", level, *ends, word, found.ring[i, j])
    yield _key("bond", *sorted((elements[i], elements[j])), word)


def angle_keys(found: Environment, elements: tuple[str, ...], i: int, j: int, k: int) -> Iterator[int]:
    """Yield the keys of the angle at atom j, finest first."""
    rings = (found.ring[i, j], found.ring[j, k])
    for level in LEVELS:
        outer = found.described[max(level - 1, 0)]
        ends = sorted((f"{outer[i]}{rings[0]}", f"{outer[k]}{rings[1]}"))
        yield _key("angle", level, ends[0], found.described[level][j], ends[1])
    centre = (elements[j], found.hybridisation[j], len(found.neighbours[j]))
    yield _key("angle", *sorted(((elements[i], rings[0]), (elements[k], rings[1]))), *centre)
    yield _key("angle", *sorted(rings), *centre)


def atom_keys(found: Environment, elements: tuple[str, ...], i: int) -> Iterator[int]:
    """Yield the keys of an atom, finest first."""
    for level in LEVELS:
        yield _key("atom", level, found.described[level][i])
    yield _key("atom", elements[i])


def _key(*parts: object) -> int:
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


def _rings(compound: Component, neighbours: list[list[tuple[int, int, bool]]]) -> dict[tuple[int, int], int]:
    found = {}
    hydrogen = [element in ("H", "D") for element in compound.elements]
    for i, j in compound.bonds.tolist():
        size = 0 if hydrogen[i] or hydrogen[j] else _smallest_ring(neighbours, i, j)
        found[i, j] = found[j, i] = size
    return found


def _smallest_ring(neighbours: list[list[tuple[int, int, bool]]], start: int, end: int) -> int:
    """Return the size of the smallest ring through a bond, 0 if there is none of up to `LARGEST_RING`."""
    distance = {start: 0}
    queue = deque([start])
    while queue:
        here = queue.popleft()
        if distance[here] >= LARGEST_RING - 1:
            break
        for there, _, _ in neighbours[here]:
            if there in distance or (here == start and there == end):
                continue
            distance[there] = distance[here] + 1
            if there == end:
                return distance[there] + 1
            queue.append(there)
    return 0


def _hybridisation(compound: Component, neighbours: list[list[tuple[int, int, bool]]], atom: int) -> str:
    element, around = compound.elements[atom], neighbours[atom]
    if element in ("H", "D"):
        return "H"
    double = sum(order == 2 for _, order, _ in around)
    if any(order == 3 for _, order, _ in around) or (double == 2 and element in ("C", "N")):
        return "1"
    if double or compound.aromatic[atom]:
        return "2"
    unsaturated = any(
        compound.elements[there] in ("C", "N") and any(order > 1 for _, order, _ in neighbours[there]) for there, _, _ in around
    )
    if unsaturated and element == "N" and len(around) <= 3:
        return "2c"
    return "3c" if unsaturated and element in ("O", "S") else "3"


def _descriptions(
    compound: Component,
    neighbours: list[list[tuple[int, int, bool]]],
    ring: dict[tuple[int, int], int],
    hybridisation: list[str],
) -> list[list[str]]:
    atoms = range(len(compound))
    elements, aromatic = compound.elements, compound.aromatic.tolist()
    smallest = [min((size for there, _, _ in neighbours[i] if (size := ring[i, there])), default=0) for i in atoms]
    hydrogens = [sum(elements[there] == "H" for there, _, _ in neighbours[i]) for i in atoms]
    plain = [f"{elements[i]}{hybridisation[i]}/{len(neighbours[i])}{'a' if aromatic[i] else ''}" for i in atoms]
    in_ring = [f"{plain[i]}r{smallest[i]}h{hydrogens[i]}" for i in atoms]
    bonded = [
        in_ring[i]
        + str(sorted(f"{elements[there]}{hybridisation[there]}{'A' if a else order}" for there, order, a in neighbours[i]))
        for i in atoms
    ]
    further = [bonded[i] + str(sorted(in_ring[there] for there, _, _ in neighbours[i])) for i in atoms]
    return [plain, in_ring, bonded, further]
