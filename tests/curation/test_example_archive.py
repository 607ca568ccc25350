from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from curation.archive import Archive, half_map_path, map_path, model_path
from curation.curate import curate
from curation.example import RESOLUTION, STAMP, build_example_archive
from curation.example_geometry import from_distances, from_torsion, torsion_angle
from curation.example_model import FLIPPED_PEPTIDES, LOOP_SHIFT, WRONG_ROTAMERS, build_truth, plant_errors
from curation.holdings import list_pairs
from refinement.maps.density import read_map
from refinement.maps.masks import molecular_mask
from refinement.maps.scattering import model_map
from refinement.restraints.library import load_monomer_library
from refinement.structure import from_gemmi, read_structure
from refinement.validation.ramachandran import ramachandran
from refinement.validation.rotamers import rotamers

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_example_archive(tmp_path_factory.mktemp("example") / "archive")


@pytest.fixture(scope="module")
def truth() -> gemmi.Structure:
    return build_truth()


@pytest.fixture(scope="module")
def deposited(archive: Path) -> gemmi.Structure:
    return gemmi.read_structure(str(archive / model_path("9xa1")))


def checksums(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def deviations(structure: gemmi.Structure) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Bond (Å) and angle (degrees) deviations from the dictionaries without metal bonds, and wrong chiral centres."""
    structure = structure.clone()
    library = load_monomer_library({residue.name for chain in structure[0] for residue in chain})
    topology = gemmi.prepare_topology(structure, library, h_change=gemmi.HydrogenChange.Remove)
    covalent = [bond for bond in topology.bonds if not any(atom.element.is_metal for atom in bond.atoms)]
    bonds = np.array([bond.calculate() - bond.restr.value for bond in covalent])
    angles = np.array([np.degrees(angle.calculate()) - angle.restr.value for angle in topology.angles])
    return bonds, angles, sum(not centre.check() for centre in topology.chirs)


def shortest_contact(structure: gemmi.Structure) -> float:
    """Shortest distance (Å) between atoms of residues that aren't neighbours, metals left out."""
    near = gemmi.NeighborSearch(structure[0], gemmi.UnitCell(), 5.0).populate(include_h=False)
    search = gemmi.ContactSearch(3.5)
    search.ignore = gemmi.ContactSearch.Ignore.AdjacentResidues
    contacts = search.find_contacts(near)
    return min(c.dist for c in contacts if not (c.partner1.atom.element.is_metal or c.partner2.atom.element.is_metal))


def correlation(structure: gemmi.Structure, archive: Path) -> float:
    density = read_map(archive / map_path("EMD-90001"))
    model = from_gemmi(structure.clone())
    mask = molecular_mask(model, density)
    return float(np.corrcoef(model_map(model, density, RESOLUTION)[mask], density.values[mask])[0, 1])


def positions(structure: gemmi.Structure) -> NDArray[np.float64]:
    return np.array([site.atom.pos.tolist() for site in structure[0].all()])


@pytest.mark.parametrize("torsion", [-170.0, -60.0, 0.5, 45.0, 120.0])
def test_an_atom_has_the_length_angle_and_torsion_it_was_placed_with(torsion: float) -> None:
    a, b, c = np.array([[1.0, 2.0, -1.0], [0.3, 1.0, 0.2], [1.1, -0.1, 0.4]])
    d = from_torsion(a, b, c, 1.53, 109.5, torsion)
    cosine = (b - c) @ (d - c) / np.linalg.norm(b - c) / np.linalg.norm(d - c)
    assert np.linalg.norm(d - c) == pytest.approx(1.53)
    assert np.degrees(np.arccos(cosine)) == pytest.approx(109.5)
    assert torsion_angle(a, b, c, d) == pytest.approx(torsion)


def test_a_point_has_its_three_distances_on_the_side_that_was_asked_for() -> None:
    a, b, c = np.array([[0.0, 0.0, 0.0], [1.5, 0.2, 0.0], [0.3, 1.4, 0.5]])
    above, below = (from_distances(a, b, c, 1.4, 1.5, 1.6, sign) for sign in (1, -1))
    for point in (above, below):
        assert [np.linalg.norm(point - other) for other in (a, b, c)] == pytest.approx([1.4, 1.5, 1.6])
    normal = np.cross(b - a, c - a)
    assert (above - a) @ normal > 0 > (below - a) @ normal


def test_the_truth_holds_what_it_should(truth: gemmi.Structure) -> None:
    chains = {chain.name: [residue.name for residue in chain] for chain in truth[0]}
    assert (len(chains["A"]), len(chains["B"]), len(chains["C"])) == (78, 75, 12)
    assert len(set(chains["A"] + chains["B"])) == 20
    assert chains["D"] == ["ATP"]
    assert chains["E"] == ["MG"]
    assert chains["W"] == ["HOH"] * 18


def test_the_truth_has_good_geometry(truth: gemmi.Structure) -> None:
    bonds, angles, wrong = deviations(truth)
    assert np.sqrt(np.mean(bonds**2)) < 0.005
    assert np.abs(bonds).max() < 0.02
    assert np.sqrt(np.mean(angles**2)) < 0.7
    assert wrong == 0
    assert shortest_contact(truth) > 2.5


def test_the_truth_has_no_outliers(truth: gemmi.Structure) -> None:
    model = from_gemmi(truth.clone())
    regions, names = ramachandran(model).region, rotamers(model).region
    assert (regions[regions >= 0] == 2).all()
    assert (names >= 1).all()
    assert np.mean(names == 2) > 0.98


def test_the_strands_of_the_rna_are_paired(truth: gemmi.Structure) -> None:
    rna = truth[0]["C"]
    for first in range(4):
        bases = rna[first], rna[11 - first]
        ends = [residue["N1" if residue.name in "AG" else "N3"][0].pos for residue in bases]
        assert ends[0].dist(ends[1]) == pytest.approx(2.95, abs=0.2)


def test_errors_are_planted(truth: gemmi.Structure, deposited: gemmi.Structure) -> None:
    middle = [s[0]["A"]["40"][0]["CA"][0].pos for s in (truth, deposited)]
    assert middle[0].dist(middle[1]) == pytest.approx(LOOP_SHIFT, abs=0.05)
    model = from_gemmi(deposited.clone())
    assert (rotamers(model).region == 0).sum() >= len(WRONG_ROTAMERS) - 1
    assert shortest_contact(deposited) < 2.2
    assert (model.b_iso == model.b_iso[0]).all()
    for chain, number in FLIPPED_PEPTIDES:
        before, after = (s[0][chain][str(number)][0]["O"][0].pos for s in (truth, deposited))
        assert before.dist(after) > 2.0


def test_planted_errors_follow_the_seed(truth: gemmi.Structure) -> None:
    one, same, other = (positions(plant_errors(truth, np.random.default_rng(seed))) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_the_truth_fits_the_map_and_the_deposited_model_fits_less(
    archive: Path, truth: gemmi.Structure, deposited: gemmi.Structure
) -> None:
    best, start = correlation(truth, archive), correlation(deposited, archive)
    assert best > 0.93
    assert 0.8 < start < best - 0.03


def test_the_map_is_the_mean_of_the_half_maps(archive: Path) -> None:
    full = read_map(archive / map_path("EMD-90001"))
    halves = [read_map(archive / half_map_path("EMD-90001", f"emd_90001_half_map_{n}.map.gz")).values for n in (1, 2)]
    assert np.array_equal((halves[0] + halves[1]) / 2.0, full.values)
    assert 0.4 < np.corrcoef(halves[0].ravel(), halves[1].ravel())[0, 1] < 0.8


def test_curation_decides_as_the_titles_say(archive: Path, tmp_path: Path) -> None:
    mirror = Archive(str(archive), tmp_path / "cache")
    outcomes = {}
    for pair in list_pairs(mirror):
        curated = curate(pair, mirror, tmp_path / pair.emdb_id)
        outcomes[pair.pdb_id, pair.emdb_id] = curated.code
        if curated.passed:
            assert curated.resolution == RESOLUTION
            assert curated.contour is not None
            assert len(curated.half_map_paths) == 2
    assert outcomes == {
        ("9xa1", "EMD-90001"): "",
        ("9xb1", "EMD-90002"): "RESOLUTION_MISMATCH",
        ("9xb2", "EMD-90003"): "GRID_MISMATCH",
        (None, "EMD-90004"): "NO_MODEL",
    }


def test_the_same_seed_gives_the_same_files(archive: Path, tmp_path: Path) -> None:
    assert checksums(build_example_archive(tmp_path / "again")) == checksums(archive)


def test_an_archive_that_is_there_stays_and_an_old_one_is_replaced(tmp_path: Path) -> None:
    folder = build_example_archive(tmp_path / "archive")
    marker = folder / "marker"
    marker.touch()
    reports: list[str] = []
    build_example_archive(folder, lambda _stage, doing, _fraction: reports.append(doing))
    assert marker.exists()
    assert reports == []
    (folder / STAMP).write_text("older", encoding="utf-8")
    build_example_archive(folder, lambda _stage, doing, _fraction: reports.append(doing))
    assert not marker.exists()
    assert reports[-1] == "done"
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_the_archive_is_small(archive: Path) -> None:
    assert sum(path.stat().st_size for path in archive.rglob("*") if path.is_file()) < 5_000_000


def test_the_model_file_reads_back(archive: Path, truth: gemmi.Structure) -> None:
    assert len(read_structure(archive / model_path("9xa1"))) == truth[0].count_atom_sites()
