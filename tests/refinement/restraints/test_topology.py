from __future__ import annotations

from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from refinement.errors import RestraintError
from refinement.restraints.coordination import METAL_SIGMA
from refinement.restraints.library import load_monomer_library
from refinement.restraints.topology import BondKind, TorsionKind, build_topology
from refinement.structure import from_gemmi

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.restraints.topology import Topology
    from refinement.structure import Structure

    TopologyOf = Callable[[Structure], Topology]


def named(structure: Structure, atoms: np.ndarray) -> set[frozenset[str]]:
    """Return rows of atoms as sets of names like 1:CA or 1:CA:A."""
    number = structure.residues.number[structure.residue]
    letter = [f":{a}" if a else "" for a in structure.altloc]
    return {frozenset(f"{number[i]}:{structure.names[i]}{letter[i]}" for i in row) for row in atoms.tolist()}


def bonds_of_kind(structure: Structure, topology: Topology, kind: BondKind) -> set[frozenset[str]]:
    return named(structure, topology.bonds.atoms[topology.bonds.kind == kind])


def deviations(structure: Structure, topology: Topology) -> np.ndarray:
    ends = structure.positions[topology.bonds.atoms]
    return np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1) - topology.bonds.target


def test_dipeptide_has_exactly_its_restraints(builder, topology_of: TopologyOf) -> None:
    builder.peptide(["ALA", "GLY"])
    structure = builder.finish()
    topology = topology_of(structure)
    assert named(structure, topology.bonds.atoms) == {
        frozenset(pair.split())
        for pair in ("1:N 1:CA", "1:CA 1:C", "1:C 1:O", "1:CA 1:CB", "1:C 2:N", "2:N 2:CA", "2:CA 2:C", "2:C 2:O")
    }
    assert bonds_of_kind(structure, topology, BondKind.POLYMER) == {frozenset({"1:C", "2:N"})}
    apexes = sorted(structure.names[topology.angles.atoms[:, 1]].tolist())
    assert apexes == ["C", "C", "C", "C", "CA", "CA", "CA", "CA", "N"]
    assert len(topology.chiralities) == 1
    assert structure.names[topology.chiralities.atoms[0]].tolist() == ["CA", "N", "C", "CB"]
    assert topology.chiralities.target[0] > 2.0
    assert not topology.chiralities.both[0]
    assert {frozenset(structure.names[topology.planes.atoms].tolist())} == {frozenset({"CA", "C", "O", "N"})}
    assert [link.name for link in topology.links] == ["TRANS"]
    assert (topology.links[0].residue_1, topology.links[0].residue_2) == (0, 1)
    assert np.abs(deviations(structure, topology)).max() < 0.05
    assert not topology.unrestrained.any()


def test_arrays_are_ready_for_the_kernels(builder, topology_of: TopologyOf) -> None:
    builder.peptide(["ALA", "PHE", "PRO", "VAL"])
    topology = topology_of(builder.finish())
    for part in (topology.bonds, topology.angles, topology.torsions, topology.chiralities):
        assert part.atoms.dtype == np.int32
        assert part.atoms.flags.c_contiguous
        assert part.target.dtype == part.sigma.dtype == np.float64
        assert len(part.target) == len(part.sigma) == len(part.atoms) == len(part)
    assert (topology.bonds.sigma >= 0.008).all()
    assert (topology.angles.sigma > 0).all()
    assert np.diff(topology.planes.first).min() >= 4
    assert len(topology.planes.atoms) == topology.planes.first[-1]


@pytest.mark.parametrize(
    ("omega", "second", "link"), [(180, "GLY", "TRANS"), (-170, "PRO", "PTRANS"), (5, "GLY", "CIS"), (-5, "PRO", "PCIS")]
)
def test_peptide_link_follows_the_present_omega(builder, topology_of: TopologyOf, omega: float, second: str, link: str) -> None:
    builder.peptide(["ALA", second], omega=omega)
    topology = topology_of(builder.finish())
    assert [found.name for found in topology.links] == [link]
    target = topology.torsions.of_kind(TorsionKind.OMEGA).target
    assert target.tolist() == [180.0 if "TRANS" in link else 0.0]


