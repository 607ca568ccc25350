"""Side chains: known answers on a simulated map, contacts, what must not move, and the same result twice."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement import tables
from refinement.maps.density import read_map
from refinement.maps.interpolation import prepare
from refinement.moves.naming import with_standard_names
from refinement.moves.puckers import flip_puckers
from refinement.moves.rotamer_tables import BROAD, COMPOUNDS, candidates
from refinement.moves.side_chain_setup import searchable
from refinement.moves.side_chains import SideChainFit, fit_side_chains
from refinement.restraints.hydrogens import hydrogenate
from refinement.restraints.library import load_monomer_library
from refinement.restraints.rotamers import rotamer_scores, rotamer_targets
from refinement.states import Model
from refinement.structure import Structure, read_structure
from refinement.validation.rotamers import FAVORED, rotamers

if TYPE_CHECKING:
    from pathlib import Path

    from refinement.moves.side_chain_atoms import Rules

BACKBONE = ("N", "CA", "C", "O", "CB")
LOOKALIKE = {
    "ASN": {"OD1": "ND2"}, "GLN": {"OE1": "NE2"}, "HIS": {"ND1": "CD2", "CE1": "NE2"}, "ASP": {"OD1": "OD2"},
    "GLU": {"OE1": "OE2"}, "PHE": {"CD1": "CD2", "CE1": "CE2"}, "TYR": {"CD1": "CD2", "CE1": "CE2"}, "ARG": {"NH1": "NH2"},
}  # fmt: skip
"""Atoms that a map of 3 Å doesn't tell apart, or that are the same."""


def fitted(scene, structure: Structure, rules: Rules, *, map_weight: float = 12.0, backrub: bool = False, **how) -> SideChainFit:
    model = scene.model(structure)
    return fit_side_chains(
        structure, model.hydrogenated, model.nonbonded, scene.interpolated, rules,
        map_weight=map_weight, backrub=backrub, **how,
    )  # fmt: skip


def turned(scene, structure: Structure, row: int, degrees: float, axis: tuple[str, str] = ("CA", "CB")) -> Structure:
    """Turn a side chain about its first bond."""
    mine = (structure.residue == row) & ~np.isin(structure.names, BACKBONE)
    start, end = (structure.positions[scene.atom(row, name)] for name in axis)
    u = (end - start) / np.linalg.norm(end - start)
    angle = np.radians(degrees)
    arm = structure.positions[mine] - end
    positions = structure.positions.copy()
    positions[mine] = end + np.cos(angle) * arm + np.sin(angle) * np.cross(u, arm) + (1 - np.cos(angle)) * (arm @ u)[:, None] * u
    return structure.moved(positions)


def side_chain_rmsd(scene, structure: Structure, row: int) -> float:
    """Distance of the side chain to the truth; look-alikes are tried both ways."""
    compound = str(scene.truth.residues.compound[row])
    mine = np.flatnonzero((scene.truth.residue == row) & ~np.isin(scene.truth.names, BACKBONE))
    other = {a: b for pair in LOOKALIKE.get(compound, {}).items() for a, b in (pair, pair[::-1])}
    swapped = [scene.atom(row, other.get(name, name)) for name in scene.truth.names[mine].tolist()]
    return min(
        float(np.sqrt(((structure.positions[rows] - scene.truth.positions[mine]) ** 2).sum(axis=1).mean()))
        for rows in (mine, swapped)
    )


@pytest.mark.parametrize("compound", [name for name in COMPOUNDS if name != "MSE"])
def test_every_kind_of_side_chain_finds_its_rotamer(scene, rules: Rules, compound: str) -> None:
    rows = np.flatnonzero(scene.truth.residues.compound == compound)[:2].tolist()
    assert rows, "the example has every amino acid"
    for row in rows:
        for turn in (115.0, -125.0):
            wrong = turned(scene, scene.truth, row, turn)
            assert side_chain_rmsd(scene, wrong, row) > 0.9
            found = fitted(scene, wrong, rules)
            assert side_chain_rmsd(scene, found.structure, row) < 0.35
            assert row in [move.residue for move in found.moves]


def test_a_right_model_keeps_its_rotamers(scene, rules: Rules) -> None:
    found = fitted(scene, scene.truth, rules, backrub=True)
    amides = {"ASN", "GLN", "HIS"}
    assert all(scene.truth.residues.compound[move.residue] in amides for move in found.moves)
    moved = np.sqrt(((found.structure.positions - scene.truth.positions) ** 2).sum(axis=1))
    assert np.median(moved) == 0.0


