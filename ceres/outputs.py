"""Where the ``ceres`` command writes: places are looked at before the work, not after it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

STANDARD_OUTPUT = "-"


def require_folder(folder: Path) -> None:
    """Refuse a folder that can't be written.

    Raises
    ------
    InputError
        If it is a file, lies in one, or belongs to others.
    """
    from refinement.errors import InputError

    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not existing.is_dir():
        message = f"{existing} is a file, so the results can't go to {folder}."
        raise InputError("output_not_a_folder", message, "Choose another folder with -o.")
    if not os.access(existing, os.W_OK | os.X_OK):
        message = f"the folder {existing} can't be written."
        raise InputError("output_not_writable", message, "Check its permissions or choose another with -o.")


def require_files(csv: str | None, html: Path | None, *, as_json: bool) -> None:
    """Refuse places for the CSV file and the page that can't be written.

    Raises
    ------
    InputError
        If two things would go to standard output, or a place is a folder or can't be written.
    """
    from refinement.errors import InputError

    if csv == STANDARD_OUTPUT and as_json:
        message = "--csv - and --json both print to standard output."
        raise InputError("output_twice", message, "Give --csv a file.")
    for path in (html, None if csv in (None, STANDARD_OUTPUT) else Path(str(csv))):
        if path is not None and path.is_dir():
            message = f"{path} is a folder."
            raise InputError("output_is_a_folder", message, "Give the name of a file in it.")
        if path is not None:
            require_folder(path.absolute().parent)


def write_extras(table: Mapping[str, Any], folder: Path, csv: str | None, html: Path | None) -> None:
    """Write Table 1 as CSV (``-`` prints it), and the page about the results in `folder`."""
    if csv is not None:
        from refinement.output import clean
        from refinement.report.csv_table import table_one_csv

        text = table_one_csv(clean(table))
        if csv == STANDARD_OUTPUT:
            sys.stdout.write(text)
        else:
            _write(Path(csv), text)
    if html is not None:
        from refinement.report.page import report
        from refinement.report.run_files import read_run

        _write(html, report(read_run(folder)))


def _write(path: Path, text: str) -> None:
    """Write a file under another name first, so that nothing half-written is left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
