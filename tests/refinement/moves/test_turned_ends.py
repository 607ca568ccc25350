"""Ends of side chains that a perfect map turns the right way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement.moves.turned_ends import ENDS, with_turned_ends
from refinement.whole_map import LeastSquares

if TYPE_CHECKING:
    from refinement.structure import Structure


def turned(structure: Structure, row: int) -> Structure:
    atoms = np.arange(structure.residues.first[row], structure.residues.first[row + 1])
    positions = structure.positions.copy()
    for pair in ENDS[str(structure.residues.compound[row])]:
        one, other = (int(atoms[structure.names[atoms] == name][0]) for name in pair)
        positions[[one, other]] = positions[[other, one]]
    return structure.moved(positions)


@pytest.fixture(scope="module")
def rows(scene) -> list[int]:
    """Three residues with ends to turn."""
    return np.flatnonzero(np.isin(scene.truth.residues.compound, list(ENDS)))[:3].tolist()


def test_turned_ends_are_turned_back(scene, rows: list[int]) -> None:
    wrong = scene.truth
    for row in rows:
        wrong = turned(wrong, row)
    found, names = with_turned_ends(wrong, LeastSquares(wrong, scene.density, 3.0, fine=True))
    assert names == [scene.truth.residues.label(row) for row in rows]
    np.testing.assert_allclose(found, scene.truth.positions, atol=1e-9)


def test_right_ends_stay(scene) -> None:
    found, names = with_turned_ends(scene.truth, LeastSquares(scene.truth, scene.density, 3.0, fine=True))
    assert not names
    np.testing.assert_array_equal(found, scene.truth.positions)


def test_ends_with_an_atom_missing_are_left(scene, rows: list[int]) -> None:
    first = scene.truth.residues.first[rows[0]]
    name = ENDS[str(scene.truth.residues.compound[rows[0]])][0][0]
    gone = np.zeros(len(scene.truth), dtype=bool)
    gone[first + int(np.flatnonzero(scene.truth.names[first:] == name)[0])] = True
    wrong = turned(scene.truth, rows[0]).without(gone)
    found, names = with_turned_ends(replace(wrong), LeastSquares(wrong, scene.density, 3.0, fine=True))
    assert scene.truth.residues.label(rows[0]) not in names
    assert len(found) == len(wrong)
