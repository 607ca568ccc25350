"""Occupancies of conformers: groups, gradient, and planted occupancies that must be found again."""

from __future__ import annotations

from dataclasses import replace

import gemmi
import numpy as np
import pytest

from refinement.maps.density import Density
from refinement.maps.scattering import model_map
from refinement.moves import occupancy
from refinement.moves.adp import MapFit
from refinement.moves.occupancy import conformer_groups, fit_occupancies
from refinement.structure import Structure, from_gemmi

PLANTED = {1: 0.7, 2: 0.7, 5: 0.25}
"""Occupancy of conformer A by residue number; residues 1 and 2 are neighbours, their conformers belong together."""


@pytest.fixture(scope="module")
def model() -> Structure:
    """Six residues of which three have two conformers, 0.5 each."""
    chain = gemmi.Chain("A")
    for number in range(1, 7):
        residue = gemmi.Residue()
        residue.name, residue.seqid = "SER", gemmi.SeqId(number, " ")
        for place, (name, element) in enumerate((("CA", "C"), ("CB", "C"), ("OG", "O"))):
            letters = "AB" if number in PLANTED and name != "CA" else "\0"
            for letter in letters:
                atom = gemmi.Atom()
                atom.name, atom.element, atom.altloc, atom.b_iso = name, gemmi.Element(element), letter, 20.0
                atom.occ = 0.5 if len(letters) == 2 else 1.0
                side = 1.5 if letter == "A" else -1.5
                atom.pos = gemmi.Position(6.0 * number, 1.4 * place, side * (place > 0))
                residue.add_atom(atom)
        chain.add_residue(residue)
    source = gemmi.Structure()
    source.add_model(gemmi.Model(1))
    source[0].add_chain(chain)
    return from_gemmi(source)


@pytest.fixture(scope="module")
def density(model: Structure) -> Density:
    number = model.residues.number[model.residue]
    first = np.array([PLANTED.get(int(n), 1.0) for n in number])
    truth = replace(model, occupancy=np.where(model.altloc == "A", first, np.where(model.altloc == "B", 1.0 - first, 1.0)))
    corner = model.positions.min(axis=0) - 7.0
    dims = np.ceil((model.positions.max(axis=0) + 7.0 - corner) / 0.7).astype(int)
    empty = Density(np.zeros(dims, dtype=np.float32), gemmi.UnitCell(*(dims * 0.7), 90, 90, 90), corner)
    return replace(empty, values=model_map(truth, empty, 2.0))


def test_neighbours_with_the_same_letters_are_one_group(model: Structure) -> None:
    group, conformer = conformer_groups(model)
    number = model.residues.number[model.residue]
    lettered = model.altloc != ""
    assert (group[~lettered] == -1).all()
    assert (conformer[~lettered] == -1).all()
    assert {int(n): set(group[lettered & (number == n)].tolist()) for n in PLANTED} == {1: {0}, 2: {0}, 5: {1}}
    assert sorted(set(conformer[lettered].tolist())) == [0, 1, 2, 3]
    assert (conformer[lettered & (number < 3) & (model.altloc == "B")] == 1).all()


def test_one_letter_alone_is_no_group(model: Structure) -> None:
    lone = model.without(model.altloc == "B")
    assert (conformer_groups(lone)[0] == -1).all()


def test_slope_agrees_with_finite_differences(model: Structure, density: Density) -> None:
    fit = MapFit.prepare(model, density, 2.0, np.zeros(len(model), dtype=np.int64), 0.0)
    slope = fit.occupancy_slope(model.b_iso, model.occupancy)[1]
    for atom in np.flatnonzero(model.altloc == "A")[[0, 3, 5]]:
        step = np.zeros(len(model))
        step[atom] = 0.02
        up, down = (fit.occupancy_slope(model.b_iso, model.occupancy + sign * step)[0] for sign in (1, -1))
        assert slope[atom] == pytest.approx((up - down) / 0.04, rel=5e-3, abs=3e-6)
        assert abs(slope[atom]) > 1e-3


def test_finds_planted_occupancies(model: Structure, density: Density) -> None:
    fit = fit_occupancies(model, density, 2.0, evaluations=15)
    number = model.residues.number[model.residue]
    assert fit.groups == 2
    assert fit.cc_after > 0.999 > fit.cc_before
    for residue, expected in PLANTED.items():
        mine = number == residue
        np.testing.assert_allclose(fit.structure.occupancy[mine & (model.altloc == "A")], expected, atol=0.03)
        np.testing.assert_allclose(fit.structure.occupancy[mine & (model.altloc == "B")], 1.0 - expected, atol=0.03)
    np.testing.assert_array_equal(fit.structure.occupancy[model.altloc == ""], 1.0)
    again = fit_occupancies(model, density, 2.0, evaluations=15, threads=3)
    np.testing.assert_array_equal(again.structure.occupancy, fit.structure.occupancy)


def test_right_occupancies_stay_and_models_without_conformers_too(model: Structure, density: Density) -> None:
    fitted = fit_occupancies(model, density, 2.0, evaluations=15).structure
    assert fit_occupancies(fitted, density, 2.0, evaluations=0).structure is fitted
    plain = model.without(model.altloc == "B")
    assert fit_occupancies(plain, density, 2.0, evaluations=15).structure is plain


def test_rounded_occupancies_add_up_to_one() -> None:
    group_of = np.array([0, 0, 0, 1, 1])
    rounded = occupancy._rounded(np.array([1 / 3, 1 / 3, 1 / 3, 0.996, 0.004]), group_of)
    np.testing.assert_allclose(np.bincount(group_of, weights=rounded), 1.0)
    np.testing.assert_array_equal(rounded, [0.34, 0.33, 0.33, 1.0, 0.0])
