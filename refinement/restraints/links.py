"""Bonds between residues that the file doesn't declare, found by distance before the topology is made.

Disulfides, links that the monomer library knows, covalent ligands, metal coordination, and polymer
links that are stretched beyond what the topology builder takes for a bond.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gemmi
import numpy as np

from refinement.cells import neighbours_around
from refinement.structure import ResidueKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from refinement.structure import Structure

DISULFIDE_REACH = 3.0
"""Two SG atoms closer than this (Å) are bonded."""
STRETCHED_REACH = 3.5
"""Consecutive residues stay linked up to this C-N or O3'-P distance (Å); beyond it is a gap."""
LINK_STRETCH = 1.25
"""A link of the library is recognised up to this multiple of its ideal length."""
COVALENT_MARGIN = 0.2
"""A ligand is covalently bound within the sum of covalent radii plus this (Å)."""
CLASH_REACH = 2.0
"""More than one pair of atoms closer than this (Å) is an overlap, not a bond."""
METAL_MARGIN = 0.6
"""A metal is coordinated within the sum of covalent radii plus this (Å)."""
DECLARED_REACH = 4.0
"""Declared links longer than this (Å) join symmetry mates or moved atoms and are dropped."""

NUCLEOPHILES: dict[str, tuple[str, ...]] = {
    "CYS": ("SG",), "SEC": ("SE",), "LYS": ("NZ",), "SER": ("OG",), "THR": ("OG1",), "TYR": ("OH",), "HIS": ("ND1", "NE2"),
    "ASP": ("OD1", "OD2"), "GLU": ("OE1", "OE2"), "ASN": ("ND2",), "GLN": ("NE2",), "ARG": ("NH1", "NH2"), "TRP": ("CD1",),
}  # fmt: skip
"""Side-chain atoms that covalent ligands bind to."""
POLYMER_ENDS = frozenset({"N", "C", "O2'", "O3'", "O5'", "P"})
"""Main-chain atoms that covalent ligands bind to."""
NEVER_DONORS = frozenset({("ARG", "NE"), ("ARG", "NH1"), ("ARG", "NH2"), ("LYS", "NZ"), ("TRP", "NE1")})
"""Nitrogen atoms that carry their full set of hydrogens and bind no metal."""

AMIDE_CARBONS: dict[str, tuple[str, str, str]] = {
    "ASP": ("CG", "OD1", "OD2"), "ASN": ("CG", "OD1", "ND2"), "GLU": ("CD", "OE1", "OE2"), "GLN": ("CD", "OE1", "NE2"),
}  # fmt: skip
"""Side-chain carbons that lysine forms amides with, and the two atoms of which one gives way."""

_NITROGEN, _OXYGEN, _SULFUR = 7, 8, 16
_PEPTIDE_BOND_REACH = 1.341 * 1.5
_PHOSPHATE_BOND_REACH = 1.6 * 1.5
_CIS_LIMIT = 45.0
_RADII = np.array([gemmi.Element(z).covalent_r for z in range(119)])
_IS_METAL = np.array([z > 0 and gemmi.Element(z).is_metal for z in range(119)])


def add_links(model: gemmi.Structure, structure: Structure, library: gemmi.MonLib) -> None:
    """Declare every missing link in `model` and drop impossible ones.

    Parameters
    ----------
    model : gemmi.Structure
        Copy of the model whose atoms carry their row as serial number; its connections are changed.
    structure : Structure
        The same model as arrays.
    library : gemmi.MonLib
        Dictionaries; its links are looked for.
    """
    declared = _keep_possible(model)
    declaration = _Declaration(model, declared)
    metals = metal_bonds(structure)
    for i, j in disulfides(structure, metals):
        declaration.add(i, j, gemmi.ConnectionType.Disulf)
    for i, j, link_id in stretched_links(structure):
        declaration.add(i, j, gemmi.ConnectionType.Covale, link_id)
    for i, j in isopeptides(structure):
        declaration.add(i, j, gemmi.ConnectionType.Covale)
    if (structure.residues.kind == ResidueKind.LIGAND).any():
        for i, j in _library_links(model, structure, library):
            declaration.add(i, j, gemmi.ConnectionType.Covale)
        for i, j in covalent_ligands(structure):
            declaration.add(i, j, gemmi.ConnectionType.Covale)
    for i, j in metals:
        declaration.add(i, j, gemmi.ConnectionType.MetalC)


