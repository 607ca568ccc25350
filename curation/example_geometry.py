"""Molecules from bond lengths, angles and torsions: the rules behind the example archive.

Each atom is placed from three atoms that exist already, with the bond length and angle of the restraint
dictionary and a torsion that either is free (φ, ψ, χ …) or follows from the other angles at its centre.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import gemmi
    from numpy.typing import NDArray

Atom = tuple[int, str]
"""Residue index in the chain, atom name."""

Rule = tuple[str, str, str, str, str | float]
"""New atom, the atom it is bonded to, the next one back, the reference, and the torsion: the name of a free
torsion, a fixed angle in degrees, or "+" / "-" where the reference is a sibling on the same centre."""

LINK_LENGTHS = {("C", "N"): 1.337, ("O3'", "P"): 1.607}
"""Å; only for the first pass, which lets the topology recognise the links."""

LINK_ANGLES = {
    ("CA", "C", "N"): 116.6,
    ("O", "C", "N"): 123.0,
    ("C", "N", "CA"): 121.7,
    ("C3'", "O3'", "P"): 120.0,
    ("O3'", "P", "O5'"): 104.0,
    ("O3'", "P", "OP1"): 108.0,
    ("O3'", "P", "OP2"): 108.0,
}


def _ring(chi: str) -> tuple[Rule, ...]:
    return (
        ("CG", "CB", "CA", "N", "chi1"),
        ("CD1", "CG", "CB", "CA", chi),
        ("CD2", "CG", "CB", "CD1", 180.0),
        ("CE1", "CD1", "CG", "CB", 180.0),
        ("CE2", "CD2", "CG", "CB", 180.0),
        ("CZ", "CE1", "CD1", "CG", 0.0),
    )


SIDE_CHAINS: dict[str, tuple[Rule, ...]] = {
    "GLY": (),
    "ALA": (),
    "SER": (("OG", "CB", "CA", "N", "chi1"),),
    "CYS": (("SG", "CB", "CA", "N", "chi1"),),
    "VAL": (("CG1", "CB", "CA", "N", "chi1"), ("CG2", "CB", "CA", "CG1", "+")),
    "THR": (("OG1", "CB", "CA", "N", "chi1"), ("CG2", "CB", "CA", "OG1", "-")),
    "LEU": (("CG", "CB", "CA", "N", "chi1"), ("CD1", "CG", "CB", "CA", "chi2"), ("CD2", "CG", "CB", "CD1", "+")),
    "ILE": (("CG1", "CB", "CA", "N", "chi1"), ("CG2", "CB", "CA", "CG1", "-"), ("CD1", "CG1", "CB", "CA", "chi2")),
    "MET": (("CG", "CB", "CA", "N", "chi1"), ("SD", "CG", "CB", "CA", "chi2"), ("CE", "SD", "CG", "CB", "chi3")),
    "ASP": (("CG", "CB", "CA", "N", "chi1"), ("OD1", "CG", "CB", "CA", "chi2"), ("OD2", "CG", "CB", "OD1", 180.0)),
    "ASN": (("CG", "CB", "CA", "N", "chi1"), ("OD1", "CG", "CB", "CA", "chi2"), ("ND2", "CG", "CB", "OD1", 180.0)),
    "GLU": (
        ("CG", "CB", "CA", "N", "chi1"),
        ("CD", "CG", "CB", "CA", "chi2"),
        ("OE1", "CD", "CG", "CB", "chi3"),
        ("OE2", "CD", "CG", "OE1", 180.0),
    ),
    "GLN": (
        ("CG", "CB", "CA", "N", "chi1"),
        ("CD", "CG", "CB", "CA", "chi2"),
        ("OE1", "CD", "CG", "CB", "chi3"),
        ("NE2", "CD", "CG", "OE1", 180.0),
    ),
    "LYS": (
        ("CG", "CB", "CA", "N", "chi1"),
        ("CD", "CG", "CB", "CA", "chi2"),
        ("CE", "CD", "CG", "CB", "chi3"),
        ("NZ", "CE", "CD", "CG", "chi4"),
    ),
    "ARG": (
        ("CG", "CB", "CA", "N", "chi1"),
        ("CD", "CG", "CB", "CA", "chi2"),
        ("NE", "CD", "CG", "CB", "chi3"),
        ("CZ", "NE", "CD", "CG", "chi4"),
        ("NH1", "CZ", "NE", "CD", 0.0),
        ("NH2", "CZ", "NE", "NH1", 180.0),
    ),
    "HIS": (
        ("CG", "CB", "CA", "N", "chi1"),
        ("ND1", "CG", "CB", "CA", "chi2"),
        ("CD2", "CG", "CB", "ND1", 180.0),
        ("CE1", "ND1", "CG", "CB", 180.0),
        ("NE2", "CD2", "CG", "CB", 180.0),
    ),
    "PHE": _ring("chi2"),
    "TYR": (*_ring("chi2"), ("OH", "CZ", "CE1", "CD1", 180.0)),
    "TRP": (
        ("CG", "CB", "CA", "N", "chi1"),
        ("CD1", "CG", "CB", "CA", "chi2"),
        ("CD2", "CG", "CB", "CD1", 180.0),
        ("NE1", "CD1", "CG", "CB", 180.0),
        ("CE2", "CD2", "CG", "CB", 180.0),
        ("CE3", "CD2", "CG", "CB", 0.0),
        ("CZ2", "CE2", "CD2", "CG", 180.0),
        ("CZ3", "CE3", "CD2", "CG", 180.0),
        ("CH2", "CZ2", "CE2", "CD2", 0.0),
    ),
    "PRO": (),
}

_PURINE: tuple[Rule, ...] = (
    ("C4", "N9", "C1'", "O4'", "chi"),
    ("C8", "N9", "C1'", "C4", 180.0),
    ("C5", "C4", "N9", "C1'", 180.0),
    ("N3", "C4", "N9", "C1'", 0.0),
    ("C2", "N3", "C4", "N9", 180.0),
    ("C6", "C5", "C4", "N9", 180.0),
    ("N1", "C6", "C5", "C4", 0.0),
)
_PYRIMIDINE: tuple[Rule, ...] = (
    ("C2", "N1", "C1'", "O4'", "chi"),
    ("C6", "N1", "C1'", "C2", 180.0),
    ("O2", "C2", "N1", "C1'", 0.0),
    ("N3", "C2", "N1", "C1'", 180.0),
    ("C5", "C6", "N1", "C1'", 180.0),
    ("C4", "N3", "C2", "N1", 0.0),
)
BASES: dict[str, tuple[Rule, ...]] = {
    "A": (*_PURINE, ("N6", "C6", "C5", "C4", 180.0)),
    "G": (*_PURINE, ("O6", "C6", "C5", "C4", 180.0), ("N2", "C2", "N3", "C4", 180.0)),
    "C": (*_PYRIMIDINE, ("N4", "C4", "N3", "C2", 180.0)),
    "U": (*_PYRIMIDINE, ("O4", "C4", "N3", "C2", 180.0)),
}
RING_TORSION = -33.0
"""Degrees, O4'-C4'-C3'-C2' of a C3'-endo sugar; at phase 18° the torsion about O4'-C1' is zero (Altona & Sundaralingam 1972)."""

