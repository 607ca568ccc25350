"""Restraints by atom against looking at all of them."""

from __future__ import annotations

import numpy as np

from refinement.restraints.atom_index import AtomIndex


def test_finds_the_restraints_that_looking_at_all_finds() -> None:
    rng = np.random.default_rng(0)
    atoms = rng.integers(-1, 30, (80, 3)).astype(np.int32)
    index = AtomIndex.of(atoms, 30)
    for count in (0, 1, 7):
        some = rng.choice(30, count, replace=False).astype(np.int32)
        assert index.touching(some).tolist() == np.flatnonzero(np.isin(atoms, some).any(axis=1)).tolist()


def test_groups_of_any_size() -> None:
    atoms, owner = np.array([3, 1, 2, 2, 0, 4], dtype=np.int32), np.array([0, 0, 0, 2, 2, 2], dtype=np.int32)
    index = AtomIndex.of_flat(atoms, owner, 6)
    assert index.touching(np.array([2], dtype=np.int32)).tolist() == [0, 2]
    assert index.touching(np.array([1, 5], dtype=np.int32)).tolist() == [0]
    assert index.touching(np.array([5], dtype=np.int32)).tolist() == []
