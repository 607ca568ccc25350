"""The symmetry operators of a model file: NCS operators to be generated, or those of the biological assembly."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gemmi
import numpy as np
from scipy.spatial import cKDTree

from refinement.operators import Operators

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Motion = tuple[NDArray[np.float64], NDArray[np.float64]]

MAX_COPIES = 10_000
"""More operators than any virus capsid has; an expression that asks for more is refused."""
REACH, SAME = 100.0, 0.05
"""Å; motions that take points at this distance from the origin this near to each other are one."""
FRAME_IDS = frozenset({"P", "X0", "H"})
FRAME_TYPE = "transform to"
"""Operators that move the particle into a standard frame; they are no symmetry."""


class AssemblyError(ValueError):
    """The assembly of the file makes no sense."""


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """x' = matrix @ x + vector, applied to the chains `asyms` (all if None)."""

    name: str
    matrix: NDArray[np.float64]
    vector: NDArray[np.float64]
    asyms: frozenset[str] | None = None

    @property
    def is_identity(self) -> bool:
        """Whether it moves nothing."""
        return bool(np.allclose(self.matrix, np.eye(3), atol=1e-4) and np.allclose(self.vector, 0, atol=1e-3))

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        asyms = sorted(self.asyms) if self.asyms is not None else None
        return {"name": self.name, "matrix": self.matrix.tolist(), "vector": self.vector.tolist(), "asyms": asyms}


def symmetry_operators(block: gemmi.cif.Block) -> tuple[str, list[Operator]]:
    """Return the operators that make the copies, the identity left out, and where they come from.

    Raises
    ------
    AssemblyError
        For expressions that name unknown operators or more than `MAX_COPIES`, and matrices that aren't rotations.
    """
    generated = _ncs_operators(block)
    if generated:
        return "struct_ncs_oper", generated
    assembly = _chosen_assembly(block)
    if assembly is None:
        return "", []
    table = _operator_table(block)
    frames = FRAME_IDS | _frames(block)
    # an operator that several rows apply to different chains makes one copy of all of them
    moved: dict[tuple[str, ...], set[str]] = {}
    for row in block.find("_pdbx_struct_assembly_gen.", ["assembly_id", "oper_expression", "asym_id_list"]):
        if gemmi.cif.as_string(row[0]) != assembly:
            continue
        asyms = {name.strip() for name in gemmi.cif.as_string(row[2]).split(",")}
        for names in expand_expression(gemmi.cif.as_string(row[1]), skipped=frames):
            moved.setdefault(names, set()).update(asyms)
    if len(moved) > MAX_COPIES:
        message = f"assembly {assembly} has {len(moved)} operators"
        raise AssemblyError(message)
    everything = {gemmi.cif.as_string(value) for value in block.find_values("_struct_asym.id")}
    operators = [
        _product(names, table, None if everything and everything <= asyms else frozenset(asyms)) for names, asyms in moved.items()
    ]
    operators = [operator for operator in operators if not operator.is_identity]
    return (f"assembly {assembly}", operators) if operators else ("", [])


def motions(operators: Sequence[Operator]) -> Operators | None:
    """Return different motions as arrays, the identity in front; None without operators."""
    if not operators:
        return None
    rotation = np.array([np.eye(3), *(operator.matrix for operator in operators)])
    shift = np.array([np.zeros(3), *(operator.vector for operator in operators)])
    same = cKDTree(np.column_stack([REACH * rotation.reshape(-1, 9), shift])).query_pairs(SAME, output_type="ndarray")
    first = np.setdiff1d(np.arange(len(shift)), same[:, 1])
    return Operators(rotation, shift).select(first)


def expand_expression(text: str, *, skipped: frozenset[str] = FRAME_IDS) -> list[tuple[str, ...]]:
    """Return the operator products that an expression such as ``(1-60)(P)`` or ``1,3-5`` means.

    Parameters
    ----------
    text : str
        Value of ``_pdbx_struct_assembly_gen.oper_expression``.
    skipped : frozenset[str]
        Operators that are left out of every product.

    Raises
    ------
    AssemblyError
        If it can't be understood or means more than `MAX_COPIES` products.
    """
    text = "".join(text.split())
    bracketed = "(" in text or ")" in text
    groups = re.findall(r"\(([^()]*)\)", text) if bracketed else [text]
    if not groups or (bracketed and re.sub(r"\([^()]*\)", "", text)):
        message = f"the operator expression {text[:60]!r} can't be understood"
        raise AssemblyError(message)
    factors: list[list[str]] = []
    for group in groups:
        names = [name for item in group.split(",") for name in _range(item)]
        kept = [name for name in names if name not in skipped]
        if kept:
            factors.append(kept)
        elif not names:
            message = f"the operator expression {text[:60]!r} has an empty part"
            raise AssemblyError(message)
    if math.prod(map(len, factors)) > MAX_COPIES:
        message = f"the operator expression {text[:60]!r} means more than {MAX_COPIES} copies"
        raise AssemblyError(message)
    return list(itertools.product(*factors)) if factors else []


