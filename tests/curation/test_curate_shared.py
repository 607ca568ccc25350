"""Curation of the real, derived and bad entries beside the repository, as a folder and over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from curation.archive import Archive
from curation.curate import Curated, curate
from curation.download import Patience
from curation.holdings import list_pairs
from curation.identifiers import parse_pair
from refinement.operators import multiplication_table
from refinement.structure import read_structure
from refinement.symmetry.copies import find_copies
from tests.curation.hostile_server import FAULTS, HostileServer, running, stored_as_served

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def expected(shared: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((shared / "archive/EXPECTED.json").read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="module")
def curated(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Curated]:
    archive = Archive(shared / "archive")
    workdir = tmp_path_factory.mktemp("curated")
    return {pair.key: curate(pair, archive, workdir / pair.key) for pair in list_pairs(archive)}


def test_listed_units(curated: dict[str, Curated], expected: dict[str, Any]) -> None:
    assert set(curated) == set(expected["entries"])
    assert not set(curated) & set(expected["not_units"])


def test_outcomes(curated: dict[str, Curated], expected: dict[str, Any]) -> None:
    for key, entry in expected["entries"].items():
        assert (curated[key].code or "PASS") in entry["accept_codes"], key
        assert (curated[key].code or "PASS") == entry["expected"], key


def test_consensus_resolutions(curated: dict[str, Curated], expected: dict[str, Any]) -> None:
    found = {key: result.resolution for key, result in curated.items()}
    assert found == {key: entry["consensus_resolution"] for key, entry in expected["entries"].items()}


def test_compositions(curated: dict[str, Curated], expected: dict[str, Any]) -> None:
    for key, entry in expected["entries"].items():
        if "atoms" not in entry:
            continue
        facts = curated[key].facts
        deposited = facts["deposited"]
        assert (deposited["atoms"], deposited["chains"], deposited["ligands"]) == (
            entry["atoms"],
            entry["chains"],
            entry["ligands"],
        ), key
        if facts["assembly"] is None or not facts["assembly"]["expanded"]:
            made_of = facts["composition"]
            assert made_of["residues"]["water"] == entry["waters"], key
            assert made_of["polymer_residues"] == entry["polymer_residues"], key
            assert made_of["single_atom_residues"] == entry["single_atom_residues"], key
            assert (made_of["hydrogens"], made_of["altloc_atoms"]) == (entry["hydrogens"], entry["altloc_atoms"]), key


def test_fractions_inside(curated: dict[str, Curated], expected: dict[str, Any]) -> None:
    for key, entry in expected["entries"].items():
        found = curated[key].facts["fraction_inside"]
        if found is not None and "fraction_inside_box" in entry:
            assert found == pytest.approx(entry["fraction_inside_box"], abs=1e-4), key


@pytest.mark.parametrize("key", ["9asm_99001", "9asn_99001"])
def test_assembly_is_generated(curated: dict[str, Curated], shared: Path, key: str) -> None:
    result = curated[key]
    assert (result.facts["atoms"], len(result.facts["chains"])) == (16932, 4)
    assert result.facts["assembly"]["copies"] == 4
    assert result.model_path is not None
    whole = read_structure(result.model_path)
    assert (len(whole), len(whole.chain_names)) == (16932, 4)
    reference = read_structure(shared / "archive/pdb/data/structures/divided/mmCIF/gy/6gyn.cif.gz")
    for copy, chain in zip(whole.chain_names, "ABCD", strict=True):
        ours, theirs = (
            s.positions[(s.residues.chain[s.residue] == c) & (s.names == "CA")] for s, c in ((whole, copy), (reference, chain))
        )
        assert np.sqrt(((ours - theirs) ** 2).sum(axis=1).mean()) < 0.03


@pytest.mark.parametrize("key", ["9asm_99001", "9asn_99001"])
def test_operators_of_the_assembly_are_used_as_they_are(curated: dict[str, Curated], key: str) -> None:
    result = curated[key]
    assert result.operators is not None
    assert result.model_path is not None
    assert multiplication_table(result.operators, np.zeros(3), 50.0, 1e-3) is not None
    stated = [(operator["matrix"], operator["vector"]) for operator in result.facts["assembly"]["operators"]]
    assert np.array_equal(result.operators.rotation[1:], [matrix for matrix, _ in stated])
    assert np.array_equal(result.operators.shift[1:], [vector for _, vector in stated])
    (copies,) = find_copies(read_structure(result.model_path), result.operators)
    assert (copies.group, copies.exact) == ("C4", True)
    assert copies.rmsd.max() < 0.001  # coordinates have three decimals


def test_assembly_that_leaves_the_box(curated: dict[str, Curated]) -> None:
    result = curated["9asb_99002"]
    assert "ASSEMBLY_LEAVES_BOX" in [str(finding.code) for finding in result.findings]
    assert (result.facts["atoms"], result.facts["assembly"]["expanded"], result.facts["assembly"]["copies"]) == (793, False, 3)
    assert result.operators is None


def test_sequences_and_sugars(curated: dict[str, Curated]) -> None:
    spike, whole = (curated[key].facts["composition"] for key in ("6vyb_21457", "9asm_99001"))
    assert [(row["length"], row["modelled"], row["different"]) for row in spike["sequences"]] == [(1281, 198, 0)]
    assert spike["sequences"][0]["missing"][0] == [1, 45]
    sites = ["A/ASN 61", "A/ASN 122", "A/ASN 282"]
    assert spike["glycans"] == [{"name": "NAG", "linkage": "N-linked", "count": 3, "sites": sites}]
    assert [(len(row["chains"]), row["modelled"]) for row in whole["sequences"]] == [(4, 495)]
    assert curated["6gyn_0093"].facts["composition"]["hetero"]["lipid"] == {"3PE": 8, "PC1": 28}


def test_frames_of_the_maps(curated: dict[str, Curated], expected: dict[str, Any]) -> None:
    for key, entry in expected["entries"].items():
        grid = curated[key].facts["map"]
        if curated[key].passed:
            assert grid["frame"] == entry["map_frame"].split()[0].lower(), key


def test_half_maps_and_contours(curated: dict[str, Curated]) -> None:
    passed = {key for key, result in curated.items() if result.passed}
    assert {key for key in passed if len(curated[key].half_map_paths) == 2} == {"6i5a_4413", "9b00_99100"}
    contours = {key: curated[key].contour for key in passed if curated[key].contour is not None}
    assert contours == {"5ni1_3488": 0.068, "6gyn_0093": 0.7, "9asm_99001": 0.7, "9asn_99001": 0.7}


def test_related_map_is_no_pair(shared: Path, tmp_path: Path) -> None:
    assert curate(parse_pair("9c07_99201"), Archive(shared / "archive"), tmp_path).code == "NO_MODEL"


def test_links_and_their_sides(curated: dict[str, Curated]) -> None:
    one_sided = {key for key, result in curated.items() if any(f.code == "LINK_ONE_SIDED" for f in result.findings)}
    assert one_sided == {"9c05_99205", "9c06_99206"}


def test_the_same_from_a_hostile_server(curated: dict[str, Curated], shared: Path, tmp_path: Path) -> None:
    root = shared / "archive"
    patience = Patience(attempts=8, first_wait=0.005, longest_wait=0.02, chunk=0.5)
    with (
        running(HostileServer(root, seed=20260107)) as server,
        Archive(server.url, tmp_path / "cache", patience=patience) as remote,
    ):
        pairs = list_pairs(remote)
        assert {pair.key for pair in pairs} == set(curated)
        for pair in pairs:
            result, here = curate(pair, remote, tmp_path / "work" / pair.key), curated[pair.key]
            assert (result.code, result.resolution) == (here.code, here.resolution), pair.key
            assert result.facts == here.facts or not here.passed, pair.key
    assert set(FAULTS) <= set(server.done)
    fetched = stored_as_served(tmp_path / "cache", root)
    assert len(fetched) > 100
    assert server.fetched_again(sum((root / path).stat().st_size for path in fetched)) < 0.05
