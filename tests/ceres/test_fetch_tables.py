"""The command that installs tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command

if TYPE_CHECKING:
    from pathlib import Path


def test_command_needs_the_published_files(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"has no file cablam\.8000\.expected\.") as caught:
        call_command("fetch_tables", "--from", str(tmp_path), "--to", str(tmp_path / "tables"))
    assert caught.value.returncode == 2
    assert not (tmp_path / "tables").exists()
