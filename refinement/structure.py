"""Atomic models as flat arrays: gemmi.Structure <-> numpy.

Everything behind this module sees arrays only. Rows are atoms in file order (first MODEL), and
``Residues`` is a table with one row per residue whose ``first`` column delimits its atoms.
"""

from __future__ import annotations

import bz2
import gzip
import zlib
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np

from refinement.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_MODEL_BYTES = 4 << 30
"""Largest unpacked model file that is read; a ribosome is 30 MB, the largest capsid about 1 GB."""
PER_MODEL = frozenset({"residues", "source"})
"""What a `Structure` has beside its arrays by atom."""
FLAT_DEUTERIUM = 119
"""Code of deuterium in gemmi's flat arrays, behind those of the elements."""


class ResidueKind(IntEnum):
    """What a residue is, for statistics and for the choice of metrics."""

    PROTEIN = 0
    NUCLEIC = 1
    WATER = 2
    ION = 3
    LIGAND = 4


@dataclass(frozen=True, slots=True, eq=False)
class Residues:
    """One row per residue, in file order.

    Attributes
    ----------
    chain : NDArray[str]
        Chain name as the author gave it (``auth_asym_id``), any length.
    number : NDArray[int32]
        Residue number of the author.
    insertion : NDArray[str]
        Insertion code, "" where there is none.
    compound : NDArray[str]
        Compound id (``ALA``), any length.
    kind : NDArray[uint8]
        `ResidueKind`.
    polymer : NDArray[bool]
        Part of a polymer chain (not a free ligand, ion or water).
    chain_index : NDArray[int32]
        Index of the chain, counted in file order.
    first : NDArray[int32], shape (n_residues + 1,)
        Residue i owns the atoms ``first[i]:first[i + 1]``.
    """

    chain: NDArray[np.str_]
    number: NDArray[np.int32]
    insertion: NDArray[np.str_]
    compound: NDArray[np.str_]
    kind: NDArray[np.uint8]
    polymer: NDArray[np.bool_]
    chain_index: NDArray[np.int32]
    first: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.number)

    def select(self, kept: NDArray[np.bool_]) -> Residues:
        """Return some residues, `kept` a mask of shape (n_residues,); chains keep their index."""
        rows = {item.name: getattr(self, item.name)[kept] for item in fields(self) if item.name != "first"}
        first = np.concatenate([[0], np.cumsum(np.diff(self.first)[kept])]).astype(self.first.dtype)
        return Residues(**rows, first=first)

    def label(self, index: int) -> str:
        """Return a readable name such as ``A/LYS 12B``."""
        return f"{self.chain[index]}/{self.compound[index]} {self.number[index]}{self.insertion[index]}"


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """A model as flat arrays.

    Attributes
    ----------
    positions : NDArray[float64], shape (n, 3)
        Orthogonal coordinates in Å, in the frame of the input file.
    elements : NDArray[uint8], shape (n,)
        Atomic numbers; deuterium is 1 like hydrogen.
    b_iso : NDArray[float64], shape (n,)
        Isotropic displacement parameters B in Å².
    occupancy : NDArray[float64], shape (n,)
        Occupancies.
    altloc : NDArray[str], shape (n,)
        Alternate-conformer letter, "" for none.
    names : NDArray[str], shape (n,)
        Atom names.
    residue : NDArray[int32], shape (n,)
        Row of the atom's residue in `residues`.
    residues : Residues
        The residue table.
    source : gemmi.Structure
        What was read: metadata, connections and entities live here. Never changed.
    """

    positions: NDArray[np.float64]
    elements: NDArray[np.uint8]
    b_iso: NDArray[np.float64]
    occupancy: NDArray[np.float64]
    altloc: NDArray[np.str_]
    names: NDArray[np.str_]
    residue: NDArray[np.int32]
    residues: Residues
    source: gemmi.Structure

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def is_hydrogen(self) -> NDArray[np.bool_]:
        """Mask of hydrogen and deuterium atoms."""
        return self.elements == 1

    @property
    def is_deuterium(self) -> NDArray[np.bool_]:
        """Mask of deuterium atoms, as `source` has them."""
        return np.asarray(_flat(self.source, "model").elements == FLAT_DEUTERIUM)

    @property
    def chain_names(self) -> list[str]:
        """Chain names in file order, without repeats."""
        return list(dict.fromkeys(self.residues.chain.tolist()))

    def moved(self, positions: NDArray[np.float64]) -> Structure:
        """Return the same model at other positions (shape (n, 3), Å)."""
        return replace(self, positions=np.ascontiguousarray(positions, dtype=np.float64))

    def to_gemmi(self) -> gemmi.Structure:
        """Return a copy of `source` (first MODEL) with these positions, B factors and occupancies."""
        out = self.source.clone()
        while len(out) > 1:
            del out[1]
        rows = zip(out[0].all(), self.positions.tolist(), self.b_iso.tolist(), self.occupancy.tolist(), strict=True)
        for site, position, b_iso, occupancy in rows:
            atom = site.atom
            atom.pos = gemmi.Position(*position)
            if b_iso != atom.b_iso:
                atom.b_iso = b_iso
                atom.aniso = gemmi.SMat33f(0, 0, 0, 0, 0, 0)
            atom.occ = occupancy
        return out

    def part(self, kept: NDArray[np.bool_]) -> Structure:
        """Return some residues, to be measured: `source` stays that of the whole model, so that they can't be written.

        Parameters
        ----------
        kept : NDArray[bool], shape (n_residues,)
            Which; the arrays alone are cut, as `without` takes as long as the model is large.
        """
        atoms, residues = kept[self.residue], self.residues.select(kept)
        arrays = {item.name: getattr(self, item.name)[atoms] for item in fields(self) if item.name not in PER_MODEL}
        rows = np.repeat(np.arange(len(residues), dtype=self.residue.dtype), np.diff(residues.first))
        return Structure(**{**arrays, "residue": rows}, residues=residues, source=self.source)

    def without(self, mask: NDArray[np.bool_]) -> Structure:
        """Return the model without the atoms of `mask` (shape (n,)); empty residues vanish."""
        kept = self.to_gemmi()
        _delete_atoms(kept[0], mask)
        kept.remove_empty_chains()
        return from_gemmi(kept)


