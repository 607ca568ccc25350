"""The whole target against finite differences, and its independence of threads."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from curation.example_model import build_truth
from refinement.maps.density import Density
from refinement.maps.interpolation import prepare
from refinement.maps.scattering import model_map
from refinement.output import RunLog
from refinement.protocol import _learnt, refine
from refinement.restraints.library import load_monomer_library
from refinement.restraints.topology import build_topology
from refinement.score import Geometry, fit_harm, harm
from refinement.settings import Settings, settings_for
from refinement.states import Model, Problem, Strengths, lost_carboxylates, make_state, make_target, ramachandran_share
from refinement.structure import Structure, from_gemmi
from refinement.target import covalent_terms
from refinement.validation.geometry import bent_residues
from refinement.validation.ramachandran import Region, ramachandran

if TYPE_CHECKING:
    from refinement.target import Target


@pytest.fixture(scope="module")
def hairpin() -> Structure:
    """Residues 14 to 40 of the example's first chain and its RNA: protein and nucleic acid, 600 atoms."""
    truth = from_gemmi(build_truth())
    residues = truth.residues
    wanted = (residues.chain == "A") & (residues.number >= 14) & (residues.number <= 40) | (residues.chain == "R")
    return truth.without(~wanted[truth.residue])


@pytest.fixture(scope="module")
def density(hairpin: Structure) -> Density:
    import gemmi

    corner = hairpin.positions.min(axis=0) - 7.0
    dims = np.ceil((hairpin.positions.max(axis=0) + 7.0 - corner) / 1.0).astype(int)
    empty = Density(np.zeros(dims, dtype=np.float32), gemmi.UnitCell(*dims.astype(float), 90, 90, 90), corner)
    return replace(empty, values=model_map(hairpin, empty, 3.0))


def problem_of(structure: Structure, density: Density, *, threads: int = 1, settings: Settings | None = None) -> Problem:
    library = load_monomer_library(np.unique(structure.residues.compound).tolist())
    return Problem(
        topology=build_topology(structure, library),
        library=library,
        density=density,
        interpolated=prepare(density),
        resolution=3.0,
        settings=settings or settings_for("default"),
        threads=threads,
    )


def shaken(structure: Structure, by: float) -> Structure:
    return structure.moved(structure.positions + np.random.default_rng(8).normal(scale=by, size=structure.positions.shape))


def target_of(structure: Structure, density: Density, *, threads: int = 1) -> Target:
    problem = problem_of(structure, density, threads=threads)
    return make_target(make_state("start", structure, problem).model, problem, 10.0, Strengths())


def test_gradient_of_the_whole_target(hairpin: Structure, density: Density) -> None:
    model = shaken(hairpin, 0.15)
    target = target_of(model, density)
    gradient = np.zeros_like(model.positions)
    target(model.positions, gradient)
    assert set(target.energies) >= {"bonds", "angles", "planes", "contacts", "map", "ramachandran"}
    assert target.energies["contacts"] > 0
    rng = np.random.default_rng(2)
    for _ in range(4):
        direction = rng.normal(size=model.positions.shape)
        step = 1e-6
        scratch = np.zeros_like(gradient)
        up = target(model.positions + step * direction, scratch)
        down = target(model.positions - step * direction, scratch)
        assert (gradient * direction).sum() == pytest.approx((up - down) / (2 * step), rel=1e-6)


def test_one_and_two_threads_give_the_same_bits(hairpin: Structure, density: Density) -> None:
    model = shaken(hairpin, 0.1)
    results = []
    for threads in (1, 2):
        target = target_of(model, density, threads=threads)
        gradient = np.zeros_like(model.positions)
        energy = target(model.positions, gradient)
        target.close()
        results.append((energy, gradient.tobytes()))
    assert results[0] == results[1]


