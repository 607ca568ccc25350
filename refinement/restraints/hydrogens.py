"""Adding hydrogens to proteins, nucleic acids and ligands, with their riding frames."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import gemmi
import numpy as np

from refinement.restraints.bonding import Bonding, find_bonds, find_links, residue_keys, rows_by_key
from refinement.restraints.contact_types import ContactTypes, altloc_codes, contact_types
from refinement.restraints.graph import neighbours
from refinement.restraints.hydrogen_frames import Compound, External, Plan, make_plan
from refinement.restraints.riding import Riding, place
from refinement.restraints.rotors import optimise_rotors
from refinement.structure import ResidueKind, Residues, Structure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

METAL_BINDERS = {("HIS", "ND1"), ("HIS", "NE2"), ("CYS", "SG")}
"""Atoms that lose their hydrogen when they bind a metal."""
HYDROGEN = gemmi.Element("H")
CARBON, NITROGEN, OXYGEN = 6, 7, 8


@dataclass(frozen=True, slots=True, eq=False)
class Hydrogenated:
    """A model with all hydrogens.

    Attributes
    ----------
    structure : Structure
        Heavy atoms in their former order, each residue followed by its hydrogens.
    riding : Riding
        Frames of the hydrogens, indices into `structure`.
    bonding : Bonding
        The covalent graph with the hydrogens.
    heavy : NDArray[int32]
        Where every atom of the model without hydrogens is now.
    types : ContactTypes
        What the atoms are in contacts.
    unturned : Riding
        The frames before OH, SH and NH3 were turned.
    """

    structure: Structure
    riding: Riding
    bonding: Bonding
    heavy: NDArray[np.int32]
    types: ContactTypes
    unturned: Riding


def add_hydrogens(structure: Structure, library: gemmi.MonLib, *, keep_existing: bool = False) -> Structure:
    """Return the model with hydrogens at electron-cloud distances, rotors optimised.

    Parameters
    ----------
    structure : Structure
    library : gemmi.MonLib
        Dictionaries of its compounds; compounds without one stay as they are.
    keep_existing : bool
        Return a model that has any hydrogen as it is, instead of stripping and rebuilding them.
    """
    if keep_existing and structure.is_hydrogen.any():
        return structure
    return _with_source(hydrogenate(structure, library).structure)


def hydrogenate(
    structure: Structure, library: gemmi.MonLib, *, optimise: bool = True, from_dictionary: bool = False
) -> Hydrogenated:
    """Strip the hydrogens of a model and build all of them anew.

    Every atom with an open valence in the dictionary gets its hydrogens, except: water; atoms that lost
    the neighbours which would fix the position; one hydrogen per bond to another residue; ring N of His and
    SG of Cys at a metal. A backbone N without predecessor has NH3 when it is residue 1 at the start of its
    chain, else one hydrogen. Both ring nitrogens of His are protonated. Hydrogens inherit B and occupancy of
    their parent; where conformers differ, each has its own.

    Parameters
    ----------
    structure : Structure
    library : gemmi.MonLib
    optimise : bool
        Turn OH, SH and NH3 to the best contacts; otherwise they are left trans or staggered.
    from_dictionary : bool
        See `refinement.restraints.hydrogen_frames.make_plan`.

    Returns
    -------
    Hydrogenated
        The gemmi structure behind it has no hydrogens; `add_hydrogens` gives it some.
    """
    if structure.is_hydrogen.any():
        structure = structure.without(structure.is_hydrogen)
    bonding = find_bonds(structure, library)
    layout = _Layout(structure)
    for rows, plan, outside in _plans(structure, bonding, library, from_dictionary=from_dictionary):
        layout.add(rows, plan, outside)
    result = layout.finish(bonding, library)
    return _optimised(result) if optimise else result


def rehydrogenate(model: Hydrogenated, structure: Structure, library: gemmi.MonLib) -> Hydrogenated:
    """Build the hydrogens of a model anew where its atoms are now, as `hydrogenate` does from dictionaries.

    As long as the bonds between residues are the same, so are the hydrogens and their frames: these are taken over, and
    only placed and turned.

    Parameters
    ----------
    model : Hydrogenated
        The same model elsewhere, made with `from_dictionary`.
    structure : Structure
        The model without hydrogens.
    library : gemmi.MonLib
    """
    full, riding = model.structure, model.unturned
    links = (model.bonding.external, model.bonding.coordination)
    same = not model.bonding.loose and bool((full.occupancy[model.heavy] == structure.occupancy).all())
    if not same or any(not _same_pairs(a, model.heavy[b]) for a, b in zip(links, find_links(structure), strict=True)):
        return hydrogenate(structure, library, from_dictionary=True)
    positions, b_iso = full.positions.copy(), full.b_iso.copy()
    positions[model.heavy], b_iso[model.heavy] = structure.positions, structure.b_iso
    b_iso[riding.hydrogen] = b_iso[riding.frame[:, 0]]
    place(riding, positions)
    return _optimised(replace(model, structure=replace(full, positions=positions, b_iso=b_iso), riding=riding))


def _same_pairs(first: NDArray[np.int32], second: NDArray[np.int32]) -> bool:
    """Return whether two lists hold the same pairs, each once, in whatever order."""
    a, b = (pairs[np.lexsort(pairs.T)] for pairs in (first, second))
    return bool(np.array_equal(a, b))


def _optimised(model: Hydrogenated) -> Hydrogenated:
    """Turn the rotors to their best contacts."""
    full = model.structure
    positions, riding = optimise_rotors(
        full.positions, model.riding, model.types, model.bonding.neighbours, altloc_codes(full), full.occupancy, full.elements
    )
    return replace(model, structure=full.moved(positions), riding=riding)


def _plans(
    structure: Structure, bonding: Bonding, library: gemmi.MonLib, *, from_dictionary: bool
) -> Iterator[tuple[NDArray[np.int32], Plan, NDArray[np.int32]]]:
    """Yield residue rows, their common plan and the external atoms of each row."""
    residues = structure.residues
    links = _external(structure, bonding, library)
    bare = _bare_atoms(structure, bonding)
    starts = np.ones(len(residues), dtype=bool)
    starts[1:] = residues.chain_index[1:] != residues.chain_index[:-1]
    ammonium = (starts & (residues.number == 1)) | ~residues.polymer
    wanted = residues.kind != ResidueKind.WATER
    keys = []
    for row, key in enumerate(residue_keys(structure)):
        outside = tuple(link[0] for link in links.get(row, ()))
        keys.append((key, outside, bare.get(row, frozenset()), bool(ammonium[row]), bool(wanted[row])))
    compounds: dict[str, Compound] = {}
    for (key, outside, naked, charged, usable), rows in rows_by_key(keys).items():
        name, atoms, altlocs = key
        if not usable or name not in library.monomers:
            continue
        if name not in compounds:
            compounds[name] = Compound(library.monomers[name])
        compound = compounds[name]
        plan = make_plan(compound, atoms, altlocs, outside, bare=naked, full_ammonium=charged, from_dictionary=from_dictionary)
        if plan.hydrogens:
            others = np.array([[link[1] for link in links.get(row, ())] for row in rows.tolist()], dtype=np.int32)
            yield rows, plan, others.reshape(len(rows), len(outside))


def _external(structure: Structure, bonding: Bonding, library: gemmi.MonLib) -> dict[int, list[tuple[External, int]]]:
    """Return for each residue row its bonds to other residues, and the atoms at the other end."""
    first = structure.residues.first
    found: dict[int, list[tuple[External, int]]] = {}
    for pair in bonding.external.tolist():
        for own, other in (pair, pair[::-1]):
            row = int(structure.residue[own])
            element, altloc = int(structure.elements[other]), str(structure.altloc[other])
            end = External(own - int(first[row]), element, altloc, _is_conjugated(structure, bonding, library, own, other))
            found.setdefault(row, []).append((end, other))
    for links in found.values():
        links.sort()
    return found


def _is_conjugated(structure: Structure, bonding: Bonding, library: gemmi.MonLib, nitrogen: int, carbon: int) -> bool:
    """Return whether a link from nitrogen to carbon is an amide (one oxygen there), or an imine (that has lost its oxygen)."""
    elements = structure.elements
    if elements[nitrogen] != NITROGEN or elements[carbon] != CARBON or structure.names[nitrogen] == "N":
        return False  # the backbone has rules of its own
    around = bonding.neighbours.of(carbon)
    ends = [other for other in around[elements[around] == OXYGEN].tolist() if len(bonding.neighbours.of(other)) == 1]
    if len(ends) == 1 and len(around) == 3:
        return True
    row = structure.residue[carbon]
    compound = str(structure.residues.compound[row])
    present = set(structure.names[structure.residue == row].tolist())
    name = str(structure.names[carbon])
    if len(around) != 2 or compound not in library.monomers:
        return False
    double = (bond for bond in library.monomers[compound].rt.bonds if bond.type == gemmi.BondType.Double)
    pairs = [{bond.id1.atom, bond.id2.atom} for bond in double]
    return any(name in pair and not pair <= present for pair in pairs)


def _bare_atoms(structure: Structure, bonding: Bonding) -> dict[int, frozenset[int]]:
    """Return the atoms of each residue that lose their hydrogen to a metal."""
    found: dict[int, set[int]] = {}
    for atom in bonding.coordination[:, 1].tolist():
        row = int(structure.residue[atom])
        if (str(structure.residues.compound[row]), str(structure.names[atom])) in METAL_BINDERS:
            found.setdefault(row, set()).add(atom - int(structure.residues.first[row]))
    return {row: frozenset(atoms) for row, atoms in found.items()}


class _Layout:
    """Collects hydrogens per group of equal residues and merges them into the model."""

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.names: list[NDArray[np.str_]] = []
        self.altlocs: list[NDArray[np.str_]] = []
        self.parents: list[NDArray[np.int64]] = []
        self.frames: list[NDArray[np.int64]] = []
        self.shapes: list[NDArray[np.uint8]] = []
        self.coefficients: list[NDArray[np.float64]] = []
        self.lengths: list[NDArray[np.float64]] = []
        self.rotors: list[NDArray[np.int64]] = []
        self.rotor_kinds: list[NDArray[np.uint8]] = []
        self.n_rotors = 0

    def add(self, rows: NDArray[np.int32], plan: Plan, outside: NDArray[np.int32]) -> None:
        """Add the hydrogens of `plan` to every residue of `rows`."""
        n, m = len(rows), len(plan.hydrogens)
        first = self.structure.residues.first[rows].astype(np.int64)
        relative = np.array([[h.parent, *h.references] for h in plan.hydrogens], dtype=np.int64)
        frames = first[:, None, None] + relative[None]
        frames[:, relative == -1] = -1
        for h, k in np.argwhere(relative < -1).tolist():
            frames[:, h, k] = outside[:, -2 - relative[h, k]]
        self.frames.append(frames.reshape(-1, 4))
        self.parents.append(frames[:, :, 0].ravel())
        self.names.append(np.tile([h.name for h in plan.hydrogens], n))
        self.altlocs.append(np.tile([h.altloc for h in plan.hydrogens], n))
        self.shapes.append(np.tile(np.array([h.shape for h in plan.hydrogens], dtype=np.uint8), n))
        self.coefficients.append(np.tile(np.array([h.coefficients for h in plan.hydrogens]), (n, 1)))
        self.lengths.append(np.tile([h.length for h in plan.hydrogens], n))
        rotor = np.array([h.rotor for h in plan.hydrogens])
        per_residue = len(plan.rotors)
        numbered = self.n_rotors + rotor[None] + per_residue * np.arange(n)[:, None]
        self.rotors.append(np.where(rotor[None] >= 0, numbered, -1).reshape(n * m))
        self.rotor_kinds.append(np.tile(np.array(plan.rotors, dtype=np.uint8), n))
        self.n_rotors += per_residue * n

    def finish(self, bonding: Bonding, library: gemmi.MonLib) -> Hydrogenated:
        """Return the merged model."""
        structure = self.structure
        n = len(structure)
        if not self.frames:
            riding, types = _no_riding(), contact_types(structure, bonding.neighbours, library)
            return Hydrogenated(structure, riding, bonding, np.arange(n, dtype=np.int32), types, riding)
        frames = np.concatenate(self.frames)
        home = structure.residue[frames[:, 0]]
        order = np.argsort(home, kind="stable")
        home, frames = home[order], frames[order]
        before = np.concatenate([[0], np.cumsum(np.bincount(home, minlength=len(structure.residues)))])
        heavy = (np.arange(n) + before[structure.residue]).astype(np.int32)
        hydrogen = (structure.residues.first[home + 1] + np.arange(len(home))).astype(np.int32)
        kinds, rotor = _sorted_rotors(np.concatenate(self.rotors)[order], np.concatenate(self.rotor_kinds))
        riding = Riding(
            hydrogen=hydrogen,
            frame=np.where(frames >= 0, heavy[np.maximum(frames, 0)], -1).astype(np.int32),
            shape=np.concatenate(self.shapes)[order],
            coefficients=np.ascontiguousarray(np.concatenate(self.coefficients)[order], dtype=np.float64),
            length=np.concatenate(self.lengths)[order].astype(np.float64),
            rotor=rotor,
            rotor_kind=kinds,
        )
        names, altlocs = np.concatenate(self.names)[order], np.concatenate(self.altlocs)[order]
        full = _merged(structure, riding, heavy, before, names, altlocs, frames)
        extended = _extended(bonding, riding, heavy, len(full))
        return Hydrogenated(full, riding, extended, heavy, contact_types(full, extended.neighbours, library), riding)


def _no_riding() -> Riding:
    return Riding(
        hydrogen=np.empty(0, dtype=np.int32),
        frame=np.empty((0, 4), dtype=np.int32),
        shape=np.empty(0, dtype=np.uint8),
        coefficients=np.empty((0, 4)),
        length=np.empty(0),
        rotor=np.empty(0, dtype=np.int32),
        rotor_kind=np.empty(0, dtype=np.uint8),
    )


def _sorted_rotors(rotor: NDArray[np.int64], kinds: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return the kinds of the rotors and the rotor of each hydrogen, numbered in the order of the hydrogens."""
    turning = rotor >= 0
    if not turning.any():
        return kinds, rotor.astype(np.int32)
    _, where = np.unique(rotor[turning], return_index=True)
    ranked = rotor[turning][np.sort(where)]
    number = np.full(len(kinds), -1, dtype=np.int32)
    number[ranked] = np.arange(len(ranked), dtype=np.int32)
    return kinds[ranked], np.where(turning, number[np.maximum(rotor, 0)], -1).astype(np.int32)


