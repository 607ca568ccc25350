"""Geometry of a whole symmetric model, measured on its unique part: everything counts as often as it is there."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from refinement.score import ENOUGH_FOR_Z
from refinement.symmetry.counting import with_hydrogens
from refinement.validation.cbeta import cbeta_deviations
from refinement.validation.contacts import SMALLEST_OCCUPANCY, find_clashes
from refinement.validation.geometry import covalent_geometry
from refinement.validation.omega import omega
from refinement.validation.rama_z import rama_z
from refinement.validation.ramachandran import ramachandran
from refinement.validation.rotamers import rotamers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.restraints.hydrogens import Hydrogenated
    from refinement.restraints.topology import Topology
    from refinement.structure import Structure
    from refinement.symmetry.constraints import Symmetry

MEANS, COUNTS = ("bonds", "angles"), ("chirality_outliers", "planarity_outliers")


def of_whole_without_contacts(structure: Structure, topology: Topology, symmetry: Symmetry) -> dict[str, float | None]:
    """Return the geometry that the whole model has, clashes apart.

    Parameters
    ----------
    structure : Structure
        The unique part and its surroundings, without hydrogens.
    topology : Topology
        Its restraints.
    symmetry : Symmetry
        Of the atoms of `structure`.
    """
    there = residue_counts(structure, symmetry)
    z, behind = rama_z(structure).repeated(there)
    found: dict[str, float | None] = {"rama_z": z if behind >= ENOUGH_FOR_Z else None}
    found |= _taken(ramachandran(structure), np.repeat(np.arange(len(there)), there)).summary
    for result in (rotamers(structure), cbeta_deviations(structure), omega(structure)):
        found |= _taken(result, np.repeat(np.arange(len(result.residue)), there[result.residue])).summary
    return found | _covalent(structure, topology, symmetry)


def contacts_of_whole(built: Hydrogenated, symmetry: Symmetry) -> dict[str, float | None]:
    """Return the clashes that the whole model has; `built` is the unique part and its surroundings with hydrogens."""
    counting, full = symmetry.counting(with_hydrogens(built)), built.structure
    counted = ~built.types.water & (full.occupancy > SMALLEST_OCCUPANCY)
    atoms = float((counting.of_atoms * counted).sum())
    if not atoms:
        return {"clashscore": None}
    clashes = find_clashes(full, built.types, built.bonding.neighbours, share=counting.share)
    return {"clashscore": 1000.0 * clashes.expected / atoms}


def residue_counts(structure: Structure, symmetry: Symmetry) -> NDArray[np.int64]:
    """Return how often each residue is in the whole model; 0 for images of others."""
    first = structure.residues.first[:-1]
    return np.where(symmetry.varies[first], symmetry.multiplicity[first], 0)


def _taken(result: Any, rows: NDArray[np.int64]) -> Any:
    """Return a result with its rows repeated."""
    arrays = {item.name: getattr(result, item.name) for item in fields(result)}
    return replace(result, **{name: values[rows] for name, values in arrays.items() if isinstance(values, np.ndarray)})


def _covalent(structure: Structure, topology: Topology, symmetry: Symmetry) -> dict[str, float | None]:
    counting = symmetry.counting()
    kinds = ("bonds", "angles", "chiralities", "planes")
    shares = {name: counting.share(getattr(topology, name).atoms) for name in kinds[:3]}
    shares["planes"] = counting.share_of_groups(topology.planes.first, topology.planes.atoms)
    values = np.unique(np.concatenate([share[share > 0.0] for share in shares.values()]))
    parts: list[tuple[float, Any]] = []
    for value in values.tolist():
        chosen: dict[str, Any] = {name: getattr(topology, name).select(shares[name] == value) for name in kinds}
        parts.append((value * symmetry.copies, covalent_geometry(structure, replace(topology, **chosen))))
    found: dict[str, float | None] = {}
    for name in MEANS:
        measured = [(times * getattr(part, name).count, getattr(part, name).rmsd) for times, part in parts]
        squares = [(count, rmsd) for count, rmsd in measured if rmsd is not None]
        total = sum(count for count, _ in squares)
        found[f"{name}_rmsd"] = (sum(count * rmsd**2 for count, rmsd in squares) / total) ** 0.5 if total else None
    for name in COUNTS:
        numbers = [times * number for times, part in parts if (number := getattr(part, name)) is not None]
        found[name] = float(round(sum(numbers))) if numbers else None
    return found