def read_structure(path: Path | str) -> Structure:
    """Read the first MODEL of an mmCIF or PDB file (also gzip or bzip2).

    Raises
    ------
    ModelError
        If the file is missing, unreadable, truncated, has no atoms, or has non-finite coordinates.
    """
    path = Path(path)
    text = unpacked_text(path)
    try:
        source = _parse(text, path)
    except ModelError:
        raise
    except (ValueError, RuntimeError, UnicodeDecodeError) as fault:
        message = f"{path.name} can't be read as mmCIF or PDB: {_first_line(fault)}"
        raise ModelError("model_unreadable", message, "Check that the file is complete.") from fault
    return from_gemmi(source, name=path.name)


def from_gemmi(source: gemmi.Structure, *, name: str = "model") -> Structure:
    """Flatten a gemmi structure (its first MODEL).

    Raises
    ------
    ModelError
        If there are no atoms or a coordinate, B factor or occupancy isn't a finite number.
    """
    while len(source) > 1:
        del source[1]
    if len(source) == 0 or source[0].count_atom_sites() == 0:
        raise ModelError("model_empty", f"{name} has no atoms.", "Give a model with at least one atom.")
    source.setup_entities()
    flat = _flat(source, name)
    residues, residue_of_atom = _residue_table(source[0])
    letters = flat.altlocs.astype(np.uint8).reshape(-1, 1)
    elements = flat.elements.astype(np.uint8)
    elements[elements == FLAT_DEUTERIUM] = 1
    structure = Structure(
        positions=np.array(flat.pos, dtype=np.float64),
        elements=elements,
        b_iso=flat.b_iso.astype(np.float64),
        occupancy=flat.occ.astype(np.float64),
        altloc=_characters(letters),
        names=_characters(np.asarray(flat.atom_names)),
        residue=residue_of_atom,
        residues=residues,
        source=source,
    )
    _require_finite(structure, name)
    return structure


def _flat(source: gemmi.Structure, name: str) -> gemmi.FlatStructure:
    """Return gemmi's flat form; it holds names of up to 7 characters, so longer ones of chains and compounds are cut in a copy.

    Only the columns of atoms are taken from it.
    """
    with suppress(RuntimeError):
        return gemmi.FlatStructure(source)
    short = source.clone()
    for chain in short[0]:
        chain.name = ""
        for residue in chain:
            residue.name = residue.subchain = ""
    try:
        return gemmi.FlatStructure(short)
    except RuntimeError as fault:
        longest = max((atom.name for chain in source[0] for residue in chain for atom in residue), key=len)
        message = f"{name} has an atom named {longest[:40]!r}; names of atoms have at most 7 characters."
        raise ModelError("model_unreadable", message, "The file is damaged, or the atom needs another name.") from fault


def _residue_table(model: gemmi.Model) -> tuple[Residues, NDArray[np.int32]]:
    rows: list[tuple[Any, ...]] = []
    counts: list[int] = []
    for chain_index, chain in enumerate(model):
        for residue in chain:
            if not len(residue):
                continue
            polymer = residue.entity_type == gemmi.EntityType.Polymer
            seqid = residue.seqid
            rows.append(
                (chain.name, seqid.num, seqid.icode.strip(), residue.name, _kind(residue, polymer=polymer), polymer, chain_index)
            )
            counts.append(len(residue))
    columns = list(zip(*rows, strict=True))
    first = np.zeros(len(rows) + 1, dtype=np.int32)
    np.cumsum(counts, out=first[1:])
    residues = Residues(
        chain=np.array(columns[0], dtype=np.str_),
        number=np.array([-999 if n is None else n for n in columns[1]], dtype=np.int32),
        insertion=np.array(columns[2], dtype=np.str_),
        compound=np.array(columns[3], dtype=np.str_),
        kind=np.array(columns[4], dtype=np.uint8),
        polymer=np.array(columns[5], dtype=np.bool_),
        chain_index=np.array(columns[6], dtype=np.int32),
        first=first,
    )
    return residues, np.repeat(np.arange(len(rows), dtype=np.int32), counts)