def _merged(
    structure: Structure,
    riding: Riding,
    heavy: NDArray[np.int32],
    before: NDArray[np.int64],
    names: NDArray[np.str_],
    altlocs: NDArray[np.str_],
    frames: NDArray[np.int64],
) -> Structure:
    """Return the model with the hydrogens in their residues."""
    n = len(structure) + len(names)
    parent = frames[:, 0]
    lowest = np.min(np.where(frames >= 0, structure.occupancy[np.maximum(frames, 0)], np.inf), axis=1)
    occupancy = np.where((altlocs != "") & (structure.altloc[parent] == ""), lowest, structure.occupancy[parent])
    positions = np.zeros((n, 3))
    positions[heavy] = structure.positions
    place(riding, positions)
    residue = np.empty(n, dtype=np.int32)
    residue[heavy], residue[riding.hydrogen] = structure.residue, structure.residue[parent]
    old = structure.residues
    residues = Residues(
        old.chain, old.number, old.insertion, old.compound, old.kind, old.polymer, old.chain_index,
        (old.first + before).astype(np.int32),
    )  # fmt: skip

    def joined(of_heavy: NDArray[np.generic], of_hydrogen: NDArray[np.generic]) -> NDArray[np.generic]:
        out = np.empty(n, dtype=np.result_type(of_heavy, of_hydrogen))
        out[heavy], out[riding.hydrogen] = of_heavy, of_hydrogen
        return out

    full = Structure(
        positions=positions,
        elements=joined(structure.elements, np.ones(len(names), dtype=np.uint8)),  # type: ignore[arg-type]
        b_iso=joined(structure.b_iso, structure.b_iso[parent]),  # type: ignore[arg-type]
        occupancy=joined(structure.occupancy, occupancy),  # type: ignore[arg-type]
        altloc=joined(structure.altloc, altlocs),  # type: ignore[arg-type]
        names=joined(structure.names, names),  # type: ignore[arg-type]
        residue=residue,
        residues=residues,
        source=structure.source,
    )
    return full


