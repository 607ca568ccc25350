"""The verdict on a refinement, in words."""

from __future__ import annotations

import pytest

from refinement.score import COUNTED
from refinement.words import HARMS, WITHOUT_CYCLES, last_verdict, verdict


@pytest.mark.parametrize(
    ("kept", "cycles", "refused", "worse_fit", "words"),
    [
        ("cycle 5", 5, {}, [], "Cycle 5 is kept: it fits best, and none of the 5 cycles did harm; CC_mask 0.700 → 0.812."),
        (
            WITHOUT_CYCLES,
            1,
            {},
            [],
            "The model without cycles is kept: it explained the map nearly completely, and the cycles brought nothing better; "
            "CC_mask 0.700 → 0.812.",
        ),
        ("cycle 1", 1, {}, [], "Cycle 1 is kept: it did no harm; CC_mask 0.700 → 0.812."),
        (
            "cycle 3",
            5,
            {"cycle 1": ["clashscore", "rama_outliers"], "cycle 2": ["clashscore", "rama_outliers"]},
            [],
            "Cycle 3 is kept: it fits best of the 3 out of 5 that do no harm; CC_mask 0.700 → 0.812. "
            "Cycles 1 and 2 had more clashes, more Ramachandran outliers than in the input.",
        ),
        (
            "cycle 3",
            3,
            {"cycle 1": ["clashscore"]},
            ["cycle 2"],
            "Cycle 3 is kept: the only one of 3 that neither harms the geometry nor fits worse; CC_mask 0.700 → 0.812. "
            "Cycle 1 had more clashes than in the input; cycle 2 had a worse fit.",
        ),
        (
            "deposited",
            2,
            {"cycle 1": ["cbeta_deviations"], "cycle 2": ["something_new"]},
            [],
            "No cycle is kept, atoms stay where they were; CC_mask 0.700 → 0.812 with new B factors. "
            "Cycle 1 had more Cβ deviations than in the input; cycle 2 had worse something new than in the input.",
        ),
    ],
)
def test_verdicts(kept: str, cycles: int, refused: dict[str, list[str]], worse_fit: list[str], words: str) -> None:
    assert verdict(kept, cycles=cycles, refused=refused, worse_fit=worse_fit, cc_before=0.7, cc_after=0.812) == words


def test_an_unmoved_model_without_new_b_factors() -> None:
    said = verdict("placed", cycles=1, refused={}, worse_fit=["cycle 1"], cc_before=0.7, cc_after=0.7)
    assert said == "No cycle is kept, atoms stay where rigid motions brought them; nothing fits better. Cycle 1 had a worse fit."


def test_a_protocol_that_takes_the_last_cycle() -> None:
    said = last_verdict("cycle 9", harms=["clashscore", "rama_outliers"], cc_before=0.7, cc_after=0.65)
    assert said == (
        "Cycle 9 is kept, as this protocol takes the last one; CC_mask 0.700 → 0.650. "
        "It has more clashes, more Ramachandran outliers than the input."
    )
    assert last_verdict("cycle 9", harms=[], cc_before=0.7, cc_after=0.8).endswith("0.800.")


def test_every_harm_has_a_name() -> None:
    assert set(COUNTED) <= set(HARMS)
