"""Which archive the pairs come from."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from curation.archive import Archive
from refinement.errors import InputError

PUBLIC = "public"
"""Name of the public archives, in place of a folder or URL."""


def open_archive(root: str) -> Archive:
    """Return an archive by its folders and URLs, or the public ones.

    The folders of CERES_PDB_DIR and CERES_EMDB_DIR are asked first.

    Raises
    ------
    InputError
        If no archive is named: the public archives are large, so they aren't taken by accident.
    """
    if not root:
        message = "No archive is named."
        raise InputError("archive_not_named", message, f"Set CERES_ARCHIVE to a folder, a URL, or the word {PUBLIC}.")
    return Archive(
        None if root == PUBLIC else root,
        Path(settings.CERES_CACHE),
        pdb_base=settings.CERES_PDB_DIR or None,
        emdb_base=settings.CERES_EMDB_DIR or None,
        budget=settings.CERES_CACHE_GB * 10**9 or None,
        connections=settings.CERES_CONNECTIONS,
    )
