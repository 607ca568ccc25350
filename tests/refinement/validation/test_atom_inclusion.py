from __future__ import annotations

from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from refinement.maps.density import Density
from refinement.validation.atom_inclusion import CURVE_LEVELS, atom_inclusion

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.structure import Structure

CORNER = np.array([100.0, 0.0, -50.0])


@pytest.fixture
def density() -> Density:
    """A map that rises along x: its value is the distance from the corner in Å."""
    x = np.broadcast_to(np.arange(10.0)[:, None, None], (10, 10, 10))
    return Density(np.array(x, np.float32), gemmi.UnitCell(10, 10, 10, 90, 90, 90), CORNER)


@pytest.fixture
def model(structure_of: Callable[..., Structure]) -> Structure:
    rows = [
        ("A", 1, "ARG", "CA", "C"), ("A", 1, "ARG", "NH1", "N"), ("A", 1, "ARG", "HA", "H"), ("A", 2, "GLY", "CA", "C"),
        ("A", 2, "GLY", "C", "C"), ("A", 3, "ALA", "N", "N"),
    ]  # fmt: skip
    x = np.array([2.5, 6.5, 7.5, 5.0, 8.5, 20.0])
    return structure_of(rows, CORNER + np.stack([x, np.full(6, 4.0), np.full(6, 4.0)], axis=1))


def test_both_definitions(model: Structure, density: Density) -> None:
    found = atom_inclusion(model, density, 5.0)
    # strictly above 5: NH1 (6.5) and C (8.5), not CA at exactly 5.0, not the atom outside the box
    assert found.summary["atom_inclusion"] == pytest.approx(2 / 5)
    assert found.summary["atom_inclusion_emdb"] == pytest.approx(1 / 4)
    np.testing.assert_allclose(found.columns["atom_inclusion"], [0.5, 0.5, 0.0])
    assert not found.reasons


def test_curve_falls_from_all_to_none(model: Structure, density: Density) -> None:
    levels, fractions = atom_inclusion(model, density, 5.0).curve
    assert len(levels) == CURVE_LEVELS
    assert levels[0] == 0.0
    assert levels[-1] == 9.0
    assert fractions[0] == pytest.approx(4 / 5)
    assert fractions[-1] == 0.0
    assert (np.diff(fractions) <= 0).all()


@pytest.mark.parametrize("contour", [None, float("nan")])
def test_without_contour_only_the_curve(model: Structure, density: Density, contour: float | None) -> None:
    found = atom_inclusion(model, density, contour)
    assert found.summary == {"atom_inclusion": None, "atom_inclusion_emdb": None}
    assert set(found.reasons.values()) == {"no_contour"}
    assert np.isnan(found.columns["atom_inclusion"]).all()
    assert len(found.curve[0]) == CURVE_LEVELS


def test_nothing_but_hydrogen(structure_of: Callable[..., Structure], density: Density) -> None:
    found = atom_inclusion(structure_of([("A", 1, "HOH", "H1", "H")], CORNER[None] + 5), density, 1.0)
    assert found.summary == {"atom_inclusion": None, "atom_inclusion_emdb": None}
    assert set(found.reasons.values()) == {"not_applicable"}
    assert np.isnan(found.columns["atom_inclusion"][0])
