"""Refinement of a shaken model into a coarse map, with and without a reference model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
import pytest

from curation.example_model import build_truth
from refinement import run
from refinement.maps.density import Density, write_map
from refinement.maps.interpolation import prepare
from refinement.maps.scattering import model_map
from refinement.minimise import minimise
from refinement.output import RunLog
from refinement.protocol import refine
from refinement.restraints.library import load_monomer_library
from refinement.restraints.named_torsions import named_torsions
from refinement.restraints.reference_model import reference_restraints
from refinement.restraints.topology import build_topology
from refinement.settings import PROTOCOLS, Settings
from refinement.states import Model, Problem, Strengths, make_target
from refinement.structure import Structure, from_gemmi

if TYPE_CHECKING:
    from pathlib import Path

RESOLUTION = 5.0


@pytest.fixture(scope="module")
def truth() -> Structure:
    whole = from_gemmi(build_truth())
    residues = whole.residues
    return whole.without(~((residues.chain == "A") & (residues.number <= 30))[whole.residue])


@pytest.fixture(scope="module")
def density(truth: Structure) -> Density:
    corner = truth.positions.min(axis=0) - 9.0
    dims = np.ceil(truth.positions.max(axis=0) + 9.0 - corner).astype(int)
    empty = Density(np.zeros(dims, dtype=np.float32), gemmi.UnitCell(*dims.astype(float), 90, 90, 90), corner)
    return replace(empty, values=model_map(truth, empty, RESOLUTION))


def refined(start: Structure, density: Density, *, hold_start: bool = False, reference: Structure | None = None) -> Structure:
    """Minimise twice, without moves and B factors."""
    library = load_monomer_library(np.unique(start.residues.compound).tolist())
    settings = Settings(protocol="short", cycles=2, side_chain_cycles=0, flip_cycles=(), adp_evaluations=0, hold_start=hold_start)
    held = start if reference is None and hold_start else reference
    problem = Problem(
        topology=build_topology(start, library),
        library=library,
        density=density,
        interpolated=prepare(density),
        resolution=RESOLUTION,
        settings=settings,
        threads=1,
        reference=None if held is None else reference_restraints(start, held),
    )
    model = Model.of(start, library)
    target = make_target(model, problem, 10.0, Strengths())
    return start.moved(minimise(target, start.positions, max_iterations=80, curvature=target.curvature()).x)


def off(structure: Structure, other: Structure) -> float:
    """Return the median difference of torsions in degrees."""
    torsions = named_torsions(structure)
    delta = torsions.angles(structure) - torsions.angles(other)
    return float(np.median(np.abs((delta + 180.0) % 360.0 - 180.0)))


def test_torsions_come_to_those_of_the_reference(truth: Structure, density: Density) -> None:
    start = truth.moved(truth.positions + np.random.default_rng(2).normal(scale=0.35, size=truth.positions.shape))
    away = truth.moved(truth.positions[:, [1, 2, 0]] + 60.0)
    free, held = refined(start, density), refined(start, density, reference=away)
    assert off(held, truth) < 0.6 * off(free, truth)


def test_a_run_reads_its_reference(truth: Structure, density: Density, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = Settings(protocol="short", cycles=1, side_chain_cycles=0, flip_cycles=(), adp_evaluations=0)
    monkeypatch.setitem(PROTOCOLS, "short", short)
    for name, structure in (("start", truth), ("reference", truth.moved(truth.positions + 60.0))):
        structure.to_gemmi().make_mmcif_document().write_file(str(tmp_path / f"{name}.cif"))
    write_map(tmp_path / "map.mrc", density)
    events: list[dict[str, Any]] = []
    table = run.refine_files(
        tmp_path / "start.cif",
        tmp_path / "map.mrc",
        resolution=RESOLUTION,
        protocol="short",
        threads=1,
        reference=tmp_path / "reference.cif",
        output=tmp_path / "out",
        listen=events.append,
    )
    assert table["inputs"]["reference"]["name"] == "reference.cif"
    assert [event["count"] for event in events if event["event"] == "reference"] == [len(reference_restraints(truth, truth))]


def test_the_start_is_held_where_the_settings_say_so(truth: Structure, density: Density) -> None:
    events: list[dict[str, Any]] = []
    log = RunLog(events.append)
    library = load_monomer_library(np.unique(truth.residues.compound).tolist())
    how: dict[str, Any] = {"resolution": RESOLUTION, "library": library, "threads": 1, "log": log, "progress": lambda *_: None}
    settings = Settings(protocol="short", cycles=1, side_chain_cycles=0, flip_cycles=(), adp_evaluations=0, hold_start=True)
    refine(truth, density, settings=settings, **how)
    assert any("held as they are" in event["sentence"] for event in events)
