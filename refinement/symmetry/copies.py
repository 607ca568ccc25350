"""The copies of one molecule in a model, and the operators between them.

Identical chains are looked for by sequence and superposition. If the motions that bring one of them onto the others
bring every chain of its kind onto another one, they are the symmetry of the assembly: its chains form orbits, and one
chain of each orbit, next to each other, make the unique part. Otherwise every kind of chain is a group of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from refinement.operators import LARGEST_GROUP, Operators, as_group, group_name, kabsch, multiplication_table, separation
from refinement.symmetry.chains import SUPERPOSED, families
from refinement.symmetry.matching import matched_atoms, with_equivalent_names, with_hetero_groups

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.structure import Structure
    from refinement.symmetry.chains import Family

    Floats = NDArray[np.float64]
    Rows = NDArray[np.int32]

CLOSE = 1.0
"""Å; atoms that lie further off their images than this don't take part in the last superposition."""


@dataclass(frozen=True, slots=True, eq=False)
class Copies:
    """Atoms that occur several times.

    Attributes
    ----------
    operators : Operators
        They bring the first copy onto each; the identity first.
    atoms : NDArray[int32], shape (m, number of operators)
        Rows of the atoms of the first copy and of those of the same names in the others, -1 where a copy lacks the atom.
    chains : tuple of str
        Names of the chains of each copy, joined by commas.
    rmsd : NDArray[float64], shape (number of operators,)
        Å, of all atoms of a copy, equivalent ones as they lie nearest.
    group : str
        Name of the point group, "" where the operators form none.
    exact : bool
        The operators were given and mustn't be changed.
    """

    operators: Operators
    atoms: Rows
    chains: tuple[str, ...]
    rmsd: Floats
    group: str = ""
    exact: bool = False

    def __len__(self) -> int:
        return len(self.operators)

    def select(self, chosen: NDArray[np.bool_]) -> Copies:
        """Return some of the copies, the first among them; they form no group."""
        rows = np.flatnonzero(chosen).tolist()
        atoms = self.atoms[:, rows]
        return Copies(
            self.operators.select(chosen), atoms[(atoms[:, 1:] >= 0).any(axis=1)], tuple(self.chains[row] for row in rows),
            self.rmsd[chosen], exact=self.exact,
        )  # fmt: skip

    def moved(self, operators: Operators, structure: Structure) -> Copies:
        """Return the copies with other operators."""
        return replace(self, operators=operators, rmsd=_deviations(structure, operators, self.atoms))


def find_copies(structure: Structure, given: Operators | None = None) -> list[Copies]:
    """Find the copies in a model.

    Parameters
    ----------
    structure : Structure
        The model; hydrogens take no part.
    given : Operators, optional
        Exact operators of the assembly, with or without the identity. Where they fit the chains they are used as they are:
        as a point group, or where there is none (helices), for each kind of chain that they bring onto all its copies.

    Returns
    -------
    list of Copies
        One with all chains if they form a point group; else one for each kind of chain; empty if nothing occurs twice.
    """
    kinds = [_alike(family) for family in families(structure)]
    kinds = [family for family in kinds if len(family.chains) > 1]
    if not kinds:
        return []
    exact = _with_identity(given) if given is not None and len(given) else None
    candidates = [exact] if exact is not None else []
    candidates.append(kinds[0].operators)
    for number, candidate in enumerate(candidates):
        whole = _assembly(structure, kinds, candidate, exact=number < len(candidates) - 1)
        if whole is not None:
            return [whole]
    return [found for family in kinds if (found := _separate(structure, family, exact)) is not None]


def subgroup(structure: Structure, copies: Copies, chosen: NDArray[np.bool_]) -> list[Copies]:
    """Return the copies by some of the operators of a point group (the identity among them); empty if these form none."""
    kinds = [_alike(family) for family in families(structure)]
    kinds = [family for family in kinds if len(family.chains) > 1]
    whole = _assembly(structure, kinds, copies.operators.select(chosen), exact=copies.exact)
    return [whole] if whole is not None else []


def _alike(family: Family) -> Family:
    rows = np.flatnonzero(family.alike)
    chains = tuple(family.chains[row] for row in rows.tolist())
    return replace(
        family, chains=chains, residue=family.residue[rows], operators=family.operators.select(rows), rmsd=family.rmsd[rows],
        alike=family.alike[rows],
    )  # fmt: skip


def _with_identity(operators: Operators) -> Operators:
    """Return the operators with the identity in front."""
    other = separation(operators, Operators.identity(), np.zeros(3), 100.0)[:, 0] > 0.01
    return Operators.identity().joined(operators.select(other))


def _images(family: Family, operators: Operators) -> NDArray[np.int64]:
    """Return which chain each operator brings each chain onto, shape (operators, chains), -1 for none.

    Chains are compared by where the first of them would come to lie.
    """
    images = np.empty((len(operators), len(family.chains)), dtype=np.int64)
    for number in range(len(operators)):
        one = operators.select(np.full(len(family.chains), number))
        apart = separation(one.after(family.operators), family.operators, family.centre, family.radius)
        nearest = apart.argmin(axis=1)
        images[number] = np.where(apart.min(axis=1) <= SUPERPOSED, nearest, -1)
    return images


