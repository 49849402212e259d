"""A waiver covers what its scope names, so many times, until it ends, and nothing that has drifted since."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pilothouse.errors import NotApproved
from pilothouse.ids import CampaignName, ProductId, ProposalId
from pilothouse.proposals.gate import EVERY_SUBJECT, Admitted, admit
from pilothouse.proposals.proposal import Approval, Risk
from pilothouse.proposals.waiver import Moves, Standing, Waiver, why_not

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PROPOSAL, SUBJECT = ProposalId("proposal-1"), "5" * 64
TERMS = {"programs": "p", "code_commit": "c", "evaluation_digest": "e", "cost_ceiling": "usd=5", "pool": "local"}
WAIVER = Waiver(
    id="waiver-1",
    product=ProductId("demo"),
    campaign=CampaignName("pilot"),
    granted_by="ada",
    reason="a bounded night",
    knobs=("rate",),
    buckets=("optimizer",),
    risk=Risk.MEDIUM,
    proposals=3,
    terms=TERMS,
    granted_at=NOW - HOUR,
    expires_at=NOW + HOUR,
)
MOVES = Moves(buckets={"rate": "other", "momentum": "optimizer"}, risk=Risk.MEDIUM, terms=TERMS)


def standing(*, used: int = 0, **changed: Any) -> Standing:
    """Return the waiver with these fields changed."""
    return Standing(waiver=replace(WAIVER, **changed), used=used)


@pytest.mark.parametrize(
    ("case", "moves"),
    [
        (standing(used=2), MOVES),
        (standing(), replace(MOVES, risk=Risk.LOW)),
        (standing(), replace(MOVES, buckets={})),
        (standing(knobs=(), buckets=()), replace(MOVES, buckets={"layers": "model"})),
        (standing(knobs=()), replace(MOVES, buckets={"momentum": "optimizer"})),
        (standing(granted_at=NOW), MOVES),
    ],
)
def test_a_waiver_covers_what_lies_within_it(case: Standing, moves: Moves) -> None:
    """A knob by its name or by its bucket; anything where neither is named."""
    assert why_not(case, moves, now=NOW) == ""
    assert admit(PROPOSAL, SUBJECT, [], now=NOW, waivers=[case], moves=moves).by == case.waiver


@pytest.mark.parametrize(
    ("case", "moves", "why"),
    [
        (standing(used=3), MOVES, "has let its 3 through"),
        (standing(expires_at=NOW), MOVES, "ended at 2026-11-22T12:00:00"),
        (standing(ended_at=NOW, ended_by="bob"), MOVES, "was ended by bob"),
        (standing(granted_at=NOW + HOUR), MOVES, "holds only from"),
        (standing(), replace(MOVES, risk=Risk.HIGH), "covers a risk up to medium, and this one is high"),
        (standing(), replace(MOVES, buckets={"rate": "other", "layers": "model"}), "and this one moves layers"),
        (standing(knobs=()), replace(MOVES, buckets={"rate": "other"}), "covers bucket optimizer"),
        *[
            (standing(), replace(MOVES, terms=TERMS | {name: "other"}), f"was granted before {name} changed")
            for name in TERMS
        ],
        (standing(), replace(MOVES, terms={}), "was granted before"),
    ],
)
def test_a_waiver_covers_nothing_beyond_and_says_why(case: Standing, moves: Moves, why: str) -> None:
    """Spent, over, not yet begun, beyond its scope, or about other code, programs, data, costs or machines."""
    assert why in why_not(case, moves, now=NOW)
    with pytest.raises(NotApproved, match="waiver waiver-1"):
        admit(PROPOSAL, SUBJECT, [], now=NOW, waivers=[case], moves=moves)


def test_an_exact_approval_goes_first_and_the_file_s_waiver_last() -> None:
    """A waiver is not used up by what somebody has looked at."""
    yes = Approval(
        product=WAIVER.product,
        campaign=WAIVER.campaign,
        subject_digest=SUBJECT,
        approver="grace",
        waiver=False,
        reason="",
        granted_at=NOW - HOUR,
        expires_at=None,
    )
    file = replace(yes, subject_digest=EVERY_SUBJECT, waiver=True, approver="the file")

    def opened(*given: Approval) -> Admitted:
        return admit(PROPOSAL, SUBJECT, given, now=NOW, waivers=[standing()], moves=MOVES)

    assert opened(file, yes).by == yes
    assert opened(file).by == WAIVER
    assert admit(PROPOSAL, SUBJECT, [file], now=NOW, waivers=[standing(used=3)], moves=MOVES).by == file
