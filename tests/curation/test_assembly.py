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
from curation.operators import MAX_COPIES, AssemblyError, Operator, expand_expression, motions, symmetry_operators
from refinement.operators import Operators, multiplication_table, turned_about
from refinement.structure import from_gemmi
from refinement.symmetry.copies import find_copies

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
GOLDEN = (1.0 + 5.0**0.5) / 2.0
"""With the threefold axis (1, 1, 1), the fivefold axis (0, 1, GOLDEN) makes the icosahedral group."""


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


def icosahedral(centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> dict[str, Any]:
    """Return the 60 motions of an icosahedron about a centre by name, the identity first."""
    group = [np.eye(3)]
    for member in group:
        for generator in (turned_about((1.0, 1.0, 1.0), 120.0), turned_about((0.0, 1.0, GOLDEN), 72.0)):
            product = generator @ member
            if not any(np.allclose(product, other, atol=1e-6) for other in group):
                group.append(product)
    return {str(k): (matrix, np.array(centre) - matrix @ centre) for k, matrix in enumerate(group, start=1)}


def helical(copies: int, *, twist: float = 27.3, rise: float = 12.0) -> dict[str, Any]:
    """Return the motions along a helix about z by name, the identity first."""
    turns = {str(k + 1): turned_about((0.0, 0.0, 1.0), twist * k) for k in range(copies)}
    return {name: (matrix, np.array([0.0, 0.0, rise * k])) for k, (name, matrix) in enumerate(turns.items())}


def placed(structure: gemmi.Structure, shift: tuple[float, float, float]) -> gemmi.Structure:
    for site in structure[0].all():
        site.atom.pos += gemmi.Position(*shift)
    return structure


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
    assert assembled.exact is not None
    assert np.allclose(assembled.exact.rotation, [np.eye(3), TURN[0]])


@pytest.mark.parametrize("source", ["assembly", "ncs"])
def test_a_capsid_is_made_of_sixty_exact_copies(make_helix: Helix, source: str) -> None:
    """Chains "A" and "A7": names of copies must not meet those in use."""
    structure = placed(make_helix(chains="AB"), (40.0, 10.0, -5.0))
    structure[0][1].name = "A7"
    structure.connections.append(_bond(structure))
    structure.helices.append(_helix(structure))
    structure[0][0][2][1].altloc = "B"
    group = icosahedral((3.0, -2.0, 1.0))
    block = block_with(group, [("1", "(1-60)", "Axp,Bxp")] if source == "assembly" else [], structure=structure)
    if source == "ncs":
        block.set_mmcif_category("_struct_ncs_oper.", rows(group, code=["given", *59 * ["generate"]]))
    assembled = assemble(structure, block, GRID)
    assert assembled.expanded
    names = [chain.name for chain in assembled.structure[0]]
    assert len(names) == len(set(names)) == 120
    parts = [part.subchain_id() for chain in assembled.structure[0] for part in chain.subchains()]
    assert len(parts) == len(set(parts)) == 120
    before, after = positions(structure), positions(assembled.structure).reshape(60, -1, 3)
    for copy, (matrix, vector) in zip(after, group.values(), strict=True):
        assert np.abs(copy - before @ matrix.T - vector).max() < 1e-6  # the file has ten decimals
    assert len(assembled.structure.connections) == 60
    assert len({bond.partner1.chain_name for bond in assembled.structure.connections}) == 60
    assert len({helix.start.chain_name for helix in assembled.structure.helices}) == 60
    assert sum(site.atom.altloc == "B" for site in assembled.structure[0].all()) == 60
    read = gemmi.make_structure_from_block(gemmi.cif.read_string(assembled_block(block, assembled).as_string()).sole_block())
    assert [chain.name for chain in read[0]] == names
    assert np.abs(positions(read) - after.reshape(-1, 3)).max() < 0.00051
    assert (len(read.connections), len(read.helices)) == (60, 60)


def test_refinement_takes_the_operators_of_the_file(make_helix: Helix) -> None:
    structure = placed(make_helix(chains="A"), (40.0, 10.0, -5.0))
    group = icosahedral()
    assembled = assemble(structure, block_with(group, [("1", "(1-60)", "Axp")], structure=structure), GRID)
    assert assembled.exact is not None
    assert np.array_equal(assembled.exact.rotation[0], np.eye(3))
    assert multiplication_table(assembled.exact, np.zeros(3), 50.0, 1e-6) is not None
    (copies,) = find_copies(from_gemmi(assembled.structure), assembled.exact)
    assert (copies.group, copies.exact) == ("I", True)
    assert np.array_equal(copies.operators.rotation, assembled.exact.rotation)


def test_a_helix_is_made_where_the_map_holds_it(make_helix: Helix) -> None:
    structure = placed(make_helix(), (10.0, 0.0, -90.0))
    kinds = dict.fromkeys(helical(9), "helical symmetry operation")
    block = block_with(
        helical(9), [("1", "(1-9)", "Axp")], details={"1": "representative helical assembly"}, types=kinds, structure=structure
    )
    assembled = assemble(structure, block, GRID)
    assert assembled.expanded
    assert len(assembled.structure[0]) == 9
    (copies,) = find_copies(from_gemmi(assembled.structure), assembled.exact)
    assert (copies.group, copies.exact, len(copies)) == ("", True, 9)
    block = block_with(helical(30), [("1", "(1-30)", "Axp")], types=kinds, structure=structure)
    longer = assemble(structure, block, GRID)
    assert not longer.expanded
    assert longer.exact is None
    assert longer.structure[0].count_atom_sites() == structure[0].count_atom_sites()


def test_an_operator_in_several_rows_makes_one_copy(make_helix: Helix) -> None:
    structure = make_helix(chains="AB")
    block = block_with({"1": IDENTITY, "2": TURN}, [("1", "1,2", "Axp"), ("1", "(1-2)", "Bxp")], structure=structure)
    assembled = assemble(structure, block, GRID)
    assert [chain.name for chain in assembled.structure[0]] == ["A", "B", "A1", "B1"]


def test_rounded_matrices_become_rotations() -> None:
    turn = turned_about((1.0, 2.0, 3.0), 50.0)
    (operator,) = symmetry_operators(block_with({"1": IDENTITY, "2": (np.round(turn, 4), np.zeros(3))}, [("1", "1-2", "A")]))[1]
    assert np.abs(operator.matrix @ operator.matrix.T - np.eye(3)).max() < 1e-12
    assert np.abs(operator.matrix - turn).max() < 1e-4


def test_the_same_motion_under_two_names_counts_once() -> None:
    again = (TURN[0] + 1e-7, TURN[1] - 1e-4)
    found = motions([Operator("2", *TURN), Operator("3", *QUARTER), Operator("1×2", *again)])
    assert isinstance(found, Operators)
    assert np.allclose(found.shift, [np.zeros(3), TURN[1], QUARTER[1]])
    assert motions([]) is None


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


def _helix(structure: gemmi.Structure) -> gemmi.Helix:
    chain, helix = structure[0][0], gemmi.Helix()
    helix.start = gemmi.AtomAddress("A", chain[0].seqid, "ALA", "")
    helix.end = gemmi.AtomAddress("A", chain[-1].seqid, "ALA", "")
    return helix
