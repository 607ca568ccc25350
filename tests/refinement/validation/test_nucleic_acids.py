"""Suites, sugar puckers, backbone and base pairs of nucleotides."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from curation.example_model import build_truth
from refinement import tables
from refinement.geometry import dihedrals
from refinement.nucleotides import parent_bases, riboses, with_present_names
from refinement.restraints.library import load_monomer_library
from refinement.restraints.nucleic_targets import nucleic_targets
from refinement.restraints.topology import build_topology
from refinement.structure import ResidueKind, Structure, from_gemmi
from refinement.validation.base_pairs import base_pairs
from refinement.validation.nucleic_backbone import nucleic_backbone
from refinement.validation.sugar_pucker import sugar_pucker
from refinement.validation.suites import ANGLES, INCOMPLETE, OUTLIER, name_suites, suites

if TYPE_CHECKING:
    from collections.abc import Callable

    import gemmi
    from numpy.typing import NDArray

    from refinement.restraints.arrays import Angles, Bonds

VECTORS = Path(__file__).resolve().parents[2] / "data" / "rna_suites.csv"
"""Torsion angles with the conformer and suiteness that suitename gives (cctbx 2025.11)."""


@pytest.fixture(scope="module")
def hairpin() -> Structure:
    """The RNA of the example: GGACGAAAGUCC, four pairs in the stem."""
    truth = from_gemmi(build_truth())
    return truth.without((truth.residues.kind != ResidueKind.NUCLEIC)[truth.residue])


def edited(structure: Structure, edit: Callable[[gemmi.Model], None]) -> Structure:
    source = structure.to_gemmi()
    edit(source[0])
    return from_gemmi(source)


def atom(structure: Structure, number: int, name: str) -> int:
    rows = np.flatnonzero((structure.residues.number[structure.residue] == number) & (structure.names == name))
    return int(rows[0])


def without(structure: Structure, number: int, *names: str) -> Structure:
    return structure.without((structure.residues.number[structure.residue] == number) & np.isin(structure.names, names))


def shifted(structure: Structure, number: int, name: str, shift: tuple[float, float, float]) -> Structure:
    positions = structure.positions.copy()
    positions[atom(structure, number, name)] += shift
    return structure.moved(positions)


def split(structure: Structure, number: int, names: set[str], letters: str = "AB") -> Structure:
    def edit(model: gemmi.Model) -> None:
        residue = next(r for r in model[0] if r.seqid.num == number)
        for k in reversed(range(len(residue))):
            if residue[k].name in names:
                for letter in letters[1:]:
                    other = residue[k].clone()
                    other.altloc = letter
                    residue.add_atom(other)
                residue[k].altloc = letters[0]

    return edited(structure, edit)


def as_dna(structure: Structure) -> Structure:
    def edit(model: gemmi.Model) -> None:
        for residue in model[0]:
            residue.name = {"U": "DT"}.get(residue.name, f"D{residue.name}")

    bare = structure.without(structure.names == "O2'")
    return edited(bare, edit)


# -------------------------------------------------------------------------------------------------- suites


def vectors() -> tuple[NDArray[np.float64], list[dict[str, str]]]:
    with VECTORS.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    return np.array([[float(row[angle]) for angle in ANGLES] for row in rows]), rows


def test_conformers_and_suiteness_are_those_of_suitename() -> None:
    angles, rows = vectors()
    found = name_suites(angles)
    assert found.name.tolist() == [row["name"] for row in rows]
    assert found.cause.tolist() == [row["cause"] for row in rows]
    np.testing.assert_allclose(found.suiteness, [float(row["suiteness"]) for row in rows], atol=1e-6)


def test_vectors_cover_every_bin_and_every_way_to_decide() -> None:
    _, rows = vectors()
    assert {row["bin"] for row in rows} == {f"{a}{b}{g}" for a in "23" for b in "23" for g in "ptm"} | {"trig"}
    assert {row["decided"] for row in rows} == {
        "one", "nearest", "between", "outside", "dominant", "none near", "empty bin", "triage",
    }  # fmt: skip
    assert {row["cause"] for row in rows} == {"", *ANGLES}
    assert {row["cluster"] for row in tables.rows("rna_suite_clusters")} <= {row["name"] for row in rows}


def test_centres_of_the_conformers_are_theirs() -> None:
    rows = tables.rows("rna_suite_clusters")
    columns = ("delta_minus", "epsilon_minus", "zeta_minus", "alpha", "beta", "gamma", "delta")
    found = name_suites(np.array([[float(row[column]) for column in columns] for row in rows]))
    assert found.name.tolist() == [row["cluster"] for row in rows]
    np.testing.assert_allclose(found.suiteness, 1.0)


@pytest.mark.parametrize(
    ("angle", "edge", "step"),
    [
        ("epsilon", 155, -1),
        ("epsilon", 310, 1),
        ("zeta", 335, 1),
        ("beta", 290, 1),
        ("alpha", 335, 1),
        ("gamma", 20, -1),
        ("delta", 105, 1),
        ("delta_minus", 60, -1),
    ],
)
def test_limits_belong_to_the_range(angle: str, edge: float, step: float) -> None:
    suite = np.array([[81.5, 212.2, 288.8, 295.0, 174.0, 53.5, 81.0]])
    suite[0, ANGLES.index(angle)] = edge
    assert name_suites(suite).cause.tolist() == [""]
    suite[0, ANGLES.index(angle)] += 0.01 * step
    beyond = name_suites(suite)
    assert (beyond.name.tolist(), beyond.cause.tolist(), beyond.suiteness.tolist()) == ([OUTLIER], [angle], [0.0])


def test_first_bad_angle_is_named_and_missing_ones_make_a_suite_incomplete() -> None:
    assert name_suites(np.array([[0.0, 0, 0, 0, 0, 0, 0]])).cause.tolist() == ["epsilon"]
    assert name_suites(np.array([[81.0, 212, 0, 0, 174, 53, 81]])).cause.tolist() == ["alpha"]
    found = name_suites(np.array([[np.nan, 0, 0, 0, 0, 0, 0]]))
    assert (found.name.tolist(), found.cause.tolist()) == ([INCOMPLETE], [""])
    assert np.isnan(found.suiteness).all()
    assert not len(name_suites(np.empty((0, 7))).name)


def test_suites_of_the_hairpin(hairpin: Structure) -> None:
    found = suites(hairpin)
    assert found.found.name.tolist() == ["__", "1a", "1a", "1a", "1a", "1g", "1a", "1a", "1c", "1a", "1a", "1a"]
    assert found.mean_suiteness == pytest.approx(0.93210, abs=2e-3)
    assert found.summary == {"na_suite_outliers": 0.0}
    assert found.columns["suite"].tolist() == found.found.name.tolist()
    own = [atom(hairpin, 3, name) for name in ("P", "O5'", "C5'", "C4'")]
    assert found.angles[2, 4] == pytest.approx(float(dihedrals(hairpin.positions, *np.array(own)[:, None])[0]) % 360)


@pytest.mark.parametrize("name", ["P", "O5'", "C5'", "C4'", "C3'"])
def test_missing_backbone_atoms_leave_incomplete_suites(hairpin: Structure, name: str) -> None:
    found = suites(without(hairpin, 5, name))
    incomplete = set(np.flatnonzero(found.found.name == INCOMPLETE).tolist())
    assert incomplete == ({0, 4} if name in {"P", "O5'"} else {0, 4, 5})
    assert len(found.residue) == 12


def test_chain_breaks_and_missing_residues_separate_suites(hairpin: Structure) -> None:
    gap = suites(hairpin.without(hairpin.residues.number[hairpin.residue] == 5))
    assert np.flatnonzero(gap.found.name == INCOMPLETE).tolist() == [0, 4]
    far = suites(shifted(hairpin, 4, "O3'", (20.0, 0, 0)))
    assert INCOMPLETE in far.found.name[4:5]
    alone = suites(hairpin.without(hairpin.residues.number[hairpin.residue] != 5))
    assert alone.reasons == {"na_suite_outliers": "not_applicable"}
    assert alone.mean_suiteness is None


def test_dna_has_no_suites_and_no_riboses_but_pairs(hairpin: Structure) -> None:
    dna = as_dna(hairpin)
    for result in (suites(dna), sugar_pucker(dna)):
        assert list(result.reasons.values()) == ["not_applicable"]
        assert list(result.summary.values()) == [None]
        assert result.details == {}
    assert [pair.kind for pair in base_pairs(dna).pairs] == ["Watson-Crick"] * 4
    hybrid = suites(without(hairpin, 1, "O2'"))  # a suite belongs to a ribonucleotide and needs one before it
    assert hybrid.residue.tolist() == list(range(1, 12))
    assert hybrid.found.name[:2].tolist() == ["__", "1a"]


def test_alternates_count_once_each(hairpin: Structure) -> None:
    apart = split(hairpin, 5, {"P"})
    positions = apart.positions.copy()
    positions[apart.altloc == "B"] += 0.3
    found = suites(apart.moved(positions))
    assert found.residue.tolist() == [0, 1, 2, 3, 4, 4, *range(5, 12)]
    assert len(sugar_pucker(apart).outlier) == 13  # nucleotide 4, whose phosphate is split
    assert suites(split(hairpin, 5, {"N3"})).residue.tolist() == list(range(12))
    assert len(suites(split(hairpin, 5, {"C4'"}, "CB")).residue) == 14


def test_long_chain_names_and_modified_nucleotides(hairpin: Structure) -> None:
    def edit(model: gemmi.Model) -> None:
        model[0].name = "RNA23"
        model[0][4].name = "2MG"

    changed = edited(hairpin, edit)
    assert suites(changed).found.name.tolist() == suites(hairpin).found.name.tolist()
    assert 4 not in sugar_pucker(changed).riboses.residue
    assert parent_bases(changed).tolist() == parent_bases(hairpin).tolist() == list("GGACGAAAGUCC")


# ------------------------------------------------------------------------------------------------- puckers


def test_puckers_of_the_hairpin(hairpin: Structure) -> None:
    found = sugar_pucker(hairpin)
    assert found.summary == {"na_pucker_outliers": 0.0}
    assert not found.riboses.c2_endo.any()
    np.testing.assert_allclose(found.riboses.delta[:3], [83.8, 84.0, 83.9], atol=0.1)
    np.testing.assert_allclose(found.riboses.epsilon[:3], [208.0, 210.2, 211.3], atol=0.1)
    np.testing.assert_allclose(found.riboses.p_perp[:3], [4.524, 4.535, 4.543], atol=3e-3)
    assert np.isnan([found.riboses.epsilon[-1], found.riboses.p_perp[-1]]).all()


def test_a_phosphate_near_the_glycosidic_line_asks_for_c2_endo(hairpin: Structure) -> None:
    """The next P is turned about C3'-O3' until it lies close to the line: the C3'-endo sugar is an outlier then."""
    axis = [atom(hairpin, 6, "C3'"), atom(hairpin, 6, "O3'")]
    p = atom(hairpin, 7, "P")
    origin = hairpin.positions[axis[1]]
    seen = []
    for turn in range(0, 360, 5):
        positions = hairpin.positions.copy()
        positions[p] = origin + turned_about(origin - positions[axis[0]], turn) @ (positions[p] - origin)
        turned = sugar_pucker(hairpin.moved(positions))
        row = int(np.flatnonzero(turned.riboses.residue == 5)[0])
        own = turned.riboses
        near = own.p_perp[row] < 2.9
        assert own.c2_endo[row] == near
        assert turned.delta_outlier[row] == near  # δ is 84°, right for C3'-endo
        assert turned.epsilon_outlier[row] == (not 155 <= own.epsilon[row] <= 310)
        seen.append(near)
    assert any(seen)
    assert not all(seen)


