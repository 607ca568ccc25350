"""A model that doesn't lie in its density is brought there before it is refined.

Only models that fit badly are touched. First rigid motions, of the whole model and then of its chains; if the
model still doesn't fit, a search over all orientations and places, of the whole model and then of its chains. Every
step is judged by CC_mask and undone unless that rises clearly.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.cells import neighbours_around
from refinement.errors import MapError
from refinement.maps.boxing import box_around
from refinement.maps.masks import mask_around, mask_radii
from refinement.maps.scattering import model_map_of
from refinement.moves.docking import dock
from refinement.moves.rigid_body import BlurredMaps, best_rigid_move, low_resolutions, motion_between

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.output import RunLog
    from refinement.settings import Settings
    from refinement.structure import Structure

REACH = 25.0
"""Å; rigid motions see the map around the model up to here."""
BOX_CUSHION = 8.0
"""Å; margin of the box in which CC_mask is computed."""
OVERLAP, MAX_OVERLAP = 2.0, 0.02
"""Å, and fraction of a chain's atoms: a chain of which more come that near to others doesn't go there."""
MAX_DOCKED_CHAINS = 8
"""A model of more chains is docked as a whole or not at all: each chain costs a search."""
COMPARED = 3
"""Placements of the search whose CC_mask is computed."""


@dataclass(frozen=True, slots=True)
class Placed:
    """The model where it fits, and the record for table_one.json: CC_mask before and after, and what was tried."""

    structure: Structure
    record: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Model:
    """The model at its best place so far, and what was tried."""

    structure: Structure
    density: Density
    resolution: float
    threads: int
    cc: float
    settings: Settings
    log: RunLog
    steps: list[dict[str, Any]] = field(default_factory=list)

    @property
    def fits(self) -> bool:
        """Whether nothing more need be tried."""
        return self.cc >= self.settings.place_below

    def offer(self, move: str, positions: NDArray[np.float64]) -> bool:
        """Take new positions (n, 3) if CC_mask is clearly better there, and note it in either case; returns whether taken."""
        cc = cc_mask(self.structure.moved(positions), self.density, self.resolution)
        kept = cc > self.cc + self.settings.placement_gain
        motion = motion_between(self.structure.positions, positions)
        way = f"turned by {motion.angle:.1f}° and shifted by {motion.distance:.1f} Å"
        sentence = f"{move.capitalize()}: {way}, CC_mask {self.cc:.3f} -> {cc:.3f}"
        numbers = {"cc_before": self.cc, "cc_after": cc, "angle": motion.angle, "shift": motion.distance, "kept": kept}
        self.log.add("placement", f"{sentence}, {'kept' if kept else 'undone'}.", move=move, **numbers)
        self.steps.append({"move": move, **numbers})
        if kept:
            self.structure, self.cc = self.structure.moved(positions), cc
        return kept


def place(
    structure: Structure,
    density: Density,
    *,
    resolution: float,
    settings: Settings,
    threads: int,
    log: RunLog,
    progress: Callable[[str, float], None],
) -> Placed:
    """Bring a badly placed model into its density.

    Parameters
    ----------
    structure : Structure
        The model, without hydrogens; it may lie outside the map.
    density : Density
        The whole map.
    resolution : float
        Å.
    settings : Settings
        ``place_below``, ``dock_below`` and ``placement_gain`` are used.
    threads : int
        Threads; the result doesn't depend on it.
    log : RunLog
        Every step is noted.
    progress : callable
        Called with what is being done and the fraction done.

    Returns
    -------
    Placed
        The input where it lies, or a rigid motion of it and of its chains that fits clearly better.
    """
    cc = cc_mask(structure, density, resolution)
    model = _Model(structure, density, resolution, threads, cc, settings, log)
    if cc < settings.place_below:
        progress("rigid bodies", 0.0)
        _rigid_whole(model)
        as_a_whole = model.cc
        _rigid_chains(model)
        if as_a_whole < settings.dock_below:
            progress("docking", 0.0)
            if _dock_whole(model, structure):
                _rigid_chains(model)
            _dock_chains(model)
    return Placed(model.structure, {"cc_initial": cc, "cc_final": model.cc, "steps": model.steps})


def cc_mask(structure: Structure, density: Density, resolution: float) -> float:
    """Return CC_mask of the atoms inside the map, times their fraction; 0 where none is inside.

    The factor keeps a model that leaves the map from being judged by what is left.
    """
    inside = density.contains(structure.positions)
    if not inside.any():
        return 0.0
    positions, elements = structure.positions[inside], structure.elements[inside]
    box = box_around(density, positions, BOX_CUSHION)
    model = model_map_of(positions, elements, structure.b_iso[inside], structure.occupancy[inside], density=box, d_min=resolution)
    mask = mask_around(positions, mask_radii(elements), box)
    observed, calculated = box.values[mask].astype(np.float64), model[mask].astype(np.float64)
    observed -= observed.mean()
    calculated -= calculated.mean()
    norm = float(np.sqrt((observed**2).sum() * (calculated**2).sum()))
    return float((observed * calculated).sum()) / norm * float(inside.mean()) if norm > 0.0 else 0.0


def _weights(structure: Structure) -> NDArray[np.float64]:
    return structure.elements.astype(np.float64) * np.maximum(structure.occupancy, 0.01)


def _maps_around(model: _Model) -> BlurredMaps | None:
    """Return the map around the model; None if that is too far from the map to feel it."""
    try:
        box = box_around(model.density, model.structure.positions, REACH)
    except MapError:
        return None
    return BlurredMaps.of(box, low_resolutions(model.resolution), finest=model.resolution)


def _rigid_whole(model: _Model) -> None:
    """Move the whole model."""
    maps = _maps_around(model)
    if maps is not None:
        moved, _ = best_rigid_move(model.structure.positions, _weights(model.structure), maps)
        model.offer("rigid body", moved)


def _chains(structure: Structure) -> list[NDArray[np.int64]]:
    """Return the atoms of each chain with its ligands and waters, the largest first."""
    names = structure.residues.chain[structure.residue]
    chains = [np.nonzero(names == name)[0] for name in structure.chain_names]
    return sorted(chains, key=lambda atoms: -len(atoms))


def _rigid_chains(model: _Model) -> None:
    """Move every chain on its own while the model fits badly; one that would run into the others stays."""
    chains = _chains(model.structure)
    maps = None if model.fits or len(chains) < 2 else _maps_around(model)
    if maps is None:
        return
    weights, positions = _weights(model.structure), model.structure.positions.copy()
    for atoms in chains:
        moved, _ = best_rigid_move(positions[atoms], weights[atoms], maps, first=len(maps.maps) - 2)
        if not _overlaps(moved, np.delete(positions, atoms, axis=0)):
            positions[atoms] = moved
    model.offer("rigid chains", positions)


def _overlaps(chain: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    offsets, _ = neighbours_around(chain, others, OVERLAP)
    return bool((np.diff(offsets) > 0).mean() > MAX_OVERLAP)


def _dock_whole(model: _Model, given: Structure) -> bool:
    """Search for the model as it was given; the best placement by CC_mask is offered; returns whether it was taken."""
    if model.fits:
        return False
    found = dock(given.positions, _weights(given), model.density, resolution=model.resolution, threads=model.threads)
    best = max(found[:COMPARED], key=lambda p: cc_mask(given.moved(p.positions), model.density, model.resolution))
    return model.offer("docking", best.positions)


def _dock_chains(model: _Model) -> None:
    """Search for one chain after the other, the largest first, in what the others before it have left of the map."""
    structure, density = model.structure, model.density
    chains = _chains(structure)
    if model.fits or not 2 <= len(chains) <= MAX_DOCKED_CHAINS:
        return
    positions, weights = structure.positions.copy(), _weights(structure)
    empty = np.float32(np.median(density.values))
    for atoms in chains:
        best = dock(positions[atoms], weights[atoms], density, resolution=model.resolution, threads=model.threads)[0]
        positions[atoms] = best.positions
        mask = mask_around(best.positions, mask_radii(structure.elements[atoms]), density)
        density = replace(density, values=np.where(mask, empty, density.values))
    model.offer("docking of chains", positions)
