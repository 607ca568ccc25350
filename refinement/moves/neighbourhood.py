"""A part of the target: the energy of some atoms while all others stay where they are.

Trying a move needs the energy of its surroundings only; this costs the same however large the model is. All arrays are
cut down to the atoms that are felt, which get numbers of their own.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numba import njit

from refinement.cells import Cells
from refinement.elimination import Matrix, Pattern
from refinement.restraints import riding
from refinement.restraints.curvature import add_curvature, joined_by
from refinement.restraints.nonbonded import contact_distance, moved_beyond, repulsion
from refinement.target import MAP_CURVATURE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.elimination import Factor
    from refinement.restraints.arrays import Planes
    from refinement.restraints.covalent import Covalent
    from refinement.restraints.dihedrals import DihedralRestraints
    from refinement.restraints.nonbonded import Nonbonded
    from refinement.restraints.ramachandran import RamachandranRestraints
    from refinement.restraints.riding import Riding
    from refinement.target import Target

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int32]
    Term = TypeVar("Term", DihedralRestraints, RamachandranRestraints)

SHELL = 7.0
"""Å round the moving atoms within which others are felt: two X-H bonds, the longest contact, and room to move."""
MARGIN = 2.0
"""Å; contacts are listed anew when an atom has moved half of this."""
WEIGHTS = {
    "bonds": ("bond_weight", "bond_limit"),
    "angles": ("angle_weight",),
    "torsions": ("torsion_weight", "torsion_limit"),
    "chiralities": ("chirality_weight",),
    "planes": ("plane_weight",),
}
"""Restraints of `Covalent` and the arrays beside them."""


class Neighbourhood:
    """Energy and gradient of the moving atoms; a function for `refinement.minimise.minimise`.

    Parameters
    ----------
    target : Target
        The whole target.
    positions : NDArray[float64], shape (n, 3)
        The model without hydrogens, Å.
    moving : NDArray[int32]
        Rows of the atoms that move, ascending.
    cells : Cells, optional
        Of `positions`, or of positions that hardly differ, with an edge of at least `SHELL`: saves time where there are
        many neighbourhoods.
    covalent : Covalent, optional
        Covalent restraints instead of those of the target: the same ones with other targets or weights.
    drive : DihedralRestraints, optional
        Further torsions of moving atoms; their targets may be changed between minimisations.
    contacts : float
        Factor on the weight of contacts.
    """

    def __init__(
        self,
        target: Target,
        positions: Floats,
        moving: Ints,
        cells: Cells | None = None,
        *,
        covalent: Covalent | None = None,
        drive: DihedralRestraints | None = None,
        contacts: float = 1.0,
    ) -> None:
        self.moving, self._target = moving, target
        index, backbone = target.index, target.ramachandran
        rows = {name: found.touching(moving) for name, found in index.items()}
        felt = np.unique(np.concatenate([moving, *(group.ravel() for group in _groups(target, rows))]))
        self._bare, self._bare_gradient = positions[felt], np.zeros((len(felt), 3))
        self._own = np.searchsorted(felt, moving)
        self._covalent = _part_of(covalent or target.covalent, rows, felt)
        self._torsions = [_taken(term, rows[f"dihedrals {k}"], felt) for k, term in enumerate(target.torsions)]
        if drive is not None:
            self._torsions.append(replace(drive, atoms=_numbers(felt, drive.atoms)))
        self._contact_weight = contacts * target.contact_weight
        # without the boost of outliers: a move must be right for the map too, not only for the potential
        self._ramachandran = _taken(backbone, rows["ramachandran"], felt).weighted(float(backbone.weight.min(initial=np.inf)))
        self._weights = target.map_weight * target.scattering[moving]
        self._list_surroundings(positions, cells or Cells.of(positions, SHELL), rows["riders"])
        self._pairs, self._contact, self._listed_at = self._listed()

    def _list_surroundings(self, positions: Floats, cells: Cells, riders: Ints) -> None:
        """Take the atoms near the moving ones, with their hydrogens, and the frames of those hydrogens that move."""
        target, model = self._target, self._target.model
        _, near = cells.around(positions[self.moving], SHELL)
        near = np.unique(near)
        carried = target.index["parents"].touching(near)
        heavy = model.heavy
        frames = np.unique(model.riding.frame[np.union1d(carried, riders)])
        around = np.concatenate([heavy[near], heavy[self.moving], model.riding.hydrogen[carried], frames[frames >= 0]])
        self._atoms = np.unique(np.concatenate([around, model.riding.hydrogen[riders]])).astype(np.int32)
        bare = target.bare_rows[self._atoms]
        self._full = np.empty((len(self._atoms), 3))
        self._full[bare >= 0] = positions[bare[bare >= 0]]
        riding.place(_riders(model.riding, np.union1d(carried, riders), self._atoms), self._full)
        self._riding = _riders(model.riding, riders, self._atoms)
        self._moved = np.searchsorted(self._atoms, heavy[self.moving])
        self._turning = np.zeros(len(self._atoms), dtype=np.bool_)
        self._turning[self._moved] = True
        self._turning[self._riding.hydrogen] = True
        self._turning_rows = np.flatnonzero(self._turning)
        self._full_gradient = np.zeros_like(self._full)

    def __call__(self, x: Floats, gradient: Floats) -> float:
        """Return the energy with the moving atoms at x, shape (m, 3), and overwrite `gradient`."""
        target = self._target
        self._bare[self._own] = x
        self._full[self._moved] = x
        riding.place(self._riding, self._full)
        if moved_beyond(self._full[self._turning_rows], self._listed_at, 0.5 * MARGIN):
            self._pairs, self._contact, self._listed_at = self._listed()
        self._full_gradient[:] = 0.0
        self._bare_gradient[:] = 0.0
        energy = repulsion(
            self._full, self._pairs, self._contact, self._contact_weight, target.contact_reduction, self._full_gradient
        )
        riding.fold_gradient(self._riding, self._full, self._full_gradient)
        energy += self._covalent.energy_and_gradient(self._bare, self._bare_gradient)
        energy += self._ramachandran.energy_and_gradient(self._bare, self._bare_gradient)
        for term in self._torsions:
            energy += term.energy_and_gradient(self._bare, self._bare_gradient)
        gradient[:] = self._bare_gradient[self._own] + self._full_gradient[self._moved]
        return float(energy + target.density.energy_and_gradient(x, self._weights, gradient))

    def map_energy(self, x: Floats) -> float:
        """Return the map's part of the energy."""
        return -float((self._weights * self._target.density.values(x)).sum())

    def variables(self, x: Floats) -> Factor:
        """Return variables in which the energy curves about equally in all directions near x; see `Target.variables`."""
        target, size = self._target, len(self.moving)
        number = np.full(len(self._bare), -1, dtype=np.int32)
        number[self._own] = np.arange(size)
        pattern = Pattern.of(size, [number[group] for group in joined_by(self._covalent, self._torsions)])
        rank = np.where(number >= 0, pattern.rank[number], -1).astype(np.int32)
        matrix = pattern.empty()
        self._bare[self._own] = x
        add_curvature(self._covalent, self._torsions, self._bare, replace(matrix, pattern=replace(pattern, rank=rank)))
        matrix.add_diagonal(MAP_CURVATURE * max(target.map_weight, 1.0) * np.maximum(target.scattering[self.moving], 1.0))
        return Matrix(pattern, matrix.diagonal, matrix.below).factor()

    def _listed(self) -> tuple[Ints, Floats, Floats]:
        """Return the contacts of the moving atoms, their closest distances, and where the moving atoms are now."""
        nonbonded: Nonbonded = self._target.nonbonded
        pairs, contact = _pairs_with(
            self._full, self._turning, self._atoms, nonbonded.radius, nonbonded.role, nonbonded.altloc,
            nonbonded.excluded_first, nonbonded.excluded, MARGIN,
        )  # fmt: skip
        return pairs, contact, self._full[self._turning_rows]