def test_o3_stands_in_for_a_missing_phosphate(hairpin: Structure) -> None:
    assert not sugar_pucker(hairpin).riboses.c2_endo[-1]
    last = atom(hairpin, 12, "O3'")
    line = [hairpin.positions[atom(hairpin, 12, name)] for name in ("C1'", "N1")]
    c3 = hairpin.positions[atom(hairpin, 12, "C3'")]
    unit = (line[1] - line[0]) / np.linalg.norm(line[1] - line[0])
    towards = line[0] + unit * (unit @ (c3 - line[0])) - c3
    positions = hairpin.positions.copy()
    positions[last] = c3 + 1.42 * towards / np.linalg.norm(towards)
    assert sugar_pucker(hairpin.moved(positions)).riboses.c2_endo[-1]


def test_incomplete_and_torn_riboses(hairpin: Structure) -> None:
    for name in ("C2'", "O4'", "O2'", "OP1"):
        assert 4 not in riboses(without(hairpin, 5, name)).residue
    assert 4 in riboses(without(hairpin, 5, "P", "OP1", "OP2")).residue
    assert 4 not in riboses(shifted(hairpin, 5, "O4'", (2.0, 0, 0))).residue
    bond = hairpin.positions[atom(hairpin, 5, "C5'")] - hairpin.positions[atom(hairpin, 5, "C4'")]
    stretched = sugar_pucker(shifted(hairpin, 5, "C5'", tuple(bond * (1.85 / np.linalg.norm(bond) - 1))))
    row = stretched.riboses.residue.tolist().index(4)
    assert not stretched.riboses.sound[row]
    assert not stretched.outlier[row]
    assert np.isnan(stretched.columns["pucker_outlier"][4])
    assert len(stretched.outlier) == 12  # still one of the riboses
    base = (hairpin.residue == 4) & ~np.char.endswith(hairpin.names, "'") & ~np.isin(hairpin.names, ("P", "OP1", "OP2"))
    baseless = sugar_pucker(hairpin.without(base))
    assert np.isnan(baseless.columns["pucker_p_perp"][4])
    assert baseless.columns["pucker_outlier"][4] == 0