def _kind(residue: gemmi.Residue, *, polymer: bool) -> ResidueKind:
    info = gemmi.find_tabulated_residue(residue.name)
    if info.is_water():
        return ResidueKind.WATER
    if len(residue) == 1 and not polymer and residue[0].element.is_metal:
        return ResidueKind.ION
    if len(residue) == 1 and not polymer and residue.name in {"CL", "BR", "IOD", "F"}:
        return ResidueKind.ION
    if info.is_amino_acid() or (polymer and _has_atoms(residue, "N", "CA", "C")):
        return ResidueKind.PROTEIN if polymer or residue.het_flag != "H" else ResidueKind.LIGAND
    if info.is_nucleic_acid() or (polymer and _has_atoms(residue, "C1'", "C3'", "O3'")):
        return ResidueKind.NUCLEIC if polymer or residue.het_flag != "H" else ResidueKind.LIGAND
    return ResidueKind.LIGAND


def _has_atoms(residue: gemmi.Residue, *names: str) -> bool:
    return all(name in residue for name in names)


def _characters(codes: NDArray[np.integer]) -> NDArray[np.str_]:
    """Turn rows of byte codes (n, width), zero-padded, into strings."""
    width = codes.shape[1]
    return np.ascontiguousarray(codes.astype(np.uint8)).view(f"S{width}").ravel().astype(np.str_)


def _delete_atoms(model: gemmi.Model, mask: NDArray[np.bool_]) -> None:
    doomed = mask.tolist()
    end = len(doomed)
    for chain in reversed(model):
        for r in range(len(chain) - 1, -1, -1):
            residue = chain[r]
            start = end - len(residue)
            for a in range(len(residue) - 1, -1, -1):
                if doomed[start + a]:
                    del residue[a]
            end = start
            if len(residue) == 0:
                del chain[r]


def _require_finite(structure: Structure, name: str) -> None:
    for what, values in (
        ("coordinate", structure.positions),
        ("B factor", structure.b_iso),
        ("occupancy", structure.occupancy),
    ):
        bad = ~np.isfinite(values.reshape(len(structure), -1)).all(axis=1)
        if bad.any():
            atom = int(np.argmax(bad))
            where = f"{structure.residues.label(int(structure.residue[atom]))} {structure.names[atom]}"
            message = f"{name} has {int(bad.sum())} atoms whose {what} is not a number, the first at {where}."
            raise ModelError("model_not_finite", message, "Remove or repair these atoms.")
    far = np.abs(structure.positions).max()
    if far > 1e5:
        message = f"{name} has an atom {far:.3g} Å away from the origin."
        raise ModelError("model_not_finite", message, "Coordinates are in Å; remove or repair these atoms.")


def unpacked_text(path: Path) -> str:
    """Return the text of a model file, unpacked if it is gzip or bzip2.

    Raises
    ------
    ModelError
        If the file is missing, damaged, binary, or unpacks to more than `MAX_MODEL_BYTES`.
    """
    if not path.is_file():
        raise ModelError("model_missing", f"The model file {path} does not exist.", "Check the path.")
    with path.open("rb") as handle:
        magic = handle.read(3)
    opener: Any = open
    if magic[:2] == b"\x1f\x8b":
        opener = gzip.open
    elif magic == b"BZh":
        opener = bz2.open
    try:
        with opener(path, "rb") as handle:
            data = handle.read(MAX_MODEL_BYTES + 1)
    except (EOFError, OSError, zlib.error) as fault:
        message = f"{path.name} is damaged: {_first_line(fault)}"
        raise ModelError("model_truncated", message, "Fetch the file again.") from fault
    if len(data) > MAX_MODEL_BYTES:
        message = f"{path.name} unpacks to more than {MAX_MODEL_BYTES >> 30} GiB."
        raise ModelError("model_too_large", message, "This isn't a model file.")
    if b"\x00" in data[:4096]:
        raise ModelError("model_unreadable", f"{path.name} is a binary file, not mmCIF or PDB.", "Give a model file.")
    return data.decode("utf-8-sig", errors="replace")  # editors of some systems put a byte-order mark in front


def _parse(text: str, path: Path) -> gemmi.Structure:
    head = text[:200_000]
    if "_atom_site." in text and ("data_" in head):
        document = gemmi.cif.read_string(text)
        for block in document:
            if block.find_loop("_atom_site.id") or block.find_loop("_atom_site.Cartn_x"):
                structure = gemmi.make_structure_from_block(block)
                structure.input_format = gemmi.CoorFormat.Mmcif
                return structure
        raise ModelError("model_empty", f"{path.name} has no atoms.", "Give a model with an _atom_site table.")
    if any(text.startswith(tag) or f"\n{tag}" in text for tag in ("ATOM  ", "HETATM")):
        structure = gemmi.read_pdb_string(text)
        structure.merge_chain_parts()
        return structure
    message = f"{path.name} is neither mmCIF nor PDB: no atom records."
    raise ModelError("model_unreadable", message, "Give a model in mmCIF or PDB format.")


def _first_line(fault: BaseException) -> str:
    return str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
