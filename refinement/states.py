"""States of the model during refinement, and the target that fits one."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from refinement.elimination import Pattern
from refinement.further_terms import further_terms
from refinement.moves.adp import cc_mask
from refinement.restraints.cbeta import cbeta_restraints
from refinement.restraints.curvature import joined_atoms
from refinement.restraints.dihedrals import DihedralRestraints
from refinement.restraints.elastic import ElasticRestraints
from refinement.restraints.hydrogen_bonds import HydrogenBonds
from refinement.restraints.hydrogens import hydrogenate, rehydrogenate
from refinement.restraints.nonbonded import make_nonbonded
from refinement.restraints.parallelity import Parallelities
from refinement.restraints.ramachandran import ramachandran_restraints
from refinement.restraints.riding import place
from refinement.restraints.rotamers import natural_rotamer_restraints, rotamer_restraints, rotamer_targets
from refinement.restraints.start import StartRestraints
from refinement.restraints.united_contacts import united_contacts
from refinement.score import Geometry, contacts, geometry_of, without_contacts
from refinement.symmetry.geometry import contacts_of_whole, of_whole_without_contacts
from refinement.target import Target, covalent_terms
from refinement.threads import beside
from refinement.validation.geometry import bent_residues
from refinement.validation.ramachandran import FAVORED, Region, ramachandran

if TYPE_CHECKING:
    import gemmi
    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.maps.interpolation import InterpolatedMap
    from refinement.restraints.hydrogens import Hydrogenated
    from refinement.restraints.nonbonded import Nonbonded
    from refinement.restraints.topology import Topology
    from refinement.settings import Settings
    from refinement.structure import Structure
    from refinement.symmetry.constraints import Symmetry
    from refinement.symmetry.restraints import Counterparts
    from refinement.symmetry.unique import UniquePart

SHAPES = frozenset({"chirality_outliers", "planarity_outliers"})
"""Harms to the shape of single residues, which show where the map pulls too hard; that of bonds and angles is a mean."""
STRONGER = 1.6
"""Factor on a restraint after a cycle in which it was too weak to prevent harm."""
MAX_FACTOR = 20.0
MAX_OUTLIER_FACTOR = 4.0
"""The same for φ and ψ of one residue: a stronger one would hide an error instead of curing it."""
SAFE = 0.05
"""Contour of the Ramachandran plot from which on the boost of rare φ and ψ fades in, so that a residue at the border of
the favoured region (0.02) doesn't fall back as soon as it is inside."""
NORMAL_Z, RESPONSE, BALANCE = 0.5, 0.25, (0.5, 2.0)
"""Within the first Rama-Z is right; e-fold change of the backbone's potential per unit beyond it after each cycle (Z
changes by about 2 for a factor of e, so this is half of what would be needed); and the limits of that factor."""


@dataclass(slots=True)
class Strengths:
    """Factors on the restraints, raised where a cycle did harm and kept for the rest of the run.

    The potential of φ and ψ follows Rama-Z instead: weaker where the backbone is too perfect, stronger where it
    isn't normal enough. Only residues that were outliers have it raised for themselves (`outliers`, by residue).
    """

    contacts: float = 1.0
    rotamers: float = 1.0
    ramachandran: float = 1.0
    cbeta: float = 1.0
    peptides: float = 1.0
    map: float = 1.0
    outliers: NDArray[np.float64] | None = None
    shapes: NDArray[np.float64] | None = None
    """On planes and chiral centres, by residue."""
    pull: NDArray[np.float64] | None = None
    """On the map, by residue: lowered where a cycle has bent planes or chiral centres."""

    def learn(self, state: State, harms: list[str], topology: Topology) -> None:
        """Take the lessons of a cycle that ended in `state` and did `harms`; `topology` is that of its model."""
        self.raise_for(harms)
        if SHAPES.intersection(harms):
            bent = bent_residues(state.structure, topology)
            factor = np.ones(len(bent)) if self.pull is None else self.pull
            if bent.any():
                self.pull = np.where(bent, np.maximum(factor / STRONGER, 1.0 / MAX_FACTOR), factor)
        z = state.geometry.rama_z
        if z is not None:
            excess = math.copysign(max(abs(z) - NORMAL_Z, 0.0), z)
            self.ramachandran = float(np.clip(self.ramachandran * math.exp(-RESPONSE * excess), *BALANCE))
        outlier = ramachandran(state.structure).region == Region.OUTLIER
        factor = np.ones(len(outlier)) if self.outliers is None else self.outliers
        self.outliers = np.where(outlier, np.minimum(factor * STRONGER, MAX_OUTLIER_FACTOR), factor)

    def raise_for(self, harms: list[str]) -> None:
        """Strengthen what failed."""
        for name, attribute in (
            ("clashscore", "contacts"),
            ("rotamer_outliers", "rotamers"),
            ("cbeta_deviations", "cbeta"),
            ("cis_nonproline", "peptides"),
            ("twisted_peptides", "peptides"),
        ):
            if name in harms:
                setattr(self, attribute, min(getattr(self, attribute) * STRONGER, MAX_FACTOR))
        if {"bonds_rmsd", "angles_rmsd"} & set(harms):
            self.map = max(self.map / STRONGER, 1.0 / MAX_FACTOR)


