"""Models as arrays: what is read, what is refused and why, and the way back to gemmi."""

from __future__ import annotations

import bz2
import gzip
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from refinement import structure as module
from refinement.errors import ModelError
from refinement.structure import ResidueKind, Structure, from_gemmi, read_structure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PDB = """\
ATOM      1  N   SER A  10       1.000   2.000   3.000  1.00 20.00           N
ATOM      2  CA ASER A  10       2.400   2.000   3.000  0.60 21.00           C
ATOM      3  CA BSER A  10       2.500   2.100   3.000  0.40 22.00           C
ATOM      4  C   SER A  10       3.000   3.400   3.000  1.00 23.00           C
ATOM      5  N   GLY A  10A      4.300   3.500   3.000  1.00 24.00           N
ATOM      6  CA  GLY A  10A      5.000   4.700   3.100  1.00 25.00           C
ATOM      7  C   GLY A  10A      6.500   4.500   3.100  1.00 26.00           C
ATOM      8  D   GLY A  10A      4.800   2.700   3.000  1.00 24.00           D
TER       9      GLY A  10A
ATOM     10  C1'   A B   1      11.000   2.000   3.000  1.00 20.00           C
ATOM     11  C3'   A B   1      12.400   2.900   3.000  1.00 20.00           C
ATOM     12  O3'   A B   1      12.400   4.300   3.000  1.00 20.00           O
TER      13        A B   1
HETATM   14 ZN    ZN A 101       9.000   9.000   9.000  1.00 30.00          ZN
HETATM   15  O   HOH A 201       9.000   9.000  12.000  1.00 30.00           O
END
"""


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Structure:
    path = tmp_path_factory.mktemp("model") / "mixed.pdb"
    path.write_text(PDB)
    return read_structure(path)


def cif_text(structure: Structure) -> str:
    return str(structure.to_gemmi().make_mmcif_document().as_string())


def test_columns(mixed: Structure) -> None:
    residues = mixed.residues
    assert [residues.label(row) for row in range(len(residues))] == ["A/SER 10", "A/GLY 10A", "A/ZN 101", "A/HOH 201", "B/A 1"]
    kinds = [ResidueKind.PROTEIN, ResidueKind.PROTEIN, ResidueKind.ION, ResidueKind.WATER, ResidueKind.NUCLEIC]
    assert residues.kind.tolist() == kinds
    assert residues.polymer.tolist() == [True, True, False, False, True]
    assert residues.first.tolist() == [0, 4, 8, 9, 10, 13]
    assert mixed.altloc[:4].tolist() == ["", "A", "B", ""]
    assert mixed.is_hydrogen.nonzero()[0].tolist() == [7]  # deuterium
    assert mixed.chain_names == ["A", "B"]


def test_the_way_back_keeps_everything(mixed: Structure) -> None:
    moved = mixed.moved(mixed.positions + 1.5)
    again = from_gemmi(moved.to_gemmi())
    np.testing.assert_allclose(again.positions, mixed.positions + 1.5)
    for name in ("elements", "b_iso", "occupancy", "altloc", "names", "residue"):
        np.testing.assert_array_equal(getattr(again, name), getattr(mixed, name), err_msg=name)
    np.testing.assert_allclose(from_gemmi(mixed.source.clone()).positions, mixed.positions)  # the source wasn't moved


def test_a_new_b_factor_replaces_the_anisotropic_one() -> None:
    model = gemmi.read_pdb_string(PDB)
    for site in model[0].all():
        site.atom.aniso = gemmi.SMat33f(0.1, 0.2, 0.3, 0, 0, 0)
    structure = from_gemmi(model)
    structure.b_iso[0] = 77.0
    atoms = [site.atom for site in structure.to_gemmi()[0].all()]
    assert [atom.aniso.nonzero() for atom in atoms] == [False] + [True] * (len(atoms) - 1)


def test_without_removes_atoms_residues_and_chains(mixed: Structure) -> None:
    bare = mixed.without(mixed.is_hydrogen)
    assert len(bare) == len(mixed) - 1
    protein = mixed.without(mixed.residues.kind[mixed.residue] != ResidueKind.PROTEIN)
    assert protein.residues.compound.tolist() == ["SER", "GLY"]
    assert [chain.name for chain in protein.source[0]] == ["A"]
    with pytest.raises(ModelError, match="no atoms"):
        mixed.without(np.ones(len(mixed), dtype=bool))


