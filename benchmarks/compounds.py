#!/usr/bin/env python3
"""Compare dictionaries made from chemistry with a monomer library, and refine each compound in place.

    benchmarks/compounds.py MONOMERS [--count 300] [--atoms 60] [--seed 0] [--table FILE] [--every-second]
                            [--resolution 2.5]

MONOMERS is a library in CCP4 layout, such as /usr/share/refmac/monomers of Debian's refmac-dictionary. Random
compounds that it shares with the Chemical Component Dictionary are made anew. Bonds and angles of non-hydrogen
atoms are compared with the library, chiral signs with the library and with the dictionary's own coordinates. Then
the ideal conformer is refined in place, in the map that it would give at a resolution, with the engine's protocol:
once as it is, and once so that the last cycle is kept whatever it did. At last it is minimised without any map, by
the made restraints alone and by the library's own: there bonds turn freely, and wrong ideal angles swing whole arms.
With ``--table`` of ``tools/build_compound_targets.py --half`` and ``--every-second`` only compounds are taken that
the table wasn't made from.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import permutations
from pathlib import Path

import gemmi
import numpy as np

# This folder has a module named as the package that is measured, and Python looks in the folder of a script first.
sys.path = [folder for folder in sys.path if Path(folder).resolve() != Path(__file__).resolve().parent]
sys.path.append(str(Path(__file__).resolve().parent.parent / "tools"))

from build_compound_targets import dictionary

from refinement.compounds.component import Component, component
from refinement.compounds.dictionary import make_dictionary
from refinement.compounds.targets import TABLE, read_targets
from refinement.errors import RestraintError
from refinement.maps.density import Density
from refinement.maps.scattering import model_map
from refinement.minimise import minimise
from refinement.output import RunLog
from refinement.protocol import refine
from refinement.restraints.covalent import covalent_restraints
from refinement.restraints.library import load_monomer_library
from refinement.restraints.topology import build_topology
from refinement.settings import settings_for
from refinement.structure import Structure, from_gemmi

BONDS, ANGLES, CHIRAL, SHIFT = 0.02, 3.0, 0.99, 0.3
VOXEL, CUSHION = 0.8, 10.0
"""Å; grid step of the maps and their margin around a compound."""
AS_IT_IS, LAST = "refined in its map", "the same, last cycle kept whatever it did"
ALONE, BY_LIBRARY = "minimised without a map", "the same by the library's own restraints"


@dataclass
class Sums:
    """What was found so far."""

    bonds: list[list[float]] = field(default_factory=list)
    angles: list[list[float]] = field(default_factory=list)
    library_signs: list[bool] = field(default_factory=list)
    own_signs: list[bool] = field(default_factory=list)
    shifts: dict[str, dict[str, float]] = field(default_factory=lambda: {way: {} for way in (AS_IT_IS, LAST, ALONE, BY_LIBRARY)})
    unmade: list[str] = field(default_factory=list)


def main() -> int:
    """Run the comparison; returns 1 if a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("monomers", type=Path)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--atoms", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--every-second", action="store_true")
    parser.add_argument("--resolution", type=float, default=2.5)
    options = parser.parse_args()
    files = sorted(options.monomers.glob("?/*.cif"))[1 :: 2 if options.every_second else 1]
    sums, tried = Sums(), 0
    for number in np.random.default_rng(options.seed).permutation(len(files)).tolist():
        if tried == options.count:
            break
        listed = dictionary(files[number])
        compound = component(listed.name) if listed else None
        if listed is None or compound is None or not 4 <= len(compound) <= options.atoms or not len(listed.rt.bonds):
            continue
        tried += 1
        block = make_dictionary(compound.name, read_targets(options.table))
        if block is None:
            sums.unmade.append(compound.name)
            continue
        document = gemmi.cif.Document()
        document.add_copied_block(block)
        judge(document, listed, compound, sums)
        move(document, files[number], compound, options.resolution, sums)
    return report(sums, tried)


