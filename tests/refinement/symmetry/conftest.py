"""Particles made of a part of the example's second chain."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from curation.example_model import build_truth
from refinement.cells import nearest_points
from refinement.maps.density import Density
from refinement.maps.interpolation import prepare
from refinement.maps.scattering import model_map
from refinement.operators import Operators, turned_about
from refinement.restraints.library import load_monomer_library
from refinement.restraints.topology import build_topology
from refinement.settings import settings_for
from refinement.states import Problem, elimination_pattern
from refinement.structure import Structure, from_gemmi

if TYPE_CHECKING:
    from collections.abc import Callable

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
CLOSEST = 3.2
"""Å between copies that touch."""


UP = (0.0, 0.0, 1.0)
GENERATORS = {
    "C2": [turned_about(UP, 180.0)],
    "C3": [turned_about(UP, 120.0)],
    "C4": [turned_about(UP, 90.0)],
    "D2": [turned_about(UP, 180.0), turned_about((1.0, 0.0, 0.0), 180.0)],
    "T": [turned_about(UP, 180.0), turned_about((1.0, 1.0, 1.0), 120.0)],
}


def group_operators(name: str) -> Operators:
    """Return the operators of a point group about the origin, the identity first."""
    group = [np.eye(3)]
    for member in group:
        for generator in GENERATORS[name]:
            product = generator @ member
            if not any(np.allclose(product, other, atol=1e-6) for other in group):
                group.append(product)
    return Operators(np.array(group), np.zeros((len(group), 3)))


def chain_of(structure: Structure, name: str, first: int, last: int) -> Structure:
    residues = structure.residues
    wanted = (residues.chain == name) & (residues.number >= first) & (residues.number <= last)
    return structure.without(~wanted[structure.residue])


def assembled(protomer: Structure, operators: Operators) -> Structure:
    """Put copies of a one-chain model together, chains A, B, C, …"""
    source = protomer.to_gemmi()
    out = source.clone()
    del out[0]
    out.add_model(gemmi.Model(1))
    for k in range(len(operators)):
        for chain in source[0]:
            copy = chain.clone()
            copy.name = LETTERS[len(out[0])]
            transform = gemmi.Transform(gemmi.Mat33(operators.rotation[k].tolist()), gemmi.Vec3(*operators.shift[k].tolist()))
            for residue in copy:
                residue.subchain = ""
                for atom in residue:
                    atom.pos = gemmi.Position(transform.apply(atom.pos))
            out[0].add_chain(copy)
    return from_gemmi(out)


def touching(protomer: Structure, operators: Operators, direction: tuple[float, float, float]) -> Structure:
    """Shift a protomer along a direction until its copies just touch it."""
    centred = protomer.positions - protomer.positions.mean(axis=0)
    way = np.array(direction) / np.linalg.norm(direction)
    distance = 0.0
    while True:
        moved = centred + distance * way
        images = np.concatenate([operators.apply(k, moved) for k in range(1, len(operators))])
        if nearest_points(images, moved, CLOSEST)[1].min() == np.inf:
            return protomer.moved(moved)
        distance += 0.5


@pytest.fixture(scope="session")
def assemble() -> Callable[[Structure, Operators], Structure]:
    """Return the function that puts copies of a model together."""
    return assembled


@pytest.fixture(scope="session")
def protomer() -> Structure:
    """Residues 10 to 45 of the example's second chain."""
    return chain_of(from_gemmi(build_truth()), "B", 10, 45)


@pytest.fixture(scope="session")
def particle(protomer: Structure) -> Callable[..., tuple[Structure, Operators]]:
    """Return a function that makes a particle of a point group about a point off the origin; it returns the operators too."""

    def make(
        name: str,
        direction: tuple[float, float, float] = (1.0, 0.2, 0.3),
        centre: tuple[float, ...] = (40.0, 45.0, 50.0),
    ) -> tuple[Structure, Operators]:
        operators = group_operators(name)
        placed = touching(protomer, operators, direction)
        about = operators.about(-np.array(centre))
        return assembled(placed.moved(placed.positions + np.array(centre)), about), about

    return make


@pytest.fixture(scope="session")
def map_of() -> Callable[..., Density]:
    """Return a function that makes the map of a model."""

    def make(structure: Structure, d_min: float = 3.0, *, noise: float = 0.0, seed: int = 0) -> Density:
        corner = structure.positions.min(axis=0) - 8.0
        dims = np.ceil(structure.positions.max(axis=0) + 8.0 - corner).astype(int)
        empty = Density(np.zeros(dims, dtype=np.float32), gemmi.UnitCell(*dims.astype(float), 90, 90, 90), corner)
        values = model_map(structure, empty, d_min)
        values = values + noise * values.std() * np.random.default_rng(seed).normal(size=values.shape).astype(np.float32)
        return replace(empty, values=values.astype(np.float32))

    return make


@pytest.fixture(scope="session")
def problem_of() -> Callable[..., Problem]:
    """Return a function that makes the problem of a model in a map."""

    def make(structure: Structure, density: Density, *, resolution: float = 3.0, threads: int = 1, **changes: object) -> Problem:
        library = load_monomer_library(np.unique(structure.residues.compound).tolist())
        topology = build_topology(structure, library)
        return Problem(
            topology=topology,
            library=library,
            density=density,
            interpolated=prepare(density),
            resolution=resolution,
            settings=settings_for("default").model_copy(update=changes),
            threads=threads,
            pattern=elimination_pattern(structure, topology),
        )

    return make
