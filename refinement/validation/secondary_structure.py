"""Secondary structure from the hydrogen bonds of the main chain (Kabsch & Sander 1983), with π helices as in DSSP 4.

A residue is described by one letter: ``H`` α helix, ``G`` 3-10 helix, ``I`` π helix, ``E`` strand, ``B`` lone bridge,
``T`` turn, ``S`` bend, ``-`` none of these, "" not evaluated (no protein, or N, CA, C or O missing).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refinement.cells import neighbour_pairs
from refinement.conformers import NamedAtoms
from refinement.structure import ResidueKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.structure import Structure

    Bools = NDArray[np.bool_]

COUPLING = 27.888
"""kcal/mol·Å: 0.42 e · 0.20 e · 332."""
BOND_ENERGY = -0.5
"""kcal/mol; a hydrogen bond is stronger than this."""
STRONGEST = -9.9
TOO_NEAR = 0.5
"""Å; nearer atoms count as a bond of `STRONGEST`."""
NH_LENGTH = 1.0
CA_REACH = 9.0
NO_REACH = 6.0
"""Å; beyond these distances of Cα and of N and O there is no hydrogen bond."""
PEPTIDE_LIMIT = 2.5
BEND = 70.0
"""Degrees between the directions Cα i-2 to i and i to i+2."""
BULGE, WIDE_BULGE = 3, 6
"""Ladders are joined over fewer residues than this on one strand and on the other."""

CODES = "HGIEBTS-"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class BackboneBonds:
    """Hydrogen bonds of the main chain, at most the two strongest of each N-H.

    Attributes
    ----------
    donor, acceptor : NDArray[int64], shape (m,)
        Rows of the residues that give N-H and O.
    energy : NDArray[float64]
        kcal/mol.
    separation : NDArray[int64]
        How many residues the donor comes after the acceptor in the same unbroken piece of chain, 0 between pieces.
    """

    donor: NDArray[np.int64]
    acceptor: NDArray[np.int64]
    energy: NDArray[np.float64]
    separation: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class SecondaryStructure:
    """Result.

    Attributes
    ----------
    codes : NDArray[str], shape (n_residues,)
        See the module.
    bonds : BackboneBonds
        The hydrogen bonds that decided it.
    """

    codes: NDArray[np.str_]
    bonds: BackboneBonds

    @property
    def summary(self) -> dict[str, float | None]:
        """Return nothing: secondary structure is no metric."""
        return {}

    @property
    def reasons(self) -> dict[str, str]:
        """Return nothing."""
        return {}

    @property
    def columns(self) -> dict[str, NDArray[np.str_]]:
        """Return the per-residue column."""
        return {"secondary_structure": self.codes}

    @property
    def details(self) -> dict[str, dict[str, int]]:
        """Return how many residues have each letter."""
        found = Counter(self.codes.tolist())
        return {"secondary_structure": {code: found[code] for code in CODES}}


@dataclass(slots=True)
class _Ladder:
    """Bridges in a row: residues of the first and of the second strand."""

    parallel: bool
    first: list[int]
    second: list[int]


def secondary_structure(structure: Structure) -> SecondaryStructure:
    """Assign the secondary structure of the main conformer."""
    codes = np.full(len(structure.residues), "", dtype="<U1")
    table = next(NamedAtoms(structure, ("N", "CA", "C", "O")).conformers())
    rows = np.flatnonzero((structure.residues.kind == ResidueKind.PROTEIN) & (table >= 0).all(axis=1))
    found = BackboneBonds(*_NO_BONDS, np.empty(0, dtype=np.int64))
    if len(rows):
        n, ca, c, o = (structure.positions[column] for column in table[rows].T)
        broken = np.diff(structure.residues.chain_index[rows]) != 0
        broken |= np.linalg.norm(n[1:] - c[:-1], axis=1) > PEPTIDE_LIMIT
        part = np.concatenate([[0], np.cumsum(broken)])
        bonds = _Bonds(n, ca, c, o, part, structure.residues.compound[rows] == "PRO")
        codes[rows] = _codes(ca, part, bonds)
        separation = np.where(part[bonds.donor] == part[bonds.acceptor], bonds.donor - bonds.acceptor, 0)
        found = BackboneBonds(rows[bonds.donor], rows[bonds.acceptor], bonds.energy, separation)
    return SecondaryStructure(codes, found)


class _Bonds:
    """Hydrogen bonds between residues: at most the two strongest of each N-H."""

    def __init__(
        self,
        n: NDArray[np.float64],
        ca: NDArray[np.float64],
        c: NDArray[np.float64],
        o: NDArray[np.float64],
        part: NDArray[np.int64],
        proline: Bools,
    ) -> None:
        self.size = len(n)
        hydrogen = np.full_like(n, np.nan)
        follows = np.flatnonzero((part[1:] == part[:-1]) & ~proline[1:])
        carbonyl = c[follows] - o[follows]
        length = np.maximum(np.linalg.norm(carbonyl, axis=1), 1e-6)
        hydrogen[follows + 1] = n[follows + 1] + NH_LENGTH * carbonyl / length[:, None]
        pairs = neighbour_pairs(ca, CA_REACH / 2).astype(np.int64)
        parts = [_strong(n, hydrogen, c, o, pairs[k : k + _CHUNK]) for k in range(0, len(pairs), _CHUNK)]
        donor, acceptor, energy = (np.concatenate(column) for column in zip(*parts, strict=True)) if parts else _NO_BONDS
        order = np.lexsort((acceptor, energy, donor))
        donor, acceptor, energy = donor[order], acceptor[order], energy[order]
        best = np.ones(len(donor), dtype=np.bool_)
        best[2:] = donor[2:] != donor[:-2]
        self.donor, self.acceptor, self.energy = donor[best], acceptor[best], energy[best]
        self.keys = np.sort(self.donor * self.size + self.acceptor)

    def between(self, donor: NDArray[np.int64], acceptor: NDArray[np.int64]) -> Bools:
        """Return which N-H of `donor` are bound to the O of `acceptor`."""
        wanted = donor * self.size + acceptor
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return self.keys[place] == wanted if len(self.keys) else np.zeros(len(wanted), dtype=np.bool_)


_NO_BONDS = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))


def _strong(
    n: NDArray[np.float64],
    hydrogen: NDArray[np.float64],
    c: NDArray[np.float64],
    o: NDArray[np.float64],
    pairs: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return donors, acceptors and energies of the hydrogen bonds in pairs of residues."""
    backward = pairs[pairs[:, 1] != pairs[:, 0] + 1, ::-1]
    donor, acceptor = np.concatenate([pairs, backward]).T
    near = ((n[donor] - o[acceptor]) ** 2).sum(axis=1) < NO_REACH**2
    near &= ~np.isnan(hydrogen[donor, 0])
    donor, acceptor = donor[near], acceptor[near]
    ends = ((hydrogen, o), (hydrogen, c), (n, c), (n, o))
    ho, hc, nc, no = (np.sqrt(((a[donor] - b[acceptor]) ** 2).sum(axis=1)) for a, b in ends)
    clash = np.minimum.reduce([ho, hc, nc, no], initial=np.inf) < TOO_NEAR
    ho, hc, nc, no = (np.maximum(values, TOO_NEAR) for values in (ho, hc, nc, no))
    # three decimals, as DSSP has always had; a bond of exactly -0.5 isn't one
    energy = np.round(COUPLING * (1 / no + 1 / hc - 1 / ho - 1 / nc), 3)
    energy = np.where(clash, STRONGEST, np.maximum(energy, STRONGEST))
    strong = energy < BOND_ENERGY
    return donor[strong], acceptor[strong], energy[strong]


