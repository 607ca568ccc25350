"""Ramachandran plots, one for each of the six classes."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from refinement import tables
from refinement.report.contours import contours
from refinement.report.markup import Frame, axes, number, picture, tag
from refinement.validation.ramachandran import ALLOWED, FAVORED, RamachandranClass, Region

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from numpy.typing import NDArray

    from refinement.report.run_files import ResidueColumns

TITLES = {
    RamachandranClass.GENERAL: "General",
    RamachandranClass.GLYCINE: "Glycine",
    RamachandranClass.TRANS_PROLINE: "Trans-proline",
    RamachandranClass.CIS_PROLINE: "Cis-proline",
    RamachandranClass.PRE_PROLINE: "Before proline",
    RamachandranClass.ISOLEUCINE_VALINE: "Isoleucine, valine",
}
FRAME = Frame(52, 352, 10, 310, (-180.0, 180.0), (-180.0, 180.0))
TICKS = [(value, f"{value:.0f}".replace("-", "−")) for value in (-180.0, -120.0, -60.0, 0.0, 60.0, 120.0, 180.0)]
LABELLED = 14
"""Outliers with a name in one plot; the others are named when pointed at."""
LABEL_WIDTH, LABEL_HEIGHT = 90.0, 12.0
"""Room of a name in the units of the picture; outliers nearer to a name have none."""
WRAP = 2
"""Cells of the grid repeated beyond its border, so that lines go on there."""


def ramachandran_plots(residues: ResidueColumns) -> list[Element]:
    """Return one figure for each class that has residues."""
    category, region = residues.column("rama_class"), residues.column("rama_region")
    phi, psi = residues.column("phi"), residues.column("psi")
    figures = []
    for kind, title in TITLES.items():
        rows = np.flatnonzero((category == kind) & np.isfinite(phi) & np.isfinite(psi))
        if not len(rows):
            continue
        counts = [int((region[rows] == part).sum()) for part in (Region.FAVORED, Region.ALLOWED, Region.OUTLIER)]
        caption = f"{counts[0]} favoured, {counts[1]} allowed, {counts[2]} {'outlier' if counts[2] == 1 else 'outliers'}"
        description = f"Ramachandran plot, {title}: {caption}"
        marks = _marks(residues, rows, phi, psi, region)
        drawing = picture(364, 356, description, _contours(kind), axes(FRAME, TICKS, TICKS, "φ, °", "ψ, °"), *marks)
        figures.append(tag("figure", tag("h3", title), drawing, tag("figcaption", caption)))
    return figures


def _marks(residues: ResidueColumns, rows: NDArray[np.int64], phi: NDArray, psi: NDArray, region: NDArray) -> list[Element]:
    """Return the dots, with outliers on top and by name."""
    favoured, allowed, outliers = (rows[region[rows] == part] for part in (Region.FAVORED, Region.ALLOWED, Region.OUTLIER))
    marks = [
        tag("path", d=FRAME.dots(phi[chosen], psi[chosen]), class_=f"dots {name}")
        for chosen, name in ((favoured, "favoured"), (allowed, "allowed"))
        if len(chosen)
    ]
    score = residues.column("rama_score")[outliers]
    labelled: list[tuple[float, float]] = []
    for row in outliers[np.argsort(score, kind="stable")].tolist():
        x, y = FRAME.x(float(phi[row])), FRAME.y(float(psi[row]))
        name = residues.label(row)
        title = tag("title", f"{name}: φ {phi[row]:.0f}°, ψ {psi[row]:.0f}°")
        marks.append(tag("circle", title, cx=x, cy=y, r=4, class_="outlier"))
        free = all(abs(x - other_x) > LABEL_WIDTH or abs(y - other_y) > LABEL_HEIGHT for other_x, other_y in labelled)
        if free and len(labelled) < LABELLED:
            labelled.append((x, y))
            right = x < FRAME.right - 80
            marks.append(tag("text", name, x=x + (7 if right else -7), y=y + 4, class_="label" if right else "label end"))
    return marks


@cache
def _outlines() -> dict[int, tuple[str, str]]:
    """Return the outlines of the allowed and of the favoured region of every class as path data."""
    found = {}
    for kind, grid in enumerate(tables.ramachandran()):
        wide = np.pad(grid, WRAP, mode="wrap")
        allowed, favoured = (_outline(wide, level) for level in (float(ALLOWED[kind]), FAVORED))
        found[kind] = (allowed, favoured)
    return found


def _outline(grid: NDArray[np.float32], level: float) -> str:
    parts = []
    for line in contours(grid, level):
        points = [f"{number(FRAME.x(-179.0 + 2.0 * (i - WRAP)))} {number(FRAME.y(-179.0 + 2.0 * (j - WRAP)))}" for i, j in line]
        parts.append("M" + "L".join(points) + "Z")
    return "".join(parts)


def _contours(kind: int) -> Element:
    allowed, favoured = _outlines()[kind]
    size = {"width": FRAME.right - FRAME.left, "height": FRAME.bottom - FRAME.top}
    window = f"rama-{kind}"
    clip = tag("clipPath", tag("rect", x=FRAME.left, y=FRAME.top, **size), id=window)
    regions = [tag("path", d=path, class_=name) for path, name in ((allowed, "allowed-region"), (favoured, "favoured-region"))]
    return tag("g", clip, tag("g", *regions, clip_path=f"url(#{window})"))