@pytest.mark.parametrize(
    ("bond", "numbers", "linked"),
    [
        (1.34, (1, 2), True),
        (1.9, (1, 7), True),
        (2.5, (1, 2), True),
        (3.4, (1, 2), True),
        (2.5, (1, 3), False),
        (4.0, (1, 2), False),
    ],
)
def test_stretched_links_hold_where_the_numbers_follow(
    builder, topology_of: TopologyOf, bond: float, numbers: tuple[int, int], linked: bool
) -> None:
    builder.peptide(["ALA", "GLY"], bond=bond)
    builder.structure[0]["A"][1].seqid = gemmi.SeqId(numbers[1], " ")
    structure = builder.finish()
    topology = topology_of(structure)
    assert bool((topology.bonds.kind == BondKind.POLYMER).any()) is linked
    assert bool(len(topology.torsions.of_kind(TorsionKind.OMEGA))) is linked
    if linked:
        assert topology.bonds.target[topology.bonds.kind == BondKind.POLYMER][0] == pytest.approx(1.337, abs=0.01)
        assert (topology.bonds.kind == BondKind.POLYMER).sum() == 1


def test_insertion_codes_follow_each_other(builder, topology_of: TopologyOf) -> None:
    builder.peptide(["ALA", "GLY", "SER"], bond=2.6)
    chain = builder.structure[0]["A"]
    for k, (number, code) in enumerate(((52, " "), (52, "A"), (52, "B"))):
        chain[k].seqid = gemmi.SeqId(number, code)
    topology = topology_of(builder.finish())
    assert (topology.bonds.kind == BondKind.POLYMER).sum() == 2


def cysteine_pair(builder, distance: float) -> None:
    """Two cysteines of different chains whose SG are at a distance; everything else is far away."""
    for chain, sign in (("A", 1.0), ("B", -1.0)):
        own = builder.compound_coordinates("CYS", leave=("OXT",))
        away = own["SG"] - own["CA"]
        away /= np.linalg.norm(away)
        turn = np.array([[sign, 0, 0], [0, 1, 0], [0, 0, sign]])
        basis = np.linalg.qr(np.column_stack([away, [0.3, 0.5, 0.8], [0.1, 0.9, 0.2]]))[0]
        basis[:, 0] = away
        if np.linalg.det(basis) < 0:
            basis[:, 2] *= -1
        moved = {name: turn @ (basis.T @ (x - own["SG"])) - [sign * distance / 2, 0, 0] for name, x in own.items()}
        builder.residue(chain, 1, "CYS", moved)


@pytest.mark.parametrize(("distance", "bound"), [(2.05, True), (1.2, True), (2.95, True), (3.1, False)])
def test_disulfides_are_found_by_distance(builder, topology_of: TopologyOf, distance: float, bound: bool) -> None:
    cysteine_pair(builder, distance)
    topology = topology_of(builder.finish())
    disulfide = topology.bonds.kind == BondKind.DISULFIDE
    assert disulfide.sum() == int(bound)
    if bound:
        assert topology.bonds.target[disulfide][0] == pytest.approx(2.03, abs=0.02)


def test_declared_disulfide_is_not_doubled(builder, topology_of: TopologyOf) -> None:
    cysteine_pair(builder, 2.05)
    connection = gemmi.Connection()
    connection.name, connection.type = "disulf1", gemmi.ConnectionType.Disulf
    for side, chain in (("partner1", "A"), ("partner2", "B")):
        setattr(connection, side, gemmi.AtomAddress(chain, gemmi.SeqId(1, " "), "CYS", "SG"))
    builder.structure.connections.append(connection)
    topology = topology_of(builder.finish())
    assert (topology.bonds.kind == BondKind.DISULFIDE).sum() == 1
    assert sum(link.name == "disulf" for link in topology.links) == 1


