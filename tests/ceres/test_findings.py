"""Findings as people read them."""

from __future__ import annotations

from typing import Any

import pytest

from ceres.findings import ADVICE, advice_for, numbers_in_words
from curation.findings import GLOSSARY, Code

RULES = ("NO_MODEL", "EXCLUDED_METHOD", "RESOLUTION_MISMATCH", "GRID_MISMATCH", "BOX_MISMATCH", "PROCESSING_ERROR", "MULTI_MODEL",
         "SINGLE_ATOM", "LOW_RESOLUTION")  # fmt: skip


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({}, []),
        ({"fraction_inside": 0.98765432}, [("Fraction inside", "0.987654")]),
        ({"atoms": 1855680, "masked": True, "note": None}, [("Atoms", "1,855,680"), ("Masked", "yes")]),
        ({"methods": ["helical"], "space_group": 19}, [("Methods", "helical"), ("Space group", "19")]),
        (
            {"values": [{"value": 4.0, "source": "map"}, {"value": 6.05, "source": "model"}]},
            [("Stated value, 1", "4 (map)"), ("Stated value, 2", "6.05 (model)")],
        ),
        (
            {"map": {"file": "m.map", "dims": [71, 68, 68], "corner": [30.8, -1.0, 0.0]}},
            [("Map", "m.map: grid points 71 × 68 × 68, begins at (Å) 30.8, -1, 0")],
        ),
        ({"files": [{"file": "a.cif", "code": "model_empty"}]}, [("Files", "a.cif: code model_empty")]),
        ({"compounds": []}, []),
    ],
)
def test_numbers_become_words(numbers: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert numbers_in_words(numbers) == expected


def test_long_lists_are_cut() -> None:
    assert numbers_in_words({"names": list("abcdefghijklmnop")})[0][1].endswith("k, l, 4 more")
    files = [{"file": f"{k}"} for k in range(15)]
    assert numbers_in_words({"files": files})[-1] == ("Files", "and 3 more")


def test_depositors_are_told_what_to_do_by_rule() -> None:
    assert all(advice_for(code) for code in RULES)
    assert advice_for("OUT_OF_MEMORY") == ""
    assert set(ADVICE) <= set(GLOSSARY)
    assert advice_for("GRID_MISMATCH", {"atoms": 3}) == ADVICE[Code.GRID_MISMATCH]
    assert "identifier" in advice_for("PROCESSING_ERROR", {"compounds": ["DRG"]})
    assert "element" in advice_for("PROCESSING_ERROR", {"atoms": 3})
    assert "damaged" in advice_for("PROCESSING_ERROR", {"files": []})
