"""Residues that a state has spoilt are put back, the others stay as they became."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from curation.example_model import build_truth
from refinement.choice import choose
from refinement.maps.density import Density
from refinement.maps.interpolation import prepare
from refinement.maps.scattering import model_map
from refinement.output import RunLog
from refinement.repair import repaired, restored, widened, with_best_repaired
from refinement.restraints.library import load_monomer_library
from refinement.restraints.topology import build_topology
from refinement.score import Geometry, bearable, harm
from refinement.settings import Settings
from refinement.states import Problem, State, Strengths, make_state
from refinement.structure import Structure, from_gemmi

if TYPE_CHECKING:
    from collections.abc import Callable

D_MIN, WEIGHT = 3.0, 10.0


@pytest.fixture(scope="module")
def truth() -> Structure:
    """Residues 10 to 44 of the example's first chain, in ideal geometry."""
    whole = from_gemmi(build_truth())
    residues = whole.residues
    return whole.without(~((residues.chain == "A") & (residues.number >= 10) & (residues.number <= 44))[whole.residue])


@pytest.fixture(scope="module")
def problem(truth: Structure) -> Problem:
    corner = truth.positions.min(axis=0) - 7.0
    dims = np.ceil(truth.positions.max(axis=0) + 7.0 - corner).astype(int)
    empty = Density(np.zeros(dims, dtype=np.float32), gemmi.UnitCell(*dims.astype(float), 90, 90, 90), corner)
    density = replace(empty, values=model_map(truth, empty, D_MIN))
    library = load_monomer_library(np.unique(truth.residues.compound).tolist())
    return Problem(
        topology=build_topology(truth, library),
        library=library,
        density=density,
        interpolated=prepare(density),
        resolution=D_MIN,
        settings=Settings(adp_evaluations=1),
        threads=1,
    )


@pytest.fixture(scope="module")
def start(truth: Structure, problem: Problem) -> State:
    return make_state("deposited", truth, problem)


def atoms(structure: Structure, number: int, *names: str) -> np.ndarray:
    mine = np.flatnonzero(structure.residues.number[structure.residue] == number)
    return np.array([int(mine[structure.names[mine] == name][0]) for name in names])


def turned(structure: Structure, number: int, axis: tuple[str, str], names: tuple[str, ...], degrees: float) -> Structure:
    """Turn atoms of a residue about the line through two others."""
    first, second = structure.positions[atoms(structure, number, *axis)]
    direction = (second - first) / np.linalg.norm(second - first)
    moving = atoms(structure, number, *names)
    positions = structure.positions.copy()
    positions[moving] = Rotation.from_rotvec(np.radians(degrees) * direction).apply(positions[moving] - second) + second
    return structure.moved(positions)


def twisted(structure: Structure) -> Structure:
    """Turn the carbonyl carbon and oxygen of a residue half out of the plane of its peptide."""
    here, there = atoms(structure, 26, "CA")[0], atoms(structure, 27, "CA")[0]
    axis = structure.positions[there] - structure.positions[here]
    moving = atoms(structure, 26, "C", "O")
    positions = structure.positions.copy()
    rotation = Rotation.from_rotvec(np.radians(130.0) * axis / np.linalg.norm(axis))
    positions[moving] = rotation.apply(positions[moving] - positions[here]) + positions[here]
    return structure.moved(positions)


def inverted(structure: Structure) -> Structure:
    """Reflect Cβ and all beyond it of a residue in the plane of N, Cα and C."""
    n, ca, c = structure.positions[atoms(structure, 26, "N", "CA", "C")]
    normal = np.cross(n - ca, c - ca)
    normal /= np.linalg.norm(normal)
    mine = structure.residues.number[structure.residue] == 26
    side = np.flatnonzero(mine & ~np.isin(structure.names, ("N", "CA", "C", "O")))
    positions = structure.positions.copy()
    positions[side] -= 2.0 * ((positions[side] - ca) @ normal)[:, None] * normal
    return structure.moved(positions)


def bent(structure: Structure) -> Structure:
    """Push an atom of a ring out of its plane."""
    positions = structure.positions.copy()
    number = int(structure.residues.number[np.flatnonzero(np.isin(structure.residues.compound, ("TYR", "PHE")))[0]])
    ring = structure.positions[atoms(structure, number, "CG", "CD1", "CD2")]
    normal = np.cross(ring[1] - ring[0], ring[2] - ring[0])
    positions[atoms(structure, number, "CE1")] += 0.9 * normal / np.linalg.norm(normal)
    return structure.moved(positions)


SPOILT: dict[str, Callable[[Structure], Structure]] = {
    "twisted_peptides": twisted,
    "chirality_outliers": inverted,
    "planarity_outliers": bent,
}


@pytest.mark.parametrize("kind", SPOILT)
def test_what_was_spoilt_is_put_back(kind: str, truth: Structure, start: State, problem: Problem) -> None:
    state = make_state("cycle 1", SPOILT[kind](truth), problem)
    assert kind in harm(start.geometry, state.geometry)
    found = repaired(state, start, start, problem, WEIGHT, Strengths())
    assert harm(start.geometry, found.state.geometry) == []
    assert 0 < len(found.residues) < 16
    assert np.abs(found.state.structure.positions - truth.positions).max() < 0.5


