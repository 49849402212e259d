"""How a job's config becomes words of its command, so that a program that reads arguments needs no change.

Two things are filled in when an attempt starts, for only then its folder is known. A word of the command may hold
`{seed}`, `{run_dir}`, `{config}` (the file), or the name of a value of the config; what it names so is not handed over
a second time. All other values follow as options, where the job says how options are written. `{arguments}`, as a word
of its own, tells where; without it they come last. `{{name}}` stands for the text `{name}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.knobs.config import nearest

ARGUMENTS = "{arguments}"
SEED, RUN_DIR, CONFIG = "seed", "run_dir", "config"
GIVEN = (SEED, RUN_DIR, CONFIG)
"""What every attempt has besides its values."""
_WORD = re.compile(r"\{\{([A-Za-z_][\w.-]*)\}\}|\{([A-Za-z_][\w.-]*)\}")
_KEY = re.compile(r"[A-Za-z0-9][\w.-]*")


class Style(StrEnum):
    """How an option and its value stand beside each other; `none`: values are not handed over as options."""

    NONE = "none"
    APART = "--key value"
    JOINED = "--key=value"


class Names(StrEnum):
    """How the name of an option is made from the key."""

    KEPT = "kept"
    DASHES = "dashes"
    UNDERSCORES = "underscores"


class Booleans(StrEnum):
    """How true and false are told: `--key true`, or `--key` and nothing, or `--key` and `--no-key`."""

    VALUE = "value"
    FLAG = "flag"
    PAIR = "pair"


class Lists(StrEnum):
    """How a list is told: `--key 1 2`, or `--key 1 --key 2`, or `--key 1,2`."""

    SPACES = "spaces"
    REPEATED = "repeated"
    COMMAS = "commas"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """How values are handed over. `spelled` says it for single keys.

    A spelling is the option, such as `--lr` or `-l`; of a boolean also both halves, such as `--amp/--no-amp`, of which
    one may be empty; an empty spelling keeps the key from the command line.
    """

    style: Style = Style.NONE
    names: Names = Names.KEPT
    booleans: Booleans = Booleans.VALUE
    lists: Lists = Lists.SPACES
    spelled: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Json]:
        """Return what `arguments_from_json` reads."""
        return {
            "style": self.style.value,
            "names": self.names.value,
            "booleans": self.booleans.value,
            "lists": self.lists.value,
            "spelled": dict(self.spelled),
        }


def arguments_from_json(value: Mapping[str, Json]) -> Arguments:
    """Read what `as_json` wrote; raises BadValue for anything else."""
    spelled = value.get("spelled")
    try:
        return Arguments(
            style=Style(str(value.get("style"))),
            names=Names(str(value.get("names"))),
            booleans=Booleans(str(value.get("booleans"))),
            lists=Lists(str(value.get("lists"))),
            spelled={key: str(text) for key, text in spelled.items()} if isinstance(spelled, Mapping) else {},
        )
    except ValueError as error:
        raise BadValue(f"The job's arguments cannot be read: {error}.", fix="use one version at both ends.") from error


def is_filled(command: Sequence[str]) -> bool:
    """Return whether a word of the command is more than itself."""
    return any(_WORD.search(word) for word in command)


def fill(
    command: Sequence[str],
    arguments: Arguments,
    *,
    config: Mapping[str, Json],
    seed: int,
    run_dir: str,
    config_file: str,
) -> tuple[str, ...]:
    """Return the command with its placeholders filled and the values that no placeholder names as options.

    Options stand in the order of their keys. Raises BadValue for a placeholder that names nothing, a value that cannot
    be told on a command line, and an option that would stand there twice.
    """
    known = {**config, SEED: seed, RUN_DIR: run_dir, CONFIG: config_file}
    named = {found for word in command for found in _named(word) if found not in GIVEN}
    rest = {key: value for key, value in config.items() if key not in named}
    _check_spelled(arguments, config)
    options = _options(rest, arguments) if arguments.style is not Style.NONE else []
    words: list[str] = []
    for word in command:
        if word == ARGUMENTS:
            words += options
        else:
            words.append(_filled(word, known))
    _check_once(words, options, placed=ARGUMENTS in command)
    return tuple(words if ARGUMENTS in command else [*words, *options])


def _named(word: str) -> Iterator[str]:
    """Yield the names of the placeholders in a word."""
    if word != ARGUMENTS:
        yield from (match[2] for match in _WORD.finditer(word) if match[2] is not None)


def _filled(word: str, known: Mapping[str, Json]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] is not None:
            return f"{{{match[1]}}}"
        name = match[2]
        if name not in known:
            close = nearest(name, known)
            meant = f"did you mean {{{close}}}? " if close else ""
            raise BadValue(
                f"the command's {word!r} names {{{name}}}, which is nothing that the program is given",
                fix=f"{meant}known are {_listed(known)}; write {{{{{name}}}}} for the text itself",
            )
        return _plain(name, known[name])

    return _WORD.sub(value, word)


def _listed(known: Mapping[str, Json]) -> str:
    own = sorted(name for name in known if name not in GIVEN and _WORD.fullmatch(f"{{{name}}}"))
    return ", ".join(f"{{{name}}}" for name in [*GIVEN, *own])


def _options(values: Mapping[str, Json], arguments: Arguments) -> list[str]:
    words: list[str] = []
    keys: dict[str, str] = {}
    for key, value in sorted(values.items()):
        told = _option(key, value, arguments)
        for option in {word.partition("=")[0] for word in told[:1]}:
            if option in keys:
                raise BadValue(
                    f"{keys[option]!r} and {key!r} are both written {option}", fix="give one of them a spelling"
                )
            keys[option] = key
        words += told
    return words


def _option(key: str, value: Json, arguments: Arguments) -> list[str]:
    spelling = arguments.spelled.get(key)
    if spelling == "":
        return []
    option = spelling if spelling is not None else _option_name(key, arguments.names)
    if isinstance(value, bool) and ("/" in option or arguments.booleans is not Booleans.VALUE):
        return _boolean(option, arguments.booleans, value=value)
    if "/" in option:
        raise BadValue(f"{key!r} is spelled {option!r}, but its value {value!r} is none of true and false", fix=_SPELL)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _list(key, option, value, arguments)
    return _pair(option, _plain(key, value), arguments.style)


_SPELL = 'write the option alone, such as spelled = { lr = "--learning-rate" }'


def _boolean(option: str, booleans: Booleans, *, value: bool) -> list[str]:
    """Return the half of the option that tells this truth, which may be none at all."""
    if "/" in option:
        yes, _, no = option.partition("/")
    else:
        yes, no = option, f"--no-{option.lstrip('-')}" if booleans is Booleans.PAIR else ""
    word = (yes if value else no).strip()
    return [word] if word else []


def _list(key: str, option: str, values: Sequence[Json], arguments: Arguments) -> list[str]:
    texts = [_plain(key, value) for value in values]
    if not texts:
        raise BadValue(f"{key!r} is an empty list, which no option can tell", fix="leave it out, or spell it as ''")
    if arguments.lists is Lists.COMMAS:
        return _pair(option, ",".join(texts), arguments.style)
    if arguments.lists is Lists.REPEATED:
        return [word for text in texts for word in _pair(option, text, arguments.style)]
    looks = next((text for text in texts if _looks_like_option(text)), None)
    if looks is not None:
        raise BadValue(
            f"{key!r} holds {looks!r}, which would be taken for an option", fix='set lists = "repeated" or "commas"'
        )
    return [option, *texts]


def _pair(option: str, text: str, style: Style) -> list[str]:
    """Return an option with its value; joined where the value would be taken for an option of its own."""
    if not option.startswith("--"):
        return [f"{option}{text}"] if _looks_like_option(text) else [option, text]
    return [f"{option}={text}"] if style is Style.JOINED or _looks_like_option(text) else [option, text]


def _looks_like_option(text: str) -> bool:
    return text.startswith("-")


def _option_name(key: str, names: Names) -> str:
    if not _KEY.fullmatch(key):
        raise BadValue(f"{key!r} is no name of an option", fix="rename the key, or give it a spelling in `spelled`")
    match names:
        case Names.DASHES:
            return "--" + key.replace("_", "-")
        case Names.UNDERSCORES:
            return "--" + key.replace("-", "_")
        case Names.KEPT:
            return "--" + key


def _plain(key: str, value: Json) -> str:
    """Return a value as one word; the numbers read back as themselves."""
    match value:
        case bool():
            return "true" if value else "false"
        case str() if "\0" not in value:
            return value
        case int() | float():
            return repr(value)
        case _:
            raise BadValue(f"{key!r} = {value!r} cannot stand in one word", fix="give it a text or a number")


def _check_spelled(arguments: Arguments, config: Mapping[str, Json]) -> None:
    for key, spelling in arguments.spelled.items():
        if key not in config:
            close = nearest(key, config)
            raise BadValue(
                f"spelled names {key!r}, which the program is not given",
                fix=f"did you mean {close!r}?" if close else f"known are {', '.join(sorted(config)) or 'none'}",
            )
        halves = [half.strip() for half in spelling.split("/")]
        if len(halves) > 2 or any(half and not re.fullmatch(r"--?[^\s=/-][^\s=/]*", half) for half in halves):
            raise BadValue(
                f"{key!r} is spelled {spelling!r}, which is no option", fix="begin it with one dash or two, no blanks"
            )


def _check_once(words: Sequence[str], options: Sequence[str], *, placed: bool) -> None:
    """Refuse an option that the command has already and that a value would bring again."""
    own = [word for word in words if word.startswith("-")]
    if placed:
        for option in options:
            own.remove(option) if option in own else None
    written = {word.partition("=")[0] for word in own}
    twice = next((word for word in options if word.startswith("--") and word.partition("=")[0] in written), None)
    if twice is not None:
        option = twice.partition("=")[0]
        raise BadValue(
            f"{option} stands in the command, and a value of the config would bring it again",
            fix="take it out of the command, or spell that value as ''",
        )
