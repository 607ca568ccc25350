"""Radii and hydrogen-bond roles of atoms, as the contact analysis of the clashscore has them.

Standard residues come from a table; other compounds are typed by element, ring membership (dictionary atom
types) and the hydrogens they carry. The same values drive the repulsion in refinement, so that the engine
and its judge mean the same contacts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import gemmi
import numpy as np

from refinement import tables
from refinement.restraints.bonding import IS_METAL
from refinement.structure import ResidueKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.restraints.graph import Neighbours
    from refinement.structure import Structure

CARBON, NITROGEN, OXYGEN, SULFUR, SELENIUM = 6, 7, 8, 16, 34
RING_TYPE = "CR"
"""Dictionary types of carbons in planar rings begin so."""
METAL_RADIUS = 0.75
"""Ionic radius (Å) of metals that the table doesn't have."""


@dataclass(frozen=True, slots=True, eq=False)
class ContactTypes:
    """What an atom is in a contact.

    Attributes
    ----------
    radius : NDArray[float64], shape (n,)
        Contact radius in Å (electron-cloud hydrogens).
    donor : NDArray[bool], shape (n,)
        Hydrogens on N, O or S; heavy atoms never, as hydrogens are explicit.
    acceptor : NDArray[bool], shape (n,)
    polar : NDArray[bool], shape (n,)
        Heavy atoms N, O and S with a hydrogen: for contacts between the heavy ends of a hydrogen bond.
    metal : NDArray[bool], shape (n,)
    water : NDArray[bool], shape (n,)
    """

    radius: NDArray[np.float64]
    donor: NDArray[np.bool_]
    acceptor: NDArray[np.bool_]
    polar: NDArray[np.bool_]
    metal: NDArray[np.bool_]
    water: NDArray[np.bool_]


@cache
def _element_radii() -> NDArray[np.float64]:
    table = {row["type"]: float(row["electron_cloud"]) for row in tables.rows("contact_radii")}
    radii = np.full(119, table["C (default)"])
    for z in range(1, 119):
        symbol = gemmi.Element(z).name
        radii[z] = table.get(symbol, METAL_RADIUS if IS_METAL[z] else table["C (default)"])
    radii[1] = table["H on aliphatic C"]
    radii[CARBON] = table["C (default)"]
    return radii


@cache
def _special_radii() -> tuple[float, float, float]:
    """Radii of polar or aromatic hydrogens, carbonyl and aromatic carbons."""
    table = {row["type"]: float(row["electron_cloud"]) for row in tables.rows("contact_radii")}
    return table["H polar"], table["C carbonyl (C=O; Asp/Asn CG, Glu/Gln CD)"], table["C aromatic"]


@cache
def _standard_atoms() -> dict[str, dict[str, tuple[float, bool]]]:
    """Return compound -> atom -> (radius, acceptor)."""
    found: dict[str, dict[str, tuple[float, bool]]] = {}
    for row in tables.rows("contact_atoms"):
        values = (float(row["radius_electron_cloud"]), row["acceptor"] == "1")
        found.setdefault(row["compound"], {})[row["atom"]] = values
    return found


def contact_types(structure: Structure, bonded: Neighbours, library: gemmi.MonLib | None) -> ContactTypes:
    """Type the atoms of a model.

    Parameters
    ----------
    structure : Structure
        With hydrogens.
    bonded : Neighbours
        Its covalent graph.
    library : gemmi.MonLib or None
        For the ring atoms of compounds that aren't standard residues.
    """
    elements = structure.elements
    radius = _element_radii()[elements]
    acceptor = (elements == OXYGEN) | (elements == SULFUR) | (elements == SELENIUM)
    hydrogen = structure.is_hydrogen
    parent = _parents(hydrogen, bonded)
    polar_h, carbonyl, aromatic = _special_radii()
    donor = hydrogen & (parent >= 0) & np.isin(elements[np.maximum(parent, 0)], (NITROGEN, OXYGEN, SULFUR))
    polar = np.zeros(len(structure), dtype=bool)
    polar[parent[donor]] = True
    ring, listed = _named_atoms(structure, library, radius, acceptor)
    radius[ring] = aromatic
    acceptor |= ring | (~listed & (elements == NITROGEN) & ~polar)
    radius[~listed & (elements == CARBON) & (structure.names == "C")] = carbonyl
    on_ring = ~listed & hydrogen & (parent >= 0) & ring[np.maximum(parent, 0)]
    radius[donor | on_ring] = polar_h
    water = structure.residues.kind[structure.residue] == ResidueKind.WATER
    polar |= water & (elements == OXYGEN)
    return ContactTypes(radius, donor, acceptor & ~hydrogen, polar, IS_METAL[elements], water)


def _parents(hydrogen: NDArray[np.bool_], bonded: Neighbours) -> NDArray[np.int64]:
    """Return the atom that each hydrogen is on, -1 for heavy atoms and loose hydrogens."""
    parent = np.full(len(hydrogen), -1, dtype=np.int64)
    has_bond = hydrogen & (np.diff(bonded.first) > 0)
    parent[has_bond] = bonded.partner[bonded.first[:-1][has_bond]]
    return parent


def _named_atoms(
    structure: Structure, library: gemmi.MonLib | None, radius: NDArray[np.float64], acceptor: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Fill in the standard residues; return the ring carbons of the others, and which atoms the table has."""
    standard = _standard_atoms()
    ring = np.zeros(len(structure), dtype=bool)
    listed = np.zeros(len(structure), dtype=bool)
    compounds, of_residue = np.unique(structure.residues.compound, return_inverse=True)
    compound_of_atom = of_residue[structure.residue]
    order = np.argsort(compound_of_atom, kind="stable")
    bounds = np.searchsorted(compound_of_atom[order], np.arange(len(compounds) + 1))
    for k, compound in enumerate(compounds.tolist()):
        atoms = order[bounds[k] : bounds[k + 1]]
        names, inverse = np.unique(structure.names[atoms], return_inverse=True)
        table = standard.get(compound, {})
        known = np.array([name in table for name in names.tolist()])[inverse]
        listed[atoms] = known
        values = np.array([table.get(name, (0.0, False)) for name in names.tolist()])[inverse]
        radius[atoms[known]] = values[known, 0]
        acceptor[atoms[known]] = values[known, 1] > 0
        if not table and library is not None and compound in library.monomers:
            flat = {atom.id for atom in library.monomers[compound].atoms if atom.chem_type.startswith(RING_TYPE)}
            ring[atoms] = np.array([name in flat for name in names.tolist()])[inverse] & (structure.elements[atoms] == CARBON)
    return ring, listed


def altloc_codes(structure: Structure) -> NDArray[np.int32]:
    """Return a number for every altloc, 0 for none."""
    letters = np.unique(structure.altloc[structure.altloc != ""])
    return np.where(structure.altloc == "", 0, np.searchsorted(letters, structure.altloc) + 1).astype(np.int32)
