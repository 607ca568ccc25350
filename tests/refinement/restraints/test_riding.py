"""Riding frames: geometry, and the chain rule against finite differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement.restraints.hydrogens import hydrogenate
from refinement.restraints.riding import BRIDGE, TERMINAL, TETRAHEDRAL, Riding, fold_gradient
from refinement.restraints.riding import place as place_on_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    import gemmi
    from numpy.typing import NDArray


def one(shape: int, coefficients: tuple[float, ...], length: float = 1.1) -> Riding:
    """Return the frame of atom 4, riding on atom 0 with references 1, 2, 3."""
    return Riding(
        hydrogen=np.array([4], dtype=np.int32),
        frame=np.array([[0, 1, 2, 3]], dtype=np.int32),
        shape=np.array([shape], dtype=np.uint8),
        coefficients=np.array([coefficients], dtype=np.float64),
        length=np.array([length]),
        rotor=np.array([-1], dtype=np.int32),
        rotor_kind=np.empty(0, dtype=np.uint8),
    )


FRAMES = {
    "tetrahedral": one(TETRAHEDRAL, (-0.4, -0.5, -0.3, 0.0)),
    "bridge": one(BRIDGE, (-0.7, -0.4, np.cos(0.9), -np.sin(0.9))),
    "flat bridge": one(BRIDGE, (-0.7, -0.4, 1.0, 0.0)),
    "terminal": one(TERMINAL, (np.cos(1.9), np.sin(1.9), 2.3, 0.0)),
}


def unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / np.linalg.norm(vector)


def reference(name: str, riding: Riding, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the hydrogen's position by plain numpy."""
    a, b, c, d = riding.coefficients[0]
    if name == "terminal":
        axis = unit(x[0] - x[1])
        across = x[2] - x[1]
        across = unit(across - across @ axis * axis)
        direction = -a * axis + b * (np.cos(c) * across + np.sin(c) * np.cross(axis, across))
    else:
        u, v, w = (unit(x[k] - x[0]) for k in (1, 2, 3))
        direction = unit(a * u + b * v + c * w)
        if name != "tetrahedral":
            direction = c * unit(a * u + b * v) + d * unit(np.cross(u, v))
    return x[0] + riding.length[0] * direction


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_positions_are_those_of_the_formula(name: str, seed: int) -> None:
    positions = np.random.default_rng(seed).normal(scale=1.5, size=(5, 3))
    expected = reference(name, FRAMES[name], positions)
    place_on_frames(FRAMES[name], positions)
    assert positions[4] == pytest.approx(expected, abs=1e-12)
    assert np.linalg.norm(positions[4] - positions[0]) == pytest.approx(1.1)


def test_a_terminal_hydrogen_has_its_torsion_and_angle(place: Callable[..., NDArray]) -> None:
    riding = FRAMES["terminal"]
    positions = np.random.default_rng(5).normal(scale=1.5, size=(5, 3))
    expected = place(positions[2], positions[1], positions[0], 1.1, np.degrees(1.9), np.degrees(2.3))
    place_on_frames(riding, positions)
    assert positions[4] == pytest.approx(expected, abs=1e-9)


def weighted(riding: Riding, positions: NDArray, weights: NDArray) -> float:
    moved = positions.copy()
    place_on_frames(riding, moved)
    return float((weights * (moved + moved**3)).sum())


def analytic(riding: Riding, positions: NDArray, weights: NDArray) -> NDArray:
    moved = positions.copy()
    place_on_frames(riding, moved)
    gradient = weights * (1.0 + 3.0 * moved**2)
    fold_gradient(riding, moved, gradient)
    return gradient


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_folded_gradient_agrees_with_finite_differences(name: str, seed: int, central_difference: Callable[..., float]) -> None:
    rng = np.random.default_rng(seed)
    positions, weights = rng.normal(scale=1.5, size=(5, 3)), rng.normal(size=(5, 3))
    gradient = analytic(FRAMES[name], positions, weights)
    assert gradient[4].tolist() == [0.0, 0.0, 0.0]
    for atom in range(4):
        for axis in range(3):
            direction = np.zeros((5, 3))
            direction[atom, axis] = 1.0
            numeric = central_difference(lambda x: weighted(FRAMES[name], x, weights), positions, direction)
            assert gradient[atom, axis] == pytest.approx(numeric, rel=1e-6, abs=1e-6)


def test_folding_a_whole_peptide_agrees_with_finite_differences(
    builder, library: gemmi.MonLib, central_difference: Callable[..., float]
) -> None:
    builder.peptide(["SER", "PRO", "TYR", "ARG", "HIS", "LYS", "ILE", "ASN", "GLY"])
    model = hydrogenate(builder.finish(), library)
    rng = np.random.default_rng(8)
    positions = model.structure.positions / 10.0
    weights = rng.normal(size=positions.shape)
    gradient = analytic(model.riding, positions, weights)
    assert not gradient[model.riding.hydrogen].any()
    for _ in range(5):
        direction = rng.normal(size=positions.shape)
        direction[model.riding.hydrogen] = 0.0
        numeric = central_difference(lambda x: weighted(model.riding, x, weights), positions, direction, 1e-5)
        assert (gradient * direction).sum() == pytest.approx(numeric, rel=1e-6)


def test_hydrogens_follow_a_rotation(builder, library: gemmi.MonLib) -> None:
    builder.peptide(["TRP", "SER", "LEU", "MET"])
    model = hydrogenate(builder.finish(), library)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    heavy_moved = model.structure.positions @ rotation.T + [3.0, -2.0, 5.0]
    expected = heavy_moved[model.riding.hydrogen].copy()
    heavy_moved[model.riding.hydrogen] = 0.0
    place_on_frames(model.riding, heavy_moved)
    assert heavy_moved[model.riding.hydrogen] == pytest.approx(expected, abs=1e-9)


def test_collapsed_frames_give_numbers() -> None:
    for name, riding in FRAMES.items():
        for positions in (np.zeros((5, 3)), np.outer(np.arange(5.0), [1.0, 0.0, 0.0])):
            place_on_frames(riding, positions)
            gradient = np.ones((5, 3))
            fold_gradient(riding, positions, gradient)
            assert np.isfinite(positions).all(), name
            assert np.isfinite(gradient).all(), name


def test_turning_a_rotor_turns_only_its_hydrogens(builder, library: gemmi.MonLib) -> None:
    builder.peptide(["ALA", "SER", "ALA"])
    model = hydrogenate(builder.finish(), library, optimise=False)
    riding = model.riding
    names = model.structure.names[riding.hydrogen]
    rotor = int(riding.rotor[names == "HG"][0])
    angles = np.zeros(len(riding.rotor_kind))
    angles[rotor] = np.pi
    turned = model.structure.positions.copy()
    place_on_frames(riding.turned(angles), turned)
    moved = np.linalg.norm(turned - model.structure.positions, axis=1) > 1e-6
    assert model.structure.names[moved].tolist() == ["HG"]
