"""Ramachandran, rotamer and Cβ restraints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement import tables
from refinement.conformers import backbone_torsions
from refinement.restraints import backbone_potential as potential
from refinement.restraints import ramachandran as rama
from refinement.restraints.cbeta import GENERAL, cbeta_restraints
from refinement.restraints.rotamers import (
    _distributions,
    natural_rotamer_restraints,
    rotamer_restraints,
    rotamer_scores,
    rotamer_targets,
)
from refinement.structure import from_gemmi
from refinement.validation.ca_assignment import HELIX, LOOP, SHEET
from refinement.validation.ramachandran import ALLOWED, RamachandranClass, ramachandran
from refinement.validation.rotamers import rotamers

if TYPE_CHECKING:
    from collections.abc import Callable

SEQUENCE = ["MET", "ALA", "GLY", "PRO", "VAL", "ASP", "LEU", "LYS", "PHE", "ARG", "PRO", "ILE", "SER", "TRP", "HIS"]


def energy_at(row: int, phi: float, psi: float, place) -> float:
    """Return the energy of one residue whose φ and ψ are set exactly."""
    n, ca, c = np.array([0.0, 0, 0]), np.array([1.46, 0, 0]), np.array([2.0, 1.42, 0])
    before, after = place(c, ca, n, 1.34, 122.0, phi), place(n, ca, c, 1.34, 116.0, psi)
    x = np.stack([before, n, ca, c, after])
    atoms = np.arange(5, dtype=np.int32)[None]
    return rama.energy_and_gradient(x, atoms, np.array([row], dtype=np.int32), np.ones(1), rama.potentials(), np.zeros_like(x))


def row_of(compound: str, state: int | None = LOOP, *, cis: bool = False, before_proline: bool = False) -> int:
    states = None if state is None else np.array([state], dtype=np.int8)
    flags = {"cis": np.array([cis]), "before_proline": np.array([before_proline])}
    return int(potential.rows_of(states, np.array([compound]), **flags)[0])


def test_spline_goes_through_the_potential(place) -> None:
    counts = tables.rama_z().counts[HELIX][tables.rama_z().residue_types.index("LEU")]
    grid = potential.levelled(*potential.log_density(counts, RamachandranClass.GENERAL), RamachandranClass.GENERAL)
    rng = np.random.default_rng(1)
    for i, j in rng.integers(0, 180, (20, 2)):
        height = -energy_at(row_of("LEU", HELIX), -179.0 + 2 * i, -179.0 + 2 * j, place)
        assert height == pytest.approx(grid[i, j], abs=1e-9)


@pytest.mark.parametrize("category", list(RamachandranClass)[1:])
def test_contours_fall_off_outside(category: RamachandranClass, place) -> None:
    grid = tables.ramachandran()[category]
    smooth = potential.contour_heights(category)
    favoured = grid > 0.1
    assert np.abs(smooth - np.log(np.maximum(grid, 1e-9)))[favoured].mean() < 0.1
    assert smooth.max() <= 0.0
    assert smooth[grid < ALLOWED[category]].max() < np.log(ALLOWED[category]) + 0.7
    assert smooth[grid == 0].min() < np.log(ALLOWED[category]) - 1.0
    compound = {1: "GLY", 2: "PRO", 3: "PRO", 5: "VAL"}.get(int(category), "LEU")
    row = row_of(compound, None, cis=category == RamachandranClass.CIS_PROLINE, before_proline=category == 4)
    assert -energy_at(row, -61.0, -45.0, place) == pytest.approx(smooth[59, 67], abs=1e-9)


def test_distance_to_a_contour_wraps_around() -> None:
    region = tables.ramachandran()[RamachandranClass.GENERAL] >= 0.02
    apart = potential.distance_to(RamachandranClass.GENERAL, 0.02)
    inside = np.argwhere(region)
    for i, j in ((0, 0), (120, 5), (178, 90), (90, 100)):
        steps = np.abs(inside - (i, j))
        steps = np.minimum(steps, 180 - steps)
        assert apart[i, j] == pytest.approx(2.0 * np.sqrt((steps**2).sum(axis=1).min()))


def test_counts_speak_only_where_there_are_enough() -> None:
    contour = tables.ramachandran()[RamachandranClass.GENERAL].astype(float)
    heights, _ = potential.log_density(np.zeros((90, 90)), RamachandranClass.GENERAL)
    np.testing.assert_allclose(heights, potential.contour_heights(RamachandranClass.GENERAL), atol=1e-12)
    counts = np.zeros((90, 90))
    counts[29, 34] = 1e6  # φ = -62, ψ = -42
    heights, density = potential.log_density(counts, RamachandranClass.GENERAL)
    gain = heights - potential.contour_heights(RamachandranClass.GENERAL)
    assert gain[58:60, 68:70].min() > 2.0
    assert gain[30:34, 150:156].max() < -2.0
    assert density[58, 68] / density.sum() > contour[58, 68] / contour.sum()


@pytest.mark.parametrize("state", [HELIX, SHEET, LOOP])
def test_what_is_typical_is_flat_and_what_is_not_is_not(state: int) -> None:
    for name in ("ALA", "GLY", "VAL", "prePRO"):
        counts = tables.rama_z().counts[state][tables.rama_z().residue_types.index(name)]
        category = potential.CLASS_OF_TYPE.get(name, RamachandranClass.GENERAL)
        heights, density = potential.log_density(counts, category)
        grid = potential.levelled(heights, density, category)
        share = density / density.sum()
        top = potential.typical(heights, density)
        # about half of the residues of good structures feel little
        assert 0.4 < share[heights > top].sum() < 0.65
        slope, before = np.hypot(*np.gradient(grid)), np.hypot(*np.gradient(heights))
        flat = (heights > top + 0.5) & (potential.distance_to(category, 0.02) == 0)
        assert np.average(slope[flat], weights=share[flat]) < 0.25 * np.average(before[flat], weights=share[flat])
        rare = tables.ramachandran()[category] < 0.02
        np.testing.assert_allclose(slope[rare].mean(), before[rare].mean(), rtol=0.1)
        assert (grid <= heights + 1e-12).all()


def test_mean_height_is_that_of_the_tables() -> None:
    """With one summit the typical height is the mean of L over all residues, minus the entropy."""
    angle = np.arange(-179.0, 181.0, 2.0)
    radius = np.hypot(*np.meshgrid(angle - 1.0, angle - 1.0, indexing="ij")) / 6.0
    heights = -(radius**2) / 2
    found = potential.typical(heights, np.exp(heights))
    assert found[90, 90] == pytest.approx(-1.0, abs=0.06)


def test_potential_is_periodic(place) -> None:
    for angle in (-180.0, 180.0):
        near = energy_at(row_of("GLY"), angle - 1e-7, 170.0, place)
        far = energy_at(row_of("GLY"), angle + 1e-7, 170.0, place)
        assert near == pytest.approx(far, abs=1e-6)


def test_ramachandran_restraints_cover_what_the_validation_evaluates(builder, topology_of) -> None:
    builder.peptide(SEQUENCE)
    builder.peptide(["ALA", "PRO", "ALA"], chain="B", omega=3.0, origin=(80, 0, 0))
    structure = builder.finish()
    restraints = rama.ramachandran_restraints(structure, topology_of(structure), weight=2.0)
    judged = ramachandran(structure)
    evaluated = np.flatnonzero(judged.category != RamachandranClass.NONE)
    assert restraints.residue.tolist() == evaluated.tolist()
    contours = rama.ramachandran_restraints(structure, topology_of(structure), contours=True)
    first = len(rama.potentials()) - 6
    assert (contours.row - first).tolist() == judged.category[evaluated].tolist()
    assert first + RamachandranClass.CIS_PROLINE in contours.row
    names = np.array([*tables.rama_z().residue_types] * 3)[restraints.row]
    own = structure.residues.compound[evaluated]
    assert (names[~np.isin(own, ["PRO"]) & (names != "prePRO")] == own[~np.isin(own, ["PRO"]) & (names != "prePRO")]).all()
    assert names[own == "PRO"].tolist() == ["transPRO", "transPRO", "cisPRO"]
    assert (restraints.weight == 2.0).all()
    torsions = backbone_torsions(structure)
    assert (structure.names[restraints.atoms] == ["C", "N", "CA", "C", "N"]).all()
    assert np.isfinite(torsions.phi[restraints.residue]).all()


def test_ramachandran_gradient(builder, topology_of, central_difference: Callable[..., float]) -> None:
    rng = np.random.default_rng(0)
    for phi, psi in ((-60.0, -45.0), (-120.0, 130.0), (60.0, 30.0), (120.0, -60.0), (175.0, -178.0), (0.0, 0.0)):
        builder.structure[0].remove_chain("A") if len(builder.structure[0]) else None
        builder.peptide(SEQUENCE, phi=phi, psi=psi)
        structure = builder.finish()
        weights = rng.uniform(0.5, 5.0, 13)
        restraints = rama.ramachandran_restraints(structure, topology_of(structure)).weighted(weights)
        x = structure.positions + rng.normal(scale=0.02, size=structure.positions.shape)
        gradient = np.zeros_like(x)
        restraints.energy_and_gradient(x, gradient)
        np.testing.assert_allclose(gradient.sum(axis=0), 0.0, atol=1e-9)
        for _ in range(3):
            direction = rng.normal(size=x.shape)
            slope = central_difference(
                lambda y, r=restraints: r.energy_and_gradient(y, np.zeros_like(y)), x, direction, step=2e-5
            )
            assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-6, abs=1e-6 * np.linalg.norm(gradient))


def test_going_downhill_cures_an_outlier(builder, topology_of) -> None:
    builder.peptide(["ALA"] * 5, phi=-5.0, psi=100.0)
    structure = builder.finish()
    restraints = rama.ramachandran_restraints(structure, topology_of(structure))
    x = structure.positions.copy()
    start = restraints.energy_and_gradient(x, np.zeros_like(x))
    for _ in range(400):
        gradient = np.zeros_like(x)
        restraints.energy_and_gradient(x, gradient)
        x -= 0.01 * gradient / np.abs(gradient).max()
    assert restraints.energy_and_gradient(x, np.zeros_like(x)) < start - 3.0


def test_ramachandran_survives_broken_positions(builder, topology_of) -> None:
    builder.peptide(["ALA"] * 3)
    structure = builder.finish()
    restraints = rama.ramachandran_restraints(structure, topology_of(structure))
    x = structure.positions.copy()
    x[restraints.atoms[0, 2]] = np.nan
    gradient = np.zeros_like(x)
    assert restraints.energy_and_gradient(x, gradient) == 0.0
    assert (gradient == 0.0).all()
    assert np.isfinite(restraints.energy_and_gradient(np.zeros_like(x), gradient))


def test_rotamer_targets_stay_where_the_side_chain_is_good_and_lead_there_where_it_is_not(builder) -> None:
    builder.peptide(SEQUENCE)
    structure = builder.finish()
    targets = rotamer_targets(structure)
    judged = rotamers(structure)
    assert targets.residue.tolist() == judged.residue.tolist()
    np.testing.assert_allclose(targets.score, judged.score, atol=1e-6)
    shift = (targets.target - targets.chi + 180) % 360 - 180
    for row in range(len(targets)):
        compound = str(structure.residues.compound[targets.residue[row]])
        count = int((targets.atoms[row, :, 0] >= 0).sum())
        score = rotamer_scores(compound, targets.target[row : row + 1, :count])[0]
        assert score >= 0.05
        if targets.score[row] >= 0.05:
            np.testing.assert_allclose(shift[row, :count], 0.0)
        else:
            assert np.abs(shift[row, :count]).max() > 0


def test_natural_restraints_lead_to_the_centre_of_a_rotamer_as_widely_as_it_varies(builder) -> None:
    builder.peptide(["ALA", "VAL", "LEU", "ASN", "PHE", "LYS", "SER", "ALA"])
    structure = builder.finish()
    targets = rotamer_targets(structure)
    restraints = natural_rotamer_restraints(targets, sigma=3.0)
    compound = structure.residues.compound[restraints.residue]
    poor = np.isin(restraints.residue, targets.residue[targets.score < 0.05])
    width = restraints.weight**-0.5
    assert width[poor] == pytest.approx(3.0)
    for name in np.unique(compound[~poor]).tolist():
        mine = (compound == name) & ~poor
        centres = tables.rotamer_centres()[name].chi
        off = np.abs((restraints.target[mine] - centres[:, : mine.sum()] + 180.0) % 360.0 - 180.0)
        assert off.max(axis=1).min() < 1e-9
    assert (width[~poor] > 5.0).all()
    assert (width[~poor] < 50.0).all()


def test_rotamers_are_as_wide_as_they_are_known_to_be() -> None:
    """Penultimate rotamer library (Lovell et al. 2000): χ1 varies by about 10°, less at branches; χ2 of Asn is free."""
    spread = {name: _distributions(name)[1] for name in ("VAL", "THR", "LEU", "ASN", "PHE", "GLU")}
    assert 5.0 < spread["VAL"].min() <= spread["VAL"].max() < 10.0
    assert 5.0 < spread["THR"].min() <= spread["THR"].max() < 10.0
    assert 8.0 < spread["LEU"].min() <= spread["LEU"].max() < 20.0
    assert spread["ASN"][:, 1].min() > 1.5 * spread["ASN"][:, 0].max()
    assert spread["GLU"][:, 2].mean() > 1.5 * spread["GLU"][:, 0].mean()


def test_symmetric_side_chain_takes_the_nearer_of_two_equal_angles(builder) -> None:
    builder.peptide(["ALA", "PHE", "ALA"])
    structure = builder.finish()
    targets = rotamer_targets(structure)
    restraints = rotamer_restraints(targets)
    assert restraints.period.tolist() == [0, -2]
    names = structure.names.copy()
    swap = {"CD1": "CD2", "CD2": "CD1", "CE1": "CE2", "CE2": "CE1"}
    rows = np.array([np.flatnonzero((names == swap.get(str(n), str(n))) & (structure.residue == r))[0]
                     for n, r in zip(names, structure.residue, strict=True)])  # fmt: skip
    swapped = structure.positions[rows]
    flat = np.zeros_like(swapped)
    here = restraints.energy_and_gradient(structure.positions, flat)
    there = restraints.energy_and_gradient(swapped, flat)
    assert there == pytest.approx(here, abs=1.0)


def test_rotamer_and_cbeta_gradients(builder, central_difference: Callable[..., float]) -> None:
    builder.peptide(SEQUENCE)
    structure = builder.finish()
    rng = np.random.default_rng(2)
    x = structure.positions + rng.normal(scale=0.05, size=structure.positions.shape)
    targets = rotamer_targets(structure)
    for restraints in (rotamer_restraints(targets), natural_rotamer_restraints(targets), cbeta_restraints(structure)):
        gradient = np.zeros_like(x)
        assert restraints.energy_and_gradient(x, gradient) > 0
        for _ in range(3):
            direction = rng.normal(size=x.shape)
            slope = central_difference(lambda y, r=restraints: r.energy_and_gradient(y, np.zeros_like(y)), x, direction)
            assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-6)


def test_cbeta_targets_hold_for_the_dictionary_geometry(builder) -> None:
    builder.peptide(SEQUENCE)
    structure = builder.finish()
    restraints = cbeta_restraints(structure)
    assert len(restraints) == 2 * (len(SEQUENCE) - 1)
    assert (structure.names[restraints.atoms[:, 3]] == "CB").all()
    energy = restraints.energy_and_gradient(structure.positions, np.zeros_like(structure.positions))
    assert energy < 2.0 * len(restraints)
    lysine = structure.residues.compound[restraints.residue] == "LYS"
    assert tuple(restraints.target[lysine]) == GENERAL


def test_inverted_cbeta_is_seen(builder) -> None:
    builder.peptide(["ALA", "ALA"])
    structure = builder.finish()
    x = structure.positions.copy()
    n, ca, c, cb = (
        int(np.flatnonzero((structure.names == name) & (structure.residue == 1))[0]) for name in ("N", "CA", "C", "CB")
    )
    normal = np.cross(x[n] - x[ca], x[c] - x[ca])
    normal /= np.linalg.norm(normal)
    x[cb] -= 2 * normal * (normal @ (x[cb] - x[ca]))
    restraints = cbeta_restraints(structure)
    assert restraints.energy_and_gradient(x, np.zeros_like(x)) > 4000.0


def test_conformers_have_their_own_side_chain_restraints(builder) -> None:
    builder.peptide(["ALA", "SER", "ALA"])
    model = builder.finish().to_gemmi()
    residue = model[0][0][1]
    for name in ("CB", "OG"):
        atom = residue[name][0]
        atom.altloc, atom.occ = "A", 0.5
        other = atom.clone()
        other.altloc = "B"
        residue.add_atom(other)
    structure = from_gemmi(model)
    assert len(rotamer_targets(structure)) == 2
    assert len(cbeta_restraints(structure)) == 8


def test_models_without_protein_have_no_such_restraints(builder, topology_of) -> None:
    builder.residue("A", 1, "G", builder.compound_coordinates("G", leave=("OP3",)))
    structure = builder.finish()
    gradient = np.zeros_like(structure.positions)
    for restraints in (
        rama.ramachandran_restraints(structure, topology_of(structure)),
        rotamer_restraints(rotamer_targets(structure)),
        natural_rotamer_restraints(rotamer_targets(structure)),
        cbeta_restraints(structure),
    ):
        assert len(restraints) == 0
        assert restraints.energy_and_gradient(structure.positions, gradient) == 0.0
