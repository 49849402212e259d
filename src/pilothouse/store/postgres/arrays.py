"""One column of a batch as the text of an array.

The driver's own way asks each element for its dumper, which costs more than the statement; here the text is made by a
few calls for the whole column.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import NoneType

from pilothouse.store.connection import Value, not_finite, zero_byte

_NUMBERS = {int, float, NoneType}
_BETWEEN = "\0"
"""Stands between texts while they are quoted together; no column can hold it."""


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
    if joined.count(_BETWEEN) != len(values) - 1:
        raise zero_byte(next(value for value in values if "\0" in value))
    quoted = joined.replace("\\", "\\\\").replace('"', '\\"').replace(_BETWEEN, '","')
    return '{"' + quoted + '"}'
