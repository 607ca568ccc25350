from __future__ import annotations

import gemmi
import numpy as np
import pytest

from refinement.maps.chords import chord

STEP = np.array(gemmi.UnitCell(10.0, 12.0, 9.0, 80.0, 95.0, 110.0).orth.mat.tolist()) / np.array([9, 10, 11])


@pytest.mark.parametrize("radius", [0.4, 2.0, 7.5])
def test_chord_holds_all_points_within_the_sphere(radius: float) -> None:
    rng = np.random.default_rng(2)
    t = np.linspace(-20, 20, 4001)
    for x, y in rng.uniform(-radius, radius, (50, 2)):
        points = np.array([x, y, 0.0])[:, None] + STEP[:, 2, None] * t
        inside = (points**2).sum(axis=0) <= radius**2
        low, high = chord(x, y, STEP, radius**2)
        if inside.any():
            assert low <= t[inside].min()
            assert t[inside].max() <= high
        assert inside.sum() == pytest.approx(max(0.0, high - low) / (t[1] - t[0]), abs=1.1)


def test_row_that_passes_by_has_no_chord() -> None:
    assert chord(5.0, 5.0, np.eye(3), 4.0) == (1.0, -1.0)
    assert chord(2.0, 0.0, np.eye(3), 4.0) == pytest.approx((0.0, 0.0), abs=1e-5)
