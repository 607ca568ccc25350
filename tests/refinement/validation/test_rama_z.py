"""Rama-Z and the helices and strands of the Cα trace behind it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
import pytest

from refinement import tables
from refinement.structure import from_gemmi, read_structure
from refinement.validation.ca_assignment import HELIX, LOOP, SHEET, assign_from_ca
from refinement.validation.rama_z import GROUPS, rama_z

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from refinement.structure import Structure

Peptides = Any


def reference_z(state: str, kind: str, phi: float, psi: float) -> float:
    """Compute z in plain Python, from the definition."""
    table = tables.rama_z()
    counts = table.counts["HSL".index(state), table.residue_types.index(kind)].astype(float)
    mean = sum(v * v for v in counts.flat) / sum(counts.flat)
    sd = (sum(v * (v - mean) ** 2 for v in counts.flat) / (sum(counts.flat) - 1)) ** 0.5
    x, y = (phi + 178.0) / 4.0, (psi + 178.0) / 4.0
    i, j = int(np.floor(x)), int(np.floor(y))
    height = sum((1 - abs(x - i - a)) * (1 - abs(y - j - b)) * counts[(i + a) % 90, (j + b) % 90] for a in (0, 1) for b in (0, 1))
    return (height - mean) / sd


def test_z_of_each_residue_and_scores_follow_the_definition(peptide: Callable[..., Peptides]) -> None:
    phi, psi = [-60, -70, 179.5, -120, 55, -64, -65, -75, -60, -63], [-40, 120, 179.9, 140, 40, 150, 140, 150, 150, -20]
    omega = [180, 180, 180, 180, 180, 180, 180, 0, 180, 180]
    names = ["ALA", "MSE", "GLY", "ILE", "GLY", "SER", "PRO", "PRO", "LYS", "ALA"]
    result = rama_z(peptide(names, phi, psi, omega).structure())
    kinds = ["MET", "GLY", "ILE", "GLY", "prePRO", "cisPRO", "cisPRO", "LYS"]  # a proline before a cis peptide counts as cis
    expected = [reference_z("L", kind, float(a), float(b)) for kind, a, b in zip(kinds, phi[1:-1], psi[1:-1], strict=True)]
    np.testing.assert_allclose(result.z, expected, atol=1e-6)
    mean, sd = tables.rama_z().calibration["W"]
    assert result.summary["rama_z"] == pytest.approx((np.mean(expected) - mean) / sd)
    left_out = [(np.mean(np.delete(expected, k)) - mean) / sd for k in range(len(expected))]
    assert result.deviations["rama_z"] == pytest.approx(np.std(left_out) * np.sqrt(len(expected) - 1))
    assert result.counts == {"rama_z": 8, "rama_z_helix": 0, "rama_z_sheet": 0, "rama_z_loop": 8}
    assert result.reasons == {"rama_z_helix": "not_applicable", "rama_z_sheet": "not_applicable"}
    np.testing.assert_allclose(result.columns["rama_z_residue"][1:-1], expected, atol=1e-5)


def test_ideal_helix_is_helix_and_lone_strand_is_loop(peptide: Callable[..., Peptides]) -> None:
    helix = peptide(["ALA"] * 15)
    assert (assign_from_ca(helix.structure()) == HELIX).all()
    assert (assign_from_ca(peptide(["ALA"] * 5).structure()) == LOOP).all()
    three_ten = assign_from_ca(peptide(["ALA"] * 15, phi=-49, psi=-26).structure())
    assert three_ten.tolist() == [HELIX] * 14 + [LOOP], "the last residue of a 3-10 helix has no step of its own"
    assert (assign_from_ca(peptide(["ALA"] * 9, phi=-120, psi=120).structure()) == LOOP).all()
    result = rama_z(helix.structure())
    assert result.counts["rama_z_helix"] == 13
    assert result.summary["rama_z_helix"] == pytest.approx(
        (reference_z("H", "ALA", -63, -43) + 0.045355950779513175) / 0.1951165524439217
    )


@pytest.mark.parametrize("parallel", [True, False])
def test_strands_side_by_side_are_sheet(sheet: Callable[..., Peptides], parallel: bool) -> None:
    both = sheet(parallel=parallel)
    assert (assign_from_ca(both.structure()) == SHEET).all()
    apart = both.changed(lambda s: replace(s, position=s.position + (s.number > 20) * np.array([3.0, 0, 0])))
    assert (assign_from_ca(apart.structure()) == LOOP).all()
    slid = sheet(parallel=parallel, shift=15.0)
    states = assign_from_ca(slid.structure())
    assert (states == SHEET).sum() in range(5 * 2, 9 * 2)
    split = both.changed(lambda s: replace(s, chain="AB"[s.number > 20]))
    assert (assign_from_ca(split.structure()) == LOOP).all(), "strands of different chains don't pair"


def test_helix_ends_where_the_chain_is_broken(peptide: Callable[..., Peptides]) -> None:
    helix = peptide(["ALA"] * 18)
    assert (assign_from_ca(helix.without((9, "CA")).structure()) == HELIX).sum() == 8 + 9
    renumbered = helix.changed(lambda s: replace(s, number=s.number + (s.number > 4)))
    states = assign_from_ca(renumbered.structure())
    assert states.tolist() == [LOOP] * 4 + [HELIX] * 14
    inserted = helix.changed(
        lambda s: replace(s, number=min(s.number, 12), insertion="" if s.number < 13 else "ABCDEF"[s.number - 13])
    )
    assert assign_from_ca(inserted.structure()).tolist() == [HELIX] * 12 + [LOOP] * 6


def test_copies_of_a_chain_share_the_assignment_of_the_first(peptide: Callable[..., Peptides]) -> None:
    first = peptide(["ALA"] * 12)
    rng = np.random.default_rng(4)
    worse = first.changed(lambda s: replace(s, chain="B", position=s.position + rng.normal(0, 0.5, 3)))
    assert (assign_from_ca(worse.structure()) != HELIX).any()
    assert (assign_from_ca((first + worse).structure()) == HELIX).all()


def test_alternates_count_once_unless_they_differ(peptide: Callable[..., Peptides]) -> None:
    helix = peptide(["ALA"] * 9)
    same = helix.split(lambda s: s.number == 5 and s.name == "CB", shift=0.3)
    moved = helix.split(lambda s: s.number == 5 and s.name in {"N", "CA", "C", "O", "CB"}, shift=0.2)
    assert rama_z(same.structure()).counts["rama_z"] == 7
    result = rama_z(moved.structure())
    assert result.counts["rama_z"] == 7 + 3, "the residue and both neighbours have two φ, ψ"
    assert np.isfinite(result.columns["rama_z_residue"]).sum() == 7


def test_nothing_to_evaluate_has_reasons(peptide: Callable[..., Peptides]) -> None:
    trace = peptide(["ALA"] * 12)
    trace.sites = [site for site in trace.sites if site.name == "CA"]
    for model in (trace, peptide(["UNK"] * 8), peptide(["ALA"] * 2), peptide(["DAL"] * 8)):
        result = rama_z(model.structure())
        assert result.summary == dict.fromkeys(GROUPS)
        assert set(result.reasons.values()) == {"not_applicable"}
    assert (assign_from_ca(trace.structure()) == HELIX).all()
    single = rama_z(peptide(["ALA"] * 3).structure())
    assert single.summary["rama_z"] is not None
    assert single.deviations["rama_z"] is None
    assert single.details["rama_z"]["rama_z"] == {"sd": None, "residues": 1}


def _disturbed(structure: Structure, rng: np.random.Generator) -> Structure:
    """Rotate and move a model, rename its chains and shuffle the atoms of every residue."""
    source = structure.to_gemmi()
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    for number, chain in enumerate(source[0]):
        chain.name = f"long{number}"
        for residue in chain:
            atoms = [atom.clone() for atom in residue]
            for k, place in enumerate(rng.permutation(len(atoms))):
                residue[k].name, residue[k].element, residue[k].altloc = (
                    atoms[place].name,
                    atoms[place].element,
                    atoms[place].altloc,
                )
                residue[k].pos = gemmi.Position(*(turn @ np.array(atoms[place].pos.tolist()) + 30.0))
    return from_gemmi(source)


def test_frame_names_and_order_do_not_matter(sheet: Callable[..., Peptides], peptide: Callable[..., Peptides], rng: Any) -> None:
    helix = peptide(["ALA", "LYS", "GLY", "SER"] * 4, chain="C")
    structure = (sheet(parallel=False) + helix).structure()
    before, after = rama_z(structure), rama_z(_disturbed(structure, rng))
    assert before.counts == after.counts
    for key, value in before.summary.items():
        assert after.summary[key] == pytest.approx(value, abs=1e-6)


PAIRS = (
    "5ly6", "7cec_A", "apof_20026", "gsec_5fn5", "hb_5ni1", "hcn4_6gyn", "mavs_5925", "spike_ntd_origin", "tmv_6i5a",
    "5ly6.published_refined", "tmv_6i5a.published_refined",
)  # fmt: skip


@pytest.mark.shared
@pytest.mark.parametrize("pair", PAIRS)
def test_scores_counts_and_errors_agree_with_an_independent_program(shared: Path, pair: str) -> None:
    known = json.loads((shared / "oracle" / "values" / f"{pair}.json").read_text(encoding="utf-8"))
    result = rama_z(read_structure(shared / "pairs" / pair.split(".")[0] / known["inputs"]["model"]))
    for key, value in result.summary.items():
        assert value == pytest.approx(known["metrics"][key], abs=1e-4)
        assert result.deviations[key] == pytest.approx(known["extra"].get(f"{key}_sd"), abs=1e-4)
        assert result.counts[key] == known["extra"].get(f"{key}_n", 0)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "counts", "scores"),
    [
        ("mmcif_6zu5.cif.gz", (10146, 3293, 1670, 5183), (-3.255588, -3.691468, -1.075658, -1.345062)),
        ("1M4X.cif.gz", (1233, 210, 333, 690), (-2.768992, -2.967539, -0.272807, -2.347174)),
        ("7kjr.pdb.gz", (436, 234, 90, 112), (1.132979, 1.810468, 0.019253, -0.810167)),
        ("pdb5fuu.ent.gz", (2243, 431, 600, 1212), (-2.381189, -1.701536, -1.015856, -1.819410)),
        ("mmcif_6yfy.cif.gz", (4, 0, 0, 4), (-5.222734, None, None, -3.973969)),
    ],
)
def test_odd_models_agree_with_an_independent_program(
    shared: Path, name: str, counts: tuple[int, ...], scores: tuple[float | None, ...]
) -> None:
    result = rama_z(read_structure(shared / "odd_models" / name))
    assert tuple(result.counts.values()) == counts
    assert list(result.summary.values()) == pytest.approx(list(scores), abs=1e-4)
