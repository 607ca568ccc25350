"""Models shaken to a given distance from where they were, with good covalent geometry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.spatial.transform import Rotation

from refinement.conformers import NamedAtoms
from refinement.maps.boxing import box_around
from refinement.maps.interpolation import prepare
from refinement.minimise import minimise
from refinement.moves.dynamics import dynamics
from refinement.moves.rigid_body import motion_between
from refinement.restraints.library import load_monomer_library
from refinement.restraints.topology import build_topology
from refinement.settings import Settings
from refinement.states import Model, Problem, Strengths, elimination_pattern, make_target

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.structure import Structure
    from refinement.target import Target

    Floats = NDArray[np.float64]

ALIKE = {
    "ASP": (("OD1", "OD2"),),
    "GLU": (("OE1", "OE2"),),
    "PHE": (("CD1", "CD2"), ("CE1", "CE2")),
    "TYR": (("CD1", "CD2"), ("CE1", "CE2")),
    "ARG": (("NH1", "NH2"),),
}
"""Atoms that chemistry doesn't tell apart."""
ENDS = {"ASN": (("OD1", "ND2"),), "GLN": (("OE1", "NE2"),), "HIS": (("ND1", "CD2"), ("CE1", "NE2"))}
"""Atoms that most maps don't tell apart."""
HOT, MAX_STEPS = 4.0, 20_000
"""kT of dynamics, as that of annealing begins; restraints alone take haemoglobin 3 Å away in 700 steps."""
SOFT, HELD = 300.0, 1e6
"""1/Å²; what is added to the curvature of atoms that are bonded, and of those that aren't, which stay: they would diffuse."""
ROUNDS = 5
REGULARISED = 60
"""Optimiser steps without a map after the shake."""
NO_MAP = 1e-6


def problem_of(structure: Structure, density: Density, resolution: float, settings: Settings | None = None) -> Problem:
    """Return what the engine works on: restraints of a model without hydrogens, and the map around it."""
    settings = settings or Settings()
    library = load_monomer_library(np.unique(structure.residues.compound).tolist())
    topology, box = build_topology(structure, library), box_around(density, structure.positions, settings.cushion)
    pattern = elimination_pattern(structure, topology)
    return Problem(topology, library, box, prepare(box), resolution, settings, threads=1, pattern=pattern)


def rmsd(one: Floats, other: Floats) -> float:
    """Return the root mean square distance of rows, without superposition, in Å."""
    return float(np.sqrt(((one - other) ** 2).sum(axis=1).mean()))


def off(positions: Floats, truth: Structure, *, ends: bool) -> float:
    """Return the rms distance of a model's positions from the truth, in Å.

    Atoms of one kind whose names are a convention (in Asp, Glu, Phe, Tyr, Arg) count at their nearer place, with `ends` also
    those of Asn, Gln and His whose ends look alike in most maps.
    """
    pairs = {**ALIKE, **ENDS} if ends else ALIKE
    squares = ((positions - truth.positions) ** 2).sum(axis=1)
    for row in np.flatnonzero(np.isin(truth.residues.compound, list(pairs))).tolist():
        here = {str(truth.names[k]): k for k in range(truth.residues.first[row], truth.residues.first[row + 1])}
        own = [pair for pair in pairs[str(truth.residues.compound[row])] if all(name in here for name in pair)]
        atoms = np.array([[here[one], here[other]] for one, other in own], dtype=np.intp).reshape(-1, 2)
        swapped = ((positions[atoms[:, ::-1]] - truth.positions[atoms]) ** 2).sum(axis=2)
        if swapped.sum() < squares[atoms].sum():
            squares[atoms] = swapped
    return float(np.sqrt(squares.mean()))


def shaken(structure: Structure, problem: Problem, distance: float, seed: int, *, kind: str) -> Structure:
    """Return a model shaken without the map, regularised and superposed on what it was.

    ``dynamics``: Langevin dynamics with the restraints alone until atoms are `distance` (Å, rms) away. ``torsions``: φ and ψ of
    all residues turned at random, all by the same rms angle; helices stay helices, but everything bends. Then what overlaps is
    moved apart.
    """
    target = make_target(Model.of(structure, problem.library), problem, NO_MAP, Strengths())
    rng = np.random.default_rng(seed)
    moved = _by_dynamics(structure, target, distance, rng) if kind == "dynamics" else _by_torsions(structure, distance, rng)
    found = minimise(target, moved, max_iterations=REGULARISED, max_shift=0.25, curvature=target.variables(moved)).x
    target.close()
    return structure.moved(_superposed(found, structure.positions))


def regularised(structure: Structure, problem: Problem) -> Structure:
    """Return a model at the minimum of its restraints, without the map; targets that follow it are renewed on the way."""
    for _ in range(ROUNDS):
        target = make_target(Model.of(structure, problem.library), problem, NO_MAP, Strengths())
        start = structure.positions
        found = minimise(target, start, max_iterations=REGULARISED, max_shift=0.25, curvature=target.variables(start))
        target.close()
        structure = structure.moved(found.x)
    return structure


def _by_dynamics(structure: Structure, target: Target, distance: float, rng: np.random.Generator) -> Floats:
    start = structure.positions
    bonded = np.zeros(len(start), dtype=np.bool_)
    bonded[target.covalent.bonds.atoms] = True
    more = np.where(bonded, SOFT, HELD)
    run = dynamics(target, lambda x: target.variables(x, more), start, np.full(MAX_STEPS, HOT), rng, max_shift=0.25)
    return next(x for x in run if rmsd(_superposed(x, start), start) > distance)


def _by_torsions(structure: Structure, distance: float, rng: np.random.Generator) -> Floats:
    turns = rng.normal(size=(len(structure.residues), 2))

    def moved(angle: float) -> Floats:
        return _superposed(_turned(structure, angle * turns), structure.positions)

    start = structure.positions
    return moved(brentq(lambda angle: rmsd(moved(angle), start) - distance, 0.0, 90.0, xtol=1e-3))


def _turned(structure: Structure, turns: Floats) -> Floats:
    """Return positions with φ and ψ turned by `turns`, shape (n_residues, 2), degrees; each chain superposed on itself.

    What isn't in a chain of amino acids goes with the residue before it in the file.
    """
    table = next(NamedAtoms(structure, ("N", "CA", "C")).conformers())
    positions, residues = structure.positions.copy(), structure.residues
    carbonyl = np.isin(structure.names, ("C", "O", "OXT"))
    rigid = np.isin(structure.names, ("N",))
    for chain in np.unique(residues.chain_index):
        rows = np.flatnonzero(residues.chain_index == chain)
        own = np.isin(structure.residue, rows)
        for row in rows[(table[rows] >= 0).all(axis=1)].tolist():
            later, here = own & (structure.residue > row), structure.residue == row
            nitrogen, alpha, carbon = table[row]
            if residues.compound[row] != "PRO":
                _turn(positions, nitrogen, alpha, turns[row, 0], later | (here & ~rigid))
            _turn(positions, alpha, carbon, turns[row, 1], later | (here & carbonyl))
        positions[own] = _superposed(positions[own], structure.positions[own])
    return positions


def _turn(positions: Floats, one: int, other: int, angle: float, atoms: NDArray[np.bool_]) -> None:
    axis = positions[other] - positions[one]
    rotation = Rotation.from_rotvec(np.radians(angle) * axis / np.linalg.norm(axis))
    positions[atoms] = rotation.apply(positions[atoms] - positions[one]) + positions[one]


def _superposed(positions: Floats, reference: Floats) -> Floats:
    return motion_between(positions, reference).apply(positions)
