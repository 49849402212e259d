"""The arguments that a script declares to argparse, read from its text; the script is not run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from pilothouse.canonical import Json
from pilothouse.scripts.argument import Argument, Kind, Reading, ScriptUnreadable
from pilothouse.scripts.literals import UNKNOWN, Constants, Known, Unknown

_ELSEWHERE = (
    "name the file that declares them and give the real start with --command, or let the program tell by --run-help"
)
_KINDS = {"float": Kind.FLOAT, "int": Kind.INT, "str": Kind.TEXT, "Path": Kind.TEXT, "PurePath": Kind.TEXT}
_FLAGS = {"store_true": "{}/", "store_false": "/{}", "BooleanOptionalAction": "{}/--no-{}"}
_NOT_ARGUMENTS = frozenset({"help", "version"})


def read_argparse(tree: ast.Module, *, script: str) -> Reading:
    """Return the arguments in the order of the text; what it does not tell is noted.

    Raises ScriptUnreadable for a script with subcommands, and for one that declares nothing here.
    """
    calls = sorted(_calls(tree, "add_argument"), key=lambda call: (call.lineno, call.col_offset))
    subcommands = [_first_text(call) for call in _calls(tree, "add_parser")]
    if subcommands or any(_calls(tree, "add_subparsers")):
        named = ", ".join(name for name in subcommands if name) or "several"
        raise ScriptUnreadable(
            f"{script} has subcommands ({named}), each with arguments of its own.",
            fix=f"say which one: pilothouse init --run-help --command 'python {script} SUBCOMMAND'",
        )
    if not calls:
        raise ScriptUnreadable(f"{script} declares no arguments: it has no call of add_argument.", fix=_ELSEWHERE)
    constants = Constants(tree)
    defaults = _set_defaults(tree, constants)
    found: dict[str, Argument] = {}
    notes: list[str] = []
    for call in calls:
        argument = _argument(call, constants)
        if argument is None:
            notes.append(f"line {call.lineno}: an argument whose name only running the script would tell")
        elif argument.name in found:
            found[argument.name] = _joined(found[argument.name], argument)
        else:
            found[argument.name] = argument
    told = [_with_default(each, defaults[each.name]) if each.name in defaults else each for each in found.values()]
    if not told and notes:
        raise ScriptUnreadable(
            f"{script} declares its arguments in a way that its text does not tell ({notes[0]}).", fix=_ELSEWHERE
        )
    arguments = tuple(each for each in told if each.trouble not in _NOT_ARGUMENTS)
    return Reading(arguments=arguments, by="argparse", notes=tuple(notes))


def _calls(tree: ast.AST, attribute: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=found)) if found == attribute:
                yield node


def _first_text(call: ast.Call) -> str:
    match call.args:
        case [ast.Constant(value=str(text)), *_]:
            return text
        case _:
            return ""


def _set_defaults(tree: ast.Module, constants: Constants) -> dict[str, Known]:
    """Return what `set_defaults` says, the last word counting."""
    return {
        keyword.arg: constants.value(keyword.value)
        for call in _calls(tree, "set_defaults")
        for keyword in call.keywords
        if keyword.arg is not None
    }


def _argument(call: ast.Call, constants: Constants) -> Argument | None:
    """Return the argument that one call declares, None where its name is not in the text."""
    names = [constants.value(each) for each in call.args]
    options = [name for name in names if isinstance(name, str) and name]
    if len(options) < len(names) or not options:
        return None
    given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None}
    long = next((option for option in options if option.startswith("--")), options[0])
    stated = constants.value(given["dest"]) if "dest" in given else None
    name = stated if isinstance(stated, str) else long.lstrip("-").replace("-", "_")
    help_text = constants.value(given.get("help"))
    base = Argument(
        name=name,
        option=long if long.startswith("-") else "",
        kind=Kind.TEXT,
        required=constants.value(given.get("required")) is True or not long.startswith("-"),
        help=help_text if isinstance(help_text, str) else "",
        line=call.lineno,
        trouble="some of it is handed over by **, which its text does not tell" if _starred(call) else "",
    )
    return _typed(base, given, constants)


def _starred(call: ast.Call) -> bool:
    return any(keyword.arg is None for keyword in call.keywords)


def _typed(base: Argument, given: Mapping[str, ast.expr], constants: Constants) -> Argument:
    """Return the argument with its kind, choices and default."""
    default: Known = constants.value(given["default"]) if "default" in given else None
    action = _name_of(given.get("action"))
    if action in _FLAGS:
        bare = base.option.lstrip("-")
        option = _FLAGS[action].format(base.option, bare)
        usual = {"store_true": False, "store_false": True}.get(action)
        chosen = default if default is not None else usual
        return _with_default(replace(base, kind=Kind.BOOL, option=option), chosen)
    if action in _NOT_ARGUMENTS:
        return replace(base, trouble=action)
    if action not in {"", "store"}:
        return replace(base, trouble=f"its action is {action}")
    kind, trouble = _kind(given.get("type"), default)
    nargs = constants.value(given.get("nargs"))
    many = nargs in {"+", "*"} or (isinstance(nargs, int) and not isinstance(nargs, bool))
    choices = constants.texts(given.get("choices"))
    if "choices" in given and not choices:
        trouble = trouble or "its choices are not in the text"
    typed = replace(base, kind=kind, many=many, choices=choices, trouble=base.trouble or trouble)
    return _with_default(typed, default)


def _name_of(node: ast.expr | None) -> str:
    match node:
        case ast.Constant(value=str(name)) | ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case None:
            return ""
        case _:
            return "one that only running the script would tell"


def _kind(node: ast.expr | None, default: Known) -> tuple[Kind, str]:
    """Return what the argument takes, and why it is better left alone if that is so."""
    name = _name_of(node)
    if name in _KINDS:
        return _KINDS[name], ""
    if name == "bool":
        return Kind.BOOL, "type=bool takes any text for true, 'False' as well"
    if not name:
        plain = default is None or isinstance(default, str | list | Unknown)
        return Kind.TEXT, "" if plain else f"its default {default!r} is no text, and it has no type"
    for word, kind in (("bool", Kind.BOOL), ("float", Kind.FLOAT), ("int", Kind.INT)):
        if re.search(rf"(^|_){word}|2{word}", name.lower()):
            return kind, ""
    return Kind.TEXT, f"its type {name} cannot be told without running the script"


def _with_default(argument: Argument, default: Known) -> Argument:
    """Return the argument with its default as its kind has it; one that cannot be read is left to the script."""
    if default is None:
        return replace(argument, default=None)
    if isinstance(default, Unknown):
        return replace(argument, default=None, trouble=argument.trouble or "its default is not in the text")
    several = isinstance(default, list)
    read = [_as(argument.kind, each) for each in (default if isinstance(default, list) else [default])]
    values = [each for each in read if not isinstance(each, Unknown)]
    if len(values) < len(read) or several != argument.many:
        return replace(argument, default=None, trouble=argument.trouble or f"its default {default!r} fits not its type")
    return replace(argument, default=values if several else values[0])


def _as(kind: Kind, value: Json) -> Known:
    """Return a default as its kind has it; argparse itself reads a default that is a text."""
    try:
        match kind, value:
            case Kind.BOOL, bool():
                return value
            case Kind.FLOAT, int() | float() | str() if not isinstance(value, bool):
                return float(value)
            case Kind.INT, int() | float() | str() if not isinstance(value, bool) and float(value) == int(float(value)):
                return int(float(value))
            case Kind.TEXT, str():
                return value
            case _:
                return UNKNOWN
    except (ValueError, OverflowError):
        return UNKNOWN


def _joined(first: Argument, second: Argument) -> Argument:
    """Return two declarations of one name as one: the halves of a boolean find each other."""
    if not (first.kind is second.kind is Kind.BOOL and "/" in first.option and "/" in second.option):
        return first
    (yes, _, no), (other_yes, _, other_no) = first.option.partition("/"), second.option.partition("/")
    return replace(first, option=f"{yes or other_yes}/{no or other_no}")
