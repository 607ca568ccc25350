"""What the voxels say: half-maps that are none, masks, and maps with the wrong hand, scale or contrast."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
import pytest
from scipy import ndimage

from curation.archive import Archive
from curation.curate import Curated, curate
from curation.facts import PairFacts
from curation.identifiers import Pair, parse_pair
from curation.map_checks import scale_is_right
from curation.voxels import compare_half_maps, fit_facts, primary_facts, sample_voxels
from refinement.maps.density import Density, write_map
from refinement.structure import Structure, from_gemmi

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DIMS = (64, 60, 56)
VOXEL = 1.25
RESOLUTION = 3.0
MIDDLE = np.array([43.0, 35.0, 33.0])


@pytest.fixture(scope="module")
def globule() -> Structure:
    """Residues scattered evenly in a ball, so that no axis and no part is special."""
    rng = np.random.default_rng(3)
    source, model, chain = gemmi.Structure(), gemmi.Model(1), gemmi.Chain("A")
    places = rng.uniform(-24, 24, size=(3000, 3))
    places = places[np.linalg.norm(places * [1, 1.2, 0.9], axis=1) < 24][:900]
    for number, place in enumerate(places):
        residue = gemmi.Residue()
        residue.name, residue.seqid = "ALA", gemmi.SeqId(number + 1, " ")
        atom = gemmi.Atom()
        atom.name, atom.element = "CA", gemmi.Element("C")
        atom.pos = gemmi.Position(*(place + MIDDLE))
        residue.add_atom(atom)
        chain.add_residue(residue)
    model.add_chain(chain)
    source.add_model(model)
    return from_gemmi(source)


def map_of(structure: Structure, *, noise: float = 0.02, seed: int = 0) -> Density:
    """Return point atoms on the grid, smoothed to about 3 Å, with noise."""
    values = np.zeros(DIMS)
    np.add.at(values, tuple(np.round(structure.positions / VOXEL).astype(int).T), 1.0)
    values = ndimage.gaussian_filter(values, 0.7 / VOXEL) + np.random.default_rng(seed).normal(scale=noise, size=DIMS)
    cell = gemmi.UnitCell(*(VOXEL * n for n in DIMS), 90, 90, 90)
    return Density(values.astype(np.float32), cell, np.zeros(3))


def with_step(density: Density, factor: float) -> Density:
    """Return the same voxels with other grid steps."""
    a, b, c = (factor * edge for edge in density.cell.parameters[:3])
    return replace(density, cell=gemmi.UnitCell(a, b, c, 90, 90, 90), corner=density.corner * factor)


def test_right_map_is_not_suspected(globule: Structure) -> None:
    fit = fit_facts(map_of(globule), globule, RESOLUTION)
    assert fit is not None
    assert fit.correlation > 0.5
    assert fit.scaled - fit.correlation < 0.01
    assert fit.mirrored < 0.2


@pytest.mark.parametrize("factor", [0.95, 0.97, 1.03, 1.05])
def test_wrong_scale_is_found(globule: Structure, factor: float) -> None:
    fit = fit_facts(with_step(map_of(globule), factor), globule, RESOLUTION)
    assert fit is not None
    assert fit.scale * factor == pytest.approx(1, abs=0.011)
    assert fit.scaled > fit.correlation + 0.1


def test_wrong_scale_is_found_where_the_model_kept_its_middle(globule: Structure) -> None:
    density = with_step(map_of(globule), 1.04)
    middle = globule.positions.mean(axis=0)
    fit = fit_facts(replace(density, corner=middle - 1.04 * middle), globule, RESOLUTION)
    assert fit is not None
    assert fit.scale * 1.04 == pytest.approx(1, abs=0.011)
    assert fit.scaled > fit.correlation + 0.1


def test_a_shift_of_a_small_model_is_no_scale(globule: Structure) -> None:
    small = globule.without(np.linalg.norm(globule.positions - MIDDLE, axis=1) > 14)
    density = map_of(globule)
    shifted = replace(density, corner=np.array([0.9, 0.7, 0.5]))
    voxels = primary_facts(shifted, small, RESOLUTION)
    assert voxels.fit is not None
    assert voxels.fit.scaled > voxels.fit.correlation
    assert scale_is_right(PairFacts(Pair("EMD-0042", "9zaa"), voxels=voxels), strict=False) is None


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("about_point", [False, True])
def test_wrong_hand_is_found(globule: Structure, axis: int, about_point: bool) -> None:
    density = map_of(globule)
    values = np.flip(density.values, axis)
    turned = replace(density, values=np.ascontiguousarray(np.roll(values, 1, axis) if about_point else values))
    fit = fit_facts(turned, globule, RESOLUTION)
    assert fit is not None
    assert fit.mirror == "xyz"[axis]
    assert fit.mirrored > fit.correlation + 0.3


def test_atoms_outside_and_too_few_atoms(globule: Structure) -> None:
    density = map_of(globule)
    away = globule.moved(np.where(np.arange(len(globule))[:, None] < 300, 1e30, globule.positions))
    fit = fit_facts(density, away, RESOLUTION)
    assert fit is not None
    assert fit.correlation > 0.4
    assert fit_facts(density, globule.moved(globule.positions + 1e4), RESOLUTION) is None


def test_statistics_and_mask(globule: Structure) -> None:
    density = map_of(globule)
    near = np.linalg.norm(np.indices(DIMS).transpose(1, 2, 3, 0) * VOXEL - MIDDLE, axis=-1) < 26
    masked = replace(density, values=np.where(near, density.values, np.float32(0.25)))
    facts = primary_facts(masked, globule, RESOLUTION)
    assert facts.commonest == pytest.approx(1 - near.mean(), abs=1e-3)
    assert (facts.minimum, facts.maximum) == (masked.values.min(), masked.values.max())
    assert facts.mean == pytest.approx(masked.values.mean(), rel=1e-4)
    assert facts.sd == pytest.approx(masked.values.std(), rel=1e-4)
    assert primary_facts(density, None, None).commonest < 0.01


def test_sample_of_a_large_map_is_even() -> None:
    values = np.broadcast_to(np.arange(200, dtype=np.float32), (150, 170, 200)).copy()
    sample = sample_voxels(Density(values, gemmi.UnitCell(150, 170, 200, 90, 90, 90), np.zeros(3)))
    assert 0.5e6 < sample.size < 2e6
    assert np.bincount(sample.astype(int), minlength=200).min() > 0.9 * sample.size / 200


@pytest.fixture(scope="module")
def halves() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    truth = rng.normal(size=20_000).astype(np.float32)
    first, second = (truth + rng.normal(size=truth.size).astype(np.float32) for _ in range(2))
    return (first + second) / 2, first, second


def test_half_maps_compared(halves: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    full, first, second = halves
    names = ("h1", "h2")
    good = compare_half_maps(full, (first, second), names)
    assert good is not None
    assert good.usable
    assert good.between == pytest.approx(0.5, abs=0.05)
    same = compare_half_maps(full, (first, 2 * first), names)
    assert same is not None
    assert (same.identical, same.usable) == (True, False)
    for primary, pair, full_name in (
        (full, (first, full), "h2"),
        (full, (3 * full, second), "h1"),
        (second, (first, full), "h2"),
        (first, (full, second), "h1"),
    ):
        swapped = compare_half_maps(primary, pair, names)
        assert swapped is not None
        assert (swapped.full, swapped.usable) == (full_name, False)
    sharpened = compare_half_maps(full**3, (first, second), names)
    assert sharpened is not None
    assert sharpened.usable
    assert compare_half_maps(full[:10], (first, second), names) is None


@pytest.fixture
def curate_with(tiny: Any, make_density: Callable[..., Density], tmp_path: Path) -> Callable[..., Curated]:
    """Curation of the tiny pair with the files of some maps replaced."""
    key = tiny.add("9zaa", "0042", half_maps=True)
    other = tiny.map_file("0042").parent.parent / "other"

    def run(**maps: Density) -> Curated:
        paths = {"primary": tiny.map_file("0042"), **{f"half_{k}": other / f"emd_0042_half_map_{k}.map.gz" for k in (1, 2)}}
        for name, density in maps.items():
            write_map(paths[name], density)
        return curate(parse_pair(key), Archive(tiny.root), tmp_path / "work")

    return run


def test_half_maps_that_are_none_are_not_used(curate_with: Callable[..., Curated], make_density: Callable[..., Density]) -> None:
    good = curate_with()
    assert len(good.half_map_paths) == 2
    assert good.facts["half_maps_present"]
    for maps, code in (
        ({"half_1": make_density(3)}, "HALF_MAPS_IDENTICAL"),
        ({"half_1": make_density(1), "half_2": make_density(7)}, "HALF_MAPS_SWAPPED"),
    ):
        result = curate_with(**maps)
        assert code in [str(finding.code) for finding in result.findings]
        assert (result.passed, result.half_map_paths, result.facts["half_maps_present"]) == (True, (), False)
