from __future__ import annotations

import math
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from refinement import tables
from refinement.geometry import dihedrals
from refinement.maps.density import Density
from refinement.maps.interpolation import trilinear
from refinement.validation.emringer import SAMPLES, SCORED, chi1_atoms, emringer, scan, score_curve

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.structure import Structure

SEQUENCE = ("ALA", "SER", "LEU", "VAL", "GLY", "ARG", "PRO", "MET", "ILE", "PHE", "THR", "TYR")
SCANNED = [2, 3, 4, 6, 7, 8, 9, 10, 11, 12]
"""Residues with a χ1."""


def boxed(structure: Structure, atoms: np.ndarray, *, width: float = 0.8, margin: float = 6.0, step: float = 0.5) -> Density:
    """A map of Gaussians at some atoms, in a box around the model."""
    corner = structure.positions.min(axis=0) - margin
    dims = np.ceil((structure.positions.max(axis=0) + margin - corner) / step).astype(int)
    axes = [corner[k] + step * np.arange(dims[k]) for k in range(3)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    values = sum(np.exp(-0.5 * ((grid - p) ** 2).sum(axis=-1) / width**2) for p in structure.positions[atoms])
    return Density(np.asarray(values, dtype=np.float32), gemmi.UnitCell(*(dims * step), 90, 90, 90), corner)


def gamma(structure: Structure) -> np.ndarray:
    """Return the γ atoms."""
    return chi1_atoms(structure)[1][:, 3]


def plain_curve(scans: np.ndarray) -> list[tuple[float, float, float]]:
    """The published procedure step by step: level, z, rotamer ratio."""
    low, high = np.mean([np.mean(s) for s in scans]), max(max(s) for s in scans)
    out = []
    for number in range(20):
        level = low + number * (high - low) / 20
        counts = [0] * SAMPLES
        for samples in scans:
            for k in range(SAMPLES):
                if samples[k] == max(samples) and samples[k] > level:
                    counts[k] += 1
        bins = [sum(counts[(12 + 12 * i - 6 + j) % SAMPLES] for j in range(12)) for i in range(6)]
        rotameric, total = sum(bins[0::2]), sum(bins)
        if rotameric == 0:
            break
        z = (rotameric - total * 39 / 72) / math.sqrt(39 / 72 * 33 / 72 * total)
        out.append((level, z, rotameric / total))
    return out


def test_levels_peaks_and_bins_as_published() -> None:
    rng = np.random.default_rng(3)
    angle = np.arange(SAMPLES) / SAMPLES * 2 * np.pi
    for count in (1, 7, 80):
        scans = rng.normal(size=(count, SAMPLES)) * 0.2 + rng.uniform(0.5, 2, (count, 1)) * np.cos(3 * angle - np.pi) + 1.0
        scans[0, 5] = scans[0, 30] = scans[0].max()  # a tie counts twice
        curve = score_curve(scans)
        expected = plain_curve(scans)
        assert len(curve["z"]) == len(expected)
        for got, want in zip(zip(curve["threshold"], curve["z"], curve["rotamer_ratio"], strict=True), expected, strict=True):
            assert got == pytest.approx(want, abs=1e-12)
        np.testing.assert_allclose(curve["score"], 10 * curve["z"] / math.sqrt(count))


def test_samples_are_on_the_circle_of_the_gamma_atom(peptide: Callable) -> None:
    structure = peptide(SEQUENCE).structure()
    rng = np.random.default_rng(4)
    empty = boxed(structure, gamma(structure))
    density = Density(
        rng.normal(size=empty.dims).astype(np.float32), gemmi.UnitCell(*(empty.voxel * empty.dims), 90, 97, 90), empty.corner
    )
    atoms = chi1_atoms(structure)[1]
    scans = scan(structure, density, atoms)
    for n, quad in enumerate(atoms):
        _, b, c, d = structure.positions[quad]
        axis = (c - b) / np.linalg.norm(c - b)
        chi = dihedrals(structure.positions, *quad[:, None])[0]
        for k in (0, 17, 40, 71):
            turn = math.radians(5 * (k + 1) - chi)
            arm = d - c
            turned = arm * math.cos(turn) + np.cross(axis, arm) * math.sin(turn) + axis * (axis @ arm) * (1 - math.cos(turn))
            if density.contains((c + turned)[None])[0]:
                assert scans[n, k] == pytest.approx(trilinear(density, (c + turned)[None])[0], abs=1e-6)
            else:
                assert np.isnan(scans[n, k])


@pytest.mark.parametrize(
    ("chi1", "good"), [(-60.0, True), (180.0, True), (65.0, True), (120.0, False), (0.0, False), (-120.0, False)]
)
def test_density_at_a_rotamer_or_not(peptide: Callable, chi1: float, good: bool) -> None:
    structure = peptide(SEQUENCE, chi=[(chi1, 180.0, 180.0, 180.0)] * len(SEQUENCE)).structure()
    found = emringer(structure, boxed(structure, gamma(structure), width=0.5))
    peaks = found.columns["emringer_peak"]
    rows = np.array(SCANNED) - 1
    # the label is one step of 5° behind the angle; the map has voxels of 0.5 Å
    off = (peaks[rows] + 5.0 - chi1 + 180.0) % 360.0 - 180.0
    assert np.abs(off).max() <= 15.0
    assert np.isnan(np.delete(peaks, rows)).all()
    scored = sum(compound in SCORED for compound in SEQUENCE)
    score = found.summary["emringer"]
    if good:
        assert score == pytest.approx(
            10 * (scored - scored * 39 / 72) / math.sqrt(scored * 39 / 72 * 33 / 72) / math.sqrt(scored)
        )
        assert found.details["emringer"]["rotamer_ratio"] == 1.0
        assert found.details["emringer"]["residues"] == scored
        assert found.details["emringer"]["chains"] == {"A": pytest.approx(score)}
        assert len(found.curves["emringer"]["threshold"]) == len(found.curves["emringer"]["z"]) > 0
    else:
        assert score is None
        assert found.reasons == {"emringer": "not_applicable"}


def test_moved_model_and_map_give_the_same(peptide: Callable) -> None:
    structure = peptide(SEQUENCE).structure()
    density = boxed(structure, gamma(structure))
    shift = np.array([31.5, -7.0, 200.25])
    moved = Density(density.values * 3.0, density.cell, density.corner + shift)
    first, second = emringer(structure, density), emringer(structure.moved(structure.positions + shift), moved)
    assert second.summary["emringer"] == pytest.approx(first.summary["emringer"])
    np.testing.assert_array_equal(second.columns["emringer_peak"], first.columns["emringer_peak"])


def test_first_conformer_and_first_compound_of_a_place(peptide: Callable) -> None:
    plain = peptide(("ALA", "SER", "LEU", "MET"))
    split = plain.split(lambda site: site.number == 3 and site.name not in ("N", "CA", "C", "O"), letters="CB", shift=0.4)
    structure, reference = split.structure(), plain.structure()
    density = boxed(reference, gamma(reference))
    assert emringer(structure, density).summary == emringer(reference, density).summary
    twin = [site for site in plain.sites if site.number == 2]
    hetero = type(plain)([*plain.sites])
    place = max(k for k, site in enumerate(hetero.sites) if site.number == 2) + 1
    hetero.sites[place:place] = [
        type(site)(site.chain, site.number, "CYS", site.name.replace("OG", "SG"), site.position) for site in twin
    ]
    found = emringer(hetero.structure(), density)
    assert found.details["emringer"]["residues"] == 3
    assert found.summary == emringer(reference, density).summary


def test_side_chains_at_the_edge_and_models_without_any(peptide: Callable) -> None:
    structure = peptide(SEQUENCE).structure()
    density = boxed(structure, gamma(structure))
    half = density.values.shape[0] // 2
    cell = gemmi.UnitCell(half * density.voxel[0], *(density.voxel * density.dims)[1:], 90, 90, 90)
    cut = Density(np.ascontiguousarray(density.values[:half]), cell, density.corner)
    found = emringer(structure, cut)
    assert 0 < found.details["emringer"]["residues"] < sum(compound in SCORED for compound in SEQUENCE)
    away = Density(density.values, density.cell, density.corner + 500.0)
    flat = Density(np.zeros_like(density.values), density.cell, density.corner)
    glycine = peptide(("GLY", "ALA", "GLY")).structure()
    for result in (emringer(structure, away), emringer(structure, flat), emringer(glycine, density)):
        assert result.summary == {"emringer": None}
        assert result.reasons == {"emringer": "not_applicable"}
    assert set(SCORED) <= set(tables.chi_atoms())
