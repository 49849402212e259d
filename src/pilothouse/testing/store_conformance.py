"""What every store must do, as tests; a backend subclasses `StoreConformance` with a fixture `store`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

import pytest

from pilothouse.campaigns.record import Halt, Owner, TrialState
from pilothouse.errors import BadValue, Conflict, KeyReused, LeaseLost, NotFound, PilothouseError, StorageFailed
from pilothouse.fleet.job import Job, Outcome
from pilothouse.fleet.stages import Stage
from pilothouse.ids import CampaignName, ProposalId
from pilothouse.ports.leadership import Leadership
from pilothouse.ports.store import Store, Transaction
from pilothouse.proposals.promotion import Confirmation, Confirmed
from pilothouse.proposals.proposal import State
from pilothouse.testing import values
from pilothouse.testing.endings_conformance import EndingsConformance
from pilothouse.testing.flight_conformance import FlightConformance
from pilothouse.testing.gate_conformance import GateConformance
from pilothouse.testing.graph_conformance import GraphConformance
from pilothouse.testing.jobs_conformance import LATER, NOBODY, OTHER, JobsConformance, building, finish, insert
from pilothouse.testing.values import CAMPAIGN, PRODUCT

NO_CAMPAIGN = CampaignName("nowhere")


class LedStore(Store, Leadership, Protocol):
    """A store whose lead can be taken."""


class CampaignsConformance:
    """Campaigns and what belongs to them."""

    def test_a_campaign_comes_back_and_keeps_its_state_when_redefined(self, store: Store) -> None:
        """A second `put` replaces the definition, and neither config nor owner nor halt."""
        owner = Owner(host="here", pid=12, started=1767323045.125, boot="b")
        campaign = values.make_campaign(owner=owner)
        changed = replace(campaign, definition={"a": [1, None]}, definition_digest="d", config={}, owner=None)
        with store.write() as tx:
            tx.campaigns.put(campaign)
            assert tx.campaigns.get(PRODUCT, CAMPAIGN) == campaign
            tx.campaigns.put(changed)
        with store.read() as tx:
            stored = tx.campaigns.get(PRODUCT, CAMPAIGN)
            assert tx.campaigns.get(OTHER, CAMPAIGN) is None

        assert stored == replace(campaign, definition={"a": [1, None]}, definition_digest="d")

    def test_owner_halt_and_config_move_alone(self, store: Store) -> None:
        """Each can be set and taken back."""
        owner = Owner(host="here", pid=12, started=0.5, boot="b")
        with store.write() as tx:
            tx.campaigns.put(values.make_campaign())
            tx.campaigns.own(PRODUCT, CAMPAIGN, owner=owner)
            tx.campaigns.halt(PRODUCT, CAMPAIGN, halt=Halt.FAILED, last_error="no", next_action="look")
            tx.campaigns.configure(PRODUCT, CAMPAIGN, config={"x": 1.5})
            moved = tx.campaigns.get(PRODUCT, CAMPAIGN)
            tx.campaigns.own(PRODUCT, CAMPAIGN, owner=None)
            tx.campaigns.halt(PRODUCT, CAMPAIGN, halt=None, last_error="", next_action="")
            back = tx.campaigns.get(PRODUCT, CAMPAIGN)

        expected = replace(values.make_campaign(), config={"x": 1.5})
        assert moved == replace(expected, owner=owner, halt=Halt.FAILED, last_error="no", next_action="look")
        assert back == expected

    def test_a_change_of_what_is_not_stored_is_told(self, store: Store) -> None:
        """A typing mistake in a name never passes as success."""
        with store.write() as tx:
            campaigns = tx.campaigns
            changes: list[Callable[[], None]] = [
                lambda: campaigns.own(PRODUCT, NO_CAMPAIGN, owner=None),
                lambda: campaigns.halt(PRODUCT, NO_CAMPAIGN, halt=None, last_error="", next_action=""),
                lambda: campaigns.configure(PRODUCT, NO_CAMPAIGN, config={}),
                lambda: campaigns.count_look(PRODUCT, NO_CAMPAIGN, "golden"),
                lambda: campaigns.put_trial(values.make_trial(1)),
                lambda: campaigns.add_promotion(values.make_promotion(1)),
                lambda: campaigns.lock_golden(values.make_golden()),
            ]
            for change in changes:
                with pytest.raises(NotFound), tx.savepoint():
                    change()

    def test_campaigns_are_listed_by_name_within_their_product(self, store: Store) -> None:
        """Another product's campaign of the same name is another campaign."""
        with store.write() as tx:
            for product, name in ((PRODUCT, "b"), (OTHER, "c"), (PRODUCT, "a")):
                tx.campaigns.put(values.make_campaign(product=product, name=CampaignName(name)))
            assert [campaign.name for campaign in tx.campaigns.listed(PRODUCT)] == ["a", "b"]
            assert list(tx.campaigns.products()) == [PRODUCT, OTHER]

    def test_a_trial_comes_back_and_is_replaced_by_number(self, store: Store) -> None:
        """A judged trial carries its verdict; numbers sort as numbers."""
        judged = values.make_trial(2, verdict=values.make_verdict())
        unbounded = replace(values.make_verdict(), low=float("-inf"), high=float("inf"))
        trials = [values.make_trial(0), replace(judged, number=1, verdict=unbounded), judged, values.make_trial(10)]
        with store.write() as tx:
            tx.campaigns.put(values.make_campaign())
            for trial in [values.make_trial(2), *reversed(trials)]:
                tx.campaigns.put_trial(trial)
        with store.read() as tx:
            assert list(tx.campaigns.trials(PRODUCT, CAMPAIGN)) == trials
            assert list(tx.campaigns.trials(OTHER, CAMPAIGN)) == []

    def test_a_trial_over_seeds_keeps_its_confirmation_and_its_failure(self, store: Store) -> None:
        """One that waits for it, one that has it, one without any gain, and one whose candidate failed."""
        waits = replace(values.make_trial(1, verdict=values.make_verdict()), state=TrialState.CONFIRMING)
        kept = Confirmed(state=Confirmation.CONFIRMED, gain=0.1 + 0.2, p=1e-300, reason="fresh runs\nagree")
        lost = Confirmed(state=Confirmation.ROLLED_BACK, gain=None, p=None, reason="")
        unbounded = replace(
            values.make_verdict(), candidate=math.nan, difference=math.nan, low=-math.inf, high=math.inf, alpha=0.0
        )
        trials = [
            waits,
            replace(waits, number=2, state=TrialState.JUDGED, confirmation=kept),
            replace(waits, number=3, state=TrialState.JUDGED, confirmation=lost),
            replace(values.make_trial(4, verdict=unbounded), failure="out_of_memory"),
        ]
        with store.write() as tx:
            tx.campaigns.put(values.make_campaign())
            for trial in trials:
                tx.campaigns.put_trial(trial)
        with store.read() as tx:
            stored = list(tx.campaigns.trials(PRODUCT, CAMPAIGN))
        # What is no number equals nothing, itself neither, so verdicts are compared in words.
        assert [repr(trial.verdict) for trial in stored] == [repr(trial.verdict) for trial in trials]
        assert [replace(trial, verdict=None) for trial in stored] == [replace(trial, verdict=None) for trial in trials]

    def test_runs_belong_to_a_stored_job_and_are_listed_newest_first(self, store: Store) -> None:
        """A run of an unknown job is refused, and so is an id that is taken."""
        with store.write() as tx:
            tx.campaigns.put(values.make_campaign())
            job = insert(tx, values.make_new_job(1))
            for number in range(3):
                tx.campaigns.add_run(values.make_run(number, job.id))
            with pytest.raises(NotFound), tx.savepoint():
                tx.campaigns.add_run(values.make_run(8, NOBODY))
            with pytest.raises(Conflict), tx.savepoint():
                tx.campaigns.add_run(values.make_run(2, job.id))
        with store.read() as tx:
            newest = [values.make_run(number, job.id) for number in (2, 1)]
            assert list(tx.campaigns.runs(PRODUCT, campaign=CAMPAIGN, limit=2)) == newest
            assert list(tx.campaigns.runs(PRODUCT, campaign=None, limit=2)) == newest
            assert list(tx.campaigns.runs(PRODUCT, campaign=NO_CAMPAIGN, limit=2)) == []
            assert list(tx.campaigns.runs(OTHER, campaign=None, limit=2)) == []

    def test_promotions_keep_their_order(self, store: Store) -> None:
        """The last one is the baseline, also after a rollback to an earlier trial."""
        promotions = [values.make_promotion(trial) for trial in (0, 2, 0)]
        with store.write() as tx:
            tx.campaigns.put(values.make_campaign())
            for promotion in promotions:
                tx.campaigns.add_promotion(promotion)
            assert list(tx.campaigns.promotions(PRODUCT, CAMPAIGN)) == promotions
            assert list(tx.campaigns.promotions(OTHER, CAMPAIGN)) == []

    def test_a_locked_golden_set_keeps_its_digest_and_counts_looks(self, store: Store) -> None:
        """Locking it again, even with another digest, changes nothing."""
        with store.write() as tx:
            tx.campaigns.put(values.make_campaign())
            tx.campaigns.lock_golden(values.make_golden())
            tx.campaigns.count_look(PRODUCT, CAMPAIGN, "golden")
            tx.campaigns.lock_golden(values.make_golden(content="other deals"))
            with pytest.raises(NotFound):
                tx.campaigns.count_look(PRODUCT, CAMPAIGN, "silver")
            stored = list(tx.campaigns.golden_sets(PRODUCT, CAMPAIGN))

        assert stored == [replace(values.make_golden(), looks=1)]

    def test_a_look_may_publish_a_score_that_later_looks_leave(self, store: Store) -> None:
        """It stays until another is published, also when the set is locked again."""
        with store.write() as tx:
            tx.campaigns.put(values.make_campaign())
            tx.campaigns.lock_golden(values.make_golden())
            seen = []
            for published in (None, 0.25, None, -1e-9):
                tx.campaigns.count_look(PRODUCT, CAMPAIGN, "golden", published=published)
                tx.campaigns.lock_golden(values.make_golden())
                (stored,) = tx.campaigns.golden_sets(PRODUCT, CAMPAIGN)
                seen.append((stored.looks, stored.published))

        assert seen == [(1, None), (2, 0.25), (3, 0.25), (4, -1e-9)]

    def test_incidents_keep_their_order(self, store: Store) -> None:
        """They belong to a stored job."""
        with store.write() as tx:
            tx.campaigns.put(values.make_campaign())
            job = insert(tx, values.make_new_job(1))
            incidents = [values.make_incident(job.id, diagnosis=word) for word in ("silent", "crashed")]
            for incident in incidents:
                tx.campaigns.add_incident(incident)
            with pytest.raises(NotFound), tx.savepoint():
                tx.campaigns.add_incident(values.make_incident(NOBODY))
            assert list(tx.campaigns.incidents(PRODUCT, CAMPAIGN)) == incidents
            assert list(tx.campaigns.incidents(OTHER, CAMPAIGN)) == []


