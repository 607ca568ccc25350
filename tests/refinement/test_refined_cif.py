"""The refined model as mmCIF: what is kept of the input, what is new, and that it reads back as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

from curation.example_model import build_truth
from refinement.refined_cif import STALE, write_refined_model
from refinement.structure import ResidueKind, Structure, from_gemmi, read_structure

STATISTICS = {"resolution": 3.0, "bonds_rmsd": 0.0051, "angles_rmsd": 0.72, "cc_mask": 0.8512, "q_score": None}
COUNTS = {"bonds": 812, "angles": 1102}
ARCHIVE = Path(__file__).resolve().parents[3] / "shared" / "archive" / "pdb" / "data" / "structures" / "divided" / "mmCIF"


def written(folder: Path, structure: Structure, original: Path) -> tuple[Structure, gemmi.cif.Block]:
    path = folder / "refined.cif.gz"
    write_refined_model(path, structure, original, STATISTICS, COUNTS)
    return read_structure(path), gemmi.cif.read(str(path)).sole_block()


def moved(structure: Structure) -> Structure:
    shifts = np.random.default_rng(3).normal(scale=0.2, size=structure.positions.shape)
    return structure.moved(np.round(structure.positions + shifts, 3))


def value(block: gemmi.cif.Block, tag: str) -> str:
    return gemmi.cif.as_string(next(iter(block.find_values(tag))))


def atoms(structure: Structure) -> list[tuple[Any, ...]]:
    """Everything that a reader sees of the atoms."""
    return [
        (
            site.chain.name, str(site.residue.seqid), site.residue.name, site.residue.subchain, site.residue.label_seq,
            site.residue.het_flag, site.atom.name, site.atom.altloc, site.atom.element.name, site.atom.charge,
            round(site.atom.occ, 2), round(site.atom.b_iso, 2), tuple(np.round(site.atom.pos.tolist(), 3)),
        )
        for site in structure.to_gemmi()[0].all()
    ]  # fmt: skip


@pytest.fixture(scope="module")
def deposited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example model with the metadata of a deposited entry, some of it about the old coordinates."""
    truth = build_truth()
    truth.setup_entities()
    truth[0]["A"][2][1].charge = 1
    path = tmp_path_factory.mktemp("deposited") / "model.cif"
    document = truth.make_mmcif_document()
    block = document.sole_block()
    block.set_pair("_struct.title", "'Two chains'")
    block.set_pairs("_refine.", {"entry_id": "9XA1", "pdbx_refine_id": "X", "ls_d_res_high": "9.9"})
    block.set_pairs("_refine_ls_shell.", {"pdbx_refine_id": "X", "d_res_low": "5"})
    for category, rows in (
        ("_citation_author.", [("primary", "Doe, J.", "1"), ("primary", "Roe, R.", "2")]),
        ("_software.", [("SomeProgram", "refinement", "1")]),
        ("_em_3d_fitting.", [("9XA1", "'RIGID BODY FIT'", "1")]),
        ("_em_software.", [("RECONSTRUCTION", "Other", "1"), ("'MODEL FITTING'", "?", "2")]),
        ("_pdbx_validate_torsion.", [("1", "A", "12")]),
    ):
        columns = {
            "_citation_author.": ["citation_id", "name", "ordinal"],
            "_software.": ["name", "classification", "pdbx_ordinal"],
            "_em_3d_fitting.": ["entry_id", "ref_protocol", "id"],
            "_em_software.": ["category", "name", "id"],
            "_pdbx_validate_torsion.": ["id", "auth_asym_id", "auth_seq_id"],
        }[category]
        loop = block.init_mmcif_loop(category, columns)
        for row in rows:
            loop.add_row([text if text[0] in "'?" else gemmi.cif.quote(text) for text in row])
    document.write_file(str(path))
    return path


def test_the_model_reads_back_as_it_was(deposited: Path, tmp_path: Path) -> None:
    model = moved(read_structure(deposited))
    again, _ = written(tmp_path, model, deposited)
    assert atoms(again) == atoms(model)


