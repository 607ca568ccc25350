"""Maps against operators: agreement, averages, and the search without a model."""

from __future__ import annotations

import gemmi
import numpy as np
import pytest

from refinement.maps.density import Density
from refinement.maps.interpolation import prepare
from refinement.maps.scattering import model_map_of
from refinement.maps.symmetry import BESIDE, agreement, averaged, beside, correlation, local_agreement
from refinement.maps.symmetry_search import find_symmetry
from refinement.operators import Operators, separation, turned_about

GOLDEN = (1.0 + np.sqrt(5.0)) / 2.0
UP = (0.0, 0.0, 1.0)
TWO, FOUR = turned_about(UP, 180.0), turned_about(UP, 90.0)
THIRD = turned_about((1.0, 1.0, 1.0), 120.0)


def generated(*generators: np.ndarray) -> Operators:
    group = [np.eye(3)]
    for member in group:
        for generator in generators:
            product = generator @ member
            if not any(np.allclose(product, other, atol=1e-6) for other in group):
                group.append(product)
    return Operators(np.array(group), np.zeros((len(group), 3)))


def lump(size: float = 9.0) -> np.ndarray:
    """A compact random chain of 250 atoms about the origin."""
    steps = np.cumsum(np.random.default_rng(1).normal(size=(250, 3)), axis=0)
    centred = steps - steps.mean(axis=0)
    return centred * size / np.sqrt((centred**2).sum(axis=1).mean())


def map_of(atoms: np.ndarray, points: int, *, step: float = 1.5, noise: float = 1.0, d_min: float = 4.0) -> Density:
    """A noisy map of carbon atoms whose origin lies in the middle of the box, the box beginning at zero."""
    length = points * step
    empty = Density(np.zeros((points,) * 3, dtype=np.float32), gemmi.UnitCell(length, length, length, 90, 90, 90), np.zeros(3))
    ones = np.ones(len(atoms))
    values = model_map_of(
        atoms + 0.5 * length, np.full(len(atoms), 6, dtype=np.uint8), 40.0 * ones, ones, density=empty, d_min=d_min
    )
    values = values / values.std() + noise * np.random.default_rng(2).normal(size=values.shape)
    return Density(values.astype(np.float32), empty.cell, empty.corner)


def particle(
    operators: Operators, offset: tuple[float, float, float], *, shift: float = 0.0, noise: float = 1.0
) -> tuple[Density, Operators, np.ndarray]:
    """A map of copies of the lump, the operators in its frame, and the atoms of the first copy."""
    first = lump() + np.array(offset)
    atoms = np.concatenate([operators.apply(k, first) for k in range(len(operators))]) + shift
    points = int(np.ceil((np.abs(atoms).max() + 12.0) / 1.5)) * 2
    centre = np.full(3, 0.75 * points + shift)
    return map_of(atoms, points, noise=noise), operators.about(-centre), first + centre


def test_points_beside_atoms_are_always_the_same() -> None:
    atoms = lump()
    points = beside(atoms)
    assert points.shape == (len(atoms) * (BESIDE + 1), 3)
    assert np.array_equal(points, beside(atoms.copy()))
    assert np.array_equal(points[: len(atoms)], atoms)
    assert np.linalg.norm(points[len(atoms) : 2 * len(atoms)] - atoms, axis=1) == pytest.approx(np.full(len(atoms), 1.5))


def test_operators_are_confirmed_by_a_map_that_obeys_them_and_by_no_other() -> None:
    quiet, operators, atoms = particle(generated(FOUR), (16.0, 3.0, 2.0), noise=0.0)
    assert agreement(prepare(quiet), operators, atoms) == pytest.approx(np.ones(4), abs=2e-3)
    noisy, _, _ = particle(generated(FOUR), (16.0, 3.0, 2.0), noise=3.0)
    found = agreement(prepare(noisy), operators, atoms)
    assert found[0] == pytest.approx(1.0)
    assert (found[1:] < 0.95).all()
    assert (found[1:] > 0.5).all()
    wrong = Operators(operators.rotation[1:] @ turned_about(UP, 20.0), operators.shift[1:])
    assert agreement(prepare(quiet), wrong, atoms).max() < 0.6


def test_local_agreement_shows_where_copies_differ() -> None:
    first = lump() + np.array([16.0, 3.0, 2.0])
    second = generated(TWO).apply(1, first)
    second[100:125] += np.array([0.0, 4.0, 3.0])
    quiet = map_of(np.concatenate([first, second]), 50, noise=0.0)
    group = np.arange(250) // 25
    found = local_agreement(prepare(quiet), generated(TWO).about(-np.full(3, 37.5)), first + 37.5, group, 11)
    assert found.shape == (2, 11)
    assert found[0, :10] == pytest.approx(np.ones(10))
    assert np.isnan(found[:, 10]).all()
    touched = [3, 4, 5]  # the chain goes on into its neighbours
    assert found[1, touched].max() < 0.7
    assert np.delete(found[1, :10], touched).min() > 0.99


