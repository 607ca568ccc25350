"""Metadata of mmCIF files and grids of map files."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.facts import Grid
from curation.metadata import associated_maps, map_grid, model_facts, read_block, read_packed
from refinement.errors import CeresError, MapError, ModelError
from refinement.maps.density import write_map

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from refinement.maps.density import Density

ATOMS = """
loop_
_atom_site.id
_atom_site.Cartn_x
_atom_site.pdbx_PDB_model_num
1 1.0 1
2 2.0 2
"""
EXAMPLE = (
    """data_9ZAA
_entry.id 9ZAA
_struct.title 'A title'
_exptl.method 'Electron   Microscopy'
_cell.length_a 1.000
_cell.length_b 1.000
_cell.length_c 1.000
_cell.angle_alpha 90
_cell.angle_beta 90
_cell.angle_gamma 90
_symmetry.space_group_name_H-M 'P 1'
_refine.ls_d_res_high .
_reflns.d_resolution_high 3.4
_pdbx_database_status.recvd_initial_deposition_date 2020-01-01
loop_
_em_3d_reconstruction.id
_em_3d_reconstruction.resolution
1 3.2
2 ?
3 best
loop_
_pdbx_audit_revision_history.ordinal
_pdbx_audit_revision_history.revision_date
2 2021-01-01
1 2020-06-01
loop_
_pdbx_database_related.db_name
_pdbx_database_related.db_id
_pdbx_database_related.content_type
EMDB EMD-0042 'associated EM volume'
emdb emd-43 'Associated  EM volume'
EMDB EMD-44 'other EM volume'
EMDB nothing 'associated EM volume'
PDB 1abc unspecified
"""
    + ATOMS
)


def facts_of(text: str) -> Any:
    return model_facts(gemmi.cif.read_string(text).sole_block(), "9zaa.cif.gz")


def test_values_that_are_used() -> None:
    facts = facts_of(EXAMPLE)
    assert (facts.entry_id, facts.title, facts.methods) == ("9ZAA", "A title", ("ELECTRON MICROSCOPY",))
    assert [(r.value, r.source) for r in facts.resolutions] == [
        (3.2, "9zaa.cif.gz: _em_3d_reconstruction.resolution"),
        (3.4, "9zaa.cif.gz: _reflns.d_resolution_high"),
    ]
    assert (facts.associated_maps, facts.related_maps) == (("EMD-0042", "EMD-0043"), ("EMD-0044",))
    assert facts.cell == (1, 1, 1, 90, 90, 90)
    assert facts.space_group == "P 1"
    assert facts.dates == {"deposition": "2020-01-01", "release": "2020-06-01", "revision": "2021-01-01"}
    assert facts.models == 2
    assert len(facts.skipped) == 2


def test_silent_file() -> None:
    facts = facts_of(
        "data_x\n" + ATOMS.replace("_atom_site.pdbx_PDB_model_num\n", "").replace(" 1\n", "\n").replace(" 2\n", "\n")
    )
    assert (facts.methods, facts.resolutions, facts.cell, facts.models) == ((), (), None, 1)
    assert (facts.associated_maps, facts.dates, facts.skipped) == ((), {}, ())


def test_link_without_content_type_is_related_only() -> None:
    block = gemmi.cif.read_string(
        "data_x\n_pdbx_database_related.db_name EMDB\n_pdbx_database_related.db_id EMD-0042\n"
    ).sole_block()
    assert associated_maps(block) == ()


@pytest.mark.parametrize("cell", ["? 1 1 90 90 90", "nan 1 1 90 90 90", "x 1 1 90 90 90"])
def test_cell_that_makes_no_sense(cell: str) -> None:
    values = iter(cell.split())
    lines = [f"{line.split()[0]} {next(values)}" if line.startswith("_cell.") else line for line in EXAMPLE.splitlines()]
    facts = facts_of("\n".join(lines))
    assert facts.cell is None
    assert any("_cell" in text for text in facts.skipped)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "model_empty"),
        (b"data_x\n_a.b 1\n", "model_empty"),
        (b"data_x\n_a.b 'open\n", "model_unreadable"),
        (EXAMPLE.encode()[:-4], "model_unreadable"),
        (b"\x00\x01\x02", "model_unreadable"),
        (b"\xff\xfe" + EXAMPLE.encode("utf-16"), "model_unreadable"),
        (gzip.compress(EXAMPLE.encode())[:-9], "model_truncated"),
        (gzip.compress(EXAMPLE.encode())[:-4] + b"abcd", "model_truncated"),
        (b"data_x\nloop_\n", "model_unreadable"),
        (b"data_" + b"x" * 5_000_000, "model_empty"),
    ],
    ids=range(10),
)
def test_hostile_model_is_refused(tmp_path: Path, data: bytes, code: str) -> None:
    path = tmp_path / "9zaa.cif.gz"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"9zaa\.cif\.gz") as fault:
        read_block(path)
    assert fault.value.code == code


def test_compression_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "9zaa.cif.gz"
    path.write_bytes(gzip.compress(b"#" * 50_000_000, 9))
    with pytest.raises(ModelError, match="more than 1 MiB") as fault:
        read_packed(path, limit=1 << 20)
    assert fault.value.code == "model_too_large"


@given(st.data())
def test_any_damage_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    whole = EXAMPLE.encode()
    place = data.draw(st.integers(0, len(whole)))
    damaged = whole[:place] + data.draw(st.binary(max_size=8)) + whole[place + data.draw(st.integers(0, 30)) :]
    path = tmp_path_factory.getbasetemp() / "damaged.cif"
    path.write_bytes(damaged)
    try:
        block = read_block(path)
        facts = model_facts(block, path.name)
    except CeresError:
        return
    assert all(resolution.value > 0 for resolution in facts.resolutions)


def test_grid_of_a_map(tmp_path: Path, make_density: Callable[..., Density]) -> None:
    path = tmp_path / "x.map.gz"
    write_map(path, make_density(1, dims=(6, 8, 10), voxel=2.0, corner=(2.0, -4.0, 6.0)))
    grid = map_grid(path)
    assert (grid.file, grid.dims, grid.start, grid.axes, grid.space_group) == ("x.map.gz", (6, 8, 10), (1, -2, 3), (1, 2, 3), 1)
    assert np.allclose(grid.corner, (2, -4, 6))
    assert np.allclose(grid.box.parameters, (12, 16, 20, 90, 90, 90))
    positions = np.array([[2, -4, 6], [12, 10, 24], [12.1, 0, 8], [1.9, 0, 8]])
    assert grid.inside(positions).tolist() == [True, True, False, False]


def test_inside_a_monoclinic_box() -> None:
    cell = (10.0, 10.0, 10.0, 90.0, 120.0, 90.0)
    grid = Grid("m", (10, 10, 10), (0, 0, 0), (0, 0, 0), (1, 1, 1), cell, (0, 0, 0), (1, 2, 3), 1, 2)
    corners = np.array([[0, 0, 0], [9, 9, 9]])
    orth = np.array(gemmi.UnitCell(*cell).orth.mat.tolist()) / 10
    assert grid.inside((corners + np.array([[0.01], [-0.01]])) @ orth.T).tolist() == [True, True]
    assert not grid.inside(np.array([[9.5, 5.0, 8.0]])).any()


def test_no_map(tmp_path: Path) -> None:
    path = tmp_path / "x.map.gz"
    path.write_bytes(gzip.compress(b"x" * 2000))
    with pytest.raises(MapError):
        map_grid(path)


def test_entries_that_were_replaced_and_programs() -> None:
    text = """data_9ZAA
