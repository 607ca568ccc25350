"""The weight of the map by trials on random segments, as real-space refinement has it.

The model is cut into stretches of ten residues, ten of them are picked at random, and each is minimised by itself with
several weights, always from where it was. Its best weight is the one whose outcome has bonds and angles within given
limits and fits the map best. Outliers among the best weights are left out and the others averaged. The price doesn't
depend on how large the model is (P. V. Afonine on phenixbb, 13 September 2016; Afonine et al. 2018, Acta Cryst. D74,
531-544; that outliers are what is beyond a factor of three of the mean is from mmtbx/refinement/real_space/weight.py of
cctbx, 2013 to 2020).

The way to the best weight is our own: the deviations grow with a power of the weight, so that a few steps on logarithms
find where they reach the limit.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from refinement.cells import Cells
from refinement.geometry import angles, distances
from refinement.minimise import minimise
from refinement.moves.neighbourhood import SHELL, Neighbourhood
from refinement.restraints.arrays import BondKind
from refinement.restraints.united_contacts import ListedContacts, UnitedContacts
from refinement.states import reweighted
from refinement.structure import ResidueKind
from refinement.symmetry.counting import Counting, counted_term
from refinement.threads import in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.elimination import Factor
    from refinement.settings import Settings
    from refinement.structure import Structure
    from refinement.symmetry.constraints import Symmetry
    from refinement.target import Target

    Floats = NDArray[np.float64]
    Rows = NDArray[np.int32]

LENGTH, NUMBER = 10, 10
"""Residues of a segment, and how many segments are tried."""
OUTLIER = 3.0
"""Best weights further than this factor from the mean of all are left out."""
STEPS = 30
"""Of the optimiser; most trials have converged by then."""
TRIALS = 8
"""At most, for each segment."""
EXPONENT = 1.1
"""The weight grows with the deviations to this power (measured on a prototype of the engine)."""
LARGEST_STEP = 4.0
"""Largest factor between one trial and the next."""
ROOM = 2.0
"""Å; margin of the list of contacts: the atoms of a segment may move by half of it."""
CLOSE = 0.95
"""Deviations of this part of their limits or more are as large as they may be."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A segment after minimisation with a weight.

    Attributes
    ----------
    weight : float
        Map weight.
    strain : float
        Rms deviation of its bonds or angles, whichever is larger, each in its limit.
    fit : float
        Mean density at its atoms, as it counts in the target.
    """

    weight: float
    strain: float
    fit: float


def segment_weights(
    target: Target,
    structure: Structure,
    settings: Settings,
    symmetry: Symmetry | None = None,
    *,
    seed: int = 0,
    threads: int = 1,
) -> list[float]:
    """Return the best map weight of each of some random segments.

    Parameters
    ----------
    target : Target
        The target of the whole model, with any weight.
    structure : Structure
        The model, without hydrogens.
    settings : Settings
        Limits of bonds, angles and weights, and the weight of the first trial.
    symmetry : Symmetry, optional
        Which atoms follow which; only segments that don't are tried.
    seed : int
        Which segments are picked.
    threads : int
        Segments in work at once; the outcome doesn't depend on it.

    Returns
    -------
    list of float
        As many as segments were tried; none where the model has no polymer.
    """
    moves = np.ones(len(structure), dtype=np.bool_) if symmetry is None else symmetry.varies
    found = segments(structure, moves)
    if len(found) > NUMBER:
        picked = np.sort(np.random.default_rng(seed).choice(len(found), NUMBER, replace=False))
        found = [found[k] for k in picked.tolist()]
    positions, target = structure.positions, _listed(target, structure.positions)
    _ = target.index  # made once, not by each thread
    cells = Cells.of(positions, SHELL)
    works = [partial(_best_weight, target, positions, atoms, cells, settings) for atoms in found]
    return list(in_order(threads, works))


def averaged(weights: list[float]) -> float:
    """Return the mean of weights without outliers."""
    values = np.array(weights)
    near = (values < OUTLIER * values.mean()) & (values > values.mean() / OUTLIER)
    return float((values[near] if near.any() else values).mean())


def segments(structure: Structure, moves: NDArray[np.bool_]) -> list[Rows]:
    """Return the atoms of stretches of ten residues of protein or nucleic acid, all of whose atoms are in the mask `moves`.

    What is left at the end of a chain is no segment, unless the chain has no other.
    """
    residues = structure.residues
    usable = np.isin(residues.kind, (ResidueKind.PROTEIN, ResidueKind.NUCLEIC)) & residues.polymer
    usable &= np.bincount(structure.residue[~moves], minlength=len(residues)) == 0
    rows = np.flatnonzero(usable)
    new = (np.diff(rows) != 1) | (np.diff(residues.chain_index[rows]) != 0)
    found = []
    for stretch in np.split(rows, np.flatnonzero(new) + 1):
        whole = max(len(stretch) // LENGTH * LENGTH, min(len(stretch), LENGTH))
        for first in range(0, whole, LENGTH):
            begin, last = stretch[first], stretch[min(first + LENGTH, whole) - 1]
            found.append(np.arange(residues.first[begin], residues.first[last + 1], dtype=np.int32))
    return found


def _best_weight(target: Target, positions: Floats, atoms: Rows, cells: Cells, settings: Settings) -> float:
    """Return the weight with which a segment fits best while its bonds and angles keep their limits."""
    part = _of_segment(target, atoms, len(positions))
    trials: list[Trial] = []
    lowest, highest = settings.weight_limits
    weight = float(np.clip(settings.weight_trial, lowest, highest))
    while len(trials) < TRIALS:
        trials.append(_tried(reweighted(part, weight, settings), positions, atoms, cells, settings))
        if CLOSE <= trials[-1].strain <= 1.0:
            break
        weight = float(np.clip(_next(trials), lowest, highest))
        if any(trial.weight == weight for trial in trials):  # at one of the limits
            break
    within = [trial for trial in trials if trial.strain <= 1.0]
    if within:
        return max(within, key=lambda trial: trial.fit).weight
    return min(trials, key=lambda trial: trial.strain).weight


def _next(trials: list[Trial]) -> float:
    """Return the weight to try next: between those that keep the limits and those that don't, or beyond all."""
    low = max((trial for trial in trials if trial.strain <= 1.0), key=lambda trial: trial.weight, default=None)
    high = min((trial for trial in trials if trial.strain > 1.0), key=lambda trial: trial.weight, default=None)
    if low is None or high is None or low.weight >= high.weight:
        last = trials[-1]
        step = (1.0 / max(last.strain, 1e-6)) ** EXPONENT * math.sqrt(CLOSE)
        return last.weight * float(np.clip(step, 1.0 / LARGEST_STEP, LARGEST_STEP))
    wanted = 0.5 * (1.0 + CLOSE)
    share = (math.log(wanted) - math.log(low.strain)) / (math.log(high.strain) - math.log(low.strain))
    return low.weight * (high.weight / low.weight) ** float(np.clip(share, 0.1, 0.9))


