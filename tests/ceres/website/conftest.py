"""Fixtures of the tests of the pages."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper


@pytest.fixture(scope="session")
def factory() -> ModuleType:
    """The module that makes entries, jobs and results."""
    spec = importlib.util.spec_from_file_location("site_factory", Path(__file__).with_name("site_factory.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def artifact_folder(settings: SettingsWrapper, tmp_path: Path) -> Path:
    """An artifact storage of the test's own."""
    storage: dict[str, Any] = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": tmp_path}}
    settings.STORAGES = {**settings.STORAGES, "artifacts": storage}
    return tmp_path