def test_hydrogens_ride(hairpin: Structure, density: Density) -> None:
    target = target_of(hairpin, density)
    moved = target.full_positions(hairpin.positions + np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(
        moved - target.full_positions(hairpin.positions), np.tile([1.0, 2.0, 3.0], (len(moved), 1)), atol=1e-9
    )


def test_refinement_brings_a_shaken_model_back(hairpin: Structure, density: Density) -> None:
    start = replace(shaken(hairpin, 0.25), b_iso=np.full(len(hairpin), 50.0))
    library = load_monomer_library(np.unique(start.residues.compound).tolist())
    log = RunLog()
    seen: list[float] = []
    result = refine(
        start,
        density,
        resolution=3.0,
        library=library,
        settings=Settings(cycles=3, iterations=60, adp_evaluations=3),
        threads=1,
        log=log,
        progress=lambda _doing, fraction: seen.append(fraction),
    )
    before = np.sqrt(((start.positions - hairpin.positions) ** 2).sum(axis=1).mean())
    after = np.sqrt(((result.structure.positions - hairpin.positions) ** 2).sum(axis=1).mean())
    # target (7) has its minimum some tenths of an Å off the truth at 3 Å (Afonine et al. 2018), so not all comes back
    assert after < 0.85 * before
    first, last = result.record["cycles"][0], result.record["cycles"][-1]
    assert last["density"] >= first["density"]
    assert result.record["kept"].startswith("cycle")
    assert last["bonds_rmsd"] < 0.015
    assert last["angles_rmsd"] < 2.0
    assert seen == sorted(seen)


def test_an_atom_on_top_of_another_does_not_stop_the_refinement(hairpin: Structure, density: Density) -> None:
    positions = shaken(hairpin, 0.1).positions
    row = int(np.flatnonzero((hairpin.names == "CA") & (hairpin.residue == 5))[0])
    positions[row] = positions[np.flatnonzero((hairpin.names == "N") & (hairpin.residue == 5))[0]]
    log = RunLog()
    result = refine(
        hairpin.moved(positions),
        density,
        resolution=3.0,
        library=load_monomer_library(np.unique(hairpin.residues.compound).tolist()),
        settings=Settings(cycles=2, iterations=60, adp_evaluations=2),
        threads=1,
        log=log,
        progress=lambda _doing, _fraction: None,
    )
    assert result.record["kept"].startswith("cycle")
    assert result.record["cycles"][-1]["bonds_rmsd"] < 0.015
    assert any("1 atoms lay on atoms" in row["sentence"] for row in log._rows)


def test_a_perfect_model_is_not_made_worse(hairpin: Structure, density: Density) -> None:
    library = load_monomer_library(np.unique(hairpin.residues.compound).tolist())
    result = refine(
        hairpin,
        density,
        resolution=3.0,
        library=library,
        settings=Settings(cycles=2, iterations=30, adp_evaluations=2),
        threads=1,
        log=RunLog(),
        progress=lambda _doing, _fraction: None,
    )
    shift = np.sqrt(((result.structure.positions - hairpin.positions) ** 2).sum(axis=1).mean())
    assert shift < 0.2


GOOD = Geometry(
    clashscore=5.0,
    rotamer_outliers=1.0,
    rama_outliers=0.0,
    rama_favored=97.0,
    rama_z=-1.0,
    cbeta_deviations=0.0,
    cis_nonproline=0.0,
    twisted_peptides=0.0,
    chirality_outliers=0.0,
    planarity_outliers=0.0,
    bonds_rmsd=0.01,
    angles_rmsd=1.2,
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"clashscore": 2.0, "bonds_rmsd": 0.014}, []),
        ({"clashscore": 5.1}, ["clashscore"]),
        ({"rama_outliers": 0.2, "rotamer_outliers": 1.5}, ["rotamer_outliers", "rama_outliers"]),
        ({"bonds_rmsd": 0.016, "angles_rmsd": 2.1}, ["bonds_rmsd", "angles_rmsd"]),
        ({"twisted_peptides": 1.0}, ["twisted_peptides"]),
        ({"rama_z": 2.4}, []),
        ({"rama_z": 2.6}, ["rama_z"]),
        ({"rama_z": -2.6}, ["rama_z"]),
        ({"rama_z": None}, []),
        ({"clashscore": None}, []),
    ],
)
def test_harm(change: dict[str, float | None], expected: list[str]) -> None:
    assert harm(GOOD, replace(GOOD, **change)) == expected


def test_part_of_a_clash_is_no_harm_where_there_are_few() -> None:
    few = replace(GOOD, clashscore=0.5)
    assert harm(few, replace(few, clashscore=0.58)) == []
    assert harm(few, replace(few, clashscore=0.62)) == ["clashscore"]
    assert harm(GOOD, replace(GOOD, clashscore=5.05)) == ["clashscore"]


