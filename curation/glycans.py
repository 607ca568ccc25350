"""Sugars of a model as trees, with the linkages within them and to the protein."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import gemmi
import numpy as np
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refinement.structure import Structure

LINKED = 1.9
"""Å between the anomeric carbon of a sugar and the atom that it is bonded to; links that the file states may be longer."""
ANOMERIC = ("C1", "C2")
"""Of aldoses, and of ketoses and sialic acids."""
ACCEPTORS = (6, 7, 8, 16)
ATTACHED = {
    ("ASN", "ND2"): "N-linked",
    ("ARG", "NH1"): "N-linked",
    ("ARG", "NH2"): "N-linked",
    ("SER", "OG"): "O-linked",
    ("THR", "OG1"): "O-linked",
    ("TYR", "OH"): "O-linked",
    ("HYP", "OD1"): "O-linked",
    ("LYZ", "OH"): "O-linked",
    ("TRP", "CD1"): "C-linked",
    ("CYS", "SG"): "S-linked",
}
"""Residue and atom that carry the sugar, and how that is called."""
MOST_SITES = 40
"""Residues that are named for each glycan."""


@dataclass(frozen=True, slots=True)
class Glycan:
    """Oligosaccharides of one kind.

    Attributes
    ----------
    name : str
        Compounds and linkages from the free end to the reducing one, branches in brackets: ``MAN(1-3)[MAN(1-6)]BMA(1-4)NAG``.
    linkage : str
        ``N-linked``, ``O-linked``, ``C-linked``, ``S-linked``, ``linked to LYS NZ``, or ``free``.
    count : int
        How many there are.
    sites : tuple[str, ...]
        Residues that carry them, the first of the sugar itself for free ones; `MOST_SITES` at most.
    """

    name: str
    linkage: str
    count: int
    sites: tuple[str, ...]


class _Link(NamedTuple):
    """The bond from the anomeric carbon of a sugar."""

    carbon: str
    residue: int
    atom: str


def find_glycans(structure: Structure, sugars: NDArray[np.bool_]) -> tuple[Glycan, ...]:
    """Return the oligosaccharides of a model.

    Parameters
    ----------
    structure : Structure
        The model.
    sugars : NDArray[bool], shape (number of residues,)
        Which residues are sugars.

    Returns
    -------
    tuple of Glycan
        The commonest first.
    """
    if not sugars.any():
        return ()
    links = _near_links(structure, sugars)
    for residue, link in _stated_links(structure, sugars):
        links.setdefault(residue, link)
    _open_circles(links)
    children: defaultdict[int, list[int]] = defaultdict(list)
    for residue, link in sorted(links.items()):
        if sugars[link.residue]:
            children[link.residue].append(residue)
    found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    roots = [row for row in np.flatnonzero(sugars).tolist() if row not in links or not sugars[links[row].residue]]
    for row in roots:
        bond, residues = links.get(row), structure.residues
        name = _spelled(row, children, links, structure.residues.compound)
        if bond is None:
            found[name, "free"].append(residues.label(row))
        else:
            compound = str(residues.compound[bond.residue])
            kind = ATTACHED.get((compound, bond.atom), f"linked to {compound} {bond.atom}")
            found[name, kind].append(residues.label(bond.residue))
    rows = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return tuple(Glycan(name, kind, len(sites), tuple(sites[:MOST_SITES])) for (name, kind), sites in rows)


def _near_links(structure: Structure, sugars: NDArray[np.bool_]) -> dict[int, _Link]:
    """Return for each sugar the nearest atom of another residue that its anomeric carbon can be bonded to."""
    of_sugar = sugars[structure.residue]
    first_conformer = np.isin(structure.altloc, ("", "A"))
    carbons = np.flatnonzero(of_sugar & first_conformer & np.isin(structure.names, ANOMERIC))
    waters = np.isin(structure.residues.compound, ("HOH", "DOD"))[structure.residue]
    others = np.flatnonzero(first_conformer & ~waters & np.isin(structure.elements, ACCEPTORS))
    tree = cKDTree(structure.positions[others])
    best: dict[int, tuple[float, _Link]] = {}
    near = tree.query_ball_point(structure.positions[carbons], LINKED)
    for carbon, rows in zip(carbons.tolist(), near.tolist(), strict=True):
        own = int(structure.residue[carbon])
        for atom in others[rows].tolist():
            other = int(structure.residue[atom])
            if other == own or _takes_no_sugar(structure, atom, sugars):
                continue
            distance = float(np.linalg.norm(structure.positions[carbon] - structure.positions[atom]))
            if own not in best or distance < best[own][0]:
                best[own] = distance, _Link(str(structure.names[carbon]), other, str(structure.names[atom]))
    return {residue: link for residue, (_, link) in best.items()}


def _takes_no_sugar(structure: Structure, atom: int, sugars: NDArray[np.bool_]) -> bool:
    """Return whether an atom is a carbon that no glycosidic bond leads to; of polymers only tryptophan's is one."""
    if structure.elements[atom] != gemmi.Element("C").atomic_number:
        return False
    residue = int(structure.residue[atom])
    return bool(sugars[residue]) or (str(structure.residues.compound[residue]), str(structure.names[atom])) not in ATTACHED


