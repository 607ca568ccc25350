"""Curated models carry all columns of _struct_conn that the viewer asks for."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import gemmi
import pytest

from curation.archive import Archive
from curation.curate import CONNECTION_DEFAULTS, curate
from curation.example import build_example_archive
from curation.identifiers import parse_pair

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "pdb/data/structures/divided/mmCIF/xa/9xa1.cif.gz"


@pytest.mark.parametrize("rows", [6, 1, 0])
def test_missing_columns_are_added(tmp_path: Path, rows: int) -> None:
    archive = build_example_archive(tmp_path / "archive")
    document = gemmi.cif.read(str(archive / MODEL))
    block = document.sole_block()
    table = block.find("_struct_conn.", ["id", "conn_type_id", "ptnr1_label_asym_id", "ptnr1_auth_seq_id"])
    kept = [list(row) for row in table][:rows]
    block.find_mmcif_category("_struct_conn.").erase()
    if rows == 1:
        names = ("id", "conn_type_id", "ptnr1_label_asym_id", "ptnr1_auth_seq_id")
        block.set_pairs("_struct_conn.", dict(zip(names, kept[0], strict=True)))
    elif rows:
        loop = block.init_mmcif_loop("_struct_conn.", ["id", "conn_type_id", "ptnr1_label_asym_id", "ptnr1_auth_seq_id"])
        for row in kept:
            loop.add_row(row)
    (archive / MODEL).write_bytes(gzip.compress(document.as_string().encode()))

    curated = curate(parse_pair("9xa1_90001"), Archive(archive), tmp_path / "work")

    assert curated.model_path is not None
    written = gemmi.cif.read(str(curated.model_path)).sole_block().find("_struct_conn.", list(CONNECTION_DEFAULTS))
    assert [list(row) for row in written] == [list(CONNECTION_DEFAULTS.values())] * rows


def test_columns_in_another_case_are_not_added_again(tmp_path: Path) -> None:
    archive = build_example_archive(tmp_path / "archive")
    text = gzip.decompress((archive / MODEL).read_bytes()).decode()
    assert "_struct_conn.ptnr1_symmetry" in text
    text = text.replace("_struct_conn.ptnr1_symmetry", "_STRUCT_CONN.PTNR1_SYMMETRY")
    (archive / MODEL).write_bytes(gzip.compress(text.encode()))
    curated = curate(parse_pair("9xa1_90001"), Archive(archive), tmp_path / "work")
    assert curated.model_path is not None
    block = gemmi.cif.read(str(curated.model_path)).sole_block()
    assert len(block.find_values("_struct_conn.ptnr1_symmetry")) == 6