_entry.id 9ZAA
_pdbx_database_status.status_code obs
loop_
_pdbx_database_PDB_obs_spr.id
_pdbx_database_PDB_obs_spr.pdb_id
_pdbx_database_PDB_obs_spr.replace_pdb_id
OBSLTE '9ZAB 9zac' 9ZAA
SPRSDE 9ZAA 9ZAD
loop_
_pdbx_database_related.db_name
_pdbx_database_related.db_id
_pdbx_database_related.content_type
EMDB EMD-0042 'associated EM volume'
EMDB EMD-0043 'focused EM volume'
PDB 9zax 'focused EM volume'
loop_
_em_software.name
RELION
?
DeepEMhancer
RELION
"""
    facts = model_facts(gemmi.cif.read_string(text)[0], "9zaa.cif.gz")
    assert (facts.status, facts.replaced_by) == ("OBS", ("9zab", "9zac"))
    assert facts.related_kinds == ("focused em volume",)
    assert facts.software == ("RELION", "DeepEMhancer")
    superseding = gemmi.cif.read_string(text.replace("OBSLTE", "SPRSDE").replace("obs\n", "REL\n"))[0]
    assert (model_facts(superseding, "x").status, model_facts(superseding, "x").replaced_by) == ("REL", ())
    withdrawn = gemmi.cif.read_string(text.replace("'9ZAB 9zac'", "."))[0]
    assert model_facts(withdrawn, "x").replaced_by == ("",)


def test_bombs_are_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "9zaa.cif.gz"
    path.write_bytes(gzip.compress(bytes(64 << 20)))
    with pytest.raises(ModelError) as fault:
        read_block(path)
    assert fault.value.code == "model_too_large"


def test_map_that_cannot_hold_what_it_claims(tmp_path: Path, make_density: Callable[..., Density]) -> None:
    path = tmp_path / "x.map.gz"
    write_map(path, make_density(1))
    header = bytearray(gzip.decompress(path.read_bytes())[:1024])
    header[:12] = header[28:40] = np.array([1000, 1000, 1000], dtype="<i4").tobytes()
    path.write_bytes(gzip.compress(bytes(header) + bytes(50 << 20)))
    with pytest.raises(MapError) as fault:
        map_grid(path)
    assert fault.value.code == "map_ratio"
