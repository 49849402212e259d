"""The ferry's state machine: what the loop does next, from what is known.

                 ┌──┐ the next tick, and still no answer: the open proposal gives way to a new one
                 ▼  │
    due ─► draft ─► gate ─► launch ─► watch ─► judge: verdict, record, promotion, closure, seal
     ▲                        ▲          │                             │
     │                        └─ again ◄─┤ infrastructure              │
     │       rest ─► patch ─► gate ◄─────┤ small bug                   │
     └──────── the next tick ◄───────────┴──── person ◄────────────────┘

A tick of the schedule opens a proposal and never launches. It answers every tick since the last proposal, whatever kept
them: nobody was there, nobody has said yes, a ferry was under way. A launch wants an admitted proposal that is bound to
the code as it stands. How a ferry ended is what the platform's own record says, never a step count nor a tracker.
Nothing here remembers anything: the action follows from the definition and the facts alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeAlias

from pilothouse.campaigns.action import Admit, Await, Finished, Submit
from pilothouse.campaigns.facts import Facts
from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.ferry_failure import Failure, Remedy, remedy
from pilothouse.campaigns.ferry_record import Ferry
from pilothouse.campaigns.ferry_schedule import Due
from pilothouse.campaigns.record import Trial, TrialState
from pilothouse.campaigns.steps import Step, StepFact, make_step
from pilothouse.campaigns.stop_rules import Stuck
from pilothouse.campaigns.wanted import spent_limit
from pilothouse.fleet.job import FreshStart
from pilothouse.fleet.stages import ENDS, Stage
from pilothouse.ids import JobId, ProposalId
from pilothouse.proposals.gate import DRIFTED
from pilothouse.proposals.proposal import State

RUN = "train"
SAMPLES = "samples"
DRIFTS_MAX, DRIFT_MINUTES = 3, 10
"""Proposals that may drift within so many minutes; a folder that never holds still would be proposed for ever."""
AHEAD_MAX = timedelta(days=1)
"""A record that is further ahead of the clock than this was made while the clock was wrong, and answers no tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FerryFacts(Facts):
    """What the ferry's loop needs to know besides.

    `drifted` says that the open ferry's proposal is bound to another subject than the present one: config, code commit,
    evaluation, cost ceiling or pool have changed since. `failures` holds, by step key, how its launches failed, oldest
    first. `opened_at` is when the campaign was opened. `drifts` counts the proposals that drifted within the last
    `DRIFT_MINUTES`. `wait` says that the loop waits for ticks and for the gate instead of leaving. `approved` says that
    the open proposal of the next ferry has its yes already, so that no tick takes its place. `agents_usd` is what
    agents have cost. `patches` tells by failed launch what became of asking for a patch, in words.
    """

    drifted: bool
    ferries: Sequence[Ferry]
    failures: Mapping[str, Sequence[Failure]]
    opened_at: datetime
    now: datetime
    drifts: int = 0
    wait: bool = False
    approved: bool = False
    agents_usd: float = 0.0
    patches: Mapping[JobId, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftFerry:
    """Draft the proposal of this ferry. `due` is the tick that it answers, None where a person asks for it.

    `over` is the open proposal that nobody has answered, and that gives way to it unless a yes has come meanwhile.
    `patch` says which failure it relaunches after, for a ferry that runs already.
    """

    number: int
    due: Due | None = None
    over: ProposalId | None = None
    patch: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeFerry:
    """The ferry has ended: record what came out, with everything that follows from it.

    `failure` is how its run failed, None for one that shipped; `why` says why it is not launched again.
    """

    number: int
    facts: tuple[tuple[Step, StepFact], ...]
    failure: Failure | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """Nothing is to be done until then, or until somebody says yes to the proposal.

    `failed` says that a failure waits for somebody, which is posted where people hear of it.
    """

    until: datetime | None
    why: str
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposePatch:
    """Let an agent propose a patch for the small bug by which this launch has failed; it is asked once for each."""

    number: int
    job: JobId
    failure: Failure


Action: TypeAlias = Submit | Await | Admit | DraftFerry | JudgeFerry | ProposePatch | Rest | Stuck | Finished


RELAUNCH = "relaunch "
"""How a proposal's reason begins that launches a ferry again: nobody else's may, since a launch follows from it."""


def next_action(definition: FerryDefinition, facts: FerryFacts) -> Action:
    """Return the one thing to do now; a budget that is used up lets nothing more begin."""
    running = next((trial for trial in facts.trials if trial.state is TrialState.RUNNING), None)
    action = _underway(definition, facts, running) if running is not None else _ashore(definition, facts)
    if isinstance(action, DraftFerry) and facts.drifts >= DRIFTS_MAX:
        return _restless(facts)
    if isinstance(action, Submit | Admit | DraftFerry | ProposePatch):
        spent = spent_limit(definition, facts.spent_hours, agents_usd=facts.agents_usd)
        if spent is not None and not _anything_runs(definition, facts, running):
            return Finished(reason=spent, final=True)
    return action


def _restless(facts: FerryFacts) -> Rest | Stuck:
    """Propose nothing while what a proposal is bound to changes faster than anybody could approve it."""
    reason = f"{facts.drifts} proposals drifted within {DRIFT_MINUTES} minutes: the working folder does not hold still"
    mend = "commit what changes, or let git ignore it (`git status` shows it; logs are the usual ones)"
    mend = f"{mend}; then ask at once with `pilothouse proposal draft`, or wait {DRIFT_MINUTES} minutes"
    if facts.wait:
        return Rest(until=None, why=f"{reason}; {mend}")
    return Stuck(reason=reason, mend=f"{mend} and run again")


def ferry_step(definition: FerryDefinition, trial: Trial, ferry: Ferry, index: int) -> Step:
    """Return the run of a ferry's seed number `index`.

    The ferry's name is part of what names it, so no ferry is ever taken for another that was done before; the code is
    not, so a launch of the same ferry after a patch goes on where the one before left off.
    """
    columns = any(metric.column is not None for metric in definition.key_metrics().values())
    step = make_step(
        definition,
        kind=RUN,
        table=definition.trainer,
        config=trial.config,
        trial=trial.number,
        feeds={},
        artifacts=(SAMPLES,) if columns else (),
        metrics=tuple(definition.metrics),
        seed=definition.ferry.seed + index,
        conditions=f"ferry {ferry.run}",
    )
    return replace(step, spec=replace(step.spec, fresh_start=FreshStart(definition.ferry.fresh_start)))


def steps_of(definition: FerryDefinition, trial: Trial, ferry: Ferry) -> tuple[Step, ...]:
    """Return the runs of a ferry, one for each seed."""
    return tuple(ferry_step(definition, trial, ferry, index) for index in range(definition.ferry.seeds))


def due_of(definition: FerryDefinition, facts: FerryFacts) -> Due | None:
    """Return the tick that asks for a proposal, None where there is none or no schedule."""
    table = definition.ferry.schedule
    if table is None:
        return None
    since = answered_until(facts.ferries, opened_at=facts.opened_at, now=facts.now)
    return table.schedule().due(since=since, now=facts.now)


def answered_until(ferries: Sequence[Ferry], *, opened_at: datetime, now: datetime) -> datetime:
    """Return the time up to which a campaign's ticks have had their proposal: each answers what came before its draft.

    After a clock that jumps back by an hour nothing is due twice; one that was ahead by days has answered nothing.
    """
    known = [opened_at, *(max(ferry.tick or ferry.drafted_at, ferry.drafted_at) for ferry in ferries)]
    return max((at for at in known if at <= now + AHEAD_MAX), default=now - AHEAD_MAX)


def _anything_runs(definition: FerryDefinition, facts: FerryFacts, running: Trial | None) -> bool:
    """Whether a job of the open ferry is with the fleet; it may end."""
    if running is None:
        return False
    known = [facts.step(step.key) for step in steps_of(definition, running, _ferry(facts, running.number))]
    return any(fact is not None and fact.stage not in ENDS for fact in known)


def _ashore(definition: FerryDefinition, facts: FerryFacts) -> Action:
    """No ferry is underway: bring the next one closer, or say why there is none."""
    judged = [trial for trial in facts.trials if trial.state is TrialState.JUDGED]
    last = judged[-1] if judged else None
    number = 1 if last is None else last.number + 1
    if last is not None and _failed_here(facts, last) and not _stays(definition, facts):
        return Stuck(
            reason=f"ferry {last.number} has failed: {last.failure}",
            mend="read its record with `pilothouse logbook show`; the next start goes on with the next ferry",
        )
    if last is not None and facts.trials_max is not None and last.number >= facts.trials_max:
        return Finished(reason=f"ferry {last.number} is closed", final=False)
    due = due_of(definition, facts)
    wanted = _at_the_gate(facts, number, due)
    if wanted is not None:
        return wanted
    if definition.ferry.schedule is None:
        return DraftFerry(number=number)
    if due is not None:
        return DraftFerry(number=number, due=due)
    tick = definition.ferry.schedule.schedule().upcoming(facts.now, count=1)[0]
    words = f"the next ferry is due at {tick:%Y-%m-%d %H:%M}Z"
    return Rest(until=tick, why=words) if facts.wait else Finished(reason=words, final=False)


def _failed_here(facts: FerryFacts, last: Trial) -> bool:
    """Whether the last ferry failed in this start: by its time, and by its number where the clock has gone back."""
    counted = facts.trials_max is not None and last.number >= facts.trials_max
    return bool(last.failure) and (counted or (last.ended_at is not None and last.ended_at >= facts.since))


def _stays(definition: FerryDefinition, facts: FerryFacts) -> bool:
    """Whether the loop outlives a failure: it was started for a schedule, and the next tick comes in any case."""
    return facts.wait and definition.ferry.schedule is not None


def _at_the_gate(facts: FerryFacts, number: int, due: Due | None) -> Action | None:
    """Return what the newest proposal of a ferry wants, None where there is none that counts."""
    proposal = facts.proposals.get(number)
    if facts.moved:
        return DraftFerry(number=number, due=due)
    if proposal is None:
        return None
    match proposal.state:
        case State.OPEN:
            unanswered = due is not None and not facts.approved
            return DraftFerry(number=number, due=due, over=proposal.id) if unanswered else Admit(proposal=proposal)
        case State.REJECTED:
            again = proposal.refusal.startswith(DRIFTED)
            return DraftFerry(number=number, due=due) if again else None
        case State.ADMITTED:
            return None


def _underway(definition: FerryDefinition, facts: FerryFacts, trial: Trial) -> Action:
    """Follow the open ferry's runs to their end."""
    ferry = _ferry(facts, trial.number)
    steps = steps_of(definition, trial, ferry)
    known = [(step, facts.step(step.key)) for step in steps]
    ended = tuple((step, fact) for step, fact in known if fact is not None and fact.stage in ENDS)
    failed = [(step, fact) for step, fact in ended if fact.stage is not Stage.SHIPPED]
    running = [(step, fact) for step, fact in known if fact is not None and fact.stage not in ENDS]
    if failed:
        return _failed(definition, facts, trial, failed[0], known=ended, running=running, steps=steps)
    unborn = next((step for step, fact in known if fact is None), None)
    if unborn is not None:
        return _launch(facts, trial, Submit(step=unborn, generation=0, beside=steps))
    if running:
        return Await(step=running[0][0], fact=running[0][1], beside=steps)
    return JudgeFerry(number=trial.number, facts=ended)


def _failed(
    definition: FerryDefinition,
    facts: FerryFacts,
    trial: Trial,
    failed: tuple[Step, StepFact],
    *,
    known: tuple[tuple[Step, StepFact], ...],
    running: Sequence[tuple[Step, StepFact]],
    steps: tuple[Step, ...],
) -> Action:
    """Answer a launch that failed by its class and by what is allowed."""
    step, fact = failed
    failures = facts.failures[step.key]
    kind, why = remedy(failures, definition.ferry.allowances)
    again = Submit(step=step, generation=fact.generation + 1, beside=steps)
    proposal = facts.proposals[trial.number]
    refused = proposal.state is State.REJECTED and not proposal.refusal.startswith(DRIFTED)
    if kind is Remedy.RELAUNCH and not refused:
        return _launch(facts, trial, again)
    if kind is Remedy.PATCH and not refused:
        wanted = ProposePatch(number=trial.number, job=fact.job, failure=failures[-1])
        return _patched(definition, facts, trial, again, wanted)
    if kind is Remedy.CHECKPOINT and not refused:
        return _held_back(definition, facts, trial, again, fact)
    if running:
        return Await(step=running[0][0], fact=running[0][1], beside=steps)
    why = f"its relaunch was refused: {proposal.refusal}" if refused else why
    return JudgeFerry(number=trial.number, facts=known, failure=failures[-1], why=why)


def _held_back(definition: FerryDefinition, facts: FerryFacts, trial: Trial, again: Submit, fact: StepFact) -> Action:
    """Launch again once a person, who was told where the last checkpoint lies, has started the loop anew."""
    if fact.ended_at is not None and fact.ended_at < facts.since:
        return _launch(facts, trial, again)
    reason = f"ferry {trial.number} may not begin afresh: {fact.detail}"
    mend = 'bring that folder back, or set [ferry] fresh_start = "allowed", and run again'
    if _stays(definition, facts):
        return Rest(until=None, why=f"{reason}; {mend}", failed=True)
    return Stuck(reason=reason, mend=mend)


def relaunch_words(generation: int) -> str:
    """Return how the reason of a proposal begins that launches a ferry again with other code and the same config."""
    return f"{RELAUNCH}{generation} after a patch"


def _patched(
    definition: FerryDefinition, facts: FerryFacts, trial: Trial, again: Submit, wanted: ProposePatch
) -> Action:
    """Launch again once the code has changed and the gate has let the patch through; ticks wait for it meanwhile."""
    proposal = facts.proposals[trial.number]
    if proposal.why_not_identical.startswith(relaunch_words(again.generation)):
        return _launch(facts, trial, again)
    if facts.drifted:
        return DraftFerry(
            number=trial.number,
            patch=f"{relaunch_words(again.generation)} for this failure: {wanted.failure.signature}",
        )
    proposed = facts.patches.get(wanted.job, "")
    if definition.ferry.patch is not None and not proposed:
        return wanted
    reason = f"ferry {trial.number} waits for a patch: {wanted.failure.signature}"
    reason = f"{reason}; {proposed}" if proposed else reason
    if _stays(definition, facts):
        mend = "mend it and commit: the relaunch is proposed by itself, and goes on from the last checkpoint"
        return Rest(until=None, why=f"{reason}; {mend}", failed=True)
    return Stuck(
        reason=reason,
        mend="mend it, commit, and run again: the relaunch is proposed, and goes on from the last checkpoint",
    )


def _launch(facts: FerryFacts, trial: Trial, action: Submit) -> Action:
    """Launch what the gate has let through; what has drifted since is proposed anew."""
    proposal = facts.proposals[trial.number]
    if proposal.state is State.OPEN:
        return Admit(proposal=proposal)
    if proposal.state is State.REJECTED or facts.drifted:
        before = proposal.why_not_identical
        patch = before if before.startswith(relaunch_words(action.generation)) else ""
        return DraftFerry(number=trial.number, patch=patch)
    return action


def _ferry(facts: FerryFacts, number: int) -> Ferry:
    return next(ferry for ferry in facts.ferries if ferry.number == number)