@dataclass(frozen=True, slots=True)
class Problem:
    """What doesn't change during the run."""

    topology: Topology
    library: gemmi.MonLib
    density: Density
    interpolated: InterpolatedMap
    resolution: float
    settings: Settings
    threads: int
    reference: DihedralRestraints | None = None
    """Torsions held where a reference model has them."""
    start: StartRestraints | None = None
    """Where atoms are held, if they are."""
    elastic: ElasticRestraints | None = None
    """Which distances are, if any."""
    pattern: Pattern | None = None
    """From `elimination_pattern`, of the atoms that vary; minimisation takes several times as many steps without."""
    unique: UniquePart | None = None
    """Where copies are refined as one: the part of the model that everything else here is about."""
    counterparts: tuple[Counterparts, ...] = ()
    """Where copies are held alike: their torsions."""

    @property
    def symmetry(self) -> Symmetry | None:
        """Which atoms follow which, if any do."""
        return self.unique.symmetry if self.unique else None

    @property
    def images(self) -> NDArray[np.bool_] | None:
        """Mask of the atoms that follow others."""
        return ~self.unique.symmetry.varies if self.unique else None

    def images_by_residue(self, structure: Structure) -> NDArray[np.bool_] | None:
        """Return which residues of a model follow others."""
        return self.images[structure.residues.first[:-1]] if self.images is not None else None

    def imposed(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return positions (n, 3) with every image where its source wants it."""
        return self.unique.symmetry.imposed(positions) if self.unique else positions


@dataclass(frozen=True, slots=True)
class Model:
    """A model in refinement.

    Attributes
    ----------
    structure : Structure
        Without hydrogens.
    hydrogenated : Hydrogenated
        The same with them.
    nonbonded : Nonbonded
        The repulsion of its atoms.
    searched_at : NDArray[float64], shape (n, 3), or None
        Where each atom without hydrogens was (Å) when side chains around it were last searched; None for never.
    """

    structure: Structure
    hydrogenated: Hydrogenated
    nonbonded: Nonbonded
    searched_at: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, structure: Structure, library: gemmi.MonLib, *, like: Model | None = None) -> Model:
        """Build hydrogens on a model; what doesn't depend on positions is taken from `like`, the same model elsewhere."""
        if like is None:
            built = hydrogenate(structure, library, from_dictionary=True)
        else:
            built = rehydrogenate(like.hydrogenated, structure, library)
            if built.bonding is like.hydrogenated.bonding:
                return cls(structure, built, like.nonbonded, like.searched_at)
        nonbonded = make_nonbonded(built.structure, built.types, built.bonding.neighbours)
        return cls(structure, built, nonbonded, None if like is None else like.searched_at)

    def moved(self, positions: NDArray[np.float64]) -> Model:
        """Return the model with its non-hydrogen atoms at `positions`; hydrogens ride along."""
        full = self.hydrogenated
        everything = full.structure.positions.copy()
        everything[full.heavy] = positions
        place(full.riding, everything)
        moved = replace(full, structure=full.structure.moved(everything))
        return replace(self, structure=self.structure.moved(positions), hydrogenated=moved)


@dataclass(frozen=True, slots=True)
class State:
    """A model after a cycle (hydrogens built anew), and how good it is."""

    label: str
    model: Model
    geometry: Geometry
    density_mean: float
    cc_mask: float
    """In the box of the refinement, with the B factors of the input."""
    expanded: Structure | None = None
    """The whole model, where the state is that of its unique part."""

    @property
    def structure(self) -> Structure:
        """The model without hydrogens, or its unique part where copies are refined as one."""
        return self.model.structure

    @property
    def whole(self) -> Structure:
        """The whole model without hydrogens."""
        return self.expanded or self.model.structure


def elimination_pattern(structure: Structure, topology: Topology, symmetry: Symmetry | None = None) -> Pattern:
    """Return the pattern of the covalent and rotamer restraints of a model without hydrogens, or of those atoms that vary."""
    groups = [*joined_atoms(topology), rotamer_restraints(rotamer_targets(structure)).atoms]
    if symmetry is None:
        return Pattern.of(len(structure), groups)
    return Pattern.of(len(symmetry.varying), [symmetry.place[group[symmetry.varies[group].all(axis=1)]] for group in groups])


def make_state(label: str, structure: Structure, problem: Problem, *, like: Model | None = None) -> State:
    """Build hydrogens on a model and measure it; `like` is the same model elsewhere, which saves work.

    Where copies are refined as one, they are put in their places first, and what is measured is the whole model's.
    """
    structure, symmetry = structure.moved(problem.imposed(structure.positions)), problem.symmetry
    own, weights = (symmetry.varies, symmetry.counting().of_atoms) if symmetry else (None, None)

    def of_heavy_atoms() -> tuple[dict[str, float | None], float, float]:
        density: NDArray[np.float64] = problem.interpolated.values(structure.positions)
        fit = cc_mask(structure, problem.density, problem.resolution, own=own)
        if symmetry is None:
            geometry = without_contacts(structure, problem.topology)
        else:
            geometry = of_whole_without_contacts(structure, problem.topology, symmetry)
        return geometry, float(np.average(density, weights=weights)), fit

    with beside(problem.threads, of_heavy_atoms) as others:
        model = Model.of(structure, problem.library, like=like)
        if symmetry is None:
            clashes = contacts(structure, problem.library, model.hydrogenated)
        else:
            clashes = contacts_of_whole(model.hydrogenated, symmetry)
        rest, density_mean, fit = others()
    whole = problem.unique.expanded(structure.positions) if problem.unique else None
    return State(label, model, geometry_of(rest, clashes), density_mean, fit, whole)


def make_target(model: Model, problem: Problem, weight: float, strengths: Strengths) -> Target:
    """Build the target for the present model: targets of conformation-dependent terms are those of now."""
    settings, bare = problem.settings, model.structure
    weight = weight * strengths.map
    stiffness = _stiffness(weight)
    cbeta = cbeta_restraints(bare, sigma=settings.cbeta_sigma)
    side_chains = rotamer_targets(bare)
    if settings.rotamer_restraints == "natural":
        rotamer = natural_rotamer_restraints(side_chains, sigma=settings.rotamer_sigma)
    else:
        rotamer = rotamer_restraints(side_chains, sigma=settings.rotamer_sigma, limit=np.inf)
    rare = np.isin(rotamer.residue, side_chains.residue[side_chains.score < FAVORED])
    torsions = [
        replace(cbeta, weight=cbeta.weight * stiffness * strengths.cbeta),
        replace(rotamer, weight=rotamer.weight * stiffness * strengths.rotamers * np.where(rare, settings.outlier_boost, 1.0)),
    ]
    backbone = ramachandran_restraints(bare, problem.topology, contours=settings.ramachandran_potential == "contours")
    scores = ramachandran(bare).score[backbone.residue]
    rarity = np.clip((SAFE - np.nan_to_num(scores, nan=SAFE)) / (SAFE - FAVORED), 0.0, 1.0)
    boost = 1.0 + (settings.outlier_boost - 1.0) * rarity
    if strengths.outliers is not None:
        boost *= strengths.outliers[backbone.residue]
    share = ramachandran_share(problem.resolution, settings)
    stiff = stiffness * settings.ncs_sigma**-2.0
    alike = [term.restraints(bare, weight=stiff, limit=settings.ncs_limit) for term in problem.counterparts]
    united = settings.contacts == "united"
    extra = further_terms(bare, problem.resolution, settings, stiffness, problem.reference)
    if united:
        extra["united contacts"] = united_contacts(
            bare, model.hydrogenated, model.nonbonded, problem.library, margin=settings.list_margin
        )
    if problem.start is not None:
        extra["start"] = problem.start.weighted(settings.start_hold * weight)
    if problem.elastic is not None:
        extra["elastic"] = problem.elastic.weighted(settings.start_stiffness * weight)
    extra |= {f"copies {number}": term for number, term in enumerate(alike, start=1)}
    target = Target(
        model.hydrogenated,
        problem.interpolated,
        covalent=covalent_terms(bare, problem.topology, peptides=strengths.peptides, shapes=strengths.shapes),
        nonbonded=model.nonbonded,
        contact_weight=0.0 if united else contact_weight(weight, settings, strengths),
        contact_reduction=settings.nonbonded_slack,
        list_margin=settings.list_margin,
        torsions=torsions,
        ramachandran=backbone.weighted(weight * share * boost * strengths.ramachandran),
        map_weight=weight,
        extra=extra,
        pattern=problem.pattern,
        threads=problem.threads,
    )
    target.scattering[lost_carboxylates(bare, problem)] = 0.0
    if strengths.pull is not None:
        target.scattering *= strengths.pull[bare.residue]
    return target


def reweighted(target: Target, weight: float, settings: Settings) -> Target:
    """Return a target of `make_target` with another map weight, and all that keeps pace with it.

    It shares everything else with the first one, and isn't closed by itself.
    """
    pull = weight / target.map_weight
    firmer = _stiffness(weight) / _stiffness(target.map_weight)
    contacts = contact_weight(weight, settings, Strengths()) / contact_weight(target.map_weight, settings, Strengths())
    other = copy(target)
    other.map_weight, other.contact_weight = weight, contacts * target.contact_weight
    other.torsions = [replace(term, weight=firmer * term.weight) for term in target.torsions]
    other.ramachandran = target.ramachandran.weighted(pull * target.ramachandran.weight)
    other.extra = dict(target.extra)
    for name, term in target.extra.items():
        if isinstance(term, HydrogenBonds | Parallelities):
            other.extra[name] = term.weighted(firmer)
        elif isinstance(term, StartRestraints | ElasticRestraints):
            other.extra[name] = term.weighted(pull)
        elif isinstance(term, DihedralRestraints) and name != "reference":
            other.extra[name] = replace(term, weight=firmer * term.weight)
    return other


def lost_carboxylates(structure: Structure, problem: Problem) -> NDArray[np.bool_]:
    """Return which atoms are oxygens of Asp and Glu in negative density, shape (n,); none in coarse maps.

    Carboxylates lose their density to radiation and to their charge. Drawn to what density there is, they would take
    that of their neighbours.
    """
    if problem.resolution >= problem.settings.carboxylates_below:
        return np.zeros(len(structure), dtype=np.bool_)
    acids = np.isin(structure.residues.compound, ("ASP", "GLU"))[structure.residue]
    oxygens = acids & np.isin(structure.names, ("OD1", "OD2", "OE1", "OE2"))
    lost = np.zeros(len(structure), dtype=np.bool_)
    lost[oxygens] = problem.interpolated.values(structure.positions[oxygens]) < 0.0
    return lost


def _stiffness(weight: float) -> float:
    """Return the factor on restraints of torsions and hydrogen bonds that goes with a map weight."""
    return max(1.0, weight / 10.0)


def contact_weight(weight: float, settings: Settings, strengths: Strengths) -> float:
    """Return the weight of contacts (1/Å²) that goes with a map weight."""
    return max(settings.nonbonded, settings.nonbonded_per_weight * weight) * strengths.contacts


def ramachandran_share(resolution: float, settings: Settings) -> float:
    """Return the weight of the Ramachandran term relative to the map: full from 3 Å on, little at 2.5 Å and better."""
    part = float(np.clip((resolution - 2.5) / 0.5, 0.0, 1.0))
    return settings.ramachandran_fine + part * (settings.ramachandran - settings.ramachandran_fine)
