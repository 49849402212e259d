"""Reading config.json into a frozen dataclass: unknown keys, wrong types and values out of range are refused by name.

@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    learning_rate: float = bounded(3e-4, low=1e-7, high=1.0)
    preset: str = chosen("nano", "full")

options = read_options(Training, run.config)
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

from pilothouse.trainer.errors import OptionRefused
from pilothouse.trainer.values import JSON

Options = TypeVar("Options")
_FIX = "correct the value in the campaign file or its mode."


def bounded(default: float, *, low: float, high: float) -> Any:
    """Declare a numeric option with its closed range."""
    return dataclasses.field(default=default, metadata={"low": low, "high": high})


def chosen(default: str, *others: str) -> Any:
    """Declare a text option that takes one of a few values; the first is the default."""
    return dataclasses.field(default=default, metadata={"choices": (default, *others)})


def read_options(kind: type[Options], config: Mapping[str, JSON]) -> Options:
    """Build `kind`, a dataclass whose fields are bool, int, float, str or an optional one, from config values.

    Raises OptionRefused naming the key, the value and what is allowed.
    """
    assert dataclasses.is_dataclass(kind), f"{kind} is no dataclass"
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = get_type_hints(kind)
    for key in config:
        if key not in fields:
            raise _unknown(key, list(fields))
    values = {key: _value(fields[key], hints[key], config[key]) for key in config}
    missing = [name for name, field in fields.items() if name not in values and field.default is dataclasses.MISSING]
    if missing:
        raise OptionRefused(f"The option {missing[0]!r} has no value.", fix="add it to the config.")
    return kind(**values)


def _unknown(key: str, known: list[str]) -> OptionRefused:
    import difflib  # noqa: PLC0415  only a mistake needs it

    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known options are {', '.join(sorted(known))}."
    return OptionRefused(f"There is no option {key!r}.", fix=hint)


def _value(field: "dataclasses.Field[Any]", hint: object, value: JSON) -> JSON:
    converted = _typed(field.name, hint, value)
    match field.metadata:
        case {"low": low, "high": high} if not (isinstance(converted, int | float) and low <= converted <= high):
            raise OptionRefused(f"{field.name} = {value!r} lies outside {low} to {high}.", fix=_FIX)
    choices = field.metadata.get("choices")
    if choices is not None and converted not in choices:
        raise OptionRefused(f"{field.name} = {value!r} is none of {', '.join(choices)}.", fix=_FIX)
    return converted


def _typed(name: str, hint: object, value: JSON) -> JSON:
    for kind in (hint, *getattr(hint, "__args__", ())):
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if isinstance(kind, type) and isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
            return value
    wanted = getattr(hint, "__name__", str(hint))
    raise OptionRefused(f"{name} = {value!r} is a {type(value).__name__}, not {wanted}.", fix=_FIX)
