"""The repository as a whole: imports, the direction of imports, and words that don't belong in it."""

from __future__ import annotations

import importlib
import pkgutil
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import ceres
import curation
import refinement

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (refinement, curation, ceres)
MODULES = [
    module.name
    for package in PACKAGES
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.name.startswith("ceres.migrations")
]
LONGEST_MODULE = 500
FOREIGN = re.compile(
    "|".join(
        (
            r"(?<![\w.])/w" "ork/",  # a path of one machine
            r"(?<![\w.])/ho" "me/(?!ceres)",
            r"(?<![\w.])/ro" "ot/",
            r"\bTO" "DO\b",
            r"\bFIX" "ME\b",
            r"NotImple" "mentedError",
            r"registry\.npmjs\.org",
            r"\bpypi\.org/simple",
        )
    )
)


def tracked_files() -> list[Path]:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("this is no git repository")
    names = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def text_of(path: Path) -> str:
    data = path.read_bytes()
    return "" if b"\0" in data[:8192] else data.decode("utf-8", errors="replace")


@pytest.mark.parametrize("name", MODULES)
def test_every_module_imports(name: str) -> None:
    assert importlib.import_module(name).__doc__, f"{name} doesn't say what it is for"


def test_imports_point_one_way() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(program), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout


def test_no_word_that_does_not_belong_here() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in tracked_files()
        if path.name != "package-lock.json"
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        if FOREIGN.search(line)
    ]
    assert found == []


def test_modules_are_short_enough_to_read() -> None:
    code = (path for path in tracked_files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] != "tests")
    lengths = {str(path.relative_to(ROOT)): len(text_of(path).splitlines()) for path in code}
    assert {name: count for name, count in lengths.items() if count > LONGEST_MODULE} == {}


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert project["version"] == refinement.__version__
    assert re.search(r"^version: (\S+)$", citation, flags=re.M)[1] == refinement.__version__  # type: ignore[index]


def test_files_named_in_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_targets_named_in_the_readme_are_in_the_makefile() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z]+)\b", text, flags=re.M))
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M))
    assert {"demo", "test", "lint", "bench", "serve"} <= named
    assert named <= known
