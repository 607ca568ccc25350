"""Small models built from dictionary coordinates and ideal peptide geometry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import gemmi
import numpy as np
import pytest

from refinement.conformers import STANDARD_AMINO_ACIDS
from refinement.restraints.library import load_monomer_library
from refinement.restraints.topology import build_topology
from refinement.structure import from_gemmi

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from refinement.restraints.topology import Topology
    from refinement.structure import Structure

C_N, N_CA, CA_C, C_O = 1.337, 1.46, 1.525, 1.23
CA_C_N, C_N_CA, N_CA_C, CA_C_O = 116.0, 122.0, 111.0, 120.5


def placed(a: NDArray, b: NDArray, c: NDArray, length: float, angle: float, torsion: float) -> NDArray:
    """Return the point at a distance from c, an angle at c and a torsion about b-c."""
    angle, torsion = np.radians(angle), np.radians(torsion)
    axis = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, axis)
    normal /= np.linalg.norm(normal)
    across = np.cross(normal, axis)
    return c + length * (
        -np.cos(angle) * axis + np.sin(angle) * np.cos(torsion) * across + np.sin(angle) * np.sin(torsion) * normal
    )


def frame(a: NDArray, b: NDArray, c: NDArray) -> NDArray:
    x = (c - b) / np.linalg.norm(c - b)
    z = np.cross(a - b, x)
    z /= np.linalg.norm(z)
    return np.stack([x, np.cross(z, x), z])


class Builder:
    """Adds residues to one model."""

    def __init__(self, library: gemmi.MonLib) -> None:
        self.library = library
        self.structure = gemmi.Structure()
        self.structure.cell = gemmi.UnitCell(200, 200, 200, 90, 90, 90)
        self.structure.spacegroup_hm = "P 1"
        self.structure.add_model(gemmi.Model(1))

    def residue(
        self, chain: str, number: int, compound: str, coordinates: dict[str, NDArray], *, het: bool = False, insertion: str = " "
    ) -> gemmi.Residue:
        """Append a residue with atoms at the given coordinates."""
        residue = gemmi.Residue()
        residue.name = compound
        residue.seqid = gemmi.SeqId(number, insertion)
        residue.het_flag = "H" if het else "A"
        for name, position in coordinates.items():
            atom = gemmi.Atom()
            atom.name = name
            known = (
                [a.el for a in self.library.monomers[compound].atoms if a.id == name] if compound in self.library.monomers else []
            )
            atom.element = known[0] if known else gemmi.Element(name[0])
            atom.pos = gemmi.Position(*position)
            atom.b_iso, atom.occ = 50.0, 1.0
            residue.add_atom(atom)
        model = self.structure[0]
        if not any(c.name == chain for c in model):
            model.add_chain(gemmi.Chain(chain))
        model[chain].add_residue(residue)
        return residue

    def compound_coordinates(self, compound: str, *, leave: Sequence[str] = (), hydrogens: bool = False) -> dict[str, NDArray]:
        """Return the dictionary's own coordinates of a compound."""
        return {
            atom.id: np.array(atom.xyz.tolist())
            for atom in self.library.monomers[compound].atoms
            if (hydrogens or atom.el.name != "H") and atom.id not in leave
        }

    def peptide(
        self,
        sequence: Sequence[str],
        *,
        chain: str = "A",
        first: int = 1,
        phi: float = -65.0,
        psi: float = -40.0,
        omega: float = 180.0,
        bond: float = C_N,
        origin: Sequence[float] = (0.0, 0.0, 0.0),
    ) -> None:
        """Append a peptide chain with the same torsions throughout; `bond` is the C-N length of the last link."""
        n = np.array(origin, dtype=float)
        ca = n + np.array([N_CA, 0.0, 0.0])
        c = placed(n + np.array([0.3, 1.0, 0.2]), n, ca, CA_C, N_CA_C, 60.0)
        for k, compound in enumerate(sequence):
            own = self.compound_coordinates(compound, leave=("OXT",))
            rotation = frame(n, ca, c).T @ frame(own["N"], own["CA"], own["C"])
            centre = own["CA"]
            moved = {name: ca + rotation @ (position - centre) for name, position in own.items()}
            moved |= {"N": n, "CA": ca, "C": c, "O": placed(n, ca, c, C_O, CA_C_O, psi + 180.0)}
            self.residue(chain, first + k, compound, moved)
            length = bond if k == len(sequence) - 2 else C_N
            n_next = placed(n, ca, c, length, CA_C_N, psi)
            ca_next = placed(ca, c, n_next, N_CA, C_N_CA, omega)
            c_next = placed(c, n_next, ca_next, CA_C, N_CA_C, phi)
            n, ca, c = n_next, ca_next, c_next

    def finish(self) -> Structure:
        """Return the model as arrays."""
        copy = self.structure.clone()
        copy.setup_entities()
        return from_gemmi(copy)


class Place(Protocol):
    def __call__(self, a: NDArray, b: NDArray, c: NDArray, length: float, angle: float, torsion: float) -> NDArray: ...


@pytest.fixture(scope="session")
def library() -> gemmi.MonLib:
    return load_monomer_library([*STANDARD_AMINO_ACIDS, "UNK", "A", "C", "G", "U", "NAG", "ZN", "MG", "HOH", "HEM", "ATP", "IMD"])


@pytest.fixture
def builder(library: gemmi.MonLib) -> Builder:
    return Builder(library)


@pytest.fixture(scope="session")
def place() -> Place:
    return placed


@pytest.fixture
def topology_of(library: gemmi.MonLib) -> Callable[[Structure], Topology]:
    return lambda structure: build_topology(structure, library)


@pytest.fixture
def central_difference() -> Callable[..., float]:
    """Return the derivative of an energy along a direction by a fourth-order central difference."""

    def derivative(energy: Callable[[NDArray], float], positions: NDArray, direction: NDArray, step: float = 1e-4) -> float:
        near = energy(positions + step * direction) - energy(positions - step * direction)
        far = energy(positions + 2 * step * direction) - energy(positions - 2 * step * direction)
        return (8 * near - far) / (12 * step)

    return derivative
