"""Models whose geometry is mended before they are held where they are."""

from __future__ import annotations

import gemmi
import numpy as np

from curation.example_model import build_truth
from refinement.cross_validation import shaken
from refinement.maps.density import Density
from refinement.maps.interpolation import prepare
from refinement.regular import regularised
from refinement.restraints.library import load_monomer_library
from refinement.restraints.topology import build_topology
from refinement.settings import settings_for
from refinement.states import Problem, elimination_pattern, make_state
from refinement.structure import Structure, from_gemmi


def test_a_shaken_model_gets_its_geometry_back_and_comes_nearer_to_the_truth() -> None:
    whole = from_gemmi(build_truth())
    residues = whole.residues
    elsewhere = ~((residues.chain == "A") & (residues.number <= 30))[whole.residue]
    truth = whole.without(elsewhere | whole.is_hydrogen)
    start = shaken(truth, 0.3, 4)
    library = load_monomer_library(np.unique(truth.residues.compound).tolist(), [])
    topology = build_topology(start, library)
    corner = truth.positions.min(axis=0) - 8.0
    dims = np.ceil(truth.positions.max(axis=0) + 8.0 - corner).astype(int)
    noise = np.random.default_rng(1).normal(size=dims).astype(np.float32)
    box = Density(noise, gemmi.UnitCell(*dims.astype(float), 90, 90, 90), corner)
    pattern = elimination_pattern(start, topology)
    problem = Problem(topology, library, box, prepare(box), 3.0, settings_for("quick"), 1, pattern=pattern)
    before = make_state("start", start, problem)
    after = regularised(before, problem)
    assert before.geometry.bonds_rmsd > 0.2
    assert after.geometry.bonds_rmsd < 0.006
    assert after.label == "start"

    def off(model: Structure, among: np.ndarray) -> float:
        return float(np.sqrt(((model.positions - truth.positions)[among] ** 2).sum(axis=1).mean()))

    backbone = np.isin(truth.names, ("N", "CA", "C", "O"))
    assert off(after.structure, backbone) < 0.8 * off(start, backbone)
