"""What the end of an attempt means for its job."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.fleet.job import Outcome
from pilothouse.fleet.retry import INTERRUPTIONS_MAX, Allowance, Counts, allowance, counts, may_restart, next_stage
from pilothouse.fleet.stages import ENDS, Stage, may_move
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
    ],
)
def test_what_would_end_the_same_way_is_not_restarted(outcome: Outcome) -> None:
    """Whatever the allowance."""
    assert next_stage(outcome, spent=Counts(), restarts=99) is Stage.FAILED


def test_counts_are_read_from_the_job() -> None:
    """A new job has spent nothing."""
    assert counts(make_job()) == Counts()
