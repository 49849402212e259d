"""Reading what an agent answered: one JSON document of a known form, and nothing that merely looks like it.

What is read here is well formed, no more: whether the knobs exist, stay in their ranges and are few enough is judged
with every other proposal's, by `draft`.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.proposals.proposal import Risk
from pilothouse.proposals.search import Suggestion

ANSWER_BYTES_MAX = 65_536
DEPTH_MAX = 4
OVERRIDES_MAX = 16
NAME_LENGTH_MAX = 200
VALUE_LENGTH_MAX = 1_000
DIGITS_MAX = 400
"""Longer than any number a knob can hold, and short enough to be read without effort."""
SHOWN_MAX = 60

TEXTS: Mapping[str, int] = {
    "rationale": 4_000,
    "hypothesis": 2_000,
    "rollback": 2_000,
    "why_not_identical": 2_000,
}
"""The texts an answer must give, with the most characters of each."""

_FIELDS = ("overrides", *TEXTS, "risk")
_REASONS = ("rationale", "risk")
_KEPT_CONTROLS = frozenset("\n\t")
_NO_TEXT = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode's categories of what cannot be seen: controls, marks of direction and joining, halves of characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an agent proposes, in good form, its values not yet judged."""

    overrides: Mapping[str, Json]
    rationale: str
    hypothesis: str
    risk: Risk
    rollback: str
    why_not_identical: str

    def suggestion(self, source: str) -> Suggestion:
        """Return it as what a proposer suggests."""
        return Suggestion(
            overrides=self.overrides,
            source=source,
            rationale=self.rationale,
            hypothesis=self.hypothesis,
            why_not_identical=self.why_not_identical,
            risk=self.risk,
            rollback=self.rollback,
        )


def read_answer(content: bytes) -> Answer:
    """Return what the document says; anything but exactly the known form raises `BadValue`."""
    document = _fields(content, _FIELDS)
    texts = {name: _text(name, document[name], most) for name, most in TEXTS.items()}
    return Answer(overrides=_overrides(document["overrides"]), risk=_risk(document["risk"]), **texts)


def read_reasons(content: bytes) -> tuple[str, Risk]:
    """Return why somebody made a patch and how much could break by it; anything else raises `BadValue`."""
    document = _fields(content, _REASONS)
    return _text("rationale", document["rationale"], TEXTS["rationale"]), _risk(document["risk"])


def clean(text: str) -> str:
    """Return the text without what a reader cannot see.

    Controls go, but tabs and line ends, and so do marks that turn or hide the text around them; every kind of line end
    becomes the plain one.
    """
    plain = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    return "".join(
        each for each in plain if each in _KEPT_CONTROLS or unicodedata.category(each) not in _NO_TEXT
    ).strip()


def unseen(text: str) -> Counter[str]:
    """Return how often each character is in a text that its reader cannot see, a line's plain end not counted.

    A carriage return within a line is one: a terminal writes over what stands before it.
    """
    return Counter(
        each
        for each in text.replace("\r\n", "\n")
        if each not in _KEPT_CONTROLS and unicodedata.category(each) in _NO_TEXT
    )


def schema() -> dict[str, Json]:
    """Return the form as JSON Schema, for agents that can be held to one."""
    texts: dict[str, Json] = {name: {"type": "string", "minLength": 1} for name in TEXTS}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(_FIELDS),
        "properties": {
            "overrides": {"type": "object", "additionalProperties": {"type": ["number", "string", "boolean"]}},
            **texts,
            "risk": {"type": "string", "enum": [risk.value for risk in Risk]},
        },
    }


def reasons_schema() -> dict[str, Json]:
    """Return the form of `read_reasons` as JSON Schema."""
    properties = schema()["properties"]
    assert isinstance(properties, dict), "the form of an answer has properties"
    return {**schema(), "required": list(_REASONS), "properties": {name: properties[name] for name in _REASONS}}


def _fields(content: bytes, known: Sequence[str]) -> dict[str, Json]:
    """Return a table that has each of the known fields, and no other."""
    document = _document(content)
    if not isinstance(document, dict):
        raise _refused(f"the answer is {_kind(document)} and not a table", "answer with one JSON object")
    unknown = sorted(document.keys() - set(known))
    if unknown:
        raise _refused(
            f"the answer has a field {_shown(unknown[0])}, which no proposal has", f"give {', '.join(known)} alone"
        )
    missing = [name for name in known if name not in document]
    if missing:
        raise _refused(f"the answer lacks {', '.join(missing)}", f"give each of {', '.join(known)}")
    return document


