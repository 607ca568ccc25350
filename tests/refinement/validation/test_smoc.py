from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from refinement.maps.density import Density
from refinement.structure import from_gemmi
from refinement.validation.smoc import MASSES, blurred_model, smoc

if TYPE_CHECKING:
    from collections.abc import Callable

    from refinement.structure import Structure

RESOLUTION = 4.0
SIGMA = 0.225 * RESOLUTION


def model(peptide: Callable, *chains: str, length: int = 14, ligand: bool = False) -> Structure:
    """Helices side by side, each a polymer, and optionally a water."""
    source = gemmi.Structure()
    source.add_model(gemmi.Model(1))
    for number, name in enumerate(chains):
        built = peptide(["SER", "LEU"] * (length // 2), chain=name).structure().source[0][0]
        for residue in built:
            residue.entity_type = gemmi.EntityType.Polymer
            for atom in residue:
                atom.pos += gemmi.Position(0.0, 11.0 * number, 0.0)
        source[0].add_chain(built)
    if ligand:
        source[0].add_chain(gemmi.Chain("W"))
        water, oxygen = gemmi.Residue(), gemmi.Atom()
        water.name, water.seqid, oxygen.name, oxygen.element = "HOH", gemmi.SeqId(1, " "), "O", gemmi.Element("O")
        oxygen.pos = gemmi.Position(2.0, 4.0, 6.0)
        water.add_atom(oxygen)
        source[0][-1].add_residue(water)
    structure = from_gemmi(source)
    return replace(structure, residues=replace(structure.residues, polymer=structure.residues.compound != "HOH"))


def noisy(structure: Structure, rng: np.random.Generator, *, angles: tuple[float, float, float] = (90, 90, 90)) -> Density:
    """Noise around a model."""
    corner = structure.positions.min(axis=0) - 6.0
    dims = np.ceil((structure.positions.max(axis=0) + 6.0 - corner) / 1.1).astype(int)
    values = rng.normal(loc=0.3, size=dims).astype(np.float32)
    return Density(values, gemmi.UnitCell(*(dims * 1.1), *angles), corner)


def plain(structure: Structure, density: Density) -> np.ndarray:
    """The definition, point by point."""
    nx, ny, nz = density.dims
    index = np.stack(np.meshgrid(np.arange(nx), np.arange(ny), np.arange(nz), indexing="ij"), axis=-1).reshape(-1, 3)
    points = density.corner + index @ density.step_matrix.T
    heavy = ~structure.is_hydrogen
    calculated = np.zeros(len(points))
    for atom in np.flatnonzero(heavy):
        square = ((points - structure.positions[atom]) ** 2).sum(axis=1)
        calculated += MASSES[structure.elements[atom]] * np.exp(-0.5 * square / SIGMA**2)
    observed = density.values.reshape(-1).astype(float)
    out = np.full(len(structure.residues), np.nan)
    rows = np.flatnonzero(structure.residues.polymer)
    for row in rows:
        mates = rows[structure.residues.chain_index[rows] == structure.residues.chain_index[row]]
        place = int(np.flatnonzero(mates == row)[0])
        window = mates[max(0, place - 4) : place + 5]
        atoms = structure.positions[heavy & np.isin(structure.residue, window)]
        near = (((points[:, None] - atoms) ** 2).sum(axis=-1) <= (2.5 * max(SIGMA, 1.0)) ** 2).any(axis=1)
        o, c = observed[near], calculated[near]
        out[row] = (o * c).sum() / np.sqrt((o * o).sum() * (c * c).sum())
    return out


@pytest.mark.parametrize("angles", [(90, 90, 90), (85, 97, 105)])
def test_agrees_with_the_definition(peptide: Callable, rng: np.random.Generator, angles: tuple[float, float, float]) -> None:
    structure = model(peptide, "A", "B", ligand=True)
    density = noisy(structure, rng, angles=angles)
    found = smoc(structure, density, RESOLUTION).columns["smoc"]
    inside = density.contains(structure.positions).all()
    assert inside or angles[0] != 90
    np.testing.assert_allclose(found, plain(structure, density), atol=2e-3)
    assert np.isnan(found[-1])


def test_the_blurred_model_overlaps_itself_completely(peptide: Callable, rng: np.random.Generator) -> None:
    structure = model(peptide, "A", "B")
    empty = noisy(structure, rng)
    own = Density(blurred_model(structure, empty, SIGMA), empty.cell, empty.corner)
    np.testing.assert_allclose(smoc(structure, own, RESOLUTION).columns["smoc"], 1.0, atol=1e-6)
    spoiled = own.values.copy()
    grid = np.rint(own.grid_coordinates(structure.positions[structure.residues.first[:1]])).astype(int)[0]
    spoiled[grid[0] - 3 : grid[0] + 3, grid[1] - 3 : grid[1] + 3, grid[2] - 3 : grid[2] + 3] = 0.0
    column = smoc(structure, Density(spoiled, own.cell, own.corner), RESOLUTION).columns["smoc"]
    assert (column[:5] < 0.99).all()
    assert column[11] > 0.999


def test_scale_hydrogens_and_chains(peptide: Callable, rng: np.random.Generator) -> None:
    structure = model(peptide, "A", "B")
    density = noisy(structure, rng)
    found = smoc(structure, density, RESOLUTION)
    scaled = smoc(structure, Density(density.values * 7.0, density.cell, density.corner), RESOLUTION)
    np.testing.assert_allclose(scaled.columns["smoc"], found.columns["smoc"], rtol=1e-5)
    detail = found.details["smoc"]
    assert set(detail["chains"]) == {"A", "B"}
    assert np.mean(list(detail["chains"].values())) == pytest.approx(detail["mean"], abs=1e-6)
    elements = structure.elements.copy()
    elements[structure.names == "O"] = 1
    hydrogens = replace(structure, elements=elements)
    bare = structure.without(structure.names == "O")
    bare = replace(bare, residues=replace(bare.residues, polymer=np.ones(len(bare.residues), dtype=bool)))
    np.testing.assert_allclose(
        smoc(hydrogens, density, RESOLUTION).columns["smoc"], smoc(bare, density, RESOLUTION).columns["smoc"], rtol=1e-6
    )


def test_no_polymer_and_no_map_nearby(peptide: Callable, rng: np.random.Generator) -> None:
    structure = model(peptide, "A")
    density = noisy(structure, rng)
    lonely = replace(structure, residues=replace(structure.residues, polymer=np.zeros(len(structure.residues), dtype=bool)))
    away = Density(density.values, density.cell, density.corner + 300.0)
    for found in (smoc(lonely, density, RESOLUTION), smoc(structure, away, RESOLUTION)):
        assert np.isnan(found.columns["smoc"]).all()
        assert found.details["smoc"] == {"mean": None, "chains": {}}
