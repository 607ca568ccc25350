"""Side-chain rotamers (Top8000 contours, Hintze 2016).

Every group of atoms of a residue with its own alternate-location letter counts, completed with the atoms
that it shares with the others, as in MolProbity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement import tables
from refinement.conformers import NamedAtoms
from refinement.geometry import dihedrals
from refinement.validation.interpolation import periodic_multilinear
from refinement.validation.ramachandran import Region

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from refinement.structure import Structure

OUTLIER = 0.003
FAVORED = 0.02
MAX_CHI = 4

SIDE_CHAIN_NAMES = tuple(sorted({name for chis in tables.chi_atoms().values() for quad in chis for name in quad}))


@dataclass(frozen=True, slots=True, eq=False)
class Rotamers:
    """Result; one row per evaluated group of atoms, in the order of residues.

    Attributes
    ----------
    residue : NDArray[int32]
        Row of the residue.
    letter : NDArray[str]
        Alternate-location letter of the group, "" for the common atoms.
    chi : NDArray[float32], shape (n, 4)
        Torsion angles, 0 to 360 degrees, NaN where the side chain is shorter.
    score : NDArray[float32]
        Height of the contour, 0 to 1.
    region : NDArray[int8]
        `Region`.
    name : NDArray[str]
        Name of the rotamer, ``OUTLIER``, or ``UNCLASSIFIED`` outside all named ranges.
    n_residues : int
        Residues of the model.
    """

    residue: NDArray[np.int32]
    letter: NDArray[np.str_]
    chi: NDArray[np.float32]
    score: NDArray[np.float32]
    region: NDArray[np.int8]
    name: NDArray[np.str_]
    n_residues: int

    @property
    def summary(self) -> dict[str, float | None]:
        """Return the percentages under their metric keys."""
        regions = {"rotamer_outliers": Region.OUTLIER, "rotamer_favored": Region.FAVORED}
        if not len(self.score):
            return dict.fromkeys(regions)
        return {key: 100.0 * int((self.region == region).sum()) / len(self.score) for key, region in regions.items()}

    @property
    def reasons(self) -> dict[str, str]:
        """Return why numbers are missing."""
        return {key: "not_applicable" for key, value in self.summary.items() if value is None}

    @property
    def columns(self) -> dict[str, NDArray[np.float32]]:
        """Return the per-residue columns, of the first group of each residue; regions as in Ramachandran."""
        values: dict[str, NDArray[Any]] = {"rotamer_score": self.score, "rotamer_region": self.region}
        values |= {f"chi{k + 1}": self.chi[:, k] for k in range(MAX_CHI)}
        columns: dict[str, NDArray[np.float32]] = {}
        for key, value in values.items():
            columns[key] = np.full(self.n_residues, np.nan, dtype=np.float32)
            columns[key][self.residue[::-1]] = value[::-1]
        return columns

    def names(self) -> NDArray[np.str_]:
        """Return the rotamer name of the first group of each residue, "" where not evaluated."""
        names = np.full(self.n_residues, "", dtype=self.name.dtype)
        names[self.residue[::-1]] = self.name[::-1]
        return names


def rotamers(structure: Structure) -> Rotamers:
    """Evaluate the side chains of a model."""
    parts = [part for rows, letters, atoms in _groups(structure) for part in _evaluate(structure, rows, letters, atoms)]
    nothing: tuple[NDArray[Any], ...] = (
        np.zeros(0, np.intp), np.zeros(0, "<U1"), np.zeros((0, MAX_CHI)), np.zeros(0), np.zeros(0, "<U12"),
    )  # fmt: skip
    residue, letter, chi, score, name = (np.concatenate(column) for column in zip(nothing, *parts, strict=True))
    region = np.select([score >= FAVORED, score >= OUTLIER], [Region.FAVORED, Region.ALLOWED], Region.OUTLIER)
    name = np.where(region == Region.OUTLIER, "OUTLIER", name)
    order = np.argsort(residue, kind="stable")
    return Rotamers(
        residue=residue[order].astype(np.int32),
        letter=letter[order],
        chi=chi[order].astype(np.float32),
        score=score[order].astype(np.float32),
        region=region[order].astype(np.int8),
        name=name[order],
        n_residues=len(structure.residues),
    )


def chi_angles(structure: Structure, compound: str, atoms: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return χ angles in degrees of side chains of one compound.

    Parameters
    ----------
    atoms : NDArray[int32], shape (n, len(SIDE_CHAIN_NAMES))
        Rows of the atoms named in `SIDE_CHAIN_NAMES`, -1 where missing.

    Returns
    -------
    NDArray[float64], shape (n, χ)
        NaN where an atom is missing.
    """
    quads = tables.chi_atoms()[compound]
    columns = np.array([[SIDE_CHAIN_NAMES.index(name) for name in quad] for quad in quads])
    rows = atoms[:, columns]
    missing = (rows < 0).any(axis=2)
    chi = dihedrals(structure.positions, *np.moveaxis(rows, 2, 0).reshape(4, -1)).reshape(missing.shape)
    chi[missing] = np.nan
    return chi


