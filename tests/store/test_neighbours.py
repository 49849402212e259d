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
from pilothouse.ports.store import Store, Transaction
from pilothouse.proposals.proposal import State
from pilothouse.store.postgres.store import PostgresStore
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing import values
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.values import BOOT, CAMPAIGN, FACTORY

ONE, OTHER = ProductId("demo"), ProductId("other")
LATER = BEGIN + timedelta(seconds=1)
CONTENT = values.make_digest("weights")


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
                assert [each.product for each in rows if each is not None] == [product], what
            assert tx.jobs.seconds_spent(product, campaign=CAMPAIGN) == 2.5
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


def test_no_proposal_is_found_or_moved_under_another_product(store: Store) -> None:
    """An id alone opens nothing."""
    with store.write() as tx:
        fill(tx, ONE)
        fill(tx, OTHER)

        assert tx.proposals.get(OTHER, proposal_of(ONE)) is None
        with pytest.raises(NotFound):
            tx.proposals.move(OTHER, proposal_of(ONE), state=State.REJECTED, refusal="no")
