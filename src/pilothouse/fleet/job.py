"""What the fleet executes: the job, its spec, its attempts and how an attempt can end."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from itertools import compress
from json.encoder import encode_basestring
from operator import attrgetter, is_not
from typing import NamedTuple

from pilothouse.canonical import Json, canonical
from pilothouse.fleet.stages import Stage
from pilothouse.ids import (
    ArtifactDigest,
    BootId,
    Epoch,
    FactoryName,
    JobId,
    JobNumber,
    ProductId,
    SessionNumber,
    ShapeNumber,
)


class Priority(StrEnum):
    """How urgent a job is; the order of the members is the order of claiming."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """Zero is the most urgent."""
        return _RANKS[self]


_RANKS = {priority: rank for rank, priority in enumerate(Priority)}


class DepsMode(StrEnum):
    """When a dependency is met: `hard` wants it shipped, `soft` is content with testing."""

    HARD = "hard"
    SOFT = "soft"


class ChildrenPolicy(StrEnum):
    """What a parent waits for: every child `shipped`, or every child `terminal`, whatever its end."""

    SHIPPED = "shipped"
    TERMINAL = "terminal"


class FreshStart(StrEnum):
    """Whether an attempt may start below the least step, where the checkpoint of that step is not at hand."""

    ALLOWED = "allowed"
    REFUSED = "refused"


class Ship(StrEnum):
    """Who ships a job that has succeeded: the fleet itself, or an operator."""

    AUTO = "auto"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What an attempt may use, or has used. None is unknown, which is never zero."""

    usd: float | None = None
    gpu_hours: float | None = None
    tokens: float | None = None

    def as_json(self) -> dict[str, Json]:
        """Return the cost as JSON values."""
        return {"usd": self.usd, "gpu_hours": self.gpu_hours, "tokens": self.tokens}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What decides where a job may run. Jobs of one shape differ only in priority and age, so they share one heap.

    `requires` are requirements in the grammar of `fleet.capability`; `cost` is what the job asked a budget for.
    """

    product: ProductId
    pool: str
    seats: int = 1
    gpus: int = 0
    requires: tuple[str, ...] = ()
    engine: str = ""
    prefers_engine: str = ""
    lock: str = ""
    timeout_seconds: float = 7200.0
    min_running_seconds: float = 0.0
    cost: Cost = Cost()

    def as_json(self) -> dict[str, Json]:
        """Return the shape as JSON values, which the store reads back."""
        return {
            "product": self.product,
            "pool": self.pool,
            "seats": self.seats,
            "gpus": self.gpus,
            "requires": list(self.requires),
            "engine": self.engine,
            "prefers_engine": self.prefers_engine,
            "lock": self.lock,
            "timeout_seconds": self.timeout_seconds,
            "min_running_seconds": self.min_running_seconds,
            "cost": self.cost.as_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """Everything an attempt needs; stored once, never changed.

    `inputs` names sealed folders by digest, in order. `artifacts` and `metrics` are promises: a run that exits 0
    without them has failed. Times are in seconds. A job has a `command`, or an `engine` that is given the `body`.
    `cwd` is relative to the factory's work folder. `verify` is run after a success, and must succeed as well.
    `approvals` by different `reviewers` (any, if none is named) are needed before a success counts. `arguments` tells,
    as `fleet.arguments` writes it, how the config becomes words of the command; empty: the command is taken as it is.
    `fresh_start` says what becomes of an attempt that is not handed the last checkpoint of those before it.
    """

    kind: str
    command: tuple[str, ...]
    config: Mapping[str, Json]
    seed: int
    campaign: str
    trial: int
    inputs: Mapping[str, tuple[ArtifactDigest, ...]] = field(default_factory=dict)
    artifacts: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    seats: int = 1
    memory_gb: float = 0.0
    timeout_seconds: float = 7200.0
    grace_seconds: float = 10.0
    silent_after_seconds: float = 600.0
    restarts: int = 1
    engine: str = ""
    body: str = ""
    cwd: str = ""
    lock: str = ""
    verify: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    prefers_engine: str = ""
    deps: tuple[str, ...] = ()
    deps_mode: DepsMode = DepsMode.HARD
    children_policy: ChildrenPolicy = ChildrenPolicy.SHIPPED
    gpus: int = 0
    cost: Cost = Cost()
    approvals: int = 0
    reviewers: tuple[str, ...] = ()
    ship: Ship = Ship.AUTO
    min_running_seconds: float = 0.0
    arguments: Mapping[str, Json] = field(default_factory=dict)
    fresh_start: FreshStart = FreshStart.ALLOWED

    def shape(self, *, product: ProductId, pool: str) -> Shape:
        """Return what of the spec decides where the job may run."""
        return Shape(
            product=product,
            pool=pool,
            seats=self.seats,
            gpus=self.gpus,
            requires=self.requires,
            engine=self.engine,
            prefers_engine=self.prefers_engine,
            lock=self.lock,
            timeout_seconds=self.timeout_seconds,
            min_running_seconds=self.min_running_seconds,
            cost=self.cost,
        )

    def digest(self) -> str:
        """Return the digest of the whole spec, by which a reused idempotency key is told from a conflict."""
        return hashlib.sha256(self.text().encode("utf-8")).hexdigest()

    def text(self) -> str:
        """Return the canonical text of the spec, as it is stored; what has its default is not encoded again."""
        values = _SPEC_VALUES(self)
        parts = list(_READY)
        # Nearly every value is its default's own object, which is seen without a turn of this loop.
        for place in compress(_PLACES, map(is_not, values, _DEFAULTS)):
            if values[place] != _DEFAULTS[place]:
                parts[place] = _HEADS[place] + _text(values[place])
        return f"{{{','.join(parts)}}}"

    def as_json(self) -> dict[str, Json]:
        """Return the spec as JSON values, which the store reads back."""
        return {
            "kind": self.kind,
            "command": list(self.command),
            "config": dict(self.config),
            "seed": self.seed,
            "campaign": self.campaign,
            "trial": self.trial,
            "inputs": {name: list(digests) for name, digests in self.inputs.items()},
            "artifacts": list(self.artifacts),
            "metrics": list(self.metrics),
            "seats": self.seats,
            "memory_gb": self.memory_gb,
            "timeout_seconds": self.timeout_seconds,
            "grace_seconds": self.grace_seconds,
            "silent_after_seconds": self.silent_after_seconds,
            "restarts": self.restarts,
            "engine": self.engine,
            "body": self.body,
            "cwd": self.cwd,
            "lock": self.lock,
            "verify": list(self.verify),
            "requires": list(self.requires),
            "prefers_engine": self.prefers_engine,
            "deps": list(self.deps),
            "deps_mode": self.deps_mode.value,
            "children_policy": self.children_policy.value,
            "gpus": self.gpus,
            "cost": self.cost.as_json(),
            "approvals": self.approvals,
            "reviewers": list(self.reviewers),
            "ship": self.ship.value,
            "min_running_seconds": self.min_running_seconds,
            "arguments": dict(self.arguments),
            "fresh_start": self.fresh_start.value,
        }


def _text(value: object) -> str:
    """Return the canonical text of the value of a spec's field; words and whole numbers need no encoder."""
    if type(value) is str:
        return encode_basestring(value)
    if type(value) is int:
        return str(value)
    if type(value) is tuple:
        return f"[{','.join(map(_text, value))}]"
    return canonical(_plain(value))


