"""Peptide flips: a carbonyl that points the wrong way, turned by 180° and minimised with its surroundings.

Tried are the peptides on both sides of every residue whose φ and ψ aren't favoured, twisted peptides, and those
whose atoms would lie in clearly more density the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.cells import Cells
from refinement.conformers import NamedAtoms, peptide_bonds
from refinement.minimise import minimise
from refinement.moves.neighbourhood import SHELL, Neighbourhood
from refinement.structure import ResidueKind
from refinement.target import CARBON_NUMBER
from refinement.validation.cbeta import cbeta_deviations
from refinement.validation.omega import omega
from refinement.validation.ramachandran import FAVORED, ramachandran
from refinement.validation.rotamers import rotamers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.interpolation import InterpolatedMap
    from refinement.structure import Structure
    from refinement.target import Target

RADIUS = 6.0
"""Å round the peptide within which residues move."""
STEPS, FIRST_STEPS = 25, 8
"""Optimiser steps of a trial, and of its first look."""
HOPELESS = 0.05
"""A flip whose energy is higher than this part of the energy without it after the first look isn't minimised further."""
ENOUGH = 2.0
"""The energy must fall by more than this."""
CLEARER = 1.0
"""Standard deviations of the map, weighted by atomic number relative to carbon and summed over C, O and N, by which
a peptide must lie higher the other way to be tried for that alone."""
PART, AT_LEAST = 0.1, 20
"""Of all peptides at most this part is tried (or this number); backbone that isn't favoured first, then the clearest."""


@dataclass(frozen=True, slots=True)
class PeptideFlip:
    """A peptide that was turned.

    Attributes
    ----------
    residue : int
        Row of the residue with the carbonyl.
    label : str
        Its name.
    gain : float
        Energy gained, in units of the target.
    kept : bool
        Whether it stayed after the minimisation of the whole model.
    """

    residue: int
    label: str
    gain: float
    kept: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return the move for the log."""
        return {"residue": self.label, "gain": round(self.gain, 2), "kept": self.kept}

    def undone(self) -> PeptideFlip:
        """Return the record of the move taken back."""
        return replace(self, kept=False)


@dataclass(frozen=True, slots=True)
class Peptides:
    """Peptides between residues with one conformer: rows of residues and of CA, C, O, N (next), CA (next)."""

    residue: NDArray[np.int64]
    atoms: NDArray[np.int32]


ALONG = 3
"""Residues along the chain over which what is counted, and restraints that depend on φ and ψ, may feel a move."""


def flip_peptides(
    structure: Structure,
    target: Target,
    density: InterpolatedMap,
    *,
    max_shift: float,
    fixed: NDArray[np.bool_] | None = None,
) -> tuple[Structure, list[PeptideFlip]]:
    """Turn peptides that fit better the other way.

    A flip is kept if the energy of the neighbourhood falls by more than `ENOUGH` against the same neighbourhood
    minimised without it, if the atoms that move fit the map no worse, and if nothing that is counted gets worse.

    Parameters
    ----------
    structure : Structure
        The model without hydrogens.
    target : Target
        Its target.
    density : InterpolatedMap
        The map, normalised.
    max_shift : float
        Å; longest shift of an atom in one step.
    fixed : NDArray[bool], shape (n,), optional
        Atoms that stay: images of others.
    """
    fixed = np.zeros(len(structure), dtype=np.bool_) if fixed is None else fixed
    peptides = _peptides(structure, fixed)
    flips, cells = [], Cells.of(structure.positions, SHELL)
    for k in _suspects(structure, peptides, density).tolist():
        row, atoms = int(peptides.residue[k]), peptides.atoms[k]
        moving = _surroundings(structure, atoms, cells)
        moving = moving[~fixed[moving]]
        energy = Neighbourhood(target, structure.positions, moving, cells)
        start = structure.positions[moving]
        now = energy(start, np.empty_like(start))
        turned = flipped(structure.positions, atoms)[moving]
        look = minimise(energy, turned, max_iterations=FIRST_STEPS, max_shift=max_shift, curvature=energy.variables(turned))
        if look.energy > now + HOPELESS * abs(now):
            continue
        stay, flip = (
            minimise(energy, x, max_iterations=steps, max_shift=max_shift, curvature=energy.variables(x))
            for x, steps in ((start, STEPS), (look.x, STEPS - FIRST_STEPS))
        )
        gain = stay.energy - flip.energy
        if gain <= ENOUGH or energy.map_energy(flip.x) > energy.map_energy(stay.x):
            continue
        positions = structure.positions.copy()
        positions[moving] = flip.x
        moved = structure.moved(positions)
        before, after = (outlier_counts(part_around(model, moving)) for model in (structure, moved))
        if all(new <= old for old, new in zip(before, after, strict=True)):
            structure = moved
            flips.append(PeptideFlip(row, structure.residues.label(row), gain))
    return structure, flips


def flipped(positions: NDArray[np.float64], atoms: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the positions with C, O and N of one peptide turned by 180° about the line through both Cα.

    Parameters
    ----------
    atoms : NDArray[int32], shape (5,)
        CA, C, O, N, CA.
    """
    turned = positions.copy()
    turned[atoms[1:4]] = _turned(positions, atoms[None])[0]
    return turned


