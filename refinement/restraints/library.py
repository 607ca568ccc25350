"""Restraint dictionaries: a user's ligand file, a monomer library, the project's own table, or made from the chemistry."""

from __future__ import annotations

import gzip
import math
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import gemmi

from refinement.compounds.made import made_dictionary
from refinement.errors import RestraintError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TABLES = Path(__file__).resolve().parent.parent / "tables"
MONOMERS = TABLES / "monomers.cif.gz"
ATOM_TYPES = TABLES / "ener_lib.cif.gz"
SYSTEM_MONOMERS = Path("/usr/share/refmac/monomers")
"""Where Debian's package refmac-dictionary puts its library."""

IONS: dict[str, str] = {
    "3CO": "Co", "3NI": "Ni", "AU3": "Au", "BR": "Br", "CL": "Cl", "CU1": "Cu", "F": "F",
    "FE2": "Fe", "IOD": "I", "IR3": "Ir", "MN3": "Mn", "PT4": "Pt", "RH3": "Rh", "YB2": "Yb", "ZN2": "Zn",
}  # fmt: skip
"""Single-atom compounds whose name isn't the symbol of a metal."""

_HEAVIEST_ION = 83


def load_monomer_library(
    compounds: Iterable[str], user_files: Sequence[Path | str] = (), *, partial: bool = False
) -> gemmi.MonLib:
    """Return restraint dictionaries for `compounds`.

    For every compound the first source wins: a file of the user, the folder ``$CLIBD_MON`` (CCP4
    layout; may lack ``list/`` and ``ener_lib.cif``), the project's own table, Debian's
    refmac-dictionary, a dictionary made from the chemistry of the compound (`refinement.compounds`).
    Single metal and halide ions need no dictionary.

    Parameters
    ----------
    compounds : iterable of str
        Compound ids that occur in the model.
    user_files : sequence of Path
        Ligand dictionaries (CIF, also gzip); later files win over earlier ones.
    partial : bool
        Leave compounds without a dictionary out instead of raising.

    Returns
    -------
    gemmi.MonLib
        Dictionaries, links, modifications and atom types. The caller may change it.

    Raises
    ------
    RestraintError
        ``dictionary_missing``, ``dictionary_damaged`` or ``dictionary_unusable`` for a file of the
        user, ``compound_unknown`` naming all compounds without a dictionary.
    """
    wanted = sorted(set(compounds))
    folder = _monomer_folder()
    library = _base_library(str(folder) if folder else "").clone()
    given: set[str] = set()
    for path in user_files:
        given |= _add_user_file(library, Path(path))
    if folder:
        for name in wanted:
            if name not in given:
                _add_from_folder(library, folder, name)
    for name in wanted:
        if name not in library.monomers:
            _add_further(library, name)
    unknown = [name for name in wanted if name not in library.monomers]
    if unknown and not partial:
        raise unknown_compounds(unknown)
    return library


def _add_further(library: gemmi.MonLib, name: str) -> None:
    """Add a compound that the user's files, his library and our own table don't have, if it can be known."""
    symbol = _ion_element(name)
    if symbol:
        library.monomers[name] = _ion_compound(name, symbol)
        return
    if SYSTEM_MONOMERS.is_dir():
        listed = SYSTEM_MONOMERS / name[0].lower() / f"{name}.cif"
        read = _read_dictionary(listed) if listed.is_file() else None
        if read is not None and name in read.monomers and _is_usable(read.monomers[name]):
            library.monomers[name] = read.monomers[name]
            return
    document = made_dictionary(name)
    if document is not None:
        made = gemmi.MonLib()
        made.read_monomer_doc(document)
        if _is_usable(made.monomers[name]):
            library.monomers[name] = made.monomers[name]


def unknown_compounds(names: Sequence[str]) -> RestraintError:
    """Return the error that says which compounds lack a dictionary."""
    word = "compound" if len(names) == 1 else f"{len(names)} compounds"
    message = f"No restraint dictionary for the {word} {', '.join(names)}."
    hint = "Give a restraint dictionary (CIF) for each, or set CLIBD_MON to a complete monomer library."
    return RestraintError("compound_unknown", message, hint)


def _monomer_folder() -> Path | None:
    name = os.environ.get("CLIBD_MON", "")
    if not name:
        return None
    folder = Path(name)
    if not folder.is_dir():
        message = f"CLIBD_MON is {name}, which is not a folder."
        raise RestraintError("monomer_folder_missing", message, "Correct or unset the variable CLIBD_MON.")
    return folder


