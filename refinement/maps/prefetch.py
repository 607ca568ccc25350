"""A hint to the processor: the value of an array that a kernel will read a little later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

READ, KEEP_IN_ALL_CACHES, DATA = 0, 3, 1
"""Arguments of LLVM's instruction."""


@intrinsic
def prefetch(_: Any, array: Any, i: Any, j: Any, k: Any) -> tuple[Any, Callable[..., Any]]:
    """Begin to load ``array[i, j, k]``; the indices must be valid and not negative. Nothing waits, nothing is returned."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        values = context.make_array(kind)(context, builder, arguments[0])
        place = cgutils.get_item_pointer(context, builder, kind, values, arguments[1:], wraparound=False, boundscheck=False)
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        instruction = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, instruction, "llvm.prefetch")
        builder.call(function, [builder.bitcast(place, byte), word(READ), word(KEEP_IN_ALL_CACHES), word(DATA)])
        return context.get_dummy_value()

    return types.void(array, i, j, k), codegen