def test_impossible_declared_link_is_dropped(builder, topology_of: TopologyOf) -> None:
    cysteine_pair(builder, 9.0)
    connection = gemmi.Connection()
    connection.name, connection.type = "disulf1", gemmi.ConnectionType.Disulf
    for side, chain in (("partner1", "A"), ("partner2", "B")):
        setattr(connection, side, gemmi.AtomAddress(chain, gemmi.SeqId(1, " "), "CYS", "SG"))
    builder.structure.connections.append(connection)
    structure = builder.finish()
    assert (topology_of(structure).bonds.kind == BondKind.DISULFIDE).sum() == 0
    assert len(structure.source.connections) == 1


def with_two_conformers(structure: Structure, residue: int, names: tuple[str, ...], shift: float = 1.0) -> Structure:
    """Split the named atoms of a residue into conformers A and B."""
    model = structure.to_gemmi()
    place = model[0][0][residue]
    for name in names:
        atom = place[name][0]
        atom.altloc, atom.occ = "A", 0.5
        other = atom.clone()
        other.altloc = "B"
        other.pos = atom.pos + gemmi.Position(shift, 0.2, 0.1)
        place.add_atom(other)
    return from_gemmi(model)


def test_conformers_have_their_own_restraints_and_never_mix(builder, topology_of: TopologyOf) -> None:
    builder.peptide(["ALA", "SER", "ALA"])
    structure = with_two_conformers(builder.finish(), 1, ("CA", "CB", "OG"))
    topology = topology_of(structure)
    bonds = named(structure, topology.bonds.atoms)
    for letter in "AB":
        for pair in (f"2:N 2:CA:{letter}", f"2:CA:{letter} 2:C", f"2:CA:{letter} 2:CB:{letter}", f"2:CB:{letter} 2:OG:{letter}"):
            assert frozenset(pair.split()) in bonds
    assert len(bonds) == len(topology.bonds)
    for part in (topology.bonds.atoms, topology.angles.atoms, topology.torsions.atoms, topology.chiralities.atoms):
        codes = topology.conformer[part]
        assert ((codes == 0) | (codes == codes.max(axis=1, keepdims=True))).all()
    assert set(topology.conformer[structure.altloc == "A"]) != set(topology.conformer[structure.altloc == "B"])
    assert (topology.conformer[structure.altloc == ""] == 0).all()


def test_microheterogeneity_links_both_residues_to_their_neighbours(builder, topology_of: TopologyOf) -> None:
    builder.peptide(["ALA", "SER", "ALA"])
    model = builder.finish().to_gemmi()
    chain = model[0][0]
    twin = chain[1].clone()
    twin.name = "THR"
    for residue, letter in ((chain[1], "A"), (twin, "B")):
        for atom in residue:
            atom.altloc, atom.occ = letter, 0.5
    del twin[[atom.name for atom in twin].index("OG")]
    for atom in twin:
        atom.pos += gemmi.Position(0.1, 0.1, 0.1)
    chain.add_residue(twin, 2)
    structure = from_gemmi(model)
    topology = topology_of(structure)
    bonds = bonds_of_kind(structure, topology, BondKind.POLYMER)
    assert bonds == {frozenset(p.split()) for p in ("1:C 2:N:A", "1:C 2:N:B", "2:C:A 3:N", "2:C:B 3:N")}


def test_missing_atoms_take_their_restraints_along(builder, topology_of: TopologyOf) -> None:
    builder.peptide(["ALA", "LEU", "ALA"])
    structure = builder.finish()
    whole = topology_of(structure)
    missing = (structure.names == "CG") & (structure.residue == 1)
    partial = structure.without(missing)
    topology = topology_of(partial)
    assert len(topology.bonds) == len(whole.bonds) - 3
    assert topology.unrestrained.sum() == 2
    assert not (topology.bonds.kind == BondKind.AD_HOC).any()


def test_single_atoms_have_no_restraints(builder, topology_of: TopologyOf) -> None:
    for k in range(4):
        builder.residue("A", k + 1, "ALA", {"CA": np.array([3.8 * k, 0.0, 0.0])})
    builder.residue("B", 1, "HOH", {"O": np.array([0.0, 10.0, 0.0])}, het=True)
    builder.residue("B", 2, "ZN", {"ZN": np.array([0.0, 20.0, 0.0])}, het=True)
    topology = topology_of(builder.finish())
    assert len(topology.bonds) == len(topology.angles) == len(topology.planes) == 0
    assert not topology.unrestrained.any()
    assert len(topology.exclusions.partner) == 0


