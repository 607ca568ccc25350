"""Paired and stacked bases as restraints, for the pairs and stacks that a model has now.

Hydrogen bonds have the lengths of Saenger's class (1984) and, in Watson-Crick pairs, the usual angles; the planes of
paired and of stacked bases are held parallel.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from refinement import tables
from refinement.conformers import NamedAtoms
from refinement.restraints.hydrogen_bonds import HydrogenBonds, each_atom_once, no_hydrogen_bonds
from refinement.restraints.parallelity import Parallelities
from refinement.validation.base_pairs import base_pairs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from refinement.structure import Structure
    from refinement.validation.base_pairs import BasePair

LONGEST = 3.5
"""Å; hydrogen bonds of the rarer classes are shorter than this."""
LONGEST_REGULAR = 4.0
"""Å; the same for Watson-Crick and wobble pairs, which are looked for further out: a model at 4 Å that is half an ångström
wrong shows less than half of its pairs within 3.4 Å, and hardly any other bases meet by chance as these do."""
REGULAR = ("Watson-Crick", "wobble")
ANGLE_LIMIT = 30.0
"""Degrees from the target where an angle levels off."""
GENERAL = (2.91, 0.15)
"""Å and standard deviation of bonds whose class has no value."""
SIGMA_FLOOR = 0.1
"""Å; some classes are known from a handful of pairs."""
PAIR_SIGMA, STACK_SIGMA = 0.0335, 0.027
"""Standard deviations of parallel planes, as cctbx has them; a tilt of 10° of a pair costs 14, of a stack 21."""


ANGLES: dict[tuple[str, str, str, str], tuple[float, float]] = {
    ("XIX", "C6", "O6", "N4"): (122.8, 3.0),
    ("XIX", "C4", "N4", "O6"): (117.3, 2.86),
    ("XIX", "C2", "N2", "O2"): (122.2, 2.88),
    ("XIX", "C2", "O2", "N2"): (120.7, 2.2),
    ("XIX", "C2", "N1", "N3"): (119.1, 2.59),
    ("XIX", "C2", "N3", "N1"): (116.3, 2.66),
    ("XX", "C2", "N1", "N3"): (116.2, 3.46),
    ("XX", "C2", "N3", "N1"): (115.8, 2.88),
    ("XX", "C6", "N6", "O4"): (115.6, 8.34),
    ("XX", "C4", "O4", "N6"): (121.2, 4.22),
}
"""Class, atom of a base, its end of the hydrogen bond, the other end -> degrees and standard deviation (as in cctbx)."""

BASE = ("N1", "C2", "N3", "C4", "C5", "C6", "N7", "C8", "N9", "N2", "N4", "N6", "O2", "O4", "O6")
_COLUMN = {name: k for k, name in enumerate(BASE)}


def base_pair_restraints(structure: Structure) -> tuple[HydrogenBonds, Parallelities]:
    """Return the hydrogen bonds of base pairs, and the planes that are parallel in pairs and stacks.

    An atom takes part in one hydrogen bond only; a pair that loses all but one of its bonds to better pairs is left out.

    Parameters
    ----------
    structure : Structure
        The model; its main conformer counts.
    """
    found = base_pairs(structure, longest=LONGEST_REGULAR)
    table = next(NamedAtoms(structure, BASE).conformers())
    bonds, pairs = _bonds(tuple(pair for pair in found.pairs if _is_close(pair)), table)
    stacks = np.array([stack.residues for stack in found.stacks], dtype=np.int64).reshape(-1, 2)
    return bonds, _planes(table, pairs, stacks)


def _is_close(pair: BasePair) -> bool:
    return pair.kind in REGULAR or all(length < LONGEST for _, _, length in pair.hydrogen_bonds)


def _bonds(pairs: tuple[BasePair, ...], table: NDArray[np.int32]) -> tuple[HydrogenBonds, NDArray[np.int64]]:
    """Return the hydrogen bonds, and the residues of the pairs (m, 2) that they hold together."""
    rows = [
        (number, table[pair.residues[0], _COLUMN[a]], table[pair.residues[1], _COLUMN[b]], length, *_length(pair.saenger, a, b))
        for number, pair in enumerate(pairs)
        for a, b, length in pair.hydrogen_bonds
    ]
    if not rows:
        return no_hydrogen_bonds(), np.empty((0, 2), dtype=np.int64)
    columns = np.array(rows)
    number, atoms = columns[:, 0].astype(np.int64), columns[:, 1:3].astype(np.int32)
    length, target, sigma = columns[:, 3:].T
    kept = np.flatnonzero((atoms >= 0).all(axis=1))
    regular = np.array([pair.kind in REGULAR for pair in pairs])[number]
    kept = kept[each_atom_once(atoms[kept], np.abs(length - target)[kept] - 1.0 * regular[kept])]
    kept = kept[np.bincount(number[kept], minlength=len(pairs))[number[kept]] > 1]
    names = [(pair.saenger, a, b) for pair in pairs for a, b, _ in pair.hydrogen_bonds]
    triples = list(_angles(kept, names, number, pairs, table, atoms))
    held = np.array([pairs[k].residues for k in np.unique(number[kept]).tolist()], dtype=np.int64).reshape(-1, 2)
    values = np.array([value for _, value in triples]).reshape(-1, 2)
    bonds = HydrogenBonds(
        atoms=np.ascontiguousarray(atoms[kept]),
        target=target[kept],
        weight=sigma[kept] ** -2.0,
        limit=np.where(regular, LONGEST_REGULAR, LONGEST)[kept] - target[kept],
        angle_atoms=np.array([triple for triple, _ in triples], dtype=np.int32).reshape(-1, 3),
        angle_target=values[:, 0].copy(),
        angle_weight=values[:, 1] ** -2.0,
        angle_limit=np.full(len(values), ANGLE_LIMIT),
    )
    return bonds, held


def _angles(
    kept: NDArray[np.int64],
    names: list[tuple[str, str, str]],
    number: NDArray[np.int64],
    pairs: tuple[BasePair, ...],
    table: NDArray[np.int32],
    atoms: NDArray[np.int32],
) -> Iterable[tuple[tuple[int, int, int], tuple[float, float]]]:
    """Yield the atoms and the value of each known angle at a kept bond."""
    for k in kept.tolist():
        saenger, *ends = names[k]
        for side in (0, 1):
            residue = pairs[number[k]].residues[side]
            for before, value in _around(saenger, ends[side], ends[1 - side]):
                third = int(table[residue, _COLUMN[before]])
                if third >= 0:
                    yield (third, int(atoms[k, side]), int(atoms[k, 1 - side])), value


@cache
def _around(saenger: str, near: str, far: str) -> tuple[tuple[str, tuple[float, float]], ...]:
    return tuple((before, value) for (kind, before, *ends), value in ANGLES.items() if [kind, *ends] == [saenger, near, far])


@cache
def _lengths() -> dict[tuple[str, frozenset[str]], tuple[float, float]]:
    """Return Saenger's class and the two atoms -> length and standard deviation in Å."""
    return {
        (row["saenger"], frozenset((row["atom1"], row["atom2"]))): (float(row["distance"]), float(row["sd"]))
        for row in tables.rows("rna_base_pairs")
        if row["saenger"] and row["atoms"] == "heavy" and row["distance"]
    }


def _length(saenger: str, a: str, b: str) -> tuple[float, float]:
    target, sigma = _lengths().get((saenger, frozenset((a, b))), GENERAL)
    return target, max(sigma, SIGMA_FLOOR)


def _planes(table: NDArray[np.int32], pairs: NDArray[np.int64], stacks: NDArray[np.int64]) -> Parallelities:
    """Return the planes of the bases of pairs and stacks, each once."""
    both = np.concatenate([pairs, stacks])
    residues, places = np.unique(both, return_inverse=True)
    present = table[residues] >= 0
    first = np.zeros(len(residues) + 1, dtype=np.int32)
    np.cumsum(present.sum(axis=1), out=first[1:])
    sigma = np.repeat([PAIR_SIGMA, STACK_SIGMA], [len(pairs), len(stacks)])
    return Parallelities(
        first=first,
        atoms=table[residues][present],
        planes=places.reshape(-1, 2).astype(np.int32),
        weight=sigma**-2.0,
        limit=np.full(len(both), np.inf),
    )
