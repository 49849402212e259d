"""The arguments that a script declares by a dataclass, by the signature of a function, or by Click's decorators."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from pilothouse.canonical import Json
from pilothouse.scripts.argument import Argument, Kind, Line, Reading, ScriptUnreadable
from pilothouse.scripts.literals import Constants, Known, Unknown

_KINDS = {"float": Kind.FLOAT, "int": Kind.INT, "bool": Kind.BOOL, "str": Kind.TEXT, "Path": Kind.TEXT}
_DASHED_CLASS = frozenset({"cli"})
"""Readers of a dataclass that write dashes and pairs, such as `tyro.cli`."""
_PLAIN_CLASS = frozenset({"HfArgumentParser", "parse"})
_KIT = frozenset({"read_options"})
_FUNCTIONS = frozenset({"run", "CLI", "auto_cli"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manner:
    """How a library writes its options."""

    by: str
    dashes: bool = False
    pairs: bool = False
    line: Line = Line.OPTIONS


def read_declared(tree: ast.Module, *, script: str) -> Reading | None:
    """Return the arguments, None where the script declares none in any of these ways.

    Raises ScriptUnreadable for several commands in one script.
    """
    return _by_class(tree) or _by_function(tree, script=script)


def uses_kit(tree: ast.Module) -> bool:
    """Return whether the script imports the kit for training programs."""
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return any(module.split(".")[0] == "pilothouse" for module in modules)


def read_keys(tree: ast.Module) -> Reading | None:
    """Return the names that a script takes out of `run.config`; it states no defaults."""
    names: dict[str, int] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=ast.Attribute(attr="config"), slice=ast.Constant(value=str(name))):
                names.setdefault(name, node.lineno)
    arguments = tuple(
        Argument(name=name, option="", kind=Kind.FLOAT, required=True, line=line) for name, line in names.items()
    )
    return Reading(arguments=arguments, by="run.config", line=Line.CONFIG) if arguments else None


def _by_class(tree: ast.Module) -> Reading | None:
    classes = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    constants = Constants(tree)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        manner = _manner_of(_called(call))
        if manner is None or not call.args:
            continue
        first = call.args[0]
        named = [each.id for each in [first, *constants.items(first)] if isinstance(each, ast.Name)]
        fields = [
            argument for name in named if name in classes for argument in _fields(classes[name], manner, constants)
        ]
        if fields:
            return Reading(arguments=tuple(fields), by=manner.by, line=manner.line)
    return None


def _manner_of(called: str) -> _Manner | None:
    if called in _KIT:
        return _Manner(by="read_options", line=Line.CONFIG)
    if called in _DASHED_CLASS:
        return _Manner(by="a dataclass", dashes=True, pairs=True)
    return _Manner(by="a dataclass") if called in _PLAIN_CLASS else None


def _fields(node: ast.ClassDef, manner: _Manner, constants: Constants) -> Iterator[Argument]:
    for statement in node.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
                yield _declared(name, annotation, value, manner, constants, line=statement.lineno)


def _by_function(tree: ast.Module, *, script: str) -> Reading | None:
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    constants = Constants(tree)
    commands = [each for each in functions.values() if any(_called(mark) == "command" for mark in each.decorator_list)]
    clicked = [each for each in functions.values() if any(_called(mark) == "option" for mark in each.decorator_list)]
    if len(commands) > 1:
        named = ", ".join(each.name for each in commands)
        raise ScriptUnreadable(
            f"{script} has several commands ({named}), each with arguments of its own.",
            fix=f"say which one: pilothouse init --run-help --command 'python {script} COMMAND'",
        )
    if clicked:
        marks = [each for each in clicked[0].decorator_list if isinstance(each, ast.Call) and _called(each) == "option"]
        return Reading(arguments=tuple(_click_option(each, constants) for each in marks), by="Click")
    if commands:
        return _signature(commands[0], _Manner(by="Typer", dashes=True, pairs=True), constants)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        match call.args:
            case [ast.Name(id=name), *_] if name in functions and _called(call) in _FUNCTIONS:
                typer = _called(call) == "run"
                manner = _Manner(by="Typer" if typer else "a signature", dashes=typer, pairs=typer)
                return _signature(functions[name], manner, constants)
    return None


def _signature(node: ast.FunctionDef, manner: _Manner, constants: Constants) -> Reading | None:
    given = [*node.args.posonlyargs, *node.args.args]
    values: list[ast.expr | None] = [None] * (len(given) - len(node.args.defaults)) + list(node.args.defaults)
    pairs = [*zip(given, values, strict=True), *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]
    told = tuple(
        _declared(each.arg, each.annotation, value, manner, constants, line=each.lineno) for each, value in pairs
    )
    return Reading(arguments=told, by=manner.by) if told else None


def _declared(
    name: str,
    annotation: ast.expr | None,
    value: ast.expr | None,
    manner: _Manner,
    constants: Constants,
    *,
    line: int,
) -> Argument:
    """Return the argument that a name with its annotation and its default declares."""
    hint, marks = _hint(annotation)
    calls = [each for each in [*marks, value] if isinstance(each, ast.Call)]
    default, low, high, choices = _stated(value, constants)
    kind = _KINDS.get(hint)
    helps = [constants.value(word.value) for call in calls for word in call.keywords if word.arg == "help"]
    option = "--" + (name.replace("_", "-") if manner.dashes else name)
    if kind is Kind.BOOL and manner.pairs:
        option = f"{option}/--no-{option[2:]}"
    trouble = "" if kind is not None else f"its type {hint or 'is not stated'} is not one that is known here"
    if isinstance(default, Unknown):
        trouble, default = trouble or "its default is not in the text", None
    if kind is Kind.FLOAT and isinstance(default, int) and not isinstance(default, bool):
        default = float(default)
    return Argument(
        name=name,
        option=option,
        kind=kind or Kind.TEXT,
        default=default,
        choices=choices,
        required=value is None,
        help=next((each for each in helps if isinstance(each, str)), ""),
        line=line,
        low=low,
        high=high,
        trouble=trouble,
    )


def _hint(annotation: ast.expr | None) -> tuple[str, list[ast.expr]]:
    """Return the plain type and what `Annotated` adds to it; `X | None` is X."""
    match annotation:
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, *marks])):
            return _hint(inner)[0], marks
        case ast.BinOp(left=inner, op=ast.BitOr(), right=ast.Constant(value=None)):
            return _hint(inner)
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return _hint(inner)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name, []
        case _:
            return "", []


def _stated(value: ast.expr | None, constants: Constants) -> tuple[Known, float | None, float | None, tuple[str, ...]]:
    """Return the default with the range and the choices that the script states beside it."""
    match value:
        case ast.Call(args=args, keywords=keywords):
            words = {word.arg: constants.value(word.value) for word in keywords if word.arg is not None}
            first = constants.value(args[0]) if args else words.get("default")
            low, high = (_number(words.get(name)) for name in ("low", "high"))
            if _called(value) == "chosen":
                texts = [constants.value(each) for each in args]
                return first, None, None, tuple(text for text in texts if isinstance(text, str))
            return first, low, high, ()
        case _:
            return constants.value(value), None, None, ()


def _number(value: Known) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _click_option(call: ast.Call, constants: Constants) -> Argument:
    names = [text for each in call.args if isinstance(text := constants.value(each), str)]
    long = next((name for name in names if name.startswith("--")), names[0] if names else "--")
    words = {word.arg: word.value for word in call.keywords if word.arg is not None}
    default = constants.value(words["default"]) if "default" in words else None
    stated = words.get("type")
    choices = constants.texts(stated.args[0]) if isinstance(stated, ast.Call) and stated.args else ()
    kind = _KINDS.get(_hint(stated)[0], Kind.TEXT)
    if "type" not in words and not isinstance(default, Unknown):
        kind = _kind_of(default)
    flag = constants.value(words["is_flag"]) is True if "is_flag" in words else False
    if "/" in long or flag:
        kind, long = Kind.BOOL, long if "/" in long else f"{long}/"
    text = constants.value(words["help"]) if "help" in words else ""
    multiple = "multiple" in words or "nargs" in words
    usable: Json = None if isinstance(default, Unknown) else default
    return Argument(
        name=long.partition("/")[0].lstrip("-").replace("-", "_"),
        option=long,
        kind=kind,
        default=(usable if usable is not None else False) if kind is Kind.BOOL else usable,
        choices=choices,
        required="required" in words and constants.value(words["required"]) is True,
        help=text if isinstance(text, str) else "",
        line=call.lineno,
        trouble="it takes several values" if multiple else "",
    )


def _kind_of(default: Json) -> Kind:
    for kind, python in ((Kind.BOOL, bool), (Kind.INT, int), (Kind.FLOAT, float)):
        if isinstance(default, python):
            return kind
    return Kind.TEXT


def _called(node: ast.expr) -> str:
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) | ast.Attribute(attr=name):
            return name
        case _:
            return ""
