"""Contact dots and clashes: two atoms, hydrogen bonds, occlusion, and a plain-numpy twin on a real crowd."""

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
from refinement.validation.contacts import find_clashes

if TYPE_CHECKING:
    from collections.abc import Callable

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


def test_result_is_the_same_in_any_frame_within_the_dots(structure_of, contact_library: gemmi.MonLib) -> None:
    structure = pair(structure_of, CB, CB, 2.5)
    rng = np.random.default_rng(0)
    for _ in range(10):
        rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        found = clashes_of(structure.moved(structure.positions @ rotation.T + 50.0), contact_library)
        assert found.overlap[0] == pytest.approx(0.9, abs=0.035)


def plain_clashes(structure: Structure, types: ContactTypes, bonded: Neighbours) -> dict[tuple[int, int], float]:
    """Return clashes by plain numpy: every atom, every dot, every neighbour."""
    x, radius, hydrogen = structure.positions, types.radius, structure.is_hydrogen
    worst: dict[tuple[int, int], float] = {}
    saved = set()
    for i in np.flatnonzero(~types.water):
        apart, front = {int(i): 0}, [int(i)]
        for level in range(1, 5):
            front = [int(b) for a in front for b in bonded.of(a) if int(b) not in apart]
            apart.update({b: level for b in front if b not in apart})
        close = [j for j, level in apart.items() if level and (level <= 3 or hydrogen[i] or hydrogen[j])]
        others = np.array([j for j in range(len(structure)) if j != i and j not in close])
        dots = x[i] + dot_sphere(float(radius[i]))
        free = np.ones(len(dots), dtype=bool)
        for j in close:
            free &= np.linalg.norm(dots - x[j], axis=1) >= radius[j]
        gaps = np.linalg.norm(dots[:, None] - x[others][None], axis=2) - radius[others][None]
        nearest = gaps.argmin(axis=1)
        for dot in np.flatnonzero(free):
            gap, j = gaps[dot, nearest[dot]], int(others[nearest[dot]])
            if gap > 0.0:
                continue
            key = (min(int(i), j), max(int(i), j))
            if (types.donor[i] and types.acceptor[j]) or (types.acceptor[i] and types.donor[j]):
                if gap >= -0.6:
                    saved.add(key)
                gap += 0.6
            if gap <= -0.4:
                worst[key] = max(worst.get(key, 0.0), -gap)
    return {key: value for key, value in worst.items() if key not in saved}


def test_kernel_agrees_with_plain_numpy(structure_of, contact_library: gemmi.MonLib) -> None:
    """Random pieces of residues thrown into a small box."""
    rng = np.random.default_rng(5)
    rows: list[Row] = []
    positions = []
    for number, compound in enumerate(["SER", "TYR", "LYS", "ASN", "LEU", "GLU", "PRO", "SER", "TYR", "LEU"], start=1):
        known = [atom for atom in contact_library.monomers[compound].atoms if atom.el.name != "H"]
        xyz = np.array([atom.xyz.tolist() for atom in known])
        rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        positions.extend((xyz - xyz.mean(axis=0)) @ rotation.T + rng.uniform(0.0, 11.0, 3))
        rows.extend((f"C{number}", number, compound, atom.id, atom.el.name) for atom in known)
    model = hydrogenate(structure_of(rows, np.array(positions)), contact_library)
    structure, bonded = model.structure, neighbours(len(model.structure), model.bonding.pairs)
    types = contact_types(structure, bonded, contact_library)
    expected = plain_clashes(structure, types, bonded)
    assert len(expected) > 40
    found = find_clashes(structure, types, bonded)
    ours = {tuple(pair): overlap for pair, overlap in zip(found.pairs.tolist(), found.overlap.tolist(), strict=True)}
    assert ours.keys() == expected.keys()
    assert [ours[key] for key in expected] == pytest.approx(list(expected.values()))
    assert np.all(np.diff(found.overlap) <= 0.0)


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
