"""Copies as one: their energy is that of the whole model, and its gradient is folded back exactly."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement.maps.interpolation import prepare
from refinement.operators import Operators, turned_about
from refinement.output import RunLog
from refinement.restraints.dihedrals import DihedralRestraints
from refinement.restraints.elastic import ElasticRestraints
from refinement.restraints.hydrogen_bonds import HydrogenBonds
from refinement.restraints.parallelity import Parallelities
from refinement.restraints.start import StartRestraints
from refinement.restraints.united_contacts import united_contacts
from refinement.states import Strengths, make_state, make_target
from refinement.symmetric import with_copies
from refinement.symmetry.constraints import Symmetry, symmetry_of
from refinement.symmetry.copies import find_copies
from refinement.symmetry.counting import FREE, Counting, counted_term
from refinement.symmetry.target import ByCopy, ConstrainedTarget, Further, minimise_model
from refinement.symmetry.unique import with_best_copy
from refinement.whole_map import LeastSquares

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.maps.density import Density
    from refinement.states import Problem
    from refinement.structure import Structure

    Particle = Callable[..., tuple[Structure, Operators]]
    MapOf = Callable[..., Density]
    ProblemOf = Callable[..., Problem]


def small() -> Symmetry:
    """Three copies of two atoms about z, and one atom alone."""
    rotation = np.array([turned_about((0, 0, 1.0), 120.0 * k) for k in range(3)])
    return Symmetry(
        source=np.array([0, 1, 2, 0, 1, 0, 1], dtype=np.int32),
        operator=np.array([0, 0, 0, 1, 1, 2, 2], dtype=np.int32),
        copy=np.array([0, 0, FREE, 1, 1, 2, 2], dtype=np.int32),
        multiplicity=np.array([3, 3, 1, 3, 3, 3, 3], dtype=np.int32),
        operators=Operators(rotation, np.zeros((3, 3))),
        closed=True,
    )


def test_positions_spread_and_gradients_fold_as_the_chain_rule_says() -> None:
    symmetry = small()
    rng = np.random.default_rng(0)
    x, direction = rng.normal(size=(3, 3)), rng.normal(size=(3, 3))
    matrix = rng.normal(size=(7, 3))
    spread = symmetry.spread(x)
    assert spread[[0, 1, 2]] == pytest.approx(x)
    assert spread[5] == pytest.approx(symmetry.operators.apply(2, x[:1])[0])
    slope = (symmetry.folded(matrix) * direction).sum()
    assert slope == pytest.approx(((symmetry.spread(x + direction) - spread) * matrix).sum())
    assert np.array_equal(symmetry.imposed(np.where([[False]] * 3 + [[True]] * 4, 9.0, spread)), spread)


def test_restraints_count_by_the_copies_that_they_touch() -> None:
    counting = small().counting()
    pairs = np.array([[0, 1], [3, 4], [0, 3], [3, 5], [2, 0], [2, 5], [1, 6]])
    assert counting.share(pairs) == pytest.approx([1.0, 0.0, 0.5, 0.0, 1 / 3, 1 / 3, 0.5])
    assert counting.share(np.array([[0, 3, 5, 1], [0, 1, 0, 1]])) == pytest.approx([1 / 3, 1.0])
    assert counting.of_atoms == pytest.approx([1, 1, 1 / 3, 0, 0, 0, 0])
    open_ = replace(counting, closed=False)
    assert open_.share(pairs) == pytest.approx([1.0, 0.0, 1 / 3, 1 / 3, 1 / 3, 1 / 3, 1 / 3])
    first = np.array([0, 2, 6, 9])
    atoms = np.array([0, 1, 0, 3, 5, 1, 3, 4, 3])
    assert counting.share_of_groups(first, atoms) == pytest.approx([1.0, 1 / 3, 0.0])


def test_the_unique_part_keeps_what_it_feels(particle: Particle, map_of: MapOf, problem_of: ProblemOf) -> None:
    structure, _ = particle("C4")
    whole = problem_of(structure, map_of(structure))
    state = make_state("start", structure, whole)
    problem, first, decision = with_copies(whole, state, None, RunLog())
    assert decision.mode == "constraints"
    unique = problem.unique
    assert unique is not None
    assert len(first.structure) < len(structure)
    assert first.structure.positions == pytest.approx(structure.positions[unique.rows], abs=0.03)
    assert unique.symmetry.varies.sum() == len(structure) // 4
    assert first.whole.positions == pytest.approx(structure.positions, abs=0.03)
    values = np.arange(float(len(first.structure)))
    shared = unique.shared(values)
    assert np.array_equal(shared[unique.whole_symmetry.varying], values[unique.symmetry.varying])
    assert (np.bincount(np.unique(shared, return_inverse=True)[1]) == 4).all()


@pytest.mark.parametrize("name", ["C2", "C4", "D2"])
def test_geometry_and_energy_are_those_of_the_whole_model(
    particle: Particle, map_of: MapOf, problem_of: ProblemOf, name: str
) -> None:
    structure, _ = particle(name)
    shaken = np.random.default_rng(5).normal(scale=0.05, size=structure.positions.shape)
    symmetry = symmetry_of(len(structure), find_copies(structure))
    structure = structure.moved(symmetry.imposed(structure.positions + shaken))
    whole = problem_of(structure, map_of(structure))
    state = make_state("start", structure, whole)
    problem, first, _ = with_copies(whole, state, None, RunLog())
    for key, value in state.geometry.as_dict().items():
        assert first.geometry.as_dict()[key] == pytest.approx(value, abs=2e-3 if "rmsd" in key else 0.05), key
    assert first.density_mean == pytest.approx(state.density_mean, abs=0.02)
    everything = make_target(state.model, whole, 10.0, Strengths())
    part = ConstrainedTarget(make_target(first.model, problem, 10.0, Strengths()), problem.symmetry)
    gradient = np.empty_like(structure.positions)
    energy = everything(structure.positions, gradient) / len(symmetry.operators)
    own = np.empty((len(symmetry.varying), 3))
    assert part(first.structure.positions[problem.symmetry.varying], own) == pytest.approx(energy, rel=1e-2)
    expected = {name: value / len(symmetry.operators) for name, value in everything.energies.items()}
    for term, value in part.target.energies.items():
        assert value == pytest.approx(expected[term], rel=1e-2 if term == "map" else 2e-3, abs=0.05), term
    assert expected["contacts"] > 1.0
    folded = symmetry.folded(gradient) / len(symmetry.operators)
    assert np.abs(own - folded).max() < 0.05 * np.abs(folded).max()


def test_distances_held_as_they_were_count_by_copy(particle: Particle, map_of: MapOf, problem_of: ProblemOf) -> None:
    structure, _ = particle("C4")
    symmetry = symmetry_of(len(structure), find_copies(structure))
    structure = structure.moved(symmetry.imposed(structure.positions))
    whole = problem_of(structure, map_of(structure))
    held = replace(whole, settings=whole.settings.model_copy(update={"start_stiffness": 3.0}))
    held = replace(held, elastic=ElasticRestraints.at(structure.positions))
    state = make_state("start", structure, held)
    problem, first, _ = with_copies(held, state, None, RunLog())
    shift = np.random.default_rng(5).normal(scale=0.2, size=structure.positions.shape)
    moved = problem.unique.symmetry.imposed(first.structure.positions + shift[: len(first.structure)])
    everything = make_target(state.model, held, 10.0, Strengths())
    everything(problem.unique.expanded(moved).positions, np.empty_like(structure.positions))
    part = ConstrainedTarget(make_target(first.model, problem, 10.0, Strengths()), problem.symmetry)
    part(moved[problem.symmetry.varying], np.empty((len(problem.symmetry.varying), 3)))
    expected = everything.energies["elastic"] / len(symmetry.operators)
    assert expected > 1.0
    assert part.target.energies["elastic"] == pytest.approx(expected, rel=1e-3)


def test_without_a_group_all_contacts_between_copies_count(
    protomer: Structure, assemble: Callable[..., Structure], map_of: MapOf, problem_of: ProblemOf
) -> None:
    screw = Operators(
        np.array([turned_about((0, 0, 1.0), 60.0 * k) for k in range(3)]), np.array([[0.0, 0.0, 13.0 * k] for k in range(3)])
    )
    placed = protomer.moved(protomer.positions - protomer.positions.mean(axis=0) + np.array([17.0, 0.0, 0.0]))
    structure = assemble(placed, screw)
    symmetry = symmetry_of(len(structure), find_copies(structure))
    assert not symmetry.closed
    structure = structure.moved(symmetry.imposed(structure.positions))
    problem = problem_of(structure, map_of(structure))
    state = make_state("start", structure, problem)
    target = make_target(state.model, problem, 0.0, Strengths())
    gradient = np.empty_like(structure.positions)
    energy = target(structure.positions, gradient)
    constrained = ConstrainedTarget(target, symmetry)
    own = np.empty((len(symmetry.varying), 3))
    assert constrained(structure.positions[symmetry.varying], own) == pytest.approx(energy / 3.0, rel=1e-4)
    assert own == pytest.approx(symmetry.folded(gradient) / 3.0, abs=1e-3 * np.abs(own).max())


def test_the_gradient_agrees_with_finite_differences(particle: Particle, map_of: MapOf, problem_of: ProblemOf) -> None:
    structure, _ = particle("C4")
    whole = problem_of(structure, map_of(structure))
    problem, first, _ = with_copies(whole, make_state("start", structure, whole), None, RunLog())
    target = ConstrainedTarget(make_target(first.model, problem, 10.0, Strengths()), problem.symmetry)
    rng = np.random.default_rng(6)
    x = first.structure.positions[problem.symmetry.varying]
    x = x + rng.normal(scale=0.03, size=x.shape)
    gradient, nothing = np.empty_like(x), np.empty_like(x)
    target(x, gradient)
    near = np.flatnonzero(problem.symmetry.counting().share(_pairs_between(first.structure.positions, problem.symmetry)) == 0.5)
    assert len(near) >= 4  # copies do touch
    for _ in range(10):
        direction = rng.normal(size=x.shape)
        step = 1e-6
        slope = (target(x + step * direction, nothing) - target(x - step * direction, nothing)) / (2.0 * step)
        assert slope == pytest.approx((gradient * direction).sum(), rel=2e-5)


def test_a_term_of_the_whole_model_counts_by_copy(particle: Particle, map_of: MapOf, problem_of: ProblemOf) -> None:
    structure, operators = particle("C4")
    density = map_of(structure, noise=0.3)
    whole = problem_of(structure, density)
    problem, first, _ = with_copies(whole, make_state("start", structure, whole), operators, RunLog())
    symmetry = problem.unique.whole_symmetry
    term = LeastSquares(structure, density, 3.0)
    further = ByCopy(Further(term, term.curvature()), symmetry)
    x = structure.positions[symmetry.varying] + np.random.default_rng(6).normal(scale=0.1, size=(len(symmetry.varying), 3))
    target, everywhere = make_target(first.model, problem, 10.0, Strengths()), np.zeros((len(symmetry), 3))
    without, own = np.empty_like(x), np.empty_like(x)
    energy = ConstrainedTarget(target, problem.symmetry, further)(x, own)
    alone = term.energy_and_gradient(symmetry.spread(x), everywhere)
    assert energy - ConstrainedTarget(target, problem.symmetry)(x, without) == pytest.approx(alone / 4.0, rel=1e-6)
    direction, step = np.random.default_rng(7).normal(size=x.shape), 1e-2
    ahead, behind = (term.energy_and_gradient(symmetry.spread(x + sign * step * direction), everywhere) for sign in (1, -1))
    assert ((own - without) * direction).sum() == pytest.approx(
        (ahead - behind) / (8.0 * step), rel=5e-3
    )  # energies are of single precision
    assert further.curvature() == pytest.approx(term.curvature()[symmetry.varying], rel=1e-6)


def _pairs_between(positions: np.ndarray, symmetry: Symmetry) -> np.ndarray:
    from refinement.cells import neighbour_pairs

    pairs = neighbour_pairs(positions, 2.5)
    return pairs[symmetry.copy[pairs[:, 0]] != symmetry.copy[pairs[:, 1]]]


@pytest.mark.parametrize("threads", [1, 2])
def test_minimised_copies_stay_copies_whatever_the_threads(
    particle: Particle, map_of: MapOf, problem_of: ProblemOf, threads: int
) -> None:
    structure, _ = particle("C2")
    rng = np.random.default_rng(7)
    whole = problem_of(structure, map_of(structure), threads=threads)
    moved = structure.moved(structure.positions + rng.normal(scale=0.1, size=structure.positions.shape))
    problem, first, _ = with_copies(whole, make_state("start", moved, whole), None, RunLog())
    found = minimise_model(
        make_target(first.model, problem, 10.0, Strengths()),
        first.structure.positions,
        problem.symmetry,
        max_iterations=15,
        max_shift=0.25,
    )
    assert found.energy < found.start_energy
    assert np.array_equal(problem.imposed(found.x), found.x)
    if threads == 2:
        alone = replace(problem, threads=1)
        target = make_target(first.model, alone, 10.0, Strengths())
        again = minimise_model(target, first.structure.positions, alone.symmetry, max_iterations=15, max_shift=0.25)
        assert np.array_equal(again.x, found.x)


def test_every_kind_of_term_counts(particle: Particle, map_of: MapOf, problem_of: ProblemOf) -> None:
    """Restraints that only images have part in must vanish, whatever array their atoms are in."""
    structure, _ = particle("C2")
    symmetry = symmetry_of(len(structure), find_copies(structure))
    counting = symmetry.counting()
    images, own = np.flatnonzero(~symmetry.varies)[:6].astype(np.int32), symmetry.varying[:6].astype(np.int32)
    one = np.ones(2)
    bonds = HydrogenBonds(
        atoms=np.array([images[:2], own[:2]]), target=3.0 * one, weight=one, limit=one,
        angle_atoms=np.array([own[:3], images[:3]]), angle_target=100.0 * one, angle_weight=one, angle_limit=one,
    )  # fmt: skip
    counted = counted_term(bonds, counting)
    assert (counted.atoms.tolist(), counted.weight.tolist()) == ([own[:2].tolist()], [1.0])
    assert (counted.angle_atoms.tolist(), counted.angle_weight.tolist()) == ([own[:3].tolist()], [1.0])
    assert np.isfinite(counted.energy_and_gradient(structure.positions, np.zeros_like(structure.positions)))
    planes = Parallelities(
        np.array([0, 3, 6, 9]), np.concatenate([own[:3], own[3:], images[:3]]), np.array([[0, 1], [0, 2]]), one, one
    )
    assert counted_term(planes, counting).weight.tolist() == [1.0, 0.5]
    torsions = DihedralRestraints(
        np.array([images[:4], own[:4]]), one, one, np.zeros(2, dtype=np.int32), one, np.zeros(2, dtype=np.int32)
    )
    assert counted_term(torsions, counting).atoms.tolist() == [own[:4].tolist()]
    problem = problem_of(structure, map_of(structure))
    model = make_state("start", structure, problem).model
    united = united_contacts(structure, model.hydrogenated, model.nonbonded, problem.library, margin=0.9)
    squeezed = symmetry.imposed(structure.positions * np.array([0.97, 0.97, 1.0]))
    whole, part = np.zeros_like(squeezed), np.zeros_like(squeezed)
    energy = united.energy_and_gradient(squeezed, whole)
    assert counted_term(united, counting).energy_and_gradient(squeezed, part) == pytest.approx(energy / 2.0, rel=1e-9)
    assert symmetry.folded(part) == pytest.approx(symmetry.folded(whole) / 2.0, rel=1e-6, abs=1e-6)
    start = StartRestraints.at(np.zeros((len(counting.of_atoms), 3)))
    np.testing.assert_array_equal(counted_term(start, counting).weight, counting.of_atoms)
    with pytest.raises(TypeError, match="count"):
        counted_term(object(), counting)  # type: ignore[arg-type]


def test_the_copy_that_fits_best_is_begun_with(particle: Particle, map_of: MapOf) -> None:
    structure, _ = particle("C4")
    symmetry = symmetry_of(len(structure), find_copies(structure))
    density = prepare(map_of(structure))
    assert with_best_copy(structure, symmetry, density) is structure
    noise = np.random.default_rng(8).normal(scale=0.4, size=structure.positions.shape)
    noise[symmetry.operator == 2] = 0.0
    found = with_best_copy(structure.moved(structure.positions + noise), symmetry, density)
    first = symmetry.varying
    assert found.positions[first] == pytest.approx(structure.positions[first], abs=1e-3)
    assert np.array_equal(found.positions[symmetry.operator == 1], (structure.positions + noise)[symmetry.operator == 1])


def test_symmetry_of_some_atoms() -> None:
    symmetry = small().select(np.array([0, 1, 3, 6]))
    assert symmetry.source.tolist() == [0, 1, 0, 1]
    assert symmetry.operator.tolist() == [0, 0, 1, 2]
    assert isinstance(symmetry.counting(), Counting)
