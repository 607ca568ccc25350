"""Repulsion without hydrogens: radii, pairs, energy and gradient."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement.restraints.contact_types import contact_types
from refinement.restraints.hydrogens import hydrogenate
from refinement.restraints.nonbonded import make_nonbonded
from refinement.restraints.united_contacts import UNKNOWN, WEIGHT, UnitedContacts, united_contacts, united_radii

if TYPE_CHECKING:
    import gemmi
    from numpy.typing import NDArray

    from refinement.structure import Structure

MARGIN = 0.9


@pytest.fixture
def crowd(builder, library: gemmi.MonLib) -> tuple[Structure, UnitedContacts, NDArray]:
    """Two helices far too close to each other, their repulsion, and their bonds."""
    builder.peptide(["SER", "LYS", "TYR", "ASP", "ARG", "ASN"])
    builder.peptide(["GLU", "THR", "PHE", "MET", "HIS"], chain="B", origin=(4.0, 2.5, 1.0))
    bare = builder.finish()
    model = hydrogenate(bare, library)
    types = contact_types(model.structure, model.bonding.neighbours, library)
    nonbonded = make_nonbonded(model.structure, types, model.bonding.neighbours)
    row_of = {int(row): number for number, row in enumerate(model.heavy)}
    bonds = np.array([[row_of[i], row_of[j]] for i, j in model.bonding.pairs.tolist() if i in row_of and j in row_of])
    return bare, united_contacts(bare, model, nonbonded, library, margin=MARGIN), bonds


def bonds_between(bonds: NDArray, count: int) -> NDArray:
    """Bonds on the shortest way between any two atoms, 9 for more than 3."""
    apart = np.full((count, count), 9)
    apart[bonds[:, 0], bonds[:, 1]] = apart[bonds[:, 1], bonds[:, 0]] = 1
    for steps in (2, 3):
        near = (apart == steps - 1).astype(int) @ (apart == 1).astype(int) > 0
        apart[near & (apart == 9)] = steps
    return apart


def reference(structure: Structure, radii: NDArray, bonds: NDArray, positions: NDArray) -> float:
    apart, energy = bonds_between(bonds, len(structure)), 0.0
    for i, j in combinations(range(len(structure)), 2):
        if apart[i, j] > 3:
            energy += max(0.0, radii[i] + radii[j] - float(np.linalg.norm(positions[i] - positions[j]))) ** 4
    return WEIGHT * energy


def test_an_atom_is_as_large_as_its_hydrogens_make_it(crowd: tuple[Structure, UnitedContacts, NDArray], library) -> None:
    bare = crowd[0]
    radii = united_radii(bare, library)
    phe = bare.residues.compound[bare.residue] == "PHE"
    by_name = dict(zip(bare.names[phe].tolist(), radii[phe].tolist(), strict=True))
    assert by_name["C"] < by_name["CD1"] < by_name["CB"] < by_name["CA"]
    assert by_name["CG"] == pytest.approx(1.74)
    assert by_name["CA"] == pytest.approx(1.95)
    assert (radii > UNKNOWN).all()


def test_energy_is_that_of_the_plain_sum(crowd: tuple[Structure, UnitedContacts, NDArray], library) -> None:
    bare, term, bonds = crowd
    gradient = np.zeros_like(bare.positions)
    expected = reference(bare, united_radii(bare, library), bonds, bare.positions)
    assert expected > 1000.0
    assert term.energy_and_gradient(bare.positions, gradient) == pytest.approx(expected, rel=1e-10)


def test_gradient_is_that_of_finite_differences(crowd: tuple[Structure, UnitedContacts, NDArray]) -> None:
    bare, term, _ = crowd
    gradient, nothing = np.zeros_like(bare.positions), np.zeros_like(bare.positions)
    term.energy_and_gradient(bare.positions, gradient)
    np.testing.assert_allclose(gradient.sum(axis=0), 0.0, atol=1e-6 * np.abs(gradient).max())
    for atom in np.argsort(-np.abs(gradient).max(axis=1))[:8].tolist():
        for axis in range(3):
            energies = []
            for step in (1e-5, -1e-5):
                moved = bare.positions.copy()
                moved[atom, axis] += step
                energies.append(term.energy_and_gradient(moved, nothing))
            numeric = (energies[0] - energies[1]) / 2e-5
            assert gradient[atom, axis] == pytest.approx(numeric, rel=1e-5, abs=1e-3)


def test_pairs_are_found_again_after_a_long_way(crowd: tuple[Structure, UnitedContacts, NDArray], library) -> None:
    bare, term, bonds = crowd
    moved = bare.positions.copy()
    moved[bare.residues.chain_index[bare.residue] == 1] += (-3.0, 2.0, 5.0)
    expected = reference(bare, united_radii(bare, library), bonds, moved)
    assert term.energy_and_gradient(moved, np.zeros_like(moved)) == pytest.approx(expected, rel=1e-10)
