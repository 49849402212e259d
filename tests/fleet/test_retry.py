"""What the end of an attempt means for its job."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.fleet.job import Outcome
from pilothouse.fleet.retry import (
    FACTORIES_MAX,
    INTERRUPTIONS_MAX,
    LOSSES_MAX,
    Allowance,
    Counts,
    Loss,
    allowance,
    counts,
    evidence,
    may_restart,
    next_stage,
    poison,
)
from pilothouse.fleet.stages import ENDS, Stage, may_move
from pilothouse.ids import Epoch, FactoryName
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.values import make_job

NUMBERS = st.integers(0, 200)
SPENT = st.builds(Counts, failures=NUMBERS, preemptions=NUMBERS, losses=NUMBERS)
FAILURES = sorted(outcome for outcome in Outcome if allowance(outcome) is Allowance.FAILURES)


@given(outcome=st.sampled_from(Outcome), spent=SPENT, restarts=NUMBERS)
def test_every_end_leads_back_to_the_queue_or_to_an_end(outcome: Outcome, spent: Counts, restarts: int) -> None:
    """And the stage table has that way, from building."""
    stage = next_stage(outcome, spent=spent, restarts=restarts)

    assert stage in ENDS | {Stage.QUEUED}
    assert may_move(Stage.BUILDING, stage)


@given(outcome=st.sampled_from(FAILURES), spent=SPENT, restarts=NUMBERS)
def test_a_failure_spends_only_restarts(outcome: Outcome, spent: Counts, restarts: int) -> None:
    """Preemptions and losses before it change nothing."""
    again = next_stage(outcome, spent=spent, restarts=restarts) is Stage.QUEUED

    assert again == (may_restart(outcome) and spent.failures < restarts)


@given(spent=SPENT, restarts=NUMBERS, outcome=st.sampled_from([Outcome.PREEMPTED, Outcome.LOST]))
def test_an_interruption_never_spends_a_restart(spent: Counts, restarts: int, outcome: Outcome) -> None:
    """It goes back until its own bound, where a person looks at it."""
    before = spent.preemptions if outcome is Outcome.PREEMPTED else spent.losses

    stage = next_stage(outcome, spent=spent, restarts=restarts)

    assert stage is (Stage.QUEUED if before < INTERRUPTIONS_MAX else Stage.DEAD_LETTER)


@given(restarts=st.integers(0, 5))
def test_a_job_that_always_crashes_is_started_once_more_than_its_restarts(restarts: int) -> None:
    """So a restart allowance always ends."""
    spent, starts = Counts(), 1
    while next_stage(Outcome.CRASHED, spent=spent, restarts=restarts) is Stage.QUEUED:
        spent, starts = Counts(failures=spent.failures + 1), starts + 1

    assert starts == restarts + 1


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome.OUT_OF_MEMORY,
        Outcome.DISK_FULL,
        Outcome.NOT_A_NUMBER,
        Outcome.PROMISE_BROKEN,
        Outcome.RESUMED_TOO_EARLY,
        Outcome.INPUT_DAMAGED,
        Outcome.VERIFY_FAILED,
        Outcome.CAPABILITY_MISMATCH,
        Outcome.NO_ENGINE,
    ],
)
def test_what_would_end_the_same_way_is_not_restarted(outcome: Outcome) -> None:
    """Whatever the allowance."""
    assert next_stage(outcome, spent=Counts(), restarts=99) is Stage.FAILED


def lost(*factories: str, progressed: bool = False) -> list[Loss]:
    return [
        Loss(
            factory=FactoryName(factory),
            epoch=Epoch(number),
            at=BEGIN,
            last_seen=f"step {number}",
            progressed=progressed,
        )
        for number, factory in enumerate(factories)
    ]


def after_losses(losses: list[Loss]) -> Stage:
    return next_stage(Outcome.LOST, spent=Counts(losses=len(losses) - 1), restarts=0, losses=losses)


def test_a_job_that_kills_one_factory_after_the_other_is_stopped() -> None:
    """The third different factory in a row that it gets nowhere on is the last."""
    names = [f"gpu-{number}" for number in range(FACTORIES_MAX)]

    assert after_losses(lost(*names[:-1])) is Stage.QUEUED
    assert after_losses(lost(*names)) is Stage.DEAD_LETTER


def test_a_factory_that_dies_often_is_not_the_job_s_fault_at_once() -> None:
    assert after_losses(lost(*["laptop"] * (LOSSES_MAX - 1))) is Stage.QUEUED
    assert after_losses(lost(*["laptop"] * LOSSES_MAX)) is Stage.DEAD_LETTER


def test_progress_clears_a_job() -> None:
    """Only what came after it still tells."""
    losses = [*lost(*["a", "b"]), *lost("c", progressed=True), *lost("d", "e")]

    assert after_losses(losses) is Stage.QUEUED
    assert after_losses([*losses, *lost("f")]) is Stage.DEAD_LETTER
    assert [loss.factory for loss in poison([*losses, *lost("f")])] == ["d", "e", "f"]


def test_a_job_that_always_gets_further_is_bounded_all_the_same() -> None:
    always = lost(*["laptop"] * 200, progressed=True)

    assert after_losses(always[:INTERRUPTIONS_MAX]) is Stage.QUEUED
    assert after_losses(always[: INTERRUPTIONS_MAX + 1]) is Stage.DEAD_LETTER


def test_the_losses_are_told_to_a_person() -> None:
    """Which factories, when, and what was last seen."""
    told = evidence(lost("gpu-1", "gpu-2", "gpu-1")).splitlines()

    assert told[0] == "lost 3 times in a row without progress, on 2 different factories"
    assert told[2] == f"attempt 1 on gpu-2, given up at {BEGIN.isoformat(timespec='seconds')}, last seen: step 1"
    assert "the same factory" in evidence(lost("gpu-1", "gpu-1"))


@given(outcome=st.sampled_from(Outcome), spent=SPENT, restarts=NUMBERS)
def test_losses_tell_against_no_other_outcome(outcome: Outcome, spent: Counts, restarts: int) -> None:
    """A job that was lost before and now crashes, or succeeds, goes where it would have gone."""
    if outcome is not Outcome.LOST:
        bad = lost(*(f"gpu-{number}" for number in range(20)))

        assert next_stage(outcome, spent=spent, restarts=restarts, losses=bad) is next_stage(
            outcome, spent=spent, restarts=restarts
        )


def test_counts_are_read_from_the_job() -> None:
    """A new job has spent nothing."""
    assert counts(make_job()) == Counts()