def test_an_odd_backbone_may_stay_as_odd_as_it_was_or_become_as_perfect() -> None:
    odd = replace(GOOD, rama_z=-4.0)
    assert harm(odd, replace(odd, rama_z=-3.9)) == harm(odd, replace(odd, rama_z=3.9)) == []
    assert harm(odd, replace(odd, rama_z=-4.1)) == ["rama_z"]


def test_bad_bonds_may_stay_as_bad_as_they_were() -> None:
    assert harm(replace(GOOD, bonds_rmsd=0.05), replace(GOOD, bonds_rmsd=0.04)) == []


def test_fit_may_fall_a_little_only_where_it_is_good() -> None:
    assert not fit_harm(0.85, 0.846)
    assert fit_harm(0.85, 0.844)
    assert fit_harm(0.6, 0.599)
    assert not fit_harm(0.6, 0.6)


def test_what_did_harm_is_restrained_more() -> None:
    strengths = Strengths()
    strengths.raise_for(["clashscore", "twisted_peptides", "bonds_rmsd"])
    assert strengths.contacts > 1
    assert strengths.peptides > 1
    assert strengths.map < 1
    assert strengths.rotamers == strengths.cbeta == strengths.ramachandran == 1


def test_the_backbone_term_follows_rama_z_and_outliers(hairpin: Structure, density: Density) -> None:
    odd = shaken(hairpin, 0.4)
    problem = problem_of(odd, density)
    state = make_state("odd", odd, problem)
    outlier = np.flatnonzero(ramachandran(odd).region == Region.OUTLIER)
    assert len(outlier)
    factors = []
    for z in (0.4, -0.4, 1.5, -1.5, 30.0, -30.0, None):
        strengths = Strengths()
        strengths.learn(replace(state, geometry=replace(state.geometry, rama_z=z)), [], problem.topology)
        factors.append(strengths.ramachandran)
        assert strengths.outliers is not None
        assert np.flatnonzero(strengths.outliers > 1).tolist() == outlier.tolist()
    assert factors == pytest.approx([1.0, 1.0, np.exp(-0.25), np.exp(0.25), 0.5, 2.0, 1.0])
    for _ in range(10):
        strengths.learn(state, [], problem.topology)
    assert strengths.outliers is not None
    assert strengths.outliers.max() == 4.0


def test_oxygens_of_acids_in_negative_density_do_not_follow_it(hairpin: Structure, density: Density) -> None:
    acids = np.isin(hairpin.residues.compound, ("ASP", "GLU"))[hairpin.residue]
    oxygens = np.flatnonzero(acids & np.isin(hairpin.names, ("OD1", "OD2", "OE1", "OE2")))
    assert len(oxygens) > 2
    moved = hairpin.positions.copy()
    carbonyl = int(np.flatnonzero(hairpin.names == "O")[3])
    away = np.asarray(density.corner) + 1.0
    moved[oxygens[0]] = moved[carbonyl] = away
    start = hairpin.moved(moved)
    problem = problem_of(hairpin, density)
    assert problem.interpolated.values(away[None])[0] < 0.0
    fine, coarse = (replace(problem, resolution=resolution) for resolution in (3.0, 3.6))
    assert np.flatnonzero(lost_carboxylates(start, fine)).tolist() == [oxygens[0]]
    assert not lost_carboxylates(start, coarse).any()
    model = Model.of(start, problem.library)
    free, bound = (make_target(model, each, 10.0, Strengths()) for each in (fine, coarse))
    assert free.scattering[oxygens[0]] == 0.0 < bound.scattering[oxygens[0]]
    assert np.array_equal(np.delete(free.scattering, oxygens[0]), np.delete(bound.scattering, oxygens[0]))


