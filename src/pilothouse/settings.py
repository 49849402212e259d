"""The settings of an installation, and the only reader of the environment.

Each is taken from the first place that has it: the command line, `PILOTHOUSE_<NAME>`, `pilothouse.toml`,
`[tool.pilothouse]` in `pyproject.toml`, its default.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TypeGuard

from pilothouse.errors import BadValue

DEFAULT_HOME = ".pilothouse"
SECRETS = frozenset({"token", "enrolment_token", "github_token", "github_webhook_secret", "discord_webhook"})
"""Settings that no file of the project may hold: such files are committed."""


REQUESTS_PER_SECOND = 200.0
"""How often one person's token may ask a server; twice as often in a burst."""
FACTORY = "factory"
"""The one setting that is a table."""
PUBLISHING = "publishing"
"""The part of the settings that tells where letters go; its own parts are settings like any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactoryTable:
    """What a factory of this machine has: command words by engine, and capabilities beyond those that it finds."""

    engines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Publishing:
    """Where letters go beside the pages of the home, and who may approve there; files hold what is secret."""

    github_repository: str | None = None
    github_url: str | None = None
    github_approvers: str | None = None
    github_token_file: str | None = None
    github_token: str | None = field(default=None, repr=False)
    github_app: str | None = None
    github_installation: str | None = None
    github_app_key_file: str | None = None
    github_webhook_secret_file: str | None = None
    github_webhook_secret: str | None = field(default=None, repr=False)
    discord_webhook_file: str | None = None
    discord_webhook: str | None = field(default=None, repr=False)
    apprise_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the state lives, and whose it is; without a product, the workspace's only one is meant.

    `database` is the PostgreSQL to use in place of the home's own file. Without a `server`, the home's own is meant.
    """

    home: Path
    product: str | None
    database: str | None = field(default=None, repr=False)
    server: str | None = None
    token_file: str | None = None
    token: str | None = field(default=None, repr=False)
    enrolment_token: str | None = field(default=None, repr=False)
    requests_per_second: float = REQUESTS_PER_SECOND
    factory: FactoryTable = FactoryTable()
    publishing: Publishing = Publishing()


def load_settings(*, folder: Path, home: Path | None = None) -> Settings:
    """Return the settings for a process that works in `folder`."""
    return resolve(os.environ, _file_values(folder), folder=folder, home=home)  # noqa: TID251  the one reader


def search_path() -> str | None:
    """Return where this process looks for programs."""
    return os.environ.get("PATH")  # noqa: TID251  as load_settings


def environment() -> Mapping[str, str]:
    """Return a copy of this process's environment, for whoever passes named variables on."""
    return dict(os.environ)  # noqa: TID251  as load_settings


def resolve(
    environment: Mapping[str, str], file_values: Mapping[str, object], *, folder: Path, home: Path | None
) -> Settings:
    """Return the settings from these places; a relative home is taken from `folder`."""
    parts = [each.name for each in fields(Publishing)]
    known = {*(each.name for each in fields(Settings)), *parts} - {*SECRETS, FACTORY, PUBLISHING}
    for name, value in file_values.items():
        if name == FACTORY:
            continue
        if name not in known or not isinstance(value, str):
            raise BadValue(
                f"setting {name} = {value!r} is not known",
                fix=f"known settings are texts named {', '.join(sorted(known))}",
            )
    chosen = home or environment.get("PILOTHOUSE_HOME") or str(file_values.get("home", DEFAULT_HOME))

    def first(name: str) -> str | None:
        named = file_values.get(name)
        return environment.get(f"PILOTHOUSE_{name.upper()}") or (str(named) if named is not None else None)

    return Settings(
        home=(folder / chosen).absolute(),
        product=first("product"),
        database=first("database"),
        server=first("server"),
        token_file=first("token_file"),
        token=environment.get("PILOTHOUSE_TOKEN") or None,
        enrolment_token=environment.get("PILOTHOUSE_ENROLMENT_TOKEN") or None,
        requests_per_second=_rate(first("requests_per_second")),
        factory=_factory_table(file_values.get(FACTORY, {})),
        publishing=Publishing(
            **{
                name: (environment.get(f"PILOTHOUSE_{name.upper()}") or None) if name in SECRETS else first(name)
                for name in parts
            }
        ),
    )


def _rate(text: str | None) -> float:
    """Return the number that a text names; 0 stands for no limit."""
    try:
        value = REQUESTS_PER_SECOND if text is None else float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1e9:
        raise BadValue(
            f"requests_per_second is {text!r:.40}", fix='write a number such as "200", or "0" for as many as one likes'
        )
    return value


def _factory_table(value: object) -> FactoryTable:
    """Read `[factory]`: `capabilities`, and command words by name in `[factory.engines]`."""
    match value:
        case {**rest} if not rest.keys() - {"engines", "capabilities"}:
            engines, capabilities = rest.get("engines", {}), rest.get("capabilities", [])
        case _:
            raise BadValue(f"[factory] is {value!r}", fix="it may hold `capabilities` and the table `engines`")
    if not isinstance(engines, dict) or not all(_are_words(words) and words for words in engines.values()):
        raise BadValue(
            f"[factory.engines] is {engines!r}", fix='write each engine as a list of words: claude = ["claude", "-p"]'
        )
    if not _are_words(capabilities):
        raise BadValue(f"factory.capabilities is {capabilities!r}", fix='write a list of texts, such as ["disk:fast"]')
    return FactoryTable(
        engines={str(name): tuple(words) for name, words in engines.items()}, capabilities=tuple(capabilities)
    )


def _are_words(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _file_values(folder: Path) -> Mapping[str, object]:
    """Return the table of the first settings file in the folder, empty if there is none."""
    own, project = folder / "pilothouse.toml", folder / "pyproject.toml"
    if own.is_file():
        return _read(own)
    if project.is_file():
        tools = _read(project).get("tool", {})
        table = tools.get("pilothouse", {}) if isinstance(tools, dict) else {}
        return table if isinstance(table, dict) else {}
    return {}


def _read(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadValue(f"{path} could not be read: {error}", fix="mend the file, or take it away") from error
