"""Whether copies are refined as one, held alike, or left alone, and why.

Copies are one where nothing in the map could tell them apart: the density around them is the same but for interpolation
at all resolutions, because symmetry was imposed in the reconstruction. Where the map is too coarse to show differences
(worse than 4.5 Å), the correlation that a symmetry search asks for is enough. Otherwise the map has a measurement of its
own for each copy: they are only held alike in their torsions, and only where they are alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.maps.fourier import flattened
from refinement.maps.interpolation import prepare
from refinement.maps.symmetry import agreement, local_agreement
from refinement.maps.symmetry_search import LIMIT, find_symmetry
from refinement.symmetry.constraints import Symmetry, symmetry_of
from refinement.symmetry.copies import find_copies, subgroup
from refinement.symmetry.matching import with_equivalent_names
from refinement.symmetry.operator_fit import fitted_operators

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.maps.density import Density
    from refinement.maps.interpolation import InterpolatedMap
    from refinement.operators import Operators
    from refinement.settings import Settings
    from refinement.structure import Structure
    from refinement.symmetry.copies import Copies

    Floats = NDArray[np.float64]

DIFFERS, UNLIKE = 1.0, 0.5
"""Å rms, and correlation of the density: a residue that differs by more in the model, and of which the map agrees less,
is really different."""
FEW = 0.2
"""Copies of which a larger part of the residues really differs aren't refined as one."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done with copies.

    Attributes
    ----------
    mode : str
        ``constraints``, ``restraints`` or ``off``.
    symmetry : Symmetry or None
        Of the whole model, for constraints.
    exact : bool
        The operators were given and stay as they are.
    reason : str
        A sentence.
    record : dict
        The evidence, for table_one.json.
    """

    mode: str
    symmetry: Symmetry | None
    exact: bool
    reason: str
    record: dict[str, Any] = field(default_factory=dict)


def decide(
    structure: Structure,
    density: Density,
    interpolated: InterpolatedMap,
    *,
    resolution: float,
    settings: Settings,
    given: Operators | None = None,
) -> Decision:
    """Look for copies, ask the map, and decide.

    Parameters
    ----------
    structure : Structure
        The whole model without hydrogens, equivalent atoms named by convention.
    density, interpolated : Density, InterpolatedMap
        The map; the former is searched for symmetry where the copies' operators aren't found in it.
    resolution : float
        Å.
    settings : Settings
        ``ncs`` and ``ncs_agreement`` are used.
    given : Operators, optional
        Exact operators of the assembly.
    """
    if settings.ncs == "off":
        return _decided("off", "Copies were not looked for: switched off.")
    found = find_copies(structure, given)
    if not found:
        return _decided("off", "No chain occurs twice.")
    names = "; ".join(_described(copies) for copies in found)
    if settings.ncs == "restraints":
        return _decided("restraints", f"{names}: held alike in their torsions, as asked for.", found)
    found = [_fitted(structure, interpolated, copies) for copies in found]
    tested, needed = _test(density, interpolated, resolution, settings)
    cc = [agreement(tested, copies.operators, structure.positions[copies.atoms[:, 0]]) for copies in found]
    kept, scores = _confirmed(structure, tested, found, cc, needed)
    evidence = f"the map agrees with correlations from {min(map(float, map(np.min, cc))):.3f}"
    if not kept:
        elsewhere = [{"name": symmetry.name, "correlation": symmetry.correlation} for symmetry in find_symmetry(density)]
        reason = f"{names}: {evidence}, less than the {needed:.2f} that would make them one; held alike in their torsions."
        return _decided("restraints", reason, found, cc, map_symmetry=elsewhere)
    kept, different = _without_differences(structure, interpolated, kept)
    if different > FEW and settings.ncs != "constraints":
        reason = f"{names}: {evidence}, but {100 * different:.0f} % of the residues differ; held alike in their torsions."
        return _decided("restraints", reason, found, cc)
    part = "" if len(kept) == len(found) and len(kept[0]) == len(found[0]) else f" Confirmed: {'; '.join(map(_described, kept))}."
    reason = f"{names}: {evidence}; refined as one.{part}"
    decision = _decided("constraints", reason, kept, scores, residues_apart=different)
    return replace(decision, symmetry=symmetry_of(len(structure), kept), exact=all(copies.exact for copies in kept))


def _test(
    density: Density, interpolated: InterpolatedMap, resolution: float, settings: Settings
) -> tuple[InterpolatedMap, float]:
    """Return the map in which copies are compared, and the correlation that they need.

    In a map as it is the low resolution may weigh so much that everything agrees; only where that is all there is, it decides.
    """
    if settings.ncs == "constraints":
        return interpolated, -1.0
    if resolution > settings.ncs_resolution:
        return interpolated, LIMIT
    return prepare(flattened(density, resolution)), settings.ncs_agreement


def _fitted(structure: Structure, density: InterpolatedMap, copies: Copies) -> Copies:
    """Return the copies with operators fitted to the map, unless they are exact."""
    if copies.exact:
        return copies
    symmetry = symmetry_of(len(structure), [copies])
    weights = structure.elements * structure.occupancy
    operators, _ = fitted_operators(density, symmetry.imposed(structure.positions), weights, symmetry)
    return copies.moved(operators, structure)


def _confirmed(
    structure: Structure, density: InterpolatedMap, found: list[Copies], cc: list[Floats], needed: float
) -> tuple[list[Copies], list[Floats]]:
    """Return the copies that the map confirms: a point group or a subgroup of it, or some copies of each kind."""
    kept: list[Copies] = []
    scores: list[Floats] = []
    for copies, values in zip(found, cc, strict=True):
        chosen = values >= needed
        if chosen.sum() < 2:
            continue
        if copies.group and not chosen.all():
            for smaller in subgroup(structure, copies, chosen):
                kept.append(smaller)
                scores.append(agreement(density, smaller.operators, structure.positions[smaller.atoms[:, 0]]))
            continue
        kept.append(copies if chosen.all() else copies.select(chosen))
        scores.append(values[chosen])
    return kept, scores


def _without_differences(structure: Structure, density: InterpolatedMap, found: list[Copies]) -> tuple[list[Copies], float]:
    """Leave out residues that really differ between copies; returns their fraction too."""
    apart = total = 0
    kept = []
    for copies in found:
        first, n = copies.atoms[:, 0], len(structure.residues)
        residue = structure.residue[first]
        cc = local_agreement(density, copies.operators, structure.positions[first], residue, n)
        differs = np.zeros(n, dtype=np.bool_)
        size = np.maximum(np.bincount(residue, minlength=n), 1)
        lying = with_equivalent_names(structure, copies.operators, copies.atoms)
        for k in range(1, len(copies)):
            there = lying[:, k]
            square = ((copies.operators.apply(k, structure.positions[first]) - structure.positions[there]) ** 2).sum(axis=1)
            rms = np.sqrt(np.bincount(residue, weights=np.where(there >= 0, square, 0.0), minlength=n) / size)
            differs |= (rms > DIFFERS) & (cc[k] < UNLIKE)
        apart, total = apart + int(differs.sum()), total + len(np.unique(residue))
        kept.append(replace(copies, atoms=copies.atoms[~differs[residue]]))
    return kept, apart / max(total, 1)


def _described(copies: Copies) -> str:
    several = len(copies) > 4
    chains = ", ".join(copies.chains[:4] if not several else [*copies.chains[:3], "…", copies.chains[-1]])
    group = f" ({copies.group})" if copies.group else ""
    given = ", operators as given" if copies.exact else ""
    return f"{len(copies)} copies {chains}{group}, rmsd up to {copies.rmsd.max():.2f} Å{given}"


def _decided(mode: str, reason: str, found: list[Copies] | None = None, cc: list[Floats] | None = None, **more: Any) -> Decision:
    groups = []
    for number, copies in enumerate(found or []):
        row: dict[str, Any] = {"group": copies.group or None, "chains": list(copies.chains), "rmsd": copies.rmsd.tolist()}
        if cc is not None:
            row["map_correlation"] = cc[number].tolist()
        row["operators"] = [
            {"matrix": rotation.tolist(), "vector": shift.tolist()}
            for rotation, shift in zip(copies.operators.rotation, copies.operators.shift, strict=True)
        ]
        groups.append(row)
    return Decision(mode, None, False, reason, {"mode": mode, "reason": reason, "copies": groups, **more})
