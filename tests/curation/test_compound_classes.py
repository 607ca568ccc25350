"""What compounds outside the polymers are called, judged by their ideal coordinates in the Chemical Component Dictionary."""

from __future__ import annotations

import gemmi
import numpy as np
import pytest

from curation.compound_classes import classify, is_sugar
from refinement.compounds.component import component

LIPIDS = ("OLA", "PLM", "CLR", "Y01", "POV", "3PE", "CDL", "UQ8", "LMT", "BOG", "SDS")
SUGARS = ("NAG", "GLC", "SUC", "SIA", "FUC", "XYP", "MUB")
IONS = ("ZN", "CL", "SO4", "PO4", "ALF", "NO3")
OTHERS = ("ATP", "HEM", "CLA", "FAD", "COA", "PG4", "MES", "SF4", "F3S", "OXY", "ACT")


def atoms_of(name: str) -> tuple[np.ndarray, np.ndarray]:
    found = component(name)
    assert found is not None
    return np.array([gemmi.Element(e).atomic_number for e in found.elements], dtype=np.uint8), found.positions


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (name, kind)
        for kind, names in zip(("lipid", "sugar", "ion", "other"), (LIPIDS, SUGARS, IONS, OTHERS), strict=True)
        for name in names
    ],
)
def test_kinds_of_compounds(name: str, expected: str) -> None:
    elements, positions = atoms_of(name)
    assert classify(name, elements, positions) == expected
    heavy = elements > 1
    assert classify(name, elements[heavy], positions[heavy]) == expected


def test_lipids_without_their_tails_are_known_by_name() -> None:
    elements, positions = atoms_of("POV")
    assert classify("POV", elements[:6], positions[:6]) == "lipid"
    assert classify("DRG", elements[:6], positions[:6]) == "other"


def test_lipids_of_unknown_names_are_known_by_their_tails() -> None:
    elements, positions = atoms_of("POV")
    assert classify("DRG", elements, positions) == "lipid"


def test_without_room_for_the_dictionary_names_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_name: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("curation.compound_classes.component", full)
    elements, positions = atoms_of("PEE")
    assert classify("PEF", elements[:6], positions[:6]) == "other"


def test_huge_compounds_are_not_looked_at() -> None:
    positions = np.zeros((5000, 3))
    assert classify("DRG", np.full(5000, 6, dtype=np.uint8), positions) == "other"


def test_the_file_may_call_something_an_oligosaccharide() -> None:
    elements, positions = atoms_of("MES")
    assert classify("DRG", elements, positions, branched=True) == "sugar"
    assert [classify(name, elements, positions) for name in ("UNL", "UNX")] == ["unknown", "unknown"]


def test_sugars_are_known_by_name() -> None:
    assert [name for name in ("NAG", "MUB", "ALA", "ATP", "DRG") if is_sugar(name)] == ["NAG", "MUB"]
