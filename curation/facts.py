"""What is known about a pair, each value with the place it was read from. Plain data: the rules see nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from curation.composition import Composition
    from curation.identifiers import Pair

Triple = tuple[float, float, float]
Counts = tuple[int, int, int]
Cell = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class Sourced:
    """A number and where it was read."""

    value: float
    source: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"value": self.value, "source": self.source}


@dataclass(frozen=True, slots=True)
class Contour:
    """A contour level of the primary map as the EMDB header gives it.

    Attributes
    ----------
    level : float
        Level in the unit of the map.
    primary : bool
        Whether the header marks it as the recommended one.
    source : str
        File and who chose the level (``AUTHOR``, ``EMDB``, ...) if the header says so.
    """

    level: float
    primary: bool
    source: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A file, or a part of it, that can't be used.

    Attributes
    ----------
    file : str
        Name of the file.
    code : str
        Code of the error that reading it gave, ``map_truncated``.
    sentence : str
        What is wrong.
    """

    file: str
    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Grid:
    """The grid of a map file, all triples along x, y, z.

    Attributes
    ----------
    file : str
        Name of the file.
    dims : tuple[int, int, int]
        Grid points.
    start : tuple[int, int, int]
        First grid point (NSTART).
    origin : tuple[float, float, float]
        ORIGIN record in Å.
    voxel : tuple[float, float, float]
        Grid steps in Å.
    cell : tuple of six floats
        Cell of the file, Å and degrees.
    corner : tuple[float, float, float]
        Position of grid point (0, 0, 0) in Å.
    axes : tuple[int, int, int]
        Axis (1 x, 2 y, 3 z) of columns, rows, sections in the file.
    space_group : int
        ISPG of the header.
    mode : int
        Voxel type.
    """

    file: str
    dims: Counts
    start: Counts
    origin: Triple
    voxel: Triple
    cell: Cell
    corner: Triple
    axes: Counts
    space_group: int
    mode: int

    @property
    def box(self) -> gemmi.UnitCell:
        """Cell of the stored box."""
        a, b, c = (step * count for step, count in zip(self.voxel, self.dims, strict=True))
        return gemmi.UnitCell(a, b, c, *self.cell[3:])

    def inside(self, positions: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which positions (shape (n, 3), Å) lie between the first and the last grid point along each axis."""
        dims = np.array(self.dims)
        grid = (positions - np.array(self.corner)) @ (dims[:, None] * np.array(self.box.frac.mat.tolist())).T
        return ((grid >= 0) & (grid <= dims - 1)).all(axis=1)


@dataclass(frozen=True, slots=True)
class HeaderGrid:
    """The grid as the EMDB header states it; ``None`` where the header is silent.

    Attributes
    ----------
    stored : tuple[int, int, int] or None
        Columns, rows, sections.
    dims : tuple[int, int, int] or None
        Grid points along x, y, z, by the header's own axis order.
    sampling : tuple[int, int, int] or None
        Intervals of the cell along x, y, z (MX, MY, MZ).
    cell : tuple of six floats or None
        Cell, Å and degrees.
    voxel : tuple[float, float, float] or None
        Pixel spacing in Å.
    space_group : int or None
        Space group number.
    """

    stored: Counts | None
    dims: Counts | None
    sampling: Counts | None
    cell: Cell | None
    voxel: Triple | None
    space_group: int | None


@dataclass(frozen=True, slots=True)
class HeaderFacts:
    """What the EMDB header says; `source` is its file name.

    `contour` is the level that is used, `contours` are all that the header gives. `software` names the programs of the
    reconstruction, `replaced_by` the EMDB entries that took the place of this one, and `remarks` are free texts in which
    depositors say how the map was made.
    """

    source: str
    emdb_id: str
    title: str
    status: str
    dates: dict[str, str]
    methods: tuple[str, ...]
    resolutions: tuple[Sourced, ...]
    resolution_methods: tuple[str, ...]
    pdb_ids: tuple[str, ...]
    related_maps: tuple[str, ...]
    symmetry: tuple[str, ...]
    map_file: str | None
    grid: HeaderGrid
    statistics: dict[str, float]
    contour: float | None
    half_map_files: tuple[str, ...]
    additional_map_files: tuple[str, ...]
    mask_files: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    contours: tuple[Contour, ...] = ()
    software: tuple[str, ...] = ()
    replaced_by: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the mmCIF file of the model says; `source` is its file name.

    `related_kinds` are the content types of the related maps, `status` the code of the entry's release, and
    `replaced_by` the PDB entries that took the place of this one.
    """

    source: str
    entry_id: str
    title: str
    methods: tuple[str, ...]
    dates: dict[str, str]
    resolutions: tuple[Sourced, ...]
    associated_maps: tuple[str, ...]
    related_maps: tuple[str, ...]
    cell: Cell | None
    space_group: str
    models: int
    skipped: tuple[str, ...] = ()
    related_kinds: tuple[str, ...] = ()
    software: tuple[str, ...] = ()
    status: str = ""
    replaced_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HalfMapFacts:
    """How the half-maps compare with each other and with the primary map, voxel by voxel.

    Attributes
    ----------
    identical : bool
        Whether the two are one and the same.
    full : str or None
        Name of the half-map that holds the full map: it equals the primary one, or the mean of it and the other half.
    between : float
        Correlation of the two.
    with_primary : tuple[float, float]
        Correlation of each with the primary map.
    """

    identical: bool
    full: str | None
    between: float
    with_primary: tuple[float, float]

    @property
    def usable(self) -> bool:
        """Whether the two are halves of something."""
        return not self.identical and self.full is None


@dataclass(frozen=True, slots=True)
class FitFacts:
    """How well the model follows the map as it is, and after a change that would mend a usual error.

    Attributes
    ----------
    correlation : float
        Correlation of the model's density with the map at points in and around the model.
    scale, scaled : float
        The factor of the grid steps, near 1, with which the correlation is best, and that correlation.
    step : float
        Change of scale about the middle of the model that moves its outer atoms by a quarter of the resolution; a smaller
        one can't be told from a shift.
    mirror, mirrored : str, float
        The axis along which a mirrored map fits best, and that correlation.
    """

    correlation: float
    scale: float
    scaled: float
    step: float
    mirror: str
    mirrored: float


@dataclass(frozen=True, slots=True)
class VoxelFacts:
    """What the voxels of the primary map say.

    Attributes
    ----------
    minimum, maximum, mean, sd : float
        Statistics of the voxels; mean and sd of an even sample of large maps.
    commonest : float
        Fraction of the voxels that have the value of a corner of the box, or zero, whichever is more frequent.
    half_maps : HalfMapFacts or None
        Comparison of the half-maps; None without two of them on the primary map's grid.
    fit : FitFacts or None
        Fit of the model; None where the model has too few atoms in the map.
    """

    minimum: float
    maximum: float
    mean: float
    sd: float
    commonest: float
    half_maps: HalfMapFacts | None = None
    fit: FitFacts | None = None


@dataclass(frozen=True, slots=True)
class PairFacts:
    """All that the rules may look at.

    Attributes
    ----------
    pair : Pair
        The pair.
    header : HeaderFacts or None
        EMDB header; None if it can't be read.
    model : ModelFacts or None
        mmCIF metadata; None if there is no model or it can't be read.
    composition : Composition or None
        What the model consists of, as deposited.
    map : Grid or None
        Grid of the primary map, from its own header; None until it is read.
    half_maps : tuple[Grid, ...]
        Grids of the half-maps.
    fraction_inside : float or None
        Fraction of the atoms within the box of the map.
    unknown_compounds : tuple[str, ...]
        Compounds for which there are no restraints.
    voxels : VoxelFacts or None
        What the voxels say; None until the maps are read whole.
    problems : tuple[Problem, ...]
        Files that can't be used.
    """

    pair: Pair
    header: HeaderFacts | None = None
    model: ModelFacts | None = None
    composition: Composition | None = None
    map: Grid | None = None
    half_maps: tuple[Grid, ...] = ()
    fraction_inside: float | None = None
    unknown_compounds: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = field(default_factory=tuple)
    voxels: VoxelFacts | None = None

    @property
    def contour(self) -> float | None:
        """The recommended contour level, None if there is none or no part of the map is above and another below it."""
        level = self.header.contour if self.header else None
        if level is None or (self.voxels is not None and not self.voxels.minimum < level < self.voxels.maximum):
            return None
        return level

    @property
    def half_maps_usable(self) -> bool:
        """Whether there are two half-maps and their voxels don't say otherwise."""
        compared = self.voxels.half_maps if self.voxels is not None else None
        return len(self.half_maps) == 2 and (compared is None or compared.usable)

    @property
    def resolutions(self) -> tuple[Sourced, ...]:
        """All resolution values (Å), those of the EMDB header first."""
        values: tuple[Sourced, ...] = self.header.resolutions if self.header else ()
        return values + (self.model.resolutions if self.model else ())
