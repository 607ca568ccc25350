from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import gemmi
import pytest

from refinement.conformers import STANDARD_AMINO_ACIDS
from refinement.errors import RestraintError
from refinement.restraints.library import MONOMERS, load_monomer_library

if TYPE_CHECKING:
    from pathlib import Path

STANDARD = [*STANDARD_AMINO_ACIDS, "A", "C", "G", "U", "DA", "DC", "DG", "DT", "HOH"]

LIGAND = """data_comp_list
loop_
_chem_comp.id
_chem_comp.three_letter_code
_chem_comp.name
_chem_comp.group
_chem_comp.number_atoms_all
_chem_comp.number_atoms_nh
LIG LIG example NON-POLYMER 2 2
data_comp_LIG
loop_
_chem_comp_atom.comp_id
_chem_comp_atom.atom_id
_chem_comp_atom.type_symbol
_chem_comp_atom.type_energy
_chem_comp_atom.charge
LIG C1 C CH3 0
LIG O1 O OH1 0
loop_
_chem_comp_bond.comp_id
_chem_comp_bond.atom_id_1
_chem_comp_bond.atom_id_2
_chem_comp_bond.type
_chem_comp_bond.aromatic
_chem_comp_bond.value_dist
_chem_comp_bond.value_dist_esd
LIG C1 O1 SINGLE n LENGTH 0.02
"""


def own_block(name: str, **bond: str) -> str:
    """Return a block of the project's table as a document, with the first bond length replaced."""
    document = gemmi.cif.read_string(gzip.decompress(MONOMERS.read_bytes()).decode())
    block = document.find_block(f"comp_{name}")
    if bond:
        block.find("_chem_comp_bond.", ["value_dist"])[0][0] = bond["length"]
    out = gemmi.cif.Document()
    out.add_copied_block(block)
    return out.as_string()


@pytest.fixture(autouse=True)
def no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLIBD_MON", raising=False)


def test_own_table_has_all_standard_residues_links_and_atom_types() -> None:
    library = load_monomer_library(STANDARD)
    assert set(STANDARD) <= set(library.monomers.keys())
    assert {"TRANS", "CIS", "PTRANS", "PCIS", "p", "disulf", "gap"} <= set(library.links.keys())
    assert len(library.ener_lib.atoms) > 100
    assert library.monomers["ALA"].rt.get_bond("N", "CA").value == pytest.approx(1.46, abs=0.03)


def test_every_unknown_compound_is_named() -> None:
    with pytest.raises(RestraintError) as caught:
        load_monomer_library(["ALA", "INH", "DRG"])
    assert caught.value.code == "compound_unknown"
    assert "DRG, INH" in caught.value.message
    assert "ALA" not in caught.value.message
    assert caught.value.hint


def test_library_of_one_call_is_not_changed_by_another(tmp_path: Path) -> None:
    path = tmp_path / "ligand.cif"
    path.write_text(LIGAND.replace("LENGTH", "1.43"))
    assert "LIG" in load_monomer_library(["LIG"], [path]).monomers
    with pytest.raises(RestraintError, match="LIG"):
        load_monomer_library(["LIG"])


def test_single_ions_need_no_dictionary_but_similar_names_do() -> None:
    library = load_monomer_library(["LI", "FE2", "BR"])
    assert library.monomers["FE2"].atoms[0].el.name == "Fe"
    with pytest.raises(RestraintError, match="LIG"):
        load_monomer_library(["LIG"])


def test_file_of_the_user_wins_and_the_last_one_of_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "one.cif", tmp_path / "two.cif"
    first.write_text(own_block("ALA", length="1.111"))
    second.write_text(own_block("ALA", length="1.222"))
    folder = tmp_path / "library"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "ALA.cif").write_text(own_block("ALA", length="1.333"))
    monkeypatch.setenv("CLIBD_MON", str(folder))
    assert load_monomer_library(["ALA"]).monomers["ALA"].rt.bonds[0].value == pytest.approx(1.333)
    assert load_monomer_library(["ALA"], [first]).monomers["ALA"].rt.bonds[0].value == pytest.approx(1.111)
    assert load_monomer_library(["ALA"], [first, second]).monomers["ALA"].rt.bonds[0].value == pytest.approx(1.222)
    assert "TRANS" in load_monomer_library(["ALA"]).links


def test_folder_without_a_compound_falls_back_to_the_own_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "h").mkdir()
    (tmp_path / "h" / "HIS.cif").write_text("<html>not a dictionary</html>")
    monkeypatch.setenv("CLIBD_MON", str(tmp_path))
    assert len(load_monomer_library(["HIS"]).monomers["HIS"].rt.bonds) > 10


def test_damaged_file_of_the_folder_is_named_when_nothing_else_knows_the_compound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "l").mkdir()
    (tmp_path / "l" / "LIG.cif").write_text("loop_ _a\n")
    monkeypatch.setenv("CLIBD_MON", str(tmp_path))
    with pytest.raises(RestraintError, match=r"LIG\.cif") as caught:
        load_monomer_library(["LIG"])
    assert caught.value.code == "dictionary_damaged"


def test_missing_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIBD_MON", str(tmp_path / "nowhere"))
    with pytest.raises(RestraintError) as caught:
        load_monomer_library(["ALA"])
    assert caught.value.code == "monomer_folder_missing"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "dictionary_unusable"),
        ("data_LIG\n_chem_comp.id LIG\n", "dictionary_unusable"),
        ("data_comp_LIG\nloop_\n_chem_comp_atom.atom_id\n_chem_comp_atom.type_symbol\nC1 C O1\n", "dictionary_damaged"),
        ("\x89PNG\r\n\x1a\n", "dictionary_damaged"),
        (LIGAND.replace("LENGTH", "?"), "dictionary_unusable"),
        (LIGAND.replace("LENGTH", "nonsense"), "dictionary_unusable"),
        (LIGAND.replace("LENGTH", "-1.2"), "dictionary_unusable"),
        (LIGAND[: LIGAND.index("loop_\n_chem_comp_bond")], "dictionary_unusable"),
    ],
)
def test_bad_file_of_the_user_is_named(tmp_path: Path, text: str, code: str) -> None:
    path = tmp_path / "mine.cif"
    path.write_text(text)
    with pytest.raises(RestraintError, match=r"mine\.cif") as caught:
        load_monomer_library(["LIG"], [path])
    assert caught.value.code == code


def test_missing_file_of_the_user_is_named(tmp_path: Path) -> None:
    with pytest.raises(RestraintError, match=r"absent\.cif") as caught:
        load_monomer_library(["ALA"], [tmp_path / "absent.cif"])
    assert caught.value.code == "dictionary_missing"


def test_truncated_compressed_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.cif.gz"
    path.write_bytes(gzip.compress(LIGAND.replace("LENGTH", "1.43").encode())[:-40])
    with pytest.raises(RestraintError, match=r"mine\.cif\.gz") as caught:
        load_monomer_library(["LIG"], [path])
    assert caught.value.code == "dictionary_damaged"