def name_rotamers(compound: str, chi: NDArray[np.float64]) -> NDArray[np.str_]:
    """Return the names of the χ ranges that angles (degrees) fall into, ``UNCLASSIFIED`` for none."""
    bins = tables.rotamer_bins()[compound]
    wrapped = (chi % np.array(tables.chi_periods()[compound]))[:, None, :]
    inside = ((wrapped >= bins.lower) & (wrapped <= bins.upper)).all(axis=2)
    names = np.array([*bins.names, "UNCLASSIFIED"])
    return names[np.where(inside.any(axis=1), inside.argmax(axis=1), len(bins.names))]


def _groups(structure: Structure) -> Iterator[tuple[NDArray[np.intp], NDArray[np.str_], NDArray[np.int32]]]:
    """Yield residues, their letters and their atom tables: common atoms first, then one letter after the other.

    A letter's group is completed with the common atoms and those of the letters before it.
    """
    named = NamedAtoms(structure, SIDE_CHAIN_NAMES)
    wanted = np.isin(structure.residues.compound, tuple(tables.ROTAMER_TABLES))
    heavy = ~structure.is_hydrogen
    table = named.table()
    common = np.zeros(len(structure.residues), dtype=bool)
    common[structure.residue[heavy & (structure.altloc == "")]] = True
    rows = np.flatnonzero(wanted & common)
    yield rows, np.full(len(rows), ""), table[rows]
    remaining = heavy & (structure.altloc != "") & wanted[structure.residue]
    while remaining.any():
        atoms = np.flatnonzero(remaining)
        rows, first = np.unique(structure.residue[atoms], return_index=True)
        letters = np.full(len(structure.residues), "", dtype=structure.altloc.dtype)
        letters[rows] = structure.altloc[atoms[first]]
        chosen = remaining & (structure.altloc == letters[structure.residue])
        named.overwrite(table, chosen)
        yield rows, letters[rows], table[rows]
        remaining &= ~chosen


def _evaluate(
    structure: Structure, rows: NDArray[np.intp], letters: NDArray[np.str_], atoms: NDArray[np.int32]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.str_], NDArray[np.float64], NDArray[np.float64], NDArray[np.str_]]]:
    compounds = structure.residues.compound[rows]
    for compound, table in tables.ROTAMER_TABLES.items():
        mine = np.flatnonzero(compounds == compound)
        chi = chi_angles(structure, compound, atoms[mine])
        complete = ~np.isnan(chi).any(axis=1)
        mine, chi = mine[complete], chi[complete]
        if not len(mine):
            continue
        grid = tables.rotamer_grid(table)
        # the grid of proline has χ1 only
        score = periodic_multilinear(grid.values, chi[:, : grid.values.ndim], lower=0.0, width=grid.width)
        padded = np.full((len(mine), MAX_CHI), np.nan)
        padded[:, : chi.shape[1]] = chi % 360.0
        yield rows[mine], letters[mine], padded, score, name_rotamers(compound, chi)