SUGAR: tuple[Rule, ...] = (
    ("C3'", "C4'", "C5'", "O5'", "gamma"),
    ("O3'", "C3'", "C4'", "C5'", "delta"),
    ("O4'", "C4'", "C5'", "C3'", "-"),
    ("C2'", "C3'", "C4'", "O4'", RING_TORSION),
)
TRIPHOSPHATE: tuple[Rule, ...] = (
    ("PA", "O5'", "C5'", "C4'", "beta"),
    ("O3A", "PA", "O5'", "C5'", "alpha"),
    ("O1A", "PA", "O5'", "O3A", "+"),
    ("O2A", "PA", "O5'", "O3A", "-"),
    ("PB", "O3A", "PA", "O5'", "tau1"),
    ("O3B", "PB", "O3A", "PA", "tau2"),
    ("O1B", "PB", "O3A", "O3B", "+"),
    ("O2B", "PB", "O3A", "O3B", "-"),
    ("PG", "O3B", "PB", "O3A", "tau3"),
    ("O1G", "PG", "O3B", "PB", "tau4"),
    ("O2G", "PG", "O3B", "O1G", "+"),
    ("O3G", "PG", "O3B", "O1G", "-"),
)


class Targets:
    """Bond lengths (Å) and angles (degrees) by atoms.

    Parameters
    ----------
    compounds : Sequence[str]
        Compound ids along the chain.
    library : gemmi.MonLib
        Dictionaries of these compounds.
    """

    def __init__(self, compounds: Sequence[str], library: gemmi.MonLib) -> None:
        self._lengths: dict[frozenset[Atom], float] = {}
        self._angles: dict[tuple[Atom, frozenset[Atom]], float] = {}
        for row, compound in enumerate(compounds):
            self.prefer(row, library.monomers[compound])

    def prefer(self, row: int, compound: gemmi.ChemComp) -> None:
        """Take the targets of a dictionary for one residue."""
        for bond in compound.rt.bonds:
            self._lengths[frozenset(((row, bond.id1.atom), (row, bond.id2.atom)))] = bond.value
        for angle in compound.rt.angles:
            ends = frozenset(((row, angle.id1.atom), (row, angle.id3.atom)))
            self._angles[(row, angle.id2.atom), ends] = angle.value

    def adopt(self, topology: gemmi.Topo, rows: Mapping[int, Atom]) -> None:
        """Take the targets of a topology, in which links have changed some; `rows` maps atom serials to atoms."""
        for bond in topology.bonds:
            first, second = (rows.get(atom.serial) for atom in bond.atoms)
            if first and second:
                self._lengths[frozenset((first, second))] = bond.restr.value
        for angle in topology.angles:
            first, centre, last = (rows.get(atom.serial) for atom in angle.atoms)
            if first and centre and last:
                self._angles[centre, frozenset((first, last))] = angle.restr.value

    def length(self, first: Atom, second: Atom) -> float:
        """Return a bond length in Å."""
        found = self._lengths.get(frozenset((first, second)))
        return LINK_LENGTHS[first[1], second[1]] if found is None else found

    def angle(self, first: Atom, centre: Atom, last: Atom) -> float:
        """Return an angle in degrees."""
        found = self._angles.get((centre, frozenset((first, last))))
        if found is not None:
            return found
        names = (first[1], centre[1], last[1])
        return LINK_ANGLES[names] if names in LINK_ANGLES else LINK_ANGLES[names[::-1]]


