"""What every store must do with the moves of a whole batch, as tests; a part of `store_conformance`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pilothouse.errors import PilothouseError
from pilothouse.fleet.claim import Ending, Grant
from pilothouse.fleet.job import Handed, Job, Outcome
from pilothouse.fleet.stages import Stage
from pilothouse.ids import Epoch, SessionNumber
from pilothouse.ports.store import Moved, Store
from pilothouse.testing import values
from pilothouse.testing.jobs_conformance import (
    LATER,
    NUMBERLESS,
    assign,
    assigned,
    building,
    finish,
    insert,
    session,
)
from pilothouse.testing.values import PRODUCT


def fly(store: Store, *grants: Grant, ended: tuple[Ending, ...] = ()) -> Moved:
    """Send a flight and wait for its landing."""
    return store.send(grants, ended, now=LATER).land()


def told(store: Store, job: Job) -> list[tuple[int, Stage | None, Stage, int]]:
    """Return the history of a job."""
    with store.read() as tx:
        return [(each.sequence, each.previous, each.stage, each.epoch) for each in tx.jobs.events(job.id)]


class FlightConformance:
    """Claims and successes at once, by comparison of the epoch."""

    def test_a_flight_moves_what_is_where_it_is_expected(self, store: Store) -> None:
        """With attempts and history, and what is handed over; nothing else is touched."""
        with store.write() as tx:
            waiting = [insert(tx, values.make_new_job(number)) for number in range(3)]
            held = [building(tx, 3), assigned(tx, 4), building(tx, 5)]
            assign(tx, waiting[1])
            mine = session(tx)
        grants = [Grant(job.number, job.epoch, mine) for job in waiting]
        report = values.make_report()
        ended = tuple(Ending(job.number, job.epoch, Stage.BUILDING, report) for job in held)

        moved = fly(store, *grants, Grant(NUMBERLESS, Epoch(0), mine), ended=ended)

        assert set(moved.handed) == {waiting[0].number, waiting[2].number}
        assert set(moved.shipped) == {held[0].number, held[2].number}
        with store.read() as tx:
            stages = [job.stage for job in reversed(tx.jobs.listed(PRODUCT, limit=9))]
            first, lone = tx.jobs.attempts(waiting[0].id), tx.jobs.attempts(held[0].id)
            untouched = tx.jobs.by_id(held[1].id)
            spec = values.make_new_job(0)
        assert moved.handed[waiting[0].number] == Handed(waiting[0].id, PRODUCT, spec.key, spec.spec.text())
        assert stages == [Stage.ASSIGNED] * 3 + [Stage.SHIPPED, Stage.ASSIGNED, Stage.SHIPPED]
        assert untouched == held[1]
        assert [(each.epoch, each.claimed_at, each.outcome) for each in first] == [(1, LATER, None)]
        assert [(each.outcome, each.ended_at, each.seconds, each.metrics) for each in lone] == [
            (Outcome.SUCCEEDED, LATER, report.seconds, report.metrics)
        ]
        assert told(store, waiting[0])[-1] == (2, Stage.QUEUED, Stage.ASSIGNED, 1)
        assert told(store, held[0])[-1] == (4, Stage.BUILDING, Stage.SHIPPED, 1)

    def test_a_flight_on_old_knowledge_moves_nothing(self, store: Store) -> None:
        """Neither an epoch that is over nor one that has not come is taken for the present one."""
        with store.write() as tx:
            waiting, held = insert(tx, values.make_new_job(1)), building(tx, 2)
            back = finish(tx, assigned(tx, 3), Outcome.LOST, stage=Stage.QUEUED)
            mine = session(tx)
        assert back is not None
        before = [told(store, job) for job in (waiting, held, back)]
        wrong = [Grant(waiting.number, Epoch(1), mine), Grant(back.number, Epoch(0), mine)]
        late = [Ending(held.number, Epoch(epoch), Stage.BUILDING, values.make_report()) for epoch in (0, 2)]

        assert [fly(store, *wrong, ended=(ending,)) for ending in late] == [Moved({}, set()), Moved({}, set())]
        assert [told(store, job) for job in (waiting, held, back)] == before

    def test_an_empty_flight_lands(self, store: Store) -> None:
        """Half a flight does, too."""
        with store.write() as tx:
            waiting, mine = insert(tx, values.make_new_job(1)), session(tx)

        assert not any(fly(store))
        assert list(fly(store, Grant(waiting.number, Epoch(0), mine)).handed) == [waiting.number]
        ending = Ending(waiting.number, Epoch(1), Stage.ASSIGNED, values.make_report())
        assert list(fly(store, ended=(ending,)).shipped) == [waiting.number]

    def test_what_a_report_says_comes_back(self, store: Store) -> None:
        """Quotes, other scripts, nothing at all, and figures that are not finite."""
        reports = [
            replace(values.make_report(), exit_code=None, peak_memory_mb=None, seconds=3),
            replace(values.make_report(), exit_code=7, peak_memory_mb=2, seconds=0.5, metrics={}),
            replace(values.make_report(), detail='日本 "\\{,}"', metrics={"loss": float("nan")}),
        ]
        with store.write() as tx:
            jobs = [building(tx, number) for number in range(3)]
        ended = zip(jobs, reports, strict=True)
        fly(store, ended=tuple(Ending(job.number, job.epoch, Stage.BUILDING, report) for job, report in ended))
        with store.read() as tx:
            found = [tx.jobs.attempts(job.id)[0] for job in jobs]

        assert [(each.exit_code, each.peak_memory_mb, each.seconds, each.detail) for each in found] == [
            (None, None, 3.0, ""),
            (7, 2.0, 0.5, ""),
            (0, 64.5, 2.5, '日本 "\\{,}"'),
        ]
        assert [repr(each.metrics) for each in found] == ["{'loss': 1.25}", "{}", "{'loss': nan}"]

    @pytest.mark.parametrize(
        "change", [{"seconds": float("inf")}, {"exit_code": 2**70}, {"exit_code": 2**63}], ids=["inf", "2**70", "2**63"]
    )
    def test_one_that_cannot_be_stored_keeps_the_whole_flight_back(self, store: Store, change: dict[str, Any]) -> None:
        """Nothing of it is kept, and the next one flies."""
        with store.write() as tx:
            waiting, held, mine = insert(tx, values.make_new_job(1)), building(tx, 2), session(tx)
        grant = Grant(waiting.number, Epoch(0), mine)
        ending = Ending(held.number, held.epoch, Stage.BUILDING, values.make_report())
        report = replace(values.make_report(), **change)

        with pytest.raises(PilothouseError):
            fly(store, grant, ended=(ending._replace(report=report),))

        assert (len(told(store, waiting)), len(told(store, held))) == (1, 3)
        moved = fly(store, grant, ended=(ending,))
        assert (list(moved.handed), list(moved.shipped)) == ([waiting.number], [held.number])

    def test_a_grant_to_nobody_keeps_the_whole_flight_back(self, store: Store) -> None:
        """A session that is not stored holds nothing."""
        with store.write() as tx:
            waiting = insert(tx, values.make_new_job(1))

        with pytest.raises(PilothouseError):
            fly(store, Grant(waiting.number, Epoch(0), SessionNumber(4711)))

        assert len(told(store, waiting)) == 1
