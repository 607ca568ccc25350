from __future__ import annotations

from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from refinement.maps.density import Density
from refinement.maps.interpolation import trilinear
from refinement.validation.qscore import SIGMAS, atom_q_scores, q_scores, sphere_points

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.structure import Structure

EDGE, STEP = 16.0, 0.5


def gaussians(positions: np.ndarray, sigma: float) -> Density:
    """A map in which every atom is a Gaussian of one width."""
    axis = np.arange(0, EDGE, STEP)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    values = sum(np.exp(-0.5 * ((grid - p) ** 2).sum(axis=-1) / sigma**2) for p in positions)
    return Density(np.asarray(values, np.float32), gemmi.UnitCell(EDGE, EDGE, EDGE, 90, 90, 90), np.zeros(3))


def plain(positions: np.ndarray, density: Density) -> np.ndarray:
    """The procedure point by point."""
    mean, deviation = density.values.mean(dtype=float), density.values.std(dtype=float)
    high, low = min(mean + 10 * deviation, density.values.max()), max(mean - deviation, density.values.min())
    out = np.empty((len(positions), len(SIGMAS)))
    for n, centre in enumerate(positions):
        others = np.delete(positions, n, axis=0)
        radii, values = [0.0] * 8, [trilinear(density, centre[None])[0]] * 8
        for radius in 0.1 * np.arange(1, 21):
            for attempt in range(50):
                points = centre + radius * sphere_points(8 + 2 * attempt)
                nearest = np.linalg.norm(points[:, None] - others, axis=-1).min(axis=1) if len(others) else np.inf
                kept = points[np.broadcast_to(nearest >= 0.9 * radius, len(points))]
                if len(kept) >= 8:
                    radii += [radius] * len(kept)
                    values += trilinear(density, kept).tolist()
                    break
        for column, sigma in enumerate(SIGMAS):
            reference = (high - low) * np.exp(-0.5 * (np.array(radii) / sigma) ** 2) + low
            out[n, column] = np.corrcoef(reference, values)[0, 1]
    return out


def test_published_directions() -> None:
    expected = [
        (0, 0, -1), (-0.1717, 0.6785, -0.7143), (-0.9002, -0.0774, -0.4286), (-0.1957, -0.9702, -0.1429),
        (0.8761, -0.4604, 0.1429), (0.5439, 0.7215, 0.4286), (-0.6451, 0.2713, 0.7143), (0, 0, 1),
    ]  # fmt: skip
    np.testing.assert_allclose(sphere_points(8), expected, atol=6e-5)
    np.testing.assert_allclose(np.linalg.norm(sphere_points(31), axis=1), 1.0)


def test_agrees_with_the_procedure_written_out() -> None:
    rng = np.random.default_rng(12)
    chain = 8 + np.cumsum(rng.normal(scale=0.8, size=(14, 3)), axis=0)
    crowd = np.concatenate([chain, chain[:1] + 0.05, chain[3:4]])  # nearly the same place, and exactly
    noisy = gaussians(chain, 0.7)
    values = noisy.values + rng.normal(scale=0.1, size=noisy.values.shape).astype(np.float32)
    oblique = gemmi.UnitCell(EDGE, EDGE + 1, EDGE + 2, 85, 95, 100)
    for density in (Density(values, noisy.cell, np.zeros(3)), Density(values, oblique, np.array([1.0, -2.0, 0.5]))):
        np.testing.assert_allclose(atom_q_scores(crowd, density), plain(crowd, density), atol=1e-9)


@pytest.mark.parametrize(("column", "sigma"), list(enumerate(SIGMAS)))
def test_a_gaussian_of_the_right_width_is_perfect(column: int, sigma: float) -> None:
    atom = np.array([[8.0, 8.0, 8.0]])
    right = atom_q_scores(atom, gaussians(atom, sigma))[0, column]
    wide = atom_q_scores(atom, gaussians(atom, 2.5 * sigma))[0, column]
    assert right > 0.98
    assert wide < right - 0.05


def test_hydrogens_are_ignored_and_residues_are_means(structure_of: Callable[..., Structure]) -> None:
    rows = [("A", 1, "ALA", "CA", "C"), ("A", 1, "ALA", "HA", "H"), ("A", 1, "ALA", "CB", "C"), ("A", 2, "HOH", "H1", "H")]
    positions = np.array([[6.0, 6, 6], [6.8, 6.5, 6.3], [7.5, 6, 6.4], [11, 11, 11]])
    density = gaussians(positions[[0, 2]], 0.5)
    scores = q_scores(structure_of(rows, positions), density)
    heavy = atom_q_scores(positions[[0, 2]], density)
    np.testing.assert_allclose(scores.atoms[[0, 2]], heavy, atol=1e-6)
    assert np.isnan(scores.atoms[[1, 3]]).all()
    assert scores.summary["q_score"] == pytest.approx(heavy[:, 0].mean(), abs=1e-6)
    assert scores.columns["q_score_06"][0] == pytest.approx(heavy[:, 1].mean(), abs=1e-6)
    assert np.isnan(scores.columns["q_score"][1])
    only_hydrogen = q_scores(structure_of(rows[3:], positions[3:]), density)
    assert only_hydrogen.summary == {"q_score": None, "q_score_06": None}
    assert only_hydrogen.reasons["q_score"] == "not_applicable"


def test_means_of_chains_and_parts(structure_of: Callable[..., Structure]) -> None:
    rows = [("A", 1, "ALA", "N", "N"), ("A", 1, "ALA", "CB", "C"), ("B", 1, "ALA", "CA", "C"), ("B", 1, "ALA", "HA", "H")]
    positions = np.array([[6.0, 6, 6], [7.5, 6, 6.4], [10.0, 10, 10], [10.5, 10.8, 10]])
    structure = structure_of(rows, positions)
    structure.residues.polymer[:] = True
    scores = q_scores(structure, gaussians(positions[:3] + 0.1, 0.5))
    detail, atoms = scores.details["q_score"], scores.atoms
    assert list(detail["chains"]) == ["A", "B"]
    for column, key in enumerate(("q_score", "q_score_06")):
        assert detail["chains"]["A"][key] == pytest.approx(atoms[:2, column].mean(), abs=1e-6)
        assert detail["chains"]["B"][key] == pytest.approx(atoms[2, column], abs=1e-6)
        assert detail["parts"]["backbone"][key] == pytest.approx(atoms[[0, 2], column].mean(), abs=1e-6)
        assert detail["parts"]["side_chain"][key] == pytest.approx(atoms[1, column], abs=1e-6)
    structure.residues.polymer[:] = False
    assert q_scores(structure, gaussians(positions[:3], 0.5)).details["q_score"]["parts"] == {}


def test_frame_and_scale_change_nothing() -> None:
    rng = np.random.default_rng(1)
    positions = rng.uniform(5, 11, (12, 3))
    density = gaussians(positions, 0.6)
    moved = Density(50 * density.values - 3, density.cell, np.array([200.0, -80.0, 33.0]))
    np.testing.assert_allclose(atom_q_scores(positions + moved.corner, moved), atom_q_scores(positions, density), atol=1e-5)


def test_atoms_far_apart_and_flat_density() -> None:
    positions = np.array([[4.0, 4, 4], [9e4, -9e4, 9e4], [12.0, 12, 12]])
    density = gaussians(positions[:1], 0.5)
    density.values[16:, 16:, 16:] = 0.25
    scores = atom_q_scores(positions, density)
    assert np.isfinite(scores[0]).all()
    assert np.isnan(scores[2]).all()