def test_atom_names_of_before_2007(hairpin: Structure) -> None:
    def edit(model: gemmi.Model) -> None:
        for residue in model[0]:
            for site in residue:
                site.name = site.name.replace("'", "*").replace("OP1", "O1P").replace("OP2", "O2P")

    old = edited(hairpin, edit)
    assert "C1*" in old.names
    np.testing.assert_array_equal(with_present_names(old).names, hairpin.names)
    assert with_present_names(hairpin) is hairpin
    np.testing.assert_array_equal(sugar_pucker(old).riboses.delta, sugar_pucker(hairpin).riboses.delta)
    np.testing.assert_array_equal(suites(old).found.name, suites(hairpin).found.name)


def test_models_without_nucleotides(structure_of: Callable[..., Structure]) -> None:
    water = structure_of([("A", 1, "HOH", "O", "O")], [[0, 0, 0]])
    for result in (sugar_pucker(water), suites(water)):
        assert list(result.reasons.values()) == ["not_applicable"]
    pairs = base_pairs(water)
    assert (pairs.summary, pairs.details, pairs.pairs) == ({}, {}, ())
    assert np.isnan(pairs.columns["base_pairs"]).all()


# -------------------------------------------------------------------------------------- backbone and targets


def test_targets_follow_the_pucker(hairpin: Structure) -> None:
    topology = build_topology(hairpin, load_monomer_library(["A", "C", "G", "U"]))
    bonds, angles = nucleic_targets(hairpin, topology.bonds, topology.angles)

    def target(restraints: Bonds | Angles, *names: str) -> tuple[float, float]:
        wanted = [atom(hairpin, int(name[0]), name[1:]) for name in names]
        mine = next(k for k, own in enumerate(restraints.atoms.tolist()) if own in (wanted, wanted[::-1]))
        return float(restraints.target[mine]), float(restraints.sigma[mine])

    assert target(bonds, "3C1'", "3N9") == (1.475, 0.015)
    assert target(bonds, "3N9", "3C8") == (1.373, 0.008)  # base of A
    assert target(bonds, "3O3'", "4P") == (1.607, 0.012)
    assert target(angles, "3C3'", "3O3'", "4P") == (119.7, 1.2)
    assert target(angles, "4O4'", "4C1'", "4N1") == (108.5, 1.5)
    positions = hairpin.positions.copy()  # P of 4 on the glycosidic line of 3, at bonding distance of O3'
    c1, n9, o3 = (positions[atom(hairpin, 3, name)] for name in ("C1'", "N9", "O3'"))
    unit = (n9 - c1) / np.linalg.norm(n9 - c1)
    foot = c1 + unit * (unit @ (o3 - c1))
    positions[atom(hairpin, 4, "P")] = o3 + 1.6 * (foot - o3) / np.linalg.norm(foot - o3)
    changed = nucleic_targets(hairpin.moved(positions), topology.bonds, topology.angles)
    bonds, angles = changed
    assert target(bonds, "3C1'", "3N9") == (1.464, 0.014)
    assert target(angles, "3C3'", "3O3'", "4P") == (120.2, 1.5)
    assert target(bonds, "3N9", "3C8") == (1.373, 0.008)