def test_only_the_residues_concerned_go_back(truth: Structure) -> None:
    better = truth.moved(truth.positions + np.array([3.0, 0.0, 0.0]))
    chosen = np.zeros(len(truth.residues), dtype=np.bool_)
    chosen[[4, 5, 20]] = True
    bad = twisted(better)
    positions = restored(bad, truth, widened(truth, chosen | (truth.residues.number == 26)))
    assert np.abs(positions - better.positions).max() < 0.5
    untouched = ~widened(truth, chosen | (truth.residues.number == 26))[truth.residue]
    assert np.array_equal(positions[untouched], better.positions[untouched])


def test_neighbours_are_those_in_the_chain(truth: Structure) -> None:
    first = np.arange(len(truth.residues)) == 0
    assert np.flatnonzero(widened(truth, first)).tolist() == [0, 1]
    middle = np.arange(len(truth.residues)) == 7
    assert np.flatnonzero(widened(truth, middle)).tolist() == [6, 7, 8]


def test_the_best_state_is_replaced_and_the_log_says_what_was_put_back(truth: Structure, start: State, problem: Problem) -> None:
    log = RunLog()
    good, bad = make_state("cycle 1", truth, problem), make_state("cycle 2", inverted(truth), problem)
    bad = replace(bad, density_mean=1.1 * good.density_mean)
    states = with_best_repaired([good, bad], start, start, problem, WEIGHT, Strengths(), log)
    assert states[0] is good
    assert harm(start.geometry, states[1].geometry) == []
    (event,) = log._rows
    assert event["event"] == "repaired"
    assert event["harms_before"] == harm(start.geometry, bad.geometry)
    assert any(name.endswith(" 26") for name in event["residues"])


def test_harmless_states_are_left_alone(truth: Structure, start: State, problem: Problem) -> None:
    log = RunLog()
    states = [make_state("cycle 1", truth, problem)]
    assert with_best_repaired(states, start, start, problem, WEIGHT, Strengths(), log) is states
    assert log._rows == []


GOOD = Geometry(
    clashscore=1.0,
    rotamer_outliers=0.0,
    rama_outliers=0.0,
    rama_favored=98.0,
    rama_z=0.0,
    cbeta_deviations=0.0,
    cis_nonproline=0.0,
    twisted_peptides=0.0,
    chirality_outliers=0.0,
    planarity_outliers=0.0,
    bonds_rmsd=0.006,
    angles_rmsd=0.9,
)
BAD = replace(GOOD, clashscore=90.0, rotamer_outliers=30.0, rama_favored=90.0)


@pytest.mark.parametrize(
    ("initial", "change", "residues", "borne"),
    [
        (BAD, {"rama_outliers": 100.0 / 300.0}, 300, True),
        (BAD, {"rama_outliers": 200.0 / 300.0}, 300, False),
        (BAD, {"twisted_peptides": 4.0}, 2000, True),
        (BAD, {"twisted_peptides": 5.0}, 2000, False),
        (BAD, {"cis_nonproline": 1.0}, 2000, False),
        (BAD, {"angles_rmsd": 2.5}, 2000, False),
        (GOOD, {"rama_outliers": 100.0 / 300.0}, 300, False),
    ],
)
def test_one_outlier_is_borne_only_where_much_else_is_better(
    initial: Geometry, change: dict[str, float], residues: int, borne: bool
) -> None:
    state = replace(GOOD, **change)
    assert harm(initial, state) == list(change)
    assert bearable(harm(initial, state), initial, state, residues) is borne


def test_where_every_state_harms_the_one_with_a_little_harm_is_kept(truth: Structure, start: State, problem: Problem) -> None:
    initial = replace(start, geometry=BAD)
    little = replace(make_state("cycle 1", truth, problem), geometry=replace(GOOD, twisted_peptides=1.0))
    much = replace(little, label="cycle 2", geometry=replace(GOOD, twisted_peptides=3.0))

    def complete(_state: State, model: Structure, fits: float) -> tuple[Structure, float, dict[str, object]]:
        return model, fits, {}

    _, record = choose(initial, [little, much], problem, RunLog(), lambda _doing, _fraction: None, complete)
    assert (record["kept"], record["borne"]) == ("cycle 1", ["twisted_peptides"])
    assert "more twisted peptides than the input" in record["verdict"]
    _, record = choose(initial, [much], problem, RunLog(), lambda _doing, _fraction: None, complete)
    assert (record["kept"], record["borne"]) == ("deposited", [])


def test_the_last_minimisation_decides_whether_a_state_fits(truth: Structure, start: State, problem: Problem) -> None:
    state = make_state("cycle 1", truth.moved(truth.positions + 0.4), problem)

    def in_vain(_state: State, model: Structure, fits: float) -> tuple[Structure, float, dict[str, object]]:
        return model, fits, {}

    def rescue(_state: State, _model: Structure, _fits: float) -> tuple[Structure, float, dict[str, object]]:
        return truth, 1.0, {"finish": {}}

    outcomes = []
    for complete in (in_vain, rescue):
        model, record = choose(start, [state], problem, RunLog(), lambda _doing, _fraction: None, complete)
        outcomes.append((record["kept"], record["worse_fit"]))
    assert outcomes == [("deposited", ["cycle 1"]), ("cycle 1", [])]
    assert model is truth