def _groups(target: Target, rows: dict[str, Ints]) -> list[Ints]:
    """Return the atoms of the restraints `rows`."""
    found = [getattr(target.covalent, name).atoms[rows[name]] for name in WEIGHTS if name != "planes"]
    found += [term.atoms[rows[f"dihedrals {k}"]] for k, term in enumerate(target.torsions)]
    return [*found, target.ramachandran.atoms[rows["ramachandran"]], _planes(target.covalent.planes, rows["planes"])[1]]


def _planes(planes: Planes, rows: Ints) -> tuple[Ints, Ints]:
    """Return where each of some planes begins, and their atoms."""
    sizes = planes.first[rows + 1] - planes.first[rows]
    first = np.zeros(len(rows) + 1, dtype=np.int32)
    np.cumsum(sizes, out=first[1:])
    place = np.arange(first[-1]) - np.repeat(first[:-1], sizes) + np.repeat(planes.first[rows], sizes)
    return first, planes.atoms[place]


def _part_of(covalent: Covalent, rows: dict[str, Ints], felt: Ints) -> Covalent:
    """Return some restraints with the numbers of their atoms among `felt`."""
    changed: dict[str, Any] = {}
    for name, arrays in WEIGHTS.items():
        terms, mine = getattr(covalent, name), rows[name]
        if name == "planes":
            first, atoms = _planes(terms, mine)
            changed[name] = replace(terms, first=first, atoms=_numbers(felt, atoms), sigma=terms.sigma[mine])
        else:
            changed[name] = _taken(terms, mine, felt)
        changed |= {array: getattr(covalent, array)[mine] for array in arrays}
    return replace(covalent, **changed)