def test_backbone_outliers_are_found_and_counted_for_their_nucleotides(hairpin: Structure) -> None:
    topology = build_topology(hairpin, load_monomer_library(["A", "C", "G", "U"]))
    sound = nucleic_backbone(hairpin, topology)
    assert (len(sound.bonds), len(sound.angles)) == (164, 256)
    assert np.nansum(sound.columns["na_backbone_outliers"]) == 0
    i, j = atom(hairpin, 5, "O3'"), atom(hairpin, 6, "P")
    positions = hairpin.positions.copy()
    line = positions[j] - positions[i]
    positions[i] += line * (1 - (1.607 - 4.05 * 0.012) / np.linalg.norm(line))
    found = nucleic_backbone(hairpin.moved(positions), topology)
    short = np.flatnonzero(np.abs(found.bond_z) >= 4)
    worst = found.bond_z[[k for k in short.tolist() if set(found.bonds.atoms[k].tolist()) == {i, j}]]
    np.testing.assert_allclose(worst, [-4.05], atol=1e-6)
    assert (found.columns["na_backbone_outliers"][[4, 5]] >= 1).all()
    listed = found.details["nucleic_backbone"]["bonds"]["list"]  # type: ignore[index]
    assert "C/G 5 O3'" in [name for entry in listed for name in entry["atoms"]]