def test_what_noise_may_explain_moves_nothing(scene, rules: Rules) -> None:
    row = int(np.flatnonzero(scene.truth.residues.compound == "SER")[0])
    wrong = turned(scene, scene.truth, row, 120.0)
    assert rotamers(wrong).score[rotamers(wrong).residue == row] > FAVORED
    clear, unclear = (fitted(scene, wrong, rules._replace(doubt=doubt)).structure for doubt in (0.2, 50.0))
    assert side_chain_rmsd(scene, clear, row) < 0.35
    np.testing.assert_array_equal(unclear.positions, wrong.positions)


def test_all_moves_lead_to_favoured_rotamers_and_are_recorded(scene, rules: Rules) -> None:
    wrong = turned(scene, scene.truth, scene.row("A", 26), -60.0)
    found = fitted(scene, wrong, rules)
    row = scene.row("A", 26)
    move = next(move for move in found.moves if move.residue == row)
    assert (move.before, move.after, move.kept) == ("OUTLIER", "mt", True)
    assert move.label == "A/LEU 26"
    assert move.gain > 1.0
    assert set(move.as_dict()) == {"residue", "from", "to", "gain", "kept"}
    assert not move.undone().kept
    scores = rotamers(found.structure)
    assert scores.score[np.isin(scores.residue, [move.residue for move in found.moves])].min() >= FAVORED - 1e-6


def overlaps(structure: Structure, row: int) -> int:
    mine = (structure.residue == row) & ~np.isin(structure.names, BACKBONE)
    other = structure.residue != row
    apart = np.linalg.norm(structure.positions[mine][:, None] - structure.positions[other][None], axis=2)
    return int((apart < 3.1).sum())


def test_without_a_map_contacts_decide(scene, rules: Rules) -> None:
    row = scene.row("A", 54)
    wrong = turned(scene, scene.truth, row, -90.0)
    assert overlaps(wrong, row) > 0
    assert overlaps(fitted(scene, wrong, rules, map_weight=0.0).structure, row) == 0


def test_the_same_twice_and_with_any_number_of_threads(scene, rules: Rules) -> None:
    wrong = turned(scene, turned(scene, scene.truth, scene.row("A", 26), -60.0), scene.row("A", 54), -90.0)
    first, *others = (fitted(scene, wrong, rules, backrub=True, threads=threads) for threads in (1, 1, 2, 3))
    for other in others:
        assert first.structure.positions.tobytes() == other.structure.positions.tobytes()
        assert first.moves == other.moves


def test_only_side_chains_near_moved_atoms_are_searched_again(scene, rules: Rules) -> None:
    wrong = scene.truth
    for row in np.flatnonzero(scene.truth.residues.compound == "SER").tolist():
        wrong = turned(scene, wrong, row, -120.0)
    targets = rotamer_targets(wrong)
    tolerable = targets.residue[(targets.score >= FAVORED) & (scene.truth.residues.compound[targets.residue] == "SER")]
    middle = scene.truth.positions[[scene.atom(row, "CB") for row in tolerable]]
    rows = tolerable[[0, int(np.argmax(np.linalg.norm(middle - middle[0], axis=1)))]].tolist()  # the furthest apart
    moved = wrong.residue == rows[0]
    found = fitted(scene, wrong, rules, moved=moved).structure
    mended = [side_chain_rmsd(scene, found, row) < 0.35 for row in rows]
    assert mended == [True, False]
    nothing = fitted(scene, wrong, rules, moved=np.zeros(len(moved), dtype=bool)).structure
    still = np.isin(wrong.residue, targets.residue[targets.score >= FAVORED])
    assert (nothing.positions[still] == wrong.positions[still]).all()


def test_linked_bound_and_alternate_side_chains_stay(scene, rules: Rules) -> None:
    cysteine = int(np.flatnonzero(scene.truth.residues.compound == "CYS")[0])
    other, metal = scene.row("A", 26), scene.row("A", 53)
    structure = scene.truth
    letters = structure.altloc.astype("<U1")
    letters[scene.atom(scene.row("B", 14), "CD1")] = "A"
    structure = replace(structure, altloc=letters)
    full = hydrogenate(structure, scene.library, from_dictionary=True)
    heavy = full.heavy
    link = np.array([[heavy[scene.atom(cysteine, "SG")], heavy[scene.atom(other, "CD1")]]], dtype=np.int32)
    bound = np.array([[heavy[0], heavy[scene.atom(metal, "NE2")]]], dtype=np.int32)
    bonding = replace(full.bonding, external=np.concatenate([full.bonding.external, link]), coordination=bound)
    targets = rotamer_targets(structure)
    free = set(targets.residue[searchable(structure, replace(full, bonding=bonding), targets)].tolist())
    assert not free & {cysteine, other, metal, scene.row("B", 14)}
    assert {cysteine, other} <= set(targets.residue[searchable(structure, full, targets)].tolist())


