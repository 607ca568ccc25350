"""Short stretches of backbone that minimisation can't mend: rare φ and ψ, and peptides that are cis or twisted.

φ and ψ of one residue, or ω of one peptide, are driven to other values by a strong torsion restraint while the two
residues on either side give way and everything further off stays; then the restraint is released. Of the values
tried (the summits of the Ramachandran contours; trans, for prolines also cis) the best is minimised with its
surroundings and kept if the energy says so against the same surroundings minimised without it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from refinement.cells import Cells
from refinement.conformers import NamedAtoms, backbone_torsions
from refinement.minimise import minimise
from refinement.moves.flips import outlier_counts, part_around, residues_around
from refinement.moves.neighbourhood import SHELL, Neighbourhood
from refinement.restraints.arrays import BondKind
from refinement.restraints.backbone_potential import BIN, FIRST_CENTRE, contour_heights
from refinement.restraints.dihedrals import DihedralRestraints
from refinement.target import present_targets
from refinement.validation.omega import CIS, TRANS
from refinement.validation.ramachandran import ALLOWED, FAVORED, RamachandranClass, categories, ramachandran, scores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from refinement.conformers import BackboneTorsions, PeptideBonds
    from refinement.restraints.covalent import Covalent
    from refinement.restraints.topology import Topology
    from refinement.structure import Structure
    from refinement.target import Target

REACH = 2
"""Residues on either side that give way; with two a peptide can turn over on each side."""
RADIUS = 5.0
"""Å round the atoms of the stretch within which residues move in the final comparison."""
DRIVE_SIGMA = 5.0
"""Degrees; the driving restraint, at 90° far above any other term."""
SOFT = 0.02
"""Part of the contact weight that is felt while driving: atoms must pass each other."""
DRIVE_STEPS, LOOK_STEPS, STEPS = 40, 15, 25
"""Optimiser steps: driven to a stop, released, and with the surroundings."""
HOPELESS = 0.05
"""A value whose energy is higher than this part of the energy without it after the release isn't followed further."""
ENOUGH = 2.0
"""The energy must fall by more than this, as for flips."""
CIS_COST = 3.0
"""Units of L that a proline must gain more to become cis: one in twenty is."""
SUMMIT, APART = 0.2, 20.0
"""Contour above which a summit is tried, and degrees that summits are apart."""
TO_TRANS = np.array([[[90.0], [180.0]], [[-90.0], [180.0]]])
TO_CIS = np.array([[[90.0], [0.0]], [[-90.0], [0.0]]])
"""Degrees; a peptide can be turned either way, its oxygen goes to different places."""
PART, AT_LEAST = 0.05, 20
"""Of all residues at most this part is tried (or this number), the rarest first."""


@dataclass(frozen=True, slots=True)
class FragmentMove:
    """A stretch of backbone that was changed.

    Attributes
    ----------
    residue : int
        Row of its middle residue; of a peptide the one after it.
    label : str
        Its name.
    kind : str
        ``region`` (φ and ψ), ``trans`` or ``cis`` (what the peptide became).
    gain : float
        Energy gained, in units of the target.
    kept : bool
        Whether it stayed after the minimisation of the whole model.
    """

    residue: int
    label: str
    kind: str
    gain: float
    kept: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return the move for the log."""
        return {"residue": self.label, "kind": self.kind, "gain": round(self.gain, 2), "kept": self.kept}

    def undone(self) -> FragmentMove:
        """Return the record of the move taken back."""
        return replace(self, kept=False)


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried.

    Attributes
    ----------
    kind : str
        As in `FragmentMove`.
    residue : int
        Row of the middle residue.
    torsions : NDArray[int32], shape (t, 4)
        Rows of the atoms of the torsions that are driven.
    ways : NDArray[float64], shape (w, stops, t)
        Degrees; each way is tried, stop by stop.
    """

    kind: str
    residue: int
    torsions: NDArray[np.int32]
    ways: NDArray[np.float64]


