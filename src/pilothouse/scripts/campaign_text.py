"""The campaign file that is written for a script: commented, with every guess marked as one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pilothouse.canonical import Json
from pilothouse.scripts.argument import Argument, Kind, Line, Reading
from pilothouse.scripts.guess import Guess, Role, guess, suggestion
from pilothouse.scripts.metrics import FoundMetric

FILL_IN = "FILL_IN"
"""Stands where only a person knows what to write; a file with it is refused."""
_COMMENT_MOST = 96
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_COLUMN = 26
_GUARDS_MOST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a campaign file is written from. `file` is its own name, `name` the campaign's."""

    file: str
    name: str
    command: tuple[str, ...]
    reading: Reading
    metrics: tuple[FoundMetric, ...]

    def guesses(self) -> list[tuple[Argument, Guess]]:
        """Return every argument with what it is taken for."""
        return [(each, _nameable(each, guess(each))) for each in self.reading.arguments]


def campaign_text(draft: Draft) -> str:
    """Return the file's text."""
    guesses = draft.guesses()
    parts = [
        _head(draft),
        _trainer(draft, guesses),
        *_arguments(draft, guesses),
        *_config(guesses),
        *_knobs(guesses),
        _metrics(draft),
        _TAIL,
    ]
    return "\n".join(parts)


def _nameable(argument: Argument, found: Guess) -> Guess:
    """Return the guess, or that the argument is left to the script because the file could not name it."""
    if _KEY.fullmatch(argument.name):
        return found
    return Guess(role=Role.LEFT, why=f"{argument.name!r} is no name for a value")


def _head(draft: Draft) -> str:
    lines = [
        f"# Written by `pilothouse init` for {_comment(' '.join(draft.command))}",
        f"# What the script takes was read from {draft.reading.by}. What a value is for, and how far it may move,",
        "# is guessed by its name and its default, and marked GUESS. Read it, then:",
        f"#     pilothouse campaign check {draft.file}",
        f"#     pilothouse campaign calibrate {draft.file}      # how many seeds a difference needs",
        f"#     pilothouse campaign run {draft.file} --iterations 5",
        *(f"# Not understood: {_comment(note)}" for note in draft.reading.notes),
        "[campaign]",
        f"name = {_text(draft.name)}",
        'kind = "autopilot"',
        'goal = ""                  # one sentence for the logbook',
        "",
    ]
    return "\n".join(lines)


def _trainer(draft: Draft, guesses: Sequence[tuple[Argument, Guess]]) -> str:
    words = list(draft.command)
    for argument, found in guesses:
        words += _handed(argument, found) if draft.reading.line is Line.OPTIONS else []
    folder = any(found.role in {Role.RUN_FOLDER, Role.RUN_FILE} for _, found in guesses)
    lines = ["[trainer]", f"command = {_list(words)}"]
    if draft.reading.line is Line.OPTIONS and not folder:
        lines += [
            "# GUESS: no argument looks like the folder for results. Let the script write summary.json into the",
            "# folder that the variable PILOTHOUSE_RUN_DIR names, or hand that over as {run_dir} in the command above.",
        ]
    if draft.reading.line is Line.OPTIONS and not any(found.role is Role.SEED for _, found in guesses):
        lines += [
            "# GUESS: no argument looks like the seed. Without one, runs are all alike or differ beyond control: let",
            '# the script take one, and hand it over as "--seed", "{seed}" in the command above.',
        ]
    lines += ['timeout = "2h"             # GUESS: how long one run may take at most', ""]
    return "\n".join(lines)


def _handed(argument: Argument, found: Guess) -> list[str]:
    """Return the words of the command that hand over what belongs to every run."""
    option = [argument.option] if argument.option else []
    match found.role:
        case Role.SEED:
            return [*option, "{seed}"]
        case Role.RUN_FOLDER:
            return [*option, "{run_dir}"]
        case Role.RUN_FILE:
            name = str(argument.default).rpartition("/")[2] if argument.default else "summary.json"
            return [*option, f"{{run_dir}}/{name}"]
        case _ if not argument.option and _is_given(found):
            return [f"{{{argument.name}}}"]
        case _:
            return []


