"""Adding hydrogens: which, where, how long."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from refinement.conformers import STANDARD_AMINO_ACIDS
from refinement.restraints.bonding import find_bonds
from refinement.restraints.hydrogens import add_hydrogens, hydrogenate, rehydrogenate
from refinement.restraints.library import load_monomer_library
from refinement.restraints.riding import TERMINAL
from refinement.structure import ResidueKind, from_gemmi, read_structure

if TYPE_CHECKING:
    from pathlib import Path

    from refinement.structure import Structure

LIGANDS = ["HEM", "NAG", "ATP", "CLR", "GOL", "PC1", "CIT"]
NUCLEOTIDES = ["A", "C", "G", "U", "DA", "DC", "DG", "DT"]


@pytest.fixture(scope="module")
def wide_library() -> gemmi.MonLib:
    return load_monomer_library([*STANDARD_AMINO_ACIDS, *LIGANDS, *NUCLEOTIDES, "HOH", "ZN", "IMD"])


def lone(library: gemmi.MonLib, compound: str, leave: tuple[str, ...] = (), number: int = 1) -> Structure:
    """Return one residue at its dictionary's coordinates, without hydrogens."""
    residue = gemmi.Residue()
    residue.name, residue.seqid, residue.het_flag = compound, gemmi.SeqId(number, " "), "H"
    for known in library.monomers[compound].atoms:
        if known.el.name != "H" and known.id not in leave:
            atom = gemmi.Atom()
            atom.name, atom.element, atom.pos, atom.b_iso, atom.occ = known.id, known.el, known.xyz, 30.0, 1.0
            residue.add_atom(atom)
    chain, model, structure = gemmi.Chain("A"), gemmi.Model(1), gemmi.Structure()
    chain.add_residue(residue)
    model.add_chain(chain)
    structure.add_model(model)
    return from_gemmi(structure)


def names_on(structure: Structure, row: int) -> set[str]:
    inside = slice(structure.residues.first[row], structure.residues.first[row + 1])
    return set(structure.names[inside][structure.is_hydrogen[inside]].tolist())


@pytest.mark.parametrize("compound", [*sorted(STANDARD_AMINO_ACIDS), *NUCLEOTIDES, *LIGANDS])
def test_hydrogens_lie_where_the_dictionary_has_them(wide_library: gemmi.MonLib, compound: str) -> None:
    """Directions agree with the ideal coordinates, hand included; what can turn freely is left out."""
    model = hydrogenate(lone(wide_library, compound), wide_library, optimise=False)
    structure, riding = model.structure, model.riding
    ideal = {atom.id: np.array(atom.xyz.tolist()) for atom in wide_library.monomers[compound].atoms}
    expected = {atom.id for atom in wide_library.monomers[compound].atoms if atom.el.name == "H"}
    placed = set(structure.names[riding.hydrogen].tolist())
    assert placed - {"HO5'"} == expected
    free = 0
    for k, hydrogen in enumerate(riding.hydrogen):
        name = str(structure.names[hydrogen])
        parent = riding.frame[k, 0]
        if riding.rotor[k] >= 0 or name not in ideal:
            free += 1
            continue
        ours = structure.positions[hydrogen] - structure.positions[parent]
        theirs = ideal[name] - structure.positions[parent]
        cosine = ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)
        # the dictionaries' own amino groups are twisted out of plane, ours are flat
        assert np.degrees(np.arccos(min(cosine, 1.0))) < (60.0 if riding.shape[k] == TERMINAL else 12.0), name
    assert free < len(riding.hydrogen) or compound == "GOL"


@pytest.mark.parametrize(
    ("compound", "plane"), [("ASN", ("CG", "OD1", "ND2")), ("ARG", ("CZ", "NH2", "NH1")), ("G", ("C2", "N3", "N2"))]
)
def test_amino_groups_are_flat(wide_library: gemmi.MonLib, compound: str, plane: tuple[str, str, str]) -> None:
    structure = hydrogenate(lone(wide_library, compound), wide_library).structure
    at = {name: structure.positions[k] for k, name in enumerate(structure.names.tolist())}
    nitrogen = plane[2]
    normal = np.cross(at[plane[1]] - at[plane[0]], at[nitrogen] - at[plane[0]])
    names = {"ND2": ("HD21", "HD22"), "NH1": ("HH11", "HH12"), "N2": ("H21", "H22")}[nitrogen]
    arms = [at[name] - at[nitrogen] for name in names]
    assert [abs(arm @ normal) for arm in arms] == pytest.approx([0.0, 0.0], abs=0.02)
    opening = np.degrees(np.arccos(arms[0] @ arms[1] / np.linalg.norm(arms[0]) / np.linalg.norm(arms[1])))
    assert opening == pytest.approx(120.0, abs=3.0)


