"""Copies in the whole protocol."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement import protocol
from refinement.geometry import dihedrals
from refinement.maps.interpolation import prepare
from refinement.operators import Operators, rotation_by, separation
from refinement.output import RunLog
from refinement.protocol import Refined, refine
from refinement.restraints.library import load_monomer_library
from refinement.settings import Settings
from refinement.states import make_state
from refinement.symmetric import with_copies, with_fitted_operators
from refinement.symmetry.constraints import symmetry_of
from refinement.symmetry.copies import find_copies
from refinement.symmetry.operator_fit import fitted_operators
from refinement.symmetry.restraints import counterparts
from refinement.validation.cross_validation import cross_validate

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from refinement.maps.density import Density
    from refinement.states import Problem
    from refinement.structure import Structure

    Particle = Callable[..., tuple[Structure, Operators]]
    MapOf = Callable[..., Density]
    ProblemOf = Callable[..., Problem]

BRIEF: dict[str, Any] = {"cycles": 2, "iterations": 25, "adp_evaluations": 3, "flip_cycles": (2,)}


def refined(
    structure: Structure, density: Density, *, threads: int = 1, operators: Operators | None = None, **changes: Any
) -> tuple[Refined, list[dict[str, Any]]]:
    log = RunLog()
    outcome = refine(
        structure,
        density,
        resolution=3.0,
        library=load_monomer_library(np.unique(structure.residues.compound).tolist()),
        settings=Settings(**{**BRIEF, **changes}),
        threads=threads,
        log=log,
        progress=lambda _doing, _fraction: None,
        operators=operators,
    )
    return outcome, log._rows


def shaken(structure: Structure, by: float) -> Structure:
    noise = np.random.default_rng(3).normal(scale=by, size=structure.positions.shape)
    return structure.moved(structure.positions + noise)


def copies_apart(structure: Structure) -> float:
    """The largest distance of an atom from its image, by the operators that fit best."""
    (copies,) = find_copies(structure)
    return float(copies.rmsd.max())


def typical(first: Structure, second: Structure) -> float:
    """The median distance of atoms: a side chain in another rotamer doesn't hide what all others do."""
    return float(np.median(np.linalg.norm(first.positions - second.positions, axis=1)))


def torsions_apart(structure: Structure) -> float:
    """The median difference (degrees) of torsions that are near each other in two copies, as the restraints see them."""
    (found,) = counterparts(structure)
    first, second = (dihedrals(structure.positions, *found.atoms[:, k].T) for k in (0, 1))
    turn = np.where(found.period == -2, 180.0, 360.0)
    apart = np.abs(first - second - turn * np.round((first - second) / turn))
    return float(np.median(apart[apart < 15.0]))


def test_copies_are_refined_as_one_and_come_out_the_same(particle: Particle, map_of: MapOf) -> None:
    truth, operators = particle("C4")
    start, density = shaken(truth, 0.3), map_of(truth)
    found, events = refined(start, density, cycles=4)
    without, _ = refined(start, density, ncs="off")
    assert found.record["symmetry"]["mode"] == "constraints"
    assert found.record["symmetry"]["copies"][0]["group"] == "C4"
    assert copies_apart(found.structure) < 1e-6
    assert copies_apart(without.structure) > 0.01
    assert typical(found.structure, truth) < 0.5 * typical(start, truth)
    (copies,) = find_copies(found.structure)
    assert separation(operators, copies.operators, truth.positions.mean(axis=0), 20.0).min(axis=1).max() < 0.05
    b_iso = found.structure.b_iso[copies.atoms]
    assert (b_iso == b_iso[:, :1]).all()
    assert [event["event"] for event in events].count("symmetry") == 1
    cycles = [event for event in events if event["event"] == "state" and event["state"].startswith("cycle")]
    assert len(cycles) == 4
    assert found.record["cycles"][-1]["rotamer_outliers"] is not None


def test_copies_stay_one_in_the_last_minimisation(particle: Particle, map_of: MapOf) -> None:
    truth, _ = particle("C4")
    start, density = shaken(truth, 0.2), map_of(truth, noise=0.5)
    ends = {target: refined(start, density, target=target)[0] for target in ("centres", "least_squares")}
    record = ends["least_squares"].record
    assert record["finish"]["kept"]
    assert record["finish"]["cc_after"] > record["finish"]["cc_before"]
    assert record["finish"]["rounds"][0]["moved"] > 0.01
    assert "finish" not in ends["centres"].record
    moved = typical(ends["least_squares"].structure, ends["centres"].structure)
    assert moved > 0.01
    (copies,) = find_copies(ends["least_squares"].structure)
    assert copies.rmsd.max() < 1e-6
    b_iso = ends["least_squares"].structure.b_iso[copies.atoms]
    assert (b_iso == b_iso[:, :1]).all()


