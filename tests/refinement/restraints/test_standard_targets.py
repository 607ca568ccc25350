from __future__ import annotations

from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest
import scipy.optimize

from refinement import tables
from refinement.geometry import angles as measured_angles
from refinement.restraints.arrays import Angles, BondKind, Bonds
from refinement.restraints.cdl import GeometryTargets, conformation_dependent_targets
from refinement.restraints.coordination import (
    ZINC_ANGLES,
    coordination_angles,
    coordination_distance,
    is_covalent_coordination,
    with_coordination,
)
from refinement.restraints.standard_targets import standard_targets

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.structure import Structure

BACKBONE = ("N", "CA", "C", "O", "CB")


@pytest.fixture(scope="module")
def chain(structure_of: Callable[..., Structure]) -> Callable[..., Structure]:
    """Return a function that builds a chain of backbone atoms with given φ, ψ, ω."""

    def place(a: np.ndarray, b: np.ndarray, c: np.ndarray, length: float, angle: float, torsion: float) -> np.ndarray:
        axis = (c - b) / np.linalg.norm(c - b)
        normal = np.cross(b - a, axis)
        normal /= np.linalg.norm(normal)
        angle, torsion = np.radians(angle), np.radians(torsion)
        across = np.cross(normal, axis)
        return c + length * (-np.cos(angle) * axis + np.sin(angle) * (np.cos(torsion) * across + np.sin(torsion) * normal))

    def make(sequence: tuple[str, ...], phi: float, psi: float, omega: float = 180.0) -> Structure:
        rows, positions = [], []
        n, ca, c = np.zeros(3), np.array([1.458, 0, 0]), np.array([2.009, 1.42, 0])
        for k, compound in enumerate(sequence):
            if k:
                before = (n, ca, c)
                n = place(*before, 1.329, 116.2, psi)
                ca = place(before[1], before[2], n, 1.458, 121.7, omega)
                c = place(before[2], n, ca, 1.525, 111.2, phi)
            placed = (n, ca, c, place(n, ca, c, 1.231, 120.8, psi + 180), place(n, c, ca, 1.53, 110.1, 122.8))
            for name, position in zip(BACKBONE, placed, strict=True):
                if (compound, name) != ("GLY", "CB"):
                    rows.append(("A", k + 1, compound, name, name[0]))
                    positions.append(position)
        return structure_of(rows, positions)

    return make


def find(structure: Structure, targets: GeometryTargets, *atoms: tuple[int, str]) -> np.ndarray | None:
    rows = [
        int(np.flatnonzero((structure.names == name) & (structure.residues.number[structure.residue] == number))[0])
        for number, name in atoms
    ]
    table, values = (targets.bond_atoms, targets.bond_targets) if len(rows) == 2 else (targets.angle_atoms, targets.angle_targets)
    for row, value in zip(table.tolist(), values, strict=True):
        if row in (rows, rows[::-1]):
            return value
    return None


