"""What every store must do with factories, budgets, tokens and fleet settings, as tests.

A backend subclasses `FleetConformance` with a fixture `store`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pilothouse.errors import BadValue, Conflict, LeaseLost, NotFound, PilothouseError
from pilothouse.fleet.budget import FIGURE_MAX, Amount, Balance, Budget, Pause, millionths
from pilothouse.fleet.claim import Grant as Claim
from pilothouse.fleet.factory import Factory, FactoryState
from pilothouse.fleet.job import Cost, NewJob, Placed
from pilothouse.fleet.ledger import Reservation
from pilothouse.fleet.settings import FleetSettings
from pilothouse.fleet.stages import Stage
from pilothouse.ids import BootId, Epoch, FactoryName, JobId, JobNumber, ProductId, SessionNumber
from pilothouse.ports.store import Store, Transaction
from pilothouse.testing import values
from pilothouse.testing.access_conformance import AccessConformance, make_token
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.values import BOOT, FACTORY, PRODUCT

OTHER = ProductId("other")


EVERY = ProductId("*")


NOBODY = SessionNumber(4711)


SOON = BEGIN + timedelta(seconds=30)


LATER = BEGIN + timedelta(seconds=90)


COST = Cost(usd=2.5, gpu_hours=0.125, tokens=1000.0)


UNKNOWN = Cost()


def make_factory(name: str = FACTORY, *, product: ProductId = PRODUCT) -> Factory:
    """Return a factory that offers something of everything."""
    return Factory(
        product=product,
        name=FactoryName(name),
        capabilities=("os:linux", "cuda:12.4", "ünïcode"),
        engines=("codex", "jax"),
        seats=4,
        gpus=2,
        usd_per_hour=0.1,
    )


def open_session(tx: Transaction, *, product: ProductId = PRODUCT, factory: str = FACTORY, boot: str = BOOT) -> int:
    """Open the session of a boot at BEGIN."""
    return tx.factories.open_session(product, FactoryName(factory), BootId(boot), now=BEGIN, expires=SOON)


def make_attempts(tx: Transaction, count: int, *, product: ProductId = PRODUCT) -> list[JobNumber]:
    """Store so many jobs and claim each of them once."""
    news = [
        NewJob(id=JobId(f"job-{product}-{each}"), product=product, pool="local", key=f"{each}", spec=values.make_spec())
        for each in range(count)
    ]
    jobs = tx.jobs.insert([Placed(new=new, stage=Stage.QUEUED) for new in news], now=BEGIN)
    session = SessionNumber(open_session(tx, product=product))
    assert tx.jobs.assign([Claim(job.number, Epoch(0), session) for job in jobs], now=BEGIN) == ()
    return [job.number for job in jobs]


def reservation(
    job: JobNumber, *, product: ProductId = PRODUCT, engine: str = "", cost: Cost = COST, when: datetime = BEGIN
) -> Reservation:
    """Return what the first attempt of a job reserves."""
    return Reservation(job=job, epoch=Epoch(1), product=product, engine=engine, cost=cost, at=when)


def amount(cost: Cost) -> Amount:
    """Return a cost without an unknown figure in millionths."""
    assert cost.usd is not None
    assert cost.gpu_hours is not None
    assert cost.tokens is not None
    return Amount(usd=millionths(cost.usd), gpu_hours=millionths(cost.gpu_hours), tokens=millionths(cost.tokens))


class FactoriesConformance:
    """Factories and their sessions."""

    def test_a_factory_comes_back_and_is_replaced_by_name(self, store: Store) -> None:
        """What it offers, its price and its state are as they were put last."""
        changed = replace(make_factory(), seats=0, engines=(), usd_per_hour=None, state=FactoryState.DRAINING)
        with store.write() as tx:
            tx.factories.put(make_factory(), now=BEGIN)
            assert tx.factories.get(PRODUCT, FACTORY) == make_factory()
            tx.factories.put(changed, now=LATER)
        with store.read() as tx:
            assert tx.factories.get(PRODUCT, FACTORY) == changed
            assert tx.factories.get(OTHER, FACTORY) is None

    def test_factories_are_listed_within_their_product(self, store: Store) -> None:
        """The same name in another product is another factory; one for every product has a product of its own."""
        with store.write() as tx:
            for product, name in ((PRODUCT, "b"), (OTHER, "a"), (PRODUCT, "a"), (EVERY, "all")):
                tx.factories.put(make_factory(name, product=product), now=BEGIN)
            assert [factory.name for factory in tx.factories.listed(PRODUCT)] == ["a", "b"]
            everywhere = [(factory.product, factory.name) for factory in tx.factories.listed(None)]
        assert everywhere == [(EVERY, "all"), (PRODUCT, "a"), (PRODUCT, "b"), (OTHER, "a")]

    def test_the_same_boot_has_one_session_and_another_boot_another(self, store: Store) -> None:
        """Opening again renews; factories of the same name in two products share nothing."""
        with store.write() as tx:
            first = open_session(tx)
            others = [open_session(tx, boot="boot-2"), open_session(tx, product=OTHER), open_session(tx, factory="b")]
            again = tx.factories.open_session(PRODUCT, FACTORY, BOOT, now=SOON, expires=LATER)
            kept = tx.factories.session(again)

        assert again == first
        assert len({first, *others}) == 4
        assert kept is not None
        assert (kept.product, kept.session.factory, kept.session.boot) == (PRODUCT, FACTORY, BOOT)
        assert (kept.session.opened_at, kept.session.beat_at, kept.session.expires_at) == (BEGIN, SOON, LATER)
        assert (kept.closed_at, kept.closed_why) == (None, "")

    def test_a_beat_renews_and_a_clock_that_was_set_back_takes_nothing_back(self, store: Store) -> None:
        """The promise stands, and the last sign of life is told as it was heard."""
        with store.write() as tx:
            number = SessionNumber(open_session(tx))
            assert tx.factories.beat(number, now=SOON, expires=LATER)
            assert tx.factories.beat(number, now=BEGIN, expires=SOON)
            assert not tx.factories.beat(NOBODY, now=SOON, expires=LATER)
        with store.read() as tx:
            kept = tx.factories.session(number)

        assert kept is not None
        assert (kept.session.beat_at, kept.session.expires_at) == (BEGIN, LATER)

    def test_a_closed_session_stays_closed(self, store: Store) -> None:
        """No beat and no second opening revives it, and its first end is kept."""
        with store.write() as tx:
            number = SessionNumber(open_session(tx))
            tx.factories.close_session(number, now=SOON, why="revoked by ada")
            tx.factories.close_session(number, now=LATER, why="stale")
            assert not tx.factories.beat(number, now=LATER, expires=LATER)
            with pytest.raises(LeaseLost, match="revoked by ada"), tx.savepoint():
                open_session(tx)
            kept = tx.factories.session(number)
            with pytest.raises(NotFound), tx.savepoint():
                tx.factories.close_session(NOBODY, now=SOON, why="")

        assert kept is not None
        assert (kept.closed_at, kept.closed_why, kept.session.expires_at) == (SOON, "revoked by ada", SOON)

    def test_open_sessions_and_the_last_one_of_a_factory(self, store: Store) -> None:
        """The open ones of all products, oldest first; the last one of a factory may be closed."""
        with store.write() as tx:
            first, second, third = (SessionNumber(open_session(tx, boot=boot)) for boot in ("a", "b", "c"))
            elsewhere = open_session(tx, product=OTHER)
            for number in (first, third):
                tx.factories.close_session(number, now=SOON, why="closed")
        with store.read() as tx:
            open_ones = [(kept.product, kept.session.number) for kept in tx.factories.open_sessions()]
            last = tx.factories.last_session(PRODUCT, FACTORY)
            assert tx.factories.last_session(OTHER, FactoryName("b")) is None
            assert tx.factories.session(NOBODY) is None

        assert open_ones == [(PRODUCT, second), (OTHER, elsewhere)]
        assert last is not None
        assert (last.session.number, last.closed_at) == (third, SOON)


class BudgetsConformance:
    """Budgets and the ledger."""

    def test_a_budget_comes_back_and_keeps_its_pause_when_it_is_changed(self, store: Store) -> None:
        """A new ceiling does not lift a person's pause."""
        pause = Pause(by="ada", why="over the month's plan", at=BEGIN)
        budget = Budget(product=PRODUCT, engine="codex", ceiling=Cost(usd=0.1), window_seconds=3600, enforced=True)
        changed = Budget(product=PRODUCT, engine="codex", ceiling=COST)
        with store.write() as tx:
            tx.budgets.put(budget)
            assert tx.budgets.get(PRODUCT, "codex") == budget
            tx.budgets.pause(PRODUCT, "codex", pause=pause)
            tx.budgets.put(changed)
            assert tx.budgets.get(PRODUCT, "codex") == replace(changed, paused=pause)
            tx.budgets.resume(PRODUCT, "codex")
        with store.read() as tx:
            assert tx.budgets.get(PRODUCT, "codex") == changed
            assert tx.budgets.get(PRODUCT, "") is None
            assert tx.budgets.get(OTHER, "codex") is None

    def test_a_paused_budget_may_be_put_at_once(self, store: Store) -> None:
        """A new one has the pause that it comes with."""
        budget = Budget(product=PRODUCT, paused=Pause(by="ada", why="", at=BEGIN))
        with store.write() as tx:
            tx.budgets.put(budget)
            assert tx.budgets.get(PRODUCT, "") == budget

    def test_a_pause_of_what_has_no_budget_is_told(self, store: Store) -> None:
        """A typing mistake in a name never passes as success."""
        with store.write() as tx:
            tx.budgets.put(Budget(product=PRODUCT))
            for product, engine in ((OTHER, ""), (PRODUCT, "codex")):
                with pytest.raises(NotFound), tx.savepoint():
                    tx.budgets.pause(product, engine, pause=Pause(by="ada", why="", at=BEGIN))
                with pytest.raises(NotFound), tx.savepoint():
                    tx.budgets.resume(product, engine)

    def test_budgets_are_listed_within_their_product(self, store: Store) -> None:
        """The product's own comes before its engines'."""
        with store.write() as tx:
            for product, engine in ((PRODUCT, "jax"), (OTHER, ""), (PRODUCT, "")):
                tx.budgets.put(Budget(product=product, engine=engine))
            assert [budget.engine for budget in tx.budgets.listed(PRODUCT)] == ["", "jax"]
            assert [(budget.product, budget.engine) for budget in tx.budgets.listed(None)] == [
                (PRODUCT, ""),
                (PRODUCT, "jax"),
                (OTHER, ""),
            ]

    def test_an_attempt_is_reserved_until_it_is_settled(self, store: Store) -> None:
        """It moves from what is reserved to what is spent, and out of what is unsettled."""
        with store.write() as tx:
            first, second = make_attempts(tx, 2)
            rows = [reservation(first, engine="jax"), reservation(second, engine="jax")]
            tx.budgets.reserve_many(rows)
            assert list(tx.budgets.unsettled()) == rows
            assert tx.budgets.settle(first, epoch=Epoch(1), cost=Cost(usd=3.0, gpu_hours=0, tokens=7), now=SOON)
        with store.read() as tx:
            assert list(tx.budgets.unsettled()) == rows[1:]
            balances = tx.budgets.balances(PRODUCT, since=BEGIN)

        spent = Amount(usd=3_000_000, gpu_hours=0, tokens=7_000_000)
        assert balances == {(PRODUCT, "jax"): Balance(reserved=amount(COST), spent=spent)}

    def test_the_first_settlement_stays(self, store: Store) -> None:
        """A late report and a rescue may both settle; what comes second changes nothing and is told so."""
        with store.write() as tx:
            (job,) = make_attempts(tx, 1)
            tx.budgets.reserve(reservation(job))
            assert tx.budgets.settle(job, epoch=Epoch(1), cost=COST, now=SOON)
            assert not tx.budgets.settle(job, epoch=Epoch(1), cost=Cost(usd=99.0), now=LATER)
            assert tx.budgets.balances(None, since=BEGIN) == {(PRODUCT, ""): Balance(spent=amount(COST))}

    def test_only_the_attempt_that_has_reserved_settles(self, store: Store) -> None:
        """Another epoch of the job, and an attempt without a budget, settle nothing."""
        with store.write() as tx:
            reserved, free = make_attempts(tx, 2)
            tx.budgets.reserve(reservation(reserved))
            assert not tx.budgets.settle(reserved, epoch=Epoch(2), cost=COST, now=SOON)
            assert not tx.budgets.settle(free, epoch=Epoch(1), cost=COST, now=SOON)
            assert tx.budgets.balances(PRODUCT, since=BEGIN) == {(PRODUCT, ""): Balance(reserved=amount(COST))}

    def test_an_attempt_reserves_once_and_belongs_to_a_claim(self, store: Store) -> None:
        """A second reservation is refused with its whole batch, and so is one of an attempt that nobody has claimed."""
        with store.write() as tx:
            first, second = make_attempts(tx, 2)
            tx.budgets.reserve(reservation(first))
            with pytest.raises(Conflict), tx.savepoint():
                tx.budgets.reserve_many([reservation(second), reservation(first)])
            with pytest.raises(NotFound), tx.savepoint():
                tx.budgets.reserve(replace(reservation(second), epoch=Epoch(2)))
            tx.budgets.reserve_many([])
            assert [row.job for row in tx.budgets.unsettled()] == [first]

    def test_an_unknown_figure_is_settled_as_it_was_reserved(self, store: Store) -> None:
        """It is never zero; one that was not reserved either stays unknown."""
        with store.write() as tx:
            known, unknown = make_attempts(tx, 2)
            rows = [reservation(known), reservation(unknown, engine="jax", cost=UNKNOWN)]
            tx.budgets.reserve_many(rows)
            assert list(tx.budgets.unsettled()) == rows
            for job in (known, unknown):
                assert tx.budgets.settle(job, epoch=Epoch(1), cost=Cost(tokens=1.0), now=SOON)
            balances = tx.budgets.balances(PRODUCT, since=BEGIN)

        assert balances == {
            (PRODUCT, ""): Balance(spent=replace(amount(COST), tokens=1_000_000)),
            (PRODUCT, "jax"): Balance(spent=Amount(tokens=1_000_000)),
        }

    def test_a_balance_counts_the_attempts_claimed_since(self, store: Store) -> None:
        """By product and engine; what was claimed before counts nowhere, whenever it ends."""
        with store.write() as tx:
            early, late, jax = make_attempts(tx, 3)
            (elsewhere,) = make_attempts(tx, 1, product=OTHER)
            tx.budgets.reserve_many(
                [
                    reservation(early),
                    reservation(late, when=SOON),
                    reservation(jax, engine="jax", when=LATER),
                    reservation(elsewhere, product=OTHER, when=SOON),
                ]
            )
            tx.budgets.settle(early, epoch=Epoch(1), cost=COST, now=LATER)
        one = Balance(reserved=amount(COST))
        with store.read() as tx:
            here = {(PRODUCT, ""): one, (PRODUCT, "jax"): one}
            assert tx.budgets.balances(PRODUCT, since=SOON) == here
            assert tx.budgets.balances(None, since=SOON) == {**here, (OTHER, ""): one}
            assert tx.budgets.balances(None, since=LATER) == {(PRODUCT, "jax"): one}
            assert tx.budgets.balances(None, since=LATER + timedelta(microseconds=1)) == {}

    def test_sums_are_exact_and_leave_no_integer(self, store: Store) -> None:
        """Twelve of the largest figures are more than 64 bits hold, and ten tenths are one."""
        largest, tenth = Cost(usd=FIGURE_MAX, tokens=FIGURE_MAX), Cost(usd=0.1, gpu_hours=0.1, tokens=0.1)
        with store.write() as tx:
            jobs = make_attempts(tx, 22)
            tx.budgets.reserve_many([reservation(job, cost=largest) for job in jobs[:12]])
            tx.budgets.reserve_many([reservation(job, engine="jax", cost=tenth) for job in jobs[12:]])
            balances = tx.budgets.balances(PRODUCT, since=BEGIN)

        most = 12 * int(FIGURE_MAX) * 1_000_000
        assert balances[PRODUCT, ""].reserved == Amount(usd=most, tokens=most)
        assert balances[PRODUCT, "jax"].reserved == Amount(usd=1_000_000, gpu_hours=1_000_000, tokens=1_000_000)

    @pytest.mark.parametrize("figure", [-1.0, float("nan"), float("inf"), 2 * FIGURE_MAX])
    def test_a_figure_that_cannot_be_counted_is_refused(self, store: Store, figure: float) -> None:
        """Before anything is written."""
        with store.write() as tx:
            (job,) = make_attempts(tx, 1)
            with pytest.raises(BadValue):
                tx.budgets.reserve(reservation(job, cost=Cost(usd=figure)))
            tx.budgets.reserve(reservation(job))
            with pytest.raises(BadValue):
                tx.budgets.settle(job, epoch=Epoch(1), cost=Cost(tokens=figure), now=SOON)
            assert [row.job for row in tx.budgets.unsettled()] == [job]


