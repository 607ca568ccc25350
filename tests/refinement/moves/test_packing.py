"""How closely groups of atoms are packed."""

from __future__ import annotations

import numpy as np
import pytest

from refinement.moves.packing import NEAREST, packing


def test_contact_numbers_are_sums_of_inverse_squares() -> None:
    positions = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [11.0, 0.0, 0.0], [1.0, 5.0, 0.0], [1.0, 5.0, 0.0]])
    found = packing(positions, np.array([0, 0, 1, 2, 2]))
    own = NEAREST**-2
    assert found[0] == pytest.approx(2 * own + 1 / 100 + 2 / 25)
    assert found[1] == pytest.approx(own + 2 / 100 + 2 / 125)
    assert found[2] == pytest.approx(2 * own + 2 / 25 + 1 / 125)


def test_groups_nearer_than_their_size_count_as_apart_by_it() -> None:
    together = packing(np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]]), np.array([0, 1]))
    np.testing.assert_allclose(together, 2.0 * NEAREST**-2)


def test_the_middle_is_packed_more_closely_than_the_surface() -> None:
    lattice = np.stack(np.meshgrid(*[np.arange(7.0)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) * 4.0
    found = packing(lattice, np.arange(len(lattice)))
    middle, corner = (np.linalg.norm(lattice - place, axis=1).argmin() for place in (12.0, 0.0))
    assert found[middle] == pytest.approx(found.max())
    assert found[corner] == pytest.approx(found.min())
    assert found[middle] > 2.0 * found[corner]
