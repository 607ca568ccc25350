"""A cache of their own for tests that make dictionaries; the component dictionary is unpacked into it once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from refinement.compounds.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def _unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ceres-cache")


@pytest.fixture(autouse=True)
def cache(_unpacked: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("CERES_CACHE", str(_unpacked))
    monkeypatch.delenv("CLIBD_MON", raising=False)
    open_store.cache_clear()
    yield _unpacked
    open_store.cache_clear()
