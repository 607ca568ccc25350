"""Saenger classes and stacking of bases laid out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from refinement import tables
from refinement.restraints.library import load_monomer_library
from refinement.structure import Structure, from_gemmi
from refinement.validation.base_pairs import base_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray


def turned_about(axis: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    unit, angle = axis / np.linalg.norm(axis), np.radians(degrees)
    cross = np.cross(np.eye(3), unit)
    return np.cos(angle) * np.eye(3) - np.sin(angle) * cross + (1 - np.cos(angle)) * np.outer(unit, unit)


def placed_bases(first: str, second: str, saenger: str, tilt: float = 0.0) -> Structure:
    """Return two flat bases in one plane, the second laid so that the hydrogen bonds of the class are 2.9 Å long."""
    library = load_monomer_library([first, second])
    ideal = {}
    for compound in (first, second):
        chemistry = library.monomers[compound]
        ideal[compound] = {a.id: np.array(a.xyz.tolist()) for a in chemistry.atoms if "'" not in a.id and a.el.name in "CNO"}
    bonds = [(r["atom1"], r["atom2"]) for r in tables.rows("rna_base_pairs") if r["saenger"] == saenger and r["atoms"] == "heavy"]
    flats = []
    for compound in (first, second):
        own = ideal[compound]
        ring = np.array([own[name] for name in own if name[0] in "CN" and not name.startswith(("N2", "N4", "N6"))])
        middle = ring.mean(axis=0)
        axes = np.linalg.svd(ring - middle)[2]
        flats.append({name: (place - middle) @ axes.T * (1, 1, 0) for name, place in own.items() if not name.startswith("OP")})
    a, b = flats
    best = None
    for mirror in (1, -1):
        for turn in np.radians(np.arange(0.0, 360.0, 1.0)):
            spin = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
            other = {name: (place * (1, mirror, 1)) @ spin.T for name, place in b.items()}
            away = sum(a[x] / np.linalg.norm(a[x]) for x, _ in bonds)
            away /= np.linalg.norm(away)
            shift = np.mean([a[x] - other[y] for x, y in bonds], axis=0) + 2.9 * away
            lengths = [np.linalg.norm(a[x] - other[y] - shift) for x, y in bonds]
            rest = min(np.linalg.norm(p - q - shift) for p in a.values() for q in other.values())
            worst = max(abs(length - 2.9) for length in lengths) + (10.0 if rest < 2.6 else 0.0)
            if best is None or worst < best[0]:
                best = worst, {name: place + shift for name, place in other.items()}
    assert best is not None
    assert best[0] < 0.3, "the bases can't be laid like this"
    pivot = np.mean([best[1][y] for _, y in bonds], axis=0)
    x, y, _ = pivot - np.mean([a[x] for x, _ in bonds], axis=0)  # the second base leans about the line across the bonds
    rise = turned_about(np.array([-y, x, 0.0]), tilt)
    rows, positions = [], []
    for number, (compound, base) in enumerate(((first, a), (second, best[1]))):
        for name, place in base.items():
            rows.append(("A", 1 + 10 * number, compound, name, name[0]))
            positions.append(place if not number else (place - pivot) @ rise.T + pivot)
    source = gemmi.Structure()
    source.add_model(gemmi.Model(1))
    chain = gemmi.Chain("A")
    for compound, number in ((first, 1), (second, 11)):
        residue = gemmi.Residue()
        residue.name, residue.seqid = compound, gemmi.SeqId(number, " ")
        for row, place in zip(rows, positions, strict=True):
            if row[1] == number:
                site = gemmi.Atom()
                site.name, site.element, site.pos = row[3], gemmi.Element(row[4]), gemmi.Position(*place)
                residue.add_atom(site)
        chain.add_residue(residue)
    source[0].add_chain(chain)
    return from_gemmi(source)


@pytest.mark.parametrize(
    ("first", "second", "saenger", "kind"),
    [
        ("A", "U", "XX", "Watson-Crick"),
        ("A", "U", "XXIII", "Hoogsteen"),
        ("C", "G", "XIX", "Watson-Crick"),
        ("C", "G", "XXII", "reverse Watson-Crick"),
        ("G", "U", "XXVIII", "wobble"),
        ("G", "U", "XXVII", "reverse wobble"),
        ("A", "A", "I", "other"),
        ("A", "A", "V", "other"),
        ("A", "G", "VIII", "other"),
        ("C", "C", "XIV", "other"),
        ("U", "U", "XIII", "other"),
    ],
)
def test_classes_are_recognised(first: str, second: str, saenger: str, kind: str) -> None:
    found = base_pairs(placed_bases(first, second, saenger)).pairs
    assert [(pair.saenger, pair.kind) for pair in found] == [(saenger, kind)]


def test_neighbours_in_sequence_and_steep_bases_do_not_pair() -> None:
    pair = placed_bases("C", "G", "XIX")
    adjacent = replace(pair, residues=replace(pair.residues, number=np.array([1, 2], dtype=np.int32)))
    assert not base_pairs(adjacent).pairs
    assert not base_pairs(placed_bases("C", "G", "XIX", tilt=60.0)).pairs
    far = pair.moved(pair.positions + (pair.residue == 1)[:, None] * (pair.positions[-1] - pair.positions[0]) * 0.3)
    assert not base_pairs(far).pairs


def stacked(rise: float, tilt: float = 0.0, slide: float = 0.0) -> Structure:
    pair = placed_bases("A", "A", "I")
    own = pair.positions[pair.residue == 0]
    turn = turned_about(np.array([1.0, 0.0, 0.0]), tilt)
    return pair.moved(np.concatenate([own, own @ turn.T + [slide, 0.0, rise]]))


@pytest.mark.parametrize(
    ("rise", "tilt", "slide", "stack"),
    [(3.4, 0, 0, True), (5.4, 0, 0, True), (5.6, 0, 0, False), (3.4, 28, 0, True), (3.4, 32, 0, False),
     (3.4, 0, 3.4 * np.tan(np.radians(39)), True), (3.4, 0, 3.4 * np.tan(np.radians(41)), False)],
)  # fmt: skip
def test_stacking_limits(rise: float, tilt: float, slide: float, stack: bool) -> None:
    found = base_pairs(stacked(rise, tilt, slide)).stacks
    assert bool(found) == stack
    if stack:
        assert found[0].tilt == pytest.approx(tilt, abs=1e-4)
        if not tilt:
            assert found[0].offset == pytest.approx(np.degrees(np.arctan2(slide, rise)), abs=1e-4)
