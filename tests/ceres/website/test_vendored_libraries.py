from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vendor_static", ROOT / "tools" / "vendor_static.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_modules(tool: ModuleType, folder: Path) -> Path:
    for package, names in tool.FILES.items():
        (folder / package).mkdir(parents=True)
        (folder / package / "package.json").write_text(json.dumps({"version": "1.2.3", "license": "MIT"}))
        for name in names:
            path = folder / package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            comment = "/*# sourceMappingURL=a.css.map */" if name.endswith(".css") else "//# sourceMappingURL=a.js.map"
            path.write_text(f"content of {name}\n{comment}\n")
    return folder


def test_files_are_copied_without_source_maps(tool: ModuleType, tmp_path: Path) -> None:
    target = tmp_path / "vendor"
    (target / "old").mkdir(parents=True)
    rows = tool.vendor(make_modules(tool, tmp_path / "node_modules"), target)
    assert not (target / "old").exists()
    assert {row["package"] for row in rows} == {"bootstrap", "ngl", "uplot"}
    assert json.loads((target / "VENDORED.json").read_text()) == rows
    for row in rows:
        text = (target / row["file"]).read_text()
        assert text.startswith("content of")
        assert "sourceMappingURL" not in text


def test_a_missing_package_leaves_what_was_there(tool: ModuleType, tmp_path: Path) -> None:
    target = tmp_path / "vendor"
    (target / "ngl").mkdir(parents=True)
    with pytest.raises(FileNotFoundError):
        tool.vendor(tmp_path / "node_modules", target)
    assert (target / "ngl").is_dir()


def test_versions_are_exact_and_the_lock_names_no_host() -> None:
    wanted = json.loads((ROOT / "package.json").read_text())["dependencies"]
    lock = json.loads((ROOT / "package-lock.json").read_text())
    assert all(version[0].isdigit() for version in wanted.values())
    assert {name: lock["packages"][f"node_modules/{name}"]["version"] for name in wanted} == wanted
    packages = [row for name, row in lock["packages"].items() if name]
    assert all("integrity" in row and "resolved" not in row for row in packages)
