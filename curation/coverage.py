"""How much of each polymer's sequence has coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import gemmi

if TYPE_CHECKING:
    from collections.abc import Iterable

KINDS = {
    gemmi.PolymerType.PeptideL: "protein",
    gemmi.PolymerType.PeptideD: "protein of D residues",
    gemmi.PolymerType.Dna: "DNA",
    gemmi.PolymerType.Rna: "RNA",
    gemmi.PolymerType.DnaRnaHybrid: "DNA and RNA",
    gemmi.PolymerType.Pna: "PNA",
}
LONGEST = 100_000
"""Longer one-letter codes are not aligned; the longest known protein has 35,000 residues."""
MOST_CELLS = 200_000_000
"""Places times residues of a polymer; an alignment takes as many steps and bytes."""
LETTERS = {"DNA": gemmi.ResidueKind.DNA, "RNA": gemmi.ResidueKind.RNA}
"""Kinds of residues that one-letter codes of nucleic acids stand for; those of all others are amino acids."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Chains of one polymer that lack the same residues.

    Attributes
    ----------
    entity : str
        Id of the polymer in the file.
    kind : str
        ``protein``, ``RNA`` …
    length : int
        Residues of the sequence.
    chains : tuple[str, ...]
        Author's names of the chains.
    modelled : int
        Places of the sequence that have coordinates.
    missing : tuple[tuple[int, int], ...]
        First and last place of every stretch without coordinates, counted from 1 along the sequence.
    different : int
        Residues that aren't the compound that the sequence has there.
    """

    entity: str
    kind: str
    length: int
    chains: tuple[str, ...]
    modelled: int
    missing: tuple[tuple[int, int], ...]
    different: int


def sequence_coverage(structure: gemmi.Structure, block: gemmi.cif.Block | None = None) -> tuple[Coverage, ...]:
    """Compare the polymers of a model with their sequences.

    Parameters
    ----------
    structure : gemmi.Structure
        The model, entities set up; it isn't changed.
    block : gemmi.cif.Block, optional
        The file; its ``_entity_poly`` gives the sequences that ``_entity_poly_seq`` doesn't.

    Returns
    -------
    tuple of Coverage
        In the order of the chains; polymers whose sequence isn't stated are left out.
    """
    structure = _with_places(structure, block)
    chains: dict[tuple[str, tuple[tuple[int, int], ...], int], list[str]] = {}
    sequences: dict[str, gemmi.Entity] = {}
    for chain in structure[0]:
        polymer = chain.get_polymer()
        entity = structure.get_entity_of(polymer) if len(polymer) else None
        if entity is None or not entity.full_sequence:
            continue
        wanted = entity.full_sequence
        places = ((residue.label_seq, residue.name) for residue in polymer.first_conformer())
        placed = [(place, name) for place, name in places if place is not None and 1 <= place <= len(wanted)]
        different = sum(name not in wanted[place - 1].split(",") for place, name in placed)
        missing = _stretches(set(range(1, len(wanted) + 1)) - {place for place, _ in placed})
        sequences[entity.name] = entity
        chains.setdefault((entity.name, missing, different), []).append(chain.name)
    return tuple(
        Coverage(
            entity=name,
            kind=KINDS.get(sequences[name].polymer_type, "polymer"),
            length=len(sequences[name].full_sequence),
            chains=tuple(names),
            modelled=len(sequences[name].full_sequence) - sum(last - first + 1 for first, last in missing),
            missing=missing,
            different=different,
        )
        for (name, missing, different), names in chains.items()
    )


def _with_places(structure: gemmi.Structure, block: gemmi.cif.Block | None) -> gemmi.Structure:
    """Return a model whose polymers have sequences, as far as the file states them, and whose residues have places in them."""
    lacking = [e for e in structure.entities if e.entity_type == gemmi.EntityType.Polymer and not e.full_sequence]
    stated = _one_letter_codes(block) if block is not None and lacking else {}
    unplaced = any(residue.label_seq is None for chain in structure[0] for residue in chain.get_polymer())
    if not unplaced and not any(entity.name in stated for entity in lacking):
        return structure
    structure = structure.clone()
    for entity in structure.entities:
        if not entity.full_sequence and entity.name in stated:
            entity.full_sequence = _expanded(stated[entity.name], KINDS.get(entity.polymer_type, ""))
            _forget_places(structure, entity)
    longest = max((len(chain.get_polymer()) for chain in structure[0]), default=0)
    for entity in structure.entities:
        if len(entity.full_sequence) * longest > MOST_CELLS:
            entity.full_sequence = []
    structure.assign_label_seq_id()
    return structure


def _expanded(letters: str, kind: str) -> list[str]:
    """Return the compounds that one-letter codes stand for, none if they can't be read."""
    if len(letters) > LONGEST:
        return []
    try:
        return list(gemmi.expand_one_letter_sequence(letters, LETTERS.get(kind, gemmi.ResidueKind.AA)))
    except (RuntimeError, ValueError):
        return []


def _forget_places(structure: gemmi.Structure, entity: gemmi.Entity) -> None:
    """Take the places from residues of a polymer: without its sequence they were merely counted."""
    for chain in structure[0]:
        for residue in chain.get_polymer():
            if residue.entity_id == entity.name or residue.subchain in entity.subchains:
                residue.label_seq = None


def _one_letter_codes(block: gemmi.cif.Block) -> dict[str, str]:
    rows = block.find("_entity_poly.", ["entity_id", "pdbx_seq_one_letter_code"])
    texts = {gemmi.cif.as_string(row[0]): "".join(gemmi.cif.as_string(row[1]).split()) for row in rows}
    return {name: text for name, text in texts.items() if text}


def _stretches(places: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return the first and the last place of every uninterrupted stretch."""
    found: list[tuple[int, int]] = []
    for place in sorted(places):
        if found and place == found[-1][1] + 1:
            found[-1] = (found[-1][0], place)
        else:
            found.append((place, place))
    return tuple(found)