def _turned(positions: NDArray[np.float64], atoms: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return where C, O and N of peptides (rows of `atoms`, shape (m, 5)) are after the flip, shape (m, 3, 3)."""
    start, end = positions[atoms[:, 0]], positions[atoms[:, 4]]
    axis = (end - start) / np.maximum(np.linalg.norm(end - start, axis=1), 1e-6)[:, None]
    arm = positions[atoms[:, 1:4]] - start[:, None]
    along = (arm * axis[:, None]).sum(axis=2)[:, :, None] * axis[:, None]
    return start[:, None] + 2.0 * along - arm


def _peptides(structure: Structure, fixed: NDArray[np.bool_]) -> Peptides:
    """Return the peptides none of whose atoms is fixed."""
    table = next(NamedAtoms(structure, ("CA", "C", "O", "N")).conformers())
    bonds = peptide_bonds(structure, table[:, 3], table[:, 1], structure.residues.kind == ResidueKind.PROTEIN)
    rows = np.flatnonzero(bonds.following >= 0)
    after = bonds.following[rows]
    atoms = np.column_stack([table[rows, :3], table[after, 3], table[after, 0]])
    usable = (atoms >= 0).all(axis=1) & (structure.altloc[atoms] == "").all(axis=1)
    usable &= structure.residues.compound[after] != "PRO"  # its ring holds N
    usable &= ~fixed[atoms].any(axis=1)
    return Peptides(rows[usable], np.ascontiguousarray(atoms[usable]))


def _suspects(structure: Structure, peptides: Peptides, density: InterpolatedMap) -> NDArray[np.int64]:
    """Return which peptides are tried, in the order of the chain."""
    score = np.nan_to_num(ramachandran(structure).score, nan=np.inf)
    angles = omega(structure)
    twisted = np.zeros(len(score), dtype=np.bool_)
    twisted[angles.residue[angles.twisted]] = True
    after = structure.residue[peptides.atoms[:, 4]]
    odd = (np.minimum(score[peptides.residue], score[after]) < FAVORED) | twisted[after]
    middle = peptides.atoms[:, 1:4]
    here = structure.positions[middle]
    there = _turned(structure.positions, peptides.atoms)
    gain = density.values(there.reshape(-1, 3)) - density.values(here.reshape(-1, 3))
    clearer = (gain.reshape(-1, 3) * structure.elements[middle] / CARBON_NUMBER).sum(axis=1)
    tried = np.flatnonzero(odd | (clearer > CLEARER))
    order = np.lexsort((-clearer[tried], ~odd[tried]))
    return np.sort(tried[order][: max(AT_LEAST, round(PART * len(odd)))])


def _surroundings(structure: Structure, atoms: NDArray[np.int32], cells: Cells) -> NDArray[np.int32]:
    """Return the atoms of all residues near a peptide, ascending."""
    _, near = cells.around(structure.positions[atoms].mean(axis=0)[None], RADIUS)
    first = structure.residues.first
    rows = [np.arange(first[row], first[row + 1]) for row in np.unique(structure.residue[near]).tolist()]
    return np.concatenate(rows).astype(np.int32)


def part_around(structure: Structure, atoms: NDArray[np.int32]) -> Structure:
    """Return the residues of some atoms and `ALONG` more on either side: the rest of a large model needn't be looked at."""
    return structure.part(residues_around(structure, atoms))


def residues_around(structure: Structure, atoms: NDArray[np.int32], along: int = ALONG) -> NDArray[np.bool_]:
    """Return the mask of the residues of some atoms and of `along` more on either side."""
    near = np.zeros(len(structure.residues), dtype=np.bool_)
    own = np.unique(structure.residue[atoms])
    for step in range(-along, along + 1):
        near[np.clip(own + step, 0, len(near) - 1)] = True
    return near


def outlier_counts(structure: Structure) -> list[float]:
    """Return what may not get worse, clashes apart, which need hydrogens built anew."""
    summaries = (ramachandran(structure).summary, rotamers(structure).summary, cbeta_deviations(structure).summary)
    found: dict[str, float | None] = {**omega(structure).summary}
    for summary in summaries:
        found |= summary
    names = ("rama_outliers", "rotamer_outliers", "cbeta_deviations", "cis_nonproline", "twisted_peptides")
    return [found[name] or 0.0 for name in names]
