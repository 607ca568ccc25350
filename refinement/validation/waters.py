"""Waters that may not be waters: those without density and those that clash (metrics §17).

Clashes follow the rules of Prisant et al. 2020, Protein Sci. 29, 315-329: dots on the waters against everything,
other waters included; what a water clashes with says what it may be instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.maps.interpolation import trilinear
from refinement.structure import ResidueKind
from refinement.validation.contacts import find_water_contacts
from refinement.validation.expected_q import expected_class_q

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.structure import Structure
    from refinement.validation.clashscore import ContactModel
    from refinement.validation.contacts import Clashes

NITROGEN, OXYGEN, SULFUR, CARBON = 7, 8, 16, 6
CHARGED_NITROGENS = frozenset({("LYS", "NZ"), ("ARG", "NH1"), ("ARG", "NH2"), ("HIS", "ND1"), ("HIS", "NE2")})
MILD, SEVERE = 0.5, 0.9
"""Overlaps (Å) below and above which a clash is mild and severe."""
FREE_OVERLAP = 0.2
"""Å; waters are ranked by the sum of what their overlaps exceed this."""
Q_MARGIN = 0.2
"""A water with a Q-score (σ 0.6) this much below what is expected has no density."""
DENSITY_FRACTION = 0.25
"""The same where the map at the oxygen, above its mean, is below this fraction of the average over the model."""

SUGGESTIONS = {
    "anion": "May be an anion: it clashes with polar hydrogens or nitrogens only.",
    "cation": "May be a cation: it clashes with oxygen or sulfur only.",
    "ion": "May be an ion: it clashes with polar atoms only.",
    "atom": "May be a missing or displaced atom, an alternate conformation that isn't modelled, or noise.",
    "mixed": "Unlikely to be an ion: it clashes with polar and non-polar atoms. An atom may be displaced, or it is noise.",
    "water": "Two waters too close: alternates with partial occupancy, or a side chain or ligand that isn't modelled.",
    "altloc": "Alternate conformations may have the wrong letters.",
    "other": "Clashes with an atom that isn't C, N, O or S.",
    "density": "The map shows nothing here.",
}
"""Sentence by code."""


@dataclass(frozen=True, slots=True, eq=False)
class Waters:
    """Result.

    Attributes
    ----------
    details : dict[str, dict[str, Any]]
        ``waters``: ``count``, ``with_clashes``, ``percent_with_clashes``, ``without_density`` and ``suspicious``, the
        waters with either fault, worst clashes first. Each has ``chain``, ``number``, ``insertion``, ``compound``,
        ``b_iso`` (Å²), ``occupancy``, ``q_score_06``, ``density`` (over the average of the model), ``without_density``,
        ``severity`` (Σ of overlaps beyond 0.2 Å), ``suggestion`` (codes of `SUGGESTIONS`) and ``contacts``; each contact
        ``chain``, ``number``, ``insertion``, ``compound``, ``atom``, ``overlap`` (Å), ``category`` (polar, nonpolar,
        water, other), ``altloc``, ``severity`` (mild, moderate, severe) and ``toward`` (hydrogen or oxygen side).
    """

    details: dict[str, dict[str, Any]]
    summary: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    columns: dict[str, NDArray[np.float32]] = field(default_factory=dict)


def waters(
    structure: Structure, density: Density, model: ContactModel, *, resolution: float, q_score: NDArray[np.float32] | None = None
) -> Waters:
    """Look through the waters of a model.

    Parameters
    ----------
    structure : Structure
        The model as it is.
    density : Density
        The primary map as deposited.
    model : ContactModel
        The model with hydrogens (`refinement.validation.clashscore.contact_model`).
    resolution : float
        Å.
    q_score : NDArray[float32], shape (n_residues,), optional
        Q-score with σ 0.6 of each residue.
    """
    rows = np.flatnonzero(structure.residues.kind == ResidueKind.WATER)
    if not len(rows):
        return Waters(
            {"waters": {"count": 0, "with_clashes": 0, "percent_with_clashes": None, "without_density": 0, "suspicious": []}}
        )
    level = relative_density(structure, density)[rows]
    q = np.full(len(rows), np.nan) if q_score is None else q_score[rows].astype(np.float64)
    expected = expected_class_q(resolution, "water")
    weak = level < DENSITY_FRACTION
    if expected is not None:
        weak |= q < expected - Q_MARGIN
    found = find_water_contacts(model.structure, model.types, model.bonded)
    contacts = _contacts_by_row(model, found)
    listed = []
    for place in np.flatnonzero(weak | np.isin(rows, list(contacts))).tolist():
        row = int(rows[place])
        own = contacts.get(row, [])
        listed.append(
            {
                **_label(structure, row),
                **_oxygen(structure, row),
                "q_score_06": _number(q[place]),
                "density": _number(level[place]),
                "without_density": bool(weak[place]),
                "severity": round(sum(contact["overlap"] - FREE_OVERLAP for contact in own), 3),
                "suggestion": _suggestions(own, without_density=bool(weak[place])),
                "contacts": own,
            }
        )
    listed.sort(key=lambda water: -water["severity"])
    clashing = len(contacts)
    return Waters(
        {
            "waters": {
                "count": len(rows),
                "with_clashes": clashing,
                "percent_with_clashes": 100.0 * clashing / len(rows),
                "without_density": int(weak.sum()),
                "suspicious": listed,
            }
        }
    )


def relative_density(structure: Structure, density: Density) -> NDArray[np.float64]:
    """Return the map at each residue's strongest atom over its average at the atoms that aren't water, shape (n_residues,).

    Both are above the mean of the map, negative values counted as 0; NaN for residues of hydrogens only.
    """
    heavy = np.flatnonzero(~structure.is_hydrogen)
    height = np.maximum(trilinear(density, structure.positions[heavy]) - density.values.mean(dtype=np.float64), 0.0)
    height[~density.contains(structure.positions[heavy])] = 0.0
    water = structure.residues.kind[structure.residue[heavy]] == ResidueKind.WATER
    reference = float(height[~water].mean()) if (~water).any() else float(height.mean())
    strongest = np.full(len(structure.residues), -1.0)
    np.maximum.at(strongest, structure.residue[heavy], height)
    strongest[strongest < 0.0] = np.nan
    return strongest / reference if reference > 0.0 else np.zeros_like(strongest)


def _contacts_by_row(model: ContactModel, found: Clashes) -> dict[int, list[dict[str, Any]]]:
    """Return the clashes of each water by its residue row, the worst first; both ends of a bond count once."""
    structure = model.structure
    contacts: dict[int, list[dict[str, Any]]] = {}
    for (water, other), overlap in zip(found.pairs.tolist(), found.overlap.tolist(), strict=True):
        row = int(structure.residue[other])
        contact = {
            **_label(structure, row),
            "atom": str(structure.names[other]),
            "overlap": round(overlap, 3),
            "category": category(model, other),
            "altloc": bool(structure.altloc[water] or structure.altloc[other]),
            "severity": "mild" if overlap < MILD else "severe" if overlap > SEVERE else "moderate",
            "toward": "hydrogen"
            if structure.elements[_heavy_end(model, other)] == NITROGEN or structure.elements[other] == 1
            else "oxygen",
        }
        contacts.setdefault(int(structure.residue[water]), []).append(contact)
    return contacts


def _heavy_end(model: ContactModel, atom: int) -> int:
    """Return the atom, or the one that it is bonded to if it is a hydrogen."""
    bonded = model.bonded.of(atom)
    return int(bonded[0]) if model.structure.elements[atom] == 1 and len(bonded) else atom


def category(model: ContactModel, atom: int) -> str:
    """Return what a water meets in an atom: ``water``, ``polar``, ``nonpolar`` or ``other``.

    Polar are O, S, hydrogens on N, O or S, and the nitrogens of Lys, Arg and His side chains that can be charged.
    """
    structure = model.structure
    if model.types.water[atom]:
        return "water"
    heavy = _heavy_end(model, atom)
    element = int(structure.elements[heavy])
    if element in (OXYGEN, SULFUR) or (element == NITROGEN and atom != heavy):
        return "polar"
    if element == NITROGEN:
        named = (str(structure.residues.compound[structure.residue[heavy]]), str(structure.names[heavy]))
        return "polar" if named in CHARGED_NITROGENS else "nonpolar"
    return "nonpolar" if element in (CARBON, 1) else "other"


def _suggestions(contacts: list[dict[str, Any]], *, without_density: bool) -> list[str]:
    """Return the codes of what may be wrong with a water, the likeliest first."""
    found = []
    kinds = {contact["category"] for contact in contacts}
    if {"polar", "nonpolar"} <= kinds:
        found.append("mixed")
    elif "polar" in kinds:
        sides = {contact["toward"] for contact in contacts if contact["category"] == "polar"}
        found.append("ion" if len(sides) > 1 else "anion" if "hydrogen" in sides else "cation")
    elif "nonpolar" in kinds:
        found.append("atom")
    found += [kind for kind in ("water", "other") if kind in kinds]
    if any(contact["altloc"] for contact in contacts):
        found.append("altloc")
    if without_density:
        found.append("density")
    return found


def _label(structure: Structure, row: int) -> dict[str, Any]:
    residues = structure.residues
    return {
        "chain": str(residues.chain[row]),
        "number": int(residues.number[row]),
        "insertion": str(residues.insertion[row]),
        "compound": str(residues.compound[row]),
    }


def _oxygen(structure: Structure, row: int) -> dict[str, float]:
    """Return B and occupancy of the first atom of a water that isn't hydrogen."""
    atoms = np.arange(structure.residues.first[row], structure.residues.first[row + 1])
    heavy = atoms[~structure.is_hydrogen[atoms]]
    atom = int(heavy[0] if len(heavy) else atoms[0])
    return {"b_iso": round(float(structure.b_iso[atom]), 3), "occupancy": round(float(structure.occupancy[atom]), 3)}


def _number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
