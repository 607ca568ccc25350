"""Secondary structure: energies and bridges against plain loops, ideal elements, and mkdssp."""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
import pytest

from refinement.structure import read_structure
from refinement.validation.secondary_structure import _Bonds, _Ladder, _swallow, secondary_structure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from refinement.structure import Structure

Peptides = Any


def codes(peptide: Peptides) -> str:
    return "".join(code or "." for code in secondary_structure(peptide.structure()).codes)


@pytest.mark.parametrize(("phi", "psi", "letter"), [(-63, -43, "H"), (-49, -26, "G"), (-57, -70, "I"), (-120, 120, "-")])
def test_ideal_elements(peptide: Callable[..., Peptides], phi: float, psi: float, letter: str) -> None:
    assert codes(peptide(["ALA"] * 16, phi=phi, psi=psi)) == f"-{letter * 14}-"


@pytest.mark.parametrize("parallel", [True, False])
def test_strands_side_by_side(sheet: Callable[..., Peptides], parallel: bool) -> None:
    both = sheet(parallel=parallel)
    assert codes(both) == "-EEEEEEE--EEEEEEE-"
    chains = both.changed(lambda s: replace(s, chain="AB"[s.number > 20]))
    assert codes(chains) == "-EEEEEEE--EEEEEEE-", "strands of different chains pair too"
    apart = both.changed(lambda s: replace(s, position=s.position + (s.number > 20) * np.array([3.0, 0, 0])))
    assert codes(apart) == "-" * 18


@pytest.mark.parametrize(
    ("parallel", "first", "second", "joined"),
    [
        (True, [6, 7], [22, 23], True),  # one residue between on the first strand, none on the second
        (True, [9, 10], [23, 24], True),  # four and one
        (True, [9, 10], [24, 25], False),  # four and two
        (True, [6, 7], [26, 27], True),  # one and four
        (True, [6, 7], [27, 28], False),
        (True, [10, 11], [22, 23], False),
        (True, [6, 7], [18, 19], False),  # backwards
        (False, [6, 7], [18, 19], True),
        (False, [6, 7], [22, 23], False),
        (True, [6, 7], [31, 32], False),  # another chain
    ],
)
def test_ladders_are_joined_over_a_bulge(parallel: bool, first: list[int], second: list[int], joined: bool) -> None:
    ladders = [_Ladder(parallel, [3, 4], [20, 21]), _Ladder(parallel, first, second), _Ladder(not parallel, [6], [24])]
    _swallow(ladders, 0, np.repeat([0, 1], [30, 30]))
    assert len(ladders) == (2 if joined else 3)
    if joined:
        assert ladders[0].first == [3, 4, *first]
        assert ladders[0].second == sorted([20, 21, *second])


def test_proline_is_no_donor_and_breaks_end_elements(peptide: Callable[..., Peptides]) -> None:
    assert codes(peptide(["ALA"] * 8 + ["PRO"] + ["ALA"] * 7)) == "-HHHHHHHHHHHHHH-"
    assert codes(peptide(["PRO"] * 16)).count("H") == 0
    helix = peptide(["ALA"] * 16)
    away = helix.changed(lambda s: replace(s, position=s.position + (s.number > 8) * np.array([40.0, 0, 0])))
    assert codes(away) == "-HHHHHH--HHHHHH-"


def test_incomplete_residues_and_other_molecules_are_not_evaluated(peptide: Callable[..., Peptides]) -> None:
    helix = peptide(["ALA"] * 12)
    assert codes(helix.without((12, "O"))).endswith("H-.")
    trace = peptide(["ALA"] * 9)
    trace.sites = [site for site in trace.sites if site.name == "CA"]
    assert codes(trace) == "." * 9
    assert codes(peptide(["ALA"])) == "-"
    result = secondary_structure(helix.structure())
    assert result.details["secondary_structure"] == {"H": 10, "G": 0, "I": 0, "E": 0, "B": 0, "T": 0, "S": 0, "-": 2}


def test_alternates_and_insertion_codes(peptide: Callable[..., Peptides]) -> None:
    helix = peptide(["ALA"] * 14)
    letters = [""] * 7 + list("ABCDEFGH")
    inserted = helix.changed(lambda s: replace(s, number=min(s.number, 6), insertion=letters[s.number]))
    split = helix.split(lambda s: s.number == 6, letters="BC", shift=0.2)
    assert codes(inserted) == codes(split) == "-HHHHHHHHHHHH-"


def test_bonds_are_the_two_strongest_of_each_donor(rng: np.random.Generator) -> None:
    size = 60
    ca = rng.uniform(0, 14, (size, 3))
    n, c = (ca + 1.5 * unit / np.linalg.norm(unit, axis=1)[:, None] for unit in rng.normal(size=(2, size, 3)))
    direction = rng.normal(size=(size, 3))
    o = c + 1.23 * direction / np.linalg.norm(direction, axis=1)[:, None]
    part, proline = np.repeat([0, 1, 2], 20), rng.random(size) < 0.1
    found = _Bonds(n, ca, c, o, part, proline)
    expected: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for i in range(size):
        if proline[i] or i % 20 == 0:
            continue
        carbonyl = c[i - 1] - o[i - 1]
        hydrogen = n[i] + carbonyl / np.linalg.norm(carbonyl)
        for j in range(size):
            if j in {i, i - 1} or np.linalg.norm(ca[i] - ca[j]) > 9:
                continue
            distances = [
                float(np.linalg.norm(a - b)) for a, b in ((n[i], o[j]), (hydrogen, c[j]), (hydrogen, o[j]), (n[i], c[j]))
            ]
            on, ch, oh, cn = distances
            energy = -9.9 if min(distances) < 0.5 else max(-9.9, round(27.888 * (1 / on + 1 / ch - 1 / oh - 1 / cn), 3))
            if energy < -0.5 and on < 6:
                expected[i].append((energy, j))
    pairs = {(i, j) for i, own in expected.items() for _, j in sorted(own)[:2]}
    assert set(zip(found.donor.tolist(), found.acceptor.tolist(), strict=True)) == pairs
    assert any(len(own) > 2 for own in expected.values()), "the limit of two is tested"


