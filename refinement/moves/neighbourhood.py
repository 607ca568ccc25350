"""A part of the target: the energy of some atoms while all others stay where they are.

Trying a move needs the energy of its surroundings only; this costs the same however large the model is.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from refinement.restraints import riding
from refinement.restraints.nonbonded import moved_beyond

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.restraints.covalent import Covalent
    from refinement.restraints.dihedrals import DihedralRestraints
    from refinement.restraints.ramachandran import RamachandranRestraints
    from refinement.restraints.riding import Riding
    from refinement.target import Target

    Flags = NDArray[np.bool_]
    Term = TypeVar("Term", DihedralRestraints, RamachandranRestraints)

SHELL = 9.0
"""Å round the moving atoms within which others are felt: the longest contact, an X-H bond, and room to move."""
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
    """

    def __init__(self, target: Target, positions: NDArray[np.float64], moving: NDArray[np.int32]) -> None:
        heavy = target.model.heavy
        self.moving, self._target = moving, target
        self._bare = positions.copy()
        self._bare_gradient = np.zeros_like(positions)
        active = np.zeros(len(positions), dtype=np.bool_)
        active[moving] = True
        self._covalent = _part_of(target.covalent, active)
        self._torsions = [_touching(term, active) for term in target.torsions]
        backbone = target.ramachandran
        # without the boost of outliers: a move must be right for the map too, not only for the potential
        self._ramachandran = _touching(backbone.weighted(float(backbone.weight.min(initial=np.inf))), active)
        self._weights = target.map_weight * target.scattering[moving]
        turning = np.zeros(len(target.model.structure), dtype=np.bool_)
        turning[heavy[moving]] = True
        frames = target.model.riding
        riders = ((frames.frame >= 0) & turning[np.maximum(frames.frame, 0)]).any(axis=1)
        self._riding = _riders(frames, np.flatnonzero(riders))
        turning[self._riding.hydrogen] = True
        self._full = target.full_positions(positions)
        self._turning, self._moved = turning, heavy[moving]
        self._full_gradient = np.zeros_like(self._full)
        middle = positions[moving].mean(axis=0)
        reach = np.sqrt(((positions[moving] - middle) ** 2).sum(axis=1).max()) + SHELL
        self._near = np.flatnonzero(((self._full - middle) ** 2).sum(axis=1) < reach**2).astype(np.int32)
        self._felt = np.unique(np.concatenate([self._near, self._riding.frame.ravel().clip(0), self._moved]))
        self._touched = _touched(self._covalent, self._torsions, self._ramachandran, moving)
        self._turning_rows = np.flatnonzero(turning)
        self._pairs = self._listed()

    def __call__(self, x: NDArray[np.float64], gradient: NDArray[np.float64]) -> float:
        """Return the energy with the moving atoms at x, shape (m, 3), and overwrite `gradient`."""
        target = self._target
        self._bare[self.moving] = x
        self._full[self._moved] = x
        riding.place(self._riding, self._full)
        rows = self._turning_rows
        if moved_beyond(self._full[rows], self._pairs.built_at[rows], 0.5 * self._pairs.margin):
            self._pairs = self._listed()
        self._full_gradient[self._felt] = 0.0
        self._bare_gradient[self._touched] = 0.0
        energy = self._pairs.energy_and_gradient(
            self._full, self._full_gradient, weight=target.contact_weight, reduction=target.contact_reduction
        )
        riding.fold_gradient(self._riding, self._full, self._full_gradient)
        energy += self._covalent.energy_and_gradient(self._bare, self._bare_gradient)
        energy += self._ramachandran.energy_and_gradient(self._bare, self._bare_gradient)
        for term in self._torsions:
            energy += term.energy_and_gradient(self._bare, self._bare_gradient)
        gradient[:] = self._bare_gradient[self.moving] + self._full_gradient[self._moved]
        return energy + target.density.energy_and_gradient(x, self._weights, gradient)

    def map_energy(self, x: NDArray[np.float64]) -> float:
        """Return the map's part of the energy."""
        return -float((self._weights * self._target.density.values(x)).sum())

    def curvature(self) -> NDArray[np.float64]:
        """Return an estimate of the Hessian's diagonal, shape (m, 3), for preconditioning."""
        return self._target.curvature()[self.moving]

    def _listed(self) -> Any:
        target = self._target
        pairs = target.nonbonded.pair_list(self._full, margin=target.list_margin, among=self._near)
        felt = self._turning[pairs.pairs].any(axis=1)
        return replace(pairs, pairs=pairs.pairs[felt], contact=pairs.contact[felt])


def _touched(
    covalent: Covalent, torsions: list[DihedralRestraints], backbone: RamachandranRestraints, moving: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Return all atoms that the restraints write a gradient for."""
    groups = [getattr(covalent, name).atoms for name in WEIGHTS] + [term.atoms for term in torsions] + [backbone.atoms, moving]
    return np.unique(np.concatenate([group.ravel() for group in groups]))


def _part_of(covalent: Covalent, active: Flags) -> Covalent:
    """Return the restraints that move an active atom."""
    changed: dict[str, Any] = {}
    for name, arrays in WEIGHTS.items():
        terms = getattr(covalent, name)
        if name == "planes":
            mask = np.zeros(len(terms), dtype=np.bool_)
            mask[np.repeat(np.arange(len(terms)), np.diff(terms.first))[active[terms.atoms]]] = True
        else:
            mask = active[terms.atoms].any(axis=1)
        changed[name] = terms.select(mask)
        changed |= {array: getattr(covalent, array)[mask] for array in arrays}
    return replace(covalent, **changed)


def _touching(term: Term, active: Flags) -> Term:
    """Return the restraints that move an active atom."""
    mask = active[term.atoms].any(axis=1)
    return replace(term, **{item.name: getattr(term, item.name)[mask] for item in fields(term)})


def _riders(frames: Riding, rows: NDArray[np.intp]) -> Riding:
    """Return the frames of some hydrogens, without their rotors."""
    return replace(
        frames,
        hydrogen=frames.hydrogen[rows],
        frame=frames.frame[rows],
        shape=frames.shape[rows],
        coefficients=frames.coefficients[rows],
        length=frames.length[rows],
        rotor=frames.rotor[rows],
    )
