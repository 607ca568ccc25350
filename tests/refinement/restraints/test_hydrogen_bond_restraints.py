"""Hydrogen bonds of helices and sheets: which are restrained, and that they come to their targets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.example_model import build_truth
from refinement.geometry import angles, distances
from refinement.minimise import minimise
from refinement.restraints.hydrogen_bonds import each_atom_once, joined
from refinement.restraints.secondary_structure import ALPHA, LONGEST, STRAND, backbone_hydrogen_bonds
from refinement.structure import Structure, from_gemmi, read_structure
from refinement.validation.secondary_structure import secondary_structure

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from refinement.restraints.hydrogen_bonds import HydrogenBonds

    from .conftest import Builder


def plain_each_atom_once(atoms: NDArray, cost: NDArray) -> NDArray:
    """Take bonds in the order of their cost unless an end is taken."""
    taken: set[int] = set()
    kept = np.zeros(len(cost), dtype=bool)
    for k in np.argsort(cost, kind="stable").tolist():
        ends = set(atoms[k].tolist())
        if not ends & taken:
            taken |= ends
            kept[k] = True
    return kept


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 40))
def test_each_atom_is_used_once_the_best_bond_first(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    donors, acceptors = rng.integers(0, 12, count), rng.integers(12, 24, count)
    atoms, cost = np.stack([donors, acceptors], axis=1).astype(np.int32), rng.integers(0, 6, count).astype(float)
    np.testing.assert_array_equal(each_atom_once(atoms, cost), plain_each_atom_once(atoms, cost))


@pytest.fixture(scope="module")
def protein() -> Structure:
    truth = from_gemmi(build_truth())
    return truth.without(~np.isin(truth.residues.chain, ("A", "B"))[truth.residue])


def labels(structure: Structure, bonds: HydrogenBonds) -> set[tuple[int, int]]:
    """Return donor and acceptor residues."""
    return {(int(structure.residue[n]), int(structure.residue[o])) for n, o in bonds.atoms}


def test_bonds_of_a_helix_are_restrained(builder: Builder) -> None:
    builder.peptide(["ALA"] * 12, phi=-63.0, psi=-43.0)
    helix = builder.finish()
    bonds = backbone_hydrogen_bonds(helix)
    assert labels(helix, bonds) == {(k + 4, k) for k in range(8)}
    assert set(helix.names[bonds.atoms[:, 0]]) == {"N"}
    assert set(helix.names[bonds.atoms[:, 1]]) == {"O"}
    assert (bonds.target == ALPHA.distance).all()
    names = {tuple(helix.names[triple]) for triple in bonds.angle_atoms}
    assert names == {("C", "O", "N"), ("CA", "N", "O"), ("C", "N", "O")}
    strict = bonds.angle_weight.reshape(-1, 3)[:, 0] > 0.03
    assert strict.sum() == 6, "the bonds at both ends have looser angles"


def test_an_extended_chain_has_no_restraints(builder: Builder) -> None:
    builder.peptide(["ALA"] * 12, phi=-120.0, psi=120.0)
    assert len(backbone_hydrogen_bonds(builder.finish())) == 0


def test_only_assigned_short_bonds_are_restrained(protein: Structure) -> None:
    bonds = backbone_hydrogen_bonds(protein)
    found = secondary_structure(protein)
    assert labels(protein, bonds) <= set(zip(found.bonds.donor.tolist(), found.bonds.acceptor.tolist(), strict=True))
    assert (distances(protein.positions, *bonds.atoms.T) <= LONGEST).all()
    assert len(np.unique(bonds.atoms)) == bonds.atoms.size
    codes = found.codes[protein.residue[bonds.atoms]]
    assert np.isin(codes, ("H", "E")).any(axis=1).all()
    assert (codes == "E").all(axis=1).any() or (codes == "H").any()


def test_bonds_come_to_their_targets_when_nothing_else_pulls(protein: Structure) -> None:
    shaken = protein.moved(protein.positions + np.random.default_rng(0).normal(scale=0.08, size=protein.positions.shape))
    bonds = backbone_hydrogen_bonds(shaken, sigma=0.05)

    def energy(x: NDArray, gradient: NDArray) -> float:
        gradient[:] = 0.0
        return bonds.energy_and_gradient(x, gradient)

    found = minimise(energy, shaken.positions, max_iterations=300)
    before = np.abs(distances(shaken.positions, *bonds.atoms.T) - bonds.target)
    after = np.abs(distances(found.x, *bonds.atoms.T) - bonds.target)
    assert np.median(before) > 0.05
    assert np.median(after) < 0.005
    turned = angles(found.x, *bonds.angle_atoms.T) - bonds.angle_target
    assert np.median(np.abs(turned)) < 1.0


def test_a_bond_that_is_pulled_apart_is_let_go(builder: Builder) -> None:
    builder.peptide(["ALA"] * 12, phi=-63.0, psi=-43.0)
    helix = builder.finish()
    bonds = backbone_hydrogen_bonds(helix)
    bonds = replace(bonds, angle_weight=np.full_like(bonds.angle_weight, 1e-9))
    gradient, pulls = np.zeros_like(helix.positions), []
    for shift in (0.4, 3.0):
        x = helix.positions.copy()
        n, o = bonds.atoms[0]
        axis = (x[n] - x[o]) / np.linalg.norm(x[n] - x[o])
        x[n] += shift * axis
        gradient[:] = 0.0
        bonds.energy_and_gradient(x, gradient)
        pulls.append(np.linalg.norm(gradient[n]))
    assert pulls[0] > 50.0
    assert pulls[1] < 1e-3 * pulls[0]


def test_weights_scale_and_sets_join(protein: Structure) -> None:
    bonds = backbone_hydrogen_bonds(protein)
    twice = joined([bonds, bonds])
    gradients = [np.zeros_like(protein.positions) for _ in range(2)]
    energies = [
        term.energy_and_gradient(protein.positions, gradient)
        for term, gradient in zip((bonds.weighted(2.0), twice), gradients, strict=True)
    ]
    assert energies[0] == pytest.approx(energies[1], rel=1e-12)
    np.testing.assert_allclose(*gradients, rtol=1e-10, atol=1e-9)
    assert len(joined([])) == 0


@pytest.mark.shared
@pytest.mark.parametrize("path", ["odd_models/7kjr.pdb.gz", "odd_models/7q1u.pdb.gz"])
def test_targets_are_those_of_good_models(shared: Path, path: str) -> None:
    structure = read_structure(shared / path)
    bonds = backbone_hydrogen_bonds(structure)
    length = distances(structure.positions, *bonds.atoms.T)
    assert len(length) > 200
    assert abs(np.median(length - bonds.target)) < 0.1
    for kind in (ALPHA, STRAND):
        mine = (bonds.angle_target.reshape(-1, 3) == kind.angles).all(axis=1)
        assert mine.sum() > 50
        off = (angles(structure.positions, *bonds.angle_atoms.T) - bonds.angle_target).reshape(-1, 3)[mine]
        assert np.abs(np.median(off, axis=0)).max() < 3.5
