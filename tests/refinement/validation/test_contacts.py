"""Contact dots and clashes: two atoms, hydrogen bonds, occlusion, and plain-numpy twins on a real crowd."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement.restraints.bonding import find_bonds
from refinement.restraints.contact_types import contact_types
from refinement.restraints.dots import DOT_DENSITY, dot_sphere
from refinement.restraints.graph import neighbours
from refinement.restraints.hydrogens import hydrogenate
from refinement.restraints.library import load_monomer_library
from refinement.validation.contact_surface import DOTS, chance_of_a_dot
from refinement.validation.contacts import find_clashes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import gemmi
    from numpy.typing import NDArray

    from refinement.restraints.contact_types import ContactTypes
    from refinement.restraints.graph import Neighbours
    from refinement.structure import Structure
    from refinement.validation.contacts import Clashes

Row = tuple[str, int, str, str, str]
Atom = tuple[str, str, str]
CB, OXYGEN, OE1 = ("ALA", "CB", "C"), ("ALA", "O", "O"), ("GLU", "OE1", "O")
WATER = ("HOH", "O", "O")


@pytest.fixture(scope="module")
def contact_library() -> gemmi.MonLib:
    return load_monomer_library(["ALA", "GLU", "SER", "LYS", "TYR", "ASN", "PRO", "LEU", "HOH", "ZN", "HEM"])


def clashes_of(structure: Structure, library: gemmi.MonLib | None) -> Clashes:
    bonded = find_bonds(structure, library).neighbours
    return find_clashes(structure, contact_types(structure, bonded, library), bonded)


def pair(
    structure_of: Callable[..., Structure], first: tuple[str, str, str], second: tuple[str, str, str], apart: float
) -> Structure:
    rows = [("A", 1, *first), ("B", 1, *second)]
    return structure_of(rows, [[0.0, 0.0, 0.0], [apart, 0.0, 0.0]])


def test_spheres_of_dots_are_even() -> None:
    for radius in (1.05, 1.22, 1.7):
        dots = dot_sphere(radius)
        assert np.linalg.norm(dots, axis=1) == pytest.approx(radius)
        assert len(dots) == pytest.approx(4 * np.pi * radius**2 * DOT_DENSITY, rel=0.08)
        assert np.abs(dots.mean(axis=0)).max() < 0.05
        distance = np.linalg.norm(dots[:, None] - dots[None], axis=2) + 9.0 * np.eye(len(dots))
        assert distance.min(axis=1).max() < 0.33
    per_area = [len(dot_sphere(radius)) / (4.0 * np.pi * radius**2) for radius in (1.05, 1.22, 1.4, 1.55, 1.65, 1.7, 1.75, 1.8)]
    assert np.mean(per_area) == pytest.approx(DOTS, rel=0.01)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.1, 1.4, 2.0])
def test_chance_that_a_spot_holds_a_dot(share: float) -> None:
    """Spots of this share of a cell thrown on a square lattice."""
    centre = np.random.default_rng(3).uniform(-0.5, 0.5, size=(100_000, 2))
    hit = np.linalg.norm(centre, axis=1) <= np.sqrt(share / np.pi)
    assert chance_of_a_dot(share / DOTS) == pytest.approx(hit.mean(), abs=0.006)


@pytest.mark.parametrize(
    ("first", "second", "sum_of_radii"), [(CB, CB, 3.4), (CB, OXYGEN, 3.1), (OE1, OXYGEN, 2.8), (CB, WATER, 3.1)]
)
def test_two_atoms_clash_from_an_overlap_of_four_tenths(
    structure_of, contact_library: gemmi.MonLib, first: tuple[str, str, str], second: tuple[str, str, str], sum_of_radii: float
) -> None:
    assert len(clashes_of(pair(structure_of, first, second, sum_of_radii - 0.38), contact_library).pairs) == 0
    found = clashes_of(pair(structure_of, first, second, sum_of_radii - 0.6), contact_library)
    assert found.pairs.tolist() == [[0, 1]]
    assert found.overlap[0] == pytest.approx(0.6, abs=0.03)
    assert found.overlap[0] <= 0.6 + 1e-9


def test_waters_do_not_clash_with_each_other_or_with_acceptors_they_bind(structure_of, contact_library: gemmi.MonLib) -> None:
    assert len(clashes_of(pair(structure_of, WATER, WATER, 1.0), contact_library).pairs) == 0
    assert len(clashes_of(pair(structure_of, WATER, OE1, 2.3), contact_library).pairs) == 0
    assert len(clashes_of(pair(structure_of, WATER, OE1, 1.9), contact_library).pairs) == 1


def test_conformers_and_empty_atoms_do_not_clash(structure_of, contact_library: gemmi.MonLib) -> None:
    structure = pair(structure_of, CB, CB, 2.0)
    for altloc, occupancy, expected in (
        (["A", "B"], [0.5, 0.5], 0),
        (["A", "A"], [0.5, 0.5], 1),
        (["A", ""], [0.5, 1.0], 1),
        (["A", ""], [0.5, 0.5], 0),
        (["", ""], [1.0, 0.0], 0),
        (["", ""], [1.0, 0.01], 0),
        (["", ""], [1.0, 0.02], 1),
        (["", ""], [0.5, 0.5], 0),
    ):
        changed = replace(structure, altloc=np.array(altloc), occupancy=np.array(occupancy))
        assert len(clashes_of(changed, contact_library).pairs) == expected, (altloc, occupancy)


def test_atoms_at_one_metal_do_not_clash(structure_of, contact_library: gemmi.MonLib) -> None:
    rows: list[Row] = [("A", 1, *OE1), ("B", 1, *OE1), ("Z", 1, "ZN", "ZN", "ZN")]
    corner = [[2.0, 0.0, 0.0], [0.6, 1.9, 0.0], [0.0, 0.0, 0.0]]
    assert len(clashes_of(structure_of(rows, corner), contact_library).pairs) == 0
    assert len(clashes_of(structure_of(rows[:2], corner[:2]), contact_library).pairs) == 1


def backbone(structure_of: Callable[..., Structure], apart: float, turned: float = 0.0) -> Structure:
    """Return N-H pointing at O=C; `apart` is H...O in Å."""
    rows: list[Row] = [
        ("A", 1, "ALA", "N", "N"), ("A", 1, "ALA", "H", "H"), ("A", 1, "ALA", "CA", "C"),
        ("B", 1, "ALA", "O", "O"), ("B", 1, "ALA", "C", "C"),
    ]  # fmt: skip
    angle = np.radians(turned)
    h = np.array([0.86 * np.cos(angle), 0.86 * np.sin(angle), 0.0])
    oxygen = h + np.array([apart, 0.0, 0.0])
    positions = [[0.0, 0.0, 0.0], h, [-0.8, 1.2, 0.0], oxygen, oxygen + np.array([0.8, 0.9, 0.0])]
    return structure_of(rows, positions)


@pytest.mark.parametrize("apart", [1.9, 2.04, 2.3])
def test_hydrogen_bonds_are_no_clashes(structure_of, contact_library: gemmi.MonLib, apart: float) -> None:
    found = clashes_of(backbone(structure_of, apart), contact_library)
    assert [1, 3] not in found.pairs.tolist()


def test_same_contact_without_a_donor_is_a_clash(structure_of, contact_library: gemmi.MonLib) -> None:
    """H of CB at 1.9 Å from an oxygen."""
    rows: list[Row] = [("A", 1, "ALA", "CB", "C"), ("A", 1, "ALA", "HB1", "H"), ("B", 1, *OXYGEN)]
    found = clashes_of(structure_of(rows, [[0.0, 0, 0], [0.97, 0, 0], [2.87, 0, 0]]), contact_library)
    assert found.pairs.tolist() == [[1, 2]]
    assert found.overlap[0] == pytest.approx(1.22 + 1.40 - 1.90, abs=0.03)


def test_bonded_neighbours_hide_a_contact(structure_of, contact_library: gemmi.MonLib) -> None:
    """Dots inside a bonded atom are void: a buried contact isn't seen from that side."""
    rows: list[Row] = [("A", 1, "LYS", "CD", "C"), ("A", 1, "LYS", "CE", "C"), ("B", 1, *CB)]
    seen = clashes_of(structure_of(rows, [[0.0, 0, 0], [-1.5, 0, 0], [2.9, 0, 0]]), contact_library)
    hidden = clashes_of(structure_of(rows, [[0.0, 0, 0], [1.5, 0, 0], [2.9, 0, 0]]), contact_library)
    assert [0, 2] in seen.pairs.tolist()
    assert hidden.pairs.tolist() == [[1, 2]]


