"""The refined model as mmCIF: the input's file with new atoms, and with what refinement is to say about them.

All categories of an mmCIF input stay as they are (entities, sequences, assemblies, authors, citation, the experiment),
except those that spoke about the old coordinates: statistics of the deposited refinement and its faults are dropped,
distances of connections and torsions of cis peptides are measured again. Items are those of the PDBx/mmCIF dictionary.
"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np

from refinement import __version__
from refinement.structure import ResidueKind, unpacked_text
from refinement.validation.omega import omega

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from refinement.structure import Residues, Structure

METHOD = "ELECTRON MICROSCOPY"
"""Names the experiment wherever a row belongs to one, as in ``_exptl.method``."""
STALE = (
    "_refine.", "_refine_hist.", "_refine_ls_restr.", "_refine_ls_restr_ncs.", "_refine_ls_restr_type.", "_refine_ls_shell.",
    "_refine_ls_class.", "_refine_analyze.", "_refine_B_iso.", "_refine_occupancy.", "_refine_funct_minimized.",
    "_pdbx_refine.", "_pdbx_refine_tls.", "_pdbx_refine_tls_group.", "_pdbx_refine_aux_file.", "_pdbx_refine_component.",
    "_pdbx_xplor_file.", "_pdbx_struct_conn_angle.", "_pdbx_validate_close_contact.", "_pdbx_validate_symm_contact.",
    "_pdbx_validate_rmsd_bond.", "_pdbx_validate_rmsd_angle.", "_pdbx_validate_torsion.", "_pdbx_validate_peptide_omega.",
    "_pdbx_validate_chiral.", "_pdbx_validate_planes.", "_pdbx_validate_planes_atom.", "_pdbx_validate_main_chain_plane.",
    "_pdbx_validate_polymer_linkage.",
)  # fmt: skip
"""Categories about the old coordinates and B factors."""
RESTRAINTS = (("f_bond_d", "bonds"), ("f_angle_d", "angles"))
"""Names of restraints in ``_refine_ls_restr.type``, as entries of the PDB from real-space refinement have them."""


def write_refined_model(
    path: Path, structure: Structure, original: Path, statistics: Mapping[str, Any], counts: Mapping[str, int] | None = None
) -> None:
    """Write a refined model as gzipped mmCIF, in the frame of the input and with the input's metadata.

    Parameters
    ----------
    path : Path
        Where to (``refined.cif.gz``).
    structure : Structure
        The model.
    original : Path
        The input model; if it is mmCIF all its other categories are kept.
    statistics : mapping
        Numbers for the refinement categories: ``resolution``, ``bonds_rmsd``, ``angles_rmsd``, ``cc_mask``, ``q_score``.
    counts : mapping, optional
        How many ``bonds`` and ``angles`` were restrained.
    """
    document = _refined_document(structure, original, statistics, counts or {})
    with path.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as packed:
        packed.write(document.as_string().encode("utf-8"))


def _refined_document(
    structure: Structure, original: Path, statistics: Mapping[str, Any], counts: Mapping[str, int]
) -> gemmi.cif.Document:
    model = structure.to_gemmi()
    document = _original_document(original)
    if document is None:
        document = model.make_mmcif_document()
    else:
        _put_atoms(document[0], model)
    block = document[0]
    for category in STALE:
        block.find_mmcif_category(category).erase()
    _measure_connections(block, model)
    _list_cis_peptides(block, structure, model)
    entry = block.find_value("_entry.id") or gemmi.cif.quote(block.name or "model")
    block.set_pair("_entry.id", entry)
    if not block.find_values("_exptl.method"):
        block.set_pairs("_exptl.", {"entry_id": entry, "method": gemmi.cif.quote(METHOD)}, raw=True)
    _add_software(block)
    _add_statistics(block, entry, structure, statistics, counts)
    _add_fitting(block, entry, statistics)
    return document


def _original_document(path: Path) -> gemmi.cif.Document | None:
    """Return the input's CIF document with only its block of atoms, or None for a file in PDB format."""
    text = unpacked_text(path)
    if "_atom_site." not in text:
        return None
    document = gemmi.cif.read_string(text)
    for index in range(len(document) - 1, -1, -1):
        if not document[index].find_loop("_atom_site.Cartn_x"):
            del document[index]
    return document


def _put_atoms(block: gemmi.cif.Block, model: gemmi.Structure) -> None:
    """Replace the atoms of a block; elements that weren't there before are added to its list of atom types."""
    groups = gemmi.MmcifOutputGroups(False)
    groups.atoms = groups.group_pdb = True
    groups.auth_all = bool(block.find_loop("_atom_site.auth_atom_id"))
    if not block.find_loop("_atom_site.group_PDB"):
        model.assign_het_flags()
    model.update_mmcif_block(block, groups)
    known = {symbol.upper() for symbol in block.find_values("_atom_type.symbol")}
    if known and not known.issuperset(block.find_values("_atom_site.type_symbol")):
        groups = gemmi.MmcifOutputGroups(False)
        groups.atom_type = True
        model.update_mmcif_block(block, groups)


def _measure_connections(block: gemmi.cif.Block, model: gemmi.Structure) -> None:
    """Write the new distances of the connections into their column."""
    table = block.find("_struct_conn.", ["id", "pdbx_dist_value"])
    by_name = {connection.name: connection for connection in model.connections}
    for row in table:
        connection = by_name.get(gemmi.cif.as_string(row[0]))
        ends = [model[0].find_cra(partner).atom for partner in (connection.partner1, connection.partner2)] if connection else []
        same_image = connection is not None and connection.asu == gemmi.Asu.Same
        row[1] = f"{ends[0].pos.dist(ends[1].pos):.3f}" if same_image and all(ends) else "?"


