"""Two compounds joined by a bond that no library describes: what the bond does to both.

Leaving atoms that the model doesn't have are gone, hydrogens give way, carbonyls that lost their oxygen to nitrogen become
imines, and double bonds are opened where the bond is added to one of them. The values for the new bond, the angles at its
ends and its planes are then those of the joined molecule, by the same table as for single compounds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from refinement.compounds.angles import angle_targets
from refinement.compounds.component import Component, component
from refinement.compounds.environment import bond_keys, environment
from refinement.compounds.stereo import planes
from refinement.compounds.targets import BOND_SIGMA, read_targets

if TYPE_CHECKING:
    from refinement.compounds.environment import Environment

Site = tuple[int, str]
"""Which of the two compounds (0 or 1), and the name of the atom."""

VALENCE = {"C": 4, "N": 3, "O": 2, "S": 2, "Se": 2}
HYDROGENS = ("H", "D")
USUAL: dict[tuple[str, str, str], float] = {
    ("acyl", "O", "single"): 1.336, ("acyl", "N", "single"): 1.334, ("acyl", "S", "single"): 1.762,
    ("saturated", "O", "single"): 1.426, ("saturated", "N", "single"): 1.469, ("saturated", "S", "single"): 1.819,
    ("flat", "N", "double"): 1.279,
}  # fmt: skip
"""Å; bonds of carbon that reactions of proteins make, where the library that the table is learned from is far off: esters,
amides, thioesters; ethers, amines, thioethers; imines (Allen et al. 1987, J. Chem. Soc. Perkin Trans. 2, S1-S19)."""


@dataclass(frozen=True, slots=True, eq=False)
class Joint:
    """The bond between two compounds.

    Attributes
    ----------
    order : int
        1 or 2.
    length, sigma : float
        Å; NaN where the table doesn't know such a bond.
    angles : dict
        Degrees and standard deviation by three sites, those centred at atoms that the bond changed.
    planes : tuple of tuples of Site
        Planes that hold both ends.
    opened : tuple of (Site, Site)
        Bonds that were double or triple before.
    bent : tuple of Site
        Atoms that were flat before and aren't now.
    """

    order: int
    length: float
    sigma: float
    angles: dict[tuple[Site, Site, Site], tuple[float, float]]
    planes: tuple[tuple[Site, ...], ...]
    opened: tuple[tuple[Site, Site], ...]
    bent: tuple[Site, ...]


@dataclass(slots=True, eq=False)
class _Molecule:
    """Atoms and bonds that can still change."""

    sites: list[Site] = field(default_factory=list)
    elements: list[str] = field(default_factory=list)
    aromatic: list[bool] = field(default_factory=list)
    bonds: dict[int, dict[int, int]] = field(default_factory=dict)
    aromatic_bonds: set[frozenset[int]] = field(default_factory=set)
    opened: list[tuple[int, int]] = field(default_factory=list)

    def add(self, site: Site, element: str, *, aromatic: bool = False) -> int:
        self.sites.append(site)
        self.elements.append(element)
        self.aromatic.append(aromatic)
        self.bonds[len(self.sites) - 1] = {}
        return len(self.sites) - 1

    def bind(self, i: int, j: int, order: int) -> None:
        self.bonds[i][j] = self.bonds[j][i] = order

    def remove(self, atom: int) -> None:
        for other in self.bonds.pop(atom):
            del self.bonds[other][atom]

    def hydrogens(self, atom: int) -> list[int]:
        return [other for other in self.bonds[atom] if self.elements[other] in HYDROGENS]

    def open(self, atom: int, other: int) -> None:
        """Lower the order of a bond; the other atom takes up a hydrogen."""
        self.bind(atom, other, self.bonds[atom][other] - 1)
        self.bind(other, self.add((self.sites[other][0], ""), "H"), 1)
        self.opened.append((atom, other))


@lru_cache(maxsize=1024)
def joint(one: Site, two: Site, compounds: tuple[str, str], present: tuple[frozenset[str], frozenset[str]]) -> Joint | None:
    """Return what joins two compounds.

    Parameters
    ----------
    one, two : Site
        The atoms that are bonded, of compounds 0 and 1.
    compounds : tuple of str
        Identifiers in the Chemical Component Dictionary.
    present : tuple of frozenset of str
        Atoms of each that the model has; a neighbour of the bond that it lacks has left.

    Returns
    -------
    Joint or None
        None if the dictionary lacks a compound or an atom.
    """
    parts = [component(name) for name in compounds]
    molecule = _Molecule()
    for side, part in enumerate(parts):
        if part is None:
            return None
        _enter(molecule, side, part)
    if one not in molecule.sites or two not in molecule.sites:
        return None
    i, j = molecule.sites.index(one), molecule.sites.index(two)
    lost = [_leave(molecule, atom, present[side]) for side, atom in enumerate((i, j))]
    order = 2 if _is_imine(molecule, i, j, lost) or _is_imine(molecule, j, i, lost[::-1]) else 1
    molecule.bind(i, j, order)
    for atom, other, had in ((i, j, lost[0]), (j, i, lost[1])):
        _saturate(molecule, atom, other, adds=had == 0 and molecule.elements[other] != "C")
    return _described(molecule, i, j)


def _enter(molecule: _Molecule, side: int, part: Component) -> None:
    rows = [
        molecule.add((side, name), element, aromatic=aromatic)
        for name, element, aromatic in zip(part.names, part.elements, part.aromatic.tolist(), strict=True)
    ]
    for (a, b), order, aromatic in zip(part.bonds.tolist(), part.orders.tolist(), part.bond_aromatic.tolist(), strict=True):
        molecule.bind(rows[a], rows[b], order)
        if aromatic:
            molecule.aromatic_bonds.add(frozenset((rows[a], rows[b])))


def _leave(molecule: _Molecule, atom: int, present: frozenset[str]) -> int:
    """Remove the neighbours of an atom that the model lacks; returns the highest order of the bonds that they had, 0 for none.

    Of the two oxygens of an acid the one that stays becomes the carbonyl's, whatever its name.
    """
    gone = [
        other
        for other in molecule.bonds[atom]
        if molecule.sites[other][1] not in present and molecule.elements[other] not in HYDROGENS
    ]
    order = max((molecule.bonds[atom][other] for other in gone), default=0)
    for other in gone:
        for hydrogen in molecule.hydrogens(other):
            molecule.remove(hydrogen)
        molecule.remove(other)
    if order == 2:
        left = [other for other in molecule.bonds[atom] if molecule.elements[other] == "O" and len(molecule.bonds[other]) < 3]
        single = [other for other in left if set(molecule.bonds[other]) - {atom} <= set(molecule.hydrogens(other))]
        if single:
            for hydrogen in molecule.hydrogens(single[0]):
                molecule.remove(hydrogen)
            molecule.bind(atom, single[0], 2)
            return 1
    return order


def _is_imine(molecule: _Molecule, carbon: int, nitrogen: int, lost: list[int]) -> bool:
    """Return whether a carbon lost its doubly bonded oxygen to an amine."""
    elements = molecule.elements[carbon], molecule.elements[nitrogen]
    return elements == ("C", "N") and lost[0] == 2 and len(molecule.hydrogens(nitrogen)) >= 2


def _saturate(molecule: _Molecule, atom: int, other: int, *, adds: bool) -> None:
    """Take hydrogens off an atom, or open its double bonds (first if the new bond `adds` to one), until its valence fits."""
    valence = VALENCE.get(molecule.elements[atom])
    if valence is None:
        return
    while sum(molecule.bonds[atom].values()) > valence:
        multiple = [
            there
            for there, order in molecule.bonds[atom].items()
            if order > 1 and there != other and frozenset((atom, there)) not in molecule.aromatic_bonds
        ]
        hydrogens = molecule.hydrogens(atom)
        if multiple and (not hydrogens or (adds and molecule.elements[atom] == "C")):
            molecule.open(atom, multiple[0])
        elif hydrogens:
            molecule.remove(hydrogens[0])
        else:
            return


def _described(molecule: _Molecule, i: int, j: int) -> Joint:
    """Return the values of the joined molecule at its new bond."""
    kept = sorted(molecule.bonds)
    row = {atom: number for number, atom in enumerate(kept)}
    pairs = [(a, b) for a in kept for b in molecule.bonds[a] if a < b]
    whole = Component(
        name="",
        full_name="",
        kind="",
        names=tuple(molecule.sites[atom][1] for atom in kept),
        elements=tuple(molecule.elements[atom] for atom in kept),
        charges=np.zeros(len(kept), dtype=np.int64),
        stereo=("N",) * len(kept),
        aromatic=np.array([molecule.aromatic[atom] for atom in kept]),
        bonds=np.array([(row[a], row[b]) for a, b in pairs], dtype=np.int64),
        orders=np.array([molecule.bonds[a][b] for a, b in pairs], dtype=np.int64),
        bond_aromatic=np.array([frozenset(pair) in molecule.aromatic_bonds for pair in pairs]),
        positions=np.full((len(kept), 3), np.nan),
    )
    found, table = environment(whole), read_targets()
    known = _usual_length(found, whole.elements, row[i], row[j])
    if known is None:
        known = table.bond(bond_keys(found, whole.elements, row[i], row[j]))
    bent = [a for a, _ in molecule.opened] + [b for _, b in molecule.opened if not _is_conjugated(molecule, b)]
    site = [molecule.sites[atom] for atom in kept]
    heavy = [element not in HYDROGENS for element in whole.elements]
    centres = {row[atom] for atom in (i, j, *bent)}
    return Joint(
        order=molecule.bonds[i][j],
        length=np.nan if known is None else known,
        sigma=BOND_SIGMA[0],
        angles={
            (site[a], site[b], site[c]): (value, sigma)
            for a, b, c, value, sigma in angle_targets(whole, found, table)
            if b in centres and heavy[a] and heavy[c] and np.isfinite(value)
        },
        planes=tuple(
            tuple(site[atom] for atom in group if heavy[atom])
            for group in planes(whole, found)
            if row[i] in group and row[j] in group
        ),
        opened=tuple((molecule.sites[a], molecule.sites[b]) for a, b in molecule.opened),
        bent=tuple(molecule.sites[atom] for atom in bent),
    )


def _usual_length(found: Environment, elements: tuple[str, ...], i: int, j: int) -> float | None:
    """Return the length (Å) of a common bond of carbon, None for others."""
    carbon, other = (i, j) if elements[i] == "C" else (j, i)
    order, _ = found.bond(i, j)
    double = [elements[there] for there, multiplicity, _ in found.neighbours[carbon] if multiplicity == 2 and there != other]
    kind = "acyl" if "O" in double else "saturated" if found.hybridisation[carbon] == "3" else "flat"
    return USUAL.get((kind, elements[other], {1: "single", 2: "double"}[order])) if elements[carbon] == "C" else None


def _is_conjugated(molecule: _Molecule, atom: int) -> bool:
    """Return whether an atom has two unsaturated neighbours: conjugation keeps it flat, as the ring of haem c."""
    unsaturated = [there for there in molecule.bonds[atom] if max(molecule.bonds[there].values()) > 1]
    return len(unsaturated) > 1