def test_bonds_that_separate_atoms_enough_to_clash(structure_of, contact_library: gemmi.MonLib) -> None:
    """A chain of carbons folded on itself: three bonds never clash, four do."""
    rows: list[Row] = [("A", 1, "LYS", name, "C") for name in ("CA", "CB", "CG", "CD", "CE")]
    square = [[0.0, 0, 0], [1.5, 0, 0], [1.5, 1.5, 0], [0.0, 1.5, 0], [-1.4, 1.5, 0]]
    found = clashes_of(structure_of(rows, square), contact_library)
    assert found.pairs.tolist() == [[0, 4]]


def test_even_odds_are_a_little_less_deep_than_the_line_of_centres(structure_of, contact_library: gemmi.MonLib) -> None:
    """Two spheres, nothing around: the spots deeper than the overlap are caps, each with a chance of 1 - sqrt(1/2)."""
    found = clashes_of(pair(structure_of, CB, CB, 2.6), contact_library)
    height = (1.0 - np.sqrt(0.5)) / DOTS / (2.0 * np.pi * 1.7)
    rim = np.hypot(2.6 - (1.7 - height), np.sqrt(1.7**2 - (1.7 - height) ** 2))
    assert found.overlap[0] == pytest.approx(1.7 - rim, abs=5e-4)
    assert found.expected == pytest.approx(1.0)