class FleetSettingsConformance:
    """What a product changes about its fleet."""

    def test_settings_come_back_and_default_to_nothing_changed(self, store: Store) -> None:
        """Those put last count, for their product alone."""
        first = FleetSettings(weights={"age": 2.5, "load": 0}, preemption=True, stop_grace_seconds=12.5)
        second = FleetSettings(min_running_seconds=0)
        with store.write() as tx:
            assert tx.fleet_settings.listed() == {}
            tx.fleet_settings.put(PRODUCT, first, who="ada", now=BEGIN)
            tx.fleet_settings.put(OTHER, first, who="ada", now=BEGIN)
            assert tx.fleet_settings.get(PRODUCT) == first
            tx.fleet_settings.put(PRODUCT, second, who="grace", now=SOON)
        with store.read() as tx:
            assert tx.fleet_settings.get(PRODUCT) == second
            assert tx.fleet_settings.listed() == {PRODUCT: second, OTHER: first}
            assert tx.fleet_settings.get(EVERY) == FleetSettings()


def write_everywhere_and_fail(tx: Transaction, job: JobNumber) -> None:
    """Write into each of the four aggregates, then refuse."""
    tx.factories.put(make_factory(), now=BEGIN)
    open_session(tx, boot="boot-2")
    tx.budgets.put(Budget(product=PRODUCT))
    tx.budgets.reserve(reservation(job))
    tx.access.add(make_token(1))
    tx.fleet_settings.put(PRODUCT, FleetSettings(preemption=True), who="ada", now=BEGIN)
    raise PilothouseError("refused", fix="none")


class FleetConformance(FactoriesConformance, BudgetsConformance, AccessConformance, FleetSettingsConformance):
    """All four."""

    def test_nothing_of_a_refused_command_is_kept(self, store: Store) -> None:
        """A savepoint takes back what all four aggregates have written inside it."""
        with store.write() as tx:
            (job,) = make_attempts(tx, 1)
            with pytest.raises(PilothouseError), tx.savepoint():
                write_everywhere_and_fail(tx, job)
        with store.read() as tx:
            assert list(tx.factories.listed(None)) == []
            assert [kept.session.boot for kept in tx.factories.open_sessions()] == [BOOT]
            assert list(tx.budgets.listed(None)) == []
            assert list(tx.budgets.unsettled()) == []
            assert list(tx.access.listed(None)) == []
            assert tx.fleet_settings.listed() == {}

    def test_times_are_kept_to_the_microsecond(self, store: Store) -> None:
        """Also those long ago and far ahead."""
        times = (datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC))
        with store.write() as tx:
            number = tx.factories.open_session(PRODUCT, FACTORY, BOOT, now=times[0], expires=times[1])
            kept = tx.factories.session(number)

        assert kept is not None
        assert (kept.session.opened_at, kept.session.expires_at) == times
