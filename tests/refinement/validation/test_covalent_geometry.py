from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement.restraints.arrays import Chiralities, Planes
from refinement.restraints.library import load_monomer_library
from refinement.restraints.topology import build_topology
from refinement.validation.geometry import Deviations, covalent_geometry

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.restraints.topology import Topology
    from refinement.structure import Structure


@pytest.fixture(scope="module")
def model(peptide: Callable) -> tuple[Structure, Topology]:
    structure = peptide(["ALA"] * 6).structure()
    return structure, build_topology(structure, load_monomer_library(["ALA"]))


def test_sums() -> None:
    result = Deviations.of(np.array([0.3, -0.4]), np.array([0.1, 0.05]))
    assert result.count == 2
    assert result.rmsd == pytest.approx(np.sqrt(0.125))
    assert result.rmsz == pytest.approx(np.sqrt((9 + 64) / 2))
    assert result.largest == pytest.approx(0.4)
    assert result.outliers == 1
    assert Deviations.of(np.zeros(0), np.zeros(0)) == Deviations(0, None, None, None, 0)


def test_counts_and_size_of_deviations_of_a_built_peptide(model: tuple[Structure, Topology]) -> None:
    result = covalent_geometry(*model)
    assert result.bonds.count == 6 * 4 + 5
    assert result.angles.count == 6 * 4 + 5 * 3
    summary = result.summary
    assert summary["bonds_rmsd"] < 0.01
    assert summary["angles_rmsd"] < 2.0
    assert result.bonds == result.bonds_with_hydrogens
    assert result.reasons == {}
    assert np.isfinite(result.columns["bond_z_max"]).all()


def test_one_moved_atom_is_seen_where_it_is(model: tuple[Structure, Topology]) -> None:
    structure, topology = model
    before = covalent_geometry(structure, topology)
    positions = structure.positions.copy()
    oxygen = np.flatnonzero(structure.names == "O")[2]
    carbon = np.flatnonzero(structure.names == "C")[2]
    direction = positions[oxygen] - positions[carbon]
    positions[oxygen] += 0.5 * direction / np.linalg.norm(direction)
    after = covalent_geometry(structure.moved(positions), topology)
    expected = np.sqrt((before.bonds.rmsd**2 * before.bonds.count + 0.25) / before.bonds.count)
    assert after.bonds.rmsd == pytest.approx(expected, abs=2e-3)
    assert after.bonds.outliers == 1
    assert int(np.argmax(after.residue_bond_z)) == 2
    changed = after.residue_bond_z != before.residue_bond_z
    assert np.flatnonzero(changed).tolist() == [2]
    np.testing.assert_allclose(after.angles.rmsd, before.angles.rmsd, atol=1e-9)


def test_rigid_motion_changes_nothing(model: tuple[Structure, Topology]) -> None:
    structure, topology = model
    rng = np.random.default_rng(8)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    moved = covalent_geometry(structure.moved(structure.positions @ rotation.T + 30), topology)
    for key, value in covalent_geometry(structure, topology).summary.items():
        assert moved.summary[key] == pytest.approx(value, abs=1e-9)


def test_the_wrong_hand_is_a_chirality_outlier(model: tuple[Structure, Topology]) -> None:
    structure, topology = model
    mirrored = structure.moved(structure.positions * (1, 1, -1))
    assert covalent_geometry(structure, topology).chirality_outliers == 0
    assert covalent_geometry(mirrored, topology).chirality_outliers == 6
    either = topology.chiralities
    both = Chiralities(either.atoms, np.abs(either.target), either.sigma, np.ones(len(either), bool))
    assert covalent_geometry(mirrored, replace(topology, chiralities=both)).chirality_outliers == 0


def test_planes_beyond_four_sigma(model: tuple[Structure, Topology]) -> None:
    structure, topology = model
    planes = Planes(np.array([0, 4], np.int32), np.array([0, 1, 2, 3], np.int32), np.array([0.02]))
    corners = np.array([[1.0, 1, 0], [-1, 1, 0], [-1, -1, 0], [1, -1, 0]])
    for lift, outliers in ((0.07, 0), (0.09, 1)):
        positions = structure.positions.copy()
        positions[:4] = corners + np.array([[0, 0, 1], [0, 0, -1], [0, 0, 1], [0, 0, -1]]) * lift
        found = covalent_geometry(structure.moved(positions), replace(topology, planes=planes)).planarity_outliers
        assert found == outliers


def test_planes_at_proline_are_looser(peptide: Callable) -> None:
    structure = peptide(["PRO"]).structure()
    rows = [int(np.flatnonzero(structure.names == name)[0]) for name in ("C", "N", "CA", "CD")]
    planes = Planes(np.array([0, 4], np.int32), np.array(rows, np.int32), np.array([0.02]))
    topology = build_topology(structure, load_monomer_library(["PRO"]))
    corners = np.array([[1.0, 1, 0.15], [-1, 1, -0.15], [-1, -1, 0.15], [1, -1, -0.15]])
    positions = structure.positions.copy()
    positions[rows] = corners
    assert covalent_geometry(structure.moved(positions), replace(topology, planes=planes)).planarity_outliers == 0
    positions[rows] = corners * (1, 1, 1.4)
    assert covalent_geometry(structure.moved(positions), replace(topology, planes=planes)).planarity_outliers == 1


def test_hydrogens_are_counted_apart(peptide: Callable) -> None:
    model = peptide(["ALA"] * 3)
    sites = list(model.sites)
    for k in (2, 3):
        nitrogen = next(s for s in model.sites if s.number == k and s.name == "N")
        sites.insert(sites.index(nitrogen) + 1, replace(nitrogen, name="H", position=nitrogen.position + np.array([0, 0, 1.5])))
    structure = type(model)(sites).structure()
    bare = model.structure()
    library = load_monomer_library(["ALA"])
    result = covalent_geometry(structure, build_topology(structure, library))
    reference = covalent_geometry(bare, build_topology(bare, library))
    assert result.bonds.count == reference.bonds.count
    assert result.bonds.rmsd == pytest.approx(reference.bonds.rmsd)
    assert result.bonds_with_hydrogens.count == result.bonds.count + 2
    assert result.bonds_with_hydrogens.rmsd > 0.1


def test_water_has_no_geometry(structure_of: Callable) -> None:
    water = structure_of([("A", k, "HOH", "O", "O") for k in range(3)], np.eye(3) * 5)
    result = covalent_geometry(water, build_topology(water, load_monomer_library(["HOH"])))
    assert set(result.summary.values()) == {None}
    assert set(result.reasons.values()) == {"not_applicable"}