def test_pairs_near_the_limit_count_in_part(structure_of, contact_library: gemmi.MonLib) -> None:
    overlaps = np.arange(0.39, 0.44, 0.002)
    results = [clashes_of(pair(structure_of, CB, CB, 3.4 - overlap), contact_library) for overlap in overlaps]
    counts = np.array([found.expected for found in results])
    assert counts[0] == 0.0
    assert counts[-1] == 1.0
    assert np.all(np.diff(counts) >= 0.0)
    assert np.diff(counts).max() < 0.3
    assert [len(found.pairs) for found in results] == (counts >= 0.5).astype(int).tolist()


def crowd(structure_of: Callable[..., Structure], library: gemmi.MonLib) -> tuple[Structure, ContactTypes, Neighbours]:
    """Return random pieces of residues thrown into a small box."""
    rng = np.random.default_rng(5)
    rows: list[Row] = []
    positions = []
    for number, compound in enumerate(["SER", "TYR", "LYS", "ASN", "LEU", "GLU", "PRO"], start=1):
        known = [atom for atom in library.monomers[compound].atoms if atom.el.name != "H"]
        xyz = np.array([atom.xyz.tolist() for atom in known])
        rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        positions.extend((xyz - xyz.mean(axis=0)) @ rotation.T + rng.uniform(0.0, 10.0, 3))
        rows.extend((f"C{number}", number, compound, atom.id, atom.el.name) for atom in known)
    model = hydrogenate(structure_of(rows, np.array(positions)), library)
    bonded = neighbours(len(model.structure), model.bonding.pairs)
    return model.structure, contact_types(model.structure, bonded, library), bonded


