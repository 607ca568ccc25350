"""The compiled energies of side chains against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

from refinement import tables
from refinement.geometry import dihedrals
from refinement.moves.rotamer_tables import COMPOUNDS, rotamer_tables
from refinement.moves.side_chain_atoms import BOND_REACH, Atoms, SideChains, hinge, list_contacts, room, turn
from refinement.moves.side_chain_rounds import near_moved, rounds
from refinement.moves.side_chain_search import KERNEL_STEP, _energy, field_of, rotamer_score
from refinement.moves.side_chain_setup import atoms_of, searchable, side_chains_of
from refinement.restraints.nonbonded import ACCEPTOR, DONOR, contact_distance
from refinement.restraints.rotamers import rotamer_scores, rotamer_targets


@pytest.fixture(scope="module")
def prepared(scene):
    model = scene.model(scene.truth)
    targets = rotamer_targets(scene.truth)
    chosen = searchable(scene.truth, model.hydrogenated, targets)
    atoms = atoms_of(model.hydrogenated, model.nonbonded, 12.0)
    return atoms, side_chains_of(scene.truth, model.hydrogenated, targets, chosen), model.hydrogenated.structure


def own_of(chains: SideChains, s: int) -> np.ndarray:
    return chains.atoms[chains.first[s] : chains.first[s + 1]]


def contact_energy(square: float, i: int, j: int, atoms: Atoms, rules) -> float:
    """Two atoms, straight from the definition."""
    a, b = int(atoms.role[i]), int(atoms.role[j])
    d0 = contact_distance(a, b, float(atoms.radius[i] + atoms.radius[j]))
    distance, limit = np.sqrt(square), d0 - rules.reduction
    energy = min(rules.contact_weight * max(limit - distance, 0.0) ** 2, rules.cap)
    if (a & DONOR and b & ACCEPTOR) or (a & ACCEPTOR and b & DONOR):
        energy -= rules.bond * float(np.clip((d0 + BOND_REACH - distance) / BOND_REACH, 0.0, 1.0))
    return energy


def excluded(atoms: Atoms, i: int) -> set[int]:
    return set(atoms.excluded[atoms.excluded_first[i] : atoms.excluded_first[i + 1]].tolist())


def energy_by_hand(atoms: Atoms, chains: SideChains, s: int, points: np.ndarray, density, rules) -> float:
    """Map and contacts of a side chain at `points`: every own atom against every atom of the model."""
    own, level = own_of(chains, s), chains.level[chains.first[s] : chains.first[s + 1]]
    positions = atoms.positions.copy()
    positions[own] = points
    place = {int(atom): k for k, atom in enumerate(own)}
    total = -(atoms.weight[own] * density.values(points))[level > 0].sum()
    for k, i in enumerate(own.tolist()):
        squares = ((positions - positions[i]) ** 2).sum(axis=1)
        skipped = excluded(atoms, i)
        for j in np.flatnonzero(squares < 36.0).tolist():
            if j in skipped or j == i or atoms.silent[i] or atoms.silent[j]:
                continue
            inside = place.get(j)
            counted = level[k] > 0 if inside is None else j < i and level[inside] != level[k]
            if counted:
                total += contact_energy(float(squares[j]), i, j, atoms, rules)
    return float(total)


@pytest.mark.parametrize("compound", ["ARG", "TRP", "LEU", "SER", "ASN"])
def test_energy_is_that_of_plain_numpy(scene, rules, prepared, compound: str) -> None:
    atoms, chains, _ = prepared
    grids, contacts = rotamer_tables(), room()
    field = field_of(scene.interpolated)
    s = int(np.flatnonzero(chains.compound == COMPOUNDS.index(compound))[0])
    ((_, (offsets, around, chain_offsets, near)),) = rounds(atoms, chains, np.array([s]), grids)
    list_contacts(atoms, chains, rules, contacts, s, around[offsets[0] : offsets[1]], near[chain_offsets[0] : chain_offsets[1]])
    base = atoms.positions[own_of(chains, s)]
    points = np.empty_like(base)
    first = grids.first[COMPOUNDS.index(compound)]
    for candidate in range(3):
        chi = grids.chi[first + 2 * candidate].copy()
        found = _energy(atoms, field, chains, grids, rules, contacts, s, base, points, chi, 0.0)
        by_hand = energy_by_hand(atoms, chains, s, points, scene.interpolated, rules)
        assert found == pytest.approx(by_hand + grids.cost[first + 2 * candidate], abs=1e-6)


@pytest.mark.parametrize("compound", ["LYS", "PHE"])
def test_energy_in_what_is_unexplained_is_that_of_plain_numpy(scene, rules, prepared, compound: str) -> None:
    """What a side chain explains itself comes to that of the map: the formula of docs/decisions/0034."""
    atoms, chains, _ = prepared
    grids, contacts = rotamer_tables(), room()
    nodes = KERNEL_STEP * np.arange(40)
    kernel = 0.3 * np.exp(-((nodes / 1.5) ** 2))
    anchors = atoms.positions + np.random.default_rng(3).normal(scale=0.3, size=atoms.positions.shape)
    plain, field = field_of(scene.interpolated), field_of(scene.interpolated, kernel, anchors)
    s = int(np.flatnonzero(chains.compound == COMPOUNDS.index(compound))[0])
    ((_, (offsets, around, chain_offsets, near)),) = rounds(atoms, chains, np.array([s]), grids)
    list_contacts(atoms, chains, rules, contacts, s, around[offsets[0] : offsets[1]], near[chain_offsets[0] : chain_offsets[1]])
    own, turning = own_of(chains, s), chains.level[chains.first[s] : chains.first[s + 1]] > 0
    base = atoms.positions[own]
    points = np.empty_like(base)
    weight = atoms.weight[own][turning]

    def overlap(first: np.ndarray, second: np.ndarray) -> float:
        apart = np.linalg.norm(first[:, None] - second, axis=2)
        return float(weight @ np.interp(apart, nodes, kernel, right=0.0) @ weight)

    chi = grids.chi[grids.first[COMPOUNDS.index(compound)]].copy()
    both = [_energy(atoms, each, chains, grids, rules, contacts, s, base, points, chi, 0.0) for each in (field, plain)]
    new, old = points[turning], anchors[own][turning]
    assert both[0] - both[1] == pytest.approx(overlap(new, new) - 2.0 * overlap(new, old), rel=1e-6)


def test_turning_sets_every_torsion_and_keeps_every_bond(prepared) -> None:
    atoms, chains, full = prepared
    rng = np.random.default_rng(1)
    seen = set()
    for s, compound in enumerate(chains.compound.tolist()):
        if compound in seen:
            continue
        seen.add(compound)
        n_chi = len(tables.chi_atoms()[COMPOUNDS[compound]])
        own, level = own_of(chains, s), chains.level[chains.first[s] : chains.first[s + 1]]
        base = atoms.positions[own]
        points = np.empty_like(base)
        chi = np.zeros(4)
        chi[:n_chi] = rng.uniform(-180.0, 180.0, n_chi)
        turn(chains, s, n_chi, base, chi, points)
        moved = full.positions.copy()
        moved[own] = points
        got = [float(dihedrals(moved, *(own[chains.quads[s, k]][:, None]))[0]) for k in range(n_chi)]
        np.testing.assert_allclose((np.array(got) - chi[:n_chi] + 180.0) % 360.0, 180.0, atol=1e-6)
        np.testing.assert_array_equal(points[level == 0], base[level == 0])
        apart = np.linalg.norm(base[:, None] - base[None], axis=2)
        bonded = (apart < 1.65) & (apart > 0)
        np.testing.assert_allclose(np.linalg.norm(points[:, None] - points[None], axis=2)[bonded], apart[bonded], atol=1e-9)
    assert len(seen) == len(COMPOUNDS) - 1  # the example has no MSE


def test_hinging_turns_everything_about_the_axis(prepared) -> None:
    atoms, chains, _ = prepared
    s = int(np.flatnonzero(chains.hinge[:, 0] >= 0)[5])
    own = own_of(chains, s)
    base = atoms.positions[own]
    points = np.empty_like(base)
    hinge(atoms, chains, s, base, 20.0, points)
    start, end = atoms.positions[chains.hinge[s]]
    axis = (end - start) / np.linalg.norm(end - start)
    arms = [arm - (arm @ axis)[:, None] * axis for arm in (base - start, points - start)]
    cosine = (arms[0] * arms[1]).sum(axis=1) / (np.linalg.norm(arms[0], axis=1) * np.linalg.norm(arms[1], axis=1))
    np.testing.assert_allclose(np.degrees(np.arccos(np.clip(cosine, -1, 1))), 20.0, atol=1e-6)
    names = {"N", "CA", "C", "O"}
    assert names <= set(prepared[2].names[own].tolist())
    assert not set(chains.hinge[s].tolist()) & set(own.tolist())


def test_rotamer_scores_are_those_of_the_validation() -> None:
    rng = np.random.default_rng(2)
    for k, compound in enumerate(COMPOUNDS):
        n_chi = len(tables.chi_atoms()[compound])
        chi = rng.uniform(-200.0, 500.0, (20, n_chi))
        padded = np.pad(chi, ((0, 0), (0, 4 - n_chi)))
        found = [rotamer_score(rotamer_tables(), k, row) for row in padded]
        np.testing.assert_allclose(found, rotamer_scores(compound, chi), atol=1e-6)


def test_side_chains_of_a_round_cannot_touch_and_every_one_has_its_turn(prepared) -> None:
    """Apart from Cβ to Cβ by more than both can reach, whatever their χ and their hinges."""
    atoms, chains, _ = prepared
    longest = np.maximum.reduceat(chains.reach, chains.first[:-1])
    seen = []
    for rows, _ in rounds(atoms, chains, np.arange(len(chains.compound)), rotamer_tables()):
        beta = atoms.positions[chains.beta[rows]]
        gap = np.linalg.norm(beta[:, None] - beta[None], axis=2) - longest[rows][:, None] - longest[rows][None]
        assert gap[~np.eye(len(rows), dtype=bool)].min(initial=np.inf) > 2.0 * atoms.radius.max() + BOND_REACH
        seen += rows.tolist()
    assert sorted(seen) == list(range(len(chains.compound)))
    some = np.arange(1, len(chains.compound), 3)
    assert sorted(row for rows, _ in rounds(atoms, chains, some, rotamer_tables()) for row in rows.tolist()) == some.tolist()


def test_side_chains_near_what_moved(prepared) -> None:
    atoms, chains, _ = prepared
    moved = np.zeros(len(atoms.weight), dtype=bool)
    assert not near_moved(atoms, chains, moved).any()
    s = len(chains.compound) // 2
    moved[own_of(chains, s)[-1]] = True
    near = near_moved(atoms, chains, moved)
    away = np.linalg.norm(atoms.positions[chains.beta] - atoms.positions[moved][0], axis=1)
    assert near[s]
    assert near[away < 6.0].all()
    assert not near[away > 16.0].any()
    assert 0 < near.sum() < len(near)
