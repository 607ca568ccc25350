"""When copies are refined as one, when they are held alike, and when they are left alone."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from refinement.errors import InputError
from refinement.maps.interpolation import prepare
from refinement.operators import Operators, rotation_by
from refinement.settings import settings_for
from refinement.symmetry.decision import Decision, decide
from refinement.symmetry.restraints import counterparts

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.maps.density import Density
    from refinement.structure import Structure

    Particle = Callable[..., tuple[Structure, Operators]]
    MapOf = Callable[..., Density]


def decided(
    structure: Structure, density: Density, *, resolution: float = 3.0, given: Operators | None = None, **changes: Any
) -> Decision:
    settings = settings_for("default").model_copy(update=changes)
    return decide(structure, density, prepare(density), resolution=resolution, settings=settings, given=given)


def rearranged(structure: Structure, chain: str, numbers: tuple[int, int], degrees: float = 150.0) -> Structure:
    """Turn some residues of a chain about the line between their ends, as a loop that has another conformation."""
    residues = structure.residues
    own = (residues.chain == chain)[structure.residue]
    inside = own & (residues.number[structure.residue] >= numbers[0]) & (residues.number[structure.residue] <= numbers[1])
    trace = structure.positions[own & (structure.names == "CA") & inside]
    axis = trace[-1] - trace[0]
    turn = rotation_by(np.radians(degrees) * axis / np.linalg.norm(axis))
    positions = structure.positions.copy()
    positions[inside] = (positions[inside] - trace[0]) @ turn.T + trace[0]
    return structure.moved(positions)


def test_symmetry_of_the_map_makes_copies_one(particle: Particle, map_of: MapOf) -> None:
    structure, _ = particle("C4")
    noise = np.random.default_rng(1).normal(scale=0.3, size=structure.positions.shape)
    found = decided(structure.moved(structure.positions + noise), map_of(structure))
    assert found.mode == "constraints"
    assert found.symmetry is not None
    assert found.symmetry.closed
    assert found.symmetry.copies == 4
    (row,) = found.record["copies"]
    assert row["group"] == "C4"
    assert row["chains"] == ["A", "B", "C", "D"]
    assert min(row["map_correlation"]) > 0.98
    assert len(row["operators"]) == 4
    assert "refined as one" in found.reason


def test_a_map_without_the_symmetry_of_the_model_refuses(particle: Particle, map_of: MapOf, protomer: Structure) -> None:
    """The model has two equal copies; in the map a third of the second one has another conformation."""
    structure, _ = particle("C2")
    really = rearranged(structure, "B", (24, 36))
    found = decided(structure, map_of(really))
    assert found.mode == "restraints"
    assert found.symmetry is None
    assert found.record["map_symmetry"] == []
    assert "held alike" in found.reason


def test_independent_noise_refuses_unless_the_map_is_coarse(particle: Particle, map_of: MapOf) -> None:
    structure, _ = particle("C4")
    noisy = map_of(structure, 3.0, noise=1.2)
    assert decided(structure, noisy).mode == "restraints"
    assert decided(structure, noisy, resolution=4.6).mode == "constraints"
    assert decided(structure, map_of(structure, 3.0, noise=6.0), resolution=4.6).mode == "restraints"


def test_only_the_operators_that_the_map_obeys_are_used(particle: Particle, map_of: MapOf) -> None:
    structure, _ = particle("C4")
    there = rearranged(rearranged(structure, "A", (24, 36)), "C", (24, 36))
    found = decided(structure, map_of(there))
    assert found.mode == "constraints"
    assert found.symmetry is not None
    assert found.symmetry.copies == 2
    assert found.record["copies"][0]["group"] == "C2"
    assert "Confirmed: 2 copies A,B, C,D (C2)" in found.reason


def test_residues_that_really_differ_are_left_out(particle: Particle, map_of: MapOf) -> None:
    structure, _ = particle("C2")
    different = rearranged(structure, "B", (24, 27))
    found = decided(different, map_of(different), ncs_agreement=0.8)
    assert found.mode == "constraints"
    assert found.symmetry is not None
    free = found.symmetry.copy == -1
    numbers = different.residues.number[different.residue[free]]
    assert set(numbers.tolist()) >= {25, 26}
    assert set(numbers.tolist()) <= {23, 24, 25, 26, 27, 28}
    assert 0.0 < found.record["residues_apart"] < 0.2


def test_copies_that_differ_too_much_are_only_held_alike(particle: Particle, map_of: MapOf) -> None:
    structure, _ = particle("C2")
    different = structure
    for numbers in ((13, 17), (22, 26), (31, 35), (39, 43)):
        different = rearranged(different, "B", numbers, 60.0)
    found = decided(different, map_of(different), ncs_agreement=0.3)
    assert found.mode == "restraints"
    assert "of the residues differ" in found.reason


@pytest.mark.parametrize(("how", "mode"), [("off", "off"), ("restraints", "restraints"), ("constraints", "constraints")])
def test_the_setting_decides(particle: Particle, map_of: MapOf, how: str, mode: str) -> None:
    structure, _ = particle("C2")
    noisy = map_of(structure, 3.0, noise=1.2)
    assert decided(structure, noisy, ncs=how).mode == mode


def test_one_chain_has_no_copies(protomer: Structure, map_of: MapOf) -> None:
    found = decided(protomer, map_of(protomer))
    assert (found.mode, found.reason) == ("off", "No chain occurs twice.")


def test_given_operators_are_exact(particle: Particle, map_of: MapOf) -> None:
    structure, operators = particle("C4")
    found = decided(structure, map_of(structure), given=operators)
    assert found.exact
    assert "operators as given" in found.reason
    assert not decided(structure, map_of(structure)).exact


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(InputError, match="sideways") as caught:
        settings_for("default", ncs="sideways")
    assert caught.value.code == "ncs_unknown"
    assert settings_for("quick", ncs="off").ncs == "off"


def test_torsions_are_drawn_to_their_near_counterparts(particle: Particle) -> None:
    structure, _ = particle("C3")
    residues = structure.residues
    (found,) = counterparts(structure)
    assert found.atoms.shape[1] == 3
    assert (found.atoms >= 0).all()
    one = int(np.flatnonzero(found.period == 0)[4])
    for chain, degrees in ((0, 4.0), (1, -2.0), (2, 100.0)):
        structure = turned(structure, found.atoms[one, chain], degrees)
    restraints = found.restraints(structure, weight=0.16, limit=15.0)
    mine = [np.flatnonzero((restraints.atoms == found.atoms[one, chain]).all(axis=1)) for chain in range(3)]
    assert [len(rows) for rows in mine] == [1, 1, 0]  # nothing is near the third
    now = [measured(structure, found.atoms[one, chain]) for chain in range(2)]
    mean = 0.5 * (now[0] + now[1])
    assert now[0] - now[1] == pytest.approx(6.0, abs=1e-6)
    assert restraints.target[[rows[0] for rows in mine[:2]]] == pytest.approx([mean, mean], abs=1e-6)
    assert residues.chain[restraints.residue[mine[1][0]]] == "B"
    both = np.concatenate(mine[:2])
    own = replace(restraints, **{item.name: getattr(restraints, item.name)[both] for item in fields(restraints)})
    energy = own.energy_and_gradient(structure.positions, np.zeros_like(structure.positions))
    assert energy == pytest.approx(2.0 * 36.0 * (1.0 - np.exp(-0.16 * 3.0**2 / 36.0)), rel=1e-3)  # 36 = weight · limit²


def turned(structure: Structure, atoms: np.ndarray, degrees: float) -> Structure:
    """Change one torsion by moving its last atom only."""
    b, c = structure.positions[atoms[1]], structure.positions[atoms[2]]
    turn = rotation_by(np.radians(degrees) * (c - b) / np.linalg.norm(c - b))
    positions = structure.positions.copy()
    positions[atoms[3]] = (positions[atoms[3]] - c) @ turn.T + c
    return structure.moved(positions)


def measured(structure: Structure, atoms: np.ndarray) -> float:
    from refinement.geometry import dihedrals

    return float(dihedrals(structure.positions, *atoms[:, None])[0])


def test_missing_atoms_have_no_counterparts(particle: Particle) -> None:
    structure, _ = particle("C2")
    residues = structure.residues
    number = int(residues.number[residues.compound == "LEU"][0])
    lacking = (residues.chain[structure.residue] == "B") & (residues.number[structure.residue] == number)
    lacking &= structure.names == "CB"
    short = structure.without(lacking)
    (found,) = counterparts(short)
    owner = short.residues.number[short.residue[found.atoms]]
    assert number not in owner
    assert {number - 2, number + 2} <= set(owner.ravel().tolist())
    restraints = found.restraints(short, weight=1.0, limit=15.0)
    assert len(restraints) == 2 * len(found.atoms)
