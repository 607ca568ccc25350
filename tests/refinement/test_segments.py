"""The map weight from random segments: which they are, what their best weight keeps, and that threads don't matter."""

from __future__ import annotations

from dataclasses import replace

import gemmi
import numpy as np
import pytest

from curation.example_model import build_truth
from refinement.cells import Cells
from refinement.maps.density import Density
from refinement.maps.interpolation import prepare
from refinement.maps.scattering import model_map
from refinement.moves.neighbourhood import SHELL
from refinement.output import RunLog
from refinement.protocol import refine
from refinement.restraints.library import load_monomer_library
from refinement.restraints.topology import build_topology
from refinement.segments import (
    CLOSE,
    LENGTH,
    NUMBER,
    OUTLIER,
    Trial,
    _listed,
    _next,
    _of_segment,
    _Segment,
    _tried,
    averaged,
    segment_weights,
    segments,
)
from refinement.settings import Settings, settings_for
from refinement.states import Model, Problem, Strengths, make_target, reweighted
from refinement.structure import ResidueKind, Structure, from_gemmi
from refinement.weight import map_weight


@pytest.fixture(scope="module")
def model() -> Structure:
    """Protein, nucleic acid and what else the example has."""
    return from_gemmi(build_truth())


@pytest.fixture(scope="module")
def density(model: Structure) -> Density:
    corner = model.positions.min(axis=0) - 7.0
    dims = np.ceil(model.positions.max(axis=0) + 7.0 - corner).astype(int)
    empty = Density(np.zeros(dims, dtype=np.float32), gemmi.UnitCell(*dims.astype(float), 90, 90, 90), corner)
    return replace(empty, values=model_map(model, empty, 3.0))


@pytest.fixture(scope="module", params=["ceres2020", "default"])
def problem(request: pytest.FixtureRequest, model: Structure, density: Density) -> Problem:
    library = load_monomer_library(np.unique(model.residues.compound).tolist())
    return Problem(
        topology=build_topology(model, library),
        library=library,
        density=density,
        interpolated=prepare(density),
        resolution=3.4,
        settings=settings_for(request.param).model_copy(update={"weight_method": "segments"}),
        threads=1,
    )


def shaken(structure: Structure, by: float) -> Structure:
    return structure.moved(structure.positions + np.random.default_rng(8).normal(scale=by, size=structure.positions.shape))


def everything(structure: Structure) -> np.ndarray:
    return np.ones(len(structure), dtype=np.bool_)


def test_segments_are_ten_consecutive_residues_of_one_chain(model: Structure) -> None:
    found = segments(model, everything(model))
    residues = model.residues
    rows = [np.unique(model.residue[atoms]) for atoms in found]
    kinds = {int(kind) for row in rows for kind in residues.kind[row]}
    assert kinds == {ResidueKind.PROTEIN, ResidueKind.NUCLEIC}
    for atoms, row in zip(found, rows, strict=True):
        assert len(set(residues.chain_index[row].tolist())) == 1
        assert np.array_equal(row, np.arange(row[0], row[-1] + 1))
        assert np.array_equal(atoms, np.flatnonzero(np.isin(model.residue, row)))
    lengths: dict[int, list[int]] = {}
    for row in rows:
        lengths.setdefault(int(residues.chain_index[row[0]]), []).append(len(row))
    assert all(set(each) == {LENGTH} or (len(each) == 1 and each[0] < LENGTH) for each in lengths.values())


def test_images_are_in_no_segment(model: Structure) -> None:
    moves = model.residues.chain[model.residue] == "A"
    found = segments(model, moves)
    assert found
    assert all(moves[atoms].all() for atoms in found)
    assert segments(model, ~everything(model)) == []


def test_outliers_among_the_weights_are_left_out() -> None:
    assert averaged([10.0, 12.0, 14.0]) == pytest.approx(12.0)
    weights = [9.0, 10.0, 11.0, 10.0, 9.0, 11.0, 10.0, 1.0, 60.0]
    mean = float(np.mean(weights))
    assert min(weights) < mean / OUTLIER
    assert max(weights) > mean * OUTLIER
    assert averaged(weights) == pytest.approx(10.0)


def test_the_next_trial_lies_between_those_inside_and_outside_the_limits() -> None:
    inside, outside = Trial(10.0, 0.7, 1.0), Trial(40.0, 1.6, 2.0)
    assert 10.0 < _next([inside]) < 10.0 / 0.7**2
    assert 40.0 / 1.6**2 < _next([outside]) < 40.0
    assert 10.0 < _next([inside, outside]) < 40.0
    assert _next([outside, Trial(20.0, 1.0 + 1e-9, 1.5), inside]) < 20.0


