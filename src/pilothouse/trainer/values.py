"""JSON as the run folder speaks it: finite numbers are numbers, the others are strings."""

import json
import math
from collections.abc import Mapping
from typing import Protocol, TypeAlias, runtime_checkable

from pilothouse.trainer.errors import MetricRefused

JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | int | float | bool | None"


@runtime_checkable
class Scalar(Protocol):
    """A number of another library (NumPy, JAX, PyTorch), which `item` turns into Python's own."""

    def item(self) -> object:
        """Give the value as a Python number."""


Reported: TypeAlias = str | int | float | bool | Scalar | None
"""What a program may hand in as a metric."""


def canonical(value: JSON) -> bytes:
    """Spell a JSON value in the one way: sorted keys, no spaces, UTF-8, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def decode(data: bytes) -> JSON:
    """Parse JSON; raises ValueError, also for the bare tokens NaN and Infinity, which are no JSON."""
    value: JSON = json.loads(data, parse_constant=_refuse_constant)
    return value


def _refuse_constant(token: str) -> float:
    raise ValueError(f"{token} is no JSON")


def plain(name: str, value: object) -> str | int | float | bool | None:
    """Turn a reported value into JSON; NaN and the infinities become "NaN", "Infinity" and "-Infinity"."""
    if isinstance(value, Scalar):
        value = value.item()
    match value:
        case float() if math.isnan(value):
            return "NaN"
        case float() if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        case None | bool() | int() | float() | str():
            return value
        case _:
            raise MetricRefused(
                f"{name} is a {type(value).__name__}; a metric is a number, a text, true, false or nothing.",
                fix="report one number per name.",
            )


def plain_all(values: Mapping[str, object]) -> dict[str, JSON]:
    """Turn every value of a mapping into JSON; see `plain`."""
    return {name: plain(name, value) for name, value in values.items()}
