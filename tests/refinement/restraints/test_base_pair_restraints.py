"""Restraints on paired and stacked bases, and on the pucker of riboses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from curation.example_model import build_truth
from refinement import tables
from refinement.geometry import dihedrals, distances
from refinement.minimise import minimise
from refinement.nucleotides import riboses
from refinement.restraints.arrays import TorsionKind
from refinement.restraints.base_pairs import LONGEST, base_pair_restraints
from refinement.restraints.nucleic_targets import pucker_torsions
from refinement.restraints.topology import build_topology
from refinement.structure import Structure, from_gemmi
from refinement.validation.base_pairs import base_pairs

if TYPE_CHECKING:
    import gemmi
    from numpy.typing import NDArray


@pytest.fixture(scope="module")
def rna() -> Structure:
    """The example's hairpin: GGAC GAAA GUCC."""
    truth = from_gemmi(build_truth())
    rna = truth.without((truth.residues.chain != "C")[truth.residue])
    assert len(rna.residues) == 12
    return rna


def labels(structure: Structure, atoms: NDArray) -> set[frozenset[str]]:
    number = structure.residues.number[structure.residue[atoms]]
    return {
        frozenset(f"{n} {name}" for n, name in zip(row, names, strict=True))
        for row, names in zip(number.tolist(), structure.names[atoms].tolist(), strict=True)
    }


def test_watson_crick_bonds_have_the_lengths_of_their_class(rna: Structure) -> None:
    bonds, _ = base_pair_restraints(rna)
    first = int(rna.residues.number[0])
    expected = set()
    for k, (left, right) in enumerate((("G", "C"), ("G", "C"), ("A", "U"), ("C", "G"))):
        i, j = first + k, first + 11 - k
        named = {("G", "C"): (("O6", "N4"), ("N1", "N3"), ("N2", "O2")), ("A", "U"): (("N6", "O4"), ("N1", "N3"))}
        ends = named.get((left, right)) or tuple((b, a) for a, b in named[right, left])
        expected |= {frozenset((f"{i} {a}", f"{j} {b}")) for a, b in ends}
    assert labels(rna, bonds.atoms) == expected
    target = {
        tuple(sorted(rna.names[pair])): (length, sigma)
        for pair, length, sigma in zip(bonds.atoms, bonds.target, bonds.weight**-0.5, strict=True)
    }
    assert target["N4", "O6"] == pytest.approx((2.96, 0.17))
    assert target["N2", "O2"] == pytest.approx((2.77, 0.15))
    assert target["N6", "O4"] == pytest.approx((3.00, 0.17))


def test_every_watson_crick_bond_has_an_angle_at_both_ends(rna: Structure) -> None:
    bonds, _ = base_pair_restraints(rna)
    assert len(bonds.angle_target) == 2 * len(bonds)
    residues = rna.residue[bonds.angle_atoms]
    assert (residues[:, 0] == residues[:, 1]).all()
    assert (residues[:, 1] != residues[:, 2]).all()
    bonded = distances(rna.positions, bonds.angle_atoms[:, 0], bonds.angle_atoms[:, 1])
    assert (bonded < 1.6).all()


def test_an_atom_is_in_one_bond_and_a_third_base_gets_none(rna: Structure) -> None:
    bonds, _ = base_pair_restraints(rna)
    assert len(np.unique(bonds.atoms)) == bonds.atoms.size


def test_bonds_of_rare_classes_must_be_short(rna: Structure) -> None:
    found = base_pairs(rna, longest=4.0)
    rare = [pair for pair in found.pairs if pair.kind == "other"]
    held = {frozenset(pair) for pair in rna.residue[base_pair_restraints(rna)[0].atoms].tolist()}
    for pair in rare:
        long = any(length >= LONGEST for _, _, length in pair.hydrogen_bonds)
        assert not (long and frozenset(pair.residues) in held)


