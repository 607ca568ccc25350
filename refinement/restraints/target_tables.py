"""Look-up of bond and angle targets by group (compound, link …) and atom names, for all restraints at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from refinement.restraints.arrays import Angles, Bonds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from refinement.structure import Structure

R = TypeVar("R", Bonds, Angles)


class TargetTable:
    """Targets with numbers instead of names, sorted for searching.

    Parameters
    ----------
    bonds, angles : mapping
        (group, atom, atom[, atom]) -> target and standard deviation (Å or degrees), both orders of the atoms. Names in
        links may begin with ``1:`` or ``2:``; that is dropped, so they have to be unique without it.
    """

    def __init__(
        self,
        bonds: Mapping[tuple[str, str, str], tuple[float, float]],
        angles: Mapping[tuple[str, str, str, str], tuple[float, float]],
    ) -> None:
        self.groups = sorted({key[0] for key in (*bonds, *angles)})
        self.names = sorted({name.split(":")[-1] for key in (*bonds, *angles) for name in key[1:]})
        self.bonds = self._sorted(bonds)
        self.angles = self._sorted(angles)

    def code(self, group: str) -> int:
        """Return the number of a group."""
        return self.groups.index(group)

    def name_codes(self, structure: Structure) -> NDArray[np.int64]:
        """Return the place of each atom's name in the sorted `names`, -1 for others."""
        return places(self.names, structure.names)

    def _sorted(self, targets: Mapping[Any, tuple[float, float]]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        base = len(self.names)
        place = {name: k for k, name in enumerate(self.names)}
        keys = []
        for group, *names in targets:
            key = self.code(group)
            for name in names:
                key = key * base + place[name.split(":")[-1]]
            keys.append(key)
        order = np.argsort(np.array(keys, dtype=np.int64))
        return np.array(keys, dtype=np.int64)[order], np.array(list(targets.values()))[order]

    def apply(self, restraints: R, group: NDArray[np.int64], codes: NDArray[np.int64]) -> R:
        """Return restraints with the targets of the table where it has them.

        Parameters
        ----------
        restraints : Bonds or Angles
        group : NDArray[int64], shape (m,)
            Number of the group of each restraint, -1 for none.
        codes : NDArray[int64], shape (n_atoms,)
            `name_codes` of the model.
        """
        keys, values = self.bonds if isinstance(restraints, Bonds) else self.angles
        names = codes[restraints.atoms]
        wanted = group.copy()
        for column in names.T:
            wanted = wanted * len(self.names) + column
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        found = (keys[place] == wanted) & (names >= 0).all(axis=1) & (group >= 0)
        target, sigma = restraints.target.copy(), restraints.sigma.copy()
        target[found], sigma[found] = values[place[found]].T
        return replace(restraints, target=target, sigma=sigma)


def both_ways(targets: Mapping[Any, tuple[float, float]]) -> dict[Any, tuple[float, float]]:
    """Return the targets with both orders of the atoms."""
    return {key: value for (group, *names), value in targets.items() for key in ((group, *names), (group, *names[::-1]))}


def places(known: list[str], wanted: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return the place of each name in a sorted list, -1 for those that aren't there."""
    listed = np.array(known)
    place = np.minimum(np.searchsorted(listed, wanted), len(listed) - 1)
    found: NDArray[np.int64] = np.where(listed[place] == wanted, place, -1)
    return found


def within_residue(structure: Structure, atoms: NDArray[np.int32], codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the code of the residue (`codes`, one per residue) of restraints inside one, -1 for those between residues."""
    residues = structure.residue[atoms]
    inside = (residues == residues[:, :1]).all(axis=1)
    groups: NDArray[np.int64] = np.where(inside, codes[residues[:, 0]], -1)
    return groups
