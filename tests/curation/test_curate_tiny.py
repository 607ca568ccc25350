"""Curation from end to end on entries made from nothing."""

from __future__ import annotations

import gzip
import itertools
import json
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.archive import Archive
from curation.curate import MODEL_FILE, Curated, curate
from curation.download import ArchiveError, Patience
from curation.holdings import list_pairs
from curation.identifiers import Declarer, parse_pair
from refinement.maps.density import read_map, write_map
from refinement.structure import read_structure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def operators(*motions: tuple[list[list[float]], list[float]]) -> dict[str, list[str]]:
    """Return the rows of an operator table, numbered from 1."""
    rows: dict[str, list[str]] = {"id": [str(n) for n in range(1, len(motions) + 1)]}
    rows["type"] = ["point symmetry operation"] * len(motions)
    for i in range(3):
        for j in range(3):
            rows[f"matrix[{i + 1}][{j + 1}]"] = [str(matrix[i][j]) for matrix, _ in motions]
        rows[f"vector[{i + 1}]"] = [str(vector[i]) for _, vector in motions]
    return rows


UNIT = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
TURN = [[-1, 0, 0], [0, -1, 0], [0, 0, 1]]
ASSEMBLY = {
    "_pdbx_struct_assembly.": {"id": ["1"], "details": ["complete point assembly"]},
    "_pdbx_struct_assembly_gen.": {"assembly_id": ["1"], "oper_expression": ["(1,2)"], "asym_id_list": ["Axp"]},
    "_pdbx_struct_oper_list.": operators((UNIT, [0, 0, 0]), (TURN, [42, 16, 0])),
}


def curate_key(tiny: Any, key: str, workdir: Path, **options: Any) -> Curated:
    return curate(parse_pair(key), Archive(tiny.root), workdir, **options)


def test_good_pair_passes_with_its_facts(tiny: Any, tmp_path: Path) -> None:
    key = tiny.add("9zaa", "0042", half_maps=True)
    seen: list[tuple[str, str, float]] = []
    result = curate_key(tiny, key, tmp_path / "work", progress=lambda *step: seen.append(step))
    assert (result.outcome, result.code, result.resolution) == ("pass", "", 3.0)
    assert result.passed
    assert [str(finding.code) for finding in result.findings] == ["PLACEHOLDER_CELL"]
    assert result.contour == 0.5
    assert [path.name for path in result.half_map_paths] == ["emd_0042_half_map_1.map.gz", "emd_0042_half_map_2.map.gz"]
    facts = json.loads(json.dumps(result.facts))
    assert (facts["atoms"], facts["chains"], facts["residues"]["protein"]) == (60, ["A"], 12)
    assert facts["half_maps_present"] is True
    assert (facts["header"]["contour"], facts["header"]["symmetry"]) == (0.5, ["C1"])
    assert facts["map"]["dims"] == [24, 20, 28]
    assert facts["map"]["frame"] == "nstart"
    assert facts["fraction_inside"] == 1.0
    assert facts["dates"]["map"] == {"map_release": "2026-01-07"}
    assert len(facts["files"]) == 5
    assert seen[-1] == ("curate", "done", 1.0)
    assert all(a[2] <= b[2] for a, b in itertools.pairwise(seen))


def test_curated_model_keeps_coordinates_and_metadata(tiny: Any, tmp_path: Path) -> None:
    key = tiny.add("9zaa", "0042")
    result = curate_key(tiny, key, tmp_path / "work")
    assert result.model_path == tmp_path / "work" / MODEL_FILE
    before, after = read_structure(tiny.model_file("9zaa")), read_structure(result.model_path)
    assert np.array_equal(before.positions, after.positions)
    block = gemmi.cif.read_string(gzip.decompress(result.model_path.read_bytes())).sole_block()
    assert block.find_value("_em_3d_reconstruction.resolution") == "3.0"
    assert [path.name for path in (tmp_path / "work").iterdir()] == [MODEL_FILE]


def test_same_input_gives_same_bytes(tiny: Any, tmp_path: Path) -> None:
    key = tiny.add("9zaa", "0042")
    first, second = (curate_key(tiny, key, tmp_path / name) for name in "ab")
    assert first.model_path is not None
    assert second.model_path is not None
    assert first.model_path.read_bytes() == second.model_path.read_bytes()
    assert first.facts == second.facts


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"model_resolution": 4.0}, "RESOLUTION_MISMATCH"),
        ({"model_resolution": None, "map_resolutions": ()}, "RESOLUTION_MISMATCH"),
        ({"map_resolutions": (3.0, 3.4)}, "RESOLUTION_MISMATCH"),
        ({"model_resolution": 5.01, "map_resolutions": (5.01,)}, "LOW_RESOLUTION"),
        ({"half_maps": True, "half_corner": (4.5, -6.0, 4.5)}, "GRID_MISMATCH"),
        ({"stated_cell": (291.2, 291.2, 291.2)}, "BOX_MISMATCH"),
        ({"cell": (291.2, 291.2, 291.2, 90, 90, 90)}, "BOX_MISMATCH"),
        ({"method": "electronCrystallography"}, "EXCLUDED_METHOD"),
        ({"exptl": "X-RAY DIFFRACTION"}, "EXCLUDED_METHOD"),
        ({"link": "none"}, "NO_MODEL"),
        ({"header": b"<emd emdb_id='EMD-0042'><admin>"}, "PROCESSING_ERROR"),
        ({"header": b"<!DOCTYPE a [<!ENTITY b 'c'>]><emd>&b;</emd>"}, "PROCESSING_ERROR"),
        ({"header": b"<emd emdb_id='EMD-0043'></emd>"}, "PROCESSING_ERROR"),
    ],
)
def test_bad_pair_is_refused(tiny: Any, tmp_path: Path, options: dict[str, Any], code: str) -> None:
    key = tiny.add("9zaa", "0042", **options)
    result = curate_key(tiny, key, tmp_path / "work")
    assert (result.outcome, result.code) == ("refuse", code)
    assert result.model_path is None
    assert not (tmp_path / "work").exists()
    json.dumps([finding.as_dict() for finding in result.findings] + [result.facts])


