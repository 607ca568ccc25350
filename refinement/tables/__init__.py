"""Reference tables: contour grids, targets, radii; the dictionaries are read by `refinement.restraints.library`.

The files are made by ``tools/build_tables.py``; ``PROVENANCE.md`` names the origin, licence and citation
of each. Every loader reads its file on first use and keeps the result; arrays are read-only.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FOLDER = Path(__file__).resolve().parent

RAMACHANDRAN_CLASSES = ("general-noGPIVpreP", "gly-sym", "transpro", "cispro", "prepro-noGP", "ileval-nopreP")
"""Names of the Ramachandran grids in the order of the first axis of `ramachandran`."""


@cache
def rows(name: str) -> tuple[dict[str, str], ...]:
    """Return the rows of a CSV table, e.g. ``rows("mask_radii")``."""
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as handle:
        return tuple(csv.DictReader(handle))


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


@cache
def _array(file: str, key: str) -> NDArray[Any]:
    with np.load(FOLDER / file, allow_pickle=False) as source:
        return _frozen(source[key])


# ------------------------------------------------------------------------------------------------- protein


@cache
def ramachandran() -> NDArray[np.float32]:
    """Return the six contour grids, shape (6, 180, 180), axes class, φ, ψ.

    Cells are 2° wide and centred at -179°, -177° … 179°; the order of classes is `RAMACHANDRAN_CLASSES`.
    """
    return _frozen(np.stack([_array("ramachandran.npz", name) for name in RAMACHANDRAN_CLASSES]))


class RotamerGrid(NamedTuple):
    """Contour grid of one side chain.

    Attributes
    ----------
    values : NDArray[float32]
        One axis per χ; cell i of axis k covers ``width[k] * i`` to ``width[k] * (i + 1)`` degrees.
    width : NDArray[float64]
        Width of the cells of each axis in degrees; all axes are periodic.
    """

    values: NDArray[np.float32]
    width: NDArray[np.float64]


ROTAMER_TABLES: Mapping[str, str] = {
    **{
        name: name.lower()
        for name in ("ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "HIS", "ILE", "LEU", "LYS", "MET", "PRO", "SER", "THR")
    },
    "TRP": "trp",
    "VAL": "val",
    "PHE": "phetyr",
    "TYR": "phetyr",
    "MSE": "met",
}
"""Compound id -> name of its rotamer grid."""


@cache
def rotamer_grid(table: str) -> RotamerGrid:
    """Return the grid of a table named in `ROTAMER_TABLES`."""
    values = _array("rotamers.npz", table)
    upper = [float(row["upper"]) - float(row["lower"]) for row in rows("rotamer_axes") if row["table"] == table]
    return RotamerGrid(values, _frozen(np.array(upper) / np.array(values.shape)))


@cache
def chi_atoms() -> dict[str, tuple[tuple[str, str, str, str], ...]]:
    """Return compound id -> names of the four atoms of χ1, χ2 and so on."""
    found: dict[str, list[tuple[str, str, str, str]]] = {}
    for row in rows("chi_atoms"):
        found.setdefault(row["compound"], []).append((row["atom1"], row["atom2"], row["atom3"], row["atom4"]))
    return {compound: tuple(chis) for compound, chis in found.items()}


@cache
def chi_periods() -> dict[str, tuple[float, ...]]:
    """Return compound id -> period of χ1, χ2 … in degrees (180 for symmetric groups, else 360)."""
    found: dict[str, list[float]] = {}
    for row in rows("chi_atoms"):
        found.setdefault(row["compound"], []).append(180.0 if row["period_180"] == "yes" else 360.0)
    return {compound: tuple(periods) for compound, periods in found.items()}


@dataclass(frozen=True, slots=True, eq=False)
class RotamerBins:
    """Named χ ranges of one side chain: `names` (n), `lower` and `upper` (n, χ) in degrees."""

    names: tuple[str, ...]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]


@cache
def rotamer_bins() -> dict[str, RotamerBins]:
    """Return compound id -> the χ ranges that give a side chain its rotamer name."""
    found: dict[str, list[dict[str, str]]] = {}
    for row in rows("rotamer_bins"):
        found.setdefault(row["table"].upper(), []).append(row)
    bins = {}
    for compound, entries in found.items():
        n = sum(bool(entries[0][f"chi{k}_from"]) for k in range(1, 5))
        lower = np.array([[float(e[f"chi{k}_from"]) for k in range(1, n + 1)] for e in entries])
        upper = np.array([[float(e[f"chi{k}_to"]) for k in range(1, n + 1)] for e in entries])
        bins[compound] = RotamerBins(tuple(e["rotamer"] for e in entries), _frozen(lower), _frozen(upper))
    return bins


@dataclass(frozen=True, slots=True, eq=False)
class RotamerCentres:
    """Rotamers of one compound: `names` (n), `frequency` (n) in percent, `chi` (n, χ) in degrees."""

    names: tuple[str, ...]
    frequency: NDArray[np.float64]
    chi: NDArray[np.float64]


@cache
def rotamer_centres() -> dict[str, RotamerCentres]:
    """Return compound id -> its rotamers."""
    found: dict[str, list[dict[str, str]]] = {}
    for row in rows("rotamer_centres"):
        found.setdefault(row["compound"], []).append(row)
    centres = {}
    for compound, entries in found.items():
        n = sum(bool(entries[0][f"chi{k}"]) for k in range(1, 5))
        chi = np.array([[float(e[f"chi{k}"]) for k in range(1, n + 1)] for e in entries])
        frequency = np.array([float(e["frequency_percent"] or "nan") for e in entries])
        centres[compound] = RotamerCentres(tuple(e["rotamer"] for e in entries), _frozen(frequency), _frozen(chi))
    return centres


@dataclass(frozen=True, slots=True, eq=False)
class RamaZ:
    """Rama-Z counts.

    Attributes
    ----------
    counts : NDArray[uint16], shape (3, 22, 90, 90)
        Axes secondary structure (``HSL``), residue type, φ, ψ; cells of 4°, the first centred at -178°.
    residue_types : tuple[str, ...]
        20 names with PRO split into cisPRO and transPRO, and prePRO.
    calibration : dict[str, tuple[float, float]]
        Mean and standard deviation of the raw score of ``H``, ``S``, ``L``, and ``W`` (whole model).
    """

    counts: NDArray[np.uint16]
    residue_types: tuple[str, ...]
    calibration: dict[str, tuple[float, float]]


@cache
def rama_z() -> RamaZ:
    """Return the Rama-Z tables."""
    groups = _array("rama_z.npz", "calibration_group").tolist()
    pairs = _array("rama_z.npz", "calibration_mean_sd").tolist()
    calibration = {group: (mean, sd) for group, (mean, sd) in zip(groups, pairs, strict=True)}
    types = tuple(_array("rama_z.npz", "residue_type").tolist())
    return RamaZ(_array("rama_z.npz", "counts"), types, calibration)


@cache
def cablam(name: str) -> NDArray[np.float32]:
    """Return a CaBLAM grid (120, 120) with cells of 3° from -180°, e.g. ``motif.loose_alpha``, ``proline.cis``."""
    return _array("cablam.npz", name)


# ---------------------------------------------------------------------------------------------- restraints


@dataclass(frozen=True, slots=True, eq=False)
class ConformationDependent:
    """Conformation-dependent library.

    Attributes
    ----------
    classes : tuple[str, ...]
        Residue classes such as ``Gly_nonxpro``.
    quantities : tuple[str, ...]
        Angles in degrees and bonds in Å, named by their atoms.
    targets, esds : NDArray[float32], shape (class, 36, 36, quantity)
        By φ and ψ in steps of 10° from -180°; NaN where not defined.
    omega_classes : tuple[str, ...]
        Classes of the ω table.
    omega : NDArray[float32], shape (class, 36, 36, 2)
        Mean ω (0 to 360°) and its deviation by ψ of the residue before and φ of the residue after.
    """

    classes: tuple[str, ...]
    quantities: tuple[str, ...]
    targets: NDArray[np.float32]
    esds: NDArray[np.float32]
    omega_classes: tuple[str, ...]
    omega: NDArray[np.float32]


@cache
def conformation_dependent() -> ConformationDependent:
    """Return CDL 1.2 and ω-CDL."""
    classes, quantities, omega_classes = (
        tuple(_array("cdl.npz", key).tolist()) for key in ("classes", "quantities", "omega_classes")
    )
    targets, esds, omega = (_array("cdl.npz", key) for key in ("targets", "esds", "omega"))
    return ConformationDependent(classes, quantities, targets, esds, omega_classes, omega)


@cache
def geometry_bonds() -> dict[tuple[str, str, str], tuple[float, float]]:
    """Return (compound or link, atom, atom) -> bond length and esd in Å; both orders of atoms are present."""
    found = {}
    for row in rows("geometry_bonds"):
        value = (float(row["length"]), float(row["sd"]))
        found[row["compound"], row["atom1"], row["atom2"]] = found[row["compound"], row["atom2"], row["atom1"]] = value
    return found


@cache
def geometry_angles() -> dict[tuple[str, str, str, str], tuple[float, float]]:
    """Return (compound or link, atom, atom, atom) -> angle and esd in degrees; both orders are present."""
    found = {}
    for row in rows("geometry_angles"):
        value = (float(row["angle"]), float(row["sd"]))
        compound, a, b, c = row["compound"], row["atom1"], row["atom2"], row["atom3"]
        found[compound, a, b, c] = found[compound, c, b, a] = value
    return found


# ------------------------------------------------------------------------------------------ radii, archive


@cache
def mask_radii() -> dict[str, float]:
    """Return element symbol -> radius (Å) of the molecular mask of the correlations."""
    return {row["element"]: float(row["radius"]) for row in rows("mask_radii")}


@dataclass(frozen=True, slots=True, eq=False)
class ArchiveQuality:
    """One row per EMDB entry with a model, by resolution; NaN where a value is missing."""

    emdb: NDArray[np.int32]
    resolution: NDArray[np.float64]
    q_score: NDArray[np.float64]
    smoc: NDArray[np.float64]
    atom_inclusion: NDArray[np.float64]


@cache
def archive_quality() -> ArchiveQuality:
    """Return Q-score (sigma 0.4), SMOC and atom inclusion over the archive."""

    def column(name: str) -> NDArray[np.float64]:
        raw = _array("archive_quality.npz", f"{name}_thousandths")
        return _frozen(np.where(raw == np.int16(-32768), np.nan, raw / 1000.0))

    resolution = _frozen(_array("archive_quality.npz", "resolution_hundredths") / 100.0)
    emdb = _array("archive_quality.npz", "emdb")
    return ArchiveQuality(emdb, resolution, column("q_score"), column("smoc"), column("atom_inclusion"))
