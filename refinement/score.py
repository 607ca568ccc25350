"""How good a state of the model is, and what counts as harm.

The rule for the final model: among the states that do no harm to geometry, the one with the best fit; among
equals in fit the one with the better geometry. A state harms if it is worse than the deposited model in
clashes, rotamers, Ramachandran or Cβ outliers, cis or twisted peptides, chirality or planarity, if it misses
the limits on bonds, angles and Rama-Z (whose backbones may be too perfect as well as too odd) where the deposited
model kept them, or if it fits worse. Where every state harms, one is taken that has an outlier or two more in a
thousand residues, if its geometry is much better all the same.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from refinement.validation.cbeta import cbeta_deviations
from refinement.validation.clashscore import ContactModel, clashscore
from refinement.validation.geometry import covalent_geometry
from refinement.validation.molprobity import molprobity_score
from refinement.validation.omega import omega
from refinement.validation.rama_z import rama_z
from refinement.validation.ramachandran import ramachandran
from refinement.validation.rotamers import rotamers

if TYPE_CHECKING:
    import gemmi

    from refinement.restraints.hydrogens import Hydrogenated
    from refinement.restraints.topology import Topology
    from refinement.structure import Structure

MAX_BONDS, MAX_ANGLES = 0.015, 2.0
"""Å and degrees; the root-mean-square deviations that a refined model must keep."""
MAX_RAMA_Z = 2.5
"""A backbone further from normal than this, too good or too bad, is suspicious (2 to 3 in Sobolev et al. 2020)."""
ENOUGH_FOR_Z = 50
"""Residues; with fewer of them chance alone moves Rama-Z by more than 1."""
GOOD_FIT, FIT_TOLERANCE = 0.8, 0.005
"""A model that fits this well may lose this much of CC_mask for its geometry."""


COUNTED = (
    "clashscore",
    "rotamer_outliers",
    "rama_outliers",
    "cbeta_deviations",
    "cis_nonproline",
    "twisted_peptides",
    "chirality_outliers",
    "planarity_outliers",
)
"""Of these a refined model may not have more than the deposited one."""
FEW_CLASHES, PART_OF_A_CLASH = 2.0, 0.1
"""A clashscore up to the first may rise by the second: pairs near the limit count in part."""

BORNE = ("rotamer_outliers", "rama_outliers", "cbeta_deviations", "twisted_peptides", "chirality_outliers", "planarity_outliers")
"""Of these a few more are borne where nothing else can be had. Percentages of residues are the first two."""
MANY, MUCH_BETTER = 0.002, 0.5
"""So many more for each residue, but one in any case, and by how much the MolProbity score must fall then."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Geometry of one state; percentages, counts, Å and degrees, None where there is nothing to count."""

    clashscore: float | None
    rotamer_outliers: float | None
    rama_outliers: float | None
    rama_favored: float | None
    rama_z: float | None
    cbeta_deviations: float | None
    cis_nonproline: float | None
    twisted_peptides: float | None
    chirality_outliers: float | None
    planarity_outliers: float | None
    bonds_rmsd: float | None
    angles_rmsd: float | None

    @property
    def molprobity(self) -> float:
        """MolProbity score, 0 where a part is missing."""
        return molprobity_score(self.clashscore, self.rotamer_outliers, self.rama_favored) or 0.0

    @property
    def outliers(self) -> float:
        """Ramachandran and rotamer outliers together, in % of the residues."""
        return (self.rama_outliers or 0.0) + (self.rotamer_outliers or 0.0)

    def as_dict(self) -> dict[str, float | None]:
        """Return the numbers by name."""
        return asdict(self)


def without_contacts(structure: Structure, topology: Topology) -> dict[str, float | None]:
    """Return the geometry of a model without hydrogens, all but the clashes."""
    normality = rama_z(structure)
    enough = normality.counts["rama_z"] >= ENOUGH_FOR_Z
    return {
        **ramachandran(structure).summary,
        "rama_z": normality.summary["rama_z"] if enough else None,
        **rotamers(structure).summary,
        **cbeta_deviations(structure).summary,
        **omega(structure).summary,
        **covalent_geometry(structure, topology).summary,
    }


def contacts(structure: Structure, library: gemmi.MonLib, built: Hydrogenated) -> dict[str, float | None]:
    """Return the clashes of a model without hydrogens, counted on `built`, the same model with new ones."""
    model = ContactModel(built.structure, built.bonding.neighbours, built.types, hydrogens_added=True)
    return clashscore(structure, library, model=model).summary


def geometry_of(*parts: dict[str, float | None]) -> Geometry:
    """Join what `without_contacts` and `contacts` return."""
    found = {name: value for part in parts for name, value in part.items()}
    return Geometry(**{name: found[name] for name in Geometry.__slots__})


def harm(initial: Geometry, state: Geometry) -> list[str]:
    """Return what is worse in `state` than in `initial`, empty if nothing is."""
    worse = []
    for name in COUNTED:
        before, after = getattr(initial, name), getattr(state, name)
        if before is None or after is None:
            continue
        allowed = PART_OF_A_CLASH if name == "clashscore" and after <= FEW_CLASHES else 1e-9
        if after > before + allowed:
            worse.append(name)
    for name, limit in (("bonds_rmsd", MAX_BONDS), ("angles_rmsd", MAX_ANGLES), ("rama_z", MAX_RAMA_Z)):
        before, after = getattr(initial, name), getattr(state, name)
        if before is not None and after is not None and abs(after) > max(limit, abs(before)):
            worse.append(name)
    return worse


def bearable(harms: list[str], initial: Geometry, state: Geometry, residues: int) -> bool:
    """Return whether the harm that a state does is little beside what it makes better.

    Parameters
    ----------
    harms : list of str
        What is worse, as `harm` returns it.
    initial, state : Geometry
        Of the deposited model, and of a state that harms.
    residues : int
        How many residues the model has.
    """
    if not all(name in BORNE and few_more(name, initial, state, residues) for name in harms):
        return False
    return state.molprobity <= initial.molprobity - MUCH_BETTER


def few_more(name: str, before: Geometry, after: Geometry, residues: int) -> bool:
    """Return whether there is at most one more outlier of a kind than before, or two more for each thousand residues."""
    more = (getattr(after, name) or 0.0) - (getattr(before, name) or 0.0)
    count = more * residues / 100.0 if name in {"rotamer_outliers", "rama_outliers"} else more
    return bool(count <= max(1.0, MANY * residues) + 1e-9)


def fit_harm(initial_cc: float, cc: float) -> bool:
    """Return whether the fit is worse than it may be."""
    allowed = FIT_TOLERANCE if initial_cc > GOOD_FIT else 0.0
    return cc < initial_cc - allowed
