"""Two products may use the same names for everything: what is read or changed of one is never the other's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pilothouse.campaigns.record import Halt, Owner
from pilothouse.errors import NotFound
from pilothouse.fleet.claim import Grant
from pilothouse.fleet.factory import Factory, FactoryState
from pilothouse.fleet.job import Placed
from pilothouse.fleet.stages import Stage
from pilothouse.ids import JobId, ProductId, ProposalId
from pilothouse.logbook.letter import GITHUB, Kind, Letter, Posted
from pilothouse.ports.outbox import LetterQuery
from pilothouse.ports.store import Store, Transaction
from pilothouse.proposals.agent_run import AgentIncident, AgentRun
from pilothouse.proposals.proposal import State
from pilothouse.proposals.waiver import Standing
from pilothouse.store.postgres.store import PostgresStore
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing import values
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.ferries_conformance import CLOSED, FERRY, MONITOR, RUN
from pilothouse.testing.gate_conformance import WAIVER, admission
from pilothouse.testing.outbox_conformance import make_issue, make_letter
from pilothouse.testing.values import BOOT, CAMPAIGN, FACTORY

ONE, OTHER = ProductId("demo"), ProductId("other")
LATER = BEGIN + timedelta(seconds=1)
CONTENT = values.make_digest("weights")
AT: Mapping[str, Any] = {"campaign": CAMPAIGN, "at": BEGIN}


@pytest.fixture(name="store", params=["sqlite", "postgres"])
def _store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    dsn = request.getfixturevalue("dsn") if request.param == "postgres" else None
    store: Store = SqliteStore(tmp_path / "pilothouse.db") if dsn is None else PostgresStore(dsn)
    yield store
    store.close()


def proposal_of(product: ProductId) -> ProposalId:
    """Return the id of the product's proposal."""
    return ProposalId(f"proposal-{product}")


def fill(tx: Transaction, product: ProductId) -> None:
    """Store one of everything, under names that both products use."""
    tx.factories.put(Factory(product=product, name=FACTORY), now=BEGIN)
    session = tx.factories.open_session(product, FACTORY, BOOT, now=BEGIN, expires=LATER)
    [job] = tx.jobs.insert([Placed(new=values.make_new_job(1, product=product), stage=Stage.QUEUED)], now=BEGIN)
    tx.jobs.assign([Grant(job.number, job.epoch, session)], now=BEGIN)
    held = tx.jobs.by_id(job.id)
    assert held is not None
    report = values.make_report(artifacts=(values.make_artifact(),))
    assert tx.jobs.finish(held, stage=Stage.SHIPPED, report=report, now=LATER)
    tx.campaigns.put(values.make_campaign(product=product))
    tx.campaigns.put_trial(values.make_trial(1, product=product))
    tx.campaigns.add_run(values.make_run(1, job.id, product=product))
    tx.campaigns.add_promotion(values.make_promotion(1, product=product))
    tx.campaigns.lock_golden(values.make_golden(product=product))
    tx.campaigns.add_incident(values.make_incident(job.id, product=product))
    tx.proposals.add(replace(values.make_proposal(1, product=product), id=proposal_of(product)))
    tx.proposals.approve(values.make_approval(product=product))
    for thread in (CAMPAIGN, f"notes-{product}"):
        tx.entries.append(values.make_entry(product=product, thread=thread))
    fill_gate(tx, product)
    tx.ferries.put(replace(FERRY, product=product))
    tx.ferries.put_monitor(replace(MONITOR, product=product))
    issue = tx.outbox.post(make_issue(product=product), now=BEGIN)
    tx.outbox.sent(issue, remote="7", answer={}, now=BEGIN)
    tx.outbox.post(status_of(product, "begun"), now=BEGIN)


