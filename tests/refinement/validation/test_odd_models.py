"""Models with trouble in them: nothing stops validation, and every metric is right or missing for a named reason."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from curation.example_model import build_truth
from refinement.errors import CeresError
from refinement.maps.density import Density
from refinement.output import clean, write_json, write_residues
from refinement.report.page import report
from refinement.report.run_files import read_run
from refinement.restraints.hydrogens import add_hydrogens
from refinement.restraints.library import load_monomer_library
from refinement.structure import Structure, from_gemmi, read_structure
from refinement.validation.registry import BY_KEY, METRICS, REASONS, Group
from refinement.validation.table_one import Validation, validate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LAST = 30
"""Residues of the protein that most tests need: 1 to this."""
PROTEIN_KEYS = ("rama_favored", "rama_z", "rotamer_outliers", "cbeta_deviations", "twisted_peptides", "emringer")
RNA_KEYS = ("na_pucker_outliers", "na_suite_outliers")
GEOMETRY = ("bonds_rmsd", "bonds_rmsz", "angles_rmsd", "angles_rmsz", "chirality_outliers", "planarity_outliers")
MODEL_KEYS = [metric.key for metric in METRICS if metric.group is Group.MODEL]


@pytest.fixture(scope="module")
def truth() -> gemmi.Structure:
    """Two protein chains, an RNA hairpin, ATP, magnesium, waters."""
    return build_truth()


@pytest.fixture
def protein(truth: gemmi.Structure) -> gemmi.Structure:
    """The first residues of one chain."""
    source = truth.clone()
    keep(source, "A")
    chain = source[0]["A"]
    while len(chain) > LAST:
        del chain[len(chain) - 1]
    return source


def keep(source: gemmi.Structure, *chains: str) -> None:
    """Drop all other chains."""
    for name in [chain.name for chain in source[0] if chain.name not in chains]:
        source[0].remove_chain(name)
    source.connections.clear()


def noise(structure: Structure, *, margin: float = 6.0, flat: bool = False) -> Density:
    """A map of noise around a model."""
    low = structure.positions.min(axis=0) - margin
    dims = np.ceil((structure.positions.max(axis=0) + margin - low) / 1.5).astype(int)
    values = np.zeros(dims) if flat else np.random.default_rng(0).normal(size=dims)
    return Density(values.astype(np.float32), gemmi.UnitCell(*(1.5 * dims), 90, 90, 90), low)


def table_of(source: gemmi.Structure, density: Density | None = None) -> Validation:
    """Validate, and look that everything is a number or has a reason."""
    structure = from_gemmi(source)
    found = validate(structure, density or noise(structure), resolution=3.0, contour=1.0)
    assert_sound(found, structure)
    return found


def assert_sound(found: Validation, structure: Structure) -> None:
    assert found.metrics.keys() >= BY_KEY.keys()
    for key, value in found.metrics.items():
        assert value is None or math.isfinite(value), key
        assert (value is None) == (key in found.reasons), key
        assert found.reasons.get(key, "failed") in REASONS, key
        assert found.reasons.get(key) != "failed", key
    for name, values in found.residues.items():
        assert values.shape == (len(structure.residues),), name
    for part in (found.metrics, found.details, found.curves, found.chains):
        json.dumps(clean(part), allow_nan=False)


def each_atom(source: gemmi.Structure, change: Callable[[gemmi.Atom], None]) -> None:
    for site in source[0].all():
        change(site.atom)


def strip(residue: gemmi.Residue, doomed: Callable[[gemmi.Atom], bool]) -> None:
    """Delete atoms of a residue."""
    for place in reversed(range(len(residue))):
        if doomed(residue[place]):
            del residue[place]


def same(one: Validation, other: Validation, keys: tuple[str, ...] | list[str], *, relative: float = 1e-6) -> None:
    for key in keys:
        expected = one.metrics[key]
        assert other.metrics[key] == (expected if expected is None else pytest.approx(expected, rel=relative, abs=1e-6)), key


# ------------------------------------------------------------------------------------------ alternates, occupancies


def split(residue: gemmi.Residue, letters: str = "AB", shift: float = 0.0) -> None:
    """Give the side chain of a residue one position for each letter."""
    side = [k for k, atom in enumerate(residue) if atom.name not in ("N", "CA", "C", "O")]
    for number, letter in enumerate(letters):
        for k in side:
            atom = residue[k] if number == 0 else residue[k].clone()
            atom.altloc, atom.occ = letter, 1.0 / len(letters)
            atom.pos += gemmi.Position(0.0, 0.0, number * shift)
            if number:
                residue.add_atom(atom)


def test_alternates_at_one_place_change_nothing(protein: gemmi.Structure) -> None:
    plain = table_of(protein)
    for number in (2, 4, 7):
        split(protein[0]["A"][number])
    found = table_of(protein)
    same(
        plain, found, ["rama_favored", "rama_z", "rotamer_outliers", "cbeta_deviations", "bonds_rmsz", "emringer"], relative=0.05
    )
    assert found.details["composition"]["atoms_with_alternates"] > 20


@pytest.mark.parametrize("letters", ["AB", "BC", "ABC", "A", "12"])
def test_alternates_of_any_letters(protein: gemmi.Structure, letters: str) -> None:
    for number in (2, 4, 7):
        split(protein[0]["A"][number], letters, 0.4)
    found = table_of(protein)
    assert all(found.metrics[key] is not None for key in PROTEIN_KEYS)
    assert found.metrics["clashscore"] < 200


def test_whole_residues_with_alternates(protein: gemmi.Structure) -> None:
    for residue in protein[0]["A"]:
        for atom in [atom.clone() for atom in residue]:
            atom.altloc, atom.occ = "B", 0.5
            atom.pos += gemmi.Position(0.3, 0.2, 0.1)
            residue.add_atom(atom)
        for atom in list(residue)[: len(residue) // 2]:
            atom.altloc, atom.occ = "A", 0.5
    found = table_of(protein)
    assert found.metrics["rama_favored"] is not None
    assert found.metrics["min_nonbonded_distance"] > 1.0


def test_microheterogeneity(protein: gemmi.Structure) -> None:
    """Serine and threonine at one place, each with its letter."""
    plain = table_of(protein)
    chain = protein[0]["A"]
    other = chain[3].clone()
    other.name = "SER"
    strip(other, lambda atom: atom.name == "CG2")
    other["OG1"][0].name = "OG"
    for residue, letter in ((chain[3], "A"), (other, "B")):
        for atom in residue:
            atom.altloc, atom.occ = letter, 0.5
    chain.add_residue(other, 4)
    found = table_of(protein)
    assert len(found.residues["phi"]) == len(plain.residues["phi"]) + 1
    same(plain, found, ["rama_outliers", "cis_nonproline", "twisted_peptides"])
    assert found.metrics["clashscore"] < plain.metrics["clashscore"] + 5


@pytest.mark.parametrize("occupancy", [0.0, 0.3, 1.5, -0.5])
def test_occupancies(protein: gemmi.Structure, occupancy: float) -> None:
    for atom in protein[0]["A"][5]:
        atom.occ = occupancy
    found = table_of(protein)
    listed = found.details["occupancies"]
    assert (listed["zero"], listed["negative"], listed["above_one"]) != (0, 0, 0) or occupancy == 0.3


def test_nothing_is_occupied(protein: gemmi.Structure) -> None:
    each_atom(protein, lambda atom: setattr(atom, "occ", 0.0))
    found = table_of(protein)
    assert found.metrics["clashscore"] in (None, 0.0)
    assert found.metrics["rama_favored"] is not None


@pytest.mark.parametrize("b_iso", [0.0, 1e4, -5.0])
def test_b_factors(protein: gemmi.Structure, b_iso: float) -> None:
    each_atom(protein, lambda atom: setattr(atom, "b_iso", b_iso))
    assert table_of(protein).metrics["cc_mask"] is not None


# ------------------------------------------------------------------------------------------------ numbers and names


def test_insertion_codes_are_only_names(protein: gemmi.Structure) -> None:
    """Rama-Z aside: its helices and strands are runs of consecutive numbers, as in the reference program."""
    plain = table_of(protein)
    for place, residue in enumerate(protein[0]["A"]):
        residue.seqid = gemmi.SeqId(10 + place // 3, " AB"[place % 3])
    found = table_of(protein)
    same(plain, found, [key for key in MODEL_KEYS if not key.startswith("rama_z")])
    np.testing.assert_allclose(found.residues["phi"], plain.residues["phi"], equal_nan=True)


def test_numbers_that_go_backwards(protein: gemmi.Structure) -> None:
    plain = table_of(protein)
    for place, residue in enumerate(protein[0]["A"]):
        residue.seqid = gemmi.SeqId(20 - place, " ")
    same(plain, table_of(protein), ["rama_favored", "rotamer_outliers", "cbeta_deviations", "bonds_rmsd", "angles_rmsd"])


def test_all_residues_have_one_number(protein: gemmi.Structure) -> None:
    for residue in protein[0]["A"]:
        residue.seqid = gemmi.SeqId(1, " ")
    assert table_of(protein).metrics["cc_mask"] is not None


@pytest.mark.parametrize("name", ["AAAA", "A-1", "heavy chain", "Ä"])
def test_chain_names(protein: gemmi.Structure, name: str) -> None:
    plain = table_of(protein)
    protein.rename_chain("A", name)
    found = table_of(protein)
    assert list(found.chains) == [name]
    same(plain, found, [*MODEL_KEYS, "cc_mask", "q_score"])


# ------------------------------------------------------------------------------------------------------ missing atoms


@pytest.mark.parametrize(
    "kept",
    [("CA",), ("N", "CA", "C"), ("N", "CA", "C", "O", "CB"), ("CA", "CB")],
    ids=["trace", "backbone", "polyalanine", "stubs"],
)
def test_truncated_models(protein: gemmi.Structure, kept: tuple[str, ...]) -> None:
    for residue in protein[0]["A"]:
        strip(residue, lambda atom: atom.name not in kept)
    found = table_of(protein)
    complete = {"N", "CA", "C"} <= set(kept)
    assert (found.metrics["rama_favored"] is not None) == complete
    assert found.metrics["rotamer_outliers"] is None
    assert found.reasons["rotamer_outliers"] == "not_applicable"
    assert found.reasons["molprobity_score"] == "component_missing"
    assert found.metrics["q_score"] is not None
    if kept == ("CA",):
        assert found.reasons["bonds_rmsd"] == "not_applicable"


def test_atoms_missing_here_and_there(protein: gemmi.Structure) -> None:
    rng = np.random.default_rng(3)
    for residue in protein[0]["A"]:
        strip(residue, lambda atom: atom.name != "CA" and rng.random() < 0.15)
    found = table_of(protein)
    assert 0 < np.isfinite(found.residues["phi"]).sum() < 28


def test_gaps(protein: gemmi.Structure) -> None:
    """A residue at the edge of a gap has no φ or no ψ."""
    chain = protein[0]["A"]
    for number in (20, 10):
        del chain[number]
    found = table_of(protein)
    assert int(np.isfinite(found.residues["phi"]).sum()) == LAST - 2 - 6


def test_single_residues(truth: gemmi.Structure) -> None:
    """A residue in each chain."""
    source = gemmi.Structure()
    source.add_model(gemmi.Model(1))
    for number, (name, place) in enumerate((("A", 4), ("A", 8), ("B", 3), ("C", 2), ("C", 3))):
        chain = source[0].add_chain(gemmi.Chain(f"S{number}"))
        chain.add_residue(truth[0][name][place])
    found = table_of(source)
    assert found.reasons["rama_favored"] == "not_applicable"
    assert found.reasons["twisted_peptides"] == "not_applicable"
    assert found.metrics["rotamer_outliers"] is not None
    assert found.metrics["bonds_rmsd"] is not None


@pytest.mark.parametrize(("chain", "place", "name"), [("A", 0, "CA"), ("E", 0, "MG"), ("W", 0, "O"), ("C", 0, "P")])
def test_a_single_atom(truth: gemmi.Structure, chain: str, place: int, name: str) -> None:
    source = gemmi.Structure()
    source.add_model(gemmi.Model(1))
    residue = truth[0][chain][place].clone()
    strip(residue, lambda atom: atom.name != name)
    if len(residue) == 0:
        residue.add_atom(truth[0][chain][place + 1][name][0])
    source[0].add_chain(gemmi.Chain("X")).add_residue(residue)
    found = table_of(source)
    assert found.reasons["min_nonbonded_distance"] == "not_applicable"
    assert all(found.metrics[key] is None for key in GEOMETRY)


# --------------------------------------------------------------------------------------------------------- compounds


def test_unknown_residues(protein: gemmi.Structure) -> None:
    """An all-UNK chain has a main chain but no rotamers."""
    for residue in protein[0]["A"]:
        strip(residue, lambda atom: atom.name not in ("N", "CA", "C", "O", "CB"))
        residue.name = "UNK"
    found = table_of(protein)
    assert found.reasons["rotamer_outliers"] == "not_applicable"
    assert found.reasons["emringer"] == "not_applicable"
    assert found.metrics["clashscore"] is not None
    assert found.metrics["cc_mask"] is not None


def test_d_amino_acids(protein: gemmi.Structure) -> None:
    """A model that calls L-alanine its mirror image: the wrong hand shows, all else goes on."""
    chain = protein[0]["A"]
    alanines = [residue for residue in chain if residue.name == "ALA"]
    assert alanines
    for residue in alanines:
        residue.name = "DAL"
    found = table_of(protein)
    assert found.details["unknown_compounds"] == []
    assert found.metrics["chirality_outliers"] == len(alanines)
    rows = from_gemmi(protein).residues.compound == "DAL"
    assert not np.isfinite(found.residues["rotamer_score"][rows]).any()
    assert np.isfinite(found.residues["q_score"][rows]).all()
    assert np.isfinite(found.residues["bond_z_max"][~rows]).all()
    assert found.metrics["bonds_rmsd"] is not None


def test_mirrored_model_is_an_outlier_everywhere(protein: gemmi.Structure) -> None:
    """D-amino acids under L names."""
    plain = table_of(protein)
    each_atom(protein, lambda atom: setattr(atom, "pos", gemmi.Position(-atom.pos.x, atom.pos.y, atom.pos.z)))
    found = table_of(protein)
    assert plain.metrics["chirality_outliers"] == 0
    assert found.metrics["chirality_outliers"] >= 25
    assert found.metrics["cbeta_deviations"] >= 25
    assert found.metrics["rama_favored"] < 50
    same(plain, found, ["bonds_rmsd", "min_nonbonded_distance"], relative=0.05)


def test_modified_residues(protein: gemmi.Structure) -> None:
    """Selenomethionine counts as methionine does."""
    plain = table_of(protein)
    residue = protein[0]["A"][0]
    residue.name, residue.het_flag = "MSE", "H"
    residue["SD"][0].element, residue["SD"][0].name = gemmi.Element("Se"), "SE"
    found = table_of(protein)
    row = 0
    assert found.residues["rotamer_score"][row] == pytest.approx(plain.residues["rotamer_score"][row])
    same(plain, found, ["rama_favored", "rotamer_outliers"])


def test_only_rna(truth: gemmi.Structure) -> None:
    source = truth.clone()
    keep(source, "C")
    found = table_of(source)
    assert all(found.reasons[key] == "not_applicable" for key in PROTEIN_KEYS)
    assert all(found.metrics[key] is not None for key in (*RNA_KEYS, "clashscore", "q_score", "cc_mask", *GEOMETRY))


def test_only_dna(truth: gemmi.Structure) -> None:
    source = truth.clone()
    keep(source, "C")
    chain = source[0]["C"]
    for residue in [residue for residue in chain if residue.name == "U"]:
        residue.name = "C"
    for residue in chain:
        residue.name = "D" + residue.name
        strip(residue, lambda atom: atom.name == "O2'")
    found = table_of(source)
    assert all(found.reasons[key] == "not_applicable" for key in RNA_KEYS)
    assert found.metrics["bonds_rmsd"] is not None


@pytest.mark.parametrize("chain", ["D", "E", "W"], ids=["ligand", "ion", "waters"])
def test_no_polymer(truth: gemmi.Structure, chain: str) -> None:
    source = truth.clone()
    keep(source, chain)
    found = table_of(source)
    assert all(found.reasons[key] == "not_applicable" for key in (*PROTEIN_KEYS, *RNA_KEYS))
    assert (found.metrics["bonds_rmsd"] is not None) == (chain == "D")
    assert found.metrics["q_score"] is not None


def test_a_ligand_that_nobody_knows(truth: gemmi.Structure) -> None:
    source = truth.clone()
    keep(source, "D")
    source[0]["D"][0].name = "ZZZZ9"
    found = table_of(source)
    assert found.details["unknown_compounds"] == ["ZZZZ9"]
    assert all(found.reasons[key] == "not_applicable" for key in GEOMETRY)
    assert found.details["ligands"][0]["compound"] == "ZZZZ9"
    assert found.metrics["q_score"] is not None


def test_a_ligand_with_other_atom_names(truth: gemmi.Structure) -> None:
    source = truth.clone()
    keep(source, "A", "D")
    for number, atom in enumerate(source[0]["D"][0]):
        atom.name = f"X{number}"
    assert table_of(source).metrics["bonds_rmsd"] is not None


# --------------------------------------------------------------------------------------------------------- hydrogens


def test_hydrogens_half_there(protein: gemmi.Structure) -> None:
    """What is there is kept, nothing is added."""
    structure = from_gemmi(protein)
    library = load_monomer_library(np.unique(structure.residues.compound).tolist())
    full = add_hydrogens(structure, library)
    middle = len(full) // 2
    half = full.without(full.is_hydrogen & (np.arange(len(full)) > middle))
    bare, some = (validate(model, noise(structure), resolution=3.0) for model in (structure, half))
    assert_sound(some, half)
    same(bare, some, ["rama_favored", "rotamer_outliers", "cbeta_deviations", "bonds_rmsd", "angles_rmsd", "q_score", "emringer"])
    assert some.details["composition"]["hydrogens"] == int(half.is_hydrogen.sum())


def test_deuterium(protein: gemmi.Structure) -> None:
    structure = from_gemmi(protein)
    library = load_monomer_library(np.unique(structure.residues.compound).tolist())
    source = add_hydrogens(structure, library).to_gemmi()
    plain = table_of(source)
    for site in source[0].all():
        if site.atom.element == gemmi.Element("H"):
            site.atom.element = gemmi.Element("D")
            site.atom.name = "D" + site.atom.name[1:]
    found = table_of(source)
    same(plain, found, ["rama_favored", "bonds_rmsd", "q_score"])


# ----------------------------------------------------------------------------------------------- places, copies, maps


def test_everything_at_one_point(protein: gemmi.Structure) -> None:
    place = gemmi.Position(1.0, 2.0, 3.0)
    each_atom(protein, lambda atom: setattr(atom, "pos", place))
    assert table_of(protein).metrics["min_nonbonded_distance"] in (None, 0.0)


def test_a_residue_on_top_of_another(protein: gemmi.Structure) -> None:
    chain = protein[0]["A"]
    chain.add_residue(chain[5].clone(), 6)
    chain[6].seqid = gemmi.SeqId(500, " ")
    assert table_of(protein).metrics["clashscore"] is not None


def test_sixty_copies_are_as_good_as_one(truth: gemmi.Structure) -> None:
    single = truth.clone()
    keep(single, "C")
    chain = single[0]["C"]
    while len(chain) > 6:
        del chain[len(chain) - 1]
    many = single.clone()
    many[0].remove_chain("C")
    for number in range(60):
        copy = chain.clone()
        copy.name = f"C{number:02d}"
        shift = gemmi.Position(40.0 * (number % 4), 40.0 * (number // 4 % 4), 40.0 * (number // 16))
        for residue in copy:
            for atom in residue:
                atom.pos += shift
        many[0].add_chain(copy)
    one, all_of_them = table_of(single), table_of(many)
    assert len(all_of_them.chains) == 60
    same(one, all_of_them, ["clashscore", *GEOMETRY[:4], "na_pucker_outliers", "na_suite_outliers", "min_nonbonded_distance"])
    assert all_of_them.metrics["planarity_outliers"] == 60 * one.metrics["planarity_outliers"]


def test_half_of_the_model_outside_the_map(protein: gemmi.Structure) -> None:
    density = noise(from_gemmi(protein))
    half = np.ascontiguousarray(density.values[: density.values.shape[0] // 2])
    lengths = np.array(half.shape) * 1.5
    table_of(protein, Density(half, gemmi.UnitCell(*lengths, 90, 90, 90), density.corner))


def test_a_map_without_contents(protein: gemmi.Structure) -> None:
    found = table_of(protein, noise(from_gemmi(protein), flat=True))
    assert found.metrics["rama_favored"] is not None
    assert found.metrics["map_sd"] == 0.0
    assert found.metrics["q_score"] is None


def test_a_map_finer_or_coarser_than_its_resolution(protein: gemmi.Structure) -> None:
    structure = from_gemmi(protein)
    for resolution in (1.0, 12.0):
        assert_sound(validate(structure, noise(structure), resolution=resolution), structure)


def test_the_page_of_an_odd_model(truth: gemmi.Structure, tmp_path: Path) -> None:
    source = truth.clone()
    keep(source, "D", "W")
    structure = from_gemmi(source)
    found = validate(structure, noise(structure), resolution=3.0)
    inputs = {role: {"name": role, "bytes": 1, "sha256": "0"} for role in ("model", "map")}
    table = {"initial": found.metrics, "reasons": found.reasons, "details": {"initial": found.details}, "inputs": inputs}
    write_json(tmp_path / "table_one.json", table | {"settings": {}, "versions": {}, "timings_s": {}})
    write_residues(tmp_path / "residues.parquet", {"initial": (structure.residues, found.residues)})
    write_json(tmp_path / "curves.json", {"initial": found.curves})
    page = report(read_run(tmp_path))
    assert "Ligands and ions" in page
    assert "Ramachandran plots" not in page


# ------------------------------------------------------------------------------------------------- real odd models

SMALL = ("1LVZ.cif.gz", "1lzh.pdb.gz", "5a7u.pdb.gz", "7kjr.pdb.gz", "mmcif_6yfy.cif.gz", "multimodel_warning.cif.gz")
LARGE = ("1M4X.cif.gz", "3J6R.pdb.gz", "4UPY.pdb.gz", "6msm.pdb.bz2", "7qpd.fw2.cif.gz", "mmcif_7cth.cif.gz")


@pytest.mark.shared
@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_real_odd_models(shared: Path, name: str) -> None:
    structure = read_structure(shared / "odd_models" / name)
    widest = float(np.ptp(structure.positions, axis=0).max())
    voxel = max(2.0, widest / 90.0)
    low = structure.positions.min(axis=0) - 6.0
    dims = np.ceil((structure.positions.max(axis=0) + 6.0 - low) / voxel).astype(int)
    values = np.random.default_rng(0).normal(size=dims).astype(np.float32)
    density = Density(values, gemmi.UnitCell(*(voxel * dims), 90, 90, 90), low)
    assert_sound(validate(structure, density, resolution=4.0, contour=1.0), structure)


def test_errors_stay_typed(tmp_path: Path) -> None:
    path = tmp_path / "empty.cif"
    path.write_text("data_empty\n")
    with pytest.raises(CeresError):
        read_structure(path)
