"""Peptide flips on a simulated map, and the part of the target that they use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement.cells import Cells
from refinement.minimise import minimise
from refinement.moves.flips import flip_peptides, flipped
from refinement.moves.neighbourhood import SHELL, Neighbourhood
from refinement.restraints.topology import build_topology
from refinement.settings import Settings
from refinement.states import Problem, Strengths, make_target

if TYPE_CHECKING:
    from refinement.structure import Structure
    from refinement.target import Target

FLIPPED = (("A", 21), ("B", 23))


def target_of(scene, structure: Structure) -> Target:
    problem = Problem(
        topology=build_topology(structure, scene.library),
        library=scene.library,
        density=scene.density,
        interpolated=scene.interpolated,
        resolution=3.0,
        settings=Settings(outlier_boost=1.0),
        threads=1,
    )
    return make_target(scene.model(structure), problem, 10.0, Strengths())


def peptide(scene, chain: str, number: int) -> np.ndarray:
    here, after = scene.row(chain, number), scene.row(chain, number + 1)
    return np.array([scene.atom(here, "CA"), scene.atom(here, "C"), scene.atom(here, "O"), scene.atom(after, "N"),
                     scene.atom(after, "CA")])  # fmt: skip


def test_flipping_twice_changes_nothing(scene) -> None:
    atoms = peptide(scene, "A", 21)
    once = flipped(scene.truth.positions, atoms)
    np.testing.assert_allclose(flipped(once, atoms), scene.truth.positions, atol=1e-9)
    changed = np.flatnonzero(np.abs(once - scene.truth.positions).max(axis=1) > 1e-9)
    assert sorted(changed.tolist()) == sorted(atoms[1:4].tolist())
    assert np.linalg.norm(once[atoms[2]] - scene.truth.positions[atoms[2]]) > 3.0


def test_flipped_peptides_are_turned_back(scene) -> None:
    positions = scene.truth.positions
    for chain, number in FLIPPED:
        positions = flipped(positions, peptide(scene, chain, number))
    wrong = scene.truth.moved(positions)
    mended, flips = flip_peptides(wrong, target_of(scene, wrong), scene.interpolated, max_shift=0.25)
    assert {flip.residue for flip in flips} == {scene.row(chain, number) for chain, number in FLIPPED}
    assert all(flip.gain > 2.0 and flip.kept for flip in flips)
    for chain, number in FLIPPED:
        oxygen = peptide(scene, chain, number)[2]
        assert np.linalg.norm(mended.positions[oxygen] - scene.truth.positions[oxygen]) < 0.7
        assert np.linalg.norm(wrong.positions[oxygen] - scene.truth.positions[oxygen]) > 3.0
    assert flips[0].label == "A/SER 21"
    assert flips[0].undone().as_dict()["kept"] is False


def test_right_peptides_stay(scene) -> None:
    same, flips = flip_peptides(scene.truth, target_of(scene, scene.truth), scene.interpolated, max_shift=0.25)
    assert flips == []
    assert same is scene.truth


def test_the_part_has_the_gradient_and_the_differences_of_the_whole(scene) -> None:
    rng = np.random.default_rng(4)
    start = scene.truth.moved(scene.truth.positions + rng.normal(scale=0.05, size=scene.truth.positions.shape))
    target = target_of(scene, start)
    middle = start.positions[scene.atom(scene.row("B", 23), "C")]
    near = ((start.positions - middle) ** 2).sum(axis=1) < 36.0
    moving = np.flatnonzero(near).astype(np.int32)
    part = Neighbourhood(target, start.positions, moving)
    whole_gradient, gradient = np.zeros_like(start.positions), np.zeros((len(moving), 3))
    whole, local = target(start.positions, whole_gradient), part(start.positions[moving], gradient)
    np.testing.assert_allclose(gradient, whole_gradient[moving], atol=1e-8)
    for scale in (0.02, 0.4):
        moved = start.positions.copy()
        moved[moving] += rng.normal(scale=scale, size=(len(moving), 3))
        change = target(moved, whole_gradient) - whole
        assert part(moved[moving], gradient) - local == pytest.approx(change, rel=1e-9, abs=1e-6)
        np.testing.assert_allclose(gradient, whole_gradient[moving], rtol=1e-7, atol=1e-6)
    assert part.map_energy(start.positions[moving]) < 0.0


def test_the_part_is_minimised_in_its_own_variables(scene) -> None:
    rng = np.random.default_rng(5)
    start = scene.truth.moved(scene.truth.positions + rng.normal(scale=0.05, size=scene.truth.positions.shape))
    target = target_of(scene, start)
    moving = np.flatnonzero(np.isin(start.residue, np.arange(20, 27))).astype(np.int32)
    part = Neighbourhood(target, start.positions, moving, Cells.of(start.positions, SHELL))
    x = start.positions[moving]
    ours = minimise(part, x, max_iterations=20, curvature=part.variables(x))
    theirs = minimise(part, x, max_iterations=20, curvature=target.curvature()[moving])
    assert ours.energy < theirs.energy < ours.start_energy