def test_metadata_stay_and_what_was_said_of_old_coordinates_goes(deposited: Path, tmp_path: Path) -> None:
    old = gemmi.cif.read(str(deposited)).sole_block()
    _, block = written(tmp_path, moved(read_structure(deposited)), deposited)
    names = set(old.get_mmcif_category_names())
    assert names - set(block.get_mmcif_category_names()) == {"_pdbx_validate_torsion.", "_refine_ls_shell."}
    assert value(block, "_struct.title") == "Two chains"
    assert list(block.find_values("_citation_author.name")) == ["'Doe, J.'", "'Roe, R.'"]
    for category in ("_entity.", "_entity_poly_seq.", "_struct_asym."):
        assert [list(row) for row in block.find_mmcif_category(category)] == [
            list(row) for row in old.find_mmcif_category(category)
        ]


def test_software_fit_and_statistics(deposited: Path, tmp_path: Path) -> None:
    model = read_structure(deposited)
    _, block = written(tmp_path, model, deposited)
    software = block.find("_software.", ["pdbx_ordinal", "name", "classification"])
    assert [list(row) for row in software] == [["1", "SomeProgram", "refinement"], ["2", "Ceres", "refinement"]]
    fits = block.find("_em_3d_fitting.", ["id", "ref_protocol", "ref_space", "target_criteria"])
    assert [list(row) for row in fits] == [
        ["1", "'RIGID BODY FIT'", "?", "?"],
        ["2", "OTHER", "REAL", "'Correlation coefficient'"],
    ]
    programs = block.find("_em_software.", ["id", "category", "name", "fitting_id"])
    assert list(programs[2]) == ["3", "'MODEL REFINEMENT'", "Ceres", "2"]
    assert (value(block, "_refine.entry_id"), value(block, "_refine.ls_d_res_high")) == (value(block, "_entry.id"), "3.00")
    assert value(block, "_refine.pdbx_refine_id") == value(block, "_refine_hist.pdbx_refine_id") == "ELECTRON MICROSCOPY"
    assert value(block, "_refine.B_iso_mean") == f"{model.b_iso.mean():.2f}"
    restraints = block.find("_refine_ls_restr.", ["type", "dev_ideal", "number"])
    assert [list(row) for row in restraints] == [["f_bond_d", "0.0051", "812"], ["f_angle_d", "0.7200", "1102"]]
    assert "CC_mask 0.851, Q-score ?" in list(block.find_values("_em_3d_fitting.details"))[1]
    water = int((model.residues.kind[model.residue] == ResidueKind.WATER).sum())
    assert value(block, "_refine_hist.number_atoms_solvent") == str(water)
    assert value(block, "_refine_hist.number_atoms_total") == str(len(model))


def test_distances_of_connections_are_those_of_the_new_model(tmp_path: Path) -> None:
    source = build_truth()
    source.setup_entities()
    chain = source[0]["A"]
    link = gemmi.Connection()
    link.name, link.type, link.asu = "far", gemmi.ConnectionType.Covale, gemmi.Asu.Same
    link.partner1 = gemmi.AtomAddress(chain.name, chain[0].seqid, chain[0].name, "CA", "\0")
    link.partner2 = gemmi.AtomAddress(chain.name, chain[5].seqid, chain[5].name, "CA", "\0")
    source.connections.append(link)
    source.make_mmcif_document().write_file(str(tmp_path / "model.cif"))
    model = moved(read_structure(tmp_path / "model.cif"))
    _, block = written(tmp_path, model, tmp_path / "model.cif")
    ends = [np.flatnonzero((model.residue == residue) & (model.names == "CA"))[0] for residue in (0, 5)]
    expected = np.linalg.norm(model.positions[ends[0]] - model.positions[ends[1]])
    rows = {row[0]: list(row)[1:] for row in block.find("_struct_conn.", ["id", "conn_type_id", "pdbx_dist_value"])}
    assert len(rows) == len(source.connections)
    assert rows["far"][0] == "covale"
    assert float(rows["far"][1]) == pytest.approx(expected, abs=0.001)


