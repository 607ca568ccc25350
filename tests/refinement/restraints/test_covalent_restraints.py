from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement.restraints.covalent import TORSION_KINDS, covalent_restraints
from refinement.restraints.topology import TorsionKind

if TYPE_CHECKING:
    from collections.abc import Callable

SEQUENCE = ["MET", "LYS", "PHE", "PRO", "TRP", "HIS", "ARG", "VAL", "GLY", "ILE", "ASP"]


def test_ideal_peptide_is_near_its_minimum_and_a_shaken_one_is_not(builder, topology_of) -> None:
    builder.peptide(SEQUENCE)
    structure = builder.finish()
    restraints = covalent_restraints(topology_of(structure))
    shaken = structure.positions + np.random.default_rng(0).normal(scale=0.1, size=structure.positions.shape)
    gradient = np.zeros_like(structure.positions)
    ideal = restraints.energies(structure.positions, gradient)
    broken = restraints.energies(shaken, gradient)
    assert set(ideal) == {"bonds", "angles", "torsions", "chiralities", "planes"}
    assert ideal["bonds"] < 3 * len(restraints.bonds)
    assert ideal["angles"] < 3 * len(restraints.angles)
    for term in ("bonds", "angles", "chiralities", "planes"):
        assert broken[term] > 10 * ideal[term]


def test_gradient_of_all_terms(builder, topology_of, central_difference: Callable[..., float]) -> None:
    builder.peptide(SEQUENCE)
    structure = builder.finish()
    restraints = covalent_restraints(topology_of(structure))
    rng = np.random.default_rng(4)
    x = structure.positions + rng.normal(scale=0.05, size=structure.positions.shape)
    gradient = np.zeros_like(x)
    total = restraints.energy_and_gradient(x, gradient)
    assert total == pytest.approx(sum(restraints.energies(x, np.zeros_like(x)).values()))
    for _ in range(5):
        direction = rng.normal(size=x.shape)
        slope = central_difference(lambda y: restraints.energy_and_gradient(y, np.zeros_like(y)), x, direction)
        assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-6)


def test_phi_psi_and_chi_are_left_to_other_terms(builder, topology_of) -> None:
    builder.peptide(SEQUENCE)
    topology = topology_of(builder.finish())
    kinds = set(covalent_restraints(topology).torsions.kind.tolist())
    assert TorsionKind.OMEGA in kinds
    assert not kinds & {TorsionKind.PHI_PSI, TorsionKind.CHI, TorsionKind.PROLINE}
    with_chi = covalent_restraints(topology, torsion_kinds=(*TORSION_KINDS, TorsionKind.CHI))
    assert TorsionKind.CHI in with_chi.torsions.kind


def test_curvature_is_positive_and_matches_bonds_on_average(builder, topology_of) -> None:
    builder.peptide(["ALA", "GLY", "ALA"])
    structure = builder.finish()
    restraints = covalent_restraints(topology_of(structure))
    curvature = restraints.curvature(len(structure))
    assert (curvature > 0).all()
    # finite differences of the gradient: the trace of each atom's block, over three
    x, step = structure.positions, 1e-4
    true = np.zeros(len(x))
    for atom in range(len(x)):
        for axis in range(3):
            up, down = np.zeros_like(x), np.zeros_like(x)
            shift = np.zeros_like(x)
            shift[atom, axis] = step
            restraints.energy_and_gradient(x + shift, up)
            restraints.energy_and_gradient(x - shift, down)
            true[atom] += (up[atom, axis] - down[atom, axis]) / (2 * step) / 3
    ratio = curvature / true
    assert 0.5 < np.median(ratio) < 2.0
    assert ratio.min() > 0.2
    assert ratio.max() < 5.0


def test_empty_topology_has_no_energy(builder, topology_of) -> None:
    builder.residue("A", 1, "HOH", {"O": np.zeros(3)}, het=True)
    structure = builder.finish()
    restraints = covalent_restraints(topology_of(structure))
    gradient = np.zeros_like(structure.positions)
    assert restraints.energy_and_gradient(structure.positions, gradient) == 0.0
    assert restraints.curvature(1).tolist() == [0.0]
