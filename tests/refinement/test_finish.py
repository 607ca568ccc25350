"""The last minimisation: against simulated maps, and when it isn't kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gemmi
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from curation.example_model import build_truth
from refinement import finish as last_step
from refinement.cycle import search_rules
from refinement.finish import finish
from refinement.maps.density import Density
from refinement.maps.interpolation import prepare
from refinement.maps.scattering import model_map
from refinement.moves.adp import cc_mask
from refinement.moves.side_chains import fit_side_chains
from refinement.output import RunLog
from refinement.protocol import _better_than_without, refine
from refinement.restraints.library import load_monomer_library
from refinement.restraints.named_torsions import named_torsions
from refinement.restraints.topology import build_topology
from refinement.revision import revised_side_chains
from refinement.settings import Settings
from refinement.states import Problem, State, Strengths, make_state
from refinement.structure import Structure, from_gemmi
from refinement.whole_map import LeastSquares
from refinement.words import WITHOUT_CYCLES

D_MIN = 4.0


@pytest.fixture(scope="module")
def truth() -> Structure:
    """Residues 14 to 40 of the example's first chain: a helix and a hairpin, in ideal geometry."""
    whole = from_gemmi(build_truth())
    residues = whole.residues
    return whole.without(~((residues.chain == "A") & (residues.number >= 14) & (residues.number <= 40))[whole.residue])


def problem_of(truth: Structure, noise: float = 0.0, d_min: float = D_MIN, **settings: Any) -> Problem:
    corner = truth.positions.min(axis=0) - 7.0
    dims = np.ceil(truth.positions.max(axis=0) + 7.0 - corner).astype(int)
    density = Density(np.zeros(dims, dtype=np.float32), gemmi.UnitCell(*dims.astype(float), 90, 90, 90), corner)
    values = model_map(truth, density, d_min)
    values += np.random.default_rng(7).normal(scale=noise * values.std(), size=dims).astype(np.float32)
    density = replace(density, values=values)
    library = load_monomer_library(np.unique(truth.residues.compound).tolist())
    return Problem(
        topology=build_topology(truth, library),
        library=library,
        density=density,
        interpolated=prepare(density),
        resolution=d_min,
        settings=Settings(**settings),
        threads=1,
    )


def off(state: State | Structure, truth: Structure) -> float:
    positions = state.structure.positions if isinstance(state, State) else state.positions
    return float(np.sqrt(((positions - truth.positions) ** 2).sum(axis=1).mean()))


def finished(truth: Structure, problem: Problem, start: Structure) -> tuple[Structure, dict[str, Any]]:
    state = make_state("cycle 1", start, problem)
    return finish(start, state, state, 10.0, Strengths(), problem, RunLog())


@pytest.fixture(scope="module")
def shaken(truth: Structure) -> Structure:
    return truth.moved(truth.positions + np.random.default_rng(8).normal(scale=0.1, size=truth.positions.shape))


def test_a_perfect_map_is_fitted_by_least_squares_alone(truth: Structure, shaken: Structure) -> None:
    problem = problem_of(truth)
    found, record = finished(truth, problem, shaken)
    assert record["kept"]
    assert record["rounds"][0]["fine"]
    assert record["rounds"][0]["centres"] == 0.0
    assert record["rounds"][-1]["squares"] > 10.0
    assert off(found, truth) < 0.07 < 0.15 < off(shaken, truth)
    assert record["cc_after"] == pytest.approx(cc_mask(found, problem.density, D_MIN), abs=1e-6)
    assert record["cc_after"] > 0.998


def test_a_noisy_map_is_fitted_by_both(truth: Structure, shaken: Structure) -> None:
    _, record = finished(truth, problem_of(truth, noise=1.0), shaken)
    settings = Settings()
    assert not record["rounds"][0]["fine"]
    assert record["rounds"][0]["squares"] == settings.least_squares
    assert record["rounds"][0]["centres"] == settings.centres_share