def gaps_of_dots(
    structure: Structure, types: ContactTypes, bonded: Neighbours, spheres: Callable[[float], NDArray]
) -> Iterator[tuple[tuple[int, int], int, float, NDArray]]:
    """Yield pairs by plain numpy: pair, which of them has the dots, area per dot, gaps of the dots that belong to the other."""
    x, radius, hydrogen = structure.positions, types.radius, structure.is_hydrogen
    for i in np.flatnonzero(~types.water).tolist():
        apart, front = {i: 0}, [i]
        for level in range(1, 5):
            front = [int(b) for a in front for b in bonded.of(a) if int(b) not in apart]
            apart.update({b: level for b in front if b not in apart})
        close = [j for j, level in apart.items() if level and (level <= 3 or hydrogen[i] or hydrogen[j])]
        reach = np.linalg.norm(x - x[i], axis=1) < radius + radius[i]
        others = np.array([j for j in np.flatnonzero(reach).tolist() if j != i and j not in close])
        dots = x[i] + spheres(float(radius[i]))
        free = np.ones(len(dots), dtype=bool)
        for j in close:
            free &= np.linalg.norm(dots - x[j], axis=1) >= radius[j]
        if not len(others) or not free.any():
            continue
        gaps = np.linalg.norm(dots[free][:, None] - x[others][None], axis=2) - radius[others][None]
        nearest = gaps.argmin(axis=1)
        for k, j in enumerate(others.tolist()):
            yield (min(i, j), max(i, j)), int(i > j), 4.0 * np.pi * radius[i] ** 2 / len(dots), gaps[nearest == k, k]


def is_hydrogen_bond(types: ContactTypes, i: int, j: int) -> bool:
    return bool((types.donor[i] and types.acceptor[j]) or (types.acceptor[i] and types.donor[j]))


def fibonacci_sphere(radius: float) -> NDArray[np.float64]:
    n = 15_000
    k = np.arange(n) + 0.5
    polar, azimuth = np.arccos(1.0 - 2.0 * k / n), np.pi * (1.0 + np.sqrt(5.0)) * k
    return radius * np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=1)


def test_expected_number_of_clashes_is_that_of_the_areas(structure_of, contact_library: gemmi.MonLib) -> None:
    """The areas counted on very many dots."""
    structure, types, bonded = crowd(structure_of, contact_library)
    areas: dict[tuple[int, int], NDArray] = {}
    for key, side, area, gaps in gaps_of_dots(structure, types, bonded, fibonacci_sphere):
        deep = 1.0 if is_hydrogen_bond(types, *key) else 0.4
        allowed = (gaps <= 0.0) & (gaps >= -0.6) if deep == 1.0 else np.zeros(len(gaps), dtype=bool)
        areas.setdefault(key, np.zeros((2, 2)))[side] = area * (gaps <= -deep).sum(), area * allowed.sum()
    chances = {}
    for key, both in areas.items():
        clash, excuse = (1.0 - np.prod([1.0 - chance_of_a_dot(float(part)) for part in both[:, k]]) for k in (0, 1))
        chances[key] = clash * (1.0 - excuse)
    found = find_clashes(structure, types, bonded)
    assert found.expected == pytest.approx(sum(chances.values()), rel=2e-3)
    certain = {key for key, chance in chances.items() if chance > 0.53}
    possible = {key for key, chance in chances.items() if chance > 0.47}
    assert len(certain) > 40
    assert certain <= {tuple(row) for row in found.pairs.tolist()} <= possible
    assert np.all(np.diff(found.overlap) <= 0.0)


def test_expected_number_of_clashes_is_what_dots_find_on_average(structure_of, contact_library: gemmi.MonLib) -> None:
    """The dots of the published programs in random orientations."""
    structure, types, bonded = crowd(structure_of, contact_library)
    rng, numbers, overlaps = np.random.default_rng(8), [], []
    for _ in range(15):
        rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        deepest: dict[tuple[int, int], float] = {}
        saved = set()
        for key, _, _, gaps in gaps_of_dots(structure, types, bonded, lambda radius, turn=rotation: dot_sphere(radius) @ turn):
            allowance = 0.6 if is_hydrogen_bond(types, *key) else 0.0
            if np.any((gaps <= 0.0) & (gaps >= -allowance)) and allowance:
                saved.add(key)
            deepest[key] = max(deepest.get(key, 0.0), -gaps.min(initial=0.0) - allowance)
        clashing = {key: overlap for key, overlap in deepest.items() if overlap >= 0.4 and key not in saved}
        numbers.append(len(clashing))
        overlaps.append([clashing.get(key, 0.0) for key in map(tuple, find_clashes(structure, types, bonded).pairs.tolist())])
    found = find_clashes(structure, types, bonded)
    assert np.mean(numbers) == pytest.approx(found.expected, rel=0.02)
    difference = np.abs(np.median(overlaps, axis=0) - found.overlap)[found.overlap > 0.45]
    assert np.median(difference) < 0.005
    assert np.quantile(difference, 0.9) < 0.03


