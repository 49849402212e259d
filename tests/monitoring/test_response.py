"""Every outcome has its answer; nothing is restarted blindly, and nothing that is no failure spends the allowance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.fleet.job import Outcome
from pilothouse.fleet.retry import INTERRUPTIONS_MAX
from pilothouse.monitoring.response import ADVICE, Action, advice, respond

outcomes = st.sampled_from(list(Outcome))
histories = st.dictionaries(outcomes.filter(lambda outcome: outcome is not Outcome.SUCCEEDED), st.integers(0, 3))


@pytest.mark.parametrize(
    ("outcome", "first", "again"),
    [
        (Outcome.SUCCEEDED, Action.ACCEPT, Action.ACCEPT),
        (Outcome.CANCELLED, Action.CLOSE, Action.CLOSE),
        (Outcome.CRASHED, Action.RESTART, Action.FAIL),
        (Outcome.SILENT, Action.RESTART, Action.FAIL),
        (Outcome.TIMED_OUT, Action.RESTART, Action.FAIL),
        (Outcome.SUMMARY_MISSING, Action.RESTART, Action.FAIL),
        (Outcome.LAUNCH_FAILED, Action.RESTART, Action.FAIL),
        (Outcome.OUT_OF_MEMORY, Action.FAIL, Action.FAIL),
        (Outcome.DISK_FULL, Action.FAIL, Action.FAIL),
        (Outcome.NOT_A_NUMBER, Action.FAIL, Action.FAIL),
        (Outcome.PROMISE_BROKEN, Action.FAIL, Action.FAIL),
        (Outcome.RESUMED_TOO_EARLY, Action.FAIL, Action.FAIL),
        (Outcome.INPUT_DAMAGED, Action.FAIL, Action.FAIL),
        (Outcome.PREEMPTED, Action.REQUEUE, Action.REQUEUE),
        (Outcome.LOST, Action.REQUEUE, Action.REQUEUE),
    ],
)
def test_first_time_and_again(outcome: Outcome, first: Action, again: Action) -> None:
    """With restarts left both times: the same failure twice goes to a person."""
    assert respond(outcome, {}, restarts=3).action is first
    assert respond(outcome, {outcome: 1}, restarts=3).action is again


def test_every_outcome_has_advice() -> None:
    """A new outcome must say what a person does about it."""
    assert set(ADVICE) == set(Outcome)
    assert all(advice(outcome) and not advice(outcome).endswith(".") for outcome in Outcome)


def test_other_failures_spend_the_same_allowance() -> None:
    """Two restarts allow two failures of different classes, not two of each."""
    assert respond(Outcome.SILENT, {Outcome.CRASHED: 1}, restarts=2).action is Action.RESTART
    spent = respond(Outcome.SILENT, {Outcome.CRASHED: 2}, restarts=2)
    assert (spent.action, spent.reason) == (Action.FAIL, "no restart is left")
    assert respond(Outcome.CRASHED, {}, restarts=0).action is Action.FAIL


def test_endless_interruptions_reach_a_person() -> None:
    """A job that kills its machine every time must not go on for ever."""
    for outcome in (Outcome.PREEMPTED, Outcome.LOST):
        assert respond(outcome, {outcome: INTERRUPTIONS_MAX - 1}, restarts=1).action is Action.REQUEUE
        last = respond(outcome, {outcome: INTERRUPTIONS_MAX}, restarts=1)
        assert last.action is Action.FAIL
        assert "goes to a person" in last.reason


@given(outcomes, histories, st.integers(0, 4), st.integers(1, 20))
def test_interruptions_never_spend_the_failure_allowance(
    outcome: Outcome, history: dict[Outcome, int], restarts: int, more: int
) -> None:
    """However often it was preempted or lost, a failure is answered as if it had not been."""
    interrupted = {**history, Outcome.PREEMPTED: history.get(Outcome.PREEMPTED, 0) + more, Outcome.LOST: more}
    assert (
        respond(outcome, history, restarts=restarts).action is respond(outcome, interrupted, restarts=restarts).action
    )


@given(outcomes, histories, st.integers(0, 4))
def test_answer_is_whole(outcome: Outcome, history: dict[Outcome, int], restarts: int) -> None:
    """Whoever fails or closes a job says what a person does next; restarts never exceed their number."""
    response = respond(outcome, history, restarts=restarts)
    assert response.reason
    assert bool(response.next_action) is (response.action in {Action.FAIL, Action.CLOSE})
    if response.action is Action.RESTART:
        assert sum(history.get(failure, 0) for failure in set(Outcome) - NO_FAILURES) < restarts


NO_FAILURES = {Outcome.SUCCEEDED, Outcome.CANCELLED, Outcome.PREEMPTED, Outcome.LOST}
