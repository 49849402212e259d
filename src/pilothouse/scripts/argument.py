"""What a script can be told on its command line, whichever way that was found out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pilothouse.canonical import Json
from pilothouse.errors import UsageError


class ScriptUnreadable(UsageError):
    """A script whose arguments cannot be found out in this way."""


class Kind(StrEnum):
    """What values an argument takes."""

    FLOAT = "float"
    INT = "int"
    BOOL = "bool"
    TEXT = "text"


class Line(StrEnum):
    """How a script is handed its values: as options, or, where it uses the kit, in config.json alone."""

    OPTIONS = "options"
    CONFIG = "config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument. `default` is None where it has none, or none that can be read.

    `option` is how it is written, `--lr`; of a boolean that takes no value both halves, `--amp/--no-amp`, of which one
    may be empty; empty for a positional argument. `low` and `high` are stated by the script itself. `trouble` tells why
    it cannot be handed over, and is empty where it can.
    """

    name: str
    option: str
    kind: Kind
    default: Json = None
    choices: tuple[str, ...] = ()
    many: bool = False
    required: bool = False
    help: str = ""
    line: int = 0
    low: float | None = None
    high: float | None = None
    trouble: str = ""

    def as_json(self) -> dict[str, Json]:
        """Return the argument as JSON values."""
        return {
            "name": self.name,
            "option": self.option,
            "kind": self.kind.value,
            "default": self.default,
            "choices": list(self.choices),
            "many": self.many,
            "required": self.required,
            "help": self.help,
            "line": self.line,
            "trouble": self.trouble,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was found out about a script; `notes` tell what could not be. `by` names the way."""

    arguments: tuple[Argument, ...]
    by: str
    line: Line = Line.OPTIONS
    notes: tuple[str, ...] = ()
