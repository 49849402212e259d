"""A proposal: an exact change against its parent, with its reasons, and the subject that the gate approves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pilothouse.canonical import Json, digest
from pilothouse.ids import CampaignName, ProductId, ProposalId
from pilothouse.knobs.delta import Change

BY_HAND = "person"
"""The source of what a person has proposed."""


class Risk(StrEnum):
    """How much could break."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class State(StrEnum):
    """Where a proposal stands."""

    OPEN = "open"
    ADMITTED = "admitted"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What an approval is bound to; any drift in it voids the approval."""

    config_digest: str
    code_commit: str
    evaluation_digest: str
    cost_ceiling: str
    pool: str

    def digest(self) -> str:
        """Return the digest that an approver signs."""
        return digest(self.as_json())

    def as_json(self) -> dict[str, Json]:
        """Return the subject as JSON values."""
        return {
            "config_digest": self.config_digest,
            "code_commit": self.code_commit,
            "evaluation_digest": self.evaluation_digest,
            "cost_ceiling": self.cost_ceiling,
            "pool": self.pool,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One bounded change under consideration; `number` is the trial it would become."""

    id: ProposalId
    product: ProductId
    campaign: CampaignName
    number: int
    parent_digest: str
    config: Mapping[str, Json]
    changes: tuple[Change, ...]
    why_not_identical: str
    rationale: str
    hypothesis: str
    risk: Risk
    rollback: str
    source: str
    subject: Subject
    state: State
    created_at: datetime
    refusal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A person's yes, or a recorded waiver, to exactly one subject digest; a waiver's `subject_digest` is `*`."""

    product: ProductId
    campaign: CampaignName
    subject_digest: str
    approver: str
    waiver: bool
    reason: str
    granted_at: datetime
    expires_at: datetime | None
