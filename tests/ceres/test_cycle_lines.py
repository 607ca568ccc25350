"""Lines of the macro-cycles and changes in words."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from ceres.changes import changes_in_words
from ceres.cycles import COLUMNS, GAP, CycleLines, fitting, legend

START: dict[str, Any] = {
    "event": "state", "state": "deposited", "cycle": 0, "cycles": 2, "cc_mask": 0.7, "bonds_rmsd": 0.012, "angles_rmsd": 1.6,
    "clashscore": 20.0, "rama_favored": 95.0, "rama_outliers": 0.5, "rama_z": -1.5, "rotamer_outliers": None,
}  # fmt: skip
CYCLE: dict[str, Any] = START | {
    "state": "cycle 1", "cycle": 1, "cc_mask": 0.8, "clashscore": 25.0, "weight": 11.9, "moves_made": 12, "moves_undone": 3,
    "cycle_seconds": 1.24,
}  # fmt: skip
CHOICE = {"event": "choice", "sentence": "Cycle 1 is kept.", "cc_after": 0.9}


def printed(*events: dict[str, Any], terminal: bool = False, width: int = 100) -> list[str]:
    console = Console(
        file=io.StringIO(), force_terminal=terminal, width=width, highlight=False, color_system="standard" if terminal else None
    )
    lines = CycleLines(console)
    for event in events:
        lines.listen(event)
    return str(console.file.getvalue()).splitlines()  # type: ignore[attr-defined]


def test_every_cycle_has_a_plain_line() -> None:
    shown = printed(START, {"event": "weight", "sentence": "Map weight 11.9."}, CYCLE, CHOICE)
    assert shown[0].startswith("Macro-cycles")
    assert [line.split() for line in shown[1:]] == [
        ["cycle", "CC", "bonds", "angles", "clash", "fav%", "out%", "rama-Z", "rota%", "weight", "moves", "s"],
        ["start", "0.700", "0.0120", "1.60", "20.0", "95.0", "0.50", "-1.50", "–"],
        ["1", "0.800", "0.0120", "1.60", "25.0", "95.0", "0.50", "-1.50", "–", "11.9", "12", "(−3)", "1.2"],
        ["B", "fit", "0.900"],
    ]
    ends = {line.index(word) + len(word) for line, word in zip(shown[1:4], ("CC", "0.700", "0.800"), strict=True)}
    assert len(ends) == 1  # the numbers stand below their heads
    assert not any("\x1b" in line or line != line.rstrip() for line in shown)


def test_on_a_terminal_better_is_green_and_worse_is_red() -> None:
    start, cycle = printed(START, CYCLE, terminal=True)[-2:]
    assert "\x1b[3" not in start
    assert "\x1b[32m0.800\x1b[0m" in cycle
    assert "\x1b[31m 25.0\x1b[0m" in cycle
    assert "\x1b[32m 95.0" not in cycle  # the same as before


def test_sentences_stand_between_the_cycles_and_a_second_part_has_its_own_head() -> None:
    settled = {"event": "settled", "sentence": "Cycle 1 moved atoms by 0.0010 Å: the model has settled."}
    shown = printed(START, CYCLE, settled, START | {"part": "half-map 1"}, CYCLE | {"part": "half-map 1"})
    assert settled["sentence"] in shown
    assert shown.index("Refinement into half-map 1") == shown.index(settled["sentence"]) + 1
    assert sum(line.startswith("cycle") for line in shown) == 2


@pytest.mark.parametrize("width", [30, 60, 80, 100])
def test_lines_fit_the_terminal(width: int) -> None:
    columns = fitting(COLUMNS, width)
    assert sum(column.width + GAP for column in columns) - GAP <= width
    assert {"cycle", "cc_mask", "clashscore", "rotamer_outliers"} <= {column.key for column in columns}
    assert (columns == COLUMNS) == (width == 100)
    assert ("map weight" in legend(columns)) == (width >= 80)
    assert "clashscore" in legend(columns)


def test_changes_are_counted_and_the_first_are_named() -> None:
    residue = {"chain": "A", "number": 12, "compound": "LYS"}
    changes = {
        "counts": {"rotamers": 3, "peptides": 0, "moved": 1, "fit_better": 0, "fit_worse": 1},
        "rotamers": [{**residue, "from": "mttt", "to": "ptmt"}, {**residue, "insertion": "B", "from": "", "to": "m"}, residue],
        "moved": [{**residue, "shift": 1.75}],
        "fit_worse": [{**residue, "from": 0.61, "to": 0.42}],
    }
    assert list(changes_in_words(changes, few=2)) == [
        "3 side chains changed rotamer: A/12 LYS mttt→ptmt, A/12B LYS –→m and 1 more in changes.json.",
        "1 residue moved by more than 1 Å: A/12 LYS 1.8 Å.",
        "1 residue fits worse: A/12 LYS Q 0.61→0.42.",
    ]
