"""The ``ceres`` command on the example archive: what it prints, what it writes, and its exit status."""

from __future__ import annotations

import csv
import errno
import gzip
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from ceres.cli import DONE, EXCLUDED, FAULT, INTERRUPTED, UNUSABLE, main
from ceres.terminal import Terminal
from curation.archive import half_map_path, map_path, model_path
from curation.example import build_example_archive
from refinement.errors import InputError
from refinement.operators import Operators
from refinement.validation.percentiles import Reference
from refinement.validation.registry import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "boxed_map.ccp4.gz",
    "changes.json",
    "curves.json",
    "log.jsonl",
    "log.txt",
    "refined.cif.gz",
    "residues.parquet",
    "table_one.json",
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_example_archive(tmp_path_factory.mktemp("example") / "archive")


@pytest.fixture(scope="module")
def model(archive: Path) -> Path:
    return archive / model_path("9xa1")


@pytest.fixture(scope="module")
def density(archive: Path) -> Path:
    return archive / map_path("EMD-90001")


@pytest.fixture(scope="module")
def refined(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    """Status and folder of one run of the good pair."""
    output = tmp_path_factory.mktemp("run") / "output"
    words = ["run", "9XA1", "90001", "--archive", str(archive), "--protocol", "quick", "--quiet", "-o", str(output)]
    return main(words), output


def small_model(path: Path, change: Callable[[gemmi.Structure], None], source: Path) -> Path:
    structure = gemmi.read_structure(str(source))
    for name in ("B", "C", "D", "E", "W"):
        structure[0].remove_chain(name)
    structure.connections.clear()
    change(structure)
    structure.make_mmcif_document().write_file(str(path))
    return path


def rename_first(structure: gemmi.Structure) -> None:
    structure[0]["A"][0].name = "DRG"


def move_away(structure: gemmi.Structure) -> None:
    for site in structure[0].all():
        site.atom.pos += gemmi.Position(500.0, 0.0, 0.0)


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """What was said on standard error, after a look that nothing went to standard output and no traceback is in it."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert captured.err.startswith("ceres: ")
    assert len(captured.err.splitlines()) <= 2
    return captured.err


def test_a_pair_is_refined(refined: tuple[int, Path]) -> None:
    status, output = refined
    assert status == DONE
    assert {path.name for path in output.iterdir()} == FILES
    table = json.loads((output / "table_one.json").read_text(encoding="utf-8"))
    assert table["refined"]["cc_mask"] > table["initial"]["cc_mask"] + 0.02
    assert table["refined"]["clashscore"] < table["initial"]["clashscore"]


def test_the_outcome_says_what_was_kept_and_what_changed(refined: tuple[int, Path], capsys: pytest.CaptureFixture[str]) -> None:
    table = json.loads((refined[1] / "table_one.json").read_text(encoding="utf-8"))
    Terminal().outcome(table)
    printed = capsys.readouterr().out.splitlines()
    place = printed.index(table["refinement"]["verdict"])
    assert re.match(r"Improved: \d+ of \d+ metrics better, \d+ worse", printed[place - 1])
    assert re.match(r"\d+ side chains changed rotamer: \w+/\d+ [A-Z]{3} [^ ]+→[^ ,]+, ", printed[place + 1])
    assert any(line.startswith("  CC mask") for line in printed[:place])


def test_cycles_are_plain_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    event = {"event": "state", "cycle": 0, "cc_mask": 0.7}
    for terminal, lines in ((Terminal(), 3), (Terminal(as_json=True), 0), (Terminal(quiet=True), 0)):
        with terminal.refinement() as (progress, listen):
            progress("refine", "macro-cycle 1 of 2", 0.5)
            listen(event)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert len(captured.err.splitlines()) == lines
        assert "\x1b" not in captured.err


def test_validation_prints_one_json_object(
    model: Path, density: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", str(model), str(density), "-d", "3.0", "-o", str(tmp_path / "v"), "--json"]) == DONE
    captured = capsys.readouterr()
    table = json.loads(captured.out)
    assert captured.err == ""
    assert table["initial"]["resolution"] == 3.0
    assert table == json.loads((tmp_path / "v" / "table_one.json").read_text(encoding="utf-8"))
    assert {path.name for path in (tmp_path / "v").iterdir()} == FILES - {"refined.cif.gz", "boxed_map.ccp4.gz", "changes.json"}


def test_validation_writes_csv_and_a_page(model: Path, density: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, table = tmp_path / "new" / "page.html", tmp_path / "table.csv"
    words = ["validate", str(model), str(density), "-d", "3.0", "-o", str(tmp_path / "v")]
    assert main([*words, "--csv", str(table), "--html", str(page)]) == DONE
    assert "good ≤ 10, poor ≥ 20" in capsys.readouterr().out
    rows = {row["key"]: row for row in csv.DictReader(table.read_text(encoding="utf-8").splitlines())}
    content = json.loads((tmp_path / "v" / "table_one.json").read_text(encoding="utf-8"))
    assert float(rows["clashscore"]["initial"]) == content["initial"]["clashscore"]
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert "FSC of model and map" in text
    assert list(page.parent.iterdir()) == [page]

    assert main([*words, "--csv", "-"]) == DONE
    assert list(csv.DictReader(capsys.readouterr().out.splitlines())) == list(rows.values())


@pytest.mark.parametrize(("extra", "word"), [(["--csv", "-", "--json"], "--csv -"), (["--html", "."], "folder")])
def test_places_of_csv_and_page_are_checked_first(
    model: Path, density: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: list[str], word: str
) -> None:
    assert main(["validate", str(model), str(density), "-d", "3", "-o", str(tmp_path / "v"), *extra]) == UNUSABLE
    assert word in capsys.readouterr().err
    assert not (tmp_path / "v").exists()


def test_own_distributions_come_first(model: Path, density: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ours.npz"
    Reference("ours", np.full(30, 3.0), {"clashscore": np.arange(30) + 1000.0}).write(path)
    words = ["validate", str(model), str(density), "-d", "3", "-o", str(tmp_path / "v"), "--json"]
    assert main([*words, "--reference", str(path)]) == DONE
    found = json.loads(capsys.readouterr().out)["details"]["initial"]["percentiles"]
    assert (found["clashscore"]["archive"], found["clashscore"]["source"]) == (100.0, "ours")
    assert {"q_score", "smoc"} <= found.keys()
    assert main([*words, "--reference", str(model)]) == UNUSABLE
    assert "no reference distribution" in capsys.readouterr().err


def test_table_one_says_what_is_wanted_and_why_something_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    values = {metric.key: None for metric in METRICS} | {"clashscore": 25.0, "rama_z": -1.0, "d_99_masked": 3.0}
    Terminal().table_one({"initial": values, "reasons": {"emringer": "not_applicable"}})
    printed = " ".join(capsys.readouterr().out.split())
    assert "Clashscore 25.00 poor good ≤ 10, poor ≥ 20" in printed
    assert "Rama-Z -1.00 good" in printed
    assert "d99, masked, Å 3.00" in printed
    assert "EMRinger – There is nothing in this model" in printed
    assert "Rmsd to deposited" not in printed


def test_table_one_has_arrows_and_words(capsys: pytest.CaptureFixture[str]) -> None:
    before = {metric.key: None for metric in METRICS} | {"clashscore": 20.0, "cc_mask": 0.7, "rama_favored": 97.0}
    after = before | {"clashscore": 4.0, "cc_mask": 0.6}
    Terminal().table_one({"initial": before, "refined": after})
    printed = capsys.readouterr().out.splitlines()
    lines = {line.split("  ")[1].strip(): line for line in printed if re.match(r"  \w", line)}
    assert "↘" in lines["Clashscore"]
    assert lines["Clashscore"].rstrip().endswith("better")
    assert lines["CC mask"].rstrip().endswith("worse")
    assert lines["Ramachandran favoured, %"].rstrip().endswith("same")
    assert len(lines) == 3


def test_an_excluded_pair_says_why(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "9xb1", "EMD-90002", "--archive", str(archive), "--json"]
    assert main(words) == EXCLUDED
    answer = json.loads(capsys.readouterr().out)
    assert (answer["outcome"], answer["code"]) == ("refuse", "RESOLUTION_MISMATCH")
    assert "3.6" in answer["findings"][0]["sentence"]


def test_curation_prints_every_finding_with_its_numbers(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["curate", "9xb1", "EMD-90002", "--archive", str(archive)]
    assert main(words) == EXCLUDED
    printed = capsys.readouterr().out
    assert "excluded: RESOLUTION_MISMATCH" in printed
    assert main([*words, "--json"]) == EXCLUDED
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert (answer["pair"], answer["outcome"], answer["code"]) == ("9xb1_90002", "refuse", "RESOLUTION_MISMATCH")
    assert answer["facts"]["pair"] == answer["pair"]
    for finding in answer["findings"]:
        assert f"{finding['code']}: {finding['sentence']}" in printed
    values = next(row["numbers"]["values"] for row in answer["findings"] if row["code"] == answer["code"])
    for number, stated in enumerate(values, start=1):
        assert f"Stated value, {number}: {stated['value']:g} ({stated['source']})" in printed


def test_curation_of_a_good_pair(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["curate", "9xa1", "90001", "--archive", str(archive), "-o", str(tmp_path / "curated")]
    assert main(words) == DONE
    assert "may be refined" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "curated").iterdir()] == ["model.cif.gz"]


@pytest.mark.shared
def test_operators_of_the_assembly_reach_the_engine(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, object] = {}

    def stopped(*_arguments: object, **options: object) -> None:
        seen.update(options)
        raise InputError("stopped", "That is enough.")

    monkeypatch.setattr("refinement.run.refine_files", stopped)
    words = ["run", "9asm", "EMD-99001", "--archive", str(shared / "archive"), "-o", str(tmp_path / "o")]
    assert main(words) == UNUSABLE
    assert "That is enough." in capsys.readouterr().err
    assert isinstance(seen["operators"], Operators)
    assert len(seen["operators"]) == 4


@pytest.mark.parametrize("resolution", [[], ["-d", "0"], ["-d", "-3"], ["-d", "nan"], ["-d", "three"]])
@pytest.mark.parametrize("command", ["refine", "validate"])
def test_a_resolution_is_needed(
    command: str, resolution: list[str], model: Path, density: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(model), str(density), *resolution, "-o", str(tmp_path / "o")]) == UNUSABLE
    said = complaint(capsys)
    assert "resolution" in said
    assert density.name in said
    assert list(tmp_path.iterdir()) == []


def test_unusable_models(model: Path, density: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty.cif"
    empty.write_text("data_empty\n", encoding="utf-8")
    half = tmp_path / "half.cif.gz"
    half.write_bytes(model.read_bytes()[:9000])
    bad = {
        "missing.cif": tmp_path / "missing.cif",
        "empty.cif": empty,
        "half.cif.gz": half,
        "DRG": small_model(tmp_path / "unknown.cif", rename_first, model),
        "away.cif": small_model(tmp_path / "away.cif", move_away, model),
    }
    kept = set(tmp_path.iterdir())
    for word, path in bad.items():
        assert main(["refine", str(path), str(density), "-d", "3", "-o", str(tmp_path / "o")]) == UNUSABLE
        assert word in complaint(capsys)
        assert set(tmp_path.iterdir()) == kept


def test_unusable_maps(model: Path, density: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = gzip.decompress(density.read_bytes())
    not_a_number = content[:1024] + np.full((len(content) - 1024) // 4, np.nan, dtype="<f4").tobytes()
    bad = {"text.map": b"no map\n" * 500, "short.map": content[:200_000], "nan.map": not_a_number, "empty.map": b""}
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    kept = set(tmp_path.iterdir())
    for name in (*bad, "missing.map"):
        assert main(["validate", str(model), str(tmp_path / name), "-d", "3", "-o", str(tmp_path / "o")]) == UNUSABLE
        assert name in complaint(capsys)
        assert set(tmp_path.iterdir()) == kept


def test_half_maps_come_in_pairs_on_the_same_grid(
    model: Path, density: Path, archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = [archive / half_map_path("EMD-90003", f"emd_90003_half_map_{count}.map.gz") for count in (1, 2)]
    words = ["validate", str(model), str(density), "-d", "3", "-o", str(tmp_path / "o"), "--half-map", str(other[0])]
    assert main(words) == UNUSABLE
    assert "half-map" in complaint(capsys)
    assert main([*words, "--half-map", str(other[1])]) == UNUSABLE
    assert other[0].name in complaint(capsys)


def test_complaints_as_json(density: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["validate", "nowhere.cif", str(density), "-d", "3", "-o", str(tmp_path / "o"), "--json"]
    assert main(words) == UNUSABLE
    answer = json.loads(capsys.readouterr().out)
    assert answer["status"] == UNUSABLE
    assert answer["error"]["code"] == "model_missing"
    assert "nowhere.cif" in answer["error"]["message"]


def test_a_full_disk(
    model: Path, density: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_content: object) -> None:
        path.write_text("half", encoding="utf-8")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("refinement.run.write_json", full)
    assert main(["validate", str(model), str(density), "-d", "3", "-o", str(tmp_path / "a" / "b")]) == UNUSABLE
    assert "disk is full" in complaint(capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("refined")  # after it all kernels are compiled, so that only results are written
def test_a_limit_on_file_sizes_is_like_a_full_disk(model: Path, density: Path, tmp_path: Path) -> None:
    words = f"-m ceres.cli validate {model} {density} -d 3 -o {tmp_path / 'o'}"
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 4; exec {sys.executable} {words}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert (done.returncode, done.stdout) == (UNUSABLE, "")
    assert str(tmp_path / "o") in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be(model: Path, density: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["refine", str(model), str(density), "-d", "3", "-o", str(tmp_path / "file" / "o")]) == UNUSABLE
    assert str(tmp_path / "file") in complaint(capsys)


def test_a_fault_of_ours(
    model: Path, density: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object, **_options: object) -> None:
        message = "a secret of the engine"
        raise ZeroDivisionError(message)

    monkeypatch.setattr("refinement.run.refine_files", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    words = ["refine", str(model), str(density), "-d", "3", "-o", str(tmp_path / "o")]
    assert main(words) == FAULT
    said = complaint(capsys)
    assert "secret" not in said
    (log,) = tmp_path.glob("ceres-*.log")
    assert str(log) in said
    assert "a secret of the engine" in log.read_text(encoding="utf-8")
    assert main([*words, "--debug"]) == FAULT
    assert "Traceback" in capsys.readouterr().err


def test_stopping(
    model: Path, density: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("refinement.run.validate_files", stopped)
    assert main(["validate", str(model), str(density), "-d", "3", "-o", str(tmp_path / "o")]) == INTERRUPTED
    assert "stopped" in complaint(capsys)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "COMMAND"),
        (["polish"], "polish"),
        (["refine", "model.cif"], "MAP"),
        (["refine", "m", "d", "-d", "3", "-o", "o", "--threads", "0"], "0 threads"),
        (["validate", "m", "d", "-d", "3", "-o", "o", "--contour", "nan"], "--contour"),
        (["curate", "x", "90001", "--archive", "."], "'x'"),
        (["curate", "9xa1", "90001", "--archive", "/nowhere"], "/nowhere"),
    ],
)
def test_a_command_line_without_sense(words: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == UNUSABLE
    assert named in complaint(capsys)


def test_an_unknown_protocol(model: Path, density: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["refine", str(model), str(density), "-d", "3", "-o", str(tmp_path / "o"), "--protocol", "magic"]
    assert main(words) == UNUSABLE
    assert "magic" in complaint(capsys)


def test_no_django_and_one_thread_in_linear_algebra(tmp_path: Path) -> None:
    program = (
        "import os, sys; from ceres.cli import main; status = main(['validate', 'a', 'b', '-d', '3', '-o', 'c']);"
        "print(status, os.environ['OMP_NUM_THREADS'], [name for name in sys.modules if name.startswith(('django', 'celery'))])"
    )
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "2 1 []\n"


def test_the_version_is_that_of_the_engine() -> None:
    ceres = shutil.which("ceres", path=str(Path(sys.executable).parent))
    command = [ceres] if ceres else [sys.executable, "-m", "ceres.cli"]
    done = subprocess.run([*command, "--version"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "ceres 0.1.0\n"
