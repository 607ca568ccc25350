from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from refinement.maps.density import Density
from refinement.restraints.library import load_monomer_library
from refinement.restraints.topology import build_topology
from refinement.structure import Structure, from_gemmi
from refinement.validation.clashscore import clashscore, contact_model
from refinement.validation.ligands import FLAGS, ligands
from refinement.validation.waters import SUGGESTIONS, waters

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class Placed:
    """An atom or a small molecule put somewhere."""

    compound: str
    position: tuple[float, float, float]
    occupancy: float = 1.0
    b_iso: float = 30.0
    altloc: str = "\0"


@pytest.fixture(scope="module")
def library() -> gemmi.MonLib:
    return load_monomer_library(["ALA", "LYS", "HOH", "SO4", "MG", "GOL"])


def residue_of(library: gemmi.MonLib, placed: Placed, number: int) -> gemmi.Residue:
    """A compound with the coordinates of its dictionary, its first atom at the place given; no hydrogens."""
    residue = gemmi.Residue()
    residue.name, residue.seqid, residue.het_flag = placed.compound, gemmi.SeqId(number, " "), "H"
    atoms = [atom for atom in library.monomers[placed.compound].atoms if atom.el.name != "H"]
    for source in atoms:
        atom = gemmi.Atom()
        atom.name, atom.element, atom.occ, atom.b_iso, atom.altloc = (
            source.id, source.el, placed.occupancy, placed.b_iso, placed.altloc,
        )  # fmt: skip
        offset = (source.xyz - atoms[0].xyz) if len(atoms) > 1 else gemmi.Position(0, 0, 0)
        atom.pos = gemmi.Position(*placed.position) + offset
        residue.add_atom(atom)
    return residue


def model(library: gemmi.MonLib, polymer: Sequence[Placed] = (), others: Sequence[Placed] = ()) -> Structure:
    """Amino acids of a chain A, and other compounds in a chain B."""
    source = gemmi.Structure()
    source.add_model(gemmi.Model(1))
    for name, placed in (("A", polymer), ("B", others)):
        if placed:
            chain = gemmi.Chain(name)
            for number, compound in enumerate(placed, start=1):
                residue = residue_of(library, compound, number)
                if name == "A":
                    residue.het_flag, residue.entity_type = "A", gemmi.EntityType.Polymer
                chain.add_residue(residue)
            source[0].add_chain(chain)
    structure = from_gemmi(source)
    if polymer:
        structure.residues.polymer[: len(polymer)] = True
    return structure


