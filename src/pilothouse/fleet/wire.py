"""The fleet's values as JSON and back, for any line between two processes.

What is written is canonical JSON material: numbers that JSON does not know are the texts "NaN", "Infinity" and
"-Infinity". Reading refuses, with `BadValue` and the name of the field, whatever the writer cannot have written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.fleet.job import (
    Artifact,
    ChildrenPolicy,
    Cost,
    DepsMode,
    FreshStart,
    JobSpec,
    Outcome,
    Progress,
    Report,
    Ship,
)
from pilothouse.fleet.least_step import LeastStep
from pilothouse.ids import ArtifactDigest, FactoryName

Value = TypeVar("Value")
Word = TypeVar("Word", bound=StrEnum)

UNSAID: Mapping[str, Json] = {"arguments": {}, "fresh_start": FreshStart.ALLOWED.value}
"""What a spec means that was written before it had these fields: what it has always meant, whatever the defaults."""
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def spec_from_json(value: Json) -> JobSpec:
    """Read what `JobSpec.as_json` wrote, be it before the spec had all its fields."""
    read = Fields("spec", {**UNSAID, **value} if isinstance(value, Mapping) else value)
    return JobSpec(
        kind=read.text("kind"),
        command=read.texts("command"),
        config=read.mapping("config", lambda item: item),
        seed=read.whole("seed"),
        campaign=read.text("campaign"),
        trial=read.whole("trial"),
        inputs=read.mapping("inputs", lambda item: tuple(ArtifactDigest(text) for text in _texts("inputs", item))),
        artifacts=read.texts("artifacts"),
        metrics=read.texts("metrics"),
        seats=read.whole("seats"),
        memory_gb=read.number("memory_gb"),
        timeout_seconds=read.number("timeout_seconds"),
        grace_seconds=read.number("grace_seconds"),
        silent_after_seconds=read.number("silent_after_seconds"),
        restarts=read.whole("restarts"),
        engine=read.text("engine"),
        body=read.text("body"),
        cwd=read.text("cwd"),
        lock=read.text("lock"),
        verify=read.texts("verify"),
        requires=read.texts("requires"),
        prefers_engine=read.text("prefers_engine"),
        deps=read.texts("deps"),
        deps_mode=read.word("deps_mode", DepsMode),
        children_policy=read.word("children_policy", ChildrenPolicy),
        gpus=read.whole("gpus"),
        cost=cost_from_json(read.raw("cost")),
        approvals=read.whole("approvals"),
        reviewers=read.texts("reviewers"),
        ship=read.word("ship", Ship),
        min_running_seconds=read.number("min_running_seconds"),
        arguments=read.mapping("arguments", lambda item: item),
        fresh_start=read.word("fresh_start", FreshStart),
    )


def cost_from_json(value: Json) -> Cost:
    """Read what `Cost.as_json` wrote."""
    read = Fields("cost", value)
    return Cost(
        usd=read.optional("usd", lambda: read.number("usd")),
        gpu_hours=read.optional("gpu_hours", lambda: read.number("gpu_hours")),
        tokens=read.optional("tokens", lambda: read.number("tokens")),
    )


def report_as_json(report: Report) -> dict[str, Json]:
    """Return a report as JSON."""
    return {
        "outcome": report.outcome,
        "detail": report.detail,
        "exit_code": report.exit_code,
        "metrics": {name: number_as_json(number) for name, number in report.metrics.items()},
        "artifacts": [
            {
                "name": artifact.name,
                "digest": artifact.digest,
                "size_bytes": artifact.size_bytes,
                "meta": finite(artifact.meta),
            }
            for artifact in report.artifacts
        ],
        "seconds": report.seconds,
        "cost": report.cost.as_json(),
        "peak_memory_mb": report.peak_memory_mb,
        "damaged": report.damaged,
        "evidence": report.evidence,
    }


def report_from_json(value: Json) -> Report:
    """Read what `report_as_json` wrote."""
    read = Fields("report", value)
    return Report(
        outcome=read.word("outcome", Outcome),
        detail=read.text("detail"),
        exit_code=read.optional("exit_code", lambda: read.whole("exit_code")),
        metrics=read.mapping("metrics", lambda item: _number("metrics", item)),
        artifacts=tuple(_artifact(item) for item in read.listed("artifacts")),
        seconds=read.number("seconds"),
        cost=cost_from_json(read.raw("cost")),
        peak_memory_mb=read.optional("peak_memory_mb", lambda: read.number("peak_memory_mb")),
        damaged=read.optional("damaged", lambda: ArtifactDigest(read.text("damaged"))),
        evidence=read.text("evidence"),
    )


def progress_as_json(progress: Progress) -> dict[str, Json]:
    """Return a sign of life as JSON."""
    return {
        "step": progress.step,
        "total": progress.total,
        "values": {name: number_as_json(number) for name, number in progress.values.items()},
        "checkpoint_step": progress.checkpoint_step,
    }


def progress_from_json(value: Json) -> Progress:
    """Read what `progress_as_json` wrote."""
    read = Fields("progress", value)
    return Progress(
        step=read.optional("step", lambda: read.whole("step")),
        total=read.optional("total", lambda: read.whole("total")),
        values=read.mapping("values", lambda item: _number("values", item)),
        checkpoint_step=read.optional("checkpoint_step", lambda: read.whole("checkpoint_step")),
    )


def least_as_json(least: LeastStep) -> dict[str, Json]:
    """Return the least step, and where its checkpoint lies, as JSON."""
    return {"step": least.step, "factory": least.factory, "folder": least.folder}


def least_from_json(value: Json) -> LeastStep:
    """Read what `least_as_json` wrote."""
    read = Fields("least", value)
    return LeastStep(step=read.whole("step"), factory=FactoryName(read.text("factory")), folder=read.text("folder"))


def number_as_json(number: float) -> Json:
    """Return a finite number as it is, and any other as the text that JSON readers agree on."""
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def finite(value: Json) -> Json:
    """Return the value with every number in it that JSON does not know as its text."""
    match value:
        case float():
            return number_as_json(value)
        case Mapping():
            return {name: finite(item) for name, item in value.items()}
        case list() | tuple():
            return [finite(item) for item in value]
        case _:
            return value


def number_from_json(value: Json) -> float | None:
    """Return a number, also one spelled as "NaN", "Infinity" or "-Infinity"; None for anything else."""
    match value:
        case bool():
            return None
        case int() | float():
            return _as_float(value)
        case str():
            return _WORDS.get(value)
        case _:
            return None


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one JSON object, read by name and type; `where` names the object in complaints."""

    where: str
    value: Json

    def _get(self, name: str) -> Json:
        if not isinstance(self.value, Mapping):
            raise _bad(self.where, self.value, "an object")
        if name not in self.value:
            raise BadValue(f"{self.where} has no field {name!r}.", fix="use the same version at both ends.")
        return self.value[name]

    def text(self, name: str) -> str:
        """Return a text."""
        value = self._get(name)
        if not isinstance(value, str):
            raise _bad(f"{self.where}.{name}", value, "a text")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts."""
        return _texts(f"{self.where}.{name}", self._get(name))

    def whole(self, name: str) -> int:
        """Return a whole number."""
        value = self._get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise _bad(f"{self.where}.{name}", value, "a whole number")
        return value

    def number(self, name: str) -> float:
        """Return a number."""
        return _number(f"{self.where}.{name}", self._get(name))

    def flag(self, name: str) -> bool:
        """Return true or false."""
        value = self._get(name)
        if not isinstance(value, bool):
            raise _bad(f"{self.where}.{name}", value, "true or false")
        return value

    def word(self, name: str, kind: type[Word]) -> Word:
        """Return a member of a closed list of words."""
        try:
            return kind(self.text(name))
        except ValueError:
            raise _bad(f"{self.where}.{name}", self._get(name), f"one of {', '.join(kind)}") from None

    def optional(self, name: str, read: Callable[[], Value]) -> Value | None:
        """Return None for null, and what `read` returns otherwise."""
        return None if self._get(name) is None else read()

    def mapping(self, name: str, read: Callable[[Json], Value]) -> dict[str, Value]:
        """Return an object with each value read by `read`."""
        value = self._get(name)
        if not isinstance(value, Mapping):
            raise _bad(f"{self.where}.{name}", value, "an object")
        return {key: read(item) for key, item in value.items()}

    def listed(self, name: str) -> list[Json]:
        """Return a list."""
        value = self._get(name)
        if not isinstance(value, list | tuple):
            raise _bad(f"{self.where}.{name}", value, "a list")
        return list(value)

    def raw(self, name: str) -> Json:
        """Return whatever stands there."""
        return self._get(name)


def _artifact(value: Json) -> Artifact:
    read = Fields("artifact", value)
    return Artifact(
        name=read.text("name"),
        digest=ArtifactDigest(read.text("digest")),
        size_bytes=read.whole("size_bytes"),
        meta=read.mapping("meta", lambda item: item),
    )


def _texts(where: str, value: Json) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise _bad(where, value, "a list of texts")
    texts = tuple(item for item in value if isinstance(item, str))
    if len(texts) != len(value):
        raise _bad(where, value, "a list of texts")
    return texts


def _number(where: str, value: Json) -> float:
    number = number_from_json(value)
    if number is None:
        raise _bad(where, value, "a number")
    return number


def _as_float(value: float) -> float | None:
    try:
        return float(value)
    except OverflowError:
        return None


def _bad(where: str, value: Json, wanted: str) -> BadValue:
    shown = repr(value)
    return BadValue(f"{where} is {shown[:80]}, not {wanted}.", fix="use the same version at both ends.")