# ---------------------------------------------------------------------------------------------- base pairs


def test_pairs_and_stacks_of_the_hairpin(hairpin: Structure) -> None:
    found = base_pairs(hairpin)
    assert [(pair.residues, pair.saenger) for pair in found.pairs] == [
        ((11, 0), "XIX"), ((10, 1), "XIX"), ((2, 9), "XX"), ((3, 8), "XIX"),
    ]  # fmt: skip
    names = {(a, b) for a, b, _ in found.pairs[0].hydrogen_bonds}
    assert names == {("N4", "O6"), ("N3", "N1"), ("O2", "N2")}
    assert all(2.6 < length < 3.2 for pair in found.pairs for *_, length in pair.hydrogen_bonds)
    assert found.columns["base_pairs"].tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1]
    assert {stack.residues for stack in found.stacks} >= {(0, 1), (1, 2), (2, 3), (9, 10), (10, 11)}
    assert all(stack.tilt < 30 and stack.offset < 40 and 2.8 < stack.distance < 5.5 for stack in found.stacks)
    assert found.details["base_pairs"]["by_kind"] == {"Watson-Crick": 4}  # type: ignore[index]


def test_pairs_do_not_depend_on_frame_or_order_of_atoms(hairpin: Structure) -> None:
    reference = [(sorted(pair.residues), pair.saenger) for pair in base_pairs(hairpin).pairs]
    turn = turned_about(np.array([1.0, 2.0, -0.5]), 77.0)
    moved = hairpin.moved(hairpin.positions @ turn.T + [11.0, -200.0, 33.0])

    def shuffle(model: gemmi.Model) -> None:
        for residue in model[0]:
            sites = [site.clone() for site in residue][::-1]
            for k in reversed(range(len(residue))):
                del residue[k]
            for site in sites:
                residue.add_atom(site)

    for other in (moved, edited(hairpin, shuffle)):
        assert [(sorted(pair.residues), pair.saenger) for pair in base_pairs(other).pairs] == reference
        assert len(base_pairs(other).stacks) == len(base_pairs(hairpin).stacks)
        assert suites(other).found.name.tolist() == suites(hairpin).found.name.tolist()
        np.testing.assert_allclose(sugar_pucker(other).riboses.p_perp, sugar_pucker(hairpin).riboses.p_perp, atol=1e-8)


def turned_about(axis: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    unit, angle = axis / np.linalg.norm(axis), np.radians(degrees)
    cross = np.cross(np.eye(3), unit)
    return np.cos(angle) * np.eye(3) - np.sin(angle) * cross + (1 - np.cos(angle)) * np.outer(unit, unit)


def test_a_pair_in_two_conformers_is_listed_once(hairpin: Structure) -> None:
    both = split(hairpin, 3, {"N1", "N6", "C6", "C2", "N3", "C4", "C5"})
    assert len(base_pairs(both).pairs) == 4
    assert base_pairs(both).columns["base_pairs"][2] == 1
    assert len(base_pairs(without(hairpin, 3, "N6")).pairs) == 3
    assert len(base_pairs(without(hairpin, 3, "N9", "C8", "N7", "C4", "C5", "C2")).pairs) == 3
