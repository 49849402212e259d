"""How kernels are compiled: by Numba to machine code, kept between processes where a folder for it can be written.

Numba keeps the code beside the source, else in the user's cache folder, else where NUMBA_CACHE_DIR says; where none of
them is writable the kernels still work and are compiled anew by each process, in some seconds. Numba notices a change
in a kernel's own file only: after a change of this one, remove the `*.nbi` files beside it.

Besides whole numbers a kernel may hold *lanes*, 64 signed bytes in vector registers. LLVM cuts them to the width the
processor has, so the same source runs everywhere.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import numba
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

Function = TypeVar("Function", bound=Callable[..., Any])

# What Numba hands out are compiled things with interfaces of their own, which its annotations do not tell.
_compile: Any = numba.njit
_intrinsic: Any = intrinsic
_models: Any = models
_builders: Any = cgutils
_ir = _builders.ir

_WIDTH: Final = 64
_BYTE = _ir.IntType(8)
_VECTOR = _ir.VectorType(_BYTE, _WIDTH)


def kernel(function: Function) -> Function:
    """Compile a function for plain integers and arrays, and cache the code where that is possible."""
    try:
        compiled: Function = _compile(cache=True, nogil=True)(function)
    except RuntimeError:  # what Numba raises when no cache folder is writable
        compiled = _compile(nogil=True)(function)
    return compiled


def part(function: Function) -> Function:
    """Compile a part of a kernel into the kernel itself: a call that hands over arrays costs more than such a part."""
    compiled: Function = _compile(forceinline=True)(function)
    return compiled


def _lanes_model(manager: Any, frontend: Any) -> Any:
    return _models.PrimitiveModel(manager, frontend, _VECTOR)


# A Numba type is a class of Numba's metaclass; it is made by a call, since there is nothing typed to subclass.
_metaclass: Any = type(types.Type)
_LanesType: Any = _metaclass("Lanes", (types.Type,), {})
register_model(_LanesType)(_lanes_model)
_LANES = _LanesType(name="lanes")

Emit = Callable[..., Any]


def _spread(builder: Any, number: Any) -> Any:
    """Return a vector with the low byte of an integer in every lane."""
    nothing = _ir.Constant(_VECTOR, _ir.Undefined)
    first = builder.insert_element(nothing, builder.trunc(number, _BYTE), _ir.IntType(32)(0))
    every = _ir.Constant(_ir.VectorType(_ir.IntType(32), _WIDTH), [0] * _WIDTH)
    return builder.shuffle_vector(first, nothing, every)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, place: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [place]), _VECTOR.as_pointer())


def _of_one(result: Any, argument: Any, emit: Emit) -> Any:
    """Return what kernels call to run the instruction that `emit(builder, value)` gives."""

    def instruction(_typing: Any, value: Any) -> Any:
        assert isinstance(value, types.Integer), value
        return result(argument), lambda _context, builder, _signature, arguments: emit(builder, *arguments)

    return _intrinsic(instruction)


def _of_two(argument: Any, emit: Emit) -> Any:
    """Return what kernels call to run the instruction that `emit(builder, lanes, value)` gives."""

    def instruction(_typing: Any, left: Any, right: Any) -> Any:
        assert left is _LANES, (left, right)
        return _LANES(_LANES, argument), lambda _context, builder, _signature, arguments: emit(builder, *arguments)

    return _intrinsic(instruction)


def _load(_typing: Any, array: Any, place: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_pointer(context, builder, signature.args[0], *arguments), align=1)

    assert isinstance(place, types.Integer), place
    return _LANES(array, types.int64), emit


def _store(_typing: Any, array: Any, place: Any, value: Any) -> Any:
    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _pointer(context, builder, signature.args[0], *arguments[:2]), align=1)
        return context.get_dummy_value()

    assert isinstance(place, types.Integer), place
    return types.none(array, types.int64, value), emit


trailing_zeros: Final = _of_one(
    types.int64, types.uint64, lambda builder, word: builder.cttz(word, _ir.Constant(_ir.IntType(1), 1))
)
"""The place of the lowest set bit of a uint64 that is not zero."""

bit_count: Final = _of_one(types.int64, types.uint64, lambda builder, word: builder.ctpop(word))
"""The number of set bits of a uint64."""

lanes: Final = _of_one(_LANES, types.int64, _spread)
"""Lanes that all hold the low byte of a number."""

load_lanes: Final = _intrinsic(_load)
"""The 64 bytes of a flat int8 array from a place on, which must lie within it."""

store_lanes: Final = _intrinsic(_store)
"""Put lanes into a flat int8 array from a place on, which must lie within it."""

lowest: Final = _of_two(
    _LANES, lambda builder, left, right: builder.select(builder.icmp_signed("<", left, right), left, right)
)
"""The lower of two lanes, place by place."""

highest: Final = _of_two(
    _LANES, lambda builder, left, right: builder.select(builder.icmp_signed(">", left, right), left, right)
)
"""The higher of two lanes, place by place."""

flipped: Final = _of_two(_LANES, lambda builder, value, flip: builder.xor(value, flip))
"""Lanes with the bits of others turned: -1 makes x into -x - 1, 0 leaves x."""

raised: Final = _of_two(types.int64, lambda builder, value, number: builder.add(value, _spread(builder, number)))
"""Lanes plus a number."""
