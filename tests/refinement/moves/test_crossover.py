"""Joining the better stretches of models of one molecule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement.moves.crossover import SEAM, crossed

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.structure import Structure

LENGTH = 12
ROWS = [(chain, number, "GLY", name, name[0]) for chain in "AB" for number in range(LENGTH) for name in ("N", "CA", "C")]


@pytest.fixture
def chains(structure_of: Callable[..., Structure]) -> Structure:
    """Two chains of residues on lines."""
    return structure_of(ROWS, np.arange(3.0 * len(ROWS)).reshape(-1, 3))


def energies(chains: Structure, better: np.ndarray) -> list[np.ndarray]:
    """Return those of two models: the residues `better` by 50 in the second."""
    second = np.where(better[chains.residue], -50.0, 0.0) / 3.0
    return [np.zeros(len(chains)), second]


def test_each_stretch_comes_from_the_better_model(chains: Structure) -> None:
    better = np.zeros(2 * LENGTH, dtype=bool)
    better[4:8] = better[LENGTH + 9 :] = True
    first, second = chains.positions.copy(), chains.positions.copy()
    first[better[chains.residue]] += 2.0
    second[(chains.residue == 10) | (chains.residue == LENGTH + 2)] += 1.0
    costs = energies(chains, better)
    costs[1][(chains.residue == 10) | (chains.residue == LENGTH + 2)] = 50.0
    found, chosen = crossed(chains, [first, second], costs)
    assert chosen[better].all()
    np.testing.assert_array_equal(found, chains.positions)


@pytest.mark.parametrize("times", [1.0, 20.0])
def test_a_seam_must_pay(chains: Structure, times: float) -> None:
    better = np.zeros(2 * LENGTH, dtype=bool)
    better[4:8] = True
    costs = [times * energy for energy in energies(chains, better)]
    costs[1][~better[chains.residue]] = 1000.0
    pays = 4 * 50.0 * times > 2 * SEAM * 12.0
    chosen = crossed(chains, [chains.positions, chains.positions + 2.0], costs)[1]
    np.testing.assert_array_equal(chosen, better if pays else np.zeros_like(chosen))


def test_chains_are_free_of_each_other(chains: Structure) -> None:
    better = np.arange(2 * LENGTH) >= LENGTH
    other = chains.positions + 3.0
    found, chosen = crossed(chains, [chains.positions, other], energies(chains, better))
    assert chosen.tolist() == better.astype(int).tolist()
    np.testing.assert_array_equal(found, np.where(better[chains.residue][:, None], other, chains.positions))


def test_a_chain_changes_where_models_agree(chains: Structure) -> None:
    better = np.arange(2 * LENGTH) >= 6
    apart = np.full(2 * LENGTH, 2.0)
    apart[8:10] = 0.0
    other = chains.positions + apart[chains.residue][:, None]
    chosen = crossed(chains, [chains.positions, other], energies(chains, better))[1][:LENGTH]
    assert chosen.tolist() in ([0] * 9 + [1] * 3, [0] * 8 + [1] * 4, [1] * LENGTH)
    assert chosen[-1] == 1
