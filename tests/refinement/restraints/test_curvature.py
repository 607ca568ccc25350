"""Curvature of the restraints against finite differences of their gradients, where they are fulfilled."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement.geometry import angles, chiral_volumes, dihedrals, distances
from refinement.minimise import minimise
from refinement.restraints.curvature import add_curvature
from refinement.restraints.rotamers import rotamer_restraints, rotamer_targets
from refinement.restraints.topology import Topology, build_topology
from refinement.states import elimination_pattern
from refinement.target import covalent_terms

if TYPE_CHECKING:
    from refinement.elimination import Matrix
    from refinement.restraints.covalent import Covalent
    from refinement.structure import Structure


def dense(matrix: Matrix) -> np.ndarray:
    """Return the matrix in the order of atoms."""
    pattern = matrix.pattern
    atom = np.argsort(pattern.rank)
    out = np.zeros((len(atom), 3, len(atom), 3))
    for j, a in enumerate(atom.tolist()):
        lower = np.tril(matrix.diagonal[j])
        out[a, :, a] = lower + np.tril(lower, -1).T
        for place in range(pattern.first[j], pattern.first[j + 1]):
            b = atom[pattern.rows[place]]
            out[b, :, a], out[a, :, b] = matrix.below[place], matrix.below[place].T
    return out.reshape(3 * len(atom), 3 * len(atom))


@pytest.fixture
def fulfilled(builder) -> tuple[Structure, Topology, Covalent]:
    """Return a peptide whose targets are what it has; hydrogen-free, with an aromatic ring and a proline."""
    builder.peptide(["TRP", "PRO", "ILE", "GLN", "ARG"])
    structure = builder.finish()
    topology = build_topology(structure, builder.library)
    terms, x = covalent_terms(structure, topology), structure.positions
    return structure, topology, replace(
        terms,
        bonds=replace(terms.bonds, target=distances(x, *terms.bonds.atoms.T)),
        angles=replace(terms.angles, target=angles(x, *terms.angles.atoms.T)),
        torsions=replace(terms.torsions, target=dihedrals(x, *terms.torsions.atoms.T)),
        chiralities=replace(terms.chiralities, target=chiral_volumes(x, *terms.chiralities.atoms.T)),
    )  # fmt: skip


def test_curvature_is_that_of_finite_differences(fulfilled) -> None:
    structure, topology, terms = fulfilled
    x = structure.positions
    matrix = elimination_pattern(structure, topology).empty()
    add_curvature(terms, [], x, matrix)
    found = dense(matrix)
    rng = np.random.default_rng(0)
    for _ in range(5):
        direction = rng.normal(size=x.shape)
        ends = [np.zeros_like(x), np.zeros_like(x)]
        for end, sign in zip(ends, (1, -1), strict=True):
            terms.energy_and_gradient(x + sign * 1e-5 * direction, end)
        expected = ((ends[0] - ends[1]) / 2e-5).ravel()
        np.testing.assert_allclose(found @ direction.ravel(), expected, atol=0.01 * np.abs(expected).max())


def test_curvature_of_dihedral_restraints(fulfilled) -> None:
    structure, topology, terms = fulfilled
    x = structure.positions
    side_chains = rotamer_restraints(rotamer_targets(structure, accepted=0.0), sigma=3.0, limit=np.inf)
    assert len(side_chains) > 8
    pattern = elimination_pattern(structure, topology)
    with_terms, without = pattern.empty(), pattern.empty()
    add_curvature(terms, [side_chains], x, with_terms)
    add_curvature(terms, [], x, without)
    found = dense(with_terms) - dense(without)
    direction = np.random.default_rng(1).normal(size=x.shape)
    ends = [np.zeros_like(x), np.zeros_like(x)]
    for end, sign in zip(ends, (1, -1), strict=True):
        side_chains.energy_and_gradient(x + sign * 1e-5 * direction, end)
    expected = ((ends[0] - ends[1]) / 2e-5).ravel()
    np.testing.assert_allclose(found @ direction.ravel(), expected, atol=1e-4 * np.abs(expected).max())


def test_curvature_is_positive_wherever_the_atoms_are(fulfilled) -> None:
    structure, topology, terms = fulfilled
    pattern = elimination_pattern(structure, topology)
    rng = np.random.default_rng(2)
    for shake in (0.1, 1.0, 0.0):
        x = structure.positions + rng.normal(scale=1.0, size=structure.positions.shape) * shake
        if shake == 0.0:
            x[:] = x[0]  # all on one point
        matrix = pattern.empty()
        add_curvature(terms, [], x, matrix)
        values = np.linalg.eigvalsh(dense(matrix))
        assert values.min() > -1e-9 * values.max()


def test_the_target_is_minimised_in_a_fraction_of_the_steps(fulfilled) -> None:
    structure, topology, terms = fulfilled
    start = structure.positions + np.random.default_rng(3).normal(scale=0.05, size=structure.positions.shape)

    def energy(x: np.ndarray, gradient: np.ndarray) -> float:
        gradient[:] = 0.0
        return terms.energy_and_gradient(x, gradient)

    matrix = elimination_pattern(structure, topology).empty()
    add_curvature(terms, [], start, matrix)
    matrix.add_diagonal(np.full(len(start), 10.0))
    diagonal = np.repeat(terms.curvature(len(start))[:, None], 3, axis=1)
    ours = minimise(energy, start, max_iterations=25, curvature=matrix.factor())
    theirs = minimise(energy, start, max_iterations=75, curvature=diagonal)
    assert ours.energy < theirs.energy < ours.start_energy