def _ncs_operators(block: gemmi.cif.Block) -> list[Operator]:
    codes = block.find("_struct_ncs_oper.", ["id", "code"])
    wanted = {gemmi.cif.as_string(row[0]) for row in codes if gemmi.cif.as_string(row[1]).lower() == "generate"}
    table = _operator_table(block, "_struct_ncs_oper.")
    operators = [Operator(name, *_motion(name, table)) for name in table if name in wanted]
    if len(operators) > MAX_COPIES:
        message = f"struct_ncs_oper has {len(operators)} operators"
        raise AssemblyError(message)
    return [operator for operator in operators if not operator.is_identity]


def _chosen_assembly(block: gemmi.cif.Block) -> str | None:
    """Return the id of the complete assembly, else that of assembly 1; frames are passed over."""
    table = block.find("_pdbx_struct_assembly.", ["id", "details"])
    rows = [(gemmi.cif.as_string(row[0]), gemmi.cif.as_string(row[1]).lower()) for row in table]
    named = [key for key, details in rows if "complete" in details and "std" not in details]
    if named:
        return named[0]
    ids = {gemmi.cif.as_string(value) for value in block.find_values("_pdbx_struct_assembly_gen.assembly_id")}
    return "1" if "1" in ids else None


def _operator_table(block: gemmi.cif.Block, category: str = "_pdbx_struct_oper_list.") -> dict[str, Motion]:
    tags = ["id", *(f"matrix[{i}][{j}]" for i in (1, 2, 3) for j in (1, 2, 3)), *(f"vector[{i}]" for i in (1, 2, 3))]
    table: dict[str, Motion] = {}
    for row in block.find(category, tags):
        values = np.array([gemmi.cif.as_number(row[i]) for i in range(1, 13)])
        table[gemmi.cif.as_string(row[0])] = values[:9].reshape(3, 3), values[9:]
    return table


def _frames(block: gemmi.cif.Block) -> set[str]:
    rows = block.find("_pdbx_struct_oper_list.", ["id", "type"])
    return {gemmi.cif.as_string(row[0]) for row in rows if gemmi.cif.as_string(row[1]).lower().startswith(FRAME_TYPE)}


def _range(item: str) -> list[str]:
    ends = re.fullmatch(r"([0-9]{1,9})-([0-9]{1,9})", item)
    if ends is None:
        return [item] if item else []
    first, last = int(ends[1]), int(ends[2])
    if last - first >= MAX_COPIES:
        message = f"the operator range {item} means more than {MAX_COPIES} copies"
        raise AssemblyError(message)
    return [str(number) for number in range(first, last + 1)]


def _product(names: tuple[str, ...], table: dict[str, Motion], asyms: frozenset[str] | None) -> Operator:
    """Multiply operators; the rightmost is applied first."""
    matrix, vector = np.eye(3), np.zeros(3)
    for name in names:
        step_matrix, step_vector = _motion(name, table)
        matrix, vector = matrix @ step_matrix, matrix @ step_vector + vector
    return Operator("×".join(names), matrix, vector, asyms)


def _motion(name: str, table: dict[str, Motion]) -> Motion:
    """Return an operator of the table; it must be a rotation (determinant +1) and a translation.

    Files give six to ten decimals. The nearest rotation is taken, so that copies have exactly the shape of the original.
    """
    if name not in table:
        message = f"the operator {name[:40]!r} is not in the file"
        raise AssemblyError(message)
    matrix, vector = table[name]
    finite = bool(np.isfinite(matrix).all() and np.isfinite(vector).all())
    if not finite or not np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-2) or np.linalg.det(matrix) < 0:
        message = f"the operator {name[:40]!r} is not a rotation and translation"
        raise AssemblyError(message)
    u, _, vt = np.linalg.svd(matrix)
    return u @ vt, vector