def mend_fragments(
    structure: Structure, target: Target, topology: Topology, *, max_shift: float
) -> tuple[Structure, list[FragmentMove]]:
    """Rebuild stretches of backbone where that is better.

    Parameters
    ----------
    structure : Structure
        The model without hydrogens.
    target : Target
        Its target.
    topology : Topology
        Its restraints; a peptide that becomes trans or cis has other angles.
    max_shift : float
        Å; longest shift of an atom in one step.
    """
    moves, cells = [], Cells.of(structure.positions, SHELL)
    bonds = backbone_torsions(structure).bonds
    score = ramachandran(structure).score
    for trial in _trials(structure):
        if trial.kind == "region" and score[trial.residue] >= FAVORED:
            continue  # a neighbour's move has mended it
        found = _best(structure, target, topology, trial, _window(bonds, trial.residue), cells, max_shift)
        if found is None:
            continue
        positions, gain = found
        moved = structure.moved(positions)
        changed = np.flatnonzero((positions != structure.positions).any(axis=1)).astype(np.int32)
        before, after = (_counts(part_around(model, changed)) for model in (structure, moved))
        if all(new <= old for old, new in zip(before, after, strict=True)):
            moves.append(FragmentMove(trial.residue, structure.residues.label(trial.residue), trial.kind, gain))
            structure, score, cells = moved, ramachandran(moved).score, Cells.of(positions, SHELL)
    return structure, moves


def _best(
    structure: Structure,
    target: Target,
    topology: Topology,
    trial: Trial,
    window: NDArray[np.bool_],
    cells: Cells,
    max_shift: float,
) -> tuple[NDArray[np.float64], float] | None:
    """Return the positions with the best of the tried values and the energy gained, None if none is better."""
    atoms = np.flatnonzero(window[structure.residue]).astype(np.int32)
    start = structure.positions[atoms]
    here = Neighbourhood(target, structure.positions, atoms, cells)
    now = here(start, np.empty_like(start))
    driver, loose = _driver(trial), _yielding(target, trial)
    pulled = Neighbourhood(target, structure.positions, atoms, cells, covalent=loose, drive=driver, contacts=SOFT)
    best, lowest, covalent = None, now + HOPELESS * abs(now), target.covalent
    for way in trial.ways:
        x = start
        for stop in way:
            driver.target[:] = stop
            x = minimise(pulled, x, max_iterations=DRIVE_STEPS, max_shift=max_shift, curvature=pulled.variables(x)).x
        free, changed = here, target.covalent
        if trial.kind != "region":
            changed = _covalent_at(target, structure, atoms, x, topology)
            free = Neighbourhood(target, structure.positions, atoms, cells, covalent=changed)
        look = minimise(free, x, max_iterations=LOOK_STEPS, max_shift=max_shift, curvature=free.variables(x))
        if look.energy < lowest:
            best, lowest, covalent = look.x, look.energy, changed
    if best is None:
        return None
    moving = _surroundings(structure, atoms, cells)
    positions = structure.positions.copy()
    positions[atoms] = best
    stay, change = (
        minimise(energy, x, max_iterations=STEPS, max_shift=max_shift, curvature=energy.variables(x))
        for energy, x in (
            (Neighbourhood(target, structure.positions, moving, cells), structure.positions[moving]),
            (Neighbourhood(target, structure.positions, moving, cells, covalent=covalent), positions[moving]),
        )
    )
    gain = stay.energy - change.energy
    cost = CIS_COST * float(target.ramachandran.weight.min(initial=np.inf)) if trial.kind == "cis" else 0.0
    if gain <= ENOUGH + cost:
        return None
    positions[moving] = change.x
    return positions, gain


