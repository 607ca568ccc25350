from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement import tables
from refinement.conformers import backbone_torsions
from refinement.validation.interpolation import periodic_multilinear
from refinement.validation.ramachandran import ALLOWED, FAVORED, RamachandranClass, Region, ramachandran

if TYPE_CHECKING:
    from collections.abc import Callable

NINE = ("ALA", "LYS", "SER", "GLU", "LEU", "ASN", "GLN", "THR", "ALA")


@pytest.mark.parametrize(("phi", "psi"), [(-63, -43), (-120, 130), (55, 45), (-179.5, 179.5), (179.9, -179.9), (0.2, 90)])
def test_torsions_of_a_built_peptide_come_back(peptide: Callable, phi: float, psi: float) -> None:
    result = ramachandran(peptide(("ALA",) * 6, phi, psi).structure())
    assert result.evaluated == 4
    assert np.isnan(result.phi[[0, -1]]).all()
    assert np.isnan(result.psi[[0, -1]]).all()
    np.testing.assert_allclose((result.phi[1:-1] - phi + 180) % 360 - 180, 0, atol=1e-3)
    np.testing.assert_allclose((result.psi[1:-1] - psi + 180) % 360 - 180, 0, atol=1e-3)


@pytest.mark.parametrize(
    ("phi", "psi", "region"),
    [(-63, -43, Region.FAVORED), (-120, 130, Region.FAVORED), (100, -60, Region.OUTLIER), (0, 0, Region.OUTLIER)],
)
def test_regions(peptide: Callable, phi: float, psi: float, region: Region) -> None:
    result = ramachandran(peptide(("ALA",) * 5, phi, psi).structure())
    assert (result.region[1:-1] == region).all()
    key = {Region.FAVORED: "rama_favored", Region.OUTLIER: "rama_outliers"}[region]
    assert result.summary[key] == 100.0


def test_class_precedence(peptide: Callable) -> None:
    sequence = ("ALA", "GLY", "PRO", "PRO", "ALA", "ILE", "PRO", "VAL", "MSE", "ALA")
    omega = [180, 180, 180, 89, 180, 180, 91, 180, 180, 180]
    category = ramachandran(peptide(sequence, omega=omega).structure()).category
    expected = [
        RamachandranClass.NONE,
        RamachandranClass.GLYCINE,  # before proline, yet glycine
        RamachandranClass.TRANS_PROLINE,  # before proline, yet proline
        RamachandranClass.CIS_PROLINE,
        RamachandranClass.GENERAL,
        RamachandranClass.PRE_PROLINE,  # isoleucine before proline
        RamachandranClass.TRANS_PROLINE,
        RamachandranClass.ISOLEUCINE_VALINE,
        RamachandranClass.GENERAL,
        RamachandranClass.NONE,
    ]
    assert category.tolist() == [int(kind) for kind in expected]


def test_thresholds_are_those_of_molprobity() -> None:
    assert FAVORED == 0.02
    assert ALLOWED[RamachandranClass.GENERAL] == 0.0005
    assert ALLOWED[RamachandranClass.CIS_PROLINE] == 0.002
    assert set(np.delete(ALLOWED, [RamachandranClass.GENERAL, RamachandranClass.CIS_PROLINE])) == {0.001}


def test_interpolation_is_exact_at_centres_and_bilinear_between(rng: np.random.Generator) -> None:
    grid = tables.ramachandran()[0]
    cells = rng.integers(0, 180, (50, 2))
    width = np.full(2, 2.0)
    centres = cells * 2.0 - 179.0
    np.testing.assert_allclose(periodic_multilinear(grid, centres, lower=-180, width=width), grid[tuple(cells.T)], atol=1e-12)
    middle = periodic_multilinear(grid, np.array([[180.0, 180.0]]), lower=-180, width=width)
    np.testing.assert_allclose(middle, grid[np.ix_([-1, 0], [-1, 0])].astype(float).mean())
    turned = periodic_multilinear(grid, centres + 720.0, lower=-180, width=width)
    np.testing.assert_allclose(turned, grid[tuple(cells.T)], atol=1e-12)


def test_glycine_plot_is_symmetric() -> None:
    grid = tables.ramachandran()[RamachandranClass.GLYCINE]
    np.testing.assert_allclose(grid, grid[::-1, ::-1], atol=2e-3)