def judge(document: gemmi.cif.Document, listed: gemmi.ChemComp, compound: Component, sums: Sums) -> None:
    """Add what a made dictionary is like beside the library's."""
    read = gemmi.MonLib()
    read.read_monomer_doc(document)
    made = read.monomers[compound.name]
    heavy = {atom.id for atom in made.atoms if not atom.is_hydrogen()}
    sums.bonds.append(differences(bond_values(made, heavy), bond_values(listed, heavy)))
    sums.angles.append(differences(angle_values(made, heavy), angle_values(listed, heavy)))
    positions = dict(zip(compound.names, compound.positions, strict=True))
    for chirality in made.rt.chirs:
        names = [chirality.id_ctr.atom, chirality.id1.atom, chirality.id2.atom, chirality.id3.atom]
        centre, a, b, c = (positions[name] for name in names)
        sums.own_signs.append(((a - centre) @ np.cross(b - centre, c - centre) > 0) == (chirality.sign.name == "Positive"))
        known = sign_in(listed, names)
        if known:
            sums.library_signs.append(known == chirality.sign.name)


def move(document: gemmi.cif.Document, listed: Path, compound: Component, resolution: float, sums: Sums) -> None:
    """Refine and minimise the ideal conformer and add how far it goes."""
    with tempfile.NamedTemporaryFile("w", suffix=".cif") as file:
        file.write(document.as_string())
        file.flush()
        library = load_monomer_library([compound.name], [Path(file.name)])
    structure = from_gemmi(as_model(compound, library))
    shifts = sums.shifts
    shifts[AS_IT_IS][compound.name] = refined_shift(structure, library, resolution, harmless=True)
    shifts[LAST][compound.name] = refined_shift(structure, library, resolution, harmless=False)
    shifts[ALONE][compound.name] = minimised_shift(structure, library)
    with suppress(RestraintError):  # some of the library's own don't fit the names of the dictionary of components
        shifts[BY_LIBRARY][compound.name] = minimised_shift(structure, load_monomer_library([compound.name], [listed]))


def bond_values(compound: gemmi.ChemComp, heavy: set[str]) -> dict[object, float]:
    """Return lengths by pair of atoms."""
    pairs = {frozenset((bond.id1.atom, bond.id2.atom)): bond.value for bond in compound.rt.bonds}
    return {pair: value for pair, value in pairs.items() if pair <= heavy}


def angle_values(compound: gemmi.ChemComp, heavy: set[str]) -> dict[object, float]:
    """Return angles by centre and pair of atoms."""
    found = {(angle.id2.atom, frozenset((angle.id1.atom, angle.id3.atom))): angle.value for angle in compound.rt.angles}
    return {key: value for key, value in found.items() if key[1] <= heavy}


def differences(made: dict[object, float], listed: dict[object, float]) -> list[float]:
    """Return the differences of what both have."""
    return [made[key] - listed[key] for key in made if key in listed]


def sign_in(compound: gemmi.ChemComp, names: list[str]) -> str | None:
    """Return the sign that a library gives a centre for three neighbours in this order, None if it doesn't say."""
    for chirality in compound.rt.chirs:
        theirs = [chirality.id1.atom, chirality.id2.atom, chirality.id3.atom]
        if chirality.id_ctr.atom != names[0] or chirality.sign.name == "Both" or set(theirs) != set(names[1:]):
            continue
        turns = {order: parity(order) for order in permutations(range(3))}
        even = turns[tuple(theirs.index(name) for name in names[1:])] == 0
        return chirality.sign.name if even else {"Positive": "Negative", "Negative": "Positive"}[chirality.sign.name]
    return None


def parity(order: tuple[int, ...]) -> int:
    """Return 0 for an even permutation, 1 for an odd one."""
    return sum(order[i] > order[j] for i in range(len(order)) for j in range(i + 1, len(order))) % 2


