"""Which compounds of a model have no restraints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refinement.errors import RestraintError
from refinement.restraints.library import load_monomer_library

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

UNKNOWN = "compound_unknown"


def unknown_compounds(compounds: Iterable[str], libraries: Sequence[Path] = ()) -> tuple[str, ...]:
    """Return the compounds for which no restraint dictionary is known.

    Parameters
    ----------
    compounds : iterable of str
        Compound ids of the model.
    libraries : sequence of Path
        Restraint dictionaries that are used besides the usual ones.

    Raises
    ------
    RestraintError
        If a dictionary file itself is damaged.
    """
    wanted = sorted(set(compounds))
    if _is_known(wanted, libraries):
        return ()
    return tuple(name for name in wanted if not _is_known([name], libraries))


def _is_known(names: list[str], libraries: Sequence[Path]) -> bool:
    try:
        load_monomer_library(names, libraries)
    except RestraintError as fault:
        if fault.code == UNKNOWN:
            return False
        raise
    return True
