"""Take in an approval that was given on the forge: by an allow-listed person who may write, on exactly what was seen.

The pull request's head holds the proposal's own page, and with it the digest of its subject; so an approval of that
head is one of that digest. A comment names the digest itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.kinds import definition_of
from pilothouse.errors import Conflict, NotFound, Refused
from pilothouse.ids import ProductId, RunId
from pilothouse.logbook.letter import GITHUB, Kind, Posted
from pilothouse.operations.note_gate import note_decision
from pilothouse.ports.outbox import LetterQuery
from pilothouse.ports.store import Transaction
from pilothouse.proposals.proposal import Approval, Proposal, State

WRITERS = frozenset({"write", "maintain", "admin"})
HOLDS = timedelta(days=1)
"""How long an approval from the forge holds; the same as one from the command line."""
LETTERS_READ = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgeApproval:
    """A yes on a pull request: who, with which permission there, on which head, and when.

    `digest` is the subject's as a comment names it, empty for a review, which is bound by its head. `url` is where it
    stands.
    """

    pull_request: str
    head: str
    approver: str
    permission: str
    digest: str
    url: str
    at: datetime


def approve_from_forge(tx: Transaction, given: ForgeApproval, *, product: ProductId, now: datetime) -> Approval:
    """Return the approval as recorded; the same one again changes nothing.

    Raises `NotFound` for a pull request that tells no proposal, `Conflict` for a proposal that is not open, and
    `Refused`, naming what is wrong, for a person, a head or a digest that does not count.
    """
    posted = _pull_request(tx, given, product=product)
    proposal, definition = _proposal(tx, posted, product=product)
    _require_person(definition, given)
    if posted.answer.get("head") != given.head:
        raise Refused(
            f"the yes of {given.approver} is for head {given.head[:12]}, the proposal's is "
            f"{str(posted.answer.get('head'))[:12]}",
            fix="approve the pull request as the product opened it: whatever was pushed since nobody has proposed",
        )
    digest = proposal.subject.digest()
    if given.digest and given.digest != digest:
        raise Refused(
            f"the yes of {given.approver} names subject {given.digest[:12]}, the proposal's is {digest[:12]}",
            fix="copy the digest from the pull request's text",
        )
    approval = Approval(
        product=product,
        campaign=proposal.campaign,
        subject_digest=digest,
        approver=given.approver,
        waiver=False,
        reason=f"on the forge: {given.url}",
        granted_at=given.at,
        expires_at=given.at + HOLDS,
    )
    if approval in tx.proposals.approvals(product, proposal.campaign):
        return approval
    if proposal.state is not State.OPEN:
        raise Conflict(f"proposal {proposal.id} is {proposal.state.value} already", fix="approve an open one")
    tx.proposals.approve(approval)
    note_decision(
        tx,
        proposal,
        decided="approved",
        by=approval.approver,
        why=approval.reason,
        evidence={"head": given.head, "permission": given.permission},
        now=now,
    )
    return approval


def _require_person(definition: FerryDefinition, given: ForgeApproval) -> None:
    """Refuse whoever is not named in the file, or may not write there; on a forge anybody can say yes."""
    if not definition.ferry.approvers or not definition.may_approve(given.approver):
        raise Refused(
            f"{given.approver} is not among the approvers of campaign {definition.campaign.name}",
            fix="name them in [ferry] approvers, or approve with `pilothouse proposal approve`",
        )
    if given.permission not in WRITERS:
        raise Refused(
            f"{given.approver} has the permission {given.permission!r} on the forge, and not write",
            fix="let somebody approve who may write to the repository",
        )


def _pull_request(tx: Transaction, given: ForgeApproval, *, product: ProductId) -> Posted:
    letters = tx.outbox.listed(LetterQuery(product=product, channel=GITHUB, limit=LETTERS_READ))
    found = [
        each
        for each in letters
        if each.letter.kind is Kind.PULL_REQUEST
        and str(each.answer.get("number", each.remote)) == given.pull_request
        and each.letter.key.rpartition("/")[2].startswith("proposal")
    ]
    if not found:
        raise NotFound(
            f"pull request {given.pull_request} tells no proposal of {product}",
            fix="`pilothouse proposal list` shows the proposals",
        )
    return found[0]


def _proposal(tx: Transaction, posted: Posted, *, product: ProductId) -> tuple[Proposal, FerryDefinition]:
    """Return the proposal that a pull request tells; each proposal of a ferry has one of its own, in their order."""
    run, _, name = posted.letter.key.rpartition("/")
    ferry = tx.ferries.by_run(product, RunId(run))
    assert ferry is not None, f"pull request {posted.letter.key} has no ferry"
    campaign = tx.campaigns.get(product, ferry.campaign)
    assert campaign is not None, f"ferry {run} has no campaign"
    definition = definition_of(campaign.definition)
    assert isinstance(definition, FerryDefinition), f"campaign {campaign.name} is no ferry's"
    place = int(name.partition("-")[2] or 1) - 1
    own = [each for each in tx.proposals.listed(product, campaign.name) if each.number == ferry.number]
    return own[place], definition
