"""Speed of map reading, model maps, correlations, Q-scores and the map target.

Run with ``pytest benchmarks/maps.py``; the largest real pair is used if the shared data lie beside the
repository, otherwise a made-up one of the same size.
"""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np
import pytest

from refinement.maps.density import Density, read_map, write_map
from refinement.maps.interpolation import prepare
from refinement.maps.masks import molecular_mask
from refinement.maps.scattering import model_map
from refinement.structure import Structure, from_gemmi, read_structure
from refinement.validation.correlation import correlations
from refinement.validation.qscore import q_scores

REAL = Path(__file__).resolve().parent.parent.parent / "shared" / "pairs" / "hcn4_6gyn"
RESOLUTION = 3.4
ATOMS, POINTS, STEP = 17_000, 220, 1.34


def made_up() -> tuple[Structure, Density]:
    """Carbons on a jittered lattice in the middle of a box of noise."""
    rng = np.random.default_rng(1)
    side = round(ATOMS ** (1 / 3))
    lattice = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) * 2.2
    positions = lattice + 0.5 * STEP * POINTS - 1.1 * side + rng.normal(scale=0.2, size=lattice.shape)
    source = gemmi.Structure()
    source.add_model(gemmi.Model(1))
    chain = source[0].add_chain(gemmi.Chain("A"))
    for number, position in enumerate(positions.tolist(), start=1):
        residue = gemmi.Residue()
        residue.name, residue.seqid = "UNK", gemmi.SeqId(number, " ")
        atom = gemmi.Atom()
        atom.name, atom.element, atom.b_iso, atom.pos = "CA", gemmi.Element("C"), 80.0, gemmi.Position(*position)
        residue.add_atom(atom)
        chain.add_residue(residue)
    values = rng.normal(size=(POINTS,) * 3).astype(np.float32)
    edge = POINTS * STEP
    return from_gemmi(source), Density(values, gemmi.UnitCell(edge, edge, edge, 90, 90, 90), np.zeros(3))


@pytest.fixture(scope="module")
def pair() -> tuple[Structure, Density]:
    if REAL.is_dir():
        return read_structure(REAL / "model.pdb"), read_map(REAL / "map.map.gz")
    return made_up()


def test_read_map(benchmark, pair, tmp_path) -> None:
    write_map(tmp_path / "map.mrc", pair[1])
    benchmark(read_map, tmp_path / "map.mrc")


def test_model_map(benchmark, pair) -> None:
    benchmark.pedantic(model_map, (*pair, RESOLUTION), rounds=3, warmup_rounds=1)


def test_mask(benchmark, pair) -> None:
    benchmark.pedantic(molecular_mask, pair, rounds=3, warmup_rounds=1)


def test_correlations(benchmark, pair) -> None:
    benchmark.pedantic(correlations, (*pair, RESOLUTION), rounds=3, warmup_rounds=1)


def test_q_scores(benchmark, pair) -> None:
    benchmark.pedantic(q_scores, pair, rounds=3, warmup_rounds=1)


def test_prepare_spline(benchmark, pair) -> None:
    benchmark.pedantic(prepare, (pair[1],), rounds=3, warmup_rounds=1)


def test_map_target(benchmark, pair) -> None:
    structure, density = pair
    prepared = prepare(density)
    gradient = np.zeros_like(structure.positions)
    weights = structure.elements.astype(np.float64)
    prepared.energy_and_gradient(structure.positions, weights, gradient)
    benchmark(prepared.energy_and_gradient, structure.positions, weights, gradient)
