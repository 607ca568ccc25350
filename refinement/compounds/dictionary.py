"""Restraint dictionaries made from the chemistry of a compound.

Bonds and angles come from the table of environments, what it doesn't know from the ideal coordinates; planes,
chiral centres and torsions from bond orders and configuration. Acids have lost their protons, as in solution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gemmi
import numpy as np

from refinement import tables
from refinement.compounds.angles import angle_targets
from refinement.compounds.component import component
from refinement.compounds.environment import atom_keys, bond_keys, environment
from refinement.compounds.stereo import chiral_centres, planes, torsions
from refinement.compounds.targets import BOND_SIGMA, read_targets
from refinement.geometry import distances
from refinement.restraints.bonding import IS_METAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from refinement.compounds.component import Component
    from refinement.compounds.environment import Environment
    from refinement.compounds.targets import Targets

ACIDS = ("C", "P", "S", "As", "Se", "V", "Mo", "W")
"""Elements whose hydroxyl beside a doubly bonded oxygen is an acid."""
PLANE_SIGMA = 0.02
METAL_SIGMA = 0.05
"""Å; bonds to metals vary with the oxidation state, which the table doesn't know."""
OTHER_HYDROGEN = 1.2
"""Å; a hydrogen on an element that the table doesn't have, without ideal coordinates."""
GROUPS = (
    ("PEPTIDE", "peptide"),
    ("DNA", "DNA"),
    ("RNA", "RNA"),
    ("SACCHARIDE", "pyranose"),
)
"""Begin or part of a type, and the group that decides which links a compound can have."""


def make_dictionary(name: str, targets: Targets | None = None) -> gemmi.cif.Block | None:
    """Return a restraint dictionary of a compound of the Chemical Component Dictionary.

    Parameters
    ----------
    name : str
        Its identifier.
    targets : Targets, optional
        Table of target values instead of the usual one.

    Returns
    -------
    gemmi.cif.Block or None
        As monomer libraries have it; None if the dictionary of components doesn't have the compound, or
        neither bonds nor coordinates that a restraint could be made from.
    """
    compound = component(name)
    if compound is None or (len(compound) > 1 and not len(compound.bonds)):
        return None
    found, table = environment(compound), targets or read_targets()
    lost = frozenset(acid_hydrogens(compound, found))
    lengths = [row for row in _bonds(compound, found, table) if lost.isdisjoint(row[:2])]
    values = [row for row in angle_targets(compound, found, table) if lost.isdisjoint(row[:3])]
    if not all(np.isfinite(row[2]) and row[2] > 0 for row in lengths) or not all(np.isfinite(row[3]) for row in values):
        return None
    block = gemmi.cif.Block(f"comp_{name}")
    kept = [row for row in range(len(compound)) if row not in lost]
    _add_atoms(block, compound, found, table, kept)
    _add_bonds(block, compound, found, lengths)
    _loop(block, name, "angle", ("atom_id_1", "atom_id_2", "atom_id_3", "value_angle", "value_angle_esd"), [
        (*(compound.names[row] for row in rows[:3]), f"{rows[3]:.2f}", f"{rows[4]:.1f}") for rows in values
    ])  # fmt: skip
    _add_stereo(block, compound, found, lost)
    return block


def acid_hydrogens(compound: Component, found: Environment) -> list[int]:
    """Return the rows of the hydrogens that acids lose in solution: of carboxylic, phosphoric and sulfonic groups."""
    lost = []
    for oxygen in (row for row, element in enumerate(compound.elements) if element == "O"):
        around = [there for there, _, _ in found.neighbours[oxygen]]
        hydrogens = [there for there in around if compound.elements[there] in ("H", "D")]
        centres = [there for there in around if compound.elements[there] in ACIDS]
        if len(around) == 2 and len(hydrogens) == len(centres) == 1:
            beside = found.neighbours[centres[0]]
            lost += hydrogens if any(order == 2 and compound.elements[there] == "O" for there, order, _ in beside) else []
    return lost


def _bonds(compound: Component, found: Environment, table: Targets) -> list[tuple[int, int, float, float]]:
    """Return atoms, length and standard deviation of every bond."""
    i, j = compound.bonds.T
    ideal = distances(compound.positions, i, j)
    lengths = []
    for (first, second), length in zip(compound.bonds.tolist(), ideal.tolist(), strict=True):
        known = table.bond(bond_keys(found, compound.elements, first, second))
        if "H" in (compound.elements[first], compound.elements[second]):
            lengths.append((first, second, _hydrogen_length(compound, found, first, second), BOND_SIGMA[0]))
            continue
        metal = any(IS_METAL[gemmi.Element(compound.elements[row]).atomic_number] for row in (first, second))
        sigma = METAL_SIGMA if metal else BOND_SIGMA[0 if known is not None else 1]
        lengths.append((first, second, length if known is None else known, sigma))
    return lengths


