"""Resolution metrics against the numbers of an independent program, for the real pairs beside the repository."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement.maps.density import Density, read_map, read_map_header
from refinement.structure import read_structure
from refinement.validation.map_resolution import map_resolution

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.shared

PAIRS = (
    "mavs_5925", "tmv_6i5a", "tmv_6i5a.published_refined", "tmv_6i5a.synthetic_half_maps", "spike_ntd_origin", "apof_20026",
    "hb_5ni1", "7cec_A", "5ly6", "5ly6.published_refined", "gsec_5fn5", "hcn4_6gyn",
)  # fmt: skip
EXTRA = ("d_fsc_model_0", "d_fsc_model_0_masked")


def with_white_noise(density: Density, seed: int, axes: tuple[int, int, int]) -> Density:
    """Return the half-map that the reference numbers were made with: noise as strong as the map, drawn in file order."""
    values = density.values.astype(np.float64)
    half = values.copy()
    in_file_order = half.transpose([axis - 1 for axis in reversed(axes)])
    in_file_order += values.std() * np.random.default_rng(seed).standard_normal(in_file_order.shape)
    return replace(density, values=half.astype(np.float32))


@pytest.mark.parametrize("name", PAIRS)
def test_resolutions(shared: Path, name: str) -> None:
    listed = json.loads((shared / "oracle" / "pairs.json").read_text())["pairs"]
    entry = next(row for row in listed if row["name"] == name)
    reference = json.loads((shared / "oracle" / "values" / f"{name}.json").read_text())
    rules = json.loads((shared / "oracle" / "tolerances.json").read_text())
    path = shared / "pairs" / entry["map"]
    structure, density, axes = read_structure(shared / "pairs" / entry["model"]), read_map(path), read_map_header(path).axes
    seeds = (20260001, 20260002) if entry.get("synthetic_half_maps") else ()
    halves = [with_white_noise(density, seed, axes) for seed in seeds]
    found = map_resolution(structure, density, entry["resolution"], halves)
    for key, value in found.summary.items():
        expected = reference["metrics"][key]
        rule = rules[key]
        limit = max(rule.get("abs", 0.0), rule.get("rel", 0.0) * abs(expected or 0.0)) + 1e-9
        assert value == (None if expected is None else pytest.approx(expected, abs=limit)), key
        assert found.reasons.get(key) == reference["reasons"].get(key), key
    for key in EXTRA:
        assert found.details["map_resolution"][key] == pytest.approx(reference["extra"][key], abs=0.03), key
    for key in ("d_99_half_maps", "d_99_half_maps_masked"):
        assert found.details["map_resolution"].get(key) == (pytest.approx(reference["extra"][key]) if halves else None)


def test_placement_by_origin_start_or_neither_is_the_same(shared: Path) -> None:
    results = []
    for placed in ("origin", "nstart", "zero"):
        folder = shared / "pairs" / f"spike_ntd_{placed}"
        found = map_resolution(read_structure(folder / "model.pdb"), read_map(folder / "map.map.gz"), 3.2)
        results.append({key: value for key, value in found.summary.items() if value is not None})
    assert results[1] == pytest.approx(results[0], abs=2e-3)
    assert results[2] == pytest.approx(results[0], abs=2e-3)
