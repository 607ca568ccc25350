"""The example's protein in its own simulated map, with everything that moves need."""

from __future__ import annotations

from dataclasses import dataclass, replace

import gemmi
import numpy as np
import pytest

from curation.example_model import build_truth
from refinement.maps.density import Density
from refinement.maps.interpolation import InterpolatedMap, prepare
from refinement.maps.scattering import model_map
from refinement.moves.side_chain_atoms import Rules
from refinement.restraints.library import load_monomer_library
from refinement.states import Model
from refinement.structure import Structure, from_gemmi
from refinement.validation.rotamers import FAVORED, OUTLIER


@dataclass(frozen=True)
class Scene:
    """A true model, its map and its dictionaries."""

    truth: Structure
    density: Density
    interpolated: InterpolatedMap
    library: gemmi.MonLib

    def model(self, structure: Structure) -> Model:
        return Model.of(structure, self.library)

    def row(self, chain: str, number: int) -> int:
        residues = self.truth.residues
        return int(np.flatnonzero((residues.chain == chain) & (residues.number == number))[0])

    def atom(self, row: int, name: str) -> int:
        return int(np.flatnonzero((self.truth.residue == row) & (self.truth.names == name))[0])


@pytest.fixture(scope="session")
def scene() -> Scene:
    everything = from_gemmi(build_truth())
    truth = everything.without(~np.isin(everything.residues.chain, ("A", "B"))[everything.residue])
    corner = truth.positions.min(axis=0) - 7.0
    dims = np.ceil(truth.positions.max(axis=0) + 7.0 - corner).astype(int)
    empty = Density(np.zeros(dims, dtype=np.float32), gemmi.UnitCell(*dims.astype(float), 90, 90, 90), corner)
    density = replace(empty, values=model_map(truth, empty, 3.0))
    library = load_monomer_library(np.unique(truth.residues.compound).tolist())
    return Scene(truth, density, prepare(density), library)


@pytest.fixture
def rules() -> Rules:
    return Rules(
        contact_weight=300.0, reduction=0.2, cap=8.0, bond=1.5, favored=FAVORED, outlier=OUTLIER, gain=0.5, poor=0.7,
        angle_penalty=0.02, doubt=0.0,
    )  # fmt: skip
