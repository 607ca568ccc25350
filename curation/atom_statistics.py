"""B factors, occupancies and alternate conformers of a model, as a whole and by class of residue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.structure import ResidueKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from refinement.structure import Structure

ADP_BIN = 10.0
"""Width of a bin of the B histogram in Å²."""
ADP_LAST = 300.0
"""Larger B factors share the last bin."""
NO_B = 0.01
"""Å²; smaller B factors were not refined."""
CLASSES = {kind: kind.name.lower() for kind in ResidueKind}


def b_factors(structure: Structure) -> dict[str, dict[str, float]]:
    """Return ``atoms, min, max, mean, median`` of B (Å²) and the number of atoms with ``zero`` B, for ``all`` and by class.

    Hydrogens are left out: theirs follow from those of the atoms that carry them.
    """
    return {
        name: {
            "atoms": len(values),
            "min": float(values.min()),
            "max": float(values.max()),
            "mean": float(values.mean()),
            "median": float(np.median(values)),
            "zero": int((values < NO_B).sum()),
        }
        for name, rows in _groups(structure)
        if len(values := structure.b_iso[rows])
    }


def b_of_chains(structure: Structure) -> dict[str, float]:
    """Return the mean B (Å²) of each chain, hydrogens left out."""
    rows = _heavy(structure)
    names, chain = np.unique(structure.residues.chain[structure.residue[rows]], return_inverse=True)
    means = np.bincount(chain, weights=structure.b_iso[rows]) / np.bincount(chain)
    found = dict(zip(names.tolist(), means.tolist(), strict=True))
    return {name: found[name] for name in structure.chain_names if name in found}


def b_histogram(structure: Structure) -> tuple[int, ...]:
    """Return the numbers of atoms by B in steps of `ADP_BIN` Å², the last bin open; hydrogens are left out."""
    bins = int(ADP_LAST / ADP_BIN) + 1
    values = structure.b_iso[_heavy(structure)]
    index = np.clip(np.floor(values / ADP_BIN), 0, bins - 1).astype(np.int64)
    return tuple(np.bincount(index, minlength=bins).tolist())


def occupancies(structure: Structure) -> dict[str, dict[str, float]]:
    """Return ``mean, min, max`` and the numbers of atoms with ``zero, negative, above_one, partial`` occupancy, by class."""
    return {
        name: {
            "mean": float(values.mean()),
            "min": float(values.min()),
            "max": float(values.max()),
            "zero": int((values == 0).sum()),
            "negative": int((values < 0).sum()),
            "above_one": int((values > 1).sum()),
            "partial": int(((values > 0) & (values < 1)).sum()),
        }
        for name, rows in _groups(structure, hydrogens=True)
        if len(values := structure.occupancy[rows])
    }


def alternates(structure: Structure) -> dict[str, Any]:
    """Return how many ``residues`` and ``atoms`` have alternate conformers, the ``fraction`` of residues, and the ``letters``."""
    lettered = structure.altloc != ""
    residues = len(np.unique(structure.residue[lettered]))
    return {
        "residues": residues,
        "atoms": int(lettered.sum()),
        "letters": np.unique(structure.altloc[lettered]).tolist(),
        "fraction": residues / len(structure.residues),
    }


def _heavy(structure: Structure) -> NDArray[np.bool_]:
    """Return the mask of the atoms other than hydrogen; all atoms if there are no others."""
    heavy = ~structure.is_hydrogen
    return heavy if heavy.any() else np.ones(len(structure), dtype=np.bool_)


def _groups(structure: Structure, *, hydrogens: bool = False) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield the names and the atoms of the whole model and of each class."""
    counted = np.ones(len(structure), dtype=np.bool_) if hydrogens else _heavy(structure)
    kind = structure.residues.kind[structure.residue]
    yield "all", counted
    for value, name in CLASSES.items():
        yield name, counted & (kind == value)