def _open_circles(links: dict[int, _Link]) -> None:
    """Make the first sugar of each circle a reducing end; two anomeric carbons that are linked are a circle of two."""
    for row in sorted(links):
        seen, walk = {row}, links[row].residue
        while walk in links and walk not in seen:
            seen.add(walk)
            walk = links[walk].residue
        if walk == row:
            del links[row]


def _stated_links(structure: Structure, sugars: NDArray[np.bool_]) -> list[tuple[int, _Link]]:
    """Return the links from anomeric carbons that the file states."""
    residues = structure.residues
    keys = zip(residues.chain.tolist(), residues.number.tolist(), residues.insertion.tolist(), strict=True)
    rows = {(*key, name): row for row, (key, name) in enumerate(zip(keys, residues.compound.tolist(), strict=True))}
    found = []
    for bond in structure.source.connections:
        ends = []
        for partner in (bond.partner1, bond.partner2):
            seqid = partner.res_id.seqid
            key = (partner.chain_name, seqid.num, seqid.icode.strip(), partner.res_id.name)
            ends.append((rows.get(key), partner.atom_name))
        (first, first_atom), (second, second_atom) = ends
        if bond.type != gemmi.ConnectionType.Covale or first is None or second is None or first == second:
            continue
        if sugars[first] and first_atom in ANOMERIC and second_atom not in ANOMERIC:
            found.append((first, _Link(first_atom, second, second_atom)))
        elif sugars[second] and second_atom in ANOMERIC:
            found.append((second, _Link(second_atom, first, first_atom)))
    return found


def _spelled(row: int, children: dict[int, list[int]], links: dict[int, _Link], compounds: NDArray[np.str_]) -> str:
    """Return the name of a sugar with all that hangs on it; the longest branch stands without brackets."""
    below = [row]
    for sugar in below:
        below += children.get(sugar, ())
    names: dict[int, str] = {}
    depth: dict[int, int] = {}
    for sugar in reversed(below):  # what hangs on a sugar comes before it
        branches = []
        for child in children.get(sugar, ()):
            carbon, _, atom = links[child]
            place = "".join(filter(str.isdigit, atom)) or atom
            branches.append((-depth[child], place, f"{names.pop(child)}({carbon[1:]}-{place})"))
        branches.sort()
        texts = [text if number == 0 else f"[{text}]" for number, (_, _, text) in enumerate(branches)]
        names[sugar] = f"{''.join(texts)}{compounds[sugar]}"
        depth[sugar] = 1 - min((reach for reach, _, _ in branches), default=0)
    return names[row]
