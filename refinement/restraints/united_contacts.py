"""Repulsion without hydrogens, as real-space refinement had it in 2020: E = w Σ (d0 - d)⁴ where d is less than d0.

Carbon, nitrogen and sulphur stand for their hydrogens too: d0 is the sum of the dictionary's radii for united atoms.
It is the "prolsq" form with its weight of 100 / Å⁴ (Afonine et al. 2018, Acta Cryst. D74, 531-544, and the open cctbx
sources), except that atoms three bonds apart don't repel here; there they did so at 0.8 of their distance, which
torsions seldom allow. Clashes of hydrogens are invisible to it, which is why it isn't the default.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from refinement.restraints.nonbonded import LIGAND, METAL

if TYPE_CHECKING:
    from collections.abc import Callable

    import gemmi
    from numpy.typing import NDArray

    from refinement.restraints.hydrogens import Hydrogenated
    from refinement.restraints.nonbonded import Nonbonded, PairList
    from refinement.structure import Structure

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int32]

WEIGHT = 100.0
"""1/Å⁴"""
UNKNOWN = 1.0
"""Å; radius of atoms that the dictionary doesn't type."""


class UnitedContacts:
    """The repulsion of a model's non-hydrogen atoms; its pair list is renewed when atoms have moved.

    Parameters
    ----------
    nonbonded : Nonbonded
        Radii and exclusions of the non-hydrogen atoms.
    positions : NDArray[float64], shape (n, 3)
        Å; where the atoms are now.
    margin : float
        Å; of the pair list.
    """

    def __init__(self, nonbonded: Nonbonded, positions: NDArray[np.float64], margin: float) -> None:
        self.nonbonded, self._margin = nonbonded, margin
        self._pairs: PairList = nonbonded.pair_list(positions, margin=margin)

    def energy_and_gradient(self, positions: NDArray[np.float64], gradient: NDArray[np.float64]) -> float:
        """Add the gradient (shape (n, 3), per Å) into `gradient` and return the energy."""
        if self._pairs.outdated(positions):
            self._pairs = self.nonbonded.pair_list(positions, margin=self._margin)
        energy = 0.0
        for share, part in self._pairs.parts:
            energy += quartic_repulsion(positions, part.pairs, part.contact, WEIGHT * share, gradient)
        return energy

    def listed(self, positions: NDArray[np.float64], margin: float) -> ListedContacts:
        """Return the repulsion of the pairs that may repel while no atom moves by more than half a margin (Å)."""
        found = self.nonbonded.pair_list(positions, margin=margin)
        return ListedContacts(found.pairs, found.contact)

    def counted(self, make: Callable[[Nonbonded], Nonbonded]) -> UnitedContacts:
        """Return the same repulsion with pairs that count otherwise; `make` returns what lists them."""
        return UnitedContacts(make(self.nonbonded), self._pairs.built_at, self._margin)


@dataclass(frozen=True, slots=True, eq=False)
class ListedContacts:
    """The repulsion of certain pairs.

    Attributes
    ----------
    pairs : NDArray[int32], shape (m, 2)
        Rows of their atoms.
    contact : NDArray[float64], shape (m,)
        Å; the distance from which on they repel.
    """

    pairs: Ints
    contact: Floats

    def of(self, atoms: NDArray[np.bool_]) -> ListedContacts:
        """Return those that an atom of a mask takes part in."""
        kept = atoms[self.pairs].any(axis=1)
        return ListedContacts(self.pairs[kept], self.contact[kept])

    def energy_and_gradient(self, positions: NDArray[np.float64], gradient: NDArray[np.float64]) -> float:
        """Add the gradient (shape (n, 3), per Å) into `gradient` and return the energy."""
        return float(quartic_repulsion(positions, self.pairs, self.contact, WEIGHT, gradient))


def united_contacts(
    structure: Structure, model: Hydrogenated, nonbonded: Nonbonded, library: gemmi.MonLib, *, margin: float
) -> UnitedContacts:
    """Prepare the repulsion of a model without hydrogens.

    Parameters
    ----------
    structure : Structure
        The model without hydrogens.
    model : Hydrogenated
        The same with them.
    nonbonded : Nonbonded
        Radii and exclusions of all atoms of `model`.
    library : gemmi.MonLib
        Dictionaries of its compounds.
    margin : float
        Å; of the pair list.
    """
    heavy = model.heavy
    row_of = np.full(len(nonbonded.radius), -1, dtype=np.int32)
    row_of[heavy] = np.arange(len(heavy), dtype=np.int32)
    owner = np.repeat(np.arange(len(nonbonded.radius)), np.diff(nonbonded.excluded_first))
    kept = (row_of[owner] >= 0) & (row_of[nonbonded.excluded] >= 0)
    counts = np.bincount(row_of[owner[kept]], minlength=len(heavy))
    bare = replace(
        nonbonded,
        radius=united_radii(structure, library),
        role=nonbonded.role[heavy] & np.uint8(METAL | LIGAND),
        altloc=nonbonded.altloc[heavy],
        excluded_first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        excluded=row_of[nonbonded.excluded[kept]],
    )
    return UnitedContacts(bare, structure.positions, margin)


def united_radii(structure: Structure, library: gemmi.MonLib) -> NDArray[np.float64]:
    """Return the radius (Å) of each atom together with its hydrogens, shape (n,), by its type in the dictionary."""
    known = library.ener_lib.atoms
    radii = {name: atom.vdwh_radius for name, atom in known.items() if np.isfinite(atom.vdwh_radius)}
    found = np.full(len(structure), UNKNOWN)
    compounds, of_residue = np.unique(structure.residues.compound, return_inverse=True)
    compound_of_atom = of_residue[structure.residue]
    for number, compound in enumerate(compounds.tolist()):
        if compound not in library.monomers:
            continue
        atoms = np.flatnonzero(compound_of_atom == number)
        types = {atom.id: atom.chem_type for atom in library.monomers[compound].atoms}
        names, inverse = np.unique(structure.names[atoms], return_inverse=True)
        of_name = [radii.get(types.get(name, ""), UNKNOWN) for name in names.tolist()]
        found[atoms] = np.array(of_name)[inverse]
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def quartic_repulsion(positions: Floats, pairs: Ints, contact: Floats, weight: float, gradient: Floats) -> float:
    """Return w Σ (contact - d)⁴ over the pairs closer than that; the gradient is added to `gradient`."""
    energy = 0.0
    for k in range(len(pairs)):
        i, j = pairs[k, 0], pairs[k, 1]
        square = 0.0
        for a in range(3):
            square += (positions[i, a] - positions[j, a]) ** 2
        if square < contact[k] * contact[k]:
            length = np.sqrt(square)
            delta = contact[k] - length
            energy += delta**4
            push = -4.0 * weight * delta**3 / max(length, 1e-6)
            for a in range(3):
                step = push * (positions[i, a] - positions[j, a])
                gradient[i, a] += step
                gradient[j, a] -= step
    return weight * energy
