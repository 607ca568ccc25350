"""Cβ deviation (Lovell 2003): the distance of Cβ from where N, Cα and C want it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import gemmi
import numpy as np

from refinement.conformers import NamedAtoms, is_standard
from refinement.geometry import chiral_volumes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.structure import Structure

OUTLIER = 0.25
"""Å; a deviation of this much or more is an outlier."""

# Cα-Cβ (Å), C-Cα-Cβ, dihedral N-C-Cα-Cβ, N-Cα-Cβ, dihedral C-N-Cα-Cβ (degrees), after MolProbity
_ALANINE = (1.536, 110.1, 122.9, 110.6, -122.6)
_PROLINE = (1.530, 112.2, 115.1, 103.0, -120.7)
_BRANCHED = (1.540, 109.1, 123.4, 111.5, -122.0)
_OTHERS = (1.530, 110.1, 122.8, 110.5, -122.6)
_IDEAL = {
    **dict.fromkeys(("ALA", "DAL"), _ALANINE),
    **dict.fromkeys(("PRO", "DPR"), _PROLINE),
    **dict.fromkeys(("VAL", "THR", "ILE", "DVA", "DTH", "DIL"), _BRANCHED),
}


@dataclass(frozen=True, slots=True, eq=False)
class CbetaDeviations:
    """Result; one row per set of N, Cα, C, Cβ, alternate positions counted separately.

    Attributes
    ----------
    residue : NDArray[int32]
        Row of the residue.
    deviation : NDArray[float64]
        Distance of Cβ from its ideal place, Å.
    n_residues : int
        Residues of the model.
    """

    residue: NDArray[np.int32]
    deviation: NDArray[np.float64]
    n_residues: int

    @property
    def summary(self) -> dict[str, float | None]:
        """Return the number of outliers under its metric key."""
        return {"cbeta_deviations": float((self.deviation >= OUTLIER).sum()) if len(self.deviation) else None}

    @property
    def reasons(self) -> dict[str, str]:
        """Return why numbers are missing."""
        return {} if len(self.deviation) else {"cbeta_deviations": "not_applicable"}

    @property
    def columns(self) -> dict[str, NDArray[np.float32]]:
        """Return the per-residue column: the largest deviation of each residue."""
        column = np.full(self.n_residues, np.nan, dtype=np.float32)
        np.fmax.at(column, self.residue, self.deviation.astype(np.float32))
        return {"cbeta_deviation": column}


def ideal_cbeta(
    nitrogen: NDArray[np.float64], alpha: NDArray[np.float64], carbon: NDArray[np.float64], ideal: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return where Cβ should be, shape (n, 3), Å.

    Two places are built, one from each side of the main chain; their mean is moved to the ideal bond length.

    Parameters
    ----------
    nitrogen, alpha, carbon : NDArray[float64], shape (n, 3)
        Positions of N, Cα, C.
    ideal : NDArray[float64], shape (n, 5)
        Bond length Cα-Cβ (Å), angle C-Cα-Cβ, dihedral N-C-Cα-Cβ, angle N-Cα-Cβ, dihedral C-N-Cα-Cβ (degrees).
    """
    length, angle_c, dihedral_n, angle_n, dihedral_c = ideal.T
    mean = 0.5 * (
        _fourth_atom(nitrogen, carbon, alpha, length, angle_c, dihedral_n)
        + _fourth_atom(carbon, nitrogen, alpha, length, angle_n, dihedral_c)
    )
    return alpha + _unit(mean - alpha) * length[:, None]


def cbeta_deviations(structure: Structure) -> CbetaDeviations:
    """Measure the Cβ deviations of a model: every residue but glycine that has N, CA, C and CB."""
    named = NamedAtoms(structure, ("N", "CA", "C", "CB"))
    wanted = structure.residues.compound != "GLY"
    quads = [table[wanted & (table >= 0).all(axis=1)] for table in named.conformers()]
    atoms = np.unique(np.concatenate(quads), axis=0)
    residue = structure.residue[atoms[:, 0]]
    n, ca, c, cb = (structure.positions[column] for column in atoms.T)
    compound = structure.residues.compound[residue]
    ideal = np.array([_IDEAL.get(name, _OTHERS) for name in compound.tolist()], dtype=np.float64).reshape(-1, 5)
    ideal[_is_d(structure, residue, atoms)] *= (1, 1, -1, 1, -1)
    deviation = np.sqrt(((cb - ideal_cbeta(n, ca, c, ideal)) ** 2).sum(axis=1))
    order = np.argsort(residue, kind="stable")
    return CbetaDeviations(residue[order], deviation[order], len(structure.residues))


def _is_d(structure: Structure, residue: NDArray[np.int32], atoms: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which sets belong to D residues: by name, or by their hand where the name isn't a standard one."""
    n, ca, c, cb = atoms.T
    left_handed_name = is_standard(structure)[residue]
    by_hand = chiral_volumes(structure.positions, ca, n, cb, c) > 0
    names = structure.residues.compound[residue]
    d_names = {name for name in set(names.tolist()) if gemmi.find_tabulated_residue(name).kind == gemmi.ResidueKind.AAD}
    return ~left_handed_name & (by_hand | np.isin(names, list(d_names)))


def _fourth_atom(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    c: NDArray[np.float64],
    length: NDArray[np.float64],
    angle: NDArray[np.float64],
    dihedral: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the atom d with bond c-d, angle b-c-d and dihedral a-b-c-d (degrees)."""
    axis = _unit(c - b)
    normal = _unit(np.cross(b - a, axis))
    angle, dihedral = np.radians(angle)[:, None], np.radians(dihedral)[:, None]
    across = np.cross(normal, axis)
    direction = -np.cos(angle) * axis + np.sin(angle) * (np.cos(dihedral) * across + np.sin(dihedral) * normal)
    return c + length[:, None] * direction


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return vectors / np.maximum(np.sqrt((vectors**2).sum(axis=1, keepdims=True)), 1e-12)
