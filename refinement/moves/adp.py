"""B factors fitted to the map: of each atom, of halves of residues, or of residues, by resolution.

The objective is the number that is reported: the correlation of map and model map inside the molecular
mask, as a function of log B of each group, with its exact gradient through the same operations (sum atoms,
Fourier transform, cut at the resolution, correlate). Phases are kept, unlike in an amplitude fit. Groups
that are close in space are held together by a weak smoothness term, so that B follows the map's local
quality instead of its noise; single atoms the more the closer they are, with 1/distance². How fine the groups
may be and how smooth was chosen by fitting into one half-map and looking at the other one (docs/decisions).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from refinement.cells import neighbour_pairs
from refinement.maps.boxing import box_around
from refinement.maps.fourier import cut, levelled
from refinement.maps.masks import mask_around, mask_radii
from refinement.maps.scattering import B_RANGE
from refinement.maps.summation import SummationGrid
from refinement.minimise import minimise
from refinement.moves.packing import packing
from refinement.structure import ResidueKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.structure import Structure

B_MIN, B_MAX = 1.0, 600.0
"""Å²; bounds of every group."""
UNIFORM_TRIALS = (10.0, 20.0, 35.0, 60.0, 90.0, 130.0, 190.0, 280.0, 400.0)
"""Å²; a single B for all atoms, tried first."""
NEAR = 4.0
"""Å; groups with atoms closer than this are neighbours."""
BACKBONE = (
    *("N", "CA", "C", "O", "OXT", "CB"),
    *("P", "OP1", "OP2", "OP3", "O5'", "C5'", "C4'", "C3'", "O3'", "O4'", "C2'", "O2'", "C1'"),
)
ATOMS_BELOW, TWO_GROUPS_BELOW = 2.0, 4.5
"""Å; up to the first limit atoms have B factors of their own, up to the second one side chains and bases."""
BOND_LENGTH = 1.5
"""Å; atoms at this distance are held together with unit weight."""
ATOM_STIFFNESS = 4.0
"""Factor on the smoothness where atoms have B factors of their own: there is less in the map for each."""
SPREAD = 0.35
"""Mean square by which log B of halves of residues differs from that of their neighbours, beyond how they are packed, summed
over these as closeness counts them: 0.19 in a crystal structure at 1.5 Å (3ajo), 0.52 in a map at 3.2 Å (5ni1)."""
LEAST_FIT = 0.1
"""A worse correlation doesn't make B smoother still."""
CUSHION = 8.0
"""Å; margin of the box that the fit works in."""


@dataclass(frozen=True, slots=True)
class AdpFit:
    """Outcome of a B fit: `structure` with its B factors, CC_mask in the fitting box before and after, whether kept."""

    structure: Structure
    cc_before: float
    cc_after: float
    groups: int
    kept: bool


def fit_b(
    structure: Structure,
    density: Density,
    d_min: float,
    *,
    evaluations: int,
    smoothness: float,
    by_residue: bool = False,
    shells: NDArray[np.float64] | None = None,
    noise: float = 0.0,
    cushion: float = CUSHION,
    source: NDArray[np.int32] | None = None,
    own: NDArray[np.bool_] | None = None,
    threads: int = 1,
) -> AdpFit:
    """Fit B factors to the map: one per atom, per half of a residue (backbone, side chain), or per residue, by resolution.

    Parameters
    ----------
    structure : Structure
        The model; hydrogens follow their residue.
    density : Density
        The map, any scale.
    d_min : float
        Resolution in Å.
    evaluations : int
        About how many model maps may be computed.
    smoothness : float
        Strength of the restraint on differences of log B between neighbouring groups.
    by_residue : bool
        One B factor for each residue, whatever the resolution.
    shells : NDArray[float64], shape (m,), optional
        How much each shell of equal width in 1/d counts, as in Fourier shell correlations, instead of by its strength in
        the map.
    noise : float
        Variance of the correlation by noise, times the number of terms. Where it isn't 0, B factors are drawn to what
        packing makes one expect, and to those of neighbours, as strongly as that asks for.
    cushion : float
        Å; the fit works in a box around the model with this margin.
    source : NDArray[int32], shape (n,), optional
        Row of the atom whose B factor each atom shares; its own where it has one of its own.
    own : NDArray[bool], shape (n,), optional
        Atoms round which the maps are compared, all by default; the others, images of these, only lend their density.
    threads : int
        Threads; the result doesn't depend on it.

    Returns
    -------
    AdpFit
        The input's B factors are kept if nothing correlates better.
    """
    group = _groups(structure, np.inf if by_residue else d_min)
    if source is not None:
        _, group = np.unique(group[source], return_inverse=True)
    if d_min <= ATOMS_BELOW and not by_residue:
        smoothness *= ATOM_STIFFNESS
    box = box_around(density, structure.positions, cushion)
    fit = MapFit.prepare(structure, box, d_min, group, smoothness, threads, own, shells=shells)
    before = fit.correlation(structure.b_iso)
    if evaluations == 0:
        return AdpFit(structure, before, before, int(group.max()) + 1, False)
    if noise > 0.0:
        fit, start = _expected(fit, noise)
    else:
        means = np.log(np.clip(_group_means(structure.b_iso, group), B_MIN, B_MAX))
        uniform, by_uniform = _best_uniform(fit, group)
        start = means if fit.correlation(np.exp(means)[group]) > by_uniform else uniform
    found = minimise(fit.objective, start, max_iterations=evaluations, max_shift=0.7, memory=10, tolerance=2e-4)
    b_group: NDArray[np.float64] = np.exp(np.clip(found.x, math.log(B_MIN), math.log(B_MAX)))
    b_iso = np.round(b_group, 2)[group]
    after = fit.correlation(b_iso)
    kept = after > before
    new = replace(structure, b_iso=b_iso) if kept else structure
    return AdpFit(new, before, after if kept else before, int(group.max()) + 1, kept)


