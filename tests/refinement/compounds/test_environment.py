"""Rings, hybridisation and the keys of environments."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from refinement.compounds.component import Component
from refinement.compounds.environment import angle_keys, bond_keys, environment
from refinement.compounds.targets import TABLE, Lookup


def molecule(elements: str, bonds: list[tuple[int, int, int]], aromatic: frozenset[int] = frozenset()) -> Component:
    """Return a compound from a string of elements and (atom, atom, order)."""
    symbols = tuple(elements.split())
    rows = np.array([bond[:2] for bond in bonds], dtype=np.int64)
    return Component(
        "TST",
        "test",
        "non-polymer",
        tuple(f"{symbol}{number}" for number, symbol in enumerate(symbols)),
        symbols,
        np.zeros(len(symbols), dtype=np.int64),
        ("N",) * len(symbols),
        np.array([row in aromatic for row in range(len(symbols))]),
        rows,
        np.array([bond[2] for bond in bonds], dtype=np.int64),
        np.array([{*row} <= aromatic for row in rows.tolist()]),
        np.full((len(symbols), 3), np.nan),
    )


RING = frozenset(range(6))
ANISOLE = molecule(
    "C C C C C C O C", [(0, 1, 1), (1, 2, 2), (2, 3, 1), (3, 4, 2), (4, 5, 1), (5, 0, 2), (0, 6, 1), (6, 7, 1)], RING
)
ACETAMIDE = molecule("C C O N", [(0, 1, 1), (1, 2, 2), (1, 3, 1)])


def test_rings_and_flat_atoms() -> None:
    found = environment(ANISOLE)
    assert {found.ring[i, (i + 1) % 6] for i in range(6)} == {6}
    assert found.ring[0, 6] == found.ring[6, 0] == 0
    assert [found.is_flat(row) for row in range(8)] == [True] * 6 + [False] * 2
    assert found.hybridisation[6] == "3c"


def test_amides_are_flat_and_phosphates_are_not() -> None:
    assert [environment(ACETAMIDE).is_flat(row) for row in range(4)] == [False, True, False, True]
    phosphate = molecule("P O O O O", [(0, 1, 2), (0, 2, 1), (0, 3, 1), (0, 4, 1)])
    assert not environment(phosphate).is_flat(0)


def test_keys_do_not_depend_on_direction_or_kekule_structure() -> None:
    found = environment(ANISOLE)
    assert list(bond_keys(found, ANISOLE.elements, 0, 6)) == list(bond_keys(found, ANISOLE.elements, 6, 0))
    assert list(angle_keys(found, ANISOLE.elements, 1, 0, 6)) == list(angle_keys(found, ANISOLE.elements, 6, 0, 1))
    # 2-3 and 3-4 are mirror images in the molecule, one is single and one double in this drawing
    assert list(bond_keys(found, ANISOLE.elements, 2, 3)) == list(bond_keys(found, ANISOLE.elements, 3, 4))


def test_angles_within_and_beside_a_ring_differ_even_in_the_coarsest_key() -> None:
    found = environment(ANISOLE)
    within, beside = list(angle_keys(found, ANISOLE.elements, 1, 0, 5)), list(angle_keys(found, ANISOLE.elements, 1, 0, 6))
    assert not set(within) & set(beside)


def test_finest_known_key_decides() -> None:
    table = Lookup(np.array([3, 7, 9], dtype=np.uint64), np.array([30, 70, 90], dtype=np.uint16))
    assert table.first([8, 9, 3]) == 90
    assert table.first([7]) == 70
    assert table.first([1, 10, 2**64 - 1]) is None


@pytest.mark.parametrize("size", [3, 5, 8])
def test_smallest_ring(size: int) -> None:
    ring = molecule(" ".join("C" * size), [(row, (row + 1) % size, 1) for row in range(size)])
    assert set(environment(ring).ring.values()) == {size}


def test_large_rings_count_as_chains() -> None:
    ring = molecule(" ".join("C" * 9), [(row, (row + 1) % 9, 1) for row in range(9)])
    assert set(environment(ring).ring.values()) == {0}


def test_table_is_the_one_that_was_described() -> None:
    described = (TABLE.parent / "PROVENANCE.md").read_text(encoding="utf-8")
    assert hashlib.sha256(TABLE.read_bytes()).hexdigest() in described
    assert f"{TABLE.stat().st_size} bytes" in described