@pytest.mark.parametrize("length", [1, 7, 8, 20])
def test_names_of_any_length(mixed: Structure, length: int, tmp_path: Path) -> None:
    model = mixed.to_gemmi()
    chain, compound = "C" * length, "Q" * min(length, 5)
    model[0]["B"].name = chain
    model[0][chain][0].name = compound
    document = gemmi.cif.Document()
    document.add_copied_block(model.make_mmcif_block())
    (tmp_path / "long.cif").write_text(document.as_string())
    found = read_structure(tmp_path / "long.cif")
    assert found.chain_names[-1] == chain
    assert found.residues.compound[-1] == compound
    np.testing.assert_allclose(found.positions, mixed.positions)
    np.testing.assert_array_equal(found.names, mixed.names)


@pytest.mark.parametrize(("name", "kept"), [("C" * 7, True), ("C" * 8, False)])
def test_long_names_of_atoms_are_refused_by_name(mixed: Structure, name: str, kept: bool) -> None:
    source = mixed.source.clone()
    source[0][0][0][0].name = name
    if kept:
        assert from_gemmi(source).names[0] == name
        return
    with pytest.raises(ModelError, match="named 'CCCCCCCC'") as fault:
        from_gemmi(source)
    assert fault.value.code == "model_unreadable"


def test_long_names_of_compounds_are_kept(mixed: Structure) -> None:
    source = mixed.source.clone()
    source[0][0][0].name = "INH_" * 3
    structure = from_gemmi(source)
    assert structure.residues.compound[0] == "INH_" * 3
    assert np.array_equal(structure.positions, mixed.positions)


def test_only_the_first_model_counts(mixed: Structure, tmp_path: Path) -> None:
    atoms = PDB.removesuffix("END\n")
    path = tmp_path / "ensemble.pdb"
    path.write_text(f"MODEL        1\n{atoms}ENDMDL\nMODEL        2\n{atoms}ENDMDL\nEND\n")
    assert len(read_structure(path)) == len(mixed)


@pytest.mark.parametrize("form", ["plain", "gzip", "bzip2", "mark", "windows"])
def test_packed_and_odd_files_are_read(mixed: Structure, form: str, tmp_path: Path) -> None:
    data = cif_text(mixed).encode()
    packed = {
        "plain": data,
        "gzip": gzip.compress(data),
        "bzip2": bz2.compress(data),
        "mark": b"\xef\xbb\xbf" + data,
        "windows": data.replace(b"\n", b"\r\n"),
    }[form]
    path = tmp_path / "model.cif"
    path.write_bytes(packed)
    np.testing.assert_allclose(read_structure(path).positions, mixed.positions)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "model_missing"),
        (b"", "model_unreadable"),
        (b"hello\n", "model_unreadable"),
        (b"MAP \x00\x00\x00", "model_unreadable"),
        (b"data_x\n_entry.id x\n", "model_unreadable"),
        (b"data_x\nloop_\n_atom_site.id\n_atom_site.Cartn_x\n1\n", "model_unreadable"),
        (b"data_x\n_cell.length_a 1\n# _atom_site.id\n", "model_empty"),
        (gzip.compress(PDB.encode())[:-20], "model_truncated"),
        (bz2.compress(PDB.encode())[:-20], "model_truncated"),
        (b"\x1f\x8b" + b"x" * 40, "model_truncated"),
        (PDB.replace("   1.000   2.000", "     nan   2.000").encode(), "model_not_finite"),
        (PDB.replace("   1.000   2.000", "9999999.   2.000").encode(), "model_not_finite"),
    ],
    ids=["missing", "empty", "text", "binary", "no atoms", "cut", "comment", "cut gzip", "cut bzip2", "no gzip", "nan", "far"],
)
def test_hostile_files_are_refused_by_name(content: bytes | None, code: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.model"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        read_structure(path)
    assert caught.value.code == code
    assert "hostile.model" in caught.value.message
    assert caught.value.hint


def test_bombs_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MODEL_BYTES", 10_000)
    path = tmp_path / "bomb.cif.gz"
    path.write_bytes(gzip.compress(b" " * 1_000_000))
    with pytest.raises(ModelError) as caught:
        read_structure(path)
    assert caught.value.code == "model_too_large"


def test_a_part_has_the_arrays_of_its_residues(structure_of: Callable[..., Structure]) -> None:
    rows = [("A", 1, "GLY", "N", "N"), ("A", 1, "GLY", "CA", "C"), ("A", 2, "ALA", "N", "N"), ("B", 1, "HOH", "O", "O")]
    model = structure_of(rows, np.arange(12.0).reshape(4, 3))
    part = model.part(np.array([True, False, True]))
    other = model.without(np.array([False, False, True, False]))
    np.testing.assert_array_equal(part.positions, other.positions)
    np.testing.assert_array_equal(part.names, other.names)
    np.testing.assert_array_equal(part.residue, other.residue)
    np.testing.assert_array_equal(part.residues.first, other.residues.first)
    assert [part.residues.label(row) for row in range(2)] == ["A/GLY 1", "B/HOH 1"]
