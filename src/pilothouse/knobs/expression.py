"""Small arithmetic over knobs, as a campaign file writes it: `num_envs * horizon`, `minibatch_size divides batch_size`.

The language is read by hand and knows numbers, names and the operators below; there is no call, no attribute and no
way to run anything. Text, depth and numbers are bounded, and whatever is wrong is `BadValue`.

    condition := sum [("<" | "<=" | ">" | ">=" | "==" | "!=" | "divides") sum]
    sum       := term {("+" | "-") term}
    term      := factor {("*" | "/" | "//" | "%") factor}
    factor    := "-" factor | number | name | "(" sum ")"

A name is spelt as a knob is, with dots and dashes inside, so a minus between two names needs blanks around it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pilothouse.canonical import Json
from pilothouse.errors import BadValue

Number: TypeAlias = int | float

TEXT_MAX = 400
DEPTH_MAX = 20
NUMBER_MAX = 2**63
"""Larger than any knob or product of knobs that a training means; it keeps whole numbers short."""

EQUAL_WITHIN = 1e-9
"""Relative slack of a comparison with a float in it: 0.7 + 0.1 + 0.2 is not exactly 1 in binary, and was meant so."""

DIVIDES = "divides"
COMPARISONS = frozenset({"<", "<=", ">", ">=", "==", "!=", DIVIDES})
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![A-Za-z0-9_.])"
    r"|(?P<name>[A-Za-z][A-Za-z0-9_.-]*)|(?P<sign>//|<=|>=|==|!=|[-+*/%<>()]))"
)


@dataclass(frozen=True, slots=True)
class Literal:
    """A number that is written out."""

    value: Number


@dataclass(frozen=True, slots=True)
class Name:
    """A knob, or another setting of the config."""

    name: str


@dataclass(frozen=True, slots=True)
class Negation:
    """Minus something."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Operation:
    """Two operands and what joins them."""

    sign: str
    left: Node
    right: Node


Node: TypeAlias = Literal | Name | Negation | Operation


@dataclass(frozen=True, slots=True)
class Expression:
    """A text that was read: its tree, and the names in it in the order of the text."""

    text: str
    root: Node
    names: tuple[str, ...]

    def is_condition(self) -> bool:
        """Whether it holds or does not, rather than being a number."""
        return isinstance(self.root, Operation) and self.root.sign in COMPARISONS


def parse(text: str) -> Expression:
    """Return the expression that the text spells."""
    if len(text) > TEXT_MAX:
        raise BadValue(
            f"an expression has {len(text)} characters, at most {TEXT_MAX} are read: {text[:40]!r}…",
            fix="write it shorter, or split it into several",
        )
    reader = _Reader(text)
    root = reader.condition()
    reader.end()
    return Expression(text=" ".join(text.split()), root=root, names=tuple(dict.fromkeys(_names(root))))


def value_of(expression: Expression, config: Mapping[str, Json]) -> Number:
    """Return what the expression comes to with the config's values."""
    if expression.is_condition():
        raise BadValue(f"{expression.text!r} is a condition, not a value", fix="write a sum or a product there")
    return _value(expression.root, config, expression.text)


def holds(expression: Expression, config: Mapping[str, Json]) -> bool:
    """Return whether the condition is true of the config's values."""
    sign, left, right = sides(expression, config)
    if sign == DIVIDES:
        first, second = _whole(left, sign, expression.text), _whole(right, sign, expression.text)
        return second % _not_zero(first, expression.text) == 0
    return _compare(sign, left, right)


def sides(expression: Expression, config: Mapping[str, Json]) -> tuple[str, Number, Number]:
    """Return what a condition compares, and by which sign."""
    if not expression.is_condition():
        raise BadValue(
            f"{expression.text!r} is a value, not a condition",
            fix=f"compare it with something, by one of {' '.join(sorted(COMPARISONS))}",
        )
    assert isinstance(expression.root, Operation), "a condition is an operation"
    left = _value(expression.root.left, config, expression.text)
    return expression.root.sign, left, _value(expression.root.right, config, expression.text)


def spell(node: Node) -> str:
    """Return a part of an expression as text, with parentheses around what is calculated first."""
    match node:
        case Literal():
            return str(node.value)
        case Name():
            return node.name
        case Negation():
            return f"-{_spell_inside(node.operand)}"
        case Operation():
            return f"{_spell_inside(node.left)} {node.sign} {_spell_inside(node.right)}"


def _spell_inside(node: Node) -> str:
    return f"({spell(node)})" if isinstance(node, Operation) else spell(node)


