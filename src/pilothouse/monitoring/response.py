"""What follows from an outcome, and what a person does where nothing automatic may.

Where a job goes is `fleet.retry`'s to say; this adds the history by class, which the counts do not hold: the same
failure after a restart would come a third time, so it goes to a person even while restarts are left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pilothouse.fleet.job import Outcome
from pilothouse.fleet.retry import (
    INTERRUPTIONS_MAX,
    Allowance,
    Counts,
    Loss,
    allowance,
    evidence,
    may_restart,
    next_stage,
    poison,
)
from pilothouse.fleet.stages import Stage


class Action(StrEnum):
    """What to do with the job. A restart spends the allowance of failures, a requeue does not."""

    ACCEPT = "accept"
    RESTART = "restart"
    REQUEUE = "requeue"
    FAIL = "fail"
    CLOSE = "close"


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The action, why it was chosen, and what a person should do next (empty when nothing)."""

    action: Action
    reason: str
    next_action: str


ADVICE: dict[Outcome, str] = {
    Outcome.SUCCEEDED: "nothing to do",
    Outcome.CRASHED: "read the end of the log, mend the program or its config, and run again",
    Outcome.OUT_OF_MEMORY: "lower the batch size or the model's size, or give the job more memory, and run again",
    Outcome.DISK_FULL: "free disk space on the factory's machine, and run again",
    Outcome.NOT_A_NUMBER: "lower the learning rate or look at the data of the step named, and run again",
    Outcome.SILENT: "see where the program hangs; if it is only quiet, raise [monitor] silent_after; then run again",
    Outcome.TIMED_OUT: "raise [trainer] timeout or make the run smaller, and run again from its checkpoint",
    Outcome.SUMMARY_MISSING: "let the program write summary.json as its last act (`run.finish`), and run again",
    Outcome.PROMISE_BROKEN: "let the program write every metric and artifact it promises, or take back the promise",
    Outcome.RESUMED_TOO_EARLY: "let the program load the checkpoint that run.json names and report `resumed_from`",
    Outcome.INPUT_DAMAGED: "run again: the damaged input is made anew before anything is trained on it",
    Outcome.LAUNCH_FAILED: "check that the command exists and may be run on the factory's machine, and run again",
    Outcome.VERIFY_FAILED: "read the end of the log of `verify`, mend the program or the check, and run again",
    Outcome.CAPABILITY_MISMATCH: "let the factory offer what it has, or the job ask for less, and submit it again",
    Outcome.NO_ENGINE: "name the engine's command under [factory.engines] on that machine, or submit to another engine",
    Outcome.PREEMPTED: "nothing to do: it goes on from its checkpoint when a seat is free",
    Outcome.LOST: "nothing to do: it goes on from its checkpoint; if factories keep vanishing, look at their machines",
    Outcome.CANCELLED: "run again when it is wanted",
    Outcome.CHECKPOINT_MISSING: "bring the run folder named back to its place, or allow a fresh start, and run again",
    Outcome.CODE_CHANGED: "look at `git status`, and bring the code back or approve the relaunch that is proposed",
}


def advice(outcome: Outcome) -> str:
    """Return what a person does about an outcome, in one sentence without its full stop."""
    return ADVICE[outcome]


def respond(
    outcome: Outcome, history: Mapping[Outcome, int], *, restarts: int, losses: Sequence[Loss] = ()
) -> Response:
    """Return what to do about an outcome; `history` counts how the job's earlier attempts ended, without this one.

    Memory, NaN, broken promises and damaged inputs are never met by a blind restart, and preemptions and losses never
    spend the failures that `restarts` allows. `losses` are all of the job's, this one included if it is one.
    """
    kind = allowance(outcome)
    stage = next_stage(outcome, spent=_counts(history), restarts=restarts, losses=losses)
    if stage is Stage.SHIPPED:
        return Response(action=Action.ACCEPT, reason="it kept every promise", next_action="")
    if stage is Stage.CANCELLED:
        return Response(action=Action.CLOSE, reason="a person or a budget asked for it", next_action=advice(outcome))
    if stage is Stage.QUEUED and kind is not Allowance.FAILURES:
        return Response(action=Action.REQUEUE, reason=f"{outcome.value} is no failure of the run", next_action="")
    if stage is not Stage.QUEUED:
        reason = evidence(poison(losses)) if poison(losses) else _why_not_again(outcome, history)
        return Response(action=Action.FAIL, reason=reason, next_action=advice(outcome))
    if history.get(outcome, 0) > 0:
        reason = f"it ended {outcome.value} before, and after a restart again: it goes to a person"
        return Response(action=Action.FAIL, reason=reason, next_action=advice(outcome))
    return Response(action=Action.RESTART, reason=f"the first {outcome.value}, and a restart is left", next_action="")


def _counts(history: Mapping[Outcome, int]) -> Counts:
    spent = dict.fromkeys(Allowance, 0)
    for outcome, times in history.items():
        spent[allowance(outcome)] += times
    return Counts(
        failures=spent[Allowance.FAILURES],
        preemptions=spent[Allowance.PREEMPTIONS],
        losses=spent[Allowance.LOSSES],
    )


def _why_not_again(outcome: Outcome, history: Mapping[Outcome, int]) -> str:
    if allowance(outcome) is not Allowance.FAILURES:
        return f"it was {outcome.value} {INTERRUPTIONS_MAX} times: it goes to a person"
    if not may_restart(outcome):
        return f"{outcome.value} would come again: another start does not mend it"
    if history.get(outcome, 0) > 0:
        return f"it ended {outcome.value} before: it goes to a person"
    return "no restart is left"