def test_planes_and_centres_of_chosen_residues_are_held_more_strongly(hairpin: Structure, density: Density) -> None:
    problem = problem_of(hairpin, density)
    factor = np.ones(len(hairpin.residues))
    factor[5] = 4.0
    plain, firm = (covalent_terms(hairpin, problem.topology, shapes=shapes) for shapes in (None, factor))
    centres = hairpin.residue[plain.chiralities.atoms[:, 0]] == 5
    assert centres.any()
    assert np.allclose(firm.chirality_weight / plain.chirality_weight, np.where(centres, 4.0, 1.0))
    planes = [
        bool((hairpin.residue[plain.planes.atoms[first:end]] == 5).any()) for first, end in pairwise(plain.planes.first.tolist())
    ]
    assert any(planes)
    assert np.allclose(firm.plane_weight / plain.plane_weight, np.where(planes, 4.0, 1.0))
    assert np.array_equal(firm.torsion_weight, plain.torsion_weight)


def test_the_map_pulls_less_where_it_bent_a_plane_and_only_there(hairpin: Structure, density: Density) -> None:
    row = int(np.flatnonzero(np.isin(hairpin.residues.compound, ("PHE", "TYR", "TRP", "HIS"))[hairpin.residue])[0])
    ring = int(hairpin.residue[row])
    inside = np.flatnonzero((hairpin.residue == ring) & (hairpin.names == "CD2"))
    moved = hairpin.positions.copy()
    moved[inside] += 0.6 * normal_of(moved[hairpin.residue == ring])
    bent = hairpin.moved(moved)
    problem = problem_of(hairpin, density)
    assert np.flatnonzero(bent_residues(bent, problem.topology)).tolist() == [ring]
    assert not bent_residues(hairpin, problem.topology).any()
    state, strengths = make_state("bent", bent, problem), Strengths()
    strengths.learn(state, ["rotamer_outliers"], problem.topology)
    assert strengths.pull is None
    for times in (1, 2):
        strengths.learn(state, ["planarity_outliers"], problem.topology)
        assert strengths.pull is not None
        assert np.flatnonzero(strengths.pull < 1.0).tolist() == [ring]
        assert strengths.pull[ring] == pytest.approx(1.6**-times)
    assert strengths.map == 1.0
    plain, eased = (make_target(state.model, problem, 10.0, each) for each in (Strengths(), strengths))
    assert eased.scattering == pytest.approx(plain.scattering * np.where(hairpin.residue == ring, 1.6**-2, 1.0))
    log = RunLog()
    for harms in (["planarity_outliers"], ["clashscore"]):
        _learnt(strengths, state, harms, problem, log)
    assert [row["residues"] for row in log._rows] == [[hairpin.residues.label(ring)]]
    for _ in range(20):
        strengths.learn(state, ["planarity_outliers"], problem.topology)
    assert strengths.pull[ring] == pytest.approx(1.0 / 20.0)
    _learnt(strengths, state, ["planarity_outliers"], problem, log)  # nothing is eased any more
    assert len(log._rows) == 1


def normal_of(points: np.ndarray) -> np.ndarray:
    return np.linalg.svd(points - points.mean(axis=0))[2][2]


def test_outliers_feel_more_of_the_backbone_term(hairpin: Structure, density: Density) -> None:
    odd = shaken(hairpin, 0.4)
    problem = problem_of(odd, density)
    state = make_state("odd", odd, problem)
    plain = make_target(state.model, problem, 10.0, Strengths()).ramachandran
    strengths = Strengths()
    strengths.learn(replace(state, geometry=replace(state.geometry, rama_z=None)), [], problem.topology)
    learnt = make_target(state.model, problem, 10.0, strengths).ramachandran
    score = ramachandran(odd).score[plain.residue]
    assert plain.weight[score < 0.02] == pytest.approx(5.0 * plain.weight[score > 0.05].min())
    assert (plain.weight[(score > 0.02) & (score < 0.05)] > plain.weight.min()).all()
    raised = learnt.weight / plain.weight
    assert raised.max() == pytest.approx(1.6)
    assert ((raised > 1) == (ramachandran(odd).region[plain.residue] == Region.OUTLIER)).all()


def test_the_backbone_term_is_weak_where_the_map_is_strong() -> None:
    settings = settings_for("default")
    shares = [ramachandran_share(d, settings) for d in (2.0, 2.5, 2.75, 3.0, 4.5)]
    assert shares[0] == shares[1] == settings.ramachandran_fine
    assert shares == sorted(shares)
    assert shares[-1] == settings.ramachandran
