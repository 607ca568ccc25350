"""The macro-cycles of a refinement, one line each while it goes on: coloured on a terminal, plain elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

from refinement.validation.registry import BY_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rich.console import Console

COLOURS = {"better": "green", "worse": "red"}
GAP = 2
B_FIT = "B fit"
"""What the line after the cycles is called."""
NOTED = ("placement", "separated", "restraints", "outside", "undone", "settled", "half_maps", "primary", "cross_validation")
"""Events that are shown as sentences between the cycles."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table.

    Attributes
    ----------
    key : str
        Name of the number in the event.
    title : str
        Head of the column.
    width : int
        Characters.
    digits : int
        Digits after the point.
    about : str
        What the column holds, for the legend; "" where the title says it.
    dispensable : int
        The higher, the sooner the column is left out on a narrow terminal; 0 never is.
    """

    key: str
    title: str
    width: int
    digits: int
    about: str = ""
    dispensable: int = 0


COLUMNS: tuple[Column, ...] = (
    Column("cycle", "cycle", 5, 0),
    Column("cc_mask", "CC", 5, 3, "CC mask with the B factors of the input"),
    Column("bonds_rmsd", "bonds", 6, 4, "deviations of bonds (Å)", 3),
    Column("angles_rmsd", "angles", 6, 2, "of angles (°)", 4),
    Column("clashscore", "clash", 5, 1, "clashscore"),
    Column("rama_favored", "fav%", 5, 1, "Ramachandran favoured", 1),
    Column("rama_outliers", "out%", 5, 2, "and outliers", 2),
    Column("rama_z", "rama-Z", 6, 2, "Rama-Z", 7),
    Column("rotamer_outliers", "rota%", 5, 2, "rotamer outliers"),
    Column("weight", "weight", 6, 1, "map weight", 6),
    Column("moves", "moves", 7, 0, "moves made (and undone)", 5),
    Column("cycle_seconds", "s", 5, 1, "seconds", 1),
)


class CycleLines:
    """Listens to the events of a run and prints what people want to see of them.

    Parameters
    ----------
    console : Console
        Where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        width = console.width if console.is_terminal else None
        self._columns = COLUMNS if width is None else fitting(COLUMNS, width)
        self._part: str | None = None
        self._start: Mapping[str, Any] = {}

    def listen(self, event: Mapping[str, Any]) -> None:
        """Take an event of the log."""
        show: dict[str, Callable[[Mapping[str, Any]], None]] = {"state": self._state, "choice": self._choice}
        show |= dict.fromkeys(NOTED, self._note)
        if event["event"] in show:
            show[event["event"]](event)

    def _state(self, event: Mapping[str, Any]) -> None:
        part = event.get("part", "")
        if part != self._part:
            self._part = part
            self._heading(f"Refinement into {part}" if part else legend(self._columns))
        if event.get("cycle") == 0:
            self._start = event
        self._print(self._line(event))

    def _choice(self, event: Mapping[str, Any]) -> None:
        """Show what the new B factors of the kept state gained."""
        self._print(self._line({"cycle": B_FIT, "cc_mask": event["cc_after"]}))

    def _heading(self, sentence: str) -> None:
        self._console.print(Text(sentence, style="dim"), soft_wrap=not self._console.is_terminal)
        titles = (f"{column.title:>{column.width}}" for column in self._columns)
        self._print(Text((" " * GAP).join(titles), style="bold"))

    def _line(self, event: Mapping[str, Any]) -> Text:
        line = Text()
        for number, column in enumerate(self._columns):
            line.append(" " * GAP if number else "")
            line.append(f"{cell(event, column):>{column.width}}", style=self._style(event, column.key))
        return line

    def _style(self, event: Mapping[str, Any], key: str) -> str:
        if event.get("cycle") == 0 or key not in BY_KEY:
            return ""
        return COLOURS.get(BY_KEY[key].compare(self._start.get(key), event.get(key)), "")

    def _note(self, event: Mapping[str, Any]) -> None:
        self._console.print(Text(str(event["sentence"]), style="dim"), soft_wrap=not self._console.is_terminal)

    def _print(self, line: Text) -> None:
        line.rstrip()
        self._console.print(line, no_wrap=True, overflow="ignore", crop=False)


def cell(event: Mapping[str, Any], column: Column) -> str:
    """Return what stands in a column."""
    if column.key == "cycle":
        number = event.get("cycle", event.get("state", ""))
        return "start" if number == 0 else str(number)
    if column.key == "moves":
        made, undone = event.get("moves_made", ""), event.get("moves_undone", 0)
        return f"{made} (−{undone})" if undone else f"{made}"
    if column.key not in event:
        return ""
    value = event[column.key]
    return "–" if value is None else f"{value:.{column.digits}f}"


def legend(columns: tuple[Column, ...]) -> str:
    """Return what the columns hold."""
    return f"Macro-cycles: {', '.join(column.about for column in columns if column.about)}."


def fitting(columns: tuple[Column, ...], width: int) -> tuple[Column, ...]:
    """Return the columns that a line of `width` characters has room for, the most dispensable ones left out first."""
    kept = list(columns)
    while sum(column.width + GAP for column in kept) - GAP > width:
        least = max(kept, key=lambda column: column.dispensable)
        if not least.dispensable:
            break
        kept.remove(least)
    return tuple(kept)
