"""Half-maps: the shake, what a refinement sees of them, what they bring to it, and a whole run into one half."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
import pytest

from curation.example_model import build_truth
from refinement import run
from refinement.cross_validation import refine_into_half, shaken
from refinement.errors import InputError
from refinement.maps.density import Density, write_map
from refinement.maps.fourier import low_pass, reciprocal_metric, squared_frequencies
from refinement.maps.scattering import model_map
from refinement.noise import refine_with_half_maps
from refinement.output import RunLog
from refinement.restraints.library import load_monomer_library
from refinement.settings import MOST_NOISE, settings_for
from refinement.structure import Structure, from_gemmi
from refinement.validation.cross_validation import cross_validate

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


def test_the_second_half_is_never_looked_at(
    truth: Structure, maps: tuple[Density, Density, Density], monkeypatch: pytest.MonkeyPatch
) -> None:
    full, first, second = maps
    noise = replace(second, values=np.random.default_rng(3).normal(size=second.dims).astype(np.float32))
    refined: list[Structure] = []

    def noting(model: Structure, *others: Any) -> Any:
        refined.append(model)
        return cross_validate(model, *others)

    monkeypatch.setattr("refinement.cross_validation.cross_validate", noting)
    library = load_monomer_library(np.unique(truth.residues.compound).tolist(), [])
    given: dict[str, Any] = {"resolution": RESOLUTION, "library": library, "settings": settings_for("quick"), "threads": 1}
    given |= {"seed": 2, "progress": lambda _doing, _fraction: None}
    found = [refine_into_half(truth, full, first, other, log=RunLog(), **given).summary for other in (second, noise)]
    with_second, _, with_noise, _ = refined  # each is followed by the deposited model
    assert np.array_equal(with_second.positions, with_noise.positions)
    assert np.array_equal(with_second.b_iso, with_noise.b_iso)
    assert found[0]["fsc_work"] == found[1]["fsc_work"]
    assert found[0]["fsc_free"] > 0.5 > 0.2 > found[1]["fsc_free"]


def test_nothing_is_held_where_there_is_no_noise_or_it_is_not_asked_for() -> None:
    settings = settings_for("default")
    assert settings.against(0.0, 0.5, 0.1) is settings
    off = settings.model_copy(update={"noise_weighting": False})
    assert off.against(1.0, 0.5, 0.1) is off
    held = settings.against(2.0, 0.5, 0.1)
    assert held.start_stiffness == 2.0 * settings.noise_stiffness
    assert held.start_hold == 2.0 * settings.noise_hold
    assert held.side_chain_doubt == 0.5 * settings.noise_doubt
    assert held.b_noise == 0.1
    assert settings.against(50.0, 0.5, 0.1).start_hold == MOST_NOISE * settings.noise_hold


def test_a_noisy_map_is_refined_better_with_its_half_maps(truth: Structure, maps: tuple[Density, Density, Density]) -> None:
    clean = maps[0]
    rng = np.random.default_rng(17)
    halves = [
        replace(clean, values=(clean.values + 4.0 * clean.values.std() * rng.normal(size=clean.dims)).astype(np.float32))
        for _ in range(2)
    ]
    primary = replace(clean, values=0.5 * (halves[0].values + halves[1].values))
    library = load_monomer_library(np.unique(truth.residues.compound).tolist(), [])
    given: dict[str, Any] = {"resolution": RESOLUTION, "library": library, "settings": settings_for("quick"), "threads": 1}
    given |= {"log": RunLog(), "progress": lambda _doing, _fraction: None}
    start = shaken(truth, 0.3, 4)
    weighted = refine_with_half_maps(start, primary, halves, **given)
    raw = refine_with_half_maps(start, primary, [], **given)
    assert weighted.record["half_maps"]["noise_weighted"] is True
    assert "half_maps" not in raw.record
    off = [float(np.sqrt(((model.structure.positions - truth.positions) ** 2).sum(axis=1).mean())) for model in (weighted, raw)]
    assert off[0] < 0.9 * off[1]


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
    assert table["timings_s"]["refined cross-validation"] > 0.0
    assert set(table["refinement"]["half_maps"]) == {"noise_weighted", "reason", "signal"}
    assert table["refinement"]["half_maps"]["reason"] in (tmp_path / "out" / "log.txt").read_text()
    assert "Refined into half-map 1" in (tmp_path / "out" / "log.txt").read_text()
    with pytest.raises(InputError) as caught:
        run.refine_files(*files, cross_validate=True, output=tmp_path / "other", **given)
    assert caught.value.code == "half_maps_missing"
    assert not (tmp_path / "other").exists()
