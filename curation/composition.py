"""What a model consists of: residues by class, sequences, ligands, sugars, displacement parameters, occupancies."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np

from curation.atom_statistics import CLASSES, alternates, b_factors, b_histogram, b_of_chains, occupancies
from curation.compound_classes import UNKNOWN, classify
from curation.coverage import sequence_coverage
from curation.glycans import find_glycans
from refinement.structure import ResidueKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from curation.coverage import Coverage
    from curation.glycans import Glycan
    from refinement.structure import Structure

HETERO_CLASSES = ("ion", "sugar", "lipid", "other", "unknown")


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
    b_factors, b_histogram, occupancy
        Displacement parameters and occupancies by class, see `curation.atom_statistics`.
    b_of_chains : dict[str, float]
        Mean B of each chain, Å².
    anisotropic : int
        Atom sites with anisotropic displacement parameters, as far as the file was given.
    alternates : dict[str, Any]
        Alternate conformers, see `curation.atom_statistics.alternates`.
    sequences : tuple[Coverage, ...]
        How much of each polymer's sequence has coordinates.
    hetero : dict[str, dict[str, int]]
        The ligands by class: ion, sugar, lipid, other, unknown.
    glycans : tuple[Glycan, ...]
        Sugars with their linkages.
    parents : dict[str, str]
        Standard residues of the modified ones as one-letter codes, where there is one.
    unknown : dict[str, int]
        Residues, ligands and atoms of unknown identity (UNK, UNX, UNL, N, DN).
    names : dict[str, str]
        Names of the ligands and of the modified residues, as the file gives them.
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
    occupancy: dict[str, dict[str, float]]
    b_of_chains: dict[str, float] = field(default_factory=dict)
    anisotropic: int = 0
    alternates: dict[str, Any] = field(default_factory=dict)
    sequences: tuple[Coverage, ...] = ()
    hetero: dict[str, dict[str, int]] = field(default_factory=dict)
    glycans: tuple[Glycan, ...] = ()
    parents: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    @property
    def single_atom_fraction(self) -> float:
        """Fraction of the polymer residues that have one atom only; 0 without polymers."""
        return self.single_atom_residues / self.polymer_residues if self.polymer_residues else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        rows: dict[str, Any] = _plain(asdict(self))
        return rows


def compose(structure: Structure, block: gemmi.cif.Block | None = None) -> Composition:
    """Count what a model consists of.

    Parameters
    ----------
    structure : Structure
        The model.
    block : gemmi.cif.Block, optional
        The mmCIF file that it was read from, for sequences, names of compounds and anisotropic parameters.
    """
    residues = structure.residues
    kind = residues.kind
    outside = ~residues.polymer & (kind != ResidueKind.WATER)
    single = residues.polymer & _single_atom(structure)
    odd = residues.polymer & _is_modified(residues.compound)
    classes = _hetero_classes(structure, outside)
    ligands, modified = _counted(residues.compound[outside]), _counted(residues.compound[odd])
    sugars = outside & np.isin(residues.compound, [name for name, value in classes.items() if value == "sugar"])
    numbers = np.bincount(structure.elements, minlength=1)
    return Composition(
        atoms=len(structure),
        hydrogens=int(structure.is_hydrogen.sum()),
        anisotropic=len(block.find_values("_atom_site_anisotrop.id")) if block is not None else 0,
        altloc_atoms=int((structure.altloc != "").sum()),
        alternates=alternates(structure),
        chains=tuple(structure.chain_names),
        residues={name: int((kind == value).sum()) for value, name in CLASSES.items()},
        polymer_residues=int(residues.polymer.sum()),
        single_atom_residues=int(single.sum()),
        sequences=sequence_coverage(structure.source, block),
        ligands=ligands,
        hetero={value: {n: ligands[n] for n in ligands if classes[n] == value} for value in HETERO_CLASSES},
        glycans=find_glycans(structure, sugars),
        modified=modified,
        parents={name: letter for name in modified if (letter := _parent(name))},
        unknown=_counted(residues.compound[np.isin(residues.compound, sorted(UNKNOWN))]),
        names=_names(block, {*ligands, *modified}),
        compounds=tuple(np.unique(residues.compound).tolist()),
        elements={gemmi.Element(number).name: count for number, count in enumerate(numbers.tolist()) if count},
        b_factors=b_factors(structure),
        b_of_chains=b_of_chains(structure),
        b_histogram=b_histogram(structure),
        occupancy=occupancies(structure),
    )


def _single_atom(structure: Structure) -> NDArray[np.bool_]:
    """Return which residues have atoms of one name only."""
    first = structure.residues.first[:-1]
    same = structure.names == structure.names[first][structure.residue]
    return np.logical_and.reduceat(same, first)


def _is_modified(compounds: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Return which residues are neither standard nor unknown."""
    names, place = np.unique(compounds, return_inverse=True)
    odd = [name not in UNKNOWN and not gemmi.find_tabulated_residue(name).is_standard() for name in names.tolist()]
    return np.array(odd, dtype=np.bool_)[place]


def _parent(name: str) -> str:
    """Return the one-letter code of the residue that a modified one was made from, "" if that isn't known."""
    return str(gemmi.find_tabulated_residue(name).one_letter_code).strip().upper().replace("X", "")


def _hetero_classes(structure: Structure, outside: NDArray[np.bool_]) -> dict[str, str]:
    """Return the class of each compound outside the polymers, judged by its most complete copy."""
    residues, size = structure.residues, np.diff(structure.residues.first)
    branched = _branched(structure.source)
    classes = {}
    for name in np.unique(residues.compound[outside]).tolist():
        rows = np.flatnonzero(outside & (residues.compound == name))
        row = rows[size[rows].argmax()]
        atoms = slice(residues.first[row], residues.first[row + 1])
        known = name in branched
        classes[name] = classify(name, structure.elements[atoms], structure.positions[atoms], branched=known)
    return classes


def _branched(source: gemmi.Structure) -> set[str]:
    """Return the compounds of the chains that the file calls oligosaccharides."""
    parts = {part for e in source.entities if e.entity_type == gemmi.EntityType.Branched for part in e.subchains}
    if not parts:
        return set()
    return {residue.name for chain in source[0] for residue in chain if residue.subchain in parts}


def _names(block: gemmi.cif.Block | None, wanted: set[str]) -> dict[str, str]:
    table = block.find("_chem_comp.", ["id", "name"]) if block is not None else ()
    rows = ((gemmi.cif.as_string(row[0]), gemmi.cif.as_string(row[1])) for row in table)
    return {key: " ".join(name.split()) for key, name in rows if key in wanted and name}


def _counted(names: NDArray[np.str_]) -> dict[str, int]:
    return dict(sorted(Counter(names.tolist()).items()))


def _plain(value: Any) -> Any:
    """Return a value with lists for tuples, as JSON has them."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