def _is_given(found: Guess) -> bool:
    return found.role in {Role.KNOB, Role.MAYBE, Role.FIXED, Role.MISSING}


def _arguments(draft: Draft, guesses: Sequence[tuple[Argument, Guess]]) -> Iterator[str]:
    if draft.reading.line is not Line.OPTIONS:
        return
    given = [argument for argument, found in guesses if _is_given(found) and argument.option]
    names = max(("kept", "dashes"), key=lambda each: sum(_usual(argument, each) for argument in given))
    booleans = _booleans(given, names)
    spelled = {each.name: each.option for each in given if not _follows(each, names, booleans)}
    yield "[trainer.arguments]        # every value below is an option of the command"
    yield 'style = "--key value"'
    if names != "kept":
        yield f"names = {_text(names)}"
    if booleans != "value":
        yield f"booleans = {_text(booleans)}"
    if spelled:
        inner = ", ".join(f"{key} = {_text(option)}" for key, option in spelled.items())
        yield f"spelled = {{ {inner} }}"
    yield ""


def _plain_option(argument: Argument, names: str) -> str:
    return "--" + (argument.name.replace("_", "-") if names == "dashes" else argument.name)


def _usual(argument: Argument, names: str) -> bool:
    return argument.option.partition("/")[0] == _plain_option(argument, names)


def _booleans(given: Sequence[Argument], names: str) -> str:
    """Return the rule that spells most of the booleans."""
    switches = [each for each in given if each.kind is Kind.BOOL]
    return max(("value", "pair", "flag"), key=lambda rule: sum(_follows(each, names, rule) for each in switches))


def _follows(argument: Argument, names: str, booleans: str) -> bool:
    """Return whether the rules alone give the argument's option."""
    plain = _plain_option(argument, names)
    if argument.kind is not Kind.BOOL:
        return argument.option == plain
    return argument.option == {"value": plain, "flag": f"{plain}/", "pair": f"{plain}/--no-{plain[2:]}"}[booleans]


def _config(guesses: Sequence[tuple[Argument, Guess]]) -> Iterator[str]:
    fixed = [(each, found) for each, found in guesses if found.role in {Role.FIXED, Role.MAYBE, Role.MISSING}]
    left = [(each, found) for each, found in guesses if found.role is Role.LEFT]
    if fixed:
        yield "[trainer.config]           # told to every run, moved by nobody"
    for argument, found in fixed:
        value = FILL_IN if found.role is Role.MISSING else argument.default
        yield _line(f"{argument.name} = {_value(value)}", _why(argument, found))
    for argument, found in left:
        yield f"# left to the script: {_comment(f'{argument.name}: {found.why}')}"
    if fixed or left:
        yield ""


def _why(argument: Argument, found: Guess) -> str:
    return "; ".join(part for part in (argument.help, found.why) if part)


def _knobs(guesses: Sequence[tuple[Argument, Guess]]) -> Iterator[str]:
    knobs = [(argument, found) for argument, found in guesses if found.role is Role.KNOB]
    maybe = [argument for argument, found in guesses if found.role is Role.MAYBE]
    for argument, found in knobs:
        yield from _knob(argument, found)
    if not knobs:
        yield "# No argument looks like a knob. Name one that may move, with its range."
        yield f'[knobs.{FILL_IN}]\ntype = "float"\ndefault = 0.1\nmin = 0.01\nmax = 1.0\n'
    for argument in maybe:
        text = "\n".join(_knob(argument, suggestion(argument)))
        yield "# A number whose name says nothing. To make it a knob, take it out of [trainer.config] and uncomment:"
        yield "\n".join(f"# {line}" if line else "" for line in text.splitlines())
        yield ""


