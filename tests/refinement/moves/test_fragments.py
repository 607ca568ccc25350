"""Stretches of backbone that are rebuilt: planted rare φ and ψ, and peptides of the wrong kind."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement.conformers import NamedAtoms, backbone_torsions
from refinement.minimise import minimise
from refinement.moves import fragments
from refinement.moves.fragments import Trial, mend_fragments, summits
from refinement.moves.neighbourhood import Neighbourhood
from refinement.restraints.arrays import BondKind, Bonds
from refinement.restraints.topology import build_topology
from refinement.settings import Settings
from refinement.states import Problem, Strengths, make_target
from refinement.target import covalent_terms
from refinement.validation.omega import omega
from refinement.validation.ramachandran import RamachandranClass, Region, ramachandran

if TYPE_CHECKING:
    from refinement.structure import Structure


def problem_of(scene, structure: Structure) -> Problem:
    return Problem(
        topology=build_topology(structure, scene.library),
        library=scene.library,
        density=scene.density,
        interpolated=scene.interpolated,
        resolution=3.0,
        settings=Settings(),
        threads=1,
    )


def mended(scene, structure: Structure) -> tuple[Structure, list[fragments.FragmentMove]]:
    problem = problem_of(scene, structure)
    target = make_target(scene.model(structure), problem, 10.0, Strengths())
    return mend_fragments(structure, target, problem.topology, max_shift=0.25)


def bent(scene, row: int, torsions: list[list[int]], values: list[float]) -> Structure:
    """Return the truth with torsions around a residue driven to wrong values, as a wrong model would have them: well-formed."""
    truth = scene.truth
    problem = problem_of(scene, truth)
    target = make_target(scene.model(truth), problem, 0.01, Strengths())
    trial = Trial("region", row, np.array(torsions, dtype=np.int32), np.array([[values]]))
    driver = fragments._driver(trial)
    driver.target[:] = values
    driver.weight[:] = 1.0
    window = fragments._window(backbone_torsions(truth).bonds, row)
    atoms = np.flatnonzero(window[truth.residue]).astype(np.int32)
    pulled = Neighbourhood(target, truth.positions, atoms, drive=driver)
    start = truth.positions[atoms]
    found = minimise(pulled, start, max_iterations=200, curvature=pulled.variables(start))
    positions = truth.positions.copy()
    positions[atoms] = found.x
    return truth.moved(positions)


def phi_psi(scene, row: int) -> list[list[int]]:
    table = NamedAtoms(scene.truth, ("N", "CA", "C")).table("A")
    bonds = backbone_torsions(scene.truth).bonds
    chain = [table[bonds.previous[row], 2], *table[row], table[bonds.following[row], 0]]
    return [chain[:4], chain[1:]]


def peptide_before(scene, row: int) -> list[list[int]]:
    table = NamedAtoms(scene.truth, ("N", "CA", "C")).table("A")
    before = backbone_torsions(scene.truth).bonds.previous[row]
    return [[table[before, 1], table[before, 2], table[row, 0], table[row, 1]]]


def backbone_shift(scene, structure: Structure, row: int) -> float:
    """Return the largest distance of a backbone atom of a residue and its neighbours from the truth."""
    near = np.isin(structure.residue, [row - 1, row, row + 1]) & np.isin(structure.names, ["N", "CA", "C", "O"])
    return float(np.linalg.norm(structure.positions[near] - scene.truth.positions[near], axis=1).max())


def test_a_residue_in_a_wrong_region_is_brought_back(scene) -> None:
    row = scene.row("A", 23)
    wrong = bent(scene, row, phi_psi(scene, row), [60.0, -110.0])
    judged = ramachandran(wrong)
    assert judged.region[row] != Region.FAVORED
    assert backbone_shift(scene, wrong, row) > 1.0
    better, moves = mended(scene, wrong)
    assert row in {move.residue for move in moves}
    move = moves[[move.residue for move in moves].index(row)]
    assert (move.kind, move.label, move.kept) == ("region", "A/ALA 23", True)
    assert move.gain > 2.0
    assert ramachandran(better).region[row] == Region.FAVORED
    assert backbone_shift(scene, better, row) < 0.6
    assert move.undone().as_dict() == {"residue": "A/ALA 23", "kind": "region", "gain": round(move.gain, 2), "kept": False}


def test_a_cis_peptide_without_evidence_becomes_trans(scene) -> None:
    row = scene.row("A", 22)
    wrong = bent(scene, row, peptide_before(scene, row), [0.0])
    assert omega(wrong).summary["cis_nonproline"] == 1
    better, moves = mended(scene, wrong)
    assert [move.kind for move in moves if move.residue == row] == ["trans"]
    assert omega(better).summary["cis_nonproline"] == 0
    assert backbone_shift(scene, better, row) < 0.6


def test_a_twisted_peptide_becomes_flat(scene) -> None:
    row = scene.row("B", 22)
    wrong = bent(scene, row, peptide_before(scene, row), [60.0])
    assert omega(wrong).summary["twisted_peptides"]
    better, moves = mended(scene, wrong)
    assert "trans" in {move.kind for move in moves}
    assert omega(better).summary["twisted_peptides"] == 0


def test_a_right_model_stays(scene) -> None:
    same, moves = mended(scene, scene.truth)
    assert moves == []
    assert same is scene.truth


def test_conformers_are_left_alone(scene) -> None:
    row = scene.row("A", 23)
    wrong = bent(scene, row, phi_psi(scene, row), [60.0, -110.0])
    altloc = wrong.altloc.copy()
    altloc[(wrong.residue == row) & (wrong.names == "CB")] = "A"
    assert row not in {trial.residue for trial in fragments._trials(replace(wrong, altloc=altloc))}
    assert row in {trial.residue for trial in fragments._trials(wrong)}


@pytest.mark.parametrize("category", list(RamachandranClass)[1:])
def test_summits_are_common_and_apart(category: RamachandranClass) -> None:
    found = summits(category)
    assert 2 <= len(found) <= 10
    way = np.abs(found[:, None] - found[None])
    apart = np.hypot(*np.moveaxis(np.minimum(way, 360.0 - way), 2, 0))
    assert apart[~np.eye(len(found), dtype=bool)].min() >= 20.0
    if category == RamachandranClass.GENERAL:
        helix = np.abs(found - (-63.0, -43.0)).max(axis=1)
        assert np.argmin(helix) == 0
        assert helix.min() <= 2.0


def test_restraints_of_a_changed_stretch_are_those_of_the_whole_changed_model(scene) -> None:
    """Only the surroundings are looked at, but what comes of it is what the whole model would give."""
    problem = problem_of(scene, scene.truth)
    target = make_target(scene.model(scene.truth), problem, 10.0, Strengths())
    rows = np.flatnonzero(scene.truth.residues.compound == "PRO")
    window = fragments._window(backbone_torsions(scene.truth).bonds, int(rows[0]) if len(rows) else 4)
    atoms = np.flatnonzero(window[scene.truth.residue]).astype(np.int32)
    x = scene.truth.positions[atoms] + np.random.default_rng(3).normal(scale=0.5, size=(len(atoms), 3))
    positions = scene.truth.positions.copy()
    positions[atoms] = x
    found = fragments._covalent_at(target, scene.truth, atoms, x, problem.topology)
    whole = covalent_terms(scene.truth.moved(positions), problem.topology)
    changed = np.abs(whole.angles.target - target.covalent.angles.target) > 0.1
    assert changed.sum() > 10
    np.testing.assert_array_equal(found.bonds.target, whole.bonds.target)
    np.testing.assert_array_equal(found.angles.target, whole.angles.target)
    np.testing.assert_array_equal(found.torsions.target, whole.torsions.target)
    np.testing.assert_allclose(found.bond_weight, whole.bond_weight)
    np.testing.assert_allclose(found.angle_weight, whole.angle_weight)


def test_restraints_of_a_changed_stretch_leave_metals_that_it_binds_alone(scene) -> None:
    """The angles at a metal aren't in the topology, and the stretch hardly ever has all that binds it."""
    truth, problem = scene.truth, problem_of(scene, scene.truth)
    row = int(np.flatnonzero(truth.residues.compound == "HIS")[0])
    metal = [scene.atom(row, "NE2"), scene.atom(row + 1, "CA")]  # any atom nearby will do
    bonds = problem.topology.bonds
    bonds = Bonds(
        np.concatenate([bonds.atoms, np.array([metal], dtype=np.int32)]),
        np.append(bonds.target, 2.0),
        np.append(bonds.sigma, 0.1),
        np.append(bonds.kind, BondKind.METAL).astype(bonds.kind.dtype),
    )
    problem = replace(problem, topology=replace(problem.topology, bonds=bonds))
    target = make_target(scene.model(truth), problem, 10.0, Strengths())
    assert len(target.covalent.angles) == len(problem.topology.angles) + 2
    atoms = np.flatnonzero(truth.residue == row).astype(np.int32)
    found = fragments._covalent_at(target, truth, atoms, truth.positions[atoms], problem.topology)
    np.testing.assert_array_equal(found.bonds.target, target.covalent.bonds.target)
    np.testing.assert_array_equal(found.angles.target, target.covalent.angles.target)
    np.testing.assert_allclose(found.bond_weight, target.covalent.bond_weight)
    np.testing.assert_allclose(found.angle_weight, target.covalent.angle_weight)
