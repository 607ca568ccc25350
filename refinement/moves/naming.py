"""Names of equivalent atoms, as the archive wants them.

Asp, Glu, Phe and Tyr: the last χ lies between -90° and 90°. Arg: NH1 is cis to Cδ. Leu and Val: the two branches
have the right hand. Names are made right by exchanging positions, which moves nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from refinement.conformers import NamedAtoms
from refinement.geometry import chiral_volumes, dihedrals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.structure import Structure

FLAT: dict[str, tuple[tuple[str, str, str, str], tuple[tuple[str, str], ...]]] = {
    "ASP": (("CA", "CB", "CG", "OD1"), (("OD1", "OD2"),)),
    "GLU": (("CB", "CG", "CD", "OE1"), (("OE1", "OE2"),)),
    "PHE": (("CA", "CB", "CG", "CD1"), (("CD1", "CD2"), ("CE1", "CE2"))),
    "TYR": (("CA", "CB", "CG", "CD1"), (("CD1", "CD2"), ("CE1", "CE2"))),
    "ARG": (("CD", "NE", "CZ", "NH1"), (("NH1", "NH2"),)),
}
"""Compound -> torsion that lies within ±90°, pairs of names that are exchanged where it doesn't."""
HANDED: dict[str, tuple[str, str, str, str]] = {"LEU": ("CG", "CB", "CD1", "CD2"), "VAL": ("CB", "CA", "CG1", "CG2")}
"""Compound -> centre and its neighbours, whose chiral volume is negative; the last two are exchanged where it isn't."""


def with_standard_names(structure: Structure) -> Structure:
    """Return the model with equivalent atoms named by convention.

    Residues whose atoms have alternate locations are left as they are, B factors and occupancies go along.
    """
    names = sorted({name for quad, pairs in FLAT.values() for name in (*quad, *sum(pairs, ()))} | set(sum(HANDED.values(), ())))
    table = NamedAtoms(structure, names).table()
    column = {name: k for k, name in enumerate(names)}
    single = np.ones(len(structure.residues), dtype=np.bool_)
    single[structure.residue[structure.altloc != ""]] = False
    order = np.arange(len(structure))
    for compound, (quad, pairs) in FLAT.items():
        rows = _complete(structure, compound, table, [column[name] for name in (*quad, *sum(pairs, ()))], single)
        angle = dihedrals(structure.positions, *table[rows][:, [column[name] for name in quad]].T)
        for first, second in pairs:
            _exchange(order, table, rows[np.abs(angle) > 90.0], column[first], column[second])
    for compound, centre in HANDED.items():
        rows = _complete(structure, compound, table, [column[name] for name in centre], single)
        volume = chiral_volumes(structure.positions, *table[rows][:, [column[name] for name in centre]].T)
        _exchange(order, table, rows[volume > 0.0], column[centre[2]], column[centre[3]])
    if (order == np.arange(len(order))).all():
        return structure
    return replace(
        structure, positions=structure.positions[order], b_iso=structure.b_iso[order], occupancy=structure.occupancy[order]
    )


def _complete(
    structure: Structure, compound: str, table: NDArray[np.int32], columns: list[int], single: NDArray[np.bool_]
) -> NDArray[np.int64]:
    return np.flatnonzero((structure.residues.compound == compound) & single & (table[:, columns] >= 0).all(axis=1))


def _exchange(order: NDArray[np.int64], table: NDArray[np.int32], rows: NDArray[np.int64], first: int, second: int) -> None:
    a, b = table[rows, first], table[rows, second]
    order[a], order[b] = b, a
