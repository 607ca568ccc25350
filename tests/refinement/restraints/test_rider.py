"""Hydrogens placed and folded frame by frame: the same as one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement.restraints.hydrogens import hydrogenate
from refinement.restraints.rider import Rider, gather, scatter
from refinement.restraints.riding import BRIDGE, TERMINAL, TETRAHEDRAL, fold_gradient, place

if TYPE_CHECKING:
    import gemmi

    from refinement.restraints.hydrogens import Hydrogenated


@pytest.fixture
def model(builder, library: gemmi.MonLib) -> Hydrogenated:
    builder.peptide(["SER", "PRO", "TYR", "ARG", "HIS", "LYS", "ILE", "ASN", "GLY", "MET", "THR"])
    return hydrogenate(builder.finish(), library)


def test_one_frame_for_the_hydrogens_of_a_group(model: Hydrogenated) -> None:
    rider, riding = Rider(model.riding), model.riding
    assert set(rider.shape.tolist()) == {TETRAHEDRAL, BRIDGE, TERMINAL}
    assert rider.first[0] == 0
    assert rider.first[-1] == len(riding.hydrogen)
    sizes = np.diff(rider.first)
    assert set(sizes.tolist()) == {1, 2, 3}
    np.testing.assert_array_equal(np.repeat(rider.frame, sizes, axis=0), riding.frame)
    groups = np.unique(riding.frame[:, 0])
    assert len(rider.frame) == len(groups)


@pytest.mark.parametrize("seed", [0, 1])
def test_positions_and_gradients_are_those_of_single_hydrogens(model: Hydrogenated, seed: int) -> None:
    rng = np.random.default_rng(seed)
    riding, rider = model.riding, Rider(model.riding)
    positions = model.structure.positions + rng.normal(scale=0.2, size=model.structure.positions.shape)
    expected, found = positions.copy(), positions.copy()
    place(riding, expected)
    rider.place(found)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    # some hydrogens feel nothing, some whole groups neither
    gradient = rng.normal(size=positions.shape)
    gradient[rng.choice(riding.hydrogen, len(riding.hydrogen) // 2, replace=False)] = 0.0
    folded = gradient.copy()
    fold_gradient(riding, expected, folded)
    rider.fold(gradient)
    np.testing.assert_allclose(gradient, folded, atol=1e-10)
    assert not gradient[riding.hydrogen].any()


def test_frames_with_other_mixtures_stay_apart(model: Hydrogenated) -> None:
    """Two hydrogens on one parent and the same references, but not symmetric: two frames."""
    riding = model.riding
    pair = int(np.flatnonzero((riding.shape[1:] == BRIDGE) & (riding.frame[1:] == riding.frame[:-1]).all(axis=1))[0])
    coefficients = riding.coefficients.copy()
    coefficients[pair, 0] *= 1.1
    changed = replace(riding, coefficients=coefficients)
    expected, found = model.structure.positions.copy(), model.structure.positions.copy()
    place(changed, expected)
    Rider(changed).place(found)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_no_hydrogens(model: Hydrogenated) -> None:
    empty = np.zeros(0, dtype=int)
    riding = model.riding
    names = ("hydrogen", "frame", "shape", "coefficients", "length", "rotor", "rotor_kind")
    rider = Rider(replace(riding, **{name: getattr(riding, name)[empty] for name in names}))
    positions, gradient = model.structure.positions.copy(), np.ones_like(model.structure.positions)
    rider.place(positions)
    rider.fold(gradient)
    np.testing.assert_array_equal(positions, model.structure.positions)
    assert (gradient == 1.0).all()


def test_collapsed_frames_give_numbers(model: Hydrogenated) -> None:
    rider = Rider(model.riding)
    positions, gradient = np.zeros_like(model.structure.positions), np.ones_like(model.structure.positions)
    rider.place(positions)
    rider.fold(gradient)
    assert np.isfinite(positions).all()
    assert np.isfinite(gradient).all()


def test_scatter_and_gather() -> None:
    rng = np.random.default_rng(1)
    rows = np.array([1, 4, 5], dtype=np.int32)
    bare, full, out = rng.normal(size=(3, 3)), rng.normal(size=(7, 3)), np.empty((3, 3))
    gather(bare, full, rows, out)
    np.testing.assert_array_equal(out, bare + full[rows])
    scatter(bare, rows, full)
    np.testing.assert_array_equal(full[rows], bare)
