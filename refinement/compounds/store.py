"""The Chemical Component Dictionary as memory-mapped columns.

Opening the dictionary itself takes seconds and a gigabyte, because its columns can only be unpacked whole. They
are unpacked once into a folder of the user's cache; a compound is then a slice of each.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = 1
"""Raised when the columns change, so that an older store isn't read."""
ORDERS = {"DOUB": 2, "TRIP": 3}
"""Orders of bonds by the words of the dictionary, others are single; delocalised ones are marked aromatic there."""
COLUMNS = (
    "compound", "kind", "title", "atom_start", "bond_start",
    "name", "element", "charge", "stereo", "aromatic", "position", "bond", "order", "bond_aromatic",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """The columns, by name; compounds are sorted, atoms and bonds follow in their order."""

    columns: dict[str, NDArray[Any]]

    def find(self, name: str) -> int | None:
        """Return the row of a compound, None if there is none of this name."""
        compounds = self.columns["compound"]
        place = int(np.searchsorted(compounds, name))
        return place if place < len(compounds) and compounds[place] == name else None


def cache_folder() -> Path:
    """Return the folder for what is made once: ``$CERES_CACHE``, or ``ceres`` in the user's cache."""
    named = os.environ.get("CERES_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ceres"


def dictionary_version() -> str:
    """Return which copy of the Chemical Component Dictionary is used."""
    return f"Chemical Component Dictionary of biotite {version('biotite')}"


@cache
def open_store() -> Store:
    """Return the columns; the first call on a machine unpacks them, which takes some ten seconds.

    Raises
    ------
    OSError
        If the folder can't be written.
    """
    folder = cache_folder() / f"components-{version('biotite')}-{FORMAT}"
    if not folder.is_dir():
        _build(folder)
    return Store({name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in COLUMNS})


def _build(folder: Path) -> None:
    """Unpack the columns into a folder that appears at once; who comes second finds it there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, column in _unpacked().items():
            np.save(scratch / f"{name}.npy", column, allow_pickle=False)
        scratch.chmod(0o755)
        try:
            scratch.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _unpacked() -> dict[str, NDArray[Any]]:
    # imported here because only who meets an unknown compound needs it
    from biotite.structure.info.ccd import get_ccd

    block = get_ccd()
    kinds, atoms, bonds = block["chem_comp"], block["chem_comp_atom"], block["chem_comp_bond"]
    listed = kinds["id"].as_array()
    sort = np.argsort(listed)
    compounds = listed[sort]
    atom_order, atom_start = _grouped(np.searchsorted(compounds, atoms["comp_id"].as_array()), len(compounds))
    bond_order, bond_start = _grouped(np.searchsorted(compounds, bonds["comp_id"].as_array()), len(compounds))
    names = atoms["atom_id"].as_array()[atom_order]
    pairs = np.stack([bonds[f"atom_id_{end}"].as_array()[bond_order] for end in (1, 2)], axis=1)
    words = bonds["value_order"].as_array()[bond_order]
    order = np.ones(len(words), dtype=np.uint8)
    for word, number in ORDERS.items():
        order[words == word] = number
    return {
        "compound": compounds,
        "kind": kinds["type"].as_array()[sort],
        "title": kinds["name"].as_array()[sort].astype("U80"),
        "atom_start": atom_start,
        "bond_start": bond_start,
        "name": names,
        "element": np.char.capitalize(atoms["type_symbol"].as_array()[atom_order].astype("U2")),
        "charge": atoms["charge"].as_array(np.int64, masked_value=0)[atom_order].astype(np.int8),
        "stereo": atoms["pdbx_stereo_config"].as_array()[atom_order].astype("U1"),
        "aromatic": atoms["pdbx_aromatic_flag"].as_array()[atom_order] == "Y",
        "position": _positions(atoms)[atom_order],
        "bond": _bond_rows(names, pairs, atom_start, bond_start),
        "order": order,
        "bond_aromatic": bonds["pdbx_aromatic_flag"].as_array()[bond_order] == "Y",
    }


def _grouped(compound: NDArray[np.intp], count: int) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Return the order that brings rows of one compound together, and where each compound begins."""
    starts = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(compound, minlength=count), out=starts[1:])
    return np.argsort(compound, kind="stable"), starts


def _positions(atoms: Any) -> NDArray[np.float32]:
    """Return ideal coordinates, those of the model where there are none."""
    stems = ("pdbx_model_Cartn_{}_ideal", "model_Cartn_{}")
    ideal, model = (
        np.stack([atoms[stem.format(axis)].as_array(np.float64, masked_value=np.nan) for axis in "xyz"], axis=1).astype(
            np.float32
        )
        for stem in stems
    )
    missing = ~np.isfinite(ideal).all(axis=1)
    ideal[missing] = model[missing]
    return ideal


def _bond_rows(
    names: NDArray[Any], pairs: NDArray[Any], atom_start: NDArray[np.int64], bond_start: NDArray[np.int64]
) -> NDArray[np.int16]:
    """Return the rows of bonded atoms within their compound."""
    rows = np.full(pairs.shape, -1, dtype=np.int16)
    for here in range(len(atom_start) - 1):
        number = {name: row for row, name in enumerate(names[atom_start[here] : atom_start[here + 1]].tolist())}
        own = slice(bond_start[here], bond_start[here + 1])
        rows[own] = [[number.get(a, -1), number.get(b, -1)] for a, b in pairs[own].tolist()] or np.empty((0, 2))
    return rows
