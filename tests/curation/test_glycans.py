"""Sugars, the bonds between them, and how they are named."""

from __future__ import annotations

import gemmi
import numpy as np
import pytest

from curation.glycans import Glycan, find_glycans
from refinement.structure import Structure, from_gemmi

Place = tuple[str, int]
BOND = 1.43
PROTEIN = ("A", 2)
SUGARS = ("NAG", "BMA", "MAN", "FUC", "SIA", "GLC")


class Tree:
    """A chain of one protein residue and of sugars far from each other; bonded atoms lie on a line between them."""

    def __init__(self, compound: str = "ASN", atom: str = "ND2") -> None:
        self.structure = gemmi.Structure()
        self.structure.add_model(gemmi.Model(1))
        for name in "AB":
            self.structure[0].add_chain(name)
        for number in range(1, 4):
            self._add("A", compound if number == 2 else "ALA", number, gemmi.EntityType.Polymer)
        self.add_atom(PROTEIN, atom, (0.0, 0.0, 0.0))

    def residue(self, place: Place) -> gemmi.Residue:
        return self.structure[0][place[0]][place[1] - 1]

    def _add(self, chain: str, name: str, number: int, kind: gemmi.EntityType) -> None:
        residue = gemmi.Residue()
        residue.name, residue.seqid, residue.entity_type = name, gemmi.SeqId(number, " "), kind
        residue.het_flag = "A" if kind == gemmi.EntityType.Polymer else "H"
        self.structure[0][chain].add_residue(residue)
        far = 50.0 if kind == gemmi.EntityType.Polymer else 150.0
        for k, atom in enumerate(("N", "CA", "C") if kind == gemmi.EntityType.Polymer else ("C5",)):
            self.add_atom((chain, number), atom, (30.0 * number + 4.0 * k, far, 70.0))

    def add_atom(self, place: Place, name: str, position: tuple[float, ...]) -> None:
        atom = gemmi.Atom()
        atom.name, atom.element, atom.pos, atom.occ = name, gemmi.Element(name[0]), gemmi.Position(*position), 1.0
        self.residue(place).add_atom(atom)

    def sugar(self, compound: str, onto: Place, atom: str, *, carbon: str = "C1", length: float = BOND) -> Place:
        """Hang a sugar on an atom of a residue, which is made if it isn't there."""
        number = len(self.structure[0]["B"]) + 1
        self._add("B", compound, number, gemmi.EntityType.NonPolymer)
        if atom not in self.residue(onto):
            self.add_atom(onto, atom, (0.0, 20.0 * number, -30.0))
        end = self.residue(onto)[atom][0].pos
        self.add_atom(("B", number), carbon, (end.x + length, end.y, end.z))
        return "B", number

    def read(self) -> tuple[Structure, np.ndarray]:
        structure = from_gemmi(self.structure)
        return structure, np.isin(structure.residues.compound, SUGARS)


def hang(tree: Tree) -> None:
    """Hang the core of an N-glycan, with a fucose, on the asparagine."""
    first = tree.sugar("NAG", PROTEIN, "ND2")
    second = tree.sugar("NAG", first, "O4")
    middle = tree.sugar("BMA", second, "O4")
    tree.sugar("MAN", middle, "O6")
    tree.sugar("SIA", tree.sugar("MAN", middle, "O3"), "O2", carbon="C2")
    tree.sugar("FUC", first, "O6")


def test_the_core_of_an_n_glycan_is_spelled_with_its_branches() -> None:
    tree = Tree()
    hang(tree)
    name = "SIA(2-2)MAN(1-3)[MAN(1-6)]BMA(1-4)NAG(1-4)[FUC(1-6)]NAG"
    assert find_glycans(*tree.read()) == (Glycan(name, "N-linked", 1, ("A/ASN 2",)),)


@pytest.mark.parametrize(
    ("compound", "atom", "linkage"),
    [
        ("SER", "OG", "O-linked"),
        ("THR", "OG1", "O-linked"),
        ("TRP", "CD1", "C-linked"),
        ("CYS", "SG", "S-linked"),
        ("LYS", "NZ", "linked to LYS NZ"),
    ],
)
def test_linkages_to_the_protein(compound: str, atom: str, linkage: str) -> None:
    tree = Tree(compound, atom)
    tree.sugar("MAN", PROTEIN, atom)
    assert find_glycans(*tree.read()) == (Glycan("MAN", linkage, 1, (f"A/{compound} 2",)),)


def test_a_carbon_nearby_is_no_linkage() -> None:
    tree = Tree("LEU", "CD1")
    tree.sugar("GLC", PROTEIN, "CD1")
    assert find_glycans(*tree.read()) == (Glycan("GLC", "free", 1, ("B/GLC 1",)),)


def test_long_bonds_count_if_the_file_states_them() -> None:
    tree = Tree()
    sugar = tree.sugar("NAG", PROTEIN, "ND2", length=3.0)
    assert [glycan.linkage for glycan in find_glycans(*tree.read())] == ["free"]
    bond = gemmi.Connection()
    bond.name, bond.type = "covale1", gemmi.ConnectionType.Covale
    bond.partner1 = gemmi.AtomAddress("A", tree.residue(PROTEIN).seqid, "ASN", "ND2")
    bond.partner2 = gemmi.AtomAddress("B", tree.residue(sugar).seqid, "NAG", "C1")
    tree.structure.connections.append(bond)
    assert find_glycans(*tree.read()) == (Glycan("NAG", "N-linked", 1, ("A/ASN 2",)),)


def test_bonds_in_a_circle_end() -> None:
    tree = Tree()
    first = tree.sugar("GLC", PROTEIN, "ND2", length=30.0)
    second = tree.sugar("MAN", first, "O4")
    third = tree.sugar("BMA", second, "O4")
    tree.residue(first)["C1"][0].pos = tree.residue(third)["C5"][0].pos + gemmi.Position(0.0, 4.0, 0.0)
    tree.add_atom(third, "O4", tuple(tree.residue(first)["C1"][0].pos + gemmi.Position(0.0, BOND, 0.0)))
    assert find_glycans(*tree.read()) == (Glycan("BMA(1-4)MAN(1-4)GLC", "free", 1, ("B/GLC 1",)),)


def test_chains_of_sugars_may_be_long() -> None:
    tree = Tree()
    place = tree.sugar("GLC", PROTEIN, "ND2")
    for _ in range(1500):
        place = tree.sugar("GLC", place, "O4")
    (glycan,) = find_glycans(*tree.read())
    assert glycan.name == 1500 * "GLC(1-4)" + "GLC"


def test_of_two_sugars_that_point_at_each_other_the_first_carries_the_second() -> None:
    tree = Tree()
    first = tree.sugar("GLC", PROTEIN, "ND2", length=30.0)
    second = tree.sugar("GLC", first, "O1")
    tree.add_atom(second, "O1", tuple(tree.residue(first)["C1"][0].pos + gemmi.Position(0.0, BOND, 0.0)))
    assert find_glycans(*tree.read()) == (Glycan("GLC(1-1)GLC", "free", 1, ("B/GLC 1",)),)


def test_alike_glycans_share_a_row_and_models_without_sugars_have_none() -> None:
    tree = Tree()
    for number in range(3):
        tree.sugar("NAG", ("A", 1), f"O{number}")
    structure, sugars = tree.read()
    (glycan,) = [glycan for glycan in find_glycans(structure, sugars) if glycan.linkage == "linked to ALA O1"]
    assert glycan.count == 1
    assert sum(glycan.count for glycan in find_glycans(structure, sugars)) == 3
    assert find_glycans(structure, np.zeros_like(sugars)) == ()
