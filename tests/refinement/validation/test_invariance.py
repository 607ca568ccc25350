"""What must not matter: where and how a model lies, the names and the order of its chains, the order of its atoms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from curation.example_model import build_truth, plant_errors
from refinement.maps.density import Density
from refinement.maps.scattering import model_map
from refinement.restraints.library import load_monomer_library
from refinement.structure import Structure, from_gemmi, read_structure
from refinement.validation.clashscore import Clash, clashscore
from refinement.validation.registry import BY_KEY, Group
from refinement.validation.table_one import Validation, validate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

RESOLUTION = 3.0
RELATIVE = 1e-3
ROUNDING = 1e-6


@dataclass
class Pair:
    """A model with errors, and maps of the true one with noise."""

    structure: Structure
    density: Density
    halves: list[Density]
    contour: float

    def validate(self, structure: Structure | None = None, change: Callable[[Density], Density] | None = None) -> Validation:
        """Table 1 of another form of the model in changed maps."""
        density, *halves = [change(one) if change else one for one in (self.density, *self.halves)]
        model = structure or self.structure
        return validate(model, density, resolution=RESOLUTION, contour=self.contour, half_maps=halves)


@pytest.fixture(scope="module")
def pair() -> Pair:
    rng = np.random.default_rng(1)
    truth = build_truth()
    model, deposited = from_gemmi(truth), from_gemmi(plant_errors(truth, rng))
    corner = np.floor(model.positions.min(axis=0) - 8.0)
    dims = 2 * np.ceil((model.positions.max(axis=0) + 8.0 - corner) / 2.0).astype(int)
    cell = gemmi.UnitCell(*dims.astype(float), 90, 90, 90)
    signal = np.asarray(model_map(model, Density(np.zeros(dims, np.float32), cell, corner), RESOLUTION))

    def noisy(share: float) -> Density:
        values = signal + rng.normal(scale=share * signal.std(), size=signal.shape)
        return Density(values.astype(np.float32), cell, corner)

    return Pair(deposited, noisy(0.5), [noisy(0.7), noisy(0.7)], 2.0 * float(signal.std()))


@pytest.fixture(scope="module")
def before(pair: Pair) -> Validation:
    found = pair.validate()
    assert sum(value is not None for value in found.metrics.values()) > 50
    return found


def assert_same_metrics(
    before: Validation, after: Validation, *, relative: float = ROUNDING, groups: Sequence[Group] = tuple(Group)
) -> None:
    for key, value in before.metrics.items():
        if BY_KEY[key if key in BY_KEY else key.removesuffix("_masked")].group not in groups:
            continue
        assert after.metrics[key] == (value if value is None else pytest.approx(value, rel=relative, abs=1e-6)), key
        assert after.reasons.get(key) == before.reasons.get(key), key


def assert_same_columns(before: Validation, after: Validation, rows: np.ndarray | slice = slice(None)) -> None:
    """Compare the residue columns; `rows` are those of `after` in the order of `before`."""
    assert before.residues.keys() == after.residues.keys()
    for name, values in before.residues.items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(after.residues[name][rows], values, rtol=2e-4, atol=2e-4, err_msg=name)
        else:
            np.testing.assert_array_equal(after.residues[name][rows], values, err_msg=name)


def rotation(seed: int) -> np.ndarray:
    orthogonal = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return orthogonal * np.sign(np.linalg.det(orthogonal))


@pytest.mark.parametrize("seed", range(1, 5))
def test_turned_and_moved_model(pair: Pair, before: Validation, seed: int) -> None:
    """All that needs no map stays."""
    turned = pair.structure.moved(pair.structure.positions @ rotation(seed).T + [11.3, -4.2, 7.7])
    after = pair.validate(turned)
    assert_same_metrics(before, after, relative=RELATIVE, groups=[Group.MODEL])
    assert after.metrics["clashscore"] == pytest.approx(before.metrics["clashscore"], rel=1e-9)
    for name in ("n_clashes", "worst_overlap"):
        np.testing.assert_allclose(after.residues[name], before.residues[name], atol=1e-6, err_msg=name)
    for name in ("phi", "psi", "rama_score", "rotamer_score", "chi1", "cbeta_deviation", "omega", "suiteness", "bond_z_max"):
        np.testing.assert_allclose(after.residues[name], before.residues[name], rtol=1e-3, atol=1e-3, err_msg=name)


def test_model_and_map_moved_together(pair: Pair, before: Validation) -> None:
    shift = np.array([12.34, -5.6, 100.1])

    def moved(density: Density) -> Density:
        return Density(density.values, density.cell, density.corner + shift)

    after = pair.validate(pair.structure.moved(pair.structure.positions + shift), moved)
    assert_same_metrics(before, after)
    assert_same_columns(before, after)


def test_model_and_map_turned_together(pair: Pair, before: Validation) -> None:
    """A third of a turn about the diagonal maps grid points onto grid points."""
    axes = [1, 2, 0]

    def turned(density: Density) -> Density:
        lengths = np.array(density.cell.parameters[:3])[axes]
        values = np.ascontiguousarray(np.transpose(density.values, axes))
        return Density(values, gemmi.UnitCell(*lengths, 90, 90, 90), density.corner[axes])

    after = pair.validate(pair.structure.moved(pair.structure.positions[:, axes]), turned)
    assert_same_metrics(before, after, relative=RELATIVE)
    np.testing.assert_allclose(after.residues["cc"], before.residues["cc"], atol=1e-4)


@pytest.mark.parametrize("name", ["{0}{0}", "Chain-{0}-long"])
def test_renamed_chains(pair: Pair, before: Validation, name: str) -> None:
    source = pair.structure.to_gemmi()
    for chain in [chain.name for chain in source[0]]:
        source.rename_chain(chain, name.format(chain))
    after = pair.validate(from_gemmi(source))
    assert_same_metrics(before, after)
    assert_same_columns(before, after)
    assert list(after.chains.values()) == pytest.approx(list(before.chains.values()))


def test_chains_in_another_order(pair: Pair, before: Validation) -> None:
    source = pair.structure.to_gemmi()
    turned = gemmi.Structure()
    turned.add_model(gemmi.Model(1))
    for chain in reversed(list(source[0])):
        turned[0].add_chain(chain)
    turned.connections = source.connections
    model = from_gemmi(turned)
    after = pair.validate(model)
    assert_same_metrics(before, after)
    row_of = {model.residues.label(row): row for row in range(len(model.residues))}
    labels = [pair.structure.residues.label(row) for row in range(len(pair.structure.residues))]
    assert_same_columns(before, after, np.array([row_of[label] for label in labels]))


def shuffled(structure: Structure, rng: np.random.Generator) -> Structure:
    """The same model with the atoms of its residues in another order."""
    source = structure.to_gemmi()
    for chain in source[0]:
        for residue in chain:
            atoms = [residue[k].clone() for k in rng.permutation(len(residue)).tolist()]
            while len(residue):
                del residue[0]
            for atom in atoms:
                residue.add_atom(atom)
    return from_gemmi(source)


@pytest.mark.parametrize("seed", [1, 2])
def test_shuffled_atoms(pair: Pair, before: Validation, seed: int) -> None:
    after = pair.validate(shuffled(pair.structure, np.random.default_rng(seed)))
    assert_same_metrics(before, after)
    assert_same_columns(before, after)


@pytest.mark.shared
@pytest.mark.parametrize("model", ["mavs_5925/model.pdb", "apof_20026/model.pdb", "hb_5ni1/model.cif"])
def test_hydrogens_and_clashes_of_real_models(shared: Path, model: str) -> None:
    """Turned, moved and with their atoms in another order at the same time."""
    structure = read_structure(shared / "pairs" / model)
    library = load_monomer_library(set(structure.residues.compound.tolist()))
    before = clashscore(structure, library)
    for seed in range(3):
        changed = shuffled(structure, np.random.default_rng(seed))
        after = clashscore(changed.moved(changed.positions @ rotation(seed).T + [-31.0, 8.5, 2.25]), library)
        assert after.summary["clashscore"] == pytest.approx(before.summary["clashscore"], rel=1e-9)
        assert {names_of(clash) for clash in after.clashes} == {names_of(clash) for clash in before.clashes}


def names_of(clash: Clash) -> frozenset[tuple[int, str]]:
    return frozenset([(clash.first_residue, clash.first_atom), (clash.second_residue, clash.second_atom)])


def test_chain_in_pieces(pair: Pair, before: Validation, tmp_path: Path) -> None:
    """A PDB file may give the ligands and waters of a chain after all other chains."""
    source = pair.structure.to_gemmi()
    apart = [chain.name for chain in source[0] if not len(chain.get_polymer())]
    assert len(apart) > 1
    for place, chain in enumerate(source[0]):
        if chain.name in apart:
            chain.name = "A"
            for number, residue in enumerate(chain, start=1000 * place):
                residue.seqid.num = number
    source.connections.clear()
    path = tmp_path / "pieces.pdb"
    source.write_pdb(str(path))
    model = read_structure(path)
    assert len(model) == len(pair.structure)
    after = pair.validate(model)
    assert_same_metrics(before, after, relative=5e-3)  # the file keeps three digits
    assert after.chains.keys() == before.chains.keys() - set(apart)


@pytest.mark.parametrize("suffix", ["cif", "pdb"])
def test_through_a_file(pair: Pair, before: Validation, tmp_path: Path, suffix: str) -> None:
    source = pair.structure.to_gemmi()
    path = tmp_path / f"model.{suffix}"
    if suffix == "pdb":
        source.write_pdb(str(path))
    else:
        source.make_mmcif_document().write_file(str(path))
    assert_same_metrics(before, pair.validate(read_structure(path)), relative=5e-3)