def test_correlation_of_what_does_not_vary_is_zero() -> None:
    assert correlation(np.ones(5), np.arange(5.0)) == 0.0


@pytest.mark.parametrize("threads", [1, 2])
def test_the_average_is_the_mean_over_images_in_the_box(threads: int) -> None:
    rng = np.random.default_rng(4)
    density = Density(
        rng.normal(size=(12, 13, 14)).astype(np.float32), gemmi.UnitCell(12, 13, 14, 90, 90, 90), np.array([3.0, 4.0, 5.0])
    )
    operators = generated(FOUR).about(-np.array([10.0, 9.5, 10.0]))
    region = np.zeros(density.dims, dtype=bool)
    region[2:6, 3:5, 4:9] = True
    region[0, 5, 3] = True
    found = averaged(density, operators, region, threads=threads)
    assert np.array_equal(found.values[~region], density.values[~region])
    spline = prepare(density, normalise=False)
    for place in ((4, 4, 5), (0, 5, 3)):
        point = density.corner + np.array(place)
        images = np.array([operators.apply(k, point[None])[0] for k in range(4)])
        inside = density.contains(images)
        assert inside.sum() == (4 if place[0] else 1)
        assert found.values[place] == pytest.approx(spline.values(images[inside]).mean(), abs=1e-5)


def test_the_average_lowers_noise_and_keeps_the_signal() -> None:
    operators = generated(FOUR)
    atoms = np.concatenate([operators.apply(k, lump() + np.array([16.0, 3.0, 2.0])) for k in range(4)])
    quiet, noisy = map_of(atoms, 50, noise=0.0), map_of(atoms, 50, noise=1.0)
    about = operators.about(-np.full(3, 37.5))
    better = averaged(noisy, about, np.ones(noisy.dims, dtype=bool))
    inner = (slice(10, 40),) * 3
    before, after = ((one.values - quiet.values)[inner].std() for one in (noisy, better))
    assert after < 0.6 * before


@pytest.mark.parametrize(
    ("name", "operators", "offset", "shift"),
    [
        ("C4", generated(FOUR), (16.0, 3.0, 2.0), 0.75),
        ("C7", generated(turned_about(UP, 360.0 / 7.0)), (22.0, 3.0, 2.0), 0.0),
        ("D3", generated(turned_about(UP, 120.0), turned_about((np.cos(0.3), np.sin(0.3), 0.0), 180.0)), (18.0, 3.0, 14.0), 0.3),
        ("T", generated(TWO, THIRD), (30.0, 6.0, 12.0), 0.0),
        ("O", generated(FOUR, THIRD), (40.0, 5.0, 12.0), 0.0),
        ("I (b)", generated(TWO, THIRD, turned_about((1.0, 0.0, GOLDEN), 72.0)), (64.0, 6.0, 12.0), 0.75),
    ],
)
def test_symmetry_is_found_without_a_model(
    name: str, operators: Operators, offset: tuple[float, float, float], shift: float
) -> None:
    density, about, atoms = particle(operators, offset, shift=shift)
    found = find_symmetry(density)
    assert found[0].name == name
    assert len(found[0].operators) == len(operators)
    assert found[0].correlation > 0.95
    assert separation(about, found[0].operators, atoms.mean(axis=0), 9.0).min(axis=1).max() < 0.7
    assert [symmetry.score for symmetry in found] == sorted((symmetry.score for symmetry in found), reverse=True)
    assert len({symmetry.name for symmetry in found}) == len(found)


def test_a_helix_is_found_with_its_shortest_rise() -> None:
    turns = np.arange(-8, 9)
    helix = Operators(np.array([turned_about(UP, 47.0 * k) for k in turns]), np.array([[0.0, 0.0, 11.0 * k] for k in turns]))
    first = lump(7.0) + np.array([16.0, 0.0, 0.0])
    atoms = np.concatenate([helix.apply(k, first) for k in range(len(helix))])
    density = map_of(atoms[np.abs(atoms[:, 2]) < 70.0], 100)
    found = find_symmetry(density)
    assert found[0].name == "helical"
    one = found[0].operators
    assert one.shift[1, 2] == pytest.approx(11.0, abs=0.2)
    assert np.degrees(np.arccos((np.trace(one.rotation[1]) - 1.0) / 2.0)) == pytest.approx(47.0, abs=0.5)


def test_no_symmetry_is_found_where_there_is_none() -> None:
    density, _, _ = particle(generated(), (20.0, 3.0, 2.0))
    assert find_symmetry(density) == ()
    noise = np.random.default_rng(5).normal(size=(40, 40, 40)).astype(np.float32)
    assert find_symmetry(Density(noise, gemmi.UnitCell(60, 60, 60, 90, 90, 90), np.zeros(3))) == ()
