"""Side chains that are in each other's density: only together can they move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from refinement import tables
from refinement.geometry import dihedrals
from refinement.maps.density import Density
from refinement.maps.interpolation import InterpolatedMap, prepare
from refinement.maps.scattering import model_map
from refinement.moves.side_chains import SideChainFit, fit_side_chains
from refinement.states import Model
from refinement.structure import Structure, from_gemmi

if TYPE_CHECKING:
    from refinement.moves.side_chain_atoms import Rules

BACKBONE = ("N", "CA", "C", "O", "CB")
DEPTH = {"G": 1, "D": 2, "E": 3, "Z": 4, "H": 5}
MIDDLE = 1
"""Row of the long side chain in its peptide of three residues."""
PLANTED = [
    ("A", 48, "mmt-90", "ttt180", 0.0),
    ("B", 16, "mtt180", "ttt180", -30.0),
    ("A", 56, "mmtt", "tttt", -20.0),
    ("A", 8, "mttt", "tptt", -20.0),
]
"""Residues of the example's chains, the right rotamer and a wrong one, and a turn (°) of the axis that gives them room."""


def at_rotamer(structure: Structure, name: str) -> Structure:
    """Give the middle residue a rotamer."""
    compound = str(structure.residues.compound[MIDDLE])
    rotamers = tables.rotamer_centres()[compound]
    mine = structure.residue == MIDDLE
    level = np.array([DEPTH.get(atom[1:2], 0) if atom not in BACKBONE else 0 for atom in structure.names.tolist()])
    positions = structure.positions.copy()
    for k, quad in enumerate(tables.chi_atoms()[compound][:4]):
        atoms = [int(np.flatnonzero(mine & (structure.names == atom))[0]) for atom in quad]
        by = np.radians(rotamers.chi[rotamers.names.index(name), k] - dihedrals(positions, *[np.array([a]) for a in atoms])[0])
        start, end = positions[atoms[1]], positions[atoms[2]]
        axis = (end - start) / np.linalg.norm(end - start)
        beyond = mine & (level > k)
        arm = positions[beyond] - end
        along = (1 - np.cos(by)) * (arm @ axis)[:, None] * axis
        positions[beyond] = end + np.cos(by) * arm + np.sin(by) * np.cross(axis, arm) + along
    return structure.moved(positions)


def side(structure: Structure, row: int = MIDDLE) -> np.ndarray:
    return np.flatnonzero((structure.residue == row) & ~np.isin(structure.names, BACKBONE))


def peptide(whole: Structure, chain: str, number: int) -> Structure:
    """Three residues, the outer ones cut down to alanine or glycine."""
    residues = whole.residues
    wanted = (residues.chain == chain) & (np.abs(residues.number - number) <= 1)
    cut = whole.without(~wanted[whole.residue])
    model = cut.without((cut.residue != MIDDLE) & ~np.isin(cut.names, BACKBONE)).to_gemmi()
    for k, residue in enumerate(model[0][0]):
        if k != MIDDLE:
            residue.name = "ALA" if "CB" in residue else "GLY"
    return from_gemmi(model)


def swapped_pair(whole: Structure, chain: str, number: int, right: str, wrong: str, turn: float) -> tuple[Structure, Structure]:
    """Two peptides about a twofold axis that exchanges the places of the two rotamers; returns the truth and the exchange."""
    single = peptide(whole, chain, number)
    ends = [at_rotamer(single, name) for name in (right, wrong)]
    first, second = (end.positions[side(end)].mean(axis=0) for end in ends)
    centre, across = (first + second) / 2.0, (second - first) / np.linalg.norm(second - first)
    alpha = single.positions[(single.residue == MIDDLE) & (single.names == "CA")][0]
    axis = np.cross(across, alpha - centre)
    axis /= np.linalg.norm(axis)
    axis = axis * np.cos(np.radians(turn)) + np.cross(across, axis) * np.sin(np.radians(turn))
    model = single.to_gemmi()
    copy = model[0][0].clone()
    copy.name = "Z"
    for residue in copy:
        residue.subchain = ""
    model[0].add_chain(copy)
    both = from_gemmi(model)
    images = [2.0 * ((end.positions - centre) @ axis)[:, None] * axis - (end.positions - centre) + centre for end in ends]
    truth, exchanged = (both.moved(np.concatenate([end.positions, image])) for end, image in zip(ends, images, strict=True))
    return truth, exchanged


def map_of(truth: Structure) -> InterpolatedMap:
    corner = truth.positions.min(axis=0) - 7.0
    dims = np.ceil(truth.positions.max(axis=0) + 7.0 - corner).astype(int)
    empty = Density(np.zeros(dims, dtype=np.float32), gemmi.UnitCell(*dims.astype(float), 90, 90, 90), corner)
    return prepare(Density(model_map(truth, empty, 3.0), empty.cell, corner))


def fitted(scene, structure: Structure, density: InterpolatedMap, rules: Rules, **how) -> SideChainFit:
    model = Model.of(structure, scene.library)
    return fit_side_chains(
        structure, model.hydrogenated, model.nonbonded, density, rules, map_weight=12.0, backrub=False, **how
    )  # fmt: skip


def off(found: Structure, truth: Structure, row: int) -> float:
    """Distance of a side chain to the truth (Å, median: the ends of Arg and Lys look alike)."""
    mine = side(truth, row)
    return float(np.median(np.linalg.norm(found.positions[mine] - truth.positions[mine], axis=1)))


@pytest.mark.parametrize(("chain", "number", "right", "wrong", "turn"), PLANTED)
def test_an_exchanged_pair_is_mended_only_together(
    scene, rules: Rules, chain: str, number: int, right: str, wrong: str, turn: float
) -> None:
    truth, exchanged = swapped_pair(scene.truth, chain, number, right, wrong, turn)
    density = map_of(truth)
    rows = (MIDDLE, MIDDLE + 3)
    assert min(off(exchanged, truth, row) for row in rows) > 2.0
    alone = fitted(scene, exchanged, density, rules, cliques=False)
    together = fitted(scene, exchanged, density, rules)
    assert max(off(alone.structure, truth, row) for row in rows) > 2.0
    assert max(off(together.structure, truth, row) for row in rows) < 0.6
    assert {move.residue for move in together.moves} == set(rows)
    assert all(move.gain > 1.0 for move in together.moves)


def test_a_right_pair_and_one_that_may_not_move_stay(scene, rules: Rules) -> None:
    truth, exchanged = swapped_pair(scene.truth, *PLANTED[0])
    density = map_of(truth)
    settled = fitted(scene, truth, density, rules, cliques=False)
    again = fitted(scene, truth, density, rules)
    assert again.structure.positions.tobytes() == settled.structure.positions.tobytes()
    fixed = np.arange(len(truth.residues)) >= MIDDLE + 2
    found = fitted(scene, exchanged, density, rules, fixed=fixed).structure
    image = fixed[truth.residue]
    assert (found.positions[image] == exchanged.positions[image]).all()
    assert off(found, truth, MIDDLE) > 2.0


def test_cliques_are_the_same_with_any_number_of_threads(scene, rules: Rules) -> None:
    truth, exchanged = swapped_pair(scene.truth, *PLANTED[2])
    density = map_of(truth)
    one, two = (fitted(scene, exchanged, density, rules, threads=threads).structure for threads in (1, 2))
    assert one.positions.tobytes() == two.positions.tobytes()
