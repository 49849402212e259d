"""The values that MLflow's client takes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Param:
    """One parameter."""

    key: str
    value: str


@dataclass(frozen=True)
class Metric:
    """One point of a metric; the time is in whole milliseconds."""

    key: str
    value: float
    timestamp: int
    step: int
