"""Approving, rejecting and waiving in a real store: what each opens, what it teaches, and what the logbook says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.campaigns.pilot_world import HERE, START, pilot_definition
from tests.operations.test_autopilot import Stored, asked_for

from pilothouse.access.audit import Actor
from pilothouse.campaigns.autopilot import KeepFloor
from pilothouse.campaigns.record import Trial
from pilothouse.canonical import Json
from pilothouse.errors import BadValue, Conflict, NotApproved, NotFound
from pilothouse.ids import ProposalId
from pilothouse.operations.admit_proposal import admit_proposal
from pilothouse.operations.approve_proposal import ApprovalRequest, approve_proposal
from pilothouse.operations.autopilot_facts import search_of
from pilothouse.operations.keep_suggestion import Suggested, keep_suggestion, not_taken
from pilothouse.operations.proposal_view import diff_json, proposal_json
from pilothouse.operations.reject_proposal import Rejection, reject_proposal
from pilothouse.operations.waive_gate import WaiverRequest, end_waiver, waive_gate
from pilothouse.ports.audit import Wanted
from pilothouse.proposals.agent_run import AgentTold
from pilothouse.proposals.lessons import lessons
from pilothouse.proposals.proposal import Proposal, State
from pilothouse.proposals.waiver import Waiver
from pilothouse.propose.agent_record import AgentRecord, CostSource, Usage, told_of
from pilothouse.propose.sandbox.plan import Breach, Refusal
from pilothouse.store.sqlite.store import SqliteStore

HOUR = timedelta(hours=1)
BUCKETS = ("[knobs.lr]\n", '[knobs.lr]\nbucket = "optimizer"\nrisk = "medium"\n')
REQUEST = WaiverRequest(
    by="ada", reason="a bounded night", knobs=["wd"], buckets=["optimizer"], risk="medium", proposals=1, expires_in="2h"
)
RECORD = AgentRecord(
    runner="command",
    level="landlock",
    held=("namespace",),
    waived_by="",
    attempt=1,
    seconds=0.5,
    exit_code=0,
    usage=Usage(turns=2),
    cost_source=CostSource.UNKNOWN,
    context_digest="c" * 64,
    answer_digest="a" * 64,
    refusals=(
        Refusal(breach=Breach.FILE, detail="openat /etc/shadow", count=2),
        Refusal(breach=Breach.FILE, detail="openat /etc/\udc80\0"),
        Refusal(breach=Breach.SYSTEM_CALL, detail="ptrace"),
    ),
)


class Gate(Stored):
    """A campaign whose baseline is measured and whose gate asks for a yes."""

    def asks(self, overrides: Mapping[str, Json], *, told: AgentTold | None = None, refusal: str = "") -> Proposal:
        """Keep what somebody suggests for trial 1."""
        listed = self.tx.proposals.listed(self.campaign.product, self.campaign.name)
        suggestion = not_taken("agent:command") if refusal else asked_for(overrides)
        suggested = Suggested(
            number=1,
            suggestion=suggestion,
            code_commit=HERE.code,
            identity=ProposalId(f"p-{len(listed)}"),
            told=told,
            refusal=refusal,
        )
        return keep_suggestion(self.tx, suggested, definition=self.definition, campaign=self.campaign, now=self.now)

    def admits(self, proposal: Proposal, *, code: str = HERE.code, later: timedelta = HOUR) -> Trial | None:
        """Bring it to the gate an hour later."""
        return admit_proposal(
            self.tx,
            proposal,
            definition=self.definition,
            campaign=self.campaign,
            code_commit=code,
            now=START + later,
        )

    def waives(self, request: WaiverRequest = REQUEST) -> Waiver:
        """Grant a waiver."""
        return waive_gate(
            self.tx, request, campaign=self.campaign, identity="waiver-1", code_commit=HERE.code, now=START
        )

    def audited(self) -> list[tuple[str, str, str]]:
        """Return who has done what to what, newest first."""
        lines = self.tx.audit.listed(Wanted(product=self.campaign.product))
        return [(line.deed.actor.name, line.deed.act, line.deed.object) for line in lines]

    def labels(self) -> list[str]:
        """Return what the logbook says after the calibration."""
        return [entry.body.label for entry in self.entries()][1:]


@pytest.fixture(name="gate")
def _gate() -> Iterator[Gate]:
    store = SqliteStore(":memory:")
    with store.write() as tx:
        gate = Gate(definition=pilot_definition(BUCKETS), tx=tx, trials_max=1)
        gate.until(KeepFloor)
        yield gate
    store.close()


def test_a_rejection_is_kept_taught_and_final(gate: Gate) -> None:
    """The reason stands on the proposal, in the logbook and in what the next proposer is told."""
    proposal = gate.asks({"lr": 0.2})
    rejection = Rejection(proposal=proposal.id, by=Actor(name="ada"), reason="tried\n last  week")

    reject_proposal(gate.tx, rejection, product=proposal.product, now=START)

    stored = gate.tx.proposals.get(proposal.product, proposal.id)
    assert stored == replace(proposal, state=State.REJECTED, refusal="rejected by ada: tried last week")
    assert gate.labels() == ["gate: rejected p-0"]
    assert gate.audited() == [("ada", "proposal.reject", "p-0")]
    gate.check_chain()
    told = lessons(search_of(gate.tx, gate.definition, gate.campaign).history)
    assert "tried last week" in str(told["refusals"])
    with pytest.raises(Conflict, match="rejected already"):
        reject_proposal(gate.tx, rejection, product=proposal.product, now=START)
    with pytest.raises(Conflict, match="rejected already"):
        approve(gate, proposal)


def approve(gate: Gate, proposal: Proposal, *, at: datetime = START) -> None:
    """Say yes for a day."""
    request = ApprovalRequest(proposal=proposal.id, approver=Actor(name="ada"), reason="fine", expires_in="1d")
    approve_proposal(gate.tx, request, product=proposal.product, now=at)


@pytest.mark.parametrize("reason", ["", " \n ", "x" * 2001])
def test_a_rejection_says_why(gate: Gate, reason: str) -> None:
    """In at most two thousand characters; otherwise nothing is rejected."""
    proposal = gate.asks({"lr": 0.2})

    with pytest.raises(BadValue, match="reason"):
        reject_proposal(
            gate.tx,
            Rejection(proposal=proposal.id, by=Actor(name="ada"), reason=reason),
            product=proposal.product,
            now=START,
        )
    assert gate.tx.proposals.get(proposal.product, proposal.id) == proposal
    with pytest.raises(NotFound):
        reject_proposal(
            gate.tx, Rejection(proposal="p-9", by=Actor(name="ada"), reason="no"), product=proposal.product, now=START
        )


def test_what_was_rejected_meanwhile_does_not_launch(gate: Gate) -> None:
    """The loop read it while it was open; the approval that somebody else gave does not bring it back."""
    proposal = gate.asks({"lr": 0.2})
    approve(gate, proposal)
    reject_proposal(
        gate.tx, Rejection(proposal=proposal.id, by=Actor(name="eve"), reason="no"), product=proposal.product, now=START
    )

    assert gate.admits(proposal) is None
    assert [trial.number for trial in gate.trials_stored()] == [0]
    assert gate.tx.waivers.admission(proposal.product, proposal.id) is None


def test_a_no_takes_back_the_yes_that_was_given_before(gate: Gate) -> None:
    """Whoever proposes the very same again needs another yes, and one that was given after it opens the gate."""
    first = gate.asks({"lr": 0.2})
    approve(gate, first)
    reject_proposal(
        gate.tx, Rejection(proposal=first.id, by=Actor(name="eve"), reason="no"), product=first.product, now=START
    )
    gate.now = START + HOUR / 2
    again = gate.asks({"lr": 0.2})

    assert again.subject == first.subject
    with pytest.raises(NotApproved, match="not approved"):
        gate.admits(again)
    approve(gate, again, at=START + HOUR / 2)
    assert gate.admits(again) is not None


def test_a_waiver_lets_through_nothing_that_a_person_has_refused(gate: Gate) -> None:
    """The loop goes on to another change, and the refusal says whose no it was; a person may still propose it."""
    first = gate.asks({"lr": 0.2})
    reject_proposal(
        gate.tx, Rejection(proposal=first.id, by=Actor(name="eve"), reason="too hot"), product=first.product, now=START
    )
    gate.waives()
    again = gate.asks({"lr": 0.2})

    assert gate.admits(again) is None
    stored = gate.tx.proposals.get(again.product, again.id)
    assert stored is not None
    assert stored.state is State.REJECTED
    assert "rejected by eve: too hot" in stored.refusal
    assert gate.admits(gate.asks({"lr": 0.3})) is not None


def test_a_waiver_looks_at_the_risk_that_the_file_states_now(gate: Gate) -> None:
    """A knob that was found to be dangerous is so for what had been proposed before, too."""
    gate.waives()
    proposal = gate.asks({"lr": 0.2})
    gate.definition = pilot_definition((BUCKETS[0], BUCKETS[1].replace("medium", "high")))

    with pytest.raises(NotApproved, match="this one is high"):
        gate.admits(proposal)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("default = 0.1\nmin = 1e-6\nmax = 1e6", "default = 0.1\nmin = 1e-6\nmax = 0.15"), "0.15"),
        (("[knobs.lr]", "[knobs.rate]"), "no knob any more"),
    ],
)
def test_what_the_file_allows_no_more_does_not_launch(gate: Gate, change: tuple[str, str], why: str) -> None:
    """It was narrowed after the draft: the proposal is refused, whoever has said yes to it."""
    proposal = gate.asks({"lr": 0.2})
    approve(gate, proposal)
    gate.definition = pilot_definition(change)

    assert gate.admits(proposal) is None
    stored = gate.tx.proposals.get(proposal.product, proposal.id)
    assert stored is not None
    assert stored.state is State.REJECTED
    assert why in stored.refusal


@pytest.mark.parametrize(
    ("changed", "mend"),
    [({"approver": Actor(name=" ")}, "--by"), ({"expires_in": "99999999d"}, "366d"), ({"expires_in": "x"}, "12h")],
)
def test_an_approval_names_who_and_until_when(gate: Gate, changed: dict[str, Any], mend: str) -> None:
    """Otherwise nothing is approved, and nothing is noted."""
    proposal = gate.asks({"lr": 0.2})
    request = ApprovalRequest(proposal=proposal.id, approver=Actor(name="ada"), reason="fine", expires_in="1d")

    with pytest.raises(BadValue) as refused:
        approve_proposal(gate.tx, replace(request, **changed), product=proposal.product, now=START)

    assert mend in refused.value.fix
    assert gate.labels() == []


def test_a_yes_counts_by_the_name_that_it_was_checked_by(gate: Gate) -> None:
    """Spaces around it are none of the name: a yes that is recorded opens the gate."""
    proposal = gate.asks({"lr": 0.2})
    given = approve_proposal(
        gate.tx,
        ApprovalRequest(proposal=proposal.id, approver=Actor(name=" ada\n"), reason=" small \n step ", expires_in="1d"),
        product=gate.campaign.product,
        now=START,
    )

    assert (given.approver, given.reason) == ("ada", "small step")
    assert gate.audited()[0] == ("ada", "proposal.approve", proposal.id)


def test_an_approval_is_noted_and_the_admission_names_it(gate: Gate) -> None:
    """Who opened the gate, and that no waiver did."""
    proposal = gate.asks({"lr": 0.2})
    approve(gate, proposal)

    assert gate.admits(proposal) is not None
    admission = gate.tx.waivers.admission(proposal.product, proposal.id)
    assert admission is not None
    assert (admission.approver, admission.waiver) == ("ada", None)
    assert admission.subject_digest == proposal.subject.digest()
    assert gate.labels() == ["gate: approved p-0"]
    assert gate.audited() == [("ada", "proposal.approve", "p-0")]


def test_a_waiver_lets_its_number_through_and_no_more(gate: Gate) -> None:
    """Its record and each admission say so; the launch takes everything anew."""
    waiver = gate.waives()
    proposal = gate.asks({"lr": 0.2})

    assert gate.admits(proposal) is not None
    (standing,) = gate.tx.waivers.standing(proposal.product, proposal.campaign)
    told = proposal_json(gate.tx, proposal)

    assert (standing.waiver, standing.used) == (waiver, 1)
    assert told["admitted"] == {"by": "ada", "waiver": "waiver-1", "at": (START + HOUR).isoformat()}
    assert gate.labels() == ["gate: waiver waiver-1"]
    gate.check_chain()
    second = gate.asks({"lr": 0.3})
    with pytest.raises(NotApproved, match="has let its 1 through"):
        gate.admits(second)


@pytest.mark.parametrize(
    ("changed", "overrides", "later", "why"),
    [
        ({"knobs": [], "buckets": ["other"]}, {"lr": 0.2}, HOUR, "covers bucket other, and this one moves lr"),
        ({"risk": "low"}, {"lr": 0.2}, HOUR, "risk up to low, and this one is medium"),
        ({}, {"lr": 0.2}, 2 * HOUR, "ended at"),
    ],
)
def test_a_waiver_covers_nothing_else(
    gate: Gate, changed: dict[str, Any], overrides: Mapping[str, Json], later: timedelta, why: str
) -> None:
    """Neither other knobs, nor more risk, nor another day."""
    gate.waives(replace(REQUEST, **changed))

    with pytest.raises(NotApproved, match=why):
        gate.admits(gate.asks(overrides), later=later)


def test_a_waiver_is_void_under_other_code_and_after_its_end(gate: Gate) -> None:
    """Drift rejects the proposal; one that is drafted under the new code is not covered. Ending is on the record."""
    gate.waives()
    proposal = gate.asks({"lr": 0.2})
    assert gate.admits(proposal, code="other") is None
    with pytest.raises(NotApproved, match="before code_commit changed"):
        gate.admits(replace_code(gate, "other"), code="other")

    end_waiver(gate.tx, "waiver-1", campaign=gate.campaign, by="bob", now=START)

    with pytest.raises(NotApproved, match="was ended by bob"):
        gate.admits(gate.asks({"lr": 0.2}))
    assert gate.labels() == ["gate: waiver waiver-1", "gate: end of waiver waiver-1"]
    assert gate.audited() == [("bob", "waiver.end", "waiver-1"), ("ada", "waiver.grant", "waiver-1")]
    with pytest.raises(Conflict, match="ended by bob"):
        end_waiver(gate.tx, "waiver-1", campaign=gate.campaign, by="eve", now=START)
    with pytest.raises(NotFound):
        end_waiver(gate.tx, "waiver-2", campaign=gate.campaign, by="eve", now=START)


def replace_code(gate: Gate, code: str) -> Proposal:
    """Return a proposal that was drafted under this commit."""
    suggested = Suggested(number=1, suggestion=asked_for({"lr": 0.2}), code_commit=code, identity=ProposalId("p-other"))
    return keep_suggestion(gate.tx, suggested, definition=gate.definition, campaign=gate.campaign, now=START)


@pytest.mark.parametrize(
    ("changed", "mend"),
    [
        ({"by": " "}, "--by"),
        ({"reason": ""}, "--reason"),
        ({"proposals": 0}, "1 to"),
        ({"knobs": ["lrr"]}, "did you mean 'lr'"),
        ({"buckets": ["optimiser"]}, "did you mean 'optimizer'"),
        ({"risk": "none"}, "known are|did you mean"),
        ({"expires_in": "soon"}, "12h"),
        ({"expires_in": "500d"}, "366d"),
    ],
)
def test_a_waiver_without_a_scope_or_an_end_is_refused(gate: Gate, changed: dict[str, Any], mend: str) -> None:
    """Nothing is granted, and nothing is noted."""
    with pytest.raises(BadValue) as refused:
        gate.waives(replace(REQUEST, **changed))

    assert refused.match(".")
    assert any(word in refused.value.fix for word in mend.split("|"))
    assert list(gate.tx.waivers.standing(gate.campaign.product, gate.campaign.name)) == []
    assert gate.labels() == []


def test_a_diff_tells_the_exact_change_and_whose_parent_it_is(gate: Gate) -> None:
    """Before and after of what really moves, however many knobs were named."""
    proposal = gate.asks({"lr": 0.2, "wd": 0.5})
    told = diff_json(gate.tx, proposal)

    assert told["changes"] == [
        {"knob": "lr", "before": 0.1, "after": 0.2, "bucket": "optimizer", "risk": "medium", "max_step": None}
    ]
    assert (told["parent_is_baseline"], told["followed"]) == (True, [])
    gate.tx.campaigns.configure(proposal.product, proposal.campaign, config={"lr": 0.1, "wd": 0.6})
    assert diff_json(gate.tx, proposal)["parent_is_baseline"] is False


def test_an_agent_s_run_and_what_it_was_refused_stay_with_its_proposal(gate: Gate) -> None:
    """One incident for each kind, in words that any database keeps; an unknown cost is unknown."""
    told = proposal_json(gate.tx, gate.asks({"lr": 0.2}, told=told_of(RECORD, None)))

    agent, incidents = told["agent"], told["incidents"]
    assert isinstance(agent, Mapping)
    assert isinstance(incidents, list)
    assert (agent["level"], agent["charged_usd"], agent["usage"]) == ("landlock", None, usage_json())
    assert [(each["diagnosis"], each["occurrences"]) for each in incidents] == [("file", 3), ("system_call", 1)]
    assert "openat /etc/shadow (2 times)" in incidents[0]["evidence"]
    assert "stands and meets the gate" in incidents[0]["response"]


def usage_json() -> dict[str, Json]:
    """Return what the record's agent told of itself."""
    return {
        "turns": 2,
        "tokens_in": None,
        "tokens_cached": None,
        "tokens_out": None,
        "cost_usd": None,
        "session": "",
    }


@pytest.mark.parametrize(
    ("record", "overrides", "refusal", "kind"),
    [
        (replace(RECORD, refusals=()), {"lr": 1e9}, "", "guardrail"),
        (replace(RECORD, refusals=(), refusal="no JSON"), {}, "no JSON", "failed"),
        (
            replace(RECORD, refusals=(Refusal(breach=Breach.ANSWER, detail="no JSON"),), refusal="no JSON"),
            {},
            "no JSON",
            "answer",
        ),
    ],
)
def test_an_answer_that_is_not_taken_is_a_rejected_proposal_and_an_incident(
    gate: Gate, record: AgentRecord, overrides: Mapping[str, Json], refusal: str, kind: str
) -> None:
    """What the guardrails refuse, what was no answer, and a run that failed."""
    proposal = gate.asks(overrides, told=told_of(record, 0.5), refusal=refusal)
    (incident,) = gate.tx.agents.incidents(proposal.product, proposal.campaign)

    assert proposal.state is State.REJECTED
    assert refusal in proposal.refusal
    assert (incident.diagnosis, incident.response) == (kind, "rejected: the loop asks again")
    assert gate.admits(proposal) is None