def test_coinciding_atoms_do_not_stop_the_topology(builder, topology_of: TopologyOf) -> None:
    builder.peptide(["ALA", "VAL"])
    structure = builder.finish()
    positions = structure.positions.copy()
    positions[structure.names == "CB"] = positions[structure.names == "CA"]
    topology = topology_of(structure.moved(positions))
    assert np.isfinite(topology.bonds.target).all()
    assert len(topology.bonds) == len(topology_of(structure).bonds)


def test_unknown_compounds_are_all_named(builder, topology_of: TopologyOf) -> None:
    builder.peptide(["ALA"])
    builder.residue("B", 1, "QQ1", {"C1": np.zeros(3) + 20, "C2": np.zeros(3) + 20.8}, het=True)
    builder.residue("B", 2, "QQ2", {"C1": np.zeros(3) + 30, "C2": np.zeros(3) + 30.8}, het=True)
    with pytest.raises(RestraintError, match="QQ1, QQ2") as caught:
        topology_of(builder.finish())
    assert caught.value.code == "compound_unknown"


def test_ligand_with_foreign_atom_names_is_refused(builder, topology_of: TopologyOf) -> None:
    own = builder.compound_coordinates("ATP")
    builder.residue("A", 1, "ATP", {f"X{k}": x for k, x in enumerate(own.values())}, het=True)
    with pytest.raises(RestraintError, match="ATP 1") as caught:
        topology_of(builder.finish())
    assert caught.value.code == "dictionary_mismatch"


def test_one_atom_that_the_dictionary_lacks_is_tied_to_its_neighbours(builder, topology_of: TopologyOf) -> None:
    own = builder.compound_coordinates("ATP")
    outwards = own["C2"] - (own["N1"] + own["N3"]) / 2
    own["OX9"] = own["C2"] + 1.4 * outwards / np.linalg.norm(outwards)
    builder.residue("A", 1, "ATP", own, het=True)
    structure = builder.finish()
    topology = topology_of(structure)
    assert structure.names[topology.unrestrained].tolist() == ["OX9"]
    assert bonds_of_kind(structure, topology, BondKind.AD_HOC) == {frozenset({"1:OX9", "1:C2"})}


def test_sugar_on_asparagine_is_found_by_distance(builder, topology_of: TopologyOf, place) -> None:
    builder.peptide(["ALA", "ASN", "ALA"])
    residue = builder.structure[0]["A"][1]
    cb, cg, nd2 = (np.array(residue[name][0].pos.tolist()) for name in ("CB", "CG", "ND2"))
    own = builder.compound_coordinates("NAG", leave=("O1",))
    c1 = place(cb, cg, nd2, 1.46, 122.0, 180.0)
    beyond = place(cg, nd2, c1, 1.4, 115.0, 120.0)
    centre = np.mean(list(own.values()), axis=0)
    start, goal = centre - own["C1"], beyond - c1
    rotation = rotation_onto(start, goal)
    builder.residue("B", 1, "NAG", {name: c1 + rotation @ (x - own["C1"]) for name, x in own.items()}, het=True)
    structure = builder.finish()
    topology = topology_of(structure)
    assert bonds_of_kind(structure, topology, BondKind.LINK) == {frozenset({"2:ND2", "1:C1"})}
    assert any(link.name == "pyr-ASN" for link in topology.links)


