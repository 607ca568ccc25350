"""What is counted and listed as changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from curation.example_model import build_truth
from refinement.moves.flips import flipped
from refinement.structure import Structure, from_gemmi
from refinement.validation.changes import FIT_CHANGED, Changes, compare
from refinement.validation.rotamers import rotamers

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.fixture(scope="module")
def hairpin() -> Structure:
    truth = from_gemmi(build_truth())
    return truth.without(~((truth.residues.chain == "A") & (truth.residues.number <= 24))[truth.residue])


def compared(before: Structure, positions: NDArray) -> Changes:
    after = before.moved(positions)
    return compare(before, after, initial_rotamers=rotamers(before).names(), refined_rotamers=rotamers(after).names())


def atom(structure: Structure, residue: int, name: str) -> int:
    return int(np.flatnonzero((structure.residue == residue) & (structure.names == name))[0])


def test_nothing_changed(hairpin: Structure) -> None:
    found = compared(hairpin, hairpin.positions)
    assert found.summary == {"rmsd_to_initial": 0.0, "rotamers_changed": 0.0, "peptides_flipped": 0.0, "residues_moved": 0.0}
    q = np.full(len(hairpin.residues), 0.5, dtype=np.float32)
    assert not any(found.listed(q, q).values())


def test_residues_that_moved_are_listed_the_furthest_first(hairpin: Structure) -> None:
    positions = hairpin.positions.copy()
    positions[hairpin.residue == 3] += (0.9, 0.0, 0.0)
    positions[hairpin.residue == 5] += (0.0, 1.5, 0.0)
    positions[hairpin.residue == 8] += (0.0, 0.0, 2.5)
    found = compared(hairpin, positions)
    assert found.summary["residues_moved"] == 2
    nothing = np.full(len(hairpin.residues), np.nan, dtype=np.float32)
    listed = found.listed(nothing, nothing)["moved"]
    assert [(row["number"], row["compound"]) for row in listed] == [
        (hairpin.residues.number[row], hairpin.residues.compound[row]) for row in (8, 5)
    ]
    assert [row["shift"] for row in listed] == pytest.approx([2.5, 1.5])
    np.testing.assert_allclose(found.residue_shift[[3, 4]], [0.9, 0.0], atol=1e-6)


def test_a_turned_side_chain_has_another_rotamer(hairpin: Structure) -> None:
    row = int(np.flatnonzero(hairpin.residues.compound == "PHE")[0])
    alpha, beta = (hairpin.positions[atom(hairpin, row, name)] for name in ("CA", "CB"))
    axis = (beta - alpha) / np.linalg.norm(beta - alpha)
    turn = gemmi.Mat33(_about(axis, np.radians(120.0)).tolist())
    side = (hairpin.residue == row) & ~np.isin(hairpin.names, ("N", "CA", "C", "O", "CB"))
    positions = hairpin.positions.copy()
    positions[side] = beta + (positions[side] - beta) @ np.array(turn.tolist()).T
    listed = compared(hairpin, positions).listed(*[np.zeros(len(hairpin.residues), dtype=np.float32)] * 2)
    (change,) = listed["rotamers"]
    assert change["number"] == hairpin.residues.number[row]
    assert change["from"] != change["to"]
    assert change["from"] == rotamers(hairpin).names()[row]


def test_a_flipped_peptide_belongs_to_the_residue_of_the_carbonyl(hairpin: Structure) -> None:
    atoms = [atom(hairpin, residue, name) for residue, name in ((6, "CA"), (6, "C"), (6, "O"), (7, "N"), (7, "CA"))]
    found = compared(hairpin, flipped(hairpin.positions, np.array(atoms, dtype=np.int32)))
    assert found.flipped.tolist() == [6]


def test_residues_that_fit_better_or_worse_by_their_q_scores(hairpin: Structure) -> None:
    before = np.full(len(hairpin.residues), 0.5, dtype=np.float32)
    after = before.copy()
    after[1], after[2], after[4], after[7], after[9] = 0.5 + 0.9 * FIT_CHANGED, 0.7, 0.9, 0.2, np.nan
    listed = compared(hairpin, hairpin.positions).listed(before, after)
    numbers = hairpin.residues.number
    assert [row["number"] for row in listed["fit_better"]] == [numbers[4], numbers[2]]
    assert [(row["number"], row["from"], round(row["to"], 3)) for row in listed["fit_worse"]] == [(numbers[7], 0.5, 0.2)]


def test_other_atoms_are_refused(hairpin: Structure) -> None:
    fewer = hairpin.without(np.arange(len(hairpin)) == 0)
    names = rotamers(hairpin).names()
    with pytest.raises(ValueError, match="differ in their atoms"):
        compare(hairpin, fewer, initial_rotamers=names, refined_rotamers=names)


def _about(axis: NDArray, angle: float) -> NDArray:
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
