"""What a compound outside the polymers is: ion, sugar, lipid or something else."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import gemmi
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from refinement.compounds.component import component

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNKNOWN = frozenset({"UNK", "UNX", "UNL", "N", "DN"})
"""Residues, atoms, ligands and nucleotides of unknown identity."""
SUGAR_KINDS = (gemmi.ResidueKind.PYR, gemmi.ResidueKind.KET)
BONDED = 1.9
"""Å between non-hydrogen atoms that are taken for bonded; models aren't always good."""
TAIL = 7
"""Carbon atoms of an unbranched open chain from which on a compound is a lipid or a detergent: octanoate has so many
besides its carboxyl group."""
BRANCHED_TAIL = 10
"""The same for chains with methyl branches, none of whose atoms is bonded to another element: a monoterpene's."""
STEROID_ATOMS, STEROID_BONDS = 17, 20
"""Of four rings of carbon fused one to the next."""
INORGANIC = (3, 5)
"""Smallest and largest number of atoms of a molecule without carbon that is taken for an ion, such as phosphate."""
LARGEST = 1000
"""Larger compounds aren't looked at; cardiolipin has a hundred non-hydrogen atoms."""
CARBON, HYDROGEN = 6, 1
NONMETALS = (5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53)


def classify(name: str, elements: NDArray[np.uint8], positions: NDArray[np.float64], *, branched: bool = False) -> str:
    """Return ``unknown``, ``ion``, ``lipid``, ``sugar`` or ``other``.

    Detergents with a sugar for their head count as lipids: they are there to dissolve a membrane protein.

    Parameters
    ----------
    name : str
        Compound id.
    elements : NDArray[uint8], shape (n,)
        Atomic numbers of one copy, its most complete one.
    positions : NDArray[float64], shape (n, 3)
        Å.
    branched : bool
        The file calls it a part of an oligosaccharide.
    """
    if name in UNKNOWN:
        return "unknown"
    heavy = elements != HYDROGEN
    elements, positions = elements[heavy], positions[heavy]
    carbons = int((elements == CARBON).sum())
    if not carbons and (len(elements) == 1 or INORGANIC[0] <= len(elements) <= INORGANIC[1]):
        return "ion"
    if not branched and carbons and (_is_lipid(elements, _bonds(positions)) or _is_described_as_lipid(name)):
        return "lipid"
    return "sugar" if branched or is_sugar(name) else "other"


@cache
def is_sugar(name: str) -> bool:
    """Return whether a compound is a saccharide by gemmi's table or by the Chemical Component Dictionary."""
    if gemmi.find_tabulated_residue(name).kind in SUGAR_KINDS:
        return True
    from biotite.structure.info import carbohydrate_names  # reads a table, which most models don't need

    return name in carbohydrate_names()


@cache
def _is_described_as_lipid(name: str) -> bool:
    """Return whether the Chemical Component Dictionary has a lipid of this name: many are built without their tails.

    Compounds of gemmi's table of common ones aren't looked up: few of them are lipids, and unpacking the dictionary takes time.
    """
    if gemmi.find_tabulated_residue(name).found():
        return False
    try:
        found = component(name)
    except OSError:  # there is no room for the unpacked dictionary
        return False
    if found is None:
        return False
    elements = np.array([gemmi.Element(symbol).atomic_number for symbol in found.elements], dtype=np.uint8)
    heavy = elements != HYDROGEN
    place = np.cumsum(heavy) - 1
    return _is_lipid(elements[heavy], place[found.bonds[heavy[found.bonds].all(axis=1)]])


def _bonds(positions: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return pairs of atoms so close that they must be bonded, shape (m, 2); none of a compound that is too large."""
    if len(positions) > LARGEST:
        return np.empty((0, 2), dtype=np.int64)
    return cKDTree(positions).query_pairs(BONDED, output_type="ndarray").reshape(-1, 2)


def _is_lipid(elements: NDArray[np.uint8], bonds: NDArray[np.int64]) -> bool:
    """Return whether a compound has a long tail or is a steroid; chlorophyll, with its metal, isn't called a lipid."""
    if not np.isin(elements, NONMETALS).all():
        return False
    rings = _in_rings(len(elements), bonds)
    carbon = elements == CARBON
    open_chain = carbon & ~rings
    straight = open_chain & (np.bincount(bonds.ravel(), minlength=len(elements)) <= 2)
    pure = open_chain.copy()
    pure[bonds[~carbon[bonds].all(axis=1)]] = False
    for chain, fewest in ((straight, TAIL), (pure, BRANCHED_TAIL)):
        if max(_sizes(bonds, chain), default=(0, 0))[0] >= fewest:
            return True
    return (STEROID_ATOMS, STEROID_BONDS) in _sizes(bonds, carbon & rings)


def _in_rings(n_atoms: int, bonds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which atoms are left when ends of chains are taken away until there are none."""
    left = np.ones(n_atoms, dtype=np.bool_)
    while True:
        inside = left[bonds].all(axis=1)
        ends = left & (np.bincount(bonds[inside].ravel(), minlength=n_atoms) <= 1)
        if not ends.any():
            return left
        left &= ~ends


def _sizes(bonds: NDArray[np.int64], chosen: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the numbers of atoms and of bonds of each connected piece of the chosen atoms."""
    rows = np.flatnonzero(chosen)
    if not len(rows):
        return []
    place = np.cumsum(chosen) - 1
    inner = place[bonds[chosen[bonds].all(axis=1)]]
    graph = coo_array((np.ones(len(inner)), (inner[:, 0], inner[:, 1])), shape=(len(rows), len(rows)))
    pieces, piece = connected_components(graph, directed=False)
    atoms = np.bincount(piece, minlength=pieces)
    links = np.bincount(piece[inner[:, 0]], minlength=pieces)
    return list(zip(atoms.tolist(), links.tolist(), strict=True))
