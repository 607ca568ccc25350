from __future__ import annotations

import gemmi
import numpy as np
import pytest
from scipy import stats

from refinement.maps.density import Density
from refinement.validation.map_statistics import map_statistics
from refinement.validation.registry import BY_KEY

CELL = gemmi.UnitCell(9, 10, 11, 90, 90, 90)


def test_moments_agree_with_scipy() -> None:
    values = np.random.default_rng(0).gamma(2.0, size=(9, 10, 11)).astype(np.float32)
    found = map_statistics(Density(values, CELL, np.zeros(3)))
    flat = values.ravel().astype(float)
    expected = {
        "map_min": flat.min(), "map_max": flat.max(), "map_mean": flat.mean(), "map_sd": flat.std(),
        "map_skewness": stats.skew(flat), "map_kurtosis": stats.kurtosis(flat, fisher=False),
    }  # fmt: skip
    assert found.summary == pytest.approx(expected, rel=1e-9)
    assert not found.reasons
    assert set(expected) <= set(BY_KEY)


def test_constant_map_has_no_shape() -> None:
    found = map_statistics(Density(np.full((3, 4, 5), 1.5, np.float32), CELL, np.zeros(3)))
    assert found.summary["map_sd"] == 0
    assert found.summary["map_skewness"] is None
    assert found.reasons == {"map_skewness": "not_applicable", "map_kurtosis": "not_applicable"}