class Growing:
    """A chain that grows atom by atom.

    Parameters
    ----------
    targets : Targets
        Lengths and angles.
    """

    def __init__(self, targets: Targets) -> None:
        self.positions: dict[Atom, NDArray[np.float64]] = {}
        self._targets = targets

    def start(self, first: Atom, second: Atom, third: Atom) -> None:
        """Place three bonded atoms: the second in the origin, the first on −x, the third in the plane z = 0."""
        angle = np.radians(self._targets.angle(first, second, third))
        reach = self._targets.length(second, third)
        self.positions[first] = np.array([-self._targets.length(first, second), 0.0, 0.0])
        self.positions[second] = np.zeros(3)
        self.positions[third] = reach * np.array([-np.cos(angle), np.sin(angle), 0.0])

    def add(self, new: Atom, centre: Atom, back: Atom, reference: Atom, torsion: float) -> None:
        """Place an atom on `centre` with the torsion reference–back–centre–new (degrees)."""
        length = self._targets.length(centre, new)
        angle = self._targets.angle(back, centre, new)
        at = self.positions
        at[new] = from_torsion(at[reference], at[back], at[centre], length, angle, torsion)

    def add_beside(self, new: Atom, centre: Atom, back: Atom, sibling: Atom, sign: int) -> None:
        """Place an atom on `centre` so that its angles to `back` and to `sibling` are both right."""
        to_sibling, between, to_new = (
            np.radians(self._targets.angle(*atoms))
            for atoms in ((back, centre, sibling), (sibling, centre, new), (back, centre, new))
        )
        turn = (np.cos(between) - np.cos(to_sibling) * np.cos(to_new)) / (np.sin(to_sibling) * np.sin(to_new))
        self.add(new, centre, back, sibling, sign * float(np.degrees(np.arccos(np.clip(turn, -1.0, 1.0)))))

    def close_ring(self, new: Atom, first: Atom, second: Atom, third: Atom, sign: int) -> None:
        """Place an atom bonded to `first` and `second` whose angle third–first–new is right."""
        at, targets = self.positions, self._targets
        bond = targets.length(first, new)
        base = targets.length(third, first)
        angle = np.radians(targets.angle(third, first, new))
        across = np.sqrt(bond**2 + base**2 - 2.0 * bond * base * np.cos(angle))
        at[new] = from_distances(at[first], at[second], at[third], bond, targets.length(second, new), across, sign)

    def close_flat(self, new: Atom, first: Atom, second: Atom, away: Atom) -> None:
        """Place an atom bonded to `first` and `second` in the plane with `away`, on the other side."""
        at, targets = self.positions, self._targets
        bonds = (targets.length(first, new), targets.length(second, new))
        span = at[second] - at[first]
        distance = float(np.linalg.norm(span))
        along = (bonds[0] ** 2 - bonds[1] ** 2 + distance**2) / (2.0 * distance)
        ex = span / distance
        ey = (at[away] - at[first]) - ((at[away] - at[first]) @ ex) * ex
        at[new] = at[first] + along * ex - np.sqrt(bonds[0] ** 2 - along**2) * ey / np.linalg.norm(ey)

    def follow(self, row: int, rules: Sequence[Rule], torsions: Mapping[str, float]) -> None:
        """Apply the rules of one residue."""
        for name, centre, back, reference, turn in rules:
            atoms = ((row, name), (row, centre), (row, back), (row, reference))
            if turn in ("+", "-"):
                self.add_beside(*atoms, sign=1 if turn == "+" else -1)
            else:
                self.add(*atoms, torsions[turn] if isinstance(turn, str) else turn)


