"""The curves of a run: FSC, EMRinger, atom inclusion, and whatever else there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.report.figures import curve

if TYPE_CHECKING:
    from collections.abc import Mapping
    from xml.etree.ElementTree import Element

    from refinement.report.run_files import RunFiles

DISTANCE = ("d", "resolution")
"""Names of an axis of FSC curves that holds Å; on any other it is 1/Å."""
MOST_POINTS = 700
FSC_TITLES = {
    "fsc_half_maps": "FSC of the half-maps",
    "fsc_model": "FSC of model and map",
    "fsc_work_free": "FSC of the model and each half-map",
}
ANGSTROMS = (100.0, 10.0, 7.0, 5.0, 4.0, 3.5, 3.0, 2.5, 2.2, 2.0, 1.8, 1.6, 1.4, 1.2, 1.0)


def curve_figures(run: RunFiles, state: str) -> list[Element]:
    """Return one figure for each curve of a state."""
    found = run.curves.get(state, {})
    figures = []
    for name, columns in found.items():
        usable = {key: values for key, values in columns.items() if _is_line(values)} if isinstance(columns, dict) else {}
        if len(usable) < 2:
            continue
        if name.startswith("fsc"):
            figures.append(_fsc(name, usable, run.table[state]))
        elif name == "atom_inclusion":
            figures.append(_atom_inclusion(usable, run.table))
        elif name == "emringer":
            figures.append(_emringer(usable))
        else:
            x, *others = usable
            lines = {key.replace("_", " "): usable[key] for key in others if len(usable[key]) == len(usable[x])}
            if lines:
                figures.append(curve(_readable(name), usable[x], lines, x_label=x.replace("_", " ")))
    return figures


def _is_line(values: Any) -> bool:
    return isinstance(values, list) and len(values) > 1 and all(v is None or isinstance(v, int | float) for v in values)


def _readable(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def _numbers(values: list[Any]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _fsc(name: str, columns: Mapping[str, list[Any]], metrics: Mapping[str, Any]) -> Element:
    """Return a figure of correlations against 1/d; lines without resolution of their own share the first one's."""
    x, *others = columns
    across = _numbers(columns[x])
    if x in DISTANCE:
        with np.errstate(divide="ignore"):
            across = 1.0 / across
    lines = {
        key.removeprefix("fsc_").replace("_", " "): _numbers(columns[key])
        for key in others
        if len(columns[key]) == len(across) and key not in ("count", "n")
    }
    keep = np.isfinite(across)
    order = np.flatnonzero(keep)[np.argsort(across[keep])]
    order = order[:: max(1, len(order) // MOST_POINTS)]
    resolution = metrics.get("resolution")
    places = [(1.0 / resolution, f"{resolution:.2f} Å")] if resolution else []
    ticks = [(1.0 / d, f"{d:g}") for d in _spread(across[order])]
    return curve(
        FSC_TITLES.get(name, _readable(name).replace("Fsc", "FSC")),
        across[order].tolist(),
        {key: values[order].tolist() for key, values in lines.items()},
        x_label="resolution, Å",
        y_label="FSC",
        y_range=(-0.1, 1.0),
        levels=[(0.5, "0.5"), (0.143, "0.143")],
        places=places,
        x_ticks=ticks,
    )


def _spread(across: np.ndarray) -> list[float]:
    """Return the resolutions to mark that lie on the axis and don't crowd."""
    low, high = float(across.min()), float(across.max())
    kept: list[float] = []
    for d in ANGSTROMS:
        near = kept and 1.0 / d - 1.0 / kept[-1] < (high - low) / 12
        if low <= 1.0 / d <= high and not near:
            kept.append(d)
    return kept


def _atom_inclusion(columns: Mapping[str, list[Any]], table: Mapping[str, Any]) -> Element:
    contour = table.get("settings", {}).get("contour")
    return curve(
        "Atom inclusion",
        columns["level"],
        {"inside": columns["fraction"]},
        x_label="contour level",
        y_label="fraction of atoms inside",
        y_range=(0.0, 1.0),
        places=[(contour, "recommended")] if contour is not None else [],
    )


def _emringer(columns: Mapping[str, list[Any]]) -> Element:
    return curve(
        "EMRinger",
        columns["threshold"],
        {key.replace("_", " "): columns[key] for key in ("score", "rotamer_ratio") if key in columns},
        x_label="threshold, map units",
        levels=[(1.0, "1")],
        note="The score of the model is that of the best threshold.",
    )
