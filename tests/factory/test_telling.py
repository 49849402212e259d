"""What a factory does when the engine does not take what it is told."""

from __future__ import annotations

from pilothouse.errors import BadValue, Conflict, StorageFailed
from pilothouse.fleet.job import Outcome
from pilothouse.testing.factory_bench import Bench
from tests.factory.programs import reported

FINISH = """
import os
from pathlib import Path
(Path(os.environ["PILOTHOUSE_RUN_DIR"]) / "summary.json").write_text('{"metrics": {"loss": 1}}')
"""


def test_completing_is_tried_again_while_the_lease_lasts(bench: Bench) -> None:
    """A disk that is full for a moment loses no result."""
    failures = iter([StorageFailed("once", fix="wait"), StorageFailed("twice", fix="wait")])
    bench.dispatch.fails = lambda verb: next(failures, None) if verb == "complete" else None

    assert reported(bench.run(bench.offer_for(FINISH))).outcome is Outcome.SUCCEEDED


def test_a_report_that_is_refused_is_told_as_a_broken_promise(bench: Bench) -> None:
    """Asking again would be refused again until the lease is over; what was refused stands in the detail."""
    asked: list[str] = []

    def refuse(verb: str) -> BadValue | None:
        asked.append(verb)
        return BadValue("the report cannot be stored", fix="mend it") if asked.count("complete") == 1 else None

    bench.dispatch.fails = refuse

    report = reported(bench.run(bench.offer_for(FINISH)))

    assert report.outcome is Outcome.PROMISE_BROKEN
    assert "the report cannot be stored" in report.detail
    assert report.metrics == {}
    assert asked.count("complete") == 2


def test_a_report_that_is_refused_twice_is_given_up(bench: Bench) -> None:
    """Nothing more can be said of the attempt; its lease runs out."""
    asked: list[str] = []

    def refuse(verb: str) -> Conflict | None:
        asked.append(verb)
        return Conflict("no", fix="none") if verb == "complete" else None

    bench.dispatch.fails = refuse

    assert bench.run(bench.offer_for(FINISH)) is None
    assert asked.count("complete") == 2


def test_a_start_that_could_not_be_told_is_told_before_the_end(bench: Bench) -> None:
    """A job that nobody saw start may not succeed."""
    failures = iter([StorageFailed("once", fix="wait"), StorageFailed("twice", fix="wait")])
    bench.dispatch.fails = lambda verb: next(failures, None) if verb == "start" else None

    report = reported(bench.run(bench.offer_for(FINISH)))

    assert report.outcome is Outcome.SUCCEEDED
    assert len(bench.dispatch.starts) == 1


def test_a_start_that_is_refused_fails_the_attempt_with_the_reason(bench: Bench) -> None:
    """It is told once, and the result does not count."""
    bench.dispatch.fails = lambda verb: BadValue("no such pid", fix="mend it") if verb == "start" else None

    report = reported(bench.run(bench.offer_for(FINISH)))

    assert report.outcome is Outcome.PROMISE_BROKEN
    assert "no such pid" in report.detail
