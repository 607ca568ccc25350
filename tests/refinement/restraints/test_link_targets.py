"""Covalent links that no library describes: lengths, angles and planes by chemistry, hydrogens that leave."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from refinement.compounds.component import component
from refinement.compounds.joined import joint
from refinement.compounds.store import open_store
from refinement.maps.density import Density
from refinement.maps.scattering import model_map
from refinement.output import RunLog
from refinement.protocol import refine
from refinement.restraints.arrays import BondKind
from refinement.restraints.hydrogens import add_hydrogens, hydrogenate
from refinement.restraints.library import load_monomer_library
from refinement.restraints.topology import build_topology
from refinement.settings import settings_for
from refinement.validation.clashscore import clashscore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from refinement.restraints.topology import Topology
    from refinement.structure import Structure


@pytest.fixture(scope="session")
def _unpacked(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("ceres-cache"))


@pytest.fixture(autouse=True)
def _cache(_unpacked: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CERES_CACHE", _unpacked)
    monkeypatch.delenv("CLIBD_MON", raising=False)
    open_store.cache_clear()
    joint.cache_clear()
    yield
    open_store.cache_clear()
    joint.cache_clear()


def joined(one: str, two: str, *, lost: str = "") -> object:
    """Return the joint of two atoms written ``LYS NZ``, of which the second one's compound lost an atom."""
    (first, atom_1), (second, atom_2) = one.split(), two.split()
    present = []
    for name in (first, second):
        compound = component(name)
        assert compound is not None
        present.append(frozenset(compound.names))
    return joint((0, atom_1), (1, atom_2), (first, second), (present[0], present[1] - {lost}))


@pytest.mark.parametrize(
    ("one", "two", "lost", "order", "length"),
    [
        ("LYS NZ", "PLP C4A", "O4A", 2, 1.279),
        ("LYS NZ", "RET C15", "O1", 2, 1.279),
        ("LYS NZ", "GLU CD", "OE2", 1, 1.334),
        ("LYS NZ", "GLU CD", "OE1", 1, 1.334),
        ("CYS SG", "HEC CAB", "", 1, 1.819),
        ("CYS SG", "AKR CB", "", 1, 1.819),
        ("SER OG", "ACT C", "OXT", 1, 1.336),
        ("CYS SG", "ACT C", "OXT", 1, 1.762),
        ("ASN ND2", "NAG C1", "O1", 1, 1.469),
    ],
)
def test_length_and_order_follow_from_what_has_left(one: str, two: str, lost: str, order: int, length: float) -> None:
    found = joined(one, two, lost=lost)
    assert (found.order, found.length) == (order, pytest.approx(length))


def test_a_schiff_base_is_flat_and_an_amide_holds_its_oxygen() -> None:
    schiff = joined("LYS NZ", "PLP C4A", lost="O4A")
    assert {(0, "CE"), (0, "NZ"), (1, "C4A"), (1, "C4")} in [set(plane) for plane in schiff.planes]
    assert schiff.angles[(0, "CE"), (0, "NZ"), (1, "C4A")][0] == pytest.approx(120.0, abs=3.0)
    amide = joined("LYS NZ", "GLU CD", lost="OE1")
    assert any({(0, "CE"), (0, "NZ"), (1, "CD"), (1, "OE2")} <= set(plane) for plane in amide.planes)


def test_addition_bends_what_was_flat_but_not_the_ring_beside_it() -> None:
    acrylate, haem = joined("CYS SG", "AKR CB"), joined("CYS SG", "HEC CAB")
    assert set(acrylate.bent) == {(1, "CB"), (1, "CA")}
    assert acrylate.angles[(0, "SG"), (1, "CB"), (1, "CA")][0] == pytest.approx(109.5, abs=3.0)
    assert acrylate.planes == ()
    assert haem.bent == ((1, "CAB"),)


def test_compounds_that_nobody_described_have_no_joint() -> None:
    assert joint((0, "SG"), (1, "C1"), ("CYS", "LIG"), (frozenset(), frozenset())) is None
    assert joint((0, "SG"), (1, "ZZ"), ("CYS", "PLP"), (frozenset(), frozenset())) is None


def rotation_onto(start: NDArray, goal: NDArray) -> NDArray:
    start, goal = start / np.linalg.norm(start), goal / np.linalg.norm(goal)
    middle = start + goal
    return 2 * np.outer(middle, middle) / (middle @ middle) - np.eye(3)


Bound = tuple["Structure", gemmi.MonLib, "Topology"]


