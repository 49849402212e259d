"""What every store must do at the gate: proposals that move, waivers, admissions, what agents did; as tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from pilothouse.errors import Conflict, NotFound
from pilothouse.ids import CampaignName, ProductId, ProposalId
from pilothouse.ports.store import Store, Transaction
from pilothouse.proposals.agent_run import AgentIncident, AgentRun, Spending
from pilothouse.proposals.proposal import Risk, State
from pilothouse.proposals.waiver import Admission, Standing, Waiver
from pilothouse.testing import values
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.jobs_conformance import OTHER
from pilothouse.testing.values import CAMPAIGN, PRODUCT

LATER = BEGIN + timedelta(hours=1)
WAIVER = Waiver(
    id="waiver-1",
    product=PRODUCT,
    campaign=CAMPAIGN,
    granted_by="ada",
    reason="a bounded night",
    knobs=("layers",),
    buckets=("optimizer",),
    risk=Risk.MEDIUM,
    proposals=2,
    terms={"pool": "local"},
    granted_at=BEGIN,
    expires_at=LATER,
)


def admission(number: int, *, waiver: str | None) -> Admission:
    """Return how proposal `number` passed the gate."""
    return Admission(
        product=PRODUCT,
        campaign=CAMPAIGN,
        proposal=ProposalId(f"proposal-{number}"),
        subject_digest=values.make_digest("subject"),
        approver="ada",
        waiver=waiver,
        at=BEGIN,
    )


def begin(tx: Transaction, *, proposals: int = 3) -> None:
    """Store a campaign with so many proposals."""
    tx.campaigns.put(values.make_campaign())
    for number in range(1, proposals + 1):
        tx.proposals.add(values.make_proposal(number))


class GateConformance:
    """Who opened the gate, and what agents did to reach it."""

    def test_a_waiver_comes_back_and_counts_what_it_let_through(self, store: Store) -> None:
        """With its scope, and with an admission by an approval left out."""
        with store.write() as tx:
            begin(tx)
            tx.waivers.grant(WAIVER)
            tx.waivers.admit(admission(1, waiver=WAIVER.id))
            tx.waivers.admit(admission(2, waiver=None))
        with store.read() as tx:
            assert list(tx.waivers.standing(PRODUCT, CAMPAIGN)) == [Standing(waiver=WAIVER, used=1)]
            assert tx.waivers.admission(PRODUCT, ProposalId("proposal-1")) == admission(1, waiver=WAIVER.id)
            assert tx.waivers.admission(PRODUCT, ProposalId("proposal-2")) == admission(2, waiver=None)
            assert tx.waivers.admission(PRODUCT, ProposalId("proposal-3")) is None

    def test_a_waiver_that_is_used_up_lets_nothing_more_through(self, store: Store) -> None:
        """The tables hold it too, whoever asks; and nobody passes the gate twice."""
        with store.write() as tx:
            begin(tx)
            tx.waivers.grant(WAIVER)
            tx.waivers.admit(admission(1, waiver=WAIVER.id))
            with pytest.raises(Conflict), tx.savepoint():
                tx.waivers.admit(admission(1, waiver=None))
            tx.waivers.admit(admission(2, waiver=WAIVER.id))
            with pytest.raises(Conflict, match="no more proposals"), tx.savepoint():
                tx.waivers.admit(admission(3, waiver=WAIVER.id))
            with pytest.raises(NotFound), tx.savepoint():
                tx.waivers.admit(admission(3, waiver="waiver-9"))

    def test_a_waiver_is_ended_once(self, store: Store) -> None:
        """And has an end from the beginning."""
        with store.write() as tx:
            begin(tx, proposals=0)
            tx.waivers.grant(WAIVER)
            tx.waivers.end(PRODUCT, WAIVER.id, by="bob", now=LATER)
            with pytest.raises(Conflict, match="ended once"), tx.savepoint():
                tx.waivers.end(PRODUCT, WAIVER.id, by="eve", now=LATER)
            with pytest.raises(NotFound):
                tx.waivers.end(PRODUCT, "waiver-9", by="eve", now=LATER)
            with pytest.raises(Conflict), tx.savepoint():
                tx.waivers.grant(replace(WAIVER, id="waiver-2", expires_at=BEGIN))
            (found,) = tx.waivers.standing(PRODUCT, CAMPAIGN)
        assert (found.waiver.ended_at, found.waiver.ended_by) == (LATER, "bob")

    def test_what_an_agent_did_comes_back_once(self, store: Store) -> None:
        """An unknown cost stays unknown; a proposal has one run and one incident of a kind, for each thing asked."""
        run = AgentRun(
            product=PRODUCT,
            campaign=CAMPAIGN,
            proposal=ProposalId("proposal-1"),
            at=BEGIN,
            charged_usd=None,
            record={"level": "landlock", "turns": 3},
        )
        paid = replace(run, proposal=ProposalId("proposal-2"), charged_usd=0.125)
        incident = AgentIncident(
            product=PRODUCT,
            campaign=CAMPAIGN,
            proposal=run.proposal,
            at=BEGIN,
            diagnosis="file",
            evidence="openat /etc/shadow",
            occurrences=2,
            response="held",
        )
        patch, tried = replace(run, about="patch of run-1", charged_usd=0.5), replace(incident, about="patch of run-1")
        with store.write() as tx:
            begin(tx)
            for each in (run, paid, patch):
                tx.agents.keep(each)
            tx.agents.note(incident)
            tx.agents.note(tried)
            with pytest.raises(Conflict), tx.savepoint():
                tx.agents.keep(run)
            with pytest.raises(Conflict), tx.savepoint():
                tx.agents.note(incident)
            with pytest.raises(NotFound), tx.savepoint():
                tx.agents.keep(replace(run, proposal=ProposalId("proposal-9")))
        with store.read() as tx:
            assert list(tx.agents.runs(PRODUCT, CAMPAIGN)) == [run, paid, patch]
            assert list(tx.agents.runs(PRODUCT, CAMPAIGN, least=2)) == [paid]
            assert tx.agents.spent(PRODUCT, CAMPAIGN) == Spending(usd=0.625, unknown=1)
            assert tx.agents.spent(PRODUCT, CampaignName("other")) == Spending()
            assert list(tx.agents.incidents(PRODUCT, CAMPAIGN)) == [incident, tried]

    def test_the_newest_proposals_are_found_by_campaign_and_state(self, store: Store) -> None:
        """Of two that were stored at once the later id goes first; another product's are not there."""
        made = [values.make_proposal(number) for number in (1, 2, 3)]
        older = replace(values.make_proposal(4), created_at=made[0].created_at - timedelta(hours=1))
        with store.write() as tx:
            tx.campaigns.put(values.make_campaign())
            for each in (older, *made):
                tx.proposals.add(each)
            tx.proposals.move(PRODUCT, made[1].id, state=State.ADMITTED, refusal="")

            def ids(product: ProductId, name: CampaignName | None, state: State | None, limit: int) -> list[str]:
                found = tx.proposals.newest(product, name=name, state=state, limit=limit)
                return [each.id for each in found]

            assert ids(PRODUCT, None, None, 9) == [made[2].id, made[1].id, made[0].id, older.id]
            assert ids(PRODUCT, CAMPAIGN, State.OPEN, 2) == [made[2].id, made[0].id]
            assert ids(PRODUCT, CampaignName("another"), None, 9) == ids(OTHER, None, None, 9) == []

    def test_a_proposal_moves_only_from_where_it_was_read(self, store: Store) -> None:
        """A no and a launch that come at once from two processes: the first to be written counts, whatever was read."""
        proposal = values.make_proposal(1)
        with store.write() as tx:
            tx.campaigns.put(values.make_campaign())
            tx.proposals.add(proposal)
            assert tx.proposals.move(PRODUCT, proposal.id, state=State.REJECTED, refusal="no")
            assert not tx.proposals.move(PRODUCT, proposal.id, state=State.ADMITTED, refusal="")
            refused = tx.proposals.get(PRODUCT, proposal.id)
            assert tx.proposals.move(PRODUCT, proposal.id, state=State.ADMITTED, refusal="", was=State.REJECTED)

        assert refused == replace(proposal, state=State.REJECTED, refusal="no")