def _codes(ca: NDArray[np.float64], part: NDArray[np.int64], bonds: _Bonds) -> NDArray[np.str_]:
    size = len(ca)
    codes = np.full(size, "-", dtype="<U1")
    for ladder in _ladders(part, bonds):
        letter = "E" if len(ladder.first) > 1 else "B"
        for strand in (ladder.first, ladder.second):
            span = codes[strand[0] : strand[-1] + 1]
            span[span != "E"] = letter
    starts = {turn: _turn_starts(turn, part, bonds) for turn in (3, 4, 5)}
    for letter, turn, over in (("H", 4, "HGIEBTS-"), ("G", 3, "G-"), ("I", 5, "IH-")):
        begins = np.flatnonzero(starts[turn][1:] & starts[turn][:-1]) + 1
        inside = (begins[begins + turn < size, None] + np.arange(turn)).reshape(-1, turn)
        free = np.isin(codes[inside], list(over)).all(axis=1)
        codes[inside[free]] = letter
    turns = np.zeros(size, dtype=np.bool_)
    for turn, start in starts.items():
        for k in range(1, turn):
            turns[k:] |= start[:-k]
    turns[0] = turns[-1] = False
    loop = codes == "-"
    codes[loop & _bends(ca, part)] = "S"
    codes[loop & turns] = "T"
    return codes