@pytest.mark.shared
def test_disulfides_of_a_real_model_stay(shared: Path, rules: Rules) -> None:
    structure = read_structure(shared / "pairs" / "7cec_A" / "model.cif")
    library = load_monomer_library(np.unique(structure.residues.compound).tolist())
    model = Model.of(structure, library)
    density = prepare(read_map(shared / "pairs" / "7cec_A" / "map.map.gz"))
    found = fit_side_chains(structure, model.hydrogenated, model.nonbonded, density, rules, map_weight=12.0, backrub=False)
    sulphur = np.flatnonzero(structure.names == "SG")
    apart = np.linalg.norm(structure.positions[sulphur][:, None] - structure.positions[sulphur][None], axis=2)
    bonded = sulphur[((apart < 2.5) & (apart > 0)).any(axis=1)]
    assert len(bonded) >= 10
    assert (found.structure.positions[bonded] == structure.positions[bonded]).all()
    assert len(found.moves) > 10


def test_puckers(scene) -> None:
    rows = np.flatnonzero(scene.truth.residues.compound == "PRO")
    atoms = [scene.atom(row, "CG") for row in rows.tolist()]
    same, changed, _ = flip_puckers(scene.truth, scene.interpolated, 12.0, 0.5)
    assert len(changed) == 0
    assert same.positions.tobytes() == scene.truth.positions.tobytes()
    # with a strongly negative margin every ring turns over, and the map turns it back
    wrong, turned_rows, _ = flip_puckers(scene.truth, scene.interpolated, 12.0, -1e9)
    assert turned_rows.tolist() == rows.tolist()
    for row, atom in zip(rows.tolist(), atoms, strict=True):
        assert np.linalg.norm(wrong.positions[atom] - scene.truth.positions[atom]) > 0.6
        for partner in ("CB", "CD"):
            ends = scene.atom(row, partner)
            lengths = [np.linalg.norm(s.positions[atom] - s.positions[ends]) for s in (wrong, scene.truth)]
            assert lengths[0] == pytest.approx(lengths[1], abs=1e-9)
    mended, _, gains = flip_puckers(wrong, scene.interpolated, 12.0, 0.5)
    np.testing.assert_allclose(mended.positions, scene.truth.positions, atol=1e-9)
    assert (gains > 0.5).all()


@pytest.mark.parametrize("compound", COMPOUNDS)
def test_candidates_are_favoured_and_near_every_common_rotamer(compound: str) -> None:
    chi = candidates(compound)
    assert rotamer_scores(compound, chi).min() >= FAVORED
    centres = tables.rotamer_centres()[compound]
    common = centres.chi[rotamer_scores(compound, centres.chi) >= 0.05]
    period = np.array(tables.chi_periods()[compound])
    way = np.abs((common[:, None] - chi[None] + period / 2) % period - period / 2)
    limit = np.full(chi.shape[1], 12.1)
    if compound in BROAD:
        limit[-1] = 30.1
    assert (way <= limit).all(axis=2).any(axis=1).all()


@pytest.mark.parametrize(
    ("compound", "swaps"),
    [
        ("PHE", (("CD1", "CD2"), ("CE1", "CE2"))),
        ("ASP", (("OD1", "OD2"),)),
        ("ARG", (("NH1", "NH2"),)),
        ("LEU", (("CD1", "CD2"),)),
        ("VAL", (("CG1", "CG2"),)),
    ],
)
def test_names_of_equivalent_atoms(scene, compound: str, swaps: tuple[tuple[str, str], ...]) -> None:
    assert with_standard_names(scene.truth) is scene.truth
    row = int(np.flatnonzero(scene.truth.residues.compound == compound)[0])
    positions = scene.truth.positions.copy()
    for a, b in swaps:
        i, j = scene.atom(row, a), scene.atom(row, b)
        positions[[i, j]] = positions[[j, i]]
    named = with_standard_names(scene.truth.moved(positions))
    np.testing.assert_array_equal(named.positions, scene.truth.positions)
