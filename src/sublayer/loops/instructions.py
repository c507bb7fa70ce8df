"""What a processor can do and Python has no word for, written for LLVM."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from sublayer.loops.tables import LINE, WIDTH

ROWS = 6
"""Of a tile: its sums fill 24 of the 32 registers."""
QUADS = WIDTH * 4 // LINE
"""Registers with four numbers each of all columns."""
I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
VECTOR, PLACE = ir.VectorType(I32, 16), ir.PointerType(I8)


def _asking(typing: Any, address: Any) -> Any:
    """Ask for the line of memory at an address, and go on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _fetch(builder, args[0])
        return context.get_dummy_value()

    return types.void(types.intp), generate


fetch: Any = intrinsic(_asking)


def _pointing(typing: Any, address: Any) -> Any:
    """An address as what `numba.carray` makes an array of."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], PLACE)

    return types.voidptr(types.intp), generate


place: Any = intrinsic(_pointing)


def _claiming(typing: Any, address: Any) -> Any:
    """The int64 at an address, which is one more from then on, for no two threads the same."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        counter = builder.inttoptr(args[0], I64.as_pointer())
        return builder.atomic_rmw("add", counter, I64(1), "monotonic")

    return types.int64(types.intp), generate


claim: Any = intrinsic(_claiming)


def _fetch(builder: Any, address: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [PLACE, I32, I32, I32])
    function = builder.module.declare_intrinsic("llvm.prefetch", [PLACE], kind)
    builder.call(function, [builder.inttoptr(address, PLACE), I32(0), I32(2), I32(1)])


def _tiles_asking_for(lines: int) -> Any:
    """Sums of products of bytes, that ask for `lines` of memory at each step."""

    @intrinsic
    def tile(
        typing: Any, rows: Any, sums: Any, x: Any, stride: Any, weights: Any, steps: Any, ahead: Any
    ) -> Any:
        """`rows` by WIDTH `sums` (int32) of bytes: rows of uint8, `stride` apart, and weights.

        All but `rows`, `stride` and `steps` are addresses. A step takes four numbers of each row
        and 4 x WIDTH weights, four of each column, which the processor multiplies and adds up by
        itself. Meanwhile memory from the address `ahead` on is asked for.
        """

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            for count in range(1, ROWS + 1):
                with builder.if_then(builder.icmp_signed("==", args[0], I64(count))):
                    _write_tile(builder, args[1:], count, lines)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 7), generate

    return tile


def _write_tile(builder: Any, args: Any, rows: int, lines: int) -> None:
    sums, x, stride, weights, steps, ahead = args
    dot = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(VECTOR, [VECTOR] * 3), "llvm.x86.avx512.vpdpbusd.512"
    )
    held = [[cgutils.alloca_once(builder, VECTOR) for _ in range(QUADS)] for _ in range(rows)]
    registers = [register for row in held for register in row]
    for register in registers:
        builder.store(ir.Constant(VECTOR, None), register)
    with cgutils.for_range(builder, steps, intp=I64) as loop:
        for i in range(lines):
            _fetch(builder, _after(builder, ahead, loop.index, lines * LINE, i * LINE))
        here = [_after(builder, weights, loop.index, 4 * WIDTH, i * LINE) for i in range(QUADS)]
        columns = [_load(builder, VECTOR, place) for place in here]
        for row, own in enumerate(held):
            begin = builder.add(x, builder.mul(stride, I64(row)))
            four = _load(builder, I32, _after(builder, begin, loop.index, 4, 0))
            spread = _spread(builder, four)
            for register, column in zip(own, columns, strict=True):
                added = builder.call(dot, [builder.load(register), spread, column])
                builder.store(added, register)
    for i, register in enumerate(registers):
        place = builder.inttoptr(builder.add(sums, I64(i * LINE)), VECTOR.as_pointer())
        builder.store(builder.load(register), place, align=1)


def _after(builder: Any, address: Any, index: Any, size: int, offset: int) -> Any:
    return builder.add(builder.add(address, builder.mul(index, I64(size))), I64(offset))


def _load(builder: Any, kind: Any, address: Any) -> Any:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=1)


def _spread(builder: Any, number: Any) -> Any:
    nothing = ir.Constant(VECTOR, ir.Undefined)
    one = builder.insert_element(nothing, number, I32(0))
    return builder.shuffle_vector(one, nothing, ir.Constant(VECTOR, [0] * 16))


sum_all = _tiles_asking_for(QUADS)
"""For all rows of a product at once: memory is asked for as fast as it is gone through."""
sum_part = _tiles_asking_for(1)
"""For a part of the rows, while others ask for the rest."""