def _plain(value: object) -> Json:
    """Return the value of a spec's field as JSON."""
    # Nearly every value is one of these, and many thousand specs are stored at once.
    if type(value) is str or type(value) is int:
        return value
    match value:
        case Cost():
            return value.as_json()
        case dict() | Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case tuple() | list():
            return [_plain(item) for item in value]
        case str():
            return str(value)
        case bool() | int() | float() | None:
            return value
        case _:
            raise TypeError(f"no JSON for {value!r}")


_NO_DEFAULT = object()


def _spec_parts() -> tuple[tuple[str, object, str], ...]:
    parts = []
    for field_ in sorted(fields(JobSpec), key=lambda each: each.name):
        default: object = _NO_DEFAULT
        if field_.default is not MISSING:
            default = field_.default
        elif field_.default_factory is not MISSING:
            default = field_.default_factory()
        ready = "" if default is _NO_DEFAULT else f'"{field_.name}":{canonical(_plain(default))}'
        parts.append((field_.name, default, ready))
    return tuple(parts)


_NAMES, _DEFAULTS, _READY = zip(*_spec_parts(), strict=True)
"""The fields in the order of their names, with their defaults and the text of these."""
_HEADS = tuple(f'"{name}":' for name in _NAMES)
_PLACES = range(len(_NAMES))
_SPEC_VALUES = attrgetter(*_NAMES)
SHAPED_BY = attrgetter(*(each.name for each in fields(Shape) if each.name not in {"product", "pool"}))
"""Returns what a shape takes from a spec: two specs of which this is the same have the same shape in the same pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job before it is stored. `key` makes submitting idempotent within the product.

    `deps` are the ids behind `spec.deps`; a job that is some other's child names its `parent`.
    """

    id: JobId
    product: ProductId
    pool: str
    key: str
    spec: JobSpec
    priority: Priority = Priority.MEDIUM
    parent: JobId | None = None
    deps: tuple[JobId, ...] = ()


