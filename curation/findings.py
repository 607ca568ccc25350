"""What curation finds: a code, how grave it is, a sentence with the numbers in it, and a hint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from curation.plain import plain


class Severity(StrEnum):
    """How grave a finding is: it refuses the pair, warns, or is worth knowing."""

    REFUSE = "refuse"
    WARN = "warn"
    NOTE = "note"


class Code(StrEnum):
    """Names of all findings. Those that refuse a pair come first, in the order in which they decide."""

    NO_MODEL = "NO_MODEL"
    ENTRY_OBSOLETE = "ENTRY_OBSOLETE"
    EXCLUDED_METHOD = "EXCLUDED_METHOD"
    RESOLUTION_MISMATCH = "RESOLUTION_MISMATCH"
    GRID_MISMATCH = "GRID_MISMATCH"
    BOX_MISMATCH = "BOX_MISMATCH"
    PROCESSING_ERROR = "PROCESSING_ERROR"
    MULTI_MODEL = "MULTI_MODEL"
    SINGLE_ATOM = "SINGLE_ATOM"
    LOW_RESOLUTION = "LOW_RESOLUTION"
    RESOLUTION_ROUNDED = "RESOLUTION_ROUNDED"
    ASSEMBLY_LEAVES_BOX = "ASSEMBLY_LEAVES_BOX"
    ASSEMBLY_TOO_LARGE = "ASSEMBLY_TOO_LARGE"
    ATOMS_OUTSIDE_BOX = "ATOMS_OUTSIDE_BOX"
    HALF_MAPS_INCOMPLETE = "HALF_MAPS_INCOMPLETE"
    HALF_MAPS_IDENTICAL = "HALF_MAPS_IDENTICAL"
    HALF_MAPS_SWAPPED = "HALF_MAPS_SWAPPED"
    HAND_SUSPECTED = "HAND_SUSPECTED"
    SCALE_SUSPECTED = "SCALE_SUSPECTED"
    CONTRAST_SUSPECTED = "CONTRAST_SUSPECTED"
    MODEL_OFF_DENSITY = "MODEL_OFF_DENSITY"
    CONTOUR_AMBIGUOUS = "CONTOUR_AMBIGUOUS"
    CONTOUR_OUTSIDE_RANGE = "CONTOUR_OUTSIDE_RANGE"
    METADATA_SKIPPED = "METADATA_SKIPPED"
    ASSEMBLY_GENERATED = "ASSEMBLY_GENERATED"
    LINK_ONE_SIDED = "LINK_ONE_SIDED"
    PLACEHOLDER_CELL = "PLACEHOLDER_CELL"
    CONTOUR_ABSENT = "CONTOUR_ABSENT"
    MAP_MASKED = "MAP_MASKED"
    MAP_COMPOSITE = "MAP_COMPOSITE"
    MAP_DENOISED = "MAP_DENOISED"


GLOSSARY: dict[Code, str] = {
    Code.NO_MODEL: "No released model in the PDB belongs to this map.",
    Code.ENTRY_OBSOLETE: "The map or the model was withdrawn, or another entry has replaced it.",
    Code.EXCLUDED_METHOD: (
        "The map doesn't come from single particles, a helix or subtomogram averaging (for example electron crystallography)."
    ),
    Code.RESOLUTION_MISMATCH: "The model file and the map header give different resolutions, or none of them gives one.",
    Code.GRID_MISMATCH: "A half-map doesn't lie on the same grid as the primary map.",
    Code.BOX_MISMATCH: "The box of the map is absurd, its descriptions disagree, or the model doesn't lie in it.",
    Code.PROCESSING_ERROR: "A file is damaged, or no restraints can be made for a compound of the model.",
    Code.MULTI_MODEL: "The file holds more than one model.",
    Code.SINGLE_ATOM: "More than a quarter of the polymer residues have a single atom (for example Cα traces).",
    Code.LOW_RESOLUTION: "The resolution is worse than 5 Å.",
    Code.RESOLUTION_ROUNDED: "The files' resolutions differ only by rounding; the value of the map header is used.",
    Code.ASSEMBLY_LEAVES_BOX: "Copies of the assembly would lie outside the map, so the model is used as deposited.",
    Code.ASSEMBLY_TOO_LARGE: "The whole assembly has too many atoms, so the model is used as deposited.",
    Code.ATOMS_OUTSIDE_BOX: "Some atoms, at most one in a hundred, lie outside the box of the map.",
    Code.HALF_MAPS_INCOMPLETE: "Half-maps are declared but there aren't two files, so they aren't used.",
    Code.HALF_MAPS_IDENTICAL: "The two half-maps are one and the same, so they say nothing about noise and aren't used.",
    Code.HALF_MAPS_SWAPPED: "A file deposited as a half-map holds the full map, so the half-maps aren't used.",
    Code.HAND_SUSPECTED: "The model fits the mirrored map far better: the map may have the wrong hand.",
    Code.SCALE_SUSPECTED: "The model fits the map better with other grid steps: the pixel size may be wrong.",
    Code.CONTRAST_SUSPECTED: "The map is low where the atoms are: its contrast may be inverted.",
    Code.MODEL_OFF_DENSITY: "The model hardly follows the density of the map; it may be badly placed.",
    Code.CONTOUR_AMBIGUOUS: "The map header gives several primary contour levels; the first is used.",
    Code.CONTOUR_OUTSIDE_RANGE: "No voxel of the map reaches the contour level, or all do, so it isn't used.",
    Code.METADATA_SKIPPED: "A value in the files could not be understood and was left aside.",
    Code.ASSEMBLY_GENERATED: "The file holds the unique part only; symmetry copies were made.",
    Code.LINK_ONE_SIDED: "Only one of the two archives states that this model belongs to this map.",
    Code.PLACEHOLDER_CELL: "The model file gives no cell, as usual for cryo-EM entries, so the cells can't be compared.",
    Code.CONTOUR_ABSENT: "The map header recommends no contour level, so it isn't known which atoms lie inside it.",
    Code.MAP_MASKED: "Most voxels of the primary map share one value, as after masking.",
    Code.MAP_COMPOSITE: "The map was put together from several maps or focused on a part of the particle.",
    Code.MAP_DENOISED: "A program that changes densities by learning or denoising made the primary map.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of curation.

    Attributes
    ----------
    code : Code
        What it is.
    severity : Severity
        Whether it refuses the pair.
    sentence : str
        One sentence for people, with the numbers in it.
    numbers : dict[str, Any]
        The numbers again, for programs; JSON values only.
    hint : str
        What could be done; may be empty.
    """

    code: Code
    severity: Severity
    sentence: str
    numbers: dict[str, Any] = field(default_factory=dict)
    hint: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        row: dict[str, Any] = plain({**asdict(self), "code": str(self.code), "severity": str(self.severity)})
        return row


def refuse(code: Code, sentence: str, numbers: dict[str, Any] | None = None, hint: str = "") -> Finding:
    """Make a finding that refuses the pair."""
    return Finding(code, Severity.REFUSE, sentence, numbers or {}, hint)


def warn(code: Code, sentence: str, numbers: dict[str, Any] | None = None, hint: str = "") -> Finding:
    """Make a finding that lets the pair pass but should be looked at."""
    return Finding(code, Severity.WARN, sentence, numbers or {}, hint)


def note(code: Code, sentence: str, numbers: dict[str, Any] | None = None, hint: str = "") -> Finding:
    """Make a finding that is worth knowing."""
    return Finding(code, Severity.NOTE, sentence, numbers or {}, hint)
