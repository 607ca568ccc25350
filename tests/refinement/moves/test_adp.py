"""Group B factors: the gradient, and a planted distribution that must be found again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
import pytest

from refinement.maps.density import Density
from refinement.maps.fourier import low_pass
from refinement.maps.scattering import model_map
from refinement.maps.summation import SummationGrid
from refinement.moves import adp
from refinement.moves.packing import packing
from refinement.structure import Structure, from_gemmi

if TYPE_CHECKING:
    from collections.abc import Callable


def helix_like(residues: int) -> Structure:
    """Alanines on a spiral: not protein geometry, but atoms at sensible distances."""
    rng = np.random.default_rng(3)
    model = gemmi.Structure()
    model.add_model(gemmi.Model(1))
    chain = gemmi.Chain("A")
    for number in range(residues):
        residue = gemmi.Residue()
        residue.name, residue.seqid, residue.entity_type = "ALA", gemmi.SeqId(number + 1, " "), gemmi.EntityType.Polymer
        angle = 1.7 * number
        centre = np.array([12 + 4.5 * np.cos(angle), 12 + 4.5 * np.sin(angle), 4 + 1.5 * number])
        for name, element in (("N", "N"), ("CA", "C"), ("C", "C"), ("O", "O"), ("CB", "C")):
            atom = gemmi.Atom()
            atom.name, atom.element, atom.occ, atom.b_iso = name, gemmi.Element(element), 1.0, 40.0
            atom.pos = gemmi.Position(*(centre + rng.uniform(-1.5, 1.5, 3)))
            residue.add_atom(atom)
        chain.add_residue(residue)
    model[0].add_chain(chain)
    return from_gemmi(model)


def empty_box(structure: Structure, step: float = 0.9) -> Density:
    corner = structure.positions.min(axis=0) - 8.0
    lengths = structure.positions.max(axis=0) + 8.0 - corner
    dims = np.ceil(lengths / step).astype(int)
    cell = gemmi.UnitCell(*(dims * step), 90, 90, 90)
    return Density(np.zeros(dims, dtype=np.float32), cell, corner)


@pytest.fixture(scope="module")
def planted() -> tuple[Structure, Density]:
    """A map made with B from 20 to 120 along the chain."""
    structure = helix_like(16)
    truth = replace(structure, b_iso=np.linspace(20, 120, 16)[structure.residue])
    box = empty_box(structure)
    return structure, replace(box, values=model_map(truth, box, 2.5))


def test_noise_draws_b_to_what_packing_says() -> None:
    chain = helix_like(64)
    lattice = np.stack(np.meshgrid(*[np.arange(4.0)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) * 3.4
    atoms = chain.without(chain.names != "CA")
    rng = np.random.default_rng(8)
    structure = replace(atoms.moved(lattice + rng.normal(scale=0.2, size=lattice.shape)), b_iso=np.full(64, 60.0))
    expected = -np.log(packing(structure.positions, np.arange(64)))
    truth = replace(structure, b_iso=60.0 * np.exp(expected - expected.mean() + rng.normal(scale=0.3, size=64)))
    box = empty_box(structure)
    signal = model_map(truth, box, 2.5)
    noisy = low_pass(replace(box, values=(signal + 1.5 * signal.std() * rng.normal(size=box.dims)).astype(np.float32)), 2.5)

    def beyond(noise: float) -> float:
        fit = adp.fit_b(replace(structure, b_iso=np.full(64, 500.0)), noisy, 2.5, evaluations=20, smoothness=0.01, noise=noise)
        return float(np.std(np.log(fit.structure.b_iso) - expected))

    free, drawn, fixed = (beyond(noise) for noise in (0.0, 1.0, 1e4))
    assert fixed < 0.02
    assert fixed < drawn < 0.8 * free


@pytest.mark.parametrize("shells", [None, np.linspace(1.0, 0.2, 20)], ids=["as strong as in the map", "by shells"])
def test_gradient_agrees_with_finite_differences(planted: tuple[Structure, Density], shells: np.ndarray | None) -> None:
    structure, density = planted
    group = adp._groups(structure, 3.0)
    fit = adp.MapFit.prepare(structure, density, 2.5, group, 0.1, shells=shells)
    x = np.log(np.linspace(25, 90, int(group.max()) + 1))
    gradient = np.zeros_like(x)
    fit.objective(x, gradient)
    for index in (0, 7, 15):
        step = np.zeros_like(x)
        step[index] = 0.01
        numeric = (fit.objective(x + step, np.zeros_like(x)) - fit.objective(x - step, np.zeros_like(x))) / 0.02
        assert gradient[index] == pytest.approx(numeric, rel=2e-3, abs=1e-7)


def test_gradient_on_a_grid_that_is_too_coarse_for_summing(planted: tuple[Structure, Density]) -> None:
    structure, _ = planted
    box = empty_box(structure, step=1.4)
    grid = SummationGrid.of(box, 3.0, b_floor=1.0)
    assert grid.fine != grid.dims
    weights = np.random.default_rng(5).normal(size=grid.dims).astype(np.float32)
    b = np.full(len(structure), 50.0)

    def total(values: np.ndarray) -> float:
        terms = grid.coefficients(structure.positions, structure.elements, values, structure.occupancy)
        return float((grid.to_map(terms).astype(np.float64) * weights).sum())

    gradient = grid.b_gradient(weights, structure.positions, structure.elements, b, structure.occupancy)
    for atom in (0, 33):
        step = np.zeros(len(b))
        step[atom] = 2.0
        assert gradient[atom] == pytest.approx((total(b + step) - total(b - step)) / 4.0, rel=5e-3)


def test_finds_planted_b_factors(planted: tuple[Structure, Density]) -> None:
    structure, density = planted
    fit = adp.fit_b(structure, density, 2.5, evaluations=40, smoothness=0.0)
    found = adp._group_means(fit.structure.b_iso, structure.residue.astype(np.int64))
    assert fit.kept
    assert fit.cc_after > 0.995 > fit.cc_before
    # CC sees B differences, not their absolute level, near the ends of the range
    assert np.corrcoef(found, np.linspace(20, 120, 16))[0, 1] > 0.97


def test_better_b_factors_are_not_replaced(planted: tuple[Structure, Density]) -> None:
    structure, density = planted
    truth = replace(structure, b_iso=np.linspace(20, 120, 16)[structure.residue])
    fit = adp.fit_b(truth, density, 2.5, evaluations=0, smoothness=0.03)
    assert fit.cc_after >= fit.cc_before


def test_atoms_and_side_chains_have_their_own_b_only_where_the_map_shows_them() -> None:
    structure = helix_like(3)
    renamed = replace(structure, names=np.where(structure.names == "CB", "CG", structure.names))
    assert adp._groups(renamed, 1.8).max() + 1 == len(renamed)
    assert adp._groups(renamed, 3.0).max() + 1 == 6
    assert adp._groups(renamed, 5.0).max() + 1 == 3
    protonated = replace(renamed, elements=np.where(renamed.names == "CG", 1, renamed.elements).astype(np.uint8))
    assert adp._groups(protonated, 1.8).max() + 1 == 4 * 3 + 3


def test_one_b_for_each_residue_on_request(planted: tuple[Structure, Density]) -> None:
    model, density = planted
    flat = replace(model, b_iso=np.full(len(model), 60.0), names=np.where(model.names == "CB", "CG", model.names))
    fit = adp.fit_b(flat, density, 2.5, evaluations=6, smoothness=0.0, by_residue=True)
    assert adp.fit_b(flat, density, 2.5, evaluations=0, smoothness=0.0).groups == 2 * len(model.residues)
    assert fit.kept
    assert fit.groups == len(model.residues)
    values = [np.unique(fit.structure.b_iso[model.residue == row]) for row in range(len(model.residues))]
    assert all(len(value) == 1 for value in values)
    assert len(np.unique(np.concatenate(values))) > 1


def test_atoms_are_held_together_by_their_distance(structure_of: Callable[..., Structure]) -> None:
    structure = structure_of(
        [("A", 1, "ALA", "N", "N"), ("A", 1, "ALA", "CA", "C"), ("A", 1, "ALA", "C", "C")],
        [[0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [-3.0, 0.0, 0.0]],
    )
    pairs, closeness = adp._neighbours(structure, np.arange(3), np.ones(3, dtype=bool))
    assert pairs.tolist() == [[0, 1], [0, 2]]
    np.testing.assert_allclose(closeness, [1.0, 0.25])


def test_finds_planted_b_factors_of_atoms() -> None:
    structure = helix_like(8)
    planted = np.random.default_rng(8).uniform(15.0, 45.0, len(structure))
    box = empty_box(structure, step=0.5)
    density = replace(box, values=model_map(replace(structure, b_iso=planted), box, 1.2))
    fit = adp.fit_b(structure, density, 1.2, evaluations=60, smoothness=0.0)
    assert fit.groups == len(structure)
    assert fit.cc_after > 0.999
    assert np.corrcoef(fit.structure.b_iso, planted)[0, 1] > 0.97


def test_threads_give_the_same_bits(planted: tuple[Structure, Density]) -> None:
    structure, density = planted
    one, two, five = (
        adp.fit_b(structure, density, 2.5, evaluations=4, smoothness=0.03, threads=threads).structure.b_iso
        for threads in (1, 2, 5)
    )
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, five)


@pytest.mark.parametrize("b", [-50.0, 0.0, 99_999.0])
def test_starts_from_b_factors_that_no_atom_has(planted: tuple[Structure, Density], b: float) -> None:
    structure, density = planted
    fit = adp.fit_b(replace(structure, b_iso=np.full(len(structure), b)), density, 2.5, evaluations=4, smoothness=0.03)
    assert np.isfinite(fit.cc_before)
    assert fit.kept
    assert fit.cc_after > 0.9


def test_a_resolution_beyond_the_grid_makes_no_larger_sum(planted: tuple[Structure, Density]) -> None:
    _, density = planted
    grid = SummationGrid.of(density, 0.05, b_floor=1.0)
    assert grid.d_min == pytest.approx(density.voxel.min())
    assert grid == SummationGrid.of(density, float(density.voxel.min()), b_floor=1.0)


def test_b_factors_by_shells_follow_weak_high_resolution(planted: tuple[Structure, Density]) -> None:
    """Where low resolution holds something else, such as solvent, a fit by strength spoils B and one by shells doesn't."""
    structure, density = planted
    truth = np.linspace(20, 120, 16)[structure.residue]
    smooth = low_pass(density, 9.0)
    solvent = np.random.default_rng(6).normal(size=density.dims).astype(np.float32)
    blurred = low_pass(replace(density, values=solvent), 9.0)
    disturbed = density.values + (1.5 * smooth.values.std() / blurred.values.std()) * blurred.values
    observed = replace(density, values=disturbed.astype(np.float32))
    given: dict[str, Any] = {"evaluations": 12, "smoothness": 0.01, "by_residue": True}
    by_strength = adp.fit_b(structure, observed, 2.5, **given).structure.b_iso
    by_shells = adp.fit_b(structure, observed, 2.5, shells=np.ones(40), **given).structure.b_iso
    error = [float(np.sqrt(np.mean(np.log(found / truth) ** 2))) for found in (by_shells, by_strength)]
    assert error[0] < error[1]