def test_threads_change_nothing(particle: Particle, map_of: MapOf) -> None:
    truth, _ = particle("C2")
    start, density = shaken(truth, 0.2), map_of(truth)
    one, two = (refined(start, density, threads=threads)[0].structure for threads in (1, 2))
    assert np.array_equal(one.positions, two.positions)
    assert np.array_equal(one.b_iso, two.b_iso)


def test_half_maps_can_be_refined_into_with_copies(particle: Particle, map_of: MapOf) -> None:
    truth, _ = particle("C2")
    work, free = (map_of(truth, 3.0, noise=0.2, seed=seed) for seed in (1, 2))
    start = replace(shaken(truth, 0.3), b_iso=np.full(len(truth), 40.0))
    found, _ = refined(start, work)
    assert found.record["symmetry"]["mode"] == "constraints"
    before, after = (cross_validate(one, work, free, 3.0).summary["fsc_free"] for one in (start, found.structure))
    assert before is not None
    assert after is not None
    assert after > before


def test_held_alike_copies_come_nearer_to_each_other(particle: Particle, map_of: MapOf) -> None:
    truth, _ = particle("C2")
    start, density = shaken(truth, 0.3), map_of(truth, 3.0, noise=1.5)
    apart = {how: torsions_apart(refined(start, density, ncs=how)[0].structure) for how in ("restraints", "off")}
    assert 0.0 < apart["restraints"] < 0.8 * apart["off"]


def test_given_operators_stay_as_they_are(particle: Particle, map_of: MapOf) -> None:
    truth, operators = particle("C4")
    found, events = refined(shaken(truth, 0.2), map_of(truth), operators=operators)
    assert found.record["symmetry"]["mode"] == "constraints"
    assert "operators" not in [event["event"] for event in events]
    (copies,) = find_copies(found.structure, operators)
    assert copies.rmsd.max() < 1e-9


def test_copies_that_only_do_harm_as_one_are_refined_again_without(
    particle: Particle, map_of: MapOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, _ = particle("C2")
    choose = protocol.choose

    def choosy(initial: Any, states: Any, *rest: Any, part: Any = None) -> Any:
        return choose(initial, states if part is None else [], *rest, part=part)

    monkeypatch.setattr(protocol, "choose", choosy)
    found, events = refined(shaken(truth, 0.2), map_of(truth))
    assert found.record["symmetry"]["kept"] is False
    assert found.record["kept"].startswith("cycle")
    sentences = [event["sentence"] for event in events if event["event"] == "symmetry"]
    assert "refined again without" in sentences[1]
    assert copies_apart(found.structure) > 0.001


def test_operators_are_fitted_to_the_map(particle: Particle, map_of: MapOf, problem_of: ProblemOf) -> None:
    truth, operators = particle("C4")
    density = prepare(map_of(truth))
    (copies,) = find_copies(truth)
    symmetry = symmetry_of(len(truth), [copies])
    centre = truth.positions.mean(axis=0)
    off = operators.about(np.array([0.15, -0.1, 0.0]))
    tilt = rotation_by(np.radians([0.4, 0.0, 0.0]))
    local = off.about(centre)
    tilted = Operators(tilt @ local.rotation @ tilt.T, local.shift @ tilt.T).about(-centre)
    order = separation(copies.operators, operators, centre, 20.0).argmin(axis=1)
    wrong = symmetry.with_operators(tilted.select(order))
    before = separation(operators, wrong.operators, centre, 20.0).min(axis=1).max()
    weights = truth.elements.astype(float)
    found, moved = fitted_operators(density, wrong.imposed(truth.positions), weights, wrong)
    assert before > 0.15
    assert moved > 0.1
    assert separation(operators, found, centre, 20.0).min(axis=1).max() < 0.05
    same, still = fitted_operators(density, truth.positions, weights, symmetry.with_operators(found))
    assert still < 0.02
    assert len(same) == 4
    whole = problem_of(truth, map_of(truth))
    problem, first, _ = with_copies(whole, make_state("start", truth, whole), None, RunLog())
    assert with_fitted_operators(problem, whole, first)[1] < 0.04
    assert with_fitted_operators(whole, whole, first) == (whole, 0.0)
