"""Which side chains are doubtful."""

from __future__ import annotations

from dataclasses import replace

import gemmi
import numpy as np
import pytest

from curation.example_model import build_truth
from refinement.maps.density import Density
from refinement.maps.interpolation import InterpolatedMap, prepare
from refinement.maps.scattering import model_map
from refinement.moves.doubtful import doubtful
from refinement.structure import Structure, from_gemmi
from refinement.validation.rotamers import OUTLIER, rotamers


@pytest.fixture(scope="module")
def fitted() -> tuple[Structure, InterpolatedMap]:
    """A part of the example in its map at 2 Å."""
    truth = from_gemmi(build_truth())
    model = truth.without(~((truth.residues.chain == "A") & (truth.residues.number <= 40))[truth.residue])
    corner = model.positions.min(axis=0) - 7.0
    dims = np.ceil((model.positions.max(axis=0) + 7.0 - corner) / 0.8).astype(int)
    cell = gemmi.UnitCell(*(0.8 * dims).astype(float), 90, 90, 90)
    empty = Density(np.zeros(dims, dtype=np.float32), cell, corner)
    return model, prepare(replace(empty, values=model_map(model, empty, 2.0)).normalised())


def test_a_model_in_its_map_has_only_its_outliers(fitted: tuple[Structure, InterpolatedMap]) -> None:
    model, density = fitted
    sides = rotamers(model)
    assert np.flatnonzero(doubtful(model, density)).tolist() == sides.residue[sides.score < OUTLIER].tolist()


def test_a_side_chain_outside_its_density_is_doubtful(fitted: tuple[Structure, InterpolatedMap]) -> None:
    model, density = fitted
    row = int(np.flatnonzero(model.residues.compound == "PHE")[0])
    side = (model.residue == row) & ~np.isin(model.names, ("N", "CA", "C", "O", "CB"))
    alpha, beta = (model.positions[(model.residue == row) & (model.names == name)][0] for name in ("CA", "CB"))
    axis = (beta - alpha) / np.linalg.norm(beta - alpha)
    moved = model.positions.copy()
    arm = moved[side] - beta
    moved[side] = beta + 2.0 * (arm @ axis)[:, None] * axis - arm  # by 180° about Cα-Cβ
    before = doubtful(model, density)
    after = doubtful(model.moved(moved), density)
    assert not before[row]
    assert after[row]


def test_where_the_backbone_has_no_density_nothing_can_be_said(fitted: tuple[Structure, InterpolatedMap]) -> None:
    model, density = fitted
    row = int(np.flatnonzero(model.residues.compound == "PHE")[0])
    moved = model.positions.copy()
    moved[model.residue == row] += 40.0
    assert not doubtful(model.moved(moved), density)[row]
