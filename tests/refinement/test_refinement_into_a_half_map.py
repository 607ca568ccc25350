"""Cross-validation: the shake, the filter of the half-map, and a whole run into one half."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from curation.example_model import build_truth
from refinement import run
from refinement.cross_validation import shaken
from refinement.errors import InputError
from refinement.maps.density import Density, write_map
from refinement.maps.fourier import low_pass, reciprocal_metric, squared_frequencies, weighted_like
from refinement.maps.scattering import model_map
from refinement.structure import Structure, from_gemmi

if TYPE_CHECKING:
    from pathlib import Path

RESOLUTION = 3.0


@pytest.fixture(scope="module")
def truth() -> Structure:
    whole = from_gemmi(build_truth())
    residues = whole.residues
    return whole.without(~((residues.chain == "A") & (residues.number <= 30))[whole.residue])


@pytest.fixture(scope="module")
def maps(truth: Structure) -> tuple[Density, Density, Density]:
    """The map and its halves, whose noise has half the strength of the signal."""
    corner = truth.positions.min(axis=0) - 8.0
    dims = np.ceil(truth.positions.max(axis=0) + 8.0 - corner).astype(int)
    empty = Density(np.zeros(dims, dtype=np.float32), gemmi.UnitCell(*dims.astype(float), 90, 90, 90), corner)
    clean = replace(empty, values=model_map(truth, empty, RESOLUTION))
    noise = [np.random.default_rng(seed).normal(scale=0.5 * clean.values.std(), size=dims) for seed in (11, 12)]
    first, second = (replace(clean, values=(clean.values + part).astype(np.float32)) for part in noise)
    full = low_pass(replace(clean, values=(first.values + second.values) / 2), RESOLUTION)
    return full, first, second


def test_the_shake_has_its_length_and_its_seed(truth: Structure) -> None:
    moved = shaken(truth, 0.3, 5)
    shift = np.sqrt(((moved.positions - truth.positions) ** 2).sum(axis=1).mean())
    assert shift == pytest.approx(0.3, rel=0.1)
    np.testing.assert_array_equal(moved.positions, shaken(truth, 0.3, 5).positions)
    assert not np.array_equal(moved.positions, shaken(truth, 0.3, 6).positions)
    assert np.unique(moved.b_iso).size == 1
    np.testing.assert_array_equal(shaken(truth, 0.0, 5).positions, truth.positions)


def test_frequencies_of_an_oblique_cell() -> None:
    cell = gemmi.UnitCell(20, 24, 30, 80, 95, 110)
    squares = squared_frequencies((8, 9, 10), cell)
    metric = reciprocal_metric(cell)
    assert squares.shape == (8, 9, 6)
    for place, index in (((1, 0, 0), (1, 0, 0)), ((7, 2, 3), (-1, 2, 3)), ((3, 8, 5), (3, -1, 5))):
        assert squares[place] == pytest.approx(np.array(index) @ metric @ np.array(index))


def test_the_filter_takes_the_falloff_of_the_primary_map_and_damps_noise(maps: tuple[Density, Density, Density]) -> None:
    full, first, _ = maps
    sharpened = low_pass(full, RESOLUTION, b=-60.0)
    filtered = weighted_like(full, sharpened, RESOLUTION)
    inner = np.corrcoef(filtered.values.ravel(), sharpened.values.ravel())[0, 1]
    assert inner > 0.99 > np.corrcoef(full.values.ravel(), sharpened.values.ravel())[0, 1]
    before = np.corrcoef(first.values.ravel(), full.values.ravel())[0, 1]
    after = np.corrcoef(weighted_like(first, full, RESOLUTION).values.ravel(), full.values.ravel())[0, 1]
    assert after > before + 0.05


def test_a_run_reports_work_and_free(truth: Structure, maps: tuple[Density, Density, Density], tmp_path: Path) -> None:
    names = ("map", "half_1", "half_2")
    for name, density in zip(names, maps, strict=True):
        write_map(tmp_path / f"{name}.mrc", density)
    shaken(truth, 0.1, 1).to_gemmi().make_mmcif_document().write_file(str(tmp_path / "model.cif"))
    given = {"resolution": RESOLUTION, "protocol": "quick", "seed": 2}
    halves = (tmp_path / "half_1.mrc", tmp_path / "half_2.mrc")
    files = (tmp_path / "model.cif", tmp_path / "map.mrc")
    table = run.refine_files(*files, half_maps=halves, cross_validate=True, output=tmp_path / "out", **given)
    refined, initial = table["refined"], table["initial"]
    assert 0.5 < refined["fsc_free"] <= refined["fsc_work"]
    assert refined["fsc_gap"] == pytest.approx(refined["fsc_work"] - refined["fsc_free"])
    assert refined["fsc_gap"] < 0.05
    assert initial["fsc_free"] is None
    assert table["reasons"]["fsc_free"] == "not_cross_validated"
    assert table["settings"]["cross_validate"] is True
    assert "Refined into half-map 1" in (tmp_path / "out" / "log.txt").read_text()
    with pytest.raises(InputError) as caught:
        run.refine_files(*files, cross_validate=True, output=tmp_path / "other", **given)
    assert caught.value.code == "half_maps_missing"
    assert not (tmp_path / "other").exists()
