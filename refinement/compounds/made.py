"""Dictionaries made on this machine, kept with a note of what they were made from.

A dictionary is made once for each version of its sources. Bonds and angles are those of the AceDRG tables where
these are installed (Python package ``acedrg``, or CCP4), otherwise those of the project's own table.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import sys
import tempfile
from functools import cache
from pathlib import Path

import gemmi

from refinement.compounds.dictionary import make_dictionary
from refinement.compounds.store import cache_folder, dictionary_version
from refinement.compounds.targets import TABLE

LOGGER = logging.getLogger(__name__)
MAKER = 2
"""Raised when dictionaries are made differently."""
RESERVED = re.compile(r"DRG|INH|LIG|UNL|UNX|UNK|[0-9]{2}")
"""Codes that stand for compounds nobody named, so that the Chemical Component Dictionary can't know which one is meant."""
NAME = re.compile(r"[A-Za-z0-9]{1,5}")


def made_dictionary(name: str) -> gemmi.cif.Document | None:
    """Return the restraint dictionary of a compound of the Chemical Component Dictionary.

    Parameters
    ----------
    name : str
        Identifier of the compound.

    Returns
    -------
    gemmi.cif.Document or None
        None if the dictionary of components doesn't have the compound, or not what restraints need.
    """
    if not NAME.fullmatch(name) or RESERVED.fullmatch(name):
        return None
    path = cache_folder() / "dictionaries" / f"{name}-{_version()}.cif"
    kept = _kept(path, name)
    if kept is not None:
        return kept
    block = make_dictionary(name)
    if block is None:
        return None
    source = _refill(block, name)
    document = gemmi.cif.Document()
    document.add_copied_block(block)
    note = f"# Restraints of {name}, made by Ceres from: {dictionary_version()}; {source}.\n"
    _keep(path, note + document.as_string())
    return document


def _version() -> str:
    """Return a short name of everything that a dictionary depends on."""
    tables = acedrg_tables()
    parts = (str(MAKER), dictionary_version(), _table_digest(), str(tables) if tables else "")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


@cache
def _table_digest() -> str:
    return hashlib.sha256(TABLE.read_bytes()).hexdigest()


def _kept(path: Path, name: str) -> gemmi.cif.Document | None:
    """Return a dictionary made before; None if there is none or it can't be read."""
    try:
        document = gemmi.cif.read(str(path))
    except (OSError, ValueError, RuntimeError):
        return None
    return document if document.find_block(f"comp_{name}") is not None else None


def _keep(path: Path, text: str) -> None:
    """Write a file at once; a cache that can't be written is no reason to stop."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}-") as scratch:
            (Path(scratch) / path.name).write_text(text, encoding="utf-8")
            (Path(scratch) / path.name).replace(path)
    except OSError as fault:
        LOGGER.warning("The dictionary %s can't be kept: %s.", path.name, fault.strerror)


def acedrg_tables() -> Path | None:
    """Return the folder of the AceDRG tables, None where they aren't installed."""
    roots = [Path(sys.prefix), *(Path(os.environ[name]) for name in ("CCP4",) if os.environ.get(name))]
    folders = (root / "share" / "acedrg" / "tables" for root in roots)
    return next((folder for folder in folders if (folder / "allOrgBondsHRS.table").is_file()), None)


def _refill(block: gemmi.cif.Block, name: str) -> str:
    """Put the AceDRG values for bonds and angles into a dictionary; returns where its values are from."""
    folder = acedrg_tables()
    if folder is None:
        return "values by chemical environment (refinement/compounds/targets.npz)"
    document = gemmi.cif.Document()
    document.add_copied_block(block)
    library = gemmi.MonLib()
    library.read_monomer_doc(document)
    compound = library.monomers[name]
    for restraint in (*compound.rt.bonds, *compound.rt.angles):
        restraint.value = restraint.esd = math.nan
    _tables(str(folder)).fill_restraints(compound)
    _replace(block, "_chem_comp_bond.", "value_dist", [(bond.value, bond.esd) for bond in compound.rt.bonds], 4)
    _replace(block, "_chem_comp_angle.", "value_angle", [(angle.value, angle.esd) for angle in compound.rt.angles], 2)
    return f"AceDRG tables in {folder.parent.parent.parent.name}, others by chemical environment"


@cache
def _tables(folder: str) -> gemmi.AcedrgTables:
    tables = gemmi.AcedrgTables()
    tables.load_tables(folder)
    return tables


def _replace(block: gemmi.cif.Block, category: str, tag: str, values: list[tuple[float, float]], digits: int) -> None:
    """Overwrite the numbers of a table where there are better ones; rows are in the order of `values`."""
    table = block.find(category, [tag, f"{tag}_esd"])
    for row, (value, sigma) in zip(table, values, strict=True):
        if math.isfinite(value) and math.isfinite(sigma) and sigma > 0:
            row[0], row[1] = f"{value:.{digits}f}", f"{sigma:.3f}"
