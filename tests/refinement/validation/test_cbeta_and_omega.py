from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement.validation.cbeta import cbeta_deviations, ideal_cbeta
from refinement.validation.molprobity import molprobity_score
from refinement.validation.omega import omega

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("compound", ["ALA", "VAL", "PRO", "LEU", "MSE"])
def test_ideal_cbeta_has_no_deviation_and_a_shift_is_measured(peptide: Callable, compound: str) -> None:
    model = peptide([compound] * 3)
    first = cbeta_deviations(model.structure())
    assert len(first.deviation) == 3
    assert first.deviation.max() < 0.21
    moved = model.changed(lambda s: replace(s, position=s.position + (s.name == "CB") * np.array([0, 0, 2.0])))
    assert cbeta_deviations(moved.structure()).summary["cbeta_deviations"] == 3


def test_ideal_place_has_the_ideal_length_and_lies_between_both_constructions() -> None:
    n, ca, c = np.array([[-0.5, 1.36, 0.0]]), np.zeros((1, 3)), np.array([[1.525, 0.0, 0.0]])
    ideal = np.array([[1.53, 110.1, 122.8, 110.5, -122.6]])
    place = ideal_cbeta(n, ca, c, ideal)[0]
    assert np.linalg.norm(place) == pytest.approx(1.53)
    mirrored = ideal_cbeta(n, ca, c, ideal * (1, 1, -1, 1, -1))[0]
    np.testing.assert_allclose(mirrored, place * (1, 1, -1), atol=1e-9)


def test_outliers_start_at_a_quarter_angstrom(peptide: Callable) -> None:
    structure = peptide(["SER"] * 2).structure()
    result = cbeta_deviations(structure)
    assert result.summary["cbeta_deviations"] == int((result.deviation >= 0.25).sum())
    alternatives = replace(result, deviation=np.array([0.25, 0.249999999]))
    assert alternatives.summary["cbeta_deviations"] == 1


def test_glycine_and_incomplete_residues_are_skipped(peptide: Callable) -> None:
    model = peptide(["GLY", "ALA", "SER", "ALA"]).without((3, "C"))
    result = cbeta_deviations(model.structure())
    assert result.residue.tolist() == [1, 3]
    assert np.flatnonzero(np.isnan(result.columns["cbeta_deviation"])).tolist() == [0, 2]
    assert cbeta_deviations(peptide(["GLY"] * 2).structure()).reasons == {"cbeta_deviations": "not_applicable"}


def test_alternate_positions_count_once_each(peptide: Callable) -> None:
    model = peptide(["ALA"] * 3)
    assert len(cbeta_deviations(model.split(lambda s: s.number == 2 and s.name == "CB", "AB", 0.3).structure()).deviation) == 4
    # a split oxygen isn't one of the four atoms
    assert len(cbeta_deviations(model.split(lambda s: s.name == "O").structure()).deviation) == 3
    only_b = model.split(lambda s: s.number == 2 and s.name == "CB", "B")
    assert len(cbeta_deviations(only_b.structure()).deviation) == 3


def test_d_residues_are_compared_with_the_mirror_image(peptide: Callable) -> None:
    model = peptide(["ALA"] * 3)
    mirrored = model.changed(lambda s: replace(s, position=s.position * (1, 1, -1)))
    assert cbeta_deviations(mirrored.structure()).summary["cbeta_deviations"] == 3  # an L name on a D residue
    by_name = mirrored.changed(lambda s: replace(s, compound="DAL"))
    np.testing.assert_allclose(
        cbeta_deviations(by_name.structure()).deviation, cbeta_deviations(model.structure()).deviation, atol=1e-6
    )


@pytest.mark.parametrize(
    ("angle", "cis", "twisted"),
    [(180, 0, 0), (-151, 0, 0), (149, 0, 3), (31, 0, 3), (-29, 3, 0), (0, 3, 0)],
)
def test_omega_kinds(peptide: Callable, angle: float, cis: int, twisted: int) -> None:
    result = omega(peptide(["ALA"] * 4, omega=angle).structure())
    np.testing.assert_allclose((result.omega - angle + 180) % 360 - 180, 0, atol=1e-3)
    assert result.summary == {"cis_nonproline": cis, "twisted_peptides": twisted}
    assert np.isnan(result.columns["omega"][0])


def test_cis_prolines_are_counted_apart(peptide: Callable) -> None:
    result = omega(peptide(["ALA", "PRO", "ALA", "PRO"], omega=[0, 5, 5, 100]).structure())
    assert result.summary == {"cis_nonproline": 1, "twisted_peptides": 1}
    assert result.cis_proline == 1


def test_omega_of_alternates_modified_and_unknown_residues(peptide: Callable) -> None:
    model = peptide(["ALA"] * 5)
    assert len(omega(model.split(lambda s: s.number == 3).structure()).omega) == 6
    assert len(omega(model.split(lambda s: s.number == 3 and s.name == "CB").structure()).omega) == 4
    modified = model.changed(lambda s: replace(s, compound="SEP" if s.number == 3 else s.compound))
    assert len(omega(modified.structure()).omega) == 4
    unknown = model.changed(lambda s: replace(s, compound="UNK" if s.number == 3 else s.compound))
    assert len(omega(unknown.structure()).omega) == 2
    assert omega(peptide(["ALA"]).structure()).reasons == {
        "cis_nonproline": "not_applicable",
        "twisted_peptides": "not_applicable",
    }


def test_molprobity_score() -> None:
    assert molprobity_score(0.0, 0.0, 100.0) == pytest.approx(0.5)
    assert molprobity_score(10.0, 3.0, 95.0) == pytest.approx(0.426 * np.log(11) + 0.33 * np.log(3) + 0.25 * np.log(4) + 0.5)
    assert molprobity_score(None, 0.0, 98.0) is None
    assert molprobity_score(1.0, None, 98.0) is None
    assert molprobity_score(1.0, 0.0, None) is None
