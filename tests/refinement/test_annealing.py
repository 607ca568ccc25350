"""Annealing: who needs it, and what it brings back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gemmi
import numpy as np
import pytest

from curation.example_model import build_truth
from refinement.annealing import annealed, in_place
from refinement.maps.density import Density
from refinement.maps.interpolation import prepare
from refinement.maps.scattering import model_map
from refinement.minimise import minimise
from refinement.moves.dynamics import dynamics
from refinement.output import RunLog
from refinement.restraints.library import load_monomer_library
from refinement.restraints.topology import build_topology
from refinement.settings import Settings
from refinement.states import Model, Problem, Strengths, elimination_pattern, make_state, make_target
from refinement.structure import Structure, from_gemmi

D_MIN = 3.5


def quiet(_doing: str, _fraction: float) -> None:
    """Report nothing."""


@pytest.fixture(scope="module")
def truth() -> Structure:
    """The example's first chain."""
    whole = from_gemmi(build_truth())
    return whole.without(~(whole.residues.chain == "A")[whole.residue])


@pytest.fixture(scope="module")
def problem(truth: Structure) -> Problem:
    corner = truth.positions.min(axis=0) - 12.0
    dims = np.ceil(truth.positions.max(axis=0) + 12.0 - corner).astype(int)
    density = Density(np.zeros(dims, dtype=np.float32), gemmi.UnitCell(*dims.astype(float), 90, 90, 90), corner)
    density = replace(density, values=model_map(truth, density, D_MIN))
    library = load_monomer_library(np.unique(truth.residues.compound).tolist())
    topology = build_topology(truth, library)
    given: dict[str, Any] = {"topology": topology, "library": library, "density": density, "interpolated": prepare(density)}
    pattern = elimination_pattern(truth, topology)
    return Problem(**given, resolution=D_MIN, settings=Settings(), threads=1, pattern=pattern)


def off(structure: Structure, truth: Structure) -> float:
    atoms = truth.names == "CA"
    return float(np.sqrt(((structure.positions - truth.positions)[atoms] ** 2).sum(axis=1).mean()))


@pytest.fixture(scope="module")
def shaken(truth: Structure, problem: Problem) -> Structure:
    """The model after dynamics without a map, Cα atoms 2.5 Å off."""
    target = make_target(Model.of(truth, problem.library), problem, 1e-6, Strengths())
    soft = np.full(len(truth), 300.0)
    run = dynamics(
        target, lambda x: target.variables(x, soft), truth.positions, np.full(4000, 4.0), np.random.default_rng(5), max_shift=0.25
    )
    found = next(x for x in run if off(truth.moved(x), truth) > 2.5)
    return truth.moved(minimise(target, found, max_iterations=40, curvature=target.variables(found)).x)


def test_good_models_are_left_alone(truth: Structure, problem: Problem) -> None:
    log, start = RunLog(), make_state("deposited", truth, problem)
    share = in_place(truth, problem.interpolated, D_MIN)
    assert share is not None
    assert share > 0.9
    assert annealed(start, problem, 0, log, quiet) is start
    assert not log._rows


def test_what_dynamics_shook_comes_back(truth: Structure, shaken: Structure, problem: Problem) -> None:
    assert (in_place(shaken, problem.interpolated, D_MIN) or 0.0) < Settings().anneal_below
    log = RunLog()
    found = annealed(make_state("deposited", shaken, problem), problem, 0, log, quiet)
    assert off(shaken, truth) > 2.0
    assert off(found.structure, truth) < 1.0
    row = log._rows[-1]
    assert row["kept"]
    assert row["in_place_after"] > 0.8 > row["in_place_before"]
    again = annealed(make_state("deposited", shaken, problem), problem, 0, RunLog(), quiet)
    np.testing.assert_array_equal(again.structure.positions, found.structure.positions)


def test_runs_are_repeated_until_two_agree(
    truth: Structure, shaken: Structure, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    astray = shaken.positions + 6.0
    outcomes = iter([astray, truth.positions, truth.positions])
    monkeypatch.setattr("refinement.annealing._dynamics", lambda *_: next(outcomes))
    log = RunLog()
    found = annealed(make_state("deposited", shaken, problem), problem, 0, log, quiet)
    row = log._rows[-1]
    assert len(row["rounds"]) == 3
    assert row["rounds"][0]["alone"] < 0.5 < 0.9 < row["rounds"][1]["alone"]
    assert [step["cc"] for step in row["rounds"]] == sorted(step["cc"] for step in row["rounds"])
    assert off(found.structure, truth) < 0.3


def test_an_outcome_that_fits_no_better_is_left(shaken: Structure, problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refinement.annealing._dynamics", lambda *_: shaken.positions + 6.0)
    log, start = RunLog(), make_state("deposited", shaken, problem)
    demanding = replace(problem, settings=Settings(anneal_gain=1.0))
    assert annealed(start, demanding, 0, log, quiet) is start
    row = log._rows[-1]
    assert not row["kept"]
    assert row["cc_after"] < 1.0
    assert row["sentence"].endswith(": undone.")


def test_models_that_are_nearly_in_place_have_the_last_stage_alone(shaken: Structure, problem: Problem) -> None:
    log, start = RunLog(), make_state("deposited", shaken, problem)
    annealed(start, replace(problem, settings=Settings(anneal_below=0.0)), 0, log, quiet)
    assert len(log._rows[-1]["rounds"]) == 1


def test_few_residues_say_nothing(truth: Structure, problem: Problem) -> None:
    few = truth.without(~(truth.residues.number < truth.residues.number.min() + 5)[truth.residue])
    assert in_place(few, problem.interpolated, D_MIN) is None


def test_forces_that_are_not_finite_end_it_and_nothing_else(
    shaken: Structure, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_end(*_arguments: Any, **_options: Any) -> Any:
        message = "the forces of a dynamics run aren't finite numbers"
        raise FloatingPointError(message)

    monkeypatch.setattr("refinement.annealing.dynamics", without_end)
    start, log = make_state("deposited", shaken, problem), RunLog()
    assert annealed(start, problem, 0, log, quiet) is start
    assert "given up" in log._rows[-1]["sentence"]
