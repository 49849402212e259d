"""How to call each agent: its words, the variables that hold its key, and how to read what it says of itself."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pilothouse.canonical import Json
from pilothouse.errors import NotFound
from pilothouse.propose.agent_record import Usage

ANSWER_FILE = "proposal.json"
INSTRUCTIONS = "INSTRUCTIONS.md"
SCHEMA = "proposal.schema.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a command line is made from: the two folders, the form of the answer, and the money that is left.

    `edits` are paths in the folder that the agent is to change; none where it only answers.
    """

    context: Path
    folder: Path
    schema: str
    cost_left_usd: float | None = None
    model: str = ""
    edits: tuple[str, ...] = ()

    @property
    def answer(self) -> str:
        """Where the answer belongs."""
        return str(self.folder / ANSWER_FILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One kind of agent.

    `variables` may pass from the environment besides the common ones. `network` says that it talks to a model.
    `prompted` gives the instructions on standard input. `answer` takes the answer out of the output, for agents that
    write no file; `usage` reads turns, tokens and cost.
    """

    name: str
    command: Callable[[Setting], Sequence[str]]
    variables: frozenset[str] = frozenset()
    network: bool = False
    prompted: bool = False
    usage: Callable[[bytes], Usage] = lambda _: Usage()
    answer: Callable[[bytes], bytes | None] = lambda _: None


def command(words: Sequence[str], *, network: bool = False, variables: frozenset[str] = frozenset()) -> Preset:
    """Return a preset that runs these words as they are; it finds its folders in the environment."""
    return Preset(name="command", command=lambda _: tuple(words), network=network, variables=variables)


def preset(name: str) -> Preset:
    """Return the preset of that name; an unknown one raises `NotFound`."""
    try:
        return PRESETS[name]
    except KeyError:
        raise NotFound(
            f"no agent is called {name!r}", fix=f"name one of {', '.join(sorted(PRESETS))}, or give a command"
        ) from None


def _codex(setting: Setting) -> Sequence[str]:
    """Return Codex's words; its own sandbox stays on, and standard input is the prompt."""
    rights = "workspace-write" if setting.edits else "read-only"
    words = ["codex", "exec", "--json", "--skip-git-repo-check", "--ephemeral", "--sandbox", rights]
    words += ["--output-schema", str(setting.context / SCHEMA), "--output-last-message", setting.answer]
    place = setting.folder if setting.edits else setting.context
    return [*words, *(["--model", setting.model] if setting.model else []), "--cd", str(place), "-"]


def _claude(setting: Setting) -> Sequence[str]:
    """Return Claude Code's words; it may read, and edit where it is asked to, and answers with its output."""
    tools = "Read,Glob,Grep,Edit" if setting.edits else "Read,Glob,Grep"
    mode = "acceptEdits" if setting.edits else "dontAsk"
    words = ["claude", "-p", "--output-format", "json", "--json-schema", setting.schema, "--max-turns", "40"]
    words += ["--permission-mode", mode, "--tools", tools, "--strict-mcp-config"]
    words += ["--add-dir", str(setting.context)]
    if setting.cost_left_usd is not None:
        words += ["--max-budget-usd", f"{setting.cost_left_usd:.4f}"]
    return [*words, *(["--model", setting.model] if setting.model else [])]


def _opencode(setting: Setting) -> Sequence[str]:
    """Return opencode's words; permissions inside are granted, since the whole process is confined."""
    words = ["opencode", "run", "--auto", "--format", "json"]
    words += ["--model", setting.model] if setting.model else []
    return [*words, f"Follow {setting.context / INSTRUCTIONS} and write {setting.answer}."]


def _aider(setting: Setting) -> Sequence[str]:
    """Return aider's words; it edits the files that it is given."""
    words = ["aider", "--message-file", str(setting.context / INSTRUCTIONS), "--no-auto-commits", "--no-git", "--yes"]
    words += ["--model", setting.model] if setting.model else []
    return [*words, setting.answer, *(str(setting.folder / each) for each in setting.edits)]


def _codex_usage(output: bytes) -> Usage:
    """Read Codex's lines of JSON: it tells tokens, and no money."""
    told, session = [], ""
    for line in _lines(output):
        match line.get("type"):
            case "thread.started":
                session = _text(line.get("thread_id"))
            case "turn.completed":
                told.append(_table(line.get("usage")))
            case _:
                continue
    if not told:
        return Usage(session=session)
    return Usage(
        turns=len(told),
        tokens_in=_sum(_count(each.get("input_tokens")) for each in told),
        tokens_cached=_sum(_count(each.get("cached_input_tokens")) for each in told),
        tokens_out=_sum(_count(each.get("output_tokens")) for each in told),
        session=session,
    )


def _claude_usage(output: bytes) -> Usage:
    told = _result(output)
    tokens = _table(told.get("usage"))
    return Usage(
        turns=_count(told.get("num_turns")),
        tokens_in=_count(tokens.get("input_tokens")),
        tokens_cached=_count(tokens.get("cache_read_input_tokens")),
        tokens_out=_count(tokens.get("output_tokens")),
        cost_usd=_money(told.get("total_cost_usd")),
        session=_text(told.get("session_id")),
    )


def _claude_answer(output: bytes) -> bytes | None:
    told = _result(output)
    if told.get("is_error") is True or "structured_output" not in told:
        return None
    return json.dumps(told["structured_output"]).encode("utf-8")


def _opencode_usage(output: bytes) -> Usage:
    """Read opencode's lines of JSON; a step without a cost makes the whole cost unknown."""
    steps = [_table(line.get("part")) for line in _lines(output) if line.get("type") == "step_finish"]
    if not steps:
        return Usage()
    costs = [_money(step.get("cost")) for step in steps]
    tokens = [_table(step.get("tokens")) for step in steps]
    return Usage(
        turns=len(steps),
        tokens_in=_sum(_count(each.get("input")) for each in tokens),
        tokens_cached=_sum(_count(_table(each.get("cache")).get("read")) for each in tokens),
        tokens_out=_sum(_count(each.get("output")) for each in tokens),
        cost_usd=None if None in costs else math.fsum(cost for cost in costs if cost is not None),
    )


PRESETS: Mapping[str, Preset] = {
    "codex": Preset(
        name="codex",
        command=_codex,
        variables=frozenset({"CODEX_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"}),
        network=True,
        prompted=True,
        usage=_codex_usage,
    ),
    "claude": Preset(
        name="claude",
        command=_claude,
        variables=frozenset({"ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "CLAUDE_CODE_OAUTH_TOKEN"}),
        network=True,
        prompted=True,
        usage=_claude_usage,
        answer=_claude_answer,
    ),
    "opencode": Preset(
        name="opencode",
        command=_opencode,
        variables=frozenset({"ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY"}),
        network=True,
        usage=_opencode_usage,
    ),
    "aider": Preset(
        name="aider",
        command=_aider,
        variables=frozenset({"ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY"}),
        network=True,
    ),
}


def _lines(output: bytes) -> Iterator[Mapping[str, Json]]:
    for line in output.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def _result(output: bytes) -> Mapping[str, Json]:
    """Return the last object that calls itself a result, or the only object there is."""
    found: Mapping[str, Json] = {}
    for value in _lines(output):
        if value.get("type") == "result" or not found:
            found = value
    if found:
        return found
    try:
        return _table(json.loads(output))
    except (ValueError, RecursionError):
        return {}


def _table(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def _text(value: Json) -> str:
    return value[:200] if isinstance(value, str) else ""


def _count(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None


def _money(value: Json) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 1e9 else None


def _sum(counts: Iterator[int | None]) -> int | None:
    """Return the sum, None where one of them is not known."""
    every = list(counts)
    known = [count for count in every if count is not None]
    return sum(known) if len(known) == len(every) else None
