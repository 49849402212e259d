"""Taking in what a program says it has made: summary.json, promises, artifacts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pilothouse.canonical import Json
from pilothouse.errors import ArtifactDamaged
from pilothouse.factory.plain_file import open_plain
from pilothouse.fleet.job import Artifact, Cost
from pilothouse.fleet.wire import finite, number_from_json
from pilothouse.monitoring.quoted import storable
from pilothouse.operations.curves import CURVE
from pilothouse.ports.blobs import Blobs
from pilothouse.trainer.folder import METRICS_FILE

SUMMARIES = ("summary.json", "trainer_summary.json")
_SUMMARY_BYTES_MAX = 4 << 20
_CURVE_BYTES_MAX = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What summary.json says: metrics that are numbers, and artifacts by relative path; the names can be stored.

    `cost` is what the program says it has used; what it does not say, or does not say as a number, is unknown.
    `problem` tells why a file that is there cannot be used.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    problem: str = ""


def read_summary(folder: Path) -> Summary | None:
    """Read the summary, or None if the program has left none."""
    for name in SUMMARIES:
        try:
            return _parse(name, json.loads(_content(folder / name)))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RecursionError) as error:
            return Summary(problem=f"{name} cannot be read: {error}")
    return None


def program_summary(folder: Path) -> Json:
    """Return the summary as the program wrote it, for people to read; None where it left none that can be read.

    A number that JSON does not know comes as its text.
    """
    for name in SUMMARIES:
        try:
            document = finite(json.loads(_content(folder / name)))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, RecursionError):
            return None
        return document if isinstance(document, dict) else None
    return None


def _content(path: Path) -> bytes:
    """Return what stands in the summary; what is no plain file, or too large, is an `OSError` or a `ValueError`."""
    with open_plain(path) as file:
        content = file.read(_SUMMARY_BYTES_MAX + 1)
    if len(content) > _SUMMARY_BYTES_MAX:
        raise ValueError(f"it is larger than {_SUMMARY_BYTES_MAX} bytes")
    return content


class PromiseBroken(Exception):
    """An artifact that the summary names cannot be taken in."""


def keep_artifacts(summary: Summary, *, folder: Path, blobs: Blobs, touch: Callable[[], None]) -> tuple[Artifact, ...]:
    """Put every artifact of the summary into the blobs, in the order of their names.

    Raises PromiseBroken naming the artifact if it is not there, not whole, or not inside the run folder, and
    StorageFailed if the disk refuses.
    """
    kept = []
    for name, relative in sorted(summary.artifacts.items()):
        touch()
        path = _inside(folder, name, relative)
        try:
            stored = blobs.put(path)
        except ArtifactDamaged as error:
            raise PromiseBroken(f"artifact {name!r}: {error.message}") from error
        kept.append(Artifact(name=name, digest=stored.digest, size_bytes=stored.size_bytes, meta=stored.meta))
    return tuple(kept)


def with_curve(summary: Summary, folder: Path) -> Summary:
    """Return the summary of a run with its metrics file as one artifact more, where it has written one.

    The curve is evidence, and the yardstick for later runs; a program's own artifact of that name goes before it.
    """
    path = folder / METRICS_FILE
    there = path.is_file() and not path.is_symlink() and path.stat().st_size <= _CURVE_BYTES_MAX
    return replace(summary, artifacts={CURVE: METRICS_FILE, **summary.artifacts}) if there else summary


def _parse(name: str, document: Json) -> Summary:
    match document:
        case {"metrics": dict(metrics), **rest}:
            artifacts, cost = rest.get("artifacts", {}), rest.get("cost")
        case dict() if "metrics" not in document and (flat := _numbers(document)):
            return Summary(metrics=flat)
        case _:
            return Summary(problem=f'{name} has no object "metrics", nor numbers beside one another')
    if not isinstance(artifacts, dict) or not all(isinstance(path, str) for path in artifacts.values()):
        return Summary(problem=f'{name} has an "artifacts" that is no object of relative paths')
    numbers = _numbers(metrics)
    paths = {storable(key): str(path) for key, path in artifacts.items()}
    return Summary(metrics=numbers, artifacts=paths, cost=_cost(cost))


def _numbers(values: Mapping[str, Json]) -> dict[str, float]:
    return {storable(key): number for key, value in values.items() if (number := number_from_json(value)) is not None}


def _cost(value: object) -> Cost:
    said = value if isinstance(value, dict) else {}
    return Cost(usd=_used(said.get("usd")), gpu_hours=_used(said.get("gpu_hours")), tokens=_used(said.get("tokens")))


def _used(value: object) -> float | None:
    number = number_from_json(value) if isinstance(value, int | float) else None
    return number if number is not None and math.isfinite(number) and number >= 0 else None


def _inside(folder: Path, name: str, relative: str) -> Path:
    """Return the artifact's path; links are followed first, so none can lead out of the run folder."""
    root = folder.resolve()
    try:
        path = (root / relative).resolve()
        inside = path.is_relative_to(root) and path != root
        there = inside and path.exists()
    except (OSError, ValueError, RuntimeError) as error:
        raise PromiseBroken(f"artifact {name!r} has the unusable path {relative!r}: {error}") from error
    if not inside:
        raise PromiseBroken(f"artifact {name!r} at {relative!r} lies outside the run folder")
    if not there:
        raise PromiseBroken(f"artifact {name!r} at {relative!r} is not there")
    return path
