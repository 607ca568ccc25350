"""Peptides of known torsion angles, built atom by atom."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from refinement import tables
from refinement.structure import Structure, from_gemmi

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray


def place(a: NDArray, b: NDArray, c: NDArray, length: float, angle: float, dihedral: float) -> NDArray:
    """Return the atom d with bond c-d, angle b-c-d and dihedral a-b-c-d."""
    axis = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, axis)
    normal /= np.linalg.norm(normal)
    angle, dihedral = np.radians(angle), np.radians(dihedral)
    across = np.cross(normal, axis)
    return c + length * (-np.cos(angle) * axis + np.sin(angle) * (np.cos(dihedral) * across + np.sin(dihedral) * normal))


@dataclass
class Site:
    """One atom of a model to be."""

    chain: str
    number: int
    compound: str
    name: str
    position: NDArray
    letter: str = ""
    insertion: str = ""


@dataclass
class Peptide:
    """Atoms that can be edited before they become a `Structure`."""

    sites: list[Site] = field(default_factory=list)

    def structure(self) -> Structure:
        """Return the model; consecutive sites with one label share a residue."""
        source = gemmi.Structure()
        source.add_model(gemmi.Model(1))
        model = source[0]
        previous = None
        for site in self.sites:
            label = (site.chain, site.number, site.insertion, site.compound)
            if previous is None or site.chain != previous[0]:
                model.add_chain(gemmi.Chain(site.chain))
            if label != previous:
                residue = gemmi.Residue()
                residue.name, residue.seqid = site.compound, gemmi.SeqId(site.number, site.insertion or " ")
                model[-1].add_residue(residue)
                previous = label
            atom = gemmi.Atom()
            atom.name, atom.element = site.name, gemmi.Element("Se" if site.name == "SE" else site.name[0])
            atom.pos, atom.altloc = gemmi.Position(*site.position), site.letter or "\0"
            model[-1][-1].add_atom(atom)
        return from_gemmi(source)

    def without(self, *doomed: tuple[int, str]) -> Peptide:
        """Return a copy without atoms given as residue number and name."""
        return Peptide([site for site in self.sites if (site.number, site.name) not in doomed])

    def changed(self, change: Callable[[Site], Site]) -> Peptide:
        """Return a copy with every site replaced."""
        return Peptide([change(replace(site)) for site in self.sites])

    def split(self, chosen: Callable[[Site], bool], letters: str = "AB", shift: float = 0.0) -> Peptide:
        """Return a copy in which chosen atoms come once per letter, each further one moved by `shift` Å along x."""
        sites = []
        for site in self.sites:
            if not chosen(site):
                sites.append(site)
                continue
            moved = [np.array([shift * k, 0, 0]) for k in range(len(letters))]
            sites += [replace(site, letter=a, position=site.position + d) for a, d in zip(letters, moved, strict=True)]
        return Peptide(sites)

    def __add__(self, other: Peptide) -> Peptide:
        return Peptide(self.sites + other.sites)


def build(
    sequence: Sequence[str],
    phi: Sequence[float],
    psi: Sequence[float],
    omega: Sequence[float],
    chi: Sequence[Sequence[float]],
    chain: str,
) -> Peptide:
    """Place N, CA, C, O, CB and the atoms that define χ."""
    peptide = Peptide()
    n, ca, c = np.array([0.0, 0.0, 0.0]), np.array([1.458, 0.0, 0.0]), np.array([2.009, 1.42, 0.0])
    for k, compound in enumerate(sequence):
        if k:
            before = (n, ca, c)
            n = place(*before, 1.329, 116.2, psi[k - 1])
            ca = place(before[1], before[2], n, 1.458, 121.7, omega[k])
            c = place(before[2], n, ca, 1.525, 111.2, phi[k])
        atoms = {"N": n, "CA": ca, "C": c, "O": place(n, ca, c, 1.231, 120.8, psi[k] + 180)}
        if compound != "GLY":
            atoms["CB"] = place(n, c, ca, 1.53, 110.1, 122.8)
        for quad, angle in zip(tables.chi_atoms().get(compound, ()), chi[k], strict=False):
            if quad[3] not in atoms:
                atoms[quad[3]] = place(*(atoms[name] for name in quad[:3]), 1.52, 112.0, angle)
        peptide.sites += [Site(chain, k + 1, compound, name, position) for name, position in atoms.items()]
    return peptide


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(20)


@pytest.fixture(scope="session")
def peptide() -> Callable[..., Peptide]:
    """Return a function that builds a peptide of given torsion angles (one number stands for all residues)."""

    def make(
        sequence: Sequence[str],
        phi: float | Sequence[float] = -63.0,
        psi: float | Sequence[float] = -43.0,
        omega: float | Sequence[float] = 180.0,
        chi: Sequence[Sequence[float]] | None = None,
        chain: str = "A",
    ) -> Peptide:
        angles = [np.broadcast_to(values, len(sequence)).tolist() for values in (phi, psi, omega)]
        return build(sequence, *angles, chi or [(-65.0, 180.0, 180.0, 180.0)] * len(sequence), chain)

    return make


@pytest.fixture(scope="session")
def sheet(peptide: Callable[..., Peptide]) -> Callable[..., Peptide]:
    """Return a function that lays two strands of nine alanines side by side, 4.8 Å apart, numbers 1 to 9 and 21 to 29."""

    def make(*, parallel: bool, shift: float = 0.0) -> Peptide:
        strand = peptide(["ALA"] * 9, phi=-120.0, psi=120.0)
        xyz = {name: np.array([s.position for s in strand.sites if s.name == name]) for name in ("CA", "C", "O")}
        centre = xyz["CA"].mean(axis=0)
        along = np.linalg.svd(xyz["CA"] - centre)[2][0]
        along *= np.sign(along @ (xyz["CA"][-1] - xyz["CA"][0]))
        carbonyl = xyz["O"] - xyz["C"]
        across = carbonyl[0::2].sum(axis=0) - carbonyl[1::2].sum(axis=0)
        across -= (across @ along) * along
        across /= np.linalg.norm(across)
        frame = np.stack([across, np.cross(along, across), along])
        turn = np.ones(3) if parallel else np.array([-1.0, 1.0, -1.0])
        placed = [(site, frame @ (site.position - centre)) for site in strand.sites]
        first = [replace(site, position=at) for site, at in placed]
        second = [replace(s, number=s.number + 20, position=turn * at + np.array([4.8, 0.0, shift])) for s, at in placed]
        return Peptide(first + second)

    return make
