"""How much a restraint counts in the energy of a model whose copies are refined as one.

The energy of the whole model is divided by the number of copies, N, which leaves it at the size it has without
symmetry. A restraint inside the first copy then counts once, and the same one inside another copy needn't be looked at.
One that joins copies counts 1/N; but where the operators form a group the surroundings of the first copy are enough: of
the N images of a restraint that joins p copies, p touch the first one, so these count 1/p. Atoms that have no counterpart
are there once: what they take part in counts 1/N.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.moves.neighbourhood import WEIGHTS
from refinement.restraints.dihedrals import DihedralRestraints
from refinement.restraints.elastic import ElasticRestraints
from refinement.restraints.hydrogen_bonds import HydrogenBonds
from refinement.restraints.parallelity import Parallelities
from refinement.restraints.ramachandran import RamachandranRestraints
from refinement.restraints.start import StartRestraints
from refinement.restraints.united_contacts import UnitedContacts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.restraints.covalent import Covalent
    from refinement.restraints.hydrogens import Hydrogenated
    from refinement.restraints.nonbonded import Nonbonded, PairList
    from refinement.target import Term

    Floats = NDArray[np.float64]
    Rows = NDArray[np.int32]

FREE = -1
"""Copy number of atoms without a counterpart."""


@dataclass(frozen=True, slots=True, eq=False)
class Counting:
    """What decides how much restraints on some atoms count.

    Attributes
    ----------
    copy : NDArray[int32], shape (n,)
        Number of the copy that each atom belongs to, `FREE` for none.
    varies : NDArray[bool], shape (n,)
        Atoms of the first copies, and those without a counterpart.
    multiplicity : NDArray[int32], shape (n,)
        How often each atom is there.
    copies : int
        N.
    closed : bool
        The operators form a group.
    """

    copy: Rows
    varies: NDArray[np.bool_]
    multiplicity: Rows
    copies: int
    closed: bool

    @property
    def of_atoms(self) -> Floats:
        """How much a term of each atom alone counts, shape (n,)."""
        return np.where(self.varies, self.multiplicity / self.copies, 0.0)

    def share(self, atoms: Rows) -> Floats:
        """Return how much restraints count, shape (m,), from the rows of their atoms, shape (m, k)."""
        parts = np.sort(self.copy[atoms], axis=1)
        return self._share(
            touched=(np.diff(parts, axis=1) != 0).sum(axis=1) + 1,
            free=parts[:, 0] == FREE,
            varying=np.asarray(self.varies[atoms].any(axis=1)),
            multiplicity=self.multiplicity[atoms].max(axis=1),
        )

    def share_of_groups(self, first: Rows, atoms: Rows) -> Floats:
        """Return the same for restraints of several sizes: k has ``atoms[first[k]:first[k + 1]]``."""
        size = np.diff(first)
        owner = np.repeat(np.arange(len(size)), size)
        order = np.lexsort((self.copy[atoms], owner))
        part, whose = self.copy[atoms][order], owner[order]
        new = np.ones(len(part), dtype=np.bool_)
        new[1:] = (np.diff(part) != 0) | (np.diff(whose) != 0)
        multiplicity = np.zeros(len(size), dtype=np.int32)
        np.maximum.at(multiplicity, owner, self.multiplicity[atoms])
        return self._share(
            touched=np.bincount(whose, weights=new, minlength=len(size)),
            free=np.bincount(owner, weights=self.copy[atoms] == FREE, minlength=len(size)) > 0,
            varying=np.bincount(owner, weights=self.varies[atoms], minlength=len(size)) > 0,
            multiplicity=multiplicity,
        )

    def _share(self, *, touched: NDArray[Any], free: NDArray[np.bool_], varying: NDArray[np.bool_], multiplicity: Rows) -> Floats:
        within = np.where(varying, multiplicity / self.copies, 0.0)
        joining = within / np.maximum(touched, 1) if self.closed else np.full(len(free), 1.0 / self.copies)
        found: Floats = np.where(free, 1.0 / self.copies, np.where(touched == 1, within, joining))
        return found


def with_hydrogens(built: Hydrogenated) -> NDArray[np.int32]:
    """Return the row, without hydrogens, of each atom of a model with hydrogens, or of the atom that it rides on."""
    owner = np.empty(len(built.structure), dtype=np.int32)
    owner[built.heavy] = np.arange(len(built.heavy))
    owner[built.riding.hydrogen] = owner[built.riding.frame[:, 0]]
    return owner


def counted_covalent(covalent: Covalent, counting: Counting) -> Covalent:
    """Return the covalent restraints that count, with their weights as they count."""
    changed: dict[str, Any] = {}
    for name, arrays in WEIGHTS.items():
        terms = getattr(covalent, name)
        share = counting.share_of_groups(terms.first, terms.atoms) if name == "planes" else counting.share(terms.atoms)
        kept = share > 0.0
        changed[name] = terms.select(kept)
        for array in arrays:
            values = getattr(covalent, array)[kept]
            changed[array] = values * share[kept] if array.endswith("_weight") else values
    return replace(covalent, **changed)


def own_covalent(covalent: Covalent, place: Rows) -> Covalent:
    """Return the covalent restraints that no image has part in, of atoms counted by their `place` (n,), -1 for images."""
    changed: dict[str, Any] = {}
    for name, arrays in WEIGHTS.items():
        terms = getattr(covalent, name)
        if name == "planes":
            owner = np.repeat(np.arange(len(terms)), np.diff(terms.first))
            kept = np.bincount(owner, weights=place[terms.atoms] < 0, minlength=len(terms)) == 0
        else:
            kept = (place[terms.atoms] >= 0).all(axis=1)
        chosen = terms.select(kept)
        changed[name] = replace(chosen, atoms=place[chosen.atoms])
        changed |= {array: getattr(covalent, array)[kept] for array in arrays}
    return replace(covalent, **changed)


def own_term(term: DihedralRestraints, place: Rows) -> DihedralRestraints:
    """Return the torsions that no image has part in, as `own_covalent` does."""
    kept = (place[term.atoms] >= 0).all(axis=1)
    arrays = {item.name: getattr(term, item.name)[kept] for item in fields(term)}
    return replace(term, **{**arrays, "atoms": place[arrays["atoms"]]})


def counted_term(term: Term, counting: Counting) -> Any:
    """Return the restraints of a term with their weights as they count."""
    if isinstance(term, UnitedContacts):
        return term.counted(lambda nonbonded: CountedNonbonded(nonbonded, counting))  # type: ignore[arg-type,return-value]
    if isinstance(term, HydrogenBonds):
        of_bonds, of_angles = counting.share(term.atoms), counting.share(term.angle_atoms)
        counted = replace(term, weight=term.weight * of_bonds, angle_weight=term.angle_weight * of_angles)
        return counted.select(of_bonds > 0.0, of_angles > 0.0)
    if isinstance(term, Parallelities):
        return replace(term, weight=term.weight * counting.share(term.atoms[term.first[term.planes]]))
    if isinstance(term, DihedralRestraints | RamachandranRestraints):
        share = counting.share(term.atoms)
        kept = share > 0.0
        arrays = {item.name: getattr(term, item.name)[kept] for item in fields(term)}
        return replace(term, **{**arrays, "weight": arrays["weight"] * share[kept]})
    if isinstance(term, StartRestraints):
        return term.weighted(counting.of_atoms)
    if isinstance(term, ElasticRestraints):
        return term.weighted(counting.share(term.atoms))
    message = f"it isn't known how {type(term).__name__} count where copies are refined as one"
    raise TypeError(message)


@dataclass(frozen=True, slots=True, eq=False)
class CountedPairs:
    """Pairs that may repel, those that count alike together.

    Attributes
    ----------
    parts : tuple of (float, PairList)
        How much they count, and the pairs.
    whole : PairList
        All of them.
    """

    parts: tuple[tuple[float, PairList], ...]
    whole: PairList

    @property
    def built_at(self) -> Floats:
        """Positions for which the pairs were listed."""
        return self.whole.built_at

    def outdated(self, positions: Floats) -> bool:
        """Return whether an atom moved so far that a pair could be missing."""
        return self.whole.outdated(positions)

    def energy_and_gradient(self, positions: Floats, gradient: Floats, *, weight: float, reduction: float) -> float:
        """Add the gradient (shape (n, 3), per Å) into `gradient` and return the energy."""
        return sum(
            pairs.energy_and_gradient(positions, gradient, weight=weight * share, reduction=reduction)
            for share, pairs in self.parts
        )


@dataclass(frozen=True, slots=True, eq=False)
class CountedNonbonded:
    """The repulsion of a model's atoms as it counts; stands in for `refinement.restraints.nonbonded.Nonbonded`."""

    nonbonded: Nonbonded
    counting: Counting

    def pair_list(self, positions: Floats, *, margin: float) -> CountedPairs:
        """Return the pairs that may repel while no atom moves by more than half the margin (Å)."""
        whole = self.nonbonded.pair_list(positions, margin=margin)
        share = self.counting.share(whole.pairs)
        parts = []
        for value in np.unique(share[share > 0.0]).tolist():
            chosen = share == value
            parts.append((value, replace(whole, pairs=whole.pairs[chosen], contact=whole.contact[chosen])))
        return CountedPairs(tuple(parts), whole)
