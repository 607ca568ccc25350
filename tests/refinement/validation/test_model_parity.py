"""The model metrics of the shared pairs against an independent program's values, residue by residue."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from refinement.restraints.library import load_monomer_library
from refinement.restraints.topology import build_topology
from refinement.structure import Structure, read_structure
from refinement.validation.cbeta import cbeta_deviations
from refinement.validation.geometry import covalent_geometry
from refinement.validation.molprobity import molprobity_score
from refinement.validation.omega import omega
from refinement.validation.ramachandran import ramachandran
from refinement.validation.rotamers import rotamers

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PAIRS = {
    "mavs_5925": "mavs_5925/model.pdb",
    "tmv_6i5a": "tmv_6i5a/model.pdb",
    "tmv_6i5a.published_refined": "tmv_6i5a/published_refined.pdb",
    "spike_ntd_origin": "spike_ntd_origin/model.pdb",
    "apof_20026": "apof_20026/model.pdb",
    "hb_5ni1": "hb_5ni1/model.cif",
    "7cec_A": "7cec_A/model.cif",
    "5ly6": "5ly6/model.pdb",
    "5ly6.published_refined": "5ly6/published_refined.pdb",
    "gsec_5fn5": "gsec_5fn5/model.pdb",
    "hcn4_6gyn": "hcn4_6gyn/model.pdb",
}

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module", params=PAIRS)
def pair(request: pytest.FixtureRequest, shared: Path) -> tuple[Structure, dict[str, Any]]:
    values = json.loads((shared / "oracle" / "values" / f"{request.param}.json").read_text())
    return read_structure(shared / "pairs" / PAIRS[request.param]), values


def column(structure: Structure, values: dict[str, Any], name: str) -> NDArray[np.float64]:
    """Return a per-residue column of the other program in our order of residues."""
    table = values["per_residue"]
    place = table["columns"].index(name)
    known = {tuple(row[:4]): row[place] for row in table["rows"]}
    residues = structure.residues
    labels = zip(residues.chain, residues.number, residues.insertion, residues.compound, strict=True)
    found = [known.get((str(c), str(n), str(i), str(r))) for c, n, i, r in labels]
    return np.array([np.nan if value is None else value for value in found])


def assert_same(ours: NDArray[np.float32], theirs: NDArray[np.float64], tolerance: float, period: float = np.inf) -> None:
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    difference = (ours - theirs)[~np.isnan(theirs)]
    if np.isfinite(period):
        difference = (difference + period / 2) % period - period / 2
    assert np.abs(difference).max(initial=0) <= tolerance


def test_ramachandran(pair: tuple[Structure, dict[str, Any]]) -> None:
    structure, values = pair
    result = ramachandran(structure)
    assert result.evaluated == values["extra"]["n_rama"]
    for key, value in result.summary.items():
        assert value == pytest.approx(values["metrics"][key], abs=1e-5)
    assert_same(result.phi, column(structure, values, "phi"), 0.0051, 360)
    assert_same(result.psi, column(structure, values, "psi"), 0.0051, 360)
    assert_same(result.score, column(structure, values, "rama_score"), 2e-6)


def test_rotamers(pair: tuple[Structure, dict[str, Any]]) -> None:
    structure, values = pair
    result = rotamers(structure)
    assert len(result.score) == values["extra"]["n_rotamers"]
    for key, value in result.summary.items():
        assert value == pytest.approx(values["metrics"][key], abs=1e-5)
    assert_same(result.columns["rotamer_score"], column(structure, values, "rotamer_score"), 2e-6)
    table = values["per_residue"]
    name, compound = table["columns"].index("rotamer"), table["columns"].index("compound")
    theirs = sorted((row[compound], row[name]) for row in table["rows"] if row[name] is not None)
    ours = sorted(zip(structure.residues.compound[result.residue].tolist(), result.name.tolist(), strict=True))
    assert ours == theirs


def test_cbeta_and_omega(pair: tuple[Structure, dict[str, Any]]) -> None:
    structure, values = pair
    cbeta, peptides = cbeta_deviations(structure), omega(structure)
    assert len(cbeta.deviation) == values["extra"]["n_cbeta"]
    for key, value in (cbeta.summary | peptides.summary).items():
        assert value == values["metrics"][key]
    assert peptides.cis_proline == values["extra"]["cis_proline"]
    assert_same(cbeta.columns["cbeta_deviation"], column(structure, values, "cbeta"), 6e-5)
    assert_same(peptides.columns["omega"], column(structure, values, "omega"), 0.0051, 360)


def test_covalent_geometry(pair: tuple[Structure, dict[str, Any]]) -> None:
    structure, values = pair
    topology = build_topology(structure, load_monomer_library(structure.residues.compound.tolist()))
    result = covalent_geometry(structure, topology)
    heavy = "bonds_rmsd_heavy" in values["extra"]
    theirs = values["extra"] if heavy else values["metrics"]
    suffix = "_heavy" if heavy else ""
    assert result.bonds.rmsd == pytest.approx(theirs[f"bonds_rmsd{suffix}"], abs=2e-4)
    assert result.angles.rmsd == pytest.approx(theirs[f"angles_rmsd{suffix}"], abs=2e-3)
    assert result.chirality_outliers == values["metrics"]["chirality_outliers"]
    assert result.planarity_outliers == values["metrics"]["planarity_outliers"]
    if not heavy:
        assert result.bonds.count == values["extra"]["n_bonds"]
        assert abs(result.angles.count - values["extra"]["n_angles"]) <= 8
        assert result.bonds.rmsz == pytest.approx(values["metrics"]["bonds_rmsz"], abs=0.02)
        assert result.angles.rmsz == pytest.approx(values["metrics"]["angles_rmsz"], abs=0.02)


def test_molprobity_score(pair: tuple[Structure, dict[str, Any]]) -> None:
    metrics = pair[1]["metrics"]
    score = molprobity_score(metrics["clashscore"], metrics["rotamer_outliers"], metrics["rama_favored"])
    assert score == pytest.approx(metrics["molprobity_score"], abs=1e-5)


def test_large_models_take_fractions_of_a_second(shared: Path) -> None:
    structure = read_structure(shared / "pairs" / "hcn4_6gyn" / "model.pdb")
    topology = build_topology(structure, load_monomer_library(structure.residues.compound.tolist()))
    best = np.inf
    for _ in range(3):
        start = time.process_time()
        ramachandran(structure), rotamers(structure), cbeta_deviations(structure), omega(structure)
        covalent_geometry(structure, topology)
        best = min(best, time.process_time() - start)
    assert best < 0.5
