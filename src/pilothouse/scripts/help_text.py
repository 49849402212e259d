"""The arguments that a program tells in its own `--help`: the forms of argparse, Click and Typer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pilothouse.canonical import Json
from pilothouse.scripts.argument import Argument, Kind, Reading, ScriptUnreadable

_FRAME = re.compile(r"[│┃|]\s?|\s*[│┃]$")
_ENTRY = re.compile(r"^\s{0,8}(?:\*\s+)?(-[^\s].*)$")
_OPTION = re.compile(r"(--?[A-Za-z][\w.-]*)(?:[ =]+(.*))?$")
_DEFAULT = re.compile(r"[(\[]default(?:s to|:|=)?\s*([^)\]]*)[)\]]", re.IGNORECASE)
_CHOICES = re.compile(r"[{\[<]([^{}\[\]<>]*[,|][^{}\[\]<>]*)[}\]>]")
_KINDS = {
    "float": Kind.FLOAT,
    "number": Kind.FLOAT,
    "double": Kind.FLOAT,
    "int": Kind.INT,
    "integer": Kind.INT,
    "boolean": Kind.BOOL,
    "bool": Kind.BOOL,
}
_SKIPPED = frozenset({"help", "version", "install_completion", "show_completion"})


def read_help(text: str, *, program: str) -> Reading:
    """Return the options that the text tells; raises ScriptUnreadable where it tells none."""
    found: dict[str, Argument] = {}
    for head, description in _entries(text):
        argument = _argument(head, description)
        if argument is not None and argument.name not in _SKIPPED:
            found.setdefault(argument.name, argument)
    if not found:
        raise ScriptUnreadable(
            f"The help of {program} tells no options.",
            fix="check that --command starts the right program and that it answers --help",
        )
    note = "read from --help, where a type shows only by its default"
    return Reading(arguments=tuple(found.values()), by="--help", notes=(note,))


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """Yield each option's head and its description, whose lines are joined."""
    head, description = "", ""
    for raw in text.splitlines():
        line = _FRAME.sub("", raw, count=1) if raw.lstrip()[:1] in {"│", "┃"} else raw
        line = re.sub(r"\s*[│┃]$", "", line).rstrip()
        entry = _ENTRY.match(line)
        if entry is not None:
            if head:
                yield head, description.strip()
            head, _, description = (part.strip() for part in re.sub(r" {2,}", "\0", entry[1], count=1).partition("\0"))
            continue
        if not line.strip() or not line.startswith(" "):
            if head:
                yield head, description.strip()
            head, description = "", ""
        else:
            description = f"{description} {line.strip()}"
    if head:
        yield head, description.strip()


def _argument(head: str, description: str) -> Argument | None:
    if "  " in description and description.split("  ", 1)[0].isupper():
        # Typer sets the type apart by blanks.
        kind_word, _, description = description.partition("  ")
        head = f"{head} {kind_word}"
    choices = _choices(head)
    bare = _CHOICES.sub("CHOICE", head)
    parts = [match for part in re.split(r",\s+|\s+/\s+|\s*/\s*(?=-)", bare) if (match := _OPTION.match(part.strip()))]
    if not parts:
        return None
    options = [match[1] for match in parts]
    long = next((option for option in options if option.startswith("--")), options[0])
    off = next((option for option in options if option.startswith("--no-") and option != long), "")
    metavar = next((match[2].strip() for match in parts if match[2]), "")
    return _typed(long, off, metavar, choices=choices, description=description)


def _choices(head: str) -> tuple[str, ...]:
    found = _CHOICES.search(head)
    return tuple(each.strip() for each in re.split(r"[,|]", found[1])) if found else ()


def _typed(long: str, off: str, metavar: str, *, choices: tuple[str, ...], description: str) -> Argument:
    name = long.lstrip("-").replace("-", "_")
    told = _DEFAULT.search(description)
    word = told[1].strip().strip("'\"") if told else ""
    help_text = _DEFAULT.sub("", description).strip()
    if not metavar and not choices:
        return Argument(
            name=name,
            option=f"{long}/{off}",
            kind=Kind.BOOL,
            default=word in {"True", "true", long[2:]},
            help=help_text,
        )
    many = metavar.endswith("...") or len(set(metavar.split())) < len(metavar.split()) or "[" in metavar
    kind = _KINDS.get(metavar.split(maxsplit=1)[0].lower() if metavar else "")
    default: Json = None
    if word and word.lower() not in {"none", "null"}:
        kind, default = _value(word, kind)
    return Argument(
        name=name,
        option=long,
        kind=Kind.TEXT if choices or kind is None else kind,
        default=word if choices and word else default,
        choices=choices,
        many=many,
        required="[required]" in description.lower(),
        help=help_text,
        trouble="it takes several values" if many else "",
    )


def _value(word: str, kind: Kind | None) -> tuple[Kind, Json]:
    """Return a default as its own form tells, or as the stated kind has it."""
    for wanted, read in ((Kind.INT, int), (Kind.FLOAT, float)):
        if kind in {None, wanted}:
            try:
                return wanted, read(word)
            except ValueError:
                continue
    if word in {"True", "False"} and kind in {None, Kind.BOOL}:
        return Kind.BOOL, word == "True"
    return Kind.TEXT, word