@pytest.fixture
def schiff_base(builder, place) -> Bound:
    """Return lysine with pyridoxal on its nitrogen, 1.5 Å away, without any LINK record."""
    builder.peptide(["ALA", "LYS", "ALA"])
    lysine = builder.structure[0]["A"][1]
    cd, ce, nz = (np.array(lysine[name][0].pos.tolist()) for name in ("CD", "CE", "NZ"))
    compound = component("PXL")
    assert compound is not None
    own = {
        name: position
        for name, element, position in zip(compound.names, compound.elements, compound.positions, strict=True)
        if element != "H" and name != "O4A"
    }
    anchor = place(cd, ce, nz, 1.5, 120.0, 180.0)
    beyond = place(ce, nz, anchor, 1.5, 120.0, 180.0)
    rotation = rotation_onto(own["C4"] - own["C4A"], beyond - anchor)
    builder.residue("B", 1, "PXL", {name: anchor + rotation @ (x - own["C4A"]) for name, x in own.items()}, het=True)
    structure = builder.finish()
    library = load_monomer_library(np.unique(structure.residues.compound).tolist())
    return structure, library, build_topology(structure, library)


def row_of(structure: Structure, name: str) -> int:
    (row,) = np.flatnonzero(structure.names == name)
    return int(row)


def test_schiff_base_found_by_distance_is_restrained_and_named(schiff_base: Bound) -> None:
    structure, _, topology = schiff_base
    (link,) = np.flatnonzero(topology.bonds.kind == BondKind.LINK)
    nz, c4a, ce, c4 = (row_of(structure, name) for name in ("NZ", "C4A", "CE", "C4"))
    assert set(topology.bonds.atoms[link].tolist()) == {nz, c4a}
    assert topology.bonds.target[link] == pytest.approx(1.279)
    angles = {tuple(row): value for row, value in zip(topology.angles.atoms.tolist(), topology.angles.target, strict=True)}
    for end, apex, other in ((ce, nz, c4a), (nz, c4a, c4)):
        assert angles[min(end, other), apex, max(end, other)] == pytest.approx(120.0, abs=3.0)
    groups = np.split(topology.planes.atoms, topology.planes.first[1:-1])
    assert any({ce, nz, c4a, c4} <= set(group.tolist()) for group in groups)
    assert any("LYS NZ=PXL C4A" in warning for warning in topology.warnings)


def test_schiff_base_keeps_one_hydrogen_and_has_no_contact(schiff_base: Bound) -> None:
    structure, library, _ = schiff_base
    model = hydrogenate(structure, library)
    full = model.structure
    near = np.linalg.norm(full.positions - full.positions[row_of(full, "NZ")], axis=1) < 1.2
    assert np.count_nonzero(near & full.is_hydrogen) == 1
    assert len(add_hydrogens(structure, library)) == len(full)


def test_bound_inhibitor_is_refined_as_one_molecule_with_its_residue(schiff_base: Bound) -> None:
    structure, library, _ = schiff_base
    nz, c4a = row_of(structure, "NZ"), row_of(structure, "C4A")
    low = structure.positions.min(axis=0) - 8.0
    dims = np.ceil((np.ptp(structure.positions, axis=0) + 16.0) / 0.8).astype(int)
    empty = Density(np.zeros(dims, dtype=np.float32), gemmi.UnitCell(*(dims * 0.8), 90, 90, 90), low)
    refined = refine(
        structure,
        replace(empty, values=model_map(structure, empty, 2.5)),
        resolution=2.5,
        library=library,
        settings=settings_for("quick").model_copy(update={"harmless": False}),
        threads=1,
        log=RunLog(),
        progress=lambda _doing, _share: None,
    ).structure
    assert np.linalg.norm(refined.positions[nz] - refined.positions[c4a]) == pytest.approx(1.279, abs=0.04)  # 1.5 in the map
    assert np.sqrt(((refined.positions - structure.positions) ** 2).sum(axis=1).mean()) < 0.3
    assert clashscore(refined, library).summary["clashscore"] == 0.0


def test_lysine_of_an_isopeptide_keeps_one_hydrogen(builder, library: gemmi.MonLib) -> None:
    builder.peptide(["ALA", "LYS", "ALA"])
    lysine = builder.structure[0]["A"][1]
    ce, nz = (np.array(lysine[name][0].pos.tolist()) for name in ("CE", "NZ"))
    own = builder.compound_coordinates("ASP", leave=("OXT",))
    outwards = (nz - ce) / np.linalg.norm(nz - ce)
    rotation, anchor = rotation_onto(own["OD2"] - own["CG"], -outwards), nz + 1.34 * outwards
    own.pop("OD2")
    builder.residue("B", 1, "ASP", {name: anchor + rotation @ (x - own["CG"]) for name, x in own.items()})
    full = add_hydrogens(builder.finish(), library)
    near = np.linalg.norm(full.positions - full.positions[row_of(full, "NZ")], axis=1) < 1.2
    assert np.count_nonzero(near & full.is_hydrogen) == 1
