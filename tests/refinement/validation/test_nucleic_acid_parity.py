"""Nucleic-acid metrics of real models against the counts of an independent program (cctbx 2025.11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement.restraints.library import load_monomer_library
from refinement.restraints.topology import build_topology
from refinement.structure import ResidueKind, read_structure
from refinement.validation.base_pairs import base_pairs
from refinement.validation.nucleic_backbone import nucleic_backbone
from refinement.validation.sugar_pucker import sugar_pucker
from refinement.validation.suites import suites

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.shared


def test_ires_agrees_with_another_program(shared: Path) -> None:
    """Counts are those of cctbx 2025.11 for 4UPY."""
    structure = read_structure(shared / "odd_models" / "4UPY.pdb.gz")
    puckers, found = sugar_pucker(structure), suites(structure)
    assert (len(puckers.outlier), int(puckers.outlier.sum())) == (337, 40)
    assert (int(puckers.riboses.c2_endo.sum()), int((puckers.outlier & puckers.riboses.c2_endo).sum())) == (46, 15)
    assert (len(found.residue), int(found.outlier.sum())) == (337, 156)
    assert found.mean_suiteness == pytest.approx(0.2063522, abs=1e-7)
    names, counts = np.unique(found.found.name, return_counts=True)
    frequent = {"!!": 156, "1a": 104, "1c": 22, "1f": 8, "1b": 6, "1m": 5, "1t": 4, "__": 3, "1[": 3, "1g": 3}
    assert {name: count for name, count in zip(names.tolist(), counts.tolist(), strict=True) if count > 2} == frequent
    nucleotides = structure.without((structure.residues.kind != ResidueKind.NUCLEIC)[structure.residue])
    topology = build_topology(nucleotides, load_monomer_library(["A", "C", "G", "U"]))
    backbone = nucleic_backbone(nucleotides, topology)
    assert (len(backbone.bonds), int((np.abs(backbone.bond_z) >= 4).sum())) == (4709, 17)
    assert (len(backbone.angles), int((np.abs(backbone.angle_z) >= 4).sum())) == (7394, 331)
    pairs = base_pairs(structure)
    symmetric = {"I", "II", "III", "IV", "XII", "XIII", "XIV"}  # the other program needs two bonds and knows one of these
    assert sum(pair.saenger not in symmetric for pair in pairs.pairs) == 96


def test_ribosome_agrees_with_another_program(shared: Path) -> None:
    structure = read_structure(shared / "odd_models" / "mmcif_6zu5.cif.gz")
    puckers, found = sugar_pucker(structure), suites(structure)
    assert (len(puckers.outlier), int(puckers.outlier.sum())) == (3910, 35)
    assert (len(found.residue), int(found.outlier.sum())) == (3910, 755)
    assert found.mean_suiteness == pytest.approx(0.47465078, abs=1e-7)
    pairs = base_pairs(structure)
    kinds = pairs.details["base_pairs"]["by_kind"]  # type: ignore[index]
    assert (kinds["Watson-Crick"], kinds["wobble"]) == (1003, 85)
    assert np.nansum(pairs.columns["base_pairs"]) == 2 * len(pairs.pairs)


def test_dna_duplex(shared: Path) -> None:
    structure = read_structure(shared / "odd_models" / "pdb7pbl.pdb.gz")
    assert sugar_pucker(structure).reasons == {"na_pucker_outliers": "not_applicable"}
    found = base_pairs(structure)
    assert [pair.kind for pair in found.pairs] == ["Watson-Crick"] * 12
    assert len(found.stacks) == 28