LENGTHS = {
    ("PHE", "HZ"): 0.93, ("PHE", "HA"): 0.97, ("SER", "HG"): 0.84, ("CYS", "HG"): 1.20, ("LYS", "HZ1"): 0.89,
    ("ASN", "HD21"): 0.86, ("ARG", "HE"): 0.86, ("HIS", "HE2"): 0.86, ("A", "H8"): 0.93, ("A", "H61"): 0.86,
    ("A", "HO2'"): 0.84, ("HEM", "HHA"): 0.93, ("NAG", "H1"): 0.97, ("NAG", "HO3"): 0.84, ("ATP", "H8"): 0.93,
}  # fmt: skip


@pytest.mark.parametrize(("compound", "name"), LENGTHS)
def test_lengths_are_electron_cloud(wide_library: gemmi.MonLib, compound: str, name: str) -> None:
    model = hydrogenate(lone(wide_library, compound), wide_library)
    k = int(np.flatnonzero(model.structure.names[model.riding.hydrogen] == name)[0])
    parent, hydrogen = model.riding.frame[k, 0], model.riding.hydrogen[k]
    distance = np.linalg.norm(model.structure.positions[hydrogen] - model.structure.positions[parent])
    assert distance == pytest.approx(LENGTHS[compound, name], abs=1e-6)


def test_ligand_lengths_of_the_dictionary_on_request(wide_library: gemmi.MonLib) -> None:
    model = hydrogenate(lone(wide_library, "PC1"), wide_library, from_dictionary=True)
    assert model.riding.length.max() == pytest.approx(1.099)
    protein = hydrogenate(lone(wide_library, "PHE"), wide_library, from_dictionary=True)
    assert protein.riding.length.max() == pytest.approx(0.97)


def test_geometry_of_common_groups(wide_library: gemmi.MonLib) -> None:
    model = hydrogenate(lone(wide_library, "PHE"), wide_library).structure
    at = {name: model.positions[k] for k, name in enumerate(model.names.tolist())}

    def angle(a: str, b: str, c: str) -> float:
        u, v = at[a] - at[b], at[c] - at[b]
        return float(np.degrees(np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v))))

    assert angle("HB2", "CB", "HB3") == pytest.approx(110.0, abs=0.1)
    assert angle("HZ", "CZ", "CE1") == pytest.approx(120.0, abs=1.0)
    assert angle("HA", "CA", "N") == pytest.approx(110.0, abs=2.0)
    normal = np.cross(at["CE1"] - at["CZ"], at["CE2"] - at["CZ"])
    assert abs((at["HZ"] - at["CZ"]) @ normal) < 1e-6


def test_a_peptide_has_the_hydrogens_of_textbooks(builder, library: gemmi.MonLib) -> None:
    builder.peptide(["GLY", "PRO", "ALA", "HIS", "ASP", "CYS"])
    structure = hydrogenate(builder.finish(), library).structure
    assert names_on(structure, 0) == {"H", "H2", "H3", "HA2", "HA3"}
    assert "H" not in names_on(structure, 1)
    assert names_on(structure, 2) == {"H", "HA", "HB1", "HB2", "HB3"}
    assert {"HD1", "HE2"} <= names_on(structure, 3)
    assert names_on(structure, 4) == {"H", "HA", "HB2", "HB3"}
    assert "HG" in names_on(structure, 5)
    n, h = (structure.positions[structure.names == name] for name in ("N", "H"))
    assert np.linalg.norm(h[1] - n[2]) == pytest.approx(0.86)


def test_amide_hydrogen_is_in_the_peptide_plane_and_trans_to_oxygen(builder, library: gemmi.MonLib) -> None:
    builder.peptide(["ALA", "ALA", "ALA"])
    structure = hydrogenate(builder.finish(), library).structure
    rows = structure.residue == 1
    at = {name: structure.positions[rows & (structure.names == name)][0] for name in ("N", "H", "CA")}
    carbon, oxygen = (structure.positions[(structure.residue == 0) & (structure.names == name)][0] for name in ("C", "O"))
    torsion = gemmi.calculate_dihedral(*(gemmi.Position(*p) for p in (oxygen, carbon, at["N"], at["H"])))
    assert abs(np.degrees(torsion)) == pytest.approx(180.0, abs=3.0)