def fill_gate(tx: Transaction, product: ProductId) -> None:
    """Store how the product's proposal came about and passed the gate."""
    proposal = proposal_of(product)
    tx.waivers.grant(replace(WAIVER, product=product))
    tx.waivers.admit(replace(admission(1, waiver=WAIVER.id), product=product, proposal=proposal))
    tx.agents.keep(AgentRun(product=product, proposal=proposal, charged_usd=0.5, record={}, **AT))
    tx.agents.note(
        AgentIncident(
            product=product, proposal=proposal, diagnosis="file", evidence="open", occurrences=1, response="held", **AT
        )
    )


def status_of(product: ProductId, text: str) -> Letter:
    """Return the status of the product's issue."""
    return replace(make_letter("run-1/status", kind=Kind.STATUS, body={"text": text}), product=product)


def product_of(row: Any) -> ProductId:
    """Return whose row it is."""
    match row:
        case Posted():
            return row.letter.product
        case Standing():
            return row.waiver.product
    owner: ProductId = row.product
    return owner


def told(tx: Transaction, product: ProductId) -> Mapping[str, list[Any]]:
    """Return all that is read of a product."""
    last = tx.entries.last(product, CAMPAIGN)
    by_key = tx.jobs.by_key(product, "step/1")
    return {
        "campaign": [tx.campaigns.get(product, CAMPAIGN)],
        "campaigns": list(tx.campaigns.listed(product)),
        "trials": list(tx.campaigns.trials(product, CAMPAIGN)),
        "runs": list(tx.campaigns.runs(product, campaign=None, limit=9)),
        "runs of the campaign": list(tx.campaigns.runs(product, campaign=CAMPAIGN, limit=9)),
        "promotions": list(tx.campaigns.promotions(product, CAMPAIGN)),
        "golden sets": list(tx.campaigns.golden_sets(product, CAMPAIGN)),
        "incidents": list(tx.campaigns.incidents(product, CAMPAIGN)),
        "proposal": [tx.proposals.get(product, proposal_of(product))],
        "proposals": list(tx.proposals.listed(product, CAMPAIGN)),
        "approvals": list(tx.proposals.approvals(product, CAMPAIGN)),
        "entry": [last],
        "entries": list(tx.entries.thread(product, CAMPAIGN)),
        "factory": [tx.factories.get(product, FACTORY)],
        "factories": list(tx.factories.listed(product)),
        "session": [tx.factories.last_session(product, FACTORY)],
        "job": [by_key],
        "jobs": list(tx.jobs.listed(product, limit=9)),
        "jobs of the campaign": list(tx.jobs.listed(product, campaign=CAMPAIGN, limit=9)),
        "jobs by keys": list(tx.jobs.by_keys(product, ["step/1"])),
        "jobs like": list(tx.jobs.keys_like(product, "step/")),
        "waivers": list(tx.waivers.standing(product, CAMPAIGN)),
        "admission": [tx.waivers.admission(product, proposal_of(product))],
        "agent's runs": list(tx.agents.runs(product, CAMPAIGN)),
        "agent's incidents": list(tx.agents.incidents(product, CAMPAIGN)),
        "ferry": [tx.ferries.by_run(product, RUN)],
        "ferries": list(tx.ferries.listed(product, CAMPAIGN)),
        "monitor": [tx.ferries.monitor(product, RUN)],
        "letter": [tx.outbox.by_key(product, GITHUB, "run-1/status")],
        "letters": list(tx.outbox.listed(LetterQuery(product=product, kind=Kind.STATUS))),
    }


def change(tx: Transaction, product: ProductId) -> None:
    """Change everything of a product that can be changed by a name."""
    owner = Owner(host="here", pid=1, started=1.0, boot=BOOT)
    tx.campaigns.own(product, CAMPAIGN, owner=owner)
    tx.campaigns.halt(product, CAMPAIGN, halt=Halt.FAILED, last_error="broken", next_action="mend it")
    tx.campaigns.configure(product, CAMPAIGN, config={"layers": 9})
    tx.campaigns.put_trial(values.make_trial(1, product=product, verdict=values.make_verdict()))
    tx.campaigns.count_look(product, CAMPAIGN, "golden", published=0.5)
    tx.proposals.move(product, proposal_of(product), state=State.REJECTED, refusal="no")
    tx.waivers.end(product, WAIVER.id, by="bob", now=LATER)
    tx.ferries.put_monitor(replace(MONITOR, product=product, owner="bob"))
    tx.ferries.put(replace(CLOSED, product=product))
    tx.outbox.post(status_of(product, "ended"), now=LATER)
    session = tx.factories.last_session(product, FACTORY)
    assert session is not None
    tx.factories.close_session(session.session.number, now=LATER, why="it goes")
    tx.factories.put(Factory(product=product, name=FACTORY, state=FactoryState.REVOKED), now=LATER)
    tx.factories.remove(product, FACTORY)