def _hydrogen_length(compound: Component, found: Environment, i: int, j: int) -> float:
    """Return the distance of a hydrogen's electron cloud from its parent (Word et al. 1999)."""
    parent = j if compound.elements[i] == "H" else i
    table = {row["bond"]: float(row["electron_cloud"]) for row in tables.rows("xh_lengths")}
    match compound.elements[parent]:
        case "C":
            return table["C-H aromatic" if found.is_flat(parent) else "C-H aliphatic"]
        case "N":
            return table["N-H"]
        case "O":
            return table["O-H"]
        case "S":
            return table["S-H"]
    length = float(distances(compound.positions, np.array([i]), np.array([j]))[0])
    return length if np.isfinite(length) else OTHER_HYDROGEN


def _add_atoms(block: gemmi.cif.Block, compound: Component, found: Environment, table: Targets, kept: list[int]) -> None:
    kind = compound.kind.upper()
    group = next((group for part, group in GROUPS if part in kind), "non-polymer")
    for tag, value in (("id", compound.name), ("name", compound.full_name), ("group", group)):
        block.set_pair(f"_chem_comp.{tag}", gemmi.cif.quote(value))
    _loop(block, compound.name, "atom", ("atom_id", "type_symbol", "type_energy", "charge", "x", "y", "z"), [
        (compound.names[row], compound.elements[row].upper(),
         table.type_of(atom_keys(found, compound.elements, row)) or compound.elements[row].upper(),
         str(int(compound.charges[row])), *(f"{value:.3f}" if np.isfinite(value) else "?" for value in compound.positions[row]))
        for row in kept
    ])  # fmt: skip


def _add_bonds(
    block: gemmi.cif.Block, compound: Component, found: Environment, lengths: list[tuple[int, int, float, float]]
) -> None:
    words = {1: "single", 2: "double", 3: "triple"}
    rows = []
    for i, j, length, sigma in lengths:
        order, aromatic = found.bond(i, j)
        word = "aromatic" if aromatic else words.get(order, "single")
        rows.append((compound.names[i], compound.names[j], word, "y" if aromatic else "n", f"{length:.4f}", f"{sigma:.3f}"))
    _loop(block, compound.name, "bond", ("atom_id_1", "atom_id_2", "type", "aromatic", "value_dist", "value_dist_esd"), rows)


def _add_stereo(block: gemmi.cif.Block, compound: Component, found: Environment, lost: frozenset[int]) -> None:
    names = compound.names
    _loop(block, compound.name, "tor",
          ("id", "atom_id_1", "atom_id_2", "atom_id_3", "atom_id_4", "value_angle", "value_angle_esd", "period"), [
        (f"{torsion.label}_{number}", *(names[row] for row in torsion.atoms), f"{torsion.value:.1f}",
         f"{torsion.sigma:.1f}", str(torsion.period))
        for number, torsion in enumerate(torsions(compound, found), 1)
        if lost.isdisjoint(torsion.atoms)
    ])  # fmt: skip
    _loop(block, compound.name, "chir", ("id", "atom_id_centre", "atom_id_1", "atom_id_2", "atom_id_3", "volume_sign"), [
        (f"chir_{number}", *(names[row] for row in centre[:4]), centre[4])
        for number, centre in enumerate(chiral_centres(compound, found), 1)
    ])  # fmt: skip
    _loop(block, compound.name, "plane_atom", ("plane_id", "atom_id", "dist_esd"), [
        (f"plan-{number}", names[row], f"{PLANE_SIGMA:.2f}")
        for number, plane in enumerate(planes(compound, found), 1)
        for row in plane
        if row not in lost
    ])  # fmt: skip


def _loop(block: gemmi.cif.Block, name: str, category: str, tags: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Add a table of a dictionary; its first column is the compound."""
    if not rows:
        return
    loop = block.init_loop(f"_chem_comp_{category}.", ["comp_id", *tags])
    for row in rows:
        loop.add_row([gemmi.cif.quote(word) for word in (name, *row)])
