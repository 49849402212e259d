"""Which way a script's arguments are found out: the first that it knows."""

from __future__ import annotations

import ast
import warnings

from pilothouse.scripts.argparse_source import read_argparse
from pilothouse.scripts.argument import Argument, Reading, ScriptUnreadable
from pilothouse.scripts.declared import read_declared, read_keys, uses_kit
from pilothouse.scripts.metrics import FoundMetric, find_metrics


def parse(text: str, *, script: str) -> ast.Module:
    """Return the script's tree; raises ScriptUnreadable where Python itself could not read it."""
    if "\0" in text:
        raise ScriptUnreadable(f"{script} is no Python script: it holds zero bytes.", fix="name a text file of Python")
    try:
        with warnings.catch_warnings():
            # What the script's author is warned of when it runs is nothing to its reader.
            warnings.simplefilter("ignore")
            return ast.parse(text, filename=script)
    except SyntaxError as error:
        raise ScriptUnreadable(
            f"{script}, line {error.lineno}: {error.msg}.", fix="mend the script, which Python cannot read as it stands"
        ) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ScriptUnreadable(f"{script} is no Python script: {error}.", fix="name a text file of Python") from error


def read_script(tree: ast.Module, *, script: str) -> Reading:
    """Return what the script's text tells of its arguments; raises ScriptUnreadable where it tells nothing."""
    kit = uses_kit(tree)
    try:
        declared = read_declared(tree, script=script) or (read_keys(tree) if kit else None)
        return declared or read_argparse(tree, script=script)
    except RecursionError as error:
        raise ScriptUnreadable(f"{script} is nested too deeply.", fix="read it by --run-help") from error


def metrics_of(tree: ast.Module) -> tuple[FoundMetric, ...]:
    """Return what the script's text tells of its metrics."""
    try:
        return find_metrics(tree)
    except RecursionError:
        return ()


def enriched(told: Reading, declared: Reading | None) -> Reading:
    """Return what `--help` told, where the script's own text knows an argument better with that text's word for it."""
    if declared is None:
        return told
    better: dict[str, Argument] = {each.name: each for each in declared.arguments if not each.trouble}
    return Reading(
        arguments=tuple(better.get(each.name, each) for each in told.arguments),
        by=told.by,
        line=told.line,
        notes=told.notes,
    )