class ProposalsConformance:
    """Proposals and approvals."""

    def test_a_proposal_comes_back_and_moves(self, store: Store) -> None:
        """Only its state and refusal change."""
        proposal = values.make_proposal(1)
        with store.write() as tx:
            tx.campaigns.put(values.make_campaign())
            tx.proposals.add(proposal)
            assert tx.proposals.get(PRODUCT, proposal.id) == proposal
            tx.proposals.move(PRODUCT, proposal.id, state=State.REJECTED, refusal="too bold")
        with store.read() as tx:
            moved = tx.proposals.get(PRODUCT, proposal.id)
            assert tx.proposals.get(OTHER, proposal.id) is None

        assert moved == replace(proposal, state=State.REJECTED, refusal="too bold")

    def test_a_proposal_that_is_not_stored_cannot_move(self, store: Store) -> None:
        """Nor can one of another product."""
        with store.write() as tx:
            tx.campaigns.put(values.make_campaign())
            tx.proposals.add(values.make_proposal(1))
            for product, name in ((PRODUCT, "proposal-2"), (OTHER, "proposal-1")):
                with pytest.raises(NotFound):
                    tx.proposals.move(product, ProposalId(name), state=State.ADMITTED, refusal="")

    def test_proposals_are_listed_by_campaign_and_stored_once(self, store: Store) -> None:
        """A second one of the same id is refused."""
        with store.write() as tx:
            tx.campaigns.put(values.make_campaign())
            proposals = [values.make_proposal(number) for number in (2, 1)]
            for proposal in proposals:
                tx.proposals.add(proposal)
            with pytest.raises(Conflict), tx.savepoint():
                tx.proposals.add(proposals[0])
            assert list(tx.proposals.listed(PRODUCT, CAMPAIGN)) == proposals
            assert list(tx.proposals.listed(OTHER, CAMPAIGN)) == []

    def test_approvals_and_waivers_come_back(self, store: Store) -> None:
        """With and without an expiry, oldest first."""
        approvals = [values.make_approval(expires_at=LATER), values.make_approval(waiver=True)]
        with store.write() as tx:
            tx.campaigns.put(values.make_campaign())
            for approval in approvals:
                tx.proposals.approve(approval)
            assert list(tx.proposals.approvals(PRODUCT, CAMPAIGN)) == approvals
            assert list(tx.proposals.approvals(OTHER, CAMPAIGN)) == []