def _document(content: bytes) -> Json:
    if len(content) > ANSWER_BYTES_MAX:
        raise _refused(
            f"the answer has more than {ANSWER_BYTES_MAX} bytes", "answer with the change and its reasons alone"
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refused(
            f"the answer is no UTF-8 text: byte {error.start} is wrong", "write proposal.json as UTF-8"
        ) from None
    _refuse_depth(text)
    try:
        document: Json = json.loads(
            text,
            object_pairs_hook=_table,
            parse_constant=_refuse_constant,
            parse_float=_float,
            parse_int=_int,
        )
    except json.JSONDecodeError as error:
        raise _refused(
            f"the answer is not JSON: {error.msg} at line {error.lineno}, column {error.colno}",
            "write one JSON object into proposal.json, without a fence or a comment",
        ) from None
    return document


def _refuse_depth(text: str) -> None:
    """Count the brackets that are open at once, outside strings; the parser would go down with them."""
    depth, inside, escaped = 0, False, False
    for each in text:
        if inside:
            inside = escaped or each != '"'
            escaped = each == "\\" and not escaped
        elif each == '"':
            inside = True
        elif each in "[{":
            depth += 1
            if depth > DEPTH_MAX:
                raise _refused(f"the answer nests deeper than {DEPTH_MAX} levels", "give plain values in `overrides`")
        elif each in "]}":
            depth -= 1


def _table(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    table: dict[str, Json] = {}
    for name, value in pairs:
        if name in table:
            raise _refused(f"the answer gives {_shown(name)} twice", f"give {_shown(name)} once")
        table[name] = value
    return table


def _refuse_constant(name: str) -> Json:
    raise _refused(f"the answer has the value {name}, which is no number", "give a finite number")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _refused(f"the answer has the number {_shown(text)}, which no float can hold", "give a finite number")
    return number


def _int(text: str) -> int:
    if len(text) > DIGITS_MAX:
        raise _refused(f"the answer has an integer of {len(text)} digits", f"give at most {DIGITS_MAX} digits")
    return int(text)


def _overrides(value: Json) -> Mapping[str, Json]:
    if not isinstance(value, dict):
        raise _refused(f"`overrides` is {_kind(value)} and not a table", "give knobs with their new values")
    if len(value) > OVERRIDES_MAX:
        raise _refused(f"`overrides` has {len(value)} knobs", f"move at most {OVERRIDES_MAX}, and mostly one or two")
    for name, setting in value.items():
        if not name or len(name) > NAME_LENGTH_MAX or clean(name) != name:
            raise _refused(f"`overrides` names a knob {_shown(name)}", "name knobs as knobs.json does")
        if not isinstance(setting, bool | int | float | str):
            raise _refused(
                f"`overrides` sets {_shown(name)} to {_kind(setting)}", "give a number, a text, true or false"
            )
        if isinstance(setting, str) and (len(setting) > VALUE_LENGTH_MAX or clean(setting) != setting):
            raise _refused(
                f"`overrides` sets {_shown(name)} to a text that is too long or cannot be shown",
                f"give at most {VALUE_LENGTH_MAX} visible characters",
            )
    return value


def _text(name: str, value: Json, most: int) -> str:
    if not isinstance(value, str):
        raise _refused(f"`{name}` is {_kind(value)} and not a text", f"give `{name}` as a text")
    text = clean(value)
    if not text:
        raise _refused(f"`{name}` says nothing", f"say the {name.replace('_', ' ')} in a sentence")
    if len(text) > most:
        raise _refused(f"`{name}` has {len(text)} characters", f"say it in {most} at most")
    return text


def _risk(value: Json) -> Risk:
    for risk in Risk:
        if value == risk.value:
            return risk
    names = ", ".join(risk.value for risk in Risk)
    told = _shown(value) if isinstance(value, str) else _kind(value)
    raise _refused(f"`risk` is {told}, which is none of {names}", f"give one of {names}")


def _kind(value: Json) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "a table"


def _shown(text: str) -> str:
    """Return the text as a person may see it: cleaned, quoted, and cut."""
    plain = clean(text).replace("\n", " ").replace("\t", " ")
    return repr(plain if len(plain) <= SHOWN_MAX else f"{plain[:SHOWN_MAX]}…")


def _refused(why: str, mend: str) -> BadValue:
    return BadValue(why, fix=mend)
