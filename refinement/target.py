"""The function that is minimised: restraints - weight · density at the atoms.

Its variables are the positions of the non-hydrogen atoms. Hydrogens ride: they are placed from the heavy
atoms, feel contacts, and hand their gradient down. The data term is target (7)/(8) of Afonine et al. 2018,
the density at the atomic centres, each weighted by its atomic number relative to carbon and its occupancy.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from refinement.damping import DampedFactor
from refinement.geometry import dihedrals
from refinement.restraints import riding
from refinement.restraints.arrays import BondKind, TorsionKind
from refinement.restraints.atom_index import AtomIndex
from refinement.restraints.cdl import CIS_LIMIT
from refinement.restraints.coordination import METAL_LIMIT, METAL_SIGMA, coordination_angles
from refinement.restraints.covalent import Covalent, covalent_restraints
from refinement.restraints.curvature import add_curvature
from refinement.restraints.dihedrals import DihedralRestraints
from refinement.restraints.nucleic_targets import pucker_torsions
from refinement.restraints.rider import Rider, gather, scatter
from refinement.restraints.standard_targets import standard_targets

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray

    from refinement.elimination import Matrix, Pattern
    from refinement.maps.interpolation import InterpolatedMap
    from refinement.restraints.arrays import Angles, Bonds, Torsions
    from refinement.restraints.hydrogens import Hydrogenated
    from refinement.restraints.nonbonded import Nonbonded
    from refinement.restraints.ramachandran import RamachandranRestraints
    from refinement.restraints.topology import Topology
    from refinement.structure import Structure

CARBON_NUMBER = 6.0
BOND_SIGMA_FLOOR = 0.008
"""Å; some dictionary bonds claim to be known better than anything in a map."""
MAP_CURVATURE = 20.0
"""Å⁻², for each unit of the map weight: what an atom feels besides covalent restraints. The map alone curves by 2 to 5 at
the middle of an atom and contacts, whose weight is a multiple of it, by more; the number of steps hardly changes between
5 and 50."""


class Term(Protocol):
    """A restraint on non-hydrogen atoms."""

    def energy_and_gradient(self, positions: NDArray[np.float64], gradient: NDArray[np.float64]) -> float:
        """Add the gradient, shape (n_heavy, 3), into `gradient` and return the energy."""
        ...


class Target:
    """Energy and gradient of the non-hydrogen atoms.

    Two groups of terms that take about as long, contacts with the map and all others, are summed into buffers of their own,
    which are added at the end, always in the same order, so that one and two threads give the same bits.

    Parameters
    ----------
    model : Hydrogenated
        The model with its hydrogens and their frames.
    density : InterpolatedMap
        The map, normalised.
    covalent : Covalent
        Bonds, angles, torsions, chirality, planes of the non-hydrogen atoms (rows of the model without hydrogens).
    nonbonded : Nonbonded
        Repulsion over all atoms, hydrogens included; its pair list is renewed when atoms have moved.
    torsions : list of DihedralRestraints
        Cβ and rotamer terms (rows without hydrogens).
    ramachandran : RamachandranRestraints
        Rows without hydrogens.
    extra : dict of str to Term
        Further restraints by name, rows without hydrogens; their energies appear under these names.
    map_weight : float
        Weight of the density of a carbon atom, map in standard deviations.
    contact_weight, contact_reduction, list_margin : float
        Weight of contacts (1/Å²), the overlap that costs nothing and the margin of the pair list (Å).
    pattern : Pattern or None
        Who is joined to whom by covalent restraints, for `variables`.
    threads : int
        1, or more for a helper thread.
    """

    def __init__(
        self,
        model: Hydrogenated,
        density: InterpolatedMap,
        *,
        covalent: Covalent,
        nonbonded: Nonbonded,
        contact_weight: float,
        contact_reduction: float,
        list_margin: float,
        torsions: list[DihedralRestraints],
        ramachandran: RamachandranRestraints,
        map_weight: float,
        extra: Mapping[str, Term] | None = None,
        pattern: Pattern | None = None,
        threads: int = 1,
    ) -> None:
        self.model, self.density, self.nonbonded = model, density, nonbonded
        self.contact_weight, self.contact_reduction, self.list_margin = contact_weight, contact_reduction, list_margin
        self.covalent, self.torsions, self.ramachandran = covalent, torsions, ramachandran
        self.map_weight, self.threads = map_weight, threads
        self.extra = dict(extra or {})
        self.pattern = pattern
        full = model.structure
        self._positions = full.positions.copy()
        self._pairs = nonbonded.pair_list(self._positions, margin=list_margin)
        self._heavy, self._rider = model.heavy, Rider(model.riding)
        self._bare = np.empty((len(model.heavy), 3))
        self._full_gradient = np.zeros_like(full.positions)
        self._bare_gradient, self._map_gradient = np.zeros_like(self._bare), np.zeros_like(self._bare)
        self._map_weights = np.empty(len(model.heavy))
        self.scattering = scattering_weights(full)[model.heavy]
        self._pool = ThreadPoolExecutor(1) if threads > 1 else None
        self.energies: dict[str, float] = {}

    def __call__(self, x: NDArray[np.float64], gradient: NDArray[np.float64]) -> float:
        """Return the energy at positions x, shape (n_heavy, 3), and overwrite `gradient`."""
        self._bare[:] = x
        if self._pool is None:
            around = self._surroundings()
            rest = self._heavy_atom_terms()
        else:
            pending = self._pool.submit(self._surroundings)
            rest = self._heavy_atom_terms()
            around = pending.result()
        gather(self._bare_gradient, self._full_gradient, self._heavy, gradient)
        gradient += self._map_gradient
        self.energies = {**around, **rest}
        return sum(self.energies.values())

    def full_positions(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the positions of all atoms, hydrogens placed."""
        positions = self.model.structure.positions.copy()
        positions[self._heavy] = x
        riding.place(self.model.riding, positions)
        return positions

    def curvature(self) -> NDArray[np.float64]:
        """Return an estimate of the Hessian's diagonal, shape (n_heavy, 3), for preconditioning."""
        stiff = self.covalent.curvature(len(self._bare)) + 2.0 * self.contact_weight / 3.0
        return np.repeat(stiff[:, None], 3, axis=1)

    @cached_property
    def index(self) -> dict[str, AtomIndex]:
        """Rows of the restraints by atom without hydrogens; ``riders`` and ``parents`` are rows of the frames of hydrogens."""
        size, terms, frames = len(self._heavy), self.covalent, self.model.riding.frame
        planes = np.repeat(np.arange(len(terms.planes), dtype=np.int32), np.diff(terms.planes.first))
        bare = np.where(frames >= 0, self.bare_rows[frames], -1).astype(np.int32)
        names = ("bonds", "angles", "torsions", "chiralities")
        return {
            **{name: AtomIndex.of(getattr(terms, name).atoms, size) for name in names},
            "planes": AtomIndex.of_flat(terms.planes.atoms, planes, size),
            **{f"dihedrals {k}": AtomIndex.of(term.atoms, size) for k, term in enumerate(self.torsions)},
            "ramachandran": AtomIndex.of(self.ramachandran.atoms, size),
            "riders": AtomIndex.of(bare, size),
            "parents": AtomIndex.of(bare[:, :1], size),
        }

    @cached_property
    def bare_rows(self) -> NDArray[np.int32]:
        """Row of each atom in the model without hydrogens, -1 for hydrogens."""
        rows = np.full(len(self.model.structure), -1, dtype=np.int32)
        rows[self._heavy] = np.arange(len(self._heavy), dtype=np.int32)
        return rows

    def variables(self, x: NDArray[np.float64], more: NDArray[np.float64] | None = None) -> DampedFactor | NDArray[np.float64]:
        """Return variables in which the target curves about equally in all directions near positions x, shape (n_heavy, 3).

        They are those of the covalent restraints and, on the diagonal, of the map and what else there is; without a
        pattern the diagonal of the Hessian alone. `more` is the curvature that further terms add to each atom, shape (n_heavy,).
        """
        if self.pattern is None:
            return self.curvature() if more is None else self.curvature() + more[:, None]
        pattern, diagonal = self.pattern, self.map_curvature() + (0.0 if more is None else more)
        held = [term for term in self.extra.values() if isinstance(term, DihedralRestraints)]

        def assembly(at: NDArray[np.float64]) -> Matrix:
            matrix = pattern.empty()
            add_curvature(self.covalent, [*self.torsions, *held], at, matrix)
            matrix.add_diagonal(diagonal)
            return matrix

        return DampedFactor.at(x, assembly, diagonal)

    def map_curvature(self) -> NDArray[np.float64]:
        """Return about how strongly the map and what else there is curve at each atom, shape (n_heavy,), in 1/Å²."""
        return MAP_CURVATURE * max(self.map_weight, 1.0) * np.maximum(self.scattering, 1.0)

    def close(self) -> None:
        """Stop the helper thread."""
        if self._pool is not None:
            self._pool.shutdown()

    def _surroundings(self) -> dict[str, float]:
        """Contacts and the map."""
        contacts = self._contact_terms()
        self._map_gradient[:] = 0.0
        np.multiply(self.scattering, self.map_weight, out=self._map_weights)
        density = self.density.energy_and_gradient(self._bare, self._map_weights, self._map_gradient)
        return {"contacts": contacts, "map": density}

    def _contact_terms(self) -> float:
        """Contacts of all atoms; their gradient on hydrogens is folded onto the heavy atoms."""
        self._full_gradient[:] = 0.0
        scatter(self._bare, self._heavy, self._positions)
        self._rider.place(self._positions)
        if self._pairs.outdated(self._positions):
            self._pairs = self.nonbonded.pair_list(self._positions, margin=self.list_margin)
        energy = self._pairs.energy_and_gradient(
            self._positions, self._full_gradient, weight=self.contact_weight, reduction=self.contact_reduction
        )
        self._rider.fold(self._full_gradient)
        return energy

    def _heavy_atom_terms(self) -> dict[str, float]:
        """All terms of single residues and their bonds; hydrogens have no part in them."""
        gradient = self._bare_gradient
        gradient[:] = 0.0
        energies = self.covalent.energies(self._bare, gradient)
        for number, term in enumerate(self.torsions):
            energies[f"dihedrals {number}"] = term.energy_and_gradient(self._bare, gradient)
        energies["ramachandran"] = self.ramachandran.energy_and_gradient(self._bare, gradient)
        for name, restraint in self.extra.items():
            energies[name] = restraint.energy_and_gradient(self._bare, gradient)
        return energies


