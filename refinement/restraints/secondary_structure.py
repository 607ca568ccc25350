"""Hydrogen bonds of helices and sheets as restraints, for the secondary structure that a model has now."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from refinement.conformers import NamedAtoms
from refinement.geometry import distances
from refinement.restraints.hydrogen_bonds import HydrogenBonds, each_atom_once, joined
from refinement.validation.secondary_structure import secondary_structure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.structure import Structure

LONGEST = 3.5
"""Å between N and O; longer bonds are left alone."""
ANGLE_LIMIT = 30.0
"""Degrees from the target where an angle levels off: further away the bond is of another kind."""
_ENDS = 2.0
"""Factor on the angles' standard deviations where a helix begins or ends."""


class Kind(NamedTuple):
    """Usual geometry of a kind of bond: N…O in Å; the angles C-O…N, CA-N…O, C-N…O and their spreads in degrees."""

    distance: float
    angles: tuple[float, float, float]
    sigmas: tuple[float, float, float]


ALPHA = Kind(2.9, (155.0, 116.0, 121.0), (5.0, 5.0, 5.0))
STRAND = Kind(2.9, (155.0, 124.0, 113.0), (9.0, 7.0, 6.0))
"""Targets as in cctbx; in models better than 3 Å of the test data the medians are within 2° and 0.1 Å of them."""

_NAMES = ("N", "CA", "C", "O")
_N, _CA, _C, _O = range(4)


def backbone_hydrogen_bonds(structure: Structure, *, sigma: float = 0.05) -> HydrogenBonds:
    """Return restraints on the hydrogen bonds of α helices and sheets; each N and O takes part once.

    Parameters
    ----------
    structure : Structure
        The model; its main conformer counts.
    sigma : float
        Å; standard deviation of the distances.
    """
    found = secondary_structure(structure)
    donor, acceptor = found.bonds.donor, found.bonds.acceptor
    table = next(NamedAtoms(structure, _NAMES).conformers())
    ends = np.stack([table[donor, _N], table[acceptor, _O]], axis=1)
    helix = (found.bonds.separation == 4) & ((found.codes[donor] == "H") | (found.codes[acceptor] == "H"))
    strand = (found.codes[donor] == "E") & (found.codes[acceptor] == "E")
    rows = np.flatnonzero((helix | strand) & (distances(structure.positions, *ends.T) <= LONGEST))
    rows = rows[each_atom_once(ends[rows], found.bonds.energy[rows])]
    before = table[donor - 1, _C]  # a residue with H on N has one before it
    parts = []
    for kind, members in ((ALPHA, rows[helix[rows]]), (STRAND, rows[~helix[rows]])):
        loose = np.full(len(members), 1.0)
        if kind is ALPHA:
            inside = np.isin(donor[members] - 1, donor[members]) & np.isin(donor[members] + 1, donor[members])
            loose[~inside] = _ENDS
        n, o = ends[members].T
        triples = np.stack(
            [
                np.stack([table[acceptor[members], _C], o, n], axis=1),
                np.stack([table[donor[members], _CA], n, o], axis=1),
                np.stack([before[members], n, o], axis=1),
            ],
            axis=1,
        )
        parts.append(_restraints(kind, ends[members], triples, loose, sigma))
    return joined(parts)


def _restraints(
    kind: Kind, ends: NDArray[np.int32], triples: NDArray[np.int32], loose: NDArray[np.float64], sigma: float
) -> HydrogenBonds:
    """Return the restraints of bonds of one kind; `triples` has shape (m, 3, 3), the three angles of each bond."""
    count = len(ends)
    spread = loose[:, None] * np.array(kind.sigmas)
    return HydrogenBonds(
        atoms=np.ascontiguousarray(ends, dtype=np.int32),
        target=np.full(count, kind.distance),
        weight=np.full(count, sigma**-2.0),
        limit=np.full(count, LONGEST - kind.distance),
        angle_atoms=np.ascontiguousarray(triples.reshape(-1, 3), dtype=np.int32),
        angle_target=np.tile(kind.angles, count),
        angle_weight=spread.ravel() ** -2.0,
        angle_limit=np.full(3 * count, ANGLE_LIMIT),
    )
