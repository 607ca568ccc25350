from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refinement.restraints.graph import exclusions, neighbours


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, np.ndarray]:
    n = draw(st.integers(1, 25))
    pairs = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda p: p[0] != p[1]), max_size=40))
    return n, np.array(pairs, dtype=np.int32).reshape(-1, 2)


def shortest_paths(n: int, pairs: np.ndarray) -> np.ndarray:
    """Return the number of bonds between all atoms by powers of the adjacency matrix, 0 where none of up to three."""
    adjacency = np.zeros((n, n), dtype=bool)
    adjacency[pairs[:, 0], pairs[:, 1]] = adjacency[pairs[:, 1], pairs[:, 0]] = True
    distance = np.zeros((n, n), dtype=int)
    reached, seen = np.eye(n, dtype=bool), np.eye(n, dtype=bool)
    for bonds in range(1, 4):
        reached = (reached.astype(int) @ adjacency.astype(int)) > 0
        distance[reached & ~seen] = bonds
        seen |= reached
    return distance


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_exclusions_are_the_pairs_up_to_three_bonds_apart(graph: tuple[int, np.ndarray]) -> None:
    n, pairs = graph
    bonded = neighbours(n, pairs)
    excluded = exclusions(bonded)
    expected = shortest_paths(n, pairs)
    for atom in range(n):
        assert bonded.of(atom).tolist() == np.flatnonzero(expected[atom] == 1).tolist()
        assert excluded.of(atom).tolist() == np.flatnonzero(expected[atom]).tolist()
        for order in (2, 3, 4):
            assert excluded.of(atom, order).tolist() == np.flatnonzero(expected[atom] == order - 1).tolist()


@pytest.mark.parametrize("n", [0, 3])
def test_no_bonds(n: int) -> None:
    bonded = neighbours(n, np.empty((0, 2), dtype=np.int32))
    assert len(bonded.partner) == 0
    assert exclusions(bonded).first.tolist() == [0] * (n + 1)