def _taken(term: Term, rows: Ints, felt: Ints) -> Term:
    """Return some restraints with the numbers of their atoms among `felt`."""
    parts = {item.name: getattr(term, item.name)[rows] for item in fields(term)}
    return replace(term, **(parts | {"atoms": _numbers(felt, parts["atoms"])}))


def _riders(frames: Riding, rows: NDArray[np.integer], atoms: Ints) -> Riding:
    """Return the frames of some hydrogens, without their rotors, numbered among `atoms`."""
    frame = frames.frame[rows]
    return replace(
        frames,
        hydrogen=_numbers(atoms, frames.hydrogen[rows]),
        frame=np.where(frame >= 0, _numbers(atoms, np.maximum(frame, atoms[0])), -1).astype(np.int32),
        shape=frames.shape[rows],
        coefficients=frames.coefficients[rows],
        length=frames.length[rows],
        rotor=frames.rotor[rows],
    )


def _numbers(among: Ints, atoms: Ints) -> Ints:
    return np.searchsorted(among, atoms).astype(np.int32)


@njit(cache=True, nogil=True, error_model="numpy")
def _pairs_with(
    positions: Floats, turning: NDArray[np.bool_], atoms: Ints, radius: Floats, role: NDArray[np.uint8], altloc: Ints,
    excluded_first: NDArray[np.int64], excluded: Ints, margin: float,
) -> tuple[Ints, Floats]:  # fmt: skip
    """Return pairs that may repel of which at least one atom moves, and their d0; as `refinement.restraints.nonbonded`.

    `atoms` are the rows of the positions in the model, for which the other arrays are.
    """
    capacity = 64 * len(atoms)
    pairs, contact = np.empty((capacity, 2), dtype=np.int32), np.empty(capacity)
    count = 0
    for a in range(len(atoms)):
        if not turning[a]:
            continue
        i = atoms[a]
        for b in range(len(atoms)):
            if b == a or (turning[b] and b < a):
                continue
            j = atoms[b]
            reach = radius[i] + radius[j] + margin
            square = 0.0
            for k in range(3):
                square += (positions[a, k] - positions[b, k]) ** 2
            if square > reach * reach or (altloc[i] != altloc[j] and altloc[i] != 0 and altloc[j] != 0):
                continue
            d0 = contact_distance(role[i], role[j], radius[i] + radius[j])
            if square > (d0 + margin) ** 2 or count == capacity:
                continue
            near = False
            for k in range(excluded_first[i], excluded_first[i + 1]):
                near |= excluded[k] == j
            if not near:
                pairs[count, 0], pairs[count, 1] = a, b
                contact[count] = d0
                count += 1
    return pairs[:count].copy(), contact[:count].copy()