def test_literal_rules_refuse_placeholder_cell_and_rounding(tiny: Any, tmp_path: Path) -> None:
    key = tiny.add("9zaa", "0042", model_resolution=3.2, map_resolutions=(3.24,), cell=(36, 30, 42, 90, 90, 90))
    soft = curate_key(tiny, key, tmp_path / "soft")
    assert (soft.code, soft.resolution) == ("", 3.24)
    assert [str(finding.code) for finding in soft.findings] == ["RESOLUTION_ROUNDED"]
    assert curate_key(tiny, key, tmp_path / "hard", strict=True).code == "RESOLUTION_MISMATCH"
    other = tiny.add("9zab", "0044")
    assert curate_key(tiny, other, tmp_path / "other", strict=True).code == "BOX_MISMATCH"


def test_single_atoms_are_counted_among_polymers(tiny: Any, tmp_path: Path, make_helix: Callable[..., gemmi.Structure]) -> None:
    key = tiny.add("9zaa", "0042", structure=make_helix(12, names=("CA",)))
    result = curate_key(tiny, key, tmp_path / "work")
    assert result.code == "SINGLE_ATOM"
    assert result.findings[0].numbers == {"single_atom_residues": 12, "polymer_residues": 12, "fraction": 1.0}


def test_several_models_are_refused(tiny: Any, tmp_path: Path, make_helix: Callable[..., gemmi.Structure]) -> None:
    structure = make_helix()
    second = structure[0].clone()
    second.num = 2
    structure.add_model(second)
    key = tiny.add("9zaa", "0042", structure=structure)
    result = curate_key(tiny, key, tmp_path / "work")
    assert (result.code, result.findings[0].numbers) == ("MULTI_MODEL", {"models": 2})


def test_unknown_compound_is_named(tiny: Any, tmp_path: Path, make_helix: Callable[..., gemmi.Structure]) -> None:
    structure = make_helix()
    structure[0][0][5].name = "DRG"
    key = tiny.add("9zaa", "0042", structure=structure)
    result = curate_key(tiny, key, tmp_path / "work")
    assert (result.code, result.findings[0].numbers) == ("PROCESSING_ERROR", {"compounds": ["DRG"]})


def test_model_outside_the_map(tiny: Any, tmp_path: Path, make_helix: Callable[..., gemmi.Structure]) -> None:
    structure = make_helix()
    for site in structure[0].all():
        site.atom.pos = site.atom.pos + gemmi.Position(100, 0, 0)
    key = tiny.add("9zaa", "0042", structure=structure)
    result = curate_key(tiny, key, tmp_path / "work")
    assert (result.code, result.facts["fraction_inside"]) == ("BOX_MISMATCH", 0.0)


def test_damaged_map_files(tiny: Any, tmp_path: Path) -> None:
    key = tiny.add("9zaa", "0042", half_maps=True)
    path = tiny.map_file("0042")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert curate_key(tiny, key, tmp_path / "a").code == "PROCESSING_ERROR"
    path.write_bytes(b"not a map at all" * 100)
    assert curate_key(tiny, key, tmp_path / "b").code == "PROCESSING_ERROR"
    path.unlink()
    missing = curate_key(tiny, key, tmp_path / "c")
    assert (missing.code, missing.map_path) == ("PROCESSING_ERROR", None)
    assert str(tiny.root) not in missing.findings[0].sentence


def test_voxels_that_are_no_numbers(tiny: Any, tmp_path: Path) -> None:
    key = tiny.add("9zaa", "0042")
    path = tiny.map_file("0042")
    density = read_map(path)
    density.values[3, 4, 5] = np.nan
    write_map(path, density)
    result = curate_key(tiny, key, tmp_path / "work")
    assert result.code == "PROCESSING_ERROR"
    assert "emd_0042.map.gz" in result.findings[0].sentence