def refined_shift(structure: Structure, library: gemmi.MonLib, resolution: float, *, harmless: bool) -> float:
    """Return the rms shift (Å, not superposed) when a model is refined in the map that it would give."""
    low = structure.positions.min(axis=0) - CUSHION
    dims = np.ceil((np.ptp(structure.positions, axis=0) + 2.0 * CUSHION) / VOXEL).astype(int)
    empty = Density(np.zeros(dims, dtype=np.float32), gemmi.UnitCell(*(dims * VOXEL), 90, 90, 90), low)
    refined = refine(
        structure,
        replace(empty, values=model_map(structure, empty, resolution)),
        resolution=resolution,
        library=library,
        settings=settings_for("default").model_copy(update={"harmless": harmless}),
        threads=1,
        log=RunLog(),
        progress=lambda _doing, _share: None,
    )
    return float(np.sqrt(((refined.structure.positions - structure.positions) ** 2).sum(axis=1).mean()))


def minimised_shift(structure: Structure, library: gemmi.MonLib) -> float:
    """Return the rms shift (Å, superposed) when a model is minimised by its restraints alone."""
    terms = covalent_restraints(build_topology(structure, library))

    def energy(x: np.ndarray, gradient: np.ndarray) -> float:
        gradient[:] = 0.0
        return sum(terms.energies(x, gradient).values())

    found = minimise(
        energy, structure.positions, max_iterations=500, curvature=np.repeat(terms.curvature(len(structure))[:, None], 3, 1)
    )
    before, after = ([gemmi.Position(*row) for row in rows] for rows in (structure.positions, found.x))
    return float(gemmi.superpose_positions(before, after).rmsd)


def as_model(compound: Component, library: gemmi.MonLib) -> gemmi.Structure:
    """Return the ideal conformer as a model of one residue, without hydrogens."""
    residue = gemmi.Residue()
    residue.name, residue.seqid, residue.het_flag = compound.name, gemmi.SeqId("1"), "H"
    for name, element, position in zip(compound.names, compound.elements, compound.positions, strict=True):
        if element in ("H", "D") or not np.isfinite(position).all():
            continue
        atom = gemmi.Atom()
        atom.name, atom.element, atom.pos = name, gemmi.Element(element), gemmi.Position(*position)
        residue.add_atom(atom)
    chain = gemmi.Chain("A")
    chain.add_residue(residue)
    model = gemmi.Model(1)
    model.add_chain(chain)
    structure = gemmi.Structure()
    structure.add_model(model)
    structure.setup_entities()
    return structure


def rms(values: list[float]) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(np.square(values)))) if values else 0.0


def report(sums: Sums, tried: int) -> int:
    """Print the table; returns 1 if a limit is missed."""
    lines = [f"{tried} compounds, {len(sums.unmade)} without a dictionary {sums.unmade[:10]}"]
    missed = bool(sums.unmade)
    for what, groups, limit in (("bonds", sums.bonds, BONDS), ("angles", sums.angles, ANGLES)):
        pooled, each = rms([value for group in groups for value in group]), [rms(group) for group in groups if group]
        within = np.mean([value <= limit for value in each])
        lines.append(
            f"{what}: rms difference {pooled:.4f}, median of compounds {np.median(each):.4f}, {within:.1%} within {limit}"
        )
        missed |= pooled > limit
    for what, signs in (("the dictionary's coordinates", sums.own_signs), ("the library", sums.library_signs)):
        right = float(np.mean(signs)) if signs else 1.0
        lines.append(f"chirality as in {what}: {right:.2%} of {len(signs)}")
    missed |= bool(sums.own_signs) and float(np.mean(sums.own_signs)) < CHIRAL
    for way, shifts in sums.shifts.items():
        far = {name: round(shift, 2) for name, shift in sorted(shifts.items(), key=lambda item: -item[1]) if shift > SHIFT}
        lines.append(f"{way}: median shift {np.median(list(shifts.values())):.3f} Å, {len(far)} beyond {SHIFT} Å {far}")
        missed |= way == AS_IT_IS and bool(far)
    print("\n".join(lines))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
