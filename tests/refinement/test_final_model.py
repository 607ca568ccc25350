"""Hydrogens of the refined model are those of the input, deuterium too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from curation.example_model import build_truth
from refinement.final_model import final_model
from refinement.restraints.hydrogens import add_hydrogens
from refinement.restraints.library import load_monomer_library
from refinement.structure import Structure, from_gemmi

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def bare() -> Structure:
    truth = from_gemmi(build_truth())
    return truth.without(~((truth.residues.chain == "A") & (truth.residues.number <= 16))[truth.residue])


@pytest.fixture(scope="module")
def library(bare: Structure) -> gemmi.MonLib:
    return load_monomer_library(np.unique(bare.residues.compound).tolist())


def exchanged(model: Structure, chosen: Callable[[gemmi.CRA], bool]) -> Structure:
    """Return the model with deuterium where it is chosen."""
    source = model.to_gemmi()
    for site in source[0].all():
        if site.atom.element == gemmi.Element("H") and chosen(site):
            site.atom.name, site.atom.element = f"D{site.atom.name[1:]}", gemmi.Element("D")
    return from_gemmi(source)


def test_hydrogens_come_back_where_there_were_some(bare: Structure, library: gemmi.MonLib) -> None:
    full = add_hydrogens(bare, library)
    half = full.without(full.is_hydrogen & (full.residue % 2 == 0))
    again = final_model(half, bare, library, unmoved=False)
    np.testing.assert_array_equal(again.names, half.names)
    np.testing.assert_allclose(again.positions[~again.is_hydrogen], bare.positions)
    np.testing.assert_array_equal(final_model(full, bare, library, unmoved=False).names, full.names)
    assert final_model(bare, bare, library, unmoved=False) is bare


def test_deuterium_stays_deuterium(bare: Structure, library: gemmi.MonLib) -> None:
    full = exchanged(
        add_hydrogens(bare, library), lambda site: site.atom.name in {"H", "HG", "HE"} and site.residue.seqid.num > 3
    )
    assert 0 < full.is_deuterium.sum() < full.is_hydrogen.sum()
    for unmoved in (False, True):
        again = final_model(full, bare, library, unmoved=unmoved)
        np.testing.assert_array_equal(again.names, full.names)
        np.testing.assert_array_equal(again.is_deuterium, full.is_deuterium)
        np.testing.assert_array_equal(from_gemmi(again.to_gemmi()).is_deuterium, full.is_deuterium)


def test_a_shared_site_goes_to_the_isotope_that_there_is_more_of(bare: Structure, library: gemmi.MonLib) -> None:
    source = add_hydrogens(bare, library).to_gemmi()
    for number, share in ((5, 0.7), (6, 0.3)):
        residue = next(residue for residue in source[0]["A"] if residue.seqid.num == number)
        (light,) = [atom for atom in residue if atom.name == "H"]
        heavy = light.clone()
        heavy.name, heavy.element, heavy.altloc, heavy.occ = "D", gemmi.Element("D"), "B", share
        light.altloc, light.occ = "A", 1.0 - share
        residue.add_atom(heavy)
    again = final_model(from_gemmi(source), bare, library, unmoved=False)
    assert again.residues.number[again.residue[again.is_deuterium]].tolist() == [5]
    assert again.names[again.is_deuterium].tolist() == ["D"]
