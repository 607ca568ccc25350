"""The rules of curation, one function each: facts in, a finding or nothing out.

The eight rules are those of Liebschner et al. (2021), Acta Cryst. D77, 48-61, §2.1.2 and §3.1, made exact; exclusion by
method is ours. ``strict`` applies them literally, as in 2020: values that differ by rounding only and missing or
placeholder cells then refuse the pair too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curation.boxes import box_disagreements, is_placeholder
from curation.findings import Code, Severity, note, refuse, warn
from curation.map_checks import MAP_CHECKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from curation.facts import Grid, PairFacts, Problem
    from curation.findings import Finding

    Check = Callable[..., Finding | None]

WORST_RESOLUTION = 5.0
"""Å; worse than this is refused."""
MOST_SINGLE_ATOM = 0.25
"""Largest accepted fraction of polymer residues with one atom only."""
LEAST_INSIDE = 0.99
"""Smallest accepted fraction of atoms within the box."""
PIXEL_TOLERANCE = 1e-3
"""Relative difference of grid steps of maps that count as equal."""
CORNER_TOLERANCE = 0.01
"""Distance of map corners that counts as none, in grid steps."""
METHODS = {"singleparticle", "helical", "subtomogramaveraging"}
MODEL_METHOD = "ELECTRON MICROSCOPY"
GONE_STATUS = {"OBS", "WDRN"}
"""Status codes of entries that were made obsolete or withdrawn."""
BOX_CODES = {"map_ratio", "map_dimensions", "map_sampling", "map_cell", "map_axes", "map_placement", "map_too_large"}
"""Errors of a map file that concern its box, not the reading of it."""


@dataclass(frozen=True, slots=True)
class Consensus:
    """The resolution that the files agree on.

    Attributes
    ----------
    value : float or None
        Resolution in Å; None if they disagree or none is given.
    rounded : bool
        Whether the values agree only after rounding to 0.1 Å.
    """

    value: float | None
    rounded: bool = False


def consensus_resolution(facts: PairFacts, *, strict: bool = False) -> Consensus:
    """Return the resolution that all files agree on.

    All values of the EMDB header and of the mmCIF file must agree to 0.01 Å. Unless `strict`, values that agree to
    0.1 Å are taken for the same number rounded differently; the first value of the EMDB header is then used.
    """
    values = [sourced.value for sourced in facts.resolutions]
    if not values:
        return Consensus(None)
    if len({_rounded(value, 2) for value in values}) == 1:
        return Consensus(_rounded(values[0], 2))
    if not strict and len({_rounded(value, 1) for value in values}) == 1:
        return Consensus(_rounded(values[0], 2), rounded=True)
    return Consensus(None)


def model_is_released(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Rule i: a released model belongs to the map."""
    del strict
    emdb_id, pdb_id = facts.pair.emdb_id, facts.pair.pdb_id
    if pdb_id is None:
        if facts.pair.unreleased:
            fates = facts.pair.fates or ("",) * len(facts.pair.unreleased)
            names = [f"{n} ({fate})" if fate else n for n, fate in zip(facts.pair.unreleased, fates, strict=False)]
            sentence = f"{emdb_id} names the model {', '.join(names)}, which is not released in the PDB."
            return refuse(Code.NO_MODEL, sentence, {"unreleased": list(facts.pair.unreleased), "fates": list(fates)})
        return refuse(Code.NO_MODEL, f"{emdb_id} has no model in the PDB.", {})
    if any(problem.code == "file_missing" and problem.file.startswith(f"{pdb_id}.") for problem in facts.problems):
        sentence = f"The PDB has no released model {pdb_id}."
        return refuse(Code.NO_MODEL, sentence, {"pdb_id": pdb_id}, "Check the id; the entry may be obsolete or on hold.")
    by_map, by_model = _declared(facts)
    if by_map is False and by_model is False:
        sentence = f"Neither the header of {emdb_id} nor the file of {pdb_id} says that this model was built into this map."
        return refuse(Code.NO_MODEL, sentence, {"pdb_id": pdb_id, "emdb_id": emdb_id})
    return None


