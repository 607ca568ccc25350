"""The whole particle from the unique part: which symmetry operators the file gives, and the copies they make.

Operators come from ``_struct_ncs_oper`` (those to be generated) or else from the biological assembly. Copies are made
only if the file holds just the unique part and the copies stay within the map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np

from curation.findings import Code, note, warn
from curation.operators import AssemblyError, motions, symmetry_operators

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from curation.facts import Grid
    from curation.findings import Finding
    from curation.operators import Operator
    from refinement.operators import Operators

    Backbone = dict[tuple[int | None, str, str], NDArray[np.float64]]

MAX_ATOMS = 5_000_000
"""Larger assemblies are not generated."""
SAME_RMSD = 0.5
"""Å; a copy whose Cα or P atoms lie this close to those of an existing chain is that chain."""
NEAR = 10.0
"""Å; chains whose centres are further apart are not compared."""
MOST_OUTSIDE = 0.01
"""Largest fraction of atoms that copies may put outside the map."""
RENEWED = ("atoms", "auth_all", "cis", "conn", "entity", "entity_poly", "group_pdb", "struct_asym", "struct_conf", "struct_sheet")
"""What is written anew after an expansion; all other categories of the file stay as they are."""
STALE = ("_struct_ncs_oper.", "_pdbx_struct_assembly.", "_pdbx_struct_assembly_gen.", "_pdbx_struct_oper_list.",
         "_pdbx_struct_assembly_prop.", "_pdbx_struct_assembly_auth_evidence.")  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Assembled:
    """A model, perhaps with its symmetry copies.

    Attributes
    ----------
    structure : gemmi.Structure
        The model to be refined.
    expanded : bool
        Whether copies were made.
    source : str
        Where the operators come from; "" if there are none.
    operators : tuple[Operator, ...]
        Symmetry operators of the file, the identity left out.
    exact : Operators or None
        Motions that bring chains of `structure` onto other chains of it, the identity in front; None if the file states none.
    findings : tuple[Finding, ...]
        What people should know about it.
    """

    structure: gemmi.Structure
    expanded: bool
    source: str
    operators: tuple[Operator, ...]
    exact: Operators | None
    findings: tuple[Finding, ...]


def assemble(structure: gemmi.Structure, block: gemmi.cif.Block, grid: Grid) -> Assembled:
    """Generate the assembly if the file holds only its unique part.

    Parameters
    ----------
    structure : gemmi.Structure
        The deposited model; it is not changed.
    block : gemmi.cif.Block
        The mmCIF block it was read from.
    grid : Grid
        Grid of the map, which the copies must not leave.

    Raises
    ------
    AssemblyError
        If the operators can't be understood.
    """
    source, operators = symmetry_operators(block)
    present = _copied_already(structure, operators)
    if not operators or present:
        return Assembled(structure, False, source, tuple(operators), motions(present), ())
    copies = len(operators) + 1
    before = structure[0].count_atom_sites()
    after = before + sum(_count(structure, operator) for operator in operators)
    numbers: dict[str, Any] = {"copies": copies, "atoms_before": before, "atoms_after": after}
    if after > MAX_ATOMS:
        sentence = (
            f"The assembly of {copies} copies ({source}) has {after:,} atoms, more than {MAX_ATOMS:,};"
            " the model is used as deposited."
        )
        finding = warn(Code.ASSEMBLY_TOO_LARGE, sentence, numbers)
        return Assembled(structure, False, source, tuple(operators), None, (finding,))
    outside = _fraction_outside(structure, operators, grid)
    numbers["outside"] = round(outside, 6)
    if outside > MOST_OUTSIDE:
        sentence = (
            f"The assembly of {copies} copies ({source}) would put {100 * outside:.0f} % of its atoms"
            " outside the map; the model is used as deposited."
        )
        finding = warn(Code.ASSEMBLY_LEAVES_BOX, sentence, numbers)
        return Assembled(structure, False, source, tuple(operators), None, (finding,))
    whole = expand(structure, operators)
    numbers["atoms_after"] = whole[0].count_atom_sites()
    sentence = f"{copies} copies ({source}) make the whole particle: {before:,} atoms became {numbers['atoms_after']:,}."
    finding = note(Code.ASSEMBLY_GENERATED, sentence, numbers)
    return Assembled(whole, True, source, tuple(operators), motions(operators), (finding,))


def expand(structure: gemmi.Structure, operators: Sequence[Operator]) -> gemmi.Structure:
    """Return a copy of the model with the copies that the operators make; links and entities are copied too.

    Copies of chain A are named A1, A2, …; names in use are passed over.
    """
    whole = structure.clone()
    whole.setup_entities()
    originals = len(whole[0])
    whole.ncs = gemmi.NcsOpList([gemmi.NcsOp(_transform(o), str(i), False) for i, o in enumerate(operators, start=2)])
    partial = any(operator.asyms is not None for operator in operators)
    # Atoms on a symmetry element are merged with their copies, except where chain numbering has to be kept.
    whole.expand_ncs(gemmi.HowToNameCopiedChain.AddNumber, merge_dist=0.0 if partial else 0.2)
    if partial:
        _drop_unlisted(whole, operators, originals)
    whole.ncs = gemmi.NcsOpList()
    whole.assemblies = gemmi.AssemblyList()
    whole.assign_serial_numbers()
    return whole


def assembled_block(block: gemmi.cif.Block, assembled: Assembled) -> gemmi.cif.Block:
    """Return the mmCIF block of the assembled model; metadata of the deposited file are kept.

    Raises
    ------
    AssemblyError
        If the file's own tables are damaged.
    """
    if not assembled.expanded:
        return block
    groups = gemmi.MmcifOutputGroups(False)
    for name in RENEWED:
        setattr(groups, name, True)
    try:
        for category in STALE:
            _erase(block, category)
        assembled.structure.update_mmcif_block(block, groups)
    except (RuntimeError, ValueError) as fault:
        message = f"the tables of the file can't take its copies: {str(fault).rstrip('.')}"
        raise AssemblyError(message) from fault
    return block


def _copied_already(structure: gemmi.Structure, operators: Sequence[Operator]) -> list[Operator]:
    """Return the operators that move a polymer chain onto one that is in the file already."""
    chains = [(name, trace) for name, trace in _backbones(structure) if len(trace) >= 3]
    centres = np.array([np.mean(list(trace.values()), axis=0) for _, trace in chains]).reshape(-1, 3)
    found = []
    for operator in operators:
        moved = centres @ operator.matrix.T + operator.vector
        pairs = np.argwhere(np.linalg.norm(centres[None] - moved[:, None], axis=2) < NEAR)
        for i, j in pairs.tolist():
            name, trace = chains[i]
            if (operator.asyms is None or name in operator.asyms) and _coincide(trace, chains[j][1], operator):
                found.append(operator)
                break
    return found


def _coincide(trace: Backbone, other: Backbone, operator: Operator) -> bool:
    common = [key for key in trace if key in other]
    if 2 * len(common) < len(trace):
        return False
    moved = np.array([trace[key] for key in common]) @ operator.matrix.T + operator.vector
    there = np.array([other[key] for key in common])
    return bool(np.sqrt(((moved - there) ** 2).sum(axis=1).mean()) < SAME_RMSD)


def _backbones(structure: gemmi.Structure) -> list[tuple[str, Backbone]]:
    """Return the subchain name and the Cα or P positions of every polymer."""
    traces: list[tuple[str, Backbone]] = []
    for chain in structure[0]:
        trace: Backbone = {}
        for residue in chain.get_polymer():
            atom = residue.find_atom("CA", "*", gemmi.Element("C")) or residue.find_atom("P", "*", gemmi.Element("P"))
            if atom is not None:
                trace[residue.seqid.num, residue.seqid.icode, residue.name] = np.array(atom.pos.tolist())
        if trace:
            traces.append((chain.get_polymer().subchain_id(), trace))
    return traces


def _count(structure: gemmi.Structure, operator: Operator) -> int:
    if operator.asyms is None:
        return int(structure[0].count_atom_sites())
    return sum(len(residue) for chain in structure[0] for residue in chain if residue.subchain in operator.asyms)


def _fraction_outside(structure: gemmi.Structure, operators: Sequence[Operator], grid: Grid) -> float:
    """Return the fraction of the atoms of the whole assembly that lie outside the map."""
    rows = [(site.atom.pos.tolist(), site.residue.subchain) for site in structure[0].all()]
    positions = np.array([row[0] for row in rows])
    subchains = np.array([row[1] for row in rows])
    total, outside = len(positions), int((~grid.inside(positions)).sum())
    for operator in operators:
        chosen = positions if operator.asyms is None else positions[np.isin(subchains, sorted(operator.asyms))]
        total += len(chosen)
        outside += int((~grid.inside(chosen @ operator.matrix.T + operator.vector)).sum())
    return outside / total


def _drop_unlisted(whole: gemmi.Structure, operators: Sequence[Operator], originals: int) -> None:
    """Remove from the copies what their operator does not apply to. Copies stand behind the originals, in order."""
    model = whole[0]
    for number, operator in enumerate(operators, start=1):
        if operator.asyms is None:
            continue
        for offset in range(originals):
            chain, original = model[number * originals + offset], model[offset]
            doomed = [i for i, residue in enumerate(original) if residue.subchain not in operator.asyms]
            for i in reversed(doomed):
                del chain[i]
    whole.remove_empty_chains()


def _transform(operator: Operator) -> gemmi.Transform:
    transform = gemmi.Transform()
    transform.mat.fromlist(operator.matrix.tolist())
    transform.vec.fromlist(operator.vector.tolist())
    return transform


def _erase(block: gemmi.cif.Block, category: str) -> None:
    table = block.find_mmcif_category(category)
    if table:
        table.erase()
