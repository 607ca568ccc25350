"""Findings of curation for people: their numbers in words, and what the depositors of an entry can do about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from curation.findings import Code

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST = 12
"""Members of a list that are spelled out."""
LABELS = {"values": "stated value", "dims": "grid points", "voxel": "pixel size (Å)", "corner": "begins at (Å)"}
SIZES = frozenset({"dims", "voxel"})
AUTHORS = "The authors of an entry can do so through OneDep, the deposition system of the wwPDB."
ADVICE: dict[str, str] = {
    Code.NO_MODEL: (
        "Deposit the model in the PDB with this map as its associated map, or have the link added to the entry that lacks it. "
        "A model on hold is taken up in the first run after its release."
    ),
    Code.ENTRY_OBSOLETE: "Look at the entry that replaced this one; pairs that it makes are listed by themselves.",
    Code.EXCLUDED_METHOD: "Nothing need be done if the method is right. If it isn't, have it corrected in the entry.",
    Code.RESOLUTION_MISMATCH: (
        "Find out which value is that of the deposited map, and have the others corrected: the EMDB entry states it for the "
        f"final reconstruction, the PDB entry in em_3d_reconstruction. {AUTHORS}"
    ),
    Code.GRID_MISMATCH: (
        f"Replace the half-maps by ones with the box, the pixel size and the origin of the primary map, unsharpened. {AUTHORS}"
    ),
    Code.BOX_MISMATCH: (
        "Check the pixel size, the origin and the cell of the deposited map, and that the model lies in the frame of this map "
        f"and not in that of a larger or shifted box; then replace the file that is wrong. {AUTHORS}"
    ),
    Code.PROCESSING_ERROR: (
        f"Open the file that is named in a program of your own. If it is damaged there too, replace it. {AUTHORS}"
    ),
    Code.MULTI_MODEL: (
        "One model is refined, not an ensemble. Deposit the one that stands for the map, the others as entries of their own or "
        f"as alternate conformers where they differ. {AUTHORS}"
    ),
    Code.SINGLE_ATOM: (
        "Only models with all atoms are refined. If there is an all-atom model, it can replace the trace in a new version of the "
        f"entry. {AUTHORS}"
    ),
    Code.LOW_RESOLUTION: "Nothing need be done: at this resolution positions of atoms can't be refined against the map.",
}
"""What depositors can do about a finding that refuses their pair."""
ADVICE_ON: dict[str, str] = {
    "compounds": (
        "No description of the compound was found. Check that its identifier is that of the Chemical Component Dictionary; if "
        f"the compound is new, its definition has to be released with the entry. {AUTHORS}"
    ),
    "atoms": f"State the element of every atom in the model file. {AUTHORS}",
}
"""What they can do if a model can't be processed, by what its finding counts."""


def advice_for(code: str, numbers: Mapping[str, Any] | None = None) -> str:
    """Return what the depositors of an entry can do about a finding, "" where there is nothing to be said."""
    if code == Code.PROCESSING_ERROR:
        for name, advice in ADVICE_ON.items():
            if name in (numbers or {}):
                return advice
    return next((advice for known, advice in ADVICE.items() if str(known) == code), "")


def numbers_in_words(numbers: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the numbers of a finding as labels and texts, in their order; what is empty is left out.

    Parameters
    ----------
    numbers : Mapping[str, Any]
        JSON values, of `curation.findings.Finding`.
    """
    rows: list[tuple[str, str]] = []
    for name, value in numbers.items():
        label = _label(name).capitalize()
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            single = len(value) == 1
            rows += [(label if single else f"{label}, {n}", _words(item)) for n, item in enumerate(value[:MOST], start=1)]
            rows += [(label, f"and {len(value) - MOST} more")] if len(value) > MOST else []
        else:
            rows.append((label, _words(value, name)))
    return [(label, text) for label, text in rows if text]


def _label(name: str) -> str:
    return LABELS.get(name, name.replace("_", " "))


def _words(value: Any, name: str = "") -> str:
    if isinstance(value, dict):
        return _record(value)
    if isinstance(value, list | tuple):
        texts = [text for item in value[:MOST] if (text := _words(item))]
        more = [f"{len(value) - MOST} more"] if len(value) > MOST else []
        return (" × " if name in SIZES else ", ").join(texts + more)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


def _record(value: Mapping[str, Any]) -> str:
    """Return the parts of a record; the file that it is about goes in front, the source of a value behind it."""
    if set(value) == {"value", "source"}:
        return f"{_words(value['value'])} ({value['source']})"
    parts = ((_label(name), _words(item, name)) for name, item in value.items() if name != "file")
    text = ", ".join(f"{name} {words}" for name, words in parts if words)
    return f"{value['file']}: {text}" if "file" in value else text
