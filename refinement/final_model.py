"""The model that is handed out after refinement: with hydrogens where the input had some."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from refinement.restraints.hydrogens import add_hydrogens

if TYPE_CHECKING:
    import gemmi

    from refinement.structure import Structure


def final_model(initial: Structure, refined: Structure, library: gemmi.MonLib, *, unmoved: bool) -> Structure:
    """Return the refined model with hydrogens as the input had them.

    Parameters
    ----------
    initial : Structure
        The input model.
    refined : Structure
        The same after refinement, without hydrogens.
    library : gemmi.MonLib
        Dictionaries of its compounds.
    unmoved : bool
        Whether all atoms are where they were; the input's own hydrogens then stay.
    """
    if not initial.is_hydrogen.any():
        return refined
    return with_b_of(initial, refined) if unmoved else with_hydrogens_of(initial, refined, library)


def with_hydrogens_of(initial: Structure, refined: Structure, library: gemmi.MonLib) -> Structure:
    """Give the residues of a refined model new hydrogens where the initial model had some, and only there."""
    full = add_hydrogens(refined, library)
    count = len(initial.residues)
    bare = np.bincount(initial.residue[~initial.is_hydrogen], minlength=count) > 0  # residues of hydrogens alone are gone
    had = (np.bincount(initial.residue[initial.is_hydrogen], minlength=count) > 0)[bare]
    unwanted = full.is_hydrogen & ~had[full.residue]
    return full.without(unwanted) if unwanted.any() else full


def with_b_of(initial: Structure, refined: Structure) -> Structure:
    """Give an unmoved model, its own hydrogens included, the B factors and occupancies of its refined non-hydrogen atoms.

    A hydrogen takes that of the nearest such atom, the occupancy only where it belongs to an alternate conformer.
    """
    from scipy.spatial import cKDTree  # slow to import, and seldom needed

    b_iso = initial.b_iso.copy()
    heavy = ~initial.is_hydrogen
    b_iso[heavy] = refined.b_iso
    _, nearest = cKDTree(refined.positions).query(initial.positions[~heavy])
    b_iso[~heavy] = refined.b_iso[nearest]
    occupancy = initial.occupancy.copy()
    occupancy[heavy] = refined.occupancy
    occupancy[~heavy] = np.where(initial.altloc[~heavy] != "", refined.occupancy[nearest], occupancy[~heavy])
    return replace(initial, b_iso=b_iso, occupancy=occupancy)