def from_torsion(
    a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64], length: float, angle: float, torsion: float
) -> NDArray[np.float64]:
    """Return the atom d with the bond c–d (Å), the angle b–c–d and the torsion a–b–c–d (degrees)."""
    theta, tau = np.radians(angle), np.radians(torsion)
    axis = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, axis)
    normal /= np.linalg.norm(normal)
    local = length * np.array([-np.cos(theta), np.sin(theta) * np.cos(tau), np.sin(theta) * np.sin(tau)])
    return np.asarray(c + local @ np.array([axis, np.cross(normal, axis), normal]))


def from_distances(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    c: NDArray[np.float64],
    to_a: float,
    to_b: float,
    to_c: float,
    sign: int,
) -> NDArray[np.float64]:
    """Return the point at three distances (Å), on the side of the plane a, b, c that `sign` says."""
    ex = (b - a) / np.linalg.norm(b - a)
    ey = (c - a) - ((c - a) @ ex) * ex
    ey /= np.linalg.norm(ey)
    d, i, j = np.linalg.norm(b - a), (c - a) @ ex, (c - a) @ ey
    x = (to_a**2 - to_b**2 + d**2) / (2.0 * d)
    y = (to_a**2 - to_c**2 + i**2 + j**2) / (2.0 * j) - x * i / j
    z = np.sqrt(np.maximum(to_a**2 - x**2 - y**2, 0.0))
    return np.asarray(a + x * ex + y * ey + sign * z * np.cross(ex, ey))


def torsion_angle(*points: NDArray[np.float64]) -> float:
    """Return the torsion of four points in degrees, −180 … 180 (IUPAC sign)."""
    b1, b2, b3 = np.diff(np.array(points), axis=0)
    n1, n2 = np.cross(b1, b2), np.cross(b2, b3)
    return float(np.degrees(np.arctan2(np.linalg.norm(b2) * (b1 @ n2), n1 @ n2)))


