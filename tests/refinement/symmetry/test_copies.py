"""Copies in models: found, with their operators, however they are numbered, named and complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from refinement.operators import Operators, rotation_by, separation, turned_about
from refinement.structure import Structure, from_gemmi
from refinement.symmetry.chains import aligned, families, polymer_chains
from refinement.symmetry.copies import Copies, find_copies, subgroup

if TYPE_CHECKING:
    from collections.abc import Callable

    Particle = Callable[..., tuple[Structure, Operators]]
    Assemble = Callable[[Structure, Operators], Structure]


def edited(structure: Structure, edit: Callable[[gemmi.Model], None]) -> Structure:
    source = structure.to_gemmi()
    edit(source[0])
    return from_gemmi(source)


def same_operators(found: Operators, expected: Operators, centre: np.ndarray, radius: float = 20.0) -> np.ndarray:
    """How far (Å) each expected operator is from the nearest one found."""
    return separation(expected, found, centre, radius).min(axis=1)


def follows(structure: Structure, copies: Copies) -> np.ndarray:
    """Distances of all counterparts from where the operators bring the first copy."""
    apart = []
    for k in range(len(copies)):
        both = copies.atoms[:, k] >= 0
        moved = copies.operators.apply(k, structure.positions[copies.atoms[both, 0]])
        apart.append(np.linalg.norm(moved - structure.positions[copies.atoms[both, k]], axis=1))
    return np.concatenate(apart)


@pytest.mark.parametrize("name", ["C2", "C3", "C4", "D2", "T"])
def test_operators_are_recovered(particle: Particle, name: str) -> None:
    structure, operators = particle(name)
    (copies,) = find_copies(structure)
    assert copies.group == name
    assert len(copies) == len(operators)
    assert same_operators(copies.operators, operators, structure.positions.mean(axis=0)).max() < 1e-3
    assert (copies.atoms >= 0).all()
    assert sorted(copies.atoms.ravel().tolist()) == list(range(len(structure)))
    assert follows(structure, copies).max() < 1e-3
    assert np.array_equal(structure.names[copies.atoms], np.repeat(structure.names[copies.atoms[:, :1]], len(copies), axis=1))


def test_disturbed_copies_still_make_an_exact_group(particle: Particle) -> None:
    structure, operators = particle("C4")
    noise = np.random.default_rng(1).normal(scale=0.2, size=structure.positions.shape)
    (copies,) = find_copies(structure.moved(structure.positions + noise))
    centre = structure.positions.mean(axis=0)
    assert copies.group == "C4"
    assert same_operators(copies.operators, operators, centre).max() < 0.05
    square = copies.operators.select(np.array([1])).after(copies.operators.select(np.array([1])))
    assert separation(square, copies.operators, centre, 20.0).min() < 1e-9
    assert copies.rmsd[1:] == pytest.approx(0.2 * np.sqrt(6.0), rel=0.1)


def test_renamed_renumbered_and_incomplete_copies_are_found(particle: Particle) -> None:
    structure, operators = particle("C4")

    def edit(model: gemmi.Model) -> None:
        model[1].name = "longname"
        for residue in model[1]:
            residue.seqid = gemmi.SeqId(residue.seqid.num + 1017, " ")
        for number in (2, 3, 4):
            del model[2][number]
        del model[3][20:23]
        leucine = next(residue for residue in model[2] if residue.name == "LEU")
        for name in ("CG", "CD1", "CD2"):
            leucine.remove_atom(name, "*")

    other = edited(structure, edit)
    (copies,) = find_copies(other)
    assert copies.group == "C4"
    assert same_operators(copies.operators, operators, structure.positions.mean(axis=0)).max() < 1e-3
    lacks = (copies.atoms < 0).sum(axis=0)
    assert lacks[:2].tolist() == [0, 0]
    assert (lacks[2:] > 10).all()
    assert follows(other, copies).max() < 1e-3
    compounds = other.residues.compound[other.residue[copies.atoms]]
    assert (compounds == compounds[:, :1])[copies.atoms >= 0].all()


def test_atoms_that_bear_each_others_names_are_measured_by_place(particle: Particle) -> None:
    structure, _ = particle("C2")
    row = int(np.flatnonzero((structure.residues.compound == "ASP") & (structure.residues.chain == "B"))[0])
    own = np.flatnonzero(structure.residue == row)
    first, second = (int(own[structure.names[own] == name][0]) for name in ("OD1", "OD2"))
    positions = structure.positions.copy()
    positions[[first, second]] = positions[[second, first]]
    swapped = structure.moved(positions)
    (copies,) = find_copies(swapped)
    assert copies.rmsd.max() < 1e-3  # as they lie
    counterparts = dict(zip(copies.atoms[:, 1].tolist(), swapped.names[copies.atoms[:, 0]].tolist(), strict=True))
    assert counterparts[first] == "OD1"  # but images take the names of their sources, which follow the convention
    assert counterparts[second] == "OD2"


def hetero(structure: Structure, places: list[tuple[str, str, str, np.ndarray]]) -> Structure:
    def edit(model: gemmi.Model) -> None:
        for number, (chain, compound, element, place) in enumerate(places, start=301):
            atom = gemmi.Atom()
            atom.name, atom.element, atom.pos, atom.b_iso = element.upper(), gemmi.Element(element), gemmi.Position(*place), 30.0
            residue = gemmi.Residue()
            residue.name, residue.seqid, residue.het_flag = compound, gemmi.SeqId(number, " "), "H"
            residue.add_atom(atom)
            next(one for one in model if one.name == chain).add_residue(residue)

    return edited(structure, edit)


def test_ions_and_waters_go_with_their_chain_where_the_others_have_them(particle: Particle) -> None:
    structure, operators = particle("C4")
    first = structure.positions[0] + np.array([3.0, 0.0, 3.0])
    zinc = [("A" if k % 2 else "BCDA"[k], "ZN", "Zn", operators.apply(k, first[None])[0]) for k in range(4)]
    water = operators.apply(0, structure.positions[50:51] + 4.0)[0]
    waters = [("D", "HOH", "O", operators.apply(k, water[None])[0] + 0.2 * k) for k in (0, 1, 3)]
    centre = np.linalg.lstsq(np.eye(3) - operators.rotation[1], operators.shift[1], rcond=None)[0]
    axis = [("A", "CL", "Cl", centre + np.array([0.0, 0.0, 4.0]))]
    alone = [("B", "MG", "Mg", structure.positions[80] + 5.0)]
    model = hetero(structure, [*zinc, *waters, *axis, *alone])
    (copies,) = find_copies(model)
    compound = model.residues.compound[model.residue[copies.atoms[:, 0]]]
    assert (copies.atoms[compound == "ZN"] >= 0).sum() == 4
    assert (copies.atoms[compound == "HOH"] >= 0).sum(axis=1).tolist() == [3]
    assert not np.isin(compound, ("CL", "MG")).any()
    rows = copies.atoms[copies.atoms >= 0]
    assert len(rows) == len(np.unique(rows)) == len(structure) + 4 + 3


def test_two_kinds_of_chains_share_the_operators(protomer: Structure, particle: Particle, assemble: Assemble) -> None:
    structure, operators = particle("C2")
    half = protomer.without(protomer.residues.number[protomer.residue] > 30)
    first = structure.positions[: len(protomer)]
    up = np.array([0.0, 0.0, np.ptp(first[:, 2]) + 6.0])
    other = half.moved(first[protomer.residues.number[protomer.residue] <= 30] + up)

    def edit(model: gemmi.Model) -> None:
        for chain, name in zip(assemble(other, operators).to_gemmi()[0], ("X", "Y"), strict=True):
            copy = chain.clone()
            copy.name = name
            copy[0].name = "GLY"
            for residue in list(copy)[1:12]:
                residue.name = {"ALA": "SER", "LEU": "ILE", "VAL": "THR"}.get(residue.name, "GLN")
            model.add_chain(copy)

    (copies,) = find_copies(edited(structure, edit))
    assert copies.group == "C2"
    assert copies.chains in {("A,X", "B,Y"), ("A,Y", "B,X")}
    assert copies.chains[0] == "A,X"  # the nearer one
    assert same_operators(copies.operators, operators, structure.positions.mean(axis=0)).max() < 1e-3


def test_a_row_of_chains_is_no_group_but_copies_all_the_same(protomer: Structure, assemble: Assemble) -> None:
    turns = np.arange(4)
    screw = Operators(np.array([turned_about((0, 0, 1.0), 30.0 * k) for k in turns]), np.array([[0, 0, 25.0 * k] for k in turns]))
    placed = protomer.moved(protomer.positions - protomer.positions.mean(axis=0) + np.array([25.0, 0.0, 0.0]))
    (copies,) = find_copies(assemble(placed, screw))
    assert copies.group == ""
    assert copies.chains == ("A", "B", "C", "D")
    assert np.diag(separation(screw, copies.operators, np.zeros(3), 20.0)).max() < 1e-3


def test_chains_of_one_sequence_but_another_conformation_are_no_copies(particle: Particle) -> None:
    structure, _ = particle("C2")
    residues = structure.residues
    bent = (residues.chain[structure.residue] == "B") & (residues.number[structure.residue] > 26)
    pivot = structure.positions[bent][0]
    positions = structure.positions.copy()
    positions[bent] = (positions[bent] - pivot) @ rotation_by(np.radians([0.0, 70.0, 0.0])).T + pivot
    hinged = structure.moved(positions)
    (family,) = families(hinged)
    assert family.alike.tolist() == [True, False]
    assert find_copies(hinged) == []


def test_different_sequences_are_no_copies(particle: Particle) -> None:
    structure, _ = particle("C2")

    def edit(model: gemmi.Model) -> None:
        for residue in list(model[1])[::4]:
            residue.name = "GLY" if residue.name != "GLY" else "ALA"

    assert find_copies(edited(structure, edit)) == []


def test_given_operators_are_used_exactly(particle: Particle) -> None:
    structure, operators = particle("C4")
    noise = np.random.default_rng(2).normal(scale=0.1, size=structure.positions.shape)
    shaken = structure.moved(structure.positions + noise)
    (copies,) = find_copies(shaken, operators.select(np.arange(1, 4)))
    assert copies.exact
    assert np.array_equal(np.sort(copies.operators.shift, axis=0), np.sort(operators.shift, axis=0))
    assert same_operators(copies.operators, operators, structure.positions.mean(axis=0)).max() < 1e-12
    (own,) = find_copies(shaken, operators.about(np.array([9.0, 0.0, 0.0])))
    assert not own.exact  # those don't fit the chains
    assert same_operators(own.operators, operators, structure.positions.mean(axis=0)).max() < 0.05


def test_given_operators_of_a_helix_are_used_exactly(protomer: Structure, assemble: Assemble) -> None:
    turns = np.array([turned_about((0.0, 0.0, 1.0), 31.0 * k) for k in range(5)])
    helix = Operators(turns, np.array([[0.0, 0.0, 22.0 * k] for k in range(5)]))
    structure = assemble(protomer.moved(protomer.positions + np.array([35.0, 0.0, 0.0])), helix)
    noise = np.random.default_rng(3).normal(scale=0.1, size=structure.positions.shape)
    shaken = structure.moved(structure.positions + noise)
    (copies,) = find_copies(shaken, helix)
    assert (copies.group, copies.exact) == ("", True)
    assert np.array_equal(copies.operators.rotation, helix.rotation)
    assert np.array_equal(copies.operators.shift, helix.shift)
    (own,) = find_copies(shaken, helix.select(np.arange(4)))  # the last chain is none of these operators'
    assert not own.exact
    assert len(own) == 5


def test_a_subgroup_has_more_chains_in_its_unique_part(particle: Particle) -> None:
    structure, _operators = particle("C4")
    (copies,) = find_copies(structure)
    half = np.array([True, *(abs(np.trace(one) + 1.0) < 1e-3 for one in copies.operators.rotation[1:])])
    (smaller,) = subgroup(structure, copies, half)
    assert smaller.group == "C2"
    assert [name.count(",") for name in smaller.chains] == [1, 1]
    assert len(smaller.atoms) == 2 * len(copies.atoms)
    assert subgroup(structure, copies, np.array([True, True, False, False])) == []


def test_numbers_decide_where_a_loop_is_missing(protomer: Structure) -> None:
    """Of two equal residues on either side of a gap an alignment may take the wrong one; their numbers tell."""
    first = polymer_chains(protomer)[0]
    short = protomer.without(np.isin(protomer.residues.number[protomer.residue], (20, 21, 22)))
    second = polymer_chains(short)[0]
    pairs = aligned(first, second)
    assert [first.keys[a] for a, _ in pairs] == [second.keys[b] for _, b in pairs]
    assert len(pairs) == len(second)


def test_nothing_to_find() -> None:
    water = gemmi.Structure()
    water.add_model(gemmi.Model(1))
    chain = gemmi.Chain("W")
    residue = gemmi.Residue()
    residue.name, residue.seqid = "HOH", gemmi.SeqId(1, " ")
    atom = gemmi.Atom()
    atom.name, atom.element = "O", gemmi.Element("O")
    residue.add_atom(atom)
    chain.add_residue(residue)
    water[0].add_chain(chain)
    assert find_copies(from_gemmi(water)) == []