@pytest.mark.parametrize(("first", "expected"), [(1, {"H", "H2", "H3"}), (7, {"H"})])
def test_chain_starts(builder, library: gemmi.MonLib, first: int, expected: set[str]) -> None:
    builder.peptide(["ALA", "ALA"], first=first)
    structure = hydrogenate(builder.finish(), library).structure
    assert names_on(structure, 0) & {"H", "H1", "H2", "H3"} == expected


def test_after_a_gap_nitrogen_has_one_hydrogen(builder, library: gemmi.MonLib) -> None:
    builder.peptide(["ALA", "ALA"], first=1)
    builder.peptide(["ALA", "ALA"], first=9, origin=(20.0, 0.0, 0.0))
    structure = hydrogenate(builder.finish(), library).structure
    assert names_on(structure, 2) & {"H", "H2", "H3"} == {"H"}


def test_disulfide_sulfurs_have_none(builder, library: gemmi.MonLib) -> None:
    builder.peptide(["CYS"], chain="A")
    builder.peptide(["CYS"], chain="B")
    bare = builder.finish()
    sulfur = np.flatnonzero(bare.names == "SG")
    away = bare.positions[sulfur[0]] - bare.positions[bare.names == "CA"][0]
    positions = bare.positions.copy()
    positions[bare.residue == 1] = 2.0 * positions[sulfur[0]] - positions[bare.residue == 1] + 2.05 * away / np.linalg.norm(away)
    structure = bare.moved(positions)
    assert np.linalg.norm(positions[sulfur[0]] - positions[sulfur[1]]) == pytest.approx(2.05)
    assert "HG" not in hydrogenate(structure, library).structure.names
    apart = positions.copy()
    apart[bare.residue == 1] += 3.0 * away
    assert (hydrogenate(bare.moved(apart), library).structure.names == "HG").sum() == 2


def test_histidine_at_a_metal_loses_that_hydrogen(builder, library: gemmi.MonLib) -> None:
    builder.peptide(["ALA", "HIS", "ALA"])
    bare = builder.finish()
    ring = {name: bare.positions[bare.names == name][0] for name in ("NE2", "CE1", "CD2")}
    out = 2 * ring["NE2"] - ring["CE1"] - ring["CD2"]
    builder.residue("Z", 1, "ZN", {"ZN": ring["NE2"] + 2.05 * out / np.linalg.norm(out)}, het=True)
    names = names_on(hydrogenate(builder.finish(), library).structure, 1)
    assert "HE2" not in names
    assert "HD1" in names


def test_a_glycan_takes_one_hydrogen_from_asparagine_and_keeps_its_own(builder, library: gemmi.MonLib) -> None:
    builder.peptide(["ALA", "ASN", "ALA"])
    bare = builder.finish()
    at = {name: bare.positions[(bare.names == name) & (bare.residue == 1)][0] for name in ("CG", "ND2", "OD1")}
    away = at["ND2"] - at["OD1"]
    sugar = builder.compound_coordinates("NAG", leave=("O1",))
    direction = sugar["C1"] - np.mean(list(sugar.values()), axis=0)
    start = at["ND2"] + 1.45 * away / np.linalg.norm(away)
    turn = gemmi_rotation(-direction, away)
    builder.residue("B", 1, "NAG", {name: start + turn @ (x - sugar["C1"]) for name, x in sugar.items()}, het=True)
    model = hydrogenate(builder.finish(), library)
    assert names_on(model.structure, 1) & {"HD21", "HD22"} == {"HD21"}
    assert {"H1", "H2", "HO3", "HN2"} <= names_on(model.structure, 3)
    assert "HO1" not in names_on(model.structure, 3)


