"""Which hydrogens a residue has, and on which frames they ride.

Chemistry comes from the restraint dictionary (names, hydrogens, angles, ideal coordinates for handedness);
lengths are the electron-cloud ones by type of bond. A plan is made once for every distinct residue: compound,
atoms present, altlocs, links.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import gemmi
import numpy as np

from refinement import tables
from refinement.restraints.riding import BRIDGE, TERMINAL, TETRAHEDRAL

FIXED, HYDROXYL, STAGGERED, AMMONIUM, METHYL = 0, 1, 2, 3, 4
"""Kinds of rotor: none; one free hydrogen; methyl on sp3, stays staggered; NH3; methyl on a planar group."""

PEPTIDES = frozenset({gemmi.ChemComp.Group.Peptide, gemmi.ChemComp.Group.PPeptide, gemmi.ChemComp.Group.MPeptide})
NUCLEOTIDES = frozenset({gemmi.ChemComp.Group.Rna, gemmi.ChemComp.Group.Dna, gemmi.ChemComp.Group.DnaRna})

AMIDE_ANGLES = (124.3, 114.0, 121.7)
"""C(i-1)-N-H, CA-N-H and C(i-1)-N-CA in degrees (peptide link of the CCP4 monomer library, planar N)."""
ALIPHATIC_ANGLES = {1: 110.0, 6: 109.0, 7: 110.0}
"""H-C-X in degrees at sp3 carbons of amino acids by element X (Engh-Huber style, as in the CCP4 5.41 library)."""
CARBON, NITROGEN = 6, 7
CHALCOGENS = frozenset({8, 16, 34})
TETRAHEDRAL_ANGLE, TRIGONAL_ANGLE = 109.47, 120.0


Coefficients = tuple[float, float, float, float]
Frames = tuple[list[int], int, list[Coefficients], int]
"""References, shape, coefficients of each hydrogen, kind of rotor."""


class External(NamedTuple):
    """A bond that leaves the residue: own atom, element and altloc of the other end, and whether it is an amide or imine."""

    atom: int
    element: int
    altloc: str
    conjugated: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """One hydrogen of a plan. References count inside the residue; -2 - k is the k-th external atom."""

    name: str
    altloc: str
    parent: int
    references: tuple[int, int, int]
    shape: int
    coefficients: Coefficients
    length: float
    rotor: int = -1


@dataclass(slots=True)
class Plan:
    """Hydrogens of one residue; `rotors` holds the kind of each rotor that they name."""

    hydrogens: list[Planned] = field(default_factory=list)
    rotors: list[int] = field(default_factory=list)


class Compound:
    """A dictionary entry arranged for look-ups by atom name."""

    def __init__(self, entry: gemmi.ChemComp) -> None:
        self.group = entry.group
        self.ligand = entry.group not in PEPTIDES and entry.group not in NUCLEOTIDES
        self.elements = {atom.id: atom.el.atomic_number for atom in entry.atoms}
        self.position = {atom.id: np.array(atom.xyz.tolist()) for atom in entry.atoms}
        self.near: dict[str, list[str]] = {name: [] for name in self.elements}
        self.bond_length: dict[frozenset[str], float] = {}
        for bond in entry.rt.bonds:
            self.near[bond.id1.atom].append(bond.id2.atom)
            self.near[bond.id2.atom].append(bond.id1.atom)
            self.bond_length[frozenset((bond.id1.atom, bond.id2.atom))] = bond.value
        self.angles = {}
        for angle in entry.rt.angles:
            self.angles[angle.id1.atom, angle.id2.atom, angle.id3.atom] = angle.value
            self.angles[angle.id3.atom, angle.id2.atom, angle.id1.atom] = angle.value
        fixed = (torsion for torsion in entry.rt.torsions if torsion.esd > 0.0)
        self.restrained = {name for torsion in fixed for name in (torsion.id1.atom, torsion.id4.atom)}
        if entry.name in _standard_angles():
            self._use_standard_angles(entry.name)

    def _use_standard_angles(self, name: str) -> None:
        """Take the targets that the contact analysis has always used for the residues of proteins."""
        for (a, b, c), value in _standard_angles()[name].items():
            self.angles[a, b, c] = self.angles[c, b, a] = value
        for parent, element in self.elements.items():
            if element != CARBON or len(self.near[parent]) != 4:
                continue
            for hydrogen in self.hydrogens(parent):
                for other in self.near[parent]:
                    value = ALIPHATIC_ANGLES.get(self.elements[other], ALIPHATIC_ANGLES[CARBON])
                    self.angles[hydrogen, parent, other] = self.angles[other, parent, hydrogen] = value

    def heavy(self, name: str) -> list[str]:
        """Return the heavy atoms bonded to `name`."""
        return [other for other in self.near[name] if self.elements[other] != 1]

    def hydrogens(self, name: str) -> list[str]:
        """Return the hydrogens bonded to `name`, sorted."""
        return sorted(other for other in self.near[name] if self.elements[other] == 1)

    def angle(self, a: str, b: str, c: str) -> float:
        """Return an ideal angle in degrees; where the dictionary has none, that of the shape of `b`."""
        found = self.angles.get((a, b, c))
        return found if found is not None else TRIGONAL_ANGLE if self.planar(b) else TETRAHEDRAL_ANGLE

    def planar(self, name: str) -> bool:
        """Return whether an atom and its neighbours are flat: three of them, with angles that add up to 360°."""
        around = self.near[name]
        if len(around) != 3:
            return False
        a, b, c = around
        angles = [self.angles.get(key) for key in ((a, name, b), (b, name, c), (a, name, c))]
        if None in angles:
            return self.elements[name] == CARBON
        return sum(angles) > 354.0  # type: ignore[arg-type]

    def side(self, hydrogen: str, parent: str, first: str, second: str) -> float:
        """Return on which side of the plane first-parent-second the ideal hydrogen lies: 1, -1 or 0."""
        origin = self.position[parent]
        arms = [self.position[name] - origin for name in (first, second, hydrogen)]
        volume = float(np.dot(np.cross(arms[0], arms[1]), arms[2]))
        return float(np.sign(volume)) if abs(volume) > 0.05 and np.isfinite(volume) else 0.0

    def torsion(self, a: str, b: str, c: str, d: str) -> float | None:
        """Return the torsion angle a-b-c-d of the ideal coordinates in radians, if there are any."""
        points = [gemmi.Position(*self.position[name]) for name in (a, b, c, d)]
        spread = min(points[0].dist(points[1]), points[1].dist(points[2]), points[2].dist(points[3]))
        if not spread > 0.5:
            return None
        angle = gemmi.calculate_dihedral(*points)
        return float(angle) if np.isfinite(angle) else None


@cache
def _standard_angles() -> dict[str, dict[tuple[str, str, str], float]]:
    found: dict[str, dict[tuple[str, str, str], float]] = {}
    for (name, a, b, c), (value, _) in tables.geometry_angles().items():
        found.setdefault(name, {})[a, b, c] = value
    return found


@cache
def _lengths() -> dict[str, float]:
    return {row["bond"]: float(row["electron_cloud"]) for row in tables.rows("xh_lengths")}


def bond_length(compound: Compound, parent: str, n_hydrogens: int, *, from_dictionary: bool) -> float:
    """Return an X-H distance in Å.

    The electron-cloud distance of the kind of bond (C-H 0.97, aromatic 0.93, N-H 0.86, NH3 0.89, O-H 0.84,
    S-H 1.20; Word et al. 1999), or `from_dictionary` that of the dictionary where the compound is a ligand.
    """
    table = _lengths()
    if from_dictionary and compound.ligand and compound.hydrogens(parent):
        return compound.bond_length[frozenset((parent, compound.hydrogens(parent)[0]))]
    match compound.elements[parent]:
        case 6:
            return table["C-H aromatic"] if compound.planar(parent) else table["C-H aliphatic"]
        case 7:
            return table["N-H in NH3+"] if n_hydrogens == 3 else table["N-H"]
        case 8:
            return table["O-H"]
        case 16:
            return table["S-H"]
    hydrogen = compound.hydrogens(parent)
    return compound.bond_length.get(frozenset((parent, hydrogen[0])), 1.0) if hydrogen else 1.0


def make_plan(
    compound: Compound,
    names: tuple[str, ...],
    altlocs: tuple[str, ...],
    external: tuple[External, ...],
    *,
    bare: frozenset[int],
    full_ammonium: bool,
    from_dictionary: bool = False,
) -> Plan:
    """Plan the hydrogens of one residue.

    Parameters
    ----------
    compound : Compound
    names, altlocs : tuple of str
        The atoms present; hydrogens among them are ignored.
    external : tuple of External
        Bonds to other residues.
    bare : frozenset of int
        Atoms that get no hydrogen (they bind a metal).
    full_ammonium : bool
        Whether an unlinked backbone N is NH3+ (else it gets one hydrogen).
    from_dictionary : bool
        Take the X-H distances of ligands from the dictionary, and leave out planar XH2 groups whose torsion
        angle it doesn't restrain, as programs do that know hydrogens by their restraints only.
    """
    plan = Plan()
    letters = sorted({a for a in altlocs if a} | {e.altloc for e in external if e.altloc}) or [""]
    done: set[tuple[str, str]] = set()
    for letter in letters:
        conformer = _Conformer(compound, names, altlocs, external, letter, from_dictionary=from_dictionary)
        conformer.plan(plan, done, bare, full_ammonium=full_ammonium)
    return plan


class _Conformer:
    """One conformer of a residue: what its atoms are bonded to."""

    def __init__(
        self,
        compound: Compound,
        names: tuple[str, ...],
        altlocs: tuple[str, ...],
        external: tuple[External, ...],
        letter: str,
        *,
        from_dictionary: bool,
    ) -> None:
        self.compound = compound
        self.from_dictionary = from_dictionary
        self.letter = letter
        self.altlocs = altlocs
        self.external = external
        self.at: dict[str, int] = {}
        for index, name in enumerate(names):
            if compound.elements.get(name, 1) != 1 and altlocs[index] in ("", letter):
                self.at.setdefault(name, index)
        self.outside: dict[int, list[int]] = {}
        for k, bond in enumerate(external):
            if bond.altloc in ("", letter):
                self.outside.setdefault(bond.atom, []).append(-2 - k)

    def plan(self, plan: Plan, done: set[tuple[str, str]], bare: frozenset[int], *, full_ammonium: bool) -> None:
        for name, index in self.at.items():
            if index in bare:
                continue
            hydrogens = self._hydrogens(name, index, full_ammonium=full_ammonium)
            if hydrogens:
                self._place(plan, done, name, index, hydrogens)

    def _hydrogens(self, name: str, index: int, *, full_ammonium: bool) -> list[str]:
        """Return the hydrogens an atom keeps, given the neighbours it lost and the links it gained."""
        compound = self.compound
        hydrogens = compound.hydrogens(name)
        links = len(self.outside.get(index, ()))
        if name == "N" and compound.group in PEPTIDES:
            ring = len(compound.heavy(name)) > 1
            if links:
                return [] if ring else hydrogens[:1]
            return hydrogens if full_ammonium else [] if ring else hydrogens[:1]
        if name == "O5'" and compound.group in NUCLEOTIDES and not links and "P" not in self.at:
            return ["HO5'"]
        if len(hydrogens) > 1 and any(self.external[-2 - reference].conjugated for reference in self.outside.get(index, ())):
            return hydrogens[:1]  # lysine that has become an amide or a Schiff base
        missing = sum(other not in self.at for other in compound.heavy(name))
        surplus = max(0, links - missing)
        return hydrogens[: len(hydrogens) - surplus] if surplus else hydrogens

    def _label(self, reference: int) -> str:
        return self.external[-2 - reference].altloc if reference < -1 else self.altlocs[reference] if reference >= 0 else ""

    def _place(self, plan: Plan, done: set[tuple[str, str]], name: str, index: int, hydrogens: list[str]) -> None:
        inside = [other for other in self.compound.heavy(name) if other in self.at]
        around = [self.at[other] for other in inside] + self.outside.get(index, [])
        frames = self._frames(name, inside, around, hydrogens)
        if frames is None:
            return
        references, shape, coefficients, kind = frames
        split = any(self._label(reference) for reference in (index, *references))
        altloc = self.letter if split else ""
        if (hydrogens[0], altloc) in done:
            return
        length = bond_length(self.compound, name, len(hydrogens), from_dictionary=self.from_dictionary)
        rotor = -1
        if kind != FIXED:
            rotor = len(plan.rotors)
            plan.rotors.append(kind)
        first, second, third = (*references, -1, -1)[:3]
        for hydrogen, numbers in zip(hydrogens, coefficients, strict=True):
            done.add((hydrogen, altloc))
            frame = (first, second, third)
            plan.hydrogens.append(Planned(hydrogen, altloc, index, frame, shape, numbers, length, rotor))

    def _frames(self, name: str, inside: list[str], around: list[int], hydrogens: list[str]) -> Frames | None:
        """Return references, shape, coefficients of each hydrogen and kind of rotor; None if they can't be placed."""
        expected = len(self.compound.heavy(name))
        n = len(hydrogens)
        if len(around) == 3 and n == 1:
            return around, TETRAHEDRAL, [self._tetrahedral(name, inside, hydrogens[0])], FIXED
        if len(around) == 2 and n <= 2:
            coefficients = self._bridge(name, inside, hydrogens)
            return (around, BRIDGE, coefficients, FIXED) if coefficients else None
        truncated = expected > 1 and not (name == "O5'" or (name == "N" and self.compound.group in PEPTIDES))
        if len(around) == 1 and len(inside) == 1 and not truncated:
            return self._terminal(name, inside[0], hydrogens)
        return None

    def _tetrahedral(self, name: str, inside: list[str], hydrogen: str) -> Coefficients:
        if len(inside) < 3:
            return (-1.0, -1.0, -1.0, 0.0)
        angle = self.compound.angle
        to_hydrogen = np.cos(np.radians([angle(hydrogen, name, other) for other in inside]))
        between = np.eye(3)
        for i in range(3):
            for j in range(i):
                between[i, j] = between[j, i] = np.cos(np.radians(angle(inside[i], name, inside[j])))
        if abs(np.linalg.det(between)) < 0.05:
            return (-1.0, -1.0, -1.0, 0.0)
        a, b, c = np.linalg.solve(between, to_hydrogen)
        return (float(a), float(b), float(c), 0.0)

    def _bridge(self, name: str, inside: list[str], hydrogens: list[str]) -> list[Coefficients]:
        compound = self.compound
        if len(inside) < 2:
            planar = compound.elements[name] == NITROGEN and len(hydrogens) == 1
            outer, own, between = AMIDE_ANGLES if name == "N" else (TRIGONAL_ANGLE,) * 3
            angles = [(own, outer, between)]
            if not planar:
                return self._two_sided(TETRAHEDRAL_ANGLE, -1.0, -1.0, 1.0) if len(hydrogens) == 2 else []
        else:
            first, second = inside
            between = compound.angle(first, name, second)
            angles = [(compound.angle(h, name, first), compound.angle(h, name, second), between) for h in hydrogens]
            planar = compound.planar(name)
        c1, c2, c0 = np.cos(np.radians(angles[0]))
        a, b = (c1 - c0 * c2) / (1 - c0 * c0), (c2 - c0 * c1) / (1 - c0 * c0)
        if planar and len(hydrogens) == 1:
            return [(a, b, 1.0, 0.0)]
        side = compound.side(hydrogens[0], name, inside[0], inside[1]) or 1.0
        if len(hydrogens) == 2:
            return self._two_sided(compound.angle(hydrogens[0], name, hydrogens[1]), a, b, side)
        out = 1.0 - c0**2 - c1**2 - c2**2 + 2.0 * c0 * c1 * c2
        up = side * np.sqrt(max(out, 0.0)) / np.sqrt(1.0 - c0 * c0)
        flat = np.sqrt(a * a + b * b + 2.0 * a * b * c0)
        scale = np.hypot(flat, up)
        return [(a, b, float(flat / scale), float(up / scale))]

    @staticmethod
    def _two_sided(opening: float, a: float, b: float, side: float) -> list[Coefficients]:
        half = np.radians(opening) / 2.0
        p, q = float(np.cos(half)), float(np.sin(half)) * side
        return [(a, b, p, q), (a, b, p, -q)]

    def _terminal(self, name: str, neighbour: str, hydrogens: list[str]) -> Frames | None:
        compound = self.compound
        anchors = [self.at[x] for x in compound.heavy(neighbour) if x != name and x in self.at]
        anchors += self.outside.get(self.at[neighbour], [])
        if not anchors:
            return None
        inside_anchor = next((x for x in compound.heavy(neighbour) if self.at.get(x) == anchors[0]), None)
        unknown = self.from_dictionary and compound.ligand and compound.restrained.isdisjoint(hydrogens)
        if unknown and len(hydrogens) == 2:
            return None
        kind, start = self._rotor(name, neighbour, inside_anchor, hydrogens)
        coefficients: list[Coefficients] = []
        for k, hydrogen in enumerate(hydrogens):
            known = hydrogen in compound.elements
            alpha = np.radians(compound.angle(hydrogen, name, neighbour) if known else TETRAHEDRAL_ANGLE)
            coefficients.append((float(np.cos(alpha)), float(np.sin(alpha)), start[k], 0.0))
        return [self.at[neighbour], anchors[0]], TERMINAL, coefficients, kind

    def _rotor(self, name: str, neighbour: str, anchor: str | None, hydrogens: list[str]) -> tuple[int, list[float]]:
        """Return how a terminal group turns, and the torsion angles (radians) it starts from."""
        compound = self.compound
        flat = compound.planar(neighbour)
        if len(hydrogens) == 3:
            kind = AMMONIUM if compound.elements[name] == NITROGEN else METHYL if flat else STAGGERED
            first = np.pi / 2.0 if kind == METHYL else np.pi
            return kind, [first, first + 2.0 * np.pi / 3.0, first - 2.0 * np.pi / 3.0]
        if len(hydrogens) == 1 and (compound.elements[name] in CHALCOGENS or name == "N"):
            return HYDROXYL, [np.pi]
        ideal = [compound.torsion(h, name, neighbour, anchor) for h in hydrogens] if anchor else [None, None]
        if len(hydrogens) == 1:
            return FIXED, [np.pi if ideal[0] is None else ideal[0]]
        if compound.planar(name):
            syn = ideal[0] is not None and abs(ideal[0]) < np.pi / 2.0
            return FIXED, [0.0, np.pi] if syn else [np.pi, 0.0]
        return AMMONIUM, [x if x is not None else y for x, y in zip(ideal, (np.pi / 3.0, -np.pi / 3.0), strict=True)]
