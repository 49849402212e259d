"""One column of a batch as an array.

The driver's own way asks each element for its dumper, which costs more than the statement; here an array is made by a
few calls for the whole column: numbers as their text, and text in the binary form, where nothing is quoted on one side
and unquoted on the other.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from types import NoneType

from psycopg import postgres, pq
from psycopg.adapt import Dumper

from pilothouse.store.connection import Value, broken_text, not_finite, zero_byte

_NUMBERS = {int, float, NoneType}
_BETWEEN = "\0"
"""Stands between texts while they are quoted together; no column can hold it."""


_TEXT = postgres.types["text"]
_HEAD = struct.Struct(">iiIii")


class TextArray(bytes):
    """An array of text in the binary form."""

    __slots__ = ()


class TextArrayDumper(Dumper):
    """Hands a `TextArray` to the driver as it is."""

    format = pq.Format.BINARY
    oid = _TEXT.array_oid

    def dump(self, obj: TextArray) -> bytes:
        """Return the array."""
        return obj


def column(values: Sequence[Value]) -> str | TextArray:
    """Return the values as the driver takes them; `BadValue` for what no column can hold."""
    if set(map(type, values)) == {str}:
        texts = [str(value) for value in values]
        joined = _BETWEEN.join(texts)
        # JSON is full of what has to be quoted; names, which are not, are shorter to write as they are.
        if '"' in joined or "\\" in joined:
            _refuse_zero_bytes(joined, texts)
            return _binary(texts)
    return literal(values)


def _binary(values: Sequence[str]) -> TextArray:
    try:
        encoded = [value.encode() for value in values]
    except UnicodeEncodeError as error:
        raise broken_text(error) from error
    # One dimension without a NULL, from 1 on; then each text after its length.
    parts = [_HEAD.pack(1, 0, _TEXT.oid, len(values), 1), *([b""] * (2 * len(values)))]
    parts[1::2] = [len(each).to_bytes(4, "big") for each in encoded]
    parts[2::2] = encoded
    return TextArray(b"".join(parts))


def literal(values: Sequence[Value]) -> str:
    """Return the values as PostgreSQL writes an array; `BadValue` for a zero byte and for what is not finite."""
    kinds = set(map(type, values))
    if kinds <= _NUMBERS:
        return _numbers(values)
    if NoneType not in kinds:
        return _texts([str(value) for value in values])
    return "{" + ",".join("NULL" if value is None else _texts([str(value)])[1:-1] for value in values) + "}"


def _numbers(values: Sequence[Value]) -> str:
    text = "{" + str(list(values))[1:-1].replace("None", "NULL") + "}"
    # Neither a number nor NULL has one of these letters; `nan` and `inf` have.
    if "n" in text:
        raise not_finite(next(str(value) for value in values if isinstance(value, float) and not math.isfinite(value)))
    return text


def _texts(values: Sequence[str]) -> str:
    joined = _BETWEEN.join(values)
    _refuse_zero_bytes(joined, values)
    quoted = joined.replace("\\", "\\\\").replace('"', '\\"').replace(_BETWEEN, '","')
    return '{"' + quoted + '"}'


def _refuse_zero_bytes(joined: str, values: Sequence[str]) -> None:
    if joined.count(_BETWEEN) != len(values) - 1:
        raise zero_byte(next(value for value in values if "\0" in value))