def gemmi_rotation(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return a rotation that turns one direction into another."""
    a, b = start / np.linalg.norm(start), end / np.linalg.norm(end)
    axis, cosine = np.cross(a, b), a @ b
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1.0 + cosine)


def test_nucleotides_in_a_chain_and_at_its_ends(wide_library: gemmi.MonLib) -> None:
    alone = hydrogenate(lone(wide_library, "A"), wide_library).structure
    assert {"HO2'", "HO3'", "H1'", "H61", "H62", "H2", "H8"} <= names_on(alone, 0)
    assert "HO5'" not in names_on(alone, 0)
    phosphate = ("P", "OP1", "OP2", "OP3")
    start = hydrogenate(lone(wide_library, "G", leave=phosphate), wide_library).structure
    assert "HO5'" in names_on(start, 0)
    assert "HO2'" not in names_on(hydrogenate(lone(wide_library, "DA"), wide_library).structure, 0)


def test_phosphodiester_takes_the_hydrogen_of_o3(builder, library: gemmi.MonLib) -> None:
    first = builder.compound_coordinates("A", leave=("OP3",))
    builder.residue("A", 1, "A", first)
    second = builder.compound_coordinates("C", leave=("OP3",))
    shift = first["O3'"] + np.array([0.0, 0.0, 1.6]) - second["P"]
    builder.residue("A", 2, "C", {name: x + shift for name, x in second.items()})
    structure = hydrogenate(builder.finish(), library).structure
    assert "HO3'" not in names_on(structure, 0)
    assert "HO3'" in names_on(structure, 1)


def test_atoms_that_lost_their_neighbours_get_none(wide_library: gemmi.MonLib) -> None:
    stub = hydrogenate(lone(wide_library, "LYS", leave=("CG", "CD", "CE", "NZ")), wide_library).structure
    assert names_on(stub, 0) == {"H", "H2", "H3", "HA"}
    glycine_like = hydrogenate(lone(wide_library, "LYS", leave=("CB", "CG", "CD", "CE", "NZ")), wide_library)
    assert "HA" in names_on(glycine_like.structure, 0)


def test_water_and_unknown_compounds_stay_bare(builder, library: gemmi.MonLib) -> None:
    builder.residue("W", 1, "HOH", {"O": np.zeros(3)}, het=True)
    builder.residue("X", 1, "QQQ", {"C1": np.array([9.0, 0, 0]), "C2": np.array([10.5, 0, 0])}, het=True)
    assert len(hydrogenate(builder.finish(), library).structure) == 3


def with_conformers(builder) -> Structure:
    """Return a serine between alanines whose side chain has two places."""
    builder.peptide(["ALA", "SER", "ALA"])
    source = builder.structure.clone()
    residue = source[0]["A"][1]
    for name, letter, occupancy in (("OG", "A", 0.6), ("OG", "B", 0.4)):
        atom = residue[name][0] if letter == "A" else residue["OG"][0].clone()
        atom.altloc, atom.occ = letter, occupancy
        if letter == "B":
            near = residue["CB"][0].pos
            atom.pos = gemmi.Position(2 * near.x - atom.pos.x, 2 * near.y - atom.pos.y, 2 * near.z - atom.pos.z)
            residue.add_atom(atom)
    return from_gemmi(source)


def test_each_conformer_has_its_own_hydrogens(builder, library: gemmi.MonLib) -> None:
    structure = hydrogenate(with_conformers(builder), library).structure
    inside = structure.residue == 1
    found = Counter(zip(structure.names[inside].tolist(), structure.altloc[inside].tolist(), strict=True))
    assert found["HG", "A"] == found["HG", "B"] == 1
    assert found["HB2", "A"] == found["HB2", "B"] == 1
    assert found["HA", ""] == 1
    labels = zip(structure.names.tolist(), structure.altloc.tolist(), strict=True)
    occupancy = dict(zip(labels, structure.occupancy.tolist(), strict=True))
    assert occupancy["HG", "A"] == pytest.approx(0.6)
    assert occupancy["HB2", "B"] == pytest.approx(0.4)


def test_heavy_atoms_keep_their_order_and_values(builder, library: gemmi.MonLib) -> None:
    builder.peptide(["MET", "LYS", "THR"])
    bare = builder.finish()
    model = hydrogenate(bare, library)
    full = model.structure
    assert np.array_equal(full.positions[model.heavy], bare.positions)
    assert full.names[model.heavy].tolist() == bare.names.tolist()
    assert np.all(np.diff(model.heavy) > 0)
    assert np.all(full.is_hydrogen[model.riding.hydrogen])
    parents = model.riding.frame[:, 0]
    assert np.array_equal(full.b_iso[model.riding.hydrogen], full.b_iso[parents])
    assert np.array_equal(full.residue[model.riding.hydrogen], full.residue[parents])
    again = from_gemmi(add_hydrogens(bare, library).to_gemmi())
    assert again.names.tolist() == full.names.tolist()
    assert again.positions == pytest.approx(full.positions)
    assert len(bare) == np.count_nonzero(~full.is_hydrogen)


def test_rebuilding_gives_the_same_model(builder, library: gemmi.MonLib) -> None:
    builder.peptide(["TYR", "SER", "LYS", "ASN"])
    once = add_hydrogens(builder.finish(), library)
    twice = add_hydrogens(once, library)
    assert twice.names.tolist() == once.names.tolist()
    assert twice.positions == pytest.approx(once.positions, abs=1e-9)


def test_hydrogens_built_on_a_moved_model_are_those_built_from_nothing(builder, library: gemmi.MonLib) -> None:
    builder.peptide(["TYR", "SER", "LYS", "CYS"])
    bare = builder.finish()
    before = hydrogenate(bare, library, from_dictionary=True)
    rng = np.random.default_rng(1)
    moved = replace(bare.moved(bare.positions + rng.normal(scale=0.2, size=bare.positions.shape)), b_iso=bare.b_iso + 5.0)
    again, new = rehydrogenate(before, moved, library), hydrogenate(moved, library, from_dictionary=True)
    assert again.bonding is before.bonding
    assert np.array_equal(again.structure.positions, new.structure.positions)
    assert np.array_equal(again.structure.b_iso, new.structure.b_iso)
    assert np.array_equal(again.riding.coefficients, new.riding.coefficients)
    assert not np.array_equal(again.riding.coefficients, before.riding.coefficients)


def test_a_new_bond_takes_the_hydrogens_away(builder, library: gemmi.MonLib) -> None:
    builder.peptide(["CYS"], chain="A")
    builder.peptide(["CYS"], chain="B")
    bare = builder.finish()
    sulfur, other = np.flatnonzero(bare.names == "SG"), bare.residue == 1
    apart = bare.positions.copy()
    apart[other] += 20.0
    before = hydrogenate(bare.moved(apart), library, from_dictionary=True)
    assert "HG" in names_on(before.structure, 0)
    joined = bare.positions.copy()
    joined[other] += joined[sulfur[0]] + np.array([0.0, 0.0, 2.05]) - joined[sulfur[1]]
    bound = rehydrogenate(before, bare.moved(joined), library)
    assert not {"HG"} & (names_on(bound.structure, 0) | names_on(bound.structure, 1))


def test_existing_hydrogens_are_kept_on_request(builder, library: gemmi.MonLib) -> None:
    builder.peptide(["ALA", "ALA"])
    full = add_hydrogens(builder.finish(), library)
    fewer = full.without(full.names == "HA")
    assert add_hydrogens(fewer, library, keep_existing=True) is fewer
    assert len(add_hydrogens(fewer, library)) == len(full)


def test_graph_of_a_model_with_hydrogens_is_that_of_building_them(builder, library: gemmi.MonLib) -> None:
    builder.peptide(["TRP", "PRO", "GLU", "VAL"])
    model = hydrogenate(builder.finish(), library)
    read = find_bonds(model.structure, library)

    def as_set(pairs: np.ndarray) -> set[tuple[int, ...]]:
        return {tuple(sorted(pair)) for pair in pairs.tolist()}

    assert as_set(read.pairs) == as_set(model.bonding.pairs)


def test_atoms_that_no_dictionary_knows_are_joined_by_distance(builder, library: gemmi.MonLib) -> None:
    tetrahedron = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3.0)
    builder.residue("X", 1, "QQQ", {"C1": np.zeros(3), "H1": tetrahedron[0], "H2": tetrahedron[1], "C2": 1.53 * tetrahedron[2]})
    bonds = find_bonds(builder.finish(), library)
    assert {tuple(sorted(pair)) for pair in bonds.pairs.tolist()} == {(0, 1), (0, 2), (0, 3)}


@pytest.mark.shared
def test_counts_of_a_real_model_agree_with_another_program(shared: Path) -> None:
    """mavs_5925 has 1562 atoms with hydrogens (reference program); hb_5ni1 has its NH3 and haem histidines."""
    small = read_structure(shared / "pairs/mavs_5925/model.pdb")
    assert len(add_hydrogens(small, load_monomer_library(set(small.residues.compound.tolist())))) == 1562
    large = read_structure(shared / "pairs/hb_5ni1/model.cif")
    full = add_hydrogens(large, load_monomer_library(set(large.residues.compound.tolist())))
    labels = [full.residues.label(row) for row in full.residue[full.names == "H3"]]
    assert labels == [f"{chain}/VAL 1" for chain in "ABCD"]
    bound = [row for row in range(len(full.residues)) if full.residues.label(row) in {"A/HIS 87", "B/HIS 92"}]
    assert all("HE2" not in names_on(full, row) for row in bound)
    assert full.is_hydrogen[full.residues.kind[full.residue] == ResidueKind.WATER].sum() == 0