class EntriesConformance:
    """The append-only logbook."""

    def test_entries_come_back_by_number(self, store: Store) -> None:
        """The thread, its last entry and the list of threads agree."""
        first = values.make_entry()
        second = values.make_entry(first)
        elsewhere = values.make_entry(thread="another")
        with store.write() as tx:
            for entry in (first, elsewhere, second):
                tx.entries.append(entry)
            tx.entries.append(values.make_entry(product=OTHER, thread="theirs"))
        with store.read() as tx:
            assert list(tx.entries.thread(PRODUCT, CAMPAIGN)) == [first, second]
            assert tx.entries.last(PRODUCT, CAMPAIGN) == second
            assert tx.entries.last(PRODUCT, "nothing") is None
            assert list(tx.entries.threads(PRODUCT)) == ["another", CAMPAIGN]

    def test_an_entry_must_follow_the_last(self, store: Store) -> None:
        """A gap, a number that is taken, another hash and a beginning that is none are refused."""
        first = values.make_entry()
        second = values.make_entry(first)
        with store.write() as tx:
            with pytest.raises(Conflict), tx.savepoint():
                tx.entries.append(second)
            tx.entries.append(first)
            for bad in (first, replace(second, number=3), replace(second, previous_hash="0" * 64)):
                with pytest.raises(Conflict), tx.savepoint():
                    tx.entries.append(bad)
            tx.entries.append(second)
            assert list(tx.entries.thread(PRODUCT, CAMPAIGN)) == [first, second]