class _Reader:
    """Reads the grammar above from left to right, one word ahead."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self._depth = 0
        self._kind = ""
        self._word = ""
        self._advance()

    def condition(self) -> Node:
        left = self.sum()
        if self._word not in COMPARISONS:
            return left
        sign = self._take()
        return Operation(sign, left, self.sum())

    def sum(self) -> Node:
        left = self.term()
        while self._kind == "sign" and self._word in {"+", "-"}:
            left = Operation(self._take(), left, self.term())
        return left

    def term(self) -> Node:
        left = self.factor()
        while self._kind == "sign" and self._word in {"*", "/", "//", "%"}:
            left = Operation(self._take(), left, self.factor())
        return left

    def factor(self) -> Node:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self._refusal(f"it is nested deeper than {DEPTH_MAX}")
        found = self._factor()
        self._depth -= 1
        return found

    def end(self) -> None:
        if self._kind:
            raise self._refusal(f"{self._word!r} is left over")

    def _factor(self) -> Node:
        kind, word = self._kind, self._word
        if kind == "number":
            return Literal(self._number(self._take()))
        if kind == "name" and word != DIVIDES:
            return Name(self._take())
        if word == "-":
            self._take()
            return Negation(self.factor())
        if word == "(":
            self._take()
            inner = self.sum()
            if self._word != ")":
                raise self._refusal("a parenthesis is not closed")
            self._take()
            return inner
        raise self._refusal(f"a number or a name is missing before {word!r}" if kind else "it ends too early")

    def _number(self, word: str) -> Number:
        value = int(word) if word.isdigit() else float(word)
        if not abs(value) <= NUMBER_MAX:
            raise self._refusal(f"the number {word} is too large")
        return value

    def _take(self) -> str:
        word = self._word
        self._advance()
        return word

    def _advance(self) -> None:
        rest = self._text[self._place :]
        if not rest.strip():
            self._kind, self._word = "", ""
            return
        match = _TOKEN.match(rest)
        if match is None or match.lastgroup is None:
            raise self._refusal(f"{rest.strip()[:20]!r} cannot be read")
        self._kind, self._word = match.lastgroup, match[match.lastgroup]
        self._place += match.end()

    def _refusal(self, why: str) -> BadValue:
        return BadValue(
            f"the expression {self._text!r} cannot be read: {why}",
            fix=f"write numbers, names of knobs, + - * / // % ( ), and one of {' '.join(sorted(COMPARISONS))}",
        )


def _names(node: Node) -> list[str]:
    match node:
        case Literal():
            return []
        case Name():
            return [node.name]
        case Negation():
            return _names(node.operand)
        case Operation():
            return _names(node.left) + _names(node.right)


def _value(node: Node, config: Mapping[str, Json], text: str) -> Number:
    match node:
        case Literal():
            return node.value
        case Name():
            return _bounded(_setting(node.name, config, text), text)
        case Negation():
            return -_value(node.operand, config, text)
        case Operation():
            left, right = _value(node.left, config, text), _value(node.right, config, text)
            return _bounded(_calculate(node.sign, left, right, text), text)


def _setting(name: str, config: Mapping[str, Json], text: str) -> Number:
    if name not in config:
        dashed = "; a minus between two names needs blanks around it" if "-" in name else ""
        raise BadValue(
            f"{text!r} names {name!r}, which the config does not have{dashed}",
            fix=f"name one of {', '.join(sorted(config)) or 'the knobs, of which there are none'}",
        )
    value = config[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValue(
            f"{text!r} calculates with {name}, which is {value!r} and no number", fix="calculate with numbers only"
        )
    return value


def _calculate(sign: str, left: Number, right: Number, text: str) -> Number:
    match sign:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            return left / _not_zero(right, text)
        case "//":
            return _whole(left, sign, text) // _not_zero(_whole(right, sign, text), text)
        case _:
            return _whole(left, sign, text) % _not_zero(_whole(right, sign, text), text)


def _compare(sign: str, left: Number, right: Number) -> bool:
    exact = isinstance(left, int) and isinstance(right, int)
    equal = left == right if exact else math.isclose(left, right, rel_tol=EQUAL_WITHIN)
    match sign:
        case "==":
            return equal
        case "!=":
            return not equal
        case "<":
            return left < right and not equal
        case "<=":
            return left <= right or equal
        case ">":
            return left > right and not equal
        case _:
            return left >= right or equal


def _bounded(value: Number, text: str) -> Number:
    if not abs(value) <= NUMBER_MAX:
        raise BadValue(
            f"{text!r} comes to a number beyond {NUMBER_MAX:.3g}, or to none",
            fix="check the knobs in it: no training means that",
        )
    return value


def _not_zero(value: Number, text: str) -> Number:
    if value == 0:
        raise BadValue(f"{text!r} divides by zero", fix="keep what it divides by above 0, by the knob's min")
    return value


def _whole(value: Number, sign: str, text: str) -> int:
    if not isinstance(value, int):
        raise BadValue(
            f"{text!r} wants whole numbers for {sign}, and got {value!r}", fix="make the knobs in it int, or use /"
        )
    return value