def test_pairs_that_opened_a_little_close_again(rna: Structure) -> None:
    last = rna.residues.number[rna.residue] >= rna.residues.number[8]
    bonds, _ = base_pair_restraints(rna)
    ends = rna.positions[bonds.atoms]
    away = (ends[:, 0] - ends[:, 1]).mean(axis=0)
    away /= np.linalg.norm(away) or 1.0
    strand = last[bonds.atoms[0, 0]]
    opened = rna.moved(rna.positions + 0.6 * np.where(last == strand, 1.0, 0.0)[:, None] * away)
    seen, _ = base_pair_restraints(opened)
    assert labels(opened, seen.atoms) >= labels(rna, bonds.atoms), "pairs are found up to 4 Å"

    def energy(x: NDArray, gradient: NDArray) -> float:
        gradient[:] = 0.0
        return seen.energy_and_gradient(x, gradient)

    found = minimise(energy, opened.positions, max_iterations=200)
    assert np.abs(distances(opened.positions, *seen.atoms.T) - seen.target).mean() > 0.3
    assert np.abs(distances(found.x, *seen.atoms.T) - seen.target).mean() < 0.02


def test_bases_turn_parallel(rna: Structure) -> None:
    shaken = rna.moved(rna.positions + np.random.default_rng(1).normal(scale=0.15, size=rna.positions.shape))
    _, planes = base_pair_restraints(shaken)
    assert len(planes) >= len(base_pairs(shaken).stacks)

    def energy(x: NDArray, gradient: NDArray) -> float:
        gradient[:] = 0.0
        return planes.energy_and_gradient(x, gradient)

    found = minimise(energy, shaken.positions, max_iterations=200)
    assert found.energy < 0.02 * found.start_energy


def test_nothing_without_nucleotides(rna: Structure) -> None:
    truth = from_gemmi(build_truth())
    protein = truth.without((truth.residues.chain != "A")[truth.residue])
    bonds, planes = base_pair_restraints(protein)
    assert len(bonds) == len(planes) == 0


@pytest.fixture(scope="module")
def rna_library() -> gemmi.MonLib:
    from refinement.restraints.library import load_monomer_library

    return load_monomer_library(["A", "C", "G", "U"])


def test_riboses_have_the_torsions_of_their_pucker(rna: Structure, rna_library: gemmi.MonLib) -> None:
    torsions = build_topology(rna, rna_library).torsions
    sugar = torsions.kind == TorsionKind.SUGAR
    spoiled = replace(torsions, target=np.where(sugar, 0.0, torsions.target))
    found = pucker_torsions(rna, spoiled)
    np.testing.assert_array_equal(found.target[~sugar], torsions.target[~sugar])
    angle = dihedrals(rna.positions, *found.atoms[sugar].T)
    off = np.abs((angle - found.target[sugar] + 180.0) % 360.0 - 180.0)
    measured = np.isin(rna.residue[found.atoms[sugar, 1]], riboses(rna).residue)
    assert measured.all()
    assert off.max() < 15.0, "the example's puckers are regular"


def test_the_phosphate_decides_about_the_pucker(
    rna: Structure, rna_library: gemmi.MonLib, monkeypatch: pytest.MonkeyPatch
) -> None:
    torsions = build_topology(rna, rna_library).torsions
    measured = riboses(rna)
    for distance, pucker in ((1.5, "rna2p"), (4.6, "rna3p"), (3.0, "rna3p")):
        changed = replace(measured, p_perp=np.full_like(measured.p_perp, distance))
        monkeypatch.setattr("refinement.restraints.nucleic_targets.riboses", lambda _, changed=changed: changed)
        found = pucker_torsions(rna, torsions)
        nu2 = next(
            float(row["value"])
            for row in tables.rows("rna_sugar_pucker_targets")
            if row["modification"] == pucker and row["kind"] == "nu2"
        )
        rows = [k for k, quad in enumerate(rna.names[found.atoms].tolist()) if quad == ["C1'", "C2'", "C3'", "C4'"]]
        assert len(rows) == 12
        np.testing.assert_allclose(found.target[rows], nu2)