@pytest.mark.parametrize(("left_out", "distance", "linked"), [("OD2", 1.34, True), ("OD2", 1.9, False), ("", 1.34, False)])
def test_isopeptide_needs_room_and_length(builder, topology_of: TopologyOf, left_out: str, distance: float, linked: bool) -> None:
    builder.peptide(["ALA", "LYS", "ALA"])
    lysine = builder.structure[0]["A"][1]
    ce, nz = (np.array(lysine[name][0].pos.tolist()) for name in ("CE", "NZ"))
    own = builder.compound_coordinates("ASP", leave=("OXT",))
    outwards = (nz - ce) / np.linalg.norm(nz - ce)
    rotation = rotation_onto(own["OD2"] - own["CG"], -outwards)
    anchor = nz + distance * outwards
    own.pop(left_out, None)
    builder.residue("B", 1, "ASP", {name: anchor + rotation @ (x - own["CG"]) for name, x in own.items()})
    structure = builder.finish()
    found = bonds_of_kind(structure, topology_of(structure), BondKind.LINK)
    assert found == ({frozenset({"2:NZ", "1:CG"})} if linked else set())


def rotation_onto(start: np.ndarray, goal: np.ndarray) -> np.ndarray:
    start, goal = start / np.linalg.norm(start), goal / np.linalg.norm(goal)
    middle = start + goal
    return 2 * np.outer(middle, middle) / (middle @ middle) - np.eye(3)


def test_covalent_ligand_without_a_known_link_is_found_but_an_overlap_is_not(builder, topology_of: TopologyOf) -> None:
    for number, offset in ((1, 0.0), (2, 40.0)):
        own = builder.compound_coordinates("CYS", leave=("OXT",))
        moved = {name: x - own["SG"] + [offset, 0, 0] for name, x in own.items()}
        builder.residue("AB"[number - 1], 1, "CYS", moved)
        outwards = moved["SG"] - moved["CB"]
        outwards /= np.linalg.norm(outwards)
        ligand = builder.compound_coordinates("IMD")
        rotation = rotation_onto((ligand["N1"] + ligand["N3"]) / 2 - ligand["C2"], outwards)
        distance = 1.8 if number == 1 else -1.0
        anchor = moved["SG"] + distance * outwards
        atoms = {name: anchor + rotation @ (x - ligand["C2"]) for name, x in ligand.items()}
        builder.residue("CD"[number - 1], 1, "IMD", atoms, het=True)
    structure = builder.finish()
    topology = topology_of(structure)
    links = topology.bonds.atoms[topology.bonds.kind == BondKind.LINK]
    assert named(structure, links) == {frozenset({"1:SG", "1:C2"})}
    assert set(structure.residues.chain[structure.residue[links.ravel()]]) == {"A", "C"}
    held = named(structure, topology.angles.atoms[np.isin(topology.angles.atoms, links).sum(axis=1) == 2])
    for triple in ("1:CB 1:SG 1:C2", "1:SG 1:C2 1:N1", "1:SG 1:C2 1:N3"):
        assert frozenset(triple.split()) in held


def test_metal_coordination_is_weak_and_excluded_from_contacts(builder, topology_of: TopologyOf) -> None:
    own = builder.compound_coordinates("CYS", leave=("OXT",))
    away = (own["SG"] - own["CB"]) / np.linalg.norm(own["SG"] - own["CB"])
    for chain, sign in (("A", 1.0), ("B", -1.0)):
        turn = np.eye(3) if sign > 0 else 2 * np.outer(perpendicular(away), perpendicular(away)) - np.eye(3)
        builder.residue(chain, 1, "CYS", {name: turn @ (x - own["SG"] - 2.3 * away) for name, x in own.items()})
    builder.residue("C", 1, "ZN", {"ZN": np.zeros(3)}, het=True)
    structure = builder.finish()
    topology = topology_of(structure)
    metal = topology.bonds.kind == BondKind.METAL
    assert metal.sum() == 2
    assert (topology.bonds.sigma[metal] >= METAL_SIGMA).all()
    np.testing.assert_allclose(topology.bonds.target[metal], 2.3, atol=0.1)
    zinc = int(np.flatnonzero(structure.names == "ZN")[0])
    assert set(structure.names[topology.exclusions.of(zinc, 2)]) == {"SG"}
    assert not (topology.bonds.kind == BondKind.DISULFIDE).any()


def perpendicular(vector: np.ndarray) -> np.ndarray:
    out = np.cross(vector, [0.3, 0.4, 0.9])
    return out / np.linalg.norm(out)


