"""Dictionaries made for compounds that no library has: chemistry, geometry, cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gemmi
import pytest

from refinement.compounds import made, store
from refinement.compounds.component import component
from refinement.compounds.dictionary import make_dictionary
from refinement.compounds.made import made_dictionary
from refinement.errors import RestraintError
from refinement.minimise import minimise
from refinement.restraints import library
from refinement.restraints.covalent import covalent_restraints
from refinement.restraints.library import load_monomer_library
from refinement.restraints.topology import build_topology
from refinement.structure import from_gemmi

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

UNLISTED = ("GLC", "MES", "PG4", "DAL", "P1L")


@pytest.fixture(autouse=True)
def _no_system_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(library, "SYSTEM_MONOMERS", tmp_path / "none")
    monkeypatch.setattr(made, "acedrg_tables", lambda: None)


def as_model(name: str) -> gemmi.Structure:
    """Return the ideal conformer of a compound as a model, without hydrogens."""
    compound = component(name)
    assert compound is not None
    residue = gemmi.Residue()
    residue.name, residue.seqid, residue.het_flag = name, gemmi.SeqId("1"), "H"
    for atom_name, element, position in zip(compound.names, compound.elements, compound.positions, strict=True):
        if element != "H":
            atom = gemmi.Atom()
            atom.name, atom.element, atom.pos = atom_name, gemmi.Element(element), gemmi.Position(*position)
            residue.add_atom(atom)
    chain, model, structure = gemmi.Chain("A"), gemmi.Model(1), gemmi.Structure()
    chain.add_residue(residue)
    model.add_chain(chain)
    structure.add_model(model)
    structure.setup_entities()
    return structure


@pytest.mark.parametrize("name", UNLISTED)
def test_compounds_refine_in_place(name: str) -> None:
    restraints = load_monomer_library([name])
    structure = from_gemmi(as_model(name))
    terms = covalent_restraints(build_topology(structure, restraints))

    def energy(x: np.ndarray, gradient: np.ndarray) -> float:
        gradient[:] = 0.0
        return sum(terms.energies(x, gradient).values())

    found = minimise(energy, structure.positions, max_iterations=300)
    before, after = ([gemmi.Position(*row) for row in rows] for rows in (structure.positions, found.x))
    assert gemmi.superpose_positions(before, after).rmsd < 0.3
    assert found.energy / len(structure) < 3.0


def test_known_chemistry_of_a_sugar() -> None:
    sugar = load_monomer_library(["GLC"]).monomers["GLC"]
    assert sugar.group == gemmi.ChemComp.Group.Pyranose
    assert sugar.rt.get_bond("C1", "O5").value == pytest.approx(1.42, abs=0.02)
    assert {chirality.id_ctr.atom for chirality in sugar.rt.chirs} == {"C1", "C2", "C3", "C4", "C5"}
    assert {chirality.sign.name for chirality in sugar.rt.chirs} <= {"Positive", "Negative"}


def test_mirror_images_have_opposite_signs() -> None:
    signs = []
    for name in ("ALA", "DAL"):
        block = make_dictionary(name)
        assert block is not None
        signs += [row[1] for row in block.find("_chem_comp_chir.", ["atom_id_centre", "volume_sign"])]
    assert sorted(signs) == ["negative", "positive"]


def test_acids_lose_their_protons_and_are_flat() -> None:
    block = make_dictionary("MES")
    assert block is not None
    atoms = {row[0] for row in block.find("_chem_comp_atom.", ["atom_id"])}
    compound = component("MES")
    assert compound is not None
    lost = set(compound.names) - atoms
    assert lost <= {"HOS3", "HO3S"}
    assert all(not lost & {row[0], row[1]} for row in block.find("_chem_comp_bond.", ["atom_id_1", "atom_id_2"]))


def test_angles_around_flat_carbons_close() -> None:
    block = make_dictionary("ADN")
    assert block is not None
    sums: dict[str, list[float]] = {}
    for row in block.find("_chem_comp_angle.", ["atom_id_2", "value_angle"]):
        sums.setdefault(row[0].strip('"'), []).append(float(row[1]))
    for carbon in ("C2", "C4", "C5", "C6", "C8"):
        assert sum(sums[carbon]) == pytest.approx(360.0, abs=0.1)
    planes = {row[0] for row in block.find("_chem_comp_plane_atom.", ["plane_id"])}
    assert planes


def test_kept_with_its_sources_and_read_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = made_dictionary("PG4")
    assert first is not None
    (path,) = (cache / "dictionaries").glob("PG4-*.cif")
    note = path.read_text(encoding="utf-8").splitlines()[0]
    assert note.startswith("# Restraints of PG4, made by Ceres from: Chemical Component Dictionary of biotite")
    monkeypatch.setattr(made, "make_dictionary", lambda *_: pytest.fail("made twice"))
    again = made_dictionary("PG4")
    assert again is not None
    assert again.sole_block().as_string() == first.sole_block().as_string()


@pytest.mark.parametrize("damage", [b"", b"data_comp_PG4\nloop_\n_chem", b"\xff\xfe\x00"])
def test_damaged_copies_are_made_anew(cache: Path, damage: bytes) -> None:
    assert made_dictionary("PG4") is not None
    (path,) = (cache / "dictionaries").glob("PG4-*.cif")
    path.write_bytes(damage)
    again = made_dictionary("PG4")
    assert again is not None
    assert again.find_block("comp_PG4") is not None
    assert path.read_bytes() != damage


def test_cache_that_cannot_be_written_is_no_obstacle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened = store.open_store()
    monkeypatch.setattr("refinement.compounds.component.open_store", lambda: opened)
    file = tmp_path / "file"
    file.write_text("not a folder")
    monkeypatch.setenv("CERES_CACHE", str(file))
    assert made_dictionary("PG4") is not None


@pytest.mark.parametrize("name", ["DRG", "LIG", "UNL", "07", "ZZZZ9", "../x", "", "TOOLONG"])
def test_what_nobody_can_know_stays_unknown(name: str) -> None:
    assert made_dictionary(name) is None


def test_error_names_only_what_is_unknown() -> None:
    with pytest.raises(RestraintError) as caught:
        load_monomer_library(["GLC", "DRG", "ALA"])
    assert "DRG" in caught.value.message
    assert "GLC" not in caught.value.message
