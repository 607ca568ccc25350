"""Repulsion: pair list, contact distances, energy and gradient."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest

from refinement.restraints.contact_types import contact_types
from refinement.restraints.hydrogens import hydrogenate
from refinement.restraints.nonbonded import make_nonbonded
from refinement.structure import from_gemmi

if TYPE_CHECKING:
    from collections.abc import Callable

    import gemmi
    from numpy.typing import NDArray

    from refinement.restraints.graph import Neighbours
    from refinement.restraints.hydrogens import Hydrogenated
    from refinement.restraints.nonbonded import Nonbonded


@pytest.fixture
def crowd(builder, library: gemmi.MonLib) -> Hydrogenated:
    """Two helices far too close to each other."""
    builder.peptide(["SER", "LYS", "TYR", "ASP", "ARG", "ASN"])
    builder.peptide(["GLU", "THR", "PHE", "MET", "HIS"], chain="B", origin=(4.0, 2.5, 1.0))
    return hydrogenate(builder.finish(), library)


def nonbonded_of(model: Hydrogenated, library: gemmi.MonLib) -> Nonbonded:
    types = contact_types(model.structure, model.bonding.neighbours, library)
    return make_nonbonded(model.structure, types, model.bonding.neighbours)


def bonds_apart(bonded: Neighbours, start: int) -> dict[int, int]:
    """Return the number of bonds to every atom within four."""
    depth, front = {start: 0}, [start]
    for level in range(1, 5):
        front = [int(b) for a in front for b in bonded.of(a) if int(b) not in depth]
        for atom in front:
            depth.setdefault(atom, level)
    return depth


def test_list_is_that_of_plain_rules(crowd: Hydrogenated, library: gemmi.MonLib) -> None:
    """All pairs in reach but those three bonds apart, four with a hydrogen; d0 from radii and hydrogen bonds."""
    structure, bonded = crowd.structure, crowd.bonding.neighbours
    types = contact_types(structure, bonded, library)
    listed = nonbonded_of(crowd, library).pair_list(structure.positions, margin=0.7)
    expected = {}
    hydrogen, elements = structure.is_hydrogen, structure.elements
    for i in range(len(structure)):
        apart = bonds_apart(bonded, i)
        for j in range(i + 1, len(structure)):
            if j in apart and (apart[j] <= 3 or hydrogen[i] or hydrogen[j]):
                continue
            d0 = types.radius[i] + types.radius[j]
            if (types.donor[i] and types.acceptor[j]) or (types.acceptor[i] and types.donor[j]):
                d0 -= 0.6
            elif {elements[i], elements[j]} <= {7, 8} and (
                (types.polar[i] and (types.acceptor[j] or types.polar[j])) or (types.polar[j] and types.acceptor[i])
            ):
                d0 = min(d0, 2.9)
            if np.linalg.norm(structure.positions[i] - structure.positions[j]) <= d0 + 0.7:
                expected[i, j] = d0
    found = {tuple(pair): d0 for pair, d0 in zip(listed.pairs.tolist(), listed.contact.tolist(), strict=True)}
    assert found.keys() == expected.keys()
    assert [found[key] for key in expected] == pytest.approx(list(expected.values()))


def energy(nonbonded: Nonbonded, positions: NDArray, weight: float = 3.0) -> tuple[float, NDArray]:
    gradient = np.zeros_like(positions)
    return nonbonded.pair_list(positions).energy_and_gradient(positions, gradient, weight=weight, reduction=0.1), gradient


def test_energy_is_the_formula(crowd: Hydrogenated, library: gemmi.MonLib) -> None:
    positions = crowd.structure.positions
    nonbonded = nonbonded_of(crowd, library)
    listed = nonbonded.pair_list(positions)
    distance = np.linalg.norm(positions[listed.pairs[:, 0]] - positions[listed.pairs[:, 1]], axis=1)
    expected = 3.0 * (np.maximum(listed.contact - 0.1 - distance, 0.0) ** 2).sum()
    assert expected > 10.0
    assert energy(nonbonded, positions)[0] == pytest.approx(expected)


def test_gradient_agrees_with_finite_differences(
    crowd: Hydrogenated, library: gemmi.MonLib, central_difference: Callable[..., float]
) -> None:
    nonbonded = nonbonded_of(crowd, library)
    positions = crowd.structure.positions
    gradient = energy(nonbonded, positions)[1]
    rng = np.random.default_rng(0)
    for _ in range(6):
        direction = rng.normal(size=positions.shape)
        numeric = central_difference(lambda x: energy(nonbonded, x)[0], positions, direction, 1e-6)
        assert (gradient * direction).sum() == pytest.approx(numeric, rel=1e-6)
    assert gradient.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)


def test_energy_does_not_change_with_the_frame(crowd: Hydrogenated, library: gemmi.MonLib) -> None:
    nonbonded, positions = nonbonded_of(crowd, library), crowd.structure.positions
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    value, gradient = energy(nonbonded, positions)
    turned_value, turned_gradient = energy(nonbonded, positions @ rotation.T + [100.0, -30.0, 7.0])
    assert turned_value == pytest.approx(value, rel=1e-9)
    assert turned_gradient == pytest.approx(gradient @ rotation.T, abs=1e-6)


def test_a_list_stays_valid_within_half_its_margin(crowd: Hydrogenated, library: gemmi.MonLib) -> None:
    nonbonded, positions = nonbonded_of(crowd, library), crowd.structure.positions
    listed = nonbonded.pair_list(positions, margin=1.0)
    step = np.random.default_rng(3).normal(size=positions.shape)
    step *= 0.49 / np.linalg.norm(step, axis=1, keepdims=True)
    moved = positions + step
    assert not listed.outdated(moved)
    old, new = np.zeros_like(moved), np.zeros_like(moved)
    assert listed.energy_and_gradient(moved, old, weight=1.0) == pytest.approx(
        nonbonded.pair_list(moved).energy_and_gradient(moved, new, weight=1.0)
    )
    assert old == pytest.approx(new, abs=1e-9)
    assert listed.outdated(positions + step * 1.1)
    moved[0, 0] = np.nan
    assert listed.outdated(moved)


def pair_contact(builder, library: gemmi.MonLib, first: tuple[str, str], second: tuple[str, str], apart: float = 2.0) -> float:
    """Return d0 of two single atoms given as (compound, atom name)."""
    for chain, (compound, name), x in (("A", first, 0.0), ("B", second, apart)):
        builder.residue(chain, 1, compound, {name: np.array([x, 0.0, 0.0])}, het=True)
    structure = builder.finish()
    model = hydrogenate(structure, library)
    listed = nonbonded_of(model, library).pair_list(model.structure.positions)
    assert len(listed.pairs) == 1
    return float(listed.contact[0])


@pytest.mark.parametrize(
    ("first", "second", "contact"),
    [
        (("ALA", "CB"), ("LEU", "CB"), 3.4),
        (("ALA", "CB"), ("ALA", "O"), 3.1),
        (("ALA", "O"), ("GLU", "OE1"), 2.8),
        (("HOH", "O"), ("ALA", "O"), 2.5),
        (("HOH", "O"), ("HOH", "O"), 2.5),
        (("HOH", "O"), ("ALA", "CB"), 3.1),
        (("ZN", "ZN"), ("GLU", "OE1"), 1.9),
        (("MG", "MG"), ("HOH", "O"), 1.9),
    ],
)
def test_contact_distances(
    builder, library: gemmi.MonLib, first: tuple[str, str], second: tuple[str, str], contact: float
) -> None:
    assert pair_contact(builder, library, first, second) == pytest.approx(contact)


def test_heavy_ends_of_a_hydrogen_bond_keep_their_distance(builder, library: gemmi.MonLib) -> None:
    """N-H...O: the hydrogen may come to 1.85 Å, the nitrogen only to 2.9 Å."""
    builder.peptide(["ALA", "ALA"])
    bare = builder.finish()
    full = hydrogenate(bare, library).structure
    inside = full.residue == 1
    n, h = (full.positions[inside & (full.names == name)][0] for name in ("N", "H"))
    builder.residue("X", 1, "GLU", {"OE1": n + 2.5 * (h - n) / np.linalg.norm(h - n)}, het=True)
    model = hydrogenate(builder.finish(), library)
    structure = model.structure
    listed = nonbonded_of(model, library).pair_list(structure.positions)
    oxygen = int(np.flatnonzero(structure.names == "OE1")[0])
    found = {
        (int(structure.residue[i + j - oxygen]), str(structure.names[i + j - oxygen])): d0
        for (i, j), d0 in zip(listed.pairs.tolist(), listed.contact, strict=True)
        if oxygen in (i, j)
    }
    assert found[1, "H"] == pytest.approx(1.05 + 1.40 - 0.6)
    assert found[1, "N"] == pytest.approx(2.9)


def test_conformers_do_not_repel(builder, library: gemmi.MonLib) -> None:
    for chain, x in (("A", 0.0), ("B", 0.5), ("C", 1.0)):
        builder.residue(chain, 1, "ALA", {"CB": np.array([x, 0.0, 0.0])}, het=True)
    source = builder.structure.clone()
    source[0]["A"][0][0].altloc, source[0]["B"][0][0].altloc = "A", "B"
    structure = from_gemmi(source)
    model = hydrogenate(structure, library)
    pairs = nonbonded_of(model, library).pair_list(model.structure.positions).pairs
    assert sorted(map(tuple, pairs.tolist())) == [(0, 2), (1, 2)]


def test_atoms_on_top_of_each_other_give_numbers(builder, library: gemmi.MonLib) -> None:
    for chain in "AB":
        builder.residue(chain, 1, "ALA", {"CB": np.zeros(3)}, het=True)
    model = hydrogenate(builder.finish(), library)
    value, gradient = energy(nonbonded_of(model, library), model.structure.positions)
    assert value == pytest.approx(3.0 * 3.3**2)
    assert np.isfinite(gradient).all()


def test_excluded_pairs_within_a_residue(builder, library: gemmi.MonLib) -> None:
    """Up to three bonds between heavy atoms are excluded, and the fourth where a hydrogen is at an end."""
    builder.peptide(["LYS"])
    model = hydrogenate(builder.finish(), library)
    structure = model.structure
    nonbonded = nonbonded_of(model, library)
    at = {name: k for k, name in enumerate(structure.names.tolist())}

    def excluded(a: str, b: str) -> bool:
        row = nonbonded.excluded[nonbonded.excluded_first[at[a]] : nonbonded.excluded_first[at[a] + 1]]
        return at[b] in row

    assert all(excluded(a, b) and excluded(b, a) for a, b in combinations(("N", "CA", "CB", "CG"), 2))
    assert excluded("N", "CG")
    assert not excluded("N", "CD")
    assert excluded("HA", "CD")
    assert not excluded("HA", "CE")
    assert excluded("HB2", "HD2")
    assert not excluded("HB2", "HE2")