@pytest.mark.parametrize("seed", range(4))
def test_clashes_are_the_same_in_any_frame_and_order(structure_of, contact_library: gemmi.MonLib, seed: int) -> None:
    structure, types, bonded = crowd(structure_of, contact_library)
    before = find_clashes(structure, types, bonded)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    after = find_clashes(structure.moved(structure.positions @ rotation.T + 50.0), types, bonded)
    assert after.pairs.tolist() == before.pairs.tolist()
    np.testing.assert_allclose(after.overlap, before.overlap, atol=1e-9)
    assert after.expected == pytest.approx(before.expected, rel=1e-9)


def test_alternates_at_one_place_share_the_contact(structure_of, contact_library: gemmi.MonLib) -> None:
    """What is equally deep in both belongs to both, whichever atom comes first; dots would give it to one of them."""
    rows: list[Row] = [("A", 1, *CB), ("B", 1, *CB), ("B", 1, *CB)]
    structure = structure_of(rows, [[0.0, 0, 0], [2.6, 0, 0], [2.6, 0, 0]])
    bonded = neighbours(3, np.empty((0, 2), dtype=np.int32))
    types = contact_types(structure, bonded, contact_library)
    for letters in (["", "A", "B"], ["", "B", "A"]):
        found = find_clashes(replace(structure, altloc=np.array(letters), occupancy=np.array([1.0, 0.5, 0.5])), types, bonded)
        assert found.pairs.tolist() == [[0, 1], [0, 2]]
        assert found.overlap[0] == pytest.approx(found.overlap[1])


def test_types_of_standard_atoms_and_ligands(contact_library: gemmi.MonLib, structure_of) -> None:
    rows: list[Row] = []
    positions: list[NDArray] = []
    for number, compound in enumerate(("TYR", "HEM"), start=1):
        known = [atom for atom in contact_library.monomers[compound].atoms if atom.el.name != "H"]
        rows.extend((f"C{number}", number, compound, atom.id, atom.el.name) for atom in known)
        positions.extend(np.array(atom.xyz.tolist()) + 40.0 * number for atom in known)
    model = hydrogenate(structure_of(rows, positions), contact_library)
    structure = model.structure
    types = contact_types(structure, model.bonding.neighbours, contact_library)
    compound = structure.residues.compound[structure.residue]

    def of(name: str, residue: str) -> tuple[float, bool, bool]:
        k = int(np.flatnonzero((structure.names == name) & (compound == residue))[0])
        return float(types.radius[k]), bool(types.donor[k]), bool(types.acceptor[k])

    assert of("C", "TYR") == (1.65, False, False)
    assert of("CZ", "TYR") == (1.75, False, True)
    assert of("OH", "TYR") == (1.40, False, True)
    assert of("HH", "TYR") == (1.05, True, False)
    assert of("HD1", "TYR") == (1.05, False, False)
    assert of("HA", "TYR") == (1.22, False, False)
    assert of("NA", "HEM") == (1.55, False, True)
    assert of("C1A", "HEM") == (1.75, False, True)
    assert of("CHA", "HEM") == (1.70, False, False)
    assert of("O1A", "HEM") == (1.40, False, True)
    assert of("FE", "HEM") == (0.74, False, False)
    assert of("HHA", "HEM") == (1.22, False, False)
