"""Q-scores per residue against those that MapQ itself gave for the same files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement.maps.density import read_map
from refinement.structure import read_structure
from refinement.validation.qscore import q_scores

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.shared


def test_residues_agree_with_the_published_list(shared: Path) -> None:
    folder = shared / "pairs" / "7cec_A"
    structure = read_structure(folder / "model.cif")
    found = q_scores(structure, read_map(folder / "map.map.gz")).columns["q_score_06"]
    ours = dict(zip(structure.residues.number.tolist(), found.tolist(), strict=True))
    rows = [line.split("\t") for line in (folder / "published_qscores.txt").read_text().splitlines()]
    listed = {
        int(row[2]): float(row[5]) for row in rows if len(row) > 5 and row[0] == "A" and row[2].strip().isdigit() and row[5]
    }
    pairs = np.array([(ours[number], value) for number, value in listed.items() if number in ours])
    assert len(pairs) == 553
    assert np.corrcoef(pairs.T)[0, 1] > 0.99
    assert abs((pairs[:, 0] - pairs[:, 1]).mean()) < 0.01
