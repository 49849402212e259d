"""Values that stand in a script's text: literals, constants of the module, and sums of them; nothing is run."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias, TypeGuard

from pilothouse.canonical import Json


class Unknown:
    """A value that only running the script would tell."""


UNKNOWN: Final = Unknown()
Known: TypeAlias = "Json | Unknown"

_SUMS: Final[Mapping[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}
_LARGEST_POWER = 64
_DEEPEST = 20


class Constants:
    """The constants of a module, by name: those that are assigned once, outside of any function."""

    def __init__(self, tree: ast.Module) -> None:
        self._nodes: dict[str, ast.expr | None] = {}
        for statement in tree.body:
            match statement:
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=value)
                    | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
                ):
                    self._nodes[name] = None if name in self._nodes else value

    def value(self, node: ast.expr | None, *, depth: int = 0) -> Known:
        """Return what the expression comes to, UNKNOWN where its text does not tell."""
        inner = depth + 1
        result: Known = UNKNOWN
        match node:
            case _ if depth > _DEEPEST:
                pass
            case ast.Constant(value=bool() | int() | float() | str() | None as value):
                result = value if not isinstance(value, float) or math.isfinite(value) else UNKNOWN
            case ast.Name(id=name) if (found := self._nodes.get(name)) is not None:
                result = self.value(found, depth=inner)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                number = self.value(operand, depth=inner)
                result = -number if isinstance(number, int | float) and not isinstance(number, bool) else UNKNOWN
            case ast.BinOp(left=left, op=sign, right=right):
                result = _sum(self.value(left, depth=inner), sign, self.value(right, depth=inner))
            case ast.Call(func=ast.Name(id="Path") | ast.Attribute(attr="Path"), args=[path]):
                result = self.value(path, depth=inner)
            case ast.List() | ast.Tuple() | ast.Set() | ast.Call() | ast.Dict():
                items = [self.value(item, depth=inner) for item in self.items(node, depth=inner)]
                known = [item for item in items if not isinstance(item, Unknown)]
                whole = len(known) == len(items) and (items or isinstance(node, ast.List))
                result = known if whole else UNKNOWN
            case _:
                pass
        return result

    def items(self, node: ast.expr | None, *, depth: int = 0) -> list[ast.expr]:
        """Return the members of a list that stands in the text, or the keys of a dictionary."""
        match node:
            case _ if depth > _DEEPEST:
                return []
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
                return items
            case ast.Dict(keys=keys):
                return [key for key in keys if key is not None]
            case ast.Name(id=name):
                return self.items(self._nodes.get(name), depth=depth + 1)
            case (
                ast.Call(func=ast.Name(id="list" | "sorted" | "tuple" | "set"), args=[inner, *_])
                | ast.Call(func=ast.Attribute(value=inner, attr="keys"))
            ):
                return self.items(inner, depth=depth + 1)
            case _:
                return []

    def texts(self, node: ast.expr | None) -> tuple[str, ...]:
        """Return the members of a list as texts, empty where any cannot be read."""
        values = [self.value(item) for item in self.items(node)]
        known = tuple(str(value) for value in values if isinstance(value, str | int | float))
        return known if len(known) == len(values) else ()


def _sum(left: Known, sign: ast.operator, right: Known) -> Known:
    calculate = _SUMS.get(type(sign))
    if calculate is None or not (_is_number(left) and _is_number(right)):
        return UNKNOWN
    if isinstance(sign, ast.Pow) and abs(right) > _LARGEST_POWER:
        return UNKNOWN
    try:
        result = calculate(left, right)
    except (ArithmeticError, ValueError):
        return UNKNOWN
    return result if not isinstance(result, complex) and math.isfinite(result) else UNKNOWN


def _is_number(value: Known) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
