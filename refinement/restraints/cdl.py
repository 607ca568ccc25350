"""Conformation-dependent library: backbone bond and angle targets that follow φ and ψ.

CDL 1.2 (Tronrud 2010; Moriarty 2014) for residues in trans peptides with both neighbours bound, look-up at the
nearest 10°. Cis prolines take the averages of Engh & Huber (International Tables F, 18.3) instead, as in Phenix.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from refinement import tables
from refinement.conformers import NamedAtoms, backbone_torsions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.restraints.arrays import Angles, Bonds
    from refinement.structure import Structure

CIS_LIMIT = 45.0
"""Degrees; a residue with the preceding |ω| below this isn't in a trans peptide."""

_NAMES = ("N", "CA", "C", "O", "CB", "CG", "CD", "H")
_PLACES = {
    **{name: (1, _NAMES.index(name)) for name in _NAMES},
    "C_prev": (0, _NAMES.index("C")),
    "N_next": (2, _NAMES.index("N")),
}
_CIS_PROLINE = {
    "C_prev-N-CA": (127.0, 2.4), "N-CA-CB": (102.6, 1.1), "N-CA-C": (112.1, 2.6), "CB-CA-C": (112.0, 2.5),
    "CA-C-O": (120.2, 2.4), "CA-C-N_next": (117.1, 2.8), "O-C-N_next": (121.1, 1.9), "C_prev-N": (1.338, 0.019),
    "N-CA": (1.468, 0.017), "CA-CB": (1.533, 0.018), "CA-C": (1.524, 0.020), "C-O": (1.228, 0.020),
    "C_prev-N-CD": (120.6, 2.2), "CA-N-CD": (111.5, 1.4), "N-CD-CG": (103.8, 1.2), "CA-CB-CG": (104.0, 1.9),
    "CB-CG-CD": (105.4, 2.3), "CB-CG": (1.506, 0.039), "CG-CD": (1.512, 0.027), "N-CD": (1.474, 0.014),
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class GeometryTargets:
    """Targets that replace those of a library.

    Attributes
    ----------
    bond_atoms : NDArray[int32], shape (m, 2)
    bond_targets : NDArray[float64], shape (m, 2)
        Length and standard deviation, Å.
    angle_atoms : NDArray[int32], shape (k, 3)
        Apex in the middle.
    angle_targets : NDArray[float64], shape (k, 2)
        Angle and standard deviation, degrees.
    amide : NDArray[int32], shape (a, 4)
        C of the residue before, N, CA, H of residues whose N-H lies in the plane of the peptide.
    """

    bond_atoms: NDArray[np.int32]
    bond_targets: NDArray[np.float64]
    angle_atoms: NDArray[np.int32]
    angle_targets: NDArray[np.float64]
    amide: NDArray[np.int32]

    def apply(self, bonds: Bonds, angles: Angles) -> tuple[Bonds, Angles]:
        """Return restraints with these targets; those that aren't named here stay.

        The angles at N to the amide H are moved so that the three angles add up to 360°.
        """
        n_atoms = 1 + max((int(part.max(initial=0)) for part in (bonds.atoms, angles.atoms, self.angle_atoms)), default=0)
        found, row = _find(_pair_keys(bonds.atoms, n_atoms), _pair_keys(self.bond_atoms, n_atoms))
        length, spread = bonds.target.copy(), bonds.sigma.copy()
        length[found], spread[found] = self.bond_targets[row].T
        keys = _triple_keys(angles.atoms, n_atoms)
        found, row = _find(keys, _triple_keys(self.angle_atoms, n_atoms))
        angle, angle_spread = angles.target.copy(), angles.sigma.copy()
        angle[found], angle_spread[found] = self.angle_targets[row].T
        self._flatten_amides(keys, angle, n_atoms)
        return replace(bonds, target=length, sigma=spread), replace(angles, target=angle, sigma=angle_spread)

    def _flatten_amides(self, keys: NDArray[np.int64], angle: NDArray[np.float64], n_atoms: int) -> None:
        carbon, nitrogen, alpha, hydrogen = self.amide.T
        order = np.argsort(keys)
        rows = []
        for a, c in ((carbon, alpha), (carbon, hydrogen), (alpha, hydrogen)):
            wanted = _triple_keys(np.stack([a, nitrogen, c], axis=1), n_atoms)
            place = order[np.minimum(np.searchsorted(keys[order], wanted), len(order) - 1)] if len(order) else wanted
            rows.append(np.where(keys[place] == wanted, place, -1) if len(order) else np.full(len(wanted), -1))
        table = np.array(rows).reshape(3, -1)
        table = table[:, (table >= 0).all(axis=0)]
        excess = (angle[table].sum(axis=0) - 360.0) / 2.0
        angle[table[1]] -= excess
        angle[table[2]] -= excess


def conformation_dependent_targets(structure: Structure) -> GeometryTargets:
    """Return the backbone targets for the model as it stands; conformers that share atoms share the mean."""
    named = NamedAtoms(structure, _NAMES)
    bonds: list[_Rows] = []
    angles: list[_Rows] = []
    amides = []
    for table in named.conformers():
        torsions = backbone_torsions(structure, table[:, :3])
        usable = np.flatnonzero(~np.isnan(torsions.phi) & ~np.isnan(torsions.omega))
        cis = np.abs(torsions.omega[usable]) < CIS_LIMIT
        proline = structure.residues.compound[usable] == "PRO"
        around = np.stack([table[torsions.bonds.previous], table, table[torsions.bonds.following]], axis=1)
        trans = usable[~cis]
        values, spreads = _look_up(structure, trans, torsions.phi[trans], torsions.psi[trans], torsions.bonds.following[trans])
        for k, name in enumerate(tables.conformation_dependent().quantities):
            _collect(name, around[trans], values[:, k], spreads[:, k], bonds, angles)
        for name, (value, spread) in _CIS_PROLINE.items():
            rows = around[usable[cis & proline]]
            _collect(name, rows, np.full(len(rows), value), np.full(len(rows), spread), bonds, angles)
        planar = around[usable[~cis | proline]]
        amides.append(np.stack([planar[:, 0, 2], planar[:, 1, 0], planar[:, 1, 1], planar[:, 1, 7]], axis=1))
    several = len(amides) > 1
    amide = np.unique(np.concatenate(amides), axis=0) if several else amides[0]
    bond_atoms, bond_targets = _merge(bonds, several=several)
    angle_atoms, angle_targets = _merge(angles, several=several)
    return GeometryTargets(bond_atoms, bond_targets, angle_atoms, angle_targets, amide[(amide >= 0).all(axis=1)])


_Rows = tuple["NDArray[np.int32]", "NDArray[np.float64]", "NDArray[np.float64]"]


def _look_up(
    structure: Structure,
    rows: NDArray[np.intp],
    phi: NDArray[np.float64],
    psi: NDArray[np.float64],
    following: NDArray[np.int32],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return CDL values and esds, shape (rows, quantities)."""
    library = tables.conformation_dependent()
    compound = structure.residues.compound
    own = compound[rows]
    groups = np.select([own == "GLY", own == "PRO", (own == "ILE") | (own == "VAL")], ["Gly", "Pro", "IleVal"], default="NonPGIV")
    names = np.char.add(groups, np.where(compound[following] == "PRO", "_xpro", "_nonxpro"))
    place = {name: k for k, name in enumerate(library.classes)}
    kind = np.array([place[name] for name in names.tolist()], dtype=np.intp)
    i, j = (np.round(angle / 10.0).astype(np.intp) % 36 for angle in (phi + 180.0, psi + 180.0))
    return library.targets[kind, i, j].astype(np.float64), library.esds[kind, i, j].astype(np.float64)


def _collect(
    name: str,
    around: NDArray[np.int32],
    values: NDArray[np.float64],
    spreads: NDArray[np.float64],
    bonds: list[_Rows],
    angles: list[_Rows],
) -> None:
    """Append the rows of one quantity to the bonds or the angles; `around` is (rows, 3 residues, names)."""
    places = [_PLACES[part] for part in name.split("-")]
    atoms = np.stack([around[:, residue, column] for residue, column in places], axis=1)
    kept = (atoms >= 0).all(axis=1) & ~np.isnan(values)
    (bonds if len(places) == 2 else angles).append((atoms[kept], values[kept], spreads[kept]))


def _merge(parts: list[_Rows], *, several: bool) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Join the parts; where there are `several` conformers, the same atoms get the mean."""
    atoms, values, spreads = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not several:
        return atoms, np.stack([values, spreads], axis=1)
    unique, inverse, counts = np.unique(atoms, axis=0, return_inverse=True, return_counts=True)
    inverse = inverse.ravel()
    means = [np.bincount(inverse, weights=column, minlength=len(unique)) / counts for column in (values, spreads)]
    return unique.astype(np.int32), np.stack(means, axis=1)


def _pair_keys(atoms: NDArray[np.int32], n_atoms: int) -> NDArray[np.int64]:
    ends = np.sort(atoms.astype(np.int64), axis=1)
    return ends[:, 0] * n_atoms + ends[:, 1]


def _triple_keys(atoms: NDArray[np.int32], n_atoms: int) -> NDArray[np.int64]:
    """Return a number per angle that doesn't depend on its direction (fits 64 bits up to 2 million atoms)."""
    return _pair_keys(atoms[:, ::2], n_atoms) * n_atoms + atoms[:, 1]


def _find(keys: NDArray[np.int64], wanted: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Return which `keys` are among `wanted`, and the rows of `wanted` for those."""
    if not len(wanted):
        return np.zeros(len(keys), dtype=bool), np.zeros(0, dtype=np.intp)
    order = np.argsort(wanted)
    place = order[np.minimum(np.searchsorted(wanted[order], keys), len(order) - 1)]
    found = wanted[place] == keys
    return found, place[found]
