"""What is kept of an agent beside the proposal that it was asked for: how it ran, what it was refused, what it cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from pilothouse.canonical import Json
from pilothouse.ids import CampaignName, ProductId, ProposalId


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossed:
    """One line that an agent tried to cross, `count` times; `kind` is what its incidents are told by."""

    kind: str
    detail: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentTold:
    """What is told of an agent that was asked: its record as JSON values, what it tried, and what it costs.

    `refusal` says why its answer was not taken, empty if it was. `charged_usd` is as in `AgentRun`.
    """

    record: Mapping[str, Json]
    crossed: tuple[Crossed, ...]
    refusal: str
    charged_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRun:
    """One question to an agent; `record` is what was seen of its run, as JSON values.

    `charged_usd` is what the campaign is charged, runs for the same question that were interrupted included. None is
    unknown, and never zero. `about` names what was asked for where it was not the proposal: a patch after a failure.
    """

    product: ProductId
    campaign: CampaignName
    proposal: ProposalId
    at: datetime
    charged_usd: float | None
    record: Mapping[str, Json]
    about: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentIncident:
    """One kind of line that an agent tried to cross, `occurrences` times in its run, and what came of it."""

    product: ProductId
    campaign: CampaignName
    proposal: ProposalId
    at: datetime
    diagnosis: str
    evidence: str
    occurrences: int
    response: str
    about: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What a campaign's agents have cost: the sum of what is known, and of how many runs it is not."""

    usd: float = 0.0
    unknown: int = 0


def spending_of(runs: Iterable[AgentRun]) -> Spending:
    """Return what the runs have cost together."""
    charged = [run.charged_usd for run in runs]
    known = [usd for usd in charged if usd is not None]
    return Spending(usd=math.fsum(known), unknown=len(charged) - len(known))