def entries_are_current(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Our rule: neither entry was withdrawn or replaced by another one."""
    del strict
    reasons: list[str] = []
    entries = ((facts.pair.emdb_id, facts.header), (facts.pair.pdb_id, facts.model))
    for name, file in entries:
        if file is None or not (file.status.upper() in GONE_STATUS or file.replaced_by):
            continue
        successors = ", ".join(filter(None, file.replaced_by))
        reasons.append(f"{name} was " + (f"replaced by {successors}" if successors else "withdrawn") + f" ({file.source})")
    if not reasons:
        return None
    new = [entry for _, file in entries if file is not None for entry in file.replaced_by if entry]
    hint = "Look at the entry that replaced it." if new else ""
    return refuse(Code.ENTRY_OBSOLETE, f"Not a current entry: {'; '.join(reasons)}.", {"replaced_by": new}, hint)


def method_is_included(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Our rule: single particles, helices and subtomogram averages only; no crystal symmetry in the map."""
    del strict
    reasons: list[str] = []
    if facts.header is not None:
        names = [method for method in facts.header.methods if _letters(method) not in METHODS]
        reasons += [f"{facts.header.source} states the method {name}" for name in names]
    if facts.model is not None and facts.model.methods and MODEL_METHOD not in facts.model.methods:
        reasons.append(f"{facts.model.source} states the method {', '.join(facts.model.methods)}")
    group = facts.map.space_group if facts.map is not None else None
    if group is None and facts.header is not None:
        group = facts.header.grid.space_group
    if group not in {None, 0, 1}:
        reasons.append(f"the map has the space group number {group}")
    if not reasons:
        return None
    sentence = f"Excluded by method: {'; '.join(reasons)}."
    methods = list(facts.header.methods if facts.header else ()) + list(facts.model.methods if facts.model else ())
    return refuse(Code.EXCLUDED_METHOD, sentence, {"methods": methods, "space_group": group})


def resolution_agrees(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Rule ii: one resolution in all files."""
    found = facts.resolutions
    if facts.header is None and facts.model is None:
        return None
    if not found:
        return refuse(Code.RESOLUTION_MISMATCH, "Neither the map header nor the model file gives a resolution.", {"values": []})
    consensus = consensus_resolution(facts, strict=strict)
    numbers = {"values": [sourced.as_dict() for sourced in found]}
    stated = ", ".join(f"{sourced.value:g} Å ({sourced.source})" for sourced in found)
    if consensus.value is None:
        return refuse(Code.RESOLUTION_MISMATCH, f"The resolutions differ: {stated}.", numbers)
    if consensus.rounded:
        sentence = f"The resolutions differ by rounding only: {stated}; {consensus.value:g} Å is used."
        return warn(Code.RESOLUTION_ROUNDED, sentence, numbers)
    return None


def grids_agree(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Rule iii: the half-maps lie on the grid of the primary map."""
    del strict
    if facts.map is None:
        return None
    reasons = [reason for half in facts.half_maps for reason in _grid_differences(facts.map, half)]
    if not reasons:
        return None
    numbers = {"map": _grid_numbers(facts.map), "half_maps": [_grid_numbers(half) for half in facts.half_maps]}
    return refuse(Code.GRID_MISMATCH, f"The grids differ: {'; '.join(reasons)}.", numbers)


def box_is_consistent(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Rule iv: the box makes sense, its descriptions agree, and the model lies in it."""
    reasons = [problem.sentence.rstrip(".") for problem in facts.problems if problem.code in BOX_CODES]
    reasons += box_disagreements(facts.header, facts.map, facts.model, strict=strict)
    numbers: dict[str, object] = {"map": _grid_numbers(facts.map)} if facts.map else {}
    inside = facts.fraction_inside
    if inside is not None:
        numbers["fraction_inside"] = round(inside, 6)
        if inside < LEAST_INSIDE:
            reasons.append(
                f"only {100 * inside:.1f} % of the atoms lie within the map (at least {100 * LEAST_INSIDE:.0f} % must)"
            )
    if not reasons:
        return None
    return refuse(Code.BOX_MISMATCH, f"The box is wrong: {'; '.join(reasons)}.", numbers)


def files_are_readable(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Rule v, first part: every file that is needed can be read."""
    del strict
    problems = [problem for problem in facts.problems if problem.code not in BOX_CODES]
    if not problems:
        return None
    numbers = {"files": [{"file": problem.file, "code": problem.code} for problem in problems]}
    return refuse(Code.PROCESSING_ERROR, " ".join(_sentence(problem) for problem in problems), numbers)


def compounds_are_known(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Rule v, second part: there are restraints for every compound."""
    del strict
    names = facts.unknown_compounds
    if not names:
        return None
    word = "compound" if len(names) == 1 else "compounds"
    sentence = f"No restraints are known for the {word} {', '.join(names)}."
    return refuse(Code.PROCESSING_ERROR, sentence, {"compounds": list(names)}, "Give a restraint dictionary for it.")


def elements_are_known(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Rule v, third part: every atom has an element."""
    del strict
    count = facts.composition.elements.get("X", 0) if facts.composition is not None else 0
    if not count:
        return None
    sentence = f"{count} atoms have no known element, so neither their scattering nor their restraints are known."
    return refuse(Code.PROCESSING_ERROR, sentence, {"atoms": count})


def one_model(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Rule vi: one model in the file."""
    del strict
    if facts.model is None or facts.model.models <= 1:
        return None
    count = facts.model.models
    return refuse(Code.MULTI_MODEL, f"{facts.model.source} holds {count} models; one is expected.", {"models": count})


def residues_have_atoms(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Rule vii: at most a quarter of the polymer residues have a single atom; waters and ions don't count."""
    del strict
    made_of = facts.composition
    if made_of is None or made_of.single_atom_fraction <= MOST_SINGLE_ATOM:
        return None
    single, polymer, fraction = made_of.single_atom_residues, made_of.polymer_residues, made_of.single_atom_fraction
    sentence = (
        f"{single} of {polymer} polymer residues ({100 * fraction:.1f} %) have a single atom;"
        f" at most {100 * MOST_SINGLE_ATOM:.0f} % are accepted."
    )
    numbers = {"single_atom_residues": single, "polymer_residues": polymer, "fraction": round(fraction, 6)}
    return refuse(Code.SINGLE_ATOM, sentence, numbers)


def resolution_suffices(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Rule viii: the consensus resolution is 5 Å or better."""
    value = consensus_resolution(facts, strict=strict).value
    if value is None or value <= WORST_RESOLUTION:
        return None
    sentence = f"The resolution is {value:g} Å; maps worse than {WORST_RESOLUTION:g} Å are not refined."
    return refuse(Code.LOW_RESOLUTION, sentence, {"resolution": value, "worst": WORST_RESOLUTION})


def atoms_are_inside(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Warn where a few atoms lie outside the box."""
    del strict
    inside = facts.fraction_inside
    if inside is None or not LEAST_INSIDE <= inside < 1:
        return None
    sentence = f"{100 * (1 - inside):.2f} % of the atoms lie outside the box of the map."
    return warn(Code.ATOMS_OUTSIDE_BOX, sentence, {"fraction_inside": round(inside, 6)})


def half_maps_are_complete(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Warn where half-maps are declared but can't be used as a pair."""
    del strict
    if facts.map is None or facts.header is None or not facts.header.half_map_files:
        return None
    declared, found = len(facts.header.half_map_files), len(facts.half_maps)
    if declared == found == 2:
        return None
    sentence = f"The header declares {declared} half-maps and {found} could be used; two are needed, so none is used."
    return warn(Code.HALF_MAPS_INCOMPLETE, sentence, {"declared": declared, "found": found})


def both_sides_declare(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Note where only one archive states the link between model and map."""
    del strict
    by_map, by_model = _declared(facts)
    if by_map is None or by_model is None or by_map == by_model:
        return None
    says, silent = ("EMDB header", "mmCIF file") if by_map else ("mmCIF file", "EMDB header")
    sentence = f"Only the {says} says that this model belongs to this map; the {silent} does not."
    return note(Code.LINK_ONE_SIDED, sentence, {"declared_by": says})


def cell_is_given(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Note where the model file has no cell or the placeholder 1 × 1 × 1 Å."""
    if strict or facts.model is None or not is_placeholder(facts.model.cell):
        return None
    sentence = "The model file gives no cell, so only the map's own descriptions of the box were compared."
    return note(Code.PLACEHOLDER_CELL, sentence, {"cell": list(facts.model.cell or ())})


def values_are_sensible(facts: PairFacts, *, strict: bool) -> Finding | None:
    """Note values of the files that made no sense and were left aside."""
    del strict
    skipped = (facts.header.skipped if facts.header else ()) + (facts.model.skipped if facts.model else ())
    if not skipped:
        return None
    shown = "; ".join(skipped[:5]) + (f"; and {len(skipped) - 5} more" if len(skipped) > 5 else "")
    return note(Code.METADATA_SKIPPED, f"Left aside: {shown}.", {"count": len(skipped)})


CHECKS: tuple[Check, ...] = (
    model_is_released,
    entries_are_current,
    method_is_included,
    files_are_readable,
    resolution_agrees,
    grids_agree,
    box_is_consistent,
    compounds_are_known,
    elements_are_known,
    one_model,
    residues_have_atoms,
    resolution_suffices,
    atoms_are_inside,
    half_maps_are_complete,
    both_sides_declare,
    cell_is_given,
    values_are_sensible,
    *MAP_CHECKS,
)
"""All rules, in the order in which they decide."""


def run_checks(facts: PairFacts, *, strict: bool = False) -> list[Finding]:
    """Apply all rules; rules whose facts aren't known yet say nothing."""
    return [finding for check in CHECKS if (finding := check(facts, strict=strict)) is not None]


def first_refusal(findings: Iterable[Finding]) -> Finding | None:
    """Return the finding that decides, None if none refuses."""
    return next((finding for finding in findings if finding.severity is Severity.REFUSE), None)


def _declared(facts: PairFacts) -> tuple[bool | None, bool | None]:
    """Return whether the map's header and the model's file declare the pair; None where a file can't tell."""
    if facts.pair.pdb_id is None:
        return None, None
    by_map = facts.pair.pdb_id in facts.header.pdb_ids if facts.header else None
    by_model = facts.pair.emdb_id in facts.model.associated_maps if facts.model else None
    return by_map, by_model


def _grid_differences(primary: Grid, half: Grid) -> list[str]:
    reasons: list[str] = []
    if primary.dims != half.dims:
        reasons.append(f"{half.file} has {_times(half.dims)} grid points, {primary.file} {_times(primary.dims)}")
    if not all(math.isclose(a, b, rel_tol=PIXEL_TOLERANCE) for a, b in zip(primary.voxel, half.voxel, strict=True)):
        reasons.append(f"{half.file} has grid steps of {_times(half.voxel)} Å, {primary.file} {_times(primary.voxel)} Å")
    steps = zip(primary.corner, half.corner, primary.voxel, strict=True)
    if any(abs(a - b) > CORNER_TOLERANCE * step for a, b, step in steps):
        begins, other = _listed(half.corner), _listed(primary.corner)
        reasons.append(f"{half.file} begins at {begins} Å, {primary.file} at {other} Å")
    return reasons


def _grid_numbers(grid: Grid) -> dict[str, object]:
    return {"file": grid.file, "dims": list(grid.dims), "voxel": list(grid.voxel), "corner": list(grid.corner)}


def _sentence(problem: Problem) -> str:
    return problem.sentence.rstrip(".") + "."


def _rounded(value: float, digits: int) -> float:
    """Round halves up, as people do; binary fractions a hair below a half count as a half."""
    scale = 10.0**digits
    return math.floor(value * scale + 0.5 + 1e-9) / scale


def _letters(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalpha())


def _times(values: Iterable[float]) -> str:
    return " × ".join(f"{value:.6g}" for value in values)


def _listed(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
