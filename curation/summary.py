"""The facts about a pair as one JSON object, for the database, the entry page and the command line."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from curation.plain import plain

if TYPE_CHECKING:
    from curation.assembly import Assembled
    from curation.checks import Consensus
    from curation.composition import Composition
    from curation.facts import Grid, HeaderFacts, PairFacts


def summarise(
    facts: PairFacts,
    consensus: Consensus,
    made_of: Composition | None,
    assembled: Assembled | None,
    revisions: dict[str, str],
) -> dict[str, Any]:
    """Return what is known about a pair as plain JSON values.

    Parameters
    ----------
    facts : PairFacts
        What was read.
    consensus : Consensus
        The agreed resolution.
    made_of : Composition or None
        What the curated model consists of, symmetry copies included.
    assembled : Assembled or None
        What was done about symmetry copies.
    revisions : dict[str, str]
        SHA-256 checksum of every file that was read, by its path in the archive.

    Returns
    -------
    dict[str, Any]
        ``pair, pdb_id, emdb_id, title, methods, dates`` · ``resolution, resolution_rounded, resolution_class,
        resolution_values`` ·
        ``atoms, hydrogens, chains, residues, ligands`` of the curated model and its whole ``composition`` ·
        ``deposited`` (atoms, chains and ligands of the file), ``unknown_compounds`` · ``header`` (symmetry, contour,
        half-map files, … as the EMDB header states them) · ``map, half_maps, half_maps_present, fraction_inside`` ·
        ``voxels`` (statistics, half-maps, fit) · ``assembly`` · ``links`` · ``stated`` (which file gives which value) ·
        ``files``. What isn't known is None.
    """
    header, model = facts.header, facts.model
    row: dict[str, Any] = {
        "pair": facts.pair.key,
        "pdb_id": facts.pair.pdb_id,
        "emdb_id": facts.pair.emdb_id,
        "title": (model.title if model else "") or (header.title if header else ""),
        "methods": sorted({*(header.methods if header else ()), *(model.methods if model else ())}),
        "dates": {"model": model.dates if model else {}, "map": header.dates if header else {}},
        "resolution": consensus.value,
        "resolution_rounded": consensus.rounded,
        "resolution_class": _resolution_class(facts, consensus),
        "resolution_values": [sourced.as_dict() for sourced in facts.resolutions],
        **_model(facts, made_of),
        **_map(facts),
        "assembly": _assembly(assembled),
        "links": {
            "header": list(header.pdb_ids) if header else None,
            "model": list(model.associated_maps) if model else None,
            "related": list(model.related_maps) if model else None,
        },
        "stated": _stated(facts),
        "files": revisions,
    }
    finite: dict[str, Any] = plain(row)
    return finite


def _resolution_class(facts: PairFacts, consensus: Consensus) -> str:
    """Return how the resolution came about: ``agreed``, ``resolved mismatch``, ``mismatch`` or ``none``."""
    if consensus.value is None:
        return "mismatch" if facts.resolutions else "none"
    return "resolved mismatch" if consensus.rounded else "agreed"


def _stated(facts: PairFacts) -> list[dict[str, Any]]:
    """Return who said what, for the values that files may disagree about."""
    header, model, grid = facts.header, facts.model, facts.map
    rows: list[tuple[str, Any, str]] = [("resolution", sourced.value, sourced.source) for sourced in facts.resolutions]
    if header is not None:
        rows += [("method", method, header.source) for method in header.methods]
        rows += [("model", pdb_id, header.source) for pdb_id in header.pdb_ids]
        rows += [("contour", contour.level, contour.source) for contour in header.contours]
        rows += [("voxel", list(header.grid.voxel), header.source)] if header.grid.voxel else []
        rows += [("cell", list(header.grid.cell), header.source)] if header.grid.cell else []
        rows += [("dims", list(header.grid.dims), header.source)] if header.grid.dims else []
    if model is not None:
        rows += [("method", method, model.source) for method in model.methods]
        rows += [("map", emdb_id, model.source) for emdb_id in model.associated_maps]
        rows += [("cell", list(model.cell), model.source)] if model.cell else []
    for stored in (*((grid,) if grid else ()), *facts.half_maps):
        rows += [("dims", list(stored.dims), stored.file), ("voxel", list(stored.voxel), stored.file)]
        rows += [("cell", list(stored.cell), stored.file)]
    return [{"what": what, "value": value, "source": source} for what, value, source in rows]


def _model(facts: PairFacts, made_of: Composition | None) -> dict[str, Any]:
    deposited = facts.composition
    return {
        "atoms": made_of.atoms if made_of else None,
        "hydrogens": made_of.hydrogens if made_of else None,
        "chains": list(made_of.chains) if made_of else None,
        "residues": made_of.residues if made_of else None,
        "ligands": made_of.ligands if made_of else None,
        "composition": made_of.as_dict() if made_of else None,
        "deposited": {"atoms": deposited.atoms, "chains": list(deposited.chains), "ligands": deposited.ligands}
        if deposited
        else None,
        "unknown_compounds": list(facts.unknown_compounds),
    }


def _map(facts: PairFacts) -> dict[str, Any]:
    return {
        "header": _header(facts.header) if facts.header else None,
        "map": _grid(facts.map) if facts.map else _stated_grid(facts.header),
        "half_maps": [_grid(grid) for grid in facts.half_maps],
        "half_maps_present": facts.half_maps_usable,
        "fraction_inside": facts.fraction_inside,
        "voxels": asdict(facts.voxels) if facts.voxels else None,
    }


def _header(header: HeaderFacts) -> dict[str, Any]:
    return {
        "title": header.title,
        "status": header.status,
        "symmetry": list(header.symmetry),
        "resolution_method": next(iter(header.resolution_methods), None),
        "statistics": header.statistics,
        "contour": header.contour,
        "contours": [asdict(contour) for contour in header.contours],
        "software": list(header.software),
        "replaced_by": list(header.replaced_by),
        "half_map_files": list(header.half_map_files),
        "mask_files": list(header.mask_files),
        "related_maps": list(header.related_maps),
    }


def _grid(grid: Grid) -> dict[str, Any]:
    frame = "nstart" if any(grid.start) else "origin" if any(grid.origin) else "zero"
    return {
        "file": grid.file,
        "dims": list(grid.dims),
        "voxel": list(grid.voxel),
        "cell": list(grid.cell),
        "corner": list(grid.corner),
        "start": list(grid.start),
        "origin": list(grid.origin),
        "axes": list(grid.axes),
        "space_group": grid.space_group,
        "mode": grid.mode,
        "frame": frame,
    }


def _stated_grid(header: HeaderFacts | None) -> dict[str, Any] | None:
    """Return the grid as the EMDB header states it, for pairs whose map was not opened."""
    if header is None or header.grid.dims is None:
        return None
    grid = header.grid
    return {
        "file": header.source,
        "dims": list(header.grid.dims),
        "voxel": list(grid.voxel or ()),
        "cell": list(grid.cell or ()),
        "space_group": grid.space_group,
    }


def _assembly(assembled: Assembled | None) -> dict[str, Any] | None:
    if assembled is None or not assembled.operators:
        return None
    return {
        "source": assembled.source,
        "expanded": assembled.expanded,
        "copies": len(assembled.operators) + 1,
        "operators": [operator.as_dict() for operator in assembled.operators],
    }