def scattering_weights(structure: Structure) -> NDArray[np.float64]:
    """Return what the density at each atom counts, shape (n,): its atomic number relative to carbon, times its occupancy."""
    return structure.elements / CARBON_NUMBER * structure.occupancy


def covalent_terms(
    structure: Structure, topology: Topology, *, peptides: float = 1.0, shapes: NDArray[np.float64] | None = None
) -> Covalent:
    """Return covalent restraints with the standard targets for the present conformation of the backbone.

    Parameters
    ----------
    structure : Structure
        The model, without hydrogens.
    topology : Topology
        Its restraints from the dictionaries.
    peptides : float
        Factor on the weight of ω.
    shapes : NDArray[float64], optional
        Factor on the weights of planes and chiral centres for each residue.
    """
    bonds, angles, torsions = present_targets(structure, topology.bonds, topology.angles, topology.torsions)
    changed: dict[str, Any] = {"bonds": bonds, "angles": angles, "torsions": torsions}
    terms = covalent_restraints(replace(topology, **changed))
    factor = np.where(terms.torsions.kind == TorsionKind.OMEGA, peptides, 1.0)
    limit = np.where(bonds.kind == BondKind.METAL, METAL_LIMIT, np.inf)
    if shapes is not None:
        planes, centres = terms.planes, terms.chiralities.atoms[:, 0]
        of_planes = np.maximum.reduceat(shapes[structure.residue[planes.atoms]], planes.first[:-1]) if len(planes) else 1.0
        of_centres = shapes[structure.residue[centres]]
        terms = replace(terms, plane_weight=terms.plane_weight * of_planes, chirality_weight=terms.chirality_weight * of_centres)
    return replace(terms, torsion_weight=terms.torsion_weight * factor, bond_limit=limit)


