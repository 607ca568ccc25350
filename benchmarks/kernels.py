"""Time of every restraint kernel (energy and gradient) and of making the topology.

Run with ``pytest benchmarks/kernels.py``; ``--benchmark-columns=min,median,rounds`` keeps the table narrow.
The model is a helix of 400 residues with hydrogens, the size of a small entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from refinement.conformers import STANDARD_AMINO_ACIDS
from refinement.restraints import angle_kernel, kernels
from refinement.restraints.cbeta import cbeta_restraints
from refinement.restraints.covalent import covalent_restraints
from refinement.restraints.graph import exclusions, neighbours
from refinement.restraints.library import load_monomer_library
from refinement.restraints.ramachandran import ramachandran_restraints
from refinement.restraints.rotamers import rotamer_restraints, rotamer_targets
from refinement.restraints.topology import build_topology
from refinement.structure import from_gemmi

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import NDArray

    from refinement.structure import Structure

RESIDUES = 400
PHI, PSI, OMEGA = -65.0, -40.0, 180.0


def placed(a: NDArray[Any], b: NDArray[Any], c: NDArray[Any], length: float, angle: float, torsion: float) -> NDArray[Any]:
    """Return the point at a distance from c, an angle at c and a torsion about b-c (degrees)."""
    angle, torsion = np.radians(angle), np.radians(torsion)
    axis = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, axis)
    normal /= np.linalg.norm(normal)
    sideways = np.cos(torsion) * np.cross(normal, axis) + np.sin(torsion) * normal
    return c + length * (np.sin(angle) * sideways - np.cos(angle) * axis)


def axes(a: NDArray[Any], b: NDArray[Any], c: NDArray[Any]) -> NDArray[Any]:
    x = (c - b) / np.linalg.norm(c - b)
    z = np.cross(a - b, x)
    z /= np.linalg.norm(z)
    return np.stack([x, np.cross(z, x), z])


@pytest.fixture(scope="module")
def library() -> gemmi.MonLib:
    return load_monomer_library(STANDARD_AMINO_ACIDS)


@pytest.fixture(scope="module")
def structure(library: gemmi.MonLib) -> Structure:
    """A helix of dictionary coordinates, hydrogens included."""
    chain = gemmi.Chain("A")
    n, ca, c = np.array([0.0, 0, 0]), np.array([1.46, 0, 0]), np.array([2.0, 1.42, 0])
    for k in range(RESIDUES):
        compound = library.monomers[STANDARD_AMINO_ACIDS[k % len(STANDARD_AMINO_ACIDS)]]
        residue = gemmi.Residue()
        residue.name, residue.seqid = compound.name, gemmi.SeqId(k + 1, " ")
        own = {atom.id: np.array(atom.xyz.tolist()) for atom in compound.atoms}
        turn = axes(n, ca, c).T @ axes(own["N"], own["CA"], own["C"])
        dropped = {"OXT", "H1", "H2", "H3", "HXT"} | ({"H"} if compound.name == "PRO" else set())
        for source in compound.atoms:
            if source.id in dropped:
                continue
            atom = gemmi.Atom()
            atom.name, atom.element = source.id, source.el
            place = placed(n, ca, c, 1.23, 120.5, PSI + 180.0) if source.id == "O" else ca + turn @ (own[source.id] - own["CA"])
            atom.pos = gemmi.Position(*place)
            residue.add_atom(atom)
        chain.add_residue(residue)
        following = placed(n, ca, c, 1.337, 116.0, PSI)
        next_ca = placed(ca, c, following, 1.46, 122.0, OMEGA)
        n, ca, c = following, next_ca, placed(c, following, next_ca, 1.525, 111.0, PHI)
    whole = gemmi.Structure()
    whole.add_model(gemmi.Model(1))
    whole[0].add_chain(chain)
    return from_gemmi(whole)


@pytest.fixture(scope="module")
def terms(structure: Structure, library: gemmi.MonLib) -> dict[str, tuple[int, Callable[[NDArray[Any]], float]]]:
    topology = build_topology(structure, library)
    c = covalent_restraints(topology)
    x = structure.positions
    rama = ramachandran_restraints(structure, topology)
    rotamers = rotamer_restraints(rotamer_targets(structure))
    cbeta = cbeta_restraints(structure)
    return {
        "bonds": (
            len(c.bonds),
            lambda g: kernels.bonds(x, c.bonds.atoms, c.bonds.target, c.bond_weight, c.bond_limit, g),
        ),
        "angles": (len(c.angles), lambda g: angle_kernel.angles(x, c.angles.atoms, c.angles.target, c.angle_weight, g)),
        "torsions": (
            len(c.torsions),
            lambda g: kernels.torsions(
                x, c.torsions.atoms, c.torsions.target, c.torsion_weight, c.torsions.period, c.torsion_limit, g
            ),
        ),
        "chiralities": (
            len(c.chiralities),
            lambda g: kernels.chiralities(
                x, c.chiralities.atoms, c.chiralities.target, c.chirality_weight, c.chiralities.both, g
            ),
        ),
        "planes": (len(c.planes), lambda g: kernels.planes(x, c.planes.first, c.planes.atoms, c.plane_weight, g)),
        "ramachandran": (len(rama), lambda g: rama.energy_and_gradient(x, g)),
        "rotamers": (len(rotamers), lambda g: rotamers.energy_and_gradient(x, g)),
        "cbeta": (len(cbeta), lambda g: cbeta.energy_and_gradient(x, g)),
        "all covalent": (len(structure), lambda g: c.energy_and_gradient(x, g)),
    }


@pytest.mark.parametrize(
    "name", ["bonds", "angles", "torsions", "chiralities", "planes", "ramachandran", "rotamers", "cbeta", "all covalent"]
)
def test_energy_and_gradient(benchmark: Any, terms: dict[str, Any], structure: Structure, name: str) -> None:
    items, evaluate = terms[name]
    gradient = np.zeros_like(structure.positions)
    evaluate(gradient)
    benchmark.extra_info["items"] = items
    benchmark(evaluate, gradient)
    benchmark.extra_info["ns_per_item"] = round(benchmark.stats["min"] / items * 1e9, 1)
    assert np.isfinite(gradient).all()


def test_topology(benchmark: Any, structure: Structure, library: gemmi.MonLib) -> None:
    topology = benchmark(build_topology, structure, library)
    assert len(topology.bonds) > len(structure)


def test_bond_graph(benchmark: Any, structure: Structure, library: gemmi.MonLib) -> None:
    atoms = build_topology(structure, library).bonds.atoms
    found = benchmark(lambda: exclusions(neighbours(len(structure), atoms)))
    assert len(found.partner) > len(atoms)


def test_rotamer_targets(benchmark: Any, structure: Structure) -> None:
    assert len(benchmark(rotamer_targets, structure)) > 0
