"""Rigid motions and the six-dimensional search: gradients, planted motions found again, and the frame of the map."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from curation.example_model import build_truth
from refinement.maps.density import Density, read_map, write_map
from refinement.maps.interpolation import prepare
from refinement.maps.scattering import model_map
from refinement.moves.docking import SAME_ANGLE, dock, even_rotations
from refinement.moves.placement import cc_mask, place
from refinement.moves.rigid_body import (
    BlurredMaps,
    RigidTarget,
    best_rigid_move,
    left_jacobian,
    low_resolutions,
    motion_between,
    move_rigidly,
)
from refinement.output import RunLog
from refinement.settings import Settings, settings_for
from refinement.structure import Structure, from_gemmi

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from refinement.moves.placement import Placed

RESOLUTION = 3.5


@pytest.fixture(scope="module")
def truth() -> Structure:
    """Two protein chains of the example, away from the origin."""
    model = from_gemmi(build_truth())
    model = model.without(~np.isin(model.residues.chain, ("A", "B"))[model.residue] | model.is_hydrogen)
    return model.moved(model.positions + np.array([40.0, -15.0, 120.0]))


def map_of(structure: Structure, angles: tuple[float, float, float] = (90.0, 90.0, 90.0), cushion: float = 12.0) -> Density:
    """Return the model's map in a box with these cell angles whose middle is the model's."""
    skewed = 1.0 if angles == (90.0, 90.0, 90.0) else 1.3  # room for the corners that a skewed box cuts off
    lengths = skewed * (np.ptp(structure.positions, axis=0) + 2 * cushion)
    dims = np.ceil(lengths / 1.2).astype(int)
    cell = gemmi.UnitCell(*(dims * 1.2).tolist(), *angles)
    middle = np.array(cell.orthogonalize(gemmi.Fractional(0.5, 0.5, 0.5)).tolist())
    centre = 0.5 * (structure.positions.min(axis=0) + structure.positions.max(axis=0))
    empty = Density(np.zeros(dims, dtype=np.float32), cell, centre - middle)
    return replace(empty, values=model_map(structure, empty, RESOLUTION))


@pytest.fixture(scope="module")
def density(truth: Structure) -> Density:
    return map_of(truth)


def displaced(positions: NDArray[np.float64], shift: float, degrees: float, seed: int = 0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    direction, axis = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    centre = positions.mean(axis=0)
    rotation = Rotation.from_rotvec(np.radians(degrees) * axis).as_matrix()
    return (positions - centre) @ rotation.T + centre + shift * direction


def placed(
    structure: Structure, density: Density, *, threads: int = 2, settings: Settings | None = None
) -> tuple[Placed, RunLog]:
    log = RunLog()
    chosen = settings or settings_for("default")
    outcome = place(
        structure, density, resolution=RESOLUTION, settings=chosen, threads=threads, log=log, progress=lambda _doing, _part: None
    )
    return outcome, log


def rms(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.sqrt(((a - b) ** 2).sum(axis=1).mean()))


@pytest.mark.parametrize("turn", [0.0, 1e-5, 0.4, 2.9])
def test_jacobian_is_that_of_the_rotation(turn: float) -> None:
    vector = turn * np.array([0.36, -0.48, 0.8])
    jacobian, step = left_jacobian(vector), 1e-6
    for k in range(3):
        ahead, behind = vector.copy(), vector.copy()
        ahead[k] += step
        behind[k] -= step
        change = Rotation.from_rotvec(ahead) * Rotation.from_rotvec(behind).inv()
        np.testing.assert_allclose(change.as_rotvec() / (2 * step), jacobian[:, k], atol=1e-6)


@pytest.mark.parametrize("turned", [False, True])
def test_gradient_agrees_with_finite_differences(truth: Structure, density: Density, turned: bool) -> None:
    target = RigidTarget(prepare(density), displaced(truth.positions, 1.0, 8.0), truth.elements.astype(float))
    x = np.array([3.0, -6.0, 4.0, 0.7, -0.4, 0.2]) if turned else np.zeros(6)
    gradient, spare, step = np.empty(6), np.empty(6), 1e-4
    target(x, gradient)
    for k in range(6):
        ahead, behind = x.copy(), x.copy()
        ahead[k] += step
        behind[k] -= step
        slope = (target(ahead, spare) - target(behind, spare)) / (2 * step)
        assert gradient[k] == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_motion_applies_what_it_says_and_is_found_from_two_models(truth: Structure) -> None:
    moved = displaced(truth.positions, 7.0, 40.0)
    motion = motion_between(truth.positions, moved)
    np.testing.assert_allclose(motion.apply(truth.positions), moved, atol=1e-9)
    assert motion.angle == pytest.approx(40.0)
    assert motion.distance == pytest.approx(7.0)
    mirrored = motion_between(truth.positions, truth.positions * np.array([-1.0, 1.0, 1.0]))
    assert np.linalg.det(mirrored.rotation) == pytest.approx(1.0)


@pytest.mark.parametrize(("shift", "degrees"), [(2.0, 5.0), (5.0, 5.0), (2.0, 25.0)])
def test_planted_motions_are_undone(truth: Structure, density: Density, shift: float, degrees: float) -> None:
    maps = BlurredMaps.of(density, low_resolutions(RESOLUTION), finest=RESOLUTION)
    start = displaced(truth.positions, shift, degrees)
    found, mean = best_rigid_move(start, truth.elements.astype(float), maps)
    assert rms(found, truth.positions) < 0.1
    assert mean > 0.98 * float(truth.elements @ maps.maps[-1].values(truth.positions)) / truth.elements.sum()


def test_low_resolution_first_reaches_further(truth: Structure) -> None:
    maps = BlurredMaps.of(map_of(truth, cushion=20.0), low_resolutions(RESOLUTION), finest=RESOLUTION)
    weights = truth.elements.astype(float)
    starts = [displaced(truth.positions, 16.0, 20.0, seed) for seed in range(8)]
    from_low = [rms(move_rigidly(start, weights, maps)[0], truth.positions) < 0.1 for start in starts]
    last = len(maps.maps) - 1
    from_fine = [rms(move_rigidly(start, weights, maps, first=last)[0], truth.positions) < 0.1 for start in starts]
    assert sum(from_low) >= 7
    assert sum(from_fine) <= 3


def test_resolutions_of_the_passes_fall_and_end_at_the_map() -> None:
    assert low_resolutions(2.0) == (15.0, 8.0, 4.0)
    assert low_resolutions(9.0) == (15.0, 9.0)
    assert low_resolutions(20.0) == (20.0,)


def test_orientations_are_even() -> None:
    rotations = even_rotations(1152)
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), np.broadcast_to(np.eye(3), rotations.shape), atol=1e-12)
    tried = Rotation.random(500, random_state=1).as_matrix()
    trace = np.einsum("aij,bij->ab", tried, rotations).max(axis=1)
    nearest = np.degrees(np.arccos(np.clip(0.5 * (trace - 1.0), -1.0, 1.0)))
    assert nearest.mean() < 13.0
    assert nearest.max() < 22.0
    assert nearest.mean() > SAME_ANGLE


@pytest.mark.parametrize("angles", [(90.0, 90.0, 90.0), (75.0, 100.0, 110.0)])
def test_search_finds_the_place_in_any_frame(truth: Structure, angles: tuple[float, float, float]) -> None:
    density = map_of(truth, angles)
    start = displaced(truth.positions, 300.0, 137.0)
    found = dock(start, truth.elements.astype(float), density, resolution=RESOLUTION, threads=2)
    assert rms(found[0].positions, truth.positions) < 0.15
    assert found[0].density > 1.3 * found[1].density


@pytest.mark.parametrize("corner", [(12.0, -24.0, 120.0), (12.3, -24.7, 121.1)], ids=["NSTART", "ORIGIN"])
def test_search_works_in_the_frame_that_files_keep(truth: Structure, density: Density, corner: tuple, tmp_path: Path) -> None:
    offset = np.array(corner) - density.corner
    write_map(tmp_path / "map.ccp4", replace(density, corner=np.array(corner)))
    again = read_map(tmp_path / "map.ccp4")
    outcome, _ = placed(truth.moved(displaced(truth.positions, 60.0, 80.0)), again)
    assert rms(outcome.structure.positions, truth.positions + offset) < 0.15


def test_threads_do_not_matter(truth: Structure, density: Density) -> None:
    start = truth.moved(displaced(truth.positions, 30.0, 150.0))
    one, two = placed(start, density, threads=1)[0], placed(start, density, threads=2)[0]
    assert np.array_equal(one.structure.positions, two.structure.positions)
    assert one.record == two.record


def test_a_model_that_fits_stays_untouched(truth: Structure, density: Density) -> None:
    outcome, log = placed(truth, density)
    assert outcome.structure is truth
    assert outcome.record["steps"] == []
    assert outcome.record["cc_initial"] == outcome.record["cc_final"] > 0.95
    assert log._rows == []


def test_a_motion_that_gains_nothing_is_undone(truth: Structure, density: Density) -> None:
    settings = settings_for("default").model_copy(update={"place_below": 1.0, "dock_below": 1.0})
    outcome, _ = placed(truth, density, settings=settings)
    assert outcome.structure is truth
    moves = [step["move"] for step in outcome.record["steps"]]
    assert moves == ["rigid body", "rigid chains", "docking", "docking of chains"]
    assert not any(step["kept"] for step in outcome.record["steps"])


def test_noise_keeps_the_model_where_it_was(truth: Structure, density: Density) -> None:
    noise = np.random.default_rng(5).normal(size=density.dims).astype(np.float32)
    start = truth.moved(displaced(truth.positions, 3.0, 20.0))
    outcome, log = placed(start, replace(density, values=noise), settings=Settings(placement_gain=0.1, dock_below=-1.0))
    assert outcome.structure is start
    assert {row["kept"] for row in log._rows} == {False}


@pytest.mark.parametrize(("shift", "degrees", "how"), [(3.0, 10.0, "rigid chains"), (20.0, 120.0, "docking of chains")])
def test_chains_that_moved_apart_come_back(truth: Structure, density: Density, shift: float, degrees: float, how: str) -> None:
    positions = truth.positions.copy()
    for seed, name in enumerate(truth.chain_names):
        atoms = truth.residues.chain[truth.residue] == name
        positions[atoms] = displaced(positions[atoms], shift, degrees, seed=seed + 1)
    outcome, log = placed(truth.moved(positions), density)
    assert outcome.record["cc_final"] > 0.95
    assert rms(outcome.structure.positions, truth.positions) < 0.3
    kept = [row for row in log._rows if row["kept"]]
    assert how in {row["move"] for row in kept}
    assert "CC_mask" in kept[-1]["sentence"]
    json.dumps(outcome.record)


def test_what_lies_outside_counts_against_a_model(truth: Structure, density: Density) -> None:
    inside = cc_mask(truth, density, RESOLUTION)
    lengths = density.voxel * np.array(density.dims)
    assert inside > 0.95
    assert cc_mask(truth.moved(truth.positions + 3.0 * lengths), density, RESOLUTION) == 0.0
    half = density.corner[0] + 0.5 * lengths[0]
    middle = int(np.argmin(np.abs(density.corner[0] + density.voxel[0] * np.arange(density.dims[0]) - half)))
    cell = gemmi.UnitCell(*(density.voxel * (middle, *density.dims[1:])).tolist(), 90, 90, 90)
    cut = replace(density, values=np.ascontiguousarray(density.values[:middle]), cell=cell)
    share = float(cut.contains(truth.positions).mean())
    assert 0.2 < share < 0.8
    assert cc_mask(truth, cut, RESOLUTION) == pytest.approx(share * inside, abs=0.1)
