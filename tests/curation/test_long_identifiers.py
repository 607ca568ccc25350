"""Entries with extended PDB ids and compounds with five characters go through curation like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
import pytest
from biotite.structure import info

from curation.archive import Archive
from curation.curate import curate
from curation.holdings import list_pairs
from refinement.structure import read_structure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LONG = "A1A00"
"""A compound of the Chemical Component Dictionary."""
MIDDLE = np.array([28.0, 8.0, 24.0])


@pytest.fixture
def with_compound(make_helix: Callable[..., gemmi.Structure]) -> gemmi.Structure:
    """A helix and one copy of the compound, without its hydrogens."""
    structure = make_helix(12)
    chain = gemmi.Chain("B")
    residue = gemmi.Residue()
    residue.name, residue.seqid, residue.het_flag = LONG, gemmi.SeqId(1, " "), "H"
    atoms = info.residue(LONG)
    places = atoms.coord - atoms.coord.mean(axis=0) + MIDDLE
    for name, element, place in zip(atoms.atom_name, atoms.element, places, strict=True):
        if element == "H":
            continue
        atom = gemmi.Atom()
        atom.name, atom.element, atom.b_iso = str(name), gemmi.Element(str(element)), 30.0
        atom.pos = gemmi.Position(*(float(x) for x in place))
        residue.add_atom(atom)
    chain.add_residue(residue)
    structure[0].add_chain(chain)
    structure.setup_entities()
    return structure


def test_five_characters_are_kept(tiny: Any, with_compound: gemmi.Structure, tmp_path: Path) -> None:
    tiny.add("9zaa", "0042", structure=with_compound)
    (pair,) = list_pairs(Archive(tiny.root))
    result = curate(pair, Archive(tiny.root), tmp_path / "work")
    assert result.code == ""
    assert result.facts["ligands"] == {LONG: 1}
    assert result.model_path is not None
    assert LONG in read_structure(result.model_path).residues.compound.tolist()


@pytest.mark.parametrize("pdb_id", ["pdb_19zab345", "pdb_00019xyz"])
def test_extended_ids(tiny: Any, tmp_path: Path, pdb_id: str) -> None:
    tiny.add("9zaa", "0042")
    tiny.add_map("0043", [pdb_id.upper()])
    tiny.add_model(pdb_id, ["0043"])
    short, extended = pdb_id[1:3], pdb_id[-3:-1]
    folder = tiny.root / "pdb/data/structures/divided/mmCIF"
    (folder / short).rename(folder / extended)
    pair = list_pairs(Archive(tiny.root))[1]
    assert pair.key == f"{pdb_id}_0043"
    assert len(pair.declared_by) == 2
    result = curate(pair, Archive(tiny.root), tmp_path / "work")
    assert (result.code, result.facts["pdb_id"]) == ("", pdb_id)
