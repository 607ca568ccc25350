"""Nucleotides of a model: which residues they are, what base they have, and the pucker of their riboses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from refinement import tables
from refinement.conformers import NamedAtoms
from refinement.geometry import dihedrals_or_nan, distances
from refinement.structure import ResidueKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.structure import Structure

STANDARD_NUCLEOTIDES = ("A", "C", "G", "U", "DA", "DC", "DG", "DT")
"""Nucleotides that the pucker limits are for."""

SUGAR = ("C1'", "C2'", "C3'", "C4'", "C5'", "O3'", "O4'", "O5'")
NAMES = (*SUGAR, "O2'", "P", "OP1", "OP2", "N9", "N1")
PHOSPHATE_LENGTHS = {("P", "OP1"): 1.485, ("P", "OP2"): 1.485, ("P", "O5'"): 1.593}
SUGAR_LENGTHS = {
    ("C2'", "O2'"): 1.407, ("C1'", "C2'"): 1.521, ("C1'", "O4'"): 1.416, ("C2'", "C3'"): 1.529, ("C3'", "O3'"): 1.422,
    ("C3'", "C4'"): 1.528, ("C4'", "O4'"): 1.456, ("C4'", "C5'"): 1.511, ("C5'", "O5'"): 1.427,
}  # fmt: skip
"""Usual bond lengths in Å (Gelbin 1996)."""
BROKEN = 0.5
"""Å beyond the usual length; a nucleotide with such a bond isn't counted."""
GLYCOSIDIC_MAX = 1.463 + BROKEN
"""Å; a base further from C1' than this isn't bound to it."""

_OLD_NAMES = {"O1P": "OP1", "O2P": "OP2", "O3P": "OP3"}


def is_nucleotide(structure: Structure) -> NDArray[np.bool_]:
    """Return which residues are nucleotides of a chain, modified ones included."""
    kept: NDArray[np.bool_] = structure.residues.kind == ResidueKind.NUCLEIC
    return kept


def parent_bases(structure: Structure) -> NDArray[np.str_]:
    """Return A, C, G or U (T counts as U) of each nucleotide, "" for other residues.

    Modified bases are told by the group that their parent has at the Watson-Crick edge: N6, O6, N4 or O4.
    """
    compound = structure.residues.compound
    bases = np.full(len(compound), "", dtype="<U1")
    for atom, base in (("O4", "U"), ("N4", "C"), ("O6", "G"), ("N6", "A")):
        bases[structure.residue[structure.names == atom]] = base
    for base in "ACGU":
        bases[np.isin(compound, (base, f"D{base}", "DT" if base == "U" else base))] = base
    bases[~is_nucleotide(structure)] = ""
    return bases


def with_present_names(structure: Structure) -> Structure:
    """Return the model with nucleotide atoms named as since 2007 (``C1'``, ``OP1``) where it has the older names (``C1*``)."""
    nucleic = is_nucleotide(structure)[structure.residue]
    names, place = np.unique(structure.names, return_inverse=True)
    present = np.array([_OLD_NAMES.get(name, name).replace("*", "'") for name in names.tolist()], dtype=np.str_)
    if np.array_equal(names, present) or not nucleic.any():
        return structure
    return replace(structure, names=np.where(nucleic, present[place], structure.names))