def present_targets(structure: Structure, bonds: Bonds, angles: Angles, torsions: Torsions) -> tuple[Bonds, Angles, Torsions]:
    """Return restraints with the standard targets for the present conformation of the backbone.

    Parameters
    ----------
    structure : Structure
        The model without hydrogens, or a part of it that has two residues more on either side than the restraints.
    bonds, angles, torsions
        Restraints from the dictionaries, on its atoms.
    """
    bonds, angles = standard_targets(structure, bonds, angles)
    metal = bonds.kind == BondKind.METAL
    bonds = replace(bonds, sigma=np.where(metal, METAL_SIGMA, np.maximum(bonds.sigma, BOND_SIGMA_FLOOR)))
    angles = coordination_angles(structure, bonds, angles)
    return bonds, angles, _peptides_as_they_are(structure, pucker_torsions(structure, torsions))


def _peptides_as_they_are(structure: Structure, torsions: Torsions) -> Torsions:
    """Return the torsions with ω of peptides drawn to cis or trans, whichever they are now."""
    rows = np.flatnonzero(torsions.kind == TorsionKind.OMEGA)
    target = torsions.target.copy()
    target[rows] = np.where(np.abs(dihedrals(structure.positions, *torsions.atoms[rows].T)) < CIS_LIMIT, 0.0, 180.0)
    return replace(torsions, target=target)
