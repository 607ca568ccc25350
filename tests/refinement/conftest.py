"""Fixtures for the engine's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gemmi
import numpy as np
import pytest

from refinement.structure import Structure, from_gemmi

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike


@pytest.fixture(scope="session")
def structure_of() -> Callable[..., Structure]:
    """Return a function that makes a model of (chain, number, compound, atom name, element) rows and positions."""

    def make(
        rows: Sequence[tuple[str, int, str, str, str]], positions: ArrayLike, b_iso: ArrayLike = 40.0, occupancy: ArrayLike = 1.0
    ) -> Structure:
        source = gemmi.Structure()
        model = gemmi.Model(1)
        xyz = np.asarray(positions, dtype=float)
        b_values, occupancies = np.broadcast_to(b_iso, len(rows)), np.broadcast_to(occupancy, len(rows))
        previous = None
        for (chain, number, compound, name, element), position, b, q in zip(rows, xyz, b_values, occupancies, strict=True):
            if (chain, number, compound) != previous:
                if previous is None or chain != previous[0]:
                    model.add_chain(gemmi.Chain(chain))
                residue = gemmi.Residue()
                residue.name, residue.seqid = compound, gemmi.SeqId(number, " ")
                model[-1].add_residue(residue)
                previous = (chain, number, compound)
            atom = gemmi.Atom()
            atom.name, atom.element, atom.b_iso, atom.occ = name, gemmi.Element(element), float(b), float(q)
            atom.pos = gemmi.Position(*position)
            model[-1][-1].add_atom(atom)
        source.add_model(model)
        return from_gemmi(source)

    return make