def _list_cis_peptides(block: gemmi.cif.Block, structure: Structure, model: gemmi.Structure) -> None:
    """Replace the list of cis peptides by those of now."""
    residues, found = structure.residues, omega(structure)
    listed = []
    for row, angle in sorted(dict(zip(found.residue[found.cis].tolist(), found.omega[found.cis].tolist(), strict=True)).items()):
        peptide = gemmi.CisPep()
        peptide.partner_c, peptide.partner_n = _address(residues, row - 1), _address(residues, row)
        peptide.model_num, peptide.reported_angle = 1, angle
        listed.append(peptide)
    model.cispeps = listed
    block.find_mmcif_category("_struct_mon_prot_cis.").erase()
    groups = gemmi.MmcifOutputGroups(False)
    groups.cis = True
    model.update_mmcif_block(block, groups)


def _address(residues: Residues, row: int) -> gemmi.AtomAddress:
    place = gemmi.SeqId(int(residues.number[row]), str(residues.insertion[row]) or " ")
    return gemmi.AtomAddress(str(residues.chain[row]), place, str(residues.compound[row]), "")


def _add_software(block: gemmi.cif.Block) -> None:
    """Add this program to the list of software."""
    columns = ["name", "classification", "version", "type", "pdbx_ordinal"]
    own = [gemmi.cif.quote("Ceres"), "refinement", gemmi.cif.quote(__version__), "package"]
    _append(block, "_software.", columns, own, key="pdbx_ordinal")


def _add_fitting(block: gemmi.cif.Block, entry: str, statistics: Mapping[str, Any]) -> None:
    """Add this fit of the model into the map, and the program that did it, behind those of the authors."""
    correlation = f"CC_mask {_number(statistics.get('cc_mask'), 3)}, Q-score {_number(statistics.get('q_score'), 3)}"
    columns = ["entry_id", "method", "ref_space", "ref_protocol", "target_criteria", "details", "id"]
    own = [entry, "refinement", "REAL", "OTHER", "Correlation coefficient", f"Real-space refinement by Ceres: {correlation}"]
    fit = _append(block, "_em_3d_fitting.", columns, [own[0], *map(gemmi.cif.quote, own[1:])], key="id")
    columns = ["category", "name", "version", "fitting_id", "id"]
    program = [*map(gemmi.cif.quote, ("MODEL REFINEMENT", "Ceres", __version__)), fit]
    _append(block, "_em_software.", columns, program, key="id")


def _add_statistics(
    block: gemmi.cif.Block, entry: str, structure: Structure, statistics: Mapping[str, Any], counts: Mapping[str, int]
) -> None:
    """Say how well the model fits and how far it is from its restraints."""
    method, resolution = gemmi.cif.quote(METHOD), _number(statistics.get("resolution"), 2)
    b_iso = structure.b_iso[~structure.is_hydrogen]
    refined = {
        "entry_id": entry,
        "pdbx_refine_id": method,
        "ls_d_res_high": resolution,
        "ls_hydrogen_treatment": "constr",
        "B_iso_min": _number(b_iso.min(), 2),
        "B_iso_mean": _number(b_iso.mean(), 2),
        "B_iso_max": _number(b_iso.max(), 2),
        "pdbx_stereochemistry_target_values": gemmi.cif.quote("CCP4 monomer library, CDL"),
        "details": gemmi.cif.quote("Real-space refinement against the map. Hydrogens rode on their atoms."),
    }
    block.set_pairs("_refine.", refined, raw=True)
    loop = block.init_mmcif_loop("_refine_ls_restr.", ["pdbx_refine_id", "type", "dev_ideal", "number"])
    for kind, name in RESTRAINTS:
        number = str(counts[name]) if name in counts else "?"
        loop.add_row([method, kind, _number(statistics.get(f"{name}_rmsd"), 4), number])
    history = {"pdbx_refine_id": method, "cycle_id": "LAST", **_atoms_by_kind(structure)}
    block.set_pairs("_refine_hist.", {**history, "d_res_high": resolution, "d_res_low": "?"}, raw=True)


def _atoms_by_kind(structure: Structure) -> dict[str, str]:
    """Count the atoms, hydrogens left out."""
    kind = structure.residues.kind[structure.residue[~structure.is_hydrogen]]
    groups = {
        "pdbx_number_atoms_protein": (ResidueKind.PROTEIN,),
        "pdbx_number_atoms_nucleic_acid": (ResidueKind.NUCLEIC,),
        "pdbx_number_atoms_ligand": (ResidueKind.LIGAND, ResidueKind.ION),
        "number_atoms_solvent": (ResidueKind.WATER,),
    }
    counts = {item: str(int(np.isin(kind, kinds).sum())) for item, kinds in groups.items()}
    return {**counts, "number_atoms_total": str(len(kind))}


def _append(block: gemmi.cif.Block, category: str, columns: list[str], values: list[str], *, key: str) -> str:
    """Add a row to a category, with the next number as its key; returns that."""
    old = block.find_mmcif_category(category)
    tags = [tag.removeprefix(category) for tag in old.tags] if len(old) else []
    rows = [dict(zip(tags, row, strict=True)) for row in old]
    taken = [int(row[key]) for row in rows if row.get(key, "?").isdigit()]
    number = str(max(taken, default=0) + 1)
    everything = [*tags, *(column for column in columns if column not in tags)]
    loop = block.init_mmcif_loop(category, everything)
    for row in [*rows, dict(zip(columns, [*values, number], strict=True))]:
        loop.add_row([row.get(tag, "?") for tag in everything])
    return number


def _number(value: float | None, digits: int) -> str:
    return "?" if value is None else f"{value:.{digits}f}"
