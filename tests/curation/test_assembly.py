"""Symmetry operators, the expressions that name them, and the copies they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from curation.assembly import assemble, assembled_block, expand
from curation.facts import Grid
from curation.findings import Code
from curation.operators import MAX_COPIES, AssemblyError, Operator, expand_expression, symmetry_operators

if TYPE_CHECKING:
    from collections.abc import Callable

    Helix = Callable[..., gemmi.Structure]

GRID = Grid(
    "m", (100, 100, 100), (0, 0, 0), (0, 0, 0), (2, 2, 2), (200, 200, 200, 90, 90, 90), (-100, -100, -100), (1, 2, 3), 1, 2
)  # fmt: skip
IDENTITY = (np.eye(3), np.zeros(3))
TURN = (np.diag([-1.0, -1.0, 1.0]), np.array([0.0, 0.0, 5.0]))
QUARTER = (np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), np.array([1.0, 2, 3]))
FAR = (np.eye(3), np.array([500.0, 0, 0]))


def rows(motions: dict[str, Any], **extra: list[str]) -> dict[str, list[str]]:
    table = {"id": list(motions), **extra}
    for i in range(3):
        for j in range(3):
            table[f"matrix[{i + 1}][{j + 1}]"] = [f"{matrix[i][j]:.10f}" for matrix, _ in motions.values()]
        table[f"vector[{i + 1}]"] = [f"{vector[i]:.10f}" for _, vector in motions.values()]
    return table


def block_with(
    motions: dict[str, Any],
    generators: list[tuple[str, str, str]],
    *,
    details: dict[str, str] | None = None,
    types: dict[str, str] | None = None,
    structure: gemmi.Structure | None = None,
) -> gemmi.cif.Block:
    block = structure.make_mmcif_document().sole_block() if structure else gemmi.cif.Block("x")
    kinds = [(types or {}).get(name, "point symmetry operation") for name in motions]
    block.set_mmcif_category("_pdbx_struct_oper_list.", rows(motions, type=kinds))
    columns = ("assembly_id", "oper_expression", "asym_id_list")
    block.set_mmcif_category("_pdbx_struct_assembly_gen.", {c: [g[k] for g in generators] for k, c in enumerate(columns)})
    if details:
        block.set_mmcif_category("_pdbx_struct_assembly.", {"id": list(details), "details": list(details.values())})
    return block


def positions(structure: gemmi.Structure) -> np.ndarray:
    return np.array([site.atom.pos.tolist() for site in structure[0].all()])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", [("1",)]),
        ("1,2,5-7", [("1",), ("2",), ("5",), ("6",), ("7",)]),
        ("(1-3)", [("1",), ("2",), ("3",)]),
        ("(1,3-4)(5)", [("1", "5"), ("3", "5"), ("4", "5")]),
        ("(1-2)(3-4)", [("1", "3"), ("1", "4"), ("2", "3"), ("2", "4")]),
        ("(1-2)(P)", [("1",), ("2",)]),
        ("(X0)(1-2)", [("1",), ("2",)]),
        (" ( 1 , 2 ) ", [("1",), ("2",)]),
        ("P", []),
        ("1_555,2a", [("1_555",), ("2a",)]),
    ],
)
def test_expressions(text: str, expected: list[tuple[str, ...]]) -> None:
    assert expand_expression(text) == expected


@pytest.mark.parametrize(
    "text", ["", "()", "(1", "1)", "((1))", "(1)2", "(1-99999)", "(1-9999)(1-9999)", "1-123456789", "3-1", "(,)"]
)
def test_expressions_that_make_no_sense(text: str) -> None:
    with pytest.raises(AssemblyError):
        expand_expression(text)


@given(st.text("()0123456789,-P X", max_size=20))
def test_any_expression_is_expanded_or_refused(text: str) -> None:
    try:
        products = expand_expression(text)
    except AssemblyError:
        return
    assert len(products) <= MAX_COPIES
    assert not any("P" in product for product in products)


def test_products_apply_the_right_operator_first() -> None:
    block = block_with({"1": QUARTER, "2": TURN}, [("1", "(1)(2)", "A")])
    (operator,) = symmetry_operators(block)[1]
    point = np.array([3.0, 5.0, 7.0])
    expected = QUARTER[0] @ (TURN[0] @ point + TURN[1]) + QUARTER[1]
    assert np.allclose(operator.matrix @ point + operator.vector, expected)
    assert operator.name == "1×2"


def test_complete_assembly_is_chosen() -> None:
    generators = [("1", "1", "A"), ("2", "1-2", "A"), ("3", "1-3", "A")]
    motions = {"1": IDENTITY, "2": TURN, "3": QUARTER}
    names = {"1": "author_defined_assembly", "2": "complete point assembly", "3": "complete point assembly, std point frame"}
    source, operators = symmetry_operators(block_with(motions, generators, details=names))
    assert (source, [operator.name for operator in operators]) == ("assembly 2", ["2"])
    source, operators = symmetry_operators(block_with(motions, generators))
    assert (source, operators) == ("", [])


def test_frames_are_no_symmetry() -> None:
    motions = {"1": IDENTITY, "2": TURN, "Q": QUARTER}
    block = block_with(motions, [("1", "(1-2)(Q)", "A")], types={"Q": "transform to point frame"})
    assert [operator.name for operator in symmetry_operators(block)[1]] == ["2"]


def test_ncs_operators_go_before_assemblies() -> None:
    block = block_with({"1": IDENTITY, "2": TURN}, [("1", "1-2", "A")])
    block.set_mmcif_category(
        "_struct_ncs_oper.", rows({"1": IDENTITY, "2": QUARTER, "3": TURN}, code=["given", "generate", "given"])
    )
    source, operators = symmetry_operators(block)
    assert (source, [operator.name for operator in operators]) == ("struct_ncs_oper", ["2"])


@pytest.mark.parametrize("matrix", [np.diag([1.0, 1, -1]), 2 * np.eye(3), np.full((3, 3), np.nan), np.zeros((3, 3))])
def test_operator_must_be_a_rotation(matrix: np.ndarray) -> None:
    with pytest.raises(AssemblyError, match="not a rotation"):
        symmetry_operators(block_with({"1": (matrix, np.zeros(3))}, [("1", "1", "A")]))


def test_unknown_operator() -> None:
    with pytest.raises(AssemblyError, match="'7' is not in the file"):
        symmetry_operators(block_with({"1": IDENTITY}, [("1", "1,7", "A")]))


def test_silent_file_has_no_operators() -> None:
    assert symmetry_operators(gemmi.cif.Block("x")) == ("", [])


@given(st.integers(0, 10_000))
def test_copies_are_rigid(make_helix_seed: int) -> None:
    rng = np.random.default_rng(make_helix_seed)
    structure = gemmi.Structure()
    structure.add_model(gemmi.Model(1))
    chain = structure[0].add_chain("A")
    residue = gemmi.Residue()
    residue.name, residue.seqid = "ALA", gemmi.SeqId("1")
    for name in ("N", "CA", "C"):
        atom = gemmi.Atom()
        atom.name, atom.element, atom.pos = name, gemmi.Element(name[0]), gemmi.Position(*rng.normal(0, 30, 3))
        residue.add_atom(atom)
    chain.add_residue(residue)
    operator = Operator("2", Rotation.random(random_state=rng.integers(1 << 30)).as_matrix(), rng.normal(0, 50, 3))
    whole = expand(structure, [operator])
    before = positions(structure)
    assert np.allclose(positions(whole)[:3], before)
    assert np.allclose(positions(whole)[3:], before @ operator.matrix.T + operator.vector, atol=1e-9)


def test_unique_part_is_expanded(make_helix: Helix) -> None:
    structure = make_helix(chains="AB")
    block = block_with({"1": IDENTITY, "2": TURN}, [("1", "1-2", "Axp,Bxp")], structure=structure)
    assembled = assemble(structure, block, GRID)
    assert assembled.expanded
    assert [chain.name for chain in assembled.structure[0]] == ["A", "B", "A1", "B1"]
    before, after = positions(structure), positions(assembled.structure)
    assert len(after) == 2 * len(before)
    assert np.allclose(after[len(before) :], before @ TURN[0].T + TURN[1])
    assert [finding.code for finding in assembled.findings] == [Code.ASSEMBLY_GENERATED]
    assert assembled.findings[0].numbers["copies"] == 2
    assert len(structure[0]) == 2


def test_expanded_block_can_be_read_again(make_helix: Helix) -> None:
    structure = make_helix()
    structure.connections.append(_bond(structure))
    block = block_with({"1": IDENTITY, "2": TURN}, [("1", "1-2", "Axp")], structure=structure)
    block.set_pair("_em_3d_reconstruction.resolution", "3.2")
    assembled = assemble(structure, block, GRID)
    again = gemmi.cif.read_string(assembled_block(block, assembled).as_string()).sole_block()
    read = gemmi.make_structure_from_block(again)
    assert np.allclose(positions(read), positions(assembled.structure), atol=1e-3)
    assert [chain.name for chain in read[0]] == ["A", "A1"]
    assert len(read.connections) == 2
    assert again.find_value("_em_3d_reconstruction.resolution") == "3.2"
    assert symmetry_operators(again) == ("", [])


def test_operators_for_some_chains_only(make_helix: Helix) -> None:
    structure = make_helix(chains="AB")
    generators = [("1", "1-2", "Axp"), ("1", "1", "Bxp")]
    block = block_with({"1": IDENTITY, "2": TURN}, generators, structure=structure)
    assembled = assemble(structure, block, GRID)
    assert [chain.name for chain in assembled.structure[0]] == ["A", "B", "A1"]
    assert assembled.findings[0].numbers["atoms_after"] == 180


def test_complete_file_is_not_expanded(make_helix: Helix) -> None:
    structure = make_helix()
    whole = expand(structure, [Operator("2", *TURN)])
    whole.setup_entities()
    block = block_with({"1": IDENTITY, "2": TURN}, [("1", "1-2", "Axp")], structure=whole)
    assembled = assemble(whole, block, GRID)
    assert not assembled.expanded
    assert assembled.findings == ()
    assert assembled.structure[0].count_atom_sites() == 120
    assert len(assembled.operators) == 1


def test_copies_outside_the_map_are_not_made(make_helix: Helix) -> None:
    structure = make_helix()
    block = block_with({"1": IDENTITY, "2": FAR}, [("1", "1-2", "Axp")], structure=structure)
    assembled = assemble(structure, block, GRID)
    assert not assembled.expanded
    assert [finding.code for finding in assembled.findings] == [Code.ASSEMBLY_LEAVES_BOX]
    assert assembled.findings[0].numbers["outside"] == 0.5
    assert assembled_block(block, assembled) is block


def test_huge_assemblies_are_not_made(make_helix: Helix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.assembly.MAX_ATOMS", 100)
    structure = make_helix()
    block = block_with({"1": IDENTITY, "2": TURN}, [("1", "1-2", "Axp")], structure=structure)
    assembled = assemble(structure, block, GRID)
    assert not assembled.expanded
    assert [finding.code for finding in assembled.findings] == [Code.ASSEMBLY_TOO_LARGE]


def _bond(structure: gemmi.Structure) -> gemmi.Connection:
    chain = structure[0][0]
    bond = gemmi.Connection()
    bond.name, bond.type = "covale1", gemmi.ConnectionType.Covale
    bond.partner1 = gemmi.AtomAddress("A", chain[0].seqid, "ALA", "CB")
    bond.partner2 = gemmi.AtomAddress("A", chain[4].seqid, "ALA", "CB")
    return bond