@lru_cache(maxsize=4)
def _base_library(folder: str) -> gemmi.MonLib:
    """Own compounds with the links, modifications and atom types of `folder` ("" or where it has none: our own)."""
    own = gzip.decompress(MONOMERS.read_bytes()).decode()
    links = Path(folder, "list", "mon_lib_list.cif") if folder else None
    types = Path(folder, "ener_lib.cif") if folder else None
    library = gemmi.MonLib()
    # gemmi reads atom types only from a folder in CCP4 layout
    with tempfile.TemporaryDirectory(prefix="monomers-") as scratch:
        (Path(scratch) / "list").mkdir()
        listed = links.read_text() if links and links.is_file() else own
        (Path(scratch) / "list" / "mon_lib_list.cif").write_text(listed)
        known = types.read_bytes() if types and types.is_file() else gzip.decompress(ATOM_TYPES.read_bytes())
        (Path(scratch) / "ener_lib.cif").write_bytes(known)
        library.read_monomer_lib(scratch, [])
    library.read_monomer_doc(gemmi.cif.read_string(own))
    library.monomer_dir = folder
    return library


def _add_user_file(library: gemmi.MonLib, path: Path) -> set[str]:
    if not path.is_file():
        message = f"The restraint dictionary {path} does not exist."
        raise RestraintError("dictionary_missing", message, "Check the path.")
    try:
        read = _read_dictionary(path)
    except (ValueError, RuntimeError, IndexError, OSError, UnicodeDecodeError) as fault:
        message = f"The restraint dictionary {path.name} can't be read: {str(fault).splitlines()[0]}."
        raise RestraintError("dictionary_damaged", message, "Give a complete dictionary in CIF format.") from fault
    if not len(read.monomers):
        message = f"{path.name} has no restraint dictionary (no block named data_comp_…)."
        raise RestraintError("dictionary_unusable", message, "Give a dictionary as AceDRG, GRADE or eLBOW write it.")
    for name, compound in read.monomers.items():
        _require_usable(compound, name, path)
        library.monomers[name] = compound
    for name, link in read.links.items():
        library.links[name] = link
    for name, modification in read.modifications.items():
        library.modifications[name] = modification
    return set(read.monomers.keys())


def _add_from_folder(library: gemmi.MonLib, folder: Path, name: str) -> None:
    path = Path(library.path(name))
    if folder not in path.parents or not path.is_file():
        return
    try:
        read = _read_dictionary(path)
    except (ValueError, RuntimeError, IndexError, OSError, UnicodeDecodeError) as fault:
        if name in library.monomers:
            return
        message = f"The dictionary {path} of {name} can't be read: {str(fault).splitlines()[0]}."
        raise RestraintError("dictionary_damaged", message, "Repair the library in CLIBD_MON.") from fault
    if name in read.monomers and _is_usable(read.monomers[name]):
        library.monomers[name] = read.monomers[name]


def _read_dictionary(path: Path) -> gemmi.MonLib:
    read = gemmi.MonLib()
    read.read_monomer_doc(gemmi.cif.read(str(path)))
    return read


def _is_usable(compound: gemmi.ChemComp) -> bool:
    if not len(compound.atoms) or (len(compound.atoms) > 1 and not len(compound.rt.bonds)):
        return False
    return all(math.isfinite(bond.value) and bond.value > 0 for bond in compound.rt.bonds)


def _require_usable(compound: gemmi.ChemComp, name: str, path: Path) -> None:
    if _is_usable(compound):
        return
    bad = sum(not (math.isfinite(bond.value) and bond.value > 0) for bond in compound.rt.bonds)
    what = f"{bad} of {len(compound.rt.bonds)} bonds of {name} have no length" if bad else f"{name} has no atoms or no bonds"
    message = f"The restraint dictionary {path.name} is incomplete: {what}."
    raise RestraintError("dictionary_unusable", message, "Make the dictionary again, with target values.")


def _ion_element(name: str) -> str:
    if name in IONS:
        return IONS[name]
    element = gemmi.Element(name)  # reads two letters of a longer name
    same = element.name.upper() == name.upper()
    return element.name if same and element.is_metal and element.atomic_number <= _HEAVIEST_ION else ""


def _ion_compound(name: str, symbol: str) -> gemmi.ChemComp:
    atom = gemmi.Atom()
    atom.name = name
    atom.element = gemmi.Element(symbol)
    residue = gemmi.Residue()
    residue.name = name
    residue.add_atom(atom)
    return gemmi.make_chemcomp_with_restraints(residue)