class EdgeKind(StrEnum):
    """Why one job waits for another: as its hard or soft dependency, or as its parent under either policy."""

    HARD = "hard"
    SOFT = "soft"
    CHILD_SHIPPED = "child_shipped"
    CHILD_TERMINAL = "child_terminal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """The `job` waits for what it `needs`; the store marks the edge once it is met."""

    job: JobNumber
    needs: JobNumber
    kind: EdgeKind
    met: bool = False


class Placed(NamedTuple):
    """A new job and the stage it begins in. `needs` are its unmet dependencies with what they are to it."""

    new: NewJob
    stage: Stage
    needs: tuple[tuple[JobNumber, EdgeKind], ...] = ()
    parent: JobNumber | None = None


class Handed(NamedTuple):
    """What a factory is handed of a job; `spec` is the stored text, decoded by whoever needs it."""

    id: JobId
    product: ProductId
    key: str
    spec: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One reviewer's decision on what an attempt has made."""

    job: JobNumber
    epoch: Epoch
    reviewer: str
    approved: bool
    reason: str
    at: datetime


class Job(NamedTuple):
    """A stored job: its identity and its hot part. Its spec, attempts and events stand in tables of their own.

    `waiting` counts the dependencies and children that are not met yet. `stop_at` is the end of the grace of a job that
    has been asked to make room. `factory` and `boot` name the `session` that holds it. `marks` are those of
    `fleet.claim`. It is made for every row that is read or stored, and a tuple costs an eighth of a frozen dataclass.
    """

    number: JobNumber
    id: JobId
    product: ProductId
    pool: str
    key: str
    shape: ShapeNumber
    stage: Stage
    epoch: Epoch
    priority: Priority
    created_at: datetime
    changed_at: datetime
    seats: int
    parent: JobId | None
    session: SessionNumber | None
    factory: FactoryName | None
    boot: BootId | None
    failures: int
    preemptions: int
    losses: int
    waiting: int
    marks: int
    stop_at: datetime | None


class Outcome(StrEnum):
    """How an attempt ended. Failures, preemptions and losses are counted apart."""

    SUCCEEDED = "succeeded"
    CRASHED = "crashed"
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"
    NOT_A_NUMBER = "not_a_number"
    SILENT = "silent"
    TIMED_OUT = "timed_out"
    SUMMARY_MISSING = "summary_missing"
    PROMISE_BROKEN = "promise_broken"
    RESUMED_TOO_EARLY = "resumed_too_early"
    INPUT_DAMAGED = "input_damaged"
    LAUNCH_FAILED = "launch_failed"
    VERIFY_FAILED = "verify_failed"
    CAPABILITY_MISMATCH = "capability_mismatch"
    NO_ENGINE = "no_engine"
    PREEMPTED = "preempted"
    LOST = "lost"
    CANCELLED = "cancelled"
    CHECKPOINT_MISSING = "checkpoint_missing"
    CODE_CHANGED = "code_changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A sealed folder that an attempt produced, by the name the program gave it."""

    name: str
    digest: ArtifactDigest
    size_bytes: int
    meta: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the factory says of an attempt that has ended.

    `seconds` runs from the process's start to the end of its whole tree. `damaged` names the input that did not match
    its manifest, when the outcome is `input_damaged`. `evidence` is what the detail was read from, such as the end of
    the log. `cost` is what the program itself says it has used.
    """

    outcome: Outcome
    detail: str
    exit_code: int | None
    metrics: Mapping[str, float]
    artifacts: tuple[Artifact, ...]
    seconds: float
    cost: Cost = Cost()
    peak_memory_mb: float | None = None
    damaged: ArtifactDigest | None = None
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The last sign of life of a running attempt, as its metrics file told it; `checkpoint_step` is the last saved."""

    step: int | None
    total: int | None
    values: Mapping[str, float]
    checkpoint_step: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One claim of a job, numbered by its epoch, as stored.

    `pid` and `pid_started` (seconds since 1970, of the process group's leader) tell a process from another that
    inherited its number.
    """

    job: JobId
    epoch: Epoch
    factory: FactoryName
    boot: BootId
    folder: str
    claimed_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    pid: int | None
    pid_started: float | None
    progress: Progress | None
    progress_at: datetime | None
    outcome: Outcome | None
    detail: str
    exit_code: int | None
    metrics: Mapping[str, float]
    seconds: float | None
    peak_memory_mb: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of a job's history, written by the store itself; `sequence` grows by one per job.

    `why` tells who moved it and for what reason, where the move alone does not.
    """

    job: JobId
    sequence: int
    at: datetime
    epoch: Epoch
    stage: Stage
    previous: Stage | None
    why: str = ""
