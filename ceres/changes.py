"""What a refinement changed, in words: how many, and the first few by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FEW = 6
"""Changes of each kind that are named on the terminal."""

KINDS: dict[str, tuple[str, str]] = {
    "rotamers": ("side chain changed rotamer", "side chains changed rotamer"),
    "peptides": ("peptide was flipped", "peptides were flipped"),
    "moved": ("residue moved by more than 1 Å", "residues moved by more than 1 Å"),
    "fit_better": ("residue fits better", "residues fit better"),
    "fit_worse": ("residue fits worse", "residues fit worse"),
}
"""Kinds of changes, for one and for several; keys as in changes.json."""


def changes_in_words(changes: Mapping[str, Any], few: int = FEW) -> Iterator[str]:
    """Yield a line for each kind of change that happened.

    Parameters
    ----------
    changes : mapping
        ``counts`` and the changes of each kind, as in table_one.json.
    few : int
        So many of each kind are named.
    """
    for kind, (one, several) in KINDS.items():
        count = changes["counts"].get(kind, 0)
        if not count:
            continue
        named = [described(kind, change) for change in changes[kind][:few]]
        rest = f" and {count - len(named)} more in changes.json" if count > len(named) else ""
        yield f"{count} {one if count == 1 else several}: {', '.join(named)}{rest}."


def described(kind: str, change: Mapping[str, Any]) -> str:
    """Return a change such as ``A/12 LYS mttt→ptmt``."""
    residue = f"{change['chain']}/{change['number']}{change.get('insertion', '')} {change['compound']}"
    if kind == "moved":
        return f"{residue} {change['shift']:.1f} Å"
    if kind in {"fit_better", "fit_worse"}:
        return f"{residue} Q {change['from']:.2f}→{change['to']:.2f}"
    if kind == "rotamers":
        return f"{residue} {change['from'] or '–'}→{change['to'] or '–'}"
    return residue
