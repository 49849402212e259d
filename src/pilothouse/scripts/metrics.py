"""The metrics that a script writes into its summary, where its text tells their names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

SUMMARIES = ("summary.json", "trainer_summary.json")
_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.Module
_NO_METRIC = re.compile(
    r"^(seed|epochs?|steps?|time(stamp)?|seconds|duration|elapsed|args|config|params|run_id|name|model|device|version|"
    r"n_.*|num_.*|parameters|.*_(seconds|count|params|size|id|path|time))$"
)
_LESS = re.compile(
    r"loss|error|(^|_)err($|_)|rmse|mse|mae|nll|perplexity|ppl|bpb|regret|(^|_)gap|fid|wer|cer|brier|cost"
)
_MORE = re.compile(
    r"acc|f1|auc|(^|_)r2|reward|return|score|win|bleu|rouge|(^|_)m?ap($|_)|iou|success|precision|recall|psnr|ssim|points"
)
_HELD = re.compile(r"(^|_)(val|valid|validation|test|eval|dev|held|heldout)")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundMetric:
    """A number of the summary; `direction` is what its name says of it, empty where it says nothing."""

    name: str
    direction: str
    held_out: bool


def find_metrics(tree: ast.Module) -> tuple[FoundMetric, ...]:
    """Return what looks like a metric of the summary, the one that should decide first.

    Held-out numbers go before those of training, then those whose name tells a direction, then a loss.
    """
    names: dict[str, None] = {}
    for scope in (node for node in ast.walk(tree) if isinstance(node, _FUNCTIONS)):
        for summary in _summaries(scope):
            for name in _numbers(summary, scope):
                names.setdefault(name)
    found = [FoundMetric(name=name, direction=_direction(name), held_out=bool(_HELD.search(name))) for name in names]
    order = {metric.name: place for place, metric in enumerate(found)}
    return tuple(sorted(found, key=lambda each: (*_rank(each), order[each.name])))


def _rank(metric: FoundMetric) -> tuple[bool, bool, bool]:
    return "train" in metric.name, not metric.held_out, not metric.direction


def _direction(name: str) -> str:
    if _LESS.search(name.lower()):
        return "min"
    return "max" if _MORE.search(name.lower()) else ""


def _summaries(scope: _FUNCTIONS) -> Iterator[ast.Dict]:
    """Yield the dictionaries that are written as a summary in this function: dumped beside its name, or finished."""
    texts = {node.value for node in ast.walk(scope) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    names_summary = any(text.endswith(name) for text in texts for name in SUMMARIES)
    for call in (node for node in ast.walk(scope) if isinstance(node, ast.Call)):
        match call:
            case ast.Call(func=ast.Attribute(attr="finish"), args=[first, *_]):
                yield from _dictionary(first, scope)
            case ast.Call(func=ast.Attribute(attr="dump" | "dumps"), args=[first, *_]) if names_summary:
                yield from _dictionary(first, scope)


def _dictionary(node: ast.expr, scope: ast.AST) -> Iterator[ast.Dict]:
    match node:
        case ast.Dict():
            yield node
        case ast.Name(id=name):
            yield from (value for target, value in _assigned(scope) if target == name and isinstance(value, ast.Dict))


def _assigned(scope: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    for node in ast.walk(scope):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name, value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value


def _numbers(summary: ast.Dict, scope: ast.AST) -> Iterator[str]:
    inner = _keyed(summary).get("metrics")
    if inner is not None:
        for node in _dictionary(inner, scope):
            yield from _names(node)
        return
    yield from _names(summary)


def _names(summary: ast.Dict) -> Iterator[str]:
    for name, value in _keyed(summary).items():
        plain = isinstance(value, ast.Constant | ast.Dict | ast.List | ast.JoinedStr)
        if not plain and not _NO_METRIC.match(name.lower()):
            yield name


def _keyed(node: ast.Dict) -> Mapping[str, ast.expr]:
    """Return the values by the keys that are texts."""
    return {
        key.value: value
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }
