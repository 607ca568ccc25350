"""What a model consists of: atoms, residues by class, ligands, displacement parameters, occupancies."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np

from refinement.structure import ResidueKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.structure import Structure

ADP_BIN = 10.0
"""Width of a bin of the B histogram in Å²."""
ADP_LAST = 300.0
"""Larger B factors share the last bin."""
CLASSES = {kind: kind.name.lower() for kind in ResidueKind}


@dataclass(frozen=True, slots=True)
class Composition:
    """Counts and summaries of a model.

    Attributes
    ----------
    atoms, hydrogens, altloc_atoms : int
        Atom sites, those of hydrogen, those with an alternate-conformer letter.
    chains : tuple[str, ...]
        Author's chain names.
    residues : dict[str, int]
        Residues by class: protein, nucleic, water, ion, ligand.
    polymer_residues, single_atom_residues : int
        Residues of polymers, and those of them that have one atom only (conformers counted once).
    ligands : dict[str, int]
        Compounds outside the polymers, waters excepted, with the number of copies.
    modified : dict[str, int]
        Non-standard residues within polymers.
    compounds : tuple[str, ...]
        All compound ids.
    elements : dict[str, int]
        Atoms by element.
    b_factors : dict[str, dict[str, float]]
        ``min``, ``max``, ``mean`` of B (Å²) for all atoms and by class.
    b_histogram : tuple[int, ...]
        Atoms by B in steps of `ADP_BIN` Å², the last bin open.
    occupancy : dict[str, float]
        ``mean`` and the numbers of atoms with ``zero``, ``negative``, ``above_one`` and ``partial`` occupancy.
    """

    atoms: int
    hydrogens: int
    altloc_atoms: int
    chains: tuple[str, ...]
    residues: dict[str, int]
    polymer_residues: int
    single_atom_residues: int
    ligands: dict[str, int]
    modified: dict[str, int]
    compounds: tuple[str, ...]
    elements: dict[str, int]
    b_factors: dict[str, dict[str, float]]
    b_histogram: tuple[int, ...]
    occupancy: dict[str, float]

    @property
    def single_atom_fraction(self) -> float:
        """Fraction of the polymer residues that have one atom only; 0 without polymers."""
        return self.single_atom_residues / self.polymer_residues if self.polymer_residues else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        rows = asdict(self)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in rows.items()}


def compose(structure: Structure) -> Composition:
    """Count what a model consists of."""
    residues = structure.residues
    kind = residues.kind
    outside = ~residues.polymer & (kind != ResidueKind.WATER)
    single = residues.polymer & _single_atom(structure)
    standard = np.array([_is_standard(name) for name in residues.compound.tolist()], dtype=bool)
    numbers = np.bincount(structure.elements, minlength=1)
    return Composition(
        atoms=len(structure),
        hydrogens=int(structure.is_hydrogen.sum()),
        altloc_atoms=int((structure.altloc != "").sum()),
        chains=tuple(structure.chain_names),
        residues={name: int((kind == value).sum()) for value, name in CLASSES.items()},
        polymer_residues=int(residues.polymer.sum()),
        single_atom_residues=int(single.sum()),
        ligands=_counted(residues.compound[outside]),
        modified=_counted(residues.compound[residues.polymer & ~standard]),
        compounds=tuple(sorted(set(residues.compound.tolist()))),
        elements={gemmi.Element(number).name: count for number, count in enumerate(numbers.tolist()) if count},
        b_factors=_b_factors(structure),
        b_histogram=_b_histogram(structure.b_iso),
        occupancy=_occupancy(structure.occupancy),
    )


def _single_atom(structure: Structure) -> NDArray[np.bool_]:
    """Return which residues have atoms of one name only."""
    first = structure.residues.first[:-1]
    same = structure.names == structure.names[first][structure.residue]
    return np.logical_and.reduceat(same, first)


def _is_standard(compound: str) -> bool:
    return bool(gemmi.find_tabulated_residue(compound).is_standard())


def _counted(names: NDArray[np.str_]) -> dict[str, int]:
    return dict(sorted(Counter(names.tolist()).items()))


def _b_factors(structure: Structure) -> dict[str, dict[str, float]]:
    of_atom = structure.residues.kind[structure.residue]
    groups = {"all": np.ones(len(structure), dtype=bool)}
    groups |= {name: of_atom == kind for kind, name in CLASSES.items()}
    return {
        name: {"min": float(values.min()), "max": float(values.max()), "mean": float(values.mean())}
        for name, mask in groups.items()
        if len(values := structure.b_iso[mask])
    }


def _b_histogram(b_iso: NDArray[np.float64]) -> tuple[int, ...]:
    bins = int(ADP_LAST / ADP_BIN) + 1
    index = np.clip(np.floor(b_iso / ADP_BIN), 0, bins - 1).astype(np.int64)
    return tuple(np.bincount(index, minlength=bins).tolist())


def _occupancy(values: NDArray[np.float64]) -> dict[str, float]:
    return {
        "mean": float(values.mean()),
        "zero": int((values == 0).sum()),
        "negative": int((values < 0).sum()),
        "above_one": int((values > 1).sum()),
        "partial": int(((values > 0) & (values < 1)).sum()),
    }