def next_in_chain(structure: Structure, present: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return for each residue of `present` the next such residue of its chain in file order, else -1."""
    rows = np.flatnonzero(present)
    following = np.full(len(structure.residues), -1, dtype=np.int32)
    chain = structure.residues.chain_index
    same = chain[rows[:-1]] == chain[rows[1:]]
    following[rows[:-1][same]] = rows[1:][same]
    return following


@dataclass(frozen=True, slots=True, eq=False)
class Riboses:
    """The riboses of standard nucleotides; one row each, alternate positions separately.

    Attributes
    ----------
    residue : NDArray[int32]
        Row of the residue.
    delta, epsilon : NDArray[float64]
        Torsion angles C5'-C4'-C3'-O3' and C4'-C3'-O3'-P in degrees, 0 to 360; NaN where unknown.
    p_perp : NDArray[float64]
        Distance (Å) of the following P from the line of the glycosidic bond, NaN where there is none.
    c2_endo : NDArray[bool]
        The place of the phosphate (or of O3', where there is none) asks for C2'-endo, otherwise for C3'-endo.
    sound : NDArray[bool]
        The bonds between the atoms used are of reasonable length; where not, all the above is NaN or false.
    """

    residue: NDArray[np.int32]
    delta: NDArray[np.float64]
    epsilon: NDArray[np.float64]
    p_perp: NDArray[np.float64]
    c2_endo: NDArray[np.bool_]
    sound: NDArray[np.bool_]


def riboses(structure: Structure) -> Riboses:
    """Measure the riboses of the standard nucleotides of a model; those with missing or torn atoms are left out."""
    structure = with_present_names(structure)
    named = NamedAtoms(structure, NAMES)
    candidates = is_nucleotide(structure) & np.isin(structure.residues.compound, STANDARD_NUCLEOTIDES)
    rows: list[NDArray[np.int64]] = []
    atoms: list[NDArray[np.int32]] = []
    for turn, table in enumerate(named.conformers() if candidates.any() else ()):
        following = next_in_chain(structure, np.any(table >= 0, axis=1))
        next_p = np.where(following >= 0, table[following, NAMES.index("P")], -1)
        # the glycosidic nitrogen is N9 where there is one; column N9 holds it from here on, the next P stands in that of N1
        glycosidic = np.where(table[:, NAMES.index("N9")] >= 0, table[:, NAMES.index("N9")], table[:, NAMES.index("N1")])
        own = np.concatenate([table[:, : NAMES.index("N9")], glycosidic[:, None], next_p[:, None]], axis=1)
        kept = candidates & _is_whole_ribose(structure, own)
        if turn:
            kept &= named.lettered(own[:, [*range(len(SUGAR)), -2, -1]]).any(axis=1)
        rows.append(np.flatnonzero(kept))
        atoms.append(own[kept])
    if not rows:
        rows, atoms = [np.empty(0, dtype=np.int64)], [np.empty((0, len(NAMES)), dtype=np.int32)]
    residue = np.concatenate(rows)
    order = np.argsort(residue, kind="stable")
    return _measure(structure, residue[order].astype(np.int32), np.concatenate(atoms)[order])


def _is_whole_ribose(structure: Structure, own: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return the residues with all sugar atoms, O2', a whole phosphate or none, and no torn bond."""
    whole = (own[:, : len(SUGAR) + 1] >= 0).all(axis=1)
    phosphate = own[:, [NAMES.index(name) for name in ("P", "OP1", "OP2")]] >= 0
    whole &= phosphate.all(axis=1) | ~phosphate[:, 0]
    for (a, b), length in (PHOSPHATE_LENGTHS | SUGAR_LENGTHS).items():
        i, j = own[:, NAMES.index(a)], own[:, NAMES.index(b)]
        whole &= (distances(structure.positions, i, j) <= length + BROKEN) | (i < 0) | (j < 0)
    return whole


def _measure(structure: Structure, residue: NDArray[np.int32], own: NDArray[np.int32]) -> Riboses:
    limit = {row["quantity"]: float(row["value"]) for row in tables.rows("rna_pucker")}
    xyz = structure.positions
    c1, c3, c4, c5, o3 = (own[:, NAMES.index(name)] for name in ("C1'", "C3'", "C4'", "C5'", "O3'"))
    base, phosphorus = own[:, -2].copy(), own[:, -1].copy()
    phosphorus[distances(xyz, o3, phosphorus) > limit["o3_p_link_max"]] = -1
    base[distances(xyz, c1, base) > GLYCOSIDIC_MAX] = -1
    sound = np.ones(len(own), dtype=np.bool_)
    for i, j in ((o3, c3), (c3, c4), (c5, c4), (o3, phosphorus), (c1, base)):
        length = distances(xyz, i, j)
        sound &= ((length >= limit["bond_min"]) & (length <= limit["bond_max"])) | (j < 0)
    delta = dihedrals_or_nan(xyz, np.stack([c5, c4, c3, o3], axis=1)) % 360.0
    epsilon = dihedrals_or_nan(xyz, np.stack([c4, c3, o3, phosphorus], axis=1)) % 360.0
    p_perp = _distance_from_line(xyz, c1, base, phosphorus)
    o3_perp = _distance_from_line(xyz, c1, base, o3)
    # without a base both distances are NaN and C3'-endo is expected
    c2_endo = np.where(phosphorus >= 0, p_perp < limit["p_distance_limit"], o3_perp < limit["o3_distance_limit"])
    for values in (delta, epsilon, p_perp):
        values[~sound] = np.nan
    return Riboses(residue, delta, epsilon, p_perp, c2_endo & sound, sound)


def _distance_from_line(
    xyz: NDArray[np.float64], start: NDArray[np.int32], end: NDArray[np.int32], point: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Return the distances (Å) of `point` from the lines through `start` and `end`, NaN where an atom is missing."""
    axis, offset = xyz[end] - xyz[start], xyz[point] - xyz[start]
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.linalg.norm(np.cross(axis, offset), axis=1) / np.linalg.norm(axis, axis=1)
    values[(end < 0) | (point < 0)] = np.nan
    return values
