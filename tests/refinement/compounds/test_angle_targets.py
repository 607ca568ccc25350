"""Angles of made dictionaries: those around one atom can exist together."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from refinement.compounds import angles
from refinement.compounds.angles import angle_targets, realisable
from refinement.compounds.component import component
from refinement.compounds.environment import environment
from refinement.compounds.targets import read_targets


def targets_of(name: str) -> dict[tuple[str, str, str], float]:
    """Return angles by the names of their atoms, in both directions."""
    compound = component(name)
    assert compound is not None
    found: dict[tuple[str, str, str], float] = {}
    for i, j, k, value, _ in angle_targets(compound, environment(compound), read_targets()):
        names = compound.names[i], compound.names[j], compound.names[k]
        found[names] = found[names[::-1]] = value
    return found


def cosines_at(targets: dict[tuple[str, str, str], float], centre: str) -> np.ndarray:
    """Return the cosines between the directions around an atom."""
    ends = sorted({names[0] for names in targets if names[1] == centre})
    cosines = np.eye(len(ends))
    for a, b in combinations(range(len(ends)), 2):
        cosines[a, b] = cosines[b, a] = np.cos(np.radians(targets[ends[a], centre, ends[b]]))
    return cosines


def off_space(cosines: np.ndarray) -> float:
    """Return by how much (degrees, the largest) angles differ from the nearest ones that directions have."""
    nearest = np.clip(realisable(cosines), -1.0, 1.0)
    return float(np.abs(np.degrees(np.arccos(nearest)) - np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))).max())


@pytest.mark.parametrize("name", ["PO4", "UTP", "P2I"])
def test_angles_of_phosphates_exist_in_space(name: str) -> None:
    compound, targets = component(name), targets_of(name)
    assert compound is not None
    phosphorus = [atom for atom, element in zip(compound.names, compound.elements, strict=True) if element == "P"]
    assert phosphorus
    assert max(off_space(cosines_at(targets, atom)) for atom in phosphorus) < angles.CONTRADICTION


def test_phosphate_is_a_tetrahedron(monkeypatch: pytest.MonkeyPatch) -> None:
    assert targets_of("PO4")["O1", "P", "O2"] == pytest.approx(109.47, abs=0.01)
    monkeypatch.setattr(angles, "CONTRADICTION", np.inf)
    assert targets_of("PO4")["O1", "P", "O2"] > 119.0  # what the table says


def test_directions_that_exist_stay(rng: np.random.Generator) -> None:
    directions = rng.normal(size=(4, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    assert realisable(directions @ directions.T) == pytest.approx(directions @ directions.T, abs=1e-9)


def test_four_directions_have_three_dimensions() -> None:
    nearest = realisable(np.cos(np.radians(120.0)) * (1 - np.eye(4)) + np.eye(4))
    assert np.diag(nearest) == pytest.approx(1.0)
    assert np.linalg.eigvalsh(nearest) == pytest.approx([0.0, 4 / 3, 4 / 3, 4 / 3], abs=1e-9)
    assert nearest[0, 1] == pytest.approx(-1 / 3)


def test_angles_to_metals_are_those_of_the_ideal_coordinates() -> None:
    assert targets_of("CUO")["CU1", "O1", "CU2"] == pytest.approx(90.0, abs=0.5)


def test_diazo_groups_are_straight() -> None:
    assert targets_of("AZS")["CI", "NJ", "NK"] == 180.0


def test_flat_nitrogen_of_a_ring_closes() -> None:
    targets = targets_of("7PY")
    around = [("CAH", "NAI", "CAK"), ("CAH", "NAI", "CAJ"), ("CAK", "NAI", "CAJ")]
    assert sum(targets[names] for names in around) == pytest.approx(360.0, abs=0.5)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