def _turn_starts(turn: int, part: NDArray[np.int64], bonds: _Bonds) -> Bools:
    """Return residues whose O is bound to the N-H `turn` residues further on in the same chain."""
    starts = np.zeros(bonds.size, dtype=np.bool_)
    here = np.arange(bonds.size - turn) if bonds.size > turn else np.empty(0, dtype=np.int64)
    starts[here] = (part[here] == part[here + turn]) & bonds.between(here + turn, here)
    return starts


def _bends(ca: NDArray[np.float64], part: NDArray[np.int64]) -> Bools:
    bends = np.zeros(len(ca), dtype=np.bool_)
    if len(ca) < 5:
        return bends
    before, after = ca[2:-2] - ca[:-4], ca[4:] - ca[2:-2]
    cosine = (before * after).sum(axis=1) / np.maximum(np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1), 1e-12)
    bends[2:-2] = (part[:-4] == part[4:]) & (cosine < np.cos(np.radians(BEND)))
    return bends


# -------------------------------------------------------------------------------------------------- ladders


def _ladders(part: NDArray[np.int64], bonds: _Bonds) -> list[_Ladder]:
    """Return the ladders, those with a bulge between them joined."""
    ladders: list[_Ladder] = []
    growing: dict[tuple[bool, int, int], _Ladder] = {}
    for i, j, parallel in _bridges(part, bonds):
        ladder = growing.pop((parallel, i, j), None)
        if ladder is None:
            ladder = _Ladder(parallel, [i], [j])
            ladders.append(ladder)
        else:
            ladder.first.append(i)
            ladder.second.insert(len(ladder.second) if parallel else 0, j)
        growing[parallel, i + 1, j + 1 if parallel else j - 1] = ladder
    ladders.sort(key=lambda ladder: ladder.first[0])
    k = 0
    while k < len(ladders):
        _swallow(ladders, k, part)
        k += 1
    return ladders


def _swallow(ladders: list[_Ladder], k: int, part: NDArray[np.int64]) -> None:
    """Join the ladders behind number k that continue it."""
    ladder, m = ladders[k], k + 1
    while m < len(ladders) and ladders[m].first[0] - ladder.first[-1] < WIDE_BULGE:
        other = ladders[m]
        if not _continues(ladder, other, part):
            m += 1
            continue
        ladder.first += other.first
        ladder.second = ladder.second + other.second if ladder.parallel else other.second + ladder.second
        del ladders[m]


def _continues(ladder: _Ladder, other: _Ladder, part: NDArray[np.int64]) -> bool:
    """Return whether only a bulge lies between two ladders."""
    if ladder.parallel != other.parallel or other.first[0] <= ladder.first[-1]:
        return False
    seconds = sorted((*ladder.second, *other.second))
    if part[ladder.first[0]] != part[other.first[-1]] or part[seconds[0]] != part[seconds[-1]]:
        return False
    first_gap = other.first[0] - ladder.first[-1]
    second_gap = other.second[0] - ladder.second[-1] if ladder.parallel else ladder.second[0] - other.second[-1]
    return 0 <= second_gap < BULGE or (0 <= second_gap < WIDE_BULGE and first_gap < BULGE)


def _bridges(part: NDArray[np.int64], bonds: _Bonds) -> list[tuple[int, int, bool]]:
    """Return bridges as residue, partner further on, and whether they are parallel; sorted."""
    x, y = bonds.donor, bonds.acceptor
    pairs = np.concatenate([np.stack([x + a, y + b], axis=1) for a, b in ((0, 0), (-1, 0), (0, 1), (-1, 1))])
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    i, j = pairs.T
    inside = (i >= 1) & (i + 4 < bonds.size) & (j + 1 < bonds.size) & (j >= i + 3)
    i, j = i[inside], j[inside]
    whole = (part[i - 1] == part[i + 1]) & (part[j - 1] == part[j + 1])
    i, j = i[whole], j[whole]
    bound = bonds.between
    parallel = (bound(i + 1, j) & bound(j, i - 1)) | (bound(j + 1, i) & bound(i, j - 1))
    opposite = (bound(i + 1, j - 1) & bound(j + 1, i - 1)) | (bound(j, i) & bound(i, j))
    kept = parallel | opposite
    return list(zip(i[kept].tolist(), j[kept].tolist(), parallel[kept].tolist(), strict=True))