def _with_source(full: Structure) -> Structure:
    """Give the model a gemmi twin that has its hydrogens too."""
    source = full.source.clone()
    while len(source) > 1:
        del source[1]
    homes = [residue for chain in source[0] for residue in chain if len(residue)]
    added = np.flatnonzero(full.is_hydrogen)
    rows = zip(
        full.residue[added].tolist(), full.names[added].tolist(), full.altloc[added].tolist(),
        full.positions[added].tolist(), full.b_iso[added].tolist(), full.occupancy[added].tolist(), strict=True,
    )  # fmt: skip
    for row, name, altloc, position, b_iso, occupancy in rows:
        atom = gemmi.Atom()
        atom.name, atom.element, atom.altloc = name, HYDROGEN, altloc or "\0"
        atom.pos = gemmi.Position(*position)
        atom.b_iso, atom.occ = b_iso, occupancy
        homes[row].add_atom(atom)
    return replace(full, source=source)


def _extended(bonding: Bonding, riding: Riding, heavy: NDArray[np.int32], n: int) -> Bonding:
    """Return the graph in the numbering of the full model, with the bonds to hydrogens."""
    to_hydrogens = np.stack([riding.frame[:, 0], riding.hydrogen], axis=1)
    pairs = np.concatenate([heavy[bonding.pairs], to_hydrogens]).astype(np.int32)
    metals = bonding.coordination
    links = heavy[bonding.external], heavy[metals] if len(metals) else metals
    return Bonding(pairs, neighbours(n, pairs), *links, bonding.loose)