class LeadershipConformance:
    """One server leads; the other half, with several of them, is tested where there can be several."""

    def test_the_lead_is_taken_kept_and_given_up(self, store: LedStore) -> None:
        """Each time it is taken its epoch grows."""
        assert store.leader() is None
        assert not store.renew_lead(seconds=9)
        first = store.lead("one", seconds=30)
        leader = store.leader()
        assert store.renew_lead(seconds=60)
        longer = store.leader()
        again = store.lead("one", seconds=30)
        store.resign()

        assert first == 1
        assert again == 2
        assert leader is not None
        assert longer is not None
        assert (leader.holder, leader.epoch) == ("one", 1)
        assert 0 < leader.seconds <= 30 < longer.seconds <= 60
        assert store.leader() is None
        assert not store.renew_lead(seconds=9)

    def test_whoever_has_lost_the_lead_writes_nothing(self, store: LedStore) -> None:
        """A store that never led writes freely; one that led and does not any more is refused until it leads again."""
        with store.write() as tx:
            insert(tx, values.make_new_job(1))
        store.lead("one", seconds=30)
        with store.write() as tx:
            insert(tx, values.make_new_job(2))
        store.resign()
        with pytest.raises(LeaseLost, match="nobody leads"), store.write() as tx:
            insert(tx, values.make_new_job(3))
        store.lead("one", seconds=30)
        with store.write() as tx:
            insert(tx, values.make_new_job(4))

        with store.read() as tx:
            assert [job.key for job in tx.jobs.listed(PRODUCT, limit=9)] == ["step/4", "step/2", "step/1"]

    @pytest.mark.parametrize(("holder", "seconds"), [("", 9.0), ("one", 0.0), ("one", -1.0), ("one", float("nan"))])
    def test_a_lead_has_a_name_and_lasts(self, store: LedStore, holder: str, seconds: float) -> None:
        """Nobody leads without a name, or for no time at all."""
        with pytest.raises(BadValue):
            store.lead(holder, seconds=seconds)
        assert store.leader() is None