def test_header_that_claims_terabytes(tiny: Any, tmp_path: Path) -> None:
    key = tiny.add("9zaa", "0042")
    path = tiny.map_file("0042")
    raw = bytearray(gzip.decompress(path.read_bytes())[:1280])
    for offset in (0, 28):
        raw[offset : offset + 12] = np.array([20000] * 3, "<i4").tobytes()
    raw[40:52] = np.array([30000] * 3, "<f4").tobytes()
    path.write_bytes(gzip.compress(bytes(raw)))
    result = curate_key(tiny, key, tmp_path / "work")
    assert result.code == "BOX_MISMATCH"


def test_missing_half_map_is_a_warning(tiny: Any, tmp_path: Path) -> None:
    key = tiny.add("9zaa", "0042", half_maps=True)
    (tiny.root / "emdb/structures/EMD-0042/other/emd_0042_half_map_2.map.gz").unlink()
    result = curate_key(tiny, key, tmp_path / "work")
    assert (result.code, result.half_map_paths) == ("", ())
    assert "HALF_MAPS_INCOMPLETE" in [str(finding.code) for finding in result.findings]


def test_excluded_by_metadata_costs_no_map(tiny: Any, tmp_path: Path) -> None:
    key = tiny.add("9zaa", "0042", map_resolutions=(8.0,), model_resolution=8.0)
    tiny.map_file("0042").unlink()
    result = curate_key(tiny, key, tmp_path / "work")
    assert (result.code, result.map_path) == ("LOW_RESOLUTION", None)
    assert result.facts["map"]["dims"] == [24, 20, 28]


def test_unknown_entries(tiny: Any, tmp_path: Path) -> None:
    tiny.add("9zaa", "0042")
    result = curate_key(tiny, "9zzz_0042", tmp_path / "work")
    assert (result.code, result.findings[0].numbers) == ("NO_MODEL", {"pdb_id": "9zzz"})
    assert curate_key(tiny, "9zaa_0099", tmp_path / "work").code == "PROCESSING_ERROR"


def test_pairs_over_http_equal_those_of_the_folder(tiny: Any, tmp_path: Path, serve: Callable[[Path], Any]) -> None:
    tiny.add("9zaa", "0042", half_maps=True)
    tiny.add("9zab", "0043", link="pdb")
    tiny.add("9zac", "0044", link="emdb")
    tiny.add("9zad", "0045", link="pdb", header=b"<emd")
    tiny.add_map("0046", ["9zzz"])
    tiny.add("9zae", "0047", content="other EM volume", link="pdb")
    server = serve(tiny.root)
    server.cut_after = 500
    remote = Archive(server.url, tmp_path / "cache", patience=Patience(first_wait=0.01))
    pairs = list_pairs(remote)
    assert pairs == list_pairs(Archive(tiny.root))
    both = (Declarer.EMDB, Declarer.PDB)
    assert [(pair.key, pair.declared_by, pair.unreleased) for pair in pairs] == [
        ("9zaa_0042", both, ()),
        ("9zab_0043", (Declarer.PDB,), ()),
        ("9zac_0044", (Declarer.EMDB,), ()),
        ("9zad_0045", (Declarer.PDB,), ()),
        ("EMD-0046", (), ("9zzz",)),
        ("EMD-0047", (), ()),
    ]
    for pair in pairs:
        here = curate(pair, Archive(tiny.root), tmp_path / "here" / pair.key)
        there = curate(pair, remote, tmp_path / "there" / pair.key)
        assert (here.outcome, here.code, here.findings, here.facts) == (there.outcome, there.code, there.findings, there.facts)
    assert server.cut
    assert any(status == 206 for _, _, status in server.requests)


def test_archive_out_of_reach_is_no_finding(tiny: Any, tmp_path: Path, serve: Callable[[Path], Any]) -> None:
    key = tiny.add("9zaa", "0042")
    server = serve(tiny.root)
    server.busy = 1000
    archive = Archive(server.url, tmp_path / "cache", patience=Patience(attempts=2, first_wait=0.01))
    with pytest.raises(ArchiveError, match="503"):
        curate(parse_pair(key), archive, tmp_path / "work")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_damage_to_any_file_gives_an_answer(tmp_path_factory: pytest.TempPathFactory, tiny: Any, data: Any) -> None:
    workdir = tmp_path_factory.getbasetemp() / "damaged"
    key = tiny.add("9zaa", "0042", half_maps=True, categories=ASSEMBLY)
    path = data.draw(
        st.sampled_from(sorted(path for path in tiny.root.rglob("*") if path.is_file() and "holdings" not in path.name))
    )
    whole = path.read_bytes()
    packed = path.suffix == ".gz" and data.draw(st.booleans())
    inside = gzip.decompress(whole) if packed else whole
    place = data.draw(st.integers(0, min(len(inside), 6000)))
    damaged = inside[:place] + data.draw(st.binary(max_size=6)) + inside[place + data.draw(st.integers(0, 60)) :]
    path.write_bytes(gzip.compress(damaged, 1) if packed else damaged)
    result = curate_key(tiny, key, workdir)
    assert (result.outcome == "pass") == (result.code == "")
    assert (result.model_path is not None) == result.passed
    json.dumps([finding.as_dict() for finding in result.findings] + [result.facts])