def test_zinc_between_near_sulphurs_prevents_a_disulfide(builder, topology_of: TopologyOf) -> None:
    cysteine_pair(builder, 2.9)
    assert (topology_of(builder.finish()).bonds.kind == BondKind.DISULFIDE).sum() == 1
    builder.residue("C", 1, "ZN", {"ZN": np.array([0.0, 1.75, 0.0])}, het=True)
    topology = topology_of(builder.finish())
    assert (topology.bonds.kind == BondKind.DISULFIDE).sum() == 0
    assert (topology.bonds.kind == BondKind.METAL).sum() == 2


@pytest.mark.parametrize(("distance", "numbers", "linked"), [(1.6, (1, 2), True), (3.0, (1, 2), True), (3.0, (1, 4), False)])
def test_nucleotides_are_linked_like_peptides(
    builder, topology_of: TopologyOf, distance: float, numbers: tuple[int, int], linked: bool
) -> None:
    first = builder.compound_coordinates("G", leave=("OP3",))
    second = builder.compound_coordinates("A", leave=("OP3",))
    outwards = first["O3'"] - first["C3'"] + first["O3'"] - np.mean(list(first.values()), axis=0)
    outwards /= np.linalg.norm(outwards)
    rotation = rotation_onto(np.mean(list(second.values()), axis=0) - second["P"], outwards)
    builder.residue("A", numbers[0], "G", first)
    start = first["O3'"] + distance * outwards
    builder.residue("A", numbers[1], "A", {name: start + rotation @ (x - second["P"]) for name, x in second.items()})
    structure = builder.finish()
    topology = topology_of(structure)
    polymer = topology.bonds.kind == BondKind.POLYMER
    assert polymer.sum() == int(linked)
    if linked:
        assert {str(name) for name in structure.names[topology.bonds.atoms[polymer][0]]} == {"O3'", "P"}
        assert topology.bonds.target[polymer][0] == pytest.approx(1.607, abs=0.01)


def test_nucleotide_keeps_the_pucker_it_has(builder, topology_of: TopologyOf) -> None:
    builder.residue("A", 1, "G", builder.compound_coordinates("G", leave=("OP3",)))
    structure = builder.finish()
    topology = topology_of(structure)
    sugar = topology.torsions.of_kind(TorsionKind.SUGAR)
    assert len(sugar) == 5
    assert len({label[:3] for label in sugar.label.tolist()}) == 1
    ends = structure.positions[sugar.atoms]
    turn = [np.degrees(gemmi.calculate_dihedral(*(gemmi.Position(*x) for x in quad))) for quad in ends]
    delta = (np.array(turn) - sugar.target + 180) % 360 - 180
    assert np.abs(delta).max() < 25
    assert (topology.torsions.of_kind(TorsionKind.NUCLEIC).sigma >= 20.0).all()


def test_hydrogens_and_old_names_are_restrained(builder, topology_of: TopologyOf) -> None:
    own = builder.compound_coordinates("ALA", hydrogens=True)
    old = {{"H": "H1"}.get(name, name): x for name, x in own.items()}
    builder.residue("A", 1, "ALA", old)
    builder.residue("A", 2, "ALA", {name: x + 30.0 for name, x in own.items() if name == "N"})
    structure = builder.finish()
    topology = topology_of(structure)
    assert not topology.unrestrained.any()
    first = structure.residue == 0
    degree = np.diff(topology.neighbours.first)
    assert (degree[first & structure.is_hydrogen] == 1).all()
    assert (topology.torsions.kind == TorsionKind.HYDROGEN).any()


def test_model_is_not_changed(builder, topology_of: TopologyOf) -> None:
    cysteine_pair(builder, 2.05)
    structure = builder.finish()
    before = structure.source.make_mmcif_document().as_string()
    topology_of(structure)
    assert structure.source.make_mmcif_document().as_string() == before


