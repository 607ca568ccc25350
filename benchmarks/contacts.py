"""Time of hydrogens, pair lists, contacts and the clashscore.

Run with ``pytest benchmarks/contacts.py``; the model is a bundle of helices with side chains that have hydroxyl,
thiol and ammonium groups, about 9000 atoms with hydrogens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from refinement.cells import neighbour_pairs
from refinement.restraints.contact_types import contact_types
from refinement.restraints.hydrogens import hydrogenate
from refinement.restraints.library import load_monomer_library
from refinement.restraints.nonbonded import make_nonbonded
from refinement.restraints.riding import fold_gradient, place
from refinement.structure import from_gemmi
from refinement.validation.clashscore import clashscore
from refinement.validation.contacts import find_clashes

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.restraints.hydrogens import Hydrogenated
    from refinement.restraints.nonbonded import Nonbonded
    from refinement.structure import Structure

COMPOUNDS = ("SER", "LYS", "LEU", "TYR", "ASP", "VAL", "THR", "ARG")
SIDE = 8
"""Residues of each kind stand on a square of this side, a layer for each compound."""
SPACING = 6.5
"""Å between them: dense enough for contacts of every kind."""


@pytest.fixture(scope="module")
def library() -> gemmi.MonLib:
    return load_monomer_library(COMPOUNDS)


@pytest.fixture(scope="module")
def structure(library: gemmi.MonLib) -> Structure:
    rng = np.random.default_rng(0)
    source, model, chain = gemmi.Structure(), gemmi.Model(1), gemmi.Chain("A")
    corners = np.stack(np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    for number, corner in enumerate(corners, start=2):
        compound = COMPOUNDS[number % len(COMPOUNDS)]
        known = [atom for atom in library.monomers[compound].atoms if atom.el.name != "H" and atom.id != "OXT"]
        xyz = np.array([atom.xyz.tolist() for atom in known])
        rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        rotation *= np.sign(np.linalg.det(rotation))
        residue = gemmi.Residue()
        residue.name, residue.seqid = compound, gemmi.SeqId(number, " ")
        for template, position in zip(known, (xyz - xyz.mean(axis=0)) @ rotation.T + SPACING * corner, strict=True):
            atom = gemmi.Atom()
            atom.name, atom.element, atom.pos = template.id, template.el, gemmi.Position(*position)
            residue.add_atom(atom)
        chain.add_residue(residue)
    model.add_chain(chain)
    source.add_model(model)
    return from_gemmi(source)


@pytest.fixture(scope="module")
def model(structure: Structure, library: gemmi.MonLib) -> Hydrogenated:
    return hydrogenate(structure, library)


@pytest.fixture(scope="module")
def nonbonded(model: Hydrogenated, library: gemmi.MonLib) -> Nonbonded:
    types = contact_types(model.structure, model.bonding.neighbours, library)
    return make_nonbonded(model.structure, types, model.bonding.neighbours)


def test_adding_hydrogens(benchmark: Callable[..., Hydrogenated], structure: Structure, library: gemmi.MonLib) -> None:
    assert len(benchmark(hydrogenate, structure, library).riding.hydrogen) > 3000


def test_clashscore_with_hydrogens_added(benchmark: Callable, structure: Structure, library: gemmi.MonLib) -> None:
    assert benchmark(clashscore, structure, library).summary["clashscore"] > 0


def test_contact_dots(benchmark: Callable, model: Hydrogenated, library: gemmi.MonLib) -> None:
    types = contact_types(model.structure, model.bonding.neighbours, library)
    assert len(benchmark(find_clashes, model.structure, types, model.bonding.neighbours).pairs) > 0


def test_neighbour_search(benchmark: Callable, model: Hydrogenated) -> None:
    assert len(benchmark(neighbour_pairs, model.structure.positions, 2.3)) > 0


def test_pair_list(benchmark: Callable, model: Hydrogenated, nonbonded: Nonbonded) -> None:
    assert len(benchmark(nonbonded.pair_list, model.structure.positions).pairs) > 0


def test_repulsion(benchmark: Callable, model: Hydrogenated, nonbonded: Nonbonded) -> None:
    positions = model.structure.positions
    listed, gradient = nonbonded.pair_list(positions), np.zeros_like(positions)
    assert benchmark(listed.energy_and_gradient, positions, gradient, weight=200.0) > 0


def test_placing_hydrogens(benchmark: Callable, model: Hydrogenated) -> None:
    positions = model.structure.positions.copy()
    benchmark(place, model.riding, positions)
    assert np.isfinite(positions).all()


def test_folding_gradients(benchmark: Callable, model: Hydrogenated) -> None:
    positions, gradient = model.structure.positions, np.ones_like(model.structure.positions)
    benchmark(fold_gradient, model.riding, positions, gradient)
    assert np.isfinite(gradient).all()
