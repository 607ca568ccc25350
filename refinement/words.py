"""What a refinement decided, in words: which state is kept, and what spoke against the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WITHOUT_CYCLES = "the model without cycles"
"""Label of a model that explains the map nearly completely, and is only minimised against the whole map."""
HARMS: dict[str, str] = {
    "clashscore": "more clashes",
    "rotamer_outliers": "more rotamer outliers",
    "rama_outliers": "more Ramachandran outliers",
    "cbeta_deviations": "more Cβ deviations",
    "cis_nonproline": "more cis peptides",
    "twisted_peptides": "more twisted peptides",
    "chirality_outliers": "more chirality outliers",
    "planarity_outliers": "more planes out of plane",
    "bonds_rmsd": "bonds off their targets",
    "angles_rmsd": "angles off their targets",
    "rama_z": "a less normal backbone (Rama-Z)",
}
"""What became worse, for people; keys as `refinement.score.harm` returns them."""


def harm_in_words(harms: Sequence[str]) -> str:
    """Return what became worse as a list for people."""
    return ", ".join(HARMS.get(name, f"worse {name.replace('_', ' ')}") for name in harms)


def verdict(
    kept: str,
    *,
    cycles: int,
    refused: Mapping[str, Sequence[str]],
    worse_fit: Sequence[str],
    cc_before: float,
    cc_after: float,
    borne: Sequence[str] = (),
) -> str:
    """Return what was kept, and why.

    Parameters
    ----------
    kept : str
        Label of the kept state.
    cycles : int
        How many cycles there were.
    refused : mapping
        Cycles that harmed the geometry, and what each made worse.
    worse_fit : sequence of str
        Cycles that were harmless but fitted worse.
    cc_before, cc_after : float
        CC_mask of the input, and of what is kept.
    borne : sequence of str
        What is worse in the kept state, where no cycle was harmless.
    """
    change = f"CC_mask {cc_before:.3f} → {cc_after:.3f}"
    if kept == WITHOUT_CYCLES:
        reason = "it explained the map nearly completely, and the cycles brought nothing better"
        return f"{kept.capitalize()} is kept: {reason}; {change}."
    if not kept.startswith("cycle"):
        where = "rigid motions brought them" if kept == "placed" else "they were"
        outcome = f"{change} with new B factors" if cc_after > cc_before else "nothing fits better"
        return f"No cycle is kept, atoms stay where {where}; {outcome}. {_why_not(refused, worse_fit)}".rstrip()
    if borne:
        drawback = f"it has {harm_in_words(borne)} than the input, a few, as every cycle had, but is much better otherwise"
        return f"{kept.capitalize()} is kept: {drawback}; {change}. {_why_not(refused, worse_fit)}".rstrip()
    good = cycles - len(refused) - len(worse_fit)
    if good == cycles:
        reason = f"it fits best, and none of the {cycles} cycles did harm" if cycles > 1 else "it did no harm"
    elif good == 1:
        reason = f"the only one of {cycles} that neither harms the geometry nor fits worse"
    else:
        reason = f"it fits best of the {good} out of {cycles} that do no harm"
    return f"{kept.capitalize()} is kept: {reason}; {change}. {_why_not(refused, worse_fit)}".rstrip()


def last_verdict(kept: str, *, harms: Sequence[str], cc_before: float, cc_after: float) -> str:
    """Return what is said where the protocol keeps the last state, come what may; `harms` is what became worse."""
    change = f"CC_mask {cc_before:.3f} → {cc_after:.3f}"
    drawback = f" It has {harm_in_words(harms)} than the input." if harms else ""
    return f"{kept.capitalize()} is kept, as this protocol takes the last one; {change}.{drawback}"


def _why_not(refused: Mapping[str, Sequence[str]], worse_fit: Sequence[str]) -> str:
    """Return why cycles weren't kept, those with the same reason together."""
    reasons: dict[str, list[str]] = {}
    for label, harms in refused.items():
        reasons.setdefault(f"{harm_in_words(harms)} than in the input" if harms else "harm", []).append(label)
    if worse_fit:
        reasons["a worse fit"] = list(worse_fit)
    parts = "; ".join(f"{_together(labels)} had {reason}" for reason, labels in reasons.items())
    return f"{parts[0].upper()}{parts[1:]}." if parts else ""


def _together(labels: Sequence[str]) -> str:
    """Return ``cycle 1``, or ``cycles 1, 2 and 5``."""
    numbers = [label.removeprefix("cycle ") for label in labels]
    if len(numbers) == 1:
        return f"cycle {numbers[0]}"
    return f"cycles {', '.join(numbers[:-1])} and {numbers[-1]}"
