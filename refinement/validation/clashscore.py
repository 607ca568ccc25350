"""Clashscore: bad overlaps per 1000 atoms, hydrogens included (metrics §1).

Method of Word et al. 1999 (J. Mol. Biol. 285, 1711 and 1735) and Chen et al. 2010 (Acta Cryst. D66, 12), without its
dependence on the orientation of the model: see `refinement.validation.contacts`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from refinement.restraints.bonding import find_bonds
from refinement.restraints.contact_types import contact_types
from refinement.restraints.hydrogens import hydrogenate
from refinement.validation.contacts import SMALLEST_OCCUPANCY, find_clashes

if TYPE_CHECKING:
    import gemmi
    from numpy.typing import NDArray

    from refinement.restraints.contact_types import ContactTypes
    from refinement.restraints.graph import Neighbours
    from refinement.restraints.hydrogens import Hydrogenated
    from refinement.structure import Structure


@dataclass(frozen=True, slots=True)
class Clash:
    """Two overlapping atoms: their residue rows and names, and the overlap in Å."""

    first_residue: int
    first_atom: str
    second_residue: int
    second_atom: str
    overlap: float


@dataclass(frozen=True, slots=True, eq=False)
class Clashscore:
    """Clashes of a model.

    Attributes
    ----------
    summary : dict[str, float | None]
        ``clashscore``: clashes per 1000 atoms, the mean over all orientations of contact dots.
    reasons : dict[str, str]
        Why it is missing: ``not_applicable`` for a model without atoms to count.
    columns : dict[str, NDArray[float32]]
        ``n_clashes`` and ``worst_overlap`` (Å, 0 without a clash) of these per residue; NaN for water.
    clashes : tuple[Clash, ...]
        Those that dots find in at least half of all orientations, worst first.
    n_atoms : int
        Atoms that count: not water, hydrogens included, occupancy above the limit.
    hydrogens_added : bool
        Whether the model came without hydrogens.
    """

    summary: dict[str, float | None]
    reasons: dict[str, str] = field(default_factory=dict)
    columns: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    clashes: tuple[Clash, ...] = ()
    n_atoms: int = 0
    hydrogens_added: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ContactModel:
    """A model made ready for the analysis of contacts.

    Attributes
    ----------
    structure : Structure
        With hydrogens; same residues as the model it was made from.
    bonded : Neighbours
        Its covalent graph.
    types : ContactTypes
        What its atoms are in contacts.
    hydrogens_added : bool
        Whether the model came without hydrogens.
    """

    structure: Structure
    bonded: Neighbours
    types: ContactTypes
    hydrogens_added: bool


def contact_model(
    structure: Structure, library: gemmi.MonLib | None, *, rebuild: bool = False, built: Hydrogenated | None = None
) -> ContactModel:
    """Add hydrogens where a model has none, and type its atoms; parameters are those of `clashscore`."""
    add = rebuild or not structure.is_hydrogen.any()
    if add and library is not None:
        built = built or hydrogenate(structure, library, from_dictionary=True)
        full, bonded = built.structure, built.bonding.neighbours
    else:
        built = None
        full, bonded = structure, find_bonds(structure, library).neighbours
    return ContactModel(full, bonded, contact_types(full, bonded, library), built is not None)


def clashscore(
    structure: Structure,
    library: gemmi.MonLib | None,
    *,
    rebuild: bool = False,
    built: Hydrogenated | None = None,
    model: ContactModel | None = None,
    smallest_occupancy: float = SMALLEST_OCCUPANCY,
) -> Clashscore:
    """Return the clashes of a model.

    A model with any hydrogen keeps those it has; otherwise all are built and OH, SH and NH3 turned to their best
    contacts. Ligands then have the X-H distances of their dictionaries, as in the programs that the score is
    compared with.

    Parameters
    ----------
    structure : Structure
        The model.
    library : gemmi.MonLib or None
        Dictionaries; compounds without one get no hydrogens and bonds by distance.
    rebuild : bool
        Strip the hydrogens of the model and build new ones.
    built : Hydrogenated, optional
        The model with hydrogens from ``hydrogenate(..., from_dictionary=True)``, where it is at hand.
    model : ContactModel, optional
        What `contact_model` makes of all the above, where it is at hand.
    smallest_occupancy : float
        Atoms with an occupancy up to this are ignored.
    """
    model = model or contact_model(structure, library, rebuild=rebuild, built=built)
    full, types = model.structure, model.types
    counted = ~types.water & (full.occupancy > smallest_occupancy)
    n_atoms = int(counted.sum())
    if n_atoms == 0:
        return Clashscore({"clashscore": None}, {"clashscore": "not_applicable"})
    found = find_clashes(full, types, model.bonded, smallest_occupancy=smallest_occupancy)
    rows = full.residue[found.pairs]
    residues = _columns(rows, found.overlap, np.bincount(full.residue[counted], minlength=len(full.residues)) > 0)
    listed = zip(rows.tolist(), full.names[found.pairs].tolist(), found.overlap.tolist(), strict=True)
    clashes = tuple(Clash(row[0], names[0], row[1], names[1], overlap) for row, names, overlap in listed)
    score = 1000.0 * found.expected / n_atoms
    return Clashscore({"clashscore": score}, {}, residues, clashes, n_atoms, model.hydrogens_added)


def _columns(
    rows: NDArray[np.int32], overlap: NDArray[np.float64], evaluated: NDArray[np.bool_]
) -> dict[str, NDArray[np.float32]]:
    """Return the clashes per residue; `rows` are the residues of each pair, a pair within one counts once."""
    number = np.bincount(rows.ravel(), minlength=len(evaluated))
    number -= np.bincount(rows[rows[:, 0] == rows[:, 1], 0], minlength=len(evaluated))
    worst = np.zeros(len(evaluated))
    np.maximum.at(worst, rows.ravel(), np.repeat(overlap, 2))
    seen = evaluated | (number > 0)
    return {
        "n_clashes": np.where(seen, number, np.nan).astype(np.float32),
        "worst_overlap": np.where(seen, worst, np.nan).astype(np.float32),
    }
