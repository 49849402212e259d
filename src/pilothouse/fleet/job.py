"""What the fleet executes: the job, its spec, its attempts and how an attempt can end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pilothouse.canonical import Json, digest
from pilothouse.fleet.stages import Stage
from pilothouse.ids import ArtifactDigest, BootId, Epoch, FactoryName, JobId, ProductId


class Priority(StrEnum):
    """How urgent a job is; the order of the members is the order of claiming."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """Zero is the most urgent."""
        return list(Priority).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """Everything an attempt needs; stored once, never changed.

    `inputs` names sealed folders by digest, in order. `artifacts` and `metrics` are promises: a run that exits 0
    without them has failed. Times are in seconds.
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

    def digest(self) -> str:
        """Return the digest of the whole spec, by which a reused idempotency key is told from a conflict."""
        return digest(self.as_json())

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
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job before it is stored. `key` makes submitting idempotent within the product."""

    id: JobId
    product: ProductId
    pool: str
    key: str
    spec: JobSpec
    priority: Priority = Priority.MEDIUM


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A stored job: the narrow, hot part. Its spec, attempts and events stand in tables of their own."""

    id: JobId
    product: ProductId
    pool: str
    key: str
    stage: Stage
    epoch: Epoch
    priority: Priority
    created_at: datetime
    seats: int
    factory: FactoryName | None
    boot: BootId | None
    lease_expires_at: datetime | None
    failures: int
    preemptions: int
    losses: int


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
    PREEMPTED = "preempted"
    LOST = "lost"
    CANCELLED = "cancelled"


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
    the log.
    """

    outcome: Outcome
    detail: str
    exit_code: int | None
    metrics: Mapping[str, float]
    artifacts: tuple[Artifact, ...]
    seconds: float
    peak_memory_mb: float | None = None
    damaged: ArtifactDigest | None = None
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The last sign of life of a running attempt, as its metrics file told it."""

    step: int | None
    total: int | None
    values: Mapping[str, float]


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
    """One line of a job's history, written by the store itself; `sequence` grows by one per job."""

    job: JobId
    sequence: int
    at: datetime
    epoch: Epoch
    stage: Stage
    previous: Stage | None
