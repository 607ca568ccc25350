"""The box of a map as its file, the EMDB header and the model's file describe it, compared."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curation.facts import Cell, Grid, HeaderFacts, HeaderGrid, ModelFacts

CELL_TOLERANCE = 1e-3
"""Relative difference of cell lengths that counts as none; headers round to a few decimals."""
SPACING_TOLERANCE = 5e-3
"""The same for grid steps, which headers round to two decimals at worst."""
ANGLE_TOLERANCE = 0.1
"""Degrees."""
MAX_VOXELS = 1 << 31
VOXEL_RANGE = (0.05, 20.0)
"""Å; grid steps of real maps lie well within."""
PLACEHOLDER_LENGTH = 1.01
"""A cell whose three lengths (Å) are no longer than this says nothing."""


def is_placeholder(cell: Cell | None) -> bool:
    """Return whether a model's cell carries no information: absent, or 1 × 1 × 1 Å as wwPDB writes it."""
    return cell is None or all(abs(length) <= PLACEHOLDER_LENGTH for length in cell[:3])


def box_disagreements(header: HeaderFacts | None, grid: Grid | None, model: ModelFacts | None, *, strict: bool) -> list[str]:
    """Return what is absurd about the box or where its descriptions disagree, as half-sentences."""
    reasons: list[str] = []
    if header is not None:
        reasons += _header_alone(header.source, header.grid)
    if grid is not None:
        reasons += _absurd(grid)
        if header is not None:
            reasons += _header_against_map(header.source, header.grid, grid)
    if model is not None:
        reasons += _model_cell(model, header.grid.cell if header else None, grid, strict=strict)
    return reasons


def _absurd(grid: Grid) -> list[str]:
    reasons: list[str] = []
    if math.prod(grid.dims) > MAX_VOXELS:
        reasons.append(f"{grid.file} claims {_times(grid.dims)} = {math.prod(grid.dims):.3g} voxels")
    if not all(VOXEL_RANGE[0] <= step <= VOXEL_RANGE[1] for step in grid.voxel):
        reasons.append(f"{grid.file} has grid steps of {_times(grid.voxel)} Å")
    return reasons


def _header_alone(name: str, grid: HeaderGrid) -> list[str]:
    reasons: list[str] = []
    if grid.cell is not None and min(grid.cell[:3]) <= 0:
        reasons.append(f"{name} gives a cell of {_times(grid.cell[:3])} Å")
    if grid.stored is not None and min(grid.stored) <= 0:
        reasons.append(f"{name} gives {_times(grid.stored)} grid points")
    if reasons or grid.cell is None or grid.sampling is None or grid.voxel is None or min(grid.sampling) <= 0:
        return reasons
    steps = [length / count for length, count in zip(grid.cell[:3], grid.sampling, strict=True)]
    if not _close(steps, grid.voxel, SPACING_TOLERANCE):
        reasons.append(f"{name} gives grid steps of {_times(grid.voxel)} Å, but its cell and sampling make {_times(steps)} Å")
    return reasons


def _header_against_map(name: str, stated: HeaderGrid, grid: Grid) -> list[str]:
    reasons: list[str] = []
    in_file = tuple(grid.dims[axis - 1] for axis in grid.axes)
    if stated.stored is not None and grid.dims != stated.dims and in_file != stated.stored:
        reasons.append(f"{name} gives {_times(stated.stored)} grid points, {grid.file} has {_times(in_file)}")
    if stated.cell is not None:
        angles = [angle or 90.0 for angle in stated.cell[3:]]
        if not _close(stated.cell[:3], grid.cell[:3], CELL_TOLERANCE):
            reasons.append(f"{name} gives a cell of {_times(stated.cell[:3])} Å, {grid.file} has {_times(grid.cell[:3])} Å")
        elif any(abs(a - b) > ANGLE_TOLERANCE for a, b in zip(angles, grid.cell[3:], strict=True)):
            reasons.append(f"{name} gives cell angles of {_listed(angles)}°, {grid.file} has {_listed(grid.cell[3:])}°")
    if stated.voxel is not None and not _close(stated.voxel, grid.voxel, SPACING_TOLERANCE):
        reasons.append(f"{name} gives grid steps of {_times(stated.voxel)} Å, {grid.file} has {_times(grid.voxel)} Å")
    return reasons


def _model_cell(model: ModelFacts, stated: Cell | None, grid: Grid | None, *, strict: bool) -> list[str]:
    if is_placeholder(model.cell):
        if not strict:
            return []
        shown = "no cell" if model.cell is None else f"a cell of {_times(model.cell[:3])} Å"
        return [f"{model.source} gives {shown}"]
    known = [grid.cell, tuple(grid.box.parameters)] if grid is not None else [stated] if stated is not None else []
    if model.cell is None or not known:
        return []
    lengths = model.cell[:3]
    if min(lengths) <= 0:
        return [f"{model.source} gives a cell of {_times(lengths)} Å"]
    if any(_close(lengths, cell[:3], CELL_TOLERANCE) for cell in known):
        return []
    return [f"{model.source} gives a cell of {_times(lengths)} Å, the map has {_times(known[0][:3])} Å"]


def _close(first: Sequence[float], second: Sequence[float], tolerance: float) -> bool:
    return all(math.isclose(a, b, rel_tol=tolerance) for a, b in zip(first, second, strict=True))


def _times(values: Sequence[float]) -> str:
    return " × ".join(f"{value:.6g}" for value in values)


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