@pytest.mark.parametrize(("phi", "psi", "cell"), [(-63, -43, (-60, -40)), (-117.9, 134, (-120, 130)), (178, -176, (-180, -180))])
def test_look_up_takes_the_nearest_ten_degrees(chain: Callable, phi: float, psi: float, cell: tuple[int, int]) -> None:
    structure = chain(("ALA",) * 4, phi, psi)
    targets = conformation_dependent_targets(structure)
    library = tables.conformation_dependent()
    i, j = ((angle + 180) // 10 for angle in cell)
    row = library.targets[library.classes.index("NonPGIV_nonxpro"), i, j]
    spread = library.esds[library.classes.index("NonPGIV_nonxpro"), i, j]
    quantity = library.quantities.index("N-CA-C")
    np.testing.assert_allclose(find(structure, targets, (2, "N"), (2, "CA"), (2, "C")), (row[quantity], spread[quantity]))
    quantity = library.quantities.index("C_prev-N")
    np.testing.assert_allclose(find(structure, targets, (1, "C"), (2, "N")), (row[quantity], spread[quantity]))


def test_classes(chain: Callable) -> None:
    structure = chain(("ALA", "GLY", "ILE", "PRO", "PRO", "SER"), -60, -40)
    targets = conformation_dependent_targets(structure)
    library = tables.conformation_dependent()
    for number, name in ((2, "Gly_nonxpro"), (3, "IleVal_xpro"), (4, "Pro_xpro"), (5, "Pro_nonxpro")):
        value = library.targets[library.classes.index(name), 12, 14, library.quantities.index("N-CA-C")]
        found = find(structure, targets, (number, "N"), (number, "CA"), (number, "C"))
        assert found is not None
        assert found[0] == pytest.approx(float(value))
    assert find(structure, targets, (1, "N"), (1, "CA"), (1, "C")) is None
    assert find(structure, targets, (6, "N"), (6, "CA"), (6, "C")) is None


def test_cis_peptides_keep_the_library_and_cis_prolines_have_their_own(chain: Callable) -> None:
    structure = chain(("ALA", "SER", "PRO", "ALA"), -60, -40, 10.0)
    targets = conformation_dependent_targets(structure)
    assert find(structure, targets, (2, "N"), (2, "CA"), (2, "C")) is None
    np.testing.assert_allclose(find(structure, targets, (2, "C"), (3, "N"), (3, "CA")), (127.0, 2.4))
    np.testing.assert_allclose(find(structure, targets, (2, "C"), (3, "N")), (1.338, 0.019))


def test_targets_replace_only_what_they_name() -> None:
    bonds = Bonds(np.array([[0, 1], [1, 2]], np.int32), np.array([1.0, 2.0]), np.array([0.1, 0.1]), np.zeros(2, np.uint8))
    angles = Angles(np.array([[2, 1, 0], [0, 2, 1]], np.int32), np.array([100.0, 50.0]), np.array([3.0, 3.0]))
    targets = GeometryTargets(
        np.array([[2, 1], [5, 6]], np.int32), np.array([[1.5, 0.02], [9, 9]]),
        np.array([[0, 1, 2]], np.int32), np.array([[110.0, 1.0]]), np.zeros((0, 4), np.int32),
    )  # fmt: skip
    new_bonds, new_angles = targets.apply(bonds, angles)
    assert new_bonds.target.tolist() == [1.0, 1.5]
    assert new_bonds.sigma.tolist() == [0.1, 0.02]
    assert new_angles.target.tolist() == [110.0, 50.0]
    assert bonds.target.tolist() == [1.0, 2.0]


def test_amide_hydrogen_stays_in_the_plane() -> None:
    atoms = np.array([[0, 1, 2], [0, 1, 3], [2, 1, 3]], np.int32)
    angles = Angles(atoms, np.array([121.0, 119.0, 119.0]), np.full(3, 3.0))
    bonds = Bonds(np.zeros((0, 2), np.int32), np.zeros(0), np.zeros(0), np.zeros(0, np.uint8))
    targets = GeometryTargets(
        np.zeros((0, 2), np.int32), np.zeros((0, 2)), atoms[:1], np.array([[123.0, 1.0]]), np.array([[0, 1, 2, 3]], np.int32)
    )
    _, new = targets.apply(bonds, angles)
    np.testing.assert_allclose(new.target, [123.0, 118.5, 118.5])


def test_links_and_termini(chain: Callable, structure_of: Callable) -> None:
    structure = chain(("ALA", "ALA", "PRO"), -60, 140)
    bonds = Bonds(np.array([[2, 5], [7, 10]], np.int32), np.full(2, 9.0), np.full(2, 1.0), np.full(2, BondKind.POLYMER, np.uint8))
    angles = Angles(np.array([[3, 2, 5], [6, 7, 10]], np.int32), np.full(2, 9.0), np.full(2, 1.0))
    new_bonds, _ = standard_targets(structure, bonds.select(np.array([False, True])), angles)
    assert new_bonds.target.tolist() == [1.341]
    sulphur = structure_of([("A", 1, "CYS", "SG", "S"), ("A", 5, "CYS", "SG", "S")], np.array([[0, 0, 0], [2.0, 0, 0]]))
    disulfide = Bonds(np.array([[0, 1]], np.int32), np.array([9.0]), np.array([1.0]), np.array([BondKind.DISULFIDE], np.uint8))
    new_bonds, _ = standard_targets(sulphur, disulfide, Angles(np.zeros((0, 3), np.int32), np.zeros(0), np.zeros(0)))
    assert (new_bonds.target.tolist(), new_bonds.sigma.tolist()) == ([2.031], [0.02])
    glycan = structure_of([("A", 1, "ASN", "ND2", "N"), ("A", 5, "NAG", "C1", "C")], np.array([[0, 0, 0], [1.4, 0, 0]]))
    link = Bonds(np.array([[0, 1]], np.int32), np.array([9.0]), np.array([1.0]), np.array([BondKind.LINK], np.uint8))
    new_bonds, _ = standard_targets(glycan, link, Angles(np.zeros((0, 3), np.int32), np.zeros(0), np.zeros(0)))
    assert new_bonds.target.tolist() == [1.439]


def test_terminal_carboxylate_and_unknown_compounds(structure_of: Callable) -> None:
    names = ("CA", "C", "O", "OXT")
    rows = [("A", 1, "ALA", name, name[0]) for name in names] + [("A", 2, "XYZ", name, name[0]) for name in names]
    structure = structure_of(rows, np.random.default_rng(1).normal(size=(8, 3)))
    atoms = np.array([[1, 3], [1, 2], [5, 7]], np.int32)
    bonds = Bonds(atoms, np.full(3, 9.0), np.full(3, 1.0), np.zeros(3, np.uint8))
    angles = Angles(np.array([[0, 1, 2], [2, 1, 3], [4, 5, 6]], np.int32), np.full(3, 9.0), np.full(3, 1.0))
    new_bonds, new_angles = standard_targets(structure, bonds, angles)
    assert new_bonds.target.tolist() == [1.231, 1.231, 9.0]
    assert new_angles.target.tolist() == [121.0, 118.0, 9.0]
    assert measured_angles(structure.positions, *angles.atoms.T).shape == (3,)


@pytest.fixture
def zinc_site(structure_of: Callable) -> tuple[Structure, Bonds]:
    rows = [("A", k, "CYS", "SG", "S") for k in range(3)] + [("A", 3, "HIS", "NE2", "N"), ("A", 4, "ZN", "ZN", "Zn")]
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 1.3
    structure = structure_of(rows, np.vstack([corners, np.zeros((1, 3))]))
    atoms = np.array([[k, 4] for k in range(4)], np.int32)
    return structure, Bonds(atoms, np.full(4, 9.0), np.full(4, 1.0), np.full(4, BondKind.METAL, np.uint8))


def test_tetrahedral_zinc_counts_and_has_its_own_distances(zinc_site: tuple[Structure, Bonds]) -> None:
    structure, bonds = zinc_site
    assert is_covalent_coordination(structure, bonds).all()
    assert with_coordination(structure, bonds).target.tolist() == [2.318] * 3 + [2.074]
    three = bonds.select(np.array([True, True, True, False]))
    assert not is_covalent_coordination(structure, three).any()
    assert with_coordination(structure, three).target.tolist() == [2.31] * 3


def test_angles_at_tetrahedral_zinc(zinc_site: tuple[Structure, Bonds]) -> None:
    structure, bonds = zinc_site
    given = Angles(np.array([[1, 4, 0]], np.int32), np.array([100.0]), np.array([3.0]))
    found = coordination_angles(structure, bonds, given)
    rows = {tuple(row): target for row, target in zip(found.atoms.tolist(), found.target.tolist(), strict=True)}
    assert rows == {(1, 4, 0): 100.0, (0, 4, 2): 112.15, (1, 4, 2): 112.15, (0, 4, 3): 106.6, (1, 4, 3): 106.6, (2, 4, 3): 106.6}
    three = bonds.select(np.array([True, True, True, False]))
    assert coordination_angles(structure, three, given) is given


@pytest.mark.parametrize("angles", ZINC_ANGLES)
def test_the_three_kinds_of_angles_at_zinc_fit_together(angles: tuple[float, float, float]) -> None:
    cysteines = ZINC_ANGLES.index(angles)
    kinds = np.array([0] * cysteines + [1] * (4 - cysteines))
    wanted = np.array([[angles[kinds[i] + kinds[j]] for j in range(4)] for i in range(4)])
    rows, columns = np.triu_indices(4, 1)

    def energy(x: np.ndarray) -> float:
        unit = x.reshape(4, 3) / np.linalg.norm(x.reshape(4, 3), axis=1)[:, None]
        turn = np.degrees(np.arccos(np.clip((unit[rows] * unit[columns]).sum(axis=1), -1, 1)))
        return float(((turn - wanted[rows, columns]) ** 2).sum())

    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], float)
    assert scipy.optimize.minimize(energy, corners.ravel()).fun < 0.5


