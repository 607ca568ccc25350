"""Target values of bonds and angles, and types of atoms, by chemical environment.

The table is made by ``tools/build_compound_targets.py`` from the compounds of a monomer library: medians of its
values over equal environments. What no class describes is taken from the ideal coordinates of the compound.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

TABLE = Path(__file__).resolve().parent / "targets.npz"
BOND_UNIT, ANGLE_UNIT = 1e-4, 1e-2
"""Å and degrees of one step of the numbers in the table."""
BOND_SIGMA, ANGLE_SIGMA = (0.02, 0.04), (3.0, 5.0)
"""Å and degrees; standard deviations of values from the table, and of those from ideal coordinates."""


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """A table of numbers by key.

    Attributes
    ----------
    keys : NDArray[uint64]
        Sorted.
    values : NDArray[uint16]
    """

    keys: NDArray[np.uint64]
    values: NDArray[np.uint16]

    def first(self, keys: Iterable[int]) -> int | None:
        """Return the number of the first key that the table has, None if it has none."""
        for key in keys:
            place = int(np.searchsorted(self.keys, np.uint64(key)))
            if place < len(self.keys) and int(self.keys[place]) == key:
                return int(self.values[place])
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """The tables of bonds, angles and atom types."""

    bonds: Lookup
    angles: Lookup
    atoms: Lookup
    types: tuple[str, ...]

    def bond(self, keys: Iterable[int]) -> float | None:
        """Return the length of a bond (Å), None for unknown ones."""
        found = self.bonds.first(keys)
        return None if found is None else found * BOND_UNIT

    def angle(self, keys: Iterable[int]) -> float | None:
        """Return an angle (degrees), None for unknown ones."""
        found = self.angles.first(keys)
        return None if found is None else found * ANGLE_UNIT

    def type_of(self, keys: Iterable[int]) -> str | None:
        """Return the energy type of an atom, None for unknown ones."""
        found = self.atoms.first(keys)
        return None if found is None else self.types[found]


@cache
def read_targets(path: Path = TABLE) -> Targets:
    """Read the table."""
    with np.load(path, allow_pickle=False) as read:
        bonds, angles, atoms = (Lookup(read[f"{kind}_keys"], read[f"{kind}_values"]) for kind in ("bond", "angle", "atom"))
        types = tuple(str(name) for name in read["types"])
    return Targets(bonds, angles, atoms, types)
