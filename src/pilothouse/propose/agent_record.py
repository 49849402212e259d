"""What is kept of every run of an agent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

from pilothouse.canonical import Json
from pilothouse.proposals.agent_run import AgentTold, Crossed
from pilothouse.propose.sandbox.plan import Breach, Refusal


class CostSource(StrEnum):
    """Where the cost of a run comes from."""

    REPORTED = "reported"
    ESTIMATED = "estimated"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What an agent told of its own effort; None is unknown, and never zero."""

    turns: int | None = None
    tokens_in: int | None = None
    tokens_cached: int | None = None
    tokens_out: int | None = None
    cost_usd: float | None = None
    session: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRecord:
    """One run of an agent: how it was confined, what it used, what it answered, and what it was refused.

    `level` is the rung of confinement and `held` what was obtained on it at run time; `waived_by` names who allowed a
    run without any. `cost_usd` is None where nobody knows. `attempt` counts runs for the same context: all but the last
    were interrupted, and what they cost is not known. `refusal` says why the answer was not taken, empty if it was.
    """

    runner: str
    level: str
    held: tuple[str, ...]
    waived_by: str
    attempt: int
    seconds: float
    exit_code: int | None
    usage: Usage
    cost_source: CostSource
    context_digest: str
    answer_digest: str | None
    refusals: tuple[Refusal, ...]
    refusal: str = ""
    refusal_kind: str = ""
    refusal_fix: str = ""

    @property
    def cost_usd(self) -> float | None:
        """What the run cost, as told or estimated; None if it is not known."""
        return self.usage.cost_usd

    def as_json(self) -> dict[str, Json]:
        """Return the record as JSON values."""
        fields: dict[str, Json] = json.loads(json.dumps(asdict(self), allow_nan=False))
        return fields


def charged(record: AgentRecord, estimate_usd: float | None) -> float | None:
    """Return what a campaign is charged for a question: its run, and those before it that were interrupted.

    Nobody knows what an interrupted run has cost: it counts with the estimate, and without one the sum is not known.
    """
    interrupted = record.attempt - 1
    if record.cost_usd is None or (interrupted and estimate_usd is None):
        return None
    return record.cost_usd + interrupted * (estimate_usd or 0.0)


def told_of(record: AgentRecord, estimate_usd: float | None) -> AgentTold:
    """Return what a campaign keeps of a question: the record, what was tried, and what it is charged."""
    return AgentTold(
        record=record.as_json(),
        crossed=tuple(
            Crossed(kind=each.breach.value, detail=each.detail, count=each.count) for each in record.refusals
        ),
        refusal=record.refusal,
        charged_usd=charged(record, estimate_usd),
    )


def record_of(fields: Mapping[str, Json]) -> AgentRecord:
    """Return what `AgentRecord.as_json` gave; anything else is a `ValueError`, `KeyError` or `TypeError`."""
    values = json.loads(json.dumps(fields))
    values["usage"] = Usage(**values["usage"])
    values["cost_source"] = CostSource(values["cost_source"])
    values["held"] = tuple(values["held"])
    values["refusals"] = tuple(
        Refusal(breach=Breach(each["breach"]), detail=each["detail"], count=each["count"])
        for each in values["refusals"]
    )
    return AgentRecord(**values)
