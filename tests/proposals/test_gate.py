"""The gate opens for exactly what somebody said yes to, while that holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.errors import NotApproved
from pilothouse.ids import CampaignName, ProductId, ProposalId
from pilothouse.proposals.gate import EVERY_SUBJECT, admit, drift
from pilothouse.proposals.proposal import Approval, Subject

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PROPOSAL = ProposalId("proposal-1")
SUBJECT = Subject(
    config_digest="c" * 64, code_commit="abc", evaluation_digest="e" * 64, cost_ceiling="usd=50", pool="local"
)
YES = Approval(
    product=ProductId("demo"),
    campaign=CampaignName("forty-two"),
    subject_digest=SUBJECT.digest(),
    approver="ada",
    waiver=False,
    reason="looks bounded",
    granted_at=NOW - HOUR,
    expires_at=NOW + HOUR,
)
WAIVER = replace(YES, subject_digest=EVERY_SUBJECT, waiver=True, approver="grace", expires_at=None)


@pytest.mark.parametrize("approval", [YES, WAIVER, replace(YES, waiver=True), replace(YES, expires_at=None)])
def test_exact_approval_and_recorded_waiver_open_the_gate(approval: Approval) -> None:
    """The record that opened it is kept with the admission."""
    admitted = admit(PROPOSAL, SUBJECT.digest(), [approval], now=NOW)
    assert (admitted.by, admitted.subject_digest, admitted.at) == (approval, SUBJECT.digest(), NOW)


def test_exact_approval_goes_before_a_waiver() -> None:
    """The record names whoever looked at this very subject."""
    early = replace(WAIVER, granted_at=NOW - 9 * HOUR)
    assert admit(PROPOSAL, SUBJECT.digest(), [early, YES], now=NOW).by == YES


@pytest.mark.parametrize(
    ("approvals", "why"),
    [
        ([], "nobody has said yes"),
        ([replace(YES, subject_digest="f" * 64)], "what was approved is ffffffffffff"),
        ([replace(YES, expires_at=NOW)], "by ada expired at 2026-11-22T12:00:00"),
        ([replace(WAIVER, expires_at=NOW - HOUR)], "by grace expired"),
        ([replace(YES, granted_at=NOW + HOUR)], "holds only from"),
        ([replace(YES, approver="  ")], "no name"),
        ([replace(YES, subject_digest=EVERY_SUBJECT)], "what was approved is"),
    ],
)
def test_closed_gate_says_why_and_what_to_do(approvals: list[Approval], why: str) -> None:
    """An approval of everything that is no waiver covers nothing."""
    with pytest.raises(NotApproved, match=why) as refusal:
        admit(PROPOSAL, SUBJECT.digest(), approvals, now=NOW)
    assert "pilothouse proposal approve proposal-1" in refusal.value.fix


@pytest.mark.parametrize("field", sorted(SUBJECT.as_json()))
def test_any_drift_voids_the_approval_and_is_named(field: str) -> None:
    """Config, code, evaluation set, ceiling and pool alike."""
    values = {**{name: str(value) for name, value in SUBJECT.as_json().items()}, field: "drifted"}
    current = Subject(**values)
    assert drift(SUBJECT, current) == (field,)
    assert drift(SUBJECT, SUBJECT) == ()
    with pytest.raises(NotApproved):
        admit(PROPOSAL, current.digest(), [YES], now=NOW)


approvals = st.builds(
    Approval,
    product=st.just(YES.product),
    campaign=st.just(YES.campaign),
    subject_digest=st.sampled_from([SUBJECT.digest(), EVERY_SUBJECT, "f" * 64]),
    approver=st.sampled_from(["ada", ""]),
    waiver=st.booleans(),
    reason=st.just("because"),
    granted_at=st.sampled_from([NOW - HOUR, NOW, NOW + HOUR]),
    expires_at=st.none() | st.sampled_from([NOW - HOUR, NOW, NOW + HOUR]),
)


@given(st.lists(approvals, max_size=5))
def test_gate_never_opens_without_a_valid_record(known: list[Approval]) -> None:
    """Whatever else lies beside it, and in any order; another useless record never closes it."""

    def holds(one: Approval) -> bool:
        covers = one.subject_digest == SUBJECT.digest() or (one.waiver and one.subject_digest == EVERY_SUBJECT)
        return covers and one.approver != "" and one.granted_at <= NOW and (one.expires_at or NOW + HOUR) > NOW

    if any(holds(one) for one in known):
        opened_by = admit(PROPOSAL, SUBJECT.digest(), known, now=NOW).by
        assert isinstance(opened_by, Approval)
        assert holds(opened_by)
    else:
        with pytest.raises(NotApproved):
            admit(PROPOSAL, SUBJECT.digest(), known, now=NOW)


def test_after_months_of_approvals_only_the_newest_are_named() -> None:
    """One line that a person reads on a terminal, and not one of hundreds of digests."""
    known = [
        replace(YES, subject_digest=f"{number:012x}{0:052x}", granted_at=YES.granted_at + timedelta(seconds=number))
        for number in range(300)
    ]

    with pytest.raises(NotApproved) as refused:
        admit(PROPOSAL, SUBJECT.digest(), known, now=NOW)

    assert "and 297 older" in refused.value.message
    assert len(refused.value.message) < 200
