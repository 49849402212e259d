"""`ports.store.Proposals` over a connection of either database."""

from __future__ import annotations

from collections.abc import Sequence

from pilothouse.errors import NotFound
from pilothouse.ids import CampaignName, ProductId, ProposalId
from pilothouse.proposals.proposal import Approval, Proposal, State
from pilothouse.store import rows
from pilothouse.store.connection import Connection
from pilothouse.store.rows import instant


class StoredProposals:
    """Proposals and approvals within one transaction of the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sql = connection.queries("proposals")

    def add(self, proposal: Proposal) -> None:
        """Store a proposal, whose content never changes again."""
        changes = [{"knob": change.knob, "before": change.before, "after": change.after} for change in proposal.changes]
        self._connection.run(
            self._sql["add_proposal"],
            {
                "id": proposal.id,
                "product": proposal.product,
                "campaign": proposal.campaign,
                "number": proposal.number,
                "parent_digest": proposal.parent_digest,
                "config": rows.strict_json(proposal.config),
                "changes": rows.strict_json(changes),
                "why_not_identical": proposal.why_not_identical,
                "rationale": proposal.rationale,
                "hypothesis": proposal.hypothesis,
                "risk": proposal.risk.value,
                "rollback": proposal.rollback,
                "source": proposal.source,
                "subject": rows.strict_json(proposal.subject.as_json()),
                "state": proposal.state.value,
                "created_at": instant(proposal.created_at),
                "refusal": proposal.refusal,
            },
        )

    def get(self, product: ProductId, proposal: ProposalId) -> Proposal | None:
        """Return the proposal of that id."""
        row = self._connection.row(self._sql["proposal_by_id"], {"product": product, "id": proposal})
        return None if row is None else rows.proposal(row)

    def listed(self, product: ProductId, name: CampaignName, *, least: int = 0) -> Sequence[Proposal]:
        """Return the proposals of a campaign, oldest first, those of trials from a least one on."""
        parameters: dict[str, str | int] = {"product": product, "name": name, "least": least}
        found = self._connection.rows(self._sql["proposals_of_campaign"], parameters)
        return [rows.proposal(row) for row in found]

    def newest(
        self, product: ProductId, *, name: CampaignName | None, state: State | None, limit: int
    ) -> Sequence[Proposal]:
        """Return a product's proposals, newest first, at most so many; a name or a state of None is any."""
        parameters: dict[str, str | int] = {
            "product": product,
            "name": name or "",
            "state": "" if state is None else state.value,
            "limit": limit,
        }
        return [rows.proposal(row) for row in self._connection.rows(self._sql["newest_proposals"], parameters)]

    def move(
        self, product: ProductId, proposal: ProposalId, *, state: State, refusal: str, was: State = State.OPEN
    ) -> bool:
        """Keep what became of a proposal, and return whether it still was where another process may have moved it."""
        moved = {"product": product, "id": proposal, "state": state.value, "refusal": refusal, "was": was.value}
        if self._connection.run(self._sql["move_proposal"], moved):
            return True
        if self.get(product, proposal) is None:
            raise NotFound(
                f"no proposal has the id {proposal!r}", fix="list the proposals of the campaign and take one of theirs"
            )
        return False

    def approve(self, approval: Approval) -> None:
        """Keep a yes, or a waiver; it is never changed again."""
        self._connection.run(
            self._sql["add_approval"],
            {
                "product": approval.product,
                "campaign": approval.campaign,
                "subject_digest": approval.subject_digest,
                "approver": approval.approver,
                "waiver": int(approval.waiver),
                "reason": approval.reason,
                "granted_at": instant(approval.granted_at),
                "expires_at": instant(approval.expires_at),
            },
        )

    def approvals(self, product: ProductId, name: CampaignName) -> Sequence[Approval]:
        """Return the approvals of a campaign, oldest first."""
        found = self._connection.rows(self._sql["approvals_of_campaign"], {"product": product, "name": name})
        return [rows.approval(row) for row in found]
