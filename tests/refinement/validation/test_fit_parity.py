"""Map–model fit against the numbers of an independent program, for the real pairs beside the repository."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from refinement.maps.density import Density, read_map
from refinement.maps.masks import molecular_mask
from refinement.structure import Structure, read_structure
from refinement.validation.atom_inclusion import atom_inclusion
from refinement.validation.correlation import KEYS, correlations
from refinement.validation.emringer import emringer
from refinement.validation.map_statistics import map_statistics
from refinement.validation.qscore import q_scores
from refinement.validation.smoc import smoc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.shared

PAIRS = (
    "mavs_5925", "tmv_6i5a", "tmv_6i5a.published_refined", "spike_ntd_origin", "apof_20026", "hb_5ni1", "7cec_A", "5ly6",
    "5ly6.published_refined", "gsec_5fn5", "hcn4_6gyn",
)  # fmt: skip


class Pair:
    """One pair with the reference numbers."""

    def __init__(self, shared: Path, name: str) -> None:
        listed = json.loads((shared / "oracle" / "pairs.json").read_text())["pairs"]
        entry = next(row for row in listed if row["name"] == name)
        reference = json.loads((shared / "oracle" / "values" / f"{name}.json").read_text())
        self.resolution: float = entry["resolution"]
        self.contour: float | None = entry.get("contour")
        self.structure: Structure = read_structure(shared / "pairs" / entry["model"])
        self.density: Density = read_map(shared / "pairs" / entry["map"])
        self.metrics: dict[str, Any] = reference["metrics"]
        self.extra: dict[str, Any] = reference["extra"]
        self.columns: list[str] = reference["per_residue"]["columns"]
        self.rows = {tuple(row[:4]): row for row in reference["per_residue"]["rows"]}

    def residues(self, column: str) -> np.ndarray:
        """Return a reference column aligned with our residues."""
        table, place = self.structure.residues, self.columns.index(column)
        numbers = map(str, table.number.tolist())
        keys = zip(table.chain.tolist(), numbers, table.insertion.tolist(), table.compound.tolist(), strict=True)
        values = [self.rows[key][place] for key in keys]
        return np.array([np.nan if value is None else value for value in values])


@pytest.fixture(scope="module", params=PAIRS)
def pair(request: pytest.FixtureRequest, shared: Path) -> Iterator[Pair]:
    return Pair(shared, request.param)


def test_correlations(pair: Pair) -> None:
    found = correlations(pair.structure, pair.density, pair.resolution)
    for key in KEYS:
        assert found.summary[key] == pytest.approx(pair.metrics[key], abs=0.01), key
    assert found.summary["cc_mask"] == pytest.approx(pair.metrics["cc_mask"], abs=0.002)
    assert found.radius == pytest.approx(pair.extra["cc_radius"], abs=1e-6)
    reference = pair.residues("cc")
    assert np.abs(found.columns["cc"] - reference).max() < 0.01
    assert np.corrcoef(found.columns["cc"], reference)[0, 1] > 0.9999


def test_q_scores(pair: Pair) -> None:
    found = q_scores(pair.structure, pair.density)
    for key, column in (("q_score", "q"), ("q_score_06", "q06")):
        assert found.summary[key] == pytest.approx(pair.metrics[key], abs=1e-5)
        np.testing.assert_allclose(found.columns[key], pair.residues(column), atol=1e-4)


def test_emringer(pair: Pair) -> None:
    found = emringer(pair.structure, pair.density)
    assert found.summary["emringer"] == pytest.approx(pair.metrics["emringer"], abs=1e-5)
    detail = found.details["emringer"]
    assert detail["residues"] == pair.extra["emringer_residues"]
    for key, reference in (("z", "emringer_z"), ("rotamer_ratio", "emringer_rotameric"), ("threshold", "emringer_threshold")):
        assert detail[key] == pytest.approx(pair.extra[reference], rel=1e-4, abs=1e-6), key
    np.testing.assert_array_equal(found.columns["emringer_peak"], pair.residues("emringer_peak").astype(np.float32))


@pytest.mark.parametrize(
    ("name", "published", "tolerance"),
    [("7cec_A", 0.847, 0.01), ("5ly6", 0.849, 0.02), ("gsec_5fn5", 0.869, 0.02), ("hcn4_6gyn", 0.796, 0.02)],
)
def test_smoc_beside_the_archive(shared: Path, name: str, published: float, tolerance: float) -> None:
    """EMDB's values are for the whole entries; these are masked crops of them, so they can only be near."""
    pair = Pair(shared, name)
    found = smoc(pair.structure, pair.density, pair.resolution)
    assert found.details["smoc"]["mean"] == pytest.approx(published, abs=tolerance)


def test_statistics_and_inclusion(pair: Pair) -> None:
    for key, value in map_statistics(pair.density).summary.items():
        assert value == pytest.approx(pair.metrics[key], rel=1e-5, abs=1e-6), key
    for key, value in atom_inclusion(pair.structure, pair.density, pair.contour).summary.items():
        assert value == (None if pair.metrics[key] is None else pytest.approx(pair.metrics[key], abs=1e-6)), key


def test_placement_by_origin_start_or_neither_is_the_same(shared: Path) -> None:
    results, masks = [], []
    for placed in ("origin", "nstart", "zero"):
        folder = shared / "pairs" / f"spike_ntd_{placed}"
        structure, density = read_structure(folder / "model.pdb"), read_map(folder / "map.map.gz")
        results.append({**correlations(structure, density, 3.2).summary, **q_scores(structure, density).summary})
        masks.append(int(molecular_mask(structure, density).sum()))
    assert results[1] == pytest.approx(results[0], abs=1e-4)
    assert results[2] == pytest.approx(results[0], abs=1e-4)
    assert max(masks) - min(masks) <= 2
