"""Moves inside the protocol: planted errors are mended, and moves that harm are undone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
import pytest

from curation.example_model import FLIPPED_PEPTIDES, WRONG_ROTAMERS, build_truth, plant_errors
from refinement import cycle as one_cycle
from refinement.maps.density import Density
from refinement.maps.scattering import model_map
from refinement.moves.side_chains import SideChainMove
from refinement.output import RunLog
from refinement.protocol import refine
from refinement.restraints.library import load_monomer_library
from refinement.settings import Settings
from refinement.structure import Structure, from_gemmi

if TYPE_CHECKING:
    from refinement.states import Model

MENDED = 0.7
"""Å"""


@pytest.fixture(scope="module")
def part() -> tuple[Structure, Structure, Density]:
    """Residues 10 to 60 of the example's second chain as planted, as they should be, and the map."""
    models = []
    truth = build_truth()
    for model in (plant_errors(truth, np.random.default_rng(5)), truth):
        full = from_gemmi(model)
        wanted = (full.residues.chain == "B") & (full.residues.number >= 10) & (full.residues.number <= 60)
        models.append(full.without(~wanted[full.residue]))
    right = models[1]
    corner = right.positions.min(axis=0) - 7.0
    dims = np.ceil(right.positions.max(axis=0) + 7.0 - corner).astype(int)
    empty = Density(np.zeros(dims, dtype=np.float32), gemmi.UnitCell(*dims.astype(float), 90, 90, 90), corner)
    return models[0], right, replace(empty, values=model_map(right, empty, 3.0))


def refined(structure: Structure, density: Density, settings: Settings) -> tuple[Structure, list[dict[str, Any]]]:
    log = RunLog()
    result = refine(
        structure,
        density,
        resolution=3.0,
        library=load_monomer_library(np.unique(structure.residues.compound).tolist()),
        settings=settings,
        threads=1,
        log=log,
        progress=lambda _doing, _fraction: None,
    )
    return result.structure, log._rows


def furthest(found: Structure, truth: Structure, number: int, names: tuple[str, ...] = ()) -> float:
    mine = truth.residues.number[truth.residue] == number
    mine &= np.isin(truth.names, names) if names else ~np.isin(truth.names, ("N", "CA", "C", "O", "CB"))
    return float(np.linalg.norm(found.positions[mine] - truth.positions[mine], axis=1).max())


def test_planted_rotamers_and_peptides_are_mended(part: tuple[Structure, Structure, Density]) -> None:
    planted, truth, density = part
    wrong = [number for chain, number, _ in WRONG_ROTAMERS if chain == "B" and 10 <= number <= 60]
    flipped = [number for chain, number in FLIPPED_PEPTIDES if chain == "B"]
    assert len(wrong) == 3
    assert all(furthest(planted, truth, number) > 1.5 for number in wrong)
    assert all(furthest(planted, truth, number, ("O",)) > 2.5 for number in flipped)
    found, events = refined(planted, density, Settings(cycles=3, adp_evaluations=2))
    assert [furthest(found, truth, number) < MENDED for number in wrong] == [True] * len(wrong)
    assert [furthest(found, truth, number, ("O",)) < MENDED for number in flipped] == [True] * len(flipped)
    by_event = {event["event"]: event for event in events[::-1]}
    first = by_event["side_chains"]
    assert first["sentence"] == f"cycle 1: {first['count']} side chains changed rotamer."
    assert {move["residue"] for move in first["moves"]} >= {"B/LEU 14", "B/TYR 35", "B/LEU 56"}
    assert [move["residue"] for move in by_event["flips"]["moves"]] == ["B/THR 23"]


def test_moves_that_harm_are_undone(part: tuple[Structure, Structure, Density], monkeypatch: pytest.MonkeyPatch) -> None:
    _, truth, density = part

    def shifted(cycle: int, model: Model, *_rest: object) -> tuple[Model, list[SideChainMove]]:
        positions = model.structure.positions.copy()
        positions[np.isin(model.structure.names, ("CB", "CD1"))] += 2.0
        return model.moved(positions), [SideChainMove(3, "B/LEU 13", "mt", "tp", 1.0)] if cycle == 1 else []

    monkeypatch.setattr(one_cycle, "_moved", shifted)
    found, events = refined(truth, density, Settings(cycles=1, iterations=8, adp_evaluations=1))
    event = next(event for event in events if event["event"] == "side_chains")
    assert [move["kept"] for move in event["moves"]] == [False]
    assert "undone" in event["sentence"]
    assert np.sqrt(((found.positions - truth.positions) ** 2).sum(axis=1).mean()) < 0.3