def _assembly(structure: Structure, kinds: list[Family], candidates: Operators, *, exact: bool) -> Copies | None:
    """Return all chains as orbits of a point group made of candidates, None if there is none."""
    if len(candidates) < 2:
        return None
    images = _images(kinds[0], candidates)
    whole = np.array([sorted(row) == list(range(len(row))) for row in images.tolist()])
    operators = candidates.select(whole)
    if not 2 <= len(operators) <= LARGEST_GROUP:
        return None
    centre, radius = _body(structure)
    table = multiplication_table(operators, centre, radius, SUPERPOSED)
    if table is None:
        return None
    orbits = _orbits(kinds, operators)
    atoms = _atoms_of(structure, [(family, orbit) for family, found in orbits for orbit in found])
    if not exact:
        operators = as_group(_fitted(structure, operators, atoms), table, centre)
    atoms = with_hetero_groups(structure, operators, atoms)
    names = [[family.chains[chain].name for family, found in orbits for chain in found[:, k]] for k in range(len(operators))]
    found = Copies(operators, atoms, tuple(map(",".join, names)), np.zeros(len(operators)), group_name(table), exact)
    return found.moved(operators, structure)


def _body(structure: Structure) -> tuple[Floats, float]:
    """Return centre and radius of gyration of the model, Å."""
    centre = structure.positions.mean(axis=0)
    return centre, float(np.sqrt(((structure.positions - centre) ** 2).sum(axis=1).mean()))


def _orbits(kinds: list[Family], operators: Operators) -> list[tuple[Family, NDArray[np.int64]]]:
    """Return for each kind of chain its orbits, shape (n, number of operators); kinds that don't obey them are left out.

    Of each orbit the chain nearest to those chosen before comes first.
    """
    orbits: list[tuple[Family, NDArray[np.int64]]] = []
    chosen: list[Floats] = []
    for family in kinds:
        images = _images(family, operators)
        if (images < 0).any() or any(len(set(column)) < len(operators) for column in images.T.tolist()):
            continue
        places = np.array([chain.trace.mean(axis=0) for chain in family.chains])
        left, found = set(range(len(family.chains))), []
        while left:
            free = sorted(left)
            reach = [min((float(((places[k] - other) ** 2).sum()) for other in chosen), default=0.0) for k in free]
            first = free[int(np.argmin(reach))]
            found.append(images[:, first])
            chosen.append(places[first])
            left -= set(images[:, first].tolist())
        orbits.append((family, np.array(found)))
    return orbits


def _separate(structure: Structure, family: Family, given: Operators | None) -> Copies | None:
    """Return the chains of one kind as copies of the first, by given operators if these bring it onto all others."""
    everyone = np.arange(len(family.chains))
    atoms = _atoms_of(structure, [(family, everyone)])
    if not len(atoms):
        return None
    exact = _as_given(family, given) if given is not None else None
    operators = exact if exact is not None else _fitted(structure, family.operators, atoms)
    atoms = with_hetero_groups(structure, operators, atoms, near=True)
    names = tuple(chain.name for chain in family.chains)
    found = Copies(operators, atoms, names, np.zeros(len(operators)), exact=exact is not None)
    return found.moved(operators, structure)


def _as_given(family: Family, given: Operators) -> Operators | None:
    """Return for each chain the given operator that brings the first onto it, None if there isn't one for all."""
    apart = separation(family.operators, given, family.centre, family.radius)
    return given.select(apart.argmin(axis=1)) if (apart.min(axis=1) <= SUPERPOSED).all() else None


def _atoms_of(structure: Structure, orbits: list[tuple[Family, NDArray[np.int64]]]) -> Rows:
    """Return rows of atoms and of their images, from orbits of chains."""
    tables = [family.residue[orbit].T for family, orbit in orbits]
    return matched_atoms(structure, np.concatenate(tables))


def _fitted(structure: Structure, operators: Operators, atoms: Rows) -> Operators:
    """Return operators superposed over all atoms that lie near their images; the identity stays."""
    rotation, shift = operators.rotation.copy(), operators.shift.copy()
    for k in range(1, len(operators)):
        both = atoms[:, k] >= 0
        first, second = structure.positions[atoms[both, 0]], structure.positions[atoms[both, k]]
        motion = Operators(*(part[None] for part in kabsch(first, second)))
        near = np.linalg.norm(motion.apply(0, first) - second, axis=1) <= CLOSE
        if near.sum() >= 3:
            rotation[k], shift[k] = kabsch(first[near], second[near])
    return Operators(rotation, shift)


def _deviations(structure: Structure, operators: Operators, atoms: Rows) -> Floats:
    """Return the rmsd (Å) of each copy from the image of the first."""
    found, atoms = np.zeros(len(operators)), with_equivalent_names(structure, operators, atoms)
    for k in range(len(operators)):
        both = atoms[:, k] >= 0
        apart = operators.apply(k, structure.positions[atoms[both, 0]]) - structure.positions[atoms[both, k]]
        found[k] = np.sqrt((apart**2).sum(axis=1).mean()) if both.any() else 0.0
    return found