def bumps(structure: Structure, *, without: int | None = None) -> Density:
    """A map of the model, leaving out one residue."""
    corner = structure.positions.min(axis=0) - 6.0
    dims = np.ceil((structure.positions.max(axis=0) + 6.0 - corner) / 0.6).astype(int)
    axes = [corner[k] + 0.6 * np.arange(dims[k]) for k in range(3)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    shown = structure.positions[structure.residue != without]
    values = sum(np.exp(-0.5 * ((grid - p) ** 2).sum(axis=-1) / 0.6**2) for p in shown)
    return Density(np.asarray(values, dtype=np.float32), gemmi.UnitCell(*(dims * 0.6), 90, 90, 90), corner)


def found_waters(structure: Structure, library: gemmi.MonLib, **options: object) -> dict:
    return waters(structure, bumps(structure), contact_model(structure, library), resolution=2.0, **options).details["waters"]


def beyond(structure: Structure, atom: str, distance: float, residue: int = 0) -> tuple[float, float, float]:
    """A place this far from an atom, straight away from the middle of the model."""
    row = int(np.flatnonzero((structure.names == atom) & (structure.residue == residue))[0])
    away = structure.positions[row] - structure.positions.mean(axis=0)
    x, y, z = (structure.positions[row] + distance * away / np.linalg.norm(away)).tolist()
    return x, y, z


ALANINE = (Placed("ALA", (0.0, 0.0, 0.0)),)


@pytest.mark.parametrize(
    ("atom", "distance", "category", "suggestion"),
    [("O", 2.2, "polar", ["cation"]), ("CB", 2.2, "nonpolar", ["atom"])],
)
def test_what_a_water_clashes_with(
    library: gemmi.MonLib, atom: str, distance: float, category: str, suggestion: list[str]
) -> None:
    place = beyond(model(library, ALANINE), atom, distance)
    found = found_waters(model(library, ALANINE, [Placed("HOH", place)]), library)
    assert found["count"] == found["with_clashes"] == 1
    assert found["percent_with_clashes"] == 100.0
    (water,) = found["suspicious"]
    assert {contact["category"] for contact in water["contacts"]} == {category}
    assert water["suggestion"] == suggestion
    assert water["severity"] == pytest.approx(sum(contact["overlap"] - 0.2 for contact in water["contacts"]), abs=1e-3)
    assert (water["chain"], water["number"], water["compound"]) == ("B", 1, "HOH")
    assert set(water["suggestion"]) <= set(SUGGESTIONS)
    assert not found_waters(model(library, ALANINE, [Placed("HOH", beyond(model(library, ALANINE), atom, 3.6))]), library)[
        "suspicious"
    ]


def test_overlap_with_an_oxygen_is_that_of_the_radii(library: gemmi.MonLib) -> None:
    for distance, severity in ((2.38, "mild"), (2.1, "moderate"), (1.8, "severe")):
        place = beyond(model(library, ALANINE), "O", distance)
        found = found_waters(model(library, ALANINE, [Placed("HOH", place)]), library)
        deepest = found["suspicious"][0]["contacts"][0]
        assert deepest["overlap"] == pytest.approx(2.8 - distance, abs=0.03)
        assert deepest["severity"] == severity


def test_waters_turn_hydrogens_to_each_other_until_they_are_too_close(library: gemmi.MonLib) -> None:
    def pair(distance: float, letters: str = "\0\0") -> dict:
        far = [Placed("HOH", (20.0 + k * distance, 0.0, 0.0), altloc=letters[k]) for k in range(2)]
        return found_waters(model(library, ALANINE, far), library)

    assert pair(2.35)["with_clashes"] == 0
    close = pair(1.9)
    assert close["with_clashes"] == close["count"] == 2
    assert [water["suggestion"] for water in close["suspicious"]] == [["water"], ["water"]]
    assert close["suspicious"][0]["contacts"][0]["overlap"] == pytest.approx(0.9, abs=0.03)
    assert pair(1.9, "AB")["with_clashes"] == 0
    assert pair(1.9, "A\0")["suspicious"][0]["suggestion"] == ["water", "altloc"]


def test_charged_nitrogen_and_worst_first(library: gemmi.MonLib) -> None:
    lysine = (Placed("LYS", (0.0, 0.0, 0.0)),)
    bare = model(library, lysine)
    places = [beyond(bare, "NZ", 1.6), beyond(bare, "O", 2.25)]
    found = found_waters(model(library, lysine, [Placed("HOH", place) for place in reversed(places)]), library)
    assert [water["number"] for water in found["suspicious"]] == [2, 1]
    assert found["suspicious"][0]["suggestion"] == ["anion"]
    assert found["suspicious"][1]["suggestion"] == ["cation"]
    severities = [water["severity"] for water in found["suspicious"]]
    assert severities == sorted(severities, reverse=True)


def test_waters_without_density(library: gemmi.MonLib) -> None:
    others = [Placed("HOH", (9.0, 0.0, 0.0)), Placed("HOH", (-9.0, 0.0, 0.0))]
    structure = model(library, ALANINE, others)
    prepared = contact_model(structure, library)
    found = waters(structure, bumps(structure, without=2), prepared, resolution=2.0).details["waters"]
    assert (found["count"], found["with_clashes"], found["without_density"]) == (2, 0, 1)
    (water,) = found["suspicious"]
    assert water["number"] == 2
    assert water["density"] < 0.05
    assert water["suggestion"] == ["density"]
    q = np.array([0.9, 0.9, 0.5], dtype=np.float32)
    by_score = waters(structure, bumps(structure), prepared, resolution=2.0, q_score=q).details["waters"]
    assert [entry["number"] for entry in by_score["suspicious"]] == [2]
    assert waters(structure, bumps(structure), prepared, resolution=4.0, q_score=q).details["waters"]["suspicious"] == []
    outside = Density(bumps(structure).values, bumps(structure).cell, bumps(structure).corner + 400.0)
    assert waters(structure, outside, prepared, resolution=2.0).details["waters"]["without_density"] == 2


def test_no_waters(library: gemmi.MonLib) -> None:
    found = found_waters(model(library, ALANINE), library)
    assert found == {"count": 0, "with_clashes": 0, "percent_with_clashes": None, "without_density": 0, "suspicious": []}


def test_only_waters(library: gemmi.MonLib) -> None:
    found = found_waters(model(library, (), [Placed("HOH", (0.0, 0.0, 0.0)), Placed("HOH", (1.7, 0.0, 0.0))]), library)
    assert found["with_clashes"] == 2


def columns_of(structure: Structure, library: gemmi.MonLib) -> dict[str, np.ndarray]:
    n = len(structure.residues)
    fit = {"cc": np.full(n, 0.8), "q_score": np.full(n, 0.6), "q_score_06": np.full(n, 0.7)}
    return {**fit, **clashscore(structure, library).columns}


def test_ligand_with_dictionary_geometry_among_its_neighbours(library: gemmi.MonLib) -> None:
    polymer = (Placed("ALA", (0.0, 0.0, 0.0), b_iso=20.0), Placed("LYS", (30.0, 0.0, 0.0), b_iso=80.0))
    near = beyond(model(library, polymer[:1]), "CB", 2.9)
    structure = model(library, polymer, [Placed("SO4", (-40, 0, 0), b_iso=50.0), Placed("MG", near), Placed("HOH", (60, 0, 0))])
    listed = ligands(structure, build_topology(structure, library), columns_of(structure, library), resolution=2.0)
    sulfate, magnesium = listed.details["ligands"]
    assert (sulfate["compound"], sulfate["kind"], sulfate["atoms"]) == ("SO4", "ligand", 5)
    assert (magnesium["compound"], magnesium["kind"], magnesium["atoms"]) == ("MG", "ion", 1)
    assert sulfate["bonds_rmsz"] < 1.0
    assert sulfate["angles_rmsz"] < 1.0
    assert sulfate["geometry_outliers"] == 0
    assert magnesium["bonds_rmsz"] is magnesium["angles_rmsz"] is None
    assert (sulfate["neighbours"], sulfate["b_neighbours"]) == (0, None)
    assert (magnesium["neighbours"], magnesium["b_neighbours"]) == (1, 20.0)
    assert sulfate["q_expected"] == pytest.approx(0.8182, abs=1e-3)
    assert magnesium["q_expected"] == pytest.approx(0.8589)
    assert sulfate["flags"] == magnesium["flags"] == []


def test_distorted_ligand_has_geometry_outliers(library: gemmi.MonLib) -> None:
    structure = model(library, (), [Placed("GOL", (0.0, 0.0, 0.0)), Placed("GOL", (20.0, 0.0, 0.0))])
    positions = structure.positions.copy()
    positions[0] += (0.3, -0.2, 0.1)
    structure = structure.moved(positions)
    bad, good = ligands(structure, build_topology(structure, library), {}).details["ligands"]
    assert bad["bonds_rmsz"] > 4.0
    assert bad["geometry_outliers"] > 0
    assert good["bonds_rmsz"] < 1.0
    assert good["geometry_outliers"] == 0
    assert good["cc"] is good["clashes"] is good["q_expected"] is None
    assert good["flags"] == []


@pytest.mark.parametrize(
    ("column", "value", "flag"),
    [("cc", 0.49, "low_cc"), ("q_score_06", 0.6, "low_q"), ("n_clashes", 3.0, "many_clashes")],
)
def test_flags_from_columns(library: gemmi.MonLib, column: str, value: float, flag: str) -> None:
    structure = model(library, ALANINE, [Placed("SO4", (15.0, 0.0, 0.0))])
    columns = columns_of(structure, library)
    columns[column][-1] = value
    (entry,) = ligands(structure, build_topology(structure, library), columns, resolution=2.0).details["ligands"]
    assert entry["flags"] == [flag]
    assert flag in FLAGS


def test_flags_from_the_model(library: gemmi.MonLib) -> None:
    polymer = (Placed("ALA", (0.0, 0.0, 0.0), b_iso=10.0),)
    near = beyond(model(library, polymer), "CB", 2.9)
    for ligand, flags in (
        (Placed("MG", near, b_iso=41.0), ["high_b"]),
        (Placed("MG", near, b_iso=39.0), []),
        (Placed("MG", near, occupancy=0.0), ["zero_occupancy"]),
    ):
        structure = model(library, polymer, [ligand])
        columns = columns_of(structure, library)
        columns["n_clashes"][:] = 0.0
        (entry,) = ligands(structure, build_topology(structure, library), columns, resolution=2.0).details["ligands"]
        assert entry["flags"] == flags


def test_no_ligands(library: gemmi.MonLib) -> None:
    structure = model(library, ALANINE, [Placed("HOH", (15.0, 0.0, 0.0))])
    assert ligands(structure, build_topology(structure, library), {}).details == {"ligands": []}
