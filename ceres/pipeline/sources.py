"""Which archive the pairs come from."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from curation.archive import Archive
from refinement.errors import InputError

PUBLIC = "public"
"""Name of the public archives, in place of a folder or URL."""


def open_archive(root: str) -> Archive:
    """Return an archive by its folder or URL, or the public ones.

    Raises
    ------
    InputError
        If no archive is named: the public archives are large, so they aren't taken by accident.
    """
    if not root:
        message = "No archive is named."
        raise InputError("archive_not_named", message, f"Set CERES_ARCHIVE to a folder, a URL, or the word {PUBLIC}.")
    return Archive(None if root == PUBLIC else root, Path(settings.CERES_CACHE))