def _driver(trial: Trial) -> DihedralRestraints:
    """Return the driving restraint; its targets are to be filled in."""
    count = len(trial.torsions)
    return DihedralRestraints(
        atoms=trial.torsions,
        target=np.zeros(count),
        weight=np.full(count, DRIVE_SIGMA**-2.0),
        period=np.zeros(count, dtype=np.int32),
        limit=np.full(count, np.inf),
        residue=np.full(count, trial.residue, dtype=np.int32),
    )


def _yielding(target: Target, trial: Trial) -> Covalent:
    """Return the covalent restraints without those on the torsions that are driven."""
    covalent = target.covalent
    driven = (covalent.torsions.atoms[:, None] == trial.torsions[None]).all(axis=2).any(axis=1)
    return replace(covalent, torsion_weight=np.where(driven, 0.0, covalent.torsion_weight))


def _covalent_at(
    target: Target, structure: Structure, atoms: NDArray[np.int32], x: NDArray[np.float64], topology: Topology
) -> Covalent:
    """Return the covalent restraints with the angles and ω of peptides as they are with some atoms at x."""
    positions = structure.positions.copy()
    positions[atoms] = x
    around = residues_around(structure, atoms)
    part, near = structure.moved(positions).part(around), around[structure.residue]
    number = np.where(near, np.cumsum(near) - 1, -1).astype(np.int32)
    base = target.covalent
    felt = np.flatnonzero(residues_around(structure, atoms, 1)[structure.residue]).astype(np.int32)  # whose φ or ψ change

    def rows_of(name: str) -> NDArray[np.int32]:
        rows = target.index[name].touching(felt)
        return rows[near[getattr(base, name).atoms[rows]].all(axis=1)]  # without links to elsewhere

    rows = {name: rows_of(name) for name in ("bonds", "angles", "torsions")}
    # what is at metals depends on all that binds them, which may be elsewhere, and not on the backbone: it stays
    rows["bonds"] = rows["bonds"][base.bonds.kind[rows["bonds"]] != BondKind.METAL]
    rows["angles"] = rows["angles"][rows["angles"] < len(topology.angles)]
    bonds = topology.bonds.select(rows["bonds"])
    angles = topology.angles.select(rows["angles"])
    torsions = base.torsions.select(rows["torsions"])
    bonds, angles, torsions = present_targets(
        part,
        replace(bonds, atoms=number[bonds.atoms]),
        replace(angles, atoms=number[angles.atoms]),
        replace(torsions, atoms=number[torsions.atoms]),
    )
    return replace(
        base,
        bonds=replace(base.bonds, target=_with(base.bonds.target, rows["bonds"], bonds.target)),
        angles=replace(base.angles, target=_with(base.angles.target, rows["angles"], angles.target)),
        torsions=replace(base.torsions, target=_with(base.torsions.target, rows["torsions"], torsions.target)),
        bond_weight=_with(base.bond_weight, rows["bonds"], bonds.sigma**-2.0),
        angle_weight=_with(base.angle_weight, rows["angles"], angles.sigma**-2.0),
    )


