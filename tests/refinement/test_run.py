"""From files to files: what is written, and what happens to bad input."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pyarrow.parquet as pq
import pytest

from curation.example_model import build_truth
from refinement import run
from refinement.errors import InputError
from refinement.maps.density import Density, read_map, write_map
from refinement.maps.scattering import model_map
from refinement.output import RunLog, clean, output_folder
from refinement.restraints.hydrogens import add_hydrogens
from refinement.restraints.library import load_monomer_library
from refinement.settings import PROTOCOLS
from refinement.structure import from_gemmi, read_structure
from refinement.validation.registry import BY_KEY, MASKED_TWINS, REASONS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A hairpin of the example protein (with an added metadata category) and its map at 3 Å, away from the origin."""
    folder = tmp_path_factory.mktemp("pair")
    truth = from_gemmi(build_truth())
    residues = truth.residues
    model = truth.without(~((residues.chain == "A") & (residues.number <= 24))[truth.residue])
    model = model.moved(model.positions + np.array([40.0, -15.0, 120.0]))
    corner = model.positions.min(axis=0) - 7.0
    dims = np.ceil((model.positions.max(axis=0) + 7.0 - corner) / 1.0).astype(int)
    empty = Density(np.zeros(dims, dtype=np.float32), gemmi.UnitCell(*dims.astype(float), 90, 90, 90), corner)
    write_map(folder / "map.ccp4.gz", replace(empty, values=model_map(model, empty, 3.0)))
    shaken = model.moved(model.positions + np.random.default_rng(4).normal(scale=0.1, size=model.positions.shape))
    document = shaken.to_gemmi().make_mmcif_document()
    document[0].set_pair("_struct.title", "'a hairpin'")
    document.write_file(str(folder / "model.cif"))
    return folder / "model.cif", folder / "map.ccp4.gz"


EVENTS: list[dict] = []


