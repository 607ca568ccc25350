"""Named torsions, the matching of chains, and torsions held at a reference."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from curation.example_model import build_truth
from refinement.conformers import backbone_torsions
from refinement.errors import InputError
from refinement.minimise import minimise
from refinement.restraints.covalent import covalent_restraints
from refinement.restraints.library import load_monomer_library
from refinement.restraints.named_torsions import held, named_torsions
from refinement.restraints.reference_model import align, atom_partners, match_residues, reference_restraints
from refinement.restraints.topology import build_topology
from refinement.structure import Structure, from_gemmi

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .conftest import Builder


@pytest.fixture(scope="module")
def truth() -> Structure:
    everything = from_gemmi(build_truth())
    return everything.without(~np.isin(everything.residues.chain, ("A", "B", "C"))[everything.residue])


def turned(delta: NDArray) -> NDArray:
    return (delta + 180.0) % 360.0 - 180.0


def test_backbone_torsions_are_those_of_the_validation(truth: Structure) -> None:
    found = named_torsions(truth)
    expected = backbone_torsions(truth)
    for name, values in (("phi", expected.phi), ("psi", expected.psi), ("omega", expected.omega)):
        mine = found.select(found.name == name)
        known = np.isfinite(values[mine.residue])
        assert known.sum() > 100
        np.testing.assert_allclose(turned(mine.angles(truth) - values[mine.residue])[known], 0.0, atol=1e-4)


def test_every_kind_of_torsion_is_there(truth: Structure) -> None:
    found = named_torsions(truth)
    nucleotides = 12
    for name, count in (("delta", nucleotides), ("chi", nucleotides), ("alpha", nucleotides - 1), ("zeta", nucleotides - 1)):
        assert (found.name == name).sum() == count
    phenyl = truth.residues.compound[found.residue] == "PHE"
    assert not phenyl.any() or (found.period[phenyl & (found.name == "chi2")] == -2).all()
    assert len(np.unique(found.atoms, axis=0)) == len(found)


def test_torsions_do_not_cross_gaps(builder: Builder) -> None:
    builder.peptide(["ALA"] * 3)
    builder.peptide(["ALA"] * 3, first=4, origin=(40.0, 0.0, 0.0))
    found = named_torsions(builder.finish())
    psi = set(found.residue[found.name == "psi"].tolist())
    assert psi == {0, 1, 3, 4}


@pytest.mark.parametrize(
    ("sequence", "other", "expected"),
    [
        ("ACDEF", "ACDEF", [0, 1, 2, 3, 4]),
        ("DEFGHIKL", "ACDEFGHIKLMN", [2, 3, 4, 5, 6, 7, 8, 9]),
        ("ACDEFGHIKLMN", "DEFGHIKL", [-1, -1, 0, 1, 2, 3, 4, 5, 6, 7, -1, -1]),
        ("ACDEFGWWWHIKLMN", "ACDEFGHIKLMN", [0, 1, 2, 3, 4, 5, -1, -1, -1, 6, 7, 8, 9, 10, 11]),
    ],
)
def test_alignment(sequence: str, other: str, expected: list[int]) -> None:
    assert align(tuple(sequence), tuple(other)).tolist() == expected


def moved_and_renamed(structure: Structure) -> Structure:
    """Return the model elsewhere, with other residue numbers and its chains' names exchanged."""
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    rotation[:, 0] *= np.sign(np.linalg.det(rotation))
    residues = structure.residues
    names = {"A": "X", "B": "A", "C": "R"}
    renamed = replace(residues, number=residues.number + 700, chain=np.array([names[chain] for chain in residues.chain.tolist()]))
    return replace(structure.moved(structure.positions @ rotation.T + 50.0), residues=renamed)


def test_chains_are_matched_by_sequence_not_by_name_or_number(truth: Structure) -> None:
    other = moved_and_renamed(truth)
    np.testing.assert_array_equal(match_residues(truth, other), np.arange(len(truth.residues)))
    np.testing.assert_array_equal(atom_partners(truth, other, match_residues(truth, other)), np.arange(len(truth)))


def test_torsions_of_a_reference_do_not_depend_on_its_place(truth: Structure) -> None:
    here, there = reference_restraints(truth, truth), reference_restraints(truth, moved_and_renamed(truth))
    np.testing.assert_array_equal(here.atoms, there.atoms)
    np.testing.assert_allclose(turned(here.target - there.target), 0.0, atol=1e-6)
    assert len(here) > 700
    assert here.energy_and_gradient(truth.positions, np.zeros_like(truth.positions)) == pytest.approx(0.0, abs=1e-12)


def test_a_part_of_the_chains_is_enough(truth: Structure) -> None:
    part = truth.without((truth.residues.chain != "B")[truth.residue])
    found = reference_restraints(truth, part)
    assert set(truth.residues.chain[found.residue].tolist()) == {"B"}


def test_side_chains_of_other_residues_are_no_targets(truth: Structure) -> None:
    compounds = truth.residues.compound.copy()
    row = int(np.flatnonzero((compounds == "LEU") & (truth.residues.chain == "A"))[0])
    compounds[row] = "MET"
    other = replace(truth, residues=replace(truth.residues, compound=compounds))
    lost = {int(residue) for residue in reference_restraints(truth, truth).residue if residue == row}
    assert lost
    names = named_torsions(truth)
    mine = reference_restraints(truth, other)
    chi = names.atoms[(names.residue == row) & np.char.startswith(names.name, "chi")]
    phi = names.atoms[(names.residue == row) & (names.name == "phi")]
    kept = {tuple(quad) for quad in mine.atoms.tolist()}
    assert not {tuple(quad) for quad in chi.tolist()} & kept
    assert {tuple(quad) for quad in phi.tolist()} <= kept


def test_strangers_are_refused(truth: Structure, builder: Builder) -> None:
    builder.peptide(["TRP"] * 20)
    with pytest.raises(InputError) as caught:
        reference_restraints(truth, builder.finish())
    assert caught.value.code == "reference_unmatched"


def test_a_perturbed_model_comes_back_to_the_torsions_of_the_reference(truth: Structure) -> None:
    part = truth.without((truth.residues.chain == "C")[truth.residue])
    part = part.without((part.residues.number > 40)[part.residue])
    covalent = covalent_restraints(build_topology(part, load_monomer_library(np.unique(part.residues.compound).tolist())))

    def run(start: NDArray, reference: bool) -> NDArray:
        def energy(x: NDArray, gradient: NDArray) -> float:
            gradient[:] = 0.0
            total = covalent.energy_and_gradient(x, gradient)
            return total + (restraints.energy_and_gradient(x, gradient) if reference else 0.0)

        return minimise(energy, start, max_iterations=300).x

    restraints = reference_restraints(part, part)
    shaken = run(part.positions + np.random.default_rng(5).normal(scale=0.35, size=part.positions.shape), False)
    torsions = named_torsions(part)

    def off(x: NDArray) -> float:
        delta = np.abs(turned(torsions.angles(part.moved(x)) - torsions.angles(part)))
        return float(np.median(delta))

    assert off(shaken) > 4.0
    assert off(run(shaken, True)) < 0.3 * off(shaken)


def test_torsions_without_target_are_left_out(truth: Structure) -> None:
    torsions = named_torsions(truth)
    target = torsions.angles(truth)
    target[::2] = np.nan
    found = held(torsions, target, sigma=2.0, limit=15.0)
    assert len(found) == len(torsions) // 2
    np.testing.assert_allclose(found.weight, 0.25)