def _with(values: NDArray[np.float64], rows: NDArray[np.int32], new: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a copy of `values` with `new` in some rows."""
    found = values.copy()
    found[rows] = new
    return found


# --------------------------------------------------------------------------------------------- what is tried


def _trials(structure: Structure) -> Iterator[Trial]:
    """Yield what is tried: peptides first, then residues from the rarest, in the order of the chain."""
    table = next(NamedAtoms(structure, ("N", "CA", "C")).conformers())
    torsions = backbone_torsions(structure, table)
    plain = np.bincount(structure.residue, weights=structure.altloc != "", minlength=len(structure.residues)) == 0
    yield from _peptide_trials(structure, table, torsions, plain)
    yield from _region_trials(structure, table, torsions, plain)


def _region_trials(
    structure: Structure, table: NDArray[np.int32], torsions: BackboneTorsions, plain: NDArray[np.bool_]
) -> Iterator[Trial]:
    category = categories(structure, torsions)
    score = scores(category, torsions.phi, torsions.psi)
    rare = np.flatnonzero((score < FAVORED) & plain)
    chosen = rare[np.argsort(score[rare] / ALLOWED[category[rare]], kind="stable")]
    chosen = np.sort(chosen[: max(AT_LEAST, round(PART * int((category >= 0).sum())))])
    for row in chosen.tolist():
        before, after = torsions.bonds.previous[row], torsions.bonds.following[row]
        chain = np.array([table[before, 2], *table[row], table[after, 0]], dtype=np.int32)
        yield Trial("region", row, np.stack([chain[:4], chain[1:]]), summits(RamachandranClass(int(category[row])))[:, None])


def _peptide_trials(
    structure: Structure, table: NDArray[np.int32], torsions: BackboneTorsions, plain: NDArray[np.bool_]
) -> Iterator[Trial]:
    """Yield peptides that are twisted, cis without a proline, and those of prolines in rare conformations."""
    size = np.abs(torsions.omega)
    proline = structure.residues.compound == "PRO"
    score = np.nan_to_num(scores(categories(structure, torsions), torsions.phi, torsions.psi), nan=1.0)
    before = torsions.bonds.previous
    odd = (score < FAVORED) | (score[before] < FAVORED)
    tried = (size < TRANS) & ~(proline & (size < CIS)) | proline & odd
    tried &= ~np.isnan(size) & (before >= 0) & plain & plain[before]
    for row in np.flatnonzero(tried).tolist():
        quad = np.array([[table[before[row], 1], table[before[row], 2], table[row, 0], table[row, 1]]], dtype=np.int32)
        if (quad < 0).any():
            continue
        if size[row] < TRANS:
            yield Trial("trans", row, quad, TO_TRANS)
        if proline[row] and size[row] > CIS:
            yield Trial("cis", row, quad, TO_CIS)


@cache
def summits(category: RamachandranClass) -> NDArray[np.float64]:
    """Return φ and ψ of the summits of a Ramachandran plot, shape (m, 2), from the highest."""
    heights = contour_heights(category)
    width = 2 * round(APART / BIN) + 1
    highest = (ndimage.maximum_filter(heights, width, mode="wrap") == heights) & (heights > np.log(SUMMIT))
    nodes = FIRST_CENTRE + BIN * np.argwhere(highest)
    found: list[NDArray[np.float64]] = []
    for node in nodes[np.argsort(-heights[highest], kind="stable")]:
        way = [np.abs((node - other + 180.0) % 360.0 - 180.0).max() for other in found]
        if min(way, default=np.inf) > APART:  # glycine's plot is symmetric, so that summits at its rim are there twice
            found.append(node)
    return np.array(found)


def _window(bonds: PeptideBonds, row: int) -> NDArray[np.bool_]:
    """Return the residues of a stretch: up to `REACH` on either side, as far as the chain is whole."""
    chosen = np.zeros(len(bonds.previous), dtype=np.bool_)
    chosen[row] = True
    for way in (bonds.previous, bonds.following):
        here = row
        for _ in range(REACH):
            here = int(way[here])
            if here < 0:
                break
            chosen[here] = True
    return chosen


def _surroundings(structure: Structure, atoms: NDArray[np.int32], cells: Cells) -> NDArray[np.int32]:
    """Return the atoms of all residues near some atoms, these included, ascending."""
    _, near = cells.around(structure.positions[atoms], RADIUS)
    first = structure.residues.first
    rows = [np.arange(first[row], first[row + 1]) for row in np.unique(structure.residue[near]).tolist()]
    return np.concatenate(rows).astype(np.int32)


def _counts(structure: Structure) -> list[float]:
    """Return what may not get worse, clashes apart; a peptide on its way from cis to trans is twisted first."""
    *others, cis, twisted = outlier_counts(structure)
    favoured = ramachandran(structure).summary["rama_favored"]
    return [-(favoured or 0.0), *others, cis + twisted]