@pytest.fixture(scope="module")
def refined(pair: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    output = tmp_path_factory.mktemp("out") / "run"
    stages: list[str] = []
    EVENTS.clear()
    table = run.refine_files(
        *pair,
        resolution=3.0,
        protocol="quick",
        contour=0.1,
        output=output,
        progress=lambda stage, _doing, _fraction: stages.append(stage),
        listen=EVENTS.append,
    )
    assert list(dict.fromkeys(stages)) == ["read", "refine", "validate", "write"]
    return output, table


def test_promised_files_and_nothing_else(refined: tuple[Path, dict]) -> None:
    output, table = refined
    names = {path.name for path in output.iterdir()}
    assert names == {
        "refined.cif.gz", "table_one.json", "changes.json", "residues.parquet", "boxed_map.ccp4.gz", "curves.json",
        "log.jsonl", "log.txt",
    }  # fmt: skip
    assert [path.name for path in output.parent.iterdir()] == ["run"]
    assert json.loads((output / "table_one.json").read_text())["refined"].keys() == clean(table)["refined"].keys()


def test_table_one_has_every_key_and_a_reason_for_every_gap(refined: tuple[Path, dict]) -> None:
    table = json.loads((refined[0] / "table_one.json").read_text())
    keys = {*BY_KEY, *(f"{key}_masked" for key in MASKED_TWINS)}
    assert table["schema"] == 1
    for state in ("initial", "refined"):
        assert set(table[state]) == keys
        for key, value in table[state].items():
            if value is None and not (state == "initial" and BY_KEY.get(key, BY_KEY["cc_mask"]).group == "change"):
                assert table["reasons"][key] in REASONS, key
    assert set(table["reasons"].values()) <= set(REASONS)
    assert "failed" not in table["reasons"].values()
    assert table["refined"]["cc_mask"] >= table["initial"]["cc_mask"] - 0.005
    assert table["refined"]["rmsd_to_initial"] > 0
    assert len(table["inputs"]["model"]["sha256"]) == 64
    assert table["settings"]["protocol"] == "quick"
    assert table["versions"]["ceres"]


def test_refined_model_lies_in_the_frame_of_the_input_and_keeps_its_metadata(
    refined: tuple[Path, dict], pair: tuple[Path, Path]
) -> None:
    before, after = read_structure(pair[0]), read_structure(refined[0] / "refined.cif.gz")
    assert len(before) == len(after)
    assert np.array_equal(before.names, after.names)
    assert np.abs(before.positions - after.positions).max() < 2.0
    block = gemmi.cif.read(str(refined[0] / "refined.cif.gz"))[0]
    assert gemmi.cif.as_string(block.find_value("_struct.title")) == "a hairpin"
    assert "Ceres" in list(block.find_values("_software.name"))
    assert float(block.find_value("_refine.ls_d_res_high")) == 3.0


def test_residues_have_one_row_per_residue_and_state(refined: tuple[Path, dict], pair: tuple[Path, Path]) -> None:
    rows = pq.read_table(refined[0] / "residues.parquet")
    residues = read_structure(pair[0]).residues
    assert rows.num_rows == 2 * len(residues)
    columns = set(rows.column_names)
    assert {"state", "chain", "number", "insertion_code", "compound", "cc", "q_score", "phi", "psi", "b_iso", "shift"} <= columns
    first = rows.slice(0, len(residues)).to_pydict()
    assert first["number"] == residues.number.tolist()
    assert set(first["state"]) == {"initial"}


def test_boxed_map_holds_the_model(refined: tuple[Path, dict], pair: tuple[Path, Path]) -> None:
    box, whole = read_map(refined[0] / "boxed_map.ccp4.gz"), read_map(pair[1])
    assert box.contains(read_structure(pair[0]).positions).all()
    at = np.round((box.corner - whole.corner) / whole.voxel).astype(int)
    nx, ny, nz = box.dims
    np.testing.assert_allclose(box.values, whole.values[at[0] : at[0] + nx, at[1] : at[1] + ny, at[2] : at[2] + nz], rtol=1e-6)


def test_log_is_readable_by_people_and_programs(refined: tuple[Path, dict]) -> None:
    rows = [json.loads(line) for line in (refined[0] / "log.jsonl").read_text().splitlines()]
    assert {"read", "weight", "state", "choice", "done"} <= {row["event"] for row in rows}
    assert "Map weight" in (refined[0] / "log.txt").read_text()


def test_whoever_listens_hears_every_cycle_as_it_is_recorded(refined: tuple[Path, dict]) -> None:
    output, table = refined
    assert [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()] == EVENTS
    start, *cycles = [event for event in EVENTS if event["event"] == "state"]
    record = table["refinement"]
    assert start["cycle"] == 0
    assert start["cc_mask"] == pytest.approx(table["initial"]["cc_mask"], abs=0.01)
    assert [event["cycle"] for event in cycles] == [row["cycle"] for row in record["cycles"]]
    for event, row in zip(cycles, record["cycles"], strict=True):
        assert event["cc_mask"] == pytest.approx(row["cc_mask"], abs=1e-6)
        assert {"weight", "moves_made", "moves_undone", "cycle_seconds", "bonds_rmsd", "clashscore"} <= row.keys()
    assert cycles[-1]["cc_mask"] > start["cc_mask"]
    assert record["verdict"].startswith(f"{record['kept'].capitalize()} is kept")


def test_a_second_refinement_in_a_run_is_marked(tmp_path: Path) -> None:
    rows: list[dict] = []
    log = RunLog(rows.append)
    log.add("one", "First.")
    with log.part("half-map 1"):
        log.add("two", "Second.", number=2)
    log.add("three", "Third.")
    assert [row.get("part") for row in rows] == [None, "half-map 1", None]
    log.write(tmp_path)
    assert [line.split(" s  ")[1] for line in (tmp_path / "log.txt").read_text().splitlines()] == [
        "First.", "half-map 1: Second.", "Third.",
    ]  # fmt: skip


def test_changes_are_listed(refined: tuple[Path, dict]) -> None:
    output, table = refined
    listed, shown = json.loads((output / "changes.json").read_text()), table["refinement"]["changes"]
    kinds = {"rotamers", "peptides", "moved", "fit_better", "fit_worse"}
    assert listed["counts"] == shown["counts"] == {kind: len(listed[kind]) for kind in kinds}
    assert listed["counts"]["rotamers"] == table["refined"]["rotamers_changed"]
    assert all(len(shown[kind]) == min(listed["counts"][kind], run.FIRST) for kind in kinds)


def test_the_same_input_gives_the_same_model(refined: tuple[Path, dict], pair: tuple[Path, Path], tmp_path: Path) -> None:
    run.refine_files(*pair, resolution=3.0, protocol="quick", contour=0.1, threads=2, output=tmp_path / "again")
    assert (tmp_path / "again" / "refined.cif.gz").read_bytes() == (refined[0] / "refined.cif.gz").read_bytes()


def test_a_model_outside_the_map_is_docked_on_request(
    pair: tuple[Path, Path], refined: tuple[Path, dict], tmp_path: Path
) -> None:
    moved = read_structure(pair[0])
    away = (moved.positions - moved.positions.mean(axis=0)) @ np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    moved.moved(away + 900.0).to_gemmi().make_mmcif_document().write_file(str(tmp_path / "away.cif"))
    table = run.refine_files(
        tmp_path / "away.cif", pair[1], resolution=3.0, protocol="quick", dock=True, output=tmp_path / "docked"
    )
    assert table["refined"]["cc_mask"] == pytest.approx(refined[1]["refined"]["cc_mask"], abs=0.01)
    placement = table["refinement"]["placement"]
    assert placement["cc_initial"] == 0.0
    assert placement["cc_final"] > 0.8
    assert [step["move"] for step in placement["steps"] if step["kept"]] == ["docking"]
    assert "Docking: turned by" in (tmp_path / "docked" / "log.txt").read_text()
    assert read_map(pair[1]).contains(read_structure(tmp_path / "docked" / "refined.cif.gz").positions).all()


def test_a_placed_model_keeps_its_place_when_no_cycle_is_kept(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = read_structure(pair[0])
    library = load_monomer_library(np.unique(given.residues.compound).tolist())
    full = add_hydrogens(given, library)
    full.moved(full.positions + np.array([2.0, -2.0, 1.0])).to_gemmi().make_mmcif_document().write_file(str(tmp_path / "h.cif"))
    monkeypatch.setattr("refinement.choice.harm", lambda _before, _after: ["clashscore"])
    table = run.refine_files(tmp_path / "h.cif", pair[1], resolution=3.0, protocol="quick", output=tmp_path / "out")
    assert table["refinement"]["kept"] == "placed"
    after = read_structure(tmp_path / "out" / "refined.cif.gz")
    assert len(after) == len(full)
    heavy = ~after.is_hydrogen
    assert np.abs(after.positions[heavy] - given.positions).max() < 0.3
    bonded = np.linalg.norm(after.positions[~heavy][:, None] - after.positions[heavy][None], axis=2).min(axis=1)
    assert bonded.max() < 1.4


def test_the_protocol_of_2020_keeps_its_last_cycle_and_one_b_factor_for_each_residue(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = PROTOCOLS["ceres2020"].model_copy(update={"cycles": 3})
    monkeypatch.setitem(PROTOCOLS, "ceres2020", short)
    monkeypatch.setattr("refinement.choice.harm", lambda _before, _after: ["clashscore"])
    table = run.refine_files(*pair, resolution=3.0, protocol="ceres2020", output=tmp_path / "out")
    record = table["refinement"]
    assert record["kept"] == record["cycles"][-1]["state"]
    assert record["verdict"].endswith("It has more clashes than the input.")
    assert all(row["moves_undone"] == 0 for row in record["cycles"])
    model = read_structure(tmp_path / "out" / "refined.cif.gz")
    assert record["b_groups"] == len(model.residues)
    assert table["refined"]["cc_mask"] > table["initial"]["cc_mask"]


def test_validation_writes_no_model(pair: tuple[Path, Path], tmp_path: Path) -> None:
    table = run.validate_files(*pair, resolution=3.0, output=tmp_path / "v")
    assert "refined" not in table
    assert table["reasons"]["rmsd_to_initial"] == "no_refined_model"
    assert {path.name for path in (tmp_path / "v").iterdir()} == {
        "table_one.json", "residues.parquet", "curves.json", "log.jsonl", "log.txt",
    }  # fmt: skip


def test_validation_notes_atoms_that_are_there_twice(pair: tuple[Path, Path], tmp_path: Path) -> None:
    structure = gemmi.read_structure(str(pair[0]))
    structure[0][0][3].add_atom(structure[0][0][3][1].clone())
    structure.make_mmcif_document().write_file(str(tmp_path / "doubled.cif"))
    run.validate_files(tmp_path / "doubled.cif", pair[1], resolution=3.0, output=tmp_path / "v")
    residue = structure[0][0][3]
    said = f"1 atoms more than once, without different alternate conformers, the first at A/{residue.name} {residue.seqid} CA"
    assert said in (tmp_path / "v" / "log.txt").read_text()


def test_validation_leaves_a_refinement_alone(refined: tuple[Path, dict], pair: tuple[Path, Path]) -> None:
    before = {path.name: path.read_bytes() for path in refined[0].iterdir()}
    with pytest.raises(InputError, match=r"refined\.cif\.gz") as caught:
        run.validate_files(refined[0] / "refined.cif.gz", pair[1], resolution=3.0, output=refined[0])
    assert caught.value.code == "output_holds_refinement"
    assert {path.name: path.read_bytes() for path in refined[0].iterdir()} == before


def cut_short(path: Path, folder: Path, share: float) -> Path:
    data = path.read_bytes()
    out = folder / path.name
    out.write_bytes(data[: int(len(data) * share)])
    return out


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("no model", "model_missing"),
        ("no map", "map_missing"),
        ("model is a map", "model_unreadable"),
        ("map is a model", "map_not_a_map"),
        ("model cut short", "model_unreadable"),
        ("map cut short", "map_truncated"),
        ("no atoms", "model_empty"),
        ("nan coordinates", "model_unreadable"),
        ("model elsewhere", "model_outside_map"),
        ("resolution zero", "resolution_invalid"),
        ("resolution nan", "resolution_invalid"),
        ("one half-map", "half_maps_incomplete"),
        ("half-map of another grid", "half_map_grid"),
        ("half-maps the same", "half_maps_identical"),
        ("half-map is the map", "half_maps_identical"),
        ("atoms twice", "model_atoms_doubled"),
        ("unknown compound", "compound_unknown"),
        ("unknown protocol", "protocol_unknown"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(change: str, code: str, pair: tuple[Path, Path], tmp_path: Path) -> None:
    model, density = pair
    options: dict = {"resolution": 3.0}
    text = model.read_text()
    changed = tmp_path / "changed.cif"
    if change == "no model":
        model = tmp_path / "missing.cif"
    elif change == "no map":
        density = tmp_path / "missing.map"
    elif change == "model is a map":
        model = tmp_path / "plain.map"
        write_map(model, read_map(density))
    elif change == "map is a model":
        density = model
    elif change == "model cut short":
        model = cut_short(model, tmp_path, 0.7)
    elif change == "map cut short":
        density = cut_short(density, tmp_path, 0.6)
    elif change == "no atoms":
        changed.write_text("data_x\nloop_\n_atom_site.id\n_atom_site.Cartn_x\n")
        model = changed
    elif change == "nan coordinates":
        structure = gemmi.read_structure(str(model))
        structure[0][0][3][0].pos.x = float("nan")
        structure.make_mmcif_document().write_file(str(changed))
        model = changed
    elif change == "model elsewhere":
        moved = read_structure(model)
        moved.moved(moved.positions + 300.0).to_gemmi().make_mmcif_document().write_file(str(changed))
        model = changed
    elif change.startswith("resolution"):
        options["resolution"] = {"zero": 0.0, "nan": float("nan")}[change.split()[1]]
    elif change == "one half-map":
        options["half_maps"] = [density]
    elif change == "half-map of another grid":
        half = read_map(density)
        write_map(tmp_path / "half.map", replace(half, corner=half.corner + 5.0))
        options["half_maps"] = [density, tmp_path / "half.map"]
    elif change in {"half-maps the same", "half-map is the map"}:
        half = read_map(density)
        for number, factor in enumerate((2, 2) if change.endswith("same") else (1, 2)):
            write_map(tmp_path / f"half{number}.map", replace(half, values=half.values * np.float32(factor)))
        options["half_maps"] = [tmp_path / "half0.map", tmp_path / "half1.map"]
    elif change == "atoms twice":
        structure = gemmi.read_structure(str(model))
        structure[0][0][3].add_atom(structure[0][0][3][1].clone())
        structure.make_mmcif_document().write_file(str(changed))
        model = changed
    elif change == "unknown compound":
        changed.write_text(text.replace(" PHE ", " LIG "))
        model = changed
    elif change == "unknown protocol":
        options["protocol"] = "fastest"
    output = tmp_path / "out" / "deeper"
    with pytest.raises(InputError) as caught:
        run.refine_files(model, density, output=output, **options)
    assert caught.value.code == code or (change == "nan coordinates" and caught.value.code == "model_not_finite")
    assert caught.value.message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("existing", [False, True])
def test_a_full_disk_leaves_nothing_half_written(existing: bool, tmp_path: Path) -> None:
    target = tmp_path / "a" / "b"
    if existing:
        target.mkdir(parents=True)
        (target / "kept.txt").write_text("old")

    def write() -> None:
        with output_folder(target) as folder:
            (folder / "first.txt").write_text("x")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write()
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left == ({"a", "a/b", "a/b/kept.txt"} if existing else set())


def test_a_folder_in_the_way_is_named_and_nothing_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out"
    (target / "second.txt").mkdir(parents=True)
    (target / "first.txt").write_text("old")

    def write() -> None:
        with output_folder(target) as folder:
            (folder / "first.txt").write_text("new")
            (folder / "second.txt").write_text("new")

    with pytest.raises(IsADirectoryError, match=r"out/second\.txt"):
        write()
    assert (target / "first.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
