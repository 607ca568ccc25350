"""What a model consists of: numbers of atoms and residues, B factors and occupancies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.structure import ResidueKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.structure import Structure

BINS = 24
"""Columns of the histogram of B factors."""
NO_B = 0.01
"""Å²; a B factor below this means that there is none."""


def describe(structure: Structure) -> dict[str, Any]:
    """Return ``composition``, ``b_factors`` and ``occupancies``; B and occupancy are over atoms that aren't hydrogen."""
    return {
        "composition": composition(structure),
        "b_factors": b_factors(structure),
        "occupancies": occupancies(structure),
    }


def composition(structure: Structure) -> dict[str, Any]:
    """Return the numbers of atoms, chains, residues of each kind, and the compounds that are no polymer."""
    residues = structure.residues
    other = residues.compound[(residues.kind == ResidueKind.LIGAND) | (residues.kind == ResidueKind.ION)]
    names, counts = np.unique(other, return_counts=True)
    single = np.diff(residues.first) == 1
    polymer = (residues.kind == ResidueKind.PROTEIN) | (residues.kind == ResidueKind.NUCLEIC)
    return {
        "atoms": len(structure),
        "hydrogens": int(structure.is_hydrogen.sum()),
        "chains": len(structure.chain_names),
        "residues": len(residues),
        **{kind.name.lower(): int((residues.kind == kind).sum()) for kind in ResidueKind},
        "compounds": dict(zip(names.tolist(), counts.tolist(), strict=True)),
        "single_atom_residues": int((single & polymer).sum()),
        "atoms_with_alternates": int((structure.altloc != "").sum()),
    }


def b_factors(structure: Structure) -> dict[str, Any]:
    """Return mean, smallest and largest B (Å²) of the model, each kind of residue and each chain, and a histogram."""
    heavy = ~structure.is_hydrogen
    b_iso = structure.b_iso
    if not heavy.any():
        return {}
    kind, chain = structure.residues.kind[structure.residue], structure.residues.chain[structure.residue]
    counts, edges = np.histogram(b_iso[heavy], bins=BINS)
    return {
        "all": _range(b_iso[heavy]),
        "kinds": {one.name.lower(): _range(b_iso[heavy & (kind == one)]) for one in ResidueKind if (heavy & (kind == one)).any()},
        "chains": _mean_of_each(chain[heavy], b_iso[heavy]),
        "zero": int((b_iso[heavy] < NO_B).sum()),
        "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }


def occupancies(structure: Structure) -> dict[str, Any]:
    """Return mean and range of the occupancies, and how many make no sense."""
    values = structure.occupancy[~structure.is_hydrogen]
    if not len(values):
        return {}
    return {
        **_range(values),
        "negative": int((values < 0.0).sum()),
        "zero": int((values == 0.0).sum()),
        "above_one": int((values > 1.0).sum()),
    }


def _range(values: NDArray[np.float64]) -> dict[str, float]:
    return {"mean": float(values.mean()), "min": float(values.min()), "max": float(values.max())}


def _mean_of_each(names: NDArray[np.str_], values: NDArray[np.float64]) -> dict[str, float]:
    chains, index = np.unique(names, return_inverse=True)
    means = np.bincount(index, values) / np.bincount(index)
    return dict(zip(chains.tolist(), means.tolist(), strict=True))
