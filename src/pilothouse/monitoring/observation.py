"""What the factory sees of one attempt, and the limits that its spec sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pilothouse.fleet.job import JobSpec, Outcome

LOG_TAIL_CHARACTERS = 64 * 1024
"""The end of the log that a diagnosis reads; whatever stands before it is never looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalWord:
    """What the summary says: final metrics and the names of the artifacts that were taken in whole.

    `problem` tells why a summary, or an artifact that it names, cannot be used, and is empty when all can.
    """

    metrics: Mapping[str, float]
    artifacts: frozenset[str] = frozenset()
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What a metric was reported to be while the program ran: how often, and between which finite values."""

    reports: int
    low: float
    high: float

    def then(self, value: float) -> Span:
        """Return the span with one report more."""
        return Span(reports=self.reports + 1, low=min(self.low, value), high=max(self.high, value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One look at an attempt. All times are durations on the factory's monotonic clock.

    `silent_seconds` counts from the last sign of life: a line of metrics or of the log. `ended` is true once the whole
    process tree is gone; `exit_code` then is the leader's, minus the signal's number if a signal ended it, or None if
    it is not known. `stopped_for` is why the factory itself asked the attempt to stop, if it did. `not_numbers` maps a
    metric that was ever NaN or infinite to the first step at which it was, `ran_away` a loss that was finite and has
    diverged, and `spans` every metric to the finite values that were reported of it. `first_step` is where the run says
    that it began. `log_tail` is data from the program: it is searched for signatures and quoted, never obeyed.
    """

    elapsed_seconds: float
    silent_seconds: float
    ended: bool = False
    exit_code: int | None = None
    stopped_for: Outcome | None = None
    not_numbers: Mapping[str, int | None] = field(default_factory=dict)
    ran_away: Mapping[str, int | None] = field(default_factory=dict)
    spans: Mapping[str, Span] = field(default_factory=dict)
    resume_step: int | None = None
    first_step: int | None = None
    peak_memory_mb: float | None = None
    memory_limit_mb: float | None = None
    log_tail: str = ""
    summary: FinalWord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an attempt is measured against: its times in seconds, and the metrics and artifacts that it promised."""

    timeout_seconds: float
    silent_after_seconds: float
    metrics: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()


def limits_of(spec: JobSpec) -> Limits:
    """Return the limits that a job's spec sets."""
    return Limits(
        timeout_seconds=spec.timeout_seconds,
        silent_after_seconds=spec.silent_after_seconds,
        metrics=spec.metrics,
        artifacts=spec.artifacts,
    )