def _listed(target: Target, positions: Floats) -> Target:
    """Return the target with contacts that needn't be listed anew: segments move too little."""
    other = copy(target)
    other.extra = {
        name: term.listed(positions, ROOM) if isinstance(term, UnitedContacts) else term for name, term in target.extra.items()
    }
    return other


def _of_segment(target: Target, atoms: Rows, size: int) -> Target:
    """Return the target with those of its further terms that a segment takes part in."""
    moving = np.zeros(size, dtype=np.bool_)
    moving[atoms] = True
    once = Counting(np.zeros(size, dtype=np.int32), moving, np.ones(size, dtype=np.int32), 1, closed=True)
    part = copy(target)
    part.extra = {
        name: term.of(moving) if isinstance(term, ListedContacts) else counted_term(term, once)
        for name, term in target.extra.items()
    }
    return part


def _tried(target: Target, positions: Floats, atoms: Rows, cells: Cells, settings: Settings) -> Trial:
    """Minimise a segment with the weight of a target."""
    energy = _Segment(target, positions, atoms, cells)
    start = positions[atoms]
    found = minimise(energy, start, max_iterations=STEPS, max_shift=settings.max_shift, curvature=energy.variables(start))
    placed = positions.copy()
    placed[atoms] = found.x
    bonds, bends = target.covalent.bonds, target.covalent.angles
    inside = np.zeros(len(positions), dtype=np.bool_)
    inside[atoms] = True
    own = target.index["bonds"].touching(atoms)
    own = own[inside[bonds.atoms[own]].all(axis=1) & ~np.isin(bonds.kind[own], (BondKind.METAL, BondKind.AD_HOC))]
    bent = target.index["angles"].touching(atoms)
    bent = bent[inside[bends.atoms[bent]].all(axis=1)]
    strain = max(
        _rms(distances(placed, *bonds.atoms[own].T) - bonds.target[own]) / settings.bond_rmsd_target,
        _rms(angles(placed, *bends.atoms[bent].T) - bends.target[bent]) / settings.angle_rmsd_limit,
    )
    return Trial(target.map_weight, strain, -energy.near.map_energy(found.x) / (target.map_weight * len(atoms)))


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(values**2))) if len(values) else 0.0


class _Segment:
    """Energy and gradient of a segment while all else stays: the terms of its neighbourhood, and the further ones."""

    def __init__(self, target: Target, positions: Floats, atoms: Rows, cells: Cells) -> None:
        self.near = Neighbourhood(target, positions, atoms, cells)
        self._atoms, self._terms = atoms, list(target.extra.values())
        self._positions = positions.copy()
        self._gradient = np.zeros_like(positions)

    def __call__(self, x: Floats, gradient: Floats) -> float:
        energy = self.near(x, gradient)
        if not self._terms:
            return energy
        self._positions[self._atoms] = x
        self._gradient[:] = 0.0
        for term in self._terms:
            energy += term.energy_and_gradient(self._positions, self._gradient)
        gradient += self._gradient[self._atoms]
        return energy

    def variables(self, x: Floats) -> Factor:
        """Return variables in which the energy curves about equally in all directions near x."""
        return self.near.variables(x)
