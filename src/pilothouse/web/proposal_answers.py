"""What answers about the gate carry, as models."""

from __future__ import annotations

from pydantic import JsonValue

from pilothouse.web.answers import Answer


class ProposalRow(Answer):
    """A proposal in short; `subject_digest` is what a yes would be bound to."""

    id: str
    campaign: str
    trial: int
    state: str
    changes: str
    why: str
    risk: str
    source: str
    created_at: str
    subject_digest: str


class ProposalsAnswer(Answer):
    """Proposals, newest first."""

    proposals: list[ProposalRow]


class ProposalAnswer(ProposalRow):
    """Everything that is stored of a proposal."""

    rationale: str
    hypothesis: str
    rollback: str
    refusal: str
    config: dict[str, JsonValue]
    parent_digest: str
    subject: dict[str, str]
    approvals: list[dict[str, JsonValue]]
    admitted: dict[str, JsonValue] | None
    agent: dict[str, JsonValue] | None
    patches: list[dict[str, JsonValue]]
    incidents: list[dict[str, JsonValue]]


class DiffAnswer(Answer):
    """What a proposal changes against its parent; `followed` are derived values that change with it."""

    proposal: str
    campaign: str
    trial: int
    state: str
    parent_digest: str
    parent_is_baseline: bool
    config_digest: str
    changes: list[dict[str, JsonValue]]
    followed: list[dict[str, JsonValue]]


class ApprovalAnswer(Answer):
    """A yes as it was recorded."""

    proposal: str
    approver: str
    subject_digest: str
    reason: str
    granted_at: str
    expires_at: str