def test_torsion_kinds_of_a_peptide(builder, topology_of: TopologyOf) -> None:
    builder.peptide(["ARG", "PRO", "PHE"])
    structure = builder.finish()
    torsions = topology_of(structure).torsions
    kinds = {kind: sorted(torsions.label[torsions.kind == kind].tolist()) for kind in TorsionKind}
    assert kinds[TorsionKind.CHI] == ["chi1", "chi1", "chi2", "chi2", "chi3", "chi4"]
    assert kinds[TorsionKind.PHI_PSI] == ["phi", "phi", "psi", "psi"]
    assert kinds[TorsionKind.OMEGA] == ["omega", "omega"]
    assert kinds[TorsionKind.PLANAR] == ["chi5"]
    assert len(kinds[TorsionKind.PROLINE]) >= 4
    omega = torsions.atoms[torsions.kind == TorsionKind.OMEGA]
    assert structure.names[omega].tolist() == [["CA", "C", "N", "CA"]] * 2


@pytest.mark.shared
@pytest.mark.parametrize("pair", ["hb_5ni1", "spike_ntd_origin", "7cec_A", "tmv_6i5a"])
def test_real_models_fit_their_restraints(shared, pair: str) -> None:
    from refinement.structure import read_structure

    structure = read_structure(next((shared / "pairs" / pair).glob("model.[cp]*")))
    topology = build_topology(structure, load_monomer_library(structure.residues.compound.tolist()))
    covalent = np.isin(topology.bonds.kind, (BondKind.INTERNAL, BondKind.POLYMER, BondKind.DISULFIDE, BondKind.LINK))
    assert np.sqrt(np.mean(deviations(structure, topology)[covalent] ** 2)) < 0.02
    bonded = np.diff(topology.neighbours.first) > 0
    lone = np.diff(structure.residues.first)[structure.residue] == 1
    assert (bonded | lone).all()
    if pair == "hb_5ni1":
        assert (topology.bonds.kind == BondKind.METAL).sum() == 4
    if pair == "7cec_A":
        assert (topology.bonds.kind == BondKind.DISULFIDE).sum() == 5


ODD = {
    "1LVZ.cif.gz": 185, "1M4X.cif.gz": 9918, "1lzh.pdb.gz": 0, "3j2w.pdb.gz": 31736, "3J6R.pdb.gz": 17202,
    "4UPY.pdb.gz": 13002, "5a7u.pdb.gz": 460,
    "7kjr.pdb.gz": 3818, "mmcif_7cth.cif.gz": 17056, "pdb5fuu.ent.gz": 21348,
}  # fmt: skip
UNLISTED = {
    "7q1u.pdb.gz": ("HD6", "P1L"), "7qpd.fw2.cif.gz": ("GLC",), "mmcif_6yfy.cif.gz": ("MUB",),
    "multimodel_warning.cif.gz": ("VWW",), "pdb7pbl.pdb.gz": ("AGS",), "6msm.pdb.bz2": ("POV",),
}  # fmt: skip
"""Compounds that no dictionary of ours has: their restraints are made from their chemistry."""


@pytest.mark.shared
@pytest.mark.parametrize("name", ODD)
def test_odd_models_build(shared, name: str) -> None:
    from refinement.structure import read_structure

    structure = read_structure(shared / "odd_models" / name)
    topology = build_topology(structure, load_monomer_library(structure.residues.compound.tolist()))
    assert len(topology.bonds) >= ODD[name]
    assert len(topology) == len(structure)
    assert (topology.bonds.sigma > 0).all()


@pytest.mark.shared
@pytest.mark.parametrize("name", UNLISTED)
def test_odd_models_with_unlisted_compounds_build(shared, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from refinement.structure import read_structure

    monkeypatch.delenv("CLIBD_MON", raising=False)
    structure = read_structure(shared / "odd_models" / name)
    library = load_monomer_library(structure.residues.compound.tolist())
    topology = build_topology(structure, library)
    for compound in UNLISTED[name]:
        rows = np.flatnonzero(structure.residues.compound[structure.residue] == compound)
        # a connected residue has at least one bond fewer than atoms; parts of it may be missing from the model
        ends = np.isin(topology.bonds.atoms, rows).all(axis=1)
        assert ends.sum() >= 0.9 * (len(rows) - len(np.unique(structure.residue[rows])))
    assert (topology.bonds.sigma > 0).all()
