"""The curves of a run: FSC, EMRinger, atom inclusion, and whatever else there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.report.figures import curve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from xml.etree.ElementTree import Element

    from refinement.report.run_files import RunFiles

ANGSTROMS = (100.0, 10.0, 7.0, 5.0, 4.0, 3.5, 3.0, 2.5, 2.2, 2.0, 1.8, 1.6, 1.4, 1.2, 1.0)
"""Resolutions that may be marked on an axis of 1/d."""


def curve_figures(run: RunFiles, state: str) -> list[Element]:
    """Return one figure for each curve of a state."""
    figures = []
    for name, columns in run.curves.get(state, {}).items():
        usable = {key: values for key, values in columns.items() if _is_line(values)}
        if len(usable) < 2:
            continue
        if "inverse_d" in usable:
            figures += _correlations(name, usable, run.table[state])
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


def _correlations(name: str, columns: Mapping[str, list[Any]], metrics: Mapping[str, Any]) -> list[Element]:
    """Return the figures of correlations against 1/d: model and map, half-maps, and what else there is."""
    parts = {
        "FSC of model and map": [key for key in columns if key.startswith("model")],
        "FSC of the half-maps": [key for key in columns if key.startswith("half_maps")],
    }
    listed = {key for keys in parts.values() for key in keys} | {"inverse_d"}
    parts[_readable(name)] = [key for key in columns if key not in listed]
    return [
        _fsc(title, {"inverse_d": columns["inverse_d"], **{key: columns[key] for key in keys}}, metrics)
        for title, keys in parts.items()
        if keys
    ]


def _fsc(title: str, columns: Mapping[str, list[Any]], metrics: Mapping[str, Any]) -> Element:
    across = np.array(columns["inverse_d"], dtype=np.float64)
    lines = {_line_name(key): values for key, values in columns.items() if key != "inverse_d"}
    resolution = metrics.get("resolution")
    return curve(
        title,
        across.tolist(),
        {key: [np.nan if value is None else value for value in values] for key, values in lines.items()},
        x_label="resolution, Å",
        y_label="correlation",
        y_range=(-0.1, 1.0),
        levels=[(0.5, "0.5"), (0.143, "0.143")],
        places=[(1.0 / resolution, f"{resolution:.2f} Å")] if resolution else [],
        x_ticks=[(1.0 / d, f"{d:g}") for d in _spread(across)],
        note=_crossings(list(columns), metrics),
    )


def _line_name(key: str) -> str:
    """Return ``masked`` for ``model_masked`` and ``unmasked`` for ``model``; other names stay."""
    for start in ("model", "half_maps"):
        if key == start:
            return "unmasked"
        if key.startswith(f"{start}_"):
            key = key.removeprefix(f"{start}_")
    return key.replace("_", " ")


def _crossings(keys: Sequence[str], metrics: Mapping[str, Any]) -> str:
    """Return where the curves cross the usual levels, in words."""
    rows = (("model", "d_fsc_model_05", "0.5"), ("model", "d_fsc_model_0143", "0.143"), ("half_maps", "d_fsc", "0.143"))
    parts = []
    for start, key, level in rows:
        plain, masked = metrics.get(key), metrics.get(f"{key}_masked")
        if start in keys and plain is not None:
            parts.append(f"{level} at {plain:.2f} Å" + (f" (masked {masked:.2f} Å)" if masked is not None else ""))
    return ", ".join(parts) + "." if parts else ""


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
        {"score": columns["score"]},
        x_label="threshold, map units",
        y_label="score",
        levels=[(1.0, "1"), (2.0, "2")],
        note="Above 2 is good, below 1 poor. The score of the model is that of the best threshold.",
    )
