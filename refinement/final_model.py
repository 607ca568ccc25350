"""The model that is handed out after refinement: with hydrogens where the input had some."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gemmi
import numpy as np

from refinement.restraints.hydrogens import add_hydrogens

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    full = full.without(unwanted) if unwanted.any() else full
    deuterium = initial.is_deuterium
    return _with_deuterium(initial, full, deuterium, np.where(bare, np.cumsum(bare) - 1, -1)) if deuterium.any() else full


def _with_deuterium(initial: Structure, full: Structure, deuterium: NDArray[np.bool_], row_of: NDArray[np.int64]) -> Structure:
    """Make deuterium of the hydrogens at sites where the initial model has more of it than of hydrogen.

    Parameters
    ----------
    initial, full : Structure
        The initial model, and the new one with its hydrogens.
    deuterium : NDArray[bool]
        Deuterium atoms of `initial`.
    row_of : NDArray[int64], shape (residues of `initial`,)
        Row of each residue in `full`, -1 where it isn't there.
    """
    light = np.flatnonzero(initial.is_hydrogen)
    sites, site = np.unique(_sites(row_of[initial.residue[light]], initial.names[light]), return_inverse=True)
    excess = np.bincount(site, weights=np.where(deuterium[light], 1.0, -1.0) * initial.occupancy[light])
    chosen = full.is_hydrogen & np.isin(_sites(full.residue, full.names), sites[excess > 0.0])
    names, source = full.names.copy(), full.source.clone()
    names[chosen] = [f"D{name[1:]}" for name in names[chosen].tolist()]
    atoms = [site.atom for site in source[0].all()]
    for row in np.flatnonzero(chosen).tolist():
        atoms[row].name, atoms[row].element = str(names[row]), gemmi.Element("D")
    return replace(full, names=names, source=source)


def _sites(residue: NDArray[np.integer], names: NDArray[np.str_]) -> NDArray[np.str_]:
    """Return a text for each hydrogen that says where it is; its isotope doesn't matter."""
    without = np.array([name[1:] for name in names.tolist()], dtype=np.str_)
    return np.char.add(np.char.add(residue.astype(np.str_), "/"), without)


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
