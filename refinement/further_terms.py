"""Restraints beyond covalent geometry that follow the present model: hydrogen bonds of the main chain, base pairs, stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refinement.nucleotides import is_nucleotide
from refinement.restraints.base_pairs import base_pair_restraints
from refinement.restraints.secondary_structure import backbone_hydrogen_bonds
from refinement.structure import ResidueKind

if TYPE_CHECKING:
    from refinement.restraints.dihedrals import DihedralRestraints
    from refinement.settings import Settings
    from refinement.structure import Structure
    from refinement.target import Term

FINE, COARSE = 2.8, 4.5
"""Å; up to the first resolution the map places N and O by itself, from the second on restraints of helices and sheets have
their full strength. Pairs of bases are held at any resolution: their bonds are as regular as covalent ones."""
PARALLEL_COARSE = 4.5
"""Å; the same for parallel bases. Those of a ribosome at 2.9 Å are tilted by 11° and 14° (medians of stacks and pairs): flat
ones fit better at 4 Å, where the map says nothing, and worse at 3 Å."""


def further_terms(
    structure: Structure, resolution: float, settings: Settings, stiffness: float, reference: DihedralRestraints | None = None
) -> dict[str, Term]:
    """Return the terms by name, for the hydrogen bonds, pairs and stacks that the model has now.

    Parameters
    ----------
    structure : Structure
        The model without hydrogens.
    resolution : float
        Å.
    settings : Settings
        Strengths.
    stiffness : float
        How much stronger than usual the map pulls; restraints that hold against it are stronger by as much.
    reference : DihedralRestraints or None
        Torsions of a reference model.
    """
    terms: dict[str, Term] = {}
    share = rise(resolution, FINE, COARSE) * settings.hydrogen_bonds
    if share > 0 and (structure.residues.kind == ResidueKind.PROTEIN).any():
        terms["hydrogen bonds"] = backbone_hydrogen_bonds(structure).weighted(share * stiffness)
    if settings.base_pairs > 0 and is_nucleotide(structure).any():
        bonds, planes = base_pair_restraints(structure)
        terms["base pairs"] = bonds.weighted(settings.base_pairs * stiffness)
        share = rise(resolution, FINE, PARALLEL_COARSE) * settings.base_pairs
        if share > 0:
            terms["parallel bases"] = planes.weighted(share * stiffness)
    if reference is not None and len(reference):
        terms["reference"] = reference
    return terms


def rise(resolution: float, fine: float, coarse: float) -> float:
    """Return the part of its full strength that a restraint has: none up to the resolution `fine`, all from `coarse` on (Å)."""
    return float(np.clip((resolution - fine) / (coarse - fine), 0.0, 1.0))
