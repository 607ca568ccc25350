#!/usr/bin/env python
"""Build ``refinement/compounds/targets.npz``: ``build_compound_targets.py MONOMERS [-o FILE] [--half]``.

MONOMERS is a monomer library in CCP4 layout (``a/ATP.cif``); the committed table is made from Debian's
refmac-dictionary 5.41-2 (``apt-get download refmac-dictionary``; folder ``usr/share/refmac/monomers``). The
bonds, angles and atom types of its compounds are sorted into classes by the chemistry that the Chemical
Component Dictionary gives for them; the table holds the median of every class that a coarser one doesn't
predict already. ``--half`` uses every second compound only, so that the others can judge the method.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import gemmi
import numpy as np

from refinement.compounds.component import component
from refinement.compounds.environment import angle_keys, atom_keys, bond_keys, environment
from refinement.compounds.targets import ANGLE_UNIT, BOND_UNIT, TABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from refinement.compounds.component import Component
    from refinement.compounds.environment import Environment

BOND_CHANGE, ANGLE_CHANGE = 0.001, 0.2
"""Å and degrees; a finer class that differs less from the coarser one isn't kept."""
FEWEST = 2
"""Values that a class must have."""


class Classes:
    """Values sorted into classes; each observation names its classes from the finest to the coarsest."""

    def __init__(self) -> None:
        self.values: dict[int, list[float]] = defaultdict(list)
        self.coarser: dict[int, int | None] = {}

    def add(self, keys: Iterator[int], value: float) -> None:
        """Add one value to all its classes."""
        chain = list(keys)
        for key, above in zip(chain, [*chain[1:], None], strict=True):
            self.values[key].append(value)
            self.coarser.setdefault(key, above)

    def pruned(self, summary: Callable[[list[float]], float], change: float) -> dict[int, float]:
        """Return the value of each class that its coarser ones don't predict."""
        own = {key: summary(values) for key, values in self.values.items() if len(values) >= FEWEST}
        kept: dict[int, float] = {}

        def predicted(key: int | None) -> float | None:
            while key is not None and key not in kept:
                key = self.coarser[key]
            return None if key is None else kept[key]

        depth = {key: self._depth(key) for key in own}
        for key in sorted(own, key=lambda key: (depth[key], key)):
            before = predicted(self.coarser[key])
            if before is None or abs(before - own[key]) > change:
                kept[key] = own[key]
        return kept

    def _depth(self, key: int | None) -> int:
        steps = 0
        while key is not None:
            key = self.coarser[key]
            steps += 1
        return steps


def main() -> int:
    """Build the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("monomers", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=TABLE)
    parser.add_argument("--half", action="store_true", help="leave every second compound out")
    options = parser.parse_args()
    bonds, angles, atoms = Classes(), Classes(), Classes()
    types: dict[str, int] = {}
    files = sorted(options.monomers.glob("?/*.cif"))
    used = 0
    for path in files[:: 2 if options.half else 1]:
        listed = dictionary(path)
        compound = component(listed.name) if listed else None
        if listed is None or compound is None or len(compound) < 3:
            continue
        used += 1
        found = environment(compound)
        for keys, value in bond_values(listed, compound, found):
            bonds.add(keys, value)
        for keys, value in angle_values(listed, compound, found):
            angles.add(keys, value)
        for keys, word in atom_types(listed, compound, found):
            atoms.add(keys, types.setdefault(word, len(types)))
    tables = {
        "bond": {key: round(value / BOND_UNIT) for key, value in bonds.pruned(median, BOND_CHANGE).items()},
        "angle": {key: round(value / ANGLE_UNIT) for key, value in angles.pruned(median, ANGLE_CHANGE).items()},
        "atom": {key: int(value) for key, value in atoms.pruned(commonest, 0.0).items()},
    }
    arrays: dict[str, np.ndarray] = {"types": np.array(list(types))}
    for kind, table in tables.items():
        keys = sorted(table)
        arrays[f"{kind}_keys"] = np.array(keys, dtype=np.uint64)
        arrays[f"{kind}_values"] = np.array([table[key] for key in keys], dtype=np.uint16)
    np.savez_compressed(options.output, allow_pickle=False, **arrays)
    digest = hashlib.sha256(options.output.read_bytes()).hexdigest()
    classes = ", ".join(f"{len(table)} of {kind}s" for kind, table in tables.items())
    print(f"{used} compounds; classes: {classes}; {options.output.stat().st_size} bytes, sha256 {digest}")
    return 0


def dictionary(path: Path) -> gemmi.ChemComp | None:
    """Return the compound that a file of the library describes, None if it can't be read."""
    try:
        read = gemmi.MonLib()
        read.read_monomer_doc(gemmi.cif.read(str(path)))
    except (ValueError, RuntimeError, IndexError):
        return None
    name = path.stem.strip("_")
    if name not in read.monomers:
        return None
    return read.monomers[name]


def bond_values(listed: gemmi.ChemComp, compound: Component, found: Environment) -> Iterator[tuple[Iterator[int], float]]:
    """Yield keys and length of the bonds that library and dictionary agree on."""
    row = {name: number for number, name in enumerate(compound.names)}
    for bond in listed.rt.bonds:
        i, j = row.get(bond.id1.atom), row.get(bond.id2.atom)
        if i is not None and j is not None and (i, j) in found.ring and 0.5 < bond.value < 3.5:
            yield bond_keys(found, compound.elements, i, j), bond.value


def angle_values(listed: gemmi.ChemComp, compound: Component, found: Environment) -> Iterator[tuple[Iterator[int], float]]:
    """Yield keys and value of the angles that library and dictionary agree on."""
    row = {name: number for number, name in enumerate(compound.names)}
    for angle in listed.rt.angles:
        i, j, k = (row.get(atom.atom) for atom in (angle.id1, angle.id2, angle.id3))
        if i is None or j is None or k is None or (i, j) not in found.ring or (j, k) not in found.ring:
            continue
        if 20.0 < angle.value <= 180.0:
            yield angle_keys(found, compound.elements, i, j, k), angle.value


def atom_types(listed: gemmi.ChemComp, compound: Component, found: Environment) -> Iterator[tuple[Iterator[int], str]]:
    """Yield keys and energy type of the atoms."""
    row = {name: number for number, name in enumerate(compound.names)}
    for atom in listed.atoms:
        if atom.id in row and atom.chem_type and atom.el.name == compound.elements[row[atom.id]]:
            yield atom_keys(found, compound.elements, row[atom.id]), atom.chem_type


def median(values: list[float]) -> float:
    """Return the median."""
    return float(np.median(values))


def commonest(values: list[float]) -> float:
    """Return the value that occurs most often, the first of equals."""
    return Counter(values).most_common(1)[0][0]


if __name__ == "__main__":
    sys.exit(main())