def grow_protein(
    compounds: Sequence[str], torsions: Sequence[Mapping[str, float]], targets: Targets
) -> dict[Atom, NDArray[np.float64]]:
    """Build a polypeptide.

    Parameters
    ----------
    compounds : Sequence[str]
        Three-letter codes.
    torsions : Sequence[Mapping[str, float]]
        phi, psi, omega (of the bond to the next residue), chi1 … in degrees; for PRO the pucker is chi1's sign.
    targets : Targets
        Lengths and angles.

    Returns
    -------
    dict[Atom, NDArray[float64]]
        Positions in Å.
    """
    chain = Growing(targets)
    chain.start((0, "N"), (0, "CA"), (0, "C"))
    for row, (compound, turns) in enumerate(zip(compounds, torsions, strict=True)):
        n, ca, c = (row, "N"), (row, "CA"), (row, "C")
        if row:
            before = torsions[row - 1]
            chain.add(n, (row - 1, "C"), (row - 1, "CA"), (row - 1, "N"), before["psi"])
            chain.add(ca, n, (row - 1, "C"), (row - 1, "CA"), before["omega"])
            chain.add(c, ca, n, (row - 1, "C"), turns["phi"])
        chain.add((row, "O"), c, ca, n, turns["psi"] + 180.0)
        if compound != "GLY":
            chain.add_beside((row, "CB"), ca, n, c, -1)
        if compound == "PRO":
            chain.add((row, "CD"), n, ca, *((((row - 1, "C"), 180.0)) if row else (c, 100.0)))
            chain.close_ring((row, "CG"), (row, "CB"), (row, "CD"), ca, 1 if turns["chi1"] > 0 else -1)
        chain.follow(row, SIDE_CHAINS[compound], turns)
    last = len(compounds) - 1
    chain.add((last, "OXT"), (last, "C"), (last, "CA"), (last, "O"), 180.0)
    return chain.positions


def grow_nucleotides(
    compounds: Sequence[str], torsions: Sequence[Mapping[str, float]], targets: Targets
) -> dict[Atom, NDArray[np.float64]]:
    """Build an RNA strand without 5'-phosphate; torsions alpha … zeta and chi in degrees, C3'-endo sugars."""
    chain = Growing(targets)
    chain.start((0, "O5'"), (0, "C5'"), (0, "C4'"))
    for row, (compound, turns) in enumerate(zip(compounds, torsions, strict=True)):
        if row:
            before, old = torsions[row - 1], row - 1
            phosphorus, o5 = (row, "P"), (row, "O5'")
            chain.add(phosphorus, (old, "O3'"), (old, "C3'"), (old, "C4'"), before["epsilon"])
            chain.add(o5, phosphorus, (old, "O3'"), (old, "C3'"), before["zeta"])
            chain.add((row, "C5'"), o5, phosphorus, (old, "O3'"), turns["alpha"])
            chain.add((row, "C4'"), (row, "C5'"), o5, phosphorus, turns["beta"])
            chain.add_beside((row, "OP1"), phosphorus, o5, (old, "O3'"), 1)
            chain.add_beside((row, "OP2"), phosphorus, o5, (old, "O3'"), -1)
        _grow_nucleoside(chain, row, BASES[compound], turns)
    return chain.positions


def grow_atp(torsions: Mapping[str, float], targets: Targets) -> dict[Atom, NDArray[np.float64]]:
    """Build adenosine triphosphate; torsions beta, alpha, tau1 … tau4, gamma, delta, chi in degrees."""
    molecule = Growing(targets)
    molecule.start((0, "O5'"), (0, "C5'"), (0, "C4'"))
    _grow_nucleoside(molecule, 0, BASES["A"], torsions)
    molecule.follow(0, TRIPHOSPHATE, torsions)
    return molecule.positions


def _grow_nucleoside(chain: Growing, row: int, base: Sequence[Rule], turns: Mapping[str, float]) -> None:
    chain.follow(row, SUGAR, turns)
    chain.close_flat((row, "C1'"), (row, "O4'"), (row, "C2'"), (row, "C4'"))
    chain.add_beside((row, "O2'"), (row, "C2'"), (row, "C3'"), (row, "C1'"), -1)
    chain.add_beside((row, base[0][1]), (row, "C1'"), (row, "O4'"), (row, "C2'"), -1)
    chain.follow(row, base, turns)
    if base[0][1] == "N9":
        chain.close_flat((row, "N7"), (row, "C8"), (row, "C5"), (row, "N9"))
