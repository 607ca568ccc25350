"""Turning hydroxyl, thiol and ammonium groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement.restraints.contact_types import altloc_codes, contact_types
from refinement.restraints.hydrogen_frames import AMMONIUM, HYDROXYL, METHYL, STAGGERED
from refinement.restraints.hydrogens import hydrogenate
from refinement.restraints.rotors import optimise_rotors
from refinement.validation.contacts import find_clashes

if TYPE_CHECKING:
    import gemmi
    from numpy.typing import NDArray

    from refinement.restraints.hydrogens import Hydrogenated


def position(model: Hydrogenated, residue: int, name: str) -> NDArray[np.float64]:
    structure = model.structure
    return structure.positions[(structure.residue == residue) & (structure.names == name)][0]


def serine_with(builder, library: gemmi.MonLib, compound: str, name: str, distance: float, torsion: float, place) -> Hydrogenated:
    """Return Ala-Ser-Ala with one atom at a distance from OG, where HG would point at this torsion angle."""
    builder.peptide(["ALA", "SER", "ALA"], phi=-120.0, psi=130.0)
    bare = builder.finish()
    ca, cb, og = (bare.positions[(bare.residue == 1) & (bare.names == atom)][0] for atom in ("CA", "CB", "OG"))
    builder.residue("X", 1, compound, {name: place(ca, cb, og, distance, 109.5, torsion)}, het=True)
    return hydrogenate(builder.finish(), library)


@pytest.mark.parametrize("torsion", [-150.0, -60.0, 60.0, 100.0])
def test_hydroxyl_points_at_an_acceptor(builder, library: gemmi.MonLib, place, torsion: float) -> None:
    model = serine_with(builder, library, "HOH", "O", 2.7, torsion, place)
    water, hydrogen, oxygen = position(model, 3, "O"), position(model, 1, "HG"), position(model, 1, "OG")
    angle = np.degrees(np.arccos((hydrogen - oxygen) @ (water - oxygen) / 0.84 / 2.7))
    # the score includes contacts of the oxygen, so that the best hydrogen bond needn't be straight
    assert angle < 70.0
    assert np.linalg.norm(hydrogen - water) < 2.45


def test_hydroxyl_turns_away_from_an_atom_it_would_hit(builder, library: gemmi.MonLib, place) -> None:
    model = serine_with(builder, library, "MG", "MG", 1.9, 180.0, place)
    metal, hydrogen = position(model, 3, "MG"), position(model, 1, "HG")
    assert np.linalg.norm(hydrogen - metal) > 2.0


def test_search_never_makes_the_contacts_worse(builder, library: gemmi.MonLib) -> None:
    """A compact helix of groups that turn: no more clashes than before."""
    builder.peptide(["SER", "LYS", "TYR", "THR", "SER", "CYS", "LYS", "THR", "TYR", "SER", "THR", "SER"])
    bare = builder.finish()
    clashes = {}
    for optimise in (False, True):
        model = hydrogenate(bare, library, optimise=optimise)
        types = contact_types(model.structure, model.bonding.neighbours, library)
        clashes[optimise] = find_clashes(model.structure, types, model.bonding.neighbours).overlap.sum()
    assert clashes[True] <= clashes[False]


def test_kinds_of_rotors(builder, library: gemmi.MonLib) -> None:
    builder.peptide(["GLY", "LYS", "THR", "TYR"])
    builder.residue("H", 1, "HEM", {k: v + 60.0 for k, v in builder.compound_coordinates("HEM").items()}, het=True)
    model = hydrogenate(builder.finish(), library)
    names = model.structure.names[model.riding.hydrogen]
    kinds = {
        str(name): int(model.riding.rotor_kind[rotor])
        for name, rotor in zip(names, model.riding.rotor, strict=True)
        if rotor >= 0
    }
    assert kinds["HZ1"] == kinds["H3"] == AMMONIUM
    assert kinds["HG1"] == kinds["HH"] == HYDROXYL
    assert kinds["HG21"] == STAGGERED
    assert kinds["HMA"] == METHYL
    assert "HD1" not in kinds


def test_methyl_stays_staggered_and_ammonium_nearly_so(builder, library: gemmi.MonLib) -> None:
    builder.peptide(["ALA", "LYS", "ALA"])
    model = hydrogenate(builder.finish(), library)
    names = model.structure.names[model.riding.hydrogen]
    torsion = np.degrees(model.riding.coefficients[:, 2])
    assert (torsion[names == "HB1"][0] - 180.0) % 120.0 == pytest.approx(0.0, abs=1e-6)
    off = (torsion[names == "HZ1"][0] - 180.0) % 120.0
    assert min(off, 120.0 - off) <= 31.0


def test_result_does_not_depend_on_the_run(builder, library: gemmi.MonLib) -> None:
    builder.peptide(["SER", "THR", "TYR", "LYS", "CYS", "SER"])
    bare = builder.finish()
    first, second = hydrogenate(bare, library), hydrogenate(bare, library)
    assert np.array_equal(first.structure.positions, second.structure.positions)


@pytest.mark.parametrize("seed", [1, 2])
def test_hydrogens_turn_with_the_model(builder, library: gemmi.MonLib, seed: int) -> None:
    """A crowded helix in another orientation: the same hydrogens, to rounding."""
    builder.peptide(["SER", "LYS", "TYR", "THR", "SER", "CYS", "LYS", "THR", "TYR", "SER", "THR", "SER"])
    bare = builder.finish()
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    here = hydrogenate(bare, library).structure.positions
    there = hydrogenate(bare.moved(bare.positions @ rotation.T + 20.0), library).structure.positions
    assert (there - 20.0) @ rotation == pytest.approx(here, abs=1e-6)


def test_nothing_to_turn(builder, library: gemmi.MonLib) -> None:
    builder.peptide(["ALA"], first=5)
    model = hydrogenate(builder.finish(), library, optimise=False)
    structure = model.structure
    types = contact_types(structure, model.bonding.neighbours, library)
    alone = model.riding.turned(np.zeros(len(model.riding.rotor_kind)))
    moved, riding = optimise_rotors(
        structure.positions,
        alone,
        types,
        model.bonding.neighbours,
        altloc_codes(structure),
        np.zeros(len(structure)),
        structure.elements,
    )
    assert moved[structure.names == "CA"] == pytest.approx(structure.positions[structure.names == "CA"])
    assert np.isfinite(riding.coefficients).all()