def test_rigid_motion_and_names_of_chains_do_not_matter(peptide: Callable, rng: np.random.Generator) -> None:
    model = peptide(NINE, rng.uniform(-180, 180, 9), rng.uniform(-180, 180, 9), 175.0)
    reference = ramachandran(model.structure())
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    moved = model.changed(lambda site: replace(site, position=rotation @ site.position + 50, chain="long name"))
    result = ramachandran(moved.structure())
    np.testing.assert_allclose(result.score, reference.score, atol=1e-6)
    np.testing.assert_array_equal(result.region, reference.region)


def test_order_of_atoms_in_residues_and_of_chains_does_not_matter(peptide: Callable, rng: np.random.Generator) -> None:
    first = peptide(NINE, rng.uniform(-180, 180, 9), rng.uniform(-180, 180, 9))
    second = peptide(NINE[::-1], -100.0, 120.0, chain="B")
    reference = ramachandran((first + second).structure())
    shuffled = []
    for model in (second, first):
        for number in range(1, 10):
            sites = [site for site in model.sites if site.number == number]
            shuffled += [sites[k] for k in rng.permutation(len(sites))]
    result = ramachandran(type(first)(shuffled).structure())
    np.testing.assert_array_equal(np.roll(result.score, 9), reference.score)


def test_gaps_and_missing_atoms_break_the_chain(peptide: Callable) -> None:
    model = peptide(NINE)
    assert ramachandran(model.structure()).evaluated == 7
    gap = type(model)([site for site in model.sites if site.number != 5])
    assert ramachandran(gap.structure()).evaluated == 4
    # CA of the next residue is needed too, CA of the one before isn't
    without_alpha = ramachandran(model.without((5, "CA")).structure())
    assert np.flatnonzero(without_alpha.region >= 0).tolist() == [1, 2, 5, 6, 7]
    stretched = model.changed(lambda s: replace(s, position=s.position + (s.number > 4) * np.array([0, 0, 30.0])))
    assert ramachandran(stretched.structure()).evaluated == 5


def test_insertion_codes_are_residues_of_their_own(peptide: Callable) -> None:
    model = peptide(NINE)
    inserted = model.changed(lambda s: replace(s, number=s.number - (s.number > 4), insertion="A" if s.number == 5 else ""))
    result = ramachandran(inserted.structure())
    np.testing.assert_array_equal(result.score, ramachandran(model.structure()).score)


def test_letters_other_than_a_are_ignored(peptide: Callable) -> None:
    model = peptide(NINE)
    reference = ramachandran(model.structure())
    split = ramachandran(model.split(lambda s: s.number == 4, "AB", 0.4).structure())
    np.testing.assert_array_equal(split.score, reference.score)
    foreign = ramachandran(model.split(lambda s: s.number == 4, "BC").structure())
    assert np.flatnonzero(foreign.region >= 0).tolist() == [1, 5, 6, 7]


def test_two_compounds_at_one_place_count_once(peptide: Callable) -> None:
    model = peptide(NINE)
    split = model.split(lambda s: s.number == 4, "AB")
    first = [s for s in split.sites if s.number < 4 or (s.number == 4 and s.letter == "A")]
    second = [replace(s, compound="ALA") for s in split.sites if s.number == 4 and s.letter == "B"]
    rest = [s for s in split.sites if s.number > 4]
    assert ramachandran(type(model)(first + second + rest).structure()).evaluated == 7


def test_modified_neighbours_are_not_standard(peptide: Callable) -> None:
    model = peptide(NINE).changed(lambda s: replace(s, compound="SEP" if s.number == 5 else s.compound))
    assert np.flatnonzero(ramachandran(model.structure()).region >= 0).tolist() == [1, 2, 6, 7]


def test_without_protein_there_is_a_reason(peptide: Callable) -> None:
    result = ramachandran(peptide(("ALA",)).structure())
    assert result.summary == {"rama_outliers": None, "rama_allowed": None, "rama_favored": None}
    assert set(result.reasons.values()) == {"not_applicable"}
    assert all(np.isnan(column).all() and column.dtype == np.float32 for column in result.columns.values())


def test_torsions_are_given_for_each_conformer(peptide: Callable) -> None:
    structure = peptide(NINE, omega=170.0).structure()
    torsions = backbone_torsions(structure)
    np.testing.assert_allclose(torsions.omega[1:], 170.0, atol=1e-3)
    assert torsions.bonds.previous.tolist() == [-1, *range(8)]
    assert torsions.bonds.following.tolist() == [*range(1, 9), -1]