def covalent_sum(elements: NDArray[np.uint8], pairs: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the sums of covalent radii (Å) of atom pairs (shape (m, 2))."""
    sums: NDArray[np.float64] = _RADII[elements[pairs]].sum(axis=1)
    return sums


def metal_mask(elements: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which atomic numbers are metals."""
    mask: NDArray[np.bool_] = _IS_METAL[elements]
    return mask


def disulfides(structure: Structure, metals: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return pairs of SG atoms within `DISULFIDE_REACH`, closest first, each atom once per conformer.

    Sulphurs that bind a metal (in `metals`) are left alone.
    """
    sulphur = np.flatnonzero((structure.names == "SG") & (structure.elements == _SULFUR))
    sulphur = sulphur[~np.isin(sulphur, metals)]
    pairs = _close_pairs(structure, sulphur, sulphur, DISULFIDE_REACH)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    pairs = pairs[np.argsort(_lengths(structure, pairs), kind="stable")]
    taken: set[int] = set()
    kept = []
    for i, j in pairs.tolist():
        if i not in taken and j not in taken:
            taken |= {i, j}
            kept.append((i, j))
    return np.array(kept, dtype=np.int32).reshape(-1, 2)


def stretched_links(structure: Structure) -> list[tuple[int, int, str]]:
    """Return C-N and O3'-P pairs of consecutive residues that are too long to be taken for bonds.

    Only residues whose numbers follow each other and whose distance is at most `STRETCHED_REACH`.
    """
    residues = structure.residues
    step = residues.number[1:] - residues.number[:-1]
    follows = (residues.chain_index[1:] == residues.chain_index[:-1]) & residues.polymer[1:] & residues.polymer[:-1]
    follows &= (step == 1) | ((step == 0) & (residues.insertion[1:] != residues.insertion[:-1]))
    found: list[tuple[int, int, str]] = []
    for kind, tail, head, bond_reach in (
        (ResidueKind.PROTEIN, "C", "N", _PEPTIDE_BOND_REACH),
        (ResidueKind.NUCLEIC, "O3'", "P", _PHOSPHATE_BOND_REACH),
    ):
        tails, heads = _single_atoms(structure, tail), _single_atoms(structure, head)
        both = follows & (residues.kind[1:] == kind) & (residues.kind[:-1] == kind) & (tails[:-1] >= 0) & (heads[1:] >= 0)
        pairs = np.stack([tails[:-1][both], heads[1:][both]], axis=1)
        length = _lengths(structure, pairs)
        for i, j in pairs[(length > bond_reach) & (length <= STRETCHED_REACH)].tolist():
            found.append((i, j, _polymer_link(structure, kind, i, j)))
    return found


def covalent_ligands(structure: Structure) -> NDArray[np.int32]:
    """Return bonds of ligands to polymers and to each other, judged by distance.

    A pair of residues is bound when exactly one pair of their atoms is closer than `CLASH_REACH`,
    that pair is within bonding distance, and a polymer's atom is one that reacts.
    """
    kind = structure.residues.kind[structure.residue]
    polymer = structure.residues.polymer[structure.residue]
    sizes = np.diff(structure.residues.first)[structure.residue]
    heavy = (structure.elements > 1) & ~metal_mask(structure.elements)
    ligand = heavy & ~polymer & (kind != ResidueKind.WATER) & (kind != ResidueKind.ION) & (sizes > 1)
    other = heavy & (kind != ResidueKind.WATER) & (kind != ResidueKind.ION)
    pairs = _close_pairs(structure, np.flatnonzero(ligand), np.flatnonzero(other), CLASH_REACH)
    pairs = pairs[~ligand[pairs[:, 1]] | (pairs[:, 0] < pairs[:, 1])]
    ends = structure.residue[pairs].astype(np.int64)
    key = np.sort(ends, axis=1) @ np.array([len(structure.residues), 1])
    _, where, times = np.unique(key, return_inverse=True, return_counts=True)
    lengths = _lengths(structure, pairs)
    good = (times[where] == 1) & (lengths <= covalent_sum(structure.elements, pairs) + COVALENT_MARGIN) & (lengths > 1.0)
    good &= ~polymer[pairs[:, 1]] | _reacts(structure, pairs[:, 1])
    return pairs[good]


def isopeptides(structure: Structure) -> NDArray[np.int32]:
    """Return N-C bonds of lysine side chains and of first residues to carboxyl groups that lack an oxygen.

    Such a group has made room for the bond: side chains of Asp, Asn, Glu and Gln with one of their two end atoms, and the
    C of a last residue without OXT. The pair is within bonding distance, and the only one closer than `CLASH_REACH`.
    """
    residues, compound = structure.residues, structure.residues.compound[structure.residue]
    protein = (residues.kind == ResidueKind.PROTEIN) & residues.polymer
    same = np.diff(residues.chain_index) == 0
    first, last = protein.copy(), protein.copy()
    first[1:] &= ~(same & protein[:-1])
    last[:-1] &= ~(same & protein[1:])
    names = structure.names
    donor = (names == "NZ") & (compound == "LYS") | (names == "N") & first[structure.residue]
    acceptor = (names == "C") & (last & ~_has(structure, "OXT"))[structure.residue]
    for name, (carbon, *ends) in AMIDE_CARBONS.items():
        open_ = sum(_has(structure, end).astype(int) for end in ends) == 1
        acceptor |= (names == carbon) & (compound == name) & np.asarray(open_)[structure.residue]
    pairs = _close_pairs(structure, np.flatnonzero(donor), np.flatnonzero(acceptor), CLASH_REACH)
    pairs = pairs[_lengths(structure, pairs) <= covalent_sum(structure.elements, pairs) + COVALENT_MARGIN]
    touching = np.flatnonzero((structure.elements > 1) & np.isin(structure.residue, structure.residue[pairs]))
    near = structure.residue[_close_pairs(structure, touching, touching, CLASH_REACH)]
    # every pair of atoms is there both ways
    alone = [np.count_nonzero((near == ends).all(axis=1)) == 1 for ends in structure.residue[pairs]]
    return pairs[np.array(alone, dtype=np.bool_)]


def _has(structure: Structure, name: str) -> NDArray[np.bool_]:
    """Return which residues have an atom of this name."""
    found = np.zeros(len(structure.residues), dtype=np.bool_)
    found[structure.residue[structure.names == name]] = True
    return found


def metal_bonds(structure: Structure) -> NDArray[np.int32]:
    """Return metal-donor pairs between residues within covalent radii plus `METAL_MARGIN`."""
    metal = np.flatnonzero(metal_mask(structure.elements))
    donor = np.flatnonzero(np.isin(structure.elements, (_NITROGEN, _OXYGEN, _SULFUR)))
    if not len(metal):
        return np.empty((0, 2), dtype=np.int32)
    pairs = _close_pairs(structure, metal, donor, float(_RADII[structure.elements[metal]].max()) + 1.05 + METAL_MARGIN)
    near = _lengths(structure, pairs) <= covalent_sum(structure.elements, pairs) + METAL_MARGIN
    compound = structure.residues.compound[structure.residue]
    names = structure.names
    kind = structure.residues.kind[structure.residue]
    free = [
        (compound[j], names[j]) not in NEVER_DONORS and not (kind[j] == ResidueKind.PROTEIN and names[j] == "N")
        for j in pairs[:, 1].tolist()
    ]
    return pairs[near & np.array(free, dtype=np.bool_)]


class _Declaration:
    """Adds connections to a model, each pair of atoms once."""

    def __init__(self, model: gemmi.Structure, declared: set[frozenset[int]]) -> None:
        self._model = model
        self._declared = declared
        self._sites: list[gemmi.CRA] = []

    def add(self, i: int, j: int, kind: gemmi.ConnectionType, link_id: str = "") -> None:
        pair = frozenset((int(i), int(j)))
        if pair in self._declared:
            return
        if not self._sites:
            self._sites = list(self._model[0].all())
        self._declared.add(pair)
        connection = gemmi.Connection()
        connection.name = f"found{len(self._model.connections) + 1}"
        connection.type = kind
        connection.link_id = link_id
        connection.partner1 = _address(self._sites[i])
        connection.partner2 = _address(self._sites[j])
        self._model.connections.append(connection)


def _address(site: gemmi.CRA) -> gemmi.AtomAddress:
    return gemmi.AtomAddress(site.chain.name, site.residue.seqid, site.residue.name, site.atom.name, site.atom.altloc)


def _keep_possible(model: gemmi.Structure) -> set[frozenset[int]]:
    """Drop connections to symmetry mates, to missing atoms and over long distances; return the pairs of the others."""
    kept, pairs = [], set()
    for connection in model.connections:
        ends = [model[0].find_cra(partner).atom for partner in (connection.partner1, connection.partner2)]
        if connection.asu == gemmi.Asu.Different or ends[0] is None or ends[1] is None:
            continue
        if ends[0].serial == ends[1].serial or ends[0].pos.dist(ends[1].pos) > DECLARED_REACH:
            continue
        kept.append(connection)
        pairs.add(frozenset((ends[0].serial, ends[1].serial)))
    model.connections = gemmi.ConnectionList(kept)
    return pairs


def _library_links(model: gemmi.Structure, structure: Structure, library: gemmi.MonLib) -> Iterable[tuple[int, int]]:
    """Yield links of the library in which a residue takes part that isn't of a polymer."""
    hunt = gemmi.LinkHunt()
    hunt.index_chem_links(library)
    polymer = structure.residues.polymer[structure.residue]
    kind = structure.residues.kind[structure.residue]
    for match in hunt.find_possible_links(model, LINK_STRETCH, 0.0):
        if match.chem_link is None or not match.same_image:
            continue
        i, j = match.cra1.atom.serial, match.cra2.atom.serial
        if (polymer[i] and polymer[j]) or ResidueKind.WATER in (kind[i], kind[j]):
            continue
        if structure.altloc[i] in ("", structure.altloc[j]) or structure.altloc[j] == "":
            yield i, j


def _polymer_link(structure: Structure, kind: ResidueKind, i: int, j: int) -> str:
    if kind is ResidueKind.NUCLEIC:
        return "p"
    before, after = int(structure.residue[i]), int(structure.residue[j])
    trace = _single_atoms(structure, "CA")
    corners = [trace[before], i, j, trace[after]]
    cis = False
    if min(corners) >= 0:
        omega = gemmi.calculate_dihedral(*(gemmi.Position(*structure.positions[k]) for k in corners))
        cis = abs(np.degrees(omega)) < _CIS_LIMIT
    proline = structure.residues.compound[after] == "PRO"
    return ("P" if proline else "") + ("CIS" if cis else "TRANS")


def _reacts(structure: Structure, atoms: NDArray[np.int32]) -> NDArray[np.bool_]:
    compound = structure.residues.compound[structure.residue[atoms]]
    names = structure.names[atoms]
    known = [
        name in POLYMER_ENDS or name in NUCLEOPHILES.get(str(residue), ())
        for name, residue in zip(names.tolist(), compound.tolist(), strict=True)
    ]
    return np.array(known, dtype=np.bool_)


def _single_atoms(structure: Structure, name: str) -> NDArray[np.int64]:
    """Return the row of the atom called `name` in each residue, -1 where it is missing or has conformers."""
    rows = np.flatnonzero((structure.names == name) & (structure.altloc == ""))
    out = np.full(len(structure.residues), -1, dtype=np.int64)
    out[structure.residue[rows]] = rows
    return out


def _close_pairs(structure: Structure, ones: NDArray[np.int64], others: NDArray[np.int64], reach: float) -> NDArray[np.int32]:
    """Return pairs (one, other) of different residues and compatible conformers within `reach`."""
    if not len(ones) or not len(others):
        return np.empty((0, 2), dtype=np.int32)
    offsets, near = neighbours_around(structure.positions[ones], structure.positions[others], reach)
    owner = np.repeat(np.arange(len(ones)), np.diff(offsets))
    order = np.lexsort((near, owner))
    left, right = ones[owner[order]], others[near[order]]
    same = (structure.altloc[left] == "") | (structure.altloc[right] == "") | (structure.altloc[left] == structure.altloc[right])
    apart = structure.residue[left] != structure.residue[right]
    return np.stack([left, right], axis=1)[same & apart].astype(np.int32)


def _lengths(structure: Structure, pairs: NDArray[np.integer]) -> NDArray[np.float64]:
    ends = structure.positions[pairs]
    lengths: NDArray[np.float64] = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
    return lengths