def _knob(argument: Argument, found: Guess) -> Iterator[str]:
    kind = "choice" if argument.choices else argument.kind.value
    default = str(argument.default) if argument.choices else argument.default
    yield _line(f"[knobs.{argument.name}]", argument.help)
    yield f"type = {_text(kind)}"
    yield _line(f"default = {_value(default)}", "the script's own")
    if argument.choices:
        yield _line(f"choices = {_list(argument.choices)}", "the script's own")
    elif argument.kind is not Kind.BOOL:
        whole = argument.kind is Kind.INT
        low, high = (int(each) if whole else each for each in (found.low, found.high))
        yield _line(f"min = {_value(low)}", f"GUESS: {found.why}")
        yield _line(f"max = {_value(high)}", "GUESS")
        if found.log:
            yield 'scale = "log"'
        if found.step is not None:
            by = "a factor of so much" if found.log else "so much"
            yield _line(f"max_step = {_value(found.step)}", f"GUESS: at most {by} from the baseline")
    yield _line(f"bucket = {_text(found.bucket)}", "GUESS")
    if found.risk != "low":
        yield _line(f"risk = {_text(found.risk)}", "GUESS")
    yield ""


def _metrics(draft: Draft) -> str:
    if not draft.metrics:
        return "\n".join(
            [
                f"# The script's text does not tell what it measures. Write, for {FILL_IN}, the name of the number in",
                "# its summary.json that decides, held out from training, and below which way is better.",
                f"[metrics.{FILL_IN}]",
                f'direction = "{FILL_IN}"      # "min" or "max"',
                "primary = true",
                _EFFECT,
            ]
        )
    first, *others = draft.metrics
    why = "held out, by its name" if first.held_out else "be sure that it is held out from training"
    lines = [_line(f"[metrics.{_name(first.name)}]", f"GUESS: decides, as the script writes it to its summary; {why}")]
    if first.direction:
        lines.append(_line(f"direction = {_text(first.direction)}", "GUESS: by its name"))
    else:
        lines.append(_line(f"direction = {_text(FILL_IN)}", 'which way is better: "min" or "max"'))
    lines += ["primary = true", _EFFECT]
    for other in [each for each in others if each.direction][:_GUARDS_MOST]:
        lines += [
            f"# [metrics.{_name(other.name)}]",
            f"# direction = {_text(other.direction)}",
            "# guard = true             # what makes this worse is not promoted",
            "",
        ]
    return "\n".join(lines)


_EFFECT = """\
smallest_effect_of_interest = 0.0   # what you would not trouble to change anything for, in the metric's own unit
"""
_TAIL = """\
[change_budget]
min = 1
max = 2                    # one or two knobs at a time, so that a gain has a name

[gate]
approval = "required"      # a person says yes to each proposal: pilothouse proposal approve
# approval = "waived"
# waived_by = "your name"
# reason = "why nobody needs to look"

[monitor]
silent_after = "10m"       # GUESS: longer without a line of output is taken for a hang

[autopilot]
proposer = "one-axis"

[autopilot.stop]
without_improvement = 20

[budget]
hours = 8                  # GUESS: of all runs together
"""


def _line(text: str, comment: str) -> str:
    return f"{text.ljust(_COLUMN)} # {_comment(comment)}" if comment else text


def _comment(text: str) -> str:
    """Return the text as a comment of one line, without anything that could end it."""
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    plain = re.sub(r"\s*[(\[]default:? ?%\(default\)s[)\]]", "", plain).replace("%%", "%")
    return plain if len(plain) <= _COMMENT_MOST else plain[: _COMMENT_MOST - 1] + "…"


def _value(value: Json) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _text(value)
        case list() | tuple():
            return f"[{', '.join(_value(item) for item in value)}]"
        case _:
            return repr(value)


def _name(name: str) -> str:
    """Return a key of TOML: what the script calls it, in quotes where it could be read as anything else."""
    return name if _KEY.fullmatch(name) else _text(name)


def _list(words: Sequence[str]) -> str:
    return f"[{', '.join(_text(word) for word in words)}]"


def _text(text: str) -> str:
    """Return a TOML string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
