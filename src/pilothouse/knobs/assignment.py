"""Knob values as a person types them: `learning_rate=1e-4`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.knobs.config import apply
from pilothouse.knobs.knob import Knob, KnobType

_TRUTHS = {"true": True, "false": False}


def read_assignments(texts: Sequence[str], knobs: Mapping[str, Knob]) -> dict[str, Json]:
    """Return the values by knob, typed and inside their ranges; refuse an unknown knob, a second value, a bad form."""
    values: dict[str, Json] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise BadValue(f"{text!r} is no assignment", fix="write KNOB=VALUE, such as learning_rate=1e-4")
        if name in values:
            raise BadValue(f"knob {name} is set twice", fix="set it once")
        values[name] = _typed(value, knobs.get(name))
    defaults = {name: knob.default for name, knob in knobs.items()}
    checked = apply(defaults, values, knobs)
    return {name: checked[name] for name in values}


def _typed(text: str, knob: Knob | None) -> Json:
    """Return the text as the knob's type would be written; what does not fit stays text for the knob to refuse."""
    try:
        match knob.type if knob is not None else KnobType.CHOICE:
            case KnobType.FLOAT:
                return float(text)
            case KnobType.INT:
                return int(text)
            case KnobType.BOOL:
                return _TRUTHS.get(text.lower(), text)
            case KnobType.CHOICE:
                return text
    except ValueError:
        return text
