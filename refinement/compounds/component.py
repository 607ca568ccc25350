"""Chemical compounds as the Chemical Component Dictionary of the wwPDB describes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refinement.compounds.store import open_store

if TYPE_CHECKING:
    from numpy.typing import NDArray

COINCIDENT = 0.1
"""Å; coordinates that all lie within this aren't known."""


@dataclass(frozen=True, slots=True, eq=False)
class Component:
    """One compound.

    Attributes
    ----------
    name : str
        Its identifier.
    full_name, kind : str
        What it is called, and its type (``L-peptide linking``, ``non-polymer``, ...).
    names : tuple of str
        Names of the atoms.
    elements : tuple of str
        Symbols, first letter capital.
    charges : NDArray[int64]
        Formal charges.
    stereo : tuple of str
        ``R``, ``S`` or ``N`` of each atom.
    aromatic : NDArray[bool]
        Whether the dictionary calls the atom aromatic.
    bonds : NDArray[int64], shape (m, 2)
        Rows of bonded atoms.
    orders : NDArray[int64], shape (m,)
        1, 2 or 3.
    bond_aromatic : NDArray[bool], shape (m,)
    positions : NDArray[float64], shape (n, 3)
        Å; ideal coordinates, NaN where there are none.
    """

    name: str
    full_name: str
    kind: str
    names: tuple[str, ...]
    elements: tuple[str, ...]
    charges: NDArray[np.int64]
    stereo: tuple[str, ...]
    aromatic: NDArray[np.bool_]
    bonds: NDArray[np.int64]
    orders: NDArray[np.int64]
    bond_aromatic: NDArray[np.bool_]
    positions: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.names)


def component(name: str) -> Component | None:
    """Return a compound of the Chemical Component Dictionary, None if it isn't there.

    Parameters
    ----------
    name : str
        Identifier, of three or five characters.
    """
    store = open_store()
    row = store.find(name)
    if row is None:
        return None
    column = store.columns
    atoms = slice(int(column["atom_start"][row]), int(column["atom_start"][row + 1]))
    bonds = slice(int(column["bond_start"][row]), int(column["bond_start"][row + 1]))
    known = (column["bond"][bonds] >= 0).all(axis=1)
    positions = np.array(column["position"][atoms], dtype=np.float64)
    if len(positions) > 1 and np.ptp(positions, axis=0).max() < COINCIDENT:
        positions[:] = np.nan
    return Component(
        name,
        str(column["title"][row]),
        str(column["kind"][row]),
        tuple(column["name"][atoms].tolist()),
        tuple(column["element"][atoms].tolist()),
        np.array(column["charge"][atoms], dtype=np.int64),
        tuple(column["stereo"][atoms].tolist()),
        np.array(column["aromatic"][atoms]),
        np.array(column["bond"][bonds][known], dtype=np.int64),
        np.array(column["order"][bonds][known], dtype=np.int64),
        np.array(column["bond_aromatic"][bonds][known]),
        positions,
    )