@pytest.mark.parametrize("weight", [4.0, 31.0])
def test_a_reweighted_target_is_the_one_made_with_that_weight(problem: Problem, model: Structure, weight: float) -> None:
    moved = shaken(model, 0.2)
    start = Model.of(moved, problem.library)
    held = make_target(start, problem, 10.0, Strengths())
    other, made = reweighted(held, weight, problem.settings), make_target(start, problem, weight, Strengths())
    slopes = [np.zeros_like(moved.positions) for _ in range(2)]
    assert other(moved.positions, slopes[0]) == pytest.approx(made(moved.positions, slopes[1]), rel=1e-9)
    assert other.energies == pytest.approx(made.energies, rel=1e-9)
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-6, abs=1e-3)
    assert held.map_weight == 10.0


def test_a_segment_feels_what_it_feels_in_the_whole_model(problem: Problem, model: Structure) -> None:
    """Differences of energy are those of the whole target, further terms included; the gradient is theirs."""
    moved = shaken(model, 0.1)
    target = make_target(Model.of(moved, problem.library), problem, 10.0, Strengths())
    rigid = replace(target.ramachandran, weight=np.full(len(target.ramachandran), 3.0))
    target.ramachandran = rigid  # a neighbourhood has no boost for outliers
    cells = Cells.of(moved.positions, SHELL)
    for atoms in segments(model, everything(model))[::4]:
        part = _of_segment(_listed(target, moved.positions), atoms, len(model))
        energy, start = _Segment(part, moved.positions, atoms, cells), moved.positions[atoms]
        ends = start + np.random.default_rng(3).normal(scale=0.05, size=start.shape)
        slope, whole = np.empty_like(start), np.empty_like(moved.positions)
        gain = energy(ends, slope) - energy(start, np.empty_like(start))
        there = moved.positions.copy()
        there[atoms] = ends
        before, after = target(moved.positions, np.empty_like(whole)), target(there, whole)
        assert gain == pytest.approx(after - before, rel=1e-6)
        assert slope == pytest.approx(whole[atoms], rel=1e-5, abs=1e-5)


def test_the_best_weight_keeps_the_limits_and_a_larger_one_does_not(problem: Problem, model: Structure) -> None:
    settings = problem.settings
    target = make_target(Model.of(model, problem.library), problem, 10.0, Strengths())
    weights = segment_weights(target, model, settings, seed=2)
    assert len(weights) == NUMBER
    found = segments(model, everything(model))
    picked = np.sort(np.random.default_rng(2).choice(len(found), NUMBER, replace=False)).tolist()
    cells = Cells.of(model.positions, SHELL)
    target = _listed(target, model.positions)
    reached = 0
    for weight, atoms in zip(weights, [found[k] for k in picked], strict=True):
        part = _of_segment(target, atoms, len(model))
        kept = _tried(reweighted(part, weight, settings), model.positions, atoms, cells, settings)
        beyond = _tried(reweighted(part, 1.3 * weight, settings), model.positions, atoms, cells, settings)
        assert kept.strain <= 1.0
        if weight < settings.weight_limits[1]:
            assert kept.strain >= CLOSE
            assert beyond.strain > 1.0
            assert beyond.fit > kept.fit
            reached += 1
    assert reached


def test_threads_do_not_matter_and_seeds_do(problem: Problem, model: Structure) -> None:
    moved = shaken(model, 0.1)
    target = make_target(Model.of(moved, problem.library), problem, 10.0, Strengths())
    one, four = (segment_weights(target, moved, problem.settings, seed=0, threads=threads) for threads in (1, 4))
    assert one == four
    assert segment_weights(target, moved, problem.settings, seed=0) == one
    assert segment_weights(target, moved, problem.settings, seed=1) != one


def test_a_model_without_polymer_has_one_trial(problem: Problem, model: Structure) -> None:
    waters = model.residues.kind == ResidueKind.WATER
    alone = model.without(~waters[model.residue])
    assert len(alone)
    topology = build_topology(alone, problem.library)
    part = replace(problem, topology=topology)
    start = Model.of(alone, problem.library)
    weight, of_segments = map_weight(
        lambda weight: make_target(start, part, weight, Strengths()), alone, topology, problem.settings
    )
    assert of_segments == []
    assert weight == problem.settings.weight_trial  # nothing is bonded


def test_the_protocol_of_2020_takes_segments(model: Structure, density: Density) -> None:
    part = model.without(~((model.residues.chain == "A") & (model.residues.number <= 40))[model.residue])
    log = RunLog()
    settings: Settings = settings_for("ceres2020").model_copy(update={"cycles": 1, "adp_evaluations": 0})
    result = refine(
        part,
        density,
        resolution=3.0,
        library=load_monomer_library(np.unique(part.residues.compound).tolist()),
        settings=settings,
        threads=2,
        log=log,
        progress=lambda _doing, _fraction: None,
    )
    row = next(row for row in log._rows if row["event"] == "weight")
    assert len(row["segments"]) == 4
    assert result.record["map_weight"] == pytest.approx(averaged(row["segments"]), rel=1e-6)