def test_cis_peptides_are_listed_as_they_are_now(deposited: Path, tmp_path: Path) -> None:
    document = gemmi.cif.read(str(deposited))
    columns = ["pdbx_id", "label_comp_id", "auth_seq_id", "auth_asym_id", "pdbx_omega_angle"]
    document.sole_block().init_mmcif_loop("_struct_mon_prot_cis.", columns).add_row(["1", "PRO", "5", "A", "1.0"])
    document.write_file(str(tmp_path / "model.cif"))
    model = read_structure(tmp_path / "model.cif")
    _, block = written(tmp_path, model, tmp_path / "model.cif")
    assert not block.find_values("_struct_mon_prot_cis.pdbx_id")  # the example has none
    turned = model.positions.copy()
    residue = 10
    axis = [
        np.flatnonzero((model.residue == row) & (model.names == name))[0] for row, name in ((residue - 1, "C"), (residue, "N"))
    ]
    start, direction = turned[axis[1]], turned[axis[1]] - turned[axis[0]]
    direction /= np.linalg.norm(direction)
    alpha = (model.residue == residue) & (model.names == "CA")
    arm = turned[alpha] - start
    turned[alpha] = start - arm + 2.0 * (arm @ direction)[:, None] * direction  # by 180° about the bond
    again, block = written(tmp_path, model.moved(turned), tmp_path / "model.cif")
    assert list(block.find_values("_struct_mon_prot_cis.pdbx_auth_seq_id_2")) == [str(model.residues.number[residue])]
    assert list(block.find_values("_struct_mon_prot_cis.auth_seq_id")) == [str(model.residues.number[residue - 1])]
    assert abs(float(value(block, "_struct_mon_prot_cis.pdbx_omega_angle"))) < 30.0
    assert len(again.source.cispeps) == 1


def test_a_pdb_file_becomes_mmcif_with_an_experiment(tmp_path: Path) -> None:
    source = build_truth()
    source.write_pdb(str(tmp_path / "model.pdb"))
    model = moved(read_structure(tmp_path / "model.pdb"))
    again, block = written(tmp_path, model, tmp_path / "model.pdb")
    np.testing.assert_array_equal(again.names, model.names)
    np.testing.assert_allclose(again.positions, model.positions, atol=0.001)
    assert value(block, "_exptl.method") == "ELECTRON MICROSCOPY"
    assert value(block, "_refine.entry_id") == value(block, "_entry.id") != "None"
    assert set(block.find_values("_atom_site.group_PDB")) == {"ATOM", "HETATM"}


@pytest.mark.shared
@pytest.mark.parametrize("name", ["ce/7cec", "ni/5ni1", "fn/5fn5"])
def test_deposited_entries_keep_everything(name: str, tmp_path: Path) -> None:
    path = ARCHIVE / f"{name}.cif.gz"
    if not path.exists():
        pytest.skip(f"there is no {path}")
    model, old = moved(read_structure(path)), gemmi.cif.read(str(path))[0]
    again, block = written(tmp_path, model, path)
    assert [row[:10] for row in atoms(again)] == [row[:10] for row in atoms(model)]
    lost = set(old.get_mmcif_category_names()) - set(block.get_mmcif_category_names())
    assert lost <= set(STALE)
    before, after = model.source, again.source
    assert [link.name for link in after.connections] == [link.name for link in before.connections]
    for count in ("helices", "sheets", "assemblies", "entities"):
        assert len(getattr(after, count)) == len(getattr(before, count))
    assert list(block.find_values("_em_software.fitting_id"))[-1] == list(block.find_values("_em_3d_fitting.id"))[-1]
    serials = list(block.find_values("_atom_site.id"))
    assert len(set(serials)) == len(serials) == len(model)


def test_only_atoms_of_hydrogen_free_models_are_counted(deposited: Path, tmp_path: Path) -> None:
    model = read_structure(deposited)
    source = model.to_gemmi()
    hydrogen = gemmi.Atom()
    hydrogen.name, hydrogen.element = "H", gemmi.Element("H")
    source[0]["A"][4].add_atom(hydrogen)
    full = from_gemmi(source)
    _, block = written(tmp_path, full, deposited)
    assert value(block, "_refine_hist.number_atoms_total") == str(len(model))
    assert "H" in list(block.find_values("_atom_type.symbol"))
