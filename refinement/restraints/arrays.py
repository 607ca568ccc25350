"""Covalent restraints as flat arrays; atom indices are rows of `Structure`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class BondKind(IntEnum):
    """Where a bond comes from."""

    INTERNAL = 0
    """Within a residue."""
    POLYMER = 1
    """C-N or O3'-P of neighbours in a chain."""
    DISULFIDE = 2
    LINK = 3
    """Any other covalent bond between residues."""
    METAL = 4
    """Coordination between residues, weak."""
    AD_HOC = 5
    """Ties an atom that its dictionary doesn't know; leave out of statistics."""


class TorsionKind(IntEnum):
    """What a torsion turns about."""

    OMEGA = 0
    PHI_PSI = 1
    """Library phi and psi (very weak; better served by the Ramachandran term)."""
    CHI = 2
    """Side-chain chi1 to chi4 of amino acids other than proline."""
    PROLINE = 3
    """Ring torsions of proline."""
    PLANAR = 4
    """Kept flat by conjugation."""
    NUCLEIC = 5
    """Backbone and glycosidic torsions of nucleotides."""
    SUGAR = 6
    """Ring torsions of ribose, for the pucker it has."""
    HYDROGEN = 7
    """An end atom is hydrogen."""
    LIGAND = 8
    """All others."""


@dataclass(frozen=True, slots=True, eq=False)
class Bonds:
    """Distances: ``atoms`` int32 (m, 2), ``target`` and ``sigma`` float64 in Å, ``kind`` uint8 (`BondKind`)."""

    atoms: NDArray[np.int32]
    target: NDArray[np.float64]
    sigma: NDArray[np.float64]
    kind: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.target)

    def select(self, mask: NDArray[np.bool_] | NDArray[np.int32]) -> Bonds:
        """Return the bonds of `mask`, or of these rows."""
        return Bonds(self.atoms[mask], self.target[mask], self.sigma[mask], self.kind[mask])


@dataclass(frozen=True, slots=True, eq=False)
class Angles:
    """Angles: ``atoms`` int32 (m, 3) with the apex in the middle, ``target`` and ``sigma`` float64 in degrees."""

    atoms: NDArray[np.int32]
    target: NDArray[np.float64]
    sigma: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.target)

    def select(self, mask: NDArray[np.bool_] | NDArray[np.int32]) -> Angles:
        """Return the angles of `mask`, or of these rows."""
        return Angles(self.atoms[mask], self.target[mask], self.sigma[mask])


@dataclass(frozen=True, slots=True, eq=False)
class Torsions:
    """Dihedral angles.

    Attributes
    ----------
    atoms : NDArray[int32], shape (m, 4)
    target, sigma : NDArray[float64]
        Degrees.
    period : NDArray[int32]
        Number of equal minima per turn; 0 for a single minimum with a harmonic energy.
    kind : NDArray[uint8]
        `TorsionKind`.
    label : NDArray[str]
        Name in the dictionary (``chi1``, ``omega``, …).
    """

    atoms: NDArray[np.int32]
    target: NDArray[np.float64]
    sigma: NDArray[np.float64]
    period: NDArray[np.int32]
    kind: NDArray[np.uint8]
    label: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.target)

    def select(self, mask: NDArray[np.bool_] | NDArray[np.int32]) -> Torsions:
        """Return the torsions of `mask`, or of these rows."""
        return Torsions(
            self.atoms[mask], self.target[mask], self.sigma[mask], self.period[mask], self.kind[mask], self.label[mask]
        )

    def of_kind(self, *kinds: TorsionKind) -> Torsions:
        """Return the torsions of the given kinds."""
        return self.select(np.isin(self.kind, kinds))


@dataclass(frozen=True, slots=True, eq=False)
class Chiralities:
    """Signed volumes a·(b × c) of the bonds from a centre.

    Attributes
    ----------
    atoms : NDArray[int32], shape (m, 4)
        Centre first.
    target, sigma : NDArray[float64]
        Å³; `target` is positive where `both` is set.
    both : NDArray[bool]
        Either hand is right.
    """

    atoms: NDArray[np.int32]
    target: NDArray[np.float64]
    sigma: NDArray[np.float64]
    both: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.target)

    def select(self, mask: NDArray[np.bool_]) -> Chiralities:
        """Return the chiralities of `mask`."""
        return Chiralities(self.atoms[mask], self.target[mask], self.sigma[mask], self.both[mask])


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Groups of four or more atoms in a plane: group k has ``atoms[first[k]:first[k + 1]]`` and ``sigma[k]`` (Å)."""

    first: NDArray[np.int32]
    atoms: NDArray[np.int32]
    sigma: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.sigma)

    def select(self, mask: NDArray[np.bool_]) -> Planes:
        """Return the planes of `mask`."""
        sizes = np.diff(self.first)
        first = np.zeros(int(mask.sum()) + 1, dtype=np.int32)
        np.cumsum(sizes[mask], out=first[1:])
        return Planes(first, self.atoms[np.repeat(mask, sizes)], self.sigma[mask])