def test_a_metal_lies_on_the_bisector_of_a_histidine(structure_of: Callable) -> None:
    rows = [("A", 1, "HIS", name, name[0]) for name in ("CG", "CD2", "NE2", "CE1", "ND1")] + [("B", 1, "CO", "CO", "Co")]
    structure = structure_of(rows, np.random.default_rng(2).normal(size=(6, 3)))
    bonds = Bonds(np.array([[2, 5]], np.int32), np.full(1, 2.1), np.ones(1), np.full(1, BondKind.METAL, np.uint8))
    found = coordination_angles(structure, bonds, Angles(np.empty((0, 3), np.int32), np.empty(0), np.empty(0)))
    assert {tuple(row) for row in found.atoms.tolist()} == {(3, 2, 5), (1, 2, 5)}
    assert (found.target == 126.5).all()


def test_metal_of_a_larger_compound_counts(structure_of: Callable) -> None:
    rows = [("A", 1, "HIS", "NE2", "N"), ("A", 2, "HEM", "FE", "Fe"), ("A", 2, "HEM", "NA", "N"), ("A", 3, "MG", "MG", "Mg")]
    structure = structure_of(rows, np.eye(4, 3) * 2)
    bonds = Bonds(np.array([[0, 1], [0, 3]], np.int32), np.full(2, 9.0), np.ones(2), np.full(2, BondKind.METAL, np.uint8))
    assert is_covalent_coordination(structure, bonds).tolist() == [True, False]
    assert with_coordination(structure, bonds).target[0] == 2.16


def test_distances_to_elements_without_an_entry() -> None:
    assert coordination_distance("Fe", "C", "CYN") is None
    assert coordination_distance("Pt", "N", "HIS") is None
    assert coordination_distance("Ca", "O", "HOH") == (2.39, 0.10)
    assert gemmi.Element("Ca").is_metal
