"""Tables that are fetched on request: from a folder or a server, all or nothing."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest

from curation.download import Patience
from curation.reference_tables import fetch_cablam_tables
from refinement.errors import InputError
from refinement.tables import cablam_files
from refinement.tables.cablam_files import COMMIT, REPOSITORY, expected_grids, file_name, git_blob_id, repository_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GRIDS = tuple(cablam_files.BLOB_IDS)
AXES = "".join(f"#   x{k}: -180.0 180.0 3 true\n" for k in (1, 2, 3))


@pytest.fixture
def contents(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, bytes]:
    """Small files that stand for the published ones."""
    made = {name: f"{AXES}-120.0 0.0 120.0 0.{k + 1}\n".encode() for k, name in enumerate(GRIDS)}
    ids = {name: git_blob_id(data) for name, data in made.items()}
    monkeypatch.setattr(cablam_files, "BLOB_IDS", ids)
    monkeypatch.setenv("CERES_TABLES", str(tmp_path / "tables"))
    return made


@pytest.fixture
def folder(contents: dict[str, bytes], tmp_path: Path) -> Path:
    place = tmp_path / "published"
    place.mkdir()
    for name, data in contents.items():
        (place / file_name(name)).write_bytes(data)
    return place


def test_files_of_a_folder_are_installed(folder: Path, contents: dict[str, bytes]) -> None:
    packed = folder / file_name("gly")
    packed.with_name(packed.name + ".gz").write_bytes(gzip.compress(packed.read_bytes()))
    packed.unlink()
    seen: list[str] = []
    path = fetch_cablam_tables(folder, progress=seen.append)
    assert path.is_file()
    assert seen == [file_name(name) for name in GRIDS]
    grids = expected_grids()
    assert grids is not None
    assert grids["gly"].values[0, 1, 2] == pytest.approx(0.1 * (GRIDS.index("gly") + 1))


@pytest.mark.parametrize(("damage", "code"), [(None, "table_missing"), (b"other", "table_not_recognised")])
def test_incomplete_or_other_files_install_nothing(folder: Path, tmp_path: Path, damage: bytes | None, code: str) -> None:
    file = folder / file_name("transpro_CA")
    file.unlink() if damage is None else file.write_bytes(damage)
    with pytest.raises(InputError) as caught:
        fetch_cablam_tables(folder, target=tmp_path / "new")
    assert caught.value.code == code
    assert not (tmp_path / "new").exists()


def test_damaged_gzip_is_named(folder: Path) -> None:
    file = folder / file_name("gly")
    file.with_name(file.name + ".gz").write_bytes(b"\x1f\x8b nothing")
    file.unlink()
    with pytest.raises(InputError, match=r"cablam\.8000\.expected\.gly\.stat") as caught:
        fetch_cablam_tables(folder)
    assert caught.value.code == "table_unreadable"


def test_download_comes_from_the_fixed_commit(contents: dict[str, bytes], tmp_path: Path, serve: Callable[[Path], Any]) -> None:
    for name, data in contents.items():
        path = tmp_path / "site" / REPOSITORY / COMMIT / repository_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    server = serve(tmp_path / "site")
    patience = Patience(attempts=2, first_wait=0.005, longest_wait=0.01, chunk=5)
    path = fetch_cablam_tables(site=server.url.rstrip("/"), target=tmp_path / "here", patience=patience)
    assert path.parent == tmp_path / "here"
    assert len(server.requests) == len(GRIDS)
    (tmp_path / "site" / REPOSITORY / COMMIT / repository_path("general")).write_bytes(b"changed")
    with pytest.raises(InputError, match="isn't the published file"):
        fetch_cablam_tables(site=server.url.rstrip("/"), target=tmp_path / "there", patience=patience)
    assert not (tmp_path / "there").exists()