def test_frame_and_chain_names_do_not_matter(sheet: Callable[..., Peptides], rng: np.random.Generator) -> None:
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    model = sheet(parallel=True)
    moved = model.changed(lambda s: replace(s, chain="long", position=turn @ s.position + 50.0))
    assert codes(moved) == codes(model)


# --------------------------------------------------------------------------------------------------- mkdssp

KNOWN = {
    "spike_ntd_zero": (
        "-EEE-TT---B-SSS----SEEEEEEEEE--TT-EEEEE-----EEE-TT-EEEEEEESS----EEEEESS-S---EEEEEETTEEEEE-------SS--"
        "------EEE---EEEEEEEEEETTEEEEEEEEEE---SSSS-S----BEEEEEEE-----SEEEEE---EEEEE-EEEEEEEEE-TTS-EEEEEETT-"
    ),
    "tmv_6i5a": (
        "-B---SGGGGGGGSS-EE-HHHHHHHHHHHTTS-TTSHHHHHHHHHHHHHT-B--S-SSS---SS--EEETT-TTHHHHHHHHHHHT----HHHHT-TTT"
        "---HHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHTTTEE-HHHHHHHH---B-"
    ),
}
"""What mkdssp 4.2.2 says."""


@pytest.mark.shared
@pytest.mark.parametrize("pair", KNOWN)
def test_real_models_are_assigned_as_by_mkdssp(shared: Path, pair: str) -> None:
    found = secondary_structure(read_structure(shared / "pairs" / pair / "model.pdb")).codes
    assert "".join(found[found != ""]) == KNOWN[pair]


@pytest.mark.shared
@pytest.mark.skipif(shutil.which("mkdssp") is None, reason="mkdssp isn't installed")
@pytest.mark.parametrize("model", ["pairs/hb_5ni1/model.cif", "pairs/gsec_5fn5/model.pdb", "pairs/5ly6/published_refined.pdb"])
def test_whole_models_agree_with_the_installed_mkdssp(shared: Path, tmp_path: Path, model: str) -> None:
    structure = read_structure(shared / model)
    theirs = run_mkdssp(structure, tmp_path)
    residues, ours = structure.residues, secondary_structure(structure).codes
    labels = zip(residues.chain.tolist(), residues.number.tolist(), residues.insertion.tolist(), ours.tolist(), strict=True)
    assert {(chain, number, insertion): code for chain, number, insertion, code in labels if code} == theirs


def run_mkdssp(structure: Structure, folder: Path) -> dict[tuple[str, int, str], str]:
    """Run mkdssp on the polymer chains of a model."""
    model = structure.to_gemmi()
    model.name = "model"
    model.setup_entities()
    model.entities.clear()
    rows = []
    for number, chain in enumerate(model[0]):
        polymer = list(chain.get_polymer())
        entity = gemmi.Entity(f"E{number}")
        entity.entity_type, entity.polymer_type = gemmi.EntityType.Polymer, gemmi.PolymerType.PeptideL
        entity.subchains, entity.full_sequence = [chr(65 + number)], [residue.name for residue in polymer]
        model.entities.append(entity)
        for place, residue in enumerate(polymer, start=1):
            residue.subchain, residue.entity_id, residue.label_seq = chr(65 + number), entity.name, place
            own, insertion = str(residue.seqid.num), residue.seqid.icode.strip() or "."
            names = [residue.name, str(place), own, own, residue.name, residue.name, chain.name, insertion, "n"]
            rows.append([residue.subchain, entity.name, str(place), *names])
    document = model.make_mmcif_document()
    items = "asym_id entity_id seq_id mon_id ndb_seq_num pdb_seq_num auth_seq_num pdb_mon_id auth_mon_id"
    loop = document[0].init_loop("_pdbx_poly_seq_scheme.", f"{items} pdb_strand_id pdb_ins_code hetero".split())
    for row in rows:
        loop.add_row(row)
    document.write_file(str(folder / "model.cif"))
    subprocess.run(
        [str(shutil.which("mkdssp")), "--output-format", "dssp", str(folder / "model.cif"), str(folder / "out.dssp")],
        check=True,
        capture_output=True,
    )
    lines = (folder / "out.dssp").read_text(encoding="utf-8").partition("  #  RESIDUE")[2].splitlines()[1:]
    found = {}
    for line in lines:
        if line[13] != "!":
            # P, polyproline II, isn't one of our letters
            found[line[11].strip(), int(line[5:10]), line[10].strip()] = line[16].replace(" ", "-").replace("P", "-")
    return found