@pytest.mark.parametrize(("first", "second"), [(ONE, OTHER), (OTHER, ONE)])
def test_what_is_read_of_one_product_is_its_own(store: Store, first: ProductId, second: ProductId) -> None:
    """Whoever was there first, and whoever came last."""
    with store.write() as tx:
        fill(tx, first)
        alone = told(tx, first)
        fill(tx, second)

        assert told(tx, first) == alone
        for product in (first, second):
            for what, rows in told(tx, product).items():
                assert [product_of(each) for each in rows if each is not None] == [product], what
            assert tx.jobs.seconds_spent(product, campaign=CAMPAIGN) == 2.5
            assert [each.used for each in tx.waivers.standing(product, CAMPAIGN)] == [1]
            assert set(tx.entries.threads(product)) == {CAMPAIGN, f"notes-{product}"}


def test_what_is_changed_of_one_product_is_its_own(store: Store) -> None:
    """Everything of the neighbour stays as it was, its sealed folders of the same content included."""
    with store.write() as tx:
        fill(tx, ONE)
        fill(tx, OTHER)
        before = told(tx, OTHER)
        mine = told(tx, ONE)

        change(tx, ONE)
        assert list(tx.jobs.mark_damaged(ONE, CONTENT, now=LATER)) == [JobId(f"job-{ONE}-1")]

        assert told(tx, OTHER) == before
        assert tx.jobs.is_intact(OTHER, CONTENT)
        assert not tx.jobs.is_intact(ONE, CONTENT)
        after = told(tx, ONE)
        changed = {what for what in mine if mine[what] != after[what]}
        assert changed >= {"campaign", "trials", "golden sets", "proposal", "factory", "factories"}
        assert changed >= {"waivers", "ferry", "ferries", "monitor", "letter", "letters"}


def test_no_proposal_is_found_or_moved_under_another_product(store: Store) -> None:
    """An id alone opens nothing."""
    with store.write() as tx:
        fill(tx, ONE)
        fill(tx, OTHER)

        assert tx.proposals.get(OTHER, proposal_of(ONE)) is None
        assert tx.waivers.admission(OTHER, proposal_of(ONE)) is None
        with pytest.raises(NotFound):
            tx.proposals.move(OTHER, proposal_of(ONE), state=State.REJECTED, refusal="no")


def test_a_letter_waits_for_those_of_its_own_product_only(store: Store) -> None:
    """Neither for a neighbour's comment on an issue of the same key, nor is one due because the neighbour's arrived."""
    with store.write() as tx:
        other = tx.outbox.post(make_issue(product=OTHER), now=BEGIN)
        tx.outbox.sent(other, remote="7", answer={}, now=BEGIN)
        mine = tx.outbox.post(make_issue(product=ONE), now=LATER)
        comment = tx.outbox.post(replace(make_letter("a"), product=ONE), now=BEGIN)
        assert tx.outbox.due(GITHUB, now=BEGIN) is None

        tx.outbox.sent(mine, remote="8", answer={}, now=BEGIN)
        assert tx.outbox.due(GITHUB, now=BEGIN) == comment
        tx.outbox.put_off(comment, until=LATER, why="ill")
        theirs = tx.outbox.post(replace(make_letter("a"), product=OTHER), now=BEGIN)
        assert tx.outbox.due(GITHUB, now=BEGIN) == theirs