class TransactionsConformance:
    """Commit, rollback, savepoints, snapshots and what was touched."""

    def test_a_block_that_raises_keeps_nothing(self, store: Store) -> None:
        """Whatever the exception is."""

        def submit_and_fail() -> None:
            with store.write() as tx:
                insert(tx, values.make_new_job(1))
                raise LeaseLost("gone", fix="stop")

        with pytest.raises(LeaseLost):
            submit_and_fail()
        with store.read() as tx:
            assert list(tx.jobs.ready()) == []

    def test_a_savepoint_undoes_only_its_own_writes(self, store: Store) -> None:
        """The jobs it touched are forgotten with it."""

        def submit_move_and_fail(tx: Transaction, moved: Job) -> None:
            with tx.savepoint():
                insert(tx, values.make_new_job(2, pool="another"))
                tx.jobs.move(moved, stage=Stage.BLOCKED, now=LATER, why="")
                raise RuntimeError

        with store.write() as tx:
            first = insert(tx, values.make_new_job(1))
            with pytest.raises(RuntimeError):
                submit_move_and_fail(tx, first)
            with tx.savepoint():
                third = insert(tx, values.make_new_job(3, pool="another"))
            touched = list(tx.touched)
        with store.read() as tx:
            stored = list(tx.jobs.listed(PRODUCT, limit=9))
            shapes = tx.jobs.shapes()

        assert stored == [third, first]
        assert touched == [first, third]
        assert [shapes[job.shape].pool for job in touched] == ["local", "another"]

    def test_touched_tells_every_move_in_order(self, store: Store) -> None:
        """Each job stands there as the move left it; a new transaction starts with nothing."""
        with store.write() as tx:
            job = building(tx)
            finish(tx, job, Outcome.LOST, stage=Stage.QUEUED)
            stages = [each.stage for each in tx.touched]
            last = tx.touched[-1]
            assert tx.jobs.by_id(job.id) == last
        with store.write() as tx:
            assert list(tx.touched) == []

        assert stages == [Stage.QUEUED, Stage.BUILDING, Stage.QUEUED]

    def test_a_failed_command_of_a_transaction_can_be_caught_and_followed(self, store: Store) -> None:
        """A refused row inside a savepoint does not poison what comes after it."""
        with store.write() as tx:
            insert(tx, values.make_new_job(1, key="k"))
            with pytest.raises(KeyReused), tx.savepoint():
                insert(tx, values.make_new_job(2, key="k"))
            insert(tx, values.make_new_job(3))
        with store.read() as tx:
            assert [job.key for job in tx.jobs.listed(PRODUCT, limit=9)] == ["step/3", "k"]

    def test_a_failed_command_outside_a_savepoint_ends_the_transaction(self, store: Store) -> None:
        """Whoever catches its error and goes on is told so, and nothing is kept: on either database."""

        def go_on() -> None:
            with store.write() as tx:
                insert(tx, values.make_new_job(1, key="k"))
                with pytest.raises(KeyReused):
                    insert(tx, values.make_new_job(2, key="k"))
                insert(tx, values.make_new_job(3))

        def stop_quietly() -> None:
            with store.write() as tx:
                insert(tx, values.make_new_job(1, key="k"))
                with pytest.raises(KeyReused):
                    insert(tx, values.make_new_job(2, key="k"))

        for act in (go_on, stop_quietly):
            with pytest.raises(StorageFailed, match="has failed"):
                act()
        with store.write() as tx:
            assert list(tx.jobs.listed(PRODUCT, limit=9)) == []
            insert(tx, values.make_new_job(4))

    def test_savepoints_lie_inside_each_other(self, store: Store) -> None:
        """The inner one is undone alone, the outer one with all it holds."""

        def outer(tx: Transaction) -> None:
            with tx.savepoint():
                insert(tx, values.make_new_job(2))
                with pytest.raises(KeyReused), tx.savepoint():
                    insert(tx, values.make_new_job(3, key="step/2"))
                insert(tx, values.make_new_job(4))
                raise RuntimeError

        with store.write() as tx:
            insert(tx, values.make_new_job(1))
            with pytest.raises(RuntimeError):
                outer(tx)
            insert(tx, values.make_new_job(5))
        with store.read() as tx:
            assert [job.key for job in tx.jobs.listed(PRODUCT, limit=9)] == ["step/5", "step/1"]

    def test_a_reader_keeps_its_snapshot(self, store: Store) -> None:
        """What is read twice is the same twice."""
        with store.write() as tx:
            insert(tx, values.make_new_job(1))
        with store.read() as tx:
            assert tx.jobs.listed(PRODUCT, limit=9) == tx.jobs.listed(PRODUCT, limit=9)

    def test_values_that_no_column_holds_are_named(self, store: Store) -> None:
        """Numbers beyond 64 bits, text that is no Unicode and configs that are no JSON."""
        with store.write() as tx:
            tx.campaigns.put(values.make_campaign())
            job = insert(tx, values.make_new_job(1))
            with pytest.raises(BadValue, match="64 bits"), tx.savepoint():
                tx.campaigns.add_run(replace(values.make_run(1, job.id), seed=2**63))
            with pytest.raises(BadValue, match="Unicode"), tx.savepoint():
                insert(tx, values.make_new_job(2, key="\ud800"))
            with pytest.raises(BadValue, match="nan"), tx.savepoint():
                tx.campaigns.configure(PRODUCT, CAMPAIGN, config={"x": float("nan")})

    def test_times_keep_their_microseconds(self, store: Store) -> None:
        """Far from today as well, and from any zone."""
        times = [
            datetime(1970, 1, 1, tzinfo=UTC),
            datetime(2262, 4, 11, 23, 47, 16, 854775, tzinfo=UTC),
            datetime.fromisoformat("2026-11-22T05:02:54.000001+05:30"),
        ]
        with store.write() as tx:
            stored = [insert(tx, values.make_new_job(number), now=time).created_at for number, time in enumerate(times)]

        assert stored == times

    def test_closing_twice_is_harmless(self, store: Store) -> None:
        """And a closed store says so."""
        store.close()
        store.close()
        for block in (store.read, store.write):
            with pytest.raises(PilothouseError, match="closed"), block():
                pass


class StoreConformance(
    JobsConformance,
    EndingsConformance,
    FlightConformance,
    GraphConformance,
    CampaignsConformance,
    ProposalsConformance,
    GateConformance,
    EntriesConformance,
    LeadershipConformance,
    TransactionsConformance,
):
    """Everything above; subclass it with a fixture `store` that yields an empty, open store."""