@pytest.mark.parametrize(("target", "centres"), [("least_squares", 0.0), ("overlap", 0.0)])
def test_parts_alone(truth: Structure, shaken: Structure, target: str, centres: float) -> None:
    _, record = finished(truth, problem_of(truth, noise=1.0, target=target), shaken)
    assert record["target"] == target
    assert record["rounds"][0]["centres"] == centres


def test_what_harms_is_tried_more_gently_and_then_given_up(
    truth: Structure, shaken: Structure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_step, "harm", lambda _before, _after: ["rama_outliers"])
    problem = problem_of(truth, noise=1.0)
    log = RunLog()
    state, strengths = make_state("cycle 1", shaken, problem), Strengths()
    found, record = finish(shaken, state, state, 10.0, strengths, problem, log)
    assert found is shaken
    assert not record["kept"]
    assert len(record["rounds"]) == 1 + last_step.RETRIES
    assert record["cc_after"] == record["cc_before"]
    moved = [row["moved"] for row in record["rounds"]]
    assert moved[-1] != moved[0]
    assert strengths == Strengths()
    assert "isn't kept: more Ramachandran outliers" in log._rows[-1]["sentence"]


def test_residues_that_a_round_spoils_are_held_in_the_next(
    truth: Structure, shaken: Structure, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = problem_of(truth, noise=1.0)
    torsions = named_torsions(shaken)
    spoilt = np.zeros(len(shaken.residues), dtype=np.bool_)
    spoilt[8:11] = True
    own = torsions.select(spoilt[torsions.residue])
    calls: list[None] = []

    def harm_of_the_first_round(_before: Any, _after: Any) -> list[str]:
        calls.append(None)
        return ["rotamer_outliers"] if len(calls) <= 2 else []

    def turned(found: Structure) -> float:
        change = np.abs((own.angles(found) - own.angles(shaken) + 180.0) % 360.0 - 180.0)
        return float(np.median(np.minimum(change, np.abs(180.0 - change))))

    free, _ = finished(truth, problem, shaken)
    monkeypatch.setattr(last_step, "harm", harm_of_the_first_round)
    monkeypatch.setattr(last_step, "spoilt_residues", lambda *_arguments: spoilt)
    found, record = finished(truth, problem, shaken)
    assert record["kept"]
    assert [row["harms"] for row in record["rounds"]] == [["rotamer_outliers"], []]
    assert turned(found) < 1.5 < 3.0 < turned(free)
    assert off(found, truth) < off(shaken, truth)


def turned(truth: Structure, name: str = "LEU", by: float = 120.0) -> tuple[Structure, int]:
    """Return the truth with χ1 of the first side chain of a kind turned, and the row of its residue."""
    row = int(np.flatnonzero(truth.residues.compound == name)[0])
    torsion = next(k for k in range(len(named_torsions(truth).residue)) if is_chi1(truth, k, row))
    a, b = named_torsions(truth).atoms[torsion][1:3]
    axis = truth.positions[b] - truth.positions[a]
    moving = (truth.residue == row) & ~np.isin(truth.names, ["N", "CA", "C", "O", "CB"])
    positions = truth.positions.copy()
    turn = Rotation.from_rotvec(np.deg2rad(by) * axis / np.linalg.norm(axis)).as_matrix()
    positions[moving] = (positions[moving] - positions[b]) @ turn.T + positions[b]
    return truth.moved(positions), row


def is_chi1(truth: Structure, torsion: int, row: int) -> bool:
    atoms = named_torsions(truth).atoms[torsion]
    return list(truth.names[atoms][:3]) == ["N", "CA", "CB"] and int(truth.residue[atoms[0]]) == row


def searched_in_what_is_unexplained(truth: Structure, start: Structure, d_min: float = D_MIN) -> tuple[Structure, list[str]]:
    problem = problem_of(truth, d_min=d_min)
    model = make_state("cycle 1", start, problem).model
    squares = LeastSquares(start, problem.density, d_min, weight=1.0, fine=True)
    squares.weight = 1000.0 / float(squares.curvature().mean())
    found, moves = revised_side_chains(start, model, squares, 10.0, Strengths(), problem, problem)
    return found.structure, [move.label for move in moves]


def test_a_wrong_side_chain_is_found_in_what_is_unexplained(truth: Structure) -> None:
    start, row = turned(truth)
    mine = truth.residue == row
    found, moves = searched_in_what_is_unexplained(truth, start)
    assert np.abs(start.positions - truth.positions)[mine].max() > 2.0
    assert truth.residues.label(row) in moves
    assert np.linalg.norm(found.positions - truth.positions, axis=1)[mine].max() < 0.7


def test_right_side_chains_stay_where_the_density_of_neighbours_is_higher(truth: Structure) -> None:
    """At 7 Å the search at the centres moves side chains of the truth; what is unexplained is nothing."""
    problem = problem_of(truth, d_min=7.0)
    model = make_state("cycle 1", truth, problem).model
    rules = search_rules(10.0, problem.settings, Strengths())
    at_centres = fit_side_chains(
        truth, model.hydrogenated, model.nonbonded, problem.interpolated, rules, map_weight=10.0, backrub=False
    )
    assert len(at_centres.moves) > 0
    assert searched_in_what_is_unexplained(truth, truth, 7.0)[1] == []


def test_a_model_that_explains_its_map_is_not_led_off_by_the_cycles(truth: Structure) -> None:
    problem = problem_of(truth)
    log = RunLog()
    how: dict[str, Any] = {"resolution": D_MIN, "library": problem.library, "threads": 1, "progress": lambda _doing, _part: None}
    found = refine(truth, problem.density, settings=Settings(), log=log, **how)
    assert found.record["kept"] == WITHOUT_CYCLES
    assert len(found.record["cycles"]) > 0
    assert off(found.structure, truth) < 0.05
    centres = refine(truth, problem.density, settings=Settings(target="centres", cycles=2), log=RunLog(), **how)
    assert centres.record["kept"] != WITHOUT_CYCLES
    events = [row["state"] for row in log._rows if row["event"] == "choice"]
    assert len(events) == 2
    assert events[-1] == WITHOUT_CYCLES


@pytest.mark.parametrize(
    ("shift", "kept", "borne", "borne_by_cycles", "taken"),
    [
        (0.0, WITHOUT_CYCLES, [], [], True),
        (0.3, WITHOUT_CYCLES, [], [], False),
        (0.3, WITHOUT_CYCLES, [], ["rotamer_outliers"], True),
        (0.0, WITHOUT_CYCLES, ["rotamer_outliers"], [], False),
        (0.0, "deposited", [], [], False),
    ],
)
def test_what_harms_is_not_taken_and_the_log_tells_only_of_what_is(
    truth: Structure, shift: float, kept: str, borne: list[str], borne_by_cycles: list[str], taken: bool
) -> None:
    """`shift` (Å) makes the model without the cycles fit worse than the one of the cycles, which is shifted by 0.1 Å."""
    problem, log = problem_of(truth), RunLog()
    cycles = {"kept": "cycle 2", "borne": borne_by_cycles}
    of_cycles = truth.moved(truth.positions + 0.1)

    def choice(among: list[State], aside: RunLog) -> tuple[Structure, dict[str, Any]]:
        assert [state.label for state in among] == [WITHOUT_CYCLES]
        aside.add("choice", "It is kept.", cc_after=0.99)
        return truth.moved(truth.positions + shift), {"kept": kept, "borne": borne}

    first = make_state("deposited", truth, problem)
    found, record = _better_than_without(of_cycles, cycles, choice, first, 10.0, problem, None, log)
    assert (record is not cycles, found is not of_cycles) == (taken, taken)
    assert [row["event"] for row in log._rows] == (["choice"] if taken else []) + ["nearly_exact"]
    assert log._rows[-1]["taken"] == taken
