"""The gate: proposals, exactly what each changes, and the word of somebody who may decide.

A yes and a no name in `If-Match` the subject that was seen, so nobody approves what they have not read, and they need a
token also where the server is open: whatever runs on this machine can reach a loopback.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from pilothouse.access.roles import Permission
from pilothouse.canonical import Json
from pilothouse.errors import PreconditionFailed, PreconditionMissing
from pilothouse.ids import CampaignName
from pilothouse.operations.approve_proposal import ApprovalRequest, approve_proposal, find_proposal
from pilothouse.operations.proposal_view import diff_json, proposal_json, proposal_page
from pilothouse.operations.reject_proposal import Rejection, reject_proposal
from pilothouse.ports.store import Transaction
from pilothouse.proposals.proposal import Approval, Proposal, State
from pilothouse.web.bodies import Approve, Reject, take
from pilothouse.web.identity import Caller
from pilothouse.web.parts import parts_of, route, told
from pilothouse.web.proposal_answers import ApprovalAnswer, DiffAnswer, ProposalAnswer, ProposalsAnswer

router = APIRouter()
PAGE_MAX = 200
ProposalPath = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,100}$", description="The proposal's id.")]


@router.get("/proposals", **route(answers={200: ProposalsAnswer}))
async def list_proposals(
    request: Request,
    campaign: Annotated[str | None, Query(pattern=r"^[a-z][a-z0-9-]{0,62}$")] = None,
    state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50,
) -> Response:
    """List a product's proposals, newest first."""
    parts = parts_of(request)
    caller = await parts.gate.admit(request, Permission.READ)
    name = None if campaign is None else CampaignName(campaign)

    def query(tx: Transaction) -> list[dict[str, Json]]:
        return proposal_page(tx, caller.one, campaign=name, state=state, limit=limit)

    return told({"proposals": await parts.read(query)})


@router.get("/proposals/{proposal}", **route(answers={200: ProposalAnswer}, problems=(404,)))
async def show_proposal(request: Request, proposal: ProposalPath) -> Response:
    """Tell everything that is stored of a proposal; its ETag is the digest that a yes is bound to."""
    parts = parts_of(request)
    caller = await parts.gate.admit(request, Permission.READ)
    found = await parts.read(lambda tx: proposal_json(tx, find_proposal(tx, caller.one, proposal)))
    return told(found, headers={"ETag": f'"{found["subject_digest"]}"'})


@router.get("/proposals/{proposal}/diff", **route(answers={200: DiffAnswer}, problems=(404,)))
async def show_diff(request: Request, proposal: ProposalPath) -> Response:
    """Tell exactly what a proposal changes against its parent, before and after."""
    parts = parts_of(request)
    caller = await parts.gate.admit(request, Permission.READ)
    return told(await parts.read(lambda tx: diff_json(tx, find_proposal(tx, caller.one, proposal))))


@router.post(
    "/proposals/{proposal}/approve",
    **route(answers={201: ApprovalAnswer}, problems=(404, 409, 412, 428), body=Approve),
)
async def approve(request: Request, proposal: ProposalPath) -> Response:
    """Approve the subject that If-Match names, as the token's holder; any drift of it voids the approval."""
    parts = parts_of(request)
    caller = await parts.gate.admit(request, Permission.DECIDE)
    digest = _expected(request)
    body, now = await take(request, Approve), parts.clock.now()
    asked = ApprovalRequest(proposal=proposal, approver=caller.actor, reason=body.reason, expires_in=body.expires_in)

    def act(tx: Transaction) -> Approval:
        _check_seen(tx, caller, proposal, digest)
        return approve_proposal(tx, asked, product=caller.one, now=now)

    return told(_approval_json(proposal, await parts.engine.apply_async(act)), status=201)


@router.post(
    "/proposals/{proposal}/reject",
    **route(answers={200: ProposalAnswer}, problems=(404, 409, 412, 428), body=Reject),
)
async def reject(request: Request, proposal: ProposalPath) -> Response:
    """Reject the proposal whose subject If-Match names, with the reason that whoever proposes next is told."""
    parts = parts_of(request)
    caller = await parts.gate.admit(request, Permission.DECIDE)
    digest = _expected(request)
    body, now = await take(request, Reject), parts.clock.now()
    rejection = Rejection(proposal=proposal, by=caller.actor, reason=body.reason)

    def act(tx: Transaction) -> dict[str, Json]:
        _check_seen(tx, caller, proposal, digest)
        reject_proposal(tx, rejection, product=caller.one, now=now)
        return proposal_json(tx, find_proposal(tx, caller.one, proposal))

    return told(await parts.engine.apply_async(act))


def _expected(request: Request) -> str:
    """Return the digest of the subject that was seen."""
    named = request.headers.get("if-match", "").strip().removeprefix("W/").strip('"')
    if not named:
        raise PreconditionMissing(
            "a decision names the subject that was read", fix='send If-Match: "SUBJECT_DIGEST", as ETag told it'
        )
    return named


def _check_seen(tx: Transaction, caller: Caller, proposal: str, digest: str) -> None:
    """Refuse a decision about another subject than the proposal's."""
    found: Proposal = find_proposal(tx, caller.one, proposal)
    if found.subject.digest() != digest:
        raise PreconditionFailed(
            f"proposal {proposal} is bound to {found.subject.digest()}, and the decision was about {digest:.80}",
            fix="read the proposal again, and decide anew",
        )


def _approval_json(proposal: str, approval: Approval) -> dict[str, Json]:
    assert approval.expires_at is not None, "an approval that was asked for with an end has one"
    return {
        "proposal": proposal,
        "approver": approval.approver,
        "subject_digest": approval.subject_digest,
        "reason": approval.reason,
        "granted_at": approval.granted_at.isoformat(),
        "expires_at": approval.expires_at.isoformat(),
    }
