"""The weight of the map: what bonds ask for, and what a strained start may not spoil."""

from __future__ import annotations

from dataclasses import replace

import gemmi
import numpy as np
import pytest

from curation.example_model import build_truth
from refinement.maps.density import Density
from refinement.maps.scattering import model_map
from refinement.output import RunLog
from refinement.protocol import refine
from refinement.restraints.library import load_monomer_library
from refinement.restraints.topology import Topology, build_topology
from refinement.settings import Settings
from refinement.structure import Structure, from_gemmi
from refinement.validation.geometry import bond_deviations, covalent_geometry
from refinement.weight import BROKEN, EXPONENT, LARGEST_STEP, followed_weight

WANTED = Settings().bond_rmsd_target


@pytest.fixture(scope="module")
def stretch() -> tuple[Structure, Topology]:
    """Forty residues of the example protein and their restraints."""
    full = from_gemmi(build_truth())
    wanted = (full.residues.chain == "B") & (full.residues.number <= 40)
    model = full.without(~wanted[full.residue])
    return model, build_topology(model, load_monomer_library(np.unique(model.residues.compound).tolist()))


def shaken(model: Structure, by: float) -> Structure:
    return model.moved(model.positions + np.random.default_rng(8).normal(scale=by, size=model.positions.shape))


def test_deviations_are_those_of_the_geometry_table(stretch: tuple[Structure, Topology]) -> None:
    model, topology = shaken(stretch[0], 0.02), stretch[1]
    deviation = bond_deviations(model, topology)
    assert np.sqrt(np.mean(deviation**2)) == pytest.approx(covalent_geometry(model, topology).bonds.rmsd)


def test_the_weight_follows_the_bonds(stretch: tuple[Structure, Topology]) -> None:
    model, topology = shaken(stretch[0], 0.008), stretch[1]
    deviation = float(np.sqrt(np.mean(bond_deviations(model, topology) ** 2)))
    assert deviation > 1.2 * WANTED
    found = followed_weight(10.0, model, topology, Settings())
    assert found == pytest.approx(10.0 * (WANTED / deviation) ** EXPONENT)


def test_one_broken_bond_does_not_rule_the_weight(stretch: tuple[Structure, Topology]) -> None:
    model, topology = shaken(stretch[0], 0.008), stretch[1]
    end = int(np.flatnonzero((model.names == "NZ") & (model.residues.compound[model.residue] == "LYS"))[0])
    positions = model.positions.copy()
    positions[end] += 1.0
    broken = model.moved(positions)
    assert np.abs(bond_deviations(broken, topology)).max() > BROKEN
    whole, spoilt = (followed_weight(10.0, each, topology, Settings()) for each in (model, broken))
    assert spoilt == pytest.approx(whole, rel=0.03)


def test_a_weight_that_is_nearly_right_stays_and_steps_are_bounded(stretch: tuple[Structure, Topology]) -> None:
    model, topology = shaken(stretch[0], 0.004), stretch[1]
    deviation = float(np.sqrt(np.mean(bond_deviations(model, topology) ** 2)))
    assert followed_weight(10.0, model, topology, Settings(bond_rmsd_target=1.1 * deviation)) == 10.0
    assert followed_weight(10.0, model, topology, Settings(bond_rmsd_target=9.0 * deviation)) == 10.0 * LARGEST_STEP
    limits = Settings(bond_rmsd_target=9.0 * deviation, weight_limits=(2.0, 12.0))
    assert followed_weight(10.0, model, topology, limits) == pytest.approx(12.0)


def test_a_strained_start_ends_with_the_weight_of_a_good_one(stretch: tuple[Structure, Topology]) -> None:
    truth, _ = stretch
    corner = truth.positions.min(axis=0) - 7.0
    dims = np.ceil(truth.positions.max(axis=0) + 7.0 - corner).astype(int)
    empty = Density(np.zeros(dims, dtype=np.float32), gemmi.UnitCell(*dims.astype(float), 90, 90, 90), corner)
    density = replace(empty, values=model_map(truth, empty, 3.0))

    def weight(start: Structure, cycles: int) -> float:
        result = refine(
            start,
            density,
            resolution=3.0,
            library=load_monomer_library(np.unique(truth.residues.compound).tolist()),
            settings=Settings(cycles=5, weight_cycles=cycles, adp_evaluations=0),
            threads=1,
            log=RunLog(),
            progress=lambda _doing, _fraction: None,
        )
        return float(result.record["map_weight"])

    good, strained, misled = weight(truth, 4), weight(shaken(truth, 0.25), 4), weight(shaken(truth, 0.25), 0)
    assert misled < 0.7 * good
    assert strained == pytest.approx(good, rel=0.25)
