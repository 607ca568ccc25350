"""Fixtures for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the real data that lies beside the repository."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"the real data are not here ({folder})")
    return folder


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give every test process its own database; SQLite lies in a file, so that threads can share it."""
    import os

    from django.db import connections

    connection = connections["default"]
    name = str(tmp_path_factory.mktemp("database") / "test.sqlite3")
    if connection.vendor != "sqlite":
        name = f"test_ceres_{os.getpid()}"
    connection.settings_dict["TEST"]["NAME"] = name