def cc_mask(
    structure: Structure,
    density: Density,
    d_min: float,
    *,
    cushion: float = CUSHION,
    own: NDArray[np.bool_] | None = None,
    threads: int = 1,
) -> float:
    """Return CC_mask in the fitting box, with the B factors as they are; arguments as for `fit_b`."""
    box = box_around(density, structure.positions, cushion)
    return MapFit.prepare(structure, box, d_min, np.arange(len(structure)), 0.0, threads, own).correlation(structure.b_iso)


def _groups(structure: Structure, d_min: float) -> NDArray[np.int64]:
    """Return the group number of every atom."""
    polymer = np.isin(structure.residues.kind, (ResidueKind.PROTEIN, ResidueKind.NUCLEIC))[structure.residue]
    side = polymer & ~np.isin(structure.names, BACKBONE) & ~structure.is_hydrogen
    key = structure.residue.astype(np.int64) * 2
    if d_min < TWO_GROUPS_BELOW:
        key += side
    if d_min <= ATOMS_BELOW:
        heavy = ~structure.is_hydrogen
        key[heavy] = key.max() + 1 + np.arange(np.count_nonzero(heavy))
    _, group = np.unique(key, return_inverse=True)
    return group.astype(np.int64)


def _group_means(values: NDArray[np.float64], group: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.bincount(group, weights=values) / np.bincount(group)


def _best_uniform(fit: MapFit, group: NDArray[np.int64]) -> tuple[NDArray[np.float64], float]:
    """Return log of the single B that correlates best, for all groups, and its correlation; one summation serves all trials."""
    scores = fit.uniform_correlations()
    best = int(np.argmax(scores))
    return np.full(int(group.max()) + 1, math.log(UNIFORM_TRIALS[best])), scores[best]


def _expected(fit: MapFit, noise: float) -> tuple[MapFit, NDArray[np.float64]]:
    """Return the fit with what is known of B without the map, as strong as noise asks for, and log of the best B by that alone.

    Where N independent terms tell of the molecule the correlation has a variance of noise/N, so that the logarithm of the
    likelihood falls by N CC/noise when it falls by 1. That of the probability of B falls by half the squares of differences
    of log B, in the mean square of those in good models.
    """
    atoms, group = fit.structure, fit.group
    weight = np.bincount(group).astype(np.float64)
    profile = -np.log(packing(atoms.positions, group))
    profile -= float(np.average(profile, weights=weight))
    trials = [np.clip(math.log(b) + profile, math.log(B_MIN), math.log(B_MAX)) for b in UNIFORM_TRIALS]
    scores = [fit.correlation(np.exp(trial)[group]) for trial in trials]
    best = int(np.argmax(scores))
    volume = float(np.count_nonzero(fit.mask)) * fit.grid.cell.volume / float(np.prod(fit.grid.dims))
    terms = volume * 4.0 / 3.0 * math.pi / fit.grid.d_min**3
    known = noise * len(weight) / (2.0 * SPREAD * terms * max(scores[best], LEAST_FIT))
    return replace(fit, profile=profile, smoothness=fit.smoothness + known), trials[best]


@dataclass(slots=True)
class MapFit:
    """The fit's constants: what is on the grid, in the mask, who is whose neighbour, and log B that packing gives each."""

    grid: SummationGrid
    structure: Structure
    group: NDArray[np.int64]
    mask: NDArray[np.bool_]
    observed: NDArray[np.float64]
    pairs: NDArray[np.int64]
    closeness: NDArray[np.float64]
    smoothness: float
    profile: NDArray[np.float64] | None = None

    @classmethod
    def prepare(
        cls,
        structure: Structure,
        box: Density,
        d_min: float,
        group: NDArray[np.int64],
        smoothness: float,
        threads: int = 1,
        own: NDArray[np.bool_] | None = None,
        *,
        shells: NDArray[np.float64] | None = None,
    ) -> MapFit:
        """Make the fit of a model with these groups, shape (n_atoms,), to a box of the map; other values as for `fit_b`."""
        grid = SummationGrid.of(box, d_min, b_floor=B_MIN, threads=threads)
        if shells is not None:
            box, levels = levelled(box, grid.d_min, shells)
            grid = replace(grid, levels=levels)
        own = np.ones(len(structure), dtype=np.bool_) if own is None else own
        mask = mask_around(structure.positions[own], mask_radii(structure.elements[own]), box)
        observed = box.values[mask].astype(np.float64)
        observed -= observed.mean()
        observed /= max(float(np.sqrt((observed**2).sum())), 1e-30)
        pairs, closeness = np.empty((0, 2), dtype=np.int64), np.empty(0)
        if smoothness:
            pairs, closeness = _neighbours(structure, group, own)
        return cls(grid, structure, group, mask, observed, pairs, closeness, smoothness)

    def uniform_correlations(self) -> list[float]:
        """Return CC_mask with each of the `UNIFORM_TRIALS`; one summation serves all."""
        grid, atoms = self.grid, self.structure
        reference = grid.coefficients(atoms.positions, atoms.elements, np.full(len(atoms), B_MIN), atoms.occupancy)
        found = []
        for b in UNIFORM_TRIALS:
            coefficients = reference.copy()
            cut(coefficients, grid.dims, grid.cell, grid.d_min, b=b - B_MIN)
            found.append(self._correlate(grid.to_map(coefficients))[0])
        return found

    def correlation(self, b_iso: NDArray[np.float64]) -> float:
        """Return CC_mask with these B factors, shape (n_atoms,), each taken as the nearest that an atom can have."""
        return self._correlate(self._map(np.clip(b_iso, B_MIN, B_RANGE[1]), self.structure.occupancy))[0]

    def objective(self, x: NDArray[np.float64], gradient: NDArray[np.float64]) -> float:
        """Return smoothness - CC_mask as a function of log B, shape (n_groups,), with its gradient."""
        inside = (x > math.log(B_MIN)) & (x < math.log(B_MAX))
        b_group = np.exp(np.clip(x, math.log(B_MIN), math.log(B_MAX)))
        b_iso = b_group[self.group]
        atoms = self.structure
        cc, by_voxel = self._slope(b_iso, atoms.occupancy)
        by_atom = self.grid.b_gradient(by_voxel, atoms.positions, atoms.elements, b_iso, atoms.occupancy)
        by_group = np.bincount(self.group, weights=by_atom, minlength=len(x)) * b_group * inside
        first, second = self.pairs.T
        y = x if self.profile is None else x - self.profile
        difference = y[first] - y[second]
        pull = 2.0 * self.smoothness / len(x) * self.closeness * difference
        gradient[:] = -by_group
        gradient += np.bincount(first, weights=pull, minlength=len(x))
        gradient -= np.bincount(second, weights=pull, minlength=len(x))
        return 0.5 * float((pull * difference).sum()) - cc

    def occupancy_slope(self, b_iso: NDArray[np.float64], occupancy: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return CC_mask with these B factors and occupancies, and its derivative by each occupancy, all of shape (n_atoms,)."""
        cc, by_voxel = self._slope(b_iso, occupancy)
        return cc, self.grid.occupancy_gradient(by_voxel, self.structure.positions, self.structure.elements, b_iso)

    def _slope(self, b_iso: NDArray[np.float64], occupancy: NDArray[np.float64]) -> tuple[float, NDArray[np.float32]]:
        """Return CC_mask and its derivative by each voxel of the model map."""
        cc, slope = self._correlate(self._map(b_iso, occupancy))
        by_voxel = np.zeros(self.grid.dims, dtype=np.float32)
        by_voxel[self.mask] = slope
        return cc, by_voxel

    def _map(self, b_iso: NDArray[np.float64], occupancy: NDArray[np.float64]) -> NDArray[np.float32]:
        atoms = self.structure
        return self.grid.to_map(self.grid.coefficients(atoms.positions, atoms.elements, b_iso, occupancy))

    def _correlate(self, model: NDArray[np.float32]) -> tuple[float, NDArray[np.float64]]:
        """Return the correlation inside the mask and its derivative by the model map's values there."""
        values = model[self.mask].astype(np.float64)
        values -= values.mean()
        length = max(float(np.sqrt((values**2).sum())), 1e-30)
        values /= length
        cc = float((values * self.observed).sum())
        return cc, (self.observed - cc * values) / length


def _neighbours(
    structure: Structure, group: NDArray[np.int64], own: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return pairs of different groups, shape (m, 2), with atoms closer than `NEAR`, and how close they are, at most 1.

    Pairs of an atom and an image are met from either side, so they count half each time; pairs of images don't count.
    """
    pairs = neighbour_pairs(structure.positions, 0.5 * NEAR)
    distance = np.linalg.norm(structure.positions[pairs[:, 0]] - structure.positions[pairs[:, 1]], axis=1)
    linked = np.sort(group[pairs], axis=1)
    other = linked[:, 0] != linked[:, 1]
    key, pair = np.unique(linked[other] @ np.array([len(group), 1]), return_inverse=True)
    share = 0.5 * own[pairs[other]].sum(axis=1)
    closeness = np.bincount(
        pair, weights=share * (BOND_LENGTH / np.maximum(distance[other], BOND_LENGTH)) ** 2, minlength=len(key)
    )
    return np.stack(np.divmod(key, len(group)), axis=1), np.minimum(closeness, 1.0)
